//! Files that a disk or a person has damaged: told, or read as they were; never believed to be whole with less in them,
//! but for single rows that are no records, which are told by name.

use crate::place::{claim, place};
use crate::sample::{record, unwrap};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use tower_sturdy::journal::sqlite::{Doubt, WhyNot};
use tower_sturdy::journal::{Claim, Filter, Journal, JournalError, Lookup, Record, SqliteJournal};

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// A closed file with some operations, larger and smaller ones.
async fn filled(path: &Path) -> Vec<Record> {
    let records: Vec<Record> = (0..60)
        .map(|id| record(id, &format!("key-{id}"), 150 * (id as usize % 40)))
        .collect();
    let journal = unwrap(SqliteJournal::open(path));
    for record in &records {
        assert_eq!(claim(&journal, record).await, Claim::Claimed);
    }
    drop(journal);
    closed(path);
    records
}

/// Waits until nothing holds the file any more: the last commit's thread may do so for a moment longer.
fn closed(path: &Path) {
    let is_open = || match std::fs::read_dir("/proc/self/fd") {
        Ok(open) => open
            .flatten()
            .any(|file| std::fs::read_link(file.path()).is_ok_and(|file| file == path)),
        Err(_) => beside(path, "-wal").exists(),
    };
    for _ in 0..100_000 {
        if !is_open() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("it is not closed");
}

fn page_size(path: &Path) -> usize {
    let db = Connection::open(path).unwrap();
    let size: i64 = db
        .query_row("PRAGMA page_size", [], |row| row.get(0))
        .unwrap();
    usize::try_from(size).unwrap()
}

#[tokio::test]
async fn a_file_that_lost_its_end_is_told_as_such_and_left_as_it_is() {
    let (_directory, path) = place();
    filled(&path).await;
    let (whole, page) = (std::fs::read(&path).unwrap(), page_size(&path));
    for length in [page, whole.len() / 2, whole.len() - page, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = SqliteJournal::open(&path).expect_err("it was opened");
        assert!(
            matches!(error.why(), WhyNot::Damaged(_)),
            "{length}: {error}"
        );
        let told = error.to_string();
        assert!(
            told.contains("damaged") && told.contains("restore a backup"),
            "{told}"
        );
        assert_eq!(
            std::fs::read(&path).unwrap().len(),
            length,
            "it was changed"
        );
    }
    std::fs::write(&path, &whole).unwrap();
    drop(unwrap(SqliteJournal::open(&path)));
}

/// What a journal tells of a damaged page: every record as it was, or an error.
async fn read_or_told(journal: &SqliteJournal, records: &[Record]) -> bool {
    let mut told = false;
    for record in records {
        let key = Lookup::Key {
            namespace: &record.asked.namespace,
            tenant: &record.asked.tenant,
            key: &record.asked.key,
        };
        for which in [Lookup::Id(record.id()), key] {
            match journal.get(which).await {
                Ok(found) => assert_eq!(found.as_ref(), Some(record)),
                Err(JournalError::Unavailable(_)) => told = true,
                Err(other) => panic!("{other}"),
            }
        }
        // A used key is never taken as new.
        match journal.claim(record).await {
            Ok(Claim::Existing(found)) => assert_eq!(*found, *record),
            // Also where the page is one that says which file this is.
            Err(JournalError::Unavailable(_) | JournalError::Quarantined(_)) => told = true,
            other => panic!("{other:?}"),
        }
    }
    match journal.list(&Filter::default()).await {
        Ok(listed) => assert_eq!(listed, records),
        Err(JournalError::Unavailable(_)) => told = true,
        Err(other) => panic!("{other}"),
    }
    told
}

#[tokio::test]
async fn a_flipped_page_is_told_and_no_key_on_it_is_taken_as_new() {
    let (_directory, path) = place();
    let records = filled(&path).await;
    let (whole, page) = (std::fs::read(&path).unwrap(), page_size(&path));
    let mirror = std::fs::read(beside(&path, "-incarnation")).unwrap();
    let (mut refused, mut told) = (0, 0);
    for start in (0..whole.len()).step_by(page) {
        let mut flipped = whole.clone();
        // What kind of page it is, and where the next one is, stands first; behind the file's header on the first. SQLite
        // has no checksums: what is flipped inside a value it does not see.
        let kind = if start == 0 { 100 } else { start };
        flipped[kind..kind + 4]
            .iter_mut()
            .for_each(|byte| *byte ^= 0xff);
        std::fs::write(&path, &flipped).unwrap();
        std::fs::write(beside(&path, "-incarnation"), &mirror).unwrap();
        match SqliteJournal::open(&path) {
            Ok(journal) => {
                told += u32::from(read_or_told(&journal, &records).await);
                drop(journal);
                closed(&path);
                // A damaged file may keep its log.
                for ending in ["-wal", "-shm"] {
                    let _ = std::fs::remove_file(beside(&path, ending));
                }
            }
            Err(error) => {
                assert!(matches!(error.why(), WhyNot::Damaged(_)), "{error}");
                refused += 1;
            }
        }
    }
    assert!(
        refused > 0 && told > 0,
        "{refused} refused, {told} told later"
    );
}

#[tokio::test]
async fn a_file_whose_log_is_gone_waits_for_a_person() {
    let (directory, path) = place();
    let records = filled(&path).await;
    let journal = unwrap(SqliteJournal::open(&path));
    claim(&journal, &record(1_000, "in-the-log", 100)).await;
    // As a crash would leave them, but for the log.
    let crashed = directory.path().join("crashed");
    std::fs::create_dir(&crashed).unwrap();
    for ending in ["", "-incarnation"] {
        let name = beside(Path::new("payments.journal"), ending);
        std::fs::copy(beside(&path, ending), crashed.join(name)).unwrap();
    }
    drop(journal);
    let journal = unwrap(SqliteJournal::open(crashed.join("payments.journal")));
    let quarantine = journal.quarantine().expect("it is believed to be whole");
    assert_eq!(quarantine.doubt(), Doubt::Older);
    let listed = unwrap(journal.list(&Filter::default()).await);
    assert_eq!(listed.len(), records.len());
    let refused = journal.claim(&record(1_000, "in-the-log", 100)).await;
    assert!(
        matches!(refused, Err(JournalError::Quarantined(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_log_whose_file_was_moved_away_is_left_for_it() {
    let (directory, path) = place();
    filled(&path).await;
    let journal = unwrap(SqliteJournal::open(&path));
    let late = record(1_000, "in-the-log", 100);
    claim(&journal, &late).await;
    // As a crash would leave them.
    let crashed = directory.path().join("crashed");
    std::fs::create_dir(&crashed).unwrap();
    let crashed = crashed.join("payments.journal");
    for ending in ["", "-wal", "-incarnation"] {
        std::fs::copy(beside(&path, ending), beside(&crashed, ending)).unwrap();
    }
    drop(journal);
    let (aside, log) = (beside(&crashed, "-aside"), beside(&crashed, "-wal"));
    std::fs::rename(&crashed, &aside).unwrap();
    let before = std::fs::read(&log).unwrap();
    for left in ["no file", "an empty file"] {
        let error = SqliteJournal::open(&crashed).expect_err(left);
        assert!(matches!(error.why(), WhyNot::LogAlone(_)), "{error}");
        assert!(error.to_string().contains("put the file back"), "{error}");
        assert_eq!(std::fs::read(&log).unwrap(), before, "{left}");
        std::fs::write(&crashed, "").unwrap();
    }
    std::fs::rename(&aside, &crashed).unwrap();
    let journal = unwrap(SqliteJournal::open(&crashed));
    assert_eq!(unwrap(journal.get(Lookup::Id(late.id())).await), Some(late));
}

/// Changes a column of one row behind the journal's back.
fn spoil(path: &Path, key: &str, change: &str) {
    let db = Connection::open(path).unwrap();
    let sql = format!("UPDATE operation SET {change} WHERE key = ?1");
    assert_eq!(db.execute(&sql, [key]).unwrap(), 1);
}

#[tokio::test]
async fn a_row_that_is_no_record_keeps_no_other_from_being_found() {
    let (_directory, path) = place();
    let journal = unwrap(SqliteJournal::open(&path));
    let mut due = Vec::new();
    for id in 0..7 {
        let mut record = record(id, &format!("key-{id}"), 10);
        if id > 3 {
            // Not due: found by the other walk.
            record.progress.due = None;
        }
        claim(&journal, &record).await;
        due.push(record);
    }
    for change in [
        "state = 'parked'",
        "progress = '{'",
        "uri = CAST(x'ff' AS TEXT)",
        "fp_version = 99999999999",
        "fp_digest = x'00'",
        "answer_status = -1",
    ] {
        let bad = [due[1].clone(), due[5].clone()];
        let saved = |sql: &str| {
            Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        };
        saved("CREATE TABLE saved AS SELECT * FROM operation");
        for record in &bad {
            spoil(&path, record.asked.key.as_str(), change);
        }
        let good: Vec<Record> = due.iter().filter(|it| !bad.contains(it)).cloned().collect();
        // Pages join, whatever their size.
        for limit in 1..=7 {
            let mut listed = Vec::new();
            loop {
                let filter = Filter {
                    limit,
                    skip: listed.len(),
                    ..Filter::default()
                };
                let page = unwrap(journal.list(&filter).await);
                let full = page.len() == limit;
                listed.extend(page);
                if !full {
                    break;
                }
            }
            assert_eq!(listed, good, "{change}, {limit} a page");
        }
        let ids: Vec<_> = bad.iter().map(Record::id).collect();
        assert_eq!(journal.unreadable(), ids, "{change}");
        for record in &bad {
            // It is told where it is named, and its key is never taken as new.
            for failed in [
                journal.get(Lookup::Id(record.id())).await.map(drop),
                journal.claim(record).await.map(drop),
            ] {
                let Err(JournalError::Unavailable(why)) = failed else {
                    panic!("{change}: {failed:?}");
                };
                assert!(why.to_string().contains(&record.id().to_string()), "{why}");
            }
        }
        saved("DELETE FROM operation; INSERT INTO operation SELECT * FROM saved; DROP TABLE saved");
        unwrap(journal.get(Lookup::Id(ids[0])).await);
        assert_eq!(journal.unreadable(), ids[1..]);
        assert_eq!(unwrap(journal.list(&Filter::default()).await), due);
        assert!(journal.unreadable().is_empty());
    }
}
