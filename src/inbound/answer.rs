//! What clients of a server are told, and the body that carries it.

use crate::collect::RequestBroke;
use crate::error::{BoxError, Error};
use crate::outcome::Outcome;
use crate::payload::Payload;
use crate::problem::{self, ProblemConfig};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The codes of draft-ietf-httpapi-idempotency-key-header: missing or malformed 400, under way or in doubt 409, used for
/// another request 422.
pub(super) fn status(error: &Error) -> StatusCode {
    match error {
        Error::Pending(_) | Error::OutcomeUnknown(_) => StatusCode::CONFLICT,
        Error::Upstream(upstream) if upstream.source.is::<RequestBroke>() => {
            StatusCode::BAD_REQUEST
        }
        // The handler was not asked: the claim took longer than its lease, or no place for it could be had.
        Error::Upstream(upstream) if upstream.verdict.outcome == Outcome::Unsent => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        other => match (problem::status(other), other.operation()) {
            // Doubt is never told as a failure, which clients repeat under a new key.
            (status, Some(_)) if status.is_server_error() => StatusCode::CONFLICT,
            (status, _) => status,
        },
    }
}

pub(super) fn refusal(error: &Error, config: &ProblemConfig) -> Response<Payload> {
    let mut answer = problem::response_with(error, status(error), config);
    let soon =
        matches!(error, Error::Pending(_)) || answer.status() == StatusCode::SERVICE_UNAVAILABLE;
    if soon && !answer.headers().contains_key(header::RETRY_AFTER) {
        let soon = HeaderValue::from_static("1");
        answer.headers_mut().insert(header::RETRY_AFTER, soon);
    }
    answer
}

/// The body of an answer: whole, where the request was guarded; the handler's own, where it passed by.
#[pin_project]
#[derive(Debug)]
pub struct AnswerBody<R> {
    #[pin]
    kind: Kind<R>,
}

#[pin_project(project = KindProject)]
#[derive(Debug)]
enum Kind<R> {
    Whole(#[pin] Payload),
    Own(#[pin] R),
}

impl<R> AnswerBody<R> {
    pub(super) const fn whole(payload: Payload) -> Self {
        Self {
            kind: Kind::Whole(payload),
        }
    }

    pub(super) const fn own(body: R) -> Self {
        Self {
            kind: Kind::Own(body),
        }
    }
}

impl<R> Body for AnswerBody<R>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().kind.project() {
            KindProject::Whole(body) => body
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            KindProject::Own(body) => body
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(body) => body.is_end_stream(),
            Kind::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(body) => body.size_hint(),
            Kind::Own(body) => body.size_hint(),
        }
    }
}
