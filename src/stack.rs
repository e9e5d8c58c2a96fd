//! The one place where the order of rooms is written.
//!
//! ```text
//! caller -> collect -> cache -> idempotency -> retry -> rate_limit -> attempt -> collect -> transport
//!              (reads answered)  (writes claimed)      (each attempt pays)  (may it leave?)
//!                                     |
//!                                  journal <- reconcile: settles what is unknown, through the same lower half
//! ```
//!
//! A [`Stack`] is a nameable, cloneable service: types are erased around the lower half (which the worker shares) and at
//! the outer edge. Every clone shares quotas, budgets, cache and book.
//!
//! ```
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use std::sync::Arc;
//! use tower::{ServiceExt, service_fn};
//! use tower_sturdy::journal::MemoryJournal;
//! use tower_sturdy::payload::Payload;
//! use tower_sturdy::stack::Stack;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let transport = service_fn(|_: Request<Payload>| async {
//!     Ok::<_, std::io::Error>(Response::new(Full::<bytes::Bytes>::from("paid")))
//! });
//! let stack = Stack::builder(transport).journal(Arc::new(MemoryJournal::new())).build()?;
//! let pay = Request::post("http://upstream/pay").header("idempotency-key", "bill-7").body(Full::<bytes::Bytes>::from("{}"))?;
//! let answer = stack.clone().oneshot(pay).await?;
//! assert_eq!(answer.body().bytes(), "paid");
//! stack.shutdown(std::time::Duration::from_secs(5)).await;
//! # Ok(()) }
//! ```

use crate::attempt::{AttemptConfig, AttemptLayer};
use crate::cache::{CacheConfig, CacheHandle, CacheLayer, CacheRules, GetRules};
use crate::classify::{Classify, HttpClassify};
use crate::clock::Clock;
use crate::collect::{Edge, EdgeLayer, WholeLayer};
use crate::context::{MarkedTenant, OperationId, OperationKey, Priority, Tenant, TenantOf};
use crate::error::{BoxError, Error, InvalidConfig};
use crate::event::{Observer, Tracing};
use crate::idempotency::{IdempotencyConfig, IdempotencyLayer, KeyHeader, Writes};
use crate::journal::{
    Book, BookConfig, BoxFuture, Filter, Journal, JournalError, Record, State, Status,
};
use crate::payload::Payload;
use crate::random::Random;
use crate::rate_limit::{ClassOf, OneClass, RateLimitConfig, RateLimitHandle, RateLimitLayer};
use crate::reconcile::{Hooks, NoHooks, Operations, ReconcileConfig, Reconciler, Upstream};
use crate::retry::{RetryConfig, RetryLayer};
use http::{HeaderMap, Request, Response};
use http_body::Body;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use tower_layer::Layer;
use tower_service::Service;

/// Every setting of a stack: plain data. A preset fills it for an upstream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StackConfig {
    /// The largest request body, in bytes.
    pub request_limit: usize,
    /// The largest answer body, in bytes.
    pub answer_limit: usize,
    /// The cache of reads; `None` for none.
    pub cache: Option<CacheConfig>,
    /// Keys, patience, what is recorded.
    pub idempotency: IdempotencyConfig,
    /// Leases and how doubt is settled.
    pub book: BookConfig,
    /// Attempts, backoff, budget.
    pub retry: RetryConfig,
    /// Quotas, line, feedback.
    pub rate_limit: RateLimitConfig,
    /// Timeouts of one attempt.
    pub attempt: AttemptConfig,
    /// The worker.
    pub reconcile: ReconcileConfig,
}

impl Default for StackConfig {
    fn default() -> Self {
        Self {
            // A QBO transaction of some hundred lines has less than 256 KiB.
            request_limit: 1 << 20,
            // 1,000 objects of a QBO query page of 4 KiB each have 4 MiB.
            answer_limit: 16 << 20,
            cache: Some(CacheConfig::default()),
            idempotency: IdempotencyConfig::default(),
            book: BookConfig::default(),
            retry: RetryConfig::default(),
            rate_limit: RateLimitConfig::default(),
            attempt: AttemptConfig::default(),
            reconcile: ReconcileConfig::default(),
        }
    }
}

