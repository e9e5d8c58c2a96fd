//! What was acknowledged survives, and nothing happens twice: whole stacks that die at seeded points, real processes that
//! are killed, that race each other and that open one new file at once, power loss on a recorded disk, and what is synced
//! at the first byte.
//!
//! `STURDY_CRASHES`, `STURDY_KILLS`, `STURDY_OPENINGS`, `STURDY_REPLAYS` and `STURDY_SEEDS` ask for more of each;
//! `STURDY_SEED=n` draws another load and other moments.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod claims;
mod full;
mod hits;
mod judge;
mod kill;
mod load;
mod opening;
mod power;
mod process;
mod race;
#[path = "../journal/sample.rs"]
mod sample;
mod simulation;
mod strace;
mod trace;
mod turns;

/// A number that the environment gives.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}
