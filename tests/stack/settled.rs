//! An operation that the worker settles, long after its caller left, makes what was read in between stale too.

use crate::rig::{COMPANY, MINUTE, Rig, SECOND, ask, balance};
use http::{Request, Response};
use std::sync::Arc;
use std::sync::Mutex;
use tower::{Layer, ServiceExt};
use tower_sturdy::BoxError;
use tower_sturdy::idempotency::{IdempotencyConfig, IdempotencyLayer};
use tower_sturdy::journal::{Book, Filter, Journal, MemoryJournal, Record, State};
use tower_sturdy::mock::{Fault, FaultPlan, On};
use tower_sturdy::payload::Payload;
use tower_sturdy::stack::Stack;

#[tokio::test(start_paused = true)]
async fn what_was_read_before_the_worker_resent_a_write_is_not_given_afterwards() {
    let rig = Rig::new();
    let stack = rig.stack();
    rig.mock
        .set_faults(FaultPlan::always(On::Writes, Fault::ResetBefore));
    ask(&stack, rig.pay(1, "rent")).await.unwrap_err();
    // The upstream refuses for longer than the cache holds reads back after a write in doubt.
    rig.mock
        .set_faults(FaultPlan::always(On::Writes, Fault::Refuse503Gateway));
    tokio::time::sleep(8 * MINUTE).await;
    assert!(balance(&stack, 1).await > 0.0);
    let before = rig.sends();
    assert!(balance(&stack, 1).await > 0.0);
    assert_eq!(rig.sends(), before, "the read in between was kept");
    rig.mock.set_faults(FaultPlan::none());
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(rig.mock.history().effects_of("rent").len(), 1);
    assert_eq!(balance(&stack, 1).await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn what_a_new_process_read_before_it_settled_its_predecessors_write_is_not_given_afterwards()
{
    let rig = Rig::new();
    let first = rig.stack();
    rig.mock
        .set_faults(FaultPlan::always(On::Writes, Fault::ResetBefore));
    ask(&first, rig.pay(1, "rent")).await.unwrap_err();
    first.kill();
    rig.mock.set_faults(FaultPlan::none());
    // Its cache never saw the write.
    let second = rig.stack();
    assert!(balance(&second, 1).await > 0.0);
    assert!(rig.mock.history().effects_of("rent").is_empty());
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(rig.mock.history().effects_of("rent").len(), 1);
    assert_eq!(balance(&second, 1).await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn what_a_new_process_read_while_its_predecessors_write_could_still_land_is_not_given_afterwards()
 {
    let rig = Rig::new();
    let first = rig.stack();
    // It lands after two fifths of that.
    let slow = Fault::Delay(30 * SECOND);
    rig.mock.set_faults(FaultPlan::always(On::Writes, slow));
    ask(&first, rig.pay(1, "rent")).await.unwrap_err();
    first.kill();
    let second = rig.stack();
    assert!(balance(&second, 1).await > 0.0);
    tokio::time::sleep(SECOND).await;
    assert!(balance(&second, 1).await > 0.0);
    tokio::time::sleep(14 * SECOND).await;
    assert_eq!(rig.mock.history().effects_of("rent").len(), 1);
    // Nobody has settled it: the dead process's lease still runs.
    let record = only(&rig).await;
    assert_eq!(record.state(), State::Sending);
    assert_eq!(balance(&second, 1).await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn what_a_new_process_read_before_reads_showed_its_predecessors_write_is_not_given_afterwards()
 {
    // Within the lag that the cache expects by default.
    let rig = Rig::with(|config| config.read_lag = 4 * SECOND);
    let first = rig.stack();
    ask(&first, rig.pay(1, "rent")).await.unwrap();
    first.kill();
    let second = rig.stack();
    tokio::time::sleep(SECOND).await;
    assert_eq!(paid_bills(&second).await, 0, "reads lag");
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(paid_bills(&second).await, 1);
}

/// How many bills are paid, as a query says.
async fn paid_bills(stack: &Stack) -> u64 {
    let query = "select%20count(*)%20from%20Bill%20where%20Balance%20=%20'0'";
    let request = Request::get(format!("{COMPANY}/query?query={query}&minorversion=75"))
        .body(Payload::empty())
        .unwrap();
    let answer = ask(stack, request).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(answer.body().bytes()).unwrap();
    body["QueryResponse"]["totalCount"].as_u64().unwrap()
}

/// The one record of the journal.
async fn only(rig: &Rig) -> Record {
    let mut records = rig.journal.list(&Filter::default()).await.unwrap();
    assert_eq!(records.len(), 1);
    records.remove(0)
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_operation_is_told_once_and_a_replay_tells_nothing() {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&ends);
    let book = Book::open(Arc::new(MemoryJournal::new()))
        .unwrap()
        .with_settled(move |record| heard.lock().unwrap().push(record.state()));
    let upstream = tower::service_fn(|request: Request<Payload>| async move {
        let mut answer = Response::new(Payload::from("done"));
        if request.uri().path() == "/refused" {
            *answer.status_mut() = http::StatusCode::UNPROCESSABLE_ENTITY;
        }
        Ok::<_, BoxError>(answer)
    });
    let layer = IdempotencyLayer::new(IdempotencyConfig::default(), book).unwrap();
    let service = layer.layer(upstream);
    for (path, key) in [
        ("/done", "a"),
        ("/done", "a"),
        ("/refused", "b"),
        ("/refused", "b"),
    ] {
        let request = Request::post(format!("https://upstream.example{path}"))
            .header("idempotency-key", key)
            .body(Payload::empty())
            .unwrap();
        service.clone().oneshot(request).await.unwrap();
    }
    assert_eq!(*ends.lock().unwrap(), [State::Completed, State::Rejected]);
}
