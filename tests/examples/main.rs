//! Every example runs: `cargo test --features full` builds them, and these run what was built.
#![cfg(feature = "full")]
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An example as the test run built it, beside this test's own folder.
fn example(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let profile = this.parent().and_then(Path::parent).unwrap();
    let path = profile
        .join("examples")
        .join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.exists(),
        "{name} is not built: run `cargo build --features full --examples` first; `cargo test --features full` does"
    );
    path
}

/// Runs it in `folder`, where whatever it writes by default goes too.
fn run(name: &str, folder: &Path, args: &[&str]) -> Output {
    Command::new(example(name))
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn errors_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A short run of the main job, with more arguments.
fn fragility(args: &[&str]) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let short = ["--ops", "40", "--seed", "1", "--scenario", "pay-bills"];
    let written = ["--json", json.to_str().unwrap()];
    let output = run(
        "fragility",
        folder.path(),
        &[&short[..], &written, args].concat(),
    );
    assert!(output.status.success(), "{}", errors_of(&output));
    let report = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    (report, String::from_utf8(output.stdout).unwrap())
}

/// The documented keys of one report.
fn assert_report(report: &Value, replay: bool) {
    assert_eq!(report["scenario"], "pay-bills");
    assert_eq!(report["seed"], 1);
    assert_eq!(report["replay"], replay);
    assert!(report["virtual_seconds"].as_f64().unwrap() > 0.0);
    assert!(report["wall_seconds"].is_number());
    let lineups = report["lineups"].as_array().unwrap();
    for name in [
        "bare",
        "tower-resilience",
        "tower-resilience+requestid",
        "sturdy",
    ] {
        let lineup = lineups.iter().find(|lineup| lineup["name"] == name);
        assert_lineup(lineup.unwrap_or_else(|| panic!("no line-up {name}")));
    }
}

fn assert_lineup(lineup: &Value) {
    for key in [
        "operations",
        "succeeded",
        "success_ratio",
        "duplicate_effects",
        "lost",
        "false_rejects",
        "wrong_effects",
        "paid_twice",
        "forbidden_sends",
        "unresolved",
        "parked",
        "parked_knowable",
        "throttled",
        "attempts_per_operation",
        "final_within_patience",
        "pending_settled_s_max",
        "stale_answers",
        "stale_age_s_max",
        "drift_before",
        "drift_after",
    ] {
        assert!(lineup[key].is_number(), "{key} in {lineup}");
    }
    for priority in ["user_action", "scheduled"] {
        for key in ["p50", "p99", "max"] {
            let value = &lineup["latency_ms"][priority][key];
            assert!(
                value.is_number() || value.is_null(),
                "{priority} {key} in {lineup}"
            );
        }
    }
    for kind in ["keyed", "lookup", "none"] {
        for key in [
            "operations",
            "sends",
            "second_sends",
            "in_doubt",
            "parked",
            "parked_clear",
            "visible_open",
        ] {
            let value = &lineup["by_capability"][kind][key];
            assert!(value.is_number(), "{kind} {key} in {lineup}");
        }
    }
    assert_eq!(lineup["operations"], 40, "{lineup}");
}

#[test]
fn the_main_job_reports_every_figure_for_every_lineup() {
    let (report, table) = fragility(&["--replay", "on"]);
    assert_report(&report, true);
    for name in ["bare", "tower-resilience", "sturdy"] {
        assert!(table.contains(name), "{table}");
    }
}

#[test]
fn the_main_job_runs_with_and_without_an_upstream_that_honours_keys() {
    let (reports, _) = fragility(&[]);
    let reports = reports.as_array().expect("an array of two");
    assert_eq!(reports.len(), 2);
    for report in reports {
        assert_report(report, report["replay"].as_bool().unwrap());
    }
    assert_ne!(reports[0]["replay"], reports[1]["replay"]);
}

#[test]
fn an_unknown_scenario_is_refused_with_the_known_ones() {
    let folder = tempfile::tempdir().unwrap();
    let output = run("fragility", folder.path(), &["--scenario", "no-such-thing"]);
    assert!(!output.status.success());
    let errors = errors_of(&output);
    for known in [
        "no-such-thing",
        "pay-bills",
        "outage",
        "throttle-storm",
        "crash-loop",
        "amnesia",
    ] {
        assert!(errors.contains(known), "{errors}");
    }
}

#[test]
fn a_broken_scenario_is_refused_with_its_line_and_without_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.toml");
    std::fs::write(&file, "name = \"broken\"\nload = [\n").unwrap();
    let output = run(
        "fragility",
        folder.path(),
        &["--scenario", file.to_str().unwrap()],
    );
    assert!(!output.status.success());
    let errors = errors_of(&output);
    assert!(
        errors.contains("broken.toml") && !errors.contains("panicked"),
        "{errors}"
    );
}

#[test]
fn the_program_lists_its_commands_and_refuses_others() {
    let run = |arg: &str| {
        Command::new(env!("CARGO_BIN_EXE_sturdy"))
            .arg(arg)
            .output()
            .unwrap()
    };
    let help = run("--help");
    assert!(help.status.success());
    assert!(String::from_utf8_lossy(&help.stdout).contains("Usage"));
    let wrong = run("no-such-command");
    assert!(!wrong.status.success());
    assert!(
        errors_of(&wrong).contains("no-such-command"),
        "{}",
        errors_of(&wrong)
    );
}
