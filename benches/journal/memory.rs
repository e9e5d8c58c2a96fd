//! A new operation through the idempotency room, on a journal in memory, over the bare call.

use crate::sample::BODY;
use http::{HeaderValue, Request, Response};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt};
use tower_sturdy::clock::Clock;
use tower_sturdy::idempotency::{IdempotencyConfig, IdempotencyLayer};
use tower_sturdy::journal::{Book, MemoryJournal};
use tower_sturdy::payload::Payload;

const BLOCK: u32 = 100;
const BLOCKS: u32 = 300;

/// Answers at once.
#[derive(Clone)]
struct Upstream;

impl Service<Request<Payload>> for Upstream {
    type Response = Response<Payload>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Payload>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    // As no transport is: the bare call must not be compiled into the loop.
    #[inline(never)]
    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(Payload::empty())))
    }
}

fn write(number: u32) -> Request<Payload> {
    let mut request = Request::post("https://upstream.example/v3/company/9130/bill")
        .header("content-type", "application/json")
        .body(Payload::from(format!(
            "{{\"PrivateNote\":\"{number:0BODY$}\"}}"
        )))
        .unwrap();
    let key = HeaderValue::try_from(format!("bill-{number}")).unwrap();
    request.headers_mut().insert("idempotency-key", key);
    request
}

/// What one call takes in the fastest tenth of some hundred blocks: other work on the machine only adds. Making the requests
/// is not counted.
async fn cost<S>(service: S, clock: Clock) -> Duration
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Clone,
    S::Error: std::fmt::Debug,
{
    let mut blocks = Vec::new();
    for block in 0..BLOCKS {
        let requests: Vec<_> = (0..BLOCK)
            .map(|number| write(block * BLOCK + number))
            .collect();
        let start = clock.now();
        for request in requests {
            black_box(service.clone().oneshot(request).await.unwrap());
        }
        blocks.push(start.elapsed() / BLOCK);
    }
    blocks.sort_unstable();
    blocks[blocks.len() / 10]
}

/// What a new operation takes, and the bare call.
pub(crate) fn measure() -> (Duration, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let clock = Clock::system();
        let book = Book::open(Arc::new(MemoryJournal::new())).unwrap();
        let layer = IdempotencyLayer::new(IdempotencyConfig::default(), book).unwrap();
        let bare = cost(Upstream, clock).await;
        (cost(layer.layer(Upstream), clock).await, bare)
    })
}
