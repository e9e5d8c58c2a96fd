//! Why a shelf did not do what it was asked.

use crate::context::InvalidWord;
use crate::error::BoxError;
use std::fmt;
use std::sync::Arc;

/// Why a shelf did not do what it was asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ShelfError {
    /// A space, key or value out of bounds. Nothing was changed.
    Invalid(InvalidWord),
    /// No place for another value. Nothing was changed.
    Full {
        /// What there is place for, with its unit.
        limit: String,
    },
    /// The store failed; whether the change was made is not known. Read it back.
    Unavailable(Arc<dyn std::error::Error + Send + Sync>),
}

impl ShelfError {
    /// The store failed.
    #[must_use]
    pub fn unavailable(source: impl Into<BoxError>) -> Self {
        Self::Unavailable(Arc::from(source.into()))
    }
}

impl From<InvalidWord> for ShelfError {
    fn from(word: InvalidWord) -> Self {
        Self::Invalid(word)
    }
}

impl fmt::Display for ShelfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(word) => word.fmt(f),
            Self::Full { limit } => write!(
                f,
                "the shelf is full of values that are not over ({limit}): give values an expiry, or raise the limit"
            ),
            Self::Unavailable(source) => write!(f, "the shelf failed: {source}"),
        }
    }
}

impl std::error::Error for ShelfError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Invalid(word) => Some(word),
            Self::Unavailable(source) => Some(&**source),
            Self::Full { .. } => None,
        }
    }
}
