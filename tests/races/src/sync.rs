//! In the place of `src/sync.rs`: another task may come first at every lock and at every notice.

use std::future::Future;

pub(crate) use shuttle::future::AbortHandle;
pub(crate) use shuttle::sync::{Mutex, MutexGuard};

/// Lets any other task come first.
pub(crate) fn switch() {
    use shuttle::sync::atomic::{AtomicBool, Ordering};
    AtomicBool::new(false).load(Ordering::SeqCst);
}

/// Tokio's own, which is one step each time: what comes between two steps is the scheduler's choice.
#[derive(Debug, Default)]
pub(crate) struct Notify(tokio::sync::Notify);

impl Notify {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        switch();
        self.0.notified()
    }

    pub(crate) fn notify_waiters(&self) {
        switch();
        self.0.notify_waiters();
        switch();
    }

    pub(crate) fn notify_one(&self) {
        switch();
        self.0.notify_one();
        switch();
    }
}

pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    shuttle::future::spawn(future).abort_handle()
}
