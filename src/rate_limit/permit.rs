//! A permit: slots in use, given back by what became of the call, whoever drops it.

use super::admission::{End, Grant};
use super::feedback::{self, Left};
use super::hint::Told;
use super::rules::nanos;
use super::shared::Shared;
use super::window::Nanos;
use crate::context::Priority;
use crate::event::Decision;
use crate::outcome::{Advice, Outcome, Verdict};
use http::HeaderMap;
use std::sync::Arc;
use std::time::Duration;

/// Dropped before [`Permit::leave`], its slots are free at once; after it and without a verdict, the call counts as
/// abandoned.
#[derive(Debug)]
pub(super) struct Permit {
    shared: Arc<Shared>,
    part: usize,
    grant: Grant,
    priority: Priority,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Here,
    Out { sent_at: Nanos },
    Over,
}

impl Permit {
    pub(super) const fn new(
        shared: Arc<Shared>,
        part: usize,
        grant: Grant,
        priority: Priority,
    ) -> Self {
        Self {
            shared,
            part,
            grant,
            priority,
            state: State::Here,
        }
    }

    /// The call is about to be made.
    pub(super) fn leave(&mut self) {
        // Only slots that are counted from the send need to know when that was.
        let sent_at = if self.shared.limits.rules.counts_from_send() {
            self.shared.now()
        } else {
            0
        };
        self.state = State::Out { sent_at };
    }

    /// The call was answered; an answer that nobody judged is a whole one.
    pub(super) fn answered(&mut self, verdict: Option<Verdict>, headers: &HeaderMap) {
        let shared = &self.shared;
        let left = if shared.limits.rules.feedback {
            feedback::read(headers, || shared.hooks.clock.wall().into())
        } else {
            None
        };
        self.judged(verdict, left);
    }

    /// The call failed.
    pub(super) fn failed(&mut self, verdict: Verdict) {
        self.judged(Some(verdict), None);
    }

    fn judged(&mut self, verdict: Option<Verdict>, left: Option<Left>) {
        let State::Out { sent_at } = self.state else {
            return;
        };
        let answered = End::Answered { sent_at };
        let (end, advice) = match verdict {
            None => (answered, Advice::Accept),
            Some(verdict) if verdict.outcome == Outcome::Unsent => (End::Unsent, verdict.advice),
            Some(verdict) if verdict.closed => (answered, verdict.advice),
            Some(verdict) => (End::Abandoned, verdict.advice),
        };
        match (advice, left) {
            // `Retry-After` is the upstream's last word; the reset of a limit that is used up stands in for it.
            (Advice::Throttled { after }, left) => {
                let reset = left
                    .filter(|left| left.calls == 0)
                    .map(|left| left.resets_in);
                // "Retry after nothing" on a throttle answer would hammer an upstream that has just said stop.
                let after = after.filter(|after| !after.is_zero());
                self.throttled(end, after.or(reset));
            }
            (_, Some(left)) => self.told(end, left),
            (_, None) => self.settle(end),
        }
    }

    fn told(&mut self, end: End, left: Left) {
        self.state = State::Over;
        let now = self.shared.now();
        let told = Told {
            left: left.calls,
            until: now.saturating_add(nanos(left.resets_in)),
        };
        let closed = self
            .shared
            .limits
            .part(self.part)
            .with(|locked| locked.admission.told(self.grant, end, told, now));
        self.tell_closed(closed);
    }

    fn tell_closed(&self, closed: Option<(Arc<str>, Nanos)>) {
        if let Some((tenant, pause)) = closed {
            let pause = Duration::from_nanos(pause);
            self.shared
                .tell(&tenant, self.priority, Decision::GateClosed { pause });
        }
    }

    fn settle(&mut self, end: End) {
        self.state = State::Over;
        let now = self.shared.now();
        self.shared
            .limits
            .part(self.part)
            .with(|locked| locked.admission.settle(self.grant, end, now));
    }

    /// Closes the gate before the slots are given back, so that nobody slips through in between.
    fn throttled(&mut self, end: End, after: Option<Duration>) {
        self.state = State::Over;
        let now = self.shared.now();
        let named = after.is_some();
        let pause = after.map_or(self.shared.limits.rules.pause, nanos);
        let told = self.shared.limits.part(self.part).with(|locked| {
            locked
                .admission
                .throttled(self.grant, end, now, pause, named)
        });
        self.tell_closed(told);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        match self.state {
            State::Here => self.settle(End::Unsent),
            State::Out { .. } => self.settle(End::Abandoned),
            State::Over => {}
        }
    }
}
