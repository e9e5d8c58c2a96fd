//! What a run came to: as JSON for machines, as an aligned table for people.

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
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

type Column = (&'static str, fn(&LineUpReport) -> String);

/// What the table shows; the JSON has everything.
const COLUMNS: [Column; 19] = [
    ("line-up", |line| line.name.clone()),
    ("success %", |line| percent(line.success_ratio)),
    ("dup", |line| line.duplicate_effects.to_string()),
    ("paid 2x", |line| line.paid_twice.to_string()),
    ("lost", |line| line.lost.to_string()),
    ("false rej", |line| line.false_rejects.to_string()),
    ("wrong", |line| line.wrong_effects.to_string()),
    ("forbidden", |line| line.forbidden_sends.to_string()),
    ("unresolved", |line| line.unresolved.to_string()),
    ("parked", |line| match line.parked_knowable {
        0 => line.parked.to_string(),
        knowable => format!("{} ({knowable} knowable)", line.parked),
    }),
    ("429s", |line| line.throttled.to_string()),
    ("sends/op", |line| {
        format!("{:.3}", line.attempts_per_operation)
    }),
    ("in time %", |line| percent(line.final_within_patience)),
    ("settled s", |line| {
        format!("{:.0}", line.pending_settled_s_max)
    }),
    ("stale", |line| line.stale_answers.to_string()),
    ("drift % before", |line| percent(line.drift_before)),
    ("after", |line| percent(line.drift_after)),
    ("user p50 ms", |line| {
        format!("{:.0}", line.latency_ms.user_action.p50)
    }),
    ("p99", |line| {
        format!("{:.0}", line.latency_ms.user_action.p99)
    }),
];

fn percent(share: f64) -> String {
    format!("{:.2}", share * 100.0)
}

impl Report {
    /// One aligned table with a line above it that says what ran.
    #[must_use]
    pub fn table(&self) -> String {
        let mut rows = vec![COLUMNS.map(|(title, _)| title.to_owned())];
        rows.extend(
            self.lineups
                .iter()
                .map(|line| COLUMNS.map(|(_, show)| show(line))),
        );
        let mut widths = [0; COLUMNS.len()];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.len());
            }
        }
        let mut text = format!(
            "{}, seed {}, upstream {} our keys: {} operations, {:.0} s of virtual time in {:.1} s\n",
            self.scenario,
            self.seed,
            if self.replay { "honours" } else { "ignores" },
            self.lineups.first().map_or(0, |line| line.operations),
            self.virtual_seconds,
            self.wall_seconds,
        );
        for row in rows {
            for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
                // Writing to a String cannot fail.
                let _ = match at {
                    0 => write!(text, "  {cell:<width$}"),
                    _ => write!(text, "  {cell:>width$}"),
                };
            }
            text.push('\n');
        }
        text
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
