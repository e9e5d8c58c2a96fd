//! Facts about `cache`.

use crate::probe::{Counts, Probe};
use http::{Method, Request, Response, StatusCode};
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt};
use tower_sturdy::cache::{
    AllowInvalidated, Cache, CacheConfig, CacheLayer, CacheRules, GetRules, ReadRule,
};
use tower_sturdy::clock::Clock;
use tower_sturdy::context::{Context, Priority, Tenant};
use tower_sturdy::error::Kind;
use tower_sturdy::event::{Decision, Event, Observer};
use tower_sturdy::outcome::{Advice, Outcome, Verdict};
use tower_sturdy::payload::{Payload, ServedFrom};
use tower_sturdy::{BoxError, Error};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// An upstream with one number: a read tells it, a write makes it one more. Both take the latency; the number is read
/// when the read arrives, and changed when half of the write's time is over.
struct Upstream {
    number: AtomicU64,
    latency: Mutex<Duration>,
    status: Mutex<StatusCode>,
}

impl Upstream {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            number: AtomicU64::new(0),
            latency: Mutex::new(Duration::ZERO),
            status: Mutex::new(StatusCode::OK),
        })
    }

    fn takes(&self, latency: Duration) {
        *self.latency.lock().unwrap() = latency;
    }

    fn answers(&self, status: u16) {
        *self.status.lock().unwrap() = StatusCode::from_u16(status).unwrap();
    }

    async fn serve(
        self: Arc<Self>,
        request: Request<Payload>,
    ) -> Result<Response<Payload>, BoxError> {
        let latency = *self.latency.lock().unwrap();
        let status = *self.status.lock().unwrap();
        let mut number = self.number.load(SeqCst);
        tokio::time::sleep(latency / 2).await;
        if !request.method().is_safe() {
            number = self.number.fetch_add(1, SeqCst) + 1;
        }
        tokio::time::sleep(latency / 2).await;
        if status == StatusCode::IM_A_TEAPOT {
            return Err("reset".into());
        }
        let mut answer = Response::new(Payload::from(number.to_string()));
        *answer.status_mut() = status;
        Ok(answer)
    }
}

/// What fails with a broken connection.
const RESET: u16 = 418;

struct Rig {
    upstream: Arc<Upstream>,
    counts: Arc<Counts>,
    layer: CacheLayer,
    service: Cache<Probe>,
}

fn config() -> CacheConfig {
    CacheConfig {
        read_lag: Duration::ZERO,
        slow_after: None,
        ..CacheConfig::default()
    }
}

fn rig(config: CacheConfig) -> Rig {
    rig_with(config, |layer| layer)
}

fn rig_with(config: CacheConfig, with: impl FnOnce(CacheLayer) -> CacheLayer) -> Rig {
    let upstream = Upstream::new();
    let serving = Arc::clone(&upstream);
    let (probe, counts) = Probe::new(move |request| Arc::clone(&serving).serve(request));
    let layer = with(CacheLayer::new(config).unwrap());
    let service = layer.layer(probe);
    Rig {
        upstream,
        counts,
        layer,
        service,
    }
}

impl Rig {
    async fn ask(&self, request: Request<Payload>) -> Result<Response<Payload>, Error> {
        self.service.clone().oneshot(request).await
    }

    /// Asks in a task of its own, which has asked when this returns.
    async fn asking(
        &self,
        request: Request<Payload>,
    ) -> tokio::task::JoinHandle<Result<Response<Payload>, Error>> {
        let task = tokio::spawn(self.service.clone().oneshot(request));
        tokio::task::yield_now().await;
        task
    }

    async fn number(&self, request: Request<Payload>) -> String {
        text(&self.ask(request).await.unwrap())
    }
}

fn text(answer: &Response<Payload>) -> String {
    String::from_utf8(answer.body().bytes().to_vec()).unwrap()
}

fn get(path: &str) -> Request<Payload> {
    Request::get(format!("https://api.example{path}"))
        .body(Payload::empty())
        .unwrap()
}