/// Builds a [`Stack`]; see [`Stack::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct StackBuilder<T> {
    transport: T,
    config: StackConfig,
    journal: Option<Arc<dyn Journal>>,
    classify: Arc<dyn Classify>,
    writes: Arc<dyn Writes>,
    tenant_of: Arc<dyn TenantOf>,
    classes: Arc<dyn ClassOf>,
    cache_rules: Arc<dyn CacheRules>,
    hooks: Arc<dyn Hooks>,
    observer: Arc<dyn Observer>,
    clock: Clock,
    random: Random,
}

impl<T> StackBuilder<T> {
    /// The durable record of operations. Without one no stack is built: a write without a record can happen twice.
    pub fn journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = Some(journal);
        self
    }

    /// All settings at once.
    pub fn config(mut self, config: StackConfig) -> Self {
        self.config = config;
        self
    }

    /// Changes settings in place.
    pub fn configure(mut self, change: impl FnOnce(&mut StackConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// What answers mean.
    pub fn classify(mut self, classify: Arc<dyn Classify>) -> Self {
        self.classify = classify;
        self
    }

    /// What the upstream offers against doing a write twice.
    pub fn writes(mut self, writes: Arc<dyn Writes>) -> Self {
        self.writes = writes;
        self
    }

    /// Whose request it is.
    pub fn tenant_of(mut self, tenant_of: Arc<dyn TenantOf>) -> Self {
        self.tenant_of = tenant_of;
        self
    }

    /// Which quotas a request counts against.
    pub fn classes(mut self, classes: Arc<dyn ClassOf>) -> Self {
        self.classes = classes;
        self
    }

    /// Which reads are cached, and what writes make of them.
    pub fn cache_rules(mut self, rules: Arc<dyn CacheRules>) -> Self {
        self.cache_rules = rules;
        self
    }

    /// How an operation in doubt is looked up, and who is told of settled ones.
    pub fn hooks(mut self, hooks: Arc<dyn Hooks>) -> Self {
        self.hooks = hooks;
        self
    }

    /// Who is told every decision.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// The clock; a simulation's own.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The source of chance; a simulation's own.
    pub fn random(mut self, random: Random) -> Self {
        self.random = random;
        self
    }
}

impl<T, B> StackBuilder<T>
where
    T: Service<Request<Payload>, Response = Response<B>> + Clone + Send + Sync + 'static,
    T::Error: Into<BoxError>,
    T::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    /// Puts the rooms together and starts the worker. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a setting cannot work, or no journal was given; the field and the fix are named.
    pub fn build(self) -> Result<Stack, InvalidConfig> {
        let journal = self.journal.clone().ok_or_else(|| {
            InvalidConfig::new(
                "journal",
                "is missing: give `SqliteJournal::open(path)`, or `MemoryJournal` in tests",
            )
        })?;
        let mut settings = self.config.book;
        // What may be resent must be over within the horizon, as the gate says too.
        settings.settle.attempt_bound = self
            .config
            .attempt
            .write_timeout
            .saturating_add(settings.lease_margin);
        let book = Book::new(
            journal,
            settings,
            self.clock,
            self.random.clone(),
            Arc::clone(&self.observer),
        )?;
        let cache = self.cache()?;
        let book = match &cache {
            Some(cache) => book.with_settled(invalidation(cache.handle(), &self.cache_rules)),
            None => book,
        };
        let handle = cache.as_ref().map(CacheLayer::handle);
        let (lower, limits) = self.lower(&book, handle.as_ref())?;
        let upstream = Upstream::new(lower.clone());
        let hooks = Arc::clone(&self.hooks);
        let namespace: Arc<str> = Arc::from(self.config.idempotency.namespace.as_str());
        let reconciler = Reconciler::within(
            Some(Arc::clone(&namespace)),
            self.config.reconcile,
            book.clone(),
            upstream,
            hooks,
        )?;
        let upper = self.upper(lower, &book, cache.as_ref())?;
        reconciler.start();
        if let Some(cache) = handle.clone() {
            book.spawn(doubt_predecessors(book.clone(), cache));
        }
        Ok(Stack {
            edge: EdgeLayer::new(self.config.request_limit)?.layer(upper),
            namespace,
            book,
            reconciler,
            limits,
            cache: handle,
        })
    }

    fn cache(&self) -> Result<Option<CacheLayer>, InvalidConfig> {
        let Some(config) = self.config.cache.clone() else {
            return Ok(None);
        };
        let cache = CacheLayer::new(config)
            .map_err(|invalid| invalid.within("cache"))?
            .with_clock(self.clock)
            .with_random(self.random.clone())
            .with_rules(Arc::clone(&self.cache_rules))
            .with_tenant_of(Arc::clone(&self.tenant_of))
            .with_classify(Arc::clone(&self.classify))
            .with_observer(Arc::clone(&self.observer));
        Ok(Some(cache))
    }

    /// `retry ..= transport`: what the worker sends through too.
    fn lower(
        &self,
        book: &Book,
        cache: Option<&CacheHandle>,
    ) -> Result<(Erased, RateLimitHandle), InvalidConfig> {
        let whole = WholeLayer::new(self.config.answer_limit)?;
        let attempt = AttemptLayer::new(self.config.attempt.clone())?
            .with_classify(Arc::clone(&self.classify))
            .with_book(book.clone())
            .with_clock(self.clock)
            .with_observer(Arc::clone(&self.observer));
        let rate_limit = RateLimitLayer::new(self.config.rate_limit.clone())
            .map_err(|invalid| invalid.within("rate_limit"))?
            .with_clock(self.clock)
            .with_tenant_of(Arc::clone(&self.tenant_of))
            .with_classes(Arc::clone(&self.classes))
            .with_observer(Arc::clone(&self.observer));
        let retry = RetryLayer::new(self.config.retry)
            .map_err(|invalid| invalid.within("retry"))?
            .with_clock(self.clock)
            .with_random(self.random.clone())
            .with_classify(Arc::clone(&self.classify))
            .with_tenant_of(Arc::clone(&self.tenant_of))
            .with_observer(Arc::clone(&self.observer));
        let limits = rate_limit.handle();
        let transport = whole.layer(self.transport.clone());
        let lower = retry.layer(rate_limit.layer(attempt.layer(transport)));
        // What the worker sends does not pass the cache above, and makes the same answers stale.
        let lower = match cache {
            Some(cache) => BoxCloneSyncService::new(cache.below(lower)),
            None => BoxCloneSyncService::new(lower),
        };
        Ok((lower, limits))
    }

    /// `cache -> idempotency`, on the lower half.
    fn upper(
        &self,
        lower: Erased,
        book: &Book,
        cache: Option<&CacheLayer>,
    ) -> Result<Erased, InvalidConfig> {
        let idempotency = IdempotencyLayer::new(self.config.idempotency.clone(), book.clone())?
            .with_writes(Arc::clone(&self.writes))
            .with_tenant_of(Arc::clone(&self.tenant_of))
            .with_classify(Arc::clone(&self.classify))
            .with_observer(Arc::clone(&self.observer))
            .with_gate_below()
            .layer(lower);
        Ok(match cache {
            Some(cache) => {
                BoxCloneSyncService::new(cache.layer(idempotency).map_err(Error::from_inner))
            }
            None => BoxCloneSyncService::new(idempotency),
        })
    }
}

