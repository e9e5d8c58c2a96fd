//! What one durable claim costs, beside what the disk asks for at least: an appended `fdatasync` in the same run.
//!
//! `cargo bench --features sqlite --bench journal`; set `JOURNAL_BENCH_DIR` to measure another disk.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a program that measures and prints"
)]

use bytes::Bytes;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tower_sturdy::clock::Clock;
use tower_sturdy::context::{OperationId, OperationKey, Tenant};
use tower_sturdy::journal::{
    Asked, Capability, Claim, Concurrent, Fingerprint, Journal, OwnerId, Record, SqliteJournal,
    StoredRequest,
};
use tower_sturdy::random::Random;

/// A bill with some lines.
const BODY: usize = 1_024;
/// Past the first checkpoint (4000 pages of log, some six a claim): from there on the log is written over, not appended to.
const WARM_UP: usize = 2_000;
const ONE_AT_A_TIME: usize = 2_000;
const AT_ONCE: usize = 64;
const EACH: usize = 500;

fn claim(random: &Random, clock: Clock) -> Record {
    let (id, now) = (random.id(), clock.wall());
    let asked = Asked {
        id: OperationId::new(now, random.id()),
        namespace: Arc::from("bench"),
        tenant: Tenant::new("9130").unwrap(),
        key: OperationKey::new(&format!("{id:032x}")).unwrap(),
        conflict: None,
        fingerprint: Fingerprint {
            version: 1,
            digest: [3; 32],
        },
        capability: Capability::Keyed {
            horizon: Duration::from_secs(3_600),
            concurrent: Concurrent::Unproven,
        },
        upstream_key: format!("{id:032x}"),
        request: StoredRequest {
            method: http::Method::POST,
            uri: http::Uri::from_static("https://upstream.example/v3/company/9130/bill"),
            headers: vec![("content-type".into(), "application/json".into())],
            body: Bytes::from(vec![b'x'; BODY]),
        },
        at: now,
        issued: None,
    };
    Record::claim(asked, OwnerId(1), now.plus(Duration::from_secs(30)))
}

/// The least that could be durable: the body at the end of a file, synced.
struct Raw(File);

impl Raw {
    fn append(&mut self) {
        self.0.write_all(&[b'x'; BODY]).unwrap();
        self.0.sync_data().unwrap();
    }
}

struct Quantiles(Vec<Duration>);

impl Quantiles {
    fn at(&mut self, percent: usize) -> Duration {
        self.0.sort_unstable();
        self.0[(self.0.len() - 1) * percent / 100]
    }
}

async fn claim_one(journal: &SqliteJournal, record: &Record) {
    assert_eq!(journal.claim(record).await.unwrap(), Claim::Claimed);
}

/// Claims and raw appends in turn, so that both see the same disk.
async fn one_at_a_time(journal: &SqliteJournal, raw: &mut Raw) -> (Quantiles, Quantiles) {
    let (clock, random) = (Clock::system(), Random::seeded(1));
    for _ in 0..WARM_UP {
        claim_one(journal, &claim(&random, clock)).await;
    }
    let (mut ours, mut least) = (Vec::new(), Vec::new());
    for _ in 0..ONE_AT_A_TIME {
        let record = claim(&random, clock);
        let start = clock.now();
        claim_one(journal, &record).await;
        ours.push(start.elapsed());
        let start = clock.now();
        raw.append();
        least.push(start.elapsed());
    }
    (Quantiles(ours), Quantiles(least))
}

/// Operations a second with many callers, and how many shared a commit.
async fn many_at_once(journal: &SqliteJournal) -> (f64, f64) {
    let clock = Clock::system();
    let random = Random::seeded(2);
    let commits = journal.commits();
    let start = clock.now();
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (journal, random) = (journal.clone(), random.clone());
        tasks.spawn(async move {
            for _ in 0..EACH {
                claim_one(&journal, &claim(&random, clock)).await;
            }
        });
    }
    tasks.join_all().await;
    let taken = start.elapsed();
    let operations = f64::from(u32::try_from(AT_ONCE * EACH).unwrap());
    let commits = f64::from(u32::try_from(journal.commits() - commits).unwrap());
    (operations / taken.as_secs_f64(), operations / commits)
}

fn directory() -> PathBuf {
    // Not the system's temporary directory: that may be memory.
    std::env::var_os("JOURNAL_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from)
}

fn measure(directory: &Path) {
    let journal = SqliteJournal::open(directory.join("bench.journal")).unwrap();
    let mut raw = Raw(File::create(directory.join("raw")).unwrap());
    let runtime = Runtime::new().unwrap();
    let (mut ours, mut least) = runtime.block_on(one_at_a_time(&journal, &mut raw));
    let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
    println!("{:<44} {:>10} {:>10}", "", "p50", "p99");
    for (name, quantiles) in [
        ("append 1 KiB + fdatasync", &mut least),
        ("claim, one at a time", &mut ours),
    ] {
        println!(
            "{name:<44} {:>7.0} us {:>7.0} us",
            micros(quantiles.at(50)),
            micros(quantiles.at(99))
        );
    }
    let ratio = micros(ours.at(50)) / micros(least.at(50));
    println!(
        "{:<44} {ratio:>10.2}   (budget: 1.5)",
        "claim / append, p50"
    );
    let (rate, shared) = runtime.block_on(many_at_once(&journal));
    println!(
        "{:<44} {rate:>8.0}/s   (budget: 20000)",
        format!("claims, {AT_ONCE} at once")
    );
    println!("{:<44} {shared:>10.1}", "claims in one commit, mean");
    let alone = 1e6 / micros(ours.at(50));
    println!(
        "{:<44} {:>10.1}   (budget: 4)",
        "at once / one at a time",
        rate / alone
    );
}

fn main() {
    let directory = tempfile::tempdir_in(directory()).unwrap();
    measure(directory.path());
}
