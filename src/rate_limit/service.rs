//! The service: asks, waits if it must, readies, calls, gives back.

use super::permit::Permit;
use super::shared::{Answer, Shared};
use crate::error::{BoxError, Error};
use crate::payload::Payload;
use http::{Request, Response};
use pin_project::pin_project;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tower_service::Service;

/// Lets requests through when all their quotas have a free slot; see the [room](super).
#[derive(Clone, Debug)]
pub struct RateLimit<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> RateLimit<S> {
    pub(super) const fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S> Service<Request<Payload>> for RateLimit<S>
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Clone,
    S::Error: Into<BoxError>,
{
    type Response = Response<Payload>;
    type Error = Error;
    type Future = ResponseFuture<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_inner)
    }

    fn call(&mut self, request: Request<Payload>) -> ResponseFuture<S> {
        let step = match self.shared.ask(&request) {
            Ok(Answer::Go(mut permit)) => {
                permit.leave();
                // Returned from here, so that it is built where it is wanted.
                return ResponseFuture {
                    step: Step::Sent {
                        answer: self.inner.call(request),
                        permit,
                    },
                };
            }
            Ok(Answer::Wait(ticket)) => {
                // What was readied is dropped here: whoever stands in line holds no place of the inner service.
                self.inner = self.inner.clone();
                Step::InLine {
                    turn: Box::pin(ticket.turn()),
                    call: Some(Box::new((self.inner.clone(), request))),
                }
            }
            Err(error) => Step::Refused(Some(error)),
        };
        ResponseFuture { step }
    }
}

type Turn = Pin<Box<dyn Future<Output = Result<Permit, Error>> + Send>>;

/// The future of [`RateLimit`].
#[pin_project]
pub struct ResponseFuture<S: Service<Request<Payload>>> {
    #[pin]
    step: Step<S, S::Future>,
}

#[pin_project(project = StepProj)]
enum Step<S, F> {
    Refused(Option<Error>),
    InLine {
        turn: Turn,
        call: Option<Box<(S, Request<Payload>)>>,
    },
    Readying {
        call: Option<Box<(S, Request<Payload>)>>,
        permit: Option<Permit>,
    },
    Sent {
        #[pin]
        answer: F,
        permit: Permit,
    },
}

impl<S: Service<Request<Payload>>> fmt::Debug for ResponseFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.step {
            Step::Refused(_) => "ResponseFuture(refused)",
            Step::InLine { .. } => "ResponseFuture(in line)",
            Step::Readying { .. } => "ResponseFuture(readying)",
            Step::Sent { .. } => "ResponseFuture(sent)",
        })
    }
}

const POLLED_AGAIN: &str = "the future of RateLimit was polled after it had answered";

impl<S> Future for ResponseFuture<S>
where
    S: Service<Request<Payload>, Response = Response<Payload>>,
    S::Error: Into<BoxError>,
{
    type Output = Result<Response<Payload>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut step = self.project().step;
        loop {
            let next = match step.as_mut().project() {
                StepProj::Refused(error) => {
                    return Poll::Ready(Err(error.take().expect(POLLED_AGAIN)));
                }
                StepProj::InLine { turn, call } => match ready!(turn.as_mut().poll(cx)) {
                    Ok(permit) => Step::Readying {
                        call: call.take(),
                        permit: Some(permit),
                    },
                    Err(error) => {
                        step.set(Step::Refused(None));
                        return Poll::Ready(Err(error));
                    }
                },
                StepProj::Readying { call, permit } => {
                    let (inner, _) = call.as_deref_mut().expect(POLLED_AGAIN);
                    if let Err(error) = ready!(inner.poll_ready(cx)) {
                        // The permit goes with the step, and its slots are free at once.
                        step.set(Step::Refused(None));
                        return Poll::Ready(Err(Error::from_inner(error)));
                    }
                    let (mut inner, request) = *call.take().expect(POLLED_AGAIN);
                    let mut permit = permit.take().expect(POLLED_AGAIN);
                    permit.leave();
                    Step::Sent {
                        answer: inner.call(request),
                        permit,
                    }
                }
                StepProj::Sent { answer, permit } => match ready!(answer.poll(cx)) {
                    Ok(response) => {
                        permit.answered(response.body().verdict(), response.headers());
                        return Poll::Ready(Ok(response));
                    }
                    Err(error) => {
                        let error = Error::from_inner(error);
                        permit.failed(error.verdict());
                        return Poll::Ready(Err(error));
                    }
                },
            };
            step.set(next);
        }
    }
}
