//! Records whose checks fail each time, in front of others.

use super::hooks::{Look, Planned};
use super::house::{Does, KEYED, Plan, faulty_over, on_record, pay, seconds, state, upstream};
use std::sync::Arc;
use tower::ServiceExt;
use tower_sturdy::journal::{
    BoxFuture, Claim, Durability, Filter, Journal, JournalError, Lookup, MemoryJournal, Record,
    State,
};
use tower_sturdy::reconcile::NoHooks;

/// Takes no step of operations whose key begins with `stuck`.
#[derive(Debug)]
struct Stuck(MemoryJournal);

impl Journal for Stuck {
    fn durability(&self) -> Durability {
        Durability::CrashDurable
    }

    fn claim<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, Result<Claim, JournalError>> {
        self.0.claim(record)
    }

    fn step<'a>(&'a self, next: &'a Record) -> BoxFuture<'a, Result<(), JournalError>> {
        if next.asked.key.as_str().starts_with("stuck") {
            return Box::pin(async { Err(JournalError::unavailable("this row alone")) });
        }
        self.0.step(next)
    }

    fn get<'a>(&'a self, which: Lookup<'a>) -> BoxFuture<'a, Result<Option<Record>, JournalError>> {
        self.0.get(which)
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> BoxFuture<'a, Result<Vec<Record>, JournalError>> {
        self.0.list(filter)
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_settled_keeps_nobody_else_from_being_settled() {
    let memory = MemoryJournal::new();
    let plan = Plan::new(KEYED);
    // Two pages of the worker, and one that comes behind.
    const STUCK: usize = 140;
    let (probe, _) = upstream([Does::Resets; STUCK + 1]);
    let before = plan.build(&faulty_over(&memory), probe, Arc::new(NoHooks));
    for number in 0..STUCK {
        let _ = before
            .service
            .clone()
            .oneshot(pay(&format!("stuck-{number}")))
            .await;
    }
    tokio::time::sleep(seconds(1)).await;
    let _ = before.service.clone().oneshot(pay("behind")).await;
    assert_eq!(state(&memory, "behind").await, State::Unknown);
    drop(before);
    let mut plan = plan;
    plan.seed = 2;
    let (probe, _) = upstream([]);
    let hooks = Planned::new(std::iter::repeat_n(Look::Found, 10 * STUCK));
    let house = plan.build_on(Arc::new(Stuck(memory.clone())), probe, hooks);
    house.reconciler.start();
    tokio::time::sleep(seconds(120)).await;
    assert_eq!(state(&memory, "behind").await, State::Completed);
    let stuck = on_record(&memory, "stuck-0").await.unwrap();
    assert_eq!(stuck.state(), State::Unknown);
}

#[tokio::test(start_paused = true)]
async fn thousands_of_parked_ones_that_are_due_keep_no_new_doubt_waiting() {
    let memory = MemoryJournal::new();
    const PARKED: usize = 2_000;
    let plan = Plan::new(tower_sturdy::journal::Capability::Lookup);
    let (probe, _) = upstream([Does::Resets; PARKED]);
    let before = plan.build(&faulty_over(&memory), probe, Arc::new(NoHooks));
    for number in 0..PARKED {
        let _ = before
            .service
            .clone()
            .oneshot(pay(&format!("parked-{number}")))
            .await;
    }
    for number in 0..PARKED {
        let mut record = on_record(&memory, &format!("parked-{number}"))
            .await
            .unwrap();
        assert_eq!(record.state(), State::Unknown);
        record.progress.state = State::Parked;
        record.progress.version += 1;
        memory.step(&record).await.unwrap();
    }
    let (probe, _) = upstream([Does::Resets]);
    let mut plan = plan;
    plan.seed = 2;
    // Each look takes so long that there is a quarter of an hour of them.
    let slow = std::iter::repeat_n(Look::AbsentAfter(seconds(20)), 10 * PARKED);
    let house = plan.build(&faulty_over(&memory), probe, Planned::new(slow));
    drop(before);
    let _ = house.service.clone().oneshot(pay("new")).await;
    assert_eq!(state(&memory, "new").await, State::Unknown);
    house.reconciler.start();
    tokio::time::sleep(seconds(600)).await;
    assert_eq!(state(&memory, "new").await, State::Parked);
    let left = memory
        .list(&Filter {
            states: vec![State::Parked],
            due_by: Some(plan.clock.wall()),
            limit: 10_000,
            ..Filter::default()
        })
        .await
        .unwrap();
    assert!(!left.is_empty(), "all the others were looked at before it");
}
