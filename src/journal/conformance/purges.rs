//! Laws of `purge`.

use super::claims::{claimed, existing, on_record};
use super::sample::{after, asking, odd_answer, plain};
use super::{Found, answered, must, told};
use crate::clock::Timestamp;
use crate::context::OperationId;
use crate::journal::record::Transition;
use crate::journal::{Claim, Filter, Journal, JournalError, Keep, Lookup, Purge, Record, State};
use std::sync::Arc;

fn at(second: u64) -> Timestamp {
    Timestamp::from_millis(second * 1_000)
}

/// Asked for and settled within one second, with a key that was made then, or does not say.
fn settled(id: u128, second: u64, dated: bool, state: State) -> Result<Record, String> {
    let mut record = asking(plain(id, &format!("key-{id}"))?, |asked| {
        asked.at = at(second);
        asked.issued = dated.then(|| at(second));
        asked.request.body = vec![7; 100].into();
        asked.conflict = Some(format!("bill-{id}"));
    });
    record.answer = Some(odd_answer());
    record.progress.history.push(Transition {
        at: at(second),
        from: record.state(),
        to: state,
        why: "law".into(),
        by: "law".into(),
    });
    record.progress.state = state;
    record.progress.due = None;
    record.progress.acknowledged = true;
    Ok(record)
}

fn again(record: &Record, id: u128) -> Record {
    let mut again = asking(record.clone(), |asked| {
        asked.id = OperationId::from_bits(id);
        asked.at = at(1_000_000);
        asked.conflict = None;
    });
    again.progress.state = State::Claimed;
    again
}

async fn purged<J: Purge>(
    journal: &J,
    before: Timestamp,
    keep: Keep,
    expected: (u64, u64),
) -> Found {
    let purged = told("purge", journal.purge(before, keep).await)?;
    let counted = (purged.tombstones, purged.deleted);
    must(counted == expected, || {
        format!("{counted:?} tombstones and deleted, expected {expected:?}")
    })
}

async fn expires<J: Journal>(journal: &J, record: &Record) -> Found {
    answered(
        &told("claim", journal.claim(record).await)?,
        &Claim::Expired,
    )
}

pub(super) async fn only_what_is_over_is_purged<J: Purge>(journal: Arc<J>) -> Found {
    let mut stay = Vec::new();
    for (id, state) in (1..).zip(State::ALL) {
        if !state.is_final() {
            stay.push(settled(id, 10, true, state)?);
        }
    }
    let over = settled(20, 10, true, State::Completed)?;
    let changes: [fn(&mut Record); 3] = [
        |record| record.progress.due = Some(at(10)),
        |record| record.progress.acknowledged = false,
        |record| record.progress.contradicted = true,
    ];
    for (id, change) in (30..).zip(changes) {
        let mut record = settled(id, 10, true, State::Rejected)?;
        change(&mut record);
        stay.push(record);
    }
    stay.push(settled(40, 99, true, State::Completed)?);
    for record in stay.iter().chain([&over]) {
        claimed(&*journal, record).await?;
    }
    purged(&*journal, at(10), Keep::Nothing, (0, 0)).await?;
    purged(&*journal, at(99), Keep::Tombstones, (1, 0)).await?;
    purged(&*journal, at(99), Keep::Nothing, (0, 1)).await?;
    for record in &stay {
        on_record(&*journal, record).await?;
    }
    let all = told("list", journal.list(&Filter::default()).await)?;
    must(all.len() == stay.len(), || {
        format!("{} are left", all.len())
    })
}

pub(super) async fn a_tombstone_answers_for_its_key_and_holds_nothing_else<J: Purge>(
    journal: Arc<J>,
) -> Found {
    let record = settled(1, 10, false, State::Completed)?;
    claimed(&*journal, &record).await?;
    purged(&*journal, at(11), Keep::Tombstones, (1, 0)).await?;
    purged(&*journal, at(11), Keep::Tombstones, (0, 0)).await?;
    let found = told("get", journal.get(Lookup::Id(record.id())).await)?;
    let left = found.ok_or("the tombstone is gone")?;
    must(
        left.is_tombstone() && left.state() == State::Completed,
        || "it is no tombstone".to_owned(),
    )?;
    must(left.ended() == Some(at(10)), || {
        "it forgot when it ended".to_owned()
    })?;
    must(left.asked.fingerprint == record.asked.fingerprint, || {
        "it forgot what was asked".to_owned()
    })?;
    let request = &left.asked.request;
    let empty = request.body.is_empty() && request.headers.is_empty() && left.answer.is_none();
    must(empty && request.uri.query().is_none(), || {
        "it kept business data".to_owned()
    })?;
    on_record(&*journal, &left).await?;
    let answer = told("claim", journal.claim(&again(&record, 2)).await)?;
    answered(&answer, &existing(&left))?;
    // Whoever had it in hand learns of it with the next step; nothing comes back.
    match journal.step(&after(&record, |_| ())).await {
        Err(JournalError::Conflict(current)) => super::same(&current, &left)?,
        Ok(()) => return Err("a stale step was taken".to_owned()),
        Err(other) => return Err(format!("expected `Conflict`, was told: {other}")),
    }
    // Keys that are not on record are taken as ever.
    claimed(&*journal, &settled(3, 5, false, State::Sending)?).await
}

pub(super) async fn a_deleted_key_is_never_taken_as_new<J: Purge>(journal: Arc<J>) -> Found {
    let (dated, undated) = (
        settled(1, 10, true, State::Completed)?,
        settled(2, 20, false, State::Rejected)?,
    );
    for record in [&dated, &undated] {
        claimed(&*journal, record).await?;
    }
    purged(&*journal, at(15), Keep::Nothing, (0, 1)).await?;
    expires(&*journal, &again(&dated, 11)).await?;
    // What is still on record answers for itself.
    let answer = told("claim", journal.claim(&again(&undated, 12)).await)?;
    answered(&answer, &existing(&undated))?;
    // Made between what was deleted and what was not.
    claimed(
        &*journal,
        &again(&settled(5, 12, true, State::Claimed)?, 15),
    )
    .await?;
    purged(&*journal, at(50), Keep::Nothing, (0, 1)).await?;
    for (id, record) in (21..).zip([&dated, &undated]) {
        expires(&*journal, &again(record, id)).await?;
        let found = told("get", journal.get(Lookup::Id(record.id())).await)?;
        must(found.is_none(), || "it is still there".to_owned())?;
    }
    for (id, second, dated, takes) in [
        (31, 20, true, false),
        (32, 21, true, true),
        (33, 21, false, false),
        (34, 900_000, false, false),
        // A key cannot have been made long after it is asked with: that says nothing.
        (35, 2_000_000, true, false),
    ] {
        let record = again(&settled(id, second, dated, State::Claimed)?, id);
        if takes {
            claimed(&*journal, &record).await?;
        } else {
            expires(&*journal, &record).await?;
        }
    }
    Ok(())
}

pub(super) async fn a_purge_of_many_leaves_none<J: Purge>(journal: Arc<J>) -> Found {
    for id in 0..700 {
        let state = if id % 3 == 0 {
            State::Sending
        } else {
            State::Completed
        };
        claimed(&*journal, &settled(id, 10, true, state)?).await?;
    }
    purged(&*journal, at(11), Keep::Tombstones, (466, 0)).await?;
    purged(&*journal, at(11), Keep::Nothing, (0, 466)).await?;
    let all = Filter {
        limit: usize::MAX,
        ..Filter::default()
    };
    let left = told("list", journal.list(&all).await)?.len();
    must(left == 234, || format!("{left} are left"))
}
