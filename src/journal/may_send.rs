//! The one question before every byte: may an attempt of this operation leave now? Pure.

use super::moment::Moment;
use super::record::{Capability, Concurrent, OwnerId, Record, State};
use crate::clock::Timestamp;
use crate::outcome::Outcome;
use std::fmt;
use std::time::Duration;

/// Why an attempt may not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Withheld {
    /// The operation is settled.
    Settled,
    /// It waits for a person.
    Parked,
    /// Another process owns it.
    NotOwner,
    /// The lease is over, or nearly: another process may take it over.
    LeaseOver,
    /// An earlier attempt may still run upstream, until then.
    StillOpen(Timestamp),
    /// The upstream may have forgotten the key.
    BeyondHorizon,
    /// An earlier attempt may have had the effect, and nothing upstream would stop a second one.
    WouldRepeat,
}

impl Withheld {
    /// The reason in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "the operation is settled",
            Self::Parked => "the operation is parked",
            Self::NotOwner => "another process owns the operation",
            Self::LeaseOver => "the lease is over",
            Self::StillOpen(_) => "an earlier attempt may still be running",
            Self::BeyondHorizon => "the upstream may have forgotten the key",
            Self::WouldRepeat => "an earlier attempt may have had the effect",
        }
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Withheld {}

/// Whether `owner` may send an attempt at `now` that can be under way upstream for `attempt_bound` at most; no send
/// starts within `lease_margin` of the lease's end.
///
/// # Errors
/// The reason why not.
pub fn may_send(
    record: &Record,
    owner: OwnerId,
    now: Moment,
    attempt_bound: Duration,
    lease_margin: Duration,
) -> Result<(), Withheld> {
    match record.state() {
        State::Completed | State::Rejected => return Err(Withheld::Settled),
        State::Parked => return Err(Withheld::Parked),
        State::Claimed | State::Sending | State::Unknown | State::Ready => {}
    }
    if record.progress.owner != owner {
        return Err(Withheld::NotOwner);
    }
    if now.at.plus(lease_margin) >= record.progress.lease_until {
        return Err(Withheld::LeaseOver);
    }
    let outcomes = record
        .progress
        .attempts
        .iter()
        .map(super::record::Attempt::outcome);
    match record.asked.capability {
        Capability::Keyed {
            horizon,
            concurrent,
        } => {
            if record.outcome() == Outcome::Applied {
                return Err(Withheld::Settled);
            }
            if concurrent == Concurrent::Unproven
                && let Some(until) = record.open_until(now)
            {
                return Err(Withheld::StillOpen(until));
            }
            // The whole attempt must fit: the upstream must still know the key when the last byte arrives.
            match record.resend_until(horizon, now) {
                Some(last) if now.at.plus(attempt_bound) > last => Err(Withheld::BeyondHorizon),
                _ => Ok(()),
            }
        }
        Capability::Lookup => {
            if let Some(until) = record.open_until(now) {
                return Err(Withheld::StillOpen(until));
            }
            repeat_unless(outcomes, |outcome| {
                matches!(outcome, Outcome::Unsent | Outcome::NoEffect)
            })
        }
        // "At most once" is taken at its word: only what never left may leave again.
        Capability::None => repeat_unless(outcomes, |outcome| outcome == Outcome::Unsent),
    }
}

/// Whether an attempt that was allowed at `then` may leave at `now`, after the journal took its time to record it: the
/// lease has not run out, and the times on record still bound it.
#[must_use]
pub fn still_may_leave(
    lease_until: Timestamp,
    then: Timestamp,
    now: Moment,
    lease_margin: Duration,
) -> bool {
    now.at <= then.plus(lease_margin) && now.at.plus(lease_margin) < lease_until
}

