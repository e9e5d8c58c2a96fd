//! The task of one operation: claim, send, and leave the record in a state that needs nobody's memory.

use super::admit::{Existing, existing};
use super::layer::Shared;
use crate::context::Priority;
use crate::error::{BoxError, Error};
use crate::journal::{Asked, Capability, Claim, Live, Record, State, Told};
use crate::outcome::Outcome;
use crate::payload::Payload;
use http::{HeaderMap, Request, Response};
use std::sync::Arc;
use std::time::Duration;
use tower_service::Service;

/// An operation that was entered by its first caller.
pub(super) struct Job<S> {
    pub(super) inner: S,
    pub(super) asked: Asked,
    pub(super) headers: HeaderMap,
    pub(super) priority: Priority,
    pub(super) shared: Arc<Shared>,
    pub(super) live: Arc<Live>,
}

/// Puts the operation down also when its task is aborted or panics.
struct Driving {
    shared: Arc<Shared>,
    live: Arc<Live>,
}

impl Drop for Driving {
    fn drop(&mut self) {
        self.shared.book.put_down(&self.live);
    }
}

pub(super) async fn drive<S>(job: Job<S>)
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    let Job {
        inner,
        asked,
        headers,
        priority,
        shared,
        live,
    } = job;
    let _driving = Driving {
        shared: Arc::clone(&shared),
        live: Arc::clone(&live),
    };
    let book = &shared.book;
    let fingerprint = asked.fingerprint;
    let record = book.fresh(asked);
    let record = match book.claim(&record).await {
        Ok(Claim::Claimed) => record,
        Ok(Claim::Existing(found)) => {
            match existing(&found, &fingerprint, book.clock().wall()) {
                // The rare ways are boxed: every operation's task would be as large as its largest way.
                Existing::Start => match Box::pin(start_again(&shared, &live, *found)).await {
                    Some(record) => record,
                    None => return,
                },
                // Every waiting caller compares its own fingerprint with the record's.
                Existing::Reused | Existing::Answer(Told::Final(_)) => {
                    return book.opened(&live, *found);
                }
                Existing::Hasten | Existing::Answer(_) => {
                    book.opened(&live, *found);
                    book.put_down(&live);
                    return Box::pin(book.hasten(&live)).await;
                }
                Existing::Elsewhere(error) => return live.end(Err(error)),
            }
        }
        Ok(Claim::Conflict(other)) => {
            return live.end(Err(Error::in_flight(other.id(), Duration::from_secs(1))));
        }
        Err(error) => return live.end(Err(error)),
    };
    book.opened(&live, record.clone());
    let request = record.request(headers, priority);
    let result = send(inner, request, &shared, &live).await;
    finish(result, &shared, &live).await;
}

/// Takes an operation that provably did nothing, for a caller that asks for it again.
async fn start_again(shared: &Shared, live: &Arc<Live>, found: Record) -> Option<Record> {
    let state = match found.asked.capability {
        Capability::Keyed { .. } => State::Sending,
        Capability::Lookup | Capability::None => State::Claimed,
    };
    let id = found.id();
    shared.book.opened(live, found);
    match shared.book.own(live, Some(state)).await {
        Ok(record) => Some(record),
        Err(_) => {
            // Somebody else took it up at the same moment, or the journal is down: nothing was sent from here.
            live.end(Err(Error::in_flight(id, Duration::from_secs(1))));
            None
        }
    }
}

/// Sends through the inner service, holding the lease while it takes.
async fn send<S>(
    mut inner: S,
    request: Request<Payload>,
    shared: &Shared,
    live: &Live,
) -> Result<Response<Payload>, Error>
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    let book = &shared.book;
    let call = async {
        if shared.gated_below {
            return inner.call(request).await.map_err(Error::from_inner);
        }
        Box::pin(send_gated(inner, request, shared, live)).await
    };
    book.hold(live, call).await
}

/// Sends where no gate stands below: this room puts the attempt on record.
async fn send_gated<S>(
    mut inner: S,
    request: Request<Payload>,
    shared: &Shared,
    live: &Live,
) -> Result<Response<Payload>, Error>
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Send,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    let book = &shared.book;
    let number = book
        .begin_attempt(live.operation(), shared.config.attempt_bound)
        .await?;
    let route = shared.classify.route(&request);
    let result = inner.call(request).await;
    let (result, verdict) = judge(shared, route, result);
    let answer = result
        .as_ref()
        .ok()
        .map(|answer| crate::journal::StoredAnswer {
            status: answer.status().as_u16(),
            headers: content_type(answer),
            body: answer.body().bytes().clone(),
        });
    book.end_attempt(live.operation(), number, verdict, answer)
        .await;
    result
}

fn judge<E: Into<BoxError>>(
    shared: &Shared,
    route: crate::classify::Route,
    result: Result<Response<Payload>, E>,
) -> (Result<Response<Payload>, Error>, crate::outcome::Verdict) {
    match result {
        Ok(answer) => {
            let verdict = answer.body().verdict().unwrap_or_else(|| {
                shared
                    .classify
                    .answer(route, &answer, shared.book.clock().wall().into())
            });
            (
                Ok(answer.map(|payload| payload.with_verdict(verdict))),
                verdict,
            )
        }
        Err(error) => {
            let error: BoxError = error.into();
            let verdict = shared.classify.error(route, &*error);
            (Err(Error::upstream(error, verdict)), verdict)
        }
    }
}

fn content_type(answer: &Response<Payload>) -> Vec<(String, String)> {
    let name = http::header::CONTENT_TYPE;
    let value = answer
        .headers()
        .get(&name)
        .and_then(|value| value.to_str().ok());
    value
        .map(|value| (name.to_string(), value.to_owned()))
        .into_iter()
        .collect()
}

/// Leaves the record so that nobody who was told to wait waits in vain, and nobody is told what a crash could undo.
async fn finish(result: Result<Response<Payload>, Error>, shared: &Shared, live: &Live) {
    let book = &shared.book;
    let Some(record) = live.record() else { return };
    let doubt = || Err(Error::outcome_unknown(record.id()));
    match record.state() {
        State::Completed => {
            // Told before it is recorded: should a crash forget it, settling finds the same proof again.
            live.end(with_operation(result, &record));
            book.flush(live).await;
        }
        State::Rejected => {
            // Recorded before it is told: after a crash it would be sent again, and could be accepted.
            let told = if book.flush(live).await {
                with_operation(result, &record)
            } else {
                doubt()
            };
            live.end(told);
        }
        State::Claimed | State::Sending => {
            if record.outcome() >= Outcome::Unknown {
                // Whoever waits goes on waiting, now for the worker.
                Box::pin(book.release(live, None)).await;
                return;
            }
            let later = || book.clock().wall().plus(shared.config.resume_after);
            let due = if live.all_wait() { None } else { Some(later()) };
            if !Box::pin(book.release(live, due)).await {
                live.end(doubt());
            } else if due.is_none() && !live.end_if_all_wait(result) {
                // Somebody lost patience while this was being recorded, and was told that the work goes on.
                let due = book.step(live, |record| record.progress.due = Some(later()));
                let _ = Box::pin(due).await;
            }
        }
        // Another process took it over: whoever waits sees its record.
        State::Unknown | State::Ready | State::Parked => {}
    }
}

fn with_operation(
    result: Result<Response<Payload>, Error>,
    record: &Record,
) -> Result<Response<Payload>, Error> {
    result.map(|answer| answer.map(|payload| payload.with_operation(record.id())))
}
