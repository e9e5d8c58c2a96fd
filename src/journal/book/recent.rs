//! Operations that ended well a short while ago: a repeat is answered from here, without a task or a look at the disk.
//!
//! Only `Completed` ones are kept, once the journal has them: that state and its answer never change. Of a record in any
//! other state, or that a person resolved, another process may know more by now.

use super::super::record::{Record, State};
use super::KeyOf;
use super::live::{Inside, Live};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Repeats come within seconds, from impatient people and retrying clients: enough for some seconds at full rate.
const MAX: usize = 1_024;
/// A bound on memory: bodies weigh most.
const BYTES_MAX: usize = 4 << 20;
/// What an operation weighs beside its bodies, about.
const OVERHEAD: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Recent {
    by_key: HashMap<KeyOf, Arc<Live>>,
    /// Oldest first, with their weights.
    order: VecDeque<(Arc<Live>, usize)>,
    bytes: usize,
}

/// What it weighs, if it may be kept.
pub(super) fn keeps(inside: &Inside) -> Option<usize> {
    let record = inside.record.as_ref()?;
    let settled = record.state() == State::Completed
        && !record.progress.contradicted
        && record.progress.resolved.is_none()
        && !record.is_tombstone();
    (settled && !inside.dirty).then(|| weight(record))
}

fn weight(record: &Record) -> usize {
    let answer = record.answer.as_ref().map_or(0, |answer| answer.body.len());
    OVERHEAD + record.asked.request.body.len() + answer
}

impl Recent {
    pub(super) fn get(&self, key: &KeyOf) -> Option<Arc<Live>> {
        self.by_key.get(key).cloned()
    }

    pub(super) fn keep(&mut self, live: &Arc<Live>, weight: usize) {
        let before = self.by_key.insert(live.key.clone(), Arc::clone(live));
        if before.is_some_and(|before| Arc::ptr_eq(&before, live)) {
            return;
        }
        self.order.push_back((Arc::clone(live), weight));
        self.bytes += weight;
        while self.order.len() > MAX || self.bytes > BYTES_MAX {
            let Some((oldest, weight)) = self.order.pop_front() else {
                return;
            };
            self.bytes -= weight;
            // It may have been kept again since.
            if self
                .by_key
                .get(&oldest.key)
                .is_some_and(|kept| Arc::ptr_eq(kept, &oldest))
            {
                self.by_key.remove(&oldest.key);
            }
        }
    }
}
