//! Many who wait: what each admission costs, by how many stand in line.

use crate::measure::median;
use crate::requests::{Upstream, marked, marker, read};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::LocalSet;
use tower::{Layer, ServiceExt};
use tower_sturdy::clock::Clock;
use tower_sturdy::rate_limit::{PerPriority, Quota, RateLimitConfig, RateLimitLayer};

const WAITERS: [u32; 4] = [10, 100, 1_000, 10_000];
const ADMISSIONS: u32 = 20_000;

/// `waiters` callers in a circle, one of whom goes at a time: nanoseconds for each that goes.
fn circle(waiters: u32, quota: Quota, tenants: u32) -> f64 {
    let layer = RateLimitLayer::new(RateLimitConfig {
        max_waiting: usize::try_from(waiters).unwrap(),
        max_wait: PerPriority::all(Duration::from_secs(3600)),
        ..RateLimitConfig::with_quotas([quota])
    })
    .unwrap();
    let runtime = crate::calls::runtime();
    let local = LocalSet::new();
    let gone = Rc::new(Cell::new(0));
    let took = Rc::new(Cell::new(Duration::ZERO));
    // Nobody asks before all are there, and the clock starts when everyone has been through once.
    let (from, to) = (waiters, waiters + ADMISSIONS);
    let began = Rc::new(Cell::new(Clock::system().now()));
    for nth in 0..waiters {
        let service = layer.layer(Yielding(Upstream::new()));
        let (gone, took, began) = (Rc::clone(&gone), Rc::clone(&took), Rc::clone(&began));
        let request = marked(read(), marker(&(nth % tenants).to_string()));
        local.spawn_local(async move {
            while gone.get() < to {
                service.clone().oneshot(request.clone()).await.unwrap();
                gone.set(gone.get() + 1);
                if gone.get() == from {
                    began.set(Clock::system().now());
                } else if gone.get() == to {
                    took.set(began.get().elapsed());
                }
            }
        });
    }
    runtime.block_on(local);
    took.get().as_secs_f64() * 1e9 / f64::from(ADMISSIONS)
}

/// Lets everyone else come before it answers, so that there is a line.
#[derive(Clone)]
struct Yielding(Upstream);

impl tower::Service<http::Request<tower_sturdy::payload::Payload>> for Yielding {
    type Response = http::Response<tower_sturdy::payload::Payload>;
    type Error = std::convert::Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>>>>;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<tower_sturdy::payload::Payload>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            tokio::task::yield_now().await;
            answer.await
        })
    }
}

pub(crate) fn report(rounds: usize) {
    let rounds = rounds.min(7);
    println!(
        "\nlines: ns for each admission (wake-up and call included), medians of {rounds} rounds"
    );
    println!(
        "  {:<44} {:>8} {:>8} {:>8} {:>8}",
        "in line", 10, 100, 1_000, 10_000
    );
    type Line = (&'static str, fn() -> Quota, fn(u32) -> u32);
    let lines: [Line; 3] = [
        (
            "one tenant, its own quota",
            || Quota::at_once("at once", 1),
            |_| 1,
        ),
        (
            "one tenant, a quota of the app",
            || Quota::per_app("app", 1, Duration::ZERO),
            |_| 1,
        ),
        (
            "each its own tenant, a quota of the app",
            || Quota::per_app("app", 1, Duration::ZERO),
            |waiters| waiters,
        ),
    ];
    for (name, quota, tenants) in lines {
        let mut costs = WAITERS.map(|_| Vec::new());
        for _ in 0..rounds {
            for (waiters, costs) in WAITERS.iter().zip(&mut costs) {
                costs.push(circle(*waiters, quota(), tenants(*waiters)));
            }
        }
        let medians = costs.map(median);
        let [a, b, c, d] = medians;
        println!("  {name:<44} {a:>8.0} {b:>8.0} {c:>8.0} {d:>8.0}");
    }
}
