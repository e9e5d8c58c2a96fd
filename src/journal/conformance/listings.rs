//! Laws of `list`.

use super::claims::claimed;
use super::sample::{after, asking, plain, tenant};
use super::{Found, must, same, told};
use crate::clock::Timestamp;
use crate::journal::{Filter, Journal, Record, State};
use std::sync::Arc;

/// Ids out of order, equal times, the ends of time, and three that are not due: in the order of a listing.
const ORDERED: [(u128, Option<u64>); 9] = [
    (900, Some(0)),
    (3, Some(10)),
    (4, Some(10)),
    (u128::MAX, Some(10)),
    (1, Some(20)),
    (2, Some(Timestamp::NEVER.as_millis())),
    (0, None),
    (5, None),
    (1 << 100, None),
];

const STATES: [State; 3] = [State::Unknown, State::Ready, State::Parked];

/// Puts the records of [`ORDERED`] on record, last first; returns them in order. States, tenants and namespaces alternate.
async fn shelve<J: Journal>(journal: &J) -> Result<Vec<Record>, String> {
    let tenants = [tenant("a")?, tenant("b")?];
    let mut records = Vec::new();
    for (place, (id, due)) in ORDERED.into_iter().enumerate() {
        let mut record = asking(plain(id, &format!("key-{id}"))?, |asked| {
            asked.tenant = tenants[place % 2].clone();
            asked.namespace = Arc::from(["prod", "sandbox"][place / 2 % 2]);
        });
        record.progress.due = due.map(Timestamp::from_millis);
        record.progress.state = STATES[place % 3];
        records.push(record);
    }
    for record in records.iter().rev() {
        claimed(journal, record).await?;
    }
    Ok(records)
}

async fn lists<J: Journal>(journal: &J, filter: &Filter, expected: &[Record]) -> Found {
    let listed = told("list", journal.list(filter).await)?;
    let ids = |records: &[Record]| records.iter().map(Record::id).collect::<Vec<_>>();
    must(ids(&listed) == ids(expected), || {
        format!(
            "{filter:?} listed {:?}; expected {:?}",
            ids(&listed),
            ids(expected)
        )
    })?;
    listed
        .iter()
        .zip(expected)
        .try_for_each(|(listed, expected)| same(listed, expected))
}

pub(super) async fn the_soonest_due_is_listed_first_and_the_undue_last<J: Journal>(
    journal: Arc<J>,
) -> Found {
    lists(&*journal, &Filter::default(), &[]).await?;
    let records = shelve(&*journal).await?;
    lists(&*journal, &Filter::default(), &records).await
}

pub(super) async fn a_listing_keeps_to_its_filter<J: Journal>(journal: Arc<J>) -> Found {
    let records = shelve(&*journal).await?;
    let times = [0, 9, 10, 19, 20, Timestamp::NEVER.as_millis()].map(Timestamp::from_millis);
    let due_by = std::iter::once(None).chain(times.map(Some));
    for due_by in due_by {
        for tenant in [None, Some(tenant("a")?), Some(tenant("nobody")?)] {
            for states in [
                vec![],
                vec![State::Ready],
                vec![State::Parked, State::Unknown, State::Parked],
                vec![State::Completed],
            ] {
                for namespace in [None, Some("sandbox"), Some("sand")] {
                    let filter = Filter {
                        states: states.clone(),
                        namespace: namespace.map(Arc::from),
                        tenant: tenant.clone(),
                        due_by,
                        ..Filter::default()
                    };
                    let expected: Vec<Record> = records
                        .iter()
                        .filter(|record| wanted(&filter, record))
                        .cloned()
                        .collect();
                    lists(&*journal, &filter, &expected).await?;
                }
            }
        }
    }
    Ok(())
}

fn wanted(filter: &Filter, record: &Record) -> bool {
    let state = filter.states.is_empty() || filter.states.contains(&record.state());
    let tenant = filter.tenant.as_ref();
    let namespace = filter.namespace.as_ref();
    let due = match (filter.due_by, record.progress.due) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(by), Some(due)) => due <= by,
    };
    state
        && due
        && tenant.is_none_or(|tenant| *tenant == record.asked.tenant)
        && namespace.is_none_or(|namespace| *namespace == record.asked.namespace)
}

pub(super) async fn pages_of_a_listing_join_without_gap_or_overlap<J: Journal>(
    journal: Arc<J>,
) -> Found {
    let records = shelve(&*journal).await?;
    let ends = [usize::MAX];
    for limit in (0..=10).chain(ends) {
        for skip in (0..=10).chain(ends) {
            let page = Filter {
                limit,
                skip,
                ..Filter::default()
            };
            let rest = records.get(skip..).unwrap_or_default();
            lists(&*journal, &page, &rest[..limit.min(rest.len())]).await?;
            let due = Filter {
                due_by: Some(Timestamp::from_millis(15)),
                ..page.clone()
            };
            let rest = records[..4].get(skip..).unwrap_or_default();
            lists(&*journal, &due, &rest[..limit.min(rest.len())]).await?;
            // What the filter leaves out is not skipped.
            let ready = Filter {
                states: vec![State::Ready],
                ..page.clone()
            };
            let of_b = Filter {
                tenant: Some(tenant("b")?),
                ..page
            };
            for filter in [ready, of_b] {
                let found = records.iter().filter(|record| wanted(&filter, record));
                let rest: Vec<Record> = found.skip(skip).take(limit).cloned().collect();
                lists(&*journal, &filter, &rest).await?;
            }
        }
    }
    Ok(())
}

pub(super) async fn a_listing_follows_the_steps<J: Journal>(journal: Arc<J>) -> Found {
    let mut records = shelve(&*journal).await?;
    // The first is not due any more, the last is due at once, and its state is another.
    let first = after(&records.remove(0), |next| next.progress.due = None);
    let last = after(&records.remove(records.len() - 1), |next| {
        next.progress.due = Some(Timestamp::from_millis(1));
        next.progress.state = State::Completed;
    });
    for next in [&first, &last] {
        told("step", journal.step(next).await)?;
    }
    records.insert(0, last.clone());
    records.push(first);
    lists(&*journal, &Filter::default(), &records).await?;
    let completed = Filter {
        states: vec![State::Completed],
        ..Filter::default()
    };
    lists(&*journal, &completed, &[last]).await
}
