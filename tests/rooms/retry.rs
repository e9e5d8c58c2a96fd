//! Facts about `retry`.

use crate::probe::{Counts, Probe};
use http::{Method, Request, Response, StatusCode};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt};
use tower_sturdy::classify::HttpClassify;
use tower_sturdy::clock::{Clock, Instant};
use tower_sturdy::context::{Context, OperationId, Priority, Tenant};
use tower_sturdy::error::NotSent;
use tower_sturdy::event::{Decision, Event, Observer};
use tower_sturdy::outcome::{Advice, Outcome, Verdict};
use tower_sturdy::payload::Payload;
use tower_sturdy::random::Random;
use tower_sturdy::retry::{BudgetConfig, Jitter, Profile, Retry, RetryConfig, RetryLayer};
use tower_sturdy::{BoxError, Error};

type Answer = Result<Response<Payload>, BoxError>;
type Script = Box<dyn Fn() -> Answer + Send + Sync>;

const SECOND: Duration = Duration::from_secs(1);

fn plain() -> RetryConfig {
    RetryConfig::uniform(Profile {
        jitter: Jitter::None,
        ..Profile::default()
    })
}

fn layer(config: RetryConfig) -> RetryLayer {
    RetryLayer::new(config).unwrap()
}

/// A service that gives these answers in turn (the last one for ever), and the instants at which it was called.
fn scripted(script: Vec<Script>) -> (Probe, Arc<Counts>, Arc<Mutex<Vec<Instant>>>) {
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&times);
    let script = Arc::new(script);
    let (probe, counts) = Probe::new(move |_| {
        let mut times = seen.lock().unwrap();
        let answer = script[times.len().min(script.len() - 1)]();
        times.push(Clock::system().now());
        async move { answer }
    });
    (probe, counts, times)
}

fn status(code: u16) -> Script {
    Box::new(move || {
        let mut answer = Response::new(Payload::empty());
        *answer.status_mut() = StatusCode::from_u16(code).unwrap();
        Ok(answer)
    })
}

fn judged(code: u16, outcome: Outcome, advice: Advice) -> Script {
    Box::new(move || {
        let body = Payload::empty().with_verdict(Verdict::closed(outcome, advice));
        let mut answer = Response::new(body);
        *answer.status_mut() = StatusCode::from_u16(code).unwrap();
        Ok(answer)
    })
}

fn again() -> Advice {
    Advice::Retry { after: None }
}

fn failing(error: impl Fn() -> BoxError + Send + Sync + 'static) -> Script {
    Box::new(move || Err(error()))
}

fn request(method: Method) -> Request<Payload> {
    let mut request = Request::new(Payload::empty());
    *request.method_mut() = method;
    request
}

fn operation() -> Request<Payload> {
    request(Method::POST).map(|body| body.with_operation(OperationId::from_bits(7)))
}

#[derive(Debug, Default)]
struct Log(Mutex<Vec<String>>);

impl Observer for Log {
    fn observe(&self, event: &Event<'_>) {
        let line = match event.decision {
            Decision::Retry { wait } => format!("{} {wait:?}", event.attempt),
            Decision::GaveUp { why } => format!("{} {why}", event.attempt),
            _ => return,
        };
        self.0
            .lock()
            .unwrap()
            .push(format!("{}:{line}", event.tenant));
    }
}

