//! The task of one operation: claim, send, and leave the record in a state that needs nobody's memory.

use super::admit::{Existing, existing};
use super::layer::Shared;
use super::same::is_same_as_made;
use super::send::{Sent, send};
use super::wish::Made;
use crate::context::{OperationId, Priority};
use crate::error::{BoxError, Error};
use crate::journal::{Capability, Claim, JournalError, Live, Record, State, Told};
use crate::outcome::Outcome;
use crate::payload::Payload;
use http::{Request, Response};
use std::sync::Arc;
use std::time::Duration;
use tower_service::Service;

/// An operation that was entered by its first caller.
pub(super) struct Job<S> {
    pub(super) inner: S,
    pub(super) made: Made,
    pub(super) priority: Priority,
    /// `None` from where it is the worker's.
    pub(super) driving: Option<Driving>,
}

/// Puts the operation down also when its task is aborted, panics, or is dropped before it began.
pub(super) struct Driving {
    pub(super) shared: Arc<Shared>,
    pub(super) live: Arc<Live>,
}

impl Drop for Driving {
    fn drop(&mut self) {
        self.shared.book.put_down(&self.live);
    }
}

/// In a box, and in boxes what is seldom done: a task is copied each time it moves, and small ones cost the allocator
/// least.
pub(super) async fn drive<S>(mut job: Box<Job<S>>)
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    let Ok(found) = take(&mut job).await else {
        return;
    };
    let Job {
        inner,
        made,
        priority,
        driving,
    } = *job;
    let Some(driving) = driving else {
        return;
    };
    let (shared, live) = (&*driving.shared, &driving.live);
    let mut result = Some(open_and_send(inner, made, found, priority, shared, live).await);
    finish(&mut result, shared, live).await;
}

/// The record is the operation's from here on, and its request leaves.
fn open_and_send<'a, S>(
    inner: S,
    made: Made,
    found: Option<Box<Record>>,
    priority: Priority,
    shared: &'a Shared,
    live: &'a Arc<Live>,
) -> Sent<'a, S::Future>
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    let (record, request) = match found {
        Some(record) => {
            let request = made.headers.request_of(&record, priority);
            (*record, request)
        }
        None => {
            let request = made.headers.request_of_made(&made.record, priority);
            (made.record, request)
        }
    };
    shared.book.opened(live, record);
    send(inner, request, shared, live)
}

/// There is nothing to do here: its callers are told, or the worker has it.
struct Over;

/// Claims it. Else the record that goes on, where it is another than the one made.
async fn take<S>(job: &mut Job<S>) -> Result<Option<Box<Record>>, Over> {
    let Some(Driving { shared, live }) = &job.driving else {
        return Err(Over);
    };
    let book = &shared.book;
    let found = match book.claim(&job.made.record).await {
        Ok(Claim::Claimed) => return Ok(None),
        Ok(Claim::Existing(found)) => found,
        Ok(Claim::Conflict(other)) => {
            live.end(Err(Error::in_flight(other.id(), Duration::from_secs(1))));
            return Err(Over);
        }
        Ok(Claim::Expired) => {
            live.end(Err(Error::KeyExpired));
            return Err(Over);
        }
        Err(error) => {
            live.end(Err(error));
            return Err(Over);
        }
    };
    let ours = &job.made.record.asked;
    let same = is_same_as_made(&found.asked, &job.made.original, ours, &*shared.writes);
    match existing(&found, same.unwrap_or(false), book.now().at) {
        Existing::Start => {
            let again = Box::pin(start_again(shared, live, *found)).await;
            return again.map(Some).ok_or(Over);
        }
        // Not joined and not replayed: somebody may mean another.
        _ if ours.key.is_derived() => live.end(Err(Error::possible_duplicate(found.id()))),
        // Every waiting caller compares what it asked with the record.
        Existing::Reused | Existing::Answer(Told::Final(_)) => book.opened(live, *found),
        Existing::Hasten | Existing::Answer(_) => {
            book.opened(live, *found);
            let (shared, live) = (Arc::clone(shared), Arc::clone(live));
            // From here on it is the worker's.
            job.driving = None;
            Box::pin(shared.book.hasten(&live)).await;
        }
        Existing::Elsewhere(error) => live.end(Err(error)),
    }
    Err(Over)
}

