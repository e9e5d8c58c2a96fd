//! Facts about who works on an operation: a dead owner, a slow one, two at once.

use super::hooks::{Look, Planned};
use super::house::{
    Does, House, KEYED, Plan, faulty_over, kind, millis, on_record, pay, pay_within, seconds,
    state, upstream,
};
use super::probe::Counts;
use http::Response;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::task::JoinHandle;
use tower::ServiceExt;
use tower_sturdy::clock::Clock;
use tower_sturdy::error::Error;
use tower_sturdy::error::Kind;
use tower_sturdy::journal::faulty::{Call, Fault};
use tower_sturdy::journal::{Capability, MemoryJournal, State};
use tower_sturdy::outcome::Outcome;
use tower_sturdy::payload::Payload;
use tower_sturdy::reconcile::NoHooks;

#[tokio::test(start_paused = true)]
async fn a_dead_owners_keyed_write_is_sent_again_only_after_its_lease_and_settle_window() {
    let memory = MemoryJournal::new();
    let mut plan = Plan::new(KEYED);
    let (probe, first) = upstream([Does::Hangs]);
    let dead = plan.build(&faulty_over(&memory), probe, Arc::new(NoHooks));
    assert_eq!(
        kind(dead.service.clone().oneshot(pay("a")).await),
        Kind::Pending
    );
    dead.book.kill();
    let died = Clock::system().now();

    plan.seed = 2;
    let (probe, counts) = upstream([]);
    let next = plan.build(&faulty_over(&memory), probe, Planned::new([]));
    next.reconciler.start();
    let settle = plan.config.settle.settle_window;
    tokio::time::sleep_until(died + plan.config.lease + settle - seconds(1)).await;
    assert_eq!((first.calls(), counts.calls()), (1, 0));
    tokio::time::sleep(seconds(200)).await;
    assert_eq!(counts.calls(), 1);
    assert_eq!(state(&memory, "a").await, State::Completed);
    assert_eq!(next.reconciler.figures().taken_over(), 1);
    // Whoever asks now gets the answer.
    let answer = next.service.clone().oneshot(pay("a")).await.unwrap();
    assert_eq!(answer.body().bytes(), "paid");
}

