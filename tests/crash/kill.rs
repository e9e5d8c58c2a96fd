//! `kill -9`: a process under load is killed again and again, and each time a new one goes on from the same file.
//!
//! What a caller was told before a kill holds after all of them; nothing happened twice, and nothing is lost. The
//! upstream is another process, behind a socket; half of what it does wrong leaves doubt.

use crate::judge::Case;
use crate::number;
use crate::process::operation::Operation;
use crate::process::payer::{Payer, Told};
use crate::process::settings::{HORIZON, SETTLE_WINDOW};
use crate::process::upstream::Upstream;
use crate::process::{PATIENCE, Process};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tower_sturdy::clock::{Clock, Instant, Timestamp};
use tower_sturdy::journal::{Record, State};

/// How many operations that a child never heard of are asked for at once, beside those that others left.
const NEW_AT_ONCE: usize = 8;
/// How many operations that others left are asked for again at once.
const OLD_AT_ONCE: usize = 16;
/// One child in so many lives long enough to settle what its predecessors left in doubt, and is killed over it: a process
/// sends nothing again before it has itself seen a whole settle window pass.
const SETTLER_EVERY: u32 = 16;

/// How long a refusal is waited for.
const REFUSED_WITHIN: Duration = Duration::from_millis(600);

fn kills() -> u32 {
    u32::try_from(number("STURDY_KILLS").unwrap_or(100)).unwrap()
}

#[test]
fn whoever_was_told_the_end_of_a_keyed_write_was_told_the_truth_whatever_is_killed() {
    play(kills(), true);
}

#[test]
fn a_write_that_only_a_look_up_protects_happens_once_or_is_parked_whatever_is_killed() {
    play(kills().div_ceil(3), false);
}

fn play(kills: u32, keyed: bool) {
    let seed = number("STURDY_SEED").unwrap_or(1);
    let mut rng = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("killed.journal");
    let mut load = Load::default();
    let mut upstream = Upstream::start(seed, keyed, true);
    let address = upstream.address.clone();
    let payer = Payer {
        journal: &journal,
        upstream: &address,
        keyed,
        tasks: OLD_AT_ONCE + NEW_AT_ONCE,
    };
    let mut killed = Vec::new();
    for round in 0..kills {
        let moment = Moment::draw(round, &mut rng);
        killed.push(load.run_until(moment, payer.start()));
    }
    upstream.calm();
    // Nobody's place is taken by what stays in doubt.
    let payer = Payer {
        tasks: load.told.len(),
        ..payer
    };
    load.settle(payer.start());
    load.finish(payer.start_ahead(2 * HORIZON));
    let case = Case::new(load.told, &journal, upstream.end());
    let hits = Hits::new(&case, &killed);
    report(&case, &hits, keyed, seed);
    let wrong = case.judge();
    assert!(
        wrong.is_empty(),
        "STURDY_SEED={seed} STURDY_KILLS={kills}, keyed: {keyed}: {} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    check_that_it_was_hit(&case, &hits);
}

/// When a child is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Perhaps before it has opened the journal.
    AfterStart(Duration),
    AfterReady(Duration),
    /// Right after so many tellings.
    AfterTold(usize),
    /// Right after somebody was told of a refusal, which must be on record by then: sent again, it could be accepted.
    AfterRefusal,
}

impl Moment {
    fn draw(round: u32, rng: &mut fastrand::Rng) -> Self {
        if round % SETTLER_EVERY == SETTLER_EVERY - 1 {
            let more = Duration::from_millis(rng.u64(0..900));
            return Self::AfterReady(SETTLE_WINDOW + more);
        }
        match rng.u8(0..12) {
            0 => Self::AfterStart(Duration::from_millis(rng.u64(0..100))),
            1..=2 => Self::AfterRefusal,
            3..=7 => Self::AfterReady(Duration::from_millis(rng.u64(30..430))),
            _ => Self::AfterTold(rng.usize(1..40)),
        }
    }
}

/// What is asked for, and what was told.
#[derive(Debug, Default)]
struct Load {
    next: u32,
    unfinished: BTreeSet<Operation>,
    told: BTreeMap<Operation, Vec<Told>>,
}

impl Load {
    /// One more operation.
    fn begin(&mut self, child: &mut Process) {
        let operation = Operation(self.next);
        self.next += 1;
        self.unfinished.insert(operation);
        self.told.insert(operation, Vec::new());
        child.say(&format!("pay {}", operation.0));
    }

    /// Takes down what the child said. Returns whether somebody was told an end.
    fn hear(&mut self, line: &str) -> bool {
        let Some((operation, told)) = Told::read(line) else {
            return false;
        };
        let ended = told.is_end() && self.unfinished.remove(&operation);
        self.told.entry(operation).or_default().push(told);
        ended
    }

