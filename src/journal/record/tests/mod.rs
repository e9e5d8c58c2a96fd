//! Laws of the record, over any sequence of sends, ends, releases and takeovers.

mod rules;
mod words;

use super::*;
use crate::outcome::Advice;
use proptest::prelude::*;

pub(crate) fn asked(capability: Capability) -> Asked {
    Asked {
        id: OperationId::from_bits(7),
        namespace: Arc::from("test"),
        tenant: Tenant::default(),
        key: OperationKey::new("k").unwrap(),
        conflict: None,
        fingerprint: Fingerprint {
            version: 1,
            digest: [0; 32],
        },
        capability,
        upstream_key: "u".into(),
        request: StoredRequest {
            method: http::Method::POST,
            uri: http::Uri::from_static("http://upstream/pay"),
            headers: Vec::new(),
            body: Bytes::new(),
        },
        at: Timestamp::from_millis(1_000),
        issued: None,
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Begin,
    End(Outcome, bool),
    Release,
    TakeOver,
    Park,
    Wait(u64),
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
        Just(Act::Begin),
        (outcome, any::<bool>()).prop_map(|(outcome, closed)| Act::End(outcome, closed)),
        Just(Act::Release),
        Just(Act::TakeOver),
        Just(Act::Park),
        (1_u64..400_000).prop_map(Act::Wait),
    ]
}

fn any_capability() -> impl Strategy<Value = Capability> {
    prop::sample::select(vec![
        Capability::Keyed {
            horizon: Duration::from_secs(3_600),
            concurrent: Concurrent::Unproven,
        },
        Capability::Lookup,
        Capability::None,
    ])
}

proptest! {
    #[test]
    fn final_states_never_change_and_doubt_is_never_refused(
        capability in any_capability(),
        acts in prop::collection::vec(any_act(), 0..40),
    ) {
        const WINDOW: Duration = Duration::from_secs(300);
        let mut now = Timestamp::from_millis(1_000);
        let mut record = Record::claim(asked(capability), OwnerId(1), now.plus(Duration::from_secs(30)));
        for act in acts {
            let before = record.clone();
            match act {
                Act::Begin => {
                    let _ = record.begin_attempt(OwnerId(1), now, now.plus(WINDOW));
                }
                Act::End(outcome, closed) => {
                    let number = record.progress.attempts.last().map_or(0, |last| last.number);
                    let verdict = Verdict { outcome, advice: Advice::Stop, cacheable: false, closed };
                    record.end_attempt(OwnerId(1), number, now, verdict, WINDOW, None);
                }
                Act::Release => record.release(now, None),
                Act::TakeOver => {
                    record.take_over(now.into(), Liveness::Unknown, WINDOW);
                }
                Act::Park => {
                    let _ = record.step(State::Parked, now, "test", "test");
                }
                Act::Wait(millis) => now = now.plus(Duration::from_millis(millis)),
            }
            if before.state().is_final() {
                prop_assert_eq!(before.state(), record.state());
            }
            if record.state() == State::Rejected && before.state() != State::Rejected {
                prop_assert!(record.outcome() < Outcome::Unknown, "{:?}", record);
            }
            if record.state() == State::Ready && before.state() != State::Ready {
                prop_assert!(record.outcome().is_without_effect(), "{:?}", record);
            }
            prop_assert!(record.progress.attempts.len() >= before.progress.attempts.len());
            prop_assert!(record.progress.history.starts_with(&before.progress.history));
        }
    }
}

#[test]
fn a_dead_owners_keyed_write_stays_open_until_its_last_possible_send_has_settled() {
    let lease = Timestamp::from_millis(31_000);
    let window = Duration::from_secs(300);
    let keyed = Capability::Keyed {
        horizon: Duration::from_secs(3_600),
        concurrent: Concurrent::Unproven,
    };
    let mut record = Record::claim(asked(keyed), OwnerId(1), lease);
    assert!(
        !record.take_over(
            Timestamp::from_millis(30_999).into(),
            Liveness::Unknown,
            window
        ),
        "the lease still runs"
    );
    assert!(record.take_over(lease.into(), Liveness::Unknown, window));
    assert_eq!(record.state(), State::Unknown);
    assert_eq!(record.open_until(lease.into()), Some(lease.plus(window)));
    assert_eq!(record.first_doubt(), Some(record.asked.at));
}

