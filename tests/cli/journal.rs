//! `sturdy journal`: what people do with a journal file, with the real program on real files.

use super::fill::{self, SECRETS, hours, in_doubt, usual, wait};
use super::{Ran, sturdy};
use serde_json::Value;
use std::hash::{Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tower_sturdy::context::OperationId;
use tower_sturdy::journal::{Filter, Journal, JournalError, Lookup, Record, SqliteJournal, State};

/// Some bytes for as long as the tests run, so that it can stand in any list of arguments.
fn id(number: u128) -> &'static str {
    OperationId::from_bits(number).to_string().leak()
}

fn run(file: &Path, args: &[&str]) -> Ran {
    let mut all = vec!["journal", file.to_str().unwrap()];
    all.extend(args);
    sturdy(&all)
}

/// Runs to its end with this exit code; what it complains about never shows what is recorded.
fn ends(code: i32, file: &Path, args: &[&str]) -> Ran {
    let ran = run(file, args);
    assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.complained);
    assert!(!ran.complained.contains("panicked"), "{}", ran.complained);
    for secret in SECRETS {
        assert!(
            !ran.complained.contains(secret),
            "{args:?}: {}",
            ran.complained
        );
    }
    ran
}

fn done(file: &Path, args: &[&str]) -> String {
    ends(0, file, args).told
}

fn refused(file: &Path, args: &[&str]) -> String {
    let ran = ends(1, file, args);
    assert_eq!(ran.told, "", "{args:?}");
    assert!(
        ran.complained.starts_with("refused: "),
        "{}",
        ran.complained
    );
    ran.complained
}

fn json(file: &Path, args: &[&str]) -> Value {
    let told = done(file, &[args, &["--json"]].concat());
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
}

fn on_record(file: &Path, number: u128) -> Record {
    let journal = SqliteJournal::open(file).unwrap();
    let id = OperationId::from_bits(number);
    wait(journal.get(Lookup::Id(id))).unwrap().unwrap()
}

fn filled() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = fill::file(folder.path(), &usual());
    (folder, file)
}

const SIGNED: [&str; 4] = ["--by", "alice", "--why", "seen in the bank's statement"];

#[test]
fn a_list_shows_what_is_not_settled_and_what_is_contradicted_oldest_first() {
    let (_folder, file) = filled();
    let told = done(&file, &["list"]);
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("ID "), "{told}");
    let order: Vec<bool> = [3, 4, 1, 5]
        .into_iter()
        .zip(&lines[1..])
        .map(|(number, line)| line.starts_with(id(number)))
        .collect();
    assert_eq!(order, [true; 4], "{told}");
    assert!(
        lines[2].contains("rejected!") && lines[5].starts_with("! contradicted"),
        "{told}"
    );
    assert!(
        lines[1].contains("2d 2h") && lines[1].contains("in 59m"),
        "{told}"
    );
    assert!(lines.iter().all(|line| line.len() <= 100), "{told}");
}

