//! A crash at every await: whole stacks live through clicks, faults of the upstream and time, and die at a seeded point,
//! several times a run. What they had queued is lost, what they had sent goes on, and a new stack opens the journal as
//! its bytes are at that instant.
//!
//! All that can be seen of a process goes through a few doors (see `power`), so the points at which it can die are
//! counted in a run without crashes, and every one of them is as likely as any other; half of the crashes first draw a
//! kind, so that the rare ones have their turn. In the end all must have settled, and every count of the judge must
//! be 0.
//!
//! - `STURDY_CRASHES=1000000` makes so many crashes in each of the tests instead of some thousand;
//! - `STURDY_SEEDS=1000` runs so many seeds in each;
//! - a failure names its seed, and `STURDY_SEED=n` runs that one again.
//!
//! `STURDY_CRASHES=1000000 cargo test --release --features full --test crash simulation -- --nocapture` is the run
//! over millions; it uses every core, and tells what was hit.

mod boundary;
mod disk;
mod file;
mod host;
mod judge;
mod owners;
mod power;
mod run;
mod script;
mod tally;
mod upstream;
mod world;

use boundary::{Boundary, Next};
use power::Crashes;
use run::run;
use script::{Kind, Remains};
use tally::{Tally, many, seeds};

const KEYED: Kind = Kind {
    replay: true,
    hosts: 1,
    sqlite: false,
    remains: Remains::Either,
};
const LOOKED_UP: Kind = Kind {
    replay: false,
    ..KEYED
};

/// Makes so many crashes, unless the environment says otherwise, and expects that every kind of boundary was hit.
fn survives(kind: Kind, crashes: u64) {
    let tally = many(kind, crashes);
    tally.tell(&format!("{kind:?}"));
    assert!(tally.wrong.is_empty(), "{}", tally.wrong.join("\n"));
    assert!(tally.is_whole(), "not every boundary was hit");
}

#[test]
fn keyed_writes_survive_a_crash_anywhere() {
    survives(KEYED, 6_000);
}

#[test]
fn writes_that_an_upstream_without_keys_gets_survive_a_crash_anywhere() {
    survives(LOOKED_UP, 6_000);
}

#[test]
fn keyed_writes_of_two_processes_survive_the_crash_of_either() {
    survives(Kind { hosts: 2, ..KEYED }, 3_000);
}

#[test]
fn writes_without_keys_of_two_processes_survive_the_crash_of_either() {
    let kind = Kind {
        hosts: 2,
        ..LOOKED_UP
    };
    survives(kind, 3_000);
}

#[test]
fn what_a_sqlite_file_holds_at_the_instant_of_a_crash_is_enough() {
    for kind in [KEYED, LOOKED_UP] {
        let kind = Kind {
            sqlite: true,
            ..kind
        };
        survives(kind, 500);
    }
}

#[test]
fn every_boundary_of_a_run_can_be_its_last() {
    let mut tally = Tally::default();
    for seed in seeds().unwrap_or(0..6) {
        for kind in [KEYED, LOOKED_UP] {
            let dry = run(seed, kind, &Crashes::none());
            for at in 1..=dry.seen.sum() {
                let crashes = Crashes::new(seed, Next::At(at), 0, 1);
                tally.add(seed, Next::At(at), run(seed, kind, &crashes));
            }
        }
    }
    tally.tell("every boundary");
    assert!(tally.wrong.is_empty(), "{}", tally.wrong.join("\n"));
}

#[test]
fn a_seed_makes_the_same_run_every_time() {
    for seed in 0..20 {
        for kind in [KEYED, Kind { hosts: 2, ..KEYED }, LOOKED_UP] {
            let again = || {
                let crashes = Crashes::new(seed, Next::At(50 + seed), 3, 100);
                let outcome = run(seed, kind, &crashes);
                (outcome.digest, outcome.took, format!("{:?}", outcome.story))
            };
            assert_eq!(again(), again(), "STURDY_SEED={seed}");
        }
    }
}

#[test]
fn what_is_left_of_a_dead_process_does_nothing() {
    for seed in 0..50 {
        for kind in [KEYED, Kind { hosts: 2, ..KEYED }, LOOKED_UP] {
            let with = |remains| {
                let crashes = Crashes::new(seed, Next::Of(Boundary::Leaves, 1), 3, 100);
                let outcome = run(seed, Kind { remains, ..kind }, &crashes);
                (outcome.digest, outcome.took, format!("{:?}", outcome.story))
            };
            assert_eq!(
                with(Remains::Buried),
                with(Remains::Lying),
                "STURDY_SEED={seed}"
            );
        }
    }
}
