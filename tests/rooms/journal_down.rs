//! Facts about writes while the journal fails, at each step.

use super::hooks::Planned;
use super::house::{
    Does, KEYED, Plan, faulty, kind, millis, on_record, pay, pay_within, seconds, state, upstream,
};
use std::sync::Arc;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_sturdy::context::Tenant;
use tower_sturdy::error::Kind;
use tower_sturdy::journal::faulty::{Call, Fault};
use tower_sturdy::journal::{Capability, State};
use tower_sturdy::outcome::Outcome;
use tower_sturdy::reconcile::NoHooks;

#[tokio::test(start_paused = true)]
async fn a_claim_that_fails_sends_nothing_and_leaves_the_key_free() {
    let journal = faulty();
    let (probe, counts) = upstream([]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    journal.next(Call::Claim, [Fault::Fails]);
    let refused = house.service.clone().oneshot(pay("a")).await;
    assert_eq!(kind(refused), Kind::JournalUnavailable);
    assert_eq!(counts.calls(), 0);
    house.service.clone().oneshot(pay("a")).await.unwrap();
    assert_eq!(counts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_made_though_it_seemed_to_fail_goes_on() {
    let journal = faulty();
    let (probe, counts) = upstream([]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    journal.next(Call::Claim, [Fault::AppliesThenFails]);
    let answer = house.service.clone().oneshot(pay("a")).await.unwrap();
    assert_eq!(answer.body().bytes(), "paid");
    assert_eq!(counts.calls(), 1);
    assert_eq!(state(journal.inner(), "a").await, State::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_fails_on_a_key_in_use_is_never_told_as_nothing_sent() {
    // Another process has the key: it is at work, or has paid.
    for (does, told) in [
        (Does::Hangs, Err(Kind::InFlight)),
        (Does::Answers(200), Ok(())),
    ] {
        let journal = faulty();
        let (probe, counts) = upstream([does]);
        let other = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
        let _ = other.service.clone().oneshot(pay("a")).await;
        let (probe, _) = upstream([]);
        let plan = Plan {
            seed: 2,
            ..Plan::new(KEYED)
        };
        let ours = plan.build(&journal, probe, Arc::new(NoHooks));
        journal.next(Call::Claim, [Fault::Fails]);
        let answer = ours.service.clone().oneshot(pay("a")).await;
        assert_eq!(answer.map(drop).map_err(|error| error.kind()), told);
        assert_eq!(counts.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_cannot_be_read_back_sends_nothing_and_promises_nothing() {
    let journal = faulty();
    let (probe, counts) = upstream([]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    journal.next(Call::Claim, [Fault::AppliesThenFails]);
    journal.next(Call::Get, [Fault::Fails; 3]);
    assert_eq!(
        kind(house.service.clone().oneshot(pay("a")).await),
        Kind::InFlight
    );
    assert_eq!(counts.calls(), 0);
    // It is on record, so it is settled like the work of a dead owner, once.
    house.reconciler.start();
    tokio::time::sleep(seconds(600)).await;
    assert_eq!(state(journal.inner(), "a").await, State::Completed);
    assert_eq!(counts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_panics_in_a_claim_hangs_nobody() {
    let journal = faulty();
    let (probe, counts) = upstream([]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    journal.next(Call::Claim, [Fault::Panics]);
    let told = tokio::time::timeout(seconds(60), house.service.clone().oneshot(pay("a"))).await;
    assert_eq!(kind(told.expect("an answer")), Kind::InFlight);
    assert_eq!(counts.calls(), 0);
    house.service.clone().oneshot(pay("a")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_write_that_only_the_journal_protects_waits_for_its_step_before_it_leaves() {
    for fault in [Fault::Fails, Fault::AppliesThenFails] {
        let journal = faulty();
        let (probe, counts) = upstream([]);
        let house = Plan::new(Capability::Lookup).build(&journal, probe, Arc::new(NoHooks));
        journal.next(Call::Step, [fault]);
        let refused = house.service.clone().oneshot(pay("a")).await.unwrap_err();
        assert_eq!(refused.outcome(), Outcome::Unsent, "{fault:?}");
        assert_eq!(counts.calls(), 0, "{fault:?}");
        // It provably never left, so it is no doubt to be parked: the same key starts again.
        assert_eq!(state(journal.inner(), "a").await, State::Ready, "{fault:?}");
        house.service.clone().oneshot(pay("a")).await.unwrap();
        assert_eq!(counts.calls(), 1, "{fault:?}");
        assert_eq!(
            state(journal.inner(), "a").await,
            State::Completed,
            "{fault:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_though_it_cannot_be_recorded_yet() {
    let journal = faulty();
    let (probe, counts) = upstream([]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    journal.next(Call::Step, [Fault::Fails; 5]);
    let answer = house.service.clone().oneshot(pay("a")).await.unwrap();
    assert_eq!(answer.body().bytes(), "paid");
    assert_eq!(state(journal.inner(), "a").await, State::Sending);
    tokio::time::sleep(seconds(30)).await;
    assert_eq!(state(journal.inner(), "a").await, State::Completed);
    assert_eq!((counts.calls(), house.book.live()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn success_that_only_the_journal_protects_is_told_once_it_is_on_record() {
    for capability in [Capability::Lookup, Capability::None] {
        let journal = faulty();
        let (probe, _) = upstream([]);
        let house = Plan::new(capability).build(&journal, probe, Arc::new(NoHooks));
        journal.next(Call::Step, [Fault::Fine, Fault::MakesAfter(seconds(5))]);
        // A crash now would leave it in doubt, whatever this caller had heard.
        let impatient = house.service.clone().oneshot(pay_within("a", seconds(1)));
        assert_eq!(kind(impatient.await), Kind::Pending, "{capability:?}");
        let patient = house.service.clone().oneshot(pay_within("a", seconds(30)));
        let answer = patient.await.unwrap();
        assert_eq!(answer.body().bytes(), "paid");
        assert_eq!(state(journal.inner(), "a").await, State::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_cannot_be_recorded_is_not_told_as_one() {
    let journal = faulty();
    let (probe, _) = upstream([Does::Answers(400)]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    let call = tokio::spawn(house.service.clone().oneshot(pay_within("a", seconds(300))));
    tokio::time::sleep(millis(0)).await;
    journal.down(true);
    let told = call.await.unwrap();
    journal.down(false);
    if let Ok(answer) = &told {
        panic!(
            "told {} of what is {}",
            answer.status(),
            state(journal.inner(), "a").await
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_on_record_before_it_is_told() {
    let journal = faulty();
    let (probe, _) = upstream([Does::Answers(400)]);
    let mut plan = Plan::new(KEYED);
    let house = plan.build(&journal, probe, Arc::new(NoHooks));
    journal.next(Call::Step, [Fault::MakesAfter(millis(200))]);
    let answer = house.service.clone().oneshot(pay("a")).await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(state(journal.inner(), "a").await, State::Rejected);

    // Where recording takes longer than the caller waits, it is told to wait, not that it is over.
    let (probe, _) = upstream([Does::Answers(400)]);
    plan.seed = 2;
    let house = plan.build(&journal, probe, Arc::new(NoHooks));
    journal.next(Call::Step, [Fault::MakesAfter(millis(800))]);
    assert_eq!(
        kind(house.service.clone().oneshot(pay("b")).await),
        Kind::Pending
    );
    tokio::time::sleep(seconds(1)).await;
    let again = house.service.clone().oneshot(pay("b")).await.unwrap();
    assert_eq!(again.status(), 400);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_hangs_does_not_hold_up_the_answer() {
    let journal = faulty();
    let (probe, _) = upstream([Does::Slowly(200, seconds(30))]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    journal.next(Call::Step, [Fault::Hangs]);
    let call = house.service.clone().oneshot(pay_within("a", seconds(40)));
    assert_eq!(call.await.unwrap().body().bytes(), "paid");
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(state(journal.inner(), "a").await, State::Completed);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_ends_and_one_that_begins_during_a_slow_renewal_are_not_forgotten() {
    let journal = faulty();
    let (probe, counts) = upstream([
        Does::Slowly(429, seconds(21)),
        Does::Slowly(200, seconds(10)),
    ]);
    let plan = Plan::new(KEYED);
    let house = plan.build(&journal, probe, Arc::new(NoHooks));
    // The renewal at 20 s is made at once and told at 25 s: after one attempt ended and the next began.
    journal.next(Call::Step, [Fault::TellsAfter(seconds(5))]);
    let book = house.book.clone();
    let inner = house.inner.clone();
    let twice = service_fn(
        move |request: http::Request<tower_sturdy::payload::Payload>| {
            let mut inner = inner.clone();
            async move {
                let first = inner.ready().await?.call(request.clone()).await?;
                assert_eq!(first.status(), 429);
                inner.ready().await?.call(request).await
            }
        },
    );
    let service = house.layer.layer(twice);
    let call = tokio::spawn(service.oneshot(pay_within("a", seconds(60))));
    tokio::time::sleep(seconds(27)).await;
    let id = on_record(journal.inner(), "a").await.unwrap().id();
    let live = book.find(&Default::default(), id).await.unwrap().unwrap();
    let ends: Vec<_> = live
        .progress
        .attempts
        .iter()
        .map(|one| one.outcome())
        .collect();
    assert_eq!(ends, [Outcome::NoEffect, Outcome::Unknown]);
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
    tokio::time::sleep(seconds(1)).await;
    let record = on_record(journal.inner(), "a").await.unwrap();
    assert_eq!(record.state(), State::Completed);
    assert_eq!(record.progress.attempts.len(), 2);
    assert_eq!(counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_while_nothing_happened_is_being_recorded_is_not_forgotten() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Slowly(429, millis(200))]);
    let house = Plan::new(KEYED).build(&journal, probe, Planned::new([]));
    // What follows from its leaving fails to be recorded at first.
    journal.next(Call::Step, [Fault::MakesAfter(millis(500)), Fault::Fails]);
    let told = kind(house.service.clone().oneshot(pay("a")).await);
    assert!(matches!(told, Kind::Pending | Kind::InFlight), "{told:?}");
    house.reconciler.start();
    tokio::time::sleep(seconds(60)).await;
    assert_eq!(state(journal.inner(), "a").await, State::Completed);
    assert_eq!(counts.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_promised_that_work_goes_on_while_a_crash_could_end_it() {
    let journal = faulty();
    let (probe, _) = upstream([Does::Slowly(429, millis(200))]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    journal.next(Call::Step, [Fault::TellsAfter(millis(500))]);
    let told = kind(house.service.clone().oneshot(pay("a")).await);
    house.book.kill();
    let record = on_record(journal.inner(), "a").await.unwrap();
    // Nothing is due: only the caller can start it again, so it must be told to ask again.
    assert_eq!((record.state(), record.progress.due), (State::Ready, None));
    assert_eq!(told, Kind::InFlight);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_hangs_does_not_take_more_than_a_joined_callers_patience() {
    let journal = faulty();
    let (probe, _) = upstream([Does::Resets]);
    let house = Plan::new(KEYED).build(&journal, probe, Planned::new([]));
    let first = tokio::spawn(house.service.clone().oneshot(pay_within("a", seconds(500))));
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(house.reconciler.work_off().await.unwrap(), 1);
    // The next look is some seconds away; whoever asks again makes it due at once, if the journal lets it.
    journal.next(Call::Step, [Fault::Hangs]);
    let joined = tokio::time::timeout(seconds(1), house.service.clone().oneshot(pay("a"))).await;
    assert_eq!(kind(joined.expect("an answer")), Kind::OutcomeUnknown);
    first.abort();
}

#[tokio::test(start_paused = true)]
async fn an_end_that_a_crash_could_undo_is_nobodys_status() {
    for (does, word) in [(429, "pending"), (400, "pending")] {
        let journal = faulty();
        let (probe, _) = upstream([Does::Answers(does)]);
        let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
        journal.next(Call::Step, [Fault::Hangs]);
        let call = tokio::spawn(house.service.clone().oneshot(pay_within("a", seconds(60))));
        tokio::time::sleep(millis(200)).await;
        // The journal says that it may have left: a crash now sends it again.
        let record = on_record(journal.inner(), "a").await.unwrap();
        assert_eq!(record.state(), State::Sending, "{does}");
        let (tenant, id) = (Tenant::default(), record.id());
        let status = house.book.status("default", &tenant, id).await;
        assert_eq!(status.unwrap().unwrap().as_str(), word, "{does}");
        let found = house.book.find(&tenant, id).await.unwrap().unwrap();
        assert_eq!(found.state(), State::Sending, "{does}");
        call.abort();
    }
}
