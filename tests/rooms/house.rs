//! What the money path's tests stand on: a book on the paused clock, requests, an upstream told what to do.
#![allow(dead_code, reason = "each room uses a part")]

use super::probe::{Counts, Probe};
use http::{Request, Response};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::Layer;
use tower_sturdy::BoxError;
use tower_sturdy::attempt::{Attempt, AttemptConfig, AttemptLayer};
use tower_sturdy::classify::HttpClassify;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::context::{Context, Tenant};
use tower_sturdy::error::Error;
use tower_sturdy::event::Tracing;
use tower_sturdy::idempotency::{Idempotency, IdempotencyConfig, IdempotencyLayer, KeyHeader};
use tower_sturdy::journal::{
    Book, BookConfig, Capability, Concurrent, Durability, FaultyJournal, Filter, Journal, Lookup,
    MemoryJournal, Record, State,
};
use tower_sturdy::payload::Payload;
use tower_sturdy::random::Random;
use tower_sturdy::reconcile::{Hooks, ReconcileConfig, Reconciler, Upstream};

pub const KEYED: Capability = Capability::Keyed {
    horizon: Duration::from_secs(3_600),
    concurrent: Concurrent::Unproven,
};

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One clock for every book of a test: what is "now" does not depend on when a book was opened.
pub fn clock() -> Clock {
    Clock::anchored(Timestamp::from_millis(1_000_000_000))
}

pub fn book_with(journal: Arc<dyn Journal>, clock: Clock, config: BookConfig, seed: u64) -> Book {
    Book::new(
        journal,
        config,
        clock,
        Random::seeded(seed),
        Arc::new(Tracing),
    )
    .unwrap()
}

pub fn pay(key: &str) -> Request<Payload> {
    Request::post("http://upstream/pay")
        .header("idempotency-key", key)
        .body(Payload::from("{}"))
        .unwrap()
}

pub fn pay_within(key: &str, patience: Duration) -> Request<Payload> {
    let mut request = pay(key);
    request
        .extensions_mut()
        .insert(Context::new().with_patience(patience));
    request
}

/// What an upstream does with its next request.
#[derive(Clone, Copy, Debug)]
pub enum Does {
    /// Answers with this status, at once.
    Answers(u16),
    /// Answers with this status, after a while.
    Slowly(u16, Duration),
    /// Breaks the connection.
    Resets,
    /// Never answers.
    Hangs,
    /// Panics.
    Panics,
}

/// An upstream that does what it is told, in turn, and pays from then on.
pub fn upstream(does: impl IntoIterator<Item = Does>) -> (Probe, Arc<Counts>) {
    let plan: Mutex<VecDeque<Does>> = Mutex::new(does.into_iter().collect());
    Probe::new(move |_| {
        let next = plan.lock().unwrap().pop_front();
        async move {
            let status = match next.unwrap_or(Does::Answers(200)) {
                Does::Answers(status) => status,
                Does::Slowly(status, wait) => {
                    tokio::time::sleep(wait).await;
                    status
                }
                Does::Resets => return Err::<_, BoxError>("connection reset".into()),
                Does::Hangs => std::future::pending().await,
                Does::Panics => panic!("planned"),
            };
            let mut answer = Response::new(Payload::from("paid"));
            *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
            Ok(answer)
        }
    })
}

/// 429 is trusted to mean that nothing happened.
pub fn classify() -> Arc<HttpClassify> {
    Arc::new(HttpClassify::new().trust(http::StatusCode::TOO_MANY_REQUESTS))
}

/// The money path of one process: idempotency over the gate over an upstream, and the worker beside it.
pub struct House {
    pub book: Book,
    pub layer: IdempotencyLayer,
    pub inner: Attempt<Probe>,
    pub service: Idempotency<Attempt<Probe>>,
    pub reconciler: Reconciler,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub clock: Clock,
    pub capability: Capability,
    pub config: BookConfig,
    pub patience: Duration,
    pub seed: u64,
    pub reconcile: ReconcileConfig,
}

impl Plan {
    pub fn new(capability: Capability) -> Self {
        Self {
            clock: clock(),
            capability,
            config: BookConfig::default(),
            patience: millis(300),
            seed: 1,
            reconcile: ReconcileConfig::default(),
        }
    }

    pub fn build(&self, journal: &FaultyJournal, probe: Probe, hooks: Arc<dyn Hooks>) -> House {
        self.build_on(Arc::new(journal.clone()), probe, hooks)
    }

    pub fn build_on(
        &self,
        journal: Arc<dyn Journal>,
        probe: Probe,
        hooks: Arc<dyn Hooks>,
    ) -> House {
        let book = book_with(journal, self.clock, self.config, self.seed);
        let gate = AttemptLayer::new(AttemptConfig::default())
            .unwrap()
            .with_book(book.clone())
            .with_clock(self.clock)
            .with_classify(classify());
        let attempt = gate.layer(probe);
        let config = IdempotencyConfig {
            patience: self.patience,
            ..IdempotencyConfig::default()
        };
        let writes = KeyHeader::new().with_capability(self.capability);
        let layer = IdempotencyLayer::new(config, book.clone())
            .unwrap()
            .with_writes(Arc::new(writes))
            .with_classify(classify())
            .with_gate_below();
        let reconciler = Reconciler::new(
            self.reconcile,
            book.clone(),
            Upstream::new(attempt.clone()),
            hooks,
        )
        .unwrap();
        House {
            service: layer.layer(attempt.clone()),
            inner: attempt,
            layer,
            book,
            reconciler,
        }
    }
}

/// A journal that goes wrong when it is told to, over one in memory. It says that it survives crashes: here nothing
/// crashes but what the test means to.
pub fn faulty_over(memory: &MemoryJournal) -> FaultyJournal {
    FaultyJournal::new(Arc::new(memory.clone())).with_durability(Durability::CrashDurable)
}

pub fn faulty() -> FaultyJournal {
    faulty_over(&MemoryJournal::new())
}

/// How many operations are on record.
pub async fn count(journal: &dyn Journal) -> usize {
    let all = Filter {
        limit: usize::MAX,
        ..Filter::default()
    };
    journal.list(&all).await.unwrap().len()
}

/// What the journal has under a key.
pub async fn on_record(journal: &dyn Journal, key: &str) -> Option<Record> {
    let key = tower_sturdy::context::OperationKey::new(key).unwrap();
    let which = Lookup::Key {
        namespace: "default",
        tenant: &Tenant::default(),
        key: &key,
    };
    journal.get(which).await.unwrap()
}

pub async fn state(journal: &dyn Journal, key: &str) -> State {
    on_record(journal, key).await.unwrap().state()
}

pub fn kind(result: Result<Response<Payload>, Error>) -> tower_sturdy::error::Kind {
    result.unwrap_err().kind()
}
