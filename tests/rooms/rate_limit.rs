//! Facts about `rate_limit`.

use super::probe::{Counts, Probe};
use http::{Method, Request, Response};
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt};
use tower_sturdy::BoxError;
use tower_sturdy::classify::Safety;
use tower_sturdy::clock::{Clock, Instant};
use tower_sturdy::context::{Context, Priority, Tenant};
use tower_sturdy::error::{Error, Kind, NotSent};
use tower_sturdy::event::{Decision, Event, Observer};
use tower_sturdy::outcome::{Advice, Outcome, Verdict};
use tower_sturdy::payload::Payload;
use tower_sturdy::rate_limit::{
    Anchor, Class, ClassOf, PerPriority, Quota, RateLimit, RateLimitConfig, RateLimitLayer, Scope,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(3600);

fn now() -> Instant {
    Clock::system().now()
}

async fn sleep(duration: Duration) {
    Clock::system().sleep(duration).await;
}

/// Nothing is refused for the length of its wait, unless a test says so.
fn patient(quotas: impl Into<Vec<Quota>>) -> RateLimitConfig {
    RateLimitConfig {
        max_wait: PerPriority::all(LONG),
        ..RateLimitConfig::with_quotas(quotas)
    }
}

fn layer(quotas: impl Into<Vec<Quota>>) -> RateLimitLayer {
    RateLimitLayer::new(patient(quotas)).unwrap()
}

fn request(tenant: &str) -> Request<Payload> {
    marked(Context::new().with_tenant(Tenant::new(tenant).unwrap()))
}

fn marked(context: Context) -> Request<Payload> {
    let mut request = Request::post("/").body(Payload::empty()).unwrap();
    request.extensions_mut().insert(context);
    request
}

fn of_method(mut request: Request<Payload>, method: Method) -> Request<Payload> {
    *request.method_mut() = method;
    request
}

async fn call(
    service: &mut RateLimit<Probe>,
    request: Request<Payload>,
) -> Result<Response<Payload>, Error> {
    service.ready().await?.call(request).await
}

/// Starts a call in a task of its own and lets it get as far as it can without time passing.
async fn start(
    service: &RateLimit<Probe>,
    request: Request<Payload>,
) -> tokio::task::JoinHandle<Result<Response<Payload>, Error>> {
    let mut service = service.clone();
    let task = tokio::spawn(async move { call(&mut service, request).await });
    settle().await;
    task
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn answer(verdict: Verdict) -> Result<Response<Payload>, BoxError> {
    Ok(Response::new(Payload::empty().with_verdict(verdict)))
}

/// Answers the first calls with `verdicts`, in order, and the rest with 200.
fn judged(
    verdicts: impl IntoIterator<Item = Verdict, IntoIter: Send + 'static>,
) -> (Probe, Arc<Counts>) {
    let verdicts = Mutex::new(verdicts.into_iter());
    Probe::new(move |_| {
        let verdict = verdicts.lock().unwrap().next();
        async move { answer(verdict.unwrap_or(Verdict::APPLIED)) }
    })
}

fn throttled(after: Option<Duration>) -> Verdict {
    Verdict::closed(Outcome::NoEffect, Advice::Throttled { after })
}

/// Answers after `latency`.
fn slow(latency: Duration) -> (Probe, Arc<Counts>) {
    Probe::new(move |_| async move {
        sleep(latency).await;
        answer(Verdict::APPLIED)
    })
}

#[tokio::test(start_paused = true)]
async fn a_hundred_clones_and_many_layers_of_one_spend_one_quota() {
    let (probe, counts) = Probe::ok();
    let layer = layer([Quota::per_tenant("minute", 30, MINUTE)]);
    let service = layer.layer(probe.clone());
    let mut tasks = Vec::new();
    for nth in 0..100 {
        let clone = if nth % 2 == 0 {
            service.clone()
        } else {
            layer.clone().layer(probe.clone())
        };
        tasks.push(start(&clone, request("a")).await);
    }
    assert_eq!(counts.calls(), 30);
    sleep(MINUTE + SECOND).await;
    assert_eq!(counts.calls(), 60);
    sleep(LONG).await;
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(counts.calls(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_holds_no_readied_inner_service() {
    let (probe, counts) = Probe::ok();
    let mut service = layer([Quota::per_tenant("second", 1, SECOND)]).layer(probe);
    call(&mut service, request("a")).await.unwrap();
    let mut waiting = std::pin::pin!(service.ready().await.unwrap().call(request("a")));
    assert!(futures_poll(waiting.as_mut()).await.is_none());
    assert_eq!(counts.readied(), 0);
    waiting.await.unwrap();
    assert_eq!(counts.calls(), 2);
}

/// Polls once.
async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn readiness_is_the_inner_services_and_waits_for_it() {
    let (probe, counts) = Probe::ok();
    let mut service = layer([Quota::per_tenant("second", 9, SECOND)]).layer(probe);
    counts.close();
    let ready = std::pin::pin!(service.ready());
    assert!(futures_poll(ready).await.is_none());
    counts.reopen();
    call(&mut service, request("a")).await.unwrap();
    assert_eq!((counts.calls(), counts.readied()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_inner_service_that_is_not_ready_after_admission_is_waited_for() {
    let (probe, counts) = Probe::ok();
    let layer = layer([Quota::per_tenant("second", 1, SECOND)]);
    let mut service = layer.layer(probe);
    call(&mut service, request("a")).await.unwrap();
    let waiting = start(&service, request("a")).await;
    counts.close();
    sleep(2 * SECOND).await;
    assert_eq!(counts.calls(), 1);
    // Dropped before it could call: nothing left, so its slot is free at once.
    waiting.abort();
    settle().await;
    assert_eq!(layer.handle().tenant("a").quotas[0].in_use, 0);
    counts.reopen();
    call(&mut service, request("a")).await.unwrap();
    assert_eq!(counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_dropped_passes_its_turn_on() {
    let (probe, counts) = Probe::ok();
    let layer = layer([Quota::per_tenant("minute", 1, MINUTE)]);
    let mut service = layer.layer(probe);
    call(&mut service, request("a")).await.unwrap();
    let first = start(&service, request("a")).await;
    let second = start(&service, request("a")).await;
    assert_eq!(layer.handle().waiting(), 2);
    first.abort();
    settle().await;
    assert_eq!(layer.handle().waiting(), 1);
    sleep(MINUTE).await;
    settle().await;
    assert_eq!(counts.calls(), 2);
    second.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_waiter_dropped_after_its_turn_came_passes_it_on() {
    let (probe, counts) = slow(SECOND);
    let mut service = layer([Quota::at_once("at once", 1)]).layer(probe);
    let running = start(&service, request("a")).await;
    let mut granted = Box::pin(service.ready().await.unwrap().call(request("a")));
    assert!(futures_poll(granted.as_mut()).await.is_none());
    let next = start(&service, request("a")).await;
    running.await.unwrap().unwrap();
    // Its turn has come, and nobody has polled it since.
    assert_eq!(counts.calls(), 1);
    drop(granted);
    settle().await;
    assert_eq!(counts.calls(), 2);
    next.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_in_flight_holds_its_slot_until_its_settle_window_is_over() {
    let (probe, counts) = slow(10 * SECOND);
    let layer = layer([Quota::at_once("at once", 1)]);
    let service = layer.layer(probe);
    let dropped = start(&service, request("a")).await;
    sleep(SECOND).await;
    dropped.abort();
    let _ = dropped.await;
    let _next = start(&service, request("a")).await;
    sleep(Duration::from_secs(299)).await;
    assert_eq!(counts.calls(), 1);
    sleep(2 * SECOND).await;
    assert_eq!(counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_not_closed_holds_its_slot_like_an_abandoned_one() {
    let (probe, counts) = judged([Verdict::OPEN]);
    let mut service = layer([Quota::per_tenant("second", 1, SECOND)]).layer(probe);
    call(&mut service, request("a")).await.unwrap();
    let started = now();
    call(&mut service, request("a")).await.unwrap();
    assert_eq!(started.elapsed(), Duration::from_secs(301));
    assert_eq!(counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_never_left_gives_its_slot_back_at_once() {
    let failures = AtomicUsize::new(0);
    let (probe, counts) = Probe::new(move |_| {
        let nth = failures.fetch_add(1, Ordering::SeqCst);
        async move {
            match nth {
                0 => Err(
                    Box::new(Error::upstream(NotSent("no route".into()), Verdict::UNSENT))
                        as BoxError,
                ),
                1 => Err(Box::new(Error::rate_limited(SECOND)) as BoxError),
                2 => answer(Verdict::UNSENT),
                _ => answer(Verdict::APPLIED),
            }
        }
    });
    let mut service = layer([Quota::per_tenant("minute", 1, MINUTE)]).layer(probe);
    let started = now();
    for _ in 0..4 {
        let _ = call(&mut service, request("a")).await;
    }
    assert_eq!((counts.calls(), started.elapsed()), (4, Duration::ZERO));
    call(&mut service, request("a")).await.unwrap();
    assert_eq!(started.elapsed(), MINUTE);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_error_may_still_run_upstream() {
    let (probe, _) = Probe::new(|_| async { Err("cable".into()) });
    let layer = layer([Quota::per_tenant("second", 1, SECOND)]);
    let mut service = layer.layer(probe);
    let error = call(&mut service, request("a")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Upstream);
    sleep(Duration::from_secs(300)).await;
    assert_eq!(layer.handle().tenant("a").quotas[0].in_use, 1);
    sleep(SECOND).await;
    assert_eq!(layer.handle().tenant("a").quotas[0].in_use, 0);
}

#[tokio::test(start_paused = true)]
async fn a_throttle_answer_stops_reads_and_writes_of_exactly_that_tenant() {
    let (probe, counts) = judged([throttled(Some(7 * SECOND))]);
    let layer = layer([Quota::per_tenant("second", 9, SECOND)]);
    let mut service = layer.layer(probe);
    let started = now();
    call(&mut service, request("a")).await.unwrap();
    let told = layer.handle().tenant("a");
    let closed = Some(7 * SECOND);
    assert_eq!((told.writes_closed, told.reads_closed), (closed, closed));

    let write = start(&service, request("a")).await;
    let read = start(&service, of_method(request("a"), Method::GET)).await;
    call(&mut service, request("b")).await.unwrap();
    assert_eq!((counts.calls(), started.elapsed()), (2, Duration::ZERO));
    write.await.unwrap().unwrap();
    read.await.unwrap().unwrap();
    assert_eq!(started.elapsed(), 7 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn reads_that_are_throttled_again_after_the_pause_no_longer_stop_writes() {
    let (probe, counts) = judged([throttled(None), throttled(None)]);
    let layer = layer([Quota::per_tenant("second", 9, SECOND)]);
    let mut service = layer.layer(probe);
    let read = || of_method(request("a"), Method::GET);
    let started = now();
    call(&mut service, read()).await.unwrap();
    call(&mut service, read()).await.unwrap();
    assert_eq!((counts.calls(), started.elapsed()), (2, MINUTE));
    let told = layer.handle().tenant("a");
    assert_eq!(
        (told.writes_closed, told.reads_closed),
        (None, Some(2 * MINUTE))
    );

    call(&mut service, request("a")).await.unwrap();
    assert_eq!(started.elapsed(), MINUTE);
    call(&mut service, read()).await.unwrap();
    assert_eq!((counts.calls(), started.elapsed()), (4, 3 * MINUTE));
}

#[tokio::test(start_paused = true)]
async fn a_throttle_answer_without_a_time_closes_the_gate_for_the_pause() {
    for after in [None, Some(Duration::ZERO)] {
        let (probe, _) = judged([throttled(after)]);
        let mut service = layer([]).layer(probe);
        let started = now();
        call(&mut service, request("a")).await.unwrap();
        call(&mut service, request("a")).await.unwrap();
        assert_eq!(started.elapsed(), MINUTE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttle_error_closes_the_gate_too_and_counts_its_slot_as_spent() {
    let (probe, counts) = Probe::new(|_| async {
        Err(Box::new(Error::upstream("429", throttled(Some(SECOND)))) as BoxError)
    });
    let layer = layer([Quota::per_tenant("minute", 1, MINUTE)]);
    let mut service = layer.layer(probe);
    let started = now();
    call(&mut service, request("a")).await.unwrap_err();
    assert_eq!(layer.handle().tenant("a").quotas[0].in_use, 1);
    call(&mut service, request("a")).await.unwrap_err();
    assert_eq!((counts.calls(), started.elapsed()), (2, MINUTE));
}

#[derive(Debug)]
struct PathClasses;

impl ClassOf for PathClasses {
    fn class(&self, request: &Request<Payload>) -> Class {
        Class(u8::from(request.uri().path() == "/batch"))
    }

    fn safety(&self, request: &Request<Payload>) -> Safety {
        if request.uri().path() == "/query" {
            Safety::Read
        } else {
            Safety::of(request.method())
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_hook_says_what_is_a_read_and_which_class_a_request_is_of() {
    let (probe, counts) = judged([throttled(None), throttled(None)]);
    let mut service = layer([Quota::per_tenant("batches", 1, MINUTE).for_class(Class(1))])
        .with_classes(Arc::new(PathClasses))
        .layer(probe);
    let to = |path: &str| {
        let mut request = request("a");
        *request.uri_mut() = path.parse().unwrap();
        request
    };
    let started = now();
    // A POST that is a read: throttled twice it is a cap on reads, and writes go on.
    call(&mut service, to("/query")).await.unwrap();
    call(&mut service, to("/query")).await.unwrap();
    call(&mut service, to("/batch")).await.unwrap();
    call(&mut service, to("/bill")).await.unwrap();
    assert_eq!((counts.calls(), started.elapsed()), (4, MINUTE));
    call(&mut service, to("/batch")).await.unwrap();
    assert_eq!(started.elapsed(), 2 * MINUTE);
    call(&mut service, to("/query")).await.unwrap();
    assert_eq!(started.elapsed(), 3 * MINUTE);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_shorter_than_the_wait_refuses_at_once_and_says_when_to_come_back() {
    let (probe, counts) = Probe::ok();
    let mut service = layer([Quota::per_tenant("minute", 1, MINUTE)]).layer(probe);
    let started = now();
    call(&mut service, request("a")).await.unwrap();
    sleep(10 * SECOND).await;
    let context = Context::new().with_tenant(Tenant::new("a").unwrap());
    let soon = context.clone().with_deadline(now() + 49 * SECOND);
    let error = call(&mut service, marked(soon)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::RateLimited);
    assert_eq!(error.retry_after(), Some(50 * SECOND));
    assert_eq!(started.elapsed(), 10 * SECOND);

    let past = context.clone().with_deadline(now());
    let error = call(&mut service, marked(past)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Deadline);

    let in_time = context.with_deadline(now() + 51 * SECOND);
    call(&mut service, marked(in_time)).await.unwrap();
    assert_eq!((counts.calls(), started.elapsed()), (2, MINUTE));
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_that_comes_back_when_told_is_let_through() {
    let (probe, _) = Probe::ok();
    let config = RateLimitConfig {
        max_wait: PerPriority::all(Duration::ZERO),
        ..RateLimitConfig::with_quotas([
            Quota::per_tenant("second", 2, SECOND),
            Quota::per_tenant("minute", 5, MINUTE),
        ])
    };
    let mut service = RateLimitLayer::new(config).unwrap().layer(probe);
    let mut refused = 0;
    for _ in 0..40 {
        if let Err(error) = call(&mut service, request("a")).await {
            refused += 1;
            sleep(error.retry_after().unwrap()).await;
            call(&mut service, request("a")).await.unwrap();
        }
    }
    assert!(refused > 10, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waited_in_vain_is_refused_when_its_time_is_up() {
    let (probe, counts) = slow(LONG);
    let config = RateLimitConfig {
        max_wait: PerPriority {
            user_action: 3 * SECOND,
            ..PerPriority::all(LONG)
        },
        ..RateLimitConfig::with_quotas([Quota::at_once("at once", 1)])
    };
    let mut service = RateLimitLayer::new(config).unwrap().layer(probe);
    let _running = start(&service, request("a")).await;
    let started = now();
    let error = call(&mut service, request("a")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (Kind::RateLimited, Outcome::Unsent)
    );
    assert_eq!((counts.calls(), started.elapsed()), (1, 3 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_full_line_refuses_and_a_bulk_sync_cannot_fill_a_users_line() {
    let (probe, _) = Probe::ok();
    let layer = RateLimitLayer::new(RateLimitConfig {
        max_waiting: 2,
        ..patient([Quota::per_tenant("minute", 1, MINUTE)])
    })
    .unwrap();
    let mut service = layer.layer(probe);
    call(&mut service, request("a")).await.unwrap();
    let scheduled = || {
        marked(
            Context::new()
                .with_tenant(Tenant::new("a").unwrap())
                .with_priority(Priority::Scheduled),
        )
    };
    let _waiting = (
        start(&service, scheduled()).await,
        start(&service, scheduled()).await,
    );
    let error = call(&mut service, scheduled()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::RateLimited);
    // Two windows for those who stand there, and one for itself.
    assert_eq!(error.retry_after(), Some(3 * MINUTE));
    let user = start(&service, request("a")).await;
    assert_eq!(layer.handle().tenant("a").waiting, [1, 0, 2]);
    let started = now();
    user.await.unwrap().unwrap();
    assert_eq!(started.elapsed(), MINUTE, "it goes before the bulk work");
}

#[tokio::test(start_paused = true)]
async fn no_wake_up_is_lost_under_a_crowd_that_comes_waits_and_leaves() {
    let (probe, counts) = slow(Duration::from_millis(30));
    let layer = layer([
        Quota::at_once("at once", 2),
        Quota::per_tenant("second", 7, SECOND),
        Quota::per_app("app", 11, SECOND),
    ]);
    let service = layer.layer(probe);
    let mut tasks = Vec::new();
    for nth in 0_u64..400 {
        let tenant = ["a", "b", "c"][usize::try_from(nth % 3).unwrap()];
        let mut service = service.clone();
        tasks.push(tokio::spawn(async move {
            sleep(Duration::from_millis(nth * 13 % 400)).await;
            let leaves = Duration::from_millis(if nth % 5 == 0 { 700 } else { 3_600_000 });
            let call = call(&mut service, request(tenant));
            Clock::system().timeout(leaves, call).await.is_some()
        }));
    }
    let mut served = 0;
    for task in tasks {
        served += usize::from(task.await.unwrap());
    }
    assert!(served >= 320, "{served} were served");
    assert_eq!(layer.handle().waiting(), 0);
    assert!(counts.in_flight_max.load(Ordering::SeqCst) <= 6);
}

#[test]
fn those_who_wait_go_on_when_the_runtime_that_watched_the_clock_is_gone() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    };
    let layer = layer([Quota::per_tenant("short", 1, Duration::from_millis(50))]);
    let (probe, counts) = Probe::ok();
    let service = layer.layer(probe);
    let first = runtime();
    first.block_on(async {
        call(&mut service.clone(), request("a")).await.unwrap();
        // It waits here, so the clock is watched from this runtime, which then stops.
        let _waiting = start(&service, request("a")).await;
    });
    let second = runtime();
    let waiting = second.block_on(start(&service, request("a")));
    drop(first);
    second.block_on(waiting).unwrap().unwrap();
    assert_eq!(counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn slots_counted_from_the_send_come_back_sooner() {
    let (probe, _) = slow(Duration::from_millis(400));
    let quota = [Quota::per_tenant("second", 1, SECOND)];
    let margin = Duration::from_millis(100);
    for (anchor, expected) in [(Anchor::Answer, 1800), (Anchor::Send { margin }, 1500)] {
        let config = RateLimitConfig {
            anchor,
            ..patient(quota.clone())
        };
        let mut service = RateLimitLayer::new(config).unwrap().layer(probe.clone());
        let started = now();
        call(&mut service, request("a")).await.unwrap();
        call(&mut service, request("a")).await.unwrap();
        assert_eq!(started.elapsed(), Duration::from_millis(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_idle_costs_no_memory() {
    let (probe, _) = Probe::ok();
    let layer = layer([
        Quota::per_tenant("second", 5, SECOND),
        Quota::per_app("app", 1000, SECOND),
    ]);
    let mut service = layer.layer(probe);
    for nth in 0..500 {
        call(&mut service, request(&format!("tenant {nth}")))
            .await
            .unwrap();
    }
    assert_eq!(layer.handle().tenants(), 500);
    sleep(2 * SECOND).await;
    for _ in 0..10_000 {
        call(&mut service, request("busy")).await.unwrap();
    }
    assert_eq!(layer.handle().tenants(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_handle_tells_what_is_in_use_and_when_a_slot_is_free() {
    let (probe, _) = slow(SECOND);
    let layer = layer([
        Quota::per_tenant("minute", 2, MINUTE),
        Quota::at_once("at once", 1),
    ]);
    let service = layer.layer(probe);
    let running = start(&service, request("a")).await;
    let told = layer.handle().tenant("a");
    assert_eq!((told.quotas[0].in_use, told.in_flight), (1, 1));
    assert_eq!(told.quotas[0].next_free, Some(Duration::ZERO));
    assert_eq!(told.quotas[1].next_free, None);
    running.await.unwrap().unwrap();
    call(&mut service.clone(), request("a")).await.unwrap();
    let told = layer.handle().tenant("a");
    assert_eq!((told.quotas[0].in_use, told.quotas[1].in_use), (2, 0));
    assert_eq!(told.quotas[0].next_free, Some(59 * SECOND));
    assert_eq!(layer.handle().tenant("b").quotas[0].in_use, 0);
}

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn observe(&self, event: &Event<'_>) {
        let word = match event.decision {
            Decision::Admitted { waited } => format!("{}: waited {waited:?}", event.tenant),
            Decision::Refused { retry_after } => {
                format!("{}: refused, {retry_after:?}", event.tenant)
            }
            Decision::GateClosed { pause } => format!("{}: closed, {pause:?}", event.tenant),
            other => other.name().to_owned(),
        };
        self.0.lock().unwrap().push(word);
    }
}

#[tokio::test(start_paused = true)]
async fn every_decision_is_told_once() {
    let heard = Arc::new(Heard::default());
    let (probe, _) = judged([Verdict::APPLIED, throttled(Some(9 * SECOND))]);
    let config = RateLimitConfig {
        max_wait: PerPriority::all(5 * SECOND),
        ..RateLimitConfig::with_quotas([Quota::per_tenant("second", 1, SECOND)])
    };
    let layer = RateLimitLayer::new(config)
        .unwrap()
        .with_observer(heard.clone());
    let mut service = layer.layer(probe);
    for _ in 0..3 {
        let _ = call(&mut service, request("a")).await;
    }
    assert_eq!(
        *heard.0.lock().unwrap(),
        [
            "a: waited 0ns",
            "a: waited 1s",
            "a: closed, 9s",
            "a: refused, 9s"
        ]
    );
}

#[test]
fn a_setting_that_cannot_work_is_named_with_its_fix() {
    let good = || Quota::per_tenant("a", 1, SECOND);
    let with = |change: fn(&mut RateLimitConfig)| {
        let mut config = RateLimitConfig::with_quotas([good(), Quota::at_once("b", 1)]);
        change(&mut config);
        config
    };
    for (field, config) in [
        ("quotas[1].limit", with(|c| c.quotas[1].limit = 0)),
        ("quotas[0].name", with(|c| c.quotas[0].name = "".into())),
        ("quotas[1].name", with(|c| c.quotas[1].name = "a".into())),
        ("quotas[0].per", with(|c| c.quotas[0].per = 25 * LONG)),
        ("quotas", RateLimitConfig::with_quotas(vec![good(); 33])),
        ("max_waiting", with(|c| c.max_waiting = 0)),
        ("pause", with(|c| c.pause = Duration::ZERO)),
        ("settle_window", with(|c| c.settle_window = Duration::ZERO)),
        (
            "max_wait.scheduled",
            with(|c| c.max_wait.scheduled = 25 * LONG),
        ),
        (
            "head_start.scheduled",
            with(|c| c.head_start.scheduled = MINUTE),
        ),
        (
            "head_start.event_triggered",
            with(|c| c.head_start.event_triggered = LONG),
        ),
        (
            "anchor.margin",
            with(|c| c.anchor = Anchor::Send { margin: 25 * LONG }),
        ),
    ] {
        let error = RateLimitLayer::new(config).unwrap_err();
        assert_eq!(error.field(), field, "{error}");
        let text = error.to_string();
        assert!(text.contains(": "), "{text} names no fix");
    }
    assert_eq!(good().scope, Scope::Tenant);
    RateLimitLayer::new(RateLimitConfig::default()).unwrap();
}
