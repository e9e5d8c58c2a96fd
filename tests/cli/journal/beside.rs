//! Beside others: a busy service, a reader that leaves, a file that is none, a name that is not there.

use super::super::fill::{self, hours, in_doubt, wait};
use super::{SIGNED, done, ends, filled, id, json, on_record, refused};
use serde_json::Value;
use std::hash::{Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tower_sturdy::context::OperationId;
use tower_sturdy::journal::{Filter, Journal, JournalError, Record, SqliteJournal, State};

#[test]
fn what_is_not_there_is_told_as_such() {
    let (_folder, file) = filled();
    let unknown = id(99);
    for what in [&["show"][..], &["park", "--by", "a", "--why", "b"]] {
        let told = refused(&file, &[what, &[unknown]].concat());
        assert!(told.contains(unknown), "{told}");
    }
    let told = refused(&file, &["show", "--key", "pay-bill-5"]);
    assert!(told.contains("namespace \"default\""), "{told}");
    for bad in ["", "7", "pay-bill-5", "18888888888888888888888888"] {
        let ran = ends(2, &file, &["show", bad]);
        assert!(
            ran.complained.contains("26 characters"),
            "{}",
            ran.complained
        );
    }
    ends(2, &file, &["show"]);
    let ran = ends(2, &file, &["list", "--state", "lost"]);
    assert!(ran.complained.contains("parked"), "{}", ran.complained);
    let ran = ends(2, &file, &["list", "--older-than", "soon"]);
    assert!(ran.complained.contains("such as 90s"), "{}", ran.complained);
    let ran = ends(2, &file, &["export", "--since", "yesterday"]);
    assert!(
        ran.complained.contains("such as 2026-"),
        "{}",
        ran.complained
    );
}

/// A file as it is, short enough to be printed.
fn bytes(path: &Path) -> (usize, u64) {
    let bytes = std::fs::read(path).unwrap();
    let mut hash = std::hash::DefaultHasher::new();
    bytes.hash(&mut hash);
    (bytes.len(), hash.finish())
}

#[test]
fn what_is_no_journal_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("empty.db"), "").unwrap();
    std::fs::write(at("notes.txt"), "not a database\n".repeat(100)).unwrap();
    std::fs::write(at("short"), "SQLite format 3").unwrap();
    let foreign = rusqlite::Connection::open(at("other.db")).unwrap();
    foreign.execute_batch("CREATE TABLE t (a)").unwrap();
    drop(foreign);
    drop(SqliteJournal::open(at("newer.db")).unwrap());
    let newer = rusqlite::Connection::open(at("newer.db")).unwrap();
    newer.pragma_update(None, "user_version", 999).unwrap();
    drop(newer);
    let all = ["empty.db", "notes.txt", "short", "other.db", "newer.db"].map(at);
    let before = all.each_ref().map(|path| bytes(path));
    let id = id(1);
    let park = [&["park", id], &SIGNED[..]].concat();
    for (name, why) in [
        ("missing.db", "no such file"),
        ("empty.db", "empty file"),
        ("notes.txt", "not a journal"),
        ("short", "not a journal"),
        ("other.db", "another application"),
        ("newer.db", "999"),
        ("", "a directory"),
        ("no/such/folder.db", "no such file"),
    ] {
        for args in [&["list"][..], &["show", id], &["stats"], &["export"], &park] {
            let ran = ends(3, &at(name), args);
            assert_eq!(ran.told, "");
            assert!(ran.complained.contains(why), "{name}: {}", ran.complained);
        }
    }
    assert_eq!(all.each_ref().map(|path| bytes(path)), before);
    assert!(!at("missing.db").exists());
}

#[test]
fn a_row_that_is_no_record_hides_no_other_and_is_told_in_plain_text() {
    for progress in ["{", r#"{"state":"\u001b[2J\n"}"#] {
        let (_folder, file) = filled();
        let ids = |told: &str| -> Vec<Value> {
            let lines = told.lines().map(|line| serde_json::from_str(line).unwrap());
            lines.map(|line: Value| line["id"].clone()).collect()
        };
        let all = ids(&done(&file, &["export"]));
        let db = rusqlite::Connection::open(&file).unwrap();
        let bad = all[1].as_str().unwrap();
        let bits = bad.parse::<OperationId>().unwrap().bits();
        let sql = "UPDATE operation SET progress = ?1 WHERE id = ?2";
        let id = bits.to_be_bytes();
        assert_eq!(db.execute(sql, (progress, id)).unwrap(), 1);
        let told = |args: &[&str]| {
            let ran = ends(3, &file, args);
            assert!(ran.complained.contains(bad), "{}", ran.complained);
            assert_eq!(ran.complained.lines().count(), 1, "{}", ran.complained);
            assert!(!ran.complained.contains('\u{1b}'), "{}", ran.complained);
            ran.told
        };
        let rest = [&all[..1], &all[2..]].concat();
        assert_eq!(ids(&told(&["export"])), rest);
        let listed: Value = serde_json::from_str(&told(&["list", "--all", "--json"])).unwrap();
        let listed = listed["operations"].as_array().unwrap();
        assert_eq!(listed.len(), rest.len());
        told(&["show", bad]);
        done(&file, &["stats"]);
        done(&file, &["list", "--contradicted"]);
    }
}

