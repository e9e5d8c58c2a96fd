//! Laws of `step`.

use super::claims::{absent, claimed, dropped, on_record};
use super::sample::{after, asking, odd_answer, odd_progress, plain};
use super::{Found, same, told};
use crate::clock::Timestamp;
use crate::context::Tenant;
use crate::journal::{Filter, Journal, JournalError, Lookup, State};
use std::sync::Arc;
use tokio::task::JoinSet;

pub(super) async fn a_step_is_read_back_whole<J: Journal>(journal: Arc<J>) -> Found {
    let mut record = plain(1, "key")?;
    claimed(&*journal, &record).await?;
    for state in State::ALL {
        record = after(&record, |next| {
            next.progress = odd_progress(state, next.progress.version);
            next.answer = Some(odd_answer());
        });
        told("step", journal.step(&record).await)?;
        on_record(&*journal, &record).await?;
    }
    record = after(&record, |next| {
        next.answer = None;
        next.progress.due = None;
        next.progress.attempts.clear();
        next.progress.history.clear();
    });
    told("step", journal.step(&record).await)?;
    on_record(&*journal, &record).await
}

pub(super) async fn one_of_two_concurrent_steps_wins<J: Journal>(journal: Arc<J>) -> Found {
    let mut record = plain(1, "key")?;
    claimed(&*journal, &record).await?;
    for _ in 0..8 {
        let mut tasks = JoinSet::new();
        for checks in 0..2 {
            let journal = Arc::clone(&journal);
            let next = after(&record, |next| next.progress.checks = checks);
            tasks.spawn(async move { (journal.step(&next).await, next) });
        }
        let (mut won, mut lost) = (Vec::new(), Vec::new());
        for (answer, next) in tasks.join_all().await {
            match answer {
                Ok(()) => won.push(next),
                Err(JournalError::Conflict(current)) => lost.push(*current),
                Err(other) => return Err(format!("a step failed: {other}")),
            }
        }
        let ([winner], [shown]) = (&won[..], &lost[..]) else {
            return Err(format!("{} of 2 steps won", won.len()));
        };
        same(shown, winner)?;
        record = won.remove(0);
        on_record(&*journal, &record).await?;
    }
    Ok(())
}

pub(super) async fn a_step_from_another_version_changes_nothing<J: Journal>(
    journal: Arc<J>,
) -> Found {
    let first = plain(1, "key")?;
    claimed(&*journal, &first).await?;
    let current = after(&first, |next| next.progress.checks = 9);
    told("step", journal.step(&current).await)?;
    for version in [0, 1, 2, 4, u64::MAX] {
        let mut stray = current.clone();
        stray.progress.version = version;
        stray.progress.state = State::Completed;
        match journal.step(&stray).await {
            Err(JournalError::Conflict(told)) => same(&told, &current)?,
            Err(other) => return Err(format!("a step to version {version}: {other}")),
            Ok(()) => return Err(format!("a step from 2 to version {version} was taken")),
        }
        on_record(&*journal, &current).await?;
    }
    Ok(())
}

pub(super) async fn a_step_of_nothing_is_missing<J: Journal>(journal: Arc<J>) -> Found {
    let record = plain(1, "key")?;
    let next = after(&record, |_| ());
    match journal.step(&next).await {
        Err(JournalError::Missing(id)) if id == record.id() => {}
        Err(other) => return Err(format!("expected `Missing`, was told: {other}")),
        Ok(()) => return Err("a step of nothing was taken".to_owned()),
    }
    absent(&*journal, Lookup::Id(record.id())).await
}

pub(super) async fn a_step_never_changes_what_was_asked<J: Journal>(journal: Arc<J>) -> Found {
    let bill = |record| asking(record, |asked| asked.conflict = Some("bill".to_owned()));
    let record = bill(plain(1, "key")?);
    claimed(&*journal, &record).await?;
    let next = after(&record, |next| next.progress.state = State::Completed);
    let forged = asking(next.clone(), |asked| {
        asked.namespace = Arc::from("forged");
        asked.tenant = Tenant::default();
        asked.conflict = None;
        asked.upstream_key = "forged".to_owned();
        asked.fingerprint.digest = [0; 32];
        asked.request.uri = http::Uri::from_static("/forged");
        asked.request.body.clear();
        asked.at = Timestamp::NEVER;
        asked.issued = None;
    });
    told("step", journal.step(&forged).await)?;
    on_record(&*journal, &next).await?;
    // What it was about is free again, though the step said that it was about nothing.
    claimed(&*journal, &bill(plain(2, "next")?)).await
}

pub(super) async fn a_step_that_is_dropped_is_whole_or_absent<J: Journal>(
    journal: Arc<J>,
) -> Found {
    let mut record = plain(1, "key")?;
    claimed(&*journal, &record).await?;
    for polls in 0..4_u8 {
        let next = after(&record, |next| {
            next.progress.state = State::Completed;
            next.progress.due = Some(Timestamp::from_millis(u64::from(polls)));
            next.answer = Some(odd_answer());
        });
        dropped(journal.step(&next), polls).await;
        let found = told("get", journal.get(Lookup::Id(next.id())).await)?;
        let found = found.ok_or("the operation is not on record any more")?;
        same(&found, &record).or_else(|_| same(&found, &next))?;
        // Repeated, it is taken, or refused because it was made: a journal may still be at it when it is asked.
        match journal.step(&next).await {
            Ok(()) => {}
            Err(JournalError::Conflict(current)) => same(&current, &next)?,
            Err(other) => return Err(format!("a step that was dropped, again: {other}")),
        }
        on_record(&*journal, &next).await?;
        let all = told("list", journal.list(&Filter::default()).await)?;
        let [listed] = &all[..] else {
            return Err(format!("{} operations are listed, not 1", all.len()));
        };
        same(listed, &next)?;
        record = after(&next, |next| {
            next.progress.state = State::Sending;
            next.answer = None;
        });
        told("step", journal.step(&record).await)?;
    }
    Ok(())
}
