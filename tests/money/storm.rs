//! One seed: users click, processes crash and start again, and in the end everything must be settled.

use super::judge::{Click, Told, judge, told};
use super::upstream::{Bank, ByMark, READ_LAG, WINDOW};
use http::Request;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tower::{Layer, ServiceExt};
use tower_sturdy::attempt::{Attempt, AttemptConfig, AttemptLayer};
use tower_sturdy::classify::HttpClassify;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::context::Context;
use tower_sturdy::event::Tracing;
use tower_sturdy::idempotency::{Idempotency, IdempotencyConfig, IdempotencyLayer, KeyHeader};
use tower_sturdy::journal::faulty::{Call, Fault};
use tower_sturdy::journal::{
    Book, BookConfig, Capability, Concurrent, Durability, FaultyJournal, MemoryJournal,
    SettleConfig,
};
use tower_sturdy::payload::Payload;
use tower_sturdy::random::Random;
use tower_sturdy::reconcile::{NoHooks, ReconcileConfig, Reconciler, Upstream};

#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub keyed: bool,
    pub hosts: usize,
    pub journal_fails: bool,
}

type Clicks = Arc<Mutex<BTreeMap<String, Vec<Click>>>>;

/// One process.
struct Host {
    book: Book,
    journal: FaultyJournal,
    service: Idempotency<Attempt<Bank>>,
    callers: Vec<JoinHandle<()>>,
}

struct Storm {
    kind: Kind,
    clock: Clock,
    rng: fastrand::Rng,
    memory: MemoryJournal,
    bank: Bank,
    clicks: Clicks,
}

impl Storm {
    fn start(&mut self) -> Host {
        let settle = SettleConfig {
            settle_window: WINDOW,
            read_lag: READ_LAG,
            ..SettleConfig::default()
        };
        let config = BookConfig {
            lease: Duration::from_secs(12),
            lease_margin: Duration::from_secs(2),
            settle,
            ..BookConfig::default()
        };
        let journal = FaultyJournal::new(Arc::new(self.memory.clone()))
            .with_durability(Durability::CrashDurable);
        let random = Random::seeded(self.rng.u64(..));
        let shared = Arc::new(journal.clone());
        let book = Book::new(shared, config, self.clock, random, Arc::new(Tracing)).unwrap();
        let classify = Arc::new(HttpClassify::new().trust(http::StatusCode::TOO_MANY_REQUESTS));
        let attempt = AttemptConfig {
            write_timeout: Duration::from_secs(self.rng.u64(3..20)),
            ..AttemptConfig::default()
        };
        let gate = AttemptLayer::new(attempt).unwrap();
        let gate = gate.with_book(book.clone()).with_clock(self.clock);
        let lower = gate
            .with_classify(classify.clone())
            .layer(self.bank.clone());
        let capability = if self.kind.keyed {
            Capability::Keyed {
                horizon: Duration::from_secs(7_200),
                concurrent: Concurrent::Unproven,
            }
        } else {
            Capability::Lookup
        };
        let layer = IdempotencyLayer::new(IdempotencyConfig::default(), book.clone()).unwrap();
        let layer = layer
            .with_writes(Arc::new(KeyHeader::new().with_capability(capability)))
            .with_classify(classify)
            .with_gate_below();
        let upstream = Upstream::new(lower.clone());
        let reconcile = ReconcileConfig {
            hook_timeout: Duration::from_secs(20),
            ..ReconcileConfig::default()
        };
        // A keyed upstream can be settled without any look-up.
        let reconciler = if self.kind.keyed && self.rng.bool() {
            Reconciler::new(reconcile, book.clone(), upstream, Arc::new(NoHooks))
        } else {
            Reconciler::new(
                reconcile,
                book.clone(),
                upstream,
                Arc::new(ByMark(self.bank.clone())),
            )
        };
        reconciler.unwrap().start();
        Host {
            service: layer.layer(lower),
            book,
            journal,
            callers: Vec::new(),
        }
    }

