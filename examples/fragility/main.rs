//! The main job: pay bills through an upstream that misbehaves, with several clients in front of it, and count what
//! happened. `cargo run --release --features full --example fragility -- --help` lists what it takes.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

mod args;
mod peers;

use args::Args;
use clap::Parser;
use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use tower_sturdy::scenario::{self, Bare, LineUp, Options, Progress, Report, Scenario, Sturdy};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where the last run's report can always be found.
const REPORT: &str = "target/fragility.json";

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(why) = cause {
                eprintln!("  because: {why}");
                cause = why.source();
            }
            ExitCode::from(2)
        }
    }
}

/// Every line-up, in the order of the table.
fn lineups() -> Vec<Box<dyn LineUp>> {
    vec![
        Box::new(Bare),
        Box::new(peers::TowerResilience::plain()),
        Box::new(peers::TowerResilience::with_request_id()),
        Box::new(Sturdy),
    ]
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let all = lineups();
    let chosen = args.choose(&all)?;
    // Everything is read before anything is run: a mistake in the last file is told at once.
    let scenarios = args
        .scenarios()
        .iter()
        .map(|name| prepare(name, args.ops))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = &args.json {
        // Found out now, not after the run; what is there stays until there is something to replace it.
        std::fs::File::options()
            .append(true)
            .create(true)
            .open(path)
            .map_err(|why| format!("--json {} cannot be written: {why}", path.display()))?;
    }
    let mut reports = Vec::new();
    for scenario in &scenarios {
        for replay in args.replays() {
            let options = Options {
                seed: args.seed,
                replay,
                latency: args.latency(),
            };
            let report = scenario::run_all(scenario, options, &chosen, &mut |at| {
                show_progress(scenario, replay, at);
            })?;
            clear_progress();
            println!("{}", report.table());
            reports.push(report);
        }
    }
    if let Some(folder) = Path::new(REPORT).parent() {
        std::fs::create_dir_all(folder)?;
    }
    write_json(Path::new(REPORT), &reports)?;
    if let Some(path) = &args.json {
        write_json(path, &reports)?;
    }
    Ok(())
}

fn prepare(name: &str, operations: Option<usize>) -> Result<Scenario, Box<dyn Error>> {
    let mut scenario = scenario::find(name)?;
    if let Some(operations) = operations {
        scenario = scenario.with_operations(operations);
    }
    scenario.check()?;
    Ok(scenario)
}

fn write_json(path: &Path, reports: &[Report]) -> Result<(), Box<dyn Error>> {
    std::fs::write(path, scenario::to_json(reports)?)
        .map_err(|why| format!("{} could not be written: {why}", path.display()).into())
}

fn show_progress(scenario: &Scenario, replay: bool, at: Progress<'_>) {
    let mut screen = std::io::stderr();
    if screen.is_terminal() {
        let replay = if replay { "on" } else { "off" };
        // A progress line that cannot be shown is no reason to stop.
        let _ = write!(screen, "\r\x1b[K{} (replay {replay}) {at}", scenario.name);
        let _ = screen.flush();
    }
}

fn clear_progress() {
    let mut screen = std::io::stderr();
    if screen.is_terminal() {
        let _ = write!(screen, "\r\x1b[K");
    }
}
