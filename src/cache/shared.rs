//! What the services of one layer share, and what becomes of a request. No async.

use super::flight::{Answered, Entrance, Flight, Flights};
use super::freshness::{self, Standing};
use super::generations::Generations;
use super::key::{Hashers, Headers, KeyRef};
use super::layer::CacheConfig;
use super::reading::{AllowInvalidated, Read};
use super::rules::CacheRules;
use super::store::{Entry, Store, Ticket};
use super::writing::Writing;
use crate::classify::{self, Classify, Route, Safety};
use crate::clock::{Clock, Instant};
use crate::context::{Context, Priority, TenantOf};
use crate::error::BoxError;
use crate::event::{Decision, Event, Observer};
use crate::outcome::Verdict;
use crate::payload::{Payload, ServedFrom};
use crate::random::Random;
use http::{Request, Response, StatusCode, header};
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) config: CacheConfig,
    pub(super) store: Arc<Store>,
    pub(super) flights: Arc<Flights>,
    pub(super) hashers: Hashers,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) rules: Arc<dyn CacheRules>,
    pub(super) classify: Arc<dyn Classify>,
    pub(super) tenant_of: Arc<dyn TenantOf>,
    pub(super) observer: Arc<dyn Observer>,
}

/// What becomes of a request.
pub(super) enum Plan {
    /// It is answered here.
    Answer(Answered),
    /// It goes on untouched.
    Pass,
    /// It goes on, and invalidates.
    Write(Writing),
    /// It is answered by the upstream, once for all who ask the same.
    Read(Box<Read>),
}

impl Shared {
    /// Forgets everything.
    pub(super) fn renew(&mut self) {
        let generations = Generations::new(self.config.generations, &self.random);
        let now = self.clock.now();
        self.store = Arc::new(Store::new(self.config.capacity, generations, now));
        self.flights = Arc::new(Flights::new(self.config.flights_max));
    }

    pub(super) fn plan(self: &Arc<Self>, request: &Request<Payload>) -> Plan {
        let route = self.classify.route(request);
        if route.safety == Safety::Write {
            return match self.tenant_of.tenant(request) {
                Ok(tenant) => Plan::Write(Writing::begin(self, tenant, request, route)),
                Err(error) => Plan::Answer(Err(error)),
            };
        }
        let Some(rule) = self.rules.read(request) else {
            return Plan::Pass;
        };
        let headers = self.headers(request);
        if headers.bypass {
            return Plan::Pass;
        }
        let tenant = match self.tenant_of.tenant(request) {
            Ok(tenant) => tenant,
            Err(error) => return Plan::Answer(Err(error)),
        };
        let key = KeyRef::new(&self.hashers, tenant, request, headers);
        let ttl = rule.ttl.unwrap_or(self.config.ttl);
        let spare = match headers.renew {
            true => None,
            false => self.store.find(&key),
        };
        let context = Context::of(request);
        let priority = context.priority();
        // The token first: a write between the two makes the answer too old, never too young.
        let token = self.token(tenant, request);
        let now = self.clock.now();
        if let Some(entry) = &spare
            && let Some(answer) = self.fresh(entry, token, now, ttl)
        {
            self.tell_hit(tenant, priority, answer.body().served_from());
            return Plan::Answer(Ok(answer));
        }
        Plan::Read(Box::new(Read {
            ticket: Arc::new(self.ticket(tenant, request, &key, now)),
            route,
            deadline: context.deadline(),
            slow_at: self.slow_at(context, now),
            priority,
            ttl,
            spare,
            by_name: request.extensions().get::<AllowInvalidated>().is_some(),
            alone: headers.renew,
        }))
    }

    fn slow_at(&self, context: &Context, now: Instant) -> Option<Instant> {
        let patience = context.patience().or(match context.priority() {
            Priority::UserAction => self.config.slow_after,
            Priority::EventTriggered | Priority::Scheduled => None,
        });
        now.checked_add(patience?)
    }

    pub(super) fn headers(&self, request: &Request<Payload>) -> Headers {
        let config = &self.config;
        Headers::of(
            request.headers(),
            &self.hashers,
            &config.variants,
            &config.scope,
        )
    }

