//! `sturdy journal list`.

use super::words::{cut, from_now, parse_duration, span};
use super::{At, Form, table, view};
use crate::failure::Failure;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;
use std::io::Write;
use std::time::Duration;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::context::Tenant;
use tower_sturdy::journal::sqlite::{SqliteReader, Wanted};
use tower_sturdy::journal::{Record, State};

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    at: At,

    /// Only this state; may be given more than once. Without it: what is not settled, and what is contradicted.
    #[arg(long, value_name = "STATE", value_parser = states())]
    state: Vec<State>,

    /// Every state.
    #[arg(long, conflicts_with = "state")]
    all: bool,

    /// Only what was accepted longer ago than this.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    older_than: Option<Duration>,

    /// Only this tenant.
    #[arg(long, value_name = "TENANT", value_parser = Tenant::new)]
    tenant: Option<Tenant>,

    /// Only what the upstream proved otherwise than what is on record, in every state.
    #[arg(long)]
    contradicted: bool,

    /// How many at most.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,

    #[command(flatten)]
    form: Form,
}

fn states() -> impl TypedValueParser<Value = State> {
    PossibleValuesParser::new(State::ALL.map(State::as_str))
        .try_map(|word| State::parse(&word).ok_or("no such state"))
}

/// The answer to `list --json`.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    /// How many match; more than are listed where `--limit` cut them off.
    matching: u64,
    operations: Vec<view::Operation<'a>>,
}

impl List {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let now = super::now();
        let reader = SqliteReader::open(&self.at.file)?;
        let (found, matching) = reader.list(&self.wanted(now))?;
        self.tell(&found, matching, now, out)?;
        super::whole(&reader)
    }

    fn tell(
        &self,
        found: &[Record],
        matching: u64,
        now: Timestamp,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        if self.form.json {
            let operations = found.iter().map(|found| view::operation(found, now, false));
            let listed = Listed {
                matching,
                operations: operations.collect(),
            };
            return super::export::object(out, &listed);
        }
        if matching == 0 {
            let what = if self.is_usual() {
                "nothing is unsettled (--all lists what is settled too)"
            } else {
                "nothing matches"
            };
            writeln!(out, "{what}")?;
            return Ok(());
        }
        let rows: Vec<_> = found.iter().map(|record| row(record, now)).collect();
        if !rows.is_empty() {
            let head = ["ID", "STATE", "AGE", "DUE", "TENANT", "KEY"];
            table::write(out, "", head, &rows)?;
        }
        if found.iter().any(|record| record.state() == State::Parked) {
            writeln!(
                out,
                "parked: waits for you; `show ID` says why, then `resolve` or `retry`"
            )?;
        }
        if found.iter().any(|record| record.progress.contradicted) {
            writeln!(
                out,
                "! contradicted: the upstream proved otherwise; `show` says what"
            )?;
        }
        let listed = u64::try_from(found.len()).unwrap_or(u64::MAX);
        if matching > listed {
            writeln!(
                out,
                "{listed} of {matching}, oldest first; --limit shows more"
            )?;
        }
        Ok(())
    }

    fn is_usual(&self) -> bool {
        self.state.is_empty() && !self.all && !self.contradicted
    }

    fn wanted(&self, now: Timestamp) -> Wanted {
        let usual = self.is_usual();
        let unsettled = State::ALL.into_iter().filter(|state| !state.is_final());
        Wanted {
            states: if usual {
                unsettled.collect()
            } else {
                self.state.clone()
            },
            or_contradicted: usual,
            contradicted: self.contradicted,
            tenant: self.tenant.clone(),
            asked_by: self.older_than.map(|age| now.minus(age)),
            limit: self.limit,
        }
    }
}

/// Fits 100 columns.
fn row(record: &Record, now: Timestamp) -> [String; 6] {
    let mark = if record.progress.contradicted {
        "!"
    } else {
        ""
    };
    [
        record.id().to_string(),
        format!("{}{mark}", record.state()),
        span(now.since(record.asked.at)),
        record
            .progress
            .due
            .map_or_else(|| "-".to_owned(), |due| from_now(due, now)),
        cut(record.asked.tenant.as_str(), 16),
        cut(record.asked.key.as_str(), 20),
    ]
}
