//! Admission as a whole, in virtual time, against an upstream that counts for itself: floods, fairness, any schedule.
//!
//! The pure core has properties of its own beside it (`src/rate_limit/tests`); here the layer runs with its futures,
//! timers, wake-ups and cancellations.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    reason = "tests"
)]

mod any;
mod fair;
mod flood;
mod upstream;