#[test]
fn a_dead_owners_claim_that_never_left_is_ready_again() {
    let lease = Timestamp::from_millis(31_000);
    let mut record = Record::claim(asked(Capability::Lookup), OwnerId(1), lease);
    assert!(record.take_over(lease.into(), Liveness::Unknown, Duration::from_secs(300)));
    assert_eq!(record.state(), State::Ready);
    assert_eq!(record.progress.due, Some(lease));
}

#[test]
fn any_refusal_is_final_for_a_write_that_leaves_at_most_once_and_for_no_other() {
    let now = Timestamp::from_millis(2_000);
    let keyed = Capability::Keyed {
        horizon: Duration::from_secs(3_600),
        concurrent: Concurrent::Unproven,
    };
    for (capability, outcome, ends) in [
        (Capability::None, Outcome::NoEffect, State::Rejected),
        (Capability::None, Outcome::Unsent, State::Sending),
        (Capability::None, Outcome::Unknown, State::Sending),
        (Capability::Lookup, Outcome::NoEffect, State::Sending),
        (keyed, Outcome::NoEffect, State::Sending),
    ] {
        let answer = StoredAnswer {
            status: 429,
            headers: Vec::new(),
            body: Bytes::new(),
        };
        let mut record = Record::claim(asked(capability), OwnerId(1), now);
        let number = record.begin_attempt(OwnerId(1), now, now).unwrap();
        let mut taken_over = record.clone();
        let verdict = Verdict::closed(outcome, Advice::Stop);
        let window = Duration::from_secs(300);
        record.end_attempt(OwnerId(1), number, now, verdict, window, Some(answer));
        assert_eq!(record.state(), ends, "{capability:?} {outcome}");
        assert_eq!(record.answer.is_some(), ends == State::Rejected);
        // The same where its owner comes back with the answer after another process took it over.
        taken_over.take_over(now.into(), Liveness::Unknown, window);
        assert_eq!(taken_over.state(), State::Unknown);
        taken_over.absorb(&record, now);
        let rejected = taken_over.state() == State::Rejected;
        assert_eq!(
            rejected,
            ends == State::Rejected,
            "{capability:?} {outcome}"
        );
    }
}

#[test]
fn late_proof_for_a_rejected_operation_is_told_as_a_contradiction() {
    let now = Timestamp::from_millis(2_000);
    let mut record = Record::claim(asked(Capability::Lookup), OwnerId(1), now);
    let first = record.begin_attempt(OwnerId(1), now, now).unwrap();
    record.end_attempt(
        OwnerId(1),
        first,
        now,
        Verdict::REJECTED,
        Duration::ZERO,
        None,
    );
    assert_eq!(record.state(), State::Rejected);
    record.progress.attempts.push(Attempt {
        number: 2,
        owner: OwnerId(2),
        started: now,
        ended: None,
        settles: now,
    });
    assert!(record.end_attempt(OwnerId(2), 2, now, Verdict::APPLIED, Duration::ZERO, None));
    assert_eq!(record.state(), State::Rejected);
    assert!(record.progress.contradicted);
}

#[test]
fn what_is_recorded_is_not_shown_in_logs() {
    let mut asked = asked(Capability::Lookup);
    asked.request.body = Bytes::from_static(b"amount-1042");
    asked.request.headers = vec![("x-secret".into(), "token-7".into())];
    asked.request.uri = http::Uri::from_static("http://upstream/pay?card=4111");
    let mut record = Record::claim(asked, OwnerId(1), Timestamp::NEVER);
    record.answer = Some(StoredAnswer {
        status: 200,
        headers: vec![("set-cookie".into(), "session-9".into())],
        body: Bytes::from_static(b"balance-55"),
    });
    let shown = format!("{record:?}");
    for secret in ["1042", "token-7", "4111", "session-9", "balance-55"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
