//! What the worker does next about an operation: look, send again, park, or wait. Pure.

use super::moment::Moment;
use super::record::{Capability, Liveness, Record, State, StoredAnswer};
use crate::clock::Timestamp;
use crate::outcome::Outcome;
use std::time::Duration;

/// How doubt is settled. Plain data; see [`Default`] for the numbers and their reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettleConfig {
    /// How long after an abandoned attempt its effect may still land.
    pub settle_window: Duration,
    /// How long one attempt can be under way: a resend must be over within the horizon. A stack takes it from its
    /// attempts' write timeout.
    pub attempt_bound: Duration,
    /// How long after an effect a look-up may still miss it.
    pub read_lag: Duration,
    /// The first wait between two look-ups; it doubles from there.
    pub look_backoff: Duration,
    /// The longest wait between two look-ups of an operation in doubt.
    pub look_backoff_max: Duration,
    /// How often an operation that is parked, or that a person resolved, is looked up again.
    pub parked_interval: Duration,
    /// For how long it is looked up again; and for how long at most the local record is told of a settled one.
    pub parked_for: Duration,
    /// How long an operation that nothing happened to is taken up again before a person must decide.
    pub resume_for: Duration,
    /// After how many failed look-ups an operation that only a look-up can settle is parked; and how often at least the
    /// local record is told of a settled one.
    pub looks_max: u32,
}

impl Default for SettleConfig {
    fn default() -> Self {
        Self {
            // QBO ends any request after 120 s; more than twice that, for queues in front of it.
            settle_window: Duration::from_secs(300),
            // QBO ends any request after 120 s, and a little more for the way.
            attempt_bound: Duration::from_secs(130),
            // No lag of QBO queries is documented or measured; one minute is a guess on the safe side.
            read_lag: Duration::from_secs(60),
            look_backoff: Duration::from_secs(5),
            look_backoff_max: Duration::from_secs(120),
            parked_interval: Duration::from_secs(3_600),
            parked_for: Duration::from_secs(30 * 86_400),
            resume_for: Duration::from_secs(86_400),
            looks_max: 20,
        }
    }
}

/// What a look-up found.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// Proof of the effect: a planted mark, never a likeness.
    Found(Proof),
    /// It is not there; where was searched.
    Absent {
        /// The scope of the search, for the audit trail.
        scope: String,
    },
    /// The look-up failed or cannot say.
    CannotTell {
        /// Why, for the audit trail.
        why: String,
    },
}

/// Positive proof that an operation took effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// The answer to give to whoever asks for the result.
    pub answer: StoredAnswer,
    /// What was found and where, for the audit trail.
    pub evidence: String,
}

/// What to do about a due operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing, ever.
    Nothing,
    /// Nothing before then.
    Wait(Timestamp),
    /// Its owner's lease is over: take it over.
    TakeOver,
    /// Ask the upstream whether it took effect.
    Look,
    /// Nothing happened to it, and somebody was told to wait: send it.
    Resume,
    /// Hand it to a person.
    Park(&'static str),
    /// It is settled; tell the local record.
    Acknowledge,
}

/// What to do about an operation now. `owner` is whether the process that has it still runs; the work of a dead one is
/// taken over whenever it is due.
#[must_use]
pub fn next(record: &Record, now: Moment, owner: Liveness, config: &SettleConfig) -> Next {
    let progress = &record.progress;
    if matches!(progress.state, State::Claimed | State::Sending) {
        return match owner {
            Liveness::Dead => Next::TakeOver,
            // It renews its lease when it can; until then it is asked for now and then.
            Liveness::Alive => Next::Wait(
                progress
                    .lease_until
                    .max(now.at.plus(config.look_backoff_max)),
            ),
            Liveness::Unknown => match progress.lease_until.max(now.leases_from) {
                over if now.at < over => Next::Wait(over),
                _ => Next::TakeOver,
            },
        };
    }
    let now = now.at;
    let Some(due) = progress.due else {
        return Next::Nothing;
    };
    if now < due {
        return Next::Wait(due);
    }
    let watched = record.is_watched(now, config.parked_for);
    match progress.state {
        // Looking and telling the local record take turns: one that never succeeds must not keep the other from it.
        State::Completed | State::Rejected
            if watched && (progress.acknowledged || progress.checks.is_multiple_of(2)) =>
        {
            Next::Look
        }
        State::Completed | State::Rejected if !progress.acknowledged => Next::Acknowledge,
        State::Completed | State::Rejected => Next::Nothing,
        State::Claimed | State::Sending | State::Unknown => Next::Look,
        State::Parked if now >= record.asked_for().plus(config.parked_for) => Next::Nothing,
        State::Parked => Next::Look,
        State::Ready if now >= record.asked_for().plus(config.resume_for) => {
            Next::Park("nothing happened to it for too long")
        }
        State::Ready
            if record.asked.capability == Capability::None
                && record.outcome() != Outcome::Unsent =>
        {
            Next::Park("it may leave only once, and was refused")
        }
        State::Ready => Next::Resume,
    }
}

