//! Small values beside the journal, each replaced by compare-and-swap and gone at its expiry: inboxes of what was seen,
//! watermarks, sync times, tokens.
//!
//! # What it promises
//! - `put` and `remove` compare and change in one step: of many that expect the same version, one wins.
//! - A version is given once. After an expiry or a removal the next value gets a version that no value of that shelf
//!   ever had, so whoever still holds an old one loses (no ABA). Versions are equal or not; their order means nothing.
//! - From its expiry on, a value is absent for everybody. An expiry is wall time, judged by the shelf's own clock: the
//!   [`Clock`](crate::clock::Clock) of [`MemoryShelf`], the server's for `RedisShelf`.
//!
//! # What it does not do
//! It lists nothing, and holds nothing that money depends on: whether a write may be sent is the
//! [`Journal`](super::Journal)'s to say alone. What a shelf may lose, and when, each says on its own page; a caller must
//! be safe, if slower, with an empty one.
//!
//! # Cancel safety
//! A future that is dropped leaves its change whole or absent; `get` tells which.
//!
//! # Errors
//! [`ShelfError::Invalid`] for what is out of bounds and [`ShelfError::Full`] change nothing. After
//! [`ShelfError::Unavailable`] it is not known whether the change was made: read it back.
//!
//! # Example
//! ```
//! use bytes::Bytes;
//! use tower_sturdy::journal::shelf::{Expected, MemoryShelf, MemoryShelfConfig, Put, Shelf};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let shelf = MemoryShelf::new(MemoryShelfConfig::default())?;
//! let first = shelf
//!     .put("watermark", "9130", Bytes::from("10:00"), Expected::Absent, None)
//!     .await?;
//! let Put::Stored(version) = first else {
//!     unreachable!("it was absent")
//! };
//! // Whoever read that version may replace the value, once.
//! let mine = Expected::Version(version);
//! let second = shelf.put("watermark", "9130", Bytes::from("10:05"), mine, None).await?;
//! let third = shelf.put("watermark", "9130", Bytes::from("10:04"), mine, None).await?;
//! assert!(matches!(second, Put::Stored(_)));
//! assert!(matches!(third, Put::Conflict(Some(_))));
//! # Ok(())
//! # }
//! ```

pub mod conformance;
mod error;
mod memory;
#[cfg(feature = "redis")]
pub mod redis;

pub use error::ShelfError;
pub use memory::{MemoryShelf, MemoryShelfConfig};
#[cfg(feature = "redis")]
pub use redis::{RedisShelf, RedisShelfConfig};

use super::BoxFuture;
use crate::clock::Timestamp;
use crate::context::InvalidWord;
use bytes::Bytes;
use std::fmt;

/// The longest space, in bytes. Spaces are names in a program, not data.
pub const SPACE_MAX_LEN: usize = 64;

/// The longest key, in bytes: an operation key and a tenant fit together.
pub const KEY_MAX_LEN: usize = 1_024;

/// The longest value, in bytes: far more than a token or a page of ids, little enough to be copied at every put.
pub const VALUE_MAX_LEN: usize = 256 * 1_024;

/// A value on a shelf.
#[derive(Clone, PartialEq, Eq)]
pub struct Shelved {
    /// The value.
    pub value: Bytes,
    /// What [`Expected::Version`] must name to replace it. Equal or not; the order of two versions means nothing.
    pub version: u64,
    /// From when on it is absent; `None` for never.
    pub expires: Option<Timestamp>,
}

impl fmt::Debug for Shelved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value may be a token.
        f.debug_struct("Shelved")
            .field("bytes", &self.value.len())
            .field("version", &self.version)
            .field("expires", &self.expires)
            .finish()
    }
}

/// What must be there for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    Absent,
    /// The value with this version.
    Version(u64),
    /// Whatever is there, or nothing.
    Any,
}

impl Expected {
    /// Whether what is there is as expected.
    #[must_use]
    pub fn met(self, held: Option<u64>) -> bool {
        match self {
            Self::Absent => held.is_none(),
            Self::Version(version) => held == Some(version),
            Self::Any => true,
        }
    }
}

/// The answer to a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The value is on the shelf, with this version.
    Stored(u64),
    /// Not what was expected, and nothing was changed: the version that is there, if any.
    Conflict(Option<u64>),
}

/// The answer to a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// What was expected is no longer there.
    Gone,
    /// Not what was expected, and nothing was changed: the version that is there, if any.
    Conflict(Option<u64>),
}

/// Keeps small values. A value is found by its space (what it is for) and its key; any text will do for either, within
/// [`SPACE_MAX_LEN`] (and at least one byte) and [`KEY_MAX_LEN`]. See the [module](self) for what every shelf promises.
pub trait Shelf: Send + Sync + fmt::Debug + 'static {
    /// The value that is there now.
    fn get<'a>(
        &'a self,
        space: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Shelved>, ShelfError>>;

    /// Puts a value there, if what is there is as expected; up to [`VALUE_MAX_LEN`]. `expires` replaces the expiry of
    /// what was there. One at or after [`Timestamp::NEVER`] is none; one that is over already leaves nothing there.
    fn put<'a>(
        &'a self,
        space: &'a str,
        key: &'a str,
        value: Bytes,
        expected: Expected,
        expires: Option<Timestamp>,
    ) -> BoxFuture<'a, Result<Put, ShelfError>>;

    /// Takes away what is there, if it is as expected: how a holder gives back what it holds.
    fn remove<'a>(
        &'a self,
        space: &'a str,
        key: &'a str,
        expected: Expected,
    ) -> BoxFuture<'a, Result<Removed, ShelfError>>;
}

/// Checks the words of a call; every shelf begins with it.
///
/// # Errors
/// [`ShelfError::Invalid`], naming the word and its limit.
pub fn check_words(space: &str, key: &str) -> Result<(), ShelfError> {
    if space.is_empty() {
        let why = "it is empty: name what the value is for";
        return Err(InvalidWord::new("shelf space", why).into());
    }
    at_most(
        "shelf space",
        space.len(),
        SPACE_MAX_LEN,
        "use a short name",
    )?;
    at_most(
        "shelf key",
        key.len(),
        KEY_MAX_LEN,
        "hash long keys before use",
    )
}

/// Checks a value; every put begins with it.
///
/// # Errors
/// [`ShelfError::Invalid`], naming the limit.
pub fn check_value(value: &[u8]) -> Result<(), ShelfError> {
    at_most(
        "shelf value",
        value.len(),
        VALUE_MAX_LEN,
        "keep it elsewhere, and its address here",
    )
}

fn at_most(what: &'static str, len: usize, limit: usize, instead: &str) -> Result<(), ShelfError> {
    if len > limit {
        let why = format!("{len} bytes long; at most {limit} are allowed: {instead}");
        return Err(InvalidWord::new(what, why).into());
    }
    Ok(())
}

/// `None` for an expiry that never comes.
fn in_time(expires: Option<Timestamp>) -> Option<Timestamp> {
    expires.filter(|at| *at < Timestamp::NEVER)
}
