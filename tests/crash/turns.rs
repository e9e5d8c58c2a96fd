//! Two processes that write to one file without a pause: each gets its turn.

use crate::number;
use crate::process::writer;
use std::time::Duration;
use tower_sturdy::journal::{Filter, Journal, SqliteJournal};

/// How long a claim waits for the file: SQLite's own waiting looks no more than some 15 times in this.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

#[test]
fn two_processes_that_write_without_a_pause_do_not_keep_the_file_from_each_other() {
    let span = Duration::from_secs(number("STURDY_TURNS").unwrap_or(4));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("turns.journal");
    let mut pair = [0, 1_000_000_000].map(|from| writer::start(&file, from, BUSY_TIMEOUT));
    for process in &pair {
        process.waits_for("ready", |_| ());
    }
    for process in &mut pair {
        process.say("write");
    }
    std::thread::park_timeout(span);
    for process in &mut pair {
        process.say("stop");
    }
    let (mut wrong, mut all) = (Vec::new(), 0);
    for process in pair {
        let told = process.waits_for("stopped", |line| {
            if line.starts_with("failed") || line.starts_with("other") {
                wrong.push(line.to_owned());
            }
        });
        let (written, longest) = told.split_once(' ').unwrap();
        println!("{written} claims in about {span:?}; the longest took {longest} ms");
        let written: usize = written.parse().unwrap();
        assert!(written > 0);
        all += written;
        process.end();
    }
    assert!(wrong.is_empty(), "{} of {all}: {}", wrong.len(), wrong[0]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let journal = SqliteJournal::open(&file).unwrap();
    let filter = Filter {
        limit: usize::MAX,
        ..Filter::default()
    };
    let listed = runtime.block_on(journal.list(&filter)).unwrap();
    assert_eq!(listed.len(), all);
}
