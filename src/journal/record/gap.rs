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
