//! The tracked tasks of one process: what goes on after a caller has left.

use pin_project::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::clock::Clock;
use crate::sync::{self, AbortHandle, Mutex, MutexGuard, Notify};

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// With their numbers, in the order in which they began; without a handle while a task is being spawned.
    running: Vec<Option<(u64, Option<AbortHandle>)>>,
    /// Places in `running` that are free.
    free: Vec<usize>,
    closed: bool,
    killed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    drained: Notify,
    closing: Notify,
}

impl State {
    const fn count(&self) -> usize {
        self.running.len() - self.free.len()
    }
}

/// Spawned tasks that can be waited for, and killed as a crash would.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    shared: Arc<Shared>,
}

/// Leaves the list when its task ends, is aborted, or panics.
struct Leave {
    shared: Arc<Shared>,
    place: usize,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let mut state = self
            .shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = state.running.get_mut(self.place) {
            *place = None;
        }
        state.free.push(self.place);
        if state.count() == 0 {
            self.shared.drained.notify_waiters();
        }
    }
}

/// A task's future that leaves the list when it is dropped. An async block would hold the future twice: as what it
/// captured, and as what it awaits.
#[pin_project]
struct Tracked<F> {
    #[pin]
    future: F,
    leave: Leave,
}

impl<F: Future<Output = ()>> Future for Tracked<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().future.poll(cx)
    }
}

impl Tasks {
    /// Runs `future` to its end, whoever stops waiting for it. `false` once [`Tasks::close`] was called.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> bool {
        let (number, place) = {
            let mut state = self.lock();
            if state.closed {
                return false;
            }
            let number = state.next;
            state.next += 1;
            let place = state.free.pop().unwrap_or_else(|| {
                state.running.push(None);
                state.running.len() - 1
            });
            // In the list before it runs, so that a task which ends at once finds itself there.
            state.running[place] = Some((number, None));
            (number, place)
        };
        let leave = Leave {
            shared: Arc::clone(&self.shared),
            place,
        };
        // Not under the lock: a runtime that is going away drops the task right here, and the task leaves the list.
        let handle = sync::spawn(Tracked { future, leave });
        let mut state = self.lock();
        if state.killed {
            drop(state);
            handle.abort();
        } else if let Some(Some((running, slot))) = state.running.get_mut(place)
            // It may have ended already, and its place be another's.
            && *running == number
        {
            *slot = Some(handle);
        }
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().count()
    }

    /// Takes no new tasks.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.shared.closing.notify_waiters();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Resolves once no new tasks are taken.
    pub(crate) async fn closed(&self) {
        let closing = self.shared.closing.notified();
        tokio::pin!(closing);
        closing.as_mut().enable();
        if !self.is_closed() {
            closing.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no task runs, for `limit` at most. Returns how many are left.
    pub(crate) async fn drain(&self, clock: Clock, limit: Duration) -> usize {
        let drained = async {
            loop {
                let notified = self.shared.drained.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                if self.len() == 0 {
                    return;
                }
                notified.await;
            }
        };
        clock.timeout(limit, drained).await;
        self.len()
    }

    /// Stops everything where it is, as a crash would; takes no new tasks.
    pub(crate) fn kill(&self) {
        let mut running: Vec<(u64, AbortHandle)> = {
            let mut state = self.lock();
            state.closed = true;
            state.killed = true;
            self.shared.closing.notify_waiters();
            let running = state.running.iter().flatten();
            running
                .filter_map(|(number, handle)| Some((*number, handle.clone()?)))
                .collect()
        };
        // In the order in which they began, so that a kill is the same in every run of a seed.
        running.sort_unstable_by_key(|(number, _)| *number);
        for (_, task) in running {
            task.abort();
        }
    }
}
