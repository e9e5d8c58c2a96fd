//! The stack over a real socket, under `strace`: what is durable at the first byte to the upstream, and when the caller
//! is told.
//!
//! "Durable" is what a power loss at that moment would leave if the disk wrote nothing that it was not made to.

use crate::power::disk::{Disk, Lie, Loss};
use crate::power::events::{Event, events};
use crate::power::work::{FILE, MARKS, end_in_time, mark, marks};
use http::Request;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tower::ServiceExt;
use tower_sturdy::idempotency::KeyHeader;
use tower_sturdy::journal::{
    Capability, Concurrent, Filter, Journal, Record, SqliteJournal, State,
};
use tower_sturdy::payload::Payload;
use tower_sturdy::stack::Stack;
use tower_sturdy::transport::reqwest::ReqwestTransport;

const UPSTREAM: &str = "TOWER_STURDY_TEST_UPSTREAM";
const KINDS: [&str; 3] = ["keyed", "lookup", "none"];

fn file(key: &str) -> String {
    format!("{key}.journal")
}

fn capability(kind: &str) -> Capability {
    match kind {
        "keyed" => Capability::Keyed {
            horizon: Duration::from_secs(3_600),
            concurrent: Concurrent::Unproven,
        },
        "lookup" => Capability::Lookup,
        _ => Capability::None,
    }
}

/// Not a test: the process that pays, once for each kind of upstream and once more of each.
#[test]
#[ignore = "a process that the tests of this file start"]
fn child() {
    end_in_time();
    let setting = |name: &str| std::env::var(name).unwrap();
    let marks = marks(Path::new(&setting(MARKS)));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        for number in 1..=2 {
            for kind in KINDS {
                let key = format!("{kind}-{number}");
                // A file of its own: no work behind an earlier write is taken for this one's.
                let path = Path::new(&setting(FILE)).join(file(&key));
                let journal = Arc::new(SqliteJournal::open(path).unwrap());
                let transport = ReqwestTransport::new(reqwest::Client::builder()).unwrap();
                let stack = Stack::builder(transport)
                    .journal(journal)
                    .writes(Arc::new(KeyHeader::new().with_capability(capability(kind))))
                    // The answer is what this is about, however slow the trace makes it.
                    .configure(|config| config.idempotency.patience = Duration::from_secs(60))
                    .build()
                    .unwrap();
                mark(&marks, &format!("ask {key}"));
                let request = Request::post(format!("http://{}/pay", setting(UPSTREAM)))
                    .header("idempotency-key", &key)
                    .body(Payload::from(format!("{{\"pay\":\"{key}\"}}")))
                    .unwrap();
                let answer = stack.clone().oneshot(request).await.unwrap();
                assert_eq!(answer.body().bytes(), "paid");
                mark(&marks, &format!("told {key}"));
                // A completion that was only queued, and whatever runs behind it, belongs to this write.
                assert_eq!(stack.shutdown(Duration::from_secs(60)).await, 0);
                mark(&marks, &format!("ended {key}"));
            }
        }
    });
}

/// An upstream that says "paid" to whatever it is sent, on a real socket.
struct Payee {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Payee {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                // A connection that breaks is the child's failure, which its test tells.
                std::thread::spawn(move || pay(&stream.unwrap()));
            }
        });
        Self {
            address,
            ended,
            thread: Some(thread),
        }
    }
}

impl Drop for Payee {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let woken = TcpStream::connect_timeout(&self.address, Duration::from_secs(5));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

fn pay(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut len = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(found) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                len = found.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
        }
        reader.read_exact(&mut vec![0; len])?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\npaid")?;
    }
}

/// What the trace says of one write.
#[derive(Debug)]
struct Seen {
    key: String,
    /// How many syncs of the log ended before the first byte.
    syncs: usize,
    at_first_byte: Option<State>,
    when_told: Option<State>,
    at_the_end: Option<State>,
    sends: usize,
}

/// The record of `key` that a power loss now would leave.
fn durable(disk: &Disk, key: &str) -> Option<State> {
    let directory = tempfile::tempdir().unwrap();
    let left = disk.crash(Loss::All, &mut fastrand::Rng::with_seed(0));
    for (name, content) in left.iter().filter(|(name, _)| name.starts_with(key)) {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let journal = SqliteJournal::open(directory.path().join(file(key))).unwrap();
    let all = runtime.block_on(journal.list(&Filter::default())).unwrap();
    let found = all.iter().find(|record| record.asked.key.as_str() == key);
    found.map(Record::state)
}

fn trace() -> Vec<Seen> {
    let payee = Payee::start();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = directory.path().canonicalize().unwrap();
    let (files, marks, log) = (root.join("disk"), root.join("marks"), root.join("log"));
    std::fs::create_dir(&files).unwrap();
    let settings = [
        (FILE, files.display().to_string()),
        (MARKS, marks.display().to_string()),
        (UPSTREAM, payee.address.to_string()),
    ];
    let calls = crate::strace::record(&log, "trace::child", &settings);
    let mut disk = Disk::new(Lie::Nothing);
    let mut seen: Vec<Seen> = Vec::new();
    let mut syncs: BTreeMap<usize, String> = BTreeMap::new();
    for event in events(&calls, &files, &marks, Some(payee.address.port())) {
        // A byte leaves with what is durable before it; a sync counts once it came back.
        match &event {
            Event::Send => {
                let write = seen.last_mut().unwrap();
                write.sends += 1;
                if write.sends == 1 {
                    write.at_first_byte = durable(&disk, &write.key);
                }
            }
            Event::SyncBegin(number, Some(synced)) => {
                syncs.insert(*number, synced.clone());
            }
            Event::SyncEnd(number) => {
                let synced = syncs.remove(number);
                if let Some(write) = seen.last_mut().filter(|write| write.sends == 0) {
                    let log = format!("{}-wal", file(&write.key));
                    write.syncs += usize::from(synced == Some(log));
                }
            }
            Event::Mark(mark) => match mark.split_once(' ').unwrap() {
                ("ask", key) => seen.push(Seen {
                    key: key.to_owned(),
                    syncs: 0,
                    at_first_byte: None,
                    when_told: None,
                    at_the_end: None,
                    sends: 0,
                }),
                ("told", key) => seen.last_mut().unwrap().when_told = durable(&disk, key),
                (_, key) => seen.last_mut().unwrap().at_the_end = durable(&disk, key),
            },
            _ => {}
        }
        disk.apply(&event);
    }
    seen
}

#[test]
fn the_record_is_synced_before_the_first_byte_leaves_and_the_end_before_a_caller_is_told_who_has_only_the_record()
 {
    let seen = trace();
    for write in &seen {
        println!("{write:?}");
    }
    assert_eq!(seen.len(), 2 * KINDS.len());
    for write in &seen {
        assert!(write.sends > 0, "the trace shows no byte of {write:?}");
        assert_eq!(write.at_first_byte, Some(State::Sending), "{write:?}");
        assert_eq!(write.at_the_end, Some(State::Completed), "{write:?}");
        if !write.key.starts_with("keyed") {
            // Only the record keeps it from leaving twice: its end is told when it is durable.
            assert_eq!(write.when_told, Some(State::Completed), "{write:?}");
        }
    }
    for write in &seen {
        // One commit holds the claim of a keyed write; the others step to `Sending` by a commit of its own.
        let commits = if write.key.starts_with("keyed") { 1 } else { 2 };
        assert_eq!(write.syncs, commits, "{write:?}");
    }
}
