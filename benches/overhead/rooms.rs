//! Our rooms alone, and the whole stack. Budgets are those of section 7 of the design.

use crate::bare::{
    AUTHORIZED, BARE, DEADLINE, MANY, MARKED, TENANT, TWO, WRITE, authorized, in_an_hour, many,
    marked_read, tenants,
};
use crate::calls::{
    Calls, Proof, Renewed, TwoThreads, from_upstream, in_turn, new_keys, runtime, same,
};
use crate::measure::{Bench, Kind, Row};
use crate::requests::{Upstream, marked, marker, read, write};
use http::{Request, Response};
use std::sync::Arc;
use std::time::Duration;
use tower::{Layer, ServiceBuilder};
use tower_sturdy::attempt::{AttemptConfig, AttemptLayer};
use tower_sturdy::cache::{CacheConfig, CacheLayer};
use tower_sturdy::idempotency::{IdempotencyConfig, IdempotencyLayer};
use tower_sturdy::journal::{Book, MemoryJournal};
use tower_sturdy::payload::{Payload, ServedFrom};
use tower_sturdy::rate_limit::{Quota, RateLimitConfig, RateLimitLayer};
use tower_sturdy::retry::{RetryConfig, RetryLayer};
use tower_sturdy::stack::Stack;

/// Three quotas of a tenant that never fill: one so wide that its returns are kept in steps, one whose slots are back
/// within some calls, and one on what is in flight.
fn quotas() -> Vec<Quota> {
    vec![
        Quota::per_tenant("per minute", 1_000_000_000, Duration::from_secs(60)),
        Quota::per_tenant("per moment", 1_000, Duration::from_micros(20)),
        Quota::at_once("at once", 10),
    ]
}

fn shared_quotas() -> Vec<Quota> {
    let mut quotas = quotas();
    quotas.push(Quota::per_app(
        "app",
        1_000_000_000,
        Duration::from_secs(60),
    ));
    quotas
}

fn rate_limit(quotas: Vec<Quota>) -> RateLimitLayer {
    RateLimitLayer::new(RateLimitConfig::with_quotas(quotas)).unwrap()
}

fn retry() -> RetryLayer {
    RetryLayer::new(RetryConfig::default()).unwrap()
}

fn cache() -> CacheLayer {
    CacheLayer::new(CacheConfig::default()).unwrap()
}

/// Room for less than a tenth of the URLs in turn.
const SMALL: u64 = 16 * 1_024;
const LARGE: u64 = 1 << 20;

fn small_cache() -> CacheConfig {
    CacheConfig {
        capacity: SMALL,
        ..CacheConfig::default()
    }
}

fn is_hit(answer: &Response<Payload>) -> bool {
    matches!(answer.body().served_from(), ServedFrom::FreshCache { .. })
}

fn is_replay(answer: &Response<Payload>) -> bool {
    matches!(answer.body().served_from(), ServedFrom::Replay { .. })
}

fn is_new(answer: &Response<Payload>) -> bool {
    from_upstream(answer) && answer.body().operation().is_some()
}

fn idempotency() -> IdempotencyLayer {
    let book = Book::open(Arc::new(MemoryJournal::new())).unwrap();
    IdempotencyLayer::new(IdempotencyConfig::default(), book).unwrap()
}

fn keyed_write() -> Request<Payload> {
    let mut request = write();
    let key = http::HeaderValue::from_static("pay-bill-1042");
    request.headers_mut().insert("idempotency-key", key);
    request
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = admission_and_retry();
    rows.extend(reads_and_writes());
    rows.extend(stacks());
    rows.extend(two_threads());
    rows
}

fn row(name: &'static str, over: &'static str, bench: impl Bench + 'static) -> Row {
    Row::new(Kind::Ours, name, over, bench)
}