/// What follows from a look-up.
#[derive(Clone, Debug, PartialEq)]
pub enum After {
    /// It took effect: complete it with this proof.
    Complete(Proof),
    /// It took effect, and a person has said how it ended: [`Record::prove`].
    Weigh(Proof),
    /// Send it again under its key.
    Resend,
    /// Hand it to a person.
    Park(&'static str),
    /// Look again then.
    LookAgain(Timestamp),
}

/// What to do after a look-up at `now`. Only proof completes; "absent" lets a keyed operation be sent again, and only
/// once nothing that was sent before can land any more.
#[must_use]
pub fn after_look(
    record: &Record,
    observation: Observation,
    moment: Moment,
    config: &SettleConfig,
) -> After {
    let now = moment.at;
    let resolved = record.progress.resolved.is_some();
    let absent = match observation {
        Observation::Found(proof) if resolved => return After::Weigh(proof),
        Observation::Found(proof) => return After::Complete(proof),
        Observation::Absent { .. } => true,
        Observation::CannotTell { .. } => false,
    };
    let checks = record.progress.checks;
    let doubled = config
        .look_backoff
        .saturating_mul(2_u32.saturating_pow(checks.min(16)));
    if resolved && !record.progress.acknowledged {
        // The local record is told next, and waits for that no longer than without a look in between.
        return After::LookAgain(now.plus(doubled.min(config.parked_interval)));
    }
    if resolved || record.state() == State::Parked {
        return After::LookAgain(now.plus(config.parked_interval));
    }
    let backoff = doubled.min(config.look_backoff_max);
    if let Some(until) = record.open_until(moment) {
        // A look-up in between may find it early; one at the end must not be missed.
        return After::LookAgain(now.plus(backoff).min(until));
    }
    if let Capability::Keyed { horizon, .. } = record.asked.capability {
        let last = record.resend_until(horizon, moment);
        return if last.is_none_or(|last| now.plus(config.attempt_bound) <= last) {
            After::Resend
        } else if absent {
            After::Park("not found, and too old to send again")
        } else if checks >= config.looks_max {
            After::Park("cannot tell, and too old to send again")
        } else {
            After::LookAgain(now.plus(backoff))
        };
    }
    let harmless = match record.asked.capability {
        Capability::None => record.outcome() == Outcome::Unsent,
        _ => record.outcome().is_without_effect() && record.outcome() != Outcome::Rejected,
    };
    if harmless {
        // It was taken over while it was sent, and then the sender's word came that nothing happened; or a person has it
        // tried again, and it never left.
        return After::Resend;
    }
    let closed = record
        .progress
        .attempts
        .iter()
        .map(|attempt| attempt.settles)
        .max()
        .unwrap_or(record.asked.at);
    let believed_from = closed.plus(config.read_lag);
    if absent && now >= believed_from {
        After::Park("not found, and sending it again could repeat it")
    } else if !absent && checks >= config.looks_max {
        After::Park("cannot tell, and sending it again could repeat it")
    } else {
        After::LookAgain(
            now.plus(backoff)
                .max(if absent { believed_from } else { now }),
        )
    }
}

/// The share of its age that an operation waits before it is sent again: an outage of a day then leaves some tens of
/// sends in its record instead of hundreds, and is noticed to be over a sixteenth later.
const AGE_SHARE: u32 = 16;

/// When to go on with an operation whose send did not settle it. The upstream may have asked for a wait (`asked`). Never
/// later than people must see it: a wait beyond reason would hide it from them.
#[must_use]
pub fn again_at(
    record: &Record,
    asked: Duration,
    moment: Moment,
    config: &SettleConfig,
) -> Timestamp {
    let now = moment.at;
    let progress = &record.progress;
    // What never got as far as an attempt leaves steps; an attempt leaves three at most.
    let tries = progress.attempts.len().max(progress.history.len() / 3);
    let tries = u32::try_from(tries).unwrap_or(u32::MAX);
    let backoff = config
        .look_backoff
        .saturating_mul(2_u32.saturating_pow(tries.min(16)))
        .min(config.look_backoff_max);
    let age = now.since(record.asked_for()) / AGE_SHARE;
    let last = match record.asked.capability {
        _ if record.state() != State::Unknown && record.outcome() < Outcome::Unknown => {
            record.asked_for().plus(config.resume_for)
        }
        Capability::Keyed { horizon, .. } => record
            .resend_until(horizon, moment)
            .unwrap_or_else(|| now.plus(config.parked_interval)),
        Capability::Lookup | Capability::None => now.plus(config.parked_interval),
    };
    let soonest = now.plus(backoff);
    soonest.max(now.plus(age.max(asked)).min(last))
}

/// What follows from telling the local record of a settled operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterTelling {
    /// It knows. Look-ups go on then, where a person resolved the operation.
    Done(Option<Timestamp>),
    /// Tell it again then.
    Again(Timestamp),
    /// It never took it: raise the alarm, and tell it no more. Look-ups go on then, where a person resolved the operation.
    GiveUp(Option<Timestamp>),
}

