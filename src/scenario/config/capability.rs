//! What the upstream offers for a write, as a scenario's file deals it out.

use crate::scenario::error::ScenarioError;
use crate::scenario::span::fail;
use serde::{Deserialize, Serialize};

/// What a write is declared as: the kinds of [`Capability`](crate::journal::Capability).
///
/// It is in the extensions of every write that the simulated application makes, so that a line-up can treat each as what
/// it is: who sets a `requestid` sets it on `Keyed` ones alone, for on the others the upstream would not honour it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteCapability {
    /// The upstream honours a key.
    #[default]
    Keyed,
    /// It does not, but a mark planted in the write can be found again.
    Lookup,
    /// Neither: it carries no mark, and leaves at most once.
    None,
}

impl WriteCapability {
    /// What is left of it where the upstream honours keys, or does not.
    #[must_use]
    pub const fn where_keys_are(self, honoured: bool) -> Self {
        match self {
            Self::Keyed if !honoured => Self::Lookup,
            declared => declared,
        }
    }
}

/// Which share of the writes is declared as what. The rest is keyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CapabilityShares {
    /// Those that only a look-up can settle.
    pub lookup: f64,
    /// Those that nothing can settle, and that leave at most once.
    pub none: f64,
}

impl CapabilityShares {
    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        for (field, share) in [
            ("load.capability.lookup", self.lookup),
            ("load.capability.none", self.none),
        ] {
            super::check::share(field, share)?;
        }
        if self.lookup + self.none > 1.0 {
            return fail(
                "load.capability",
                "has shares that come to more than 1 together: leave some writes to be keyed, or none",
            );
        }
        Ok(())
    }

    /// The kind of a write, by a draw from 0 to 1.
    pub(in crate::scenario) fn at(&self, drawn: f64) -> WriteCapability {
        if drawn < self.lookup {
            WriteCapability::Lookup
        } else if drawn < self.lookup + self.none {
            WriteCapability::None
        } else {
            WriteCapability::Keyed
        }
    }
}
