//! Facts about `attempt`.

use super::house::{
    Does, KEYED, Plan, faulty, faulty_over, millis, on_record, pay, pay_within, seconds, state,
    upstream,
};
use super::probe::Probe;
use http::{Request, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;
use tower::{Layer, Service, ServiceExt};
use tower_sturdy::BoxError;
use tower_sturdy::attempt::{AttemptConfig, AttemptLayer};
use tower_sturdy::classify::{Classify, HttpClassify, Route};
use tower_sturdy::clock::Clock;
use tower_sturdy::context::OperationId;
use tower_sturdy::error::{Error, Kind, NotSent, TimedOut};
use tower_sturdy::journal::faulty::{Call, Fault};
use tower_sturdy::journal::{Capability, MemoryJournal, State};
use tower_sturdy::outcome::{Advice, Outcome, Verdict};
use tower_sturdy::payload::Payload;
use tower_sturdy::reconcile::NoHooks;

/// Counts how often it is asked.
#[derive(Debug, Default)]
struct Counting {
    http: HttpClassify,
    judged: AtomicUsize,
}

impl Classify for Counting {
    fn route(&self, request: &Request<Payload>) -> Route {
        self.http.route(request)
    }

    fn answer(&self, route: Route, answer: &Response<Payload>, wall: SystemTime) -> Verdict {
        self.judged.fetch_add(1, Ordering::SeqCst);
        self.http.answer(route, answer, wall)
    }

    fn error(&self, route: Route, error: &(dyn std::error::Error + 'static)) -> Verdict {
        self.judged.fetch_add(1, Ordering::SeqCst);
        self.http.error(route, error)
    }
}

fn gate() -> AttemptLayer {
    AttemptLayer::new(AttemptConfig::default()).unwrap()
}

fn write() -> Request<Payload> {
    Request::post("http://upstream/pay")
        .body(Payload::from("{}"))
        .unwrap()
}

fn read() -> Request<Payload> {
    Request::get("http://upstream/bill")
        .body(Payload::empty())
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_judged_once_and_the_verdict_travels_in_it() {
    let classify = Arc::new(Counting::default());
    let (probe, _) = upstream([Does::Answers(200), Does::Answers(500), Does::Resets]);
    let service = gate().with_classify(classify.clone()).layer(probe);
    let good = service.clone().oneshot(write()).await.unwrap();
    assert_eq!(good.body().verdict().unwrap(), Verdict::APPLIED.cacheable());
    let bad = service.clone().oneshot(write()).await.unwrap();
    assert_eq!(bad.body().verdict().unwrap().outcome, Outcome::Unknown);
    let reset = service.oneshot(write()).await.unwrap_err();
    assert_eq!(
        (reset.kind(), reset.verdict()),
        (Kind::Upstream, Verdict::OPEN)
    );
    assert_eq!(classify.judged.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_takes_too_long_is_open_doubt_and_a_read_had_no_effect() {
    let (probe, counts) = upstream([Does::Hangs, Does::Hangs]);
    let config = AttemptConfig::default();
    let service = gate().layer(probe);
    let started = Clock::system().now();
    let written = service.clone().oneshot(write()).await.unwrap_err();
    assert_eq!(started.elapsed(), config.write_timeout);
    assert_eq!(
        (written.outcome(), written.verdict().closed),
        (Outcome::Unknown, false)
    );
    let Error::Upstream(upstream) = &written else {
        panic!("{written:?}")
    };
    assert!(upstream.source.is::<TimedOut>());
    let read = service.oneshot(read()).await.unwrap_err();
    assert_eq!(
        started.elapsed(),
        config.write_timeout + config.read_timeout
    );
    assert_eq!(read.outcome(), Outcome::NoEffect);
    assert_eq!(counts.in_flight(), 0, "what took too long is given up");
}

#[tokio::test(start_paused = true)]
async fn what_the_transport_never_sent_is_unsent_however_deep_it_says_so() {
    let deep: [fn() -> BoxError; 3] = [
        || Box::new(NotSent("no route".into())),
        || Box::new(std::io::Error::other(NotSent("no route".into()))),
        || {
            Box::new(Error::from_inner(std::io::Error::other(NotSent(
                "no route".into(),
            ))))
        },
    ];
    for make in deep {
        let (probe, _) = Probe::new(move |_| async move { Err::<_, BoxError>(make()) });
        let error = gate().layer(probe).oneshot(write()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.verdict()),
            (Kind::Upstream, Verdict::UNSENT)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_on_record_before_it_leaves_and_its_end_after() {
    for capability in [KEYED, Capability::Lookup, Capability::None] {
        let memory = MemoryJournal::new();
        let journal = faulty_over(&memory);
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let (probe, _) = Probe::new(move |_| {
            let (log, memory) = (Arc::clone(&log), memory.clone());
            async move {
                let record = on_record(&memory, "a").await.unwrap();
                log.lock()
                    .unwrap()
                    .push((record.state(), record.progress.attempts.len()));
                Ok(Response::new(Payload::from("paid")))
            }
        });
        let house = Plan::new(capability).build(&journal, probe, Arc::new(NoHooks));
        house.service.clone().oneshot(pay("a")).await.unwrap();
        // A keyed write is durable as "sending" from its claim; the others step to it with the attempt itself.
        let attempts = usize::from(!matches!(capability, Capability::Keyed { .. }));
        assert_eq!(*seen.lock().unwrap(), [(State::Sending, attempts)]);
        tokio::time::sleep(millis(1)).await;
        let record = on_record(journal.inner(), "a").await.unwrap();
        assert_eq!(record.state(), State::Completed);
        assert_eq!(record.progress.attempts.len(), 1);
        assert_eq!(record.outcome(), Outcome::Applied);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unkeyed_write_waits_for_its_step_and_its_end_is_on_record_before_its_answer() {
    let journal = faulty();
    let (probe, counts) = upstream([]);
    let house = Plan::new(Capability::Lookup).build(&journal, probe, Arc::new(NoHooks));
    journal.next(
        Call::Step,
        [Fault::MakesAfter(seconds(1)), Fault::MakesAfter(seconds(1))],
    );
    let call = tokio::spawn(house.service.clone().oneshot(pay_within("a", seconds(5))));
    tokio::time::sleep(millis(999)).await;
    assert_eq!(counts.calls(), 0);
    tokio::time::sleep(millis(2)).await;
    assert_eq!(counts.calls(), 1);
    call.await.unwrap().unwrap();
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(state(journal.inner(), "a").await, State::Completed);
}

/// Sends the same attempt once more through the gate, as a careless room between would.
async fn again(does: Does, capability: Capability) -> (Result<Response<Payload>, Error>, usize) {
    let journal = faulty();
    let (probe, counts) = upstream([does]);
    let house = Plan::new(capability).build(&journal, probe, Arc::new(NoHooks));
    let (inner, second) = (house.inner.clone(), Arc::new(std::sync::Mutex::new(None)));
    let told = Arc::clone(&second);
    let careless = tower::service_fn(move |request: Request<Payload>| {
        let (inner, told) = (inner.clone(), Arc::clone(&told));
        async move {
            let first = inner.clone().oneshot(request.clone()).await;
            *told.lock().unwrap() = Some(inner.oneshot(request).await);
            first
        }
    });
    let service = house.layer.layer(careless);
    let _ = service.oneshot(pay_within("a", seconds(500))).await;
    let second = second.lock().unwrap().take().unwrap();
    (second, counts.calls())
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_after_proof_or_refusal_or_while_an_attempt_is_open() {
    for (does, word) in [
        (Does::Answers(200), "settled"),
        (Does::Answers(400), "settled"),
        (Does::Resets, "may still be running"),
        (Does::Hangs, "may still be running"),
    ] {
        for capability in [KEYED, Capability::Lookup] {
            let (second, sends) = again(does, capability).await;
            let error = second.unwrap_err();
            assert_eq!(sends, 1, "{does:?}");
            assert_eq!(
                (error.outcome(), error.verdict().advice),
                (Outcome::Unsent, Advice::Stop)
            );
            let why = std::error::Error::source(&error).unwrap().to_string();
            assert!(why.contains(word), "{does:?}: {why}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_that_proves_nothing_lets_a_keyed_write_go_again_and_no_other() {
    let (second, sends) = again(Does::Answers(500), KEYED).await;
    assert_eq!((second.unwrap().status().as_u16(), sends), (200, 2));
    for capability in [Capability::Lookup, Capability::None] {
        let (second, sends) = again(Does::Answers(500), capability).await;
        assert_eq!((second.unwrap_err().outcome(), sends), (Outcome::Unsent, 1));
    }
    // What provably did nothing may leave again where a look-up protects it, but not where nothing does.
    let (second, sends) = again(Does::Answers(429), Capability::Lookup).await;
    assert_eq!((second.unwrap().status().as_u16(), sends), (200, 2));
    let (second, sends) = again(Does::Answers(429), Capability::None).await;
    assert_eq!((second.unwrap_err().outcome(), sends), (Outcome::Unsent, 1));
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_this_process_does_not_hold_is_withheld() {
    let journal = faulty();
    let (probe, counts) = upstream([]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    let stray = Payload::from("{}").with_operation(OperationId::from_bits(7));
    let request = write().map(|_| stray);
    let error = house.inner.oneshot(request).await.unwrap_err();
    assert_eq!((error.outcome(), counts.calls()), (Outcome::Unsent, 0));
}

#[tokio::test(start_paused = true)]
async fn readiness_is_forwarded_and_the_readied_service_is_called() {
    let journal = faulty();
    let (probe, counts) = upstream([]);
    let mut plain = gate().layer(probe);
    counts.close();
    assert!(tokio_test::task::spawn(plain.ready()).poll().is_pending());
    counts.reopen();
    for _ in 0..3 {
        plain.ready().await.unwrap().call(write()).await.unwrap();
    }
    assert_eq!((counts.calls(), counts.readied()), (3, 0));

    let (probe, counts) = upstream([]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    house.service.clone().oneshot(pay("a")).await.unwrap();
    tokio::time::sleep(millis(1)).await;
    assert_eq!((counts.calls(), counts.readied()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_nothing_is_refused_with_the_fix() {
    let config = AttemptConfig {
        write_timeout: seconds(0),
        ..AttemptConfig::default()
    };
    let error = AttemptLayer::new(config).unwrap_err().to_string();
    assert!(
        error.contains("attempt.write_timeout") && error.contains("130 s"),
        "{error}"
    );
}
