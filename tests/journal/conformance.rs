//! The public suite over our journals, and over journals that are broken on purpose: a suite that cannot fail proves
//! nothing.

use crate::sample::unwrap;
use std::sync::Arc;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::journal::conformance::{check, check_purge};
use tower_sturdy::journal::{
    BoxFuture, Claim, Durability, Filter, Journal, JournalError, Keep, Lookup, MemoryJournal,
    Purge, Purged, Record, State,
};

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

/// What is wrong with a journal.
#[derive(Clone, Copy, Debug)]
enum Fault {
    ForgetsAnswers,
    GrantsEveryClaim,
    OverwritesOnStep,
    ListsEverything,
    LosesConflicts,
    ChangesTheAsked,
    BeginsAgainBesideAnother,
    HoldsWhatNobodyWorksOn,
    TakesWhatItForgot,
    PurgesTooSoon,
    PurgesNothing,
}

#[derive(Debug)]
struct Faulty(MemoryJournal, Fault);

impl Journal for Faulty {
    fn durability(&self) -> Durability {
        self.0.durability()
    }

    fn claim<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, Result<Claim, JournalError>> {
        Box::pin(async move {
            let mut record = record.clone();
            match self.1 {
                Fault::ForgetsAnswers => record.answer = None,
                Fault::LosesConflicts if record.asked.conflict.as_deref() == Some("bill") => {
                    let mut asked = (*record.asked).clone();
                    asked.conflict = None;
                    record.asked = Arc::new(asked);
                }
                _ => {}
            }
            if let Fault::HoldsWhatNobodyWorksOn = self.1 {
                let idle = |other: &Record| other.state() == State::Ready;
                let all = self.0.list(&Filter::default()).await?;
                let mut others = all.into_iter().filter(idle);
                if let Some(other) = others.find(|other| other.asked.conflict.is_some()) {
                    return Ok(Claim::Conflict(Box::new(other)));
                }
            }
            let claim = self.0.claim(&record).await?;
            Ok(match (self.1, claim) {
                (Fault::GrantsEveryClaim, _) => Claim::Claimed,
                (Fault::TakesWhatItForgot, Claim::Expired) => Claim::Claimed,
                (_, claim) => claim,
            })
        })
    }

    fn step<'a>(&'a self, next: &'a Record) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            let mut next = next.clone();
            if let (Fault::OverwritesOnStep, Some(current)) =
                (self.1, self.0.get(Lookup::Id(next.id())).await?)
            {
                next.progress.version = current.progress.version + 1;
            }
            match (self.1, self.0.step(&next).await) {
                (Fault::BeginsAgainBesideAnother, Err(JournalError::Contended(_))) => Ok(()),
                (_, stepped) => stepped,
            }
        })
    }

    fn get<'a>(&'a self, which: Lookup<'a>) -> BoxFuture<'a, Result<Option<Record>, JournalError>> {
        Box::pin(async move {
            let mut found = self.0.get(which).await?;
            if let (Fault::ChangesTheAsked, Some(record)) = (self.1, &mut found)
                && record.progress.version == 2
            {
                let mut asked = (*record.asked).clone();
                asked.upstream_key.push('!');
                record.asked = Arc::new(asked);
            }
            Ok(found)
        })
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> BoxFuture<'a, Result<Vec<Record>, JournalError>> {
        Box::pin(async move {
            match self.1 {
                Fault::ListsEverything => {
                    let all = Filter {
                        limit: filter.limit,
                        skip: filter.skip,
                        ..Filter::default()
                    };
                    self.0.list(&all).await
                }
                _ => self.0.list(filter).await,
            }
        })
    }
}

#[tokio::test]
async fn every_broken_journal_is_told_which_law_it_breaks() {
    for (fault, law) in [
        (Fault::ForgetsAnswers, "a_claim_is_read_back_whole"),
        (
            Fault::GrantsEveryClaim,
            "an_existing_key_is_returned_whole_and_kept",
        ),
        (
            Fault::LosesConflicts,
            "one_of_many_claims_of_a_conflict_key_wins",
        ),
        (Fault::OverwritesOnStep, "one_of_two_concurrent_steps_wins"),
        (Fault::ChangesTheAsked, "a_step_is_read_back_whole"),
        (
            Fault::BeginsAgainBesideAnother,
            "what_begins_again_takes_its_conflict_key_or_changes_nothing",
        ),
        (
            Fault::HoldsWhatNobodyWorksOn,
            "what_nobody_works_on_holds_no_conflict_key",
        ),
        (Fault::ListsEverything, "a_listing_keeps_to_its_filter"),
    ] {
        let broken = check(async || Faulty(MemoryJournal::new(), fault))
            .await
            .expect_err("a broken journal passed");
        assert_eq!(broken.law(), law, "{fault:?}: {broken}");
    }
}

impl Purge for Faulty {
    fn purge(&self, before: Timestamp, keep: Keep) -> BoxFuture<'_, Result<Purged, JournalError>> {
        let second = std::time::Duration::from_secs(1);
        match self.1 {
            Fault::PurgesTooSoon => self.0.purge(before.plus(second), keep),
            Fault::PurgesNothing => self.0.purge(Timestamp::default(), keep),
            _ => self.0.purge(before, keep),
        }
    }
}

#[tokio::test]
async fn every_journal_that_forgets_wrongly_is_told_which_law_it_breaks() {
    for (fault, law) in [
        (
            Fault::TakesWhatItForgot,
            "a_deleted_key_is_never_taken_as_new",
        ),
        (Fault::PurgesTooSoon, "only_what_is_over_is_purged"),
        (Fault::PurgesNothing, "only_what_is_over_is_purged"),
    ] {
        let broken = check_purge(async || Faulty(MemoryJournal::new(), fault))
            .await
            .expect_err("a broken journal passed");
        assert_eq!(broken.law(), law, "{fault:?}: {broken}");
    }
}
