//! `GET /operations/{id}`, for clients that were told to ask later.

use super::principal::Principal;
use crate::context::OperationId;
use crate::journal::{Book, BoxFuture};
use crate::payload::Payload;
use crate::problem::{self, ProblemConfig};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_service::Service;

/// The longest that a client may wait for an end (`Prefer: wait=N`, RFC 7240): below what stands in front of a server
/// usually waits.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Answers what became of an operation; see [`problem::operation`] for the codes. The id is the last segment of the path.
/// Ids are random and belong to one journal: another journal, another namespace and another principal are told 404 alike.
#[derive(Clone, Debug)]
pub struct Operations {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    book: Book,
    namespace: Arc<str>,
    principal: Arc<dyn Principal>,
    config: ProblemConfig,
}

impl Operations {
    /// For the operations of one namespace in the journal of `book`: those of handlers, or of a stack.
    #[must_use]
    pub fn new(
        book: Book,
        namespace: Arc<str>,
        principal: Arc<dyn Principal>,
        config: ProblemConfig,
    ) -> Self {
        let shared = Shared {
            book,
            namespace,
            principal,
            config,
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl Shared {
    async fn answer(&self, head: &Parts) -> Response<Payload> {
        // HEAD is asked as GET; the server leaves its body out.
        if ![Method::GET, Method::HEAD].contains(&head.method) {
            let why = "an operation can be asked for with GET or HEAD only";
            let mut refused = problem::details(StatusCode::METHOD_NOT_ALLOWED, why, None);
            let allow = HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(header::ALLOW, allow);
            return refused;
        }
        let Some(principal) = self.principal.principal(head) else {
            let why = "it is not known who asks; authenticate first";
            return problem::details(StatusCode::UNAUTHORIZED, why, None);
        };
        let path = head.uri.path().trim_end_matches('/');
        let name = path.rsplit('/').next().unwrap_or_default();
        let Ok(id) = name.parse::<OperationId>() else {
            let why = "the last segment of the path is no operation's id";
            return problem::details(StatusCode::NOT_FOUND, why, None);
        };
        let found = match wait(head) {
            Duration::ZERO => self.book.status(&self.namespace, &principal, id).await,
            patience => {
                self.book
                    .status_within(&self.namespace, &principal, id, patience)
                    .await
            }
        };
        match found {
            Ok(status) => problem::operation(id, status, &self.config),
            Err(error) => problem::response(&error, &self.config),
        }
    }
}

/// How long the client would wait.
fn wait(head: &Parts) -> Duration {
    let preferences = head.headers.get_all("prefer").iter();
    let words = preferences
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let seconds = words
        .filter_map(|word| word.trim().strip_prefix("wait="))
        .find_map(|seconds| seconds.parse().ok());
    seconds.map_or(Duration::ZERO, |seconds| {
        Duration::from_secs(seconds).min(WAIT_MAX)
    })
}

impl<B> Service<Request<B>> for Operations {
    type Response = Response<Payload>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Payload>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let (head, _) = request.into_parts();
        Box::pin(async move { Ok(shared.answer(&head).await) })
    }
}
