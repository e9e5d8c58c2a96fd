//! `sturdy scenario`: lists, checks and runs scenarios.

use crate::failure::Failure;
use clap::{Subcommand, ValueEnum};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use tower_sturdy::scenario::{
    self, Bare, Latency, LineUp, Options, Progress, Report, Scenario, Sturdy,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists the scenarios that come with the program.
    List,
    /// Runs a scenario with a bare client and with the whole stack, and prints what happened.
    ///
    /// In virtual time: the same seed gives the same counts. (The example `fragility` adds the peers.)
    Run(Run),
    /// Checks a scenario: prints every setting as applied, or the mistake with its field and the fix.
    Check {
        /// A TOML file, or the name of a stored scenario.
        #[arg(value_name = "FILE")]
        scenario: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// The name of a stored scenario, or a TOML file.
    #[arg(value_name = "NAME|FILE")]
    scenario: String,

    /// The seed of load, faults and latencies.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Bills to pay, instead of the scenario's number. More of them means more companies of the same size.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    ops: Option<usize>,

    /// Whether the upstream honours our keys; both in turn if not given.
    #[arg(long, value_enum)]
    replay: Option<Switch>,

    /// How long the upstream's answers take, instead of what the scenario says.
    #[arg(long, value_enum)]
    latency: Option<Profile>,

    /// Where to write the report as JSON: an object, or an array of two where both settings of `--replay` ran.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// Median 120 ms, p99 280 ms.
    Quick,
    /// 85 to 860 ms, as in recorded sandbox traffic.
    Recorded,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a whole number of at least 1, such as 500".to_owned()),
        Ok(count) => Ok(count),
    }
}

/// Does it, and prints what came of it.
pub(crate) fn run(command: &Command, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        Command::List => list(out),
        Command::Run(run) => run.run(out),
        Command::Check { scenario } => check(scenario, out),
    }
}

fn list(out: &mut dyn Write) -> Result<(), Failure> {
    let width = scenario::STORED.iter().map(|(name, _)| name.len()).max();
    for (name, _) in scenario::STORED {
        let about = scenario::stored(name)?.about;
        writeln!(
            out,
            "{name:<width$}  {about}",
            width = width.unwrap_or_default()
        )?;
    }
    Ok(())
}

fn check(name: &str, out: &mut dyn Write) -> Result<(), Failure> {
    write!(out, "{}", scenario::find(name)?.to_toml()?)?;
    Ok(())
}

impl Run {
    fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut scenario = scenario::find(&self.scenario)?;
        if let Some(operations) = self.ops {
            scenario = scenario.with_operations(operations);
        }
        scenario.check()?;
        let lineups: [&dyn LineUp; 2] = [&Bare, &Sturdy];
        let mut reports = Vec::new();
        for replay in self.replays() {
            let options = Options {
                seed: self.seed,
                replay,
                latency: self.latency(),
            };
            let report = scenario::run_all(&scenario, options, &lineups, &mut |at| {
                show(&scenario, replay, at);
            })?;
            clear();
            writeln!(out, "{}", report.table())?;
            out.flush()?;
            reports.push(report);
        }
        match &self.json {
            Some(path) => write(path, &reports),
            None => Ok(()),
        }
    }

    fn replays(&self) -> Vec<bool> {
        match self.replay {
            Some(replay) => vec![replay == Switch::On],
            None => vec![true, false],
        }
    }

    fn latency(&self) -> Option<Latency> {
        self.latency.map(|profile| match profile {
            Profile::Quick => Latency::Quick,
            Profile::Recorded => Latency::Recorded,
        })
    }
}

fn write(path: &Path, reports: &[Report]) -> Result<(), Failure> {
    let json = scenario::to_json(reports).map_err(|error| Failure::Usage(error.into()))?;
    std::fs::write(path, json).map_err(|why| {
        Failure::Usage(format!("{} could not be written: {why}", path.display()).into())
    })
}

fn show(scenario: &Scenario, replay: bool, at: Progress<'_>) {
    let mut screen = std::io::stderr();
    if screen.is_terminal() {
        let replay = if replay { "on" } else { "off" };
        // A progress line that cannot be shown is no reason to stop.
        let _ = write!(screen, "\r\x1b[K{} (replay {replay}) {at}", scenario.name);
        let _ = screen.flush();
    }
}

fn clear() {
    let mut screen = std::io::stderr();
    if screen.is_terminal() {
        let _ = write!(screen, "\r\x1b[K");
    }
}
