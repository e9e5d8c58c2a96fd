//! One lock, what is behind it, and who is woken when it is let go.

use super::admission::Admission;
use super::rules::Rules;
use super::window::Nanos;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Everything behind one lock.
#[derive(Debug)]
pub(super) struct Locked {
    pub(super) admission: Admission,
    /// The bells of those who wait, by waiter.
    bells: Vec<Option<Arc<Notify>>>,
    /// Whether someone watches the clock for this part, and until when it sleeps.
    pub(super) watched: bool,
    pub(super) watched_until: Nanos,
}

/// Padded, so that the locks of two parts are never in one cache line.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Part {
    locked: Mutex<Locked>,
    /// Rings when the watcher has to look at the clock sooner than it thinks.
    pub(super) watcher: Notify,
}

impl Part {
    pub(super) fn new(rules: Arc<Rules>) -> Self {
        Self {
            locked: Mutex::new(Locked {
                admission: Admission::new(rules),
                bells: Vec::new(),
                watched: false,
                watched_until: 0,
            }),
            watcher: Notify::new(),
        }
    }

    /// Runs `work` under the lock, then wakes whom it concerns.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Locked) -> T) -> T {
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut locked);
        let admission = &locked.admission;
        let sooner = locked.watched && admission.alarm() < locked.watched_until;
        if sooner {
            locked.watched_until = locked.admission.alarm();
        }
        if locked.admission.woken.is_empty() {
            drop(locked);
        } else {
            let Locked {
                admission, bells, ..
            } = &mut *locked;
            let bells: Vec<_> = admission
                .woken
                .drain(..)
                .filter_map(|id| bells.get(id).cloned().flatten())
                .collect();
            drop(locked);
            for bell in bells {
                bell.notify_one();
            }
        }
        if sooner {
            self.watcher.notify_one();
        }
        done
    }
}

impl Locked {
    pub(super) fn hang(&mut self, id: usize, bell: Arc<Notify>) {
        if self.bells.len() <= id {
            self.bells.resize(id + 1, None);
        }
        self.bells[id] = Some(bell);
    }

    /// Takes a bell down; with the last one goes the memory of a long line.
    pub(super) fn unhang(&mut self, id: usize) {
        if let Some(bell) = self.bells.get_mut(id) {
            *bell = None;
        }
        if self.admission.waiters.len() == 0 {
            self.bells = Vec::new();
        }
    }

    /// Rings everyone who waits.
    pub(super) fn ring_all(&self) {
        for bell in self.bells.iter().flatten() {
            bell.notify_one();
        }
    }
}