#[tokio::test(start_paused = true)]
async fn a_dead_owners_write_without_a_key_is_never_sent_again() {
    let memory = MemoryJournal::new();
    let mut plan = Plan::new(Capability::Lookup);
    let (probe, _) = upstream([Does::Hangs]);
    let dead = plan.build(&faulty_over(&memory), probe, Arc::new(NoHooks));
    assert_eq!(
        kind(dead.service.clone().oneshot(pay("a")).await),
        Kind::Pending
    );
    dead.book.kill();
    plan.seed = 2;
    let (probe, counts) = upstream([]);
    let next = plan.build(&faulty_over(&memory), probe, Planned::new([]));
    next.reconciler.start();
    tokio::time::sleep(seconds(1_000)).await;
    assert_eq!(counts.calls(), 0);
    assert_eq!(state(&memory, "a").await, State::Parked);
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_lease_ran_out_sends_nothing_more() {
    let memory = MemoryJournal::new();
    let journal = faulty_over(&memory);
    let plan = Plan::new(KEYED);
    let (probe, counts) = upstream([]);
    let house = plan.build(&journal, probe, Arc::new(NoHooks));
    let inner = house.inner.clone();
    // Something between claim and gate (a line, a backoff) takes longer than the lease, and nothing renews it.
    let slow = tower::service_fn(move |request| {
        let inner = inner.clone();
        async move {
            tokio::time::sleep(seconds(70)).await;
            inner.oneshot(request).await
        }
    });
    let service = tower::Layer::layer(&house.layer, slow);
    let call = tokio::spawn(service.oneshot(pay_within("a", seconds(50))));
    tokio::time::sleep(seconds(1)).await;
    journal.down(true);
    assert_eq!(kind(call.await.unwrap()), Kind::Pending);
    tokio::time::sleep(seconds(60)).await;
    assert_eq!(counts.calls(), 0);
}

/// An owner whose journal fails for a minute and more while it works, and another that takes the operation over.
struct Slow {
    memory: MemoryJournal,
    slow: House,
    other: House,
    sent: [Arc<Counts>; 2],
    call: JoinHandle<Result<Response<Payload>, Error>>,
}

/// The journal comes back to the slow one 65 s after the claim; the other one works from the 61st on.
async fn taken_over(capability: Capability, does: Does) -> Slow {
    let memory = MemoryJournal::new();
    let slow_journal = faulty_over(&memory);
    let mut plan = Plan::new(capability);
    let (probe, slow_sent) = upstream([does]);
    let slow = plan.build(&slow_journal, probe, Arc::new(NoHooks));
    let call = tokio::spawn(slow.service.clone().oneshot(pay_within("a", seconds(200))));
    tokio::time::sleep(seconds(1)).await;
    slow_journal.down(true);
    plan.seed = 2;
    let (probe, other_sent) = upstream([]);
    let other = plan.build(&faulty_over(&memory), probe, Planned::new([]));
    tokio::time::sleep(seconds(60)).await;
    other.reconciler.start();
    tokio::time::sleep(seconds(4)).await;
    assert_eq!(state(&memory, "a").await, State::Unknown);
    slow_journal.down(false);
    let sent = [slow_sent, other_sent];
    Slow {
        memory,
        slow,
        other,
        sent,
        call,
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_taken_over_does_not_take_the_operation_back() {
    let was = taken_over(Capability::Lookup, Does::Slowly(200, seconds(125))).await;
    for _ in 0..59 {
        let owner = on_record(&was.memory, "a").await.unwrap().progress.owner;
        assert_eq!(owner, was.other.book.owner());
        tokio::time::sleep(seconds(1)).await;
    }
    // What the slow one sees of its own attempt is added nevertheless.
    assert_eq!(was.call.await.unwrap().unwrap().body().bytes(), "paid");
    tokio::time::sleep(seconds(300)).await;
    assert_eq!(state(&was.memory, "a").await, State::Completed);
    assert_eq!(was.sent.map(|sent| sent.calls()), [1, 0]);
    assert_eq!((was.slow.book.live(), was.other.book.live()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_taken_over_does_not_say_that_nothing_happens() {
    for capability in [KEYED, Capability::Lookup] {
        let was = taken_over(capability, Does::Slowly(429, seconds(55))).await;
        let told = was.call.await.unwrap();
        assert_eq!(kind(told), Kind::OutcomeUnknown, "the other one goes on");
        tokio::time::sleep(seconds(600)).await;
        assert_eq!(was.sent.map(|sent| sent.calls()), [1, 1]);
        assert_eq!(state(&was.memory, "a").await, State::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_seen_by_an_owner_that_was_taken_over_settles_the_operation() {
    for capability in [KEYED, Capability::Lookup] {
        let was = taken_over(capability, Does::Slowly(400, seconds(55))).await;
        assert_eq!(was.call.await.unwrap().unwrap().status(), 400);
        assert_eq!(state(&was.memory, "a").await, State::Rejected);
        tokio::time::sleep(seconds(900)).await;
        assert_eq!(was.sent.map(|sent| sent.calls()), [1, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_keyed_attempt_is_given_up_with_the_lease_that_others_count_its_window_from() {
    let memory = MemoryJournal::new();
    let slow_journal = faulty_over(&memory);
    let plan = Plan::new(KEYED);
    let (probe, counts) = upstream([Does::Slowly(200, seconds(125))]);
    let slow = plan.build(&slow_journal, probe, Arc::new(NoHooks));
    let call = tokio::spawn(slow.service.clone().oneshot(pay_within("a", seconds(20))));
    tokio::time::sleep(seconds(1)).await;
    slow_journal.down(true);
    assert_eq!(kind(call.await.unwrap()), Kind::Pending);
    tokio::time::sleep(seconds(39)).await;
    assert_eq!(counts.in_flight(), 1, "59 s: the lease still runs");
    tokio::time::sleep(seconds(2)).await;
    assert_eq!(counts.in_flight(), 0, "61 s: it is over");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_recording_took_too_long_does_not_leave() {
    // After the lease, whoever asks is told that nothing was sent, and may start again.
    let (again, over) = ((1, State::Completed), (0, State::Ready));
    for (took, capability, ends) in [
        (seconds(20), Capability::Lookup, again),
        (seconds(100), Capability::None, over),
    ] {
        let memory = MemoryJournal::new();
        let journal = faulty_over(&memory);
        let (probe, counts) = upstream([]);
        let house = Plan::new(capability).build(&journal, probe, Planned::new([]));
        house.reconciler.start();
        // What was decided before the journal took its time does not hold any more when it is told.
        journal.next(Call::Step, [Fault::TellsAfter(took)]);
        let call = tokio::spawn(house.service.clone().oneshot(pay_within("a", seconds(600))));
        tokio::time::sleep(took + seconds(1)).await;
        let record = on_record(&memory, "a").await.unwrap();
        assert_ne!(
            record.progress.attempts[0].outcome(),
            Outcome::Unknown,
            "{record:?}"
        );
        let _ = call.await.unwrap();
        tokio::time::sleep(seconds(600)).await;
        assert_eq!((counts.calls(), state(&memory, "a").await), ends);
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_a_caller_hastened_is_made_once_at_a_time() {
    let memory = MemoryJournal::new();
    let journal = faulty_over(&memory);
    let plan = Plan::new(KEYED);
    let (probe, _) = upstream([Does::Resets]);
    let hooks = Planned::new([Look::Absent, Look::AbsentAfter(seconds(50)), Look::Hangs]);
    let house = plan.build(&journal, probe, hooks.clone());
    assert_eq!(
        kind(house.service.clone().oneshot(pay("a")).await),
        Kind::OutcomeUnknown
    );
    assert_eq!(house.reconciler.work_off().await.unwrap(), 1);
    // The next look is due in some seconds. A caller finds the doubt on record and hastens it, slowly; meanwhile the
    // worker takes it up; the caller's task ends while the worker still looks.
    tokio::time::sleep(seconds(4)).await;
    journal.next(Call::Step, [Fault::MakesAfter(seconds(2))]);
    let asked = tokio::spawn(house.service.clone().oneshot(pay("a")));
    for _ in 0..40 {
        tokio::time::sleep(millis(500)).await;
        let worker = house.reconciler.clone();
        tokio::spawn(async move { worker.work_off().await });
    }
    assert_eq!(kind(asked.await.unwrap()), Kind::OutcomeUnknown);
    assert!(hooks.looked() >= 2);
    assert_eq!(hooks.looking_max.load(Ordering::SeqCst), 1);
}