    /// The token of a read, without noting its slots.
    pub(super) fn token(&self, tenant: &str, request: &Request<Payload>) -> u64 {
        let generations = &self.store.generations;
        let mut token = generations.generation(generations.tenant_slot(tenant));
        self.rules.entities(request, &mut |entity| {
            let slot = generations.slot(tenant, entity);
            token = token.wrapping_add(generations.generation(slot));
        });
        token
    }

    pub(super) fn ticket(
        &self,
        tenant: &str,
        request: &Request<Payload>,
        key: &KeyRef<'_>,
        now: Instant,
    ) -> Ticket {
        let generations = &self.store.generations;
        let mut slots = vec![generations.tenant_slot(tenant)];
        self.rules.entities(request, &mut |entity| {
            slots.push(generations.slot(tenant, entity));
        });
        Ticket {
            key: key.to_key(),
            token: generations.token(&slots),
            slots,
            asked_at: now,
        }
    }

    /// The kept answer, if it may be given at once.
    pub(super) fn fresh(
        &self,
        entry: &Entry,
        token: u64,
        now: Instant,
        ttl: Duration,
    ) -> Option<Response<Payload>> {
        let age = now.saturating_duration_since(entry.asked_at);
        let standing = freshness::standing(entry.token == token, age, ttl, Duration::ZERO);
        (standing == Standing::Fresh).then(|| served(entry, ServedFrom::FreshCache { age }))
    }

    pub(super) fn enter(&self, read: &Read) -> Entrance<Response<Payload>> {
        if read.alone {
            let (flight, landing) = Flight::alone();
            return Entrance::Lead(flight, landing);
        }
        let ticket = &read.ticket;
        let entrance = self.flights.enter(ticket, read.priority, || {
            let entry = self.store.find_owned(&ticket.key)?;
            self.fresh(&entry, ticket.token, ticket.asked_at, read.ttl)
        });
        let tenant = ticket.key.tenant();
        match &entrance {
            Entrance::Join(_) => self.tell(tenant, read.priority, Decision::Joined),
            Entrance::Landed(answer) => {
                self.tell_hit(tenant, read.priority, answer.body().served_from());
            }
            Entrance::Lead(..) | Entrance::Full => {}
        }
        entrance
    }

    /// Judges the answer to a read, keeps it if it is good, and forgets what it contradicts.
    pub(super) fn settle(
        &self,
        ticket: &Ticket,
        route: Route,
        answer: Result<Response<Payload>, BoxError>,
    ) -> Answered {
        let (answer, verdict) = classify::judge(&*self.classify, route, &self.clock, answer);
        if let Ok(answer) = &answer {
            if self.is_good(answer, verdict) {
                self.store.keep(ticket, answer.clone());
            } else if !freshness::failed(verdict) {
                self.store.forget(ticket);
            }
        }
        answer
    }

    pub(super) fn is_good(&self, answer: &Response<Payload>, verdict: Verdict) -> bool {
        verdict.cacheable
            && answer.status() != StatusCode::PARTIAL_CONTENT
            && answer.body().served_from() == ServedFrom::Upstream
            && self.varies_as_keyed(answer)
    }

    /// Whether the answer varies by nothing but what keys tell apart.
    fn varies_as_keyed(&self, answer: &Response<Payload>) -> bool {
        answer.headers().get_all(header::VARY).iter().all(|names| {
            names.as_bytes().split(|byte| *byte == b',').all(|name| {
                let name = name.trim_ascii();
                self.config
                    .variants
                    .iter()
                    .chain(&self.config.scope)
                    .any(|known| name.eq_ignore_ascii_case(known.as_str().as_bytes()))
            })
        })
    }

    pub(super) fn tell_hit(&self, tenant: &str, priority: Priority, from: ServedFrom) {
        let hit = Decision::CacheHit {
            age: from.age(),
            stale: matches!(from, ServedFrom::StaleCache { .. }),
        };
        self.tell(tenant, priority, hit);
    }

    fn tell(&self, tenant: &str, priority: Priority, decision: Decision<'_>) {
        self.observer
            .observe(&Event::new(tenant, priority, decision));
    }
}

pub(super) fn served(entry: &Entry, from: ServedFrom) -> Response<Payload> {
    entry.answer.clone().map(|body| body.with_served_from(from))
}
