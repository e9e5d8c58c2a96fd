//! An inner service that watches tower's contract from below: it panics when it is called without having been made
//! ready, and counts what the layer above does with it.
#![allow(dead_code, reason = "each room uses a part")]

use http::{Request, Response};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use tower::Service;
use tower_sturdy::BoxError;
use tower_sturdy::payload::Payload;

type Answer = Pin<Box<dyn Future<Output = Result<Response<Payload>, BoxError>> + Send>>;
type Handler = dyn Fn(Request<Payload>) -> Answer + Send + Sync;

#[derive(Default)]
pub struct Counts {
    /// Calls made.
    pub calls: AtomicUsize,
    /// Clones made of the probe.
    pub clones: AtomicUsize,
    /// Services that were made ready and are neither called nor dropped yet: permits held while queueing.
    pub readied: AtomicUsize,
    /// Call futures that are alive.
    pub in_flight: AtomicUsize,
    /// The most call futures alive at once.
    pub in_flight_max: AtomicUsize,
    /// Whether `poll_ready` answers "ready".
    open: AtomicUsize,
    wakers: Mutex<Vec<Waker>>,
}

impl Counts {
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
    pub fn readied(&self) -> usize {
        self.readied.load(Ordering::SeqCst)
    }
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }
    /// From now on `poll_ready` is pending.
    pub fn close(&self) {
        self.open.store(1, Ordering::SeqCst);
    }
    /// From now on `poll_ready` is ready again; wakes who waited.
    pub fn reopen(&self) {
        self.open.store(0, Ordering::SeqCst);
        for waker in self.wakers.lock().unwrap().drain(..) {
            waker.wake();
        }
    }
}

pub struct Probe {
    handler: Arc<Handler>,
    counts: Arc<Counts>,
    ready: bool,
}

impl Probe {
    /// A probe that answers with what `handler` returns.
    pub fn new<F, A>(handler: F) -> (Self, Arc<Counts>)
    where
        F: Fn(Request<Payload>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Response<Payload>, BoxError>> + Send + 'static,
    {
        let counts = Arc::new(Counts::default());
        let probe = Self {
            handler: Arc::new(move |request| Box::pin(handler(request))),
            counts: Arc::clone(&counts),
            ready: false,
        };
        (probe, counts)
    }

    /// A probe that answers 200 with an empty body at once.
    pub fn ok() -> (Self, Arc<Counts>) {
        Self::new(|_| async { Ok(Response::new(Payload::empty())) })
    }
}

impl Clone for Probe {
    fn clone(&self) -> Self {
        self.counts.clones.fetch_add(1, Ordering::SeqCst);
        // A clone is not ready: readiness is never copied.
        Self {
            handler: Arc::clone(&self.handler),
            counts: Arc::clone(&self.counts),
            ready: false,
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if self.ready {
            self.counts.readied.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

struct InFlight(Arc<Counts>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service<Request<Payload>> for Probe {
    type Response = Response<Payload>;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.counts.open.load(Ordering::SeqCst) != 0 {
            self.counts.wakers.lock().unwrap().push(cx.waker().clone());
            return Poll::Pending;
        }
        if !self.ready {
            self.ready = true;
            self.counts.readied.fetch_add(1, Ordering::SeqCst);
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Payload>) -> Answer {
        assert!(self.ready, "called without having been made ready");
        self.ready = false;
        self.counts.readied.fetch_sub(1, Ordering::SeqCst);
        self.counts.calls.fetch_add(1, Ordering::SeqCst);
        let now = self.counts.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.counts.in_flight_max.fetch_max(now, Ordering::SeqCst);
        let alive = InFlight(Arc::clone(&self.counts));
        let answer = (self.handler)(request);
        Box::pin(async move {
            let _alive = alive;
            answer.await
        })
    }
}