/// What a settled operation makes of the cache. Its caller may have left long ago, or a process before this one: then the
/// cache saw no write end, and keeps what was read before the effect.
fn invalidation(
    cache: CacheHandle,
    rules: &Arc<dyn CacheRules>,
) -> impl Fn(&Record) + Send + Sync + use<> {
    let rules = Arc::clone(rules);
    move |record| {
        if record.state() == State::Rejected && !record.progress.contradicted {
            return;
        }
        let tenant = record.asked.tenant.as_str();
        let request = record.request(HeaderMap::new(), Priority::Scheduled);
        let mut named = false;
        rules.entities(&request, &mut |entity| {
            named = true;
            cache.invalidate(tenant, entity);
        });
        // A write that names nothing may have changed anything.
        if !named {
            cache.invalidate_tenant(tenant);
        }
    }
}

/// What an earlier process wrote last may not show in reads yet, and what it was sending when it died may still land; this
/// cache saw none of it.
async fn doubt_predecessors(book: Book, cache: CacheHandle) {
    while let Err(error) = doubted(&book, &cache).await {
        tracing::warn!(target: "tower_sturdy", %error, "the journal cannot be read; trying again");
        tokio::select! {
            () = book.closed() => return,
            () = book.clock().sleep(Duration::from_secs(1)) => {}
        }
    }
}

async fn doubted(book: &Book, cache: &CacheHandle) -> Result<(), JournalError> {
    let completed = Filter {
        states: vec![State::Completed],
        limit: 1,
        ..Filter::default()
    };
    if !book.journal().list(&completed).await?.is_empty() {
        cache.doubt_all();
    }
    let mut in_doubt = Filter {
        states: vec![State::Sending, State::Unknown],
        limit: 1_000,
        ..Filter::default()
    };
    loop {
        let page = book.journal().list(&in_doubt).await?;
        for record in &page {
            cache.doubt_write(&record.request(HeaderMap::new(), Priority::Scheduled));
        }
        if page.len() < in_doubt.limit {
            return Ok(());
        }
        in_doubt.skip += page.len();
    }
}