#[tokio::test(start_paused = true)]
async fn every_attempt_carries_the_whole_request() {
    #[derive(Clone, Debug, PartialEq)]
    struct Note(&'static str);

    type Told = (
        String,
        Option<String>,
        Option<Context>,
        Option<Note>,
        Payload,
    );
    let tell = |request: &Request<Payload>| -> Told {
        let accept = request.headers().get("accept");
        (
            format!(
                "{:?} {} {:?}",
                request.method(),
                request.uri(),
                request.version()
            ),
            accept.map(|value| value.to_str().unwrap().to_owned()),
            request.extensions().get().cloned(),
            request.extensions().get().cloned(),
            request.body().clone(),
        )
    };
    let marker = Context::new().with_tenant(Tenant::new("9130").unwrap());
    for (marker, note) in [
        (None, None),
        (Some(marker.clone()), None),
        (Some(marker), Some(Note("kept"))),
        (None, Some(Note("kept"))),
    ] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&seen);
        let (probe, _) = Probe::new(move |request: Request<Payload>| {
            told.lock().unwrap().push(tell(&request));
            async { Err::<Response<Payload>, _>(BoxError::from(NotSent("no route".into()))) }
        });
        let mut request = Request::put("http://upstream/bill?a=1")
            .version(http::Version::HTTP_2)
            .header("accept", "text/plain")
            .body(Payload::from("{}").with_operation(OperationId::from_bits(7)))
            .unwrap();
        if let Some(marker) = marker {
            request.extensions_mut().insert(marker);
        }
        if let Some(note) = note {
            request.extensions_mut().insert(note);
        }
        let sent = format!("{:?}", tell(&request));
        layer(plain())
            .layer(probe)
            .oneshot(request)
            .await
            .unwrap_err();
        let seen: Vec<String> = seen
            .lock()
            .unwrap()
            .iter()
            .map(|told| format!("{told:?}"))
            .collect();
        assert_eq!(seen, vec![sent; 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_for_a_moment_is_attempted_after_one_and_two_seconds() {
    let (probe, counts, times) = scripted(vec![status(503), status(500), status(200)]);
    let start = Clock::system().now();
    let answer = layer(plain())
        .layer(probe)
        .oneshot(request(Method::GET))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(counts.calls(), 3);
    let after: Vec<_> = times.lock().unwrap().iter().map(|at| *at - start).collect();
    assert_eq!(after, [Duration::ZERO, SECOND, 3 * SECOND]);
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_is_given_when_the_attempts_are_used_up() {
    let (probe, counts, _) = scripted(vec![status(503)]);
    let log = Arc::new(Log::default());
    let mut get = request(Method::GET);
    get.extensions_mut()
        .insert(Context::new().with_tenant(Tenant::new("acme").unwrap()));
    let answer = layer(plain())
        .with_observer(Arc::clone(&log) as _)
        .layer(probe)
        .oneshot(get)
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(counts.calls(), 3);
    assert_eq!(
        *log.0.lock().unwrap(),
        ["acme:1 1s", "acme:2 2s", "acme:3 the attempts are used up"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_never_sent_goes_again() {
    let (probe, counts, _) = scripted(vec![
        failing(|| Box::new(NotSent("no route".into()))),
        status(200),
    ]);
    let answer = layer(plain())
        .layer(probe)
        .oneshot(request(Method::POST))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_write_in_doubt_without_a_key_is_sent_once() {
    for script in [
        status(500),
        status(503),
        status(429),
        failing(|| "reset".into()),
    ] {
        let (probe, counts, _) = scripted(vec![script]);
        let _ = layer(plain())
            .layer(probe)
            .oneshot(request(Method::POST))
            .await;
        assert_eq!(counts.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_may_still_be_running_is_sent_once() {
    for script in [status(504), failing(|| "reset".into())] {
        let (probe, counts, _) = scripted(vec![script]);
        let _ = layer(plain()).layer(probe).oneshot(operation()).await;
        assert_eq!(counts.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_whose_whole_answer_left_doubt_goes_again_to_the_gate() {
    let (probe, counts, _) = scripted(vec![
        judged(500, Outcome::Unknown, again()),
        judged(200, Outcome::Applied, Advice::Accept),
    ]);
    let answer = layer(plain())
        .layer(probe)
        .oneshot(operation())
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_doubt_never_hides_it() {
    let later: [Script; 4] = [
        judged(400, Outcome::Rejected, Advice::Stop),
        judged(503, Outcome::NoEffect, again()),
        failing(|| Box::new(Error::invalid("the gate said no"))),
        failing(|| Box::new(Error::rate_limited(SECOND))),
    ];
    for script in later {
        let (probe, _, _) = scripted(vec![judged(500, Outcome::Unknown, again()), script]);
        let answer = layer(plain())
            .layer(probe)
            .oneshot(operation())
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let outcome = answer.body().verdict().map(|verdict| verdict.outcome);
        assert_eq!(outcome, Some(Outcome::Unknown));
    }
}

#[tokio::test(start_paused = true)]
async fn proof_after_doubt_is_told() {
    let (probe, _, _) = scripted(vec![
        judged(500, Outcome::Unknown, again()),
        judged(503, Outcome::NoEffect, again()),
        judged(200, Outcome::Applied, Advice::Accept),
    ]);
    let answer = layer(plain())
        .layer(probe)
        .oneshot(operation())
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn refusals_and_requests_for_credentials_are_final() {
    for script in [
        judged(400, Outcome::Rejected, Advice::Stop),
        judged(401, Outcome::NoEffect, Advice::Reauthenticate),
        judged(403, Outcome::NoEffect, Advice::Stop),
    ] {
        let (probe, counts, _) = scripted(vec![script]);
        let _ = layer(plain())
            .layer(probe)
            .oneshot(request(Method::GET))
            .await;
        assert_eq!(counts.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_a_floor() {
    let throttled: Script = Box::new(|| {
        Ok(Response::builder()
            .status(429)
            .header("retry-after", "7")
            .body(Payload::empty())
            .unwrap())
    });
    let (probe, _, times) = scripted(vec![throttled, status(200)]);
    let answer = layer(plain())
        .with_classify(Arc::new(
            HttpClassify::new().trust(StatusCode::TOO_MANY_REQUESTS),
        ))
        .layer(probe)
        .oneshot(request(Method::POST))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let times = times.lock().unwrap();
    assert_eq!(times[1] - times[0], 7 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_would_reach_the_deadline_is_not_begun() {
    let (probe, counts, _) = scripted(vec![status(503)]);
    let start = Clock::system().now();
    let mut get = request(Method::GET);
    get.extensions_mut()
        .insert(Context::new().with_deadline(start + 2 * SECOND));
    let answer = layer(plain()).layer(probe).oneshot(get).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(counts.calls(), 2);
    assert_eq!(start.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_past_the_total_returns_at_once() {
    let (probe, counts, _) = scripted(vec![judged(
        503,
        Outcome::NoEffect,
        Advice::Retry {
            after: Some(300 * SECOND),
        },
    )]);
    let start = Clock::system().now();
    let _ = layer(plain())
        .layer(probe)
        .oneshot(request(Method::GET))
        .await;
    assert_eq!(counts.calls(), 1);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn each_priority_has_its_own_profile() {
    let mut config = plain();
    config.scheduled.attempts_max = 5;
    config.user_action.attempts_max = 1;
    for (priority, calls) in [
        (Priority::UserAction, 1),
        (Priority::EventTriggered, 3),
        (Priority::Scheduled, 5),
    ] {
        let (probe, counts, _) = scripted(vec![status(503)]);
        let mut get = request(Method::GET);
        get.extensions_mut()
            .insert(Context::new().with_priority(priority));
        let _ = layer(config).layer(probe).oneshot(get).await;
        assert_eq!(counts.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn clones_share_each_tenants_budget() {
    let config = RetryConfig {
        budget: BudgetConfig {
            reserve: 3,
            percent: 0,
            tenants_max: 10,
        },
        ..plain()
    };
    let (probe, counts, _) = scripted(vec![status(503)]);
    let layer = layer(config);
    let service = layer.layer(probe.clone());
    let get = |tenant: &str| {
        let mut get = request(Method::GET);
        get.extensions_mut()
            .insert(Context::new().with_tenant(Tenant::new(tenant).unwrap()));
        get
    };
    // Two calls want two retries each; the reserve has three.
    let _ = service.clone().oneshot(get("a")).await;
    let _ = service.clone().oneshot(get("a")).await;
    assert_eq!(counts.calls(), 5);
    // Another service of the same layer has nothing left for this tenant, but all of it for another.
    let _ = layer.layer(probe.clone()).oneshot(get("a")).await;
    assert_eq!(counts.calls(), 6);
    let _ = layer.layer(probe).oneshot(get("b")).await;
    assert_eq!(counts.calls(), 9);
}

#[tokio::test(start_paused = true)]
async fn jitter_keeps_half_of_the_wait_and_a_seed_repeats_it() {
    let mut waits = Vec::new();
    for _ in 0..2 {
        let (probe, _, times) = scripted(vec![status(503), status(200)]);
        let _ = layer(RetryConfig::default())
            .with_random(Random::seeded(11))
            .layer(probe)
            .oneshot(request(Method::GET))
            .await;
        let times = times.lock().unwrap();
        waits.push(times[1] - times[0]);
    }
    assert!(
        waits[0] >= SECOND / 2 && waits[0] <= SECOND + Duration::from_millis(1),
        "{waits:?}"
    );
    assert_eq!(waits[0], waits[1]);
}

#[tokio::test(start_paused = true)]
async fn no_readied_service_is_held_while_waiting() {
    let (probe, counts, _) = scripted(vec![status(503), status(200)]);
    let service = layer(plain()).layer(probe);
    let call = tokio::spawn(service.oneshot(request(Method::GET)));
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!((counts.calls(), counts.readied()), (1, 0));
    assert!(call.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn another_attempt_waits_until_the_inner_service_is_ready() {
    let (probe, counts, _) = scripted(vec![status(503), status(200)]);
    let service = layer(plain()).layer(probe);
    let call = tokio::spawn(service.oneshot(request(Method::GET)));
    tokio::time::sleep(SECOND / 2).await;
    counts.close();
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(counts.calls(), 1);
    counts.reopen();
    assert_eq!(call.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn dropped_while_it_waits_it_sends_nothing_more() {
    let (probe, counts, _) = scripted(vec![status(503)]);
    let mut service = layer(plain()).layer(probe);
    let call = service.ready().await.unwrap().call(request(Method::GET));
    assert!(tokio::time::timeout(SECOND / 2, call).await.is_err());
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!((counts.calls(), counts.in_flight()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn one_service_can_be_called_again_after_it_was_made_ready_again() {
    let (probe, counts, _) = scripted(vec![status(200)]);
    let mut service: Retry<Probe> = layer(plain()).layer(probe);
    for _ in 0..3 {
        let call = service.ready().await.unwrap().call(request(Method::GET));
        assert!(call.await.is_ok());
    }
    assert_eq!(counts.calls(), 3);
}

/// Answers once, then is gone for good.
#[derive(Clone)]
struct Vanishing(Arc<Mutex<bool>>, Outcome);

impl Service<Request<Payload>> for Vanishing {
    type Response = Response<Payload>;
    type Error = BoxError;
    type Future = std::future::Ready<Answer>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(if *self.0.lock().unwrap() {
            Err("gone".into())
        } else {
            Ok(())
        })
    }

    fn call(&mut self, _: Request<Payload>) -> Self::Future {
        *self.0.lock().unwrap() = true;
        std::future::ready(judged(503, self.1, again())())
    }
}

#[tokio::test(start_paused = true)]
async fn an_inner_service_that_vanishes_leaves_what_is_known() {
    let service = layer(plain()).layer(Vanishing(Arc::default(), Outcome::NoEffect));
    let error = service.oneshot(operation()).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NoEffect);

    let service = layer(plain()).layer(Vanishing(Arc::default(), Outcome::Unknown));
    let answer = service.oneshot(operation()).await.unwrap();
    let verdict = answer.body().verdict().unwrap();
    assert_eq!(verdict.outcome, Outcome::Unknown);
}
