//! What tasks that run at once share: locks, notices, and the tasks themselves.
//!
//! In one place, so that `tests/races` can put a scheduler in its place which tries one order of steps after another.

use std::future::Future;

pub(crate) use std::sync::{Mutex, MutexGuard};
pub(crate) use tokio::sync::Notify;
pub(crate) use tokio::task::AbortHandle;

/// Runs `future` beside everything else. Must be called within a tokio runtime.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    tokio::spawn(future).abort_handle()
}
