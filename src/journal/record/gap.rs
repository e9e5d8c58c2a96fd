//! Doubt about what a journal may not have seen.

use super::{Attempt, Record, State};
use crate::clock::Timestamp;
use std::time::Duration;

impl Record {
    /// The journal was an older copy since `since`, while another one may have gone on with the operation: a send may have
    /// left that is not on record, and its effect may land until a settle window from now. What is final or with a person
    /// stays as it is. Returns whether anything changed.
    pub fn doubt_gap(&mut self, since: Timestamp, now: Timestamp, settle_window: Duration) -> bool {
        const WHY: &str = "the journal may have missed a send";
        let through: &[State] = match self.state() {
            State::Completed | State::Rejected | State::Parked => return false,
            State::Unknown => &[],
            State::Claimed | State::Sending => &[State::Unknown],
            State::Ready => &[State::Sending, State::Unknown],
        };
        for state in through {
            // Each of these steps exists.
            let _ = self.step(*state, now, WHY, "adoption");
        }
        let owner = self.progress.owner;
        let started = since.max(self.asked.at).min(now);
        let number = self.next_number();
        self.progress.attempts.push(Attempt {
            number,
            owner,
            started,
            ended: None,
            settles: now.plus(settle_window),
        });
        self.progress.lease_until = self.progress.lease_until.min(now);
        self.progress.due = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::asked;
    use super::super::{Capability, Concurrent, OwnerId};
    use super::*;
    use crate::journal::{Withheld, may_send};
    use crate::outcome::{Outcome, Verdict};

    const WINDOW: Duration = Duration::from_secs(300);

    fn at(second: u64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    fn keyed() -> Capability {
        Capability::Keyed {
            horizon: Duration::from_secs(3_600),
            concurrent: Concurrent::Unproven,
        }
    }

    /// As it may be found in each state; what provably did nothing included.
    fn found(capability: Capability, state: State, sent: bool) -> Record {
        let mut record = Record::claim(asked(capability), OwnerId(1), at(10_000));
        if sent {
            let number = record.begin_attempt(OwnerId(1), at(5), at(305)).unwrap();
            record.end_attempt(OwnerId(1), number, at(6), Verdict::UNSENT, WINDOW, None);
        }
        // By whatever way it came there: only the steps from here on are looked at.
        record.progress.state = state;
        record.progress.history.clear();
        record
    }

    #[test]
    fn what_may_have_been_sent_unseen_is_in_doubt_and_never_sent_before_it_has_settled() {
        let (since, now) = (at(20), at(1_000));
        for capability in [keyed(), Capability::Lookup, Capability::None] {
            for state in State::ALL {
                for sent in [false, true] {
                    let before = found(capability, state, sent);
                    let mut record = before.clone();
                    let changed = record.doubt_gap(since, now, WINDOW);
                    if state.is_final() || state == State::Parked {
                        assert!(!changed && record == before);
                        continue;
                    }
                    assert!(changed);
                    assert_eq!(
                        (record.state(), record.progress.due),
                        (State::Unknown, Some(now))
                    );
                    assert_eq!(record.outcome(), Outcome::Unknown);
                    assert_eq!(record.first_doubt(), Some(since));
                    assert_eq!(record.open_until(now.into()), Some(now.plus(WINDOW)));
                    let steps = &record.progress.history[before.progress.history.len()..];
                    let mut from = state;
                    for step in steps {
                        assert_eq!(step.from, from);
                        assert!(from.may_become(step.to));
                        from = step.to;
                    }
                    assert_eq!(from, State::Unknown);
                    // Whoever owns it then, with a lease that runs.
                    record.progress.lease_until = Timestamp::NEVER;
                    let send =
                        |second| may_send(&record, OwnerId(1), at(second).into(), WINDOW, WINDOW);
                    assert!(send(1_000).is_err() && send(1_299).is_err());
                    match capability {
                        Capability::Keyed { .. } => {
                            assert_eq!(send(1_300), Ok(()));
                            // The upstream may have seen the key when the gap began.
                            assert_eq!(send(20 + 3_600), Err(Withheld::BeyondHorizon));
                        }
                        _ => assert_eq!(send(1_300), Err(Withheld::WouldRepeat)),
                    }
                }
            }
        }
    }

    #[test]
    fn a_gap_begins_with_the_operation_at_the_earliest_and_now_at_the_latest() {
        for (since, started) in [(0, 1), (20, 20), (5_000, 1_000)] {
            let mut record = found(keyed(), State::Sending, false);
            record.doubt_gap(at(since), at(1_000), WINDOW);
            assert_eq!(record.first_doubt(), Some(at(started)));
        }
    }
}
