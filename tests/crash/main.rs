//! Crashes: real processes that are killed, and processes that race each other.
//!
//! `STURDY_KILLS=1000` kills that many children; `STURDY_SEED=n` draws another load and other moments.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod hits;
mod judge;
mod kill;
mod load;
mod process;
mod race;
#[path = "../journal/sample.rs"]
mod sample;

/// A number that the environment gives.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}
