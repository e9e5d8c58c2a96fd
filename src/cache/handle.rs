//! The cache for jobs beside the stack.

use super::below::Below;
use super::key::KeyRef;
use super::shared::{Shared, fresh, served};
use super::store::Ticket;
use super::writing::Writing;
use crate::classify::{self, Route, Safety};
use crate::payload::Payload;
use http::{Request, Response};
use std::sync::Arc;
use std::time::Duration;

/// Looks up, keeps and invalidates directly: for background jobs, webhooks and whoever changes things around the stack.
#[derive(Clone, Debug)]
pub struct CacheHandle {
    shared: Arc<Shared>,
}

/// Noted before an answer is fetched, so that it can be kept if no write came between.
#[derive(Debug)]
pub struct Fill {
    ticket: Ticket,
    route: Route,
}

impl CacheHandle {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The fresh answer to this read, if there is one. Never asks the upstream.
    #[must_use]
    pub fn get(&self, request: &Request<Payload>) -> Option<Response<Payload>> {
        let (_, ttl, tenant) = self.readable(request)?;
        let shared = &self.shared;
        let headers = shared.headers(request);
        let entry = shared
            .store
            .find(&KeyRef::new(&shared.hashers, tenant, request, headers))?;
        let token = shared.token(tenant, request);
        let from = fresh(&entry, token, shared.clock.now(), ttl)?;
        Some(served(&entry, from))
    }

    /// To be called *before* the answer to this read is fetched around the stack; `None` where it may not be kept.
    #[must_use]
    pub fn begin(&self, request: &Request<Payload>) -> Option<Fill> {
        let (route, _, tenant) = self.readable(request)?;
        let shared = &self.shared;
        let headers = shared.headers(request);
        if headers.bypass {
            return None;
        }
        let key = KeyRef::new(&shared.hashers, tenant, request, headers);
        let ticket = shared.ticket(tenant, request, &key, shared.clock.now());
        Some(Fill { ticket, route })
    }

    /// Keeps an answer, if it is a good one and no write touched what it tells of since [`CacheHandle::begin`]. Says
    /// whether it did.
    pub fn put(&self, fill: &Fill, answer: Response<Payload>) -> bool {
        let shared = &self.shared;
        let (answer, verdict) =
            classify::judge(&*shared.classify, fill.route, &shared.clock, Ok(answer));
        match answer {
            Ok(answer) if shared.is_good(&answer, verdict) => {
                shared.store.keep(&fill.ticket, answer)
            }
            _ => false,
        }
    }

    /// From now on no answer is given that tells of this entity as it was.
    pub fn invalidate(&self, tenant: &str, entity: &str) {
        let slot = self.shared.store.generations.slot(tenant, entity);
        self.invalidate_slot(slot);
    }

    /// From now on no answer of this tenant is given that was kept until now.
    pub fn invalidate_tenant(&self, tenant: &str) {
        self.invalidate_slot(self.shared.store.generations.tenant_slot(tenant));
    }

    /// From now on no answer is given that tells of anything this write may have changed: for one that was found to have
    /// taken effect.
    pub fn invalidate_write(&self, write: &Request<Payload>) {
        let route = self.shared.classify.route(write);
        if let Ok(tenant) = self.shared.tenant_of.tenant(write) {
            Writing::begin(&self.shared, tenant, write, route).applied();
        }
    }

    /// From now on no answer is given that tells of anything this write may have changed, and for the settle window none is
    /// kept: for one that may have been sent by somebody whose writes this cache does not see.
    pub fn doubt_write(&self, write: &Request<Payload>) {
        let route = self.shared.classify.route(write);
        if let Ok(tenant) = self.shared.tenant_of.tenant(write) {
            // Dropped, it is in doubt.
            drop(Writing::begin(&self.shared, tenant, write, route));
        }
    }

    /// From now on no answer is given that was kept until now, and for the read lag none is kept: for when anything may have
    /// been written by somebody whose writes this cache does not see, and reads may not show it yet.
    pub fn doubt_all(&self) {
        let shared = &self.shared;
        let slots: Vec<_> = (0..shared.config.generations).collect();
        let (now, lag) = (shared.clock.now(), shared.config.read_lag);
        shared.store.invalidate(&slots, now, lag);
    }

    /// A service for what sends writes below the journal: callers that lost patience, and workers that send again, are
    /// not seen by the cache itself, which stands above it.
    pub fn below<S>(&self, inner: S) -> Below<S> {
        Below::new(inner, Arc::clone(&self.shared))
    }

    /// How many answers are kept, those past their time included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.store.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that the kept answers take.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.shared.store.weight()
    }

    fn invalidate_slot(&self, slot: usize) {
        let shared = &self.shared;
        shared
            .store
            .invalidate(&[slot], shared.clock.now(), shared.config.read_lag);
    }

    fn readable<'a>(&self, request: &'a Request<Payload>) -> Option<(Route, Duration, &'a str)> {
        let shared = &self.shared;
        let route = shared.classify.route(request);
        if route.safety == Safety::Write {
            return None;
        }
        let rule = shared.rules.read(request)?;
        let tenant = shared.tenant_of.tenant(request).ok()?;
        Some((route, rule.ttl.unwrap_or(shared.config.ttl), tenant))
    }
}