fn admission_and_retry() -> Vec<Row> {
    let up = Upstream::new;
    let attempt = AttemptLayer::new(AttemptConfig::default()).unwrap();
    vec![
        row(
            "rate_limit, 3 tenant quotas",
            MARKED,
            Calls::new(
                rate_limit(quotas()).layer(up()),
                same(marked_read()),
                from_upstream,
            ),
        )
        .may_cost(130.0, Some(0.0)),
        row(
            "rate_limit, 3 tenant quotas and 1 of the app",
            MARKED,
            Calls::new(
                rate_limit(shared_quotas()).layer(up()),
                same(marked_read()),
                from_upstream,
            ),
        )
        .may_cost(160.0, Some(0.0)),
        row(
            "retry, no deadline",
            BARE,
            Calls::new(retry().layer(up()), same(read()), from_upstream),
        )
        .may_cost(160.0, Some(2.0)),
        row(
            "retry, deadline",
            DEADLINE,
            Calls::new(retry().layer(up()), same(in_an_hour()), from_upstream),
        )
        .may_cost(190.0, Some(2.0)),
        row(
            "retry, deadline, judged below",
            DEADLINE,
            Calls::new(
                retry().layer(Upstream::judged()),
                same(in_an_hour()),
                from_upstream,
            ),
        )
        .may_cost(190.0, Some(2.0)),
        row(
            "attempt, read",
            BARE,
            Calls::new(attempt.layer(up()), same(read()), from_upstream),
        ),
    ]
}

fn reads_and_writes() -> Vec<Row> {
    let up = Upstream::new;
    let miss = ServiceBuilder::new()
        .layer(CacheLayer::new(small_cache()).unwrap())
        .layer(retry())
        .layer(rate_limit(quotas()))
        .service(Upstream::judged());
    let new = || {
        Calls::new(
            idempotency().layer(Upstream::new()),
            new_keys(write()),
            is_new,
        )
    };
    vec![
        row(
            "cache, hit",
            BARE,
            Calls::new(cache().layer(up()), same(read()), is_hit),
        )
        .may_cost(150.0, Some(0.0)),
        row(
            "cache, hit under a credential of 907 bytes",
            AUTHORIZED,
            Calls::new(cache().layer(up()), same(authorized()), is_hit),
        ),
        row(
            "cache, miss + retry + rate_limit, judged below",
            MANY,
            Calls::new(miss, in_turn(many()), from_upstream),
        )
        .may_cost(450.0, Some(7.0)),
        row(
            "idempotency, replay of 1 KiB",
            WRITE,
            Calls::new(idempotency().layer(up()), same(keyed_write()), is_replay),
        )
        .may_take(1_000.0),
        row(
            "idempotency, new operation in memory",
            WRITE,
            Renewed::new(new),
        )
        .may_cost(3_000.0, None),
    ]
}

/// Everything, as `Stack` puts it together, with the three quotas.
fn stack<N>(next: N, cache: u64, proof: Proof) -> Calls<Stack, N> {
    let runtime = runtime();
    let stack = {
        let _within = runtime.enter();
        Stack::builder(Upstream::new())
            .journal(Arc::new(MemoryJournal::new()))
            .configure(|config| {
                config.rate_limit.quotas = quotas();
                config.cache = Some(CacheConfig {
                    capacity: cache,
                    ..CacheConfig::default()
                });
            })
            .build()
            .unwrap()
    };
    Calls::within(runtime, stack, next, proof)
}

fn stacks() -> Vec<Row> {
    let write = || stack(new_keys(marked(write(), marker(TENANT))), SMALL, is_new);
    vec![
        row(
            "whole stack, read hit",
            MARKED,
            stack(same(marked_read()), LARGE, is_hit),
        ),
        row(
            "whole stack, read miss",
            MANY,
            stack(in_turn(many()), SMALL, from_upstream),
        ),
        row("whole stack, write in memory", WRITE, Renewed::new(write)),
    ]
}

fn two_threads() -> Vec<Row> {
    let up = Upstream::new;
    vec![
        row(
            "two threads: rate_limit, 3 tenant quotas",
            TWO,
            TwoThreads::new(rate_limit(quotas()).layer(up()), tenants(), from_upstream),
        )
        .may_cost(150.0, None),
        row(
            "two threads: rate_limit, and 1 of the app",
            TWO,
            TwoThreads::new(
                rate_limit(shared_quotas()).layer(up()),
                tenants(),
                from_upstream,
            ),
        ),
        row(
            "two threads: cache, hit",
            TWO,
            TwoThreads::new(cache().layer(up()), tenants(), is_hit),
        )
        .may_cost(150.0, None),
    ]
}
