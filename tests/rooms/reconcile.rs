//! Facts about `reconcile`.

use super::hooks::{Check, Look, Planned};
use super::house::{
    Does, House, KEYED, Plan, faulty, faulty_over, kind, millis, on_record, pay, pay_within,
    seconds, state, upstream,
};
use super::probe::Probe;
use http::Response;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tower::{Service, ServiceExt};
use tower_sturdy::BoxError;
use tower_sturdy::clock::Clock;
use tower_sturdy::error::{Error, Kind};
use tower_sturdy::journal::faulty::{Call, Fault};
use tower_sturdy::journal::{Capability, Concurrent, MemoryJournal, State};
use tower_sturdy::outcome::Outcome;
use tower_sturdy::payload::{Payload, ServedFrom};
use tower_sturdy::reconcile::{NoHooks, ReconcileConfig, Reconciler, Upstream};

async fn in_doubt(house: &House, key: &str) {
    let told = house.service.clone().oneshot(pay(key)).await;
    assert!(matches!(kind(told), Kind::OutcomeUnknown | Kind::Pending));
}

#[tokio::test(start_paused = true)]
async fn a_keyed_write_in_doubt_is_looked_up_first_and_sent_again_once_nothing_can_land() {
    let journal = faulty();
    let plan = Plan::new(KEYED);
    let (probe, counts) = upstream([Does::Resets]);
    let hooks = Planned::new([]);
    let house = plan.build(&journal, probe, hooks.clone());
    house.reconciler.start();
    in_doubt(&house, "a").await;
    tokio::time::sleep(plan.config.settle.settle_window - seconds(1)).await;
    assert!(hooks.looked() >= 2);
    assert_eq!(counts.calls(), 1);
    tokio::time::sleep(seconds(60)).await;
    assert_eq!(counts.calls(), 2);
    assert_eq!(state(journal.inner(), "a").await, State::Completed);
    assert_eq!(house.reconciler.figures().resent(), 1);
    let record = on_record(journal.inner(), "a").await.unwrap();
    assert_eq!((record.progress.due, house.book.live()), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn proof_completes_without_a_send_and_wakes_who_waits() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Resets]);
    let hooks = Planned::new([Look::Absent, Look::Found]);
    let house = Plan::new(Capability::Lookup).build(&journal, probe, hooks);
    house.reconciler.start();
    let started = Clock::system().now();
    let answer = house
        .service
        .clone()
        .oneshot(pay_within("a", seconds(600)))
        .await
        .unwrap();
    assert_eq!(answer.body().bytes(), "found");
    assert!(started.elapsed() < seconds(10), "{:?}", started.elapsed());
    assert_eq!(counts.calls(), 1);
    assert_eq!(house.reconciler.figures().found(), 1);
    // Later callers get the same.
    let again = house.service.clone().oneshot(pay("a")).await.unwrap();
    assert_eq!(again.body().bytes(), "found");
    assert!(matches!(
        again.body().served_from(),
        ServedFrom::Replay { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn what_is_absent_parks_without_a_key_and_late_proof_still_completes_it() {
    let journal = faulty();
    let plan = Plan::new(Capability::Lookup);
    let (probe, counts) = upstream([Does::Resets]);
    let hooks = Planned::new([]);
    let house = plan.build(&journal, probe, hooks.clone());
    house.reconciler.start();
    in_doubt(&house, "a").await;
    let settle = plan.config.settle;
    tokio::time::sleep(settle.settle_window + settle.read_lag - seconds(2)).await;
    assert_eq!(state(journal.inner(), "a").await, State::Unknown);
    tokio::time::sleep(settle.look_backoff_max + seconds(5)).await;
    assert_eq!(state(journal.inner(), "a").await, State::Parked);
    assert_eq!(
        kind(house.service.clone().oneshot(pay("a")).await),
        Kind::Parked
    );
    let looked = hooks.looked();
    hooks.then([Look::Absent, Look::Found]);
    tokio::time::sleep(settle.parked_interval * 2 + seconds(60)).await;
    assert_eq!(hooks.looked(), looked + 2);
    assert_eq!(state(journal.inner(), "a").await, State::Completed);
    assert_eq!(
        (counts.calls(), house.reconciler.figures().parked()),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_or_takes_too_long_cannot_tell() {
    for look in [
        Look::Panics,
        Look::PanicsAtOnce,
        Look::Hangs,
        Look::CannotTell,
    ] {
        let journal = faulty();
        let plan = Plan::new(Capability::Lookup);
        let (probe, counts) = upstream([Does::Resets]);
        let hooks = Planned::new([look; 100]);
        let house = plan.build(&journal, probe, hooks.clone());
        house.reconciler.start();
        in_doubt(&house, "a").await;
        tokio::time::sleep(seconds(10_000)).await;
        // A person is asked after a bounded number of failed looks.
        assert_eq!(state(journal.inner(), "a").await, State::Parked, "{look:?}");
        let most = plan.config.settle.looks_max as usize + 4;
        assert!(
            (2..=most).contains(&hooks.looked()),
            "{look:?}: {}",
            hooks.looked()
        );
        assert_eq!(counts.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_takes_longer_than_the_lease_still_leads_on() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Resets]);
    let hooks = Planned::new([Look::AbsentAfter(seconds(90)); 100]);
    let house = Plan::new(KEYED).build(&journal, probe, hooks);
    house.reconciler.start();
    in_doubt(&house, "a").await;
    tokio::time::sleep(seconds(900)).await;
    assert_eq!(counts.calls(), 2);
    assert_eq!(state(journal.inner(), "a").await, State::Completed);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_keeps_refusing_is_not_hammered() {
    for refusal in [429, 400, 500] {
        let journal = faulty();
        let refusals = std::iter::repeat_n(Does::Answers(refusal), 10_000);
        let all = std::iter::once(Does::Resets).chain(refusals);
        let (probe, counts) = upstream(all);
        let house = Plan::new(KEYED).build(&journal, probe, Planned::new([]));
        house.reconciler.start();
        in_doubt(&house, "a").await;
        tokio::time::sleep(seconds(3_000)).await;
        assert!(
            (2..60).contains(&counts.calls()),
            "{refusal}: {}",
            counts.calls()
        );
        assert_eq!(
            state(journal.inner(), "a").await,
            State::Unknown,
            "{refusal}"
        );
        tokio::time::sleep(seconds(3_000)).await;
        assert_eq!(
            state(journal.inner(), "a").await,
            State::Parked,
            "{refusal}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_takes_no_step_is_not_hammered() {
    let journal = faulty();
    let (probe, _) = upstream([Does::Resets]);
    let house = Plan::new(KEYED).build(&journal, probe, Planned::new([]));
    in_doubt(&house, "a").await;
    house.reconciler.start();
    journal.next(Call::Step, [Fault::Fails; 1_000]);
    let before = journal.calls(Call::Step);
    tokio::time::sleep(seconds(60)).await;
    let steps = journal.calls(Call::Step) - before;
    assert!((2..=130).contains(&steps), "{steps}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_may_leave_only_once_and_was_refused_is_rejected_and_waits_for_nobody() {
    for slowly in [true, false] {
        let journal = faulty();
        let refusal = if slowly {
            Does::Slowly(429, seconds(1))
        } else {
            Does::Answers(429)
        };
        let (probe, counts) = upstream([refusal]);
        let house = Plan::new(Capability::None).build(&journal, probe, Planned::new([]));
        house.reconciler.start();
        let told = house.service.clone().oneshot(pay("a")).await;
        assert_eq!(told.is_err(), slowly, "it took longer than patience");
        tokio::time::sleep(seconds(60)).await;
        assert_eq!(state(journal.inner(), "a").await, State::Rejected);
        // Who asks again gets the refusal itself, as a final one.
        let again = house.service.clone().oneshot(pay("a")).await.unwrap();
        let verdict = again.body().verdict().unwrap();
        assert_eq!(
            (again.status().as_u16(), verdict.outcome),
            (429, Outcome::Rejected)
        );
        assert_eq!(counts.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_local_record_is_told_again_until_it_says_done() {
    let journal = faulty();
    let mut plan = Plan::new(KEYED);
    plan.config.acknowledge_after = Some(seconds(2));
    let (probe, _) = upstream([]);
    let hooks = Planned::new([]);
    hooks.checks([Check::NotYet, Check::Fails, Check::Panics, Check::Drifts]);
    let house = plan.build(&journal, probe, hooks.clone());
    house.reconciler.start();
    house.service.clone().oneshot(pay("a")).await.unwrap();
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(hooks.checked(), 0);
    tokio::time::sleep(seconds(600)).await;
    assert_eq!(hooks.checked(), 4);
    let record = on_record(journal.inner(), "a").await.unwrap();
    assert!(record.progress.acknowledged && record.progress.due.is_none());
    // One of two verified operations drifted.
    house.service.clone().oneshot(pay("b")).await.unwrap();
    tokio::time::sleep(seconds(60)).await;
    assert!((house.reconciler.figures().drift_ratio() - 0.5).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn a_settled_operation_is_told_to_the_local_record_after_a_crash_too() {
    let memory = MemoryJournal::new();
    let mut plan = Plan::new(KEYED);
    plan.config.acknowledge_after = Some(seconds(30));
    let (probe, _) = upstream([]);
    let first = plan.build(&faulty_over(&memory), probe, Arc::new(NoHooks));
    first.service.clone().oneshot(pay("a")).await.unwrap();
    tokio::time::sleep(seconds(1)).await;
    first.book.kill();
    plan.seed = 2;
    let hooks = Planned::new([]);
    let (probe, counts) = upstream([]);
    let next = plan.build(&faulty_over(&memory), probe, hooks.clone());
    next.reconciler.start();
    tokio::time::sleep(seconds(60)).await;
    assert_eq!((hooks.checked(), counts.calls()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn two_workers_on_one_journal_settle_each_operation_once() {
    let memory = MemoryJournal::new();
    let mut plan = Plan::new(KEYED);
    plan.config.acknowledge_after = Some(Duration::ZERO);
    let (probe, counts) = upstream([Does::Resets; 8]);
    let hooks = Planned::new([]);
    let one = plan.build(&faulty_over(&memory), probe, hooks.clone());
    plan.seed = 2;
    let (probe, other_counts) = upstream([]);
    let two = plan.build(&faulty_over(&memory), probe, hooks.clone());
    for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        in_doubt(&one, key).await;
    }
    one.reconciler.start();
    two.reconciler.start();
    tokio::time::sleep(seconds(3_600)).await;
    assert_eq!(
        counts.calls() + other_counts.calls(),
        16,
        "one attempt and one resend each"
    );
    assert_eq!(hooks.checked(), 8);
    let figures = [one.reconciler.figures(), two.reconciler.figures()];
    assert_eq!(
        figures.map(|figures| figures.resent()).iter().sum::<u64>(),
        8
    );
    assert_eq!(two.reconciler.unresolved().await.unwrap().total(), 0);
    assert_eq!((one.book.live(), two.book.live()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_unresolved_is_counted_by_state_and_age() {
    let journal = faulty();
    let (probe, _) = upstream([Does::Resets, Does::Hangs, Does::Answers(429)]);
    let house = Plan::new(Capability::Lookup).build(&journal, probe, Arc::new(NoHooks));
    in_doubt(&house, "a").await;
    in_doubt(&house, "b").await;
    assert_eq!(
        house
            .service
            .clone()
            .oneshot(pay("c"))
            .await
            .unwrap()
            .status(),
        429
    );
    tokio::time::sleep(seconds(10)).await;
    let unresolved = house.reconciler.unresolved().await.unwrap();
    let states: Vec<_> = unresolved.by_state.into_iter().collect();
    assert_eq!(
        states,
        [(State::Sending, 1), (State::Unknown, 1), (State::Ready, 1)]
    );
    assert!(unresolved.oldest >= seconds(10));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_could_never_work_is_refused_with_the_fix() {
    let book = super::house::book_with(
        Arc::new(MemoryJournal::new()),
        super::house::clock(),
        tower_sturdy::journal::BookConfig::default(),
        1,
    );
    let (probe, _) = upstream([]);
    let config = ReconcileConfig {
        concurrency: 0,
        ..ReconcileConfig::default()
    };
    let error = Reconciler::new(config, book, Upstream::new(probe), Arc::new(NoHooks)).unwrap_err();
    assert!(
        error.to_string().contains("reconcile.concurrency"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_asks_for_a_wait_beyond_reason_hides_nothing_from_people() {
    for doubted in [true, false] {
        let journal = faulty();
        let first = std::sync::atomic::AtomicBool::new(doubted);
        let (probe, _) = Probe::new(move |_| {
            let doubted = first.swap(false, Ordering::SeqCst);
            async move {
                if doubted {
                    return Err::<_, BoxError>("connection reset".into());
                }
                let mut answer = Response::new(Payload::empty());
                *answer.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
                let years = http::HeaderValue::from_static("18446744073709551615");
                answer.headers_mut().insert("retry-after", years);
                Ok(answer)
            }
        });
        let house = Plan::new(KEYED).build(&journal, probe, Planned::new([]));
        let mut service = house.service.clone();
        let call = service.ready().await.unwrap().call(pay("a"));
        if doubted {
            let _ = call.await;
        } else {
            // Its caller leaves, so that the work goes on without it.
            drop(call);
        }
        house.reconciler.start();
        tokio::time::sleep(seconds(2 * 86_400)).await;
        assert_eq!(
            state(journal.inner(), "a").await,
            State::Parked,
            "{doubted}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_day_leaves_a_record_that_can_be_read() {
    // Refused before anything is sent, refused by the upstream, and refused after doubt under a key that lasts.
    let day = Capability::Keyed {
        horizon: seconds(86_400),
        concurrent: Concurrent::Unproven,
    };
    for (does, doubted) in [(429, false), (429, true), (400, true)] {
        let journal = faulty();
        let refusals = std::iter::repeat_n(Does::Answers(does), 100_000);
        let first = if doubted {
            Does::Resets
        } else {
            Does::Answers(429)
        };
        let (probe, counts) = upstream(std::iter::once(first).chain(refusals));
        let house = Plan::new(day).build(&journal, probe, Planned::new([]));
        let mut service = house.service.clone();
        drop(service.ready().await.unwrap().call(pay("a")));
        house.reconciler.start();
        tokio::time::sleep(seconds(86_000)).await;
        let record = on_record(journal.inner(), "a").await.unwrap();
        let trail = record.progress.history.len();
        assert!(
            (20..150).contains(&counts.calls()) && trail < 400,
            "{does} {doubted}: {} sends, {trail} steps",
            counts.calls()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_never_gets_as_far_as_the_gate_is_tried_ever_more_rarely_too() {
    let journal = faulty();
    let (probe, _) = upstream([Does::Slowly(429, millis(10))]);
    let house = Plan::new(KEYED).build(&journal, probe, Planned::new([]));
    let mut service = house.service.clone();
    drop(service.ready().await.unwrap().call(pay("a")));
    let full = tower::service_fn(|_: http::Request<Payload>| async {
        Err::<Response<Payload>, _>(Error::rate_limited(millis(1)))
    });
    let config = ReconcileConfig::default();
    let upstream = Upstream::new(full);
    let worker = Reconciler::new(config, house.book.clone(), upstream, Planned::new([])).unwrap();
    worker.start();
    tokio::time::sleep(seconds(80_000)).await;
    let record = on_record(journal.inner(), "a").await.unwrap();
    assert!(record.progress.attempts.len() < 3);
    let trail = record.progress.history.len();
    assert!((20..400).contains(&trail), "{trail} steps");
}
