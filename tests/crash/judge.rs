//! What must be true of every operation, by the upstream's history, the journal, and what callers were told.

use crate::process::operation::Operation;
use crate::process::payer::Told;
use crate::process::settings::HORIZON;
use crate::process::upstream::{Effect, Seen, Send};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::journal::{Capability, Filter, Journal, Record, SqliteJournal, State};
use tower_sturdy::outcome::Outcome;

/// Faults that say, in the gateway's own words, that nothing was done.
const SAYS_NOTHING_HAPPENED: [&str; 2] = ["refuse_503_gateway", "throttle_429"];

/// All that is known at the end.
#[derive(Debug)]
pub struct Case {
    /// Every operation that was asked for, and every telling of it.
    pub told: BTreeMap<Operation, Vec<Told>>,
    pub records: HashMap<Operation, Record>,
    pub effects: HashMap<Operation, Vec<Effect>>,
    pub sends: HashMap<Operation, Vec<Send>>,
    /// What no operation explains.
    strays: Vec<String>,
}

impl Case {
    pub fn new(told: BTreeMap<Operation, Vec<Told>>, journal: &Path, seen: Seen) -> Self {
        let mut case = Self {
            told,
            records: HashMap::new(),
            effects: HashMap::new(),
            sends: HashMap::new(),
            strays: Vec::new(),
        };
        for record in records(journal) {
            match Operation::of_key(record.asked.key.as_str()) {
                Some(operation) => {
                    case.records.insert(operation, record);
                }
                None => case.strays.push(format!("record {:?}", record.asked.key)),
            }
        }
        for effect in seen.effects {
            match effect.marker.as_deref().and_then(Operation::of_key) {
                Some(operation) => case.effects.entry(operation).or_default().push(effect),
                None => case.strays.push(format!("{effect:?}")),
            }
        }
        for send in seen.sends {
            match send.marker.as_deref().and_then(Operation::of_key) {
                Some(operation) => case.sends.entry(operation).or_default().push(send),
                None => case.strays.push(format!("{send:?}")),
            }
        }
        case
    }

    pub fn effects(&self, operation: Operation) -> &[Effect] {
        self.effects.get(&operation).map_or(&[], Vec::as_slice)
    }

    pub fn sends(&self, operation: Operation) -> &[Send] {
        self.sends.get(&operation).map_or(&[], Vec::as_slice)
    }

    /// How many operations ended in this state.
    pub fn count(&self, state: State) -> usize {
        let states = self.records.values().map(Record::state);
        states.filter(|of| *of == state).count()
    }

    /// How many operations somebody was told this of.
    pub fn count_told(&self, is: impl Fn(&Told) -> bool) -> usize {
        let told = self.told.values();
        told.filter(|told| told.iter().any(&is)).count()
    }

    /// Everything that is wrong, in words.
    pub fn judge(&self) -> Vec<String> {
        let mut wrong = self.strays.clone();
        let unasked = self.records.keys().chain(self.effects.keys());
        let unasked = unasked.filter(|operation| !self.told.contains_key(operation));
        wrong.extend(unasked.map(|operation| format!("{operation:?}: nobody asked for it")));
        for (operation, told) in &self.told {
            let Some(record) = self.records.get(operation) else {
                wrong.push(format!("{operation:?}: lost: not on record"));
                continue;
            };
            let mut say = |what: String| {
                let (effects, sends) = (self.effects(*operation), self.sends(*operation));
                let (state, steps) = (record.state(), &record.progress.history);
                let attempts = &record.progress.attempts;
                wrong.push(format!(
                    "{operation:?}: {what}\n  {state}; told {told:?}\n  effects {effects:?}\n  sends {sends:?}\n  \
                     steps {steps:?}\n  attempts {attempts:?}"
                ));
            };
            self.judge_effects(*operation, &mut say);
            self.judge_record(*operation, record, &mut say);
            self.judge_told(*operation, record, told, &mut say);
            self.judge_sends(*operation, record, &mut say);
        }
        wrong
    }

    fn judge_effects(&self, operation: Operation, say: &mut impl FnMut(String)) {
        let effects = self.effects(operation);
        if effects.len() > 1 {
            say(format!("{} effects", effects.len()));
        }
        for effect in effects {
            let right = effect.realm == operation.company().realm
                && effect.what == "Created"
                && effect.cents == operation.cents()
                && effect.bills == [operation.bill().to_string()];
            if !right {
                say("not what was asked for".into());
            }
        }
        if operation.is_refused() && !effects.is_empty() {
            say("the upstream took what it must refuse".into());
        }
    }

