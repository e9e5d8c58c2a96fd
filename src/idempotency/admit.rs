//! What a caller gets whose key is on record already. Pure.

use crate::clock::Timestamp;
use crate::error::Error;
use crate::journal::{Record, State, Told, told_of};
use std::time::Duration;

/// What to do about a claim that found its key on record.
#[derive(Debug)]
pub(super) enum Existing {
    /// Tell the caller this, now.
    Answer(Told),
    /// Nobody works on it and nothing happened: start it again.
    Start,
    /// It is in doubt: make its check due now and wait.
    Hasten,
    /// The key belongs to another request.
    Reused,
    /// Another process works on it.
    Elsewhere(Error),
}

/// How long to wait before asking again for an operation that another process works on.
const ELSEWHERE: Duration = Duration::from_secs(1);

pub(super) fn existing(record: &Record, same: bool, now: Timestamp) -> Existing {
    if !same {
        return Existing::Reused;
    }
    if record.progress.contradicted {
        return Existing::Answer(told_of(record, now));
    }
    match record.state() {
        State::Completed | State::Rejected | State::Parked => {
            Existing::Answer(told_of(record, now))
        }
        State::Ready => Existing::Start,
        State::Unknown => Existing::Hasten,
        State::Claimed | State::Sending => {
            // After the lease the worker takes it over; until it has, the answer is the same.
            let wait = record
                .progress
                .lease_until
                .since(now)
                .max(ELSEWHERE)
                .min(ELSEWHERE * 30);
            Existing::Elsewhere(Error::in_flight(record.id(), wait))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::journal::record::tests::asked;
    use crate::journal::{Capability, OwnerId};

    fn record(state: State) -> Record {
        let mut record = Record::claim(
            asked(Capability::Lookup),
            OwnerId(1),
            Timestamp::from_millis(31_000),
        );
        record.progress.state = state;
        record
    }

    #[test]
    fn another_request_under_the_key_is_refused_in_every_state() {
        for state in State::ALL {
            let decided = existing(&record(state), false, Timestamp::from_millis(1_000));
            assert!(matches!(decided, Existing::Reused), "{state}");
        }
    }

    #[test]
    fn only_what_provably_did_nothing_starts_again() {
        for state in State::ALL {
            let record = record(state);
            let decided = existing(&record, true, Timestamp::from_millis(1_000));
            assert_eq!(
                matches!(decided, Existing::Start),
                state == State::Ready,
                "{state}"
            );
        }
    }

    #[test]
    fn what_proof_contradicts_is_told_as_that_in_every_state_and_never_starts_again() {
        for state in State::ALL {
            let mut record = record(state);
            record.progress.contradicted = true;
            let now = Timestamp::from_millis(1_000);
            match existing(&record, true, now) {
                Existing::Answer(Told::Final(told)) => {
                    assert_eq!(told.unwrap_err().kind(), Kind::Contradicted, "{state}");
                }
                other => panic!("{state}: {other:?}"),
            }
        }
    }

    #[test]
    fn final_states_answer_at_once() {
        for state in State::ALL {
            let record = record(state);
            let decided = existing(&record, true, Timestamp::from_millis(1_000));
            let at_once = matches!(decided, Existing::Answer(Told::Final(_)));
            assert_eq!(
                at_once,
                state.is_final() || state == State::Parked,
                "{state}"
            );
        }
    }
}
