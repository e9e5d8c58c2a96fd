//! The layer: checked settings, hooks, and the state that every clone shares.

use super::RateLimit;
use super::config::{Class, RateLimitConfig};
use super::handle::RateLimitHandle;
use super::shared::{Hooks, Limits, Shared};
use crate::classify::Safety;
use crate::clock::Clock;
use crate::context::TenantOf;
use crate::error::InvalidConfig;
use crate::event::Observer;
use crate::payload::Payload;
use http::Request;
use std::fmt;
use std::sync::Arc;
use tower_layer::Layer;

/// Says which endpoint class a request belongs to, and whether it is a read.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which endpoint class a request belongs to",
    note = "use `rate_limit::OneClass`, a preset's classes, or implement `ClassOf`"
)]
pub trait ClassOf: Send + Sync + fmt::Debug + 'static {
    /// The endpoint class.
    fn class(&self, request: &Request<Payload>) -> Class;

    /// How many slots it takes of each quota that counts [costs](super::Counts::Cost): 1 unless you say otherwise, and
    /// at least 1. A batch of 30 costs 30.
    fn cost(&self, request: &Request<Payload>) -> u32 {
        let _ = request;
        1
    }

    /// Whether it may change something: reads and writes have gates of their own. By method unless you know better (a
    /// query may be a POST).
    fn safety(&self, request: &Request<Payload>) -> Safety {
        Safety::of(request.method())
    }
}

/// Every request is of class 0: for quotas that count all requests alike.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneClass;

impl ClassOf for OneClass {
    fn class(&self, _: &Request<Payload>) -> Class {
        Class(0)
    }
}

/// Makes [`RateLimit`] services that all spend the same quotas; see the [room](super).
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    shared: Arc<Shared>,
}

impl RateLimitLayer {
    /// A layer with the system's clock, tenants by [`MarkedTenant`](crate::context::MarkedTenant), one class, and
    /// decisions told to `tracing`.
    ///
    /// # Errors
    /// When a setting cannot work; the error names it and what would do.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "settings are handed over: later ones may hold what is not cheap to clone"
    )]
    pub fn new(config: RateLimitConfig) -> Result<Self, InvalidConfig> {
        config.check()?;
        Ok(Self {
            shared: Arc::new(Shared::new(
                Arc::new(Limits::new(&config)),
                Hooks::default(),
            )),
        })
    }

    /// Reads time from this clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        self.with(|hooks| hooks.clock = clock)
    }

    /// Finds the tenant of a request with this.
    #[must_use]
    pub fn with_tenant_of(self, tenant_of: Arc<dyn TenantOf>) -> Self {
        self.with(|hooks| hooks.tenant_of = tenant_of)
    }

    /// Finds the endpoint class of a request with this.
    #[must_use]
    pub fn with_classes(self, classes: Arc<dyn ClassOf>) -> Self {
        self.with(|hooks| hooks.classes = classes)
    }

    /// Tells decisions to this observer.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn Observer>) -> Self {
        self.with(|hooks| hooks.observer = observer)
    }

    /// Live state: in use, waiting, next free.
    #[must_use]
    pub fn handle(&self) -> RateLimitHandle {
        RateLimitHandle::new(Arc::clone(&self.shared))
    }

    fn with(self, change: impl FnOnce(&mut Hooks)) -> Self {
        let mut hooks = self.shared.hooks.clone();
        change(&mut hooks);
        Self {
            shared: Arc::new(Shared::new(Arc::clone(&self.shared.limits), hooks)),
        }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit::new(inner, Arc::clone(&self.shared))
    }
}
