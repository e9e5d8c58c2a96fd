//! One operation that this process works on or waits for.

use super::super::record::{Record, State};
use crate::context::OperationId;
use crate::error::Error;
use crate::payload::{Payload, ServedFrom};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

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
    /// A task or the worker works on it.
    pub(super) driven: bool,
    /// Somebody left, or was told to wait: the operation must be brought to an end without its callers.
    pub(super) told: bool,
    /// Callers that wait.
    pub(super) waiting: usize,
    /// That it is final was told, or was known before this process took it up.
    pub(super) end_told: bool,
    /// What every waiting caller gets, where that is not the record's answer.
    pub(super) ended: Option<Result<Response<Payload>, Error>>,
}

/// One operation that this process works on or waits for. Shared by its task, the worker and every joined caller.
#[derive(Debug)]
pub struct Live {
    pub(super) id: OperationId,
    pub(super) key: super::KeyOf,
    inside: Mutex<Inside>,
    pub(super) changed: Notify,
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
                driven: true,
                told: false,
                waiting: 0,
                ended: None,
            }),
            changed: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves at the next change. Enable it before looking, so that no change between the look and the wait is missed.
    pub fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// The record as this process knows it; `None` until the claim is answered.
    #[must_use]
    pub fn record(&self) -> Option<Record> {
        self.lock().record.clone()
    }

    /// The id under which the claim is, or would be, on record.
    #[must_use]
    pub fn operation(&self) -> OperationId {
        self.lock().record.as_ref().map_or(self.id, Record::id)
    }

    /// Gives every waiting caller this result.
    pub fn end(&self, result: Result<Response<Payload>, Error>) {
        self.lock().ended = Some(result);
        self.changed.notify_waiters();
    }

    /// Gives every waiting caller this result, unless somebody left or was told to wait already: then the operation
    /// must go on. Returns whether the callers took it.
    #[must_use]
    pub fn end_if_all_wait(&self, result: Result<Response<Payload>, Error>) -> bool {
        let mut inside = self.lock();
        if inside.told || inside.waiting == 0 {
            return false;
        }
        inside.ended = Some(result);
        drop(inside);
        self.changed.notify_waiters();
        true
    }

    /// Whether all who asked for the operation still wait for it.
    #[must_use]
    pub fn all_wait(&self) -> bool {
        let inside = self.lock();
        !inside.told && inside.waiting > 0
    }

    /// What can be told now.
    #[must_use]
    pub fn told(&self, now: crate::clock::Timestamp) -> Told {
        let inside = self.lock();
        if let Some(ended) = &inside.ended {
            return Told::Final(Box::new(ended.clone()));
        }
        match &inside.record {
            None => Told::Unclaimed,
            // Not on record yet: a crash now would send it again, so nobody may be told that it is over.
            Some(record) if inside.dirty && record.state() == State::Rejected => {
                Told::NotYet(Error::pending(record.id()))
            }
            // Whoever works on it is about to say how it ended.
            Some(record) if inside.driven && record.state() == State::Ready => {
                Told::NotYet(Error::pending(record.id()))
            }
            Some(record) => told_of(record, now),
        }
    }
}

/// What can be told of a record alone.
#[must_use]
pub fn told_of(record: &Record, now: crate::clock::Timestamp) -> Told {
    let id = record.id();
    match record.state() {
        State::Completed | State::Rejected => Told::Final(Box::new(Ok(replay(record, now)))),
        State::Parked => Told::Final(Box::new(Err(Error::parked(id)))),
        State::Unknown => Told::NotYet(Error::outcome_unknown(id)),
        // Nobody will take it up unless it is asked for again.
        State::Ready if record.progress.due.is_none() => Told::Final(Box::new(Err(
            Error::in_flight(id, std::time::Duration::from_millis(100)),
        ))),
        State::Claimed | State::Sending | State::Ready => Told::NotYet(Error::pending(id)),
    }
}

/// The recorded answer, byte for byte, marked as a replay.
fn replay(record: &Record, now: crate::clock::Timestamp) -> Response<Payload> {
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
