//! One call of the inner service for an operation, with its attempts on record.

use super::layer::Shared;
use crate::classify::Route;
use crate::context::OperationId;
use crate::error::{BoxError, Error, TimedOut};
use crate::journal::{BoxFuture, Hold, Live, StoredAnswer};
use crate::outcome::{Outcome, Verdict};
use crate::payload::Payload;
use http::{HeaderName, Request, Response};
use pin_project::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tower_service::Service;

/// Sends through the inner service, holding the lease while it takes.
pub(super) fn send<'a, S>(
    mut inner: S,
    request: Request<Payload>,
    shared: &'a Shared,
    live: &'a Live,
) -> Sent<'a, S::Future>
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    let route = shared.classify.route(&request);
    let call = if shared.gated_below {
        Call::Gated {
            sends: sends(live),
            call: inner.call(request),
            shared,
            live,
            route,
        }
    } else {
        // Boxed, for a stack has a gate, and this would make every operation's task larger.
        Call::Boxed(send_ungated(inner, request, route, shared, live))
    };
    Sent {
        held: shared.book.hold(live, call),
        operation: live.operation(),
    }
}

/// A call of the inner service under way, and the lease beside it.
#[pin_project]
pub(super) struct Sent<'a, F> {
    #[pin]
    held: Hold<'a, Call<'a, F>>,
    operation: OperationId,
}

impl<F, E> Future for Sent<'_, F>
where
    F: Future<Output = Result<Response<Payload>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<Payload>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.held.poll(cx));
        // The lease ran out; what was sent stays open on record.
        Poll::Ready(result.unwrap_or_else(|| Err(Error::outcome_unknown(*this.operation))))
    }
}

#[pin_project(project = CallProject)]
enum Call<'a, F> {
    /// A gate below puts the attempts on record.
    Gated {
        #[pin]
        call: F,
        /// How many attempts were on record before.
        sends: usize,
        route: Route,
        shared: &'a Shared,
        live: &'a Live,
    },
    Boxed(BoxFuture<'a, Result<Response<Payload>, Error>>),
}

impl<F, E> Future for Call<'_, F>
where
    F: Future<Output = Result<Response<Payload>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<Payload>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let past_the_gate = match self.as_mut().project() {
            CallProject::Boxed(rest) => return rest.as_mut().poll(cx),
            CallProject::Gated {
                call,
                sends: before,
                route,
                shared,
                live,
            } => {
                let (result, verdict) = judge(shared, *route, ready!(call.poll(cx)));
                if sends(live) != *before || verdict.outcome <= Outcome::NoEffect {
                    return Poll::Ready(result);
                }
                Box::pin(sent_past_the_gate(shared, live, result, verdict))
            }
        };
        self.set(Self::Boxed(past_the_gate));
        match self.project() {
            CallProject::Boxed(rest) => rest.as_mut().poll(cx),
            CallProject::Gated { .. } => Poll::Pending,
        }
    }
}

/// It may have been sent past a gate that is not there: better doubt than a second send.
async fn sent_past_the_gate(
    shared: &Shared,
    live: &Live,
    result: Result<Response<Payload>, Error>,
    verdict: Verdict,
) -> Result<Response<Payload>, Error> {
    let begun = shared.book.begin_attempt(live.operation(), Duration::ZERO);
    record(shared, live, begun.await?, &result, verdict).await;
    result
}

/// Sends where no gate stands below: this room puts the attempt on record, and bounds it.
fn send_ungated<'a, S>(
    mut inner: S,
    request: Request<Payload>,
    route: Route,
    shared: &'a Shared,
    live: &'a Live,
) -> BoxFuture<'a, Result<Response<Payload>, Error>>
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    // A block and not a function: that would hold the request twice.
    Box::pin(async move {
        let book = &shared.book;
        let limit = shared.config.attempt_bound;
        let number = book.begin_attempt(live.operation(), limit).await?;
        let (result, verdict) = judge_in_time(
            shared,
            route,
            book.clock().timeout(limit, inner.call(request)).await,
        );
        record(shared, live, number, &result, verdict).await;
        result
    })
}

/// `None` where the attempt's time ran out.
fn judge_in_time<E: Into<BoxError>>(
    shared: &Shared,
    route: Route,
    answered: Option<Result<Response<Payload>, E>>,
) -> (Result<Response<Payload>, Error>, Verdict) {
    match answered {
        Some(result) => judge(shared, route, result),
        None => {
            let after = shared.config.attempt_bound;
            judge::<BoxError>(shared, route, Err(Box::new(TimedOut { after })))
        }
    }
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
