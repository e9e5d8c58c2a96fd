//! Reports as people and machines read them: an aligned table, and JSON.

use super::report::{LineUpReport, Report};
use std::fmt::Write as _;

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
        let mut text = format!(
            "{}, seed {}, upstream {} our keys: {} operations, {:.0} s of virtual time in {:.1} s\n",
            self.scenario,
            self.seed,
            if self.replay { "honours" } else { "ignores" },
            self.lineups.first().map_or(0, |line| line.operations),
            self.virtual_seconds,
            self.wall_seconds,
        );
        align(&mut text, &rows);
        self.by_capability(&mut text);
        text
    }
}

/// The columns of the second table.
const CAPABILITY_COLUMNS: [&str; 9] = [
    "line-up",
    "declared",
    "operations",
    "sends",
    "second",
    "in doubt",
    "parked",
    "clear",
    "visible open",
];

impl Report {
    /// A second table where the writes are not all of one kind.
    fn by_capability(&self, text: &mut String) {
        let mut rows = vec![CAPABILITY_COLUMNS.map(str::to_owned)];
        for line in &self.lineups {
            let named = line.by_capability.named();
            let there = named.iter().filter(|(_, of)| of.operations > 0);
            rows.extend(there.map(|(name, of)| {
                [
                    line.name.clone(),
                    (*name).to_owned(),
                    of.operations.to_string(),
                    of.sends.to_string(),
                    of.second_sends.to_string(),
                    of.in_doubt.to_string(),
                    of.parked.to_string(),
                    of.parked_clear.to_string(),
                    of.visible_open.to_string(),
                ]
            }));
        }
        if rows.len() > self.lineups.len() + 1 {
            text.push('\n');
            align(text, &rows);
        }
    }
}

/// Adds the rows, each column as wide as its widest cell; the first is set to the left.
fn align<const N: usize>(text: &mut String, rows: &[[String; N]]) {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
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
}

/// One report as an object, several as an array.
///
/// # Errors
/// Never with what a run reports; the signature is the JSON writer's.
pub fn to_json(reports: &[Report]) -> Result<String, serde_json::Error> {
    let text = match reports {
        [report] => serde_json::to_string_pretty(report),
        reports => serde_json::to_string_pretty(reports),
    };
    text.map(|text| text + "\n")
}