    fn click(&mut self, host: &mut Host, operation: &str) {
        let patience = [50, 300, 2_000, 30_000][self.rng.usize(0..4)];
        let mut request = Request::post("http://bank/pay")
            .header("idempotency-key", operation)
            .body(Payload::from(operation.to_owned()))
            .unwrap();
        let context = Context::new().with_patience(Duration::from_millis(patience));
        request.extensions_mut().insert(context);
        let (clicks, bank, clock) = (Arc::clone(&self.clicks), self.bank.clone(), self.clock);
        let (service, operation) = (host.service.clone(), operation.to_owned());
        let at = {
            let mut clicks = clicks.lock().unwrap();
            let all = clicks.entry(operation.clone()).or_default();
            all.push(Click {
                ended: None,
                told: Told::Nothing,
            });
            all.len() - 1
        };
        host.callers.push(tokio::spawn(async move {
            let result = service.oneshot(request).await;
            let told = told(&bank, &operation, &result);
            let mut clicks = clicks.lock().unwrap();
            let click = &mut clicks.get_mut(&operation).unwrap()[at];
            click.ended = Some(clock.wall().as_millis());
            click.told = told;
        }));
    }

    /// The journal of one host goes wrong for a few calls, or for a while.
    fn trouble(&mut self, host: &Host) {
        let some = |rng: &mut fastrand::Rng| match rng.u32(0..6) {
            0 => Fault::Fails,
            1 => Fault::AppliesThenFails,
            2 => Fault::TellsAfter(Duration::from_millis(rng.u64(1..3_000))),
            3 => Fault::MakesAfter(Duration::from_millis(rng.u64(1..3_000))),
            _ => Fault::Fine,
        };
        let call = [Call::Claim, Call::Step, Call::Get, Call::List][self.rng.usize(0..4)];
        let faults: Vec<_> = (0..self.rng.usize(1..5))
            .map(|_| some(&mut self.rng))
            .collect();
        host.journal.next(call, faults);
        if self.rng.u32(0..6) == 0 {
            let (journal, wait) = (host.journal.clone(), self.rng.u64(1..40));
            journal.down(true);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(wait)).await;
                journal.down(false);
            });
        }
    }
}

/// As `kill -9`: its tasks and whoever waits for it are gone.
fn kill(host: &mut Host) {
    host.book.kill();
    for caller in host.callers.drain(..) {
        caller.abort();
    }
}

/// Runs one seed; returns what was wrong.
pub async fn storm(seed: u64, kind: Kind) -> Vec<String> {
    let mut storm = Storm {
        kind,
        clock: Clock::anchored(Timestamp::from_millis(1_000_000_000)),
        rng: fastrand::Rng::with_seed(seed),
        memory: MemoryJournal::new(),
        bank: Bank::new(seed ^ 0x5eed, kind.keyed),
        clicks: Arc::default(),
    };
    let mut hosts: Vec<Host> = (0..kind.hosts).map(|_| storm.start()).collect();
    let operations: Vec<String> = (0..12)
        .map(|number| match storm.rng.u32(0..10) {
            0 => format!("invalid-{number}"),
            _ => format!("pay-{number}"),
        })
        .collect();
    for _ in 0..storm.rng.usize(20..60) {
        tokio::time::sleep(Duration::from_millis(storm.rng.u64(0..3_000))).await;
        let at = storm.rng.usize(0..hosts.len());
        let operation = operations[storm.rng.usize(0..operations.len())].clone();
        match storm.rng.u32(0..20) {
            0 => {
                kill(&mut hosts[at]);
                // A dead host may stay dead for a while.
                tokio::time::sleep(Duration::from_millis(storm.rng.u64(0..30_000))).await;
                hosts[at] = storm.start();
            }
            1..4 if kind.journal_fails => storm.trouble(&hosts[at]),
            4..7 => {
                // A nervous finger.
                for _ in 0..storm.rng.usize(2..5) {
                    storm.click(&mut hosts[at], &operation);
                }
            }
            _ => storm.click(&mut hosts[at], &operation),
        }
    }
    // The storm goes on for a while after the last click, and then all is well until everything has settled.
    tokio::time::sleep(Duration::from_secs(storm.rng.u64(0..300))).await;
    storm.bank.world.lock().unwrap().stormy = false;
    tokio::time::sleep(Duration::from_secs(10_000)).await;
    let clicks = storm.clicks.lock().unwrap().clone();
    let mut wrong = judge(&storm.bank, &storm.memory, &clicks, kind.keyed).await;
    for host in &hosts {
        if host.book.live() > 0 {
            wrong.push(format!("{} operations stay in the book", host.book.live()));
        }
        host.book.kill();
    }
    wrong
}
