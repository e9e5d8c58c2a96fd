//! Each room alone: its behaviour, and tower's contract under it.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

mod attempt;
mod cache;
mod collect;
mod faulty;
mod hooks;
mod house;
mod idempotency;
mod journal_down;
mod keyless;
mod keys;
mod owners;
mod probe;
mod rate_limit;
mod reconcile;
mod retry;
mod stack;
