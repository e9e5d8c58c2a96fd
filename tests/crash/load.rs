//! What is asked for, child after child, and what was told.

use crate::process::operation::Operation;
use crate::process::payer::Told;
use crate::process::settings::SETTLE_WINDOW;
use crate::process::{PATIENCE, Process};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tower_sturdy::clock::{Clock, Instant, Timestamp};

/// How many operations that a child never heard of are asked for at once, beside those that others left.
pub const NEW_AT_ONCE: usize = 8;
/// How many operations that others left are asked for again at once.
pub const OLD_AT_ONCE: usize = 16;
/// One child in so many lives long enough to settle what its predecessors left in doubt, and is killed over it: a process
/// sends nothing again before it has itself seen a whole settle window pass.
const SETTLER_EVERY: u32 = 16;

/// With more than this left behind, the next child is one of those too.
const BACKLOG: usize = 1_000;
/// How long a refusal is waited for.
const REFUSED_WITHIN: Duration = Duration::from_millis(600);

/// After what a child is killed.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// Perhaps before it has opened the journal.
    Start(Duration),
    Ready(Duration),
    /// Right after so many tellings.
    Told(usize),
    /// Right after somebody was told of a refusal, which must be on record by then: sent again, it could be accepted.
    Refusal,
}

impl Moment {
    pub fn draw(round: u32, load: &Load, rng: &mut fastrand::Rng) -> Self {
        if round % SETTLER_EVERY == SETTLER_EVERY - 1 || load.unfinished.len() > BACKLOG {
            let more = Duration::from_millis(rng.u64(0..1_200));
            return Self::Ready(SETTLE_WINDOW + more);
        }
        match rng.u8(0..12) {
            0 => Self::Start(Duration::from_millis(rng.u64(0..100))),
            1..=2 => Self::Refusal,
            3..=7 => Self::Ready(Duration::from_millis(rng.u64(30..430))),
            _ => Self::Told(rng.usize(1..40)),
        }
    }
}

/// What is asked for, and what was told.
#[derive(Debug, Default)]
pub struct Load {
    next: u32,
    unfinished: BTreeSet<Operation>,
    pub told: BTreeMap<Operation, Vec<Told>>,
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
    pub fn run_until(&mut self, moment: Moment, mut child: Process) -> Timestamp {
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
            Moment::Start(after) => until = started + after,
            Moment::Ready(after) => {
                child.waits_for("ready", |_| ());
                until = clock.now() + after;
            }
            Moment::Told(mut left) => {
                stop = Box::new(move |line| {
                    left -= usize::from(line.starts_with("told "));
                    left == 0
                });
            }
            Moment::Refusal => {
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
    pub fn settle(&mut self, child: Process) {
        self.ask_until_told(child, |operation| !operation.is_refused());
    }

    /// Asks for the rest.
    pub fn finish(&mut self, child: Process) {
        self.ask_until_told(child, |_| true);
    }

    fn ask_until_told(&mut self, mut child: Process, of: fn(Operation) -> bool) {
        for operation in self.unfinished.iter().filter(|operation| of(**operation)) {
            child.say(&format!("pay {}", operation.0));
        }
        let clock = Clock::system();
        let mut until = clock.now() + PATIENCE;
        while self.unfinished.iter().any(|operation| of(*operation)) {
            match child.hears_until(until) {
                // A backlog may take long, but each of it has an end.
                Some(line) if self.hear(&line) => until = clock.now() + PATIENCE,
                Some(_) => {}
                None => panic!("not settled in time: {:?}", self.unfinished),
            }
        }
        // The worker settles what nobody asks for any more.
        child.say(&format!("settle {}", self.unfinished.len()));
        child.waits_for("settled", |line| {
            self.hear(line);
        });
        child.end();
    }
}
