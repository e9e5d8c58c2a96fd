//! What the upstream did, held against what callers were told and what is on record in the end. Every count of it must
//! be 0.

use super::host::{Answer, Shared, Told};
use super::script::{Operation, Protection};
use super::world::{Effect, Sent, World};
use std::collections::HashMap;
use tower_sturdy::context::OperationId;
use tower_sturdy::journal::{Record, State};

/// One operation, seen from all sides.
struct Case<'a> {
    shared: &'a Shared,
    operation: &'a Operation,
    answers: Vec<Answer>,
    sends: Vec<(usize, &'a Sent)>,
    effects: Vec<&'a Effect>,
    local: &'a [State],
    record: Option<&'a Record>,
    /// Its end on record, and when it came there.
    end: Option<(State, u64)>,
}

/// Everything that is wrong in the end.
pub fn judge(shared: &Shared) -> Vec<String> {
    let world = shared.world.lock().unwrap();
    let records = shared.disk.records();
    let finals = shared.disk.finals();
    let mut wrong = shared.disk.wrong();
    for (number, operation) in shared.script.operations.iter().enumerate() {
        let case = Case::new(shared, &world, &records, &finals, number, operation);
        let mut found = Vec::new();
        case.effects(&mut found);
        case.sends(&mut found);
        case.told(&mut found);
        case.end(&mut found, &world);
        if !found.is_empty() {
            wrong.push(format!(
                "{} ({:?}): {}\n  answers {:?}\n  sends {:?}\n  effects {:?}\n  record {:?}",
                operation.name,
                operation.protection,
                found.join("; "),
                case.answers,
                case.sends,
                case.effects,
                case.record.map(|record| &record.progress),
            ));
        }
    }
    wrong
}

fn name_of(record: &Record) -> &[u8] {
    &record.asked.request.body
}

impl<'a> Case<'a> {
    fn new(
        shared: &'a Shared,
        world: &'a World,
        records: &'a [Record],
        finals: &HashMap<OperationId, (State, u64)>,
        number: usize,
        operation: &'a Operation,
    ) -> Self {
        let sends = world.sends.iter().enumerate();
        let sends: Vec<_> = sends
            .filter(|(_, send)| send.operation == operation.name)
            .collect();
        let effects = world.effects.iter();
        let record = records
            .iter()
            .find(|record| name_of(record) == operation.name.as_bytes());
        let answers = shared.answers.lock().unwrap();
        Self {
            shared,
            operation,
            answers: answers
                .iter()
                .filter(|answer| answer.operation == number)
                .copied()
                .collect(),
            effects: effects
                .filter(|effect| world.sends[effect.send].operation == operation.name)
                .collect(),
            sends,
            local: world.local.get(&operation.name).map_or(&[], Vec::as_slice),
            end: record.and_then(|record| finals.get(&record.id()).copied()),
            record,
        }
    }

    fn keyed(&self) -> bool {
        self.operation.protection.is_keyed()
    }

    fn effects(&self, wrong: &mut Vec<String>) {
        if self.effects.len() > 1 {
            wrong.push(format!("{} effects", self.effects.len()));
        }
        if self.effects.len() == 1 && self.operation.name.contains("invalid") {
            wrong.push("the upstream of the test is broken".into());
        }
        if self.record.is_none() && !self.sends.is_empty() {
            wrong.push("something left that is not on record".into());
        }
    }

    fn sends(&self, wrong: &mut Vec<String>) {
        for (at, (_, send)) in self.sends.iter().enumerate() {
            let earlier = || self.sends[..at].iter().map(|(_, earlier)| earlier);
            if self.end.is_some_and(|(_, when)| when < send.left) {
                wrong.push(format!("sent at {} after its end was on record", send.left));
            }
            let overlaps = |earlier: &&Sent| earlier.done.is_none_or(|done| done > send.left);
            if self.operation.protection != Protection::KeyedProven && earlier().any(overlaps) {
                wrong.push(format!("sent at {} while another was open", send.left));
            }
            let spent = match self.operation.protection {
                Protection::Keyed | Protection::KeyedProven => false,
                Protection::Lookup => earlier().any(|earlier| !earlier.harmless),
                Protection::NoneMarked | Protection::NoneAtAll => {
                    earlier().any(|earlier| !earlier.unsent)
                }
            };
            if spent {
                wrong.push(format!("sent at {} a second time", send.left));
            }
        }
    }

