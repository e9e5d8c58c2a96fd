//! Sequences attempt, judgement, wait, readiness, attempt.

use super::course::{Answered, Course};
use super::layer::Shared;
use crate::error::{BoxError, Error};
use crate::payload::Payload;
use http::{Request, Response};
use pin_project::pin_project;
use std::fmt;
use std::future::Future;
use std::mem;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use tokio::time::Sleep;
use tower_service::Service;

/// The service of [`RetryLayer`](super::RetryLayer).
#[derive(Clone, Debug)]
pub struct Retry<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Retry<S> {
    pub(super) const fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S> Service<Request<Payload>> for Retry<S>
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Clone,
    S::Error: Into<BoxError>,
{
    type Response = Response<Payload>;
    type Error = Error;
    type Future = ResponseFuture<S>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_inner)
    }

    fn call(&mut self, request: Request<Payload>) -> ResponseFuture<S> {
        let clone = self.inner.clone();
        let mut service = mem::replace(&mut self.inner, clone);
        let course = Course::new(Arc::clone(&self.shared), &request);
        let future = service.call(request);
        ResponseFuture {
            state: State::Calling { future },
            service,
            course,
        }
    }
}

/// The future of [`Retry`]. Dropped while it waits, it sends nothing more.
#[pin_project]
pub struct ResponseFuture<S: Service<Request<Payload>>> {
    #[pin]
    state: State<S::Future>,
    service: S,
    course: Course,
}

#[pin_project(project = StateProj)]
enum State<F> {
    Calling {
        #[pin]
        future: F,
    },
    Waiting {
        #[pin]
        sleep: Sleep,
    },
    Readying,
}

impl<S: Service<Request<Payload>>> fmt::Debug for ResponseFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("attempt", &self.course.attempt())
            .finish_non_exhaustive()
    }
}

impl<S> Future for ResponseFuture<S>
where
    S: Service<Request<Payload>, Response = Response<Payload>>,
    S::Error: Into<BoxError>,
{
    type Output = Answered;

    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Answered> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Calling { future } => {
                    let answer = ready!(future.poll(cx)).map_err(Into::into);
                    match this.course.after(answer) {
                        ControlFlow::Break(answer) => return Poll::Ready(answer),
                        ControlFlow::Continue(wait) => {
                            let sleep = this.course.sleep(wait);
                            this.state.set(State::Waiting { sleep });
                        }
                    }
                }
                StateProj::Waiting { sleep } => {
                    ready!(sleep.poll(cx));
                    this.state.set(State::Readying);
                }
                StateProj::Readying => match ready!(this.service.poll_ready(cx)) {
                    Err(error) => return Poll::Ready(this.course.unready(error.into())),
                    Ok(()) => {
                        let future = this.service.call(this.course.again());
                        this.state.set(State::Calling { future });
                    }
                },
            }
        }
    }
}
