//! Laws of conflict keys: one unresolved operation about one thing.

use super::claims::{CALLERS, absent, claimed, existing, on_record, race};
use super::sample::{after, asking, plain, tenant};
use super::{Found, answered, same, told};
use crate::clock::Timestamp;
use crate::journal::{Claim, Journal, JournalError, Lookup, Record, State};
use std::sync::Arc;
use tokio::task::JoinSet;

fn conflict(record: &Record) -> Claim {
    Claim::Conflict(Box::new(record.clone()))
}

fn about(id: u128, key: &str, bill: &str) -> Result<Record, String> {
    let bill = bill.to_owned();
    Ok(asking(plain(id, key)?, |asked| asked.conflict = Some(bill)))
}

pub(super) async fn one_unresolved_operation_per_conflict_key<J: Journal>(
    journal: Arc<J>,
) -> Found {
    let first = about(1, "first", "bill-1")?;
    claimed(&*journal, &first).await?;
    let second = about(2, "second", "bill-1")?;
    let answer = told("claim", journal.claim(&second).await)?;
    answered(&answer, &conflict(&first))?;
    absent(&*journal, Lookup::Id(second.id())).await?;
    // The caller's own key comes first: a repeat of the first is no conflict with itself.
    let answer = told("claim", journal.claim(&first).await)?;
    answered(&answer, &existing(&first))?;
    let other_tenant = tenant("913")?;
    let elsewhere = asking(about(4, "second", "bill-1")?, |asked| {
        asked.tenant = other_tenant;
    });
    let other_namespace = asking(about(5, "second", "bill-1")?, |asked| {
        asked.namespace = Arc::from("production");
    });
    for record in [about(3, "third", "bill-2")?, elsewhere, other_namespace] {
        claimed(&*journal, &record).await?;
    }
    Ok(())
}

pub(super) async fn one_of_many_claims_of_a_conflict_key_wins<J: Journal>(
    journal: Arc<J>,
) -> Found {
    let records = (1..=CALLERS).map(|id| about(id, &format!("key-{id}"), "bill"));
    let (winners, losers) = race(&journal, records.collect::<Result<_, _>>()?).await?;
    let [winner] = &winners[..] else {
        return Err(format!("{} callers pay one bill", winners.len()));
    };
    for told in losers {
        answered(&told, &conflict(winner))?;
    }
    Ok(())
}

pub(super) async fn a_conflict_key_is_free_again_after_a_final_state_only<J: Journal>(
    journal: Arc<J>,
) -> Found {
    for (round, last) in (0_u128..).zip([State::Completed, State::Rejected]) {
        let bill = format!("bill-{round}");
        let mut first = about(2 * round, &format!("first-{round}"), &bill)?;
        let second = about(2 * round + 1, &format!("second-{round}"), &bill)?;
        claimed(&*journal, &first).await?;
        for state in State::ALL.into_iter().filter(|state| !state.is_final()) {
            first = after(&first, |next| next.progress.state = state);
            told("step", journal.step(&first).await)?;
            let answer = told("claim", journal.claim(&second).await)?;
            answered(&answer, &conflict(&first)).map_err(|why| format!("while {state}: {why}"))?;
        }
        first = after(&first, |next| next.progress.state = last);
        told("step", journal.step(&first).await)?;
        claimed(&*journal, &second).await?;
        // The settled one may still be stepped (acknowledged) without freeing what the second holds.
        first = after(&first, |next| next.progress.acknowledged = true);
        told("step", journal.step(&first).await)?;
        let third = about(1_000 + round, &format!("third-{round}"), &bill)?;
        let answer = told("claim", journal.claim(&third).await)?;
        answered(&answer, &conflict(&second))?;
    }
    Ok(())
}

/// Nothing happened to it, and nobody works on it.
fn idle(record: &Record) -> Record {
    after(record, |next| {
        next.progress.state = State::Ready;
        next.progress.due = None;
    })
}

fn begun_again(record: &Record) -> Record {
    after(record, |next| {
        next.progress.state = State::Sending;
        next.progress.due = Some(Timestamp::from_millis(90_000));
    })
}

