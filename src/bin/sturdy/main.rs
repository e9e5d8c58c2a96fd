//! The `sturdy` program: scenarios, and what people do with the operations of a journal.
//!
//! Exit codes: 0 done; 1 refused, or nothing was found; 2 what was asked for cannot be done, such as a mistake in an
//! argument or a scenario; 3 the journal could not be opened, read or written. Standard error says why, and what to do.
#![allow(
    clippy::print_stderr,
    reason = "a program for people: complaints to standard error"
)]

mod failure;
mod journal;
mod scenario;

use clap::{Parser, Subcommand};
use std::io::{BufWriter, Write};
use std::process::ExitCode;

/// Layers that make a fragile, money-moving HTTP API safe: tools around them.
#[derive(Debug, Parser)]
#[command(name = "sturdy", version)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Scenarios: a load, an upstream that misbehaves, and a judge.
    #[command(subcommand)]
    Scenario(scenario::Command),
    /// The operations in a journal file: look at them, and decide what only a person can decide.
    #[command(subcommand)]
    Journal(journal::Command),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let done = match &args.what {
        What::Scenario(command) => scenario::run(command, &mut out),
        What::Journal(command) => journal::run(command, &mut out),
    };
    // What was said before a failure is shown before it.
    let done = match out.flush() {
        Err(error) if done.is_ok() => Err(error.into()),
        _ => done,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}
