//! What the kills hit, by the audit trail and the upstream's history.

use crate::judge::Case;
use crate::process::operation::Operation;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::journal::{Record, State};

/// What the kills hit.
#[derive(Debug, Default)]
pub struct Hits {
    pub kills: usize,
    /// Kills with operations in flight.
    pub in_flight: usize,
    /// Operations on record as begun, and not seen by the upstream.
    pub begun: usize,
    /// Operations at work upstream.
    pub upstream: usize,
    /// Operations finished upstream, their end not on record.
    pub answered: usize,
    /// How often a process took an operation over from a dead one.
    pub takeovers: usize,
}

impl Hits {
    pub fn new(case: &Case, killed: &[Timestamp]) -> Self {
        let mut hits = Self {
            kills: killed.len(),
            takeovers: takeovers(case),
            ..Self::default()
        };
        let mut before = Timestamp::default();
        for kill in killed {
            let operations = hits.operations();
            for (operation, record) in &case.records {
                // What an earlier kill left so is not hit again.
                if matches!(state_at(record, *kill), Some((State::Claimed | State::Sending, since)) if since > before)
                {
                    hits.hit(case, *operation, kill.as_millis());
                }
            }
            hits.in_flight += usize::from(hits.operations() > operations);
            before = *kill;
        }
        hits
    }

    const fn operations(&self) -> usize {
        self.begun + self.upstream + self.answered
    }

    fn hit(&mut self, case: &Case, operation: Operation, kill: u64) {
        let mut sends = case.sends(operation).iter();
        match sends.rfind(|send| send.at <= kill) {
            None => self.begun += 1,
            Some(send) if send.done.is_none_or(|done| done > kill) => self.upstream += 1,
            Some(_) => self.answered += 1,
        }
    }
}

/// The state at that time and since when, by the audit trail; `None` before the claim.
fn state_at(record: &Record, at: Timestamp) -> Option<(State, Timestamp)> {
    let steps = &record.progress.history;
    let first = steps.first().map_or(record.state(), |step| step.from);
    let last = steps.iter().rev().find(|step| step.at <= at);
    let state = last.map_or((first, record.asked.at), |step| (step.to, step.at));
    (record.asked.at <= at).then_some(state)
}

fn takeovers(case: &Case) -> usize {
    let records = case.records.values();
    let steps = records.flat_map(|record| &record.progress.history);
    let taken = |from| matches!(from, State::Claimed | State::Sending);
    steps
        .filter(|step| step.by == "worker" && taken(step.from))
        .count()
}
