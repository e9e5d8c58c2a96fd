//! Journals: the laws that all of them keep, and what the one in SQLite promises beyond them.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod cipher;
mod conformance;
#[cfg(feature = "sqlite")]
mod crash;
mod faulty;
#[cfg(feature = "sqlite")]
mod model;
mod mutants;
mod sample;
mod sealed;
#[cfg(feature = "sqlite")]
mod sqlite;
