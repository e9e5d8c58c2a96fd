//! Settings, and the layer for a router.

use super::handler::{Adapted, Handler, HandlerWrites};
use super::operations::Operations;
use super::principal::Principal;
use super::service::Inbound;
use crate::attempt::{AttemptConfig, AttemptLayer};
use crate::classify::HttpClassify;
use crate::collect::{EdgeLayer, WholeLayer};
use crate::error::{BoxError, Error, InvalidConfig, NotSent};
use crate::event::Observer;
use crate::idempotency::{IdempotencyConfig, IdempotencyLayer};
use crate::journal::{Book, Capability, Durability};
use crate::payload::Payload;
use crate::problem::ProblemConfig;
use crate::reconcile::{Hooks, ReconcileConfig, Reconciler, Upstream};
use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode, header};
use http_body::Body;
use std::sync::Arc;
use std::time::Duration;
use tower_layer::Layer;
use tower_service::Service;

/// Which requests are guarded, and how. See [`Default`] for the numbers and their reasons.
#[derive(Clone, Debug)]
pub struct InboundConfig {
    /// Environment and service (`prod/payments`): keys of one never meet keys of another.
    pub namespace: String,
    /// The methods that need a key; every other request passes by untouched.
    pub methods: Vec<Method>,
    /// The largest request body, in bytes.
    pub request_limit: usize,
    /// The largest answer of a handler, in bytes: what is over it cannot be replayed, and leaves the operation in doubt.
    pub answer_limit: usize,
    /// How long a handler may take; then it is given up, and the operation is in doubt.
    pub handler_limit: Duration,
    /// How long a request waits for another one under the same key, before it is told that one is under way.
    pub duplicate_patience: Duration,
    /// What protects a handler's work against running twice. Only a handler that passes [`Running`](super::Running)'s key
    /// on to something that honours it is [`Capability::Keyed`].
    pub capability: Capability,
    /// Whether a journal that forgets in a crash will do: for tests.
    pub accept_volatile: bool,
    /// Headers of an answer that a replay gives again.
    pub answer_headers: Vec<HeaderName>,
    /// Status codes by which everything behind this layer says that it did nothing, so that the same key may start again:
    /// 503, where a limit in front of the handlers answers it and no handler ever passes on another server's. Only
    /// refusals (4xx, 5xx) can be named.
    pub did_nothing: Vec<StatusCode>,
    /// Where clients ask for an operation.
    pub problem: ProblemConfig,
}

impl Default for InboundConfig {
    fn default() -> Self {
        Self {
            namespace: "inbound".into(),
            // The methods that HTTP does not call idempotent; those that the draft is about.
            methods: vec![Method::POST, Method::PATCH],
            // As the stack's own limits: JSON, no uploads.
            request_limit: 1 << 20,
            answer_limit: 1 << 20,
            // Longer than what stands in front of a server usually waits.
            handler_limit: Duration::from_secs(60),
            // The draft answers at once.
            duplicate_patience: Duration::ZERO,
            capability: Capability::None,
            accept_volatile: false,
            answer_headers: vec![
                header::CONTENT_TYPE,
                header::CONTENT_ENCODING,
                header::CONTENT_LANGUAGE,
                header::LOCATION,
                header::ETAG,
                header::LAST_MODIFIED,
                header::LINK,
            ],
            // A handler may pass on another server's 503 after it had its effect: it says itself where it did nothing.
            did_nothing: Vec::new(),
            problem: ProblemConfig::default(),
        }
    }
}

/// The first caller waits as long as its handler runs, and a little for what is recorded then.
const RECORDING: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) methods: Vec<Method>,
    pub(super) problem: ProblemConfig,
    pub(super) patience: Duration,
    pub(super) edge: EdgeLayer,
    pub(super) whole: WholeLayer,
    pub(super) did_nothing: Arc<[StatusCode]>,
    pub(super) idempotency: IdempotencyLayer,
    pub(super) principal: Arc<dyn Principal>,
    namespace: Arc<str>,
    book: Book,
    handler_limit: Duration,
    answer_headers: Vec<HeaderName>,
}

/// Guards handlers; for `axum::Router::layer`, or any other service of HTTP requests.
#[derive(Clone, Debug)]
pub struct InboundLayer {
    pub(super) shared: Arc<Shared>,
}

