//! The public suite over the shelf in memory, and over shelves that are broken on purpose: a suite that cannot fail
//! proves nothing. The one over Redis is beside its other tests.

use crate::unwrap;
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::journal::BoxFuture;
use tower_sturdy::journal::shelf::conformance::check;
use tower_sturdy::journal::shelf::{
    Expected, MemoryShelf, MemoryShelfConfig, Put, Removed, Shelf, ShelfError, Shelved,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    ComparesBeforeItWaits,
    CountsVersionsPerValue,
    CutsKeys,
    ForgetsExpiries,
    KeepsTheOldExpiry,
    RemovesBlindly,
    RunsWordsTogether,
}

#[derive(Debug)]
struct Faulty {
    inner: MemoryShelf,
    fault: Fault,
    last: AtomicU64,
}

impl Faulty {
    fn place<'a>(&self, space: &'a str, key: &'a str) -> (String, String) {
        match self.fault {
            Fault::RunsWordsTogether => ("all".to_owned(), format!("{space}:{key}")),
            Fault::CutsKeys => {
                let cut = key.split('\0').next().unwrap();
                (space.to_owned(), cut.to_owned())
            }
            _ => (space.to_owned(), key.to_owned()),
        }
    }
}

/// A version that begins anew with each value: what a counter beside the value would give.
fn per_value(shelved: Option<Shelved>) -> Option<Shelved> {
    shelved.map(|held| Shelved {
        version: u64::from(held.value[0]),
        value: held.value.slice(1..),
        ..held
    })
}

impl Shelf for Faulty {
    fn get<'a>(
        &'a self,
        space: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Shelved>, ShelfError>> {
        Box::pin(async move {
            let (space, key) = self.place(space, key);
            let found = self.inner.get(&space, &key).await?;
            Ok(match self.fault {
                Fault::CountsVersionsPerValue => per_value(found),
                _ => found,
            })
        })
    }

    fn put<'a>(
        &'a self,
        space: &'a str,
        key: &'a str,
        value: Bytes,
        expected: Expected,
        expires: Option<Timestamp>,
    ) -> BoxFuture<'a, Result<Put, ShelfError>> {
        Box::pin(async move {
            let (at, within) = self.place(space, key);
            let held = self.inner.get(&at, &within).await?;
            match self.fault {
                Fault::ComparesBeforeItWaits => {
                    let version = held.map(|held| held.version);
                    if !expected.met(version) {
                        return Ok(Put::Conflict(version));
                    }
                    tokio::task::yield_now().await;
                    let any = Expected::Any;
                    self.inner.put(&at, &within, value, any, expires).await
                }
                Fault::CountsVersionsPerValue if value.len() < 100_000 => {
                    let count = per_value(held).map(|held| held.version);
                    if !expected.met(count) {
                        return Ok(Put::Conflict(count));
                    }
                    let next = count.map_or(1, |count| (count + 1) % 256);
                    let mut counted = vec![u8::try_from(next).unwrap()];
                    counted.extend_from_slice(&value);
                    let any = Expected::Any;
                    self.inner.put(&at, &within, counted.into(), any, expires).await?;
                    Ok(Put::Stored(next))
                }
                Fault::ForgetsExpiries => {
                    self.last.fetch_add(1, Ordering::Relaxed);
                    let put = self.inner.put(&at, &within, value, expected, None);
                    put.await
                }
                Fault::KeepsTheOldExpiry => {
                    let expires = held.and_then(|held| held.expires).or(expires);
                    let put = self.inner.put(&at, &within, value, expected, expires);
                    put.await
                }
                _ => self.inner.put(&at, &within, value, expected, expires).await,
            }
        })
    }

    fn remove<'a>(
        &'a self,
        space: &'a str,
        key: &'a str,
        expected: Expected,
    ) -> BoxFuture<'a, Result<Removed, ShelfError>> {
        Box::pin(async move {
            let (space, key) = self.place(space, key);
            let expected = match self.fault {
                Fault::RemovesBlindly => Expected::Any,
                _ => expected,
            };
            self.inner.remove(&space, &key, expected).await
        })
    }
}
