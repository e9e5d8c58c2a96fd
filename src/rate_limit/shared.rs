//! What all clones share, and the asking.

use super::admission::{Arrival, Ask, By, Refusal};
use super::config::{Quota, RateLimitConfig};
use super::layer::{ClassOf, OneClass};
use super::part::Part;
use super::permit::Permit;
use super::queue::refusal;
use super::rules::{Kept, Rules};
use super::tenants::LineId;
use super::wait::Ticket;
use super::window::{NEVER, Nanos};
use crate::clock::{Clock, Instant};
use crate::context::{Context, MarkedTenant, Priority, TenantOf};
use crate::error::{Error, HeldBy, InvalidConfig, ShortQuota};
use crate::event::{Decision, Event, Observer, Tracing};
use crate::payload::Payload;
use hashbrown::DefaultHashBuilder;
use http::Request;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// So that two threads with different tenants rarely meet at one lock (measured on a prototype).
const PARTS: usize = 16;

#[derive(Clone, Debug)]
pub(super) struct Hooks {
    pub(super) clock: Clock,
    pub(super) tenant_of: Arc<dyn TenantOf>,
    pub(super) classes: Arc<dyn ClassOf>,
    pub(super) observer: Arc<dyn Observer>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            tenant_of: Arc::new(MarkedTenant),
            classes: Arc::new(OneClass),
            observer: Arc::new(Tracing),
        }
    }
}

#[derive(Debug)]
pub(super) struct Limits {
    pub(super) rules: Arc<Rules>,
    parts: Box<[Part]>,
    hasher: DefaultHashBuilder,
    epoch: Instant,
    /// As they are now; held while they change, so that two changes are not mixed.
    config: Mutex<RateLimitConfig>,
}

impl Limits {
    pub(super) fn new(config: &RateLimitConfig) -> Self {
        let rules = Arc::new(Rules::new(config));
        // What tenants share must be taken together with what is theirs, so it is behind the same lock.
        let parts = if rules.shared_by_tenants() { 1 } else { PARTS };
        Self {
            parts: (0..parts).map(|_| Part::new(Arc::clone(&rules))).collect(),
            rules,
            hasher: DefaultHashBuilder::default(),
            epoch: Clock::system().now(),
            config: Mutex::new(config.clone()),
        }
    }

    /// Other limits for the same quotas, from now on.
    pub(super) fn change(&self, quotas: Vec<Quota>, now: Nanos) -> Result<(), InvalidConfig> {
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = RateLimitConfig {
            quotas,
            ..config.clone()
        };
        changed.check()?;
        changed.differs_in_numbers_alone(&config)?;
        let rules = Arc::new(Rules::new(&changed));
        *config = changed;
        for part in &self.parts {
            part.with(|locked| locked.admission.change(Arc::clone(&rules), now));
        }
        Ok(())
    }

    pub(super) fn quotas(&self) -> Vec<Quota> {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        config.quotas.clone()
    }

    pub(super) fn hash(&self, tenant: &str) -> u64 {
        self.hasher.hash_one(tenant)
    }

    pub(super) fn part_of(&self, hash: u64) -> usize {
        // The table uses the lowest and the highest bits itself. 16 bits always fit.
        usize::try_from((hash >> 32) & 0xffff).unwrap_or(0) % self.parts.len()
    }

    pub(super) fn part(&self, at: usize) -> &Part {
        &self.parts[at]
    }

    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }

    pub(super) fn nanos(&self, at: Instant) -> Nanos {
        let since = at.saturating_duration_since(self.epoch);
        since
            .as_secs()
            .saturating_mul(1_000_000_000)
            .saturating_add(u64::from(since.subsec_nanos()))
    }

    pub(super) fn instant(&self, at: Nanos) -> Instant {
        self.epoch + Duration::from_nanos(at)
    }
}

/// The answer to a request: go, stand in line, or neither.
#[derive(Debug)]
pub(super) enum Answer {
    Go(Permit),
    Wait(Ticket),
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Arc<Limits>,
    pub(super) hooks: Hooks,
}

impl Shared {
    pub(super) fn new(limits: Arc<Limits>, hooks: Hooks) -> Self {
        Self { limits, hooks }
    }

    pub(super) fn now(&self) -> Nanos {
        self.limits.nanos(self.hooks.clock.now())
    }

