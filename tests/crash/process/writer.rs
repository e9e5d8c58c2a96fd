//! A process that claims keys of its own without a pause, many at once, until it is told to stop.

use super::Process;
use super::lines::{heard, say, setting};
use crate::sample::{record, unwrap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tower_sturdy::clock::Clock;
use tower_sturdy::journal::sqlite::SqliteConfig;
use tower_sturdy::journal::{Claim, Journal, SqliteJournal};

const JOURNAL: &str = "TOWER_STURDY_TEST_WRITES";
const IDS_FROM: &str = "TOWER_STURDY_TEST_WRITES_FROM";
const PATIENCE_MILLIS: &str = "TOWER_STURDY_TEST_PATIENCE_MILLIS";

/// How many claims are under way at once.
const TASKS: u64 = 32;

/// Starts one on this journal, whose claims wait for the file for so long.
pub fn start(journal: &Path, ids_from: u64, busy_timeout: Duration) -> Process {
    let settings = [
        (JOURNAL, journal.display().to_string()),
        (IDS_FROM, ids_from.to_string()),
        (PATIENCE_MILLIS, busy_timeout.as_millis().to_string()),
    ];
    Process::start("writer", &settings)
}

/// Not a test: the process of the tests of this binary.
#[test]
#[ignore = "a process that the tests of this binary start"]
fn process() {
    let Some(journal) = setting::<PathBuf>(JOURNAL) else {
        return;
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work(&journal));
}

async fn work(journal: &Path) {
    let journal = unwrap(SqliteJournal::open_with(&SqliteConfig {
        busy_timeout: Duration::from_millis(setting(PATIENCE_MILLIS).unwrap()),
        ..SqliteConfig::new(journal)
    }));
    let next = Arc::new(AtomicU64::new(setting(IDS_FROM).unwrap()));
    let stopped = Arc::new(AtomicBool::new(false));
    let mut orders = heard();
    say("ready");
    assert_eq!(orders.recv().await.as_deref(), Some("write"));
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (journal, next, stopped) = (journal.clone(), Arc::clone(&next), Arc::clone(&stopped));
        tasks.spawn(async move {
            let clock = Clock::system();
            let (mut written, mut longest) = (0_u64, Duration::ZERO);
            while !stopped.load(Ordering::Relaxed) {
                let id = next.fetch_add(1, Ordering::Relaxed);
                let begun = clock.now();
                match journal
                    .claim(&record(id.into(), &format!("key-{id}"), 300))
                    .await
                {
                    Ok(Claim::Claimed) => written += 1,
                    Ok(other) => say(&format!("other {id} {other:?}")),
                    Err(error) => say(&format!("failed {id} {error}")),
                }
                longest = longest.max(clock.now() - begun);
            }
            (written, longest)
        });
    }
    // Also where its parent is gone.
    let _ = orders.recv().await;
    stopped.store(true, Ordering::Relaxed);
    let done = tasks.join_all().await;
    let written: u64 = done.iter().map(|(written, _)| written).sum();
    let longest = done.iter().map(|(_, longest)| *longest).max();
    say(&format!(
        "stopped {written} {}",
        longest.unwrap_or_default().as_millis()
    ));
}
