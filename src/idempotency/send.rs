//! One call of the inner service for an operation, with its attempts on record.

use super::layer::Shared;
use crate::classify::Route;
use crate::error::{BoxError, Error, TimedOut};
use crate::journal::{Live, StoredAnswer};
use crate::outcome::{Outcome, Verdict};
use crate::payload::Payload;
use http::{HeaderName, Request, Response};
use std::time::Duration;
use tower_service::Service;

/// Sends through the inner service, holding the lease while it takes.
pub(super) async fn send<S>(
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
