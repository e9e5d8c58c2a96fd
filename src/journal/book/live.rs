//! One operation that this process works on or waits for.

use super::super::record::{Asked, Capability, Record, State};
use crate::clock::Timestamp;
use crate::context::OperationId;
use crate::error::Error;
use crate::payload::{Payload, ServedFrom};
use crate::sync::{Mutex, MutexGuard, Notify};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use std::sync::{Arc, PoisonError};

/// What a caller can be told of an operation at this moment.
#[derive(Clone, Debug)]
pub enum Told {
    /// The final answer.
    Final(Box<Result<Response<Payload>, Error>>),
    /// It runs or is being settled: wait, or tell the caller this error when its patience is over.
    NotYet(Error),
    /// The claim is not durable yet: nothing can be promised.
    Unclaimed,
}

#[derive(Debug)]
pub(super) struct Inside {
    /// The record as this process knows it; `None` until the claim is answered.
    pub(super) record: Option<Record>,
    /// The record holds more than what the journal has acknowledged.
    pub(super) dirty: bool,
    /// Counts the changes that were made here before they were on record, so that a step knows of those that came
    /// while it was under way.
    pub(super) changes: u64,
    /// This process has ended its work on the record, with this due time, and that is not on record yet.
    pub(super) released: Option<Option<Timestamp>>,
    /// A task or the worker works on it.
    pub(super) driven: bool,
    /// The task of a caller works on it, and will say how it ended: in more words than the record's.
    pub(super) answering: bool,
    /// Somebody left, or was told to wait: the operation must be brought to an end without its callers.
    pub(super) told: bool,
    /// Callers that wait.
    pub(super) waiting: usize,
    /// That it is final was told, or was known before this process took it up.
    pub(super) end_told: bool,
    /// What every waiting caller gets, where that is not the record's answer.
    pub(super) ended: Option<Result<Response<Payload>, Error>>,
}

impl Inside {
    /// The record was changed here; the journal does not know.
    pub(super) const fn unrecorded(&mut self) {
        self.dirty = true;
        self.changes += 1;
    }

    /// Whether all who asked for the operation still wait for it.
    pub(super) const fn all_wait(&self) -> bool {
        !self.told && self.waiting > 0
    }
}

/// One operation that this process works on or waits for. Shared by its task, the worker and every joined caller.
#[derive(Debug)]
pub struct Live {
    pub(super) id: OperationId,
    pub(super) key: super::KeyOf,
    inside: Mutex<Inside>,
    pub(super) changed: Notify,
    /// Held for each step: one at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
}

fn is_final(record: &Record) -> bool {
    record.state().is_final()
}

impl Inside {
    /// What the journal says, found there and not made here.
    pub(super) fn found(&mut self, record: Record) {
        self.end_told = is_final(&record);
        self.record = Some(record);
    }
}

