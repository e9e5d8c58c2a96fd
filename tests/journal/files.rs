//! Which files the journal in SQLite opens, makes, brings up to date, and refuses.

use crate::place::{claim, impatient, place};
use crate::sample::{record, unwrap};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::journal::sqlite::{SqliteConfig, WhyNot};
use tower_sturdy::journal::{Claim, Filter, Journal, OwnerId, Record, SqliteJournal, State};

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_can_read_the_file_and_what_lies_beside_it() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, path) = place();
    let journal = unwrap(SqliteJournal::open(&path));
    let _enlisted = unwrap(journal.enlist(OwnerId(7)));
    claim(&journal, &record(1, "key", 10)).await;
    let mut seen = 0;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let wanted = if entry.path().is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, wanted, "{:?}", entry.path());
        seen += 1;
    }
    assert_eq!(
        seen, 6,
        "the file, its log and its index, its owners, its mirror and the lock of that"
    );
}

/// Only root can give files away, and only root has to.
#[cfg(unix)]
#[test]
fn what_root_makes_beside_the_file_belongs_to_whom_the_file_belongs() {
    use std::os::unix::fs::{MetadataExt, chown};
    let (directory, path) = place();
    drop(unwrap(SqliteJournal::open(&path)));
    let mine = path.metadata().unwrap().uid();
    let owner = if mine == 0 { 65_534 } else { mine };
    chown(&path, Some(owner), None).unwrap();
    for ending in ["-lock", "-incarnation"] {
        let mut name = path.clone().into_os_string();
        name.push(ending);
        chown(&name, Some(owner), None).unwrap();
    }
    for _ in 0..2 {
        drop(unwrap(SqliteJournal::open(&path)));
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().uid(), owner, "{entry:?}");
        }
        std::fs::remove_file(directory.path().join("payments.journal-lock")).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn nothing_is_written_through_a_link_that_was_laid_beside_the_file() {
    let (directory, path) = place();
    let victim = directory.path().join("victim");
    std::fs::write(&victim, "as it was").unwrap();
    let link = directory.path().join("payments.journal-incarnation.making");
    std::os::unix::fs::symlink(&victim, &link).unwrap();
    drop(unwrap(SqliteJournal::open(&path)));
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "as it was");
    drop(unwrap(SqliteJournal::open(&path)));
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
    assert_eq!(read("user_version"), 2_i64.into());
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
        .execute_batch("PRAGMA user_version = 3")
        .unwrap();
    assert!(matches!(
        refused(&path, "use the version that wrote it"),
        WhyNot::Newer(3)
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
            .args(["--exact", "files::a_reader_without_rights", "--ignored"])
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

/// What the version before this one wrote: made by that version, then read out as SQL.
const FORMAT_1: &str = include_str!("format_1.sql");

fn of_format_1(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.execute_batch(FORMAT_1).unwrap();
    db
}

#[tokio::test]
async fn a_file_of_format_1_is_brought_up_to_date_with_all_its_records() {
    let (_directory, path) = place();
    drop(of_format_1(&path));
    for _ in 0..2 {
        let journal = unwrap(SqliteJournal::open(&path));
        let mut listed = unwrap(journal.list(&Filter::default()).await);
        listed.sort_by_key(Record::id);
        let states: Vec<State> = listed.iter().map(Record::state).collect();
        let mut expected = State::ALL.to_vec();
        // A keyed claim is on record as sending.
        expected[0] = State::Sending;
        assert_eq!(states, expected);
        for (number, record) in listed.iter().enumerate() {
            assert_eq!(record.asked.key.as_str(), format!("key-{number}"));
            assert_eq!(record.asked.conflict, Some(format!("bill-{number}")));
            assert_eq!(record.asked.issued, None);
            assert_eq!(record.asked.at, Timestamp::from_millis(1_000));
            assert_eq!(record.asked.request.body.len(), 10 * number);
            assert_eq!(
                record.progress.owner.0,
                0xfeed_0000_0000_0000 + number as u64
            );
            assert_eq!(record.progress.due.is_some(), record.holds_conflict());
            assert_eq!(record.answer.is_some(), record.state().is_final());
        }
        // Conflict keys are free and taken as the rules of today say.
        for (number, old) in (100_u128..).zip(&listed) {
            let mut new = record(number, &format!("new-{number}"), 10);
            let mut asked = (*new.asked).clone();
            asked.conflict.clone_from(&old.asked.conflict);
            new.asked = Arc::new(asked);
            let answer = unwrap(journal.claim(&new).await);
            if old.holds_conflict() {
                assert_eq!(answer, Claim::Conflict(Box::new(old.clone())));
            } else {
                assert_eq!(answer, Claim::Claimed);
                new.progress.version += 1;
                unwrap(new.step(State::Sending, Timestamp::from_millis(1), "test", "test"));
                unwrap(new.step(State::Rejected, Timestamp::from_millis(1), "test", "test"));
                unwrap(journal.step(&new).await);
            }
        }
        drop(journal);
        let db = Connection::open(&path).unwrap();
        db.execute_batch("DELETE FROM operation WHERE key LIKE 'new-%'")
            .unwrap();
        let version: i64 = db
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .unwrap();
        assert_eq!(version, 2);
    }
}

#[test]
fn a_file_that_was_brought_up_to_date_is_like_a_new_one() {
    let schema = |path: &Path| {
        drop(unwrap(SqliteJournal::open(path)));
        let db = Connection::open(path).unwrap();
        let mut statement = db
            .prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name")
            .unwrap();
        let rows = statement.query_map([], |row| {
            let sql: Option<String> = row.get(3)?;
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
                sql,
            ))
        });
        rows.unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    let (directory, path) = place();
    drop(of_format_1(&path));
    assert_eq!(schema(&path), schema(&directory.path().join("new.journal")));
}

#[test]
fn a_file_of_one_environment_is_not_opened_for_another() {
    let (_directory, path) = place();
    let of = |environment: Option<&str>| SqliteConfig {
        environment: environment.map(str::to_owned),
        ..SqliteConfig::new(&path)
    };
    drop(unwrap(SqliteJournal::open_with(&of(None))));
    // The first to name one decides.
    drop(unwrap(SqliteJournal::open_with(&of(Some("prod/runway")))));
    for fits in [None, Some("prod/runway")] {
        drop(unwrap(SqliteJournal::open_with(&of(fits))));
    }
    let error = SqliteJournal::open_with(&of(Some("sandbox/runway"))).expect_err("it was opened");
    assert!(matches!(error.why(), WhyNot::Environment { .. }), "{error}");
    let told = error.to_string();
    for part in [
        "prod/runway",
        "sandbox/runway",
        "payments.journal",
        "correct `environment`",
    ] {
        assert!(told.contains(part), "{told}");
    }
    drop(unwrap(SqliteJournal::open_with(&of(Some("prod/runway")))));
    let error = SqliteJournal::open_with(&of(Some(""))).expect_err("it was opened");
    assert!(matches!(error.why(), WhyNot::Setting(_)), "{error}");
}
