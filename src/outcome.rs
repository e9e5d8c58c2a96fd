//! What happened to an attempt, and what to do about it.
//!
//! An [`Outcome`] says what is known of the upstream's state; an [`Advice`] says what the answer asks for; a
//! [`Verdict`] carries both, and is made exactly once per attempt (by [`Classify`](crate::classify::Classify)).

use std::fmt;
use std::time::Duration;

/// What is known of one attempt.
///
/// The order is the order of [`Outcome::join`]: the outcome of an operation is the *join* of its attempts, never the
/// last one. A refusal after an unknown attempt does not make the operation refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Affirmed by the transport: no byte of it was dispatched.
    Unsent,
    /// Provably nothing happened; the same attempt may be made again.
    NoEffect,
    /// A final business refusal without effect.
    Rejected,
    /// Everything else: the effect may have happened, may be happening, or may not.
    Unknown,
    /// The answer holds positive proof of the effect (of a read: a good answer).
    Applied,
}

impl Outcome {
    /// What is known after two attempts of one operation: proof beats doubt, doubt beats refusal, refusal beats
    /// "nothing happened".
    #[must_use]
    pub const fn join(self, other: Self) -> Self {
        if self as u8 >= other as u8 {
            self
        } else {
            other
        }
    }

    /// Whether the upstream is known not to have changed.
    #[must_use]
    pub const fn is_without_effect(self) -> bool {
        matches!(self, Self::Unsent | Self::NoEffect | Self::Rejected)
    }

    /// The stable word for logs, metrics and stored records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::NoEffect => "no_effect",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown",
            Self::Applied => "applied",
        }
    }

    /// Reads the word that [`Outcome::as_str`] wrote.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::Unsent,
            Self::NoEffect,
            Self::Rejected,
            Self::Unknown,
            Self::Applied,
        ]
        .into_iter()
        .find(|outcome| outcome.as_str() == word)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an answer asks the caller to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Advice {
    /// Nothing more to do: take the answer as it is.
    Accept,
    /// Transient: the same attempt may succeed later, not before `after` when the upstream named a time.
    Retry {
        /// The upstream's `Retry-After`, if it gave one.
        after: Option<Duration>,
    },
    /// The upstream throttles this tenant; nothing of the same kind should be sent before `after`.
    Throttled {
        /// The upstream's `Retry-After`, if it gave one.
        after: Option<Duration>,
    },
    /// The credentials were refused before anything was done.
    Reauthenticate,
    /// Trying again will not help.
    Stop,
}

impl Advice {
    /// The time the upstream asked for, if it did.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Retry { after } | Self::Throttled { after } => after,
            Self::Accept | Self::Reauthenticate | Self::Stop => None,
        }
    }
}

/// The judgement of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// What is known of the effect.
    pub outcome: Outcome,
    /// What to do next.
    pub advice: Advice,
    /// Whether a cache may keep this answer (a 200 that carries a fault is no good answer).
    pub cacheable: bool,
    /// Whether the attempt is over for the upstream too. An attempt that timed out, was reset, or was given up by a
    /// gateway in front of the upstream is *open*: its effect may still land within the settle window.
    pub closed: bool,
}

impl Verdict {
    /// Proof of the effect; for a read, a good answer.
    pub const APPLIED: Self = Self::closed(Outcome::Applied, Advice::Accept);
    /// A final refusal without effect.
    pub const REJECTED: Self = Self::closed(Outcome::Rejected, Advice::Stop);
    /// The transport affirms that nothing was dispatched.
    pub const UNSENT: Self = Self::closed(Outcome::Unsent, Advice::Retry { after: None });
    /// Nobody knows, and the upstream may still be at work.
    pub const OPEN: Self = Self {
        outcome: Outcome::Unknown,
        advice: Advice::Retry { after: None },
        cacheable: false,
        closed: false,
    };

    /// A verdict on an attempt whose whole answer was read (or that was never sent).
    #[must_use]
    pub const fn closed(outcome: Outcome, advice: Advice) -> Self {
        Self {
            outcome,
            advice,
            cacheable: false,
            closed: true,
        }
    }

    /// The same verdict, with the answer allowed into caches.
    #[must_use]
    pub const fn cacheable(mut self) -> Self {
        self.cacheable = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_outcome() -> impl Strategy<Value = Outcome> {
        prop::sample::select(vec![
            Outcome::Unsent,
            Outcome::NoEffect,
            Outcome::Rejected,
            Outcome::Unknown,
            Outcome::Applied,
        ])
    }

    #[test]
    fn every_outcome_is_shown_and_stored_by_its_own_word() {
        for (outcome, word) in [
            (Outcome::Unsent, "unsent"),
            (Outcome::NoEffect, "no_effect"),
            (Outcome::Rejected, "rejected"),
            (Outcome::Unknown, "unknown"),
            (Outcome::Applied, "applied"),
        ] {
            assert_eq!(outcome.as_str(), word);
            assert_eq!(outcome.to_string(), word);
            assert_eq!(Outcome::parse(word), Some(outcome));
        }
        assert_eq!(Outcome::parse(""), None);
    }

    proptest! {
        #[test]
        fn join_is_a_semilattice(a in any_outcome(), b in any_outcome(), c in any_outcome()) {
            prop_assert_eq!(a.join(a), a);
            prop_assert_eq!(a.join(b), b.join(a));
            prop_assert_eq!(a.join(b).join(c), a.join(b.join(c)));
        }

        #[test]
        fn a_refusal_never_hides_doubt_and_doubt_never_hides_proof(a in any_outcome()) {
            prop_assert!(a.join(Outcome::Unknown) >= Outcome::Unknown);
            prop_assert_eq!(a.join(Outcome::Applied), Outcome::Applied);
        }

        #[test]
        fn words_read_back(a in any_outcome()) {
            prop_assert_eq!(Outcome::parse(a.as_str()), Some(a));
        }
    }
}