    /// Asks a child for operations until its moment comes, and kills it. Returns when.
    fn run_until(&mut self, moment: Moment, mut child: Process) -> Timestamp {
        let clock = Clock::system();
        let started = clock.now();
        // Asked before it is ready, so that it begins at once.
        let old: Vec<_> = self.unfinished.iter().copied().collect();
        for operation in old.into_iter().take(OLD_AT_ONCE) {
            child.say(&format!("pay {}", operation.0));
        }
        for _ in 0..NEW_AT_ONCE {
            self.begin(&mut child);
        }
        let mut stop: Box<dyn FnMut(&str) -> bool> = Box::new(|_| false);
        let mut until = started + PATIENCE;
        match moment {
            Moment::AfterStart(after) => until = started + after,
            Moment::AfterReady(after) => {
                child.waits_for("ready", |_| ());
                until = clock.now() + after;
            }
            Moment::AfterTold(mut left) => {
                stop = Box::new(move |line| {
                    left -= usize::from(line.starts_with("told "));
                    left == 0
                });
            }
            Moment::AfterRefusal => {
                // There may be none to come.
                until = started + REFUSED_WITHIN;
                stop = Box::new(|line| line.ends_with(" rejected"));
            }
        }
        self.run(&mut child, until, &mut *stop);
        let killed = clock.wall();
        for line in child.kill() {
            self.hear(&line);
        }
        killed
    }

    /// For each operation that ends, one more, until `until` or `stop` says so of a line.
    fn run(&mut self, child: &mut Process, until: Instant, stop: &mut dyn FnMut(&str) -> bool) {
        while let Some(line) = child.hears_until(until) {
            if stop(&line) {
                self.hear(&line);
                return;
            }
            if self.hear(&line) {
                self.begin(child);
            }
        }
    }

    /// Asks for what is left until each has its end, but for what the upstream must refuse: after doubt a refusal proves
    /// nothing, so until the horizon that may still turn out either way.
    fn settle(&mut self, child: Process) {
        self.ask_until_told(child, |operation| !operation.is_refused());
    }

    /// Asks for the rest.
    fn finish(&mut self, child: Process) {
        self.ask_until_told(child, |_| true);
    }

    fn ask_until_told(&mut self, mut child: Process, of: fn(Operation) -> bool) {
        for operation in self.unfinished.iter().filter(|operation| of(**operation)) {
            child.say(&format!("pay {}", operation.0));
        }
        let until = Clock::system().now() + 2 * PATIENCE;
        while self.unfinished.iter().any(|operation| of(*operation)) {
            match child.hears_until(until) {
                Some(line) => self.hear(&line),
                None => panic!("not settled in time: {:?}", self.unfinished),
            };
        }
        // The worker settles what nobody asks for any more.
        child.say(&format!("settle {}", self.unfinished.len()));
        child.waits_for("settled", |line| {
            self.hear(line);
        });
        child.end();
    }
}

/// What the kills hit.
#[derive(Debug, Default)]
struct Hits {
    kills: usize,
    /// Kills with operations in flight.
    in_flight: usize,
    /// Operations on record as begun, and not seen by the upstream.
    begun: usize,
    /// Operations at work upstream.
    upstream: usize,
    /// Operations finished upstream, their end not on record.
    answered: usize,
    /// How often a process took an operation over from a dead one.
    takeovers: usize,
}

impl Hits {
    fn new(case: &Case, killed: &[Timestamp]) -> Self {
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
        let sends = case.sends(operation).iter();
        match sends.filter(|send| send.at <= kill).next_back() {
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

fn report(case: &Case, hits: &Hits, keyed: bool, seed: u64) {
    println!(
        "STURDY_SEED={seed}, {}: {} kills, {} of them with operations in flight ({} begun, {} at work upstream, {} \
         finished upstream and not on record), {} takeovers",
        if keyed { "keyed" } else { "looked up" },
        hits.kills,
        hits.in_flight,
        hits.begun,
        hits.upstream,
        hits.answered,
        hits.takeovers,
    );
    println!(
        "  {} operations: {} completed ({} told so), {} rejected ({} told so), {} parked; {} told of doubt, {} that \
         nothing happened; {} sends, {} effects",
        case.told.len(),
        case.count(State::Completed),
        case.count_told(|told| matches!(told, Told::Completed(_))),
        case.count(State::Rejected),
        case.count_told(|told| *told == Told::Rejected),
        case.count(State::Parked),
        case.count_told(|told| matches!(told, Told::Doubt | Told::Elsewhere)),
        case.count_told(|told| matches!(told, Told::Nothing(..))),
        case.sends.values().map(Vec::len).sum::<usize>(),
        case.effects.values().map(Vec::len).sum::<usize>(),
    );
}

/// A run in which nothing was hit proves nothing.
fn check_that_it_was_hit(case: &Case, hits: &Hits) {
    if hits.kills < 20 {
        return;
    }
    assert!(
        hits.in_flight * 4 >= hits.kills,
        "kills hit nothing: {hits:?}"
    );
    assert!(hits.upstream > 0, "no kill hit a send: {hits:?}");
    assert!(hits.takeovers > 0, "nothing was taken over: {hits:?}");
    let completed = case.count(State::Completed);
    assert!(
        completed * 2 > case.told.len(),
        "only {completed} completed"
    );
}
