//! What a process tells that takes nothing new, because it shuts down or has too much in hand: nobody is told what is
//! not known.

use super::house::{Does, House, KEYED, Plan, faulty_over, kind, pay, seconds, state, upstream};
use super::probe::Counts;
use http::Request;
use std::sync::Arc;
use tower::ServiceExt;
use tower_sturdy::error::{Error, Kind};
use tower_sturdy::journal::faulty::{Call, Fault};
use tower_sturdy::journal::{FaultyJournal, MemoryJournal, State};
use tower_sturdy::outcome::Outcome;
use tower_sturdy::payload::{Payload, ServedFrom};
use tower_sturdy::reconcile::NoHooks;

/// Keys that another process left: one paid, one in doubt, one that it works on.
async fn left_by_another(memory: &MemoryJournal) -> House {
    let (probe, _) = upstream([Does::Answers(200), Does::Resets, Does::Hangs]);
    let house = Plan::new(KEYED).build(&faulty_over(memory), probe, Arc::new(NoHooks));
    house.service.clone().oneshot(pay("paid")).await.unwrap();
    for key in ["doubt", "running"] {
        let told = house.service.clone().oneshot(pay(key)).await;
        assert!(matches!(kind(told), Kind::OutcomeUnknown | Kind::Pending));
    }
    assert_eq!(state(memory, "doubt").await, State::Unknown);
    house
}

/// A process that takes nothing new.
async fn refusing(journal: &FaultyJournal, full: bool) -> (House, Arc<Counts>) {
    let (probe, counts) = upstream([Does::Hangs]);
    let mut plan = Plan::new(KEYED);
    plan.seed = 2;
    plan.config.live_max = 1;
    let house = plan.build(journal, probe, Arc::new(NoHooks));
    if full {
        let told = house.service.clone().oneshot(pay("fills")).await;
        assert_eq!(kind(told), Kind::Pending);
    } else {
        assert_eq!(house.book.shutdown(seconds(1)).await, 0);
    }
    (house, counts)
}

#[tokio::test(start_paused = true)]
async fn who_asks_a_process_that_takes_nothing_new_is_told_what_the_journal_knows() {
    for full in [true, false] {
        let memory = MemoryJournal::new();
        let before = left_by_another(&memory).await;
        let (house, counts) = refusing(&faulty_over(&memory), full).await;
        let ask = |request| house.service.clone().oneshot(request);
        let paid = ask(pay("paid")).await.unwrap();
        assert_eq!(paid.body().bytes(), "paid");
        assert!(matches!(
            paid.body().served_from(),
            ServedFrom::Replay { .. }
        ));
        let doubt = ask(pay("doubt")).await.unwrap_err();
        assert_eq!(doubt.kind(), Kind::OutcomeUnknown, "{full}");
        let running = ask(pay("running")).await.unwrap_err();
        assert_eq!(running.outcome(), Outcome::Unknown, "{full} {running}");
        let other = Request::post("http://upstream/pay")
            .header("idempotency-key", "paid")
            .body(Payload::from("{\"amount\":2}"))
            .unwrap();
        assert_eq!(kind(ask(other).await), Kind::KeyReused, "{full}");
        // A key that nobody used was provably not sent.
        let new = ask(pay("new")).await.unwrap_err();
        let expected = if full {
            Kind::RateLimited
        } else {
            Kind::JournalUnavailable
        };
        assert_eq!((new.kind(), new.outcome()), (expected, Outcome::Unsent));
        assert_eq!(counts.calls(), usize::from(full));
        assert_eq!(house.book.live(), usize::from(full));
        drop(before);
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_journal_cannot_be_asked_nobody_is_told_that_nothing_was_sent() {
    for (full, hangs) in [(true, false), (false, false), (true, true), (false, true)] {
        let memory = MemoryJournal::new();
        let _before = left_by_another(&memory).await;
        let journal = faulty_over(&memory);
        let (house, _) = refusing(&journal, full).await;
        if hangs {
            journal.next(Call::Get, [Fault::Hangs]);
        } else {
            journal.down(true);
        }
        let asked = house.service.clone().oneshot(pay("paid"));
        let told = tokio::time::timeout(seconds(60), asked).await;
        let told = told.expect("within its patience").unwrap_err();
        assert_eq!(told.kind(), Kind::InFlight, "{full} {hangs}");
    }
}

#[test]
fn a_refusal_speaks_of_this_call_alone() {
    for refused in [
        Error::rate_limited(seconds(1)),
        Error::journal_unavailable("down"),
    ] {
        let said = refused.to_string();
        assert!(said.contains("nothing was sent by this call"), "{said}");
    }
}
