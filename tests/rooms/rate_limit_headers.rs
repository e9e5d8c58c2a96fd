//! Facts about what `rate_limit` says of its limits, and what it hears of the upstream's.

use super::probe::{Counts, Probe};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt};
use tower_sturdy::clock::{Clock, Instant, Timestamp};
use tower_sturdy::context::{Context, Priority, Tenant};
use tower_sturdy::error::{Error, HeldBy};
use tower_sturdy::outcome::{Advice, Outcome, Verdict};
use tower_sturdy::payload::Payload;
use tower_sturdy::problem::{self, ProblemConfig};
use tower_sturdy::rate_limit::{
    Pace, PerPriority, Quota, RateLimit, RateLimitConfig, RateLimitLayer,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// 2026-11-23 20:00:00 UTC.
const WALL: u64 = 1_795_464_000;

fn now() -> Instant {
    Clock::system().now()
}

fn waiting(longest: Duration, quotas: impl Into<Vec<Quota>>) -> RateLimitConfig {
    RateLimitConfig {
        max_wait: PerPriority::all(longest),
        ..RateLimitConfig::with_quotas(quotas)
    }
}

fn layer(config: RateLimitConfig) -> RateLimitLayer {
    let clock = Clock::anchored(Timestamp::from_millis(WALL * 1_000));
    RateLimitLayer::new(config).unwrap().with_clock(clock)
}

fn of(priority: Priority) -> Request<Payload> {
    let tenant = Tenant::new("a").unwrap();
    let context = Context::new().with_tenant(tenant).with_priority(priority);
    let mut request = Request::post("/").body(Payload::empty()).unwrap();
    request.extensions_mut().insert(context);
    request
}

fn request() -> Request<Payload> {
    of(Priority::UserAction)
}

async fn call(
    service: &mut RateLimit<Probe>,
    request: Request<Payload>,
) -> Result<Response<Payload>, Error> {
    service.ready().await?.call(request).await
}

async fn refused(service: &mut RateLimit<Probe>, request: Request<Payload>) -> Error {
    call(service, request).await.unwrap_err()
}

fn told(error: &Error) -> [Option<String>; 3] {
    let answer = problem::response(error, &ProblemConfig::default());
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    ["retry-after", "ratelimit-policy", "ratelimit"].map(|name| {
        let value = answer.headers().get(name)?;
        Some(value.to_str().unwrap().to_owned())
    })
}

fn held_by(error: &Error) -> &HeldBy {
    match error {
        Error::RateLimited(limited) => &limited.held_by,
        other => panic!("not refused by admission: {other}"),
    }
}

/// Answers with these headers, in order, and then with none; each answer takes a second.
fn saying<'a>(answers: impl IntoIterator<Item = &'a [(&'a str, &'a str)]>) -> (Probe, Arc<Counts>) {
    judged_and_saying(Verdict::APPLIED, answers)
}

