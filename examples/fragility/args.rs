//! What the program takes.

use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use tower_sturdy::scenario::{self, LineUp};

/// Pays bills through an upstream that misbehaves, with several clients in front of it, and counts what happened.
///
/// Prints one table for each scenario and setting of the upstream, and writes target/fragility.json. Runs in virtual
/// time: the same seed gives the same counts.
#[derive(Debug, Parser)]
#[command(name = "fragility", version)]
pub(crate) struct Args {
    /// A stored scenario (pay-bills, outage, throttle-storm, crash-loop, amnesia), `all` of them, or a TOML file. May be
    /// repeated.
    #[arg(
        long = "scenario",
        value_name = "NAME|FILE",
        default_value = "pay-bills"
    )]
    scenarios: Vec<String>,

    /// The seed of load, faults and latencies.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// Bills to pay, instead of the scenario's number. More of them means more companies of the same size.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) ops: Option<usize>,

    /// Only this line-up. May be repeated.
    #[arg(long = "lineup", value_name = "NAME")]
    lineups: Vec<String>,

    /// Whether the upstream honours our keys; or both in turn.
    #[arg(long, value_enum, default_value_t = Switch::Both)]
    replay: Switch,

    /// How long the upstream's answers take, instead of what the scenario says.
    #[arg(long, value_enum)]
    latency: Option<Profile>,

    /// Where else to write the report.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
    Both,
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

impl Args {
    /// The names and files to run.
    pub(crate) fn scenarios(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for name in &self.scenarios {
            match name.as_str() {
                "all" => names.extend(scenario::STORED.iter().map(|(name, _)| *name)),
                name => names.push(name),
            }
        }
        names
    }

    /// Whether the upstream honours our keys: each in turn.
    pub(crate) fn replays(&self) -> Vec<bool> {
        match self.replay {
            Switch::On => vec![true],
            Switch::Off => vec![false],
            Switch::Both => vec![true, false],
        }
    }

    /// The latencies asked for.
    pub(crate) fn latency(&self) -> Option<scenario::Latency> {
        self.latency.map(|profile| match profile {
            Profile::Quick => scenario::Latency::Quick,
            Profile::Recorded => scenario::Latency::Recorded,
        })
    }

    /// The line-ups asked for, in the table's order.
    pub(crate) fn choose<'a>(
        &self,
        all: &'a [Box<dyn LineUp>],
    ) -> Result<Vec<&'a dyn LineUp>, String> {
        let known = || all.iter().map(|lineup| lineup.name());
        if let Some(unknown) = self
            .lineups
            .iter()
            .find(|name| !known().any(|known| known == name.as_str()))
        {
            return Err(format!(
                "no line-up \"{unknown}\": use one of {}",
                known().collect::<Vec<_>>().join(", ")
            ));
        }
        Ok(all
            .iter()
            .map(|lineup| &**lineup)
            .filter(|lineup| {
                self.lineups.is_empty() || self.lineups.iter().any(|name| name == lineup.name())
            })
            .collect())
    }
}
