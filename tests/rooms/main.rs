//! Each room alone: its behaviour, and tower's contract under it.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

mod attempt;
mod cache;
#[path = "../journal/cipher.rs"]
mod cipher;
mod collect;
mod contended;
mod hooks;
mod house;
mod idempotency;
mod journal_down;
mod keyless;
mod keys;
#[cfg(feature = "sqlite")]
mod os_locks;
mod owners;
mod people;
mod probe;
mod purged;
mod rate_limit;
mod rate_limit_headers;
mod reconcile;
mod refused;
#[cfg(feature = "sqlite")]
mod restored;
mod retry;
mod sealed;
mod stack;
mod starved;
