//! A shelf in memory: gone with the process, and not shared between hosts.
//!
//! Bounded in values and in bytes. What is over is taken away first, the longest over first; a shelf that is full of
//! values that are not over refuses a new one, and forgets none: what was acknowledged stays until its expiry.

use super::{
    BoxFuture, Expected, Put, Removed, Shelf, ShelfError, Shelved, check_value, check_words,
    in_time,
};
use crate::clock::{Clock, Timestamp};
use crate::error::InvalidConfig;
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much a [`MemoryShelf`] holds. Plain data; checked by [`MemoryShelf::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct MemoryShelfConfig {
    /// How many values.
    pub values: usize,
    /// How many bytes of spaces, keys and values together.
    pub bytes: usize,
}

impl Default for MemoryShelfConfig {
    fn default() -> Self {
        Self {
            // An inbox of some hours at ten notices a second.
            values: 100_000,
            // Some hundreds of bytes each.
            bytes: 64 * 1_024 * 1_024,
        }
    }
}

type Place = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
struct Held {
    values: HashMap<Place, Shelved>,
    by_expiry: BTreeSet<(Timestamp, Place)>,
    bytes: usize,
    /// Counts every put, so no version is given twice.
    version: u64,
}

/// See the [module](super). Clones share the same values.
#[derive(Clone)]
pub struct MemoryShelf {
    config: MemoryShelfConfig,
    clock: Clock,
    held: Arc<Mutex<Held>>,
}

impl fmt::Debug for MemoryShelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.lock();
        f.debug_struct("MemoryShelf")
            .field("config", &self.config)
            .field("values", &held.values.len())
            .field("bytes", &held.bytes)
            .finish_non_exhaustive()
    }
}

impl MemoryShelf {
    /// An empty shelf on the system's clock.
    ///
    /// # Errors
    /// When there is place for nothing.
    pub fn new(config: MemoryShelfConfig) -> Result<Self, InvalidConfig> {
        for (field, limit) in [("values", config.values), ("bytes", config.bytes)] {
            if limit == 0 {
                let why = "is 0: the shelf could hold nothing; leave it out for the default";
                return Err(InvalidConfig::new(field, why));
            }
        }
        Ok(Self {
            config,
            clock: Clock::system(),
            held: Arc::default(),
        })
    }

    /// The same shelf, with expiry judged by another clock: for simulations.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How many values are there, counting what is over and not yet taken away.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().values.len()
    }

    /// Whether nothing is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Every change below is made after its checks, so a panic elsewhere cannot leave half of one.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_now(
        &self,
        place: Place,
        value: Bytes,
        expected: Expected,
        expires: Option<Timestamp>,
    ) -> Result<Put, ShelfError> {
        let mut held = self.lock();
        held.take_what_is_over(self.clock.wall());
        let before = held.values.get(&place);
        let version = before.map(|shelved| shelved.version);
        if !expected.met(version) {
            return Ok(Put::Conflict(version));
        }
        let freed = before.map_or(0, |shelved| weight(&place, &shelved.value));
        let MemoryShelfConfig { values, bytes } = self.config;
        if before.is_none() && held.values.len() >= values {
            let limit = format!("{values} values");
            return Err(ShelfError::Full { limit });
        }
        if held.bytes - freed + weight(&place, &value) > bytes {
            let limit = format!("{bytes} bytes");
            return Err(ShelfError::Full { limit });
        }
        Ok(Put::Stored(held.put(place, value, expires)))
    }
}

/// What a value counts for.
fn weight((space, key): &Place, value: &[u8]) -> usize {
    space.len() + key.len() + value.len()
}

impl Held {
    fn put(&mut self, place: Place, value: Bytes, expires: Option<Timestamp>) -> u64 {
        self.take(&place);
        // At a billion puts a second it would take centuries to come round.
        self.version = self.version.wrapping_add(1);
        let version = self.version;
        self.bytes += weight(&place, &value);
        if let Some(at) = expires {
            self.by_expiry.insert((at, place.clone()));
        }
        let shelved = Shelved {
            value,
            version,
            expires,
        };
        self.values.insert(place, shelved);
        version
    }

    fn take(&mut self, place: &Place) {
        if let Some(taken) = self.values.remove(place) {
            self.bytes -= weight(place, &taken.value);
            if let Some(at) = taken.expires {
                self.by_expiry.remove(&(at, place.clone()));
            }
        }
    }

    fn take_what_is_over(&mut self, now: Timestamp) {
        while let Some((_, place)) = self.by_expiry.first().filter(|(at, _)| *at <= now) {
            let place = place.clone();
            self.take(&place);
        }
    }
}

fn place(space: &str, key: &str) -> Place {
    (Arc::from(space), Arc::from(key))
}

impl Shelf for MemoryShelf {
    fn get<'a>(
        &'a self,
        space: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Shelved>, ShelfError>> {
        let found = check_words(space, key).map(|()| {
            let mut held = self.lock();
            held.take_what_is_over(self.clock.wall());
            held.values.get(&place(space, key)).cloned()
        });
        Box::pin(ready(found))
    }

    fn put<'a>(
        &'a self,
        space: &'a str,
        key: &'a str,
        value: Bytes,
        expected: Expected,
        expires: Option<Timestamp>,
    ) -> BoxFuture<'a, Result<Put, ShelfError>> {
        let put = check_words(space, key)
            .and_then(|()| check_value(&value))
            .and_then(|()| self.put_now(place(space, key), value, expected, in_time(expires)));
        Box::pin(ready(put))
    }

    fn remove<'a>(
        &'a self,
        space: &'a str,
        key: &'a str,
        expected: Expected,
    ) -> BoxFuture<'a, Result<Removed, ShelfError>> {
        let removed = check_words(space, key).map(|()| {
            let mut held = self.lock();
            held.take_what_is_over(self.clock.wall());
            let place = place(space, key);
            let version = held.values.get(&place).map(|shelved| shelved.version);
            if !expected.met(version) {
                return Removed::Conflict(version);
            }
            held.take(&place);
            Removed::Gone
        });
        Box::pin(ready(removed))
    }
}
