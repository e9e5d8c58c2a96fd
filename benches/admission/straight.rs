//! A call that can go at once: ours with all it can be asked for, and what peers offer for a part of it.

use crate::bare::{self, MARKED, TENANT, TWO, marked_read, tenants};
use crate::calls::{Calls, TwoThreads, from_upstream, runtime, same};
use crate::measure::{Bench, Kind, Row};
use crate::requests::{Upstream, marked, read};
use axum::body::Body;
use governor::{DefaultKeyedRateLimiter, Quota as GovernorQuota};
use http::{Request, Response};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::limit::{ConcurrencyLimitLayer, RateLimitLayer as TowerRateLimitLayer};
use tower::{Layer, Service, ServiceExt};
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::GlobalKeyExtractor;
use tower_resilience_ratelimiter::{RateLimiterLayer, WindowType};
use tower_sturdy::context::{Context as Marker, Priority, Tenant};
use tower_sturdy::payload::Payload;
use tower_sturdy::rate_limit::{Pace, Quota, RateLimitConfig, RateLimitLayer};

const MINUTE: Duration = Duration::from_secs(60);
/// So many that nothing ever waits.
const MANY: u32 = 1_000_000_000;

fn quotas() -> Vec<Quota> {
    vec![
        Quota::per_tenant("per minute", MANY, MINUTE),
        Quota::per_tenant("per moment", 1_000, Duration::from_micros(20)),
        Quota::at_once("at once", 10),
    ]
}

fn with_app() -> Vec<Quota> {
    let mut quotas = quotas();
    quotas.push(Quota::per_app("app", MANY, MINUTE));
    quotas
}

fn ours(quotas: Vec<Quota>) -> RateLimitLayer {
    RateLimitLayer::new(RateLimitConfig::with_quotas(quotas)).unwrap()
}

/// Refuses what a keyed limiter of governor's does not let through, and waits for nothing.
#[derive(Clone)]
struct Governed {
    inner: Upstream,
    limiter: Arc<DefaultKeyedRateLimiter<String>>,
}

impl Service<Request<Payload>> for Governed {
    type Response = Response<Payload>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Payload>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        // Its keys are owned, so a name that comes with the request is made one.
        let tenant = Marker::of(&request).tenant().map(ToString::to_string);
        if self.limiter.check_key(&tenant.unwrap_or_default()).is_err() {
            let mut refused = Response::new(Payload::empty());
            *refused.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
            return ready(Ok(refused));
        }
        self.inner.call(request)
    }
}

fn governed() -> Governed {
    let quota = GovernorQuota::per_second(NonZeroU32::new(MANY).unwrap());
    Governed {
        inner: Upstream::new(),
        limiter: Arc::new(DefaultKeyedRateLimiter::keyed(quota)),
    }
}

fn scheduled() -> Request<Payload> {
    let marker = Marker::new()
        .with_tenant(Tenant::new(TENANT).unwrap())
        .with_priority(Priority::Scheduled);
    marked(read(), marker)
}

fn row(kind: Kind, name: &'static str, over: &'static str, bench: impl Bench + 'static) -> Row {
    Row::new(kind, name, over, bench)
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = bare::rows();
    rows.retain(|row| [MARKED, TWO].contains(&row.name()));
    rows.extend(our_rows());
    rows.extend(peers());
    rows
}

