//! The laws of purge over journals that forget wrongly.

use tower_sturdy::clock::Timestamp;
use tower_sturdy::journal::conformance::check_purge;
use tower_sturdy::journal::{
    BoxFuture, Claim, Durability, Filter, Journal, JournalError, Keep, Lookup, MemoryJournal,
    Purge, Purged, Record,
};

/// What is wrong with a journal.
#[derive(Clone, Copy, Debug)]
enum Fault {
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
            match (self.1, self.0.claim(record).await?) {
                (Fault::TakesWhatItForgot, Claim::Expired) => Ok(Claim::Claimed),
                (_, claim) => Ok(claim),
            }
        })
    }

    fn step<'a>(&'a self, next: &'a Record) -> BoxFuture<'a, Result<(), JournalError>> {
        self.0.step(next)
    }

    fn get<'a>(&'a self, which: Lookup<'a>) -> BoxFuture<'a, Result<Option<Record>, JournalError>> {
        self.0.get(which)
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> BoxFuture<'a, Result<Vec<Record>, JournalError>> {
        self.0.list(filter)
    }
}

impl Purge for Faulty {
    fn purge(&self, before: Timestamp, keep: Keep) -> BoxFuture<'_, Result<Purged, JournalError>> {
        let second = std::time::Duration::from_secs(1);
        match self.1 {
            Fault::PurgesTooSoon => self.0.purge(before.plus(second), keep),
            Fault::PurgesNothing => self.0.purge(Timestamp::default(), keep),
            Fault::TakesWhatItForgot => self.0.purge(before, keep),
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