    fn told(&self, wrong: &mut Vec<String>) {
        for answer in &self.answers {
            let when = answer.ended.unwrap_or(u64::MAX);
            let sent_before = |effect: &Effect| self.sent(effect.send).left < when;
            let before = self.effects.iter().any(|effect| sent_before(effect));
            let after = self.effects.iter().any(|effect| !sent_before(effect));
            match answer.told {
                Told::Done(false) => wrong.push("told done, and there was no effect".into()),
                Told::Rejected if !self.effects.is_empty() => {
                    wrong.push("told rejected, and it took effect".into());
                }
                Told::Failed if before => {
                    wrong.push("told that it failed, and what had been sent took effect".into());
                }
                Told::Failed if after && !self.asked_elsewhere(answer) => {
                    wrong.push("told that it failed, and then it was sent all the same".into());
                }
                _ => {}
            }
            if matches!(answer.told, Told::Done(_) | Told::Rejected | Told::Promised)
                && self.record.is_none()
            {
                wrong.push(format!("told {:?}, and nothing is on record", answer.told));
            }
        }
    }

    fn sent(&self, number: usize) -> &Sent {
        let sent = self.sends.iter().find(|(at, _)| *at == number);
        sent.unwrap().1
    }

    /// Whether somebody else had reason to have it done: asked later, still waited, or had a promise.
    fn asked_elsewhere(&self, told: &Answer) -> bool {
        self.answers.iter().any(|other| {
            other.asked != told.asked
                && (other.ended.is_none_or(|ended| Some(ended) > told.ended)
                    || matches!(other.told, Told::Promised | Told::NotTaken))
        })
    }

    fn end(&self, wrong: &mut Vec<String>, world: &World) {
        let Some(record) = self.record else { return };
        let (state, effects) = (record.state(), self.effects.len());
        let right = match state {
            State::Completed => effects == 1,
            State::Rejected => effects == 0,
            State::Parked => self.is_in_doubt(record, world),
            State::Ready => effects == 0 && record.progress.due.is_none() && !self.promised(),
            State::Claimed | State::Sending | State::Unknown => false,
        };
        if !right {
            wrong.push(format!("ends {state} with {effects} effects"));
        }
        // What the upstream said is told also where the journal fails; a look-up or a person finds it again.
        let recorded = !self.keyed() && !self.shared.script.fails;
        let done = |answer: &Answer| matches!(answer.told, Told::Done(_));
        if state != State::Completed && recorded && self.answers.iter().any(done) {
            wrong.push(format!(
                "told done before it was on record, and ends {state}"
            ));
        }
        if record.progress.contradicted {
            wrong.push("contradicted".into());
        }
        if state.is_final() && self.shared.script.hooks && !self.local.contains(&state) {
            wrong.push("the local record was never told".into());
        }
        if self.local.iter().any(|told| *told != state) {
            wrong.push(format!("the local record was told {:?}", self.local));
        }
    }

    fn promised(&self) -> bool {
        let promised = |answer: &Answer| answer.told == Told::Promised;
        self.answers.iter().any(promised)
    }

    /// Whether only a person can know: no look-up could see an effect, and no resend was allowed.
    fn is_in_doubt(&self, record: &Record, world: &World) -> bool {
        let visible = self.shared.script.hooks
            && self.operation.protection != Protection::NoneAtAll
            && world.shows(&record.asked.upstream_key);
        let too_old = || {
            if self.shared.script.jumps {
                return true; // As far as anybody can know.
            }
            let first = record
                .progress
                .attempts
                .iter()
                .map(|sent| sent.started)
                .min();
            first.is_some_and(|first| world.clock.wall() > first.plus(self.shared.script.horizon))
        };
        !visible && !record.progress.attempts.is_empty() && (!self.keyed() || too_old())
    }
}
