//! What the journal in SQLite promises beyond the laws of all journals.

use crate::place::{claim, impatient, place};
use crate::sample::{record, unwrap};
use rusqlite::Connection;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::task::JoinSet;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::journal::sqlite::SqliteConfig;
use tower_sturdy::journal::{
    Claim, Filter, Journal, JournalError, Lookup, Record, SqliteJournal, State,
};

/// Polls once without a waker; what is left is dropped.
fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_file_is_opened_again() {
    let (_directory, path) = place();
    let mut records: Vec<Record> = (0..20)
        .map(|id| record(id, &format!("key-{id}"), 3_000 * id as usize))
        .collect();
    {
        let journal = unwrap(SqliteJournal::open(&path));
        for record in &mut records {
            assert_eq!(claim(&journal, record).await, Claim::Claimed);
            unwrap(record.step(State::Sending, Timestamp::from_millis(5), "go", "test"));
            record.progress.version += 1;
            unwrap(journal.step(record).await);
        }
    }
    let journal = unwrap(SqliteJournal::open(&path));
    let listed = unwrap(journal.list(&Filter::default()).await);
    assert_eq!(listed, records);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_handles_on_one_file_never_both_get_a_claim() {
    let (_directory, path) = place();
    // SQLite's lock is not fair: one handle may wait until the other has nothing more to do.
    let patient = SqliteConfig {
        busy_timeout: Duration::from_secs(120),
        ..SqliteConfig::new(&path)
    };
    let handles = [
        unwrap(SqliteJournal::open_with(&patient)),
        unwrap(SqliteJournal::open_with(&patient)),
    ];
    let mut tasks = JoinSet::new();
    for key in 0..40_u128 {
        for (number, journal) in (0_u128..).zip(&handles) {
            let journal = journal.clone();
            tasks.spawn(async move {
                let record = record(2 * key + number, &format!("key-{key}"), 100);
                // Reads and writes in one batch: a transaction that began by reading could not write any more.
                let (found, claim) = tokio::join!(
                    journal.get(Lookup::Id(record.id())),
                    claim(&journal, &record)
                );
                assert!(unwrap(found).is_none_or(|found| found == record));
                (claim, record)
            });
        }
    }
    let mut winners = Vec::new();
    let mut losers = Vec::new();
    for (claim, record) in tasks.join_all().await {
        match claim {
            Claim::Claimed => winners.push(record),
            Claim::Existing(existing) => losers.push(*existing),
            other => panic!("{other:?}"),
        }
    }
    let by_id = |records: &mut Vec<Record>| records.sort_by_key(Record::id);
    by_id(&mut winners);
    by_id(&mut losers);
    assert_eq!(winners.len(), 40);
    assert_eq!(winners, losers, "each loser is shown the winner");
}

#[tokio::test]
async fn calls_that_wait_together_share_a_commit() {
    let (_directory, path) = place();
    let journal = unwrap(SqliteJournal::open(&path));
    // While another connection holds the write lock, the first commit waits, and the rest gathers behind it.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut tasks = JoinSet::new();
    for id in 0..64 {
        let journal = journal.clone();
        tasks.spawn(async move { claim(&journal, &record(id, &format!("key-{id}"), 100)).await });
    }
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    other.execute_batch("COMMIT").unwrap();
    let claims = tasks.join_all().await;
    assert!(claims.iter().all(|claim| *claim == Claim::Claimed));
    assert!(journal.commits() <= 2, "{} commits", journal.commits());
}

#[tokio::test]
async fn a_claim_whose_caller_left_is_done_all_the_same() {
    let (_directory, path) = place();
    let journal = unwrap(SqliteJournal::open(&path));
    for id in 0..20 {
        let record = record(id, &format!("key-{id}"), 100);
        // Polled once and dropped: whether the disk was that quick does not matter.
        let _ = poll_once(journal.claim(&record));
        let found = unwrap(journal.get(Lookup::Id(record.id())).await);
        assert_eq!(found, Some(record));
    }
}

#[tokio::test]
async fn a_claim_that_was_never_polled_is_absent() {
    let (_directory, path) = place();
    let journal = unwrap(SqliteJournal::open(&path));
    let record = record(1, "key", 100);
    drop(journal.claim(&record));
    assert_eq!(unwrap(journal.get(Lookup::Id(record.id())).await), None);
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_stands_still_while_the_disk_works() {
    let (_directory, path) = place();
    let journal = unwrap(SqliteJournal::open(&path));
    let clock = Clock::system();
    let start = clock.now();
    for id in 0..50 {
        let record = record(id, &format!("key-{id}"), 100);
        let claimed = clock
            .timeout(Duration::from_millis(1), journal.claim(&record))
            .await;
        assert_eq!(unwrap(claimed.expect("time jumped")), Claim::Claimed);
    }
    assert_eq!(clock.now(), start);
}

#[tokio::test]
async fn a_lock_held_too_long_is_an_error_that_says_so_and_passes() {
    let (_directory, path) = place();
    let journal = unwrap(SqliteJournal::open_with(&impatient(&path)));
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let record = record(1, "key", 100);
    let error = journal.claim(&record).await.expect_err("it was claimed");
    assert!(
        matches!(&error, JournalError::Unavailable(_))
            && error.to_string().contains("busy_timeout"),
        "{error}"
    );
    // Reading needs no lock.
    assert_eq!(unwrap(journal.get(Lookup::Id(record.id())).await), None);
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(claim(&journal, &record).await, Claim::Claimed);
}

#[test]
fn a_call_outside_a_runtime_is_an_error_and_no_panic() {
    let (_directory, path) = place();
    let journal = unwrap(SqliteJournal::open(&path));
    let record = record(1, "key", 100);
    assert!(matches!(
        poll_once(journal.claim(&record)),
        Poll::Ready(Err(JournalError::Unavailable(_)))
    ));
}

#[test]
fn a_journal_outlives_the_runtime_that_used_it_first() {
    let (_directory, path) = place();
    let journal = unwrap(SqliteJournal::open(&path));
    for id in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let record = record(id, &format!("key-{id}"), 100);
        assert_eq!(runtime.block_on(claim(&journal, &record)), Claim::Claimed);
        let left = record_left_behind(id);
        let _ = runtime.block_on(async { poll_once(journal.claim(&left)) });
    }
}

fn record_left_behind(id: u128) -> Record {
    record(1_000 + id, &format!("left-{id}"), 100)
}

#[tokio::test]
async fn a_row_that_was_changed_by_hand_is_not_believed() {
    let (_directory, path) = place();
    let journal = unwrap(SqliteJournal::open(&path));
    let record = record(1, "key", 100);
    claim(&journal, &record).await;
    Connection::open(&path)
        .unwrap()
        .execute_batch("UPDATE operation SET state = 'completed'")
        .unwrap();
    let error = journal
        .get(Lookup::Id(record.id()))
        .await
        .expect_err("it was believed");
    assert!(
        error.to_string().contains(&record.id().to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn a_batch_smaller_than_the_queue_serves_all() {
    let (_directory, path) = place();
    let journal = unwrap(SqliteJournal::open_with(&SqliteConfig {
        queue: 3,
        batch: 2,
        ..SqliteConfig::new(&path)
    }));
    let journal = Arc::new(journal);
    let mut tasks = JoinSet::new();
    for id in 0..40 {
        let journal = Arc::clone(&journal);
        tasks.spawn(async move { claim(&journal, &record(id, &format!("key-{id}"), 100)).await });
    }
    let claims = tasks.join_all().await;
    assert!(claims.iter().all(|claim| *claim == Claim::Claimed));
    let listed = unwrap(journal.list(&Filter::default()).await);
    assert_eq!(listed.len(), 40);
}
