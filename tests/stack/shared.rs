//! Every clone of a stack shares its quotas, its book and its cache; and the end of a stack loses nothing.

use crate::rig::{MINUTE, Rig, SECOND, ask, balance};
use tokio::task::JoinSet;
use tower_sturdy::error::Kind;
use tower_sturdy::mock::{Fault, FaultPlan, On};
use tower_sturdy::rate_limit::Quota;

#[tokio::test(start_paused = true)]
async fn fifty_clones_share_one_quota() {
    let rig = Rig::new();
    let five = vec![Quota::per_tenant("realm/minute", 5, MINUTE)];
    let builder = rig.builder();
    let stack = builder
        .configure(|config| config.rate_limit.quotas = five)
        .build()
        .unwrap();
    let mut tasks = JoinSet::new();
    for bill in 1..=50 {
        let clone = stack.clone();
        let request = rig.pay(bill, &format!("k{bill}"));
        tasks.spawn(async move { ask(&clone, request).await.is_ok() });
    }
    tokio::time::sleep(59 * SECOND).await;
    assert_eq!(rig.sends(), 5);
    tokio::time::sleep(59 * SECOND).await;
    assert_eq!(rig.sends(), 10);
}

#[tokio::test(start_paused = true)]
async fn fifty_clones_share_one_book() {
    let rig = Rig::new();
    let stack = rig.stack();
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let clone = stack.clone();
        let request = rig.pay(1, "rent");
        tasks.spawn(async move { ask(&clone, request).await });
    }
    let mut answers = Vec::new();
    while let Some(answer) = tasks.join_next().await {
        answers.push(answer.unwrap().unwrap().into_body().into_bytes());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "one answer for all");
    assert_eq!((rig.sends(), rig.mock.history().effects().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_write_makes_what_was_read_before_it_stale() {
    let rig = Rig::new();
    let stack = rig.stack();
    assert!(balance(&stack, 1).await > 0.0);
    assert!(balance(&stack, 2).await > 0.0);
    assert_eq!(rig.sends(), 2);
    ask(&stack, rig.pay(1, "rent")).await.unwrap();
    assert_eq!(balance(&stack, 1).await, 0.0);
    assert_eq!(rig.sends(), 4);
}

#[tokio::test(start_paused = true)]
async fn shutdown_lets_what_was_accepted_end_and_takes_nothing_new() {
    let rig = Rig::new();
    let stack = rig.stack();
    let slow = Fault::Delay(2 * SECOND);
    rig.mock.set_faults(FaultPlan::always(On::Writes, slow));
    let told = ask(&stack, rig.pay(1, "rent")).await.unwrap_err();
    assert_eq!(told.kind(), Kind::Pending);
    assert_eq!(stack.shutdown(10 * SECOND).await, 0, "tasks left");
    assert_eq!(rig.mock.history().effects_of("rent").len(), 1);
    let refused = ask(&stack, rig.pay(2, "power")).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::JournalUnavailable);
    assert_eq!(rig.sends(), 1);
    // Who opens the journal next finds it settled.
    let next = rig.stack();
    let answer = ask(&next, rig.pay(1, "rent")).await.unwrap();
    assert_eq!(answer.headers()["idempotent-replayed"], "true");
    assert_eq!(rig.sends(), 1);
}
