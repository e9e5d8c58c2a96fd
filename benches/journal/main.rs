//! What a durable claim costs, beside what the disk asks for at least: an appended `fdatasync` in the same run. And
//! whether a look-up costs the same however much is on record.
//!
//! `cargo bench --features sqlite --bench journal`; set `JOURNAL_BENCH_DIR` to measure another disk. The files of the last
//! table end at 100,000 records (400 MB); `-- --records 1000000` goes on to a million (4 GB, some minutes), and
//! `-- --records 0` leaves the table out.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a program that measures and prints"
)]

mod memory;
mod sample;
mod sizes;

use sample::{BODY, Quantiles, claim};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tower_sturdy::clock::Clock;
use tower_sturdy::journal::{Claim, Journal, Record, SqliteJournal};
use tower_sturdy::random::Random;

/// Past the first checkpoint (4000 pages of log, some six a claim): from there on the log is written over, not appended to.
const WARM_UP: usize = 2_000;
const ONE_AT_A_TIME: usize = 2_000;
const AT_ONCE: usize = 64;
const EACH: usize = 500;

/// The least that could be durable: the body at the end of a file, synced.
struct Raw(File);

impl Raw {
    fn append(&mut self) {
        self.0.write_all(&[b'x'; BODY]).unwrap();
        self.0.sync_data().unwrap();
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
    (Quantiles::new(ours), Quantiles::new(least))
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

fn row(name: &str, value: &str, budget: &str) {
    println!("{name:<44} {value:>12}   (budget: {budget})");
}

fn in_memory() {
    let (ours, bare) = memory::measure();
    let over = ours.saturating_sub(bare).as_secs_f64() * 1e6;
    row(
        "new operation in memory, over the bare call",
        &format!("{over:.2} us"),
        "3 us",
    );
}

fn on_disk(directory: &Path) {
    let journal = SqliteJournal::open(directory.join("bench.journal")).unwrap();
    let mut raw = Raw(File::create(directory.join("raw")).unwrap());
    let runtime = Runtime::new().unwrap();
    let (ours, least) = runtime.block_on(one_at_a_time(&journal, &mut raw));
    println!(
        "{:<44} {:>9.0} us  p99 {:.0} us",
        "append 1 KiB + fdatasync, p50",
        least.at(50),
        least.at(99)
    );
    println!(
        "{:<44} {:>9.0} us  p99 {:.0} us",
        "claim, one at a time, p50",
        ours.at(50),
        ours.at(99)
    );
    row(
        "claim / append, p50",
        &format!("{:.2}", ours.at(50) / least.at(50)),
        "1.5",
    );
    let (rate, shared) = runtime.block_on(many_at_once(&journal));
    row(
        &format!("claims, {AT_ONCE} at once"),
        &format!("{rate:.0}/s"),
        "20000/s",
    );
    println!("{:<44} {shared:>12.1}", "claims in one commit, mean");
    row(
        "at once / one at a time",
        &format!("{:.1}", rate * ours.at(50) / 1e6),
        "4",
    );
}

/// How many records the last table goes up to.
fn records() -> Option<u64> {
    // `--bench` is cargo's own.
    let mut given = std::env::args().skip(1).filter(|given| given != "--bench");
    match given.next() {
        None => Some(100_000),
        Some(name) if name == "--records" => given
            .next()?
            .parse()
            .ok()
            .filter(|most| *most == 0 || *most >= 1_000),
        Some(_) => None,
    }
}

fn main() -> ExitCode {
    let Some(records) = records() else {
        eprintln!(
            "use: cargo bench --features sqlite --bench journal -- [--records N]   (N: 0, or at least 1000)"
        );
        return ExitCode::FAILURE;
    };
    let directory = tempfile::tempdir_in(directory()).unwrap();
    in_memory();
    on_disk(directory.path());
    if records > 0 {
        println!();
        sizes::measure(directory.path(), records);
    }
    ExitCode::SUCCESS
}
