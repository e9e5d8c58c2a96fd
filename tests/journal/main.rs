//! Journals: the laws that all of them keep, and what the one in SQLite promises beyond them.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod conformance;
#[cfg(feature = "sqlite")]
mod crash;
#[cfg(feature = "sqlite")]
mod damaged;
#[cfg(feature = "sqlite")]
mod files;
#[cfg(feature = "sqlite")]
mod model;
#[cfg(feature = "sqlite")]
mod owners;
#[cfg(feature = "sqlite")]
mod place;
#[cfg(feature = "sqlite")]
mod quarantine;
mod sample;
#[cfg(feature = "sqlite")]
mod sqlite;