fn judged_and_saying<'a>(
    verdict: Verdict,
    answers: impl IntoIterator<Item = &'a [(&'a str, &'a str)]>,
) -> (Probe, Arc<Counts>) {
    let answers: Vec<HeaderMap> = answers
        .into_iter()
        .map(|headers| {
            let parsed = headers.iter().map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, value.parse().unwrap())
            });
            parsed.collect()
        })
        .collect();
    let answers = Mutex::new(answers.into_iter());
    Probe::new(move |_| {
        let headers = answers.lock().unwrap().next();
        let verdict = headers.as_ref().map_or(Verdict::APPLIED, |_| verdict);
        async move {
            Clock::system().sleep(SECOND).await;
            let mut answer = Response::new(Payload::empty().with_verdict(verdict));
            *answer.headers_mut() = headers.unwrap_or_default();
            Ok(answer)
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_which_quota_held_the_call_up_longest() {
    let (probe, _) = Probe::ok();
    let quotas = [
        Quota::per_tenant("per minute", 2, MINUTE),
        Quota::per_tenant("per second", 2, SECOND),
        Quota::at_once("at once", 5),
    ];
    let mut service = layer(waiting(Duration::ZERO, quotas)).layer(probe);
    for _ in 0..2 {
        call(&mut service, request()).await.unwrap();
    }
    Clock::system().sleep(Duration::from_millis(47_500)).await;
    let error = refused(&mut service, request()).await;
    let text = error.to_string();
    assert!(text.contains(r#"quota "per minute" (2 in 60s)"#), "{text}");
    assert_eq!(error.retry_after(), Some(Duration::from_millis(12_500)));
    let expected = ["13", r#""per minute";q=2;w=60"#, r#""per minute";r=0;t=13"#];
    assert_eq!(told(&error), expected.map(|value| Some(value.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_limit_changed_while_running_is_told_as_it_is_now() {
    let (probe, _) = Probe::ok();
    let quota = Quota::per_tenant("per minute", 1, MINUTE).reserving(0);
    let layer = layer(waiting(Duration::ZERO, [quota]));
    let mut service = layer.layer(probe);
    layer.handle().set_limit("per minute", 2).unwrap();
    for _ in 0..2 {
        call(&mut service, request()).await.unwrap();
    }
    let [_, policy, _] = told(&refused(&mut service, request()).await);
    assert_eq!(policy.unwrap(), r#""per minute";q=2;w=60"#);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_is_what_is_left_for_this_call() {
    let (probe, _) = Probe::ok();
    let quota = Quota::per_tenant("per minute", 5, MINUTE).reserving(3);
    let mut service = layer(waiting(Duration::ZERO, [quota])).layer(probe);
    for _ in 0..2 {
        call(&mut service, of(Priority::Scheduled)).await.unwrap();
    }
    let [_, _, limit] = told(&refused(&mut service, of(Priority::Scheduled)).await);
    assert_eq!(limit.unwrap(), r#""per minute";r=0;t=60"#);
    call(&mut service, request()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_requests_at_once_is_told_without_a_time() {
    let (probe, _) = saying([&[][..]]);
    let mut service = layer(waiting(Duration::ZERO, [Quota::at_once("at once", 1)])).layer(probe);
    let running = tokio::spawn(call_owned(service.clone(), request()));
    tokio::task::yield_now().await;
    let error = refused(&mut service, request()).await;
    let expected = [
        "1",
        r#""at once";q=1;qu="concurrent-requests""#,
        r#""at once";r=0"#,
    ];
    assert_eq!(told(&error), expected.map(|value| Some(value.to_owned())));
    running.await.unwrap().unwrap();
}

async fn call_owned(
    mut service: RateLimit<Probe>,
    request: Request<Payload>,
) -> Result<Response<Payload>, Error> {
    call(&mut service, request).await
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_no_quota_of_ours_is_the_cause_of_names_none() {
    let only_a_time = |error: &Error| {
        let [after, policy, limit] = told(error);
        assert!(after.is_some());
        assert_eq!([policy, limit], [None, None], "{error}");
    };

    let (probe, _) = Probe::ok();
    let mut service = layer(RateLimitConfig {
        max_waiting: 1,
        ..waiting(HOUR, [Quota::per_tenant("per minute", 1, MINUTE)])
    })
    .layer(probe);
    call(&mut service, request()).await.unwrap();
    let _waiting = tokio::spawn(call_owned(service.clone(), request()));
    tokio::task::yield_now().await;
    let error = refused(&mut service, request()).await;
    assert_eq!(held_by(&error), &HeldBy::FullLine);
    only_a_time(&error);

    let stop = Verdict::closed(Outcome::NoEffect, Advice::Throttled { after: None });
    let (probe, _) = judged_and_saying(stop, [&[][..]]);
    let quota = Quota::per_tenant("per second", 1, SECOND);
    let mut service = layer(waiting(Duration::ZERO, [quota])).layer(probe);
    call(&mut service, request()).await.unwrap();
    let error = refused(&mut service, request()).await;
    assert_eq!(held_by(&error), &HeldBy::Upstream);
    only_a_time(&error);

    let (probe, _) = Probe::ok();
    let mut service = layer(RateLimitConfig {
        pace: Pace::Every(10 * SECOND),
        ..waiting(Duration::ZERO, [Quota::per_tenant("per second", 1, SECOND)])
    })
    .layer(probe);
    call(&mut service, of(Priority::Scheduled)).await.unwrap();
    let error = refused(&mut service, of(Priority::Scheduled)).await;
    assert_eq!(held_by(&error), &HeldBy::Pace);
    only_a_time(&error);
}

#[tokio::test(start_paused = true)]
async fn no_more_go_than_an_answer_says_are_left_until_the_reset_that_it_names() {
    let at = (WALL + 31).to_string();
    let forms: [&[(&str, &str)]; 4] = [
        &[("ratelimit", r#""minute";r=2;t=30"#)],
        &[("ratelimit-remaining", "2"), ("ratelimit-reset", "30")],
        &[("x-ratelimit-remaining", "2"), ("x-ratelimit-reset", &at)],
        &[
            ("x-rate-limit-remaining", "2"),
            ("x-rate-limit-reset", "Mon, 23 Nov 2026 20:00:31 GMT"),
        ],
    ];
    for headers in forms {
        let (probe, counts) = saying([headers]);
        let service = layer(waiting(HOUR, [Quota::at_once("at once", 100)])).layer(probe);
        let started = now();
        call(&mut service.clone(), request()).await.unwrap();
        let crowd: Vec<_> = (0..9)
            .map(|_| tokio::spawn(call_owned(service.clone(), request())))
            .collect();
        Clock::system().sleep(29 * SECOND).await;
        assert_eq!(counts.calls(), 3, "{headers:?}");
        for call in crowd {
            call.await.unwrap().unwrap();
        }
        // The reset, and the second that the answers take.
        assert_eq!((counts.calls(), started.elapsed()), (10, 32 * SECOND));
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_upstream_says_that_nothing_is_left_reads_and_writes_of_that_tenant_wait() {
    let (probe, counts) = saying([&[("ratelimit", r#""minute";r=0;t=30"#)][..]]);
    let layer = layer(waiting(10 * SECOND, []));
    let mut service = layer.layer(probe);
    call(&mut service, request()).await.unwrap();
    let state = layer.handle().tenant("a");
    let closed = Some(30 * SECOND);
    assert_eq!((state.reads_closed, state.writes_closed), (closed, closed));
    for method in [Method::GET, Method::POST] {
        let mut request = request();
        *request.method_mut() = method;
        let error = refused(&mut service, request).await;
        assert_eq!(held_by(&error), &HeldBy::Upstream);
        assert_eq!(error.retry_after(), closed);
    }
    let mut other = request();
    let tenant = Tenant::new("b").unwrap();
    other
        .extensions_mut()
        .insert(Context::new().with_tenant(tenant));
    call(&mut service, other).await.unwrap();
    assert_eq!(counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn headers_that_are_not_to_be_heard_or_make_no_sense_change_nothing() {
    let none_left: &[(&str, &str)] = &[("ratelimit", r#""minute";r=0;t=30"#)];
    let old = (WALL - 1).to_string();
    let nonsense: &[(&str, &str)] = &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &old)];
    for (feedback, headers) in [(false, none_left), (true, nonsense)] {
        let (probe, _) = saying([headers]);
        let config = RateLimitConfig {
            feedback,
            ..waiting(HOUR, [])
        };
        let mut service = layer(config).layer(probe);
        let started = now();
        for _ in 0..2 {
            call(&mut service, request()).await.unwrap();
        }
        assert_eq!(started.elapsed(), 2 * SECOND, "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_reset_of_a_throttle_answer_stands_in_for_a_missing_retry_after_and_never_for_a_given_one()
 {
    let reset: &[(&str, &str)] = &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "20")];
    let some_left: &[(&str, &str)] = &[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "20")];
    for (after, headers, pause) in [
        (None, reset, 20 * SECOND),
        (Some(Duration::ZERO), reset, 20 * SECOND),
        (Some(7 * SECOND), reset, 7 * SECOND),
        (None, some_left, MINUTE),
    ] {
        let stop = Verdict::closed(Outcome::NoEffect, Advice::Throttled { after });
        let (probe, _) = judged_and_saying(stop, [headers]);
        let layer = layer(waiting(HOUR, []));
        call(&mut layer.layer(probe), request()).await.unwrap();
        assert_eq!(layer.handle().tenant("a").writes_closed, Some(pause));
    }
}
