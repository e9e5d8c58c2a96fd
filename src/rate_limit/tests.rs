//! Admission against any schedule, with an observer of its own at the upstream that knows nothing of slots.

use super::admission::{Admission, Arrival, Ask, End, Grant, Look};
use super::config::{Anchor, Class, PerPriority, Quota, RateLimitConfig, Scope};
use super::rules::{Rules, nanos};
use super::tenants::LineId;
use super::window::{NEVER, Nanos};
use crate::classify::Safety;
use crate::context::Priority;
use proptest::prelude::*;
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
    dropped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    End(usize),
    Arrive(usize),
    Drop(usize),
    Limit(usize),
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
}

impl World {
    fn new(config: RateLimitConfig, calls: Vec<Call>) -> Self {
        config.check().unwrap();
        let rules = Arc::new(Rules::new(&config));
        let mut world = Self {
            admission: Admission::new(Arc::clone(&rules)),
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
        true
    }

    fn perform(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Arrive(index) => self.arrive(index),
            Step::End(index) => self.end(index),
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
        };
        if let Some(grant) = self.admission.try_go(ask) {
            return self.granted(index, grant);
        }
        let until = self.now.saturating_add(call.patience);
        match self.admission.arrive(ask, self.now, until) {
            Arrival::Go(grant) => self.granted(index, grant),
            Arrival::Refused(wait) => {
                assert!(wait > 0, "told to come back at once");
                self.stories[index].refused = true;
            }
            Arrival::Wait(id) => {
                self.waiters.insert(id, index);
                self.plan(until, Step::Limit(index));
                if let Some(after) = call.dropped_after {
                    self.plan(self.now + after, Step::Drop(index));
                }
            }
        }
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
                self.admission.close_gate(grant, now, now + pause);
                End::Answered { sent_at }
            }
        };
        self.admission.settle(grant, end, now);
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
            Look::Refused(wait) => {
                assert!(wait > 0, "told to come back at once");
                self.stories[index].refused = true;
            }
        }
        self.waiters.remove(&id);
    }

    /// The calls that a quota counts, by whose it is: when each can have been counted upstream, first and last.
    fn seen(&self, quota: &Quota) -> HashMap<usize, Vec<(Nanos, Nanos)>> {
        let mut seen: HashMap<usize, Vec<_>> = HashMap::new();
        for (call, story) in self.calls.iter().zip(&self.stories) {
            let counted = quota.class.is_none_or(|class| class == call.class);
            let (Some(sent), Some(over), true) = (story.sent, story.over, counted) else {
                continue;
            };
            let over = match call.fate {
                Fate::Unsent => continue,
                Fate::Abandoned => over + nanos(self.config.settle_window),
                Fate::Answered | Fate::Throttled(_) => over,
            };
            let whose = match quota.scope {
                Scope::Tenant => call.tenant,
                Scope::App => 0,
            };
            seen.entry(whose).or_default().push((sent, over));
        }
        seen
    }

    /// An independent observer at the upstream: counts in every window, wherever between send and answer each request is
    /// counted there.
    fn assert_never_over_the_limit(&self) {
        for quota in &self.config.quotas {
            let limit = quota.limit as usize;
            for calls in self.seen(quota).into_values() {
                if quota.per.is_zero() {
                    let mut edges: Vec<_> = calls
                        .iter()
                        .flat_map(|(sent, over)| [(*sent, 1), (*over, -1)])
                        .collect();
                    edges.sort_unstable();
                    let mut at_once = 0;
                    for (at, edge) in edges {
                        at_once += edge;
                        assert!(
                            at_once <= i64::from(quota.limit),
                            "{} at once at {at}",
                            quota.name
                        );
                    }
                    continue;
                }
                for counted in [
                    |_: usize, sent: Nanos, _: Nanos| sent,
                    |_: usize, _: Nanos, over: Nanos| over,
                    |index: usize, sent: Nanos, over: Nanos| [sent, over][index % 2],
                    |index: usize, sent: Nanos, over: Nanos| {
                        sent + (over - sent) / 7 * (index as u64 * 5 % 8)
                    },
                ] {
                    let mut at: Vec<_> = calls
                        .iter()
                        .enumerate()
                        .map(|(index, (sent, over))| counted(index, *sent, *over).min(*over))
                        .collect();
                    at.sort_unstable();
                    for pair in at.windows(limit + 1) {
                        assert!(
                            pair[limit] - pair[0] >= nanos(quota.per),
                            "{}: {} requests within {} ns from {}",
                            quota.name,
                            limit + 1,
                            pair[limit] - pair[0],
                            pair[0]
                        );
                    }
                }
            }
        }
    }

    fn assert_everyone_was_served_or_told(&self) {
        assert_eq!(self.admission.in_line(), 0, "somebody is stuck in line");
        for (call, story) in self.calls.iter().zip(&self.stories) {
            assert!(
                story.sent.is_some() || story.refused || story.dropped,
                "nobody answered {call:?}"
            );
            assert!(
                !story.refused || call.patience < PATIENT,
                "a place in line led nowhere: {call:?}"
            );
        }
    }

    /// In one line nobody is passed by one whose arrival, less its head start, is later.
    fn assert_order_is_arrival_less_head_start(&self) {
        let rank = |call: &Call| call.at + self.rules.lag(call.priority);
        for (first, first_story) in self.calls.iter().zip(&self.stories) {
            for (second, second_story) in self.calls.iter().zip(&self.stories) {
                let same_line =
                    first.tenant == second.tenant && self.line(first) == self.line(second);
                let (Some(first_sent), Some(second_sent)) = (first_story.sent, second_story.sent)
                else {
                    continue;
                };
                if same_line && rank(first) < rank(second) && first.at < second_sent {
                    assert!(
                        first_sent <= second_sent,
                        "{second:?} passed {first:?}: sent at {second_sent} and {first_sent}"
                    );
                }
            }
        }
    }

    fn assert_nothing_leaks(&mut self) {
        let late = self.now + 2 * 24 * 3600 * SECOND;
        for _ in 0..100 {
            self.admission.tenants.sweep(late);
        }
        assert_eq!(self.admission.tenants.len(), 0, "an idle tenant stays");
        assert_eq!(self.admission.waiters.len(), 0, "a waiter stays");
        for window in &mut self.admission.app {
            window.collect(late);
            assert_eq!(window.in_use(), 0, "a shared slot is lost");
        }
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

fn any_config() -> impl Strategy<Value = RateLimitConfig> {
    let second = Duration::from_secs(1);
    prop::sample::select(vec![
        vec![Quota::per_tenant("tight", 2, second)],
        vec![Quota::at_once("at once", 2)],
        // Wide enough for its returns to be kept in steps.
        vec![
            Quota::per_tenant("wide", 2000, second),
            Quota::per_app("app", 7, 2 * second),
        ],
        vec![
            Quota::per_tenant("second", 3, second),
            Quota::per_tenant("minute", 12, 20 * second),
            Quota::at_once("at once", 2),
            Quota::per_tenant("batches", 1, 3 * second).for_class(BATCH),
        ],
        vec![
            Quota::per_tenant("second", 2, second),
            Quota::per_app("app", 5, 3 * second),
            Quota::per_app("app batches", 1, 5 * second).for_class(BATCH),
        ],
    ])
    .prop_map(|quotas| config(quotas, Anchor::Answer))
}

fn any_call() -> impl Strategy<Value = Call> {
    let fate = prop_oneof![
        12 => Just(Fate::Answered),
        2 => Just(Fate::Unsent),
        1 => Just(Fate::Abandoned),
        1 => (1..20_u64).prop_map(|pause| Fate::Throttled(pause * SECOND)),
    ];
    // Latencies from nothing to beyond the longest that QBO lets a request run (120 s).
    let latency = prop_oneof![3 => 0..400_u64, 2 => 0..5_000_u64, 1 => 0..125_000_u64];
    (
        0..400_u64,
        0..3_usize,
        prop::sample::select(vec![Class(0), Class(0), BATCH]),
        prop::sample::select(vec![Safety::Read, Safety::Write]),
        prop::sample::select(Priority::ALL.to_vec()),
        latency,
        fate,
        prop::option::weighted(0.1, 1..5_000_u64),
        prop::option::weighted(0.1, 1..3_000_u64),
    )
        .prop_map(
            |(gap, tenant, class, safety, priority, latency, fate, patience, dropped)| Call {
                at: gap * MS,
                tenant,
                class,
                safety,
                priority,
                latency: latency * MS,
                fate,
                patience: patience.map_or(PATIENT, |ms| ms * MS),
                dropped_after: dropped.map(|ms| ms * MS),
            },
        )
}

fn any_schedule() -> impl Strategy<Value = Vec<Call>> {
    prop::collection::vec(any_call(), 1..80).prop_map(|mut calls| {
        let mut now = 0;
        for call in &mut calls {
            now += call.at;
            call.at = now;
        }
        calls
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_comes_the_upstream_never_sees_more_than_the_limit(config in any_config(), calls in any_schedule()) {
        World::run(config, calls).assert_never_over_the_limit();
    }

    #[test]
    fn whatever_comes_everyone_is_let_through_or_told_in_time(config in any_config(), calls in any_schedule()) {
        World::run(config, calls).assert_everyone_was_served_or_told();
    }

    #[test]
    fn whatever_comes_a_line_is_served_by_arrival_less_head_start(config in any_config(), calls in any_schedule()) {
        World::run(config, calls).assert_order_is_arrival_less_head_start();
    }

    #[test]
    fn whatever_comes_no_slot_and_no_idle_tenant_stays(config in any_config(), calls in any_schedule()) {
        World::run(config, calls).assert_nothing_leaks();
    }

    #[test]
    fn counted_from_the_send_the_limit_holds_while_requests_are_counted_within_the_margin(calls in any_schedule()) {
        let margin = Duration::from_millis(50);
        let mut world = World::run(
            config(vec![Quota::per_tenant("second", 3, Duration::from_secs(1))], Anchor::Send { margin }),
            calls,
        );
        // The upstream counts within the margin of the send, however long the answer takes.
        for story in &mut world.stories {
            story.over = story.sent.zip(story.over).map(|(sent, over)| over.min(sent + nanos(margin)));
        }
        for call in &mut world.calls {
            if call.fate == Fate::Abandoned {
                call.fate = Fate::Answered;
            }
        }
        world.assert_never_over_the_limit();
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

#[test]
fn while_work_waits_nearly_all_that_the_quota_allows_goes_through() {
    for (limit, per, latency) in [
        (10, 1, 120),
        (500, 60, 120),
        (10, 1, 860),
        (3, 1, 0),
        (1100, 60, 120),
    ] {
        let per = Duration::from_secs(per);
        let quota = Quota::per_tenant("only", limit, per);
        let calls = (0..6000).map(|_| Call::at(0, latency * MS)).collect();
        let world = World::run(config(vec![quota], Anchor::Answer), calls);
        world.assert_never_over_the_limit();
        let answer = Duration::from_millis(latency);
        let allowed = 60.0 * f64::from(limit) / (per + answer).as_secs_f64();
        let flowed = a_minute(&world.sent(|_| true), 2);
        assert!(
            flowed >= 0.98 * allowed,
            "{flowed} of {allowed} a minute at {limit} per {per:?}"
        );
    }
}

#[test]
fn a_line_of_batches_takes_nothing_from_the_rest_and_gets_all_of_its_own() {
    let quotas = vec![
        Quota::per_tenant("minute", 500, Duration::from_secs(60)),
        Quota::per_tenant("second", 10, Duration::from_secs(1)),
        Quota::per_tenant("batches", 40, Duration::from_secs(60)).for_class(BATCH),
    ];
    let call = |index: u64| Call {
        class: if index.is_multiple_of(3) {
            BATCH
        } else {
            Class(0)
        },
        ..Call::at(index, 120 * MS)
    };
    let world = World::run(
        config(quotas, Anchor::Answer),
        (0..3000).map(call).collect(),
    );
    world.assert_never_over_the_limit();
    let per = 60.12 / 60.0;
    let batches = a_minute(&world.sent(|call| call.class == BATCH), 3);
    let all = a_minute(&world.sent(|_| true), 3);
    assert!(batches >= 0.98 * 40.0 / per, "{batches} batches a minute");
    assert!(all >= 0.98 * 500.0 / per, "{all} requests a minute");
}

#[test]
fn a_flooding_tenant_costs_the_others_nothing_of_their_share() {
    let quota = Quota::per_app("app", 500, Duration::from_secs(60));
    let flood = (0..5000).map(|_| Call::at(0, 120 * MS));
    // Each of the others asks for 24 a minute: just under its twentieth.
    let others = (1..20).flat_map(|tenant| {
        (0..72).map(move |nth| Call {
            tenant,
            ..Call::at(nth * 2500 * MS + tenant as u64 * MS, 120 * MS)
        })
    });
    let calls = flood.chain(others).collect();
    let world = World::run(config(vec![quota], Anchor::Answer), calls);
    world.assert_never_over_the_limit();
    for (call, story) in world.calls.iter().zip(&world.stories) {
        // The flood took the whole first window before anyone else came; from then on everyone has its turn.
        if call.tenant > 0 && call.at > 70 * SECOND {
            let waited = story.sent.unwrap() - call.at;
            assert!(
                waited <= 61 * SECOND,
                "tenant {} waited {waited} ns",
                call.tenant
            );
        }
    }
    for tenant in 1..20 {
        let share = world
            .sent(|call| call.tenant == tenant)
            .iter()
            .filter(|at| **at < 241 * SECOND)
            .count();
        assert_eq!(share, 72, "tenant {tenant} got less than its share");
    }
}

#[test]
fn shared_slots_are_dealt_in_turns_while_everyone_waits() {
    let quota = Quota::per_app("app", 20, Duration::from_secs(10));
    // Tenant 0 came first with much, the others later with less.
    let calls = (0..400)
        .map(|_| Call::at(0, 0))
        .chain((1..20).flat_map(|tenant| {
            (0..5).map(move |_| Call {
                tenant,
                ..Call::at(MS, 0)
            })
        }))
        .collect();
    let world = World::run(config(vec![quota], Anchor::Answer), calls);
    for round in 1..=5 {
        let window = (round * 10 * SECOND)..(round * 10 * SECOND + SECOND);
        for tenant in 0..20 {
            let got = world
                .sent(|call| call.tenant == tenant)
                .iter()
                .filter(|at| window.contains(*at))
                .count();
            assert_eq!(got, 1, "tenant {tenant} in round {round}");
        }
    }
}

#[test]
fn shared_slots_that_come_one_by_one_are_dealt_in_turns_too() {
    let quota = Quota::per_app("app", 10, Duration::from_secs(10));
    let first_window = (0..10).map(|nth| Call::at(nth * SECOND, 0));
    let flood = (0..200).map(|_| Call::at(9 * SECOND, 0));
    let others = (1..5).flat_map(|tenant| {
        (0..20).map(move |_| Call {
            tenant,
            ..Call::at(9 * SECOND + MS, 0)
        })
    });
    let calls = first_window.chain(flood).chain(others).collect();
    let world = World::run(config(vec![quota], Anchor::Answer), calls);
    // Five tenants wait, a slot comes back every second: each has every fifth.
    for round in 2..15 {
        let window = (round * 5 * SECOND)..((round + 1) * 5 * SECOND);
        for tenant in 0..5 {
            let sent = world.sent(|call| call.tenant == tenant);
            let got = sent.iter().filter(|at| window.contains(*at)).count();
            assert_eq!(got, 1, "tenant {tenant} in round {round}");
        }
    }
}

#[test]
fn a_tenant_that_joins_late_is_owed_nothing_for_the_turns_before() {
    let quota = Quota::per_app("app", 1, Duration::from_secs(1));
    let flood = |tenant, from| {
        (0..60).map(move |_| Call {
            tenant,
            ..Call::at(from, 0)
        })
    };
    let joins = 30 * SECOND + MS;
    let calls = flood(0, 0)
        .chain(flood(1, 0))
        .chain(flood(2, joins))
        .collect();
    let world = World::run(config(vec![quota], Anchor::Answer), calls);
    for tenant in 0..3 {
        let sent = world.sent(|call| call.tenant == tenant);
        let got = sent
            .iter()
            .filter(|at| (joins..joins + 30 * SECOND).contains(*at));
        assert_eq!(got.count(), 10, "tenant {tenant}");
    }
}

#[test]
fn a_scheduled_call_is_passed_only_by_what_came_within_the_head_start() {
    let quota = Quota::per_tenant("second", 1, Duration::from_secs(1));
    let scheduled = Call {
        priority: Priority::Scheduled,
        ..Call::at(500 * MS, 0)
    };
    // More user actions than fit, for longer than the head start.
    let calls = std::iter::once(scheduled)
        .chain((0..60).map(|nth| Call::at(nth * 400 * MS, 0)))
        .collect();
    let world = World::run(config(vec![quota], Anchor::Answer), calls);
    let sent = world.stories[0].sent.unwrap();
    // The head start is 5 s: what came until 5.5 s goes first (14 calls), nothing that came later does.
    assert_eq!(sent, 14 * SECOND);
}

#[test]
fn nobody_starves_between_an_own_and_a_shared_quota_that_are_never_free_together() {
    let quotas = vec![
        Quota::per_tenant("second", 1, Duration::from_secs(1)),
        Quota::per_app("batches", 1, Duration::from_millis(2500)).for_class(BATCH),
    ];
    let call = |tenant, class| Call {
        tenant,
        class,
        ..Call::at(0, 0)
    };
    // A little more than the own quota lets through, all of it later than the one call that needs both.
    let mut calls: Vec<_> = (0..200)
        .map(|nth| Call {
            at: nth * 900 * MS,
            ..call(0, Class(0))
        })
        .collect();
    // The shared slot comes back at quarters, the own one at whole seconds.
    calls.extend((0..100).map(|_| Call {
        at: 250 * MS,
        ..call(1, BATCH)
    }));
    calls.push(Call {
        at: MS,
        ..call(0, BATCH)
    });
    let world = World::run(config(quotas, Anchor::Answer), calls);
    let waited = world.stories[300].sent.unwrap();
    assert!(waited < 12 * SECOND, "waited {waited} ns");
}

#[test]
fn an_abandoned_call_counts_as_answered_when_its_settle_window_is_over() {
    let second = Duration::from_secs(1);
    for (quota, free) in [
        (Quota::per_tenant("second", 1, second), 31 * SECOND),
        (Quota::at_once("at once", 1), 30 * SECOND),
    ] {
        let abandoned = Call {
            fate: Fate::Abandoned,
            ..Call::at(0, 0)
        };
        let world = World::run(
            config(vec![quota], Anchor::Answer),
            vec![abandoned, Call::at(MS, 0)],
        );
        assert_eq!(world.stories[1].sent, Some(free));
    }
}

#[test]
fn a_throttle_answer_refuses_those_who_cannot_wait_that_long_and_keeps_the_rest() {
    let quota = Quota::at_once("at once", 1);
    let throttled = Call {
        fate: Fate::Throttled(60 * SECOND),
        ..Call::at(0, SECOND)
    };
    let short = Call {
        patience: 10 * SECOND,
        ..Call::at(MS, 0)
    };
    let read = Call {
        safety: Safety::Read,
        ..Call::at(MS, 0)
    };
    let calls = vec![throttled, short, Call::at(MS, 0), read];
    let world = World::run(config(vec![quota], Anchor::Answer), calls);
    assert!(world.stories[1].refused);
    assert_eq!(world.stories[2].sent, Some(61 * SECOND));
    assert_eq!(
        world.stories[3].sent,
        Some(SECOND),
        "reads have their own gate"
    );
}

#[test]
fn idle_tenants_leave_while_one_is_busy() {
    let quota = Quota::per_tenant("second", 1000, Duration::from_secs(1));
    let crowd = (1..1000).map(|tenant| Call {
        tenant,
        ..Call::at(0, 0)
    });
    let busy = (0..20_000).map(|nth| Call::at(2 * SECOND + nth * 2 * MS, 0));
    let world = World::run(
        config(vec![quota], Anchor::Answer),
        crowd.chain(busy).collect(),
    );
    assert_eq!(world.admission.tenants.len(), 1);
}
