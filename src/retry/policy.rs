//! Whether another attempt follows, and after which wait. Pure: no clock, no chance of its own, no I/O.

use super::layer::{Jitter, Profile};
use crate::classify::{Route, Safety, without_effect_if_read};
use crate::outcome::{Advice, Outcome, Verdict};
use std::time::Duration;

/// All that is known when an attempt has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Which attempt ended, from 1.
    pub(super) attempt: u32,
    /// How it was judged.
    pub(super) verdict: Verdict,
    /// Whether the request may change something.
    pub(super) safety: Safety,
    /// Whether it is an operation under a key, so that a gate below watches every send.
    pub(super) keyed: bool,
    /// Whether an earlier attempt of it is in doubt.
    pub(super) doubted: bool,
    /// The time in which another attempt may still start.
    pub(super) left: Duration,
}

/// Which result the caller gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// That of the attempt that just ended.
    Latest,
    /// The earlier one in doubt: what came later does not take the doubt away.
    Doubt,
}

/// Why no attempt follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The answer is final.
    Final,
    /// The write may still be running upstream.
    Open,
    /// Nothing would stop the write from having its effect twice.
    NoKey,
    /// The attempts are used up.
    Attempts,
    /// The wait would pass the deadline.
    Deadline,
    /// The tenant's retry budget is spent.
    Budget,
}

impl Why {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Final => "the answer is final",
            Self::Open => "the write is in doubt and may still be running",
            Self::NoKey => "the write is in doubt and is no operation under a key",
            Self::Attempts => "the attempts are used up",
            Self::Deadline => "the next attempt would start past the deadline",
            Self::Budget => "the tenant's retry budget is spent",
        }
    }
}

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing: the caller gets a result.
    Return(Why),
    /// Another attempt, after this wait.
    Wait(Duration),
}

/// Decides what follows the attempt that `seen` describes; `fraction` is drawn from `[0, 1)` only for a wait.
pub(super) fn decide(profile: &Profile, seen: &Seen, fraction: impl FnOnce() -> f64) -> Decision {
    let verdict = judged(seen);
    match verdict.outcome {
        Outcome::Applied | Outcome::Rejected => return Decision::Return(Why::Final),
        Outcome::Unknown if !verdict.closed => return Decision::Return(Why::Open),
        Outcome::Unknown if !seen.keyed => return Decision::Return(Why::NoKey),
        Outcome::Unknown | Outcome::NoEffect | Outcome::Unsent => {}
    }
    match verdict.advice {
        Advice::Retry { .. } | Advice::Throttled { .. } => {}
        Advice::Accept | Advice::Reauthenticate | Advice::Stop => {
            return Decision::Return(Why::Final);
        }
    }
    if seen.attempt >= profile.attempts_max {
        return Decision::Return(Why::Attempts);
    }
    // The floor is what the upstream asked for: chance never undercuts it.
    let floor = verdict.advice.retry_after().unwrap_or_default();
    if floor >= seen.left {
        return Decision::Return(Why::Deadline);
    }
    let wait = jittered(profile, backoff(profile, seen.attempt), fraction()).max(floor);
    if wait >= seen.left {
        return Decision::Return(Why::Deadline);
    }
    Decision::Wait(wait)
}

/// Which result is given when nothing follows: doubt is only ever replaced by proof or by newer doubt.
pub(super) fn which(seen: &Seen) -> Which {
    if seen.doubted && judged(seen).outcome < Outcome::Unknown {
        Which::Doubt
    } else {
        Which::Latest
    }
}

fn judged(seen: &Seen) -> Verdict {
    let route = Route {
        safety: seen.safety,
        kind: 0,
    };
    without_effect_if_read(route, seen.verdict)
}

/// The wait after attempt `attempt` (from 1) before chance is applied: `base * factor^(attempt - 1)`, at most `cap`.
fn backoff(profile: &Profile, attempt: u32) -> Duration {
    let factor = profile.factor.saturating_pow(attempt.saturating_sub(1));
    profile
        .base
        .checked_mul(factor)
        .map_or(profile.cap, |wait| wait.min(profile.cap))
}

