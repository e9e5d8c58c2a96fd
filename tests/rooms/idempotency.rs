//! Facts about `idempotency`, alone and over the gate.

use super::house::{
    Does, KEYED, Plan, count, faulty, kind, millis, on_record, pay_within, seconds, state, upstream,
};
use super::probe::Probe;
use http::{Request, Response};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt};
use tower_sturdy::BoxError;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::context::{Context, Priority, Tenant};
use tower_sturdy::error::{Error, Kind};
use tower_sturdy::event::Tracing;
use tower_sturdy::idempotency::{IdempotencyConfig, IdempotencyLayer, KeyHeader, Writes};
use tower_sturdy::journal::{Book, BookConfig, Capability, MemoryJournal, State};
use tower_sturdy::outcome::Outcome;
use tower_sturdy::payload::{Payload, ServedFrom};
use tower_sturdy::random::Random;
use tower_sturdy::reconcile::NoHooks;

fn book(journal: &MemoryJournal) -> Book {
    let clock = Clock::anchored(Timestamp::from_millis(1_000_000));
    Book::new(
        Arc::new(journal.clone()),
        BookConfig::default(),
        clock,
        Random::seeded(1),
        Arc::new(Tracing),
    )
    .unwrap()
}

fn pay(key: &str, body: &'static str) -> Request<Payload> {
    Request::post("http://upstream/pay")
        .header("idempotency-key", key)
        .body(Payload::from(body))
        .unwrap()
}

fn slow() -> (Probe, Arc<super::probe::Counts>) {
    Probe::new(|_| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(Response::new(Payload::from("paid")))
    })
}

