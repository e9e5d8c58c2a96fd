//! Laws of `claim` and `get`.

use super::sample::{NAMESPACE, asking, key, odd, plain, tenant};
use super::{Found, answered, in_words, must, same, told};
use crate::context::OperationId;
use crate::journal::{Claim, Journal, JournalError, Lookup, Record};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::task::JoinSet;

/// How many callers race in the laws about races.
pub(super) const CALLERS: u128 = 16;

fn by_key(record: &Record) -> Lookup<'_> {
    Lookup::Key {
        namespace: &record.asked.namespace,
        tenant: &record.asked.tenant,
        key: &record.asked.key,
    }
}

pub(super) async fn claimed<J: Journal>(journal: &J, record: &Record) -> Found {
    answered(
        &told("claim", journal.claim(record).await)?,
        &Claim::Claimed,
    )
}

pub(super) async fn on_record<J: Journal>(journal: &J, record: &Record) -> Found {
    for which in [Lookup::Id(record.id()), by_key(record)] {
        let found = told("get", journal.get(which).await)?
            .ok_or_else(|| format!("{which:?} is not on record"))?;
        same(&found, record)?;
    }
    Ok(())
}

pub(super) async fn absent<J: Journal>(journal: &J, which: Lookup<'_>) -> Found {
    let found = told("get", journal.get(which).await)?;
    must(found.is_none(), || {
        format!("{which:?} is on record, and should not be")
    })
}

pub(super) fn existing(record: &Record) -> Claim {
    Claim::Existing(Box::new(record.clone()))
}

pub(super) async fn what_is_not_on_record_is_not_found<J: Journal>(journal: Arc<J>) -> Found {
    claimed(&*journal, &plain(1, "here")?).await?;
    let elsewhere = plain(2, "elsewhere")?;
    for which in [Lookup::Id(elsewhere.id()), by_key(&elsewhere)] {
        absent(&*journal, which).await?;
    }
    Ok(())
}

pub(super) async fn a_claim_is_read_back_whole<J: Journal>(journal: Arc<J>) -> Found {
    for record in odd()? {
        claimed(&*journal, &record).await?;
        on_record(&*journal, &record).await?;
    }
    Ok(())
}

pub(super) async fn an_existing_key_is_returned_whole_and_kept<J: Journal>(
    journal: Arc<J>,
) -> Found {
    for (number, record) in (100..).zip(odd()?) {
        claimed(&*journal, &record).await?;
        let again = asking(record.clone(), |asked| {
            asked.id = OperationId::from_bits(number);
            asked.fingerprint.digest = [1; 32];
            asked.conflict = None;
        });
        for claim in [&record, &again] {
            let answer = told("claim", journal.claim(claim).await)?;
            answered(&answer, &existing(&record))?;
        }
        on_record(&*journal, &record).await?;
        absent(&*journal, Lookup::Id(again.id())).await?;
    }
    Ok(())
}

/// Claims all of them at once; the ids that won, and what the others were told.
pub(super) async fn race<J: Journal>(
    journal: &Arc<J>,
    records: Vec<Record>,
) -> Result<(Vec<Record>, Vec<Claim>), String> {
    let mut tasks = JoinSet::new();
    for record in records {
        let journal = Arc::clone(journal);
        tasks.spawn(async move { (journal.claim(&record).await, record) });
    }
    let (mut winners, mut losers) = (Vec::new(), Vec::new());
    for (answer, record) in tasks.join_all().await {
        match told("claim", answer)? {
            Claim::Claimed => winners.push(record),
            other => losers.push(other),
        }
    }
    Ok((winners, losers))
}

pub(super) async fn one_of_many_claims_of_a_key_wins<J: Journal>(journal: Arc<J>) -> Found {
    let records = (1..=CALLERS).map(|id| plain(id, "wanted"));
    let (winners, losers) = race(&journal, records.collect::<Result<_, _>>()?).await?;
    let [winner] = &winners[..] else {
        return Err(format!("{} callers claimed one key", winners.len()));
    };
    for told in losers {
        answered(&told, &existing(winner))?;
    }
    on_record(&*journal, winner).await
}

pub(super) async fn a_key_is_taken_within_its_namespace_and_tenant_only<J: Journal>(
    journal: Arc<J>,
) -> Found {
    let first = plain(1, "Key")?;
    let other_tenant = tenant("913")?;
    let (other_case, longer) = (key("key")?, key("Key0")?);
    let others = [
        asking(first.clone(), |asked| {
            asked.namespace = Arc::from("production")
        }),
        asking(first.clone(), |asked| asked.tenant = other_tenant),
        asking(first.clone(), |asked| asked.key = other_case),
        // The tenant and the key, run together, are the same text as the first one's.
        asking(first.clone(), |asked| {
            asked.namespace = Arc::from(format!("{NAMESPACE}9130"));
            asked.tenant = crate::context::Tenant::default();
        }),
        asking(first.clone(), |asked| asked.key = longer),
    ];
    claimed(&*journal, &first).await?;
    for (id, other) in (2..).zip(others) {
        let other = asking(other, |asked| asked.id = OperationId::from_bits(id));
        claimed(&*journal, &other).await?;
        on_record(&*journal, &other).await?;
    }
    on_record(&*journal, &first).await
}

pub(super) async fn an_id_is_never_taken_twice<J: Journal>(journal: Arc<J>) -> Found {
    let (first, second) = (plain(1, "first")?, plain(1, "second")?);
    claimed(&*journal, &first).await?;
    match journal.claim(&second).await {
        Err(JournalError::Conflict(current)) => same(&current, &first)?,
        Err(error) => return Err(format!("expected `Conflict`, was told: {error}")),
        Ok(claim) => return Err(format!("expected an error, was told {}", in_words(&claim))),
    }
    absent(&*journal, by_key(&second)).await?;
    on_record(&*journal, &first).await
}

/// Polls a call so many times at most, and drops it.
pub(super) async fn dropped<T>(mut call: Pin<Box<dyn Future<Output = T> + Send + '_>>, polls: u8) {
    for _ in 0..polls {
        let over = poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready()));
        if over.await {
            return;
        }
        tokio::task::yield_now().await;
    }
}

pub(super) async fn a_claim_that_is_dropped_is_whole_or_absent<J: Journal>(
    journal: Arc<J>,
) -> Found {
    for polls in 0..4_u8 {
        let record = plain(u128::from(polls), &format!("key-{polls}"))?;
        dropped(journal.claim(&record), polls).await;
        match told("claim", journal.claim(&record).await)? {
            Claim::Claimed => {}
            other => answered(&other, &existing(&record))?,
        }
        on_record(&*journal, &record).await?;
    }
    Ok(())
}
