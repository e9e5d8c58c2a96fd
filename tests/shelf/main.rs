//! Shelves: the laws that all of them keep, and what each promises beyond them.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod conformance;
mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod server;

use std::fmt::Display;

/// Like `unwrap`, but the message is the error's own.
#[track_caller]
fn unwrap<T, E: Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
