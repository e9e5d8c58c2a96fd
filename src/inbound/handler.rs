//! A handler as the thing that an operation calls: once, with the request as it came.

use super::layer::Shared;
use crate::classify::{Safety, retry_after, tells_doubt};
use crate::collect::WholeLayer;
use crate::context::OperationId;
use crate::error::{BoxError, Error};
use crate::idempotency::Writes;
use crate::journal::{BoxFuture, Capability};
use crate::outcome::{Advice, Outcome, Verdict};
use crate::payload::Payload;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;
use tower_layer::Layer;
use tower_service::Service;

/// In the extensions of a guarded request: what the handler works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The operation.
    pub operation: OperationId,
    /// A key for whatever the handler calls in turn: the same each time this operation runs, different for every other.
    pub key: String,
}

/// In the extensions of an answer: the handler affirms that it did nothing, so the same key may be used again.
///
/// No status code says that by itself: a handler may pass on a 503 of what it asked after it had its effect. Where
/// everything behind the layer refuses by a code before it does anything, say so once
/// ([`InboundConfig::did_nothing`](super::InboundConfig::did_nothing)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DidNothing;

/// Where the key for the handler is kept in the recorded request.
static KEY: HeaderName = HeaderName::from_static("sturdy-operation-key");

/// A handler is a write that only its own declaration protects.
#[derive(Clone, Copy, Debug)]
pub(super) struct HandlerWrites {
    pub(super) capability: Capability,
}

impl Writes for HandlerWrites {
    fn safety(&self, _: &Request<Payload>) -> Safety {
        // What needs no key does not come here.
        Safety::Write
    }

    fn capability(&self, _: &Request<Payload>) -> Capability {
        self.capability
    }

    fn plant(&self, request: &mut Request<Payload>, upstream_key: &str) -> Result<(), Error> {
        let value = HeaderValue::from_str(upstream_key)
            .map_err(|_| Error::invalid("the operation's key does not fit into a header"))?;
        request.headers_mut().insert(KEY.clone(), value);
        Ok(())
    }
}

/// The handler broke down; what it did is not known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the handler panicked")
    }
}

impl std::error::Error for Panicked {}

/// A handler with the head of the one request that its caller sent: extensions and all.
#[derive(Clone, Debug)]
pub(super) struct Handler<S> {
    inner: S,
    head: Arc<Mutex<Option<Parts>>>,
    whole: WholeLayer,
    did_nothing: Arc<[StatusCode]>,
}

impl<S> Handler<S> {
    /// `head`: as the caller sent it; `None` where the recorded request is all there is.
    pub(super) fn new(inner: S, head: Option<Parts>, shared: &Shared) -> Self {
        Self {
            inner,
            head: Arc::new(Mutex::new(head)),
            whole: shared.whole,
            did_nothing: Arc::clone(&shared.did_nothing),
        }
    }

    fn request<B: From<Bytes>>(&self, recorded: Request<Payload>) -> Request<B> {
        let (mut ours, payload) = recorded.into_parts();
        let key = ours.headers.remove(&KEY);
        let running = payload
            .operation()
            .zip(key)
            .map(|(operation, key)| Running {
                operation,
                key: key.to_str().unwrap_or_default().to_owned(),
            });
        let theirs = self
            .head
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mut request =
            Request::from_parts(theirs.unwrap_or(ours), B::from(payload.into_bytes()));
        if let Some(running) = running {
            request.extensions_mut().insert(running);
        }
        request
    }
}

impl<S, B, R> Service<Request<Payload>> for Adapted<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body + From<Bytes> + Send + 'static,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Into<BoxError>,
{
    type Response = Response<Payload>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response<Payload>, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.handler.inner.poll_ready(cx).map_err(Error::from_inner)
    }

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        let request = self.handler.request::<B>(request);
        let inner = &mut self.handler.inner;
        let whole = self.handler.whole;
        let did_nothing = Arc::clone(&self.handler.did_nothing);
        let called = catch_unwind(AssertUnwindSafe(|| inner.call(request)));
        Box::pin(async move {
            let running = called.map_err(|_| Error::from_inner(Panicked))?;
            let mut whole = whole.layer(Once(Some(running)));
            // The answer's body is the handler's too.
            let answer = caught(whole.call(Request::new(Payload::empty())));
            let answer = answer.await.map_err(Error::from_inner)?;
            Ok(judged(answer, &did_nothing))
        })
    }
}

/// A [`Handler`] for bodies of type `B`.
pub(super) struct Adapted<S, B> {
    handler: Handler<S>,
    body: std::marker::PhantomData<fn() -> B>,
}

impl<S, B> Adapted<S, B> {
    pub(super) const fn new(handler: Handler<S>) -> Self {
        Self {
            handler,
            body: std::marker::PhantomData,
        }
    }
}

impl<S: Clone, B> Clone for Adapted<S, B> {
    fn clone(&self) -> Self {
        Self::new(self.handler.clone())
    }
}

/// A panic in the handler is an error: it must not end the task that keeps the record.
async fn caught<F, T, E>(running: F) -> Result<T, BoxError>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    let mut running = pin!(running);
    std::future::poll_fn(move |cx| {
        match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx))) {
            Ok(poll) => poll.map_err(Into::into),
            Err(_) => Poll::Ready(Err(Panicked.into())),
        }
    })
    .await
}

/// A service of the one answer that is under way.
struct Once<F>(Option<F>);

impl<F, T, E> Service<Request<Payload>> for Once<F>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    E: Into<BoxError>,
{
    type Response = T;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<T, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Payload>) -> Self::Future {
        let answer = self.0.take();
        Box::pin(async move {
            match answer {
                Some(answer) => answer.await.map_err(Into::into),
                None => Err("called twice".into()),
            }
        })
    }
}

/// Every whole answer is what the operation came to, whatever its status, unless it says that nothing was done, or that
/// what was done is not known.
fn judged(answer: Response<Payload>, did_nothing: &[StatusCode]) -> Response<Payload> {
    let after = || retry_after(answer.headers(), SystemTime::UNIX_EPOCH);
    let verdict = if tells_doubt(&answer) {
        // Recorded as the end, "ask again" would be all that anybody is ever told.
        Verdict {
            advice: Advice::Retry { after: after() },
            ..Verdict::OPEN
        }
    } else if did_nothing.contains(&answer.status())
        || answer.extensions().get::<DidNothing>().is_some()
    {
        Verdict::closed(Outcome::Unsent, Advice::Retry { after: after() })
    } else {
        Verdict::APPLIED
    };
    answer.map(|payload| payload.with_verdict(verdict))
}
