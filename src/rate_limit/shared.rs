//! What all clones share: the parts behind their locks, and who is woken when a lock is let go.

use super::admission::{Admission, Arrival, Ask};
use super::config::RateLimitConfig;
use super::layer::{ClassOf, OneClass};
use super::permit::Permit;
use super::rules::Rules;
use super::tenants::LineId;
use super::wait::Ticket;
use super::window::{NEVER, Nanos};
use crate::clock::{Clock, Instant};
use crate::context::{Context, MarkedTenant, Priority, TenantOf};
use crate::error::Error;
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

/// Everything behind one lock.
#[derive(Debug)]
pub(super) struct Locked {
    pub(super) admission: Admission,
    /// The bells of those who wait, by waiter.
    bells: Vec<Option<Arc<Notify>>>,
    /// Whether someone watches the clock for this part, and until when it sleeps.
    pub(super) watched: bool,
    pub(super) watched_until: Nanos,
}

/// Padded, so that the locks of two parts are never in one cache line.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Part {
    locked: Mutex<Locked>,
    /// Rings when the watcher has to look at the clock sooner than it thinks.
    pub(super) watcher: Notify,
}

#[derive(Debug)]
pub(super) struct Limits {
    pub(super) rules: Arc<Rules>,
    parts: Box<[Part]>,
    hasher: DefaultHashBuilder,
    epoch: Instant,
}

impl Limits {
    pub(super) fn new(config: &RateLimitConfig) -> Self {
        let rules = Arc::new(Rules::new(config));
        // What tenants share must be taken together with what is theirs, so it is behind the same lock.
        let parts = if rules.shared_by_tenants() { 1 } else { PARTS };
        Self {
            parts: (0..parts)
                .map(|_| Part {
                    locked: Mutex::new(Locked {
                        admission: Admission::new(Arc::clone(&rules)),
                        bells: Vec::new(),
                        watched: false,
                        watched_until: 0,
                    }),
                    watcher: Notify::new(),
                })
                .collect(),
            rules,
            hasher: DefaultHashBuilder::default(),
            epoch: Clock::system().now(),
        }
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

impl Part {
    /// Runs `work` under the lock, then wakes whom it concerns.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Locked) -> T) -> T {
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut locked);
        let admission = &locked.admission;
        let sooner = locked.watched && admission.alarm() < locked.watched_until;
        if sooner {
            locked.watched_until = locked.admission.alarm();
        }
        if locked.admission.woken.is_empty() {
            drop(locked);
        } else {
            let Locked {
                admission, bells, ..
            } = &mut *locked;
            let bells: Vec<_> = admission
                .woken
                .drain(..)
                .filter_map(|id| bells.get(id).cloned().flatten())
                .collect();
            drop(locked);
            for bell in bells {
                bell.notify_one();
            }
        }
        if sooner {
            self.watcher.notify_one();
        }
        done
    }
}

impl Locked {
    pub(super) fn hang(&mut self, id: usize, bell: Arc<Notify>) {
        if self.bells.len() <= id {
            self.bells.resize(id + 1, None);
        }
        self.bells[id] = Some(bell);
    }

    /// Takes a bell down; with the last one goes the memory of a long line.
    pub(super) fn unhang(&mut self, id: usize) {
        if let Some(bell) = self.bells.get_mut(id) {
            *bell = None;
        }
        if self.admission.waiters.len() == 0 {
            self.bells = Vec::new();
        }
    }

    /// Rings everyone who waits.
    pub(super) fn ring_all(&self) {
        for bell in self.bells.iter().flatten() {
            bell.notify_one();
        }
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
                Arrival::Go(_) | Arrival::Refused(_) => None,
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
            (Arrival::Refused(wait), _) => Err(self.refuse(ask.tenant, ask.priority, wait)),
            (Arrival::Wait(_), None) => Err(self.refuse(ask.tenant, ask.priority, 0)),
        }
    }

    /// Tells a refusal, and makes the error of it.
    pub(super) fn refuse(&self, tenant: &str, priority: Priority, wait: Nanos) -> Error {
        let retry_after = Duration::from_nanos(wait);
        self.tell(tenant, priority, Decision::Refused { retry_after });
        Error::rate_limited(retry_after)
    }
}
