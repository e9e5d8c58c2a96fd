//! What the process does that loses its power: claims and steps, many at once, checkpoints, a file closed and opened again.
//!
//! Every record follows from the seed, so that the test knows what may be on record without being told.

use bytes::Bytes;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::context::{OperationId, OperationKey, Tenant};
use tower_sturdy::journal::record::Transition;
use tower_sturdy::journal::{
    Asked, Capability, Claim, Filter, Fingerprint, Journal, OwnerId, Record, SqliteJournal, State,
    StoredAnswer, StoredRequest,
};

pub const CHILD: &str = "power::work::child";
pub const FILE: &str = "TOWER_STURDY_TEST_JOURNAL";
pub const MARKS: &str = "TOWER_STURDY_TEST_MARKS";
pub const SEED: &str = "TOWER_STURDY_TEST_SEED";
pub const BODIES: &str = "TOWER_STURDY_TEST_BODIES";

const ROUNDS: usize = 40;
/// Twenty pages each: the log of 4,000 pages is full after some 200.
const LARGE: u32 = 212;
/// No step goes beyond this version.
const LAST: u64 = 5;
/// Nothing here takes so long on the slowest machine; a process that nobody waits for ends by itself.
const PATIENCE: Duration = Duration::from_secs(120);

/// Sizes of bodies: some fit a page of 4 KiB, some do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    Mixed,
    /// So large that a few hundred fill the log up to the checkpoint that SQLite makes by itself.
    Large,
}

impl Bodies {
    fn len(self, random: &mut Rng) -> usize {
        match (self, random.u8(..4)) {
            (Self::Large, _) => 60_000,
            (Self::Mixed, 0) => random.usize(3_500..9_000),
            (Self::Mixed, _) => random.usize(..600),
        }
    }
}

/// The operation `number` in the version that its step number `version` makes of it.
pub fn operation(seed: u64, bodies: Bodies, number: u32, version: u64) -> Record {
    let mut random = Rng::with_seed(seed << 32 | u64::from(number));
    let body = |random: &mut Rng| {
        let len = bodies.len(random);
        Bytes::from(
            std::iter::repeat_with(|| random.u8(..))
                .take(len)
                .collect::<Vec<u8>>(),
        )
    };
    let asked = Asked {
        id: OperationId::from_bits(random.u128(..)),
        namespace: Arc::from("power"),
        tenant: Tenant::new(["9130", "9131"][random.usize(..2)]).unwrap(),
        key: OperationKey::new(&format!("key-{}-{number}", random.u32(..))).unwrap(),
        conflict: random.bool().then(|| format!("bill-{number}")),
        fingerprint: Fingerprint {
            version: 1,
            digest: [random.u8(..); 32],
        },
        capability: Capability::Lookup,
        upstream_key: format!("up-{number}"),
        request: StoredRequest {
            method: http::Method::POST,
            uri: http::Uri::from_static("https://upstream.example/bill"),
            headers: vec![("content-type".into(), "application/json".into())],
            body: body(&mut random),
        },
        at: Timestamp::from_millis(1_000 + u64::from(number)),
        // Not kept by the file's first format.
        issued: None,
    };
    let mut record = Record::claim(asked, OwnerId(7), Timestamp::from_millis(31_000));
    for step in 2..=version {
        let from = record.state();
        let to = if step % 2 == 0 {
            State::Sending
        } else {
            State::Unknown
        };
        let to = if step == LAST { State::Completed } else { to };
        let progress = &mut record.progress;
        progress.history.push(Transition {
            at: Timestamp::from_millis(2_000 * step),
            from,
            to,
            why: "the test says so".into(),
            by: "test".into(),
        });
        progress.state = to;
        progress.version = step;
        progress.due = random
            .bool()
            .then(|| Timestamp::from_millis(random.u64(..9_999)));
        record.answer = (step > 2).then(|| StoredAnswer {
            status: 200,
            headers: vec![("content-type".into(), "application/json".into())],
            body: body(&mut random),
        });
    }
    record
}

struct Work {
    file: PathBuf,
    marks: Arc<File>,
    seed: u64,
    bodies: Bodies,
    random: Rng,
    journals: Vec<SqliteJournal>,
    /// The version of each operation.
    versions: BTreeMap<u32, u64>,
}

