//! Crashes: what was acknowledged survives them, and nothing happens twice.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

mod simulation;
