//! The same look-ups on files of very different sizes, the time to open each, and the memory that it takes.

use crate::sample::{Quantiles, numbered};
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::context::{OperationKey, Tenant};
use tower_sturdy::journal::{
    Claim, Filter, Journal, Lookup, Record, SqliteJournal, State, StoredAnswer,
};
use tower_sturdy::random::Random;

const ASKED: u64 = 2_000;
/// Of all that is on record, so many are not settled and due.
const DUE: u64 = 200;
const WRITERS: u64 = 256;

/// What is on record under `number`: settled and answered, but for the first ones.
fn record(number: u64) -> Record {
    // Eight a second.
    let at = Timestamp::from_millis(1_790_000_000_000 + number * 125);
    let random = Random::seeded(number);
    let mut record = numbered(at, random.id(), random.id());
    if number < DUE {
        record.progress.due = Some(at);
        record.progress.state = State::Unknown;
    } else {
        record.progress.due = None;
        record.progress.state = State::Completed;
        record.answer = Some(StoredAnswer {
            status: 200,
            headers: vec![("content-type".into(), "application/json".into())],
            body: vec![b'y'; 512].into(),
        });
    }
    record
}

async fn fill(journal: &SqliteJournal, from: u64, to: u64) {
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let journal = journal.clone();
        tasks.spawn(async move {
            for number in (from..to).skip(writer as usize).step_by(WRITERS as usize) {
                let record = record(number);
                assert_eq!(journal.claim(&record).await.unwrap(), Claim::Claimed);
            }
        });
    }
    tasks.join_all().await;
}

/// What one size costs.
struct Line {
    records: u64,
    open: Duration,
    /// Resident memory: what opening added, and what it is after all look-ups, in KiB.
    opened: u64,
    used: u64,
    /// By key, by id, a key that is not there, what is due.
    lookups: [Quantiles; 4],
}

async fn lookups(journal: &SqliteJournal, records: u64) -> [Quantiles; 4] {
    let (clock, random) = (Clock::system(), Random::seeded(3));
    let mut taken: [Vec<Duration>; 4] = std::array::from_fn(|_| Vec::new());
    let tenant = Tenant::new("9130").unwrap();
    for number in 0..ASKED {
        let wanted = record(random.bits() % records);
        let by_key = |key| Lookup::Key {
            namespace: "bench",
            tenant: &tenant,
            key,
        };
        let unknown = OperationKey::new(&format!("{:032x}", random.id())).unwrap();
        let asked = [
            (by_key(&wanted.asked.key), true),
            (Lookup::Id(wanted.id()), true),
            (by_key(&unknown), false),
        ];
        for ((which, there), taken) in asked.into_iter().zip(&mut taken) {
            let start = clock.now();
            let found = journal.get(which).await.unwrap();
            taken.push(start.elapsed());
            assert_eq!(found.is_some(), there);
        }
        if number % 20 == 0 {
            let due = Filter {
                due_by: Some(Timestamp::NEVER),
                ..Filter::default()
            };
            let start = clock.now();
            let found = journal.list(&due).await.unwrap();
            taken[3].push(start.elapsed());
            assert_eq!(found.len(), due.limit);
        }
    }
    taken.map(Quantiles::new)
}

/// Resident memory of this process in KiB, as Linux tells it; 0 elsewhere.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn line(path: &Path, from: u64, records: u64) -> Line {
    let runtime = Runtime::new().unwrap();
    let journal = SqliteJournal::open(path).unwrap();
    runtime.block_on(fill(&journal, from, records));
    drop(journal);
    // Its end is the end of all work on the file.
    drop(runtime);
    let runtime = Runtime::new().unwrap();
    let (clock, before) = (Clock::system(), resident());
    let start = clock.now();
    let journal = SqliteJournal::open(path).unwrap();
    let open = start.elapsed();
    let opened = resident().saturating_sub(before);
    let lookups = runtime.block_on(lookups(&journal, records));
    Line {
        records,
        open,
        opened,
        used: resident().saturating_sub(before),
        lookups,
    }
}

/// Prints a line for each power of ten up to `most`.
pub(crate) fn measure(directory: &Path, most: u64) {
    let path = directory.join("sizes.journal");
    println!(
        "{:<10} {:>9} {:>10} {:>10} {:>20} {:>20} {:>20} {:>20}",
        "records",
        "open",
        "memory +",
        "in use +",
        "by key p50, p99",
        "by id",
        "no such key",
        "100 due"
    );
    let (mut from, mut first) = (0, None);
    let sizes = (3..)
        .map(|power| 10_u64.pow(power))
        .take_while(|size| *size < most);
    for records in sizes.chain([most]) {
        let line = line(&path, from, records);
        from = records;
        print!(
            "{:<10} {:>6.1} ms {:>6} KiB {:>6} KiB",
            line.records,
            line.open.as_secs_f64() * 1e3,
            line.opened,
            line.used
        );
        for taken in &line.lookups {
            print!(" {:>8.0} {:>8.0} us", taken.at(50), taken.at(99));
        }
        println!();
        let p50 = line.lookups.each_ref().map(|taken| taken.at(50));
        let first: [f64; 4] = *first.get_or_insert(p50);
        print!("{:<42}", "   over the first line, p50");
        for (now, first) in p50.iter().zip(first) {
            print!(" {:>19.2}x", now / first);
        }
        println!();
    }
    println!(
        "file: {} MiB",
        std::fs::metadata(&path).unwrap().len() >> 20
    );
}
