//! Real processes on one file: killed at any instant, and racing each other.

use crate::sample::{record, unwrap};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tower_sturdy::journal::sqlite::SqliteConfig;
use tower_sturdy::journal::{Claim, Filter, Journal, Lookup, SqliteJournal};

const FILE: &str = "TOWER_STURDY_TEST_JOURNAL";
const OFFSET: &str = "TOWER_STURDY_TEST_OFFSET";
const KEYS: u128 = 150;

/// Claims key after key under its own ids, and says so after each that it got. Not a test: the process of the tests
/// below.
#[test]
#[ignore = "a process that the tests of this file start"]
fn child() {
    let file = std::env::var(FILE).unwrap();
    let offset: u128 = std::env::var(OFFSET).unwrap().parse().unwrap();
    let journal = unwrap(SqliteJournal::open_with(&SqliteConfig {
        busy_timeout: Duration::from_secs(120),
        ..SqliteConfig::new(file)
    }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        for key in 0..KEYS {
            let record = record(offset + key, &format!("key-{key}"), 500);
            if unwrap(journal.claim(&record).await) == Claim::Claimed {
                let mut out = std::io::stdout().lock();
                writeln!(out, "\nclaimed {}", offset + key).unwrap();
                out.flush().unwrap();
            }
        }
    });
}

fn start(path: &Path, offset: u128) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--ignored", "--nocapture"])
        .env(FILE, path)
        .env(OFFSET, offset.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The ids that the child says it got, as it says so.
fn claimed(child: &mut Child) -> impl Iterator<Item = u128> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("claimed ").and_then(|id| id.parse().ok()))
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_at_any_instant() {
    for wait_for in [1, 7, 40] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("killed.journal");
        let mut child = start(&path, 0);
        let mut told = claimed(&mut child);
        let mut acknowledged: Vec<u128> = told.by_ref().take(wait_for).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said between the last line that was read and its end counts as well.
        acknowledged.extend(told);
        assert!(acknowledged.len() >= wait_for, "the child did not run");

        let journal = unwrap(SqliteJournal::open(&path));
        for id in &acknowledged {
            let expected = record(*id, &format!("key-{id}"), 500);
            let found = unwrap(journal.get(Lookup::Id(expected.id())).await);
            assert_eq!(found, Some(expected), "lost after {wait_for}");
        }
        // One more may have been committed without anybody being told.
        let all = Filter {
            limit: usize::MAX,
            ..Filter::default()
        };
        let on_record = unwrap(journal.list(&all).await).len();
        assert!((0..=1).contains(&(on_record - acknowledged.len())));
    }
}

#[test]
fn two_processes_that_make_and_use_one_file_share_its_keys_without_overlap() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shared.journal");
    let mut children = [start(&path, 0), start(&path, 1_000)];
    let mut winners = BTreeSet::new();
    let told = children.each_mut().map(claimed);
    for id in told.into_iter().flatten() {
        assert!(
            winners.insert(id % 1_000),
            "key {} was claimed twice",
            id % 1_000
        );
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(winners, (0..KEYS).collect());
}
