//! Facts about `idempotency`, alone and over the gate.

use super::probe::Probe;
use http::{Request, Response};
use std::sync::Arc;
use std::time::Duration;
use tower::{Layer, ServiceExt};
use tower_sturdy::BoxError;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::error::Kind;
use tower_sturdy::event::Tracing;
use tower_sturdy::idempotency::{IdempotencyConfig, IdempotencyLayer};
use tower_sturdy::journal::{Book, BookConfig, MemoryJournal};
use tower_sturdy::payload::{Payload, ServedFrom};
use tower_sturdy::random::Random;

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
