//! Any schedule, through the layer itself: arrivals, priorities, latencies, cancellations, and limits that change.

use crate::upstream::{Chance, Upstream, assert_within, request};
use std::time::Duration;
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt};
use tower_sturdy::clock::Clock;
use tower_sturdy::context::Priority;
use tower_sturdy::error::Kind;
use tower_sturdy::rate_limit::{PerPriority, Quota, RateLimitConfig, RateLimitLayer};

const SECOND: Duration = Duration::from_secs(1);
const SETTLE: Duration = Duration::from_secs(20);

/// Seeds that are tried; `STURDY_SEEDS` makes it more, `STURDY_SEED` one.
fn seeds() -> Vec<u64> {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    match (number("STURDY_SEED"), number("STURDY_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, many) => (1..=many.unwrap_or(60)).collect(),
    }
}

#[test]
fn whatever_comes_nobody_is_stuck_and_the_upstream_never_counts_more_than_the_limit() {
    for seed in seeds() {
        let told = std::panic::catch_unwind(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(one(seed));
        });
        assert!(told.is_ok(), "STURDY_SEED={seed} shows it");
    }
}

async fn one(seed: u64) {
    let mut chance = Chance(seed);
    let mut below = |most: u64| chance.next() % most;
    let limit = 2 + u32::try_from(below(6)).unwrap();
    let app = limit + u32::try_from(below(8)).unwrap();
    let at_once = 1 + u32::try_from(below(6)).unwrap();
    let per = Duration::from_millis(200 + below(4_000));
    let quotas = vec![
        Quota::per_tenant("window", limit, per).reserving(u32::try_from(below(2)).unwrap()),
        Quota::per_app("app", app, per * 2),
        Quota::at_once("at once", at_once),
    ];
    let layer = RateLimitLayer::new(RateLimitConfig {
        max_wait: PerPriority::all(Duration::from_secs(20 * 3600)),
        settle_window: SETTLE,
        ..RateLimitConfig::with_quotas(quotas.clone())
    })
    .unwrap();
    let handle = layer.handle();
    let upstream = Upstream::new();
    // Up to the 120 s that QBO lets a request run.
    let longest = [SECOND / 10, 5 * SECOND, 120 * SECOND][usize::try_from(below(3)).unwrap()];
    let service = layer.layer(upstream.answering(Duration::ZERO, longest, seed));
    let mut tasks = JoinSet::new();
    let mut dropped = 0;
    for _ in 0..(20 + below(60)) {
        let at = Duration::from_millis(below(20_000));
        let tenant = ["a", "b", "c"][usize::try_from(below(3)).unwrap()];
        let priority = Priority::ALL[usize::try_from(below(3)).unwrap()];
        // In line or in flight, as it comes; what is in flight then may run on for the settle window.
        let gives_up = (below(5) == 0).then(|| Duration::from_millis(1 + below(8_000)));
        dropped += usize::from(gives_up.is_some());
        let service = service.clone();
        tasks.spawn(async move {
            let clock = Clock::system();
            clock.sleep(at).await;
            let call = service.oneshot(request(tenant, priority, 1));
            match gives_up {
                None => call.await.map(drop).map_err(|error| error.kind()),
                Some(after) => tokio::select! {
                    answer = call => answer.map(drop).map_err(|error| error.kind()),
                    () = clock.sleep(after) => Ok(()),
                },
            }
        });
    }
    let shrinks = below(2) == 0;
    if shrinks {
        Clock::system().sleep(10 * SECOND).await;
        handle.set_limit("window", 2).unwrap();
    }
    while let Some(done) = tasks.join_next().await {
        assert_eq!(done.unwrap(), Ok::<(), Kind>(()), "somebody was refused");
    }
    let seen = upstream.seen();
    assert!(seen.len() + dropped >= 20);
    assert_within(&seen, app, per * 2, SETTLE);
    for tenant in ["a", "b", "c"] {
        let of: Vec<_> = seen
            .iter()
            .filter(|call| call.tenant == tenant)
            .cloned()
            .collect();
        assert_within(&of, limit, per, SETTLE);
        let edges = of.iter().flat_map(|call| {
            let over = call.over.unwrap_or(call.sent);
            [(over, -1), (call.sent, 1)]
        });
        let mut edges: Vec<_> = edges.collect();
        edges.sort_unstable();
        let mut now = 0;
        for (_, edge) in edges {
            now += edge;
            assert!(now <= i64::from(at_once), "{now} at once");
        }
    }
    assert_eq!(handle.waiting(), 0);
    // With everything back, nothing is kept of anybody.
    Clock::system().sleep(2 * SETTLE + 3 * per).await;
    for tenant in ["a", "b", "c"] {
        let limits = handle.tenant(tenant);
        assert!(
            limits.quotas.iter().all(|quota| quota.in_use == 0),
            "{limits:?}"
        );
    }
}
