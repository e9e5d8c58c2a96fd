//! What others offer for one of our rooms' work, set up so that a call goes straight through.

use crate::bare::{BARE, MARKED, TWO, marked_read, tenants};
use crate::calls::{Calls, TwoThreads, from_upstream, same};
use crate::measure::{Bench, Kind, Row};
use crate::requests::{Upstream, read};
use http::{Request, Response};
use std::convert::Infallible;
use std::future::Ready;
use std::sync::Arc;
use std::time::Duration;
use tower::Layer;
use tower::limit::ConcurrencyLimitLayer;
use tower::retry::backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tower::retry::budget::{Budget, TpsBudget};
use tower::retry::{Policy, RetryLayer};
use tower::util::rng::HasherRng;
use tower_resilience_ratelimiter::{RateLimiterLayer, WindowType};
use tower_sturdy::payload::Payload;

type Answered = Result<Response<Payload>, Infallible>;

/// The least that a policy can be: keeps a copy, and never needs it.
#[derive(Clone, Debug)]
struct Trivial;

impl Policy<Request<Payload>, Response<Payload>, Infallible> for Trivial {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request<Payload>, _: &mut Answered) -> Option<Ready<()>> {
        None
    }

    fn clone_request(&mut self, request: &Request<Payload>) -> Option<Request<Payload>> {
        Some(request.clone())
    }
}

/// With what a policy in use has: attempts, a budget, a backoff.
#[derive(Clone, Debug)]
struct Careful {
    attempts: u32,
    budget: Arc<TpsBudget>,
    backoff: ExponentialBackoff<HasherRng>,
}

impl Careful {
    fn new() -> Self {
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(30));
        let maker = ExponentialBackoffMaker::new(least, most, 0.5, HasherRng::default());
        Self {
            attempts: 3,
            budget: Arc::new(TpsBudget::new(Duration::from_secs(10), 10, 0.2)),
            backoff: maker.unwrap().make_backoff(),
        }
    }
}

impl Policy<Request<Payload>, Response<Payload>, Infallible> for Careful {
    type Future = tokio::time::Sleep;

    fn retry(&mut self, _: &mut Request<Payload>, answer: &mut Answered) -> Option<Self::Future> {
        if answer
            .as_ref()
            .is_ok_and(|answer| !answer.status().is_server_error())
        {
            self.budget.deposit();
            return None;
        }
        self.attempts -= 1;
        (self.attempts > 0 && self.budget.withdraw()).then(|| self.backoff.next_backoff())
    }

    fn clone_request(&mut self, request: &Request<Payload>) -> Option<Request<Payload>> {
        Some(request.clone())
    }
}

fn row(name: &'static str, over: &'static str, bench: impl Bench + 'static) -> Row {
    Row::new(Kind::Peer, name, over, bench)
}

fn limiter(window: WindowType) -> RateLimiterLayer {
    RateLimiterLayer::builder()
        .limit_for_period(1_000_000_000)
        .refresh_period(Duration::from_secs(60))
        .window_type(window)
        .timeout_duration(Duration::from_secs(30))
        .build()
        .unwrap()
}

pub(crate) fn rows() -> Vec<Row> {
    let up = Upstream::new;
    let resilient = tower_resilience_retry::RetryLayer::<
        Request<Payload>,
        Response<Payload>,
        Infallible,
    >::builder()
    .max_attempts(3)
    .exponential_backoff(Duration::from_secs(1))
    .build();
    let concurrency = ConcurrencyLimitLayer::new(10);
    let fixed = limiter(WindowType::Fixed);
    let sliding = limiter(WindowType::SlidingCounter);
    vec![
        row(
            "tower retry, trivial policy",
            BARE,
            Calls::new(
                RetryLayer::new(Trivial).layer(up()),
                same(read()),
                from_upstream,
            ),
        ),
        row(
            "tower retry, backoff and budget",
            BARE,
            Calls::new(
                RetryLayer::new(Careful::new()).layer(up()),
                same(read()),
                from_upstream,
            ),
        ),
        row(
            "tower-resilience retry",
            BARE,
            Calls::new(resilient.layer(up()), same(read()), from_upstream),
        ),
        row(
            "tower concurrency limit",
            MARKED,
            Calls::new(concurrency.layer(up()), same(marked_read()), from_upstream),
        ),
        row(
            "tower-resilience limiter, fixed",
            MARKED,
            Calls::new(fixed.layer(up()), same(marked_read()), from_upstream),
        ),
        row(
            "tower-resilience limiter, sliding counter",
            MARKED,
            Calls::new(sliding.layer(up()), same(marked_read()), from_upstream),
        ),
        row(
            "two threads: tower concurrency limit",
            TWO,
            TwoThreads::new(concurrency.layer(up()), tenants(), from_upstream),
        ),
        row(
            "two threads: tower-resilience limiter, fixed",
            TWO,
            TwoThreads::new(fixed.layer(up()), tenants(), from_upstream),
        ),
    ]
}
