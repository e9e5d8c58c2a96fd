//! The program `sturdy`, as a person at a terminal meets it.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use tower_sturdy::scenario::Scenario;

struct Ran {
    code: Option<i32>,
    told: String,
    complained: String,
}

fn sturdy(args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_sturdy"))
        .args(args)
        .output()
        .unwrap();
    Ran {
        code: output.status.code(),
        told: String::from_utf8(output.stdout).unwrap(),
        complained: String::from_utf8(output.stderr).unwrap(),
    }
}

fn done(args: &[&str]) -> String {
    let ran = sturdy(args);
    assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.complained);
    ran.told
}

/// What it complains about; nothing is printed as if it had worked, and nothing panics.
fn refused(args: &[&str]) -> String {
    let ran = sturdy(args);
    assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.complained);
    assert_eq!(ran.told, "", "{args:?}");
    assert!(!ran.complained.contains("panicked"), "{}", ran.complained);
    ran.complained
}

fn file(folder: &Path, text: &str) -> String {
    let path = folder.join("my.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

const GOOD: &str = "name = \"mine\"\nsettling = \"10m\"\n[load]\ncompanies = 1\nusers = 2\n\
                    operations = 20\nover = \"5m\"\n";

#[test]
fn the_list_names_every_stored_scenario_and_what_it_shows() {
    let told = done(&["scenario", "list"]);
    for name in [
        "pay-bills",
        "outage",
        "throttle-storm",
        "crash-loop",
        "amnesia",
    ] {
        let line = told.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.len() > name.len() + 20, "{line}");
    }
}

#[test]
fn a_run_prints_a_table_and_writes_one_report_as_an_object() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let written = json.to_str().unwrap();
    let run = ["scenario", "run", "pay-bills", "--ops", "40", "--seed", "3"];
    let more = ["--replay", "on", "--latency", "recorded", "--json", written];
    let told = done(&[&run[..], &more].concat());
    assert!(told.contains("bare") && told.contains("sturdy"), "{told}");
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["seed"], 3);
    assert_eq!(report["replay"], true);
    let names: Vec<_> = report["lineups"].as_array().unwrap().iter().collect();
    assert_eq!(names[0]["name"], "bare");
    assert_eq!(names[1]["name"], "sturdy");
    assert_eq!(names[1]["operations"], 40);
    // Recorded answers take longer than quick ones.
    let p50 = names[0]["latency_ms"]["user_action"]["p50"].as_f64();
    assert!(p50.unwrap() > 150.0, "{p50:?}");
}

#[test]
fn a_file_is_run_with_both_kinds_of_upstream_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = file(folder.path(), GOOD);
    let json = folder.path().join("report.json");
    let told = done(&[
        "scenario",
        "run",
        &scenario,
        "--json",
        json.to_str().unwrap(),
    ]);
    assert!(told.contains("honours") && told.contains("ignores"));
    let reports: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(reports[0]["scenario"], "mine");
    assert_eq!(reports[0]["replay"], true);
    assert_eq!(reports[1]["replay"], false);
}

#[test]
fn one_seed_prints_one_table() {
    let args = ["scenario", "run", "outage", "--ops", "60", "--replay", "on"];
    // The wall time on the first line differs from run to run.
    let table = || {
        let told = done(&args);
        told.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(table(), table());
}

#[test]
fn a_check_prints_the_settings_as_applied_in_a_form_that_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let told = done(&["scenario", "check", &file(folder.path(), GOOD)]);
    for applied in [
        "operations = 20",
        "per_minute = 500",
        "patience = \"300ms\"",
    ] {
        assert!(told.contains(applied), "{applied} in {told}");
    }
    let again = Scenario::parse(&told).unwrap();
    assert_eq!(again.to_toml().unwrap(), told);
    // Stored ones have every kind of setting.
    for (name, _) in tower_sturdy::scenario::STORED {
        let told = done(&["scenario", "check", name]);
        assert_eq!(Scenario::parse(&told).unwrap().to_toml().unwrap(), told);
    }
}

#[test]
fn a_mistake_in_a_file_is_told_by_its_field_and_the_fix() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        (
            "[throttle]\nper_minute = 0\n",
            "`throttle.per_minute`",
            "at least 1",
        ),
        ("[user]\npatience = \"-3s\"\n", "patience", "negative"),
        ("[user]\npatiense = \"3s\"\n", "patiense", "patience"),
        ("[user\n", "my.toml", "line"),
    ];
    for (more, field, fix) in cases {
        let scenario = file(folder.path(), &format!("{GOOD}{more}"));
        for command in ["check", "run"] {
            let told = refused(&["scenario", command, &scenario]);
            assert!(told.starts_with("error: "), "{told}");
            assert!(told.contains(field) && told.contains(fix), "{told}");
        }
    }
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let told = refused(&["scenario", "run", "pay-bils"]);
    assert!(told.contains("pay-bils") && told.contains("pay-bills"));
    let told = refused(&["scenario", "check", "no/such/file.toml"]);
    assert!(told.contains("no/such/file.toml"), "{told}");
    let told = refused(&["scenario", "run", "pay-bills", "--ops", "0"]);
    assert!(
        told.contains("--ops") && told.contains("at least 1"),
        "{told}"
    );
    let told = refused(&["scenario", "run", "pay-bills", "--replay", "maybe"]);
    assert!(told.contains("on, off"), "{told}");
    let told = refused(&["scenarios"]);
    assert!(told.contains("scenario"), "{told}");
}

#[test]
fn a_report_that_cannot_be_written_is_an_error_with_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("no/such/folder/report.json");
    let scenario = file(folder.path(), GOOD);
    let path = json.to_str().unwrap();
    let ran = sturdy(&["scenario", "run", &scenario, "--json", path]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.complained.contains(path), "{}", ran.complained);
}
