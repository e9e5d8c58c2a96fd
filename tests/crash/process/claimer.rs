//! A process that claims keys through the journal alone, many at once.

use super::lines::{heard, say, setting};
use super::{PATIENCE, Process};
use crate::sample::{record, unwrap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tower_sturdy::clock::Clock;
use tower_sturdy::journal::sqlite::SqliteConfig;
use tower_sturdy::journal::{Claim, Journal, SqliteJournal};

const JOURNAL: &str = "TOWER_STURDY_TEST_CLAIMS";
const IDS_FROM: &str = "TOWER_STURDY_TEST_IDS_FROM";

/// How many keys each process claims.
pub const KEYS: u32 = 1_000;
/// How many claims of a process are under way at once.
const TASKS: u32 = 32;
/// A task rests for up to this long after a claim, so that the file's lock is free now and then, and both processes get
/// it in turns.
const RESTS_MILLIS: u64 = 10;

/// Starts one on this journal; it waits for "go". Its ids begin at `ids_from`.
pub fn start(journal: &Path, ids_from: u128) -> Process {
    let settings = [
        (JOURNAL, journal.display().to_string()),
        (IDS_FROM, ids_from.to_string()),
    ];
    Process::start("claimer", &settings)
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
    let journal = Arc::new(unwrap(SqliteJournal::open_with(&SqliteConfig {
        busy_timeout: PATIENCE,
        ..SqliteConfig::new(journal)
    })));
    let ids_from: u128 = setting(IDS_FROM).unwrap();
    let mut orders = heard();
    say("ready");
    assert_eq!(orders.recv().await.as_deref(), Some("go"));
    // In an order of its own, or whoever is ahead once stays so.
    let mut keys: Vec<_> = (0..KEYS).collect();
    fastrand::Rng::with_seed(u64::try_from(ids_from).unwrap()).shuffle(&mut keys);
    let (keys, next) = (Arc::new(keys), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (journal, keys) = (Arc::clone(&journal), Arc::clone(&keys));
        let next = Arc::clone(&next);
        let mut rng = fastrand::Rng::with_seed(u64::from(task));
        tasks.spawn(async move {
            while let Some(key) = keys.get(next.fetch_add(1, Ordering::Relaxed)) {
                let ours = record(ids_from + u128::from(*key), &format!("key-{key}"), 300);
                match unwrap(journal.claim(&ours).await) {
                    Claim::Claimed => say(&format!("claimed {key} {}", ours.id())),
                    Claim::Existing(found) => say(&format!("existing {key} {}", found.id())),
                    other => say(&format!("other {key} {other:?}")),
                }
                let rest = Duration::from_millis(rng.u64(0..RESTS_MILLIS));
                Clock::system().sleep(rest).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    say("done");
}
