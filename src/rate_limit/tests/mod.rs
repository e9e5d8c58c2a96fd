//! Admission against any schedule, with an observer of its own at the upstream that knows nothing of slots.

use super::admission::{Admission, Arrival, Ask, End, Grant, Look};
use super::config::{Anchor, Class, PerPriority, Quota, RateLimitConfig};
use super::hint::Told;
use super::rules::{Rules, nanos};
use super::tenants::LineId;
use super::window::{NEVER, Nanos};
use crate::classify::Safety;
use crate::context::Priority;
mod any;
mod cost;
mod flow;
mod hint;
mod observer;
mod pace;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

const MS: Nanos = 1_000_000;
const SECOND: Nanos = 1000 * MS;
/// Longer than any schedule here can take.
const PATIENT: Nanos = 1000 * 3600 * SECOND;
const BATCH: Class = Class(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Unsent,
    Abandoned,
    Throttled(Nanos),
}

#[derive(Clone, Copy, Debug)]
struct Call {
    at: Nanos,
    tenant: usize,
    class: Class,
    safety: Safety,
    priority: Priority,
    cost: u32,
    latency: Nanos,
    fate: Fate,
    /// How long it stands in line before it is refused.
    patience: Nanos,
    /// How long it stands in line before its caller drops it.
    dropped_after: Option<Nanos>,
}

