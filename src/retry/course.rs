//! What is remembered of one request over its attempts, and what follows each of them. No async.

use super::layer::{Profile, Shared};
use super::policy::{self, Decision, Seen, Which, Why};
use crate::classify;
use crate::clock::Instant;
use crate::context::{Context, OperationId, Priority};
use crate::error::{BoxError, Error};
use crate::event;
use crate::outcome::{Advice, Outcome, Verdict};
use crate::payload::Payload;
use http::{Request, Response};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Sleep;

pub(super) type Answered = Result<Response<Payload>, Error>;

/// The result for the caller, or the wait before another attempt.
pub(super) type Next = ControlFlow<Answered, Duration>;

pub(super) struct Course {
    shared: Arc<Shared>,
    /// A copy for the attempts to come; `None` where the profile allows only one.
    request: Option<Request<Payload>>,
    /// The marker that belongs into the copy: see [`copy`].
    marker: Option<Context>,
    /// The attempt under way or just ended, from 1.
    attempt: u32,
    priority: Priority,
    operation: Option<OperationId>,
    /// Since the first attempt failed: when no further attempt may start. A success costs no look at the clock.
    until: Option<Instant>,
    /// What is known of the attempts before this one.
    joined: Outcome,
    /// The last result in doubt. Boxed: it exists only on the rare path.
    doubt: Option<Box<Answered>>,
}

impl Course {
    /// The course of a request whose first attempt is about to be sent.
    #[inline]
    pub(super) fn new(shared: Arc<Shared>, request: &Request<Payload>) -> Self {
        // While every tenant has its full reserve there is nothing to deposit, and nobody asks for the tenant.
        if shared.budget.is_touched()
            && let Ok(tenant) = shared.tenant_of.tenant(request)
        {
            shared.budget.deposit(tenant);
        }
        let marker = request.extensions().get::<Context>();
        let priority = marker.map(Context::priority).unwrap_or_default();
        let again = shared.config.profile(priority).attempts_max > 1;
        let (request_copy, marker) = match again {
            true => copy(request, marker),
            false => (None, None),
        };
        Self {
            shared,
            request: request_copy,
            marker,
            attempt: 1,
            priority,
            operation: request.body().operation(),
            until: None,
            joined: Outcome::Unsent,
            doubt: None,
        }
    }

    pub(super) const fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(super) fn sleep(&self, wait: Duration) -> Sleep {
        self.shared.clock.sleep(wait)
    }

    /// Counts another attempt and gives its request.
    pub(super) fn again(&mut self) -> Request<Payload> {
        self.attempt += 1;
        // Only a course that kept a copy ever waits for another attempt.
        self.request.clone().unwrap_or_default()
    }

    /// Whether this answer is the caller's, whatever else could be done: judged in place, for it is the straight path.
    #[inline]
    pub(super) fn ends_with(&mut self, answer: &mut Response<Payload>) -> bool {
        let is_success = |verdict: Verdict| verdict.outcome == Outcome::Applied;
        if self.request.is_none() || answer.body().verdict().is_some_and(is_success) {
            return true;
        }
        self.complete();
        let Some(request) = &self.request else {
            return true;
        };
        let classify = &*self.shared.classify;
        let route = classify.route(request);
        let clock = &self.shared.clock;
        is_success(classify::judge_answer(classify, route, clock, answer))
    }

    /// Puts the marker into the copy, where everybody looks for it.
    fn complete(&mut self) {
        if let Some((request, marker)) = self.request.as_mut().zip(self.marker.take()) {
            request.extensions_mut().insert(marker);
        }
    }

    /// What follows the attempt that ended with `answer`.
    pub(super) fn after(&mut self, answer: Result<Response<Payload>, BoxError>) -> Next {
        self.complete();
        let Some(request) = &self.request else {
            return ControlFlow::Break(answer.map_err(Error::from_inner));
        };
        let route = self.shared.classify.route(request);
        let (answer, verdict) =
            classify::judge(&*self.shared.classify, route, &self.shared.clock, answer);
        if verdict.outcome == Outcome::Applied {
            return ControlFlow::Break(answer);
        }
        let seen = Seen {
            attempt: self.attempt,
            verdict,
            safety: route.safety,
            keyed: self.operation.is_some(),
            doubted: self.doubt.is_some(),
            left: self.left(),
        };
        match self.decide(&seen) {
            Decision::Wait(wait) => {
                self.tell(event::Decision::Retry { wait });
                self.joined = self.joined.join(verdict.outcome);
                if verdict.outcome == Outcome::Unknown {
                    self.doubt = Some(Box::new(answer));
                }
                ControlFlow::Continue(wait)
            }
            Decision::Return(why) => {
                if why != Why::Final {
                    self.tell(event::Decision::GaveUp { why: why.as_str() });
                }
                ControlFlow::Break(match (policy::which(&seen), self.doubt.take()) {
                    (Which::Doubt, Some(doubt)) => *doubt,
                    _ => answer,
                })
            }
        }
    }

    /// The result when the inner service failed before another attempt was sent.
    pub(super) fn unready(&mut self, error: BoxError) -> Answered {
        self.tell(event::Decision::GaveUp {
            why: "the inner service is not available any more",
        });
        match self.doubt.take() {
            Some(doubt) => *doubt,
            None => Err(Error::upstream(
                error,
                Verdict::closed(self.joined, Advice::Stop),
            )),
        }
    }

    fn decide(&self, seen: &Seen) -> Decision {
        let decision = policy::decide(self.profile(), seen, || self.shared.random.fraction());
        match decision {
            // Asked last: what does not go again costs no budget.
            Decision::Wait(_) if !self.withdraw() => Decision::Return(Why::Budget),
            decision => decision,
        }
    }

    /// The time in which another attempt may still start, counted from the first failure.
    fn left(&mut self) -> Duration {
        let now = self.shared.clock.now();
        let until = *self.until.get_or_insert_with(|| {
            let total = now + self.shared.config.profile(self.priority).total;
            self.request
                .as_ref()
                .and_then(|request| Context::of(request).deadline())
                .map_or(total, |deadline| deadline.min(total))
        });
        until.saturating_duration_since(now)
    }

    fn withdraw(&self) -> bool {
        // A request that contradicts itself about its tenant has no budget.
        self.tenant()
            .is_some_and(|tenant| self.shared.budget.withdraw(tenant))
    }

    fn tell(&self, decision: event::Decision<'_>) {
        self.shared.observer.observe(
            &event::Event::new(self.tenant().unwrap_or_default(), self.priority, decision)
                .with_operation(self.operation)
                .with_attempt(self.attempt),
        );
    }

    fn tenant(&self) -> Option<&str> {
        self.shared.tenant_of.tenant(self.request.as_ref()?).ok()
    }

    fn profile(&self) -> &Profile {
        self.shared.config.profile(self.priority)
    }
}

/// A copy of a request. A marker that is its only extension, as it is of most requests, is kept beside it: copying
/// extensions costs three allocations, and a request that succeeds never needs them again.
#[inline]
fn copy(
    request: &Request<Payload>,
    marker: Option<&Context>,
) -> (Option<Request<Payload>>, Option<Context>) {
    let Some(marker) = marker.filter(|_| request.extensions().len() == 1) else {
        return (Some(request.clone()), None);
    };
    let mut copy = Request::new(request.body().clone());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    (Some(copy), Some(marker.clone()))
}
