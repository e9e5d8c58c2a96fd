//! A read that has to be answered by the upstream, and the older answer that may stand in for it.

use super::flight::Answered;
use super::freshness::{self, Standing};
use super::shared::{Shared, served};
use super::store::{Entry, Ticket};
use crate::classify::Route;
use crate::clock::Instant;
use crate::context::{Context, Priority};
use crate::payload::{Payload, ServedFrom};
use http::{Request, Response};
use std::sync::Arc;
use std::time::Duration;

/// Says, in a request's extensions, that an answer from before a write may stand in too where the upstream fails or is
/// slow.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowInvalidated;

#[derive(Debug)]
pub(super) struct Read {
    pub(super) ticket: Arc<Ticket>,
    pub(super) route: Route,
    pub(super) deadline: Option<Instant>,
    /// When an answer that may stand in does so.
    pub(super) slow_at: Option<Instant>,
    pub(super) priority: Priority,
    pub(super) ttl: Duration,
    /// An answer that may be able to stand in.
    pub(super) spare: Option<Arc<Entry>>,
    /// Whether an answer from before a write may stand in.
    pub(super) by_name: bool,
    /// Whether it joins nobody, for it asks for an answer of now.
    pub(super) alone: bool,
}

impl Read {
    /// The older answer, if it may still stand in.
    pub(super) fn stand_in(&self, shared: &Shared) -> Option<Response<Payload>> {
        let entry = self.spare.as_ref()?;
        let now = shared.clock.now();
        let age = now.saturating_duration_since(entry.asked_at);
        // Asked now, not when the read began: a write may have begun since.
        let valid = shared.store.is_valid(&self.ticket.slots, entry);
        match freshness::standing(valid, age, self.ttl, shared.config.stale_for) {
            Standing::Fresh | Standing::Spare => {}
            Standing::Revoked if self.by_name => {}
            Standing::Revoked | Standing::Useless => return None,
        }
        let from = ServedFrom::StaleCache { age };
        shared.tell_hit(self.ticket.key.tenant(), self.priority, from);
        Some(served(entry, from))
    }
}

/// Whether an older answer may stand in for this one.
pub(super) fn failed(answer: &Answered) -> bool {
    match answer {
        Ok(answer) => answer.body().verdict().is_some_and(freshness::failed),
        Err(error) => freshness::failed_with(error),
    }
}

/// The request that a flight sends: its deadline is its first caller's alone, and others may wait longer.
pub(super) fn without_deadline(mut request: Request<Payload>) -> Request<Payload> {
    let context = Context::of(&request);
    if context.deadline().is_some() {
        let context = context.clone().without_deadline();
        request.extensions_mut().insert(context);
    }
    request
}
