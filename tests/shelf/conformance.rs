//! The public suite over the shelf in memory, and over shelves that are broken on purpose: a suite that cannot fail
//! proves nothing. The one over Redis is beside its other tests.

use crate::unwrap;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Mutex;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::journal::BoxFuture;
use tower_sturdy::journal::shelf::conformance::check;
use tower_sturdy::journal::shelf::{
    Expected, KEY_MAX_LEN, MemoryShelf, MemoryShelfConfig, Put, Removed, Shelf, ShelfError, Shelved,
};

fn empty(clock: Clock) -> MemoryShelf {
    unwrap(MemoryShelf::new(MemoryShelfConfig::default())).with_clock(clock)
}

fn anchored() -> Clock {
    Clock::anchored(Timestamp::from_millis(1_790_000_000_000))
}

#[tokio::test(start_paused = true)]
async fn the_shelf_in_memory_keeps_the_laws() {
    let clock = anchored();
    unwrap(check(clock, async || empty(clock)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_them_on_several_threads_and_the_systems_clock() {
    let clock = Clock::system();
    unwrap(check(clock, async || empty(clock)).await);
}

/// What is wrong with a shelf.
#[derive(Clone, Copy, Debug)]
enum Fault {
    ComparesBeforeItWaits,
    CountsVersionsAnew,
    CutsKeys,
    EndsNothing,
    RemovesBlindly,
    RunsWordsTogether,
    TakesLongKeys,
}

type Place = (String, String);

#[derive(Debug)]
struct Faulty {
    inner: MemoryShelf,
    fault: Fault,
    /// Versions that begin anew with each value: what a counter beside the value gives.
    counts: Mutex<HashMap<Place, u64>>,
}

impl Faulty {
    fn new(clock: Clock, fault: Fault) -> Self {
        let clock = match fault {
            Fault::EndsNothing => Clock::anchored(Timestamp::from_millis(0)),
            _ => clock,
        };
        Self {
            inner: empty(clock),
            fault,
            counts: Mutex::default(),
        }
    }

    fn place(&self, space: &str, key: &str) -> Place {
        let (mut space, mut key) = (space.to_owned(), key.to_owned());
        match self.fault {
            Fault::RunsWordsTogether if key.len() < 100 => {
                key = format!("{space}:{key}");
                space = "all".to_owned();
            }
            Fault::CutsKeys => key = key.split('\0').next().unwrap().to_owned(),
            Fault::TakesLongKeys => key.truncate(KEY_MAX_LEN),
            _ => {}
        }
        (space, key)
    }

    async fn find(&self, place: &Place) -> Result<Option<Shelved>, ShelfError> {
        let mut found = self.inner.get(&place.0, &place.1).await?;
        if let (Fault::CountsVersionsAnew, Some(held)) = (self.fault, &mut found) {
            held.version = self.counts.lock().unwrap()[place];
        }
        Ok(found)
    }
}

impl Shelf for Faulty {
    fn get<'a>(
        &'a self,
        space: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Shelved>, ShelfError>> {
        Box::pin(async move { self.find(&self.place(space, key)).await })
    }

    fn put<'a>(
        &'a self,
        space: &'a str,
        key: &'a str,
        value: Bytes,
        mut expected: Expected,
        expires: Option<Timestamp>,
    ) -> BoxFuture<'a, Result<Put, ShelfError>> {
        Box::pin(async move {
            let place = self.place(space, key);
            let held = self.find(&place).await?.map(|held| held.version);
            if let Fault::ComparesBeforeItWaits | Fault::CountsVersionsAnew = self.fault {
                if !expected.met(held) {
                    return Ok(Put::Conflict(held));
                }
                expected = Expected::Any;
            }
            if let Fault::ComparesBeforeItWaits = self.fault {
                tokio::task::yield_now().await;
            }
            let put = self.inner.put(&place.0, &place.1, value, expected, expires);
            let put = put.await?;
            Ok(match self.fault {
                Fault::CountsVersionsAnew => {
                    let count = held.map_or(1, |count| count + 1);
                    self.counts.lock().unwrap().insert(place, count);
                    Put::Stored(count)
                }
                _ => put,
            })
        })
    }

    fn remove<'a>(
        &'a self,
        space: &'a str,
        key: &'a str,
        mut expected: Expected,
    ) -> BoxFuture<'a, Result<Removed, ShelfError>> {
        Box::pin(async move {
            let place = self.place(space, key);
            if let Fault::RemovesBlindly | Fault::CountsVersionsAnew = self.fault {
                let held = self.find(&place).await?.map(|held| held.version);
                if matches!(self.fault, Fault::CountsVersionsAnew) && !expected.met(held) {
                    return Ok(Removed::Conflict(held));
                }
                expected = Expected::Any;
            }
            self.inner.remove(&place.0, &place.1, expected).await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn every_broken_shelf_is_told_which_law_it_breaks() {
    for (fault, law) in [
        (Fault::ComparesBeforeItWaits, "one_of_many_puts_wins"),
        (Fault::CountsVersionsAnew, "a_version_is_given_once"),
        (Fault::CutsKeys, "a_value_is_found_at_its_own_place_only"),
        (Fault::EndsNothing, "a_value_is_absent_from_its_expiry_on"),
        (
            Fault::RemovesBlindly,
            "a_removal_that_expects_otherwise_changes_nothing",
        ),
        (
            Fault::RunsWordsTogether,
            "a_value_is_found_at_its_own_place_only",
        ),
        (Fault::TakesLongKeys, "what_is_out_of_bounds_is_refused"),
    ] {
        let clock = anchored();
        let broken = check(clock, async || Faulty::new(clock, fault))
            .await
            .expect_err("a broken shelf passed");
        assert_eq!(broken.law(), law, "{fault:?}: {broken}");
    }
}
