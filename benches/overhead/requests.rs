//! The upstream, and what it is asked.

use http::{Method, Request, Response};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::Service;
use tower_sturdy::context::{Context as Marker, Priority, Tenant};
use tower_sturdy::outcome::Verdict;
use tower_sturdy::payload::Payload;

/// Answers 1 KiB with 2 headers at once.
#[derive(Clone, Debug)]
pub(crate) struct Upstream(Arc<Response<Payload>>);

impl Upstream {
    pub(crate) fn new() -> Self {
        let answer = Response::builder()
            .header("content-type", "application/json")
            .header("intuit_tid", "1-65f0a3b2-2f6c1c6a0d1e4b7f8a9b0c1d")
            .body(Payload::from(json()))
            .unwrap();
        Self(Arc::new(answer))
    }

    /// With answers as the `attempt` room hands them up.
    pub(crate) fn judged() -> Self {
        let Self(answer) = Self::new();
        let judged = |body: Payload| body.with_verdict(Verdict::APPLIED.cacheable());
        Self(Arc::new(Response::clone(&answer).map(judged)))
    }
}

impl Service<Request<Payload>> for Upstream {
    type Response = Response<Payload>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Payload>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    // As no transport is: otherwise the bare call is compiled into the loop, and every row pays for what it is spared.
    #[inline(never)]
    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::clone(&self.0)))
    }
}

/// A bill of 1 KiB.
fn json() -> String {
    let line = r#"{"Id":"1","Amount":103.55,"DetailType":"AccountBasedExpenseLineDetail","AccountBasedExpenseLineDetail":{"AccountRef":{"value":"7"}}}"#;
    let lines = [line; 7].join(",");
    let head = format!(
        r#"{{"VendorRef":{{"value":"56"}},"SyncToken":"2","Line":[{lines}],"PrivateNote":""#
    );
    let padding = "n".repeat(1_024 - head.len() - 2);
    format!(r#"{head}{padding}"}}"#)
}

fn request(method: Method, uri: &str, body: Payload) -> Request<Payload> {
    Request::builder()
        .method(method)
        .uri(uri)
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("user-agent", "runway/1.0")
        .body(body)
        .unwrap()
}

pub(crate) fn read() -> Request<Payload> {
    request(
        Method::GET,
        "https://upstream.example/v3/company/9130/bill/1042",
        Payload::empty(),
    )
}

/// Reads of as many URLs as no small cache can keep.
pub(crate) fn reads() -> Vec<Request<Payload>> {
    (0..512)
        .map(|id| format!("https://upstream.example/v3/company/9130/bill/{id}"))
        .map(|uri| request(Method::GET, &uri, Payload::empty()))
        .collect()
}

/// A write without its key.
pub(crate) fn write() -> Request<Payload> {
    request(
        Method::POST,
        "https://upstream.example/v3/company/9130/bill",
        Payload::from(json()),
    )
}

pub(crate) fn marker(tenant: &str) -> Marker {
    Marker::new()
        .with_tenant(Tenant::new(tenant).unwrap())
        .with_priority(Priority::UserAction)
}

pub(crate) fn marked(mut request: Request<Payload>, marker: Marker) -> Request<Payload> {
    request.extensions_mut().insert(marker);
    request
}