#[test]
fn a_list_is_narrowed_by_state_age_tenant_and_number() {
    let (_folder, file) = filled();
    let ids = |args: &[&str]| -> Vec<String> {
        let listed = json(&file, &[&["list"], args].concat());
        let operations = listed["operations"].as_array().unwrap().iter();
        operations
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let all =
        |numbers: &[u128]| -> Vec<String> { numbers.iter().map(|n| id(*n).to_owned()).collect() };
    assert_eq!(ids(&["--all"]), all(&[3, 2, 4, 1, 5]));
    assert_eq!(ids(&["--state", "completed"]), all(&[2]));
    assert_eq!(
        ids(&["--state", "parked", "--state", "rejected"]),
        all(&[3, 4])
    );
    assert_eq!(ids(&["--older-than", "2h"]), all(&[3, 4, 1]));
    assert_eq!(ids(&["--tenant", "9130"]), all(&[4]));
    assert_eq!(ids(&["--contradicted"]), all(&[4]));
    assert_eq!(ids(&["--contradicted", "--state", "unknown"]), all(&[]));
    assert_eq!(ids(&["--limit", "2"]), all(&[3, 4]));
    let cut = done(&file, &["list", "--limit", "2"]);
    assert!(cut.contains("2 of 4"), "{cut}");
    assert_eq!(json(&file, &["list", "--limit", "2"])["matching"], 4);
    assert_eq!(
        done(&file, &["list", "--tenant", "nobody"]).lines().count(),
        1
    );
}

#[test]
fn a_person_sees_attempts_and_history_and_no_business_data_unless_asked() {
    let (_folder, file) = filled();
    for number in 1..=5 {
        let id = id(number);
        let told = [
            done(&file, &["show", id]),
            json(&file, &["show", id]).to_string(),
            done(&file, &["list", "--all", "--json"]),
            done(&file, &["export"]),
        ];
        for secret in SECRETS {
            assert!(
                told.iter().all(|told| !told.contains(secret)),
                "{secret}: {told:?}"
            );
        }
    }
    let told = done(&file, &["show", id(4)]);
    for part in [
        "tenant     9130",
        "pay-bill-4",
        "POST https://upstream.example/v3/pay",
        "person:bob: not in the list",
        "CONTRADICTED",
        "its mark is on BillPayment 7",
        "unknown -> rejected",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = done(&file, &["show", id(2), "--bodies"]);
    for secret in SECRETS {
        assert!(told.contains(secret), "{secret}: {told}");
    }
    let shown = json(&file, &["show", id(2), "--bodies"]);
    assert_eq!(shown["answer"]["body"], "balance-99");
    assert_eq!(shown["request"]["headers"][0]["value"], "tok-secret");
    assert!(
        shown["request"]["url"]
            .as_str()
            .unwrap()
            .ends_with("?card=4111")
    );
}

#[test]
fn the_json_of_an_operation_is_what_its_page_says() {
    let (_folder, file) = filled();
    let shown = json(&file, &["show", &id(5).to_lowercase()]);
    assert_eq!(shown["id"], id(5));
    assert_eq!(
        (&shown["state"], &shown["outcome"]),
        (&"unknown".into(), &"unknown".into())
    );
    let record = on_record(&file, 5);
    assert_eq!(
        shown["asked_at"],
        tower_sturdy::qbo::iso::format(record.asked.at)
    );
    assert_eq!(shown["open_until"], shown["attempts"][0]["settles"]);
    assert_eq!(shown["attempts"][0]["ended"], Value::Null);
    assert_eq!(shown["history"][0]["from"], "claimed");
    assert_eq!(shown["request"]["bytes"], 23);
    assert!(shown["request"].get("body").is_none());
    let by_key = json(&file, &["show", "--key", "pay-bill-5", "--tenant", "9131"]);
    assert_eq!(by_key, shown);
    let resolved = json(&file, &["show", id(4)]);
    assert_eq!(resolved["resolved"]["applied"], false);
    assert_eq!(resolved["contradicted"], true);
}

#[test]
fn what_a_person_resolves_is_final_signed_and_looked_up_on() {
    for (word, state) in [
        ("--applied", State::Completed),
        ("--not-applied", State::Rejected),
    ] {
        let (_folder, file) = filled();
        let resolve = [&["resolve", id(3), word], &SIGNED[..]].concat();
        let told = done(&file, &resolve);
        assert!(
            told.contains(&format!("is {state} now, and was parked")),
            "{told}"
        );
        let record = on_record(&file, 3);
        assert_eq!(record.state(), state);
        let last = record.progress.history.last().unwrap();
        assert_eq!((&*last.by, &*last.why), ("person:alice", SIGNED[3]));
        assert!(record.progress.due.unwrap() <= fill::now());
        assert!(record.is_watched(fill::now(), hours(1)));
        // Twice is refused, and says by whom and when the first was.
        let told = refused(&file, &resolve);
        assert!(
            told.contains("person:alice") && told.contains("never changes"),
            "{told}"
        );
        assert_eq!(on_record(&file, 3), record);
    }
}

#[test]
fn inside_the_settle_window_it_says_until_when_and_only_force_decides() {
    let (_folder, file) = filled();
    let resolve = [&["resolve", id(5), "--not-applied"], &SIGNED[..]].concat();
    let until = json(&file, &["show", id(5)])["open_until"]
        .as_str()
        .unwrap()
        .to_owned();
    let told = refused(&file, &resolve);
    assert!(told.contains(&until) && told.contains("--force"), "{told}");
    assert_eq!(on_record(&file, 5).state(), State::Unknown);
    let forced = json(&file, &[&resolve[..], &["--force"]].concat());
    assert_eq!(forced["state"], "rejected");
    assert_eq!(on_record(&file, 5).state(), State::Rejected);
}

#[test]
fn park_and_retry_lead_to_each_other() {
    let (_folder, file) = filled();
    let retry = [&["retry", id(1)], &SIGNED[..]].concat();
    let told = refused(&file, &retry);
    assert!(
        told.contains("unknown cannot become unknown") && told.contains("`show`"),
        "{told}"
    );
    done(&file, &[&["park", id(1)], &SIGNED[..]].concat());
    assert_eq!(on_record(&file, 1).state(), State::Parked);
    done(&file, &retry);
    let record = on_record(&file, 1);
    assert_eq!(record.state(), State::Unknown);
    assert!(record.progress.due.unwrap() <= fill::now());
}

#[test]
fn what_a_process_has_in_hand_is_left_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let lease = fill::now().plus(hours(1));
    let record = Record::claim(fill::asked(7, hours(0)), fill::ME, lease);
    let file = fill::file(folder.path(), &[record]);
    for what in [
        &["park"][..],
        &["retry"],
        &["resolve", "--not-applied", "--force"],
    ] {
        let told = refused(&file, &[what, &[id(7)], &SIGNED[..]].concat());
        assert!(
            told.contains("a process works on it") && told.contains("service"),
            "{told}"
        );
    }
    assert_eq!(on_record(&file, 7).state(), State::Claimed);
}

#[test]
fn who_and_why_must_be_given_in_plain_words() {
    let (_folder, file) = filled();
    let id = id(3);
    let park = |by: &str, why: &str| refused(&file, &["park", id, "--by", by, "--why", why]);
    assert!(park(" ", "x").contains("--by is missing"));
    assert!(park("alice", "").contains("--why is missing"));
    assert!(park("alice", &"x".repeat(1_001)).contains("--why is longer"));
    assert!(park("al\u{1b}[2Jice", "x").contains("--by has a line break"));
    for missing in [&["--by", "alice"][..], &["--why", "x"]] {
        let ran = ends(2, &file, &[&["park", id], missing].concat());
        assert!(ran.complained.contains("required"), "{}", ran.complained);
    }
    let both = [&["resolve", id, "--applied", "--not-applied"], &SIGNED[..]].concat();
    ends(2, &file, &both);
    ends(2, &file, &[&["resolve", id], &SIGNED[..]].concat());
}

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
fn an_empty_journal_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let file = fill::file(folder.path(), &[]);
    assert!(done(&file, &["list"]).contains("nothing is unsettled"));
    assert!(done(&file, &["stats"]).contains("no operation is on record"));
    assert_eq!(done(&file, &["export"]), "");
    assert_eq!(json(&file, &["stats"])["oldest_unresolved"], Value::Null);
    assert_eq!(
        json(&file, &["list"])["operations"],
        Value::Array(Vec::new())
    );
}

