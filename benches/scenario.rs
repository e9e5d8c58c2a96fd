//! One scenario of 100,000 operations through the whole stack: how long it takes, and how much memory.
//!
//! `cargo bench --features scenario --bench scenario -- --ops 100000`. Prints wall seconds, virtual seconds, operations a
//! second, peak resident memory, and the judge's counts. It must stay under 60 s and 500 MB on two cores; one run is
//! enough to see that, so this is no statistic.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a program for people"
)]

use std::process::ExitCode;
use tower_sturdy::scenario::{self, Bare, LineUp, Options, ScenarioError, Sturdy};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "use: cargo bench --features scenario --bench scenario -- [--ops N] [--seed N] [--replay on|off] \
                     [--lineup sturdy|bare]";

struct Args {
    operations: usize,
    options: Options,
    lineup: &'static dyn LineUp,
}

fn args() -> Option<Args> {
    let mut args = Args {
        operations: 100_000,
        options: Options {
            seed: 1,
            replay: true,
            latency: None,
        },
        lineup: &Sturdy,
    };
    // `--bench` is cargo's own.
    let mut given = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(name) = given.next() {
        let value = given.next()?;
        match name.as_str() {
            "--ops" => args.operations = value.parse().ok().filter(|count| *count > 0)?,
            "--seed" => args.options.seed = value.parse().ok()?,
            "--replay" => {
                args.options.replay = match value.as_str() {
                    "on" => true,
                    "off" => false,
                    _ => return None,
                }
            }
            // What the simulation itself costs.
            "--lineup" => {
                args.lineup = match value.as_str() {
                    "sturdy" => &Sturdy,
                    "bare" => &Bare,
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
    Some(args)
}

fn main() -> ExitCode {
    let Some(args) = args() else {
        eprintln!("error: {USAGE}");
        return ExitCode::from(2);
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), ScenarioError> {
    let scenario = scenario::stored("pay-bills")?.with_operations(args.operations);
    let report = scenario::run_all(&scenario, args.options, &[args.lineup], &mut |_| ())?;
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let rate = args.operations as f64 / report.wall_seconds;
    println!("{}", report.table());
    println!("operations        {:>12}", args.operations);
    println!("companies         {:>12}", scenario.load.companies);
    println!("wall seconds      {:>12.1}", report.wall_seconds);
    println!("virtual seconds   {:>12.0}", report.virtual_seconds);
    println!("operations/s      {rate:>12.0}");
    match peak_kib() {
        Some(kib) => println!("peak resident MB  {:>12.0}", kib * 1_024.0 / 1e6),
        None => println!("peak resident MB  {:>12}", "not known here"),
    }
    Ok(())
}

/// The most memory this process ever had resident, where the system tells (Linux).
fn peak_kib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}
