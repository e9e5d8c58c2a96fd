//! The production rules (record, may_send, settle, moment) under every order of events: two hosts, one of them slow but
//! alive, crashes at every step, an upstream that applies or not, answers or not, late or never, takes two requests under
//! one key for two, forgets keys, replays failures and shows what was a while ago; clocks that jump.
//!
//! Under the four assumptions of the README no order leads to a second effect, a changed final state, an untrue word or a
//! stuck operation. For each assumption there is a run that breaks it, and is seen to fail.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod explore;
mod moves;
mod upstream;
mod world;

use explore::explore;
use std::time::Duration;
use tower_sturdy::journal::{Capability, Concurrent};
use world::{HORIZON, Setup, keyed};

/// More worlds than any setup has: a mistake of the model ends here.
const MOST: usize = 100_000_000;

/// For how many ticks each world is watched, of 10 s each: the lease is one, the settle window another. Takeover, resend
/// and late effects fit into 4; `STURDY_MODEL_TICKS=7 cargo test --release --features full --test model` goes on to the end
/// of every horizon, and takes some minutes.
fn ends() -> u64 {
    match std::env::var("STURDY_MODEL_TICKS") {
        Ok(text) => text.parse().expect("STURDY_MODEL_TICKS is no number"),
        Err(_) => 4,
    }
}

#[track_caller]
fn holds(setup: &Setup) {
    let found = explore(setup, MOST, 64);
    println!("{}: {} worlds", setup.name, found.worlds);
    assert!(found.wrong.is_none(), "{setup:?}: {:#?}", found.wrong);
    assert!(
        found.worlds > 1_000,
        "{}: the model does nothing",
        setup.name
    );
}

#[track_caller]
fn fails(setup: &Setup, how: &str) {
    let found = explore(setup, MOST, 0);
    let (wrong, way) = found.wrong.expect("it was to be seen");
    println!(
        "{}: {wrong} after {way:?} ({} worlds)",
        setup.name, found.worlds
    );
    assert_eq!(wrong, how, "{}", setup.name);
}

/// What can go wrong, some kinds at a time, so that each setup stays small enough to be visited whole.
fn setups(capability: Capability) -> Vec<Setup> {
    let plain = Setup {
        ends: ends(),
        ..Setup::new("a slow host, a crash", capability)
    };
    let wide = |name| Setup {
        name,
        ends: ends() - 1,
        ..plain.clone()
    };
    vec![
        plain.clone(),
        Setup {
            crashes: 0,
            all_answers: true,
            ..wide("a slow host, every answer")
        },
        Setup {
            sleeps: 0,
            all_answers: true,
            ..wide("a crash, every answer")
        },
        Setup {
            locks: true,
            asks: 2,
            ..wide("owners that are known, asked twice")
        },
        Setup {
            asks: 2,
            crashes: 0,
            ..wide("leases, asked twice")
        },
        Setup {
            crashes: 2,
            both_die: true,
            ..wide("two crashes, anywhere")
        },
        Setup {
            sends: 3,
            crashes: 0,
            ..wide("three sends")
        },
        Setup {
            journal_failures: 1,
            crashes: 0,
            ..wide("a journal that fails")
        },
        Setup {
            jumps: 1,
            crashes: 0,
            ..wide("a clock that jumps")
        },
        Setup {
            jumps: 1,
            ..wide("a clock that jumps, a crash")
        },
        Setup {
            suspends: true,
            crashes: 0,
            ..wide("a host that stands still")
        },
    ]
}

#[test]
fn keyed_writes_are_safe_in_every_order_of_events() {
    setups(keyed()).iter().for_each(holds);
}

#[test]
fn writes_that_a_look_up_finds_are_safe_in_every_order_of_events() {
    setups(Capability::Lookup).iter().for_each(holds);
}

#[test]
fn writes_that_leave_once_are_safe_in_every_order_of_events() {
    setups(Capability::None).iter().for_each(holds);
}

#[test]
fn a1_broken_two_keys_for_one_bill_are_seen_to_pay_twice() {
    let broken = Setup {
        asks: 2,
        new_key_each: true,
        ..Setup::new("A1", keyed())
    };
    fails(&broken, "two effects");
}

#[test]
fn a2_broken_an_upstream_that_forgets_before_the_horizon_is_seen_to_pay_twice() {
    fails(
        &Setup {
            retention: 1,
            ..Setup::new("A2", keyed())
        },
        "two effects",
    );
}

#[test]
fn a2_broken_a_key_that_is_called_safe_at_once_and_is_not_is_seen_to_pay_twice() {
    let capability = Capability::Keyed {
        horizon: Duration::from_secs(10 * HORIZON),
        concurrent: Concurrent::Proven,
    };
    fails(&Setup::new("A2, at once", capability), "two effects");
}

#[test]
fn a3_broken_a_journal_that_loses_a_step_is_seen_to_let_a_write_leave_twice() {
    fails(
        &Setup {
            rolls_back: true,
            ..Setup::new("A3", Capability::Lookup)
        },
        "two effects",
    );
}

#[test]
fn a4_broken_a_used_key_that_is_taken_as_new_is_seen_to_pay_twice() {
    let broken = Setup {
        forgets: true,
        asks: 2,
        ..Setup::new("A4", Capability::Lookup)
    };
    fails(&broken, "two effects");
}

#[test]
fn a_wall_clock_that_is_believed_as_it_is_is_seen_to_pay_twice() {
    let broken = Setup {
        jumps: 1,
        trusts_wall: true,
        ..Setup::new("clock", keyed())
    };
    fails(&broken, "two effects");
}
