//! A journal in memory: for tests and simulations, and for those who accept by name that a crash forgets.

use super::{
    BoxFuture, Claim, Durability, Filter, Journal, JournalError, Keep, Lookup, Progress, Purge,
    Purged, Record,
    forget::{Fate, Forgotten, fate},
};
use crate::clock::Timestamp;
use crate::context::{OperationId, OperationKey, Tenant};
use std::collections::{BTreeSet, HashMap};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type KeyOf = (Arc<str>, Tenant, OperationKey);
type ConflictOf = (Arc<str>, Tenant, String);

#[derive(Debug, Default)]
struct Shelves {
    /// Boxed, for up to half of a table's places are empty.
    records: HashMap<OperationId, Box<Record>>,
    by_key: HashMap<KeyOf, OperationId>,
    by_conflict: HashMap<ConflictOf, OperationId>,
    by_due: BTreeSet<(Timestamp, OperationId)>,
    forgotten: Forgotten,
}

/// See the module. Clones share the same records, so a simulated restart may open "the same journal" again.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal {
    shelves: Arc<Mutex<Shelves>>,
}

impl MemoryJournal {
    /// An empty journal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many operations are on record.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().records.len()
    }

    /// Whether nothing is on record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        // Every change below is made after its checks, so a panic elsewhere cannot leave half of one.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(record: &Record) -> KeyOf {
    let asked = &record.asked;
    (
        Arc::clone(&asked.namespace),
        asked.tenant.clone(),
        asked.key.clone(),
    )
}

fn conflict_of(record: &Record) -> Option<ConflictOf> {
    let asked = &record.asked;
    let conflict = asked.conflict.clone()?;
    Some((Arc::clone(&asked.namespace), asked.tenant.clone(), conflict))
}

/// Takes over what a step changed, and keeps the memory of what it did not: with many records on the heap, copies that
/// come and go leave holes.
fn replace(current: &mut Record, next: &Record) {
    let mut progress = Progress {
        attempts: Vec::new(),
        history: Vec::new(),
        resolved: next.progress.resolved.clone(),
        ..next.progress
    };
    std::mem::swap(&mut progress.attempts, &mut current.progress.attempts);
    std::mem::swap(&mut progress.history, &mut current.progress.history);
    if progress.attempts != next.progress.attempts {
        progress.attempts = next.progress.attempts.clone();
    }
    if progress.history != next.progress.history {
        progress.history = next.progress.history.clone();
    }
    current.progress = progress;
    if current.answer != next.answer {
        current.answer.clone_from(&next.answer);
    }
}

impl Shelves {
    fn claim(&mut self, record: &Record) -> Result<Claim, JournalError> {
        let key = key_of(record);
        if let Some(existing) = self.by_key.get(&key).and_then(|id| self.records.get(id)) {
            return Ok(Claim::Existing(existing.clone()));
        }
        if !self.forgotten.takes(&record.asked) {
            return Ok(Claim::Expired);
        }
        let conflict = conflict_of(record);
        if let Some(other) = conflict
            .as_ref()
            .and_then(|conflict| self.by_conflict.get(conflict))
            .and_then(|id| self.records.get(id))
        {
            return Ok(Claim::Conflict(other.clone()));
        }
        if let Some(taken) = self.records.get(&record.id()) {
            return Err(JournalError::Conflict(taken.clone()));
        }
        if let Some(conflict) = conflict.filter(|_| record.holds_conflict()) {
            self.by_conflict.insert(conflict, record.id());
        }
        self.by_key.insert(key, record.id());
        if let Some(due) = record.progress.due {
            self.by_due.insert((due, record.id()));
        }
        self.records.insert(record.id(), Box::new(record.clone()));
        Ok(Claim::Claimed)
    }

