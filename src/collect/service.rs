//! Sequences reading a body and calling on.

use super::headers::tell;
use crate::error::{BoxError, Error, Side};
use crate::journal::BoxFuture;
use crate::outcome::Verdict;
use crate::payload::Payload;
use bytes::{Buf, Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tower::ServiceExt;
use tower_service::Service;

/// The outer edge; see the [room](super).
#[derive(Clone, Debug)]
pub struct Edge<S> {
    inner: S,
    limit: usize,
}

impl<S> Edge<S> {
    pub(super) const fn new(inner: S, limit: usize) -> Self {
        Self { inner, limit }
    }
}

/// The inner edge; see the [room](super).
#[derive(Clone, Debug)]
pub struct Whole<S> {
    inner: S,
    limit: usize,
}

impl<S> Whole<S> {
    pub(super) const fn new(inner: S, limit: usize) -> Self {
        Self { inner, limit }
    }
}

/// Why a body could not be had whole.
enum Broken {
    TooLarge,
    Failed(BoxError),
}

/// An answer that ended before its end. What its transport says of the rest must not be taken for a word about the
/// request, which had been sent: so the cause is told in words, and not as a source.
#[derive(Debug)]
struct BrokeOff(BoxError);

impl std::fmt::Display for BrokeOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the answer broke off: {}", self.0)
    }
}

impl std::error::Error for BrokeOff {}

/// A request whose own body ended before its end: its sender's doing.
#[derive(Debug)]
pub(crate) struct RequestBroke(BoxError);

impl std::fmt::Display for RequestBroke {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the request's body broke off")
    }
}

impl std::error::Error for RequestBroke {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

async fn whole<B>(body: B, limit: usize) -> Result<Bytes, Broken>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(Broken::TooLarge);
    }
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame
            .map_err(|error| Broken::Failed(error.into()))?
            .into_data()
        else {
            continue; // Trailers say nothing that a replay must keep.
        };
        let length = data.remaining();
        let data = data.copy_to_bytes(length);
        if first.len() + rest.len() + data.len() > limit {
            return Err(Broken::TooLarge);
        }
        // One frame, the usual case, is passed on as it is.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}

/// What a future resolves to at once; `None` if it has to wait.
async fn poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        Poll::Ready(match Pin::new(&mut future).poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

impl<S, B> Service<Request<B>> for Edge<S>
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Payload>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response<Payload>, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_inner)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let limit = self.limit;
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let mut reading = pin!(whole(body, limit));
            // A body that is there goes by the readied service; no place below is held while one is still coming.
            let bytes = match poll_once(reading.as_mut()).await {
                Some(bytes) => bytes,
                None => {
                    inner = inner.clone();
                    let bytes = reading.await;
                    if bytes.is_ok() {
                        inner.ready().await.map_err(Error::from_inner)?;
                    }
                    bytes
                }
            };
            let bytes = bytes.map_err(|broken| match broken {
                Broken::TooLarge => Error::too_large(Side::Request, limit),
                // The caller's own body broke: nothing was sent.
                Broken::Failed(error) => Error::upstream(RequestBroke(error), Verdict::UNSENT),
            })?;
            let request = Request::from_parts(head, Payload::new(bytes));
            let mut answer = inner.call(request).await.map_err(Error::from_inner)?;
            tell(&mut answer);
            Ok(answer)
        })
    }
}

impl<S, B> Service<Request<Payload>> for Whole<S>
where
    S: Service<Request<Payload>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Payload>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response<Payload>, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_inner)
    }

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        let answer = self.inner.call(request);
        let limit = self.limit;
        Box::pin(async move {
            let (head, body) = answer.await.map_err(Error::from_inner)?.into_parts();
            let bytes = whole(body, limit).await.map_err(|broken| match broken {
                Broken::TooLarge => Error::too_large(Side::Answer, limit),
                // A head without its whole body proves nothing.
                Broken::Failed(error) => Error::upstream(BrokeOff(error), Verdict::OPEN),
            })?;
            Ok(Response::from_parts(head, Payload::new(bytes)))
        })
    }
}
