//! Facts about what people do with operations: `reconcile::Operations`.

use super::hooks::{Check, Look, Planned};
use super::house::{
    Does, House, KEYED, Plan, faulty, faulty_over, kind, on_record, pay, seconds, state, upstream,
};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::ServiceExt;
use tower_sturdy::context::{OperationId, Tenant};
use tower_sturdy::error::Kind;
use tower_sturdy::journal::faulty::{Call, Fault, FaultyJournal};
use tower_sturdy::journal::{CannotResolve, Capability, MemoryJournal, Record, State};
use tower_sturdy::reconcile::{NoHooks, Query, Resolution, Undecided};

async fn in_doubt(house: &House, key: &str) {
    let told = house.service.clone().oneshot(pay(key)).await;
    assert!(matches!(kind(told), Kind::OutcomeUnknown | Kind::Pending));
}

async fn id(journal: &FaultyJournal, key: &str) -> OperationId {
    on_record(journal.inner(), key).await.unwrap().id()
}

fn past_the_window() -> Duration {
    Plan::new(KEYED).config.settle.settle_window + seconds(1)
}

#[tokio::test(start_paused = true)]
async fn a_look_up_comes_before_a_persons_word_and_its_proof_counts_instead() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Resets]);
    let hooks = Planned::new([Look::Found]);
    let house = Plan::new(Capability::Lookup).build(&journal, probe, hooks.clone());
    in_doubt(&house, "a").await;
    let id = id(&journal, "a").await;
    // Inside the settle window, not forced, and by somebody who says that it is not there.
    let people = house.reconciler.operations();
    let resolved = people.resolve(id, false, "alice", "not in the books", false);
    let Resolution::Proof { record, evidence } = resolved.await.unwrap() else {
        panic!("proof was there");
    };
    assert_eq!(evidence, "the planted mark");
    assert_eq!(record.state(), State::Completed);
    assert_eq!((record.progress.resolved, hooks.looked()), (None, 1));
    let answer = house.service.clone().oneshot(pay("a")).await.unwrap();
    assert_eq!(answer.body().bytes(), "found");
    assert_eq!((counts.calls(), house.book.live()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn inside_the_settle_window_a_persons_word_is_taken_only_by_force() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Resets]);
    let house = Plan::new(KEYED).build(&journal, probe, Planned::new([Look::CannotTell; 9]));
    in_doubt(&house, "a").await;
    let id = id(&journal, "a").await;
    let before = on_record(journal.inner(), "a").await.unwrap();
    let people = house.reconciler.operations();
    let refused = people.resolve(id, false, "alice", "gone", false).await;
    assert!(matches!(
        refused,
        Err(Undecided::Refused(CannotResolve::StillOpen(_)))
    ));
    let after = on_record(journal.inner(), "a").await.unwrap();
    assert_eq!(after.progress.due, before.progress.due);
    let forced = people.resolve(id, false, "alice", "gone", true).await;
    let Ok(Resolution::Word { record, looked }) = forced else {
        panic!("{forced:?}");
    };
    assert_eq!(record.state(), State::Rejected);
    assert_eq!(looked.as_deref(), Some("cannot tell: planned"));
    // It is never sent again, though the key would allow it.
    house.reconciler.start();
    tokio::time::sleep(seconds(90_000)).await;
    assert_eq!(counts.calls(), 1);
    let told = house.service.clone().oneshot(pay("a")).await.unwrap();
    assert_eq!((told.status().as_u16(), counts.calls()), (409, 1));
}

