//! The journal that goes wrong by plan: its faults are what they say, and without any it is the journal beneath.

use crate::sample::{record, unwrap};
use std::sync::Arc;
use std::time::Duration;
use tower_sturdy::clock::Clock;
use tower_sturdy::journal::conformance::check;
use tower_sturdy::journal::faulty::{Call, Fault, FaultOdds, FaultyPlan};
use tower_sturdy::journal::{
    Claim, Durability, FaultyJournal, Filter, Journal, JournalError, Lookup, MemoryJournal, Record,
};

fn over_memory() -> FaultyJournal {
    FaultyJournal::new(Arc::new(MemoryJournal::new()))
}

/// The next version of a record.
fn stepped(record: &Record) -> Record {
    let mut next = record.clone();
    next.progress.version += 1;
    next
}

/// Makes one call of this kind; whether it was told to be fine.
async fn call(journal: &dyn Journal, call: Call, record: &Record) -> Result<(), JournalError> {
    match call {
        Call::Claim => journal.claim(record).await.map(|_| ()),
        Call::Step => journal.step(&stepped(record)).await,
        Call::Get => journal.get(Lookup::Id(record.id())).await.map(|_| ()),
        Call::List => journal.list(&Filter::default()).await.map(|_| ()),
    }
}

/// The version on record; 0 for what is not.
async fn version(journal: &FaultyJournal, record: &Record) -> u64 {
    let found = unwrap(journal.inner().get(Lookup::Id(record.id())).await);
    found.map_or(0, |found| found.progress.version)
}

#[tokio::test]
async fn without_a_plan_it_keeps_the_laws_of_the_journal_beneath() {
    unwrap(check(async || over_memory()).await);
}

