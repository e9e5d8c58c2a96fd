//! What is on record survives: power loss, crashes, races. Real files, real processes, real system calls.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

mod power;
mod strace;
mod trace;
