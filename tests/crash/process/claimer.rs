//! A process that claims keys through the journal alone, many at once.

use super::lines::{heard, say, setting};
use super::{PATIENCE, Process};
use crate::sample::{record, unwrap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::task::JoinSet;
use tower_sturdy::clock::Clock;
use tower_sturdy::journal::sqlite::SqliteConfig;
use tower_sturdy::journal::{Claim, Journal, SqliteJournal};

const JOURNAL: &str = "TOWER_STURDY_TEST_CLAIMS";
const IDS_FROM: &str = "TOWER_STURDY_TEST_IDS_FROM";

/// How many keys each process claims in a round.
pub const KEYS: u32 = 50;
/// How many claims of a process are under way at once: the first keys of a round, the same in all processes.
pub const TASKS: u32 = 32;
/// A task rests for up to this long after a claim, so that the file's lock is free now and then, and both processes get
/// it in turns.
const RESTS_MILLIS: u64 = 10;

/// Starts one on this journal; its ids begin at `ids_from`. Each "round" that it is told is a race for keys of its own:
/// "asked" says that as many claims as there are tasks are in the journal's queue, "done" that all have their answers.
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
    while let Some(order) = orders.recv().await {
        let round: u32 = order.strip_prefix("round ").unwrap().parse().unwrap();
        race(&journal, ids_from, round).await;
    }
}

/// The keys of a round, in an order of this process's own, or whoever is ahead once stays so. The first ones are the same
/// everywhere.
fn keys(ids_from: u128, round: u32) -> Vec<u32> {
    let mut keys: Vec<_> = (round * KEYS..(round + 1) * KEYS).collect();
    let mut rng = fastrand::Rng::with_seed(u64::try_from(ids_from).unwrap() + u64::from(round));
    let (first, rest) = keys.split_at_mut(TASKS as usize);
    rng.shuffle(first);
    rng.shuffle(rest);
    keys
}

async fn race(journal: &Arc<SqliteJournal>, ids_from: u128, round: u32) {
    let keys = Arc::new(keys(ids_from, round));
    let next = Arc::new(AtomicUsize::new(0));
    let queued = Arc::new(AtomicU32::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (journal, keys) = (Arc::clone(journal), Arc::clone(&keys));
        let (next, queued) = (Arc::clone(&next), Arc::clone(&queued));
        let mut rng = fastrand::Rng::with_seed(u64::from(round * TASKS + task));
        tasks.spawn(async move {
            while let Some(key) = keys.get(next.fetch_add(1, Ordering::Relaxed)) {
                let ours = record(ids_from + u128::from(*key), &format!("key-{key}"), 300);
                let mut claim = journal.claim(&ours);
                // Once it was polled, it is in the queue.
                let polled =
                    std::future::poll_fn(|context| Poll::Ready(claim.as_mut().poll(context)));
                let polled = polled.await;
                if queued.fetch_add(1, Ordering::Relaxed) + 1 == TASKS {
                    say("asked");
                }
                let claimed = match polled {
                    Poll::Ready(claimed) => claimed,
                    Poll::Pending => claim.await,
                };
                match unwrap(claimed) {
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