async fn contended<J: Journal>(journal: &J, next: &Record, by: &Record) -> Found {
    match journal.step(next).await {
        Err(JournalError::Contended(other)) => same(&other, by),
        Err(other) => Err(format!("expected `Contended`, was told: {other}")),
        Ok(()) => Err("two operations about one thing are unresolved".to_owned()),
    }
}

pub(super) async fn what_nobody_works_on_holds_no_conflict_key<J: Journal>(
    journal: Arc<J>,
) -> Found {
    let first = about(1, "first", "bill")?;
    claimed(&*journal, &first).await?;
    let first = idle(&first);
    told("step", journal.step(&first).await)?;
    let second = about(2, "second", "bill")?;
    claimed(&*journal, &second).await?;
    let third = about(3, "third", "bill")?;
    let answer = told("claim", journal.claim(&third).await)?;
    answered(&answer, &conflict(&second))?;
    // What goes on doing nothing is in nobody's way.
    let first = idle(&first);
    told("step", journal.step(&first).await)?;
    on_record(&*journal, &first).await?;
    let answer = told("claim", journal.claim(&third).await)?;
    answered(&answer, &conflict(&second))
}

pub(super) async fn what_begins_again_takes_its_conflict_key_or_changes_nothing<J: Journal>(
    journal: Arc<J>,
) -> Found {
    let first = about(1, "first", "bill")?;
    claimed(&*journal, &first).await?;
    let first = idle(&first);
    told("step", journal.step(&first).await)?;
    let second = about(2, "second", "bill")?;
    claimed(&*journal, &second).await?;
    let promised = after(&first, |next| {
        next.progress.due = Some(Timestamp::from_millis(5))
    });
    for next in [begun_again(&first), promised] {
        contended(&*journal, &next, &second).await?;
        on_record(&*journal, &first).await?;
        on_record(&*journal, &second).await?;
    }
    // A stale step is told that it is stale, whoever holds the key.
    let stale = after(&begun_again(&first), |_| ());
    match journal.step(&stale).await {
        Err(JournalError::Conflict(current)) => same(&current, &first)?,
        Ok(()) => return Err("a stale step was taken".to_owned()),
        Err(other) => return Err(format!("expected `Conflict`, was told: {other}")),
    }
    let second = after(&second, |next| next.progress.state = State::Rejected);
    told("step", journal.step(&second).await)?;
    let first = begun_again(&first);
    told("step", journal.step(&first).await)?;
    on_record(&*journal, &first).await?;
    let third = about(3, "third", "bill")?;
    let answer = told("claim", journal.claim(&third).await)?;
    answered(&answer, &conflict(&first))
}

pub(super) async fn one_of_many_that_begin_again_wins<J: Journal>(journal: Arc<J>) -> Found {
    let mut waiting = Vec::new();
    for id in 1..=CALLERS {
        let record = about(id, &format!("key-{id}"), "bill")?;
        claimed(&*journal, &record).await?;
        let record = idle(&record);
        told("step", journal.step(&record).await)?;
        waiting.push(record);
    }
    let mut tasks = JoinSet::new();
    for record in &waiting {
        let (journal, next) = (Arc::clone(&journal), begun_again(record));
        tasks.spawn(async move { (journal.step(&next).await, next) });
    }
    let (mut won, mut lost) = (Vec::new(), Vec::new());
    for (answer, next) in tasks.join_all().await {
        match answer {
            Ok(()) => won.push(next),
            Err(JournalError::Contended(other)) => lost.push((*other, next)),
            Err(other) => return Err(format!("a step failed: {other}")),
        }
    }
    let [winner] = &won[..] else {
        return Err(format!("{} operations about one thing began", won.len()));
    };
    for (other, next) in lost {
        same(&other, winner)?;
        let on_record = told("get", journal.get(Lookup::Id(next.id())).await)?;
        if on_record.is_none_or(|found| found.state() != State::Ready) {
            return Err("a step that was refused changed something".to_owned());
        }
    }
    Ok(())
}
