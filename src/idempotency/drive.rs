//! The task of one operation: claim, send, and leave the record in a state that needs nobody's memory.

use super::admit::{Existing, existing};
use super::layer::Shared;
use super::same::is_same_as_made;
use super::wish::Made;
use crate::classify::Route;
use crate::context::{OperationId, Priority};
use crate::error::{BoxError, Error, TimedOut};
use crate::journal::{Capability, Claim, JournalError, Live, Record, State, StoredAnswer, Told};
use crate::outcome::{Outcome, Verdict};
use crate::payload::Payload;
use http::{HeaderName, Request, Response};
use std::sync::Arc;
use std::time::Duration;
use tower_service::Service;

/// An operation that was entered by its first caller.
pub(super) struct Job<S> {
    pub(super) inner: S,
    pub(super) made: Made,
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

/// In a box: what a task holds twice while it is built is copied each time it moves.
pub(super) async fn drive<S>(job: Box<Job<S>>)
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    let (shared, live) = (Arc::clone(&job.shared), Arc::clone(&job.live));
    let driving = Driving {
        shared: Arc::clone(&shared),
        live: Arc::clone(&live),
    };
    let book = &shared.book;
    let record = match book.claim(&job.made.record).await {
        Ok(Claim::Claimed) => None,
        Ok(Claim::Existing(found)) => {
            let (ours, original) = (&job.made.record.asked, &job.made.original);
            let derived = ours.key.is_derived();
            let same = is_same_as_made(&found.asked, original, ours, &*shared.writes);
            match existing(&found, same.unwrap_or(false), book.now().at) {
                Existing::Start => match start_again(&shared, &live, *found).await {
                    Some(record) => Some(record),
                    None => return,
                },
                // Not joined and not replayed: somebody may mean another.
                _ if derived => {
                    return live.end(Err(Error::possible_duplicate(found.id())));
                }
                // Every waiting caller compares what it asked with the record.
                Existing::Reused | Existing::Answer(Told::Final(_)) => {
                    return book.opened(&live, *found);
                }
                Existing::Hasten | Existing::Answer(_) => {
                    book.opened(&live, *found);
                    // From here on it is the worker's.
                    drop(driving);
                    return Box::pin(book.hasten(&live)).await;
                }
                Existing::Elsewhere(error) => return live.end(Err(error)),
            }
        }
        Ok(Claim::Conflict(other)) => {
            return live.end(Err(Error::in_flight(other.id(), Duration::from_secs(1))));
        }
        Ok(Claim::Expired) => return live.end(Err(Error::KeyExpired)),
        Err(error) => return live.end(Err(error)),
    };
    let Job {
        inner,
        made,
        priority,
        ..
    } = *job;
    let request = match record {
        Some(record) => {
            let request = record.request(made.headers, priority);
            book.opened(&live, record);
            request
        }
        None => {
            let request = made.record.request(made.headers, priority);
            book.opened(&live, made.record);
            request
        }
    };
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
        let route = shared.classify.route(&request);
        if shared.gated_below {
            let before = sends(live);
            let (result, verdict) = judge(shared, route, inner.call(request).await);
            if sends(live) == before && verdict.outcome > Outcome::NoEffect {
                // It may have been sent past a gate that is not there: better doubt than a second send.
                let number = book.begin_attempt(live.operation(), Duration::ZERO).await?;
                record(shared, live, number, &result, verdict).await;
            }
            return result;
        }
        // Boxed, for a stack has a gate, and this would make every operation's task larger.
        Box::pin(send_ungated(inner, request, route, shared, live)).await
    };
    match book.hold(live, call).await {
        Some(result) => result,
        // The lease ran out; what was sent stays open on record.
        None => Err(Error::outcome_unknown(live.operation())),
    }
}

/// Sends where no gate stands below: this room puts the attempt on record, and bounds it.
async fn send_ungated<S>(
    mut inner: S,
    request: Request<Payload>,
    route: Route,
    shared: &Shared,
    live: &Live,
) -> Result<Response<Payload>, Error>
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Send,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    let book = &shared.book;
    let limit = shared.config.attempt_bound;
    let number = book.begin_attempt(live.operation(), limit).await?;
    let answered = book.clock().timeout(limit, inner.call(request)).await;
    let (result, verdict) = match answered {
        Some(result) => judge(shared, route, result),
        None => judge::<BoxError>(shared, route, Err(Box::new(TimedOut { after: limit }))),
    };
    record(shared, live, number, &result, verdict).await;
    result
}

/// How many attempts are on record.
fn sends(live: &Live) -> usize {
    live.peek(|record| record.progress.attempts.len())
        .unwrap_or(0)
}

/// Puts the end of an attempt of this room on record.
async fn record(
    shared: &Shared,
    live: &Live,
    number: u32,
    result: &Result<Response<Payload>, Error>,
    verdict: Verdict,
) {
    let answer = result.as_ref().ok().map(|answer| StoredAnswer {
        status: answer.status().as_u16(),
        headers: kept(answer, &shared.config.answer_headers),
        body: answer.body().bytes().clone(),
    });
    let book = &shared.book;
    book.end_attempt(live.operation(), number, verdict, answer)
        .await;
}

fn judge<E: Into<BoxError>>(
    shared: &Shared,
    route: Route,
    result: Result<Response<Payload>, E>,
) -> (Result<Response<Payload>, Error>, Verdict) {
    match result {
        Ok(mut answer) => {
            let verdict = answer.body().verdict().unwrap_or_else(|| {
                shared
                    .classify
                    .answer(route, &answer, shared.book.clock().wall().into())
            });
            answer.body_mut().set_verdict(verdict);
            (Ok(answer), verdict)
        }
        Err(error) => {
            let error: BoxError = error.into();
            let verdict = shared.classify.error(route, &*error);
            let error = match Error::upstream(error, verdict) {
                // An inner room judged without knowing what is safe.
                Error::Upstream(mut upstream) => {
                    upstream.verdict = verdict;
                    Error::Upstream(upstream)
                }
                other => other,
            };
            (Err(error), verdict)
        }
    }
}

/// The headers that a replay gives.
fn kept(answer: &Response<Payload>, names: &[HeaderName]) -> Vec<(String, String)> {
    let values = names.iter().flat_map(|name| {
        answer
            .headers()
            .get_all(name)
            .iter()
            .map(move |value| (name, value))
    });
    values
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect()
}

/// Leaves the record so that nobody who was told to wait waits in vain, and nobody is told what a crash could undo.
async fn finish(result: Result<Response<Payload>, Error>, shared: &Shared, live: &Live) {
    let book = &shared.book;
    let seen = live.peek(|record| (record.id(), record.state(), record.outcome()));
    let Some((id, state, outcome)) = seen else {
        return;
    };
    let doubt = || Err(Error::outcome_unknown(id));
    match state {
        State::Completed => {
            // Told before it is recorded: should a crash forget it, settling finds the same proof again.
            if outcome_of(&result) == Outcome::Applied {
                live.end(with_operation(result, id));
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
            } else if stands_rejected(live) && outcome_of(&result) == Outcome::Rejected {
                live.end(with_operation(result, id));
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
                live.end(result);
            } else if state_of(live) == Some(State::Ready)
                && !promised
                && !live.end_if_all_wait(result)
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