#[tokio::test(start_paused = true)]
async fn delays_alone_break_no_law() {
    let odds = FaultOdds {
        tells_after: 0.5,
        makes_after: 0.5,
        // A law makes hundreds of calls, and must be done within its time.
        delay_max: Duration::from_millis(5),
        ..FaultOdds::NONE
    };
    for seed in 0..20 {
        let make = async || {
            let memory = Arc::new(MemoryJournal::new());
            unwrap(FaultyJournal::seeded(memory, &FaultyPlan::all(seed, odds)))
        };
        let kept = check(make).await;
        kept.unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_was_not_made_and_what_applies_then_fails_was() {
    let wanted = record(1, "key", 10);
    for (fault, after_claim, after_step) in [(Fault::Fails, 0, 1), (Fault::AppliesThenFails, 1, 2)]
    {
        let journal = over_memory();
        journal.next(Call::Claim, [fault]);
        let failed = journal.claim(&wanted).await;
        assert!(matches!(failed, Err(JournalError::Unavailable(_))));
        assert_eq!(version(&journal, &wanted).await, after_claim, "{fault:?}");

        let again = unwrap(journal.claim(&wanted).await);
        assert_eq!(again == Claim::Claimed, after_claim == 0, "{fault:?}");
        journal.next(Call::Step, [fault]);
        let failed = journal.step(&stepped(&wanted)).await;
        assert!(matches!(failed, Err(JournalError::Unavailable(_))));
        assert_eq!(version(&journal, &wanted).await, after_step, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_told_late_was_made_at_once_and_what_is_made_late_was_not() {
    let wait = Duration::from_secs(5);
    for (fault, at_once) in [(Fault::TellsAfter(wait), 1), (Fault::MakesAfter(wait), 0)] {
        let wanted = record(1, "key", 10);
        let journal = over_memory();
        journal.next(Call::Claim, [fault; 2]);
        // Dropped on its way, one second before it would be told.
        let dropped = wait - Duration::from_secs(1);
        let told = tokio::time::timeout(dropped, journal.claim(&wanted)).await;
        assert!(told.is_err(), "{fault:?}");
        assert_eq!(version(&journal, &wanted).await, at_once, "{fault:?}");

        let started = Clock::system().now();
        let claim = unwrap(journal.claim(&wanted).await);
        assert_eq!(claim == Claim::Claimed, at_once == 0, "{fault:?}");
        assert!(started.elapsed() >= wait, "{fault:?}");
        assert_eq!(version(&journal, &wanted).await, 1, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_hangs_never_comes_back_and_what_panics_panics_and_neither_is_made() {
    let journal = over_memory();
    let wanted = record(1, "key", 10);
    journal.next(Call::Claim, [Fault::Hangs, Fault::Panics]);
    let day = Duration::from_secs(86_400);
    let told = tokio::time::timeout(day, journal.claim(&wanted)).await;
    assert!(told.is_err());
    let (panicking, claimed) = (journal.clone(), wanted.clone());
    let task = tokio::spawn(async move { panicking.claim(&claimed).await });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(version(&journal, &wanted).await, 0);
    // It goes on afterwards.
    assert_eq!(unwrap(journal.claim(&wanted).await), Claim::Claimed);
}

#[tokio::test]
async fn a_script_is_for_its_kind_of_call_and_in_turn() {
    for planned in Call::ALL {
        let journal = over_memory();
        let wanted = record(1, "key", 10);
        unwrap(journal.claim(&wanted).await);
        let before = journal.calls(planned);
        journal.next(planned, [Fault::Fine, Fault::Fails]);
        journal.next(planned, [Fault::Fails]);
        for other in Call::ALL.into_iter().filter(|other| *other != planned) {
            let other = call(journal.inner(), other, &wanted).await;
            assert!(other.is_ok() || matches!(other, Err(JournalError::Conflict(_))));
        }
        let mut failed = Vec::new();
        for _ in 0..4 {
            let result = call(&journal, planned, &wanted).await;
            failed.push(matches!(result, Err(JournalError::Unavailable(_))));
        }
        assert_eq!(failed, [false, true, true, false], "{planned}");
        assert_eq!(journal.calls(planned) - before, 4, "{planned}");
        assert_eq!(journal.faults(planned), 2, "{planned}");
    }
}

#[tokio::test]
async fn while_it_is_down_nothing_is_made_and_no_plan_is_used_up() {
    let journal = over_memory();
    let wanted = record(1, "key", 10);
    journal.next(Call::Claim, [Fault::AppliesThenFails]);
    journal.down(true);
    for kind in Call::ALL {
        let told = call(&journal.clone(), kind, &wanted).await;
        let error = told.expect_err("it is down");
        assert!(matches!(error, JournalError::Unavailable(_)), "{kind}");
        assert!(error.to_string().contains(&kind.to_string()), "{error}");
    }
    assert_eq!(version(&journal, &wanted).await, 0);
    journal.down(false);
    assert!(journal.claim(&wanted).await.is_err());
    assert_eq!(version(&journal, &wanted).await, 1);
}

/// Which of 400 calls of this kind failed.
async fn failures(plan: &FaultyPlan, kind: Call, between: bool) -> Vec<bool> {
    let journal = unwrap(FaultyJournal::seeded(Arc::new(MemoryJournal::new()), plan));
    let mut failed = Vec::new();
    for number in 0..400 {
        let wanted = record(number, &format!("key-{number}"), 1);
        if between {
            let _ = journal.list(&Filter::default()).await;
        }
        let result = call(&journal, kind, &wanted).await;
        failed.push(matches!(result, Err(JournalError::Unavailable(_))));
    }
    failed
}

#[tokio::test]
async fn a_seed_repeats_its_faults_whatever_other_calls_come_between() {
    let odds = FaultOdds {
        fails: 0.2,
        applies_then_fails: 0.1,
        ..FaultOdds::NONE
    };
    let first = failures(&FaultyPlan::all(7, odds), Call::Claim, false).await;
    assert_eq!(
        first,
        failures(&FaultyPlan::all(7, odds), Call::Claim, true).await
    );
    assert_ne!(
        first,
        failures(&FaultyPlan::all(8, odds), Call::Claim, false).await
    );
    // About 120 of 400: 80 and 160 are 4 deviations away, and the seed is fixed.
    let count = first.iter().filter(|failed| **failed).count();
    assert!((80..160).contains(&count), "{count} of 400");
}

#[tokio::test]
async fn odds_are_for_their_own_kind_of_call() {
    let always = FaultOdds {
        fails: 1.0,
        ..FaultOdds::NONE
    };
    for kind in Call::ALL {
        let mut plan = FaultyPlan::default();
        match kind {
            Call::Claim => plan.claim = always,
            Call::Step => plan.step = always,
            Call::Get => plan.get = always,
            Call::List => plan.list = always,
        }
        for other in Call::ALL {
            let failed = failures(&plan, other, false).await;
            assert!(
                failed.iter().all(|failed| *failed == (other == kind)),
                "{kind}, {other}"
            );
        }
    }
}

#[test]
fn odds_that_are_no_odds_are_refused_with_their_name() {
    let seeded = |odds| {
        let plan = FaultyPlan {
            get: odds,
            ..FaultyPlan::default()
        };
        FaultyJournal::seeded(Arc::new(MemoryJournal::new()), &plan)
    };
    let none = FaultOdds::NONE;
    for (odds, field) in [
        (FaultOdds { fails: 1.1, ..none }, "faulty.get.fails"),
        (
            FaultOdds {
                tells_after: -0.1,
                ..none
            },
            "faulty.get.tells_after",
        ),
        (
            FaultOdds {
                makes_after: f64::NAN,
                ..none
            },
            "faulty.get.makes_after",
        ),
        (
            FaultOdds {
                fails: 0.6,
                applies_then_fails: 0.6,
                ..none
            },
            "faulty.get",
        ),
        (
            FaultOdds {
                delay_max: Duration::ZERO,
                ..none
            },
            "faulty.get.delay_max",
        ),
    ] {
        assert_eq!(seeded(odds).unwrap_err().field(), field);
    }
    let tenths = FaultOdds {
        fails: 0.7,
        applies_then_fails: 0.1,
        tells_after: 0.1,
        makes_after: 0.1,
        ..none
    };
    assert!(seeded(tenths).is_ok());
}

#[test]
fn it_survives_what_the_journal_beneath_does_unless_it_is_told_otherwise() {
    let journal = over_memory();
    assert_eq!(journal.durability(), Durability::Volatile);
    let journal = journal.with_durability(Durability::CrashDurable);
    assert_eq!(journal.durability(), Durability::CrashDurable);
}
