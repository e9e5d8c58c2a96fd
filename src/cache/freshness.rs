//! What an answer is still good for, and how long a write casts doubt on reads. Pure.

use crate::error::{Error, Kind};
use crate::outcome::{Advice, Outcome, Verdict};
use std::time::Duration;

/// What a kept answer is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// To be given at once.
    Fresh,
    /// To be given where the upstream fails or is slow.
    Spare,
    /// A write came after it: only for those who ask for such answers by name.
    Revoked,
    /// Too old for anything.
    Useless,
}

/// `valid`: no write on what it tells of has begun since it was asked for.
pub(super) fn standing(valid: bool, age: Duration, ttl: Duration, stale_for: Duration) -> Standing {
    if age >= ttl.saturating_add(stale_for) {
        Standing::Useless
    } else if !valid {
        Standing::Revoked
    } else if age < ttl {
        Standing::Fresh
    } else {
        Standing::Spare
    }
}

/// Whether the upstream failed for a moment, so that an older answer may stand in. A refusal is an answer: it is told.
pub(super) fn failed(verdict: Verdict) -> bool {
    verdict.outcome != Outcome::Applied
        && matches!(
            verdict.advice,
            Advice::Retry { .. } | Advice::Throttled { .. }
        )
}

/// The same of an error, whose judgement does not tell a missed deadline from a wrong request.
pub(super) fn failed_with(error: &Error) -> bool {
    error.kind() == Kind::Deadline || failed(error.verdict())
}

/// How long after the end of a write reads may still show the state before it, or change once more.
pub(super) fn hold(verdict: Verdict, read_lag: Duration, settle_window: Duration) -> Duration {
    if verdict.outcome.is_without_effect() {
        Duration::ZERO
    } else if verdict.closed {
        read_lag
    } else {
        // It may land as the window closes, and shows only after the lag.
        settle_window.saturating_add(read_lag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_answer_is_given_past_its_bound(valid: bool, age in 0_u64..100, ttl in 0_u64..50, stale in 0_u64..50) {
            let seconds = Duration::from_secs;
            let standing = standing(valid, seconds(age), seconds(ttl), seconds(stale));
            prop_assert_eq!(standing == Standing::Useless, age >= ttl + stale);
            prop_assert!(standing != Standing::Fresh || age < ttl);
        }

        #[test]
        fn an_answer_from_before_a_write_is_never_fresh_nor_a_spare(age in 0_u64..100, ttl in 0_u64..50, stale in 0_u64..50) {
            let seconds = Duration::from_secs;
            let standing = standing(false, seconds(age), seconds(ttl), seconds(stale));
            prop_assert!(matches!(standing, Standing::Revoked | Standing::Useless));
        }
    }

    #[test]
    fn a_write_in_doubt_holds_back_reads_until_the_last_it_can_do_shows() {
        let (lag, window) = (Duration::from_secs(5), Duration::from_secs(300));
        assert_eq!(hold(Verdict::OPEN, lag, window), window + lag);
        assert_eq!(hold(Verdict::APPLIED, lag, window), lag);
        assert_eq!(hold(Verdict::REJECTED, lag, window), Duration::ZERO);
    }

    #[test]
    fn a_refusal_is_told_and_a_failure_is_stood_in_for() {
        assert!(!failed(Verdict::REJECTED));
        assert!(failed(Verdict::UNSENT));
        assert!(failed_with(&Error::Deadline));
        assert!(!failed_with(&Error::invalid("no")));
    }
}