impl Call {
    fn at(at: Nanos, latency: Nanos) -> Self {
        Self {
            at,
            tenant: 0,
            class: Class(0),
            safety: Safety::Write,
            priority: Priority::UserAction,
            cost: 1,
            latency,
            fate: Fate::Answered,
            patience: PATIENT,
            dropped_after: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Story {
    sent: Option<Nanos>,
    over: Option<Nanos>,
    refused: bool,
    too_costly: bool,
    dropped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    End(usize),
    Arrive(usize),
    Drop(usize),
    Limit(usize),
    Change(usize),
}

struct World {
    config: RateLimitConfig,
    rules: Arc<Rules>,
    admission: Admission,
    calls: Vec<Call>,
    stories: Vec<Story>,
    grants: Vec<Option<Grant>>,
    waiters: HashMap<usize, usize>,
    agenda: BinaryHeap<Reverse<(Nanos, usize, Step)>>,
    now: Nanos,
    /// Which quotas were in force from when on.
    versions: Vec<(Nanos, Vec<Quota>)>,
    /// What each answer says is left.
    hear: Option<Box<dyn FnMut() -> Option<Told>>>,
}

impl World {
    fn new(config: RateLimitConfig, calls: Vec<Call>) -> Self {
        config.check().unwrap();
        let rules = Arc::new(Rules::new(&config));
        let mut world = Self {
            admission: Admission::new(Arc::clone(&rules)),
            versions: vec![(0, config.quotas.clone())],
            hear: None,
            config,
            rules,
            stories: vec![Story::default(); calls.len()],
            grants: vec![None; calls.len()],
            waiters: HashMap::new(),
            agenda: BinaryHeap::new(),
            now: 0,
            calls,
        };
        for (index, call) in world.calls.clone().into_iter().enumerate() {
            world.plan(call.at, Step::Arrive(index));
        }
        world
    }

    fn run(config: RateLimitConfig, calls: Vec<Call>) -> Self {
        let mut world = Self::new(config, calls);
        while world.step() {}
        world
    }

    /// The same, with these quotas from these times on.
    fn run_changing(
        config: RateLimitConfig,
        calls: Vec<Call>,
        changes: Vec<(Nanos, Vec<Quota>)>,
    ) -> Self {
        let mut world = Self::new(config, calls);
        world.versions.extend(changes);
        for nth in 1..world.versions.len() {
            world.plan(world.versions[nth].0, Step::Change(nth));
        }
        while world.step() {}
        world
    }

    fn plan(&mut self, at: Nanos, step: Step) {
        let turn = self.agenda.len();
        self.agenda.push(Reverse((at, turn, step)));
    }

    fn step(&mut self) -> bool {
        let next = self.agenda.peek().map_or(NEVER, |Reverse((at, ..))| *at);
        let alarm = self.admission.alarm();
        if alarm < next {
            assert!(
                alarm >= self.now,
                "the alarm was for {alarm}, and nobody heard it"
            );
            self.now = alarm;
            self.admission.tick(self.now);
            if self.admission.in_line() == 0 && self.agenda.is_empty() {
                return false;
            }
            assert!(self.admission.alarm() > self.now, "the alarm stands still");
        } else {
            let Some(Reverse((at, _, step))) = self.agenda.pop() else {
                return false;
            };
            self.now = at;
            self.perform(step);
        }
        self.answer_bells();
        self.assert_nobody_is_forgotten();
        true
    }

    /// While nothing is kept for costly or old calls, a head stands in line only if a quota, a gate or the pace holds it.
    fn assert_nobody_is_forgotten(&mut self) {
        let costly = self.calls.iter().any(|call| call.cost > 1);
        // An alarm at this very instant comes after what else happens at it.
        if costly || self.waiters.len() > 40 || self.admission.alarm() <= self.now {
            return;
        }
        let old = self.rules.longest_head_start;
        let standing: Vec<_> = (self.waiters.keys())
            .filter_map(|id| Some((*id, *self.admission.waiters.get(*id)?)))
            .collect();
        if (standing.iter()).any(|(_, waiter)| waiter.since + old <= self.now) {
            return;
        }
        for (id, waiter) in standing {
            let at = self.admission.may_go_at(waiter.grant, waiter.priority);
            assert!(at > self.now, "waiter {id} is forgotten at {}", self.now);
        }
    }

    fn perform(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Arrive(index) => self.arrive(index),
            Step::End(index) => self.end(index),
            Step::Change(nth) => {
                let config = RateLimitConfig {
                    quotas: self.versions[nth].1.clone(),
                    ..self.config.clone()
                };
                config.check().unwrap();
                self.admission.change(Arc::new(Rules::new(&config)), now);
            }
            Step::Drop(index) => {
                if let Some(id) = self.waiter_of(index) {
                    self.waiters.remove(&id);
                    self.admission.cancel(id, now);
                    self.stories[index].dropped = true;
                }
            }
            Step::Limit(index) => {
                if let Some(id) = self.waiter_of(index) {
                    self.look(id, index);
                    assert!(
                        !self.waiters.contains_key(&id),
                        "still in line after its time"
                    );
                }
            }
        }
    }

    fn waiter_of(&self, index: usize) -> Option<usize> {
        self.waiters
            .iter()
            .find(|(_, of)| **of == index)
            .map(|(id, _)| *id)
    }

    fn line(&self, call: &Call) -> LineId {
        LineId {
            set: self.rules.set_of(call.class.0),
            safety: call.safety,
        }
    }

    fn arrive(&mut self, index: usize) {
        let call = self.calls[index];
        let tenant = call.tenant.to_string();
        let mut hasher = DefaultHasher::new();
        tenant.hash(&mut hasher);
        let ask = Ask {
            tenant: &tenant,
            hash: hasher.finish(),
            line: self.line(&call),
            priority: call.priority,
            cost: call.cost,
        };
        if let Some(grant) = self.admission.try_go(ask) {
            return self.granted(index, grant);
        }
        let until = self.now.saturating_add(call.patience);
        match self.admission.arrive(ask, self.now, until) {
            Arrival::Go(grant) => self.granted(index, grant),
            Arrival::Refused(refusal) => {
                assert!(refusal.wait > 0, "told to come back at once");
                self.stories[index].refused = true;
            }
            Arrival::TooCostly(_) => self.too_costly(index),
            Arrival::Wait(id) => {
                self.waiters.insert(id, index);
                self.plan(until, Step::Limit(index));
                if let Some(after) = call.dropped_after {
                    self.plan(self.now + after, Step::Drop(index));
                }
            }
        }
    }

    fn too_costly(&mut self, index: usize) {
        self.stories[index].too_costly = true;
    }

    fn granted(&mut self, index: usize, grant: Grant) {
        self.grants[index] = Some(grant);
        self.stories[index].sent = Some(self.now);
        self.plan(self.now + self.calls[index].latency, Step::End(index));
    }

    fn end(&mut self, index: usize) {
        let grant = self.grants[index].unwrap();
        let sent_at = self.stories[index].sent.unwrap();
        let now = self.now;
        self.stories[index].over = Some(now);
        let end = match self.calls[index].fate {
            Fate::Answered => End::Answered { sent_at },
            Fate::Unsent => End::Unsent,
            Fate::Abandoned => End::Abandoned,
            Fate::Throttled(pause) => {
                let end = End::Answered { sent_at };
                self.admission.throttled(grant, end, now, pause, true);
                return;
            }
        };
        match self.hear.as_mut().and_then(|hear| hear()) {
            Some(told) => drop(self.admission.told(grant, end, told, now)),
            None => self.admission.settle(grant, end, now),
        }
    }

    fn answer_bells(&mut self) {
        for id in std::mem::take(&mut self.admission.woken) {
            if let Some(index) = self.waiters.get(&id).copied() {
                self.look(id, index);
            }
        }
    }

    fn look(&mut self, id: usize, index: usize) {
        match self.admission.look(id, self.now) {
            Look::Standing => return,
            Look::Granted(grant) => self.granted(index, grant),
            Look::TooCostly(_) => self.too_costly(index),
            Look::Refused(refusal) => {
                assert!(refusal.wait > 0, "told to come back at once");
                self.stories[index].refused = true;
            }
        }
        self.waiters.remove(&id);
    }

    fn sent(&self, count: impl Fn(&Call) -> bool) -> Vec<Nanos> {
        let mut sent: Vec<_> = self
            .calls
            .iter()
            .zip(&self.stories)
            .filter(|(call, _)| count(call))
            .filter_map(|(_, story)| story.sent)
            .collect();
        sent.sort_unstable();
        sent
    }
}

fn config(quotas: Vec<Quota>, anchor: Anchor) -> RateLimitConfig {
    RateLimitConfig {
        quotas,
        head_start: PerPriority {
            user_action: Duration::from_secs(5),
            event_triggered: Duration::from_secs(2),
            scheduled: Duration::ZERO,
        },
        max_waiting: 100_000,
        settle_window: Duration::from_secs(30),
        anchor,
        ..RateLimitConfig::default()
    }
}

/// How many calls a minute go through, after a first minute to settle in.
fn a_minute(sent: &[Nanos], minutes: u64) -> f64 {
    let counted = sent
        .iter()
        .filter(|at| (60 * SECOND..(minutes + 1) * 60 * SECOND).contains(*at))
        .count();
    counted as f64 / minutes as f64
}