impl Work {
    fn open(&mut self) {
        self.journals.clear();
        for _ in 0..self.random.usize(1..=2) {
            self.journals.push(SqliteJournal::open(&self.file).unwrap());
        }
    }

    /// New operations and next steps of known ones, at the same time, through one handle or two.
    async fn batch(&mut self) {
        let mut chosen: BTreeMap<u32, u64> = BTreeMap::new();
        for _ in 0..self.random.usize(1..=6) {
            let next = u32::try_from(self.versions.len()).unwrap();
            let number = self.random.u32(..next * 3 / 2 + 1).min(next + 5);
            let version = self.versions.get(&number).map_or(1, |version| version + 1);
            // Numbers are given in order, so that they say how many there are.
            if number < next && version <= LAST {
                chosen.insert(number, version);
            }
        }
        let next = u32::try_from(self.versions.len()).unwrap();
        for new in 0..self.random.u32(..=3).max(u32::from(chosen.is_empty())) {
            chosen.insert(next + new, 1);
        }
        let mut tasks = JoinSet::new();
        for (&number, &version) in &chosen {
            let journal = self.random.choice(&self.journals).unwrap().clone();
            let record = operation(self.seed, self.bodies, number, version);
            let marks = Arc::clone(&self.marks);
            tasks.spawn(async move {
                mark(&marks, &format!("try {number} {version}"));
                if version == 1 {
                    assert_eq!(journal.claim(&record).await.unwrap(), Claim::Claimed);
                } else {
                    journal.step(&record).await.unwrap();
                }
                mark(&marks, &format!("done {number} {version}"));
            });
        }
        tasks.join_all().await;
        self.versions.extend(chosen);
    }

    /// What a person's `sqlite3` beside the service does.
    fn checkpoint(&mut self) {
        let kind = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"][self.random.usize(..4)];
        let beside = rusqlite::Connection::open(&self.file).unwrap();
        beside.busy_timeout(Duration::from_secs(5)).unwrap();
        let checkpoint = format!("PRAGMA wal_checkpoint({kind})");
        beside.query_row(&checkpoint, [], |_| Ok(())).unwrap();
    }

    async fn run(mut self) {
        self.open();
        for _ in 0..ROUNDS {
            match self.random.u8(..12) {
                0 => self.open(),
                1 => self.checkpoint(),
                2 => {
                    let all = Filter::default();
                    self.journals[0].list(&all).await.unwrap();
                }
                _ => self.batch().await,
            }
        }
    }

    /// One after the other, until SQLite has made a checkpoint by itself and has begun its log anew.
    async fn run_large(mut self) {
        self.open();
        for number in 0..LARGE {
            let record = operation(self.seed, self.bodies, number, 1);
            mark(&self.marks, &format!("try {number} 1"));
            self.journals[0].claim(&record).await.unwrap();
            mark(&self.marks, &format!("done {number} 1"));
        }
    }
}

/// One write, so that it is one line of the trace.
pub fn mark(mut marks: &File, text: &str) {
    marks.write_all(format!("{text}\n").as_bytes()).unwrap();
}

pub fn marks(path: &Path) -> File {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
}

/// Ends this process if it takes longer than anybody waits for it.
pub fn end_in_time() {
    std::thread::spawn(|| {
        let (_never, wait) = std::sync::mpsc::channel::<()>();
        let _ = wait.recv_timeout(PATIENCE);
        std::process::exit(3);
    });
}

/// Not a test: the process whose power goes.
#[test]
#[ignore = "a process that the tests of power start"]
fn child() {
    end_in_time();
    let setting = |name: &str| std::env::var(name).unwrap();
    let seed = setting(SEED).parse().unwrap();
    let large = setting(BODIES) == "large";
    let work = Work {
        file: setting(FILE).into(),
        marks: Arc::new(marks(Path::new(&setting(MARKS)))),
        seed,
        bodies: if large { Bodies::Large } else { Bodies::Mixed },
        random: Rng::with_seed(seed),
        journals: Vec::new(),
        versions: BTreeMap::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    if large {
        runtime.block_on(work.run_large());
    } else {
        runtime.block_on(work.run());
    }
}