impl InboundLayer {
    /// Over `book`. `principal` says who asks: whose keys they are.
    ///
    /// # Errors
    /// When a setting cannot work, or the journal forgets in a crash and that was not accepted by name.
    pub fn new(
        config: InboundConfig,
        book: Book,
        principal: impl Principal,
    ) -> Result<Self, InvalidConfig> {
        if book.durability() == Durability::Volatile && !config.accept_volatile {
            return Err(InvalidConfig::new(
                "inbound.accept_volatile",
                "is false, and the journal forgets in a crash, so that a handler could run twice: use a durable journal, \
                 or accept the risk by name",
            ));
        }
        if let Some(safe) = config.methods.iter().find(|method| method.is_safe()) {
            return Err(InvalidConfig::new(
                "inbound.methods",
                format!("`{safe}` changes nothing, so it needs no key: leave it out"),
            ));
        }
        if let Some(answer) = config
            .did_nothing
            .iter()
            .find(|status| !(status.is_client_error() || status.is_server_error()))
        {
            return Err(InvalidConfig::new(
                "inbound.did_nothing",
                format!("`{answer}` does not refuse: name 4xx and 5xx codes alone"),
            ));
        }
        let patience = config.handler_limit.saturating_add(RECORDING);
        let idempotency = IdempotencyConfig {
            namespace: config.namespace.clone(),
            patience,
            joined_patience: Some(config.duplicate_patience),
            attempt_bound: config.handler_limit,
            accept_volatile: config.accept_volatile,
            answer_headers: config.answer_headers.clone(),
            ..IdempotencyConfig::default()
        };
        let writes = HandlerWrites {
            capability: config.capability,
        };
        let idempotency = IdempotencyLayer::new(idempotency, book.clone())
            .map_err(|invalid| invalid.within("inbound"))?
            .with_writes(Arc::new(writes))
            .without_resuming();
        Ok(Self {
            shared: Arc::new(Shared {
                methods: config.methods,
                problem: config.problem,
                patience,
                edge: EdgeLayer::new(config.request_limit)?,
                whole: WholeLayer::new(config.answer_limit)?,
                did_nothing: Arc::from(config.did_nothing),
                idempotency,
                principal: Arc::new(principal),
                namespace: Arc::from(config.namespace),
                book,
                handler_limit: config.handler_limit,
                answer_headers: config.answer_headers,
            }),
        })
    }

    /// Tells `observer` what is decided.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn Observer>) -> Self {
        let mut shared = Shared::clone(&self.shared);
        shared.idempotency = shared.idempotency.with_observer(observer);
        Self {
            shared: Arc::new(shared),
        }
    }

    /// A service that answers `GET /operations/{id}` to the principal whose operation it is.
    #[must_use]
    pub fn operations(&self) -> Operations {
        let shared = &self.shared;
        Operations::new(
            shared.book.clone(),
            Arc::clone(&shared.namespace),
            Arc::clone(&shared.principal),
            shared.problem.clone(),
        )
    }

    /// A worker for what a crash or a broken handler left in doubt: `hooks` look for the effect. Nothing runs again
    /// without its caller: what provably never ran waits for that, and what no hook can tell is parked for a person. Start it with [`Reconciler::start`].
    ///
    /// # Errors
    /// When a setting cannot work.
    pub fn recovery(
        &self,
        config: ReconcileConfig,
        hooks: Arc<dyn Hooks>,
    ) -> Result<Reconciler, InvalidConfig> {
        let (shared, upstream) = (&self.shared, Upstream::new(NotRun));
        let namespace = Some(Arc::clone(&shared.namespace));
        Reconciler::that_only_looks(namespace, config, shared.book.clone(), upstream, hooks)
    }

    /// The same where handlers are `Keyed`: what is in doubt runs again on `service`, which must be the router beneath
    /// authentication, since no credentials are recorded.
    ///
    /// # Errors
    /// When a setting cannot work.
    pub fn recovery_by<S, B, R>(
        &self,
        config: ReconcileConfig,
        hooks: Arc<dyn Hooks>,
        service: S,
    ) -> Result<Reconciler, InvalidConfig>
    where
        S: Service<Request<B>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: Body + From<Bytes> + Send + 'static,
        R: Body + Send + 'static,
        R::Data: Send,
        R::Error: Into<BoxError>,
    {
        let shared = &self.shared;
        let limits = AttemptConfig {
            write_timeout: shared.handler_limit,
            kept_headers: shared.answer_headers.clone(),
            ..AttemptConfig::default()
        };
        let gate = AttemptLayer::new(limits)
            .map_err(|invalid| invalid.within("inbound"))?
            .with_book(shared.book.clone())
            .with_classify(Arc::new(HttpClassify::new()))
            .with_clock(shared.book.clock());
        let handler = Handler::new(service, None, shared);
        let upstream = Upstream::new(gate.layer(Adapted::<S, B>::new(handler)));
        let namespace = Some(Arc::clone(&shared.namespace));
        Reconciler::within(namespace, config, shared.book.clone(), upstream, hooks)
    }
}

impl<S> Layer<S> for InboundLayer {
    type Service = Inbound<S>;

    fn layer(&self, inner: S) -> Inbound<S> {
        Inbound::new(inner, Arc::clone(&self.shared))
    }
}

/// Runs nothing: a handler is not run again behind its caller's back.
#[derive(Clone, Copy, Debug)]
struct NotRun;

impl Service<Request<Payload>> for NotRun {
    type Response = Response<Payload>;
    type Error = Error;
    type Future = std::future::Ready<Result<Response<Payload>, Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Payload>) -> Self::Future {
        let why = NotSent("handlers run only for their callers".into());
        let verdict = crate::outcome::Verdict::UNSENT;
        std::future::ready(Err(Error::upstream(why, verdict)))
    }
}
