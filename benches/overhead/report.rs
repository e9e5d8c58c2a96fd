//! The table, and the file.

use crate::measure::{Budget, Measured, median};
use serde_json::{Value, json};
use std::path::Path;

/// Allocations that come once in many calls (a list that grows) are none.
const SELDOM: f64 = 0.05;

/// A row beside its bare call.
struct Compared<'a> {
    row: &'a Measured,
    /// The median of the rounds' differences: both were timed within the same second.
    over: f64,
    allocations_over: Option<f64>,
}

fn compared(all: &[Measured]) -> Vec<Compared<'_>> {
    let compare = |row| {
        let row: &Measured = row;
        let bare = all.iter().find(|bare| bare.name == row.over).unwrap();
        let differences = row
            .rounds
            .iter()
            .zip(&bare.rounds)
            .map(|(ours, bare)| ours - bare);
        Compared {
            row,
            over: median(differences.collect()),
            allocations_over: row
                .allocations
                .zip(bare.allocations)
                .map(|(ours, bare)| ours - bare),
        }
    };
    all.iter().map(compare).collect()
}

impl Compared<'_> {
    fn is_met(&self, budget: Budget) -> bool {
        let time = if budget.whole {
            self.row.median()
        } else {
            self.over
        };
        let allocates_more = budget
            .allocations
            .zip(self.allocations_over)
            .is_some_and(|(allowed, over)| over > allowed + SELDOM);
        time <= budget.ns && !allocates_more
    }

    fn verdict(&self) -> &'static str {
        match self.row.budget {
            None => "",
            Some(budget) if self.is_met(budget) => "met",
            Some(_) => "MISSED",
        }
    }

    fn budget(&self) -> String {
        let Some(budget) = self.row.budget else {
            return String::new();
        };
        let time = if budget.whole {
            format!("{:.0} whole", budget.ns)
        } else {
            format!("+{:.0}", budget.ns)
        };
        match budget.allocations {
            Some(allocations) => format!("{time}, {allocations:.0}"),
            None => time,
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.row.name,
            "kind": self.row.kind.as_str(),
            "median_ns": self.row.median(),
            "best_ns": self.row.best(),
            "over": self.row.over,
            "over_ns": self.over,
            "allocations": self.row.allocations,
            "allocations_over": self.allocations_over,
            "budget": self.row.budget.map(|budget| json!({
                "ns": budget.ns,
                "of": if budget.whole { "the whole call" } else { "what is over the bare call" },
                "allocations_over": budget.allocations,
                "met": self.is_met(budget),
            })),
        })
    }
}

fn or_dash(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.1}"))
}

pub(crate) fn print(measured: &[Measured]) {
    println!(
        "{:<46} {:>8} {:>8} {:>8} {:>7} {:>6}  {:<12}",
        "", "median", "best", "over", "allocs", "over", "budget"
    );
    let mut kind = None;
    for compared in compared(measured) {
        let row = compared.row;
        if kind
            .replace(row.kind)
            .is_some_and(|before| before != row.kind)
        {
            println!();
        }
        println!(
            "{:<46} {:>8.0} {:>8.0} {:>+8.0} {:>7} {:>6}  {:<12} {}",
            row.name,
            row.median(),
            row.best(),
            compared.over,
            or_dash(row.allocations),
            or_dash(compared.allocations_over),
            compared.budget(),
            compared.verdict()
        );
    }
}

pub(crate) fn write(measured: &[Measured], rounds: usize, file: &str) {
    // The folder for scratch files is in the target directory.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let rows: Vec<Value> = compared(measured).iter().map(Compared::to_json).collect();
    let report = json!({ "unit": "ns a call", "rounds": rounds, "rows": rows });
    let path = target.join(file);
    std::fs::write(&path, serde_json::to_string_pretty(&report).unwrap()).unwrap();
    println!(
        "\nns a call, medians of {rounds} rounds; written to {}",
        path.display()
    );
}
