//! The whole stack against the mock: over many seeds in the stored scenarios, and fact by fact.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "tests"
)]

mod edge;
mod flow;
mod rig;
mod seeds;
mod settings;
mod settled;
mod shared;
mod verify;