    pub(super) fn tell(&self, tenant: &str, priority: Priority, decision: Decision<'_>) {
        self.hooks
            .observer
            .observe(&Event::new(tenant, priority, decision));
    }

    /// Asks to let a request through.
    pub(super) fn ask(self: &Arc<Self>, request: &Request<Payload>) -> Result<Answer, Error> {
        let tenant = self.hooks.tenant_of.tenant(request)?;
        let context = Context::of(request);
        let ask = Ask {
            tenant,
            hash: self.limits.hash(tenant),
            line: LineId {
                set: self
                    .limits
                    .rules
                    .set_of(self.hooks.classes.class(request).0),
                safety: self.hooks.classes.safety(request),
            },
            priority: context.priority(),
            cost: self.limits.rules.cost(&*self.hooks.classes, request),
        };
        let part = self.limits.part_of(ask.hash);
        let at_once = self
            .limits
            .part(part)
            .with(|locked| locked.admission.try_go(ask));
        let Some(grant) = at_once else {
            return self.ask_with_clock(ask, part, context);
        };
        let admitted = Decision::Admitted {
            waited: Duration::ZERO,
        };
        self.tell(tenant, ask.priority, admitted);
        Ok(Answer::Go(Permit::new(
            Arc::clone(self),
            part,
            grant,
            ask.priority,
        )))
    }

    fn ask_with_clock(
        self: &Arc<Self>,
        ask: Ask<'_>,
        part: usize,
        context: &Context,
    ) -> Result<Answer, Error> {
        let now = self.now();
        let deadline = context.deadline().map(|at| self.limits.nanos(at));
        if deadline.is_some_and(|at| at <= now) {
            return Err(Error::Deadline);
        }
        let until = now
            .saturating_add(self.limits.rules.max_wait(ask.priority))
            .min(deadline.unwrap_or(NEVER));
        let (arrival, bell) = self.limits.part(part).with(|locked| {
            let arrival = locked.admission.arrive(ask, now, until);
            let bell = match arrival {
                Arrival::Wait(id) => {
                    let bell = Arc::new(Notify::new());
                    locked.hang(id, Arc::clone(&bell));
                    Some(bell)
                }
                Arrival::Go(_) | Arrival::Refused(_) | Arrival::TooCostly(_) => None,
            };
            (arrival, bell)
        });
        match (arrival, bell) {
            (Arrival::Go(grant), _) => {
                let admitted = Decision::Admitted {
                    waited: Duration::ZERO,
                };
                self.tell(ask.tenant, ask.priority, admitted);
                let permit = Permit::new(Arc::clone(self), part, grant, ask.priority);
                Ok(Answer::Go(permit))
            }
            (Arrival::Wait(id), Some(bell)) => Ok(Answer::Wait(Ticket::new(
                Arc::clone(self),
                part,
                id,
                bell,
                ask,
                now,
                until,
            ))),
            (Arrival::Refused(refusal), _) => Err(self.refuse(ask.tenant, ask.priority, refusal)),
            (Arrival::TooCostly(kept), _) => Err(self.too_costly(kept)),
            (Arrival::Wait(_), None) => {
                let refusal = refusal(now, By::Other, now);
                Err(self.refuse(ask.tenant, ask.priority, refusal))
            }
        }
    }

    /// A call that could never go, however long it waited.
    pub(super) fn too_costly(&self, kept: Kept) -> Error {
        Error::invalid(format!(
            "it costs more than quota {:?} can ever have free for it; nothing was sent: split it into smaller requests",
            self.limits.rules.name(kept)
        ))
    }

    /// Tells a refusal, and makes the error of it.
    pub(super) fn refuse(&self, tenant: &str, priority: Priority, refusal: Refusal) -> Error {
        let retry_after = Duration::from_nanos(refusal.wait);
        self.tell(tenant, priority, Decision::Refused { retry_after });
        let held_by = match refusal.by {
            By::Quota { kept, spec, left } => {
                let name = self.limits.rules.name(kept);
                let per = Duration::from_nanos(spec.per);
                HeldBy::Quota(Arc::new(ShortQuota {
                    left,
                    weighed: spec.weighed,
                    ..ShortQuota::new(name, spec.limit, per)
                }))
            }
            By::FullLine => HeldBy::FullLine,
            By::Upstream => HeldBy::Upstream,
            By::Pace => HeldBy::Pace,
            By::Other => HeldBy::Other,
        };
        Error::held_up(retry_after, held_by)
    }
}
