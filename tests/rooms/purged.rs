//! Facts about callers whose operation was purged.

use super::house::{Does, KEYED, Plan, faulty_over, kind, pay, seconds, upstream};
use std::sync::Arc;
use tower::ServiceExt;
use tower_sturdy::error::Kind;
use tower_sturdy::journal::{Keep, MemoryJournal, Purge};
use tower_sturdy::payload::Payload;
use tower_sturdy::reconcile::NoHooks;

#[tokio::test(start_paused = true)]
async fn a_key_whose_operation_was_purged_is_expired_and_never_sent_again() {
    for keep in [Keep::Tombstones, Keep::Nothing] {
        let memory = MemoryJournal::new();
        let journal = faulty_over(&memory);
        let mut plan = Plan::new(KEYED);
        let (probe, counts) = upstream([Does::Answers(200), Does::Answers(400)]);
        let house = plan.build(&journal, probe, Arc::new(NoHooks));
        let _ = house.service.clone().oneshot(pay("done")).await;
        let _ = house.service.clone().oneshot(pay("refused")).await;
        assert_eq!(counts.calls(), 2);
        tokio::time::sleep(seconds(60)).await;
        let purged = memory.purge(plan.clock.wall(), keep).await.unwrap();
        assert_eq!(purged.tombstones + purged.deleted, 2);
        // The process that answered remembers for a while; the next one has the journal alone.
        house.book.kill();
        plan.seed = 2;
        let (probe, later) = upstream([]);
        let house = plan.build(&journal, probe, Arc::new(NoHooks));
        for key in ["done", "refused"] {
            let told = house.service.clone().oneshot(pay(key)).await;
            assert_eq!(kind(told), Kind::KeyExpired, "{keep:?} {key}");
        }
        assert_eq!((counts.calls(), later.calls()), (2, 0));
        // These keys do not say when they were made: once some were deleted, none of them can be told to be new.
        let new = house.service.clone().oneshot(pay("new")).await;
        assert_eq!(new.is_ok(), keep == Keep::Tombstones);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_tombstone_cannot_compare_is_never_told_as_another_request() {
    let memory = MemoryJournal::new();
    let journal = faulty_over(&memory);
    let mut plan = Plan::new(KEYED);
    let (probe, _) = upstream([]);
    let house = plan.build(&journal, probe, Arc::new(NoHooks));
    let spelled = |body: &'static str| {
        let mut request = pay("a");
        *request.body_mut() = Payload::from(body);
        request
    };
    let paid = house
        .service
        .clone()
        .oneshot(spelled("{\"to\":1,\"sum\":2}"));
    paid.await.unwrap();
    tokio::time::sleep(seconds(60)).await;
    memory
        .purge(plan.clock.wall(), Keep::Tombstones)
        .await
        .unwrap();
    house.book.kill();
    plan.seed = 2;
    let (probe, later) = upstream([]);
    let house = plan.build(&journal, probe, Arc::new(NoHooks));
    // The same request in another spelling: "use a new key for a new write" would pay twice.
    let told = house
        .service
        .clone()
        .oneshot(spelled("{\"sum\":2,\"to\":1}"));
    assert_eq!(kind(told.await), Kind::KeyExpired);
    assert_eq!(later.calls(), 0);
}
