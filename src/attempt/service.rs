//! Sequences one attempt: ask, send, judge, record.

use super::layer::Shared;
use crate::classify::{self, Route, Safety};
use crate::clock::Instant;
use crate::context::{Context as Marker, OperationId, Priority, Tenant};
use crate::error::{BoxError, Error, TimedOut};
use crate::event::{Decision, Event};
use crate::journal::{Book, BoxFuture, StoredAnswer};
use crate::outcome::Verdict;
use crate::payload::Payload;
use http::{Request, Response};
use pin_project::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tower_service::Service;

/// See the [room](super).
#[derive(Clone, Debug)]
pub struct Attempt<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Attempt<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

/// One attempt under way.
#[pin_project(project = FutureProject)]
pub struct AttemptFuture<F> {
    #[pin]
    kind: Kind<F>,
}

impl<F> std::fmt::Debug for AttemptFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttemptFuture").finish_non_exhaustive()
    }
}

#[pin_project(project = KindProject)]
#[allow(
    clippy::large_enum_variant,
    reason = "the plain path must not allocate; the size is that of the inner future"
)]
enum Kind<F> {
    /// No operation: nothing is recorded.
    Plain(#[pin] Timed<F>),
    /// An operation: the gate and the record are asked, which may await a store.
    Gated(BoxFuture<'static, Result<Response<Payload>, Error>>),
}

#[pin_project]
struct Timed<F> {
    #[pin]
    attempt: F,
    #[pin]
    timeout: tokio::time::Sleep,
    judge: Judge,
}

/// What is needed to judge an answer when it comes.
struct Judge {
    shared: Arc<Shared>,
    route: Route,
    limit: Duration,
    started: Instant,
    tenant: Option<Tenant>,
    priority: Priority,
    operation: Option<OperationId>,
    number: u32,
}

impl Judge {
    fn judge<E: Into<BoxError>>(
        &self,
        result: Result<Response<Payload>, E>,
    ) -> Result<Response<Payload>, Error> {
        let classify = &self.shared.classify;
        let judged = match result {
            Ok(mut answer) => {
                let wall = classify::wall_for(&answer, &self.shared.clock);
                let verdict = classify.answer(self.route, &answer, wall);
                answer.body_mut().set_verdict(verdict);
                if let Some(operation) = self.operation {
                    answer.body_mut().set_operation(operation);
                }
                Ok(answer)
            }
            Err(error) => {
                let error: BoxError = error.into();
                let verdict = classify.error(self.route, &*error);
                Err(match Error::upstream(error, verdict) {
                    // An inner room judged without knowing what is safe.
                    Error::Upstream(mut upstream) => {
                        upstream.verdict = verdict;
                        Error::Upstream(upstream)
                    }
                    other => other,
                })
            }
        };
        self.tell(&judged);
        judged
    }

    fn tell(&self, judged: &Result<Response<Payload>, Error>) {
        let decision = Decision::Judged {
            outcome: verdict_of(judged).outcome,
            took: self
                .shared
                .clock
                .now()
                .saturating_duration_since(self.started),
        };
        let tenant = self.tenant.as_ref().map_or("", Tenant::as_str);
        let event = Event::new(tenant, self.priority, decision)
            .with_operation(self.operation)
            .with_attempt(self.number);
        self.shared.observer.observe(&event);
    }

    fn timed_out(&self) -> Result<Response<Payload>, Error> {
        self.judge(Err::<_, BoxError>(Box::new(TimedOut { after: self.limit })))
    }
}

fn verdict_of(judged: &Result<Response<Payload>, Error>) -> Verdict {
    match judged {
        Ok(answer) => answer.body().verdict().unwrap_or(Verdict::OPEN),
        Err(error) => error.verdict(),
    }
}

impl<F, E> Future for Timed<F>
where
    F: Future<Output = Result<Response<Payload>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<Payload>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(result) = this.attempt.poll(cx) {
            return Poll::Ready(this.judge.judge(result));
        }
        ready!(this.timeout.poll(cx));
        Poll::Ready(this.judge.timed_out())
    }
}

impl<F, E> Future for AttemptFuture<F>
where
    F: Future<Output = Result<Response<Payload>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<Payload>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProject::Plain(timed) => timed.poll(cx),
            KindProject::Gated(gated) => gated.as_mut().poll(cx),
        }
    }
}

impl<S> Service<Request<Payload>> for Attempt<S>
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    type Response = Response<Payload>;
    type Error = Error;
    type Future = AttemptFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_inner)
    }

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        let route = self.shared.classify.route(&request);
        let marker = Marker::of(&request);
        let judge = Judge {
            route,
            limit: match route.safety {
                Safety::Read => self.shared.config.read_timeout,
                Safety::Write => self.shared.config.write_timeout,
            },
            started: self.shared.clock.now(),
            tenant: marker.tenant().cloned(),
            priority: marker.priority(),
            operation: request.body().operation(),
            number: 0,
            shared: Arc::clone(&self.shared),
        };
        let kind = match (judge.operation, &self.shared.book) {
            (Some(operation), Some(book)) => {
                // The readied service goes along; its place is taken by a clone that the caller readies again.
                let clone = self.inner.clone();
                let inner = std::mem::replace(&mut self.inner, clone);
                Kind::Gated(Box::pin(gated(
                    inner,
                    request,
                    judge,
                    book.clone(),
                    operation,
                )))
            }
            _ => Kind::Plain(Timed {
                attempt: self.inner.call(request),
                // From the time that was read already.
                timeout: self.shared.clock.sleep_until(judge.started + judge.limit),
                judge,
            }),
        };
        AttemptFuture { kind }
    }
}

/// One attempt of an operation: on record before its first byte, and again after its last.
async fn gated<S>(
    mut inner: S,
    request: Request<Payload>,
    mut judge: Judge,
    book: Book,
    operation: OperationId,
) -> Result<Response<Payload>, Error>
where
    S: Service<Request<Payload>, Response = Response<Payload>>,
    S::Error: Into<BoxError>,
{
    judge.number = book.begin_attempt(operation, judge.limit).await?;
    judge.started = judge.shared.clock.now();
    let clock = judge.shared.clock;
    let judged = match clock.timeout(judge.limit, inner.call(request)).await {
        Some(result) => judge.judge(result),
        None => judge.timed_out(),
    };
    let answer = judged
        .as_ref()
        .ok()
        .map(|answer| kept(answer, &judge.shared.config.kept_headers));
    book.end_attempt(operation, judge.number, verdict_of(&judged), answer)
        .await;
    judged
}

/// What is recorded of an answer: everything that a replay gives.
fn kept(answer: &Response<Payload>, names: &[http::HeaderName]) -> StoredAnswer {
    let headers = names
        .iter()
        .flat_map(|name| {
            let values = answer.headers().get_all(name).iter();
            values
                .filter_map(move |value| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        })
        .collect();
    StoredAnswer {
        status: answer.status().as_u16(),
        headers,
        body: answer.body().bytes().clone(),
    }
}
