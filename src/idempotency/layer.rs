//! Settings of the room.

use super::service::Idempotency;
use super::writes::{KeyHeader, Writes};
use crate::classify::{Classify, HttpClassify};
use crate::context::{MarkedTenant, TenantOf};
use crate::error::InvalidConfig;
use crate::event::{Observer, Tracing};
use crate::journal::Book;
use http::{HeaderName, header};
use std::sync::Arc;
use std::time::Duration;
use tower_layer::Layer;

/// How callers wait and what is recorded. See [`Default`] for the numbers and their reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyConfig {
    /// Environment and application (`prod/runway`): keys of one never meet keys of another.
    pub namespace: String,
    /// How long a caller waits for a settled answer; a request's own patience goes before it.
    pub patience: Duration,
    /// How long a caller waits for what another caller began under the same key; `None`: as long as its own patience.
    pub joined_patience: Option<Duration>,
    /// When an operation that nothing happened to, and whose callers were told to wait, is sent again.
    pub resume_after: Duration,
    /// How long one attempt can be under way, where no `attempt` room below says so.
    pub attempt_bound: Duration,
    /// Whether a journal that forgets in a crash may hold writes that only the journal protects.
    pub accept_volatile: bool,
    /// Request headers that are recorded, for sending the operation again. Credentials are not: a layer below adds them.
    pub recorded_headers: Vec<HeaderName>,
    /// Headers of an answer that a replay gives again, where no `attempt` room below records the answer.
    pub answer_headers: Vec<HeaderName>,
}

impl Default for IdempotencyConfig {
    fn default() -> Self {
        Self {
            namespace: "default".into(),
            // The product's aim for user actions.
            patience: Duration::from_millis(300),
            joined_patience: None,
            // After a retry has given up (some seconds), at the pace of a person who tries again.
            resume_after: Duration::from_secs(15),
            attempt_bound: Duration::from_secs(130),
            accept_volatile: false,
            recorded_headers: vec![header::CONTENT_TYPE, header::ACCEPT],
            answer_headers: vec![header::CONTENT_TYPE],
        }
    }
}

impl IdempotencyConfig {
    fn check(&self) -> Result<(), InvalidConfig> {
        if self.namespace.is_empty() || self.namespace.len() > 128 {
            return Err(InvalidConfig::new(
                "idempotency.namespace",
                "must have 1 to 128 bytes: name environment and application, such as `prod/runway`",
            ));
        }
        if self.attempt_bound.is_zero() {
            return Err(InvalidConfig::new(
                "idempotency.attempt_bound",
                "is 0: use the time after which an attempt is given up, such as 130 s",
            ));
        }
        if self.attempt_bound > Duration::from_secs(86_400) {
            return Err(InvalidConfig::new(
                "idempotency.attempt_bound",
                "is over a day: use the time after which an attempt is given up, such as 130 s",
            ));
        }
        if self.answer_headers.contains(&header::SET_COOKIE) {
            return Err(InvalidConfig::new(
                "idempotency.answer_headers",
                "`set-cookie` carries credentials, which are never recorded: set cookies in a layer above",
            ));
        }
        if let Some(name) = self
            .recorded_headers
            .iter()
            .find(|name| is_credential(name))
        {
            return Err(InvalidConfig::new(
                "idempotency.recorded_headers",
                format!(
                    "`{name}` carries credentials, which are never recorded: add them in a layer below"
                ),
            ));
        }
        Ok(())
    }
}

fn is_credential(name: &HeaderName) -> bool {
    [
        header::AUTHORIZATION,
        header::PROXY_AUTHORIZATION,
        header::COOKIE,
    ]
    .contains(name)
}

#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) config: IdempotencyConfig,
    pub(super) namespace: Arc<str>,
    pub(super) book: Book,
    pub(super) writes: Arc<dyn Writes>,
    pub(super) tenant_of: Arc<dyn TenantOf>,
    pub(super) classify: Arc<dyn Classify>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) gated_below: bool,
    /// A worker goes on with what callers were told to wait for.
    pub(super) worker: bool,
}

/// Makes writes happen at most once per key.
#[derive(Clone, Debug)]
pub struct IdempotencyLayer {
    shared: Arc<Shared>,
}

impl IdempotencyLayer {
    /// Over `book`, for an upstream that takes an `Idempotency-Key` header; see [`IdempotencyLayer::with_writes`].
    ///
    /// # Errors
    /// When a setting cannot work.
    pub fn new(config: IdempotencyConfig, book: Book) -> Result<Self, InvalidConfig> {
        config.check()?;
        Ok(Self {
            shared: Arc::new(Shared {
                namespace: Arc::from(config.namespace.as_str()),
                config,
                book,
                writes: Arc::new(KeyHeader::new()),
                tenant_of: Arc::new(MarkedTenant),
                classify: Arc::new(HttpClassify::new()),
                observer: Arc::new(Tracing),
                gated_below: false,
                worker: true,
            }),
        })
    }

    fn with(self, change: impl FnOnce(&mut Shared)) -> Self {
        let mut shared = Shared::clone(&self.shared);
        change(&mut shared);
        Self {
            shared: Arc::new(shared),
        }
    }

    /// What the upstream offers against repetition.
    #[must_use]
    pub fn with_writes(self, writes: Arc<dyn Writes>) -> Self {
        self.with(|shared| shared.writes = writes)
    }

    /// Whose operation a request is.
    #[must_use]
    pub fn with_tenant_of(self, tenant_of: Arc<dyn TenantOf>) -> Self {
        self.with(|shared| shared.tenant_of = tenant_of)
    }

    /// Judges answers that nobody judged below.
    #[must_use]
    pub fn with_classify(self, classify: Arc<dyn Classify>) -> Self {
        self.with(|shared| shared.classify = classify)
    }

    /// Tells `observer` what is decided.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn Observer>) -> Self {
        self.with(|shared| shared.observer = observer)
    }

    /// An `attempt` room below, over the same book, puts every attempt on record. Without it this room does, once per
    /// call of the inner service.
    #[must_use]
    pub fn with_gate_below(self) -> Self {
        self.with(|shared| shared.gated_below = true)
    }
}

impl IdempotencyLayer {
    /// Nobody goes on with an operation that provably did nothing but a caller that asks for it again: all who wait are
    /// told what happened, also where somebody has left.
    #[must_use]
    pub fn without_resuming(self) -> Self {
        self.with(|shared| shared.worker = false)
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = Idempotency<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Idempotency::new(inner, Arc::clone(&self.shared))
    }
}
