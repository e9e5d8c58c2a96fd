//! Which operations are live in this process, and who works on or waits for each.

use super::super::record::{Record, State};
use super::Book;
use super::live::{Inside, Live};
use super::recent::{Recent, keeps};
use crate::context::{OperationId, OperationKey, Tenant};
use crate::error::Error;
use crate::payload::Payload;
use crate::sync::MutexGuard;
use http::Response;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

/// Namespace, tenant, key.
pub(crate) type KeyOf = (Arc<str>, Tenant, OperationKey);

#[derive(Debug, Default)]
pub(super) struct Pages {
    pub(super) by_id: HashMap<OperationId, Arc<Live>>,
    pub(super) by_key: HashMap<KeyOf, Arc<Live>>,
    pub(super) recent: Recent,
}

/// What a repeat of a key finds without a look into the journal.
#[derive(Debug)]
pub(crate) enum Joined {
    /// Somebody works on it or waits for it: one more waits now.
    Running(Arc<Live>),
    /// It is completed, and nobody works on it.
    Settled(Arc<Live>),
}

/// Whether a caller starts the work on an operation or joins it.
#[derive(Debug)]
pub(crate) enum Entered {
    /// Nobody here works on it: the caller's task must.
    Drive(Arc<Live>),
    /// Somebody does.
    Join(Arc<Live>),
    /// Too many operations are live.
    Full,
}

impl Book {
    pub(super) fn pages(&self) -> MutexGuard<'_, Pages> {
        // Inserting and removing whole entries cannot leave half of one.
        self.inner
            .pages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The operation under a key, if it is known here.
    pub(crate) fn join(&self, key: &KeyOf) -> Option<Joined> {
        let pages = self.pages();
        if let Some(live) = pages.by_key.get(key) {
            live.lock().waiting += 1;
            return Some(Joined::Running(Arc::clone(live)));
        }
        pages.recent.get(key).map(Joined::Settled)
    }

    /// The live operation under a key, entered by one more caller.
    pub(crate) fn enter(&self, key: KeyOf, id: OperationId) -> Entered {
        let mut pages = self.pages();
        if let Some(live) = pages.by_key.get(&key) {
            live.lock().waiting += 1;
            return Entered::Join(Arc::clone(live));
        }
        if pages.by_key.len() >= self.inner.config.live_max {
            return Entered::Full;
        }
        let live = Arc::new(Live::new(id, key.clone(), None));
        let mut inside = live.lock();
        inside.waiting = 1;
        inside.answering = true;
        drop(inside);
        pages.by_key.insert(key, Arc::clone(&live));
        pages.by_id.insert(id, Arc::clone(&live));
        Entered::Drive(live)
    }

    /// The record of a live operation: the claim was answered, by `Claimed` or with an existing record.
    pub(crate) fn opened(&self, live: &Arc<Live>, record: Record) {
        let mut pages = self.pages();
        if record.id() != live.id {
            pages.by_id.remove(&live.id);
            pages.by_id.insert(record.id(), Arc::clone(live));
        }
        let mut inside = live.lock();
        // Somebody was told that the work on it goes on, and that holds whoever takes it up.
        inside.told |= record.state() == State::Ready && record.progress.due.is_some();
        inside.found(record);
        drop(inside);
        drop(pages);
        live.changed.notify_waiters();
    }

    /// Takes a due record in hand, for the worker; `None` while somebody here works on it.
    pub(crate) fn take(&self, record: Record) -> Option<Arc<Live>> {
        let mut pages = self.pages();
        if let Some(live) = pages.by_id.get(&record.id()) {
            let mut inside = live.lock();
            if inside.driven {
                return None;
            }
            inside.driven = true;
            // What was listed some time ago may be older than what is known here, or know less.
            let newer = inside
                .record
                .as_ref()
                .is_none_or(|known| known.progress.version < record.progress.version);
            if newer && !inside.dirty {
                inside.found(record);
            }
            drop(inside);
            return Some(Arc::clone(live));
        }
        let asked = &record.asked;
        let key = (
            Arc::clone(&asked.namespace),
            asked.tenant.clone(),
            asked.key.clone(),
        );
        // A caller is just entering this key: it will find the record as it is.
        if pages.by_key.contains_key(&key) {
            return None;
        }
        let live = Arc::new(Live::new(record.id(), key.clone(), Some(record)));
        pages.by_key.insert(key, Arc::clone(&live));
        pages.by_id.insert(live.id, Arc::clone(&live));
        Some(live)
    }

    /// The one who worked on it is done. What is settled, or waited for by nobody, leaves the book.
    pub(crate) fn put_down(&self, live: &Arc<Live>) {
        self.settle_page(live, |inside| Live::abandoned(inside, live.id));
        live.changed.notify_waiters();
    }

    /// A caller got its answer.
    pub(crate) fn leave(&self, live: &Arc<Live>) {
        self.settle_page(live, |inside| {
            inside.waiting = inside.waiting.saturating_sub(1)
        });
    }

    /// A caller stops waiting without an answer: the operation must be brought to an end without it. Returns the end
    /// if it came first.
    pub(crate) fn give_up(&self, live: &Arc<Live>) -> Option<Result<Response<Payload>, Error>> {
        let mut ended = None;
        self.settle_page(live, |inside| {
            inside.waiting = inside.waiting.saturating_sub(1);
            ended = inside.ended.clone();
            inside.told |= ended.is_none();
        });
        ended
    }

    fn settle_page(&self, live: &Arc<Live>, change: impl FnOnce(&mut Inside)) {
        let mut pages = self.pages();
        let mut inside = live.lock();
        change(&mut inside);
        let settled = inside.ended.is_some()
            || inside
                .record
                .as_ref()
                .is_none_or(|record| record.state().is_final());
        if inside.driven || (inside.waiting > 0 && !settled) {
            return;
        }
        let id = inside.record.as_ref().map_or(live.id, Record::id);
        let weight = keeps(&inside);
        drop(inside);
        if let Some(weight) = weight {
            pages.recent.keep(live, weight);
        }
        if pages
            .by_id
            .get(&id)
            .is_some_and(|page| Arc::ptr_eq(page, live))
        {
            pages.by_id.remove(&id);
        }
        if pages
            .by_key
            .get(&live.key)
            .is_some_and(|page| Arc::ptr_eq(page, live))
        {
            pages.by_key.remove(&live.key);
        }
    }
}