    fn judge_record(&self, operation: Operation, record: &Record, say: &mut impl FnMut(String)) {
        let effects = self.effects(operation);
        match record.state() {
            State::Completed => {
                let on_record = record.answer.as_ref().map(|answer| &answer.body);
                let on_record = on_record.and_then(|body| serde_json::from_slice(body).ok());
                let on_record: serde_json::Value = on_record.unwrap_or_default();
                match effects {
                    [] => say("completed without an effect".into()),
                    [effect, ..] if on_record["BillPayment"]["Id"] != effect.id.as_str() => {
                        say("its recorded answer is about something else".into());
                    }
                    _ => {}
                }
            }
            State::Rejected if !effects.is_empty() => say("rejected with an effect".into()),
            State::Rejected => {}
            State::Parked => {
                if let Some(why) = knowable(operation, record, effects) {
                    say(format!("parked, though {why}"));
                }
            }
            state => say(format!("lost: {state} for ever")),
        }
        if record.progress.contradicted {
            say("contradicted".into());
        }
    }

    fn judge_told(
        &self,
        operation: Operation,
        record: &Record,
        told: &[Told],
        say: &mut impl FnMut(String),
    ) {
        let effects = self.effects(operation);
        if !told.iter().any(Told::is_end) {
            say("nobody was ever told its end".into());
        }
        for told in told {
            let lie = match told {
                Told::Completed(id) => {
                    record.state() != State::Completed
                        || effects.iter().all(|effect| effect.id != *id)
                }
                Told::Rejected => record.state() != State::Rejected || !effects.is_empty(),
                Told::Parked => record.state() != State::Parked,
                Told::Doubt | Told::Elsewhere => false,
                // What was sent before the telling had no effect, also later. A second click of the same caller may
                // start the operation again before the first one is told.
                Told::Nothing(at, _) => {
                    let sent = |effect: &Effect| {
                        let sends = self.sends(operation).iter();
                        sends.clone().find(|send| send.number == effect.send)
                    };
                    !operation.is_clicked_twice()
                        && effects.iter().filter_map(sent).any(|send| send.at < *at)
                }
                Told::Wrong(_) => true,
            };
            if lie {
                say(format!("untrue: told {told:?}"));
            }
        }
    }

    fn judge_sends(&self, operation: Operation, record: &Record, say: &mut impl FnMut(String)) {
        let sends = self.sends(operation);
        let finals = record.progress.history.iter();
        let ended = finals.filter(|step| step.to.is_final()).map(|step| step.at);
        if let Some(ended) = ended.min()
            && sends
                .iter()
                .any(|send| Timestamp::from_millis(send.at) > ended)
        {
            say("sent after its end".into());
        }
        let overlap = |pair: &[Send]| pair[0].done.is_none_or(|done| pair[1].at < done);
        if sends.windows(2).any(overlap) {
            say("sent while an earlier send was at work".into());
        }
        let doubtful = |send: &&Send| {
            let fault = send.fault.as_deref().unwrap_or("none");
            !SAYS_NOTHING_HAPPENED.contains(&fault)
        };
        if record.asked.capability == Capability::Lookup
            && sends.iter().filter(doubtful).count() > 1
        {
            say("sent again, though nothing upstream would stop a second effect".into());
        }
    }
}

/// Why there is no doubt about a parked operation, if there is none.
fn knowable(operation: Operation, record: &Record, effects: &[Effect]) -> Option<String> {
    if record.outcome() != Outcome::Unknown {
        return Some(format!("its attempts say {}", record.outcome()));
    }
    match record.asked.capability {
        Capability::Lookup if !effects.is_empty() => Some("its mark can be seen".into()),
        // A refusal after doubt proves nothing.
        Capability::Keyed { .. } if !operation.is_refused() => {
            Some("sending it again would have told".into())
        }
        Capability::Keyed { .. } => {
            let parked = record.progress.history.last().map(|step| step.at);
            let first = record.first_doubt()?;
            let early = parked.is_none_or(|at| at.since(first) < HORIZON);
            early.then(|| "it may still be sent again".into())
        }
        Capability::Lookup | Capability::None => None,
    }
}

/// Everything on record, read as the next process would.
fn records(journal: &Path) -> Vec<Record> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let journal = SqliteJournal::open(journal).unwrap_or_else(|error| panic!("{error}"));
    runtime.block_on(async {
        let mut filter = Filter {
            limit: 500,
            ..Filter::default()
        };
        let mut records = Vec::new();
        loop {
            let page = journal.list(&filter).await.unwrap();
            filter.skip += page.len();
            let last = page.len() < filter.limit;
            records.extend(page);
            if last {
                return records;
            }
        }
    })
}
