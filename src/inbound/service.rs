//! Sequences what a guarded request goes through, and lets every other pass by.

use super::answer::{AnswerBody, refusal};
use super::handler::{Adapted, Handler};
use super::layer::Shared;
use crate::context::Context as Marker;
use crate::error::BoxError;
use crate::journal::BoxFuture;
use crate::payload::Payload;
use crate::problem;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body::Body;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;

/// See the [module](super).
#[derive(Clone, Debug)]
pub struct Inbound<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Inbound<S> {
    pub(super) const fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

/// A handler that failed outside of an operation: nothing is known of it, and nothing is told but that.
fn failed() -> Response<Payload> {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    problem::details(status, "the handler failed", None)
}

fn nobody() -> Response<Payload> {
    let why =
        "it is not known who asks, so no key can be taken; nothing was done; authenticate first";
    problem::details(StatusCode::UNAUTHORIZED, why, None)
}

impl<S, B, R> Service<Request<B>> for Inbound<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body + From<Bytes> + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<AnswerBody<R>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A handler that cannot be readied fails where it is called.
        self.inner.poll_ready(cx).map(|_| Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !self.shared.methods.contains(request.method()) {
            let passing = self.inner.call(request);
            return Box::pin(async move {
                Ok(match passing.await {
                    Ok(answer) => answer.map(AnswerBody::own),
                    Err(_) => failed().map(AnswerBody::whole),
                })
            });
        }
        // A fresh clone, readied once its request is whole: no place below is held for a body that is still coming. The
        // readied one is dropped, or its place could be the one that the clone waits for.
        let inner = self.inner.clone();
        self.inner = inner.clone();
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            Ok(guarded(inner, request, &shared)
                .await
                .map(AnswerBody::whole))
        })
    }
}

/// What is asked for, whichever version of HTTP carries it: HTTP/2 names scheme and host in the target, HTTP/1.1 does not.
fn path_of(uri: &Uri) -> Uri {
    match uri.path_and_query() {
        Some(path) => Uri::from(path.clone()),
        None => uri.clone(),
    }
}

async fn guarded<S, B, R>(inner: S, request: Request<B>, shared: &Shared) -> Response<Payload>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body + From<Bytes> + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let (head, body) = request.into_parts();
    let Some(principal) = shared.principal.principal(&head) else {
        return nobody();
    };
    // What the handler sees is what came in; what is recorded and compared is this.
    let mut asked = Request::new(body);
    asked.method_mut().clone_from(&head.method);
    *asked.uri_mut() = path_of(&head.uri);
    asked.headers_mut().clone_from(&head.headers);
    let marker = Marker::new()
        .with_tenant(principal)
        .with_patience(shared.patience);
    asked.extensions_mut().insert(marker);
    let handler = Adapted::<S, B>::new(Handler::new(inner, Some(head), shared));
    let service = shared.edge.layer(shared.idempotency.layer(handler));
    match service.oneshot(asked).await {
        Ok(answer) => answer,
        Err(error) => refusal(&error, &shared.problem),
    }
}