    fn step(&mut self, next: &Record) -> Result<(), JournalError> {
        let id = next.id();
        let current = self.records.get(&id).ok_or(JournalError::Missing(id))?;
        if current.progress.version.checked_add(1) != Some(next.progress.version) {
            return Err(JournalError::Conflict(current.clone()));
        }
        if let Some(conflict) = conflict_of(current) {
            match (current.holds_conflict(), next.holds_conflict()) {
                (false, true) => {
                    let other = self.by_conflict.get(&conflict);
                    if let Some(other) = other.and_then(|other| self.records.get(other)) {
                        return Err(JournalError::Contended(other.clone()));
                    }
                    self.by_conflict.insert(conflict, id);
                }
                (true, false) => {
                    self.by_conflict.remove(&conflict);
                }
                _ => {}
            }
        }
        let Some(current) = self.records.get_mut(&id) else {
            return Err(JournalError::Missing(id));
        };
        if let Some(due) = current.progress.due {
            self.by_due.remove(&(due, id));
        }
        if let Some(due) = next.progress.due {
            self.by_due.insert((due, id));
        }
        replace(current, next);
        Ok(())
    }

    fn purge(&mut self, before: Timestamp, keep: Keep) -> Purged {
        let mut purged = Purged::default();
        let (by_key, forgotten) = (&mut self.by_key, &mut self.forgotten);
        // What is over is neither due nor in anybody's way.
        self.records
            .retain(|_, record| match fate(record, before, keep) {
                Fate::Stays => true,
                Fate::Tombstone(left) => {
                    *record = left;
                    purged.tombstones += 1;
                    true
                }
                Fate::Deleted => {
                    forgotten.delete(record);
                    by_key.remove(&key_of(record));
                    purged.deleted += 1;
                    false
                }
            });
        purged
    }

    fn list(&self, filter: &Filter) -> Vec<Record> {
        let wanted = |record: &&Record| {
            (filter.states.is_empty() || filter.states.contains(&record.state()))
                && filter
                    .namespace
                    .as_ref()
                    .is_none_or(|namespace| *namespace == record.asked.namespace)
                && filter
                    .tenant
                    .as_ref()
                    .is_none_or(|tenant| *tenant == record.asked.tenant)
        };
        let due = self
            .by_due
            .iter()
            .take_while(|(due, _)| filter.due_by.is_none_or(|by| *due <= by))
            .filter_map(|(_, id)| self.records.get(id).map(|record| &**record))
            .filter(wanted);
        if filter.due_by.is_some() {
            return due.skip(filter.skip).take(filter.limit).cloned().collect();
        }
        let mut undue: Vec<&Record> = self
            .records
            .values()
            .map(|record| &**record)
            .filter(|record| record.progress.due.is_none())
            .filter(wanted)
            .collect();
        undue.sort_by_key(|record| record.id());
        due.chain(undue)
            .skip(filter.skip)
            .take(filter.limit)
            .cloned()
            .collect()
    }
}

impl Journal for MemoryJournal {
    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    fn claim<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, Result<Claim, JournalError>> {
        let claim = self.lock().claim(record);
        Box::pin(ready(claim))
    }

    fn step<'a>(&'a self, next: &'a Record) -> BoxFuture<'a, Result<(), JournalError>> {
        let stepped = self.lock().step(next);
        Box::pin(ready(stepped))
    }

    fn get<'a>(&'a self, which: Lookup<'a>) -> BoxFuture<'a, Result<Option<Record>, JournalError>> {
        let shelves = self.lock();
        let found = match which {
            Lookup::Id(id) => shelves.records.get(&id),
            Lookup::Key {
                namespace,
                tenant,
                key,
            } => shelves
                .by_key
                .get(&(Arc::from(namespace), tenant.clone(), key.clone()))
                .and_then(|id| shelves.records.get(id)),
        };
        Box::pin(ready(Ok(found.map(|record| Record::clone(record)))))
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> BoxFuture<'a, Result<Vec<Record>, JournalError>> {
        let listed = self.lock().list(filter);
        Box::pin(ready(Ok(listed)))
    }
}

impl Purge for MemoryJournal {
    fn purge(&self, before: Timestamp, keep: Keep) -> BoxFuture<'_, Result<Purged, JournalError>> {
        let purged = self.lock().purge(before, keep);
        Box::pin(ready(Ok(purged)))
    }
}
