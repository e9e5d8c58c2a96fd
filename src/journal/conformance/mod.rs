//! The laws that every [`Journal`] keeps, as a suite for whoever writes one.
//!
//! [`check`] runs each law on a journal of its own, and names the first one that is broken and what was seen;
//! [`check_all`] goes on and names all of them. [`LAWS`] lists them. What no suite can check from within is what
//! [`Durability`](super::Durability) says: kill the process, or the machine, and look.
//!
//! This is the whole test of a journal of your own; a journal on a server or in a file is made anew for each law (another
//! file, another schema), and must be empty:
//!
//! ```
//! use tower_sturdy::journal::{MemoryJournal, conformance};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), conformance::Broken> {
//! conformance::check(async || MemoryJournal::new()).await
//! # }
//! ```
//!
//! What it tells of a broken one reads like this:
//!
//! ```text
//! the journal breaks the law `one_of_two_concurrent_steps_wins`: 2 of 2 steps won
//! ```
//!
//! Give it a runtime of several threads too: races of a journal that locks too little show there. A wrapper around a
//! journal is checked in the same way, over a journal that keeps the laws.

mod claims;
mod conflicts;
mod listings;
mod purges;
mod sample;
mod steps;

use super::{Claim, Journal, Purge, Record};
use crate::clock::Clock;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A law that a journal (or a shelf) does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub(in crate::journal) what: &'static str,
    pub(in crate::journal) law: &'static str,
    pub(in crate::journal) why: String,
}

impl Broken {
    /// The law, as a sentence with underscores.
    #[must_use]
    pub const fn law(&self) -> &'static str {
        self.law
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, law, why } = self;
        write!(f, "the {what} breaks the law `{law}`: {why}")
    }
}

impl std::error::Error for Broken {}

/// What a law found: nothing, or what is wrong.
pub(in crate::journal) type Found = Result<(), String>;

/// Fails a law with what was seen.
pub(in crate::journal) fn must(holds: bool, why: impl FnOnce() -> String) -> Found {
    if holds { Ok(()) } else { Err(why()) }
}

/// The answer of a call that has no reason to fail.
pub(in crate::journal) fn told<T, E: fmt::Display>(
    what: &str,
    answer: Result<T, E>,
) -> Result<T, String> {
    answer.map_err(|error| format!("{what} failed: {error}"))
}

/// Fails with the names of the parts that differ: a record may hold megabytes, and what is nobody else's business.
fn same(found: &Record, expected: &Record) -> Found {
    let (asked, as_asked) = (&found.asked, &expected.asked);
    let (request, as_requested) = (&asked.request, &as_asked.request);
    let (progress, as_made) = (&found.progress, &expected.progress);
    let parts = [
        ("id", asked.id == as_asked.id),
        ("namespace", asked.namespace == as_asked.namespace),
        ("tenant", asked.tenant == as_asked.tenant),
        ("key", asked.key == as_asked.key),
        ("conflict", asked.conflict == as_asked.conflict),
        ("fingerprint", asked.fingerprint == as_asked.fingerprint),
        ("capability", asked.capability == as_asked.capability),
        ("upstream_key", asked.upstream_key == as_asked.upstream_key),
        ("request.method", request.method == as_requested.method),
        // `http::Uri` compares scheme and host without regard to case; what is sent must be the same text.
        (
            "request.uri",
            request.uri.to_string() == as_requested.uri.to_string(),
        ),
        ("request.headers", request.headers == as_requested.headers),
        ("request.body", request.body == as_requested.body),
        ("at", asked.at == as_asked.at),
        ("issued", asked.issued == as_asked.issued),
        ("state", progress.state == as_made.state),
        ("version", progress.version == as_made.version),
        ("attempts", progress.attempts == as_made.attempts),
        ("history", progress.history == as_made.history),
        ("due", progress.due == as_made.due),
        ("answer", found.answer == expected.answer),
        // Whatever the lines above do not name.
        ("asked", asked == as_asked),
        ("progress", progress == as_made),
    ];
    let differing: Vec<&str> = parts
        .into_iter()
        .filter_map(|(part, equal)| (!equal).then_some(part))
        .collect();
    must(differing.is_empty(), || {
        format!(
            "operation {} differs from what was put on record in: {}",
            found.id(),
            differing.join(", ")
        )
    })
}

/// A claim must be answered so.
fn answered(answer: &Claim, expected: &Claim) -> Found {
    match (answer, expected) {
        (Claim::Claimed, Claim::Claimed) | (Claim::Expired, Claim::Expired) => Ok(()),
        (Claim::Existing(found), Claim::Existing(expected))
        | (Claim::Conflict(found), Claim::Conflict(expected)) => same(found, expected),
        _ => Err(format!(
            "the claim was answered with {}, not with {}",
            in_words(answer),
            in_words(expected)
        )),
    }
}

