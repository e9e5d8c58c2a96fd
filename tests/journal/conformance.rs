//! The public suite over our journals, and over journals that are broken on purpose: a suite that cannot fail proves
//! nothing.

use crate::mutants::{Breaks, Loses, On, Plain};
use crate::sample::unwrap;
use std::collections::BTreeSet;
use std::sync::Arc;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::journal::conformance::{LAWS, check, check_all, check_purge};
use tower_sturdy::journal::{Asked, Capability, MemoryJournal, OwnerId, Record, StoredAnswer};

#[tokio::test]
async fn the_journal_in_memory_keeps_the_laws() {
    unwrap(check(async || MemoryJournal::new()).await);
    unwrap(check_purge(async || MemoryJournal::new()).await);
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tower_sturdy::journal::SqliteJournal;

    async fn keeps_the_laws() {
        let directory = tempfile::tempdir().unwrap();
        let made = AtomicU32::new(0);
        let make = async || {
            let number = made.fetch_add(1, Ordering::Relaxed);
            unwrap(SqliteJournal::open(
                directory.path().join(format!("{number}.journal")),
            ))
        };
        unwrap(check(&make).await);
        unwrap(check_purge(&make).await);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_journal_in_sqlite_keeps_the_laws() {
        keeps_the_laws().await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_keeps_them_on_one_thread_under_a_paused_clock() {
        keeps_the_laws().await;
    }
}

#[tokio::test]
async fn a_plain_journal_in_few_lines_keeps_the_laws() {
    unwrap(check(async || Plain::new(Breaks::Nothing)).await);
}

/// Every way of breaking a journal, and a law that must see it.
const BROKEN: &[(Breaks, &str)] = {
    use Breaks::*;
    &[
        (FindsWhateverIsThere, "what_is_not_on_record_is_not_found"),
        (
            FindsByKeyAlone,
            "a_key_is_taken_within_its_namespace_and_tenant_only",
        ),
        (ForgetsClaims, "a_claim_is_read_back_whole"),
        (
            GrantsEveryClaim,
            "an_existing_key_is_returned_whole_and_kept",
        ),
        (
            TellsTheClaimerItsOwnRecord,
            "an_existing_key_is_returned_whole_and_kept",
        ),
        (
            ReplacesTheExisting,
            "an_existing_key_is_returned_whole_and_kept",
        ),
        (LooksThenPuts, "one_of_many_claims_of_a_key_wins"),
        (
            ComparesKeysWithoutCase,
            "a_key_is_taken_within_its_namespace_and_tenant_only",
        ),
        (
            ComparesTheStartOfKeys,
            "a_key_is_taken_within_its_namespace_and_tenant_only",
        ),
        (
            IgnoresTheNamespace,
            "a_key_is_taken_within_its_namespace_and_tenant_only",
        ),
        (
            IgnoresTheTenant,
            "a_key_is_taken_within_its_namespace_and_tenant_only",
        ),
        (
            RunsKeyPartsTogether,
            "a_key_is_taken_within_its_namespace_and_tenant_only",
        ),
        (ReplacesATakenId, "an_id_is_never_taken_twice"),
        (GrantsATakenId, "an_id_is_never_taken_twice"),
        (
            PutsInTwoHalves,
            "a_claim_that_is_dropped_is_whole_or_absent",
        ),
        (
            IgnoresConflicts,
            "one_unresolved_operation_per_conflict_key",
        ),
        (
            ConflictsAcrossTenants,
            "one_unresolved_operation_per_conflict_key",
        ),
        (
            ConflictsAcrossNamespaces,
            "one_unresolved_operation_per_conflict_key",
        ),
        (
            ConflictBeforeItself,
            "one_unresolved_operation_per_conflict_key",
        ),
        (
            TellsConflictsAsExisting,
            "one_unresolved_operation_per_conflict_key",
        ),
        (
            LooksForConflictsThenPuts,
            "one_of_many_claims_of_a_conflict_key_wins",
        ),
        (
            FreedByDoubt,
            "a_conflict_key_is_free_again_after_a_final_state_only",
        ),
        (
            FreedByParking,
            "a_conflict_key_is_free_again_after_a_final_state_only",
        ),
        (
            FreedByReady,
            "a_conflict_key_is_free_again_after_a_final_state_only",
        ),
        (
            NeverFreed,
            "a_conflict_key_is_free_again_after_a_final_state_only",
        ),
        (
            FreedByCompletionAlone,
            "a_conflict_key_is_free_again_after_a_final_state_only",
        ),
        (
            FreedByTheOneBefore,
            "a_conflict_key_is_free_again_after_a_final_state_only",
        ),
        (
            HoldsWhatNobodyWorksOn,
            "what_nobody_works_on_holds_no_conflict_key",
        ),
        (
            BeginsAgainBesideAnother,
            "what_begins_again_takes_its_conflict_key_or_changes_nothing",
        ),
        (
            BeginsAgainBesideAnother,
            "one_of_many_that_begin_again_wins",
        ),
        (ForgetsSteps, "a_step_is_read_back_whole"),
        (
            ChecksNoVersion,
            "a_step_from_another_version_changes_nothing",
        ),
        (
            TakesTheSameVersion,
            "a_step_from_another_version_changes_nothing",
        ),
        (
            TakesAnyLaterVersion,
            "a_step_from_another_version_changes_nothing",
        ),
        (
            TakesAnEarlierVersion,
            "a_step_from_another_version_changes_nothing",
        ),
        (
            StepsInTwoHalves,
            "a_step_that_is_dropped_is_whole_or_absent",
        ),
        (LooksThenSteps, "one_of_two_concurrent_steps_wins"),
        (
            TellsTheStepItself,
            "a_step_from_another_version_changes_nothing",
        ),
        (PutsWhatIsMissing, "a_step_of_nothing_is_missing"),
        (SaysOkToWhatIsMissing, "a_step_of_nothing_is_missing"),
        (ChangesTheAsked, "a_step_never_changes_what_was_asked"),
        (KeepsAnAnswer, "a_step_is_read_back_whole"),
        (AppendsHistory, "a_step_is_read_back_whole"),
        (
            ListsNothing,
            "the_soonest_due_is_listed_first_and_the_undue_last",
        ),
        (IgnoresStates, "a_listing_keeps_to_its_filter"),
        (IgnoresTheListedTenant, "a_listing_keeps_to_its_filter"),
        (IgnoresTheListedNamespace, "a_listing_keeps_to_its_filter"),
        (IgnoresDueBy, "a_listing_keeps_to_its_filter"),
        (ListsTheUndueAsDue, "a_listing_keeps_to_its_filter"),
        (DueMeansBefore, "a_listing_keeps_to_its_filter"),
        (
            IgnoresTheLimit,
            "pages_of_a_listing_join_without_gap_or_overlap",
        ),
        (
            TakesNoLimitForAll,
            "pages_of_a_listing_join_without_gap_or_overlap",
        ),
        (
            IgnoresSkip,
            "pages_of_a_listing_join_without_gap_or_overlap",
        ),
        (
            SkipsWholePages,
            "pages_of_a_listing_join_without_gap_or_overlap",
        ),
        (
            AddsSkipAndLimit,
            "pages_of_a_listing_join_without_gap_or_overlap",
        ),
        (
            SkipsBeforeItFilters,
            "pages_of_a_listing_join_without_gap_or_overlap",
        ),
        (
            ListsByIdAlone,
            "the_soonest_due_is_listed_first_and_the_undue_last",
        ),
        (
            ListsTheUndueFirst,
            "the_soonest_due_is_listed_first_and_the_undue_last",
        ),
        (
            ListsTheLatestFirst,
            "the_soonest_due_is_listed_first_and_the_undue_last",
        ),
        (
            ListsTiesAsTheyCame,
            "the_soonest_due_is_listed_first_and_the_undue_last",
        ),
        (ListsTheDueTimeOfTheClaim, "a_listing_follows_the_steps"),
        (ListsTheStateOfTheClaim, "a_listing_follows_the_steps"),
        (ListsTheRecordOfTheClaim, "a_listing_follows_the_steps"),
        (Fails, "what_is_not_on_record_is_not_found"),
        (Hangs, "what_is_not_on_record_is_not_found"),
    ]
};

#[tokio::test(start_paused = true)]
async fn every_way_of_breaking_a_journal_breaks_the_law_about_it() {
    for (breaks, law) in BROKEN {
        let broken = check_all(async || Plain::new(*breaks)).await;
        let laws: Vec<&str> = broken.iter().map(|broken| broken.law()).collect();
        assert!(laws.contains(law), "{breaks:?} broke {laws:?}, not {law}");
        let first = check(async || Plain::new(*breaks)).await.unwrap_err();
        assert_eq!(first, broken[0], "{breaks:?}");
    }
}

#[test]
fn every_law_has_a_journal_that_breaks_it() {
    let seen: BTreeSet<&str> = BROKEN.iter().map(|(_, law)| *law).collect();
    let unseen: Vec<_> = LAWS.iter().filter(|law| !seen.contains(*law)).collect();
    assert!(unseen.is_empty(), "no journal here breaks {unseen:?}");
}

fn asked(record: &mut Record, change: impl FnOnce(&mut Asked)) {
    let mut asked = (*record.asked).clone();
    change(&mut asked);
    record.asked = Arc::new(asked);
}

fn answer(record: &mut Record, change: impl FnOnce(&mut StoredAnswer)) {
    if let Some(answer) = &mut record.answer {
        change(answer);
    }
}

/// What a store may lose of what was asked, each by the name that the report must give.
const LOST_OF_THE_ASKED: &[(&str, Loses)] = &[
    ("conflict", |r| {
        asked(r, |a| {
            a.conflict = a.conflict.take().filter(|c| !c.is_empty())
        })
    }),
    ("fingerprint", |r| asked(r, |a| a.fingerprint.version = 1)),
    ("fingerprint", |r| {
        asked(r, |a| a.fingerprint.digest[31] = 0)
    }),
    ("capability", |r| {
        asked(r, |a| a.capability = Capability::Lookup)
    }),
    ("capability", |r| {
        asked(r, |a| {
            if let Capability::Keyed { horizon, .. } = &mut a.capability {
                *horizon = std::time::Duration::from_secs(horizon.as_secs());
            }
        });
    }),
    ("upstream_key", |r| {
        asked(r, |a| a.upstream_key = a.upstream_key.replace('\0', ""))
    }),
    ("request.method", |r| {
        asked(r, |a| a.request.method = http::Method::POST)
    }),
    ("request.uri", |r| {
        asked(r, |a| {
            let lower = a.request.uri.to_string().to_ascii_lowercase();
            a.request.uri = lower.replace('+', "%20").parse().unwrap();
        });
    }),
    ("request.headers", |r| {
        asked(r, |a| a.request.headers.sort())
    }),
    ("request.headers", |r| {
        asked(r, |a| a.request.headers.dedup_by(|b, a| a.0 == b.0))
    }),
    ("request.body", |r| {
        asked(r, |a| {
            let text = String::from_utf8_lossy(&a.request.body).into_owned();
            a.request.body = text.into();
        });
    }),
    ("request.body", |r| {
        asked(r, |a| a.request.body.truncate(65_535))
    }),
    ("issued", |r| asked(r, |a| a.issued = None)),
    ("at", |r| {
        asked(r, |a| {
            a.at = Timestamp::from_millis(a.at.as_millis() / 1_000 * 1_000)
        })
    }),
];

/// What a store may lose of what changes.
const LOST_OF_THE_PROGRESS: &[(&str, Loses)] = &[
    ("attempts", |r| r.progress.attempts.reverse()),
    ("attempts", |r| r.progress.attempts.truncate(5)),
    ("attempts", |r| {
        for attempt in &mut r.progress.attempts {
            attempt.ended = attempt.ended.map(|mut ended| {
                ended.closed = true;
                ended
            });
        }
    }),
    ("history", |r| r.progress.history.reverse()),
    ("history", |r| r.progress.history.truncate(1)),
    ("due", |r| {
        r.progress.due = r.progress.due.filter(|due| *due < Timestamp::NEVER)
    }),
    ("progress", |r| {
        r.progress.owner = OwnerId(r.progress.owner.0 >> 1)
    }),
    ("progress", |r| {
        r.progress.lease_until = Timestamp::from_millis(0)
    }),
    ("progress", |r| r.progress.checks = 0),
    ("progress", |r| r.progress.acknowledged = false),
    ("progress", |r| r.progress.contradicted = false),
    ("progress", |r| r.progress.purged = None),
    ("answer", |r| r.answer = None),
    ("answer", |r| answer(r, |a| a.status = a.status.min(999))),
    ("answer", |r| answer(r, |a| a.headers.truncate(1))),
    ("answer", |r| answer(r, |a| a.body.truncate(200))),
];

#[tokio::test]
async fn whatever_a_journal_loses_of_a_record_is_named() {
    let claims = [LOST_OF_THE_ASKED, LOST_OF_THE_PROGRESS].concat();
    let of_claims = claims
        .iter()
        .map(|lost| (On::Claim, "a_claim_is_read_back_whole", lost));
    let of_steps = LOST_OF_THE_PROGRESS
        .iter()
        .map(|lost| (On::Step, "a_step_is_read_back_whole", lost));
    for (at, (on, law, (part, loses))) in of_claims.chain(of_steps).enumerate() {
        let broken = check_all(async || Plain::losing(on, *loses)).await;
        let broken = broken.iter().find(|broken| broken.law() == law);
        let broken = broken.unwrap_or_else(|| panic!("{at}: {part} was lost on {on:?}, unseen"));
        let told = broken.to_string();
        let (_, parts) = told
            .split_once("in: ")
            .unwrap_or_else(|| panic!("{at}: {told}"));
        assert!(
            parts.split(", ").any(|told| told == *part),
            "{at}: {part}: {told}"
        );
    }
}

#[tokio::test]
async fn a_broken_law_is_told_with_what_was_seen_and_without_bodies() {
    let broken = check(async || Plain::new(Breaks::ChecksNoVersion)).await;
    let told = broken.unwrap_err().to_string();
    assert_eq!(
        told,
        "the journal breaks the law `one_of_two_concurrent_steps_wins`: 2 of 2 steps won"
    );
    let broken = check(async || Plain::losing(On::Claim, |r| asked(r, |a| a.request.body.clear())));
    let told = broken.await.unwrap_err().to_string();
    assert!(told.ends_with("in: request.body, asked"), "{told}");
}
