//! Times as people write them.

use super::error::ScenarioError;
use crate::error::InvalidConfig;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// A stretch of time, in a file written as `"300ms"`, `"2m"` or `"1h 30m"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// Whole seconds.
    #[must_use]
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// Whole milliseconds.
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// As the standard library's type.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }

    // People who double-click do so in a fifth of a second or so; desktop systems allow 500 ms by default.
    pub(super) const fn double_click() -> Self {
        Self::millis(180)
    }

    pub(super) const fn down() -> Self {
        Self::secs(3)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

/// The longest time that a scenario may name: a year keeps every sum of times far from overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.trim_start().starts_with('-') {
            return Err(D::Error::custom(format!(
                "\"{text}\" is a negative time: write a positive one, such as \"300ms\", \"20s\" or \"2m\""
            )));
        }
        let span = humantime::parse_duration(&text).map_err(|why| {
            D::Error::custom(format!(
                "\"{text}\" is no time ({why}): write one such as \"300ms\", \"20s\" or \"2m\""
            ))
        })?;
        if span > LONGEST {
            return Err(D::Error::custom(format!(
                "\"{text}\" is over a year: write a shorter time, such as \"2h\""
            )));
        }
        Ok(Self(span))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(self.0))
    }
}

pub(super) fn fail<T>(
    field: impl Into<String>,
    why: impl Into<String>,
) -> Result<T, ScenarioError> {
    Err(ScenarioError::Setting(InvalidConfig::new(field, why)))
}