fn repeat_unless(
    mut outcomes: impl Iterator<Item = Outcome>,
    harmless: impl Fn(Outcome) -> bool,
) -> Result<(), Withheld> {
    if outcomes.all(harmless) {
        Ok(())
    } else {
        Err(Withheld::WouldRepeat)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::asked;
    use super::*;
    use crate::outcome::{Advice, Verdict};
    use proptest::prelude::*;

    const ME: OwnerId = OwnerId(1);
    const BOUND: Duration = Duration::from_secs(10);
    const MARGIN: Duration = Duration::from_secs(1);
    const WINDOW: Duration = Duration::from_secs(300);

    fn keyed(concurrent: Concurrent) -> Capability {
        Capability::Keyed {
            horizon: Duration::from_secs(3_600),
            concurrent,
        }
    }

    fn after(capability: Capability, ends: &[(Outcome, bool)], at: Timestamp) -> Record {
        let mut record = Record::claim(asked(capability), ME, Timestamp::NEVER);
        for (outcome, closed) in ends {
            let Ok(number) = record.begin_attempt(ME, at, at.plus(WINDOW)) else {
                break;
            };
            let verdict = Verdict {
                outcome: *outcome,
                advice: Advice::Stop,
                cacheable: false,
                closed: *closed,
            };
            record.end_attempt(ME, number, at, verdict, WINDOW, None);
        }
        record
    }

    fn any_ends() -> impl Strategy<Value = Vec<(Outcome, bool)>> {
        let outcome = prop::sample::select(vec![
            Outcome::Unsent,
            Outcome::NoEffect,
            Outcome::Rejected,
            Outcome::Unknown,
            Outcome::Applied,
        ]);
        prop::collection::vec((outcome, any::<bool>()), 0..6)
    }

    proptest! {
        #[test]
        fn nothing_leaves_after_proof(ends in any_ends(), millis in 1_000_u64..10_000_000) {
            for capability in [keyed(Concurrent::Proven), Capability::Lookup, Capability::None] {
                let at = Timestamp::from_millis(1_000);
                let record = after(capability, &ends, at);
                if record.outcome() == Outcome::Applied {
                    let now = Timestamp::from_millis(millis);
                    prop_assert!(may_send(&record, ME, now.into(), BOUND, MARGIN).is_err());
                }
            }
        }

        #[test]
        fn an_unproven_key_never_overlaps_an_open_attempt(ends in any_ends(), millis in 1_000_u64..10_000_000) {
            let record = after(keyed(Concurrent::Unproven), &ends, Timestamp::from_millis(1_000));
            let now = Timestamp::from_millis(millis);
            if record.open_until(now.into()).is_some() {
                prop_assert!(may_send(&record, ME, now.into(), BOUND, MARGIN).is_err());
            }
        }

        #[test]
        fn without_a_key_no_send_follows_one_that_may_have_worked(ends in any_ends(), millis in 1_000_u64..10_000_000) {
            let now = Timestamp::from_millis(millis);
            for capability in [Capability::Lookup, Capability::None] {
                let record = after(capability, &ends, Timestamp::from_millis(1_000));
                if record.outcome() >= Outcome::Unknown {
                    prop_assert!(may_send(&record, ME, now.into(), BOUND, MARGIN).is_err());
                }
            }
        }

        #[test]
        fn nobody_but_the_owner_sends_and_not_at_the_end_of_the_lease(left in 0_u64..3_000) {
            let now = Timestamp::from_millis(5_000);
            let mut record = after(keyed(Concurrent::Unproven), &[], now);
            prop_assert_eq!(may_send(&record, OwnerId(2), now.into(), BOUND, MARGIN), Err(Withheld::NotOwner));
            record.progress.lease_until = now.plus(Duration::from_millis(left));
            prop_assert_eq!(may_send(&record, ME, now.into(), BOUND, MARGIN).is_ok(), left > 1_000);
        }
    }

    #[test]
    fn every_refusal_is_told_in_words_of_its_own() {
        for (withheld, words) in [
            (Withheld::Settled, "the operation is settled"),
            (Withheld::Parked, "the operation is parked"),
            (Withheld::NotOwner, "another process owns the operation"),
            (Withheld::LeaseOver, "the lease is over"),
            (
                Withheld::StillOpen(Timestamp::NEVER),
                "an earlier attempt may still be running",
            ),
            (
                Withheld::BeyondHorizon,
                "the upstream may have forgotten the key",
            ),
            (
                Withheld::WouldRepeat,
                "an earlier attempt may have had the effect",
            ),
        ] {
            assert_eq!(withheld.as_str(), words);
            assert_eq!(withheld.to_string(), words);
        }
    }

    #[test]
    fn what_the_journal_took_long_to_record_does_not_leave_nor_at_the_end_of_the_lease() {
        let at = Timestamp::from_millis;
        // Allowed at 10 s; the margin is one second.
        for (lease, now, leaves) in [
            (60_000, 10_000, true),
            (60_000, 11_000, true),
            (60_000, 11_001, false),
            (60_000, 59_500, false),
            (60_000, 60_500, false),
            // The wall clock was seen to stand behind for a moment.
            (60_000, 9_000, true),
            (11_501, 10_500, true),
            (11_500, 10_500, false),
            (11_499, 10_500, false),
            (10_000, 10_500, false),
            // Both at once.
            (12_000, 11_001, false),
        ] {
            assert_eq!(
                still_may_leave(at(lease), at(10_000), at(now).into(), MARGIN),
                leaves,
                "lease {lease}, now {now}"
            );
        }
    }

    #[test]
    fn a_resend_must_fit_into_the_horizon_whole() {
        let at = Timestamp::from_millis(1_000);
        let record = after(keyed(Concurrent::Unproven), &[(Outcome::Unknown, true)], at);
        let last = at.plus(Duration::from_secs(3_590));
        assert_eq!(may_send(&record, ME, last.into(), BOUND, MARGIN), Ok(()));
        assert_eq!(
            may_send(
                &record,
                ME,
                last.plus(Duration::from_millis(1)).into(),
                BOUND,
                MARGIN
            ),
            Err(Withheld::BeyondHorizon)
        );
    }

    #[test]
    fn refusals_that_prove_nothing_happened_do_not_use_up_the_horizon() {
        let at = Timestamp::from_millis(1_000);
        let record = after(
            keyed(Concurrent::Unproven),
            &[(Outcome::NoEffect, true)],
            at,
        );
        let days_later = at.plus(Duration::from_secs(200_000));
        assert_eq!(
            may_send(&record, ME, days_later.into(), BOUND, MARGIN),
            Ok(())
        );
    }

    #[test]
    fn a_write_without_any_protection_may_leave_again_only_if_it_never_left() {
        let at = Timestamp::from_millis(1_000);
        let unsent = after(Capability::None, &[(Outcome::Unsent, true)], at);
        assert_eq!(may_send(&unsent, ME, at.into(), BOUND, MARGIN), Ok(()));
        let mut refused = after(Capability::None, &[(Outcome::NoEffect, true)], at);
        assert_eq!(
            may_send(&refused, ME, at.into(), BOUND, MARGIN),
            Err(Withheld::Settled)
        );
        // The gate does not rely on the state alone.
        refused.progress.state = State::Ready;
        assert_eq!(
            may_send(&refused, ME, at.into(), BOUND, MARGIN),
            Err(Withheld::WouldRepeat)
        );
    }
}