fn our_rows() -> Vec<Row> {
    let reserving = quotas()
        .into_iter()
        .map(|quota| {
            let reserve = quota.limit / 4;
            quota.by_cost().reserving(reserve)
        })
        .collect();
    let paced = RateLimitLayer::new(RateLimitConfig {
        pace: Pace::Every(Duration::from_nanos(1)),
        ..RateLimitConfig::with_quotas(quotas())
    });
    let calls = |layer: RateLimitLayer, request| {
        Calls::new(layer.layer(Upstream::new()), same(request), from_upstream)
    };
    vec![
        row(
            Kind::Ours,
            "3 quotas of a tenant",
            MARKED,
            calls(ours(quotas()), marked_read()),
        )
        .may_cost(130.0, Some(0.0)),
        row(
            Kind::Ours,
            "3 quotas and 1 of the app",
            MARKED,
            calls(ours(with_app()), marked_read()),
        )
        .may_cost(160.0, Some(0.0)),
        row(
            Kind::Ours,
            "3 quotas by cost, with a reserve",
            MARKED,
            calls(ours(reserving), marked_read()),
        ),
        row(
            Kind::Ours,
            "3 quotas, scheduled and paced",
            MARKED,
            calls(paced.unwrap(), scheduled()),
        ),
        row(
            Kind::Ours,
            "two threads: 3 quotas of a tenant",
            TWO,
            TwoThreads::new(
                ours(quotas()).layer(Upstream::new()),
                tenants(),
                from_upstream,
            ),
        )
        .may_cost(150.0, None),
    ]
}

fn peers() -> Vec<Row> {
    let up = Upstream::new;
    let resilient = |window| {
        RateLimiterLayer::builder()
            .limit_for_period(MANY as usize)
            .refresh_period(MINUTE)
            .window_type(window)
            .timeout_duration(Duration::from_secs(30))
            .build()
            .unwrap()
    };
    let global = GovernorConfigBuilder::default()
        .per_nanosecond(1)
        .burst_size(MANY)
        .key_extractor(GlobalKeyExtractor)
        .finish()
        .unwrap();
    let payload = Payload::from("x".repeat(1_024));
    let runtime = runtime();
    let tower = {
        let _entered = runtime.enter();
        TowerRateLimitLayer::new(u64::from(MANY), MINUTE).layer(up())
    };
    vec![
        row(
            Kind::Peer,
            "governor keyed, refuses only",
            MARKED,
            Calls::new(governed(), same(marked_read()), from_upstream),
        ),
        row(
            Kind::Peer,
            "tower_governor, one key, refuses only",
            MARKED,
            Calls::new(
                // It speaks axum's bodies alone: an empty one on the way through, ours before and after.
                ServiceExt::<Request<Payload>>::map_response(
                    GovernorLayer::<_, _, Body>::new(global).layer(
                        ServiceExt::<Request<Payload>>::map_response(
                            up(),
                            |answer: Response<Payload>| answer.map(|_| Body::empty()),
                        ),
                    ),
                    move |answer: Response<Body>| answer.map(|_| payload.clone()),
                ),
                same(marked_read()),
                from_upstream,
            ),
        ),
        row(
            Kind::Peer,
            "tower rate limit, no key",
            MARKED,
            Calls::within(runtime, tower, same(marked_read()), from_upstream),
        ),
        row(
            Kind::Peer,
            "tower concurrency limit, no key",
            MARKED,
            Calls::new(
                ConcurrencyLimitLayer::new(10).layer(up()),
                same(marked_read()),
                from_upstream,
            ),
        ),
        row(
            Kind::Peer,
            "tower-resilience limiter, fixed, no key",
            MARKED,
            Calls::new(
                resilient(WindowType::Fixed).layer(up()),
                same(marked_read()),
                from_upstream,
            ),
        ),
        row(
            Kind::Peer,
            "tower-resilience limiter, sliding, no key",
            MARKED,
            Calls::new(
                resilient(WindowType::SlidingCounter).layer(up()),
                same(marked_read()),
                from_upstream,
            ),
        ),
        row(
            Kind::Peer,
            "two threads: governor keyed",
            TWO,
            TwoThreads::new(governed(), tenants(), from_upstream),
        ),
        row(
            Kind::Peer,
            "two threads: tower-resilience, fixed",
            TWO,
            TwoThreads::new(
                resilient(WindowType::Fixed).layer(up()),
                tenants(),
                from_upstream,
            ),
        ),
    ]
}
