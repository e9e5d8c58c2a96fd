//! Single rules of the record, each at the edges where it turns.

use super::*;

const ME: OwnerId = OwnerId(1);
const OTHER: OwnerId = OwnerId(2);
const WINDOW: Duration = Duration::from_secs(300);
const LEASE: Timestamp = at(30);

const fn at(second: u64) -> Timestamp {
    Timestamp::from_millis(second * 1_000)
}

const fn keyed() -> Capability {
    Capability::Keyed {
        horizon: Duration::from_secs(3_600),
        concurrent: Concurrent::Unproven,
    }
}

fn claimed(capability: Capability) -> Record {
    Record::claim(asked(capability), ME, LEASE)
}

fn end(record: &mut Record, number: u32, second: u64, verdict: Verdict) -> bool {
    record.end_attempt(ME, number, at(second), verdict, WINDOW, None)
}

/// An attempt of `owner` that ended a second after it began.
fn ended(owner: OwnerId, number: u32, outcome: Outcome) -> Attempt {
    Attempt {
        number,
        owner,
        started: at(2),
        ended: Some(Ended {
            at: at(3),
            outcome,
            closed: true,
        }),
        settles: at(3),
    }
}

fn running(owner: OwnerId, number: u32) -> Attempt {
    Attempt {
        ended: None,
        ..ended(owner, number, Outcome::Unknown)
    }
}

fn with(capability: Capability, state: State, attempts: Vec<Attempt>) -> Record {
    let mut record = claimed(capability);
    record.progress.state = state;
    record.progress.attempts = attempts;
    record
}

#[test]
fn an_attempt_is_the_recorded_request_on_top_of_headers_that_are_not_recorded() {
    let mut asked = asked(keyed());
    asked.tenant = Tenant::new("realm-9").unwrap();
    asked.request.method = http::Method::PUT;
    asked.request.uri = http::Uri::from_static("http://upstream/pay?requestid=u");
    asked.request.body = Bytes::from_static(b"{\"amount\":1}");
    asked.request.headers = vec![
        ("content-type".into(), "application/json".into()),
        ("accept".into(), "application/json".into()),
        ("not a name".into(), "x".into()),
        ("x-broken".into(), "a\nb".into()),
    ];
    let record = Record::claim(asked, ME, LEASE);
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer t"));
    headers.insert("accept", HeaderValue::from_static("*/*"));
    let request = record.request(headers, Priority::Scheduled);
    assert_eq!(request.method(), http::Method::PUT);
    assert_eq!(request.uri(), "http://upstream/pay?requestid=u");
    assert_eq!(request.body().bytes(), "{\"amount\":1}");
    assert_eq!(request.body().operation(), Some(record.id()));
    let sent = request.headers();
    assert_eq!(sent.len(), 3, "{sent:?}");
    assert_eq!(sent["authorization"], "Bearer t");
    assert_eq!(sent["content-type"], "application/json");
    assert_eq!(sent["accept"], "application/json", "what is recorded wins");
    let marker = Context::of(&request);
    assert_eq!(marker.priority(), Priority::Scheduled);
    assert_eq!(marker.tenant(), Some(&record.asked.tenant));
    assert_eq!(marker.key(), Some(&record.asked.key));
    assert_eq!(marker.deadline(), None);
}

#[test]
fn others_about_the_same_thing_wait_until_it_is_over_or_nobody_works_on_it() {
    for state in State::ALL {
        for due in [None, Some(at(5))] {
            let mut record = with(keyed(), state, Vec::new());
            record.progress.due = due;
            let over = matches!(state, State::Completed | State::Rejected);
            let idle = state == State::Ready && due.is_none();
            assert_eq!(
                record.holds_conflict(),
                !(over || idle),
                "{state} due {due:?}"
            );
        }
    }
}

#[test]
fn the_latest_that_happened_is_the_claim_a_step_a_send_or_its_end() {
    let mut record = claimed(Capability::Lookup);
    assert_eq!(record.latest(), record.asked.at);
    record.begin_attempt(ME, at(7), at(307)).unwrap();
    assert_eq!(record.latest(), at(7), "the step to sending");
    record.begin_attempt(ME, at(8), at(308)).unwrap();
    assert_eq!(record.latest(), at(8), "a send without a step");
    end(&mut record, 1, 9, Verdict::UNSENT);
    assert_eq!(record.latest(), at(9), "the end of an earlier send");
    record.release(at(11), None);
    assert_eq!(record.latest(), at(11), "the last step");
}

