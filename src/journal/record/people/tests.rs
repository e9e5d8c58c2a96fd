//! Laws of what people do, over any mixture of sends, ends, takeovers and decisions.

use super::super::tests::asked;
use super::super::{Capability, Concurrent, Liveness, OwnerId};
use super::*;
use crate::journal::may_send;
use crate::outcome::{Advice, Verdict};
use proptest::prelude::*;

const WINDOW: Duration = Duration::from_secs(300);
const BOUND: Duration = Duration::from_secs(10);
const ME: OwnerId = OwnerId(1);
const START: Timestamp = Timestamp::from_millis(1_000);

#[derive(Clone, Debug)]
enum Act {
    Begin,
    End(Outcome, bool),
    Release,
    TakeOver,
    Wait(u64),
    Resolve { applied: bool, forced: bool },
    Park,
    Retry,
    Prove,
}

fn any_act() -> impl Strategy<Value = Act> {
    let outcome = prop::sample::select(vec![
        Outcome::Unsent,
        Outcome::NoEffect,
        Outcome::Rejected,
        Outcome::Unknown,
        Outcome::Applied,
    ]);
    prop_oneof![
        3 => Just(Act::Begin),
        3 => (outcome, any::<bool>()).prop_map(|(outcome, closed)| Act::End(outcome, closed)),
        2 => Just(Act::Release),
        1 => Just(Act::TakeOver),
        2 => (1_u64..400_000).prop_map(Act::Wait),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(applied, forced)| Act::Resolve { applied, forced }),
        1 => Just(Act::Park),
        1 => Just(Act::Retry),
        1 => Just(Act::Prove),
    ]
}

fn any_capability() -> impl Strategy<Value = Capability> {
    let keyed = |concurrent| Capability::Keyed {
        horizon: Duration::from_secs(3_600),
        concurrent,
    };
    prop::sample::select(vec![
        keyed(Concurrent::Unproven),
        keyed(Concurrent::Proven),
        Capability::Lookup,
        Capability::None,
    ])
}

fn verdict(outcome: Outcome, closed: bool) -> Verdict {
    Verdict {
        outcome,
        advice: Advice::Stop,
        cacheable: false,
        closed,
    }
}

/// A record in doubt, its one attempt not closed.
fn in_doubt(capability: Capability) -> Record {
    let mut record = Record::claim(asked(capability), ME, START.plus(WINDOW));
    record.begin_attempt(ME, START, START.plus(WINDOW)).unwrap();
    record.release(START, None);
    assert_eq!(record.state(), State::Unknown);
    record
}

/// As the gate does it: an attempt begins only where one may leave.
fn begin(record: &mut Record, now: Timestamp) -> bool {
    record.progress.lease_until = now.plus(WINDOW);
    if may_send(record, ME, now.into(), BOUND, Duration::ZERO).is_err() {
        return false;
    }
    record
        .begin_attempt(ME, now, now.plus(BOUND + WINDOW))
        .is_ok()
}

fn act(record: &mut Record, now: &mut Timestamp, act: &Act) -> bool {
    let moment = (*now).into();
    match act {
        Act::Begin => return begin(record, *now),
        Act::End(outcome, closed) => {
            let number = record
                .progress
                .attempts
                .last()
                .map_or(0, |last| last.number);
            record.end_attempt(ME, number, *now, verdict(*outcome, *closed), WINDOW, None);
        }
        Act::Release => record.release(*now, None),
        Act::TakeOver => {
            record.take_over(moment, Liveness::Dead, WINDOW);
        }
        Act::Wait(millis) => *now = now.plus(Duration::from_millis(*millis)),
        Act::Resolve { applied, forced } => {
            let _ = record.resolve(moment, *applied, "alice", "seen", *forced);
        }
        Act::Park => {
            let _ = record.park(moment, "bob", "wait");
        }
        Act::Retry => {
            let _ = record.retry(moment, "bob", "again");
        }
        Act::Prove => {
            record.prove(*now, "mark".into(), None);
        }
    }
    false
}

