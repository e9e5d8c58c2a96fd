//! What a run came to.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One scenario on one seed: every line-up that ran.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Whether the mock honoured our keys.
    pub replay: bool,
    /// Simulated time of one line-up's run.
    pub virtual_seconds: f64,
    /// Real time of all of them.
    pub wall_seconds: f64,
    /// One entry per line-up.
    pub lineups: Vec<LineUpReport>,
}

/// One line-up. The words are those of [`judge`](super::judge).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[allow(missing_docs, reason = "each word is defined at `judge`")]
pub struct LineUpReport {
    pub name: String,
    pub operations: usize,
    pub succeeded: usize,
    pub success_ratio: f64,
    pub duplicate_effects: usize,
    pub lost: usize,
    pub false_rejects: usize,
    pub wrong_effects: usize,
    pub paid_twice: usize,
    pub forbidden_sends: usize,
    pub unresolved: usize,
    pub parked: usize,
    pub parked_knowable: usize,
    pub throttled: usize,
    pub attempts_per_operation: f64,
    pub final_within_patience: f64,
    pub pending_settled_s_max: f64,
    pub stale_answers: usize,
    pub stale_age_s_max: f64,
    pub drift_before: f64,
    pub drift_after: f64,
    pub latency_ms: Latencies,
    pub by_capability: ByCapability,
}

/// The operations by what they were declared as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[allow(missing_docs, reason = "told by their names")]
pub struct ByCapability {
    pub keyed: CapabilityReport,
    pub lookup: CapabilityReport,
    pub none: CapabilityReport,
}

impl ByCapability {
    /// Each with its name.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, &CapabilityReport); 3] {
        [
            ("keyed", &self.keyed),
            ("lookup", &self.lookup),
            ("none", &self.none),
        ]
    }
}

/// What became of the operations of one kind. The words are those of [`judge`](super::judge).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[allow(missing_docs, reason = "each word is defined at `judge`")]
pub struct CapabilityReport {
    pub operations: usize,
    pub sends: usize,
    pub second_sends: usize,
    pub in_doubt: usize,
    pub parked: usize,
    pub parked_clear: usize,
    pub visible_open: usize,
}

/// How long calls took, by who waits for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Latencies {
    /// A person.
    pub user_action: Spread,
    /// The background sync.
    pub scheduled: Spread,
}

/// Percentiles (nearest rank) in milliseconds; all zero where there was no call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[allow(missing_docs, reason = "told by their names")]
pub struct Spread {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Spread {
    /// Of these durations.
    #[must_use]
    pub fn of(durations: &[Duration]) -> Self {
        let mut sorted = durations.to_vec();
        sorted.sort_unstable();
        let rank = |percent: usize| {
            let at = (sorted.len() * percent).div_ceil(100).max(1) - 1;
            sorted
                .get(at)
                .map_or(0.0, |took| took.as_secs_f64() * 1_000.0)
        };
        Self {
            p50: rank(50),
            p99: rank(99),
            max: rank(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let durations: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        let spread = Spread::of(&durations);
        assert_eq!((spread.p50, spread.p99, spread.max), (100.0, 198.0, 200.0));
        assert_eq!(Spread::of(&[]), Spread::default());
    }
}