#[test]
fn it_ended_with_its_last_step_and_what_is_not_over_has_not_ended() {
    let mut record = claimed(Capability::Lookup);
    for state in State::ALL {
        record.progress.state = state;
        assert_eq!(record.ended(), state.is_final().then_some(record.asked.at));
    }
    let mut record = claimed(Capability::Lookup);
    let number = record.begin_attempt(ME, at(7), at(307)).unwrap();
    assert_eq!(record.ended(), None);
    end(&mut record, number, 9, Verdict::REJECTED);
    assert_eq!(record.ended(), Some(at(9)));
    // A tombstone keeps the time, and no steps.
    record.progress.purged = Some(at(9));
    record.progress.history.clear();
    assert_eq!(record.ended(), Some(at(9)));
}

#[test]
fn attempts_are_counted_on_and_none_has_the_number_of_another() {
    let mut record = claimed(Capability::Lookup);
    for expected in 1..=3 {
        assert_eq!(record.begin_attempt(ME, at(2), at(302)), Ok(expected));
    }
    record.progress.attempts[1].number = u32::MAX;
    assert_eq!(record.begin_attempt(ME, at(2), at(302)), Ok(u32::MAX));
}

#[test]
fn what_was_sent_at_a_time_of_unknown_age_is_beyond_every_horizon() {
    let horizon = Duration::from_secs(3_600);
    let mut record = claimed(keyed());
    let now = |from: Timestamp| Moment {
        ages_from: from,
        ..Moment::sure(at(100))
    };
    assert_eq!(record.resend_until(horizon, now(at(100))), None);
    record.begin_attempt(ME, at(50), at(350)).unwrap();
    for (from, until) in [
        (at(49), at(50).plus(horizon)),
        (at(50), at(50).plus(horizon)),
        (Timestamp::from_millis(50_001), Timestamp::from_millis(0)),
        (at(60), Timestamp::from_millis(0)),
    ] {
        assert_eq!(record.resend_until(horizon, now(from)), Some(until));
    }
}

#[test]
fn a_send_that_is_not_on_record_began_with_the_last_step_to_sending() {
    let mut record = claimed(keyed());
    record.release(at(5), None);
    assert_eq!(record.state(), State::Ready);
    record
        .step(State::Sending, at(9), "again", "owner")
        .unwrap();
    record.progress.lease_until = LEASE;
    assert!(record.take_over(at(40).into(), Liveness::Unknown, WINDOW));
    assert_eq!(record.first_doubt(), Some(at(9)));
    assert_eq!(record.open_until(at(40).into()), Some(LEASE.plus(WINDOW)));
}

#[test]
fn a_dead_owners_work_is_due_at_once_and_in_doubt_if_anything_may_have_left_unseen() {
    use Outcome::{NoEffect, Unsent};
    let one = |outcome| vec![ended(ME, 1, outcome)];
    for (capability, state, attempts, becomes, outcome, sends) in [
        // What is still claimed never left.
        (
            Capability::Lookup,
            State::Claimed,
            vec![],
            State::Ready,
            Unsent,
            0,
        ),
        // Each send is on record before it leaves: the last word on them is true.
        (
            Capability::Lookup,
            State::Sending,
            one(NoEffect),
            State::Ready,
            NoEffect,
            1,
        ),
        (
            Capability::None,
            State::Sending,
            one(Unsent),
            State::Ready,
            Unsent,
            1,
        ),
        (
            Capability::Lookup,
            State::Sending,
            vec![running(ME, 1)],
            State::Unknown,
            Outcome::Unknown,
            1,
        ),
        // It says that it is being sent, and no send is on record.
        (
            Capability::Lookup,
            State::Sending,
            vec![],
            State::Unknown,
            Outcome::Unknown,
            1,
        ),
        // A keyed write may have left before its attempt was on record, whatever is known of the others.
        (
            keyed(),
            State::Sending,
            vec![],
            State::Unknown,
            Outcome::Unknown,
            1,
        ),
        (
            keyed(),
            State::Sending,
            one(Unsent),
            State::Unknown,
            Outcome::Unknown,
            2,
        ),
    ] {
        let mut record = with(capability, state, attempts);
        let what = format!("{record:?}");
        assert!(record.take_over(at(40).into(), Liveness::Dead, WINDOW));
        assert_eq!(record.state(), becomes, "{what}");
        assert_eq!(record.progress.due, Some(at(40)), "{what}");
        assert_eq!(record.outcome(), outcome, "{what}");
        assert_eq!(record.progress.attempts.len(), sends, "{what}");
        let last = record.progress.attempts.last();
        assert!(last.is_none_or(|last| last.number == u32::try_from(sends).unwrap()));
    }
}

