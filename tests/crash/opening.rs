//! Several processes that open one new file at once: each makes it, or finds it made.

use crate::number;
use crate::process::gate::Gate;
use crate::process::opener::{self, COMMON, own_key};
use crate::sample::unwrap;
use std::path::Path;
use tower_sturdy::journal::{Filter, Journal, SqliteJournal};

/// Processes for each file.
const OPENERS: usize = 4;

/// How many files they make.
fn files() -> u64 {
    number("STURDY_OPENINGS").unwrap_or(60)
}

#[test]
fn four_processes_that_open_one_new_file_at_once_all_get_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut openers: Vec<_> = (0..OPENERS).map(opener::start).collect();
    let mut won = [0; OPENERS];
    for number in 0..files() {
        let file = directory.path().join(format!("new-{number}.journal"));
        let gate = Gate::shut(&file).unwrap();
        for opener in &mut openers {
            opener.say(&format!("open {}", file.display()));
        }
        // Each waits at the gate now, or is on its last step to it.
        for opener in &openers {
            opener.waits_for("ready", |_| ());
        }
        drop(gate);
        let said: Vec<String> = openers
            .iter()
            .map(|opener| opener.waits_for("told", |_| ()))
            .collect();
        won[check(&file, &said)] += 1;
    }
    for opener in openers {
        opener.end();
    }
    println!(
        "{} new files, each opened by {OPENERS} processes at once; the common key was won {won:?} times",
        files()
    );
}

/// Exactly one got the common key, the others were shown it, and every claim is on record. Returns who got it.
fn check(file: &Path, said: &[String]) -> usize {
    let winners: Vec<usize> = (0..OPENERS)
        .filter(|number| said[*number].starts_with("won "))
        .collect();
    let [winner] = winners[..] else {
        panic!("{}: not one winner: {said:#?}", file.display());
    };
    for (number, said) in said.iter().enumerate() {
        let word = if number == winner { "won" } else { "lost" };
        assert_eq!(*said, format!("{word} {}", 100 + winner), "{number}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let journal = unwrap(SqliteJournal::open(file));
    let listed = unwrap(runtime.block_on(journal.list(&Filter::default())));
    let mut keys: Vec<&str> = listed
        .iter()
        .map(|record| record.asked.key.as_str())
        .collect();
    keys.sort_unstable();
    let own: Vec<String> = (0..OPENERS).map(own_key).collect();
    let wanted: Vec<&str> = std::iter::once(COMMON)
        .chain(own.iter().map(String::as_str))
        .collect();
    assert_eq!(keys, wanted);
    winner
}
