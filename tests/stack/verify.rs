//! Every completed write is read back, once, and what differs is drift.

use crate::rig::{MINUTE, Rig, SECOND, ask};
use http::Request;
use serde_json::Value;
use tower::ServiceExt;
use tower_sturdy::mock::bodies;
use tower_sturdy::payload::Payload;
use tower_sturdy::qbo::Qbo;

#[tokio::test(start_paused = true)]
async fn a_completed_write_is_read_back_once() {
    let rig = Rig::new();
    let stack = rig.preset(Qbo::default()).build().unwrap();
    ask(&stack, rig.pay(1, "rent")).await.unwrap();
    tokio::time::sleep(20 * MINUTE).await;
    let history = rig.mock.history();
    let reads = history.sends().iter().filter(|send| !send.write).count();
    assert_eq!(reads, 1);
    assert!(stack.reconciler().figures().drift_ratio() < f64::EPSILON);
}

#[tokio::test(start_paused = true)]
async fn what_was_voided_behind_our_back_is_told_as_drift() {
    let rig = Rig::new();
    let stack = rig.preset(Qbo::default()).build().unwrap();
    let paid = ask(&stack, rig.pay(1, "rent")).await.unwrap();
    ask(&stack, rig.pay(2, "power")).await.unwrap();
    let paid: Value = serde_json::from_slice(paid.body().bytes()).unwrap();
    let payment = &paid["BillPayment"];
    let handle = bodies::handle(
        payment["Id"].as_str().unwrap(),
        payment["SyncToken"].as_str().unwrap(),
    );
    let url =
        "https://quickbooks.api.intuit.com/v3/company/1/billpayment?operation=update&include=void";
    let void = Request::post(url)
        .header("content-type", "application/json")
        .body(Payload::from(handle.to_string()))
        .unwrap();
    // Somebody else's client: it does not pass the stack.
    let voided = rig.mock.clone().oneshot(void).await.unwrap();
    assert!(voided.status().is_success());
    tokio::time::sleep(60 * SECOND).await;
    let ratio = stack.reconciler().figures().drift_ratio();
    assert!((ratio - 0.5).abs() < f64::EPSILON, "{ratio}");
}