#[tokio::test(start_paused = true)]
async fn concurrent_duplicates_join_one_send_and_get_one_answer() {
    let (probe, counts) = slow();
    let book = book(&MemoryJournal::new());
    let service = IdempotencyLayer::new(IdempotencyConfig::default(), book)
        .unwrap()
        .layer(probe);
    let calls = (0..5).map(|_| tokio::spawn(service.clone().oneshot(pay("a", "{}"))));
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().unwrap().body().bytes(), "paid");
    }
    assert_eq!(counts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_without_patience_learns_the_operation_and_can_ask_later() {
    let (probe, counts) = slow();
    let book = book(&MemoryJournal::new());
    let config = IdempotencyConfig {
        patience: Duration::from_millis(10),
        ..IdempotencyConfig::default()
    };
    let service = IdempotencyLayer::new(config, book.clone())
        .unwrap()
        .layer(probe);
    let error = service.clone().oneshot(pay("a", "{}")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Pending);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let answer = service.oneshot(pay("a", "{}")).await.unwrap();
    assert!(matches!(
        answer.body().served_from(),
        ServedFrom::Replay { .. }
    ));
    assert_eq!(answer.body().operation(), error.operation());
    assert_eq!(counts.calls(), 1);
    assert_eq!(book.live(), 0, "nothing stays in the book");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_used_for_another_request_is_refused_while_it_runs_and_after() {
    let (probe, counts) = slow();
    let book = book(&MemoryJournal::new());
    let service = IdempotencyLayer::new(IdempotencyConfig::default(), book)
        .unwrap()
        .layer(probe);
    let first = tokio::spawn(service.clone().oneshot(pay("a", "{\"amount\":1}")));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let other = service
        .clone()
        .oneshot(pay("a", "{\"amount\":2}"))
        .await
        .unwrap_err();
    assert_eq!(other.kind(), Kind::KeyReused);
    first.await.unwrap().unwrap();
    let after = service
        .oneshot(pay("a", "{\"amount\":2}"))
        .await
        .unwrap_err();
    assert_eq!(after.kind(), Kind::KeyReused);
    assert_eq!(counts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_doubt_and_the_key_is_never_sent_again_by_a_caller() {
    let (probe, counts) = Probe::new(|_| async { Err::<_, BoxError>("reset".into()) });
    let book = book(&MemoryJournal::new());
    let service = IdempotencyLayer::new(IdempotencyConfig::default(), book)
        .unwrap()
        .layer(probe);
    for _ in 0..3 {
        let error = service.clone().oneshot(pay("a", "{}")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::OutcomeUnknown);
    }
    assert_eq!(counts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_caller_does_not_lose_the_write() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Slowly(200, seconds(2))]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    let call = tokio::spawn(house.service.clone().oneshot(pay("a", "{}")));
    tokio::time::sleep(millis(100)).await;
    call.abort();
    tokio::time::sleep(seconds(3)).await;
    assert_eq!(state(journal.inner(), "a").await, State::Completed);
    assert_eq!((counts.calls(), house.book.live()), (1, 0));

    // Also one that was never polled.
    drop(
        house
            .service
            .clone()
            .ready()
            .await
            .unwrap()
            .call(pay("b", "{}")),
    );
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(state(journal.inner(), "b").await, State::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_did_nothing_is_told_so_and_the_same_key_starts_again() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Answers(429)]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    house.reconciler.start();
    let refused = house.service.clone().oneshot(pay("a", "{}")).await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.body().verdict().unwrap().outcome, Outcome::NoEffect);
    let record = on_record(journal.inner(), "a").await.unwrap();
    assert_eq!((record.state(), record.progress.due), (State::Ready, None));
    // Whoever was told so may go away: nothing is sent behind its back.
    tokio::time::sleep(seconds(10_000)).await;
    assert_eq!(counts.calls(), 1);
    let paid = house.service.clone().oneshot(pay("a", "{}")).await.unwrap();
    assert_eq!(paid.status(), 200);
    assert_eq!(paid.body().operation(), Some(record.id()));
    assert_eq!(counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_did_nothing_after_its_caller_left_is_sent_again_by_the_worker() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Slowly(429, seconds(1))]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    house.reconciler.start();
    assert_eq!(
        kind(house.service.clone().oneshot(pay("a", "{}")).await),
        Kind::Pending
    );
    tokio::time::sleep(seconds(30)).await;
    assert_eq!(state(journal.inner(), "a").await, State::Completed);
    assert_eq!(counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_one_caller_was_promised_holds_though_another_starts_it_again_in_vain() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Slowly(429, seconds(1)), Does::Answers(429)]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    assert_eq!(
        kind(house.service.clone().oneshot(pay("a", "{}")).await),
        Kind::Pending
    );
    tokio::time::sleep(seconds(2)).await;
    assert_eq!(
        kind(house.service.clone().oneshot(pay("a", "{}")).await),
        Kind::Pending
    );
    house.reconciler.start();
    tokio::time::sleep(seconds(60)).await;
    assert_eq!(state(journal.inner(), "a").await, State::Completed);
    assert_eq!(counts.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn each_joined_caller_waits_with_its_own_patience() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Slowly(200, seconds(2))]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    let started = Clock::system().now();
    let patient = tokio::spawn(house.service.clone().oneshot(pay_within("a", seconds(5))));
    tokio::time::sleep(millis(100)).await;
    assert_eq!(
        kind(house.service.clone().oneshot(pay("a", "{}")).await),
        Kind::Pending
    );
    assert_eq!(started.elapsed(), millis(400));
    assert_eq!(patient.await.unwrap().unwrap().body().bytes(), "paid");
    assert_eq!(counts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_bounds_the_wait_and_one_that_is_over_sends_nothing() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Slowly(200, seconds(2))]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    let started = Clock::system().now();
    let by = |deadline| {
        let mut request = pay("a", "{}");
        request
            .extensions_mut()
            .insert(Context::new().with_deadline(deadline));
        request
    };
    let first = house
        .service
        .clone()
        .oneshot(by(started + millis(50)))
        .await;
    assert_eq!(
        (kind(first), started.elapsed()),
        (Kind::Pending, millis(50))
    );
    let late = house.service.clone().oneshot(by(started)).await;
    assert_eq!((kind(late), counts.calls()), (Kind::Deadline, 1));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_write_is_refused_and_nothing_is_sent() {
    let journal = faulty();
    let (probe, counts) = upstream([]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    let without = Request::post("http://upstream/pay")
        .body(Payload::from("{}"))
        .unwrap();
    assert_eq!(
        kind(house.service.clone().oneshot(without).await),
        Kind::KeyRequired
    );
    let long = house
        .service
        .clone()
        .oneshot(pay(&"k".repeat(256), "{}"))
        .await
        .unwrap_err();
    assert_eq!(long.kind(), Kind::Invalid);
    assert!(long.to_string().contains("at most 255"), "{long}");
    let twice = house
        .service
        .clone()
        .oneshot(pay("a", "{\"amount\":1,\"amount\":2}"))
        .await;
    assert_eq!(kind(twice), Kind::Invalid);
    assert_eq!((counts.calls(), count(journal.inner()).await), (0, 0));
}

/// Pays bills: one unresolved payment each.
#[derive(Debug)]
struct Bills(KeyHeader);

impl Writes for Bills {
    fn capability(&self, request: &Request<Payload>) -> Capability {
        self.0.capability(request)
    }

    fn plant(&self, request: &mut Request<Payload>, key: &str) -> Result<(), Error> {
        self.0.plant(request, key)
    }

    fn conflict_key(&self, request: &Request<Payload>) -> Option<String> {
        Some(request.uri().path().to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_key_for_the_same_bill_waits_until_the_first_is_settled() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Slowly(200, seconds(2))]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    let layer = house
        .layer
        .clone()
        .with_writes(Arc::new(Bills(KeyHeader::new())));
    let service = layer.layer(house.inner.clone());
    let first = service.clone().oneshot(pay("a", "{}")).await.unwrap_err();
    let second = service.clone().oneshot(pay("b", "{}")).await.unwrap_err();
    assert_eq!(second.kind(), Kind::InFlight);
    assert_eq!(
        second.operation(),
        first.operation(),
        "it names the one that is under way"
    );
    assert_eq!(counts.calls(), 1);
    tokio::time::sleep(seconds(3)).await;
    // What then happens to the bill is the caller's decision: the promise is per key.
    service.oneshot(pay("b", "{}")).await.unwrap();
    assert_eq!(counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_forgets_refuses_writes_that_only_it_protects_unless_accepted_by_name() {
    for (capability, accept, taken) in [
        (Capability::Lookup, false, false),
        (Capability::None, false, false),
        (Capability::Lookup, true, true),
        (Capability::None, true, true),
        (KEYED, false, true),
    ] {
        let (probe, counts) = upstream([]);
        let config = IdempotencyConfig {
            accept_volatile: accept,
            ..IdempotencyConfig::default()
        };
        let writes = KeyHeader::new().with_capability(capability);
        let layer = IdempotencyLayer::new(config, book(&MemoryJournal::new())).unwrap();
        let service = layer.with_writes(Arc::new(writes)).layer(probe);
        let told = service.oneshot(pay("a", "{}")).await;
        assert_eq!(told.is_ok(), taken, "{capability:?} {accept}");
        assert_eq!(counts.calls(), usize::from(taken));
        if let Err(error) = told {
            assert!(error.to_string().contains("accept_volatile"), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_lets_writes_end_and_takes_no_new_ones() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Slowly(200, seconds(2)), Does::Hangs]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    house.reconciler.start();
    assert_eq!(
        kind(house.service.clone().oneshot(pay("a", "{}")).await),
        Kind::Pending
    );
    let book = house.book.clone();
    let shutdown = tokio::spawn(async move { book.shutdown(seconds(10)).await });
    tokio::time::sleep(millis(10)).await;
    let late = house.service.clone().oneshot(pay("b", "{}")).await;
    assert_eq!(kind(late), Kind::JournalUnavailable);
    assert_eq!(shutdown.await.unwrap(), 0);
    assert_eq!(state(journal.inner(), "a").await, State::Completed);
    assert_eq!(counts.calls(), 1);
    assert!(on_record(journal.inner(), "b").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_panic_below_does_not_wedge_the_key() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Panics]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    house.reconciler.start();
    // What was sent is not known: it is settled like the work of a dead owner.
    assert_eq!(
        kind(house.service.clone().oneshot(pay("a", "{}")).await),
        Kind::Pending
    );
    assert_eq!(
        kind(house.service.clone().oneshot(pay("a", "{}")).await),
        Kind::InFlight
    );
    tokio::time::sleep(seconds(600)).await;
    assert_eq!(state(journal.inner(), "a").await, State::Completed);
    assert_eq!((counts.calls(), house.book.live()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn too_many_live_operations_are_refused_before_anything_is_sent() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Slowly(200, seconds(2))]);
    let mut plan = Plan::new(KEYED);
    plan.config.live_max = 1;
    let house = plan.build(&journal, probe, Arc::new(NoHooks));
    assert_eq!(
        kind(house.service.clone().oneshot(pay("a", "{}")).await),
        Kind::Pending
    );
    let refused = house
        .service
        .clone()
        .oneshot(pay("b", "{}"))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.kind(), refused.outcome()),
        (Kind::RateLimited, Outcome::Unsent)
    );
    assert_eq!((counts.calls(), count(journal.inner()).await), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn without_a_gate_below_the_room_bounds_each_send_itself() {
    let (probe, counts) = upstream([Does::Hangs]);
    let memory = MemoryJournal::new();
    let book = book(&memory);
    let layer = IdempotencyLayer::new(IdempotencyConfig::default(), book).unwrap();
    let service = layer.layer(probe);
    assert_eq!(
        kind(service.clone().oneshot(pay("a", "{}")).await),
        Kind::Pending
    );
    tokio::time::sleep(seconds(131)).await;
    assert_eq!(state(&memory, "a").await, State::Unknown);
    assert_eq!((counts.calls(), counts.in_flight()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_readied_service_is_used_and_readiness_is_forwarded() {
    let (probe, counts) = upstream([]);
    let layer = IdempotencyLayer::new(IdempotencyConfig::default(), book(&MemoryJournal::new()));
    let mut service = layer.unwrap().layer(probe);
    counts.close();
    assert!(tokio_test::task::spawn(service.ready()).poll().is_pending());
    counts.reopen();
    let read = Request::get("http://upstream/bill")
        .body(Payload::empty())
        .unwrap();
    for request in [pay("a", "{}"), read, pay("a", "{}"), pay("b", "{}")] {
        service.ready().await.unwrap().call(request).await.unwrap();
    }
    drop(service);
    assert_eq!((counts.calls(), counts.readied()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_is_missing_below_does_not_open_the_key_again() {
    for does in [Does::Answers(200), Does::Answers(500), Does::Resets] {
        let memory = MemoryJournal::new();
        let (probe, counts) = upstream([does]);
        let layer = IdempotencyLayer::new(IdempotencyConfig::default(), book(&memory));
        // Said, but not so: nothing below puts attempts on record.
        let service = layer.unwrap().with_gate_below().layer(probe);
        for _ in 0..2 {
            let _ = service.clone().oneshot(pay("a", "{}")).await;
        }
        assert_eq!(counts.calls(), 1, "{does:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_killed_before_its_task_began_hangs_nobody_and_leaves_no_page() {
    let journal = faulty();
    let (probe, counts) = upstream([]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    let mut service = house.service.clone();
    let call = service.ready().await.unwrap().call(pay("a", "{}"));
    house.book.kill();
    let told = tokio::time::timeout(seconds(60), call).await;
    assert_eq!(kind(told.expect("an answer")), Kind::InFlight);
    assert_eq!((counts.calls(), house.book.live()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_the_record_proves_is_told_whatever_a_room_between_makes_of_it() {
    let journal = faulty();
    let (probe, counts) = upstream([]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    let inner = house.inner.clone();
    let confused = tower::service_fn(move |request| {
        let inner = inner.clone();
        async move {
            inner.oneshot(request).await?;
            Err::<Response<Payload>, BoxError>("too late for me".into())
        }
    });
    let service = house.layer.layer(confused);
    let answer = service.oneshot(pay("a", "{}")).await.unwrap();
    assert_eq!(answer.body().bytes(), "paid");
    assert_eq!(counts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_value_of_a_header_that_is_not_recorded_reaches_the_record_and_each_reaches_the_upstream()
 {
    let journal = faulty();
    let seen: Arc<Mutex<Vec<http::HeaderMap>>> = Arc::default();
    let saw = Arc::clone(&seen);
    let (probe, _) = Probe::new(move |request: Request<Payload>| {
        saw.lock().unwrap().push(request.headers().clone());
        std::future::ready(Ok(Response::new(Payload::empty())))
    });
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    let mut request = pay("a", "{}");
    // HTTP/2 sends a cookie in several fields.
    for (name, value) in [
        ("cookie", "a=1"),
        ("cookie", "session=secret"),
        ("accept", "text/plain"),
        ("accept", "application/json"),
    ] {
        let name = http::HeaderName::from_static(name);
        let value = http::HeaderValue::from_static(value);
        request.headers_mut().append(name, value);
    }
    house.service.clone().oneshot(request).await.unwrap();
    let record = on_record(journal.inner(), "a").await.unwrap();
    let recorded = format!("{:?}", record.asked.request.headers);
    assert!(!recorded.contains("cookie"), "{recorded}");
    let sent = seen.lock().unwrap().remove(0);
    for (name, count) in [("cookie", 2), ("accept", 2), ("idempotency-key", 1)] {
        assert_eq!(sent.get_all(name).iter().count(), count, "{name}: {sent:?}");
    }
    let again = record.request(http::HeaderMap::new(), Priority::EventTriggered);
    assert_eq!(again.headers().get_all("accept").iter().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_may_wait_for_ever() {
    let journal = faulty();
    let (probe, _) = upstream([Does::Slowly(200, seconds(5))]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    let ask = || {
        let mut request = pay("a", "{}");
        let marker = Context::new().with_patience(Duration::MAX);
        request.extensions_mut().insert(marker);
        house.service.clone().oneshot(request)
    };
    let (first, second) = tokio::join!(ask(), ask());
    assert!(first.is_ok() && second.is_ok());
    let id = on_record(journal.inner(), "a").await.unwrap().id();
    let tenant = Tenant::default();
    let status = house
        .book
        .status_within("default", &tenant, id, Duration::MAX);
    assert_eq!(status.await.unwrap().unwrap().as_str(), "completed");
}

#[test]
fn a_write_on_a_runtime_that_is_gone_hangs_nobody() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    let journal = faulty();
    let (probe, counts) = upstream([]);
    let house = {
        let _within = handle.enter();
        Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks))
    };
    drop(runtime);
    let (told, hears) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _within = handle.enter();
        let other = tokio::runtime::Builder::new_current_thread().build();
        // The caller is polled elsewhere; the operation's own task has nowhere to run.
        let call = house.service.clone().oneshot(pay("a", "{}"));
        let mut call = std::pin::pin!(call);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let poll = std::future::Future::poll(call.as_mut(), &mut cx);
        let _ = told.send((poll.is_ready(), house.book.live()));
        drop(other);
    });
    let heard = hears.recv_timeout(seconds(10));
    assert_eq!((heard, counts.calls()), (Ok((true, 0)), 0));
}
