//! The scenario runner: one seed is one report, a bare client shows what it is there to show, and mistakes are told.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod amnesia;
mod sturdy;

use tower_sturdy::scenario::{self, Bare, LineUpReport, Options, Scenario};

const fn options(seed: u64, replay: bool) -> Options {
    Options {
        seed,
        replay,
        latency: None,
    }
}

fn bare(scenario: &Scenario, seed: u64) -> LineUpReport {
    let finished = scenario::run(scenario, options(seed, true), &Bare, &mut |_| ()).unwrap();
    finished.report
}

fn short(name: &str, operations: usize) -> Scenario {
    scenario::stored(name).unwrap().with_operations(operations)
}

#[test]
fn one_seed_is_one_report() {
    for (name, _) in scenario::STORED {
        let scenario = short(name, 150);
        assert_eq!(bare(&scenario, 7), bare(&scenario, 7), "{name}");
        assert_ne!(bare(&scenario, 7), bare(&scenario, 8), "{name}");
    }
}

#[test]
fn a_bare_client_pays_bills_twice() {
    let report = bare(&short("pay-bills", 400), 1);
    assert!(report.duplicate_effects > 10, "{report:?}");
    assert!(report.paid_twice > 10, "{report:?}");
    assert!(report.forbidden_sends > 10, "{report:?}");
    // What a quarter of a minute later a person sees: "failed", and a payment in the books.
    assert_eq!(report.wrong_effects, 0, "{report:?}");
}

#[test]
fn a_bare_client_is_throttled_in_a_storm_and_fails_in_an_outage() {
    let storm = bare(&scenario::stored("throttle-storm").unwrap(), 1);
    assert!(storm.throttled > 100, "{storm:?}");
    let mut outage = short("outage", 600);
    // Nobody presses again, so that the outage shows.
    outage.user.presses_again = 0;
    assert!(bare(&outage, 1).success_ratio < 0.99);
}

#[test]
fn without_faults_and_double_clicks_everyone_pays_once_and_knows_it() {
    let mut scenario = short("pay-bills", 200);
    scenario.faults.clear();
    scenario.load.double_click = 0.0;
    let report = bare(&scenario, 3);
    assert_eq!(report.succeeded, 200, "{report:?}");
    assert_eq!(report.duplicate_effects + report.forbidden_sends, 0);
    assert!(report.attempts_per_operation == 1.0 && report.drift_after == 0.0);
    assert!(report.stale_answers == 0 && report.latency_ms.scheduled.p50 > 0.0);
}

#[test]
fn one_seed_is_the_same_load_whatever_the_upstream_honours() {
    let scenario = short("pay-bills", 100);
    let sends = |replay| {
        let finished = scenario::run(&scenario, options(5, replay), &Bare, &mut |_| ()).unwrap();
        let sends = finished.history.sends();
        (sends.len(), sends.first().map(|send| send.at))
    };
    assert_eq!(sends(true), sends(false));
}

#[test]
fn a_process_that_dies_leaves_its_callers_without_an_answer_and_they_press_again() {
    let mut scenario = short("crash-loop", 300);
    scenario.faults.clear();
    let report = bare(&scenario, 2);
    assert_eq!(report.unresolved, 0, "{report:?}");
    assert_eq!(report.succeeded, 300, "{report:?}");
}

#[test]
fn an_unknown_scenario_and_a_broken_file_are_told_with_the_fix() {
    let unknown = scenario::find("pay-bils").unwrap_err().to_string();
    assert!(unknown.contains("pay-bills"), "{unknown}");
    let path = std::env::temp_dir().join(format!("scenario-{}.toml", std::process::id()));
    std::fs::write(
        &path,
        "name = \"x\"\nsettling = \"5m\"\n[load]\ncompanies = 0\n",
    )
    .unwrap();
    let broken = scenario::find(path.to_str().unwrap())
        .unwrap_err()
        .to_string();
    std::fs::remove_file(&path).unwrap();
    assert!(broken.contains("users"), "{broken}");
}

#[test]
fn progress_reaches_every_operation() {
    let scenario = short("pay-bills", 200);
    let mut last = 0;
    let mut progress = |at: scenario::Progress<'_>| last = at.begun;
    scenario::run(&scenario, options(1, true), &Bare, &mut progress).unwrap();
    assert_eq!(last, 200);
}
