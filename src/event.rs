//! One [`Event`] per decision, told to one [`Observer`].
//!
//! The default observer writes `tracing` events at target `tower_sturdy` with the fields `operation`, `tenant`,
//! `priority` and `attempt`.

use crate::context::{OperationId, Priority};
use crate::outcome::Outcome;
use std::fmt;
use std::time::Duration;

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Decision<'a> {
    /// Admission let a call through after waiting this long.
    Admitted {
        /// Time spent in line.
        waited: Duration,
    },
    /// Admission refused a call.
    Refused {
        /// The soonest that trying again can help.
        retry_after: Duration,
    },
    /// The upstream throttled, or said that nothing is left: the tenant's gates are closed, or that for reads alone.
    GateClosed {
        /// For how long.
        pause: Duration,
    },
    /// An attempt was judged.
    Judged {
        /// What is known of it.
        outcome: Outcome,
        /// How long the attempt took.
        took: Duration,
    },
    /// The gate before the wire did not let an attempt out.
    Withheld {
        /// Why.
        why: &'a str,
    },
    /// Another attempt follows after this wait.
    Retry {
        /// The wait.
        wait: Duration,
    },
    /// No further attempt: why.
    GaveUp {
        /// Why.
        why: &'a str,
    },
    /// An operation changed its state.
    Moved {
        /// From.
        from: &'a str,
        /// To.
        to: &'a str,
        /// Why.
        why: &'a str,
    },
    /// A duplicate joined a running operation.
    Joined,
    /// A recorded answer was given.
    Replayed,
    /// A caller was told that its operation is still settling.
    StillPending,
    /// A cached answer was given.
    CacheHit {
        /// Its age.
        age: Duration,
        /// Whether it was past its time to live.
        stale: bool,
    },
    /// A look-up was made for an operation in doubt.
    Looked {
        /// What it found.
        found: &'a str,
    },
    /// The upstream and the local record disagree.
    Drift {
        /// How.
        what: &'a str,
    },
    /// The wall clock parted from the monotonic one: nothing is sent again until a settle window was seen to pass.
    ClockJumped {
        /// By how much.
        by: Duration,
    },
    /// The journal failed where the work could go on.
    JournalTrouble {
        /// What it said.
        why: &'a str,
    },
}

impl Decision<'_> {
    /// The stable name for logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Admitted { .. } => "admitted",
            Self::Refused { .. } => "refused",
            Self::GateClosed { .. } => "gate_closed",
            Self::Judged { .. } => "judged",
            Self::Withheld { .. } => "withheld",
            Self::Retry { .. } => "retry",
            Self::GaveUp { .. } => "gave_up",
            Self::Moved { .. } => "moved",
            Self::Joined => "joined",
            Self::Replayed => "replayed",
            Self::StillPending => "still_pending",
            Self::CacheHit { .. } => "cache_hit",
            Self::Looked { .. } => "looked",
            Self::Drift { .. } => "drift",
            Self::ClockJumped { .. } => "clock_jumped",
            Self::JournalTrouble { .. } => "journal_trouble",
        }
    }

    /// Whether a person should be told without asking for details.
    #[must_use]
    pub const fn is_alarming(&self) -> bool {
        matches!(
            self,
            Self::GateClosed { .. }
                | Self::Drift { .. }
                | Self::ClockJumped { .. }
                | Self::JournalTrouble { .. }
        )
    }
}

/// One decision, with whom it concerns.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The operation, where there is one.
    pub operation: Option<OperationId>,
    /// The tenant.
    pub tenant: &'a str,
    /// The priority.
    pub priority: Priority,
    /// Which attempt, from 1; 0 where none is concerned.
    pub attempt: u32,
    /// What was decided.
    pub decision: Decision<'a>,
}

impl<'a> Event<'a> {
    /// An event that concerns no operation and no attempt.
    #[must_use]
    pub const fn new(tenant: &'a str, priority: Priority, decision: Decision<'a>) -> Self {
        Self {
            operation: None,
            tenant,
            priority,
            attempt: 0,
            decision,
        }
    }

    /// Names the operation.
    #[must_use]
    pub const fn with_operation(mut self, operation: Option<OperationId>) -> Self {
        self.operation = operation;
        self
    }

    /// Names the attempt, counted from 1.
    #[must_use]
    pub const fn with_attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }
}

/// Is told every decision, on the path of the request: must be quick and must not block.
pub trait Observer: Send + Sync + fmt::Debug + 'static {
    /// One decision was made.
    fn observe(&self, event: &Event<'_>);
}

/// Writes decisions as `tracing` events: `warn` for what a person should know, `debug` for the rest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tracing;

impl Observer for Tracing {
    fn observe(&self, event: &Event<'_>) {
        if event.decision.is_alarming() {
            tracing::warn!(
                target: "tower_sturdy",
                operation = event.operation.map(tracing::field::display),
                tenant = event.tenant,
                priority = event.priority.as_str(),
                attempt = event.attempt,
                decision = ?event.decision,
            );
        } else {
            tracing::debug!(
                target: "tower_sturdy",
                operation = event.operation.map(tracing::field::display),
                tenant = event.tenant,
                priority = event.priority.as_str(),
                attempt = event.attempt,
                decision = ?event.decision,
            );
        }
    }
}

/// Counts decisions with the `metrics` facade: `tower_sturdy_decisions_total{decision, priority}` and
/// `tower_sturdy_outcomes_total{outcome}`. Tenants are no label: their number is not bounded.
#[cfg(feature = "metrics")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Metrics;

#[cfg(feature = "metrics")]
impl Observer for Metrics {
    fn observe(&self, event: &Event<'_>) {
        metrics::counter!(
            "tower_sturdy_decisions_total",
            "decision" => event.decision.name(),
            "priority" => event.priority.as_str(),
        )
        .increment(1);
        match event.decision {
            Decision::Judged { outcome, took } => {
                metrics::counter!("tower_sturdy_outcomes_total", "outcome" => outcome.as_str())
                    .increment(1);
                metrics::histogram!("tower_sturdy_attempt_seconds").record(took.as_secs_f64());
            }
            Decision::Admitted { waited } => {
                metrics::histogram!("tower_sturdy_admission_wait_seconds", "priority" => event.priority.as_str())
                    .record(waited.as_secs_f64());
            }
            _ => {}
        }
    }
}
