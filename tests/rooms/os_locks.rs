//! Facts about owners on a journal that knows who still runs: the dead are followed at once, the slow never.

use super::hooks::Planned;
use super::house::{Does, House, KEYED, Plan, kind, pay, pay_within, seconds, upstream};
use super::probe::Counts;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tower::ServiceExt;
use tower_sturdy::clock::Clock;
use tower_sturdy::context::{OperationKey, Tenant};
use tower_sturdy::error::Kind;
use tower_sturdy::journal::{
    BoxFuture, Capability, Claim, Durability, Enlisted, Filter, Journal, JournalError, Liveness,
    Lookup, OwnerId, Record, SqliteJournal, State,
};
use tower_sturdy::reconcile::NoHooks;

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shared.journal");
    (directory, path)
}

fn open(path: &Path) -> Arc<SqliteJournal> {
    Arc::new(SqliteJournal::open(path).unwrap())
}

async fn on_record(journal: &dyn Journal, key: &str) -> Record {
    let key = OperationKey::new(key).unwrap();
    let which = Lookup::Key {
        namespace: "default",
        tenant: &Tenant::default(),
        key: &key,
    };
    journal.get(which).await.unwrap().unwrap()
}

/// A journal whose steps fail while it is stuck: its owner cannot renew a lease.
#[derive(Debug)]
struct Stuck {
    journal: Arc<SqliteJournal>,
    stuck: AtomicBool,
}

impl Journal for Stuck {
    fn durability(&self) -> Durability {
        self.journal.durability()
    }

    fn claim<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, Result<Claim, JournalError>> {
        self.journal.claim(record)
    }

    fn step<'a>(&'a self, next: &'a Record) -> BoxFuture<'a, Result<(), JournalError>> {
        if self.stuck.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err(JournalError::unavailable("stuck"))));
        }
        self.journal.step(next)
    }

    fn get<'a>(&'a self, which: Lookup<'a>) -> BoxFuture<'a, Result<Option<Record>, JournalError>> {
        self.journal.get(which)
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> BoxFuture<'a, Result<Vec<Record>, JournalError>> {
        self.journal.list(filter)
    }

    fn enlist(&self, owner: OwnerId) -> Result<Option<Enlisted>, JournalError> {
        self.journal.enlist(owner)
    }

    fn liveness(&self, owner: OwnerId) -> BoxFuture<'_, Liveness> {
        self.journal.liveness(owner)
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_owners_work_is_taken_over_at_once() {
    let (_directory, path) = place();
    let mut plan = Plan::new(KEYED);
    let (probe, first) = upstream([Does::Hangs]);
    let dead = plan.build_on(open(&path), probe, Arc::new(NoHooks));
    assert_eq!(
        kind(dead.service.clone().oneshot(pay("a")).await),
        Kind::Pending
    );
    dead.book.kill();
    let died = Clock::system().now();

    plan.seed = 2;
    let journal = open(&path);
    let (probe, counts) = upstream([]);
    let next = plan.build_on(journal.clone(), probe, Planned::new([]));
    next.reconciler.start();
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(
        next.reconciler.figures().taken_over(),
        1,
        "its lease runs for a minute"
    );
    assert_eq!(on_record(&*journal, "a").await.state(), State::Unknown);
    // What it sent may still land: nothing is sent again before that is over.
    let settle = plan.config.settle.settle_window;
    tokio::time::sleep_until(died + settle - seconds(1)).await;
    assert_eq!((first.calls(), counts.calls()), (1, 0));
    tokio::time::sleep(seconds(60)).await;
    assert_eq!(counts.calls(), 1);
    assert_eq!(on_record(&*journal, "a").await.state(), State::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_a_dead_owner_never_sent_is_sent_at_once() {
    let (_directory, path) = place();
    let mut plan = Plan::new(Capability::Lookup);
    let journal = open(&path);
    let stuck = Arc::new(Stuck {
        journal: journal.clone(),
        stuck: AtomicBool::new(true),
    });
    let (probe, first) = upstream([]);
    let dead = plan.build_on(stuck, probe, Arc::new(NoHooks));
    // The claim is durable, the step to `Sending` fails.
    let _ = dead.service.clone().oneshot(pay("a")).await;
    dead.book.kill();
    assert_eq!(on_record(&*journal, "a").await.state(), State::Claimed);
    plan.seed = 2;
    let (probe, counts) = upstream([]);
    let next = plan.build_on(journal.clone(), probe, Planned::new([]));
    next.reconciler.start();
    tokio::time::sleep(seconds(1)).await;
    assert_eq!((first.calls(), counts.calls()), (0, 1));
    assert_eq!(on_record(&*journal, "a").await.state(), State::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_slow_owner_is_never_taken_over_though_its_lease_is_over() {
    let (_directory, path) = place();
    let mut plan = Plan::new(Capability::Lookup);
    let journal = open(&path);
    let stuck = Arc::new(Stuck {
        journal: journal.clone(),
        stuck: AtomicBool::new(false),
    });
    let (probe, sent) = upstream([Does::Slowly(200, seconds(125))]);
    let slow = plan.build_on(stuck.clone(), probe, Arc::new(NoHooks));
    let call = tokio::spawn(slow.service.clone().oneshot(pay_within("a", seconds(300))));
    tokio::time::sleep(seconds(1)).await;
    stuck.stuck.store(true, Ordering::SeqCst);

    plan.seed = 2;
    let (probe, other_sent) = upstream([]);
    let other = plan.build_on(open(&path), probe, Planned::new([]));
    other.reconciler.start();
    for _ in 0..120 {
        tokio::time::sleep(seconds(1)).await;
        let record = on_record(&*journal, "a").await;
        assert_eq!(
            (record.state(), record.progress.owner),
            (State::Sending, slow.book.owner())
        );
    }
    let record = on_record(&*journal, "a").await;
    assert!(
        record.progress.lease_until < plan.clock.wall(),
        "the lease is over for long"
    );
    stuck.stuck.store(false, Ordering::SeqCst);
    assert_eq!(call.await.unwrap().unwrap().body().bytes(), "paid");
    assert_eq!(on_record(&*journal, "a").await.state(), State::Completed);
    assert_eq!(other.reconciler.figures().taken_over(), 0);
    assert_eq!((sent.calls(), other_sent.calls()), (1, 0));
}

const FILE: &str = "TOWER_STURDY_TEST_OWNED";

/// Sends a payment that is never answered, says so, and waits to be killed. Not a test: the process of the test below.
#[test]
#[ignore = "a process that a test of this file starts"]
fn child() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let journal = open(Path::new(&std::env::var_os(FILE).unwrap()));
        let mut plan = Plan::new(KEYED);
        plan.clock = Clock::system();
        let (probe, counts) = upstream([Does::Hangs]);
        let house = plan.build_on(journal, probe, Arc::new(NoHooks));
        let _ = house.service.clone().oneshot(pay("a")).await;
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nsent {}", counts.calls()).unwrap();
        out.flush().unwrap();
        // Its parent's end ends it too.
        let _ = std::io::stdin().read(&mut [0]);
    });
}

fn start(path: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "os_locks::child", "--ignored", "--nocapture"])
        .env(FILE, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(
        said.map_while(Result::ok).any(|line| line == "sent 1"),
        "the child did not send"
    );
    child
}

