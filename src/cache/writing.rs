//! A write on its way: what it touches is in doubt from before it leaves until after it has ended.

use super::freshness;
use super::shared::Shared;
use crate::classify::{self, Route};
use crate::error::{BoxError, Error};
use crate::outcome::Verdict;
use crate::payload::Payload;
use http::{Request, Response};
use std::sync::Arc;

/// Invalidates when it is made, and again when it settles or is dropped. Dropped, the write is in doubt.
#[derive(Debug)]
pub(super) struct Writing {
    shared: Arc<Shared>,
    slots: Vec<usize>,
    route: Route,
    verdict: Verdict,
}

impl Writing {
    pub(super) fn begin(
        shared: &Arc<Shared>,
        tenant: &str,
        request: &Request<Payload>,
        route: Route,
    ) -> Self {
        let generations = &shared.store.generations;
        let mut slots = Vec::new();
        shared.rules.entities(request, &mut |entity| {
            slots.push(generations.slot(tenant, entity));
        });
        // A write that names nothing may have changed anything.
        if slots.is_empty() {
            slots.push(generations.tenant_slot(tenant));
        }
        generations.begin_write(&slots);
        Self {
            shared: Arc::clone(shared),
            slots,
            route,
            verdict: Verdict::OPEN,
        }
    }

    /// It took effect some time ago.
    pub(super) fn applied(mut self) {
        self.verdict = Verdict::APPLIED;
    }

    pub(super) fn settle(
        mut self,
        answer: Result<Response<Payload>, BoxError>,
    ) -> Result<Response<Payload>, Error> {
        let (answer, verdict) = classify::judge(
            &*self.shared.classify,
            self.route,
            &self.shared.clock,
            answer,
        );
        self.verdict = verdict;
        answer
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let config = &self.shared.config;
        let hold = freshness::hold(self.verdict, config.read_lag, config.settle_window);
        self.shared
            .store
            .end_write(&self.slots, self.shared.clock.now(), hold);
    }
}