#[test]
fn a_list_of_none_says_how_many_there_are() {
    let (_folder, file) = filled();
    let told = done(&file, &["list", "--all", "--limit", "0"]);
    assert!(told.starts_with("0 of "), "{told}");
}

#[test]
fn reading_changes_nothing_in_the_file() {
    let (_folder, file) = filled();
    let before = bytes(&file);
    for args in [
        &["list", "--all"][..],
        &["show", id(1)],
        &["stats"],
        &["export"],
    ] {
        done(&file, args);
    }
    assert_eq!(bytes(&file), before);
}

#[test]
fn a_reader_that_stops_early_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<Record> = (1..=1_000)
        .map(|number| in_doubt(number, hours(1)))
        .collect();
    let file = fill::file(folder.path(), &records);
    for args in [&["export"][..], &["list", "--json", "--limit", "1000"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sturdy"))
            .args([&["journal", args[0], file.to_str().unwrap()], &args[1..]].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        // The pipe closes with the reader, far from the end.
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut first)
            .unwrap();
        let ended = child.wait_with_output().unwrap();
        let complained = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(
            (ended.status.code(), &*complained),
            (Some(0), ""),
            "{args:?}"
        );
        assert!(first.starts_with('{'), "{first}");
    }
}

/// Claims new operations and takes steps on old ones until it is stopped, as a busy service does.
async fn busy(journal: SqliteJournal, stop: Arc<AtomicBool>, made: Arc<AtomicUsize>, first: u128) {
    let mut number = first;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        fill::put(&journal, &[in_doubt(number, hours(1))]).await;
        made.fetch_add(1, Ordering::Relaxed);
        // Another one each time, as checks go from one to the next.
        let filter = Filter {
            skip: usize::try_from(number % 12).unwrap(),
            limit: 1,
            ..Filter::default()
        };
        for mut record in journal.list(&filter).await.unwrap() {
            record.progress.version += 1;
            record.progress.checks += 1;
            match journal.step(&record).await {
                Ok(()) | Err(JournalError::Conflict(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn beside_a_busy_service_everything_works_and_no_step_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<Record> = (1..=12).map(|number| in_doubt(number, hours(2))).collect();
    let file = fill::file(folder.path(), &records);
    let journal = SqliteJournal::open(&file).unwrap();
    let (stop, made) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let service = {
        let (stop, made) = (Arc::clone(&stop), Arc::clone(&made));
        std::thread::spawn(move || {
            wait(async {
                let tasks = [1_000_000, 2_000_000].map(|first| {
                    busy(journal.clone(), Arc::clone(&stop), Arc::clone(&made), first)
                });
                let [one, two] = tasks;
                tokio::join!(one, two)
            })
        })
    };
    // Whatever fails here, the service ends.
    let checked = std::panic::catch_unwind(|| {
        for number in 1..=12 {
            let resolve = [&["resolve", id(number), "--not-applied"], &SIGNED[..]].concat();
            done(&file, &resolve);
            assert!(done(&file, &["list"]).lines().count() > 1);
            let listed = json(&file, &["list", "--state", "rejected", "--limit", "20"]);
            assert_eq!(listed["matching"], u64::try_from(number).unwrap());
        }
        for line in done(&file, &["export"]).lines() {
            serde_json::from_str::<Value>(line).unwrap();
        }
        done(&file, &["stats"]);
    });
    stop.store(true, Ordering::Relaxed);
    service.join().unwrap();
    if let Err(failed) = checked {
        std::panic::resume_unwind(failed);
    }
    assert!(made.load(Ordering::Relaxed) > 0);
    for number in 1..=12 {
        let record = on_record(&file, number);
        assert_eq!(record.state(), State::Rejected);
        let trail = record.progress.history.iter();
        assert_eq!(trail.filter(|step| step.by == "person:alice").count(), 1);
    }
}

#[test]
fn a_service_that_holds_the_file_too_long_is_told_and_reading_goes_on() {
    let (_folder, file) = filled();
    let holder = rusqlite::Connection::open(&file).unwrap();
    holder.busy_timeout(Duration::from_secs(5)).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(done(&file, &["list"]).contains(id(3)));
    let ran = ends(3, &file, &[&["park", id(1)], &SIGNED[..]].concat());
    assert!(ran.complained.contains("locked"), "{}", ran.complained);
    holder.execute_batch("ROLLBACK").unwrap();
    done(&file, &[&["park", id(1)], &SIGNED[..]].concat());
}
