//! Two processes at once that claim the same keys through the journal alone.

use crate::process::claimer::{self, KEYS, TASKS};
use crate::process::{PATIENCE, Process};
use rusqlite::Connection;
use std::collections::HashMap;
use std::path::Path;

const ROUNDS: u32 = 20;

#[test]
fn two_processes_with_32_tasks_each_claim_every_key_once() {
    let directory = tempfile::tempdir().unwrap();
    let claims = claims(&directory.path().join("claims.journal"));
    let mut winners = HashMap::new();
    let won = claims.each_ref().map(|lines| {
        let claimed = lines
            .iter()
            .filter_map(|line| line.strip_prefix("claimed "));
        let before = winners.len();
        for line in claimed {
            let (key, id) = line.split_once(' ').unwrap();
            assert_eq!(winners.insert(key, id), None, "{key} was claimed twice");
        }
        winners.len() - before
    });
    let keys = (ROUNDS * KEYS) as usize;
    assert_eq!(winners.len(), keys, "keys that nobody got");
    let mut lost = 0;
    for line in claims.iter().flatten() {
        assert!(!line.starts_with("other"), "{line}");
        if let Some(line) = line.strip_prefix("existing ") {
            let (key, id) = line.split_once(' ').unwrap();
            assert_eq!(winners.get(key), Some(&id));
            lost += 1;
        }
    }
    assert_eq!(lost, keys);
    println!(
        "{keys} keys, {} of them in the queues of both processes at once: claimed by each {won:?}",
        ROUNDS * TASKS
    );
    assert!(won.iter().all(|won| *won > 0), "{won:?}");
}

/// What two claimers said, each. Both have their first claims of a round in the queue before any of them can be written:
/// until then the file is locked here.
fn claims(journal: &Path) -> [Vec<String>; 2] {
    let mut pair = [
        claimer::start(journal, 0),
        claimer::start(journal, 1_000_000),
    ];
    for process in &pair {
        process.waits_for("ready", |_| ());
    }
    let lock = Connection::open(journal).unwrap();
    lock.busy_timeout(PATIENCE).unwrap();
    let mut said = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        lock.execute_batch("BEGIN IMMEDIATE").unwrap();
        // Neither is always the first to be told.
        let first = (round % 2) as usize;
        for number in [first, 1 - first] {
            pair[number].say(&format!("round {round}"));
        }
        let mut hear = |word| {
            for (process, said) in pair.iter().zip(&mut said) {
                process.waits_for(word, |line| said.push(line.to_owned()));
            }
        };
        hear("asked");
        lock.execute_batch("COMMIT").unwrap();
        hear("done");
    }
    pair.into_iter().for_each(Process::end);
    said
}