#[test]
fn stats_count_by_state_what_is_due_and_what_is_contradicted() {
    let (_folder, file) = filled();
    let stats = json(&file, &["stats"]);
    let count = |state: &str| {
        let states = stats["states"].as_array().unwrap();
        states.iter().find(|one| one["state"] == state).unwrap()["count"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(
        State::ALL.map(|state| count(state.as_str())),
        [0, 0, 2, 0, 1, 1, 1]
    );
    assert_eq!(
        (&stats["due"], &stats["contradicted"]),
        (&2.into(), &1.into())
    );
    assert_eq!(stats["parked"], 1);
    let oldest = tower_sturdy::qbo::iso::format(on_record(&file, 3).asked.at);
    assert_eq!(stats["oldest_unresolved"], oldest);
    assert!(stats["lag_ms"].as_u64().unwrap() >= 3 * 3_600_000);
    assert!(stats["file_bytes"].as_u64().unwrap() > 0);
    let told = done(&file, &["stats"]);
    assert!(told.contains("due           2, the first 3h ago"), "{told}");
}

#[test]
fn an_export_is_one_json_object_a_line_and_may_begin_at_a_time() {
    let (_folder, file) = filled();
    let told = done(&file, &["export"]);
    let ids: Vec<String> = told
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["id"]
                .as_str()
                .unwrap()
                .into()
        })
        .collect();
    assert_eq!(ids, [1, 2, 3, 4, 5].map(id));
    let since = tower_sturdy::qbo::iso::format(fill::now().minus(hours(4)));
    let told = done(&file, &["export", "--since", &since, "--bodies"]);
    assert_eq!(told.lines().count(), 2);
    assert!(told.contains("amount-10.42"));
}

#[test]
fn an_export_of_more_than_a_page_holds_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<Record> = (1..=1_203)
        .map(|number| in_doubt(number, hours(1)))
        .collect();
    let file = fill::file(folder.path(), &records);
    let told = done(&file, &["export"]);
    let mut ids: Vec<&str> = told.lines().map(|line| &line[7..33]).collect();
    assert_eq!(ids.len(), 1_203);
    ids.dedup();
    assert_eq!(ids.len(), 1_203);
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
            .args([&["journal", file.to_str().unwrap()], args].concat())
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
        let (journal, stop, made) = (journal.clone(), Arc::clone(&stop), Arc::clone(&made));
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