fn jittered(profile: &Profile, wait: Duration, fraction: f64) -> Duration {
    match profile.jitter {
        Jitter::None => wait,
        Jitter::Equal => wait / 2 + (wait / 2).mul_f64(fraction),
        Jitter::Full => wait.mul_f64(fraction),
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

    fn any_advice() -> impl Strategy<Value = Advice> {
        let after = || prop::option::of((0_u64..600_000).prop_map(Duration::from_millis));
        prop_oneof![
            Just(Advice::Accept),
            Just(Advice::Stop),
            Just(Advice::Reauthenticate),
            after().prop_map(|after| Advice::Retry { after }),
            after().prop_map(|after| Advice::Throttled { after }),
        ]
    }

    prop_compose! {
        fn any_seen()(
            outcome in any_outcome(),
            advice in any_advice(),
            closed: bool,
            attempt in 1_u32..12,
            read: bool,
            keyed: bool,
            doubted: bool,
            left in 0_u64..900_000,
        ) -> Seen {
            Seen {
                attempt,
                verdict: Verdict { outcome, advice, cacheable: false, closed },
                safety: if read { Safety::Read } else { Safety::Write },
                keyed,
                doubted,
                left: Duration::from_millis(left),
            }
        }
    }

    prop_compose! {
        fn any_profile()(
            attempts_max in 1_u32..10,
            base in 1_u64..10_000,
            factor in 1_u32..10,
            more in 0_u64..100_000,
            jitter in prop::sample::select(vec![Jitter::None, Jitter::Equal, Jitter::Full]),
        ) -> Profile {
            Profile {
                attempts_max,
                base: Duration::from_millis(base),
                factor,
                cap: Duration::from_millis(base + more),
                jitter,
                ..Profile::default()
            }
        }
    }

    proptest! {
        #[test]
        fn a_wait_is_never_below_retry_after_and_never_reaches_the_deadline(
            profile in any_profile(), seen in any_seen(), fraction in 0.0_f64..1.0,
        ) {
            if let Decision::Wait(wait) = decide(&profile, &seen, || fraction) {
                prop_assert!(wait >= seen.verdict.advice.retry_after().unwrap_or_default());
                prop_assert!(wait < seen.left);
            }
        }

        #[test]
        fn a_wait_is_never_above_the_cap_and_retry_after(
            profile in any_profile(), seen in any_seen(), fraction in 0.0_f64..1.0,
        ) {
            if let Decision::Wait(wait) = decide(&profile, &seen, || fraction) {
                let floor = seen.verdict.advice.retry_after().unwrap_or_default();
                prop_assert!(wait <= profile.cap.max(floor));
            }
        }

        #[test]
        fn no_attempt_follows_the_last_one(profile in any_profile(), seen in any_seen()) {
            if let Decision::Wait(_) = decide(&profile, &seen, || 0.5) {
                prop_assert!(seen.attempt < profile.attempts_max);
            }
        }

        #[test]
        fn no_write_follows_one_that_may_still_run_or_that_nothing_guards(
            profile in any_profile(), seen in any_seen(),
        ) {
            let doubtful = seen.verdict.outcome == Outcome::Unknown && seen.safety == Safety::Write;
            if doubtful && !(seen.verdict.closed && seen.keyed) {
                prop_assert!(matches!(decide(&profile, &seen, || 0.5), Decision::Return(_)));
            }
        }

        #[test]
        fn nothing_follows_proof_a_refusal_or_a_request_to_stop(profile in any_profile(), seen in any_seen()) {
            let settled = matches!(seen.verdict.outcome, Outcome::Applied | Outcome::Rejected);
            let transient = matches!(
                seen.verdict.advice,
                Advice::Retry { .. } | Advice::Throttled { .. }
            );
            if settled || !transient {
                prop_assert_eq!(decide(&profile, &seen, || 0.5), Decision::Return(Why::Final).or_open(&seen));
            }
        }

        #[test]
        fn after_doubt_the_caller_is_told_doubt_or_proof(seen in any_seen()) {
            if seen.doubted && which(&seen) == Which::Latest {
                prop_assert!(judged(&seen).outcome >= Outcome::Unknown);
            }
        }

        #[test]
        fn with_time_and_attempts_left_what_had_no_effect_goes_again(
            profile in any_profile(), mut seen in any_seen(), after in prop::option::of(0_u64..1_000),
        ) {
            seen.verdict = Verdict::closed(
                if seen.attempt % 2 == 0 { Outcome::Unsent } else { Outcome::NoEffect },
                Advice::Retry { after: after.map(Duration::from_millis) },
            );
            seen.left = Duration::MAX;
            let goes = matches!(decide(&profile, &seen, || 0.5), Decision::Wait(_));
            prop_assert_eq!(goes, seen.attempt < profile.attempts_max);
        }
    }

    impl Decision {
        // Doubt without a guard is told before the advice is read.
        fn or_open(self, seen: &Seen) -> Self {
            match judged(seen).outcome {
                Outcome::Unknown if !seen.verdict.closed => Self::Return(Why::Open),
                Outcome::Unknown if !seen.keyed => Self::Return(Why::NoKey),
                _ => self,
            }
        }
    }

    #[test]
    fn waits_double_from_one_second() {
        let profile = Profile {
            attempts_max: 10,
            jitter: Jitter::None,
            ..Profile::default()
        };
        let seconds: Vec<u64> = (1..=4).map(|n| backoff(&profile, n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8]);
        assert_eq!(backoff(&profile, u32::MAX), profile.cap);
    }

    #[test]
    fn equal_jitter_keeps_half_of_the_wait() {
        let profile = Profile::default();
        let wait = Duration::from_secs(4);
        assert_eq!(jittered(&profile, wait, 0.0), Duration::from_secs(2));
        assert!(jittered(&profile, wait, 0.999) < wait);
    }
}
