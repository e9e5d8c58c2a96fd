//! The loops that call.

use crate::measure::Bench;
use http::{Request, Response};
use std::fmt::Debug;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tower::{Service, ServiceExt};
use tower_sturdy::clock::Clock;
use tower_sturdy::payload::Payload;

/// Without I/O, of which there is none: with it, a task that wakes the loop below would ask the system to.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// The same request again and again.
pub(crate) fn same(request: Request<Payload>) -> impl FnMut() -> Request<Payload> {
    move || request.clone()
}

/// Each of them in turn.
pub(crate) fn in_turn(requests: Vec<Request<Payload>>) -> impl FnMut() -> Request<Payload> {
    let mut next = 0;
    move || {
        next = (next + 1) % requests.len();
        requests[next].clone()
    }
}

/// The same write under a new key each time.
pub(crate) fn new_keys(request: Request<Payload>) -> impl FnMut() -> Request<Payload> {
    let mut key = 0_u64;
    move || {
        key += 1;
        let mut request = request.clone();
        request.headers_mut().insert("idempotency-key", key.into());
        request
    }
}

async fn batch<S>(
    service: &mut S,
    next: &mut impl FnMut() -> Request<Payload>,
    calls: u32,
) -> Duration
where
    S: Service<Request<Payload>, Response = Response<Payload>>,
    S::Error: Debug,
{
    let start = Clock::system().now();
    for _ in 0..calls {
        let request = next();
        let answer = service.ready().await.unwrap().call(request).await;
        black_box(answer.unwrap());
    }
    start.elapsed()
}

/// What tells that an answer came the right way.
pub(crate) type Proof = fn(&Response<Payload>) -> bool;

pub(crate) fn from_upstream(answer: &Response<Payload>) -> bool {
    answer.body().served_from().as_str() == "upstream"
}

async fn prove<S>(
    service: &mut S,
    next: &mut impl FnMut() -> Request<Payload>,
    proof: Proof,
) -> Result<(), String>
where
    S: Service<Request<Payload>, Response = Response<Payload>>,
    S::Error: Debug,
{
    batch(service, next, 1_024).await;
    let mut proven = 0;
    for _ in 0..1_000 {
        let answer = service.ready().await.unwrap().call(next()).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.body().bytes().len()),
            (200, 1_024)
        );
        proven += u32::from(proof(&answer));
    }
    // A cache that keeps what is read often may keep some of a rotation.
    if proven >= 950 {
        Ok(())
    } else {
        Err(format!(
            "only {proven} of 1000 calls went the way that is to be measured"
        ))
    }
}

/// Calls on one thread.
pub(crate) struct Calls<S, N> {
    runtime: Runtime,
    service: S,
    next: N,
    proof: Proof,
}

impl<S, N> Calls<S, N> {
    pub(crate) fn new(service: S, next: N, proof: Proof) -> Self {
        Self::within(runtime(), service, next, proof)
    }

    /// Where the service has tasks of its own in `runtime`.
    pub(crate) fn within(runtime: Runtime, service: S, next: N, proof: Proof) -> Self {
        Self {
            runtime,
            service,
            next,
            proof,
        }
    }
}

impl<S, N> Bench for Calls<S, N>
where
    S: Service<Request<Payload>, Response = Response<Payload>>,
    S::Error: Debug,
    N: FnMut() -> Request<Payload>,
{
    fn prove(&mut self) -> Result<(), String> {
        self.runtime
            .block_on(prove(&mut self.service, &mut self.next, self.proof))
    }

    fn run(&mut self, calls: u32, batches: u32) -> Vec<Duration> {
        let mut times = Vec::with_capacity(batches as usize);
        for _ in 0..batches {
            times.push(
                self.runtime
                    .block_on(batch(&mut self.service, &mut self.next, calls)),
            );
        }
        times
    }
}

/// Calls of something that keeps what it is given: made anew for every round.
pub(crate) struct Renewed<F, B> {
    make: F,
    now: B,
}

impl<F: FnMut() -> B, B> Renewed<F, B> {
    pub(crate) fn new(mut make: F) -> Self {
        let now = make();
        Self { make, now }
    }
}

impl<F: FnMut() -> B, B: Bench> Bench for Renewed<F, B> {
    fn prove(&mut self) -> Result<(), String> {
        self.now.prove()
    }

    fn renew(&mut self) {
        self.now = (self.make)();
    }

    fn run(&mut self, calls: u32, batches: u32) -> Vec<Duration> {
        self.now.run(calls, batches)
    }
}

/// Calls on two threads at once, each with a clone of the service and a request of its own.
pub(crate) struct TwoThreads<S> {
    service: S,
    requests: [Request<Payload>; 2],
    proof: Proof,
}

impl<S> TwoThreads<S> {
    pub(crate) fn new(service: S, requests: [Request<Payload>; 2], proof: Proof) -> Self {
        Self {
            service,
            requests,
            proof,
        }
    }
}

impl<S> Bench for TwoThreads<S>
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Clone + Send,
    S::Error: Debug,
{
    fn prove(&mut self) -> Result<(), String> {
        for request in self.requests.clone() {
            runtime().block_on(prove(&mut self.service, &mut same(request), self.proof))?;
        }
        Ok(())
    }

    fn run(&mut self, calls: u32, batches: u32) -> Vec<Duration> {
        let both = Barrier::new(2);
        let thread = |mut service: S, request: Request<Payload>| {
            let runtime = runtime();
            let mut next = same(request);
            both.wait();
            let times =
                (0..batches).map(|_| runtime.block_on(batch(&mut service, &mut next, calls)));
            times.collect::<Vec<_>>()
        };
        let [first, second] = self.requests.clone();
        std::thread::scope(|scope| {
            let service = self.service.clone();
            let other = scope.spawn(|| thread(service, first));
            let mut times = thread(self.service.clone(), second);
            times.extend(other.join().unwrap());
            times
        })
    }

    fn counts(&self) -> bool {
        false
    }
}