type Erased = BoxCloneSyncService<Request<Payload>, Response<Payload>, Error>;

/// The whole of it: see the [module](self). Clone freely.
#[derive(Clone, Debug)]
pub struct Stack {
    edge: Edge<Erased>,
    namespace: Arc<str>,
    book: Book,
    reconciler: Reconciler,
    limits: RateLimitHandle,
    cache: Option<CacheHandle>,
}

impl Stack {
    /// Begins a stack on a transport: any service that answers `Request<Payload>` with an HTTP body.
    pub fn builder<T>(transport: T) -> StackBuilder<T> {
        StackBuilder {
            transport,
            config: StackConfig::default(),
            journal: None,
            classify: Arc::new(HttpClassify::new()),
            writes: Arc::new(KeyHeader::new()),
            tenant_of: Arc::new(MarkedTenant),
            classes: Arc::new(OneClass),
            cache_rules: Arc::new(GetRules),
            hooks: Arc::new(NoHooks),
            observer: Arc::new(Tracing),
            clock: Clock::system(),
            random: Random::system(),
        }
    }

    /// What is on record of an operation of this tenant: for a client that was told to ask later.
    ///
    /// # Errors
    /// [`Error::JournalUnavailable`] where it cannot be read.
    pub async fn operation(
        &self,
        tenant: &Tenant,
        id: OperationId,
    ) -> Result<Option<Record>, Error> {
        let found = self.book.find(tenant, id).await?;
        Ok(found.filter(|record| record.asked.namespace == self.namespace))
    }

    /// What became of an operation of this tenant: the recorded answer, once there is one. See
    /// [`problem::operation`](crate::problem::operation) for telling it over HTTP.
    ///
    /// # Errors
    /// [`Error::JournalUnavailable`] where it cannot be read.
    pub async fn status(&self, tenant: &Tenant, id: OperationId) -> Result<Option<Status>, Error> {
        self.book.status(&self.namespace, tenant, id).await
    }

    /// The same by the caller's key.
    ///
    /// # Errors
    /// [`Error::JournalUnavailable`] where it cannot be read.
    pub async fn status_of_key(
        &self,
        tenant: &Tenant,
        key: &OperationKey,
    ) -> Result<Option<Status>, Error> {
        self.book.status_of_key(&self.namespace, tenant, key).await
    }

    /// The same by id, waiting for up to `patience` while it may still change.
    ///
    /// # Errors
    /// [`Error::JournalUnavailable`] where it cannot be read.
    pub async fn status_within(
        &self,
        tenant: &Tenant,
        id: OperationId,
        patience: Duration,
    ) -> Result<Option<Status>, Error> {
        let namespace = &self.namespace;
        self.book
            .status_within(namespace, tenant, id, patience)
            .await
    }

    /// The operations of this process.
    #[must_use]
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// The worker, and its figures.
    #[must_use]
    pub const fn reconciler(&self) -> &Reconciler {
        &self.reconciler
    }

    /// What people do with operations: list, inspect, resolve, park, retry. Of every tenant: who may is for you to say.
    #[must_use]
    pub fn operations(&self) -> Operations {
        self.reconciler.operations()
    }

    /// The live state of the quotas.
    #[must_use]
    pub const fn limits(&self) -> &RateLimitHandle {
        &self.limits
    }

    /// The cache, for direct use by background jobs.
    #[must_use]
    pub const fn cache(&self) -> Option<&CacheHandle> {
        self.cache.as_ref()
    }

    /// Takes no new writes, and lets running ones end, for `limit` at most. Returns how many tasks are left; what they
    /// work on is settled by whoever opens the journal next. Correctness never depends on calling this.
    pub async fn shutdown(&self, limit: Duration) -> usize {
        self.book.shutdown(limit).await
    }

    /// Stops every task of this stack where it is, as `kill -9` would: for crash tests.
    pub fn kill(&self) {
        self.book.kill();
    }
}

impl<B> Service<Request<B>> for Stack
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Payload>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response<Payload>, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Service::<Request<B>>::poll_ready(&mut self.edge, cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.edge.call(request)
    }
}