#[tokio::test(start_paused = true)]
async fn what_a_person_resolved_is_looked_up_on_and_contradicted_by_proof() {
    let journal = faulty();
    let mut plan = Plan::new(Capability::Lookup);
    plan.config.acknowledge_after = Some(Duration::ZERO);
    let (probe, _) = upstream([Does::Resets]);
    let looks = [Look::Absent, Look::Absent, Look::CannotTell, Look::Found];
    let hooks = Planned::new(looks);
    let house = plan.build(&journal, probe, hooks.clone());
    let ends: Arc<Mutex<Vec<bool>>> = Arc::default();
    let told = Arc::clone(&ends);
    let _ = house.book.clone().with_settled(move |record: &Record| {
        told.lock().unwrap().push(record.progress.contradicted);
    });
    in_doubt(&house, "a").await;
    tokio::time::sleep(past_the_window()).await;
    let id = id(&journal, "a").await;
    let people = house.reconciler.operations();
    let word = people
        .resolve(id, false, "alice", "not there", false)
        .await
        .unwrap();
    assert!(
        matches!(word, Resolution::Word { looked: Some(looked), .. } if looked == "everything")
    );
    house.reconciler.start();
    tokio::time::sleep(seconds(60)).await;
    assert_eq!((hooks.looked(), hooks.checked()), (2, 1));
    tokio::time::sleep(plan.config.settle.parked_interval * 2 + seconds(60)).await;
    assert_eq!(hooks.looked(), 4);
    let record = on_record(journal.inner(), "a").await.unwrap();
    assert_eq!(record.state(), State::Rejected);
    assert!(record.progress.contradicted);
    let proven = record.progress.resolved.unwrap().proven.unwrap();
    assert_eq!(proven.evidence, "the planted mark");
    // The local record is told of it, and then all is done.
    assert_eq!(
        (hooks.checked(), house.reconciler.figures().contradicted()),
        (2, 1)
    );
    assert_eq!(record.progress.due, None);
    // Whoever was told of the end is told of what contradicts it.
    assert_eq!(*ends.lock().unwrap(), [false, true]);
    let query = Query {
        contradicted: true,
        ..Query::default()
    };
    assert_eq!(people.list(&query).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_persons_applied_is_confirmed_by_proof_and_gets_its_answer() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Resets]);
    let hooks = Planned::new([Look::Absent, Look::Absent, Look::Found]);
    let house = Plan::new(Capability::None).build(&journal, probe, hooks.clone());
    in_doubt(&house, "a").await;
    tokio::time::sleep(past_the_window()).await;
    let id = id(&journal, "a").await;
    let people = house.reconciler.operations();
    people
        .resolve(id, true, "alice", "bank says so", false)
        .await
        .unwrap();
    let told = house.service.clone().oneshot(pay("a")).await.unwrap();
    assert_eq!(told.status(), 204);
    house.reconciler.start();
    tokio::time::sleep(seconds(8_000)).await;
    let told = house.service.clone().oneshot(pay("a")).await.unwrap();
    assert_eq!(told.body().bytes(), "found");
    let record = on_record(journal.inner(), "a").await.unwrap();
    assert!(!record.progress.contradicted && record.progress.due.is_none());
    assert_eq!((hooks.looked(), counts.calls()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn the_look_ups_after_a_persons_word_end() {
    let journal = faulty();
    let plan = Plan::new(Capability::None);
    let (probe, _) = upstream([Does::Resets]);
    let hooks = Planned::new([]);
    let house = plan.build(&journal, probe, hooks.clone());
    in_doubt(&house, "a").await;
    tokio::time::sleep(past_the_window()).await;
    let id = id(&journal, "a").await;
    let people = house.reconciler.operations();
    people
        .resolve(id, true, "alice", "bank says so", false)
        .await
        .unwrap();
    house.reconciler.start();
    let settle = plan.config.settle;
    tokio::time::sleep(settle.parked_for + settle.parked_interval * 2).await;
    assert_eq!(
        on_record(journal.inner(), "a").await.unwrap().progress.due,
        None
    );
    let looked = hooks.looked();
    assert!((600..=722).contains(&looked), "{looked}");
    tokio::time::sleep(settle.parked_interval * 10).await;
    assert_eq!(hooks.looked(), looked);
}

#[tokio::test(start_paused = true)]
async fn what_is_parked_is_tried_again_under_its_key_and_only_then() {
    for (capability, calls) in [(KEYED, 2), (Capability::Lookup, 1), (Capability::None, 1)] {
        let journal = faulty();
        let (probe, counts) = upstream([Does::Resets]);
        let house = Plan::new(capability).build(&journal, probe, Planned::new([]));
        in_doubt(&house, "a").await;
        let id = id(&journal, "a").await;
        let people = house.reconciler.operations();
        let parked = people.park(id, "alice", "let me look first").await.unwrap();
        assert_eq!(parked.state(), State::Parked);
        house.reconciler.start();
        tokio::time::sleep(past_the_window()).await;
        assert_eq!((counts.calls(), kind_of(&house).await), (1, Kind::Parked));
        people.retry(id, "alice", "seen: not there").await.unwrap();
        tokio::time::sleep(seconds(120)).await;
        assert_eq!(counts.calls(), calls, "{capability:?}");
        let ended = state(journal.inner(), "a").await;
        let expected = if calls == 2 {
            State::Completed
        } else {
            State::Parked
        };
        assert_eq!(ended, expected, "{capability:?}");
        let record = people.inspect(id).await.unwrap().unwrap();
        let trail = record.progress.history.iter();
        assert_eq!(trail.filter(|step| step.by == "person:alice").count(), 2);
    }
}

async fn kind_of(house: &House) -> Kind {
    kind(house.service.clone().oneshot(pay("a")).await)
}

#[tokio::test(start_paused = true)]
async fn an_idle_one_is_sent_when_a_person_asks_for_it() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Answers(429)]);
    let house = Plan::new(Capability::Lookup).build(&journal, probe, Arc::new(NoHooks));
    let refused = house.service.clone().oneshot(pay("a")).await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(state(journal.inner(), "a").await, State::Ready);
    house.reconciler.start();
    tokio::time::sleep(seconds(600)).await;
    assert_eq!(counts.calls(), 1);
    let id = id(&journal, "a").await;
    let people = house.reconciler.operations();
    people.retry(id, "alice", "needed today").await.unwrap();
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(
        (counts.calls(), state(journal.inner(), "a").await),
        (2, State::Completed)
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_owner_left_is_taken_over_before_a_person_decides_and_a_live_ones_is_not() {
    let memory = MemoryJournal::new();
    let mut plan = Plan::new(KEYED);
    let (probe, _) = upstream([Does::Hangs]);
    let journal = faulty_over(&memory);
    let first = plan.build(&journal, probe, Arc::new(NoHooks));
    in_doubt(&first, "a").await;
    let id = id(&journal, "a").await;
    plan.seed = 2;
    let (probe, counts) = upstream([]);
    let next = plan.build(&journal, probe, Arc::new(NoHooks));
    let people = next.reconciler.operations();
    for decided in [
        people.resolve(id, false, "a", "b", true).await.map(drop),
        people.park(id, "a", "b").await.map(drop),
        people.retry(id, "a", "b").await.map(drop),
    ] {
        assert!(
            matches!(
                decided,
                Err(Undecided::Refused(CannotResolve::InHand { .. }))
            ),
            "{decided:?}"
        );
    }
    // In the process that works on it, too.
    let here = first.reconciler.operations().park(id, "a", "b").await;
    assert!(matches!(here, Err(Undecided::InHand)), "{here:?}");
    first.book.kill();
    tokio::time::sleep(plan.config.lease).await;
    let parked = people.park(id, "a", "b").await.unwrap();
    assert_eq!(parked.state(), State::Parked);
    assert_eq!(parked.progress.attempts.len(), 1);
    assert_eq!(counts.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_the_journal_did_not_take_is_told_and_not_made() {
    let journal = faulty();
    let (probe, _) = upstream([Does::Resets]);
    let house = Plan::new(KEYED).build(&journal, probe, Planned::new([]));
    in_doubt(&house, "a").await;
    let id = id(&journal, "a").await;
    journal.next(Call::Step, [Fault::Fails]);
    let people = house.reconciler.operations();
    let failed = people.park(id, "alice", "wait").await;
    assert!(matches!(failed, Err(Undecided::Journal(_))), "{failed:?}");
    assert_eq!(state(journal.inner(), "a").await, State::Unknown);
    people.park(id, "alice", "wait").await.unwrap();
    let missing = people.park(OperationId::from_bits(9), "a", "b").await;
    assert!(matches!(missing, Err(Undecided::Missing(_))));
}

#[tokio::test(start_paused = true)]
async fn operations_are_listed_by_state_tenant_and_age() {
    let journal = faulty();
    let (probe, _) = upstream([Does::Resets, Does::Answers(200), Does::Resets]);
    let house = Plan::new(Capability::Lookup).build(&journal, probe, Arc::new(NoHooks));
    in_doubt(&house, "a").await;
    house.service.clone().oneshot(pay("b")).await.unwrap();
    tokio::time::sleep(seconds(100)).await;
    in_doubt(&house, "c").await;
    let people = house.reconciler.operations();
    let keys = async |query: Query| {
        let found = people.list(&query).await.unwrap();
        let mut keys: Vec<String> = found.iter().map(|r| r.asked.key.to_string()).collect();
        keys.sort();
        keys.join("")
    };
    let all = Query::default();
    assert_eq!(keys(all.clone()).await, "abc");
    let states = vec![State::Unknown];
    let unknown = Query {
        states,
        ..all.clone()
    };
    assert_eq!(keys(unknown.clone()).await, "ac");
    let old = Query {
        older_than: seconds(60),
        ..unknown
    };
    assert_eq!(keys(old).await, "a");
    let tenant = Some(Tenant::new("other").unwrap());
    assert_eq!(
        keys(Query {
            tenant,
            ..all.clone()
        })
        .await,
        ""
    );
    assert_eq!(keys(Query { limit: 2, ..all }).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_local_record_that_never_takes_it_is_an_alarm_and_no_endless_work() {
    let journal = faulty();
    let mut plan = Plan::new(KEYED);
    plan.config.acknowledge_after = Some(Duration::ZERO);
    let (probe, _) = upstream([]);
    let hooks = Planned::new([]);
    hooks.checks([Check::NotYet; 2_000]);
    let house = plan.build(&journal, probe, hooks.clone());
    house.reconciler.start();
    house.service.clone().oneshot(pay("a")).await.unwrap();
    let settle = plan.config.settle;
    tokio::time::sleep(settle.parked_for - seconds(60)).await;
    let record = on_record(journal.inner(), "a").await.unwrap();
    assert!(!record.progress.acknowledged);
    tokio::time::sleep(settle.parked_interval * 2).await;
    let record = on_record(journal.inner(), "a").await.unwrap();
    assert!(record.progress.acknowledged && record.progress.due.is_none());
    assert!((house.reconciler.figures().drift_ratio() - 1.0).abs() < f64::EPSILON);
    assert!(hooks.checked.load(Ordering::SeqCst) < 800);
}

#[tokio::test(start_paused = true)]
async fn what_a_hook_only_took_note_of_was_not_verified() {
    let journal = faulty();
    let mut plan = Plan::new(KEYED);
    plan.config.acknowledge_after = Some(Duration::ZERO);
    let (probe, _) = upstream([]);
    let hooks = Planned::new([]);
    hooks.checks([Check::Told, Check::Told, Check::Drifts]);
    let house = plan.build(&journal, probe, hooks.clone());
    house.reconciler.start();
    for key in ["a", "b", "c"] {
        house.service.clone().oneshot(pay(key)).await.unwrap();
        tokio::time::sleep(seconds(1)).await;
    }
    assert_eq!(hooks.checked(), 3);
    assert!((house.reconciler.figures().drift_ratio() - 1.0).abs() < f64::EPSILON);
}

#[tokio::test(start_paused = true)]
async fn what_a_person_said_is_not_replayed_from_memory_once_the_upstream_said_more() {
    let journal = faulty();
    let (probe, _) = upstream([Does::Resets]);
    let hooks = Planned::new([Look::Absent, Look::Found]);
    let house = Plan::new(Capability::Lookup).build(&journal, probe, hooks);
    in_doubt(&house, "a").await;
    tokio::time::sleep(past_the_window()).await;
    let id = id(&journal, "a").await;
    let people = house.reconciler.operations();
    let word = people.resolve(id, true, "alice", "the bank says so", false);
    assert!(matches!(word.await, Ok(Resolution::Word { .. })));
    // By a worker of another process.
    let mut plan = Plan::new(Capability::Lookup);
    plan.seed = 2;
    let (probe, _) = upstream([]);
    let beside = plan.build(&journal, probe, Planned::new([Look::Found]));
    tokio::time::sleep(plan.config.settle.parked_interval).await;
    beside.reconciler.work_off().await.unwrap();
    let record = on_record(journal.inner(), "a").await.unwrap();
    assert!(record.progress.resolved.unwrap().proven.is_some());
    for house in [&beside, &house] {
        let answer = house.service.clone().oneshot(pay("a")).await.unwrap();
        assert_eq!(answer.body().bytes(), "found");
    }
}
