//! Sequences looking, joining, asking the upstream, and standing in.

use super::flight::{Answered, Entrance, Flight, Landing, told};
use super::reading::{Read, failed, without_deadline};
use super::shared::{Plan, Shared, served};
use super::store::{Entry, Ticket};
use super::writing::Writing;
use crate::classify::Route;
use crate::error::{BoxError, Error};
use crate::payload::{Payload, ServedFrom};
use http::{Request, Response};
use pin_project::pin_project;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use tower_service::Service;

/// The service of [`CacheLayer`](super::CacheLayer).
#[derive(Clone, Debug)]
pub struct Cache<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Cache<S> {
    pub(super) const fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S> Service<Request<Payload>> for Cache<S>
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Clone,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Payload>;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_inner)
    }

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        ResponseFuture(match self.shared.plan(&request) {
            Plan::Hit(entry, from) => State::Hit(entry, from),
            Plan::Refuse(error) => State::answered(Err(error)),
            Plan::Pass => State::Pass(self.send(request)),
            Plan::Write(writing) => State::Write(self.send(request), Some(writing)),
            Plan::Read(read) => self.read(read, request),
        })
    }
}

impl<S> Cache<S>
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Clone,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
{
    /// Uses the readied service, and leaves a fresh clone in its place.
    fn send(&mut self, request: Request<Payload>) -> S::Future {
        let clone = self.inner.clone();
        mem::replace(&mut self.inner, clone).call(request)
    }

    fn read(&mut self, read: Box<Read>, request: Request<Payload>) -> State<S::Future> {
        let landing = match self.shared.enter(&read) {
            Entrance::Landed(answer) => return State::answered(Ok(answer)),
            Entrance::Full => {
                return match read.stand_in(&self.shared) {
                    Some(answer) => State::answered(Ok(answer)),
                    None => State::Pass(self.send(request)),
                };
            }
            Entrance::Join(landing) => {
                // Whoever only waits holds no permit of the inner service.
                self.inner = self.inner.clone();
                landing
            }
            Entrance::Lead(flight, landing) => {
                // A task of its own: whoever asked first may leave, the others and the cache still get the answer.
                tokio::spawn(Lead {
                    future: self.send(without_deadline(request)),
                    shared: Arc::clone(&self.shared),
                    ticket: Arc::clone(&read.ticket),
                    route: read.route,
                    flight: Some(flight),
                });
                landing
            }
        };
        State::Wait(Box::pin(wait(Arc::clone(&self.shared), read, landing)))
    }
}

/// A read under way, in a task of its own. Named, for an async block would hold the future twice.
#[pin_project]
struct Lead<F> {
    #[pin]
    future: F,
    shared: Arc<Shared>,
    ticket: Arc<Ticket>,
    route: Route,
    flight: Option<Flight>,
}

impl<F, E> Future for Lead<F>
where
    F: Future<Output = Result<Response<Payload>, E>>,
    E: Into<BoxError>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<()> {
        let this = self.project();
        let answer = ready!(this.future.poll(cx)).map_err(Into::into);
        if let Some(flight) = this.flight.take() {
            flight.land(this.shared.settle(this.ticket, *this.route, answer));
        }
        Poll::Ready(())
    }
}

async fn wait(shared: Arc<Shared>, read: Box<Read>, mut landing: Landing) -> Answered {
    if let Some(slow_at) = read.slow_at
        && read.spare.is_some()
        && read.deadline.is_none_or(|deadline| slow_at < deadline)
    {
        match shared.clock.timeout_at(slow_at, told(&mut landing)).await {
            Some(answer) => return finish(&shared, &read, answer),
            None => {
                if let Some(answer) = read.stand_in(&shared) {
                    return Ok(answer);
                }
            }
        }
    }
    let answer = match read.deadline {
        Some(deadline) => shared
            .clock
            .timeout_at(deadline, told(&mut landing))
            .await
            .unwrap_or(Err(Error::Deadline)),
        None => told(&mut landing).await,
    };
    finish(&shared, &read, answer)
}

fn finish(shared: &Shared, read: &Read, answer: Answered) -> Answered {
    if failed(&answer)
        && let Some(older) = read.stand_in(shared)
    {
        return Ok(older);
    }
    answer
}

/// The future of [`Cache`].
#[pin_project]
pub struct ResponseFuture<F>(#[pin] State<F>);

#[pin_project(project = StateProj)]
enum State<F> {
    /// Boxed only where a message to the upstream is awaited, never for a hit.
    Wait(Pin<Box<dyn Future<Output = Answered> + Send>>),
    /// The answer is copied only when it is asked for, to where it is wanted.
    Hit(Arc<Entry>, ServedFrom),
    /// Boxed: it exists only on rare paths, and would be moved along on all others.
    Answered(Option<Box<Answered>>),
    Pass(#[pin] F),
    Write(#[pin] F, Option<Writing>),
}

impl<F> ResponseFuture<F> {
    /// A request under way; a write is settled by its answer.
    pub(super) fn sent(future: F, writing: Option<Writing>) -> Self {
        Self(match writing {
            Some(writing) => State::Write(future, Some(writing)),
            None => State::Pass(future),
        })
    }
}

impl<F> State<F> {
    fn answered(answer: Answered) -> Self {
        Self::Answered(Some(Box::new(answer)))
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<Payload>, E>>,
    E: Into<BoxError>,
{
    type Output = Answered;

    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Answered> {
        match self.project().0.project() {
            StateProj::Wait(future) => future.as_mut().poll(cx),
            StateProj::Hit(entry, from) => Poll::Ready(Ok(served(entry, *from))),
            StateProj::Answered(answer) => match answer.take() {
                Some(answer) => Poll::Ready(*answer),
                // Polled after it was done: the same as an async block would do, without its panic.
                None => Poll::Pending,
            },
            StateProj::Pass(future) => future.poll(cx).map_err(Error::from_inner),
            StateProj::Write(future, writing) => {
                let answer = ready!(future.poll(cx)).map_err(Into::into);
                Poll::Ready(match writing.take() {
                    Some(writing) => writing.settle(answer),
                    None => answer.map_err(Error::from_inner),
                })
            }
        }
    }
}