fn in_words(claim: &Claim) -> String {
    match claim {
        Claim::Claimed => "`Claimed`".to_owned(),
        Claim::Expired => "`Expired`".to_owned(),
        Claim::Existing(record) => format!("`Existing` (operation {})", record.id()),
        Claim::Conflict(record) => format!("`Conflict` (operation {})", record.id()),
    }
}

/// How long a law may take: some run a thousand calls, and a commit on a slow disk takes tens of milliseconds.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs a law, for [`LIMIT`] at most.
async fn bounded(law: impl Future<Output = Found>) -> Found {
    let over = || format!("it was not done after {} s", LIMIT.as_secs());
    let found = Clock::system().timeout(LIMIT, law).await;
    found.unwrap_or_else(|| Err(over()))
}

macro_rules! laws {
    ($($room:ident::$law:ident),* $(,)?) => {
        /// Every law of a journal, in the order in which they are checked.
        pub const LAWS: &[&str] = &[$(stringify!($law)),*];

        async fn run<J: Journal, F: AsyncFn() -> J>(make: F, most: usize) -> Vec<Broken> {
            let mut broken = Vec::new();
            $(
                let journal = Arc::new(make().await);
                if let Err(why) = bounded(Box::pin($room::$law(journal))).await {
                    broken.push(Broken { what: "journal", law: stringify!($law), why });
                    if broken.len() >= most {
                        return broken;
                    }
                }
            )*
            broken
        }
    };
}

laws!(
    claims::what_is_not_on_record_is_not_found,
    claims::a_claim_is_read_back_whole,
    claims::an_existing_key_is_returned_whole_and_kept,
    claims::one_of_many_claims_of_a_key_wins,
    claims::a_key_is_taken_within_its_namespace_and_tenant_only,
    claims::an_id_is_never_taken_twice,
    claims::a_claim_that_is_dropped_is_whole_or_absent,
    conflicts::one_unresolved_operation_per_conflict_key,
    conflicts::one_of_many_claims_of_a_conflict_key_wins,
    conflicts::a_conflict_key_is_free_again_after_a_final_state_only,
    steps::a_step_is_read_back_whole,
    steps::one_of_two_concurrent_steps_wins,
    steps::a_step_from_another_version_changes_nothing,
    steps::a_step_that_is_dropped_is_whole_or_absent,
    steps::a_step_of_nothing_is_missing,
    steps::a_step_never_changes_what_was_asked,
    conflicts::what_nobody_works_on_holds_no_conflict_key,
    conflicts::what_begins_again_takes_its_conflict_key_or_changes_nothing,
    conflicts::one_of_many_that_begin_again_wins,
    listings::the_soonest_due_is_listed_first_and_the_undue_last,
    listings::a_listing_keeps_to_its_filter,
    listings::pages_of_a_listing_join_without_gap_or_overlap,
    listings::a_listing_follows_the_steps,
);

/// Runs every law of a journal that forgets ([`Purge`]), as [`check`] does. The laws of journals are not among them.
///
/// # Errors
/// The first law that is broken.
pub async fn check_purge<J: Purge, F: AsyncFn() -> J>(make: F) -> Result<(), Broken> {
    macro_rules! purges {
        ($($law:ident),* $(,)?) => {$(
            let law = Box::pin(purges::$law(Arc::new(make().await)));
            bounded(law).await.map_err(|why| Broken { what: "journal", law: stringify!($law), why })?;
        )*};
    }
    purges!(
        only_what_is_over_is_purged,
        a_tombstone_answers_for_its_key_and_holds_nothing_else,
        a_deleted_key_is_never_taken_as_new,
        a_purge_of_many_leaves_none,
    );
    Ok(())
}

/// Runs every law on a fresh, empty journal each, up to the first that is broken. Must be awaited inside a tokio runtime
/// with time: some laws use tasks, and each is bounded. (On a paused clock a journal that waits for a socket is soon out
/// of time.)
///
/// # Errors
/// The first law that is broken.
pub async fn check<J: Journal, F: AsyncFn() -> J>(make: F) -> Result<(), Broken> {
    match run(make, 1).await.pop() {
        Some(broken) => Err(broken),
        None => Ok(()),
    }
}

/// As [`check`], for whoever wants the whole list at once: every law that is broken, none if the journal keeps them all.
pub async fn check_all<J: Journal, F: AsyncFn() -> J>(make: F) -> Vec<Broken> {
    run(make, usize::MAX).await
}
