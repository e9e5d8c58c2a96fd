//! The laws that every [`Shelf`] keeps, as a suite for whoever writes one.
//!
//! [`check`] runs each law on an empty shelf of its own and names the first one that is broken. What it cannot check is
//! what a shelf keeps when its server is stopped, lost or replaced.
//!
//! ```
//! use tower_sturdy::clock::Clock;
//! use tower_sturdy::journal::conformance::Broken;
//! use tower_sturdy::journal::shelf::{MemoryShelf, MemoryShelfConfig, conformance};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Broken> {
//! let empty = async || MemoryShelf::new(MemoryShelfConfig::default()).expect("the default works");
//! conformance::check(Clock::system(), empty).await
//! # }
//! ```

mod bounds;
mod expiry;
mod versions;

use super::{Expected, Put, Removed, Shelf, Shelved};
use crate::clock::{Clock, Timestamp};
use crate::journal::conformance::{Broken, Found, must, told};
use bytes::Bytes;
use std::sync::Arc;

/// A shelf under test, and the clock that its expiry follows.
struct Bench<S> {
    shelf: Arc<S>,
    clock: Clock,
}

const SPACE: &str = "space";

impl<S: Shelf> Bench<S> {
    async fn put_at(
        &self,
        (space, key): (&str, &str),
        value: impl Into<Bytes>,
        expected: Expected,
        expires: Option<Timestamp>,
    ) -> Result<Put, String> {
        let put = self.shelf.put(space, key, value.into(), expected, expires);
        told("put", put.await)
    }

    /// A put that must succeed; its version.
    async fn stored_at(
        &self,
        place: (&str, &str),
        value: impl Into<Bytes>,
        expected: Expected,
        expires: Option<Timestamp>,
    ) -> Result<u64, String> {
        match self.put_at(place, value, expected, expires).await? {
            Put::Stored(version) => Ok(version),
            Put::Conflict(held) => Err(format!(
                "a put to {place:?} that expects {expected:?} met {held:?}"
            )),
        }
    }

    async fn stored(&self, key: &str, value: &str, expected: Expected) -> Result<u64, String> {
        let value = Bytes::copy_from_slice(value.as_bytes());
        self.stored_at((SPACE, key), value, expected, None).await
    }

    /// A put that must meet `held` and change nothing.
    async fn refused(&self, key: &str, expected: Expected, held: Option<u64>) -> Found {
        let answer = self.put_at((SPACE, key), "refused", expected, None).await?;
        must(answer == Put::Conflict(held), || {
            format!("a put that expects {expected:?} where {held:?} is got {answer:?}")
        })
    }

    async fn removed(&self, key: &str, expected: Expected, answer: Removed) -> Found {
        let told = told("remove", self.shelf.remove(SPACE, key, expected).await)?;
        must(told == answer, || {
            format!("a removal that expects {expected:?} got {told:?}, not {answer:?}")
        })
    }

    async fn get_at(&self, (space, key): (&str, &str)) -> Result<Option<Shelved>, String> {
        told("get", self.shelf.get(space, key).await)
    }

    /// What must be there, in every part.
    async fn holds_at(&self, place: (&str, &str), expected: &Shelved) -> Found {
        let found = self.get_at(place).await?;
        must(found.as_ref() == Some(expected), || {
            format!("{place:?} holds {found:?}, not {expected:?}")
        })
    }

    async fn holds(&self, key: &str, value: &str, version: u64) -> Found {
        let expected = Shelved {
            value: Bytes::copy_from_slice(value.as_bytes()),
            version,
            expires: None,
        };
        self.holds_at((SPACE, key), &expected).await
    }

    async fn holds_nothing(&self, key: &str) -> Found {
        let found = self.get_at((SPACE, key)).await?;
        must(found.is_none(), || {
            format!("{key:?} holds {found:?}, and should hold nothing")
        })
    }
}

/// Runs every law on a fresh, empty shelf each. `clock` is the one that expiry follows: the shelf's own, or the
/// system's where a server judges. Must be awaited inside a tokio runtime: some laws use tasks, some wait.
///
/// # Errors
/// The first law that is broken.
pub async fn check<S: Shelf, F: AsyncFn() -> S>(clock: Clock, make: F) -> Result<(), Broken> {
    macro_rules! laws {
        ($($room:ident::$law:ident),* $(,)?) => {$(
            $room::$law(Bench { shelf: Arc::new(make().await), clock })
                .await
                .map_err(|why| Broken { what: "shelf", law: stringify!($law), why })?;
        )*};
    }
    laws!(
        bounds::any_text_and_any_bytes_are_read_back_whole,
        bounds::a_value_is_found_at_its_own_place_only,
        bounds::what_is_out_of_bounds_is_refused,
        versions::a_put_that_expects_otherwise_changes_nothing,
        versions::a_removal_that_expects_otherwise_changes_nothing,
        versions::one_of_many_puts_wins,
        versions::no_concurrent_change_is_lost,
        versions::a_version_is_given_once,
        versions::a_put_that_is_dropped_is_whole_or_absent,
        expiry::a_value_is_absent_from_its_expiry_on,
        expiry::a_put_replaces_the_expiry,
        expiry::what_is_over_already_leaves_nothing,
        expiry::an_old_version_never_wins_after_an_expiry,
    );
    Ok(())
}