fn post(path: &str) -> Request<Payload> {
    let mut request = get(path);
    *request.method_mut() = Method::POST;
    request
}

fn marked(mut request: Request<Payload>, context: Context) -> Request<Payload> {
    request.extensions_mut().insert(context);
    request
}

fn of(tenant: &str, request: Request<Payload>) -> Request<Payload> {
    marked(
        request,
        Context::new().with_tenant(Tenant::new(tenant).unwrap()),
    )
}

fn with_header(mut request: Request<Payload>, name: &'static str, value: &str) -> Request<Payload> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

fn stale(answer: &Response<Payload>) -> bool {
    matches!(answer.body().served_from(), ServedFrom::StaleCache { .. })
}

#[tokio::test(start_paused = true)]
async fn a_hit_tells_its_age_and_does_not_call_the_upstream() {
    let rig = rig(config());
    rig.ask(get("/bills")).await.unwrap();
    tokio::time::sleep(MINUTE).await;
    let answer = rig.ask(get("/bills")).await.unwrap();
    assert_eq!(rig.counts.calls(), 1);
    assert_eq!(
        answer.body().served_from(),
        ServedFrom::FreshCache { age: MINUTE }
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_an_answer_to_another_question() {
    let rig = rig(config());
    let questions = || {
        vec![
            get("/bills"),
            get("/bills?open=true"),
            get("/vendors"),
            of("a", get("/bills")),
            of("b", get("/bills")),
            with_header(get("/bills"), "accept", "application/json"),
            with_header(get("/bills"), "accept", "application/xml"),
            with_header(get("/bills"), "authorization", "Bearer a"),
            with_header(get("/bills"), "authorization", "Bearer b"),
            with_header(get("/bills"), "cookie", "session=1"),
            Request::get("https://other.example/bills")
                .body(Payload::empty())
                .unwrap(),
            Request::get("http://api.example/bills")
                .body(Payload::empty())
                .unwrap(),
            Request::head("https://api.example/bills")
                .body(Payload::empty())
                .unwrap(),
        ]
    };
    for (index, question) in questions().into_iter().enumerate() {
        rig.ask(question).await.unwrap();
        assert_eq!(rig.counts.calls(), index + 1);
    }
    for question in questions() {
        rig.ask(question).await.unwrap();
    }
    assert_eq!(rig.counts.calls(), questions().len());
}

#[tokio::test(start_paused = true)]
async fn past_its_time_to_live_the_upstream_is_asked_again() {
    let rig = rig(config());
    rig.ask(get("/bills")).await.unwrap();
    tokio::time::sleep(239 * MINUTE).await;
    rig.ask(get("/bills")).await.unwrap();
    assert_eq!(rig.counts.calls(), 1);
    tokio::time::sleep(MINUTE).await;
    rig.ask(get("/bills")).await.unwrap();
    assert_eq!(rig.counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn age_counts_from_when_the_answer_was_asked_for() {
    let rig = rig(config());
    rig.upstream.takes(MINUTE);
    rig.ask(get("/bills")).await.unwrap();
    let answer = rig.ask(get("/bills")).await.unwrap();
    assert_eq!(answer.body().served_from().age(), MINUTE);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_never_kept() {
    for status in [500, 503, 404, 401, 429, 302] {
        let rig = rig(config());
        rig.upstream.answers(status);
        rig.ask(get("/bills")).await.unwrap();
        rig.upstream.answers(200);
        assert_eq!(rig.ask(get("/bills")).await.unwrap().status(), 200);
        assert_eq!(rig.counts.calls(), 2, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_judged_to_be_no_good_answer_is_never_kept() {
    let (probe, counts) = Probe::new(|_| async {
        let fault = Verdict::closed(Outcome::NoEffect, Advice::Stop);
        Ok(Response::new(Payload::from("{}").with_verdict(fault)))
    });
    let service = CacheLayer::new(config()).unwrap().layer(probe);
    for _ in 0..3 {
        service.clone().oneshot(get("/bills")).await.unwrap();
    }
    assert_eq!(counts.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_varies_by_more_than_the_key_tells_is_not_kept() {
    for (vary, calls) in [("Accept, accept-encoding", 1), ("x-flavour", 2), ("*", 2)] {
        let (probe, counts) = Probe::new(move |_| async move {
            Ok(Response::builder()
                .header("vary", vary)
                .body(Payload::empty())
                .unwrap())
        });
        let service = CacheLayer::new(config()).unwrap().layer(probe);
        for _ in 0..2 {
            service.clone().oneshot(get("/bills")).await.unwrap();
        }
        assert_eq!(counts.calls(), calls, "{vary}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_is_never_answered_from_the_cache_whatever_the_rules_say() {
    #[derive(Debug)]
    struct Everything;
    impl CacheRules for Everything {
        fn read(&self, _: &Request<Payload>) -> Option<ReadRule> {
            Some(ReadRule::default())
        }
        fn entities(&self, _: &Request<Payload>, _: &mut dyn FnMut(&str)) {}
    }
    let rig = rig_with(config(), |layer| layer.with_rules(Arc::new(Everything)));
    for _ in 0..3 {
        rig.ask(post("/payments")).await.unwrap();
    }
    assert_eq!(rig.upstream.number.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn concurrent_reads_of_the_same_ask_the_upstream_once() {
    let rig = rig(config());
    rig.upstream.takes(SECOND);
    let mut tasks = Vec::new();
    for _ in 0..50 {
        tasks.push(rig.asking(get("/bills")).await);
    }
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    assert_eq!(rig.counts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_read_survives_the_caller_who_was_first() {
    let rig = rig(config());
    rig.upstream.takes(SECOND);
    let first = rig.asking(get("/bills")).await;
    let second = rig.asking(get("/bills")).await;
    first.abort();
    assert!(first.await.is_err());
    assert!(second.await.unwrap().is_ok());
    // Even if everybody leaves, the answer is kept.
    let alone = rig.asking(get("/vendors")).await;
    alone.abort();
    tokio::time::sleep(2 * SECOND).await;
    rig.ask(get("/vendors")).await.unwrap();
    assert_eq!(rig.counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_shared_by_all_who_joined_and_by_nobody_after_them() {
    let rig = rig(config());
    rig.upstream.takes(SECOND);
    rig.upstream.answers(RESET);
    let first = rig.asking(get("/bills")).await;
    let second = rig.asking(get("/bills")).await;
    for task in [first, second] {
        let error = task.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::Upstream);
        assert_eq!(error.outcome(), Outcome::NoEffect);
    }
    assert_eq!(rig.counts.calls(), 1);
    rig.upstream.answers(200);
    assert!(rig.ask(get("/bills")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_read_that_panics_leaves_nobody_waiting() {
    let (probe, counts) = Probe::new(|_| async {
        tokio::time::sleep(SECOND).await;
        panic!("a bug below");
    });
    let service = CacheLayer::new(config()).unwrap().layer(probe);
    for _ in 0..2 {
        let error = service.clone().oneshot(get("/bills")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Upstream);
    }
    assert_eq!(counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_user_never_waits_behind_a_bulk_read_but_a_bulk_read_joins_a_users() {
    let rig = rig(config());
    rig.upstream.takes(SECOND);
    let at = |priority| marked(get("/bills"), Context::new().with_priority(priority));
    let bulk = rig.asking(at(Priority::Scheduled)).await;
    let user = rig.asking(at(Priority::UserAction)).await;
    let event = rig.asking(at(Priority::EventTriggered)).await;
    for task in [bulk, user, event] {
        assert!(task.await.unwrap().is_ok());
    }
    assert_eq!(rig.counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn each_caller_has_its_own_deadline() {
    let rig = rig(config());
    rig.upstream.takes(10 * SECOND);
    let soon = Clock::system().now() + SECOND;
    let hasty = rig
        .asking(marked(get("/bills"), Context::new().with_deadline(soon)))
        .await;
    let patient = rig.asking(get("/bills")).await;
    assert_eq!(hasty.await.unwrap().unwrap_err().kind(), Kind::Deadline);
    assert!(patient.await.unwrap().is_ok());
    assert_eq!(rig.counts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shared_read_carries_its_callers_context_without_the_deadline() {
    let seen = Arc::new(Mutex::new(None));
    let seeing = Arc::clone(&seen);
    let (probe, _) = Probe::new(move |request: Request<Payload>| {
        *seeing.lock().unwrap() = Some(Context::of(&request).clone());
        async { Ok(Response::new(Payload::empty())) }
    });
    let service = CacheLayer::new(config()).unwrap().layer(probe);
    let context = Context::new().with_priority(Priority::Scheduled);
    let hasty = context
        .clone()
        .with_deadline(Clock::system().now() + SECOND);
    service.oneshot(marked(get("/bills"), hasty)).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), Some(context));
}

#[tokio::test(start_paused = true)]
async fn reads_beyond_the_limit_are_passed_on() {
    let rig = rig(CacheConfig {
        flights_max: 1,
        ..config()
    });
    rig.upstream.takes(SECOND);
    let first = rig.asking(get("/a")).await;
    let second = rig.asking(get("/b")).await;
    assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
    rig.ask(get("/a")).await.unwrap();
    rig.ask(get("/b")).await.unwrap();
    assert_eq!(rig.counts.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn once_a_write_was_sent_no_answer_from_before_it_is_given() {
    let rig = rig(config());
    assert_eq!(rig.number(get("/bills")).await, "0");
    rig.ask(of("other", get("/bills"))).await.unwrap();
    rig.upstream.takes(10 * SECOND);
    let write = rig.asking(post("/bills")).await;
    // While the write is under way, reads go to the upstream and are not kept.
    let calls = rig.counts.calls();
    rig.upstream.takes(Duration::ZERO);
    rig.ask(get("/bills")).await.unwrap();
    rig.ask(get("/bills")).await.unwrap();
    assert_eq!(rig.counts.calls(), calls + 2);
    write.await.unwrap().unwrap();
    assert_eq!(rig.number(get("/bills")).await, "1");
    assert_eq!(rig.counts.calls(), calls + 3);
    // Kept again; and the other tenant's answer was never in doubt.
    rig.ask(get("/bills")).await.unwrap();
    rig.ask(of("other", get("/bills"))).await.unwrap();
    assert_eq!(rig.counts.calls(), calls + 3);
}

#[tokio::test(start_paused = true)]
async fn a_read_begun_before_a_write_is_neither_kept_nor_joined_after_it() {
    let rig = rig(config());
    rig.upstream.takes(10 * SECOND);
    let before = rig.asking(get("/bills")).await;
    rig.upstream.takes(SECOND);
    rig.ask(post("/bills")).await.unwrap();
    let after = rig.asking(get("/bills")).await;
    assert_eq!(text(&before.await.unwrap().unwrap()), "0");
    assert_eq!(text(&after.await.unwrap().unwrap()), "1");
    assert_eq!(rig.number(get("/bills")).await, "1");
}

#[tokio::test(start_paused = true)]
async fn reads_within_the_upstreams_read_lag_are_not_kept() {
    let rig = rig(CacheConfig {
        read_lag: 5 * SECOND,
        ..config()
    });
    rig.ask(post("/bills")).await.unwrap();
    tokio::time::sleep(4 * SECOND).await;
    rig.ask(get("/bills")).await.unwrap();
    rig.ask(get("/bills")).await.unwrap();
    assert_eq!(rig.counts.calls(), 3);
    tokio::time::sleep(SECOND).await;
    rig.ask(get("/bills")).await.unwrap();
    rig.ask(get("/bills")).await.unwrap();
    assert_eq!(rig.counts.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn after_a_write_in_doubt_nothing_is_kept_for_the_settle_window() {
    for dropped in [true, false] {
        let rig = rig(config());
        rig.upstream.takes(SECOND);
        if dropped {
            let write = rig.asking(post("/bills")).await;
            write.abort();
            assert!(write.await.is_err());
        } else {
            rig.upstream.answers(RESET);
            assert!(rig.ask(post("/bills")).await.is_err());
            rig.upstream.answers(200);
        }
        tokio::time::sleep(298 * SECOND).await;
        rig.ask(get("/bills")).await.unwrap();
        let calls = rig.counts.calls();
        rig.ask(get("/bills")).await.unwrap();
        assert_eq!(rig.counts.calls(), calls + 1);
        tokio::time::sleep(2 * SECOND).await;
        rig.ask(get("/bills")).await.unwrap();
        rig.ask(get("/bills")).await.unwrap();
        assert_eq!(rig.counts.calls(), calls + 2);
    }
}

#[derive(Debug)]
struct FirstSegment;

impl CacheRules for FirstSegment {
    fn read(&self, request: &Request<Payload>) -> Option<ReadRule> {
        GetRules.read(request).map(|_| ReadRule {
            ttl: request.uri().path().contains("live").then_some(SECOND),
        })
    }
    fn entities(&self, request: &Request<Payload>, touch: &mut dyn FnMut(&str)) {
        match request.uri().path().split('/').nth(1) {
            Some("batch") | None => {}
            Some(entity) => touch(entity),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_invalidates_what_it_touches_and_one_that_names_nothing_everything() {
    let rig = rig_with(config(), |layer| layer.with_rules(Arc::new(FirstSegment)));
    rig.ask(get("/bills/1")).await.unwrap();
    rig.ask(get("/vendors/1")).await.unwrap();
    rig.ask(post("/bills/2")).await.unwrap();
    rig.ask(get("/vendors/1")).await.unwrap();
    assert_eq!(rig.counts.calls(), 3);
    assert_eq!(rig.number(get("/bills/1")).await, "1");
    assert_eq!(rig.counts.calls(), 4);
    rig.ask(post("/batch")).await.unwrap();
    assert_eq!(rig.number(get("/bills/1")).await, "2");
    assert_eq!(rig.number(get("/vendors/1")).await, "2");
}

#[tokio::test(start_paused = true)]
async fn the_rules_may_shorten_the_time_to_live() {
    let rig = rig_with(config(), |layer| layer.with_rules(Arc::new(FirstSegment)));
    rig.ask(get("/bills/live")).await.unwrap();
    tokio::time::sleep(SECOND).await;
    rig.ask(get("/bills/live")).await.unwrap();
    assert_eq!(rig.counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_older_answer_stands_in_for_a_failure_within_its_bound_and_not_past_it() {
    for status in [RESET, 500, 503, 429] {
        let rig = rig(config());
        rig.ask(get("/bills")).await.unwrap();
        rig.upstream.answers(status);
        tokio::time::sleep(23 * HOUR).await;
        let answer = rig.ask(get("/bills")).await.unwrap();
        assert_eq!(
            answer.body().served_from(),
            ServedFrom::StaleCache { age: 23 * HOUR }
        );
        assert_eq!(answer.status(), StatusCode::OK);
        tokio::time::sleep(HOUR).await;
        let answer = rig.ask(get("/bills")).await;
        assert!(answer.is_err() || answer.unwrap().status() != StatusCode::OK);
        assert_eq!(rig.counts.calls(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_and_ends_what_was_kept() {
    let rig = rig(config());
    rig.ask(get("/bills")).await.unwrap();
    tokio::time::sleep(5 * HOUR).await;
    rig.upstream.answers(404);
    assert_eq!(rig.ask(get("/bills")).await.unwrap().status(), 404);
    rig.upstream.answers(503);
    assert_eq!(rig.ask(get("/bills")).await.unwrap().status(), 503);
}

#[tokio::test(start_paused = true)]
async fn an_older_answer_stands_in_for_a_slow_one_which_still_renews_it() {
    let rig = rig(CacheConfig {
        slow_after: Some(SECOND / 4),
        ..config()
    });
    rig.ask(get("/bills")).await.unwrap();
    tokio::time::sleep(5 * HOUR).await;
    rig.upstream.number.store(7, SeqCst);
    rig.upstream.takes(10 * SECOND);
    let start = Clock::system().now();
    let answer = rig.ask(get("/bills")).await.unwrap();
    assert!(stale(&answer));
    assert_eq!(Clock::system().now() - start, SECOND / 4);
    tokio::time::sleep(10 * SECOND).await;
    let answer = rig.ask(get("/bills")).await.unwrap();
    assert_eq!(
        (text(&answer).as_str(), stale(&answer), rig.counts.calls()),
        ("7", false, 2)
    );
    // Background work waits for the truth.
    tokio::time::sleep(5 * HOUR).await;
    let bulk = Context::new().with_priority(Priority::Scheduled);
    assert!(!stale(&rig.ask(marked(get("/bills"), bulk)).await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_before_a_write_stands_in_only_by_name() {
    let rig = rig(config());
    rig.ask(get("/bills")).await.unwrap();
    rig.ask(post("/bills")).await.unwrap();
    rig.upstream.answers(503);
    assert_eq!(rig.ask(get("/bills")).await.unwrap().status(), 503);
    let mut by_name = get("/bills");
    by_name.extensions_mut().insert(AllowInvalidated);
    let answer = rig.ask(by_name).await.unwrap();
    assert!(stale(&answer) && text(&answer) == "0");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_begins_while_a_read_is_awaited_keeps_the_older_answer_from_standing_in() {
    let rig = rig(config());
    rig.ask(get("/bills")).await.unwrap();
    tokio::time::sleep(5 * HOUR).await;
    rig.upstream.takes(10 * SECOND);
    rig.upstream.answers(503);
    let read = rig.asking(get("/bills")).await;
    rig.upstream.answers(200);
    let write = rig.asking(post("/bills")).await;
    assert_eq!(read.await.unwrap().unwrap().status(), 503);
    write.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_store_goes_around_and_no_cache_renews() {
    let rig = rig(config());
    rig.ask(get("/bills")).await.unwrap();
    rig.upstream.number.store(7, SeqCst);
    let asking = |directive| with_header(get("/bills"), "cache-control", directive);
    assert_eq!(rig.number(asking("no-store")).await, "7");
    assert_eq!(rig.number(get("/bills")).await, "0");
    assert_eq!(rig.number(asking("no-cache")).await, "7");
    assert_eq!(rig.number(get("/bills")).await, "7");
    assert_eq!(rig.counts.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn jobs_beside_the_stack_look_up_keep_and_invalidate() {
    let rig = rig(config());
    let handle = rig.layer.handle();
    assert!(handle.get(&get("/bills")).is_none());
    let fill = handle.begin(&get("/bills")).unwrap();
    assert!(handle.put(&fill, Response::new(Payload::from("9"))));
    assert_eq!(rig.number(get("/bills")).await, "9");
    assert_eq!(text(&handle.get(&get("/bills")).unwrap()), "9");
    assert_eq!(rig.counts.calls(), 0);
    assert!(handle.len() == 1 && handle.weight() > 0);
    // What was fetched before an invalidation is not kept after it.
    let fill = handle.begin(&get("/bills")).unwrap();
    handle.invalidate_tenant("");
    assert!(!handle.put(&fill, Response::new(Payload::from("9"))));
    assert!(handle.get(&get("/bills")).is_none());
    // Neither is a failure, nor anything that is no read.
    let fill = handle.begin(&get("/bills")).unwrap();
    let mut failure = Response::new(Payload::empty());
    *failure.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    assert!(!handle.put(&fill, failure));
    assert!(handle.begin(&post("/bills")).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_entity_can_be_invalidated_from_outside() {
    let rig = rig_with(config(), |layer| layer.with_rules(Arc::new(FirstSegment)));
    rig.ask(get("/bills/1")).await.unwrap();
    rig.ask(get("/vendors/1")).await.unwrap();
    rig.layer.handle().invalidate("", "bills");
    rig.ask(get("/bills/1")).await.unwrap();
    rig.ask(get("/vendors/1")).await.unwrap();
    assert_eq!(rig.counts.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_what_is_kept() {
    let rig = rig(config());
    rig.ask(get("/bills")).await.unwrap();
    let (other, counts) = Probe::ok();
    let answer = rig.layer.layer(other).oneshot(get("/bills")).await.unwrap();
    assert_eq!((text(&answer).as_str(), counts.calls()), ("0", 0));
}

#[tokio::test(start_paused = true)]
async fn who_joins_holds_no_readied_service() {
    let mut rig = rig(config());
    rig.upstream.takes(SECOND);
    let first = rig.asking(get("/bills")).await;
    let second = rig.service.ready().await.unwrap().call(get("/bills"));
    assert_eq!(rig.counts.readied(), 0);
    assert!(second.await.is_ok() && first.await.unwrap().is_ok());
    assert_eq!(rig.counts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_service_can_be_used_for_hits_misses_and_writes_in_turn() {
    let mut rig = rig(config());
    for request in [
        get("/a"),
        get("/a"),
        post("/a"),
        get("/a"),
        with_header(get("/a"), "range", "bytes=0-1"),
        get("/b"),
    ] {
        let answer = rig.service.ready().await.unwrap().call(request);
        assert!(answer.await.is_ok());
    }
    assert_eq!(rig.counts.calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn hits_and_joins_are_told_with_tenant_and_age() {
    #[derive(Debug, Default)]
    struct Log(Mutex<Vec<String>>);
    impl Observer for Log {
        fn observe(&self, event: &Event<'_>) {
            let what = match event.decision {
                Decision::CacheHit { age, stale } => format!("{age:?} {stale}"),
                other => other.name().to_owned(),
            };
            self.0
                .lock()
                .unwrap()
                .push(format!("{}: {what}", event.tenant));
        }
    }
    let log = Arc::new(Log::default());
    let rig = rig_with(config(), |layer| layer.with_observer(Arc::clone(&log) as _));
    rig.upstream.takes(SECOND);
    let first = rig.asking(of("acme", get("/bills"))).await;
    rig.ask(of("acme", get("/bills"))).await.unwrap();
    first.await.unwrap().unwrap();
    rig.ask(of("acme", get("/bills"))).await.unwrap();
    tokio::time::sleep(5 * HOUR).await;
    rig.upstream.answers(503);
    rig.ask(of("acme", get("/bills"))).await.unwrap();
    assert_eq!(
        *log.0.lock().unwrap(),
        ["acme: joined", "acme: 1s false", "acme: 18002s true"]
    );
}

/// One random day: reads and writes at random times, taking random times. Returns, of each read, what it was told and the
/// least it had to be told: the number as it was at the last begin or end of a write before it asked.
async fn random_day(steps: Vec<(u64, bool, u64)>) -> Vec<(u64, u64)> {
    let rig = Arc::new(rig(config()));
    let floor = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for (pause, is_write, latency) in steps {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let (rig, floor) = (Arc::clone(&rig), Arc::clone(&floor));
        tasks.push(tokio::spawn(async move {
            rig.upstream.takes(Duration::from_millis(latency));
            let mark = || floor.store(rig.upstream.number.load(SeqCst), SeqCst);
            if is_write {
                mark();
                rig.ask(post("/n")).await.unwrap();
                mark();
                None
            } else {
                let least = floor.load(SeqCst);
                Some((rig.number(get("/n")).await.parse().unwrap(), least))
            }
        }));
    }
    let mut reads = Vec::new();
    for task in tasks {
        reads.extend(task.await.unwrap());
    }
    reads
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_read_is_told_less_than_what_was_true_when_a_write_last_began_or_ended(
        steps in prop::collection::vec((0_u64..30, prop::bool::weighted(0.3), 0_u64..100), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        for (told, least) in runtime.block_on(random_day(steps)) {
            prop_assert!(told >= least, "told {told}, though {least} was true before it asked");
        }
    }
}
