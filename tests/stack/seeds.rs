//! The stored scenarios over many seeds: never a wrong effect, never a wrong word.
//!
//! `STURDY_SEEDS=<count>` runs the seeds from 1 to that number (3 by default); `STURDY_SEED=<seed>` replays one.

use tower_sturdy::scenario::{self, Finished, Options, Scenario, Sturdy};

const DEFAULT: u64 = 3;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is {text:?}: write a whole number, such as 7")))
}

pub(crate) fn seeds() -> Vec<u64> {
    match number("STURDY_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("STURDY_SEEDS").unwrap_or(DEFAULT)).collect(),
    }
}

/// One run, and the words that name it in a failure.
pub(crate) struct Case {
    pub(crate) scenario: Scenario,
    pub(crate) finished: Finished,
    pub(crate) named: String,
}

/// Runs the line-up. `test` is the test's own name, for the command line that replays it.
pub(crate) fn run(scenario: Scenario, seed: u64, replay: bool, test: &str) -> Case {
    let on = if replay { "on" } else { "off" };
    let named = format!(
        "scenario {}, replay {on}, seed {seed}; again with \
         `STURDY_SEED={seed} cargo test --features full --test stack -- --exact {test}`",
        scenario.name
    );
    let options = Options {
        seed,
        replay,
        latency: None,
    };
    let finished = scenario::run(&scenario, options, &Sturdy, &mut |_| ())
        .unwrap_or_else(|error| panic!("{error} in {named}"));
    Case {
        scenario,
        finished,
        named,
    }
}

/// What must hold of every run.
fn check(case: &Case, replay: bool, least: f64) {
    let report = &case.finished.report;
    let again = format!("{}: {report:#?}", case.named);
    for (what, count) in [
        ("duplicate_effects", report.duplicate_effects),
        ("paid_twice", report.paid_twice),
        ("lost", report.lost),
        ("false_rejects", report.false_rejects),
        ("wrong_effects", report.wrong_effects),
        ("forbidden_sends", report.forbidden_sends),
        ("unresolved", report.unresolved),
        ("parked_knowable", report.parked_knowable),
    ] {
        assert_eq!(count, 0, "{what} in {again}");
    }
    if replay {
        assert_eq!(report.parked, 0, "parked in {again}");
    }
    if case.scenario.name == "throttle-storm" {
        assert_eq!(report.throttled, 0, "throttled in {again}");
    }
    if replay && case.scenario.name == "pay-bills" {
        let share = report.final_within_patience;
        assert!(share >= 0.88, "final_within_patience in {again}");
    }
    assert!(report.success_ratio >= least, "success_ratio in {again}");
}

fn all_seeds(name: &str, operations: usize, replay: bool, least: f64, test: &str) {
    for seed in seeds() {
        let scenario = scenario::stored(name).unwrap().with_operations(operations);
        let case = run(scenario, seed, replay, &format!("seeds::{test}"));
        check(&case, replay, least);
    }
}

// Fewer operations where the shape of the scenario does not depend on their number, so that all of this ends in a few
// minutes in a debug build. A share of 0.999 needs the whole of them, and the storm is one only with all of them.

#[test]
fn pay_bills_where_the_upstream_honours_our_keys() {
    let test = "pay_bills_where_the_upstream_honours_our_keys";
    all_seeds("pay-bills", 1_500, true, 0.999, test);
}

#[test]
fn pay_bills_where_it_does_not() {
    all_seeds("pay-bills", 500, false, 0.95, "pay_bills_where_it_does_not");
}

#[test]
fn outage_where_the_upstream_honours_our_keys() {
    let test = "outage_where_the_upstream_honours_our_keys";
    all_seeds("outage", 1_000, true, 0.99, test);
}

#[test]
fn outage_where_it_does_not() {
    all_seeds("outage", 1_000, false, 0.95, "outage_where_it_does_not");
}

#[test]
fn crash_loop_where_the_upstream_honours_our_keys() {
    let test = "crash_loop_where_the_upstream_honours_our_keys";
    all_seeds("crash-loop", 300, true, 0.99, test);
}

#[test]
fn crash_loop_where_it_does_not() {
    all_seeds(
        "crash-loop",
        300,
        false,
        0.95,
        "crash_loop_where_it_does_not",
    );
}

#[test]
fn throttle_storm_where_it_does_not() {
    all_seeds(
        "throttle-storm",
        4_000,
        false,
        0.95,
        "throttle_storm_where_it_does_not",
    );
}

#[test]
fn throttle_storm_where_the_upstream_honours_our_keys() {
    let test = "seeds::throttle_storm_where_the_upstream_honours_our_keys";
    for seed in seeds() {
        let scenario = scenario::stored("throttle-storm").unwrap();
        let case = run(scenario, seed, true, test);
        check(&case, true, 0.99);
        crate::flow::while_work_waits_98_percent_flows(&case, seed);
    }
}
