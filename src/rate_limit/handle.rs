//! Live state, for dashboards and for deciding whether a bulk job should start now.

use super::config::Quota;
use super::rules::Kept;
use super::shared::Shared;
use super::window::{NEVER, Nanos, Window};
use crate::classify::Safety;
use crate::context::Priority;
use crate::error::InvalidConfig;
use std::sync::Arc;
use std::time::Duration;

/// Looks at the live state of a [`RateLimitLayer`](super::RateLimitLayer) and of everything it made.
#[derive(Clone, Debug)]
pub struct RateLimitHandle {
    shared: Arc<Shared>,
}

/// How one quota stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuotaState {
    /// Its name.
    pub name: String,
    /// How many slots it has.
    pub limit: u32,
    /// How many of them only user actions may use.
    pub reserve: u32,
    /// How many of them are in flight or not back yet.
    pub in_use: u32,
    /// How long until one is free; zero if one is, `None` while all are in flight.
    pub next_free: Option<Duration>,
}

/// How one tenant stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantLimits {
    /// Its quotas and those it shares, as configured.
    pub quotas: Vec<QuotaState>,
    /// How many of its calls stand in line, by priority in the order of [`Priority::ALL`].
    pub waiting: [usize; 3],
    /// How many of its calls were let through and are not over.
    pub in_flight: usize,
    /// For how long reads are still shut out: by a throttle answer, or because the upstream says that nothing is left.
    pub reads_closed: Option<Duration>,
    /// For how long writes are still shut out, for the same reasons.
    pub writes_closed: Option<Duration>,
}

impl RateLimitHandle {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// How this tenant stands now.
    #[must_use]
    pub fn tenant(&self, tenant: &str) -> TenantLimits {
        let limits = &self.shared.limits;
        let hash = limits.hash(tenant);
        let now = self.shared.now();
        limits.part(limits.part_of(hash)).with(|locked| {
            let fresh = locked.admission.rules.tenant_windows();
            let (state, app) = locked.admission.inspect(tenant, hash, now);
            let own = state.map_or(&*fresh, |state| &*state.windows);
            let closed = |safety| {
                state
                    .map(|state| state.gate(safety))
                    .filter(|until| *until > now)
                    .map(|until| Duration::from_nanos(until - now))
            };
            TenantLimits {
                quotas: limits
                    .rules
                    .names()
                    .map(|(name, kept)| match kept {
                        Kept::Tenant(at) => quota(name, &own[at], now),
                        Kept::App(at) => quota(name, &app[at], now),
                    })
                    .collect(),
                waiting: Priority::ALL
                    .map(|priority| state.map_or(0, |state| state.waiting_by(priority))),
                in_flight: state.map_or(0, |state| state.out),
                reads_closed: closed(Safety::Read),
                writes_closed: closed(Safety::Write),
            }
        })
    }

    /// The quotas as they are now.
    #[must_use]
    pub fn quotas(&self) -> Vec<Quota> {
        self.shared.limits.quotas()
    }

    /// Changes `limit`, `per` or `reserve` of the running layer's quotas, which are given in the same order.
    ///
    /// Nobody gets anything for free: what is out stays out. Slots that a wider limit adds can be used at once; a narrower
    /// one admits nobody until enough have come back; under a longer `per` the slots that are free or on their way back
    /// come later by the difference, under a shorter one they keep their time. Whoever waits with a call that costs more
    /// than it can ever have now is told.
    ///
    /// # Errors
    /// When a setting cannot work, or more than numbers differ; nothing is changed then.
    pub fn set_quotas(&self, quotas: impl Into<Vec<Quota>>) -> Result<(), InvalidConfig> {
        let now = self.shared.now();
        self.shared.limits.change(quotas.into(), now)
    }

    /// Changes the limit of one quota; see [`RateLimitHandle::set_quotas`].
    ///
    /// # Errors
    /// When there is no quota of that name, or the limit cannot work; nothing is changed then.
    pub fn set_limit(&self, name: &str, limit: u32) -> Result<(), InvalidConfig> {
        let mut quotas = self.quotas();
        match quotas.iter_mut().find(|quota| quota.name == name) {
            Some(quota) => quota.limit = limit,
            None => {
                return Err(InvalidConfig::new(
                    "quotas",
                    format!("has none of the name {name:?}: `quotas()` lists them"),
                ));
            }
        }
        self.set_quotas(quotas)
    }

    /// How many calls stand in line, over all tenants.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.sum(|admission| admission.in_line())
    }

    /// How many tenants are kept in memory: those with a call out or in line, a slot not back yet, or a closed gate, and
    /// idle ones that were not swept yet.
    #[must_use]
    pub fn tenants(&self) -> usize {
        self.sum(|admission| admission.tenants.len())
    }

    fn sum(&self, count: impl Fn(&super::admission::Admission) -> usize) -> usize {
        (0..self.shared.limits.parts())
            .map(|at| {
                self.shared
                    .limits
                    .part(at)
                    .with(|locked| count(&locked.admission))
            })
            .sum()
    }
}

fn quota(name: &str, window: &Window, now: Nanos) -> QuotaState {
    QuotaState {
        name: name.to_owned(),
        limit: window.limit(),
        reserve: window.reserve(),
        in_use: window.in_use(),
        next_free: match window.next_free() {
            NEVER => None,
            at => Some(Duration::from_nanos(at.saturating_sub(now))),
        },
    }
}