/// What to do after the local record was told, at `now`, and said that it knows or not.
#[must_use]
pub fn after_telling(
    record: &Record,
    knows: bool,
    now: Timestamp,
    config: &SettleConfig,
) -> AfterTelling {
    let progress = &record.progress;
    let again = record
        .is_watched(now, config.parked_for)
        .then(|| now.plus(config.parked_interval));
    if knows {
        return AfterTelling::Done(again);
    }
    let since = progress
        .history
        .iter()
        .rev()
        .find(|step| step.to.is_final());
    let since = since.map_or(record.asked.at, |step| step.at);
    // Both: a hook that was not asked for a month, because nothing ran, is not given up after one failure.
    if now >= since.plus(config.parked_for) && progress.checks >= config.looks_max {
        return AfterTelling::GiveUp(again);
    }
    let backoff = config
        .look_backoff
        .saturating_mul(2_u32.saturating_pow(progress.checks.min(16)))
        .min(config.parked_interval);
    AfterTelling::Again(now.plus(backoff))
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::asked;
    use super::super::record::{Concurrent, OwnerId};
    use super::*;
    use crate::outcome::Verdict;
    use bytes::Bytes;
    use proptest::prelude::*;

    const CONFIG: fn() -> SettleConfig = SettleConfig::default;

    fn in_doubt(capability: Capability, closed: bool) -> Record {
        let at = Timestamp::from_millis(1_000);
        let mut record = Record::claim(
            asked(capability),
            OwnerId(1),
            Timestamp::from_millis(31_000),
        );
        let number = record
            .begin_attempt(OwnerId(1), at, at.plus(CONFIG().settle_window))
            .unwrap();
        let verdict = Verdict {
            closed,
            ..Verdict::OPEN
        };
        record.end_attempt(
            OwnerId(1),
            number,
            at,
            verdict,
            CONFIG().settle_window,
            None,
        );
        record.release(at, None);
        assert_eq!(record.state(), State::Unknown);
        record
    }

    fn keyed() -> Capability {
        Capability::Keyed {
            horizon: Duration::from_secs(3_600),
            concurrent: Concurrent::Unproven,
        }
    }

    fn absent() -> Observation {
        Observation::Absent {
            scope: "all".into(),
        }
    }

    proptest! {
        #[test]
        fn absence_never_sends_again_what_has_no_key(
            millis in 1_000_u64..10_000_000, closed: bool, none: bool, checks in 0_u32..40,
        ) {
            let capability = if none { Capability::None } else { Capability::Lookup };
            let mut record = in_doubt(capability, closed);
            record.progress.checks = checks;
            let now = Timestamp::from_millis(millis);
            prop_assert_ne!(after_look(&record, absent(), now.into(), &CONFIG()), After::Resend);
        }

        #[test]
        fn a_keyed_one_is_sent_again_only_inside_the_horizon_and_never_while_one_is_open(
            millis in 1_000_u64..10_000_000, closed: bool,
        ) {
            let record = in_doubt(keyed(), closed);
            let now = Timestamp::from_millis(millis);
            let after = after_look(&record, absent(), now.into(), &CONFIG());
            if after == After::Resend {
                prop_assert!(record.open_until(now.into()).is_none());
                prop_assert!(now < record.asked.at.plus(Duration::from_secs(3_600)));
            }
        }

        #[test]
        fn every_look_in_doubt_leads_on(millis in 1_000_u64..100_000_000, closed: bool, cannot: bool, checks in 0_u32..40) {
            for capability in [keyed(), Capability::Lookup, Capability::None] {
                let mut record = in_doubt(capability, closed);
                record.progress.checks = checks;
                let now = Timestamp::from_millis(millis);
                let seen = if cannot { Observation::CannotTell { why: "x".into() } } else { absent() };
                if let After::LookAgain(at) = after_look(&record, seen, now.into(), &CONFIG()) {
                    prop_assert!(at > now, "a look that is due at once would never end");
                }
            }
        }
    }

    #[test]
    fn proof_completes_even_what_is_parked() {
        let mut record = in_doubt(Capability::Lookup, true);
        let now = Timestamp::from_millis(500_000);
        record.step(State::Parked, now, "test", "test").unwrap();
        let proof = Proof {
            answer: StoredAnswer {
                status: 200,
                headers: Vec::new(),
                body: Bytes::new(),
            },
            evidence: "mark".into(),
        };
        let after = after_look(
            &record,
            Observation::Found(proof.clone()),
            now.into(),
            &CONFIG(),
        );
        assert_eq!(after, After::Complete(proof));
    }

    #[test]
    fn a_write_that_only_a_look_up_can_settle_is_parked_once_absence_can_be_believed() {
        let record = in_doubt(Capability::Lookup, true);
        let lag = CONFIG().read_lag;
        let early = record.asked.at.plus(Duration::from_secs(1));
        assert!(
            matches!(after_look(&record, absent(), early.into(), &CONFIG()), After::LookAgain(at) if at >= record.asked.at.plus(lag))
        );
        let late = record.asked.at.plus(lag);
        assert!(matches!(
            after_look(&record, absent(), late.into(), &CONFIG()),
            After::Park(_)
        ));
    }

    #[test]
    fn nothing_is_looked_up_before_it_is_due() {
        let mut record = in_doubt(keyed(), false);
        record.progress.due = Some(Timestamp::from_millis(9_000));
        let now = Timestamp::from_millis(8_999);
        assert_eq!(
            next(&record, now.into(), Liveness::Unknown, &CONFIG()),
            Next::Wait(Timestamp::from_millis(9_000))
        );
        assert_eq!(
            next(
                &record,
                Timestamp::from_millis(9_000).into(),
                Liveness::Unknown,
                &CONFIG()
            ),
            Next::Look
        );
    }

    const fn millis(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// Nothing of it is open, and this is all that is known of it.
    fn known(capability: Capability, state: State, outcome: Outcome) -> Record {
        let mut record = in_doubt(capability, true);
        record.progress.state = state;
        record.progress.due = Some(record.asked.at);
        let ended = record.progress.attempts[0].ended.as_mut();
        ended.unwrap().outcome = outcome;
        record
    }

    #[test]
    fn an_owner_of_whom_nothing_is_known_is_followed_when_its_lease_is_over_and_not_before() {
        let config = CONFIG();
        for capability in [keyed(), Capability::Lookup] {
            // Its lease ends at 31 s.
            let record = Record::claim(asked(capability), OwnerId(1), millis(31_000));
            for (now, leases_from, then) in [
                (30_999, 0, Next::Wait(millis(31_000))),
                (31_000, 0, Next::TakeOver),
                (31_001, 0, Next::TakeOver),
                (31_001, 40_000, Next::Wait(millis(40_000))),
                (39_999, 40_000, Next::Wait(millis(40_000))),
                (40_000, 40_000, Next::TakeOver),
            ] {
                let now = Moment {
                    leases_from: millis(leases_from),
                    ..Moment::sure(millis(now))
                };
                assert_eq!(next(&record, now, Liveness::Unknown, &config), then);
                // Where the journal knows, no lease is asked.
                assert_eq!(next(&record, now, Liveness::Dead, &config), Next::TakeOver);
                assert_eq!(
                    next(&record, now, Liveness::Alive, &config),
                    Next::Wait(now.at.plus(config.look_backoff_max))
                );
            }
        }
    }

    #[test]
    fn what_is_parked_is_looked_up_for_so_long_and_then_left_to_people() {
        let config = CONFIG();
        let mut record = in_doubt(Capability::Lookup, true);
        let at = millis(500_000);
        record.park(at.into(), "alice", "wait").unwrap();
        let over = at.plus(config.parked_for);
        for (now, then) in [
            (at, Next::Look),
            (over.minus(Duration::from_millis(1)), Next::Look),
            (over, Next::Nothing),
            (over.plus(config.parked_for), Next::Nothing),
        ] {
            assert_eq!(next(&record, now.into(), Liveness::Unknown, &config), then);
        }
    }

    #[test]
    fn what_nothing_happened_to_is_sent_unless_it_may_leave_only_once_and_left() {
        let (config, now) = (CONFIG(), millis(60_000));
        let refused = Next::Park("it may leave only once, and was refused");
        for (capability, outcome, then) in [
            (keyed(), Outcome::Unsent, Next::Resume),
            (keyed(), Outcome::NoEffect, Next::Resume),
            (Capability::Lookup, Outcome::Unsent, Next::Resume),
            (Capability::Lookup, Outcome::NoEffect, Next::Resume),
            (Capability::None, Outcome::Unsent, Next::Resume),
            (Capability::None, Outcome::NoEffect, refused),
        ] {
            let record = known(capability, State::Ready, outcome);
            assert_eq!(
                next(&record, now.into(), Liveness::Unknown, &config),
                then,
                "{capability:?} {outcome}"
            );
        }
    }

    #[test]
    fn what_is_too_old_to_send_again_is_parked_when_it_is_absent_or_was_asked_for_often_enough() {
        let config = CONFIG();
        let record = |checks| {
            let mut record = in_doubt(keyed(), true);
            record.progress.checks = checks;
            record
        };
        let (max, at) = (config.looks_max, record(0).asked.at);
        let last = at
            .plus(Duration::from_secs(3_600))
            .minus(config.attempt_bound);
        let late = last.plus(Duration::from_millis(1));
        let cannot = || Observation::CannotTell { why: "x".into() };
        let again = After::LookAgain(late.plus(config.look_backoff_max));
        let found_not = After::Park("not found, and too old to send again");
        let cannot_tell = After::Park("cannot tell, and too old to send again");
        for (checks, observation, now, then) in [
            (max, absent(), last, After::Resend),
            (max, cannot(), last, After::Resend),
            (0, absent(), late, found_not.clone()),
            (max, absent(), late, found_not),
            (max - 1, cannot(), late, again),
            (max, cannot(), late, cannot_tell.clone()),
            (max + 1, cannot(), late, cannot_tell),
        ] {
            let what = format!("{checks} looks, {observation:?}, {now}");
            let after = after_look(&record(checks), observation, now.into(), &config);
            assert_eq!(after, then, "{what}");
        }
    }

    #[test]
    fn without_a_key_only_what_provably_did_nothing_is_sent_again() {
        let now = millis(10_000_000);
        for (capability, outcome, resent) in [
            (Capability::Lookup, Outcome::Unsent, true),
            (Capability::Lookup, Outcome::NoEffect, true),
            (Capability::Lookup, Outcome::Rejected, false),
            (Capability::Lookup, Outcome::Unknown, false),
            (Capability::Lookup, Outcome::Applied, false),
            (Capability::None, Outcome::Unsent, true),
            (Capability::None, Outcome::NoEffect, false),
            (Capability::None, Outcome::Rejected, false),
            (Capability::None, Outcome::Unknown, false),
            (Capability::None, Outcome::Applied, false),
        ] {
            let record = known(capability, State::Unknown, outcome);
            let after = after_look(&record, absent(), now.into(), &CONFIG());
            assert_eq!(after == After::Resend, resent, "{capability:?} {outcome}");
        }
    }

    #[test]
    fn without_a_key_absence_is_believed_after_the_lag_and_silence_after_enough_looks() {
        let config = CONFIG();
        let at = in_doubt(Capability::Lookup, true).asked.at;
        let believed = at.plus(config.read_lag);
        let early = believed.minus(Duration::from_millis(1));
        let cannot = || Observation::CannotTell { why: "x".into() };
        let max = config.looks_max;
        let found_not = After::Park("not found, and sending it again could repeat it");
        let cannot_tell = After::Park("cannot tell, and sending it again could repeat it");
        for capability in [Capability::Lookup, Capability::None] {
            for (checks, observation, now, then) in [
                (0, absent(), at, After::LookAgain(believed)),
                // However often it was absent: too early is too early.
                (
                    max,
                    absent(),
                    early,
                    After::LookAgain(early.plus(config.look_backoff_max)),
                ),
                (0, absent(), believed, found_not.clone()),
                (max, absent(), believed, found_not.clone()),
                (
                    0,
                    cannot(),
                    at,
                    After::LookAgain(at.plus(config.look_backoff)),
                ),
                (
                    max - 1,
                    cannot(),
                    believed,
                    After::LookAgain(believed.plus(config.look_backoff_max)),
                ),
                (max, cannot(), early, cannot_tell.clone()),
                (max + 1, cannot(), believed, cannot_tell.clone()),
            ] {
                let mut record = in_doubt(capability, true);
                record.progress.checks = checks;
                let what = format!("{capability:?}, {checks} looks, {observation:?}, {now}");
                let after = after_look(&record, observation, now.into(), &config);
                assert_eq!(after, then, "{what}");
            }
        }
    }

    fn resolved(applied: bool) -> Record {
        let mut record = in_doubt(Capability::Lookup, false);
        let now = record.asked.at.plus(CONFIG().settle_window);
        record
            .resolve(now.into(), applied, "alice", "seen", false)
            .unwrap();
        record
    }

    #[test]
    fn what_a_person_resolved_is_looked_up_before_and_after_the_local_record_is_told() {
        for applied in [true, false] {
            let mut record = resolved(applied);
            let config = CONFIG();
            let now = record.progress.due.unwrap();
            let due = |record: &Record, now: Timestamp| {
                next(record, now.into(), Liveness::Unknown, &config)
            };
            assert_eq!(due(&record, now), Next::Look);
            let After::LookAgain(soon) = after_look(&record, absent(), now.into(), &config) else {
                panic!("absence settles nothing");
            };
            assert!(soon <= now.plus(config.look_backoff));
            record.progress.checks = 1;
            record.progress.due = Some(soon);
            assert_eq!(due(&record, soon), Next::Acknowledge);
            let later = soon.plus(config.parked_interval);
            assert_eq!(
                after_telling(&record, true, soon, &config),
                AfterTelling::Done(Some(later))
            );
            record.progress.acknowledged = true;
            record.progress.due = Some(later);
            assert_eq!(due(&record, later), Next::Look);
            assert_eq!(
                after_look(&record, absent(), later.into(), &config),
                After::LookAgain(later.plus(config.parked_interval))
            );
            let over = now.plus(config.parked_for);
            assert_eq!(due(&record, over), Next::Nothing);
        }
    }

    #[test]
    fn proof_after_a_persons_word_is_weighed_and_never_completes() {
        let record = resolved(false);
        let proof = Proof {
            answer: StoredAnswer {
                status: 200,
                headers: Vec::new(),
                body: Bytes::new(),
            },
            evidence: "mark".into(),
        };
        let found = Observation::Found(proof.clone());
        let now = record.progress.due.unwrap();
        assert_eq!(
            after_look(&record, found, now.into(), &CONFIG()),
            After::Weigh(proof)
        );
    }

    #[test]
    fn the_local_record_is_not_told_for_ever_and_not_given_up_after_one_failure() {
        let mut record = resolved(true);
        let config = CONFIG();
        let end = record.progress.due.unwrap().plus(config.parked_for);
        let early = end.minus(Duration::from_secs(1));
        for (checks, now, gives_up) in [
            (config.looks_max, early, false),
            (config.looks_max - 1, end, false),
            (config.looks_max, end, true),
            (u32::MAX, end.plus(config.parked_for), true),
        ] {
            record.progress.checks = checks;
            match after_telling(&record, false, now, &config) {
                AfterTelling::GiveUp(again) => assert!(gives_up && again.is_none()),
                AfterTelling::Again(at) => {
                    assert!(!gives_up && at > now && at <= now.plus(config.parked_interval));
                }
                AfterTelling::Done(_) => panic!("it does not know"),
            }
        }
    }

    #[test]
    fn what_a_person_asks_for_again_is_taken_up_however_old_it_is() {
        let config = CONFIG();
        let mut record = Record::claim(
            asked(Capability::None),
            OwnerId(1),
            Timestamp::from_millis(31_000),
        );
        record.release(record.asked.at, Some(record.asked.at));
        let late = record.asked.at.plus(config.resume_for);
        let due = |record: &Record| next(record, late.into(), Liveness::Unknown, &config);
        assert!(matches!(due(&record), Next::Park(_)));
        let mut again = record.clone();
        again.retry(late.into(), "alice", "needed").unwrap();
        assert_eq!(due(&again), Next::Resume);
        // Parked by then, it is looked for, and sent because it never left.
        record.park(late.into(), "alice", "wait").unwrap();
        record.retry(late.into(), "alice", "needed").unwrap();
        assert_eq!(due(&record), Next::Look);
        assert_eq!(
            after_look(&record, absent(), late.into(), &config),
            After::Resend
        );
    }
}