#[test]
fn an_end_is_absorbed_once_and_a_known_one_is_never_taken_back() {
    let end = |outcome| ended(ME, 1, outcome);
    for (known, seen, new) in [
        (running(ME, 1), running(ME, 1), false),
        (running(ME, 1), end(Outcome::NoEffect), true),
        (end(Outcome::NoEffect), running(ME, 1), false),
        (end(Outcome::Unknown), end(Outcome::NoEffect), false),
        (end(Outcome::NoEffect), end(Outcome::NoEffect), false),
    ] {
        let mut record = with(keyed(), State::Unknown, vec![known.clone()]);
        let before = record.clone();
        let kept = if new { seen.clone() } else { known };
        let seen = with(keyed(), State::Sending, vec![seen]);
        assert_eq!(record.absorb(&seen, at(50)), new, "{before:?} {seen:?}");
        assert_eq!(record.progress.attempts, [kept]);
        assert_eq!(record.state(), State::Unknown);
        if !new {
            assert_eq!(record, before);
        }
    }
}

#[test]
fn attempts_of_one_number_and_of_one_owner_are_not_mistaken_for_one_another() {
    for other in [
        ended(OTHER, 1, Outcome::NoEffect),
        ended(ME, 2, Outcome::NoEffect),
    ] {
        let mut record = with(keyed(), State::Unknown, vec![running(ME, 1)]);
        let seen = with(keyed(), State::Sending, vec![other.clone()]);
        assert!(record.absorb(&seen, at(50)));
        assert_eq!(record.progress.attempts, [running(ME, 1), other]);
        assert_eq!(
            record.outcome(),
            Outcome::Unknown,
            "the first still is in doubt"
        );
    }
}

#[test]
fn a_late_answer_settles_what_is_open_and_contradicts_only_a_refusal() {
    use State::{Claimed, Completed, Parked, Ready, Rejected, Sending, Unknown};
    let answer = || StoredAnswer {
        status: 200,
        headers: Vec::new(),
        body: Bytes::from_static(b"late"),
    };
    // Where it stood and what was known; what is heard late; where it stands then, and whether that is a contradiction.
    for (state, known, late, becomes, contradicted) in [
        (
            Unknown,
            Outcome::Unknown,
            Outcome::Applied,
            Completed,
            false,
        ),
        (
            Sending,
            Outcome::Unknown,
            Outcome::Applied,
            Completed,
            false,
        ),
        (Parked, Outcome::Unknown, Outcome::Applied, Completed, false),
        (
            Rejected,
            Outcome::Rejected,
            Outcome::Applied,
            Rejected,
            true,
        ),
        (
            Completed,
            Outcome::Applied,
            Outcome::Applied,
            Completed,
            false,
        ),
        (
            Completed,
            Outcome::Applied,
            Outcome::NoEffect,
            Completed,
            false,
        ),
        (
            Completed,
            Outcome::Applied,
            Outcome::Rejected,
            Completed,
            false,
        ),
        (
            Unknown,
            Outcome::NoEffect,
            Outcome::Rejected,
            Rejected,
            false,
        ),
        (
            Parked,
            Outcome::NoEffect,
            Outcome::Rejected,
            Rejected,
            false,
        ),
        (Unknown, Outcome::Unknown, Outcome::Rejected, Unknown, false),
        (Unknown, Outcome::NoEffect, Outcome::Unknown, Unknown, false),
        (Ready, Outcome::NoEffect, Outcome::Rejected, Ready, false),
        (Claimed, Outcome::Unsent, Outcome::NoEffect, Claimed, false),
    ] {
        let what = format!("{state} {known}, then {late}");
        let mut record = with(keyed(), state, vec![ended(ME, 1, known)]);
        let mut seen = with(keyed(), Sending, vec![ended(OTHER, 1, late)]);
        seen.answer = Some(answer());
        assert!(record.absorb(&seen, at(50)), "{what}");
        assert_eq!(record.state(), becomes, "{what}");
        assert_eq!(record.progress.contradicted, contradicted, "{what}");
        let settled = becomes != state;
        assert_eq!(record.answer.is_some(), settled, "{what}");
        assert_eq!(record.progress.due == Some(at(50)), settled, "{what}");
    }
}

#[test]
fn a_contradiction_is_never_taken_back() {
    let mut record = with(
        keyed(),
        State::Rejected,
        vec![
            ended(ME, 1, Outcome::Rejected),
            ended(ME, 2, Outcome::Applied),
        ],
    );
    record.progress.contradicted = true;
    let seen = with(
        keyed(),
        State::Sending,
        vec![ended(OTHER, 1, Outcome::NoEffect)],
    );
    assert!(record.absorb(&seen, at(50)));
    assert!(record.progress.contradicted);
}