proptest! {
    #[test]
    fn no_send_follows_a_persons_word_and_no_final_state_changes(
        capability in any_capability(),
        acts in prop::collection::vec(any_act(), 0..50),
    ) {
        let mut now = START;
        let mut record = Record::claim(asked(capability), ME, START.plus(WINDOW));
        for step in &acts {
            let before = record.clone();
            let sent = act(&mut record, &mut now, step);
            if before.state().is_final() || before.state() == State::Parked {
                prop_assert!(!sent, "{before:?} {step:?}");
            }
            if before.state().is_final() {
                prop_assert_eq!(before.state(), record.state());
                prop_assert!(record.progress.resolved.is_some() == before.progress.resolved.is_some());
            }
            prop_assert!(record.progress.history.starts_with(&before.progress.history));
            if record.progress.history != before.progress.history {
                let last = record.progress.history.last().unwrap();
                let person = matches!(step, Act::Resolve { .. } | Act::Park | Act::Retry);
                prop_assert_eq!(last.by.starts_with("person:"), person);
                prop_assert!(record.progress.due.is_some() || !person);
            }
        }
    }

    #[test]
    fn what_one_person_resolved_contradicts_exactly_when_the_upstream_says_otherwise(
        applied: bool, ends in prop::collection::vec((0_usize..4, any::<bool>()), 0..3),
    ) {
        let mut record = in_doubt(Capability::Lookup);
        record.resolve(START.into(), applied, "alice", "seen", true).unwrap();
        let words = [Outcome::NoEffect, Outcome::Rejected, Outcome::Unknown, Outcome::Applied];
        let mut told = 0;
        for (outcome, closed) in ends {
            told += usize::from(record.end_attempt(ME, 1, START, verdict(words[outcome], closed), WINDOW, None));
        }
        let known = record.outcome();
        let against = if applied { known.is_without_effect() } else { known == Outcome::Applied };
        prop_assert_eq!(record.progress.contradicted, against);
        prop_assert!(!against || told > 0);
    }

    #[test]
    fn a_signature_is_taken_only_if_it_is_short_plain_and_there(who in any::<String>(), why in any::<String>()) {
        let mut record = in_doubt(Capability::Lookup);
        let plain = |text: &str, max| {
            let text = text.trim();
            !text.is_empty() && text.chars().count() <= max && !text.chars().any(char::is_control)
        };
        let before = record.clone();
        let taken = record.park(START.into(), &who, &why);
        prop_assert_eq!(taken.is_ok(), plain(&who, WHO_MAX) && plain(&why, WHY_MAX));
        if taken.is_err() {
            prop_assert_eq!(before, record);
        }
    }
}

#[test]
fn a_signature_may_be_as_long_as_it_says_and_no_longer() {
    let park = |who: usize, why: usize| {
        let mut record = in_doubt(Capability::Lookup);
        record.park(START.into(), &"ü".repeat(who), &"y".repeat(why))
    };
    assert_eq!(park(WHO_MAX, WHY_MAX), Ok(()));
    assert!(matches!(
        park(WHO_MAX + 1, 1),
        Err(CannotResolve::Unsigned("who", _))
    ));
    assert!(matches!(
        park(1, WHY_MAX + 1),
        Err(CannotResolve::Unsigned("why", _))
    ));
}

#[test]
fn a_late_refusal_contradicts_a_persons_applied_and_ends_the_look_ups() {
    let mut record = in_doubt(Capability::Lookup);
    let at = START.plus(WINDOW);
    record
        .resolve(at.into(), true, "alice", "seen", false)
        .unwrap();
    assert!(record.is_watched(at, WINDOW));
    assert!(record.end_attempt(ME, 1, at, verdict(Outcome::NoEffect, true), WINDOW, None));
    assert!(record.progress.contradicted && !record.is_watched(at, WINDOW));
    // Once is enough.
    assert!(!record.end_attempt(ME, 1, at, verdict(Outcome::NoEffect, true), WINDOW, None));
}

