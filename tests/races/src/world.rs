//! What the races stand on: a journal that takes its time, an upstream, callers, and one book over them.

use crate::classify::HttpClassify;
use crate::clock::{self, Clock};
use crate::context::{Context as Marker, OperationKey, Tenant};
use crate::error::{BoxError, Error};
use crate::event::Tracing;
use crate::idempotency::{Idempotency, IdempotencyConfig, IdempotencyLayer, KeyHeader};
use crate::journal::{
    Book, BookConfig, BoxFuture, Capability, Claim, Concurrent, Durability, Filter, Journal,
    JournalError, Lookup, MemoryJournal, Record,
};
use crate::payload::Payload;
use crate::random::Random;
use http::{Request, Response, StatusCode};
use shuttle::rand::{Rng, thread_rng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tower_layer::Layer;
use tower_service::Service;

/// Longer than any schedule: nothing ends by it.
pub(crate) const NEVER: Duration = Duration::from_secs(100 * 3_600);

/// A number below `end`, chosen with the schedule.
pub(crate) fn below(end: u32) -> u32 {
    thread_rng().gen_range(0..end)
}

/// Lets others go on, up to `most` times.
pub(crate) async fn pause(most: u32) {
    for _ in 0..below(most + 1) {
        shuttle::future::yield_now().await;
    }
}

/// A journal in memory, before and after whose calls others go on; and which fails now and then if it is told to.
#[derive(Debug)]
pub(crate) struct Slow {
    pub(crate) memory: MemoryJournal,
    pub(crate) fails: AtomicBool,
}

impl Slow {
    async fn through<T>(
        &self,
        made: impl Future<Output = Result<T, JournalError>>,
    ) -> Result<T, JournalError> {
        pause(2).await;
        let fails = self.fails.load(Ordering::Relaxed);
        let chance = if fails { below(6) } else { 5 };
        if chance == 0 {
            return Err(JournalError::unavailable("down"));
        }
        let result = made.await;
        pause(2).await;
        if chance == 1 {
            return Err(JournalError::unavailable("told wrongly"));
        }
        result
    }
}

impl Journal for Slow {
    fn durability(&self) -> Durability {
        Durability::CrashDurable
    }

    fn claim<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, Result<Claim, JournalError>> {
        Box::pin(self.through(async { self.memory.claim(record).await }))
    }

    fn step<'a>(&'a self, next: &'a Record) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(self.through(async { self.memory.step(next).await }))
    }

    fn get<'a>(&'a self, which: Lookup<'a>) -> BoxFuture<'a, Result<Option<Record>, JournalError>> {
        Box::pin(self.through(async move { self.memory.get(which).await }))
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> BoxFuture<'a, Result<Vec<Record>, JournalError>> {
        Box::pin(self.through(async { self.memory.list(filter).await }))
    }
}

/// The upstream: one of these statuses each time; with none of them it never answers.
#[derive(Clone, Debug)]
pub(crate) struct Bank {
    answers: &'static [u16],
    pub(crate) sends: Arc<AtomicUsize>,
    pub(crate) running: Arc<AtomicUsize>,
    pub(crate) answered: Arc<AtomicBool>,
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service<Request<Payload>> for Bank {
    type Response = Response<Payload>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Payload>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Payload>) -> Self::Future {
        let bank = self.clone();
        Box::pin(async move {
            bank.sends.fetch_add(1, Ordering::SeqCst);
            bank.running.fetch_add(1, Ordering::SeqCst);
            let _running = Running(Arc::clone(&bank.running));
            pause(4).await;
            if bank.answers.is_empty() {
                return std::future::pending().await;
            }
            let status = bank.answers[below(u32::try_from(bank.answers.len()).unwrap()) as usize];
            bank.answered.store(true, Ordering::SeqCst);
            let mut answer = Response::new(Payload::from("paid"));
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok(answer)
        })
    }
}

pub(crate) type Answer = Result<Response<Payload>, Error>;

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) journal: Arc<Slow>,
    pub(crate) book: Book,
    pub(crate) bank: Bank,
    service: Idempotency<Bank>,
}

impl World {
    pub(crate) fn new(answers: &'static [u16]) -> Self {
        clock::reset();
        Self::seeded(answers, 1)
    }

    /// One more process; its ids follow from the seed.
    pub(crate) fn seeded(answers: &'static [u16], seed: u64) -> Self {
        let journal = Arc::new(Slow {
            memory: MemoryJournal::new(),
            fails: AtomicBool::new(false),
        });
        // No lease runs out, and no attempt is given up, within a schedule.
        let config = BookConfig {
            lease: NEVER,
            ..BookConfig::default()
        };
        let beneath: Arc<dyn Journal> = journal.clone();
        let random = Random::seeded(seed);
        let book = Book::new(beneath, config, Clock::system(), random, Arc::new(Tracing)).unwrap();
        let bank = Bank {
            answers,
            sends: Arc::default(),
            running: Arc::default(),
            answered: Arc::default(),
        };
        let config = IdempotencyConfig {
            attempt_bound: Duration::from_secs(86_400),
            ..IdempotencyConfig::default()
        };
        let keyed = Capability::Keyed {
            horizon: NEVER,
            concurrent: Concurrent::Unproven,
        };
        let classify = HttpClassify::new().trust(StatusCode::TOO_MANY_REQUESTS);
        let layer = IdempotencyLayer::new(config, book.clone()).unwrap();
        let layer = layer
            .with_writes(Arc::new(KeyHeader::new().with_capability(keyed)))
            .with_classify(Arc::new(classify));
        Self {
            service: layer.layer(bank.clone()),
            journal,
            book,
            bank,
        }
    }

    /// One caller's write; it asks at some moment of the schedule.
    pub(crate) async fn call(self, key: &'static str, patience: Duration) -> Answer {
        self.call_with(key, patience, "{}").await
    }

    pub(crate) async fn call_with(
        self,
        key: &'static str,
        patience: Duration,
        body: &'static str,
    ) -> Answer {
        pause(6).await;
        let mut request = Request::post("http://bank/pay")
            .header("idempotency-key", key)
            .body(Payload::from(body))
            .unwrap();
        let marker = Marker::new().with_patience(patience);
        request.extensions_mut().insert(marker);
        let mut service = self.service.clone();
        let called = service.call(request);
        called.await
    }

    pub(crate) async fn on_record(&self, key: &str) -> Option<Record> {
        let key = OperationKey::new(key).unwrap();
        let which = Lookup::Key {
            namespace: "default",
            tenant: &Tenant::default(),
            key: &key,
        };
        self.journal.memory.get(which).await.unwrap()
    }

    /// Everybody is gone: every task has ended, and no page is left.
    pub(crate) async fn empty(&self) {
        assert_eq!(self.book.shutdown(NEVER).await, 0, "tasks are left");
        assert_eq!(self.bank.running.load(Ordering::SeqCst), 0);
        assert_eq!(self.book.live(), 0, "pages are left");
    }
}
