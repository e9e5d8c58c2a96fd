//! Many runs: how many, on how many threads, and what they hit together.

use super::boundary::{Boundary, Count, Next};
use super::power::Crashes;
use super::run::{Outcome, run};
use super::script::Kind;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tower_sturdy::journal::State;

/// How many runs with crashes share one run without any, which counts the boundaries.
const RUNS: u64 = 8;
/// How many crashes may follow the first one of a run.
const MORE: u32 = 3;
/// After so many failures the rest is more of the same.
const ENOUGH: usize = 5;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}

/// The seeds that the environment asks for.
pub fn seeds() -> Option<Range<u64>> {
    match number("STURDY_SEED") {
        Some(seed) => Some(seed..seed + 1),
        None => number("STURDY_SEEDS").map(|seeds| 0..seeds),
    }
}

/// What many runs were.
#[derive(Debug, Default)]
pub struct Tally {
    pub wrong: Vec<String>,
    runs: u64,
    hits: Count,
    ends: BTreeMap<State, u64>,
}

impl Tally {
    pub fn add(&mut self, seed: u64, first: impl Debug, outcome: Outcome) {
        self.runs += 1;
        self.hits.add(&outcome.hits);
        for end in outcome.ends {
            *self.ends.entry(end).or_default() += 1;
        }
        if !outcome.wrong.is_empty() && self.wrong.len() < ENOUGH {
            let wrong = outcome.wrong.join("\n");
            self.wrong.push(format!(
                "STURDY_SEED={seed}, first crash {first:?}: {wrong}"
            ));
        }
    }

    pub fn crashes(&self) -> u64 {
        self.hits.sum()
    }

    /// Whether every kind of boundary was hit, as far as the number of crashes lets one expect that.
    pub fn is_whole(&self) -> bool {
        self.crashes() < 2_000 || self.hits.0.iter().all(|hits| *hits > 0)
    }

    #[allow(clippy::print_stdout, reason = "a report")]
    pub fn tell(&self, what: &str) {
        let hits = Boundary::ALL.into_iter().zip(self.hits.0);
        let hits: Vec<String> = hits
            .map(|(kind, hits)| format!("{kind:?} {hits}"))
            .collect();
        println!(
            "{what}: {} crashes in {} runs; {}; ended {:?}",
            self.crashes(),
            self.runs,
            hits.join(", "),
            self.ends
        );
    }
}

/// Runs seeds until there were so many crashes, or those that the environment asks for.
pub fn many(kind: Kind, crashes: u64) -> Tally {
    let asked = seeds();
    let crashes = match &asked {
        Some(_) => u64::MAX,
        None => number("STURDY_CRASHES").unwrap_or(crashes),
    };
    let range = asked.unwrap_or(0..u64::MAX);
    let next = AtomicU64::new(range.start);
    let tally = Mutex::new(Tally::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let enough = {
                        let tally = tally.lock().unwrap();
                        tally.crashes() >= crashes || tally.wrong.len() >= ENOUGH
                    };
                    if enough || seed >= range.end {
                        return;
                    }
                    one(seed, kind, &tally);
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

/// One seed: a run without crashes, then some with, each with its first crash somewhere else.
fn one(seed: u64, kind: Kind, tally: &Mutex<Tally>) {
    let dry = run(seed, kind, &Crashes::none());
    let (seen, took) = (dry.seen, dry.took);
    tally.lock().unwrap().add(seed, "never", dry);
    let mut rng = fastrand::Rng::with_seed(seed);
    for part in 0..RUNS {
        let first = match part {
            0 => Next::Instant(rng.u64(0..took)),
            1..4 => seen.any_kind(&mut rng),
            _ => seen.any(&mut rng),
        };
        let crashes = Crashes::new(rng.u64(..), first, MORE, seen.sum());
        let outcome = run(seed, kind, &crashes);
        tally.lock().unwrap().add(seed, first, outcome);
    }
}