impl Live {
    pub(super) fn new(id: OperationId, key: super::KeyOf, record: Option<Record>) -> Self {
        Self {
            id,
            key,
            inside: Mutex::new(Inside {
                end_told: record.as_ref().is_some_and(is_final),
                record,
                dirty: false,
                changes: 0,
                released: None,
                driven: true,
                answering: false,
                told: false,
                waiting: 0,
                ended: None,
            }),
            changed: Notify::new(),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves at the next change. Enable it before looking, so that no change between the look and the wait is missed.
    pub fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Looks at the record, which is held meanwhile; `None` until the claim is answered.
    pub(crate) fn peek<T>(&self, look: impl FnOnce(&Record) -> T) -> Option<T> {
        self.lock().record.as_ref().map(look)
    }

    /// The record as this process knows it; `None` until the claim is answered.
    #[must_use]
    pub fn record(&self) -> Option<Record> {
        self.lock().record.clone()
    }

    /// What was asked, once the claim is answered.
    #[must_use]
    pub fn asked(&self) -> Option<Arc<Asked>> {
        self.peek(|record| Arc::clone(&record.asked))
    }

    /// Whether what was asked is gone, but for its digest.
    pub(crate) fn is_tombstone(&self) -> bool {
        self.peek(Record::is_tombstone) == Some(true)
    }

    /// What can be told of its record alone, if it has ended.
    pub(crate) fn replay(&self, now: Timestamp) -> Option<Result<Response<Payload>, Error>> {
        match told_of(self.lock().record.as_ref()?, now) {
            Told::Final(told) => Some(*told),
            Told::NotYet(_) | Told::Unclaimed => None,
        }
    }

    /// The id under which the claim is, or would be, on record.
    #[must_use]
    pub fn operation(&self) -> OperationId {
        self.lock().record.as_ref().map_or(self.id, Record::id)
    }

    /// Gives every waiting caller this result.
    pub fn end(&self, result: Result<Response<Payload>, Error>) {
        let mut inside = self.lock();
        inside.ended = Some(result);
        inside.answering = false;
        drop(inside);
        self.changed.notify_waiters();
    }

    /// Gives every waiting caller this result, unless somebody left or was told to wait already: then the operation
    /// must go on. Returns whether the callers took it.
    #[must_use]
    pub fn end_if_all_wait(&self, result: Result<Response<Payload>, Error>) -> bool {
        let mut inside = self.lock();
        if !inside.all_wait() {
            return false;
        }
        inside.ended = Some(result);
        inside.answering = false;
        drop(inside);
        self.changed.notify_waiters();
        true
    }

    /// Whether the task of a caller works on it, and will say how it ended.
    pub(crate) fn is_answering(&self) -> bool {
        self.lock().answering
    }

    /// The task of a caller has nothing to say beyond the record.
    pub(crate) fn leave_to_the_record(&self) {
        self.lock().answering = false;
        self.changed.notify_waiters();
    }

    /// Nobody works on it any more. Whoever waits for a claim that was never answered must ask again.
    pub(super) fn abandoned(inside: &mut Inside, id: OperationId) {
        inside.driven = false;
        inside.answering = false;
        if inside.record.is_none() && inside.ended.is_none() {
            let wait = std::time::Duration::from_secs(1);
            inside.ended = Some(Err(Error::in_flight(id, wait)));
        }
    }

    /// What can be told now.
    #[must_use]
    pub fn told(&self, now: Timestamp) -> Told {
        Self::told_inside(&self.lock(), now)
    }

    fn told_inside(inside: &Inside, now: Timestamp) -> Told {
        if let Some(ended) = &inside.ended {
            return Told::Final(Box::new(ended.clone()));
        }
        match &inside.record {
            None => Told::Unclaimed,
            // Whatever the record's state: nobody is told an end that is known to be wrong.
            Some(record) if record.progress.contradicted => told_of(record, now),
            // Not on record yet: a crash now would send it again, or leave it in doubt, so nobody may be told that it is
            // over.
            Some(record) if inside.dirty && only_the_journal_knows(record) => {
                Told::NotYet(Error::pending(record.id()))
            }
            // Whoever works on it is about to say that nothing happened. Until it has, nobody is promised that the work
            // goes on: a crash could end it here.
            Some(record) if inside.driven && is_idle(record) => Told::NotYet(idle(record)),
            Some(record) => told_of(record, now),
        }
    }
}

/// What can be told of a record alone.
#[must_use]
pub fn told_of(record: &Record, now: Timestamp) -> Told {
    let id = record.id();
    if record.progress.contradicted {
        return Told::Final(Box::new(Err(Error::contradicted(id))));
    }
    match record.state() {
        // What it answered is gone: all that is known is that the key was used.
        _ if record.is_tombstone() => Told::Final(Box::new(Err(Error::KeyExpired))),
        State::Completed | State::Rejected => Told::Final(Box::new(Ok(replay(record, now)))),
        State::Parked => Told::Final(Box::new(Err(Error::parked(id)))),
        State::Unknown => Told::NotYet(Error::outcome_unknown(id)),
        // Nobody will take it up unless it is asked for again.
        State::Ready if is_idle(record) => Told::Final(Box::new(Err(idle(record)))),
        State::Claimed | State::Sending | State::Ready => Told::NotYet(Error::pending(id)),
    }
}

/// Whether an end that a crash forgets could come out otherwise. What a keyed upstream has done, it says again.
pub(super) fn only_the_journal_knows(record: &Record) -> bool {
    let keyed = matches!(record.asked.capability, Capability::Keyed { .. });
    match record.state() {
        State::Rejected => true,
        State::Completed => !keyed,
        _ => false,
    }
}

pub(super) fn is_idle(record: &Record) -> bool {
    record.state() == State::Ready && record.progress.due.is_none()
}

fn idle(record: &Record) -> Error {
    Error::in_flight(record.id(), std::time::Duration::from_millis(100))
}

/// The recorded answer, byte for byte, marked as a replay.
fn replay(record: &Record, now: Timestamp) -> Response<Payload> {
    let settled = record
        .progress
        .history
        .last()
        .map_or(record.asked.at, |step| step.at);
    let (status, headers, body) = match &record.answer {
        Some(answer) => (
            answer.status,
            answer.headers.as_slice(),
            answer.body.clone(),
        ),
        // A person resolved it: there is no answer of the upstream to give.
        None if record.state() == State::Completed => (204, [].as_slice(), Bytes::new()),
        None => (409, [].as_slice(), Bytes::new()),
    };
    let verdict = if record.state() == State::Completed {
        crate::outcome::Verdict::APPLIED
    } else {
        crate::outcome::Verdict::REJECTED
    };
    let payload = Payload::new(body)
        .with_operation(record.id())
        .with_verdict(verdict)
        .with_served_from(ServedFrom::Replay {
            age: now.since(settled),
        });
    let mut response = Response::new(payload);
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::OK);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            response.headers_mut().append(name, value);
        }
    }
    response
}