/// Another process over the same file, on a clock that starts with the real one.
fn beside(path: &Path, seed: u64, clock: Clock) -> (Arc<SqliteJournal>, House, Arc<Counts>) {
    let mut plan = Plan::new(KEYED);
    plan.seed = seed;
    plan.clock = clock;
    let journal = open(path);
    let (probe, counts) = upstream([]);
    let house = plan.build_on(journal.clone(), probe, Planned::new([]));
    house.reconciler.start();
    (journal, house, counts)
}

#[tokio::test(start_paused = true)]
async fn a_killed_process_is_followed_at_once_and_a_living_one_never() {
    let (_directory, path) = place();
    let mut child = start(&path);
    let clock = Clock::anchored(Clock::system().wall());
    let (journal, patient, counts) = beside(&path, 2, clock);
    // Ten minutes here, moments for the child: its lease is over ten times, and it lives.
    tokio::time::sleep(seconds(600)).await;
    let record = on_record(&*journal, "a").await;
    assert!(record.progress.lease_until < clock.wall());
    assert_eq!(record.state(), State::Sending);
    assert_eq!(
        (patient.reconciler.figures().taken_over(), counts.calls()),
        (0, 0)
    );
    child.kill().unwrap();
    child.wait().unwrap();
    // Who starts now follows at once; nobody waits for the next look of the other one.
    let (journal, next, _) = beside(&path, 3, clock);
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(next.reconciler.figures().taken_over(), 1);
    assert_eq!(on_record(&*journal, "a").await.state(), State::Unknown);
}

#[tokio::test(start_paused = true)]
async fn who_runs_already_notices_a_kill_at_the_next_look() {
    let (_directory, path) = place();
    let mut child = start(&path);
    let (journal, patient, counts) = beside(&path, 2, Clock::anchored(Clock::system().wall()));
    tokio::time::sleep(seconds(90)).await;
    assert_eq!(patient.reconciler.figures().taken_over(), 0);
    child.kill().unwrap();
    child.wait().unwrap();
    tokio::time::sleep(seconds(130)).await;
    assert_eq!(patient.reconciler.figures().taken_over(), 1);
    assert_eq!(counts.calls(), 0, "what the dead one sent may still land");
    tokio::time::sleep(seconds(400)).await;
    assert_eq!(counts.calls(), 1);
    assert_eq!(on_record(&*journal, "a").await.state(), State::Completed);
}
