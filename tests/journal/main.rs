//! Journals: the laws that all of them keep, and what the one in SQLite promises beyond them.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod cipher;
mod conformance;
#[cfg(feature = "sqlite")]
mod crash;
#[cfg(feature = "sqlite")]
mod damaged;
mod faulty;
#[cfg(feature = "sqlite")]
mod files;
#[cfg(feature = "sqlite")]
mod model;
mod mutants;
#[cfg(feature = "sqlite")]
mod owners;
#[cfg(feature = "sqlite")]
mod place;
mod purge;
#[cfg(feature = "sqlite")]
mod quarantine;
mod sample;
mod sealed;
#[cfg(feature = "sqlite")]
mod sqlite;