/// Takes an operation that provably did nothing, for a caller that asks for it again.
async fn start_again(shared: &Shared, live: &Arc<Live>, found: Record) -> Option<Box<Record>> {
    let state = match found.asked.capability {
        Capability::Keyed { .. } => State::Sending,
        Capability::Lookup | Capability::None => State::Claimed,
    };
    let id = found.id();
    shared.book.opened(live, found);
    match shared.book.own(live, Some(state)).await {
        Ok(record) => Some(Box::new(record)),
        Err(JournalError::Contended(other)) => {
            live.end(Err(Error::in_flight(other.id(), Duration::from_secs(1))));
            None
        }
        Err(JournalError::Conflict(_)) => {
            // Somebody else took it up at the same moment: nothing was sent from here.
            live.end(Err(Error::in_flight(id, Duration::from_secs(1))));
            None
        }
        // The step may have been made though it seemed to fail; then it is settled like that of a dead owner, and sent
        // again. So nobody is told that nothing was sent: who asks again under the same key learns which.
        Err(JournalError::Unavailable(_)) => {
            live.end(Err(Error::in_flight(id, Duration::from_secs(1))));
            None
        }
        Err(refused @ (JournalError::Quarantined(_) | JournalError::Missing(_))) => {
            live.end(Err(Error::journal_unavailable(refused)));
            None
        }
    }
}

/// Leaves the record so that nobody who was told to wait waits in vain, and nobody is told what a crash could undo.
///
/// The result is borrowed: what a future is given by value it holds twice.
async fn finish(
    result: &mut Option<Result<Response<Payload>, Error>>,
    shared: &Shared,
    live: &Live,
) {
    let book = &shared.book;
    let seen_here = result.as_ref().map_or(Outcome::Unknown, outcome_of);
    let seen = live.peek(|record| (record.id(), record.state(), record.outcome()));
    let Some((id, state, outcome)) = seen else {
        return;
    };
    let doubt = || Err(Error::outcome_unknown(id));
    let mut told = || result.take().unwrap_or_else(doubt);
    match state {
        State::Completed => {
            // Told before it is recorded: should a crash forget it, settling finds the same proof again.
            if seen_here == Outcome::Applied {
                live.end(with_operation(told(), id));
            } else {
                // It knows better than whatever stands between.
                live.leave_to_the_record();
            }
            book.flush(live).await;
        }
        State::Rejected => {
            // Recorded before it is told: after a crash it would be sent again, and could be accepted.
            if !book.flush(live).await {
                live.end(doubt());
            } else if stands_rejected(live) && seen_here == Outcome::Rejected {
                live.end(with_operation(told(), id));
            }
            // Else the record is told once this task has ended, also where another process has taken it over.
        }
        State::Claimed | State::Sending => {
            if outcome >= Outcome::Unknown {
                // Whoever waits goes on waiting, now for the worker.
                Box::pin(book.release(live, |_| None)).await;
                return;
            }
            let later = || book.now().at.plus(shared.config.resume_after);
            let mut promised = false;
            let due = |all_wait: bool| {
                promised = shared.worker && !all_wait;
                promised.then(later)
            };
            if !book.release(live, due).await {
                live.end(doubt());
            } else if state_of(live) == Some(State::Ready) && !shared.worker {
                live.end(told());
            } else if state_of(live) == Some(State::Ready)
                && !promised
                && !live.end_if_all_wait(told())
            {
                // Somebody left while this was being recorded: the work must go on without it.
                Box::pin(book.promise(live, later())).await;
            }
        }
        // Another process took it over: it is told what was seen here, and whoever waits sees its record.
        State::Unknown | State::Ready | State::Parked => {
            live.leave_to_the_record();
            book.flush(live).await;
        }
    }
}

fn outcome_of(result: &Result<Response<Payload>, Error>) -> Outcome {
    match result {
        Ok(answer) => answer
            .body()
            .verdict()
            .map_or(Outcome::Unknown, |verdict| verdict.outcome),
        Err(error) => error.outcome(),
    }
}

fn state_of(live: &Live) -> Option<State> {
    live.peek(Record::state)
}

/// Whether the refusal stands: nothing has shown meanwhile that there was an effect.
fn stands_rejected(live: &Live) -> bool {
    live.record()
        .is_some_and(|record| record.state() == State::Rejected && !record.progress.contradicted)
}

fn with_operation(
    result: Result<Response<Payload>, Error>,
    id: OperationId,
) -> Result<Response<Payload>, Error> {
    result.map(|mut answer| {
        answer.body_mut().set_operation(id);
        answer
    })
}