#[test]
fn inside_the_settle_window_only_force_resolves() {
    let mut record = in_doubt(Capability::Lookup);
    let last = START.plus(WINDOW).minus(Duration::from_millis(1));
    let refused = record.resolve(last.into(), false, "alice", "not there", false);
    assert_eq!(refused, Err(CannotResolve::StillOpen(START.plus(WINDOW))));
    assert_eq!(record.state(), State::Unknown);
    let mut forced = record.clone();
    forced
        .resolve(last.into(), false, "alice", "not there", true)
        .unwrap();
    assert_eq!(forced.state(), State::Rejected);
    record
        .resolve(
            START.plus(WINDOW).into(),
            true,
            " alice ",
            "in the bank",
            false,
        )
        .unwrap();
    let last = record.progress.history.last().unwrap();
    assert_eq!(
        (last.from, last.to, &*last.why, &*last.by),
        (
            State::Unknown,
            State::Completed,
            "in the bank",
            "person:alice"
        )
    );
}

#[test]
fn nobody_decides_over_a_process_that_may_send() {
    let keyed = Capability::Keyed {
        horizon: Duration::from_secs(3_600),
        concurrent: Concurrent::Unproven,
    };
    for capability in [keyed, Capability::Lookup] {
        let lease_until = START.plus(WINDOW);
        let record = Record::claim(asked(capability), ME, lease_until);
        let in_hand = Err(CannotResolve::InHand { lease_until });
        let mut sending = record.clone();
        let _ = sending.begin_attempt(ME, START, START.plus(WINDOW));
        assert_eq!(sending.state(), State::Sending);
        assert_eq!(sending.park(START.into(), "a", "b"), in_hand);
        // Not even after the lease: it is taken over first, so that its last send is on record.
        for now in [START, lease_until.plus(WINDOW)] {
            let mut here = record.clone();
            assert_eq!(here.resolve(now.into(), false, "a", "b", true), in_hand);
            assert_eq!(here.park(now.into(), "a", "b"), in_hand);
            assert_eq!(here.retry(now.into(), "a", "b"), in_hand);
            assert_eq!(here, record);
        }
    }
}

#[test]
fn what_is_over_says_by_whom_and_when() {
    let mut record = in_doubt(Capability::Lookup);
    let at = START.plus(WINDOW);
    record
        .resolve(at.into(), true, "alice", "seen", false)
        .unwrap();
    let refused = record.resolve(at.into(), false, "bob", "not seen", true);
    let said = CannotResolve::Final {
        state: State::Completed,
        at,
        by: "person:alice".into(),
    };
    assert_eq!(refused, Err(said));
}

#[test]
fn what_provably_had_no_effect_is_not_resolved_as_applied() {
    let mut record = Record::claim(asked(Capability::Lookup), ME, START.plus(WINDOW));
    record.release(START, None);
    assert_eq!(record.state(), State::Ready);
    let refused = record.resolve(START.into(), true, "alice", "seen", true);
    assert_eq!(refused, Err(CannotResolve::NoEffect));
    record
        .resolve(START.into(), false, "alice", "given up", false)
        .unwrap();
    assert_eq!(record.state(), State::Rejected);
}

#[test]
fn proof_after_a_persons_word_confirms_it_or_contradicts_it_and_gives_the_answer() {
    let answer = StoredAnswer {
        status: 200,
        headers: Vec::new(),
        body: bytes::Bytes::from_static(b"paid"),
    };
    for applied in [true, false] {
        let mut record = in_doubt(Capability::Lookup);
        let (at, later) = (START.plus(WINDOW), START.plus(WINDOW * 2));
        record
            .resolve(at.into(), applied, "alice", "seen", false)
            .unwrap();
        let state = record.state();
        record.progress.acknowledged = true;
        record.progress.due = None;
        assert!(record.is_watched(later, WINDOW * 9) && !record.is_watched(later, WINDOW));
        assert_eq!(
            record.prove(later, "mark".into(), Some(answer.clone())),
            !applied
        );
        assert_eq!(record.progress.contradicted, !applied);
        assert_eq!(
            record.answer.as_ref(),
            applied.then_some(&answer),
            "a rejection has no such answer"
        );
        // The local record hears of it; nothing is left to look for.
        assert_eq!(
            (record.progress.acknowledged, record.progress.due),
            (false, Some(later))
        );
        assert!(!record.is_watched(later, WINDOW * 9));
        assert_eq!(record.state(), state);
    }
}

