//! What the journal in SQLite promises beyond the laws of all journals.

use crate::sample::{record, unwrap};
use rusqlite::Connection;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::journal::sqlite::{SqliteConfig, WhyNot};
use tower_sturdy::journal::{
    Claim, Filter, Journal, JournalError, Lookup, Record, SqliteJournal, State,
};

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("payments.journal");
    (directory, path)
}

fn impatient(path: &Path) -> SqliteConfig {
    SqliteConfig {
        busy_timeout: Duration::from_millis(20),
        ..SqliteConfig::new(path)
    }
}

/// Polls once without a waker; what is left is dropped.
fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

async fn claim(journal: &SqliteJournal, record: &Record) -> Claim {
    unwrap(journal.claim(record).await)
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

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_can_read_the_file_and_what_lies_beside_it() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, path) = place();
    let journal = unwrap(SqliteJournal::open(&path));
    claim(&journal, &record(1, "key", 10)).await;
    let mut seen = 0;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
        seen += 1;
    }
    assert_eq!(seen, 3, "the file, its log and its index");
}

#[test]
fn the_file_says_whose_it_is_and_stays_in_wal_mode() {
    let (_directory, path) = place();
    drop(unwrap(SqliteJournal::open(&path)));
    let raw = Connection::open(&path).unwrap();
    let read = |pragma: &str| {
        raw.query_row(&format!("PRAGMA {pragma}"), [], |row| {
            row.get::<_, rusqlite::types::Value>(0)
        })
        .unwrap()
    };
    assert_eq!(read("application_id"), 0x7374_6479_i64.into());
    assert_eq!(read("user_version"), 1_i64.into());
    assert_eq!(read("journal_mode"), "wal".to_owned().into());
    assert_eq!(read("integrity_check"), "ok".to_owned().into());
}

/// Opening must fail, change nothing, and say `hint`.
fn refused(path: &Path, hint: &str) -> WhyNot {
    let before = std::fs::read(path).ok();
    let error = SqliteJournal::open_with(&impatient(path)).expect_err("it was opened");
    assert_eq!(error.path(), path);
    let message = error.to_string();
    assert!(
        message.contains(hint) && message.contains("payments.journal"),
        "{message}"
    );
    assert_eq!(std::fs::read(path).ok(), before, "the file was changed");
    error.why().clone()
}

#[test]
fn a_file_of_another_kind_is_refused_untouched() {
    let (_directory, path) = place();
    for content in ["x", &"not a database; ".repeat(100)] {
        std::fs::write(&path, content).unwrap();
        assert!(matches!(
            refused(&path, "no SQLite database"),
            WhyNot::Foreign(_)
        ));
    }
}

#[test]
fn a_database_of_another_application_is_refused_untouched() {
    for sql in [
        "CREATE TABLE invoice (id INTEGER)",
        "PRAGMA application_id = 42",
        "PRAGMA user_version = 1",
    ] {
        let (_directory, path) = place();
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        assert!(matches!(
            refused(&path, "name another path"),
            WhyNot::Foreign(_)
        ));
    }
}

#[test]
fn a_file_of_a_newer_version_is_refused_untouched() {
    let (_directory, path) = place();
    drop(unwrap(SqliteJournal::open(&path)));
    Connection::open(&path)
        .unwrap()
        .execute_batch("PRAGMA user_version = 2")
        .unwrap();
    assert!(matches!(
        refused(&path, "use the version that wrote it"),
        WhyNot::Newer(2)
    ));
}

#[test]
fn a_path_that_cannot_be_a_file_is_told_with_what_to_do() {
    let (directory, path) = place();
    let nowhere = directory.path().join("missing").join("payments.journal");
    assert!(matches!(
        refused(&nowhere, "create it first"),
        WhyNot::NoDirectory
    ));
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(
        refused(&path, "name a file in it"),
        WhyNot::NoFile
    ));
}

#[test]
fn a_file_that_another_process_keeps_locked_is_told_as_such() {
    let (_directory, path) = place();
    drop(unwrap(SqliteJournal::open(&path)));
    let holder = Connection::open(&path).unwrap();
    holder
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
        .unwrap();
    assert!(matches!(
        refused(&path, "wait and try again"),
        WhyNot::Locked
    ));
    drop(holder);
    drop(unwrap(SqliteJournal::open(&path)));
}

/// Runs as a user that may not write: root may write everything.
#[cfg(unix)]
#[test]
fn what_may_not_be_written_is_told_as_such() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let (directory, path) = place();
    drop(unwrap(SqliteJournal::open(&path)));
    mode(&path, 0o444);
    mode(directory.path(), 0o555);
    if directory.path().metadata().unwrap().uid() != 0 {
        refused(&path, "give its user write permission");
        refused(
            &directory.path().join("new-payments.journal"),
            "write permission",
        );
    } else {
        // The binary may lie where nobody else may look.
        let (place, exe) = place_for_all();
        let status = std::process::Command::new(exe)
            .args(["--exact", "sqlite::a_reader_without_rights", "--ignored"])
            .env(READ_ONLY, &path)
            .current_dir("/")
            .uid(65_534)
            .gid(65_534)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&status.stdout);
        assert!(
            status.status.success() && told.contains("1 passed"),
            "{told}"
        );
        drop(place);
    }
    mode(directory.path(), 0o755);
}

#[cfg(unix)]
const READ_ONLY: &str = "TOWER_STURDY_TEST_READ_ONLY";

#[cfg(unix)]
fn place_for_all() -> (TempDir, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let exe = directory.path().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &exe).unwrap();
    for path in [directory.path(), &exe] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    (directory, exe)
}

#[cfg(unix)]
#[test]
#[ignore = "a process that the test above starts"]
fn a_reader_without_rights() {
    let path = PathBuf::from(std::env::var_os(READ_ONLY).unwrap());
    let hint = "give its user write permission";
    assert!(matches!(refused(&path, hint), WhyNot::ReadOnly));
    let new = path.with_file_name("new-payments.journal");
    assert!(matches!(refused(&new, hint), WhyNot::ReadOnly));
}

#[test]
fn a_setting_that_cannot_work_is_named() {
    let (_directory, path) = place();
    let config = SqliteConfig::new(&path);
    for (field, config) in [
        (
            "queue",
            SqliteConfig {
                queue: 0,
                ..config.clone()
            },
        ),
        (
            "queue",
            SqliteConfig {
                queue: usize::MAX,
                ..config.clone()
            },
        ),
        (
            "batch",
            SqliteConfig {
                batch: 0,
                ..config.clone()
            },
        ),
        (
            "busy_timeout",
            SqliteConfig {
                busy_timeout: Duration::MAX,
                ..config
            },
        ),
    ] {
        let error = SqliteJournal::open_with(&config).expect_err("it was taken");
        assert!(
            matches!(error.why(), WhyNot::Setting(invalid) if invalid.field() == field),
            "{error}"
        );
        assert!(!path.exists(), "a file was made for a bad setting");
    }
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
        assert!(poll_once(journal.claim(&record)).is_pending());
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
