//! `sturdy journal stats`.

use super::words::{from_now, size, span, time};
use super::{At, Form, table};
use crate::failure::Failure;
use serde::Serialize;
use std::io::Write;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::journal::State;
use tower_sturdy::journal::sqlite::{self, Held, Quarantine, SqliteReader};

#[derive(Debug, clap::Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    at: At,

    #[command(flatten)]
    form: Form,
}

/// The answer to `stats --json`.
#[derive(Debug, Serialize)]
struct Counted {
    /// Every state, also those that nothing is in.
    states: Vec<InState>,
    /// When the oldest operation that is not settled was accepted.
    oldest_unresolved: Option<String>,
    due: u64,
    /// For how long the one that waits longest is due.
    lag_ms: Option<u128>,
    parked: u64,
    contradicted: u64,
    file_bytes: u64,
    log_bytes: u64,
    /// Why the file takes no changes until a person adopts it.
    quarantine: Option<InQuarantine>,
}

#[derive(Debug, Serialize)]
struct InQuarantine {
    doubt: &'static str,
    /// The last that the file knows of.
    known_until: Option<String>,
}

#[derive(Debug, Serialize)]
struct InState {
    state: &'static str,
    count: u64,
    oldest: Option<String>,
}

fn counted(found: &sqlite::Stats, quarantine: Option<&Quarantine>, now: Timestamp) -> Counted {
    let held = |state: State| found.by_state.get(&state);
    Counted {
        states: State::ALL
            .map(|state| InState {
                state: state.as_str(),
                count: held(state).map_or(0, |held| held.count),
                oldest: held(state).map(|held| time(held.oldest)),
            })
            .into(),
        oldest_unresolved: oldest_unresolved(found).map(time),
        due: found.due,
        lag_ms: found
            .soonest_due
            .filter(|due| *due <= now)
            .map(|due| now.since(due).as_millis()),
        parked: held(State::Parked).map_or(0, |held| held.count),
        contradicted: found.contradicted,
        file_bytes: found.file_bytes,
        log_bytes: found.log_bytes,
        quarantine: quarantine.map(|quarantine| InQuarantine {
            doubt: quarantine.doubt().as_str(),
            known_until: quarantine.known_until().map(time),
        }),
    }
}

fn oldest_unresolved(found: &sqlite::Stats) -> Option<Timestamp> {
    let unresolved = found.by_state.iter().filter(|(state, _)| !state.is_final());
    unresolved.map(|(_, held)| held.oldest).min()
}

fn unsettled(found: &sqlite::Stats, now: Timestamp) -> String {
    let of = found.by_state.iter().filter(|(state, _)| !state.is_final());
    let count: u64 = of.map(|(_, held)| held.count).sum();
    match oldest_unresolved(found) {
        Some(oldest) => format!("{count}, the oldest since {}", span(now.since(oldest))),
        None => "none".to_owned(),
    }
}

impl Stats {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let now = super::now();
        let reader = SqliteReader::open(&self.at.file)?;
        let found = reader.stats(now)?;
        let quarantine = reader.quarantine()?;
        if self.form.json {
            return super::export::object(out, &counted(&found, quarantine.as_ref(), now));
        }
        let row = |(state, held): (&State, &Held)| {
            let age = span(now.since(held.oldest));
            [state.to_string(), held.count.to_string(), age]
        };
        let rows: Vec<_> = found.by_state.iter().map(row).collect();
        if rows.is_empty() {
            writeln!(out, "no operation is on record")?;
        } else {
            table::write(out, "", ["STATE", "COUNT", "OLDEST"], &rows)?;
        }
        let lag = match found.soonest_due {
            Some(due) if due <= now => format!("{}, the first {}", found.due, from_now(due, now)),
            Some(due) => format!("none; the next {}", from_now(due, now)),
            None => "none".to_owned(),
        };
        writeln!(out)?;
        writeln!(out, "unsettled     {}", unsettled(&found, now))?;
        writeln!(out, "due           {lag}")?;
        writeln!(out, "contradicted  {}", found.contradicted)?;
        writeln!(
            out,
            "file          {}, and a log of {}",
            size(found.file_bytes),
            size(found.log_bytes)
        )?;
        if let Some(quarantine) = quarantine {
            writeln!(out, "\n{quarantine}")?;
        }
        Ok(())
    }
}