#[test]
fn what_is_parked_is_tried_again_by_looking_first() {
    let mut record = in_doubt(Capability::None);
    let now = START.plus(WINDOW);
    assert!(matches!(
        record.retry(now.into(), "a", "b"),
        Err(CannotResolve::NoStep(_))
    ));
    record.park(now.into(), "alice", "look by hand").unwrap();
    record.retry(now.into(), "alice", "look again").unwrap();
    assert_eq!(
        (record.state(), record.progress.due),
        (State::Unknown, Some(now))
    );
    assert_eq!(record.asked_for(), now);
}

#[test]
fn an_idle_one_is_taken_up_again_and_the_trail_says_who_asked() {
    let mut record = Record::claim(asked(Capability::Lookup), ME, START.plus(WINDOW));
    record.release(START, None);
    assert_eq!(record.progress.due, None);
    let now = START.plus(WINDOW);
    record.retry(now.into(), "alice", "needed today").unwrap();
    assert_eq!(
        (record.state(), record.progress.due),
        (State::Ready, Some(now))
    );
    let last = record.progress.history.last().unwrap();
    assert_eq!((&*last.by, &*last.why), ("person:alice", "needed today"));
}

#[test]
fn what_is_proven_on_record_is_resolved_as_applied_and_not_otherwise() {
    // Nothing seemed to have happened, and then the proof came: no step leads from there to the end.
    let mut record = Record::claim(asked(Capability::Lookup), ME, Timestamp::NEVER);
    let number = record.begin_attempt(ME, START, START.plus(WINDOW)).unwrap();
    record.end_attempt(ME, number, START, Verdict::UNSENT, WINDOW, None);
    record.release(START, None);
    // As another process knows the attempt that did it.
    record.progress.attempts[0].ended = None;
    record.end_attempt(ME, number, START, Verdict::APPLIED, WINDOW, None);
    assert_eq!(
        (
            record.state(),
            record.outcome(),
            record.progress.contradicted
        ),
        (State::Ready, Outcome::Applied, true)
    );
    record.park(START.into(), "alice", "look").unwrap();
    let before = record.clone();
    assert_eq!(
        record.resolve(START.into(), false, "alice", "seen", true),
        Err(CannotResolve::Applied)
    );
    assert_eq!(record, before);
    assert_eq!(
        record.resolve(START.into(), true, "alice", "seen", false),
        Ok(())
    );
    assert_eq!(record.state(), State::Completed);
}

#[test]
fn a_refusal_says_what_is_so_and_what_can_be_done() {
    use std::error::Error;
    let at = Timestamp::from_millis(0);
    let step = IllegalStep {
        from: State::Ready,
        to: State::Completed,
    };
    for (refusal, parts) in [
        (
            CannotResolve::Unsigned("who", "is missing"),
            vec!["who is missing"],
        ),
        (
            CannotResolve::Final {
                state: State::Rejected,
                at,
                by: "person:bob".into(),
            },
            vec!["rejected", "1970", "person:bob", "never changes"],
        ),
        (
            CannotResolve::InHand { lease_until: at },
            vec!["a process works on it", "1970", "try again"],
        ),
        (
            CannotResolve::StillOpen(at),
            vec!["may still take effect until", "1970", "force"],
        ),
        (
            CannotResolve::NoEffect,
            vec!["no effect", "resolve it as not applied"],
        ),
        (
            CannotResolve::Applied,
            vec!["is on record", "resolve it as applied"],
        ),
        (
            CannotResolve::NoStep(step.clone()),
            vec!["ready cannot become completed"],
        ),
    ] {
        let told = refusal.to_string();
        for part in parts {
            assert!(told.contains(part), "{told}");
        }
        let source = refusal.source().map(ToString::to_string);
        let expected = matches!(refusal, CannotResolve::NoStep(_)).then(|| step.to_string());
        assert_eq!(source, expected);
    }
}
