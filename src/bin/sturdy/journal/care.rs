//! `sturdy journal adopt` and `purge`: what a file as a whole needs from a person.

use super::words::{parse_time, time};
use super::{At, Form, decide};
use crate::failure::Failure;
use serde::Serialize;
use std::io::Write;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::journal::record::signed;
use tower_sturdy::journal::sqlite::Adoption;
use tower_sturdy::journal::{Keep, Purge as _};

#[derive(Debug, clap::Args)]
pub(crate) struct Adopt {
    #[command(flatten)]
    at: At,

    #[command(flatten)]
    missed: Missed,

    #[command(flatten)]
    word: decide::Word,

    #[command(flatten)]
    form: Form,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Missed {
    /// Since then it may have missed something: for a copy that was restored, when the copy was made.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    missed_since: Option<Timestamp>,

    /// It missed nothing: whatever used it was stopped before it was moved or copied, and nothing ran on another copy.
    #[arg(long)]
    nothing_missed: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Purge {
    #[command(flatten)]
    at: At,

    /// Only what ended before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    before: Timestamp,

    #[command(flatten)]
    keep: Kept,

    #[command(flatten)]
    form: Form,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Kept {
    /// Keeps a tombstone of each: its key, its state and its times, without what was asked and answered.
    #[arg(long)]
    tombstones: bool,

    /// Keeps nothing. From then on only keys that say when they were made, later than what was deleted, are taken as new:
    /// callers must send dates with their keys.
    #[arg(long)]
    delete: bool,
}

/// The answer to `adopt --json`.
#[derive(Debug, Serialize)]
struct Adopted {
    /// How many operations are in doubt now.
    in_doubt: u64,
}

/// The answer to `purge --json`.
#[derive(Debug, Serialize)]
struct Purged {
    tombstones: u64,
    deleted: u64,
}

impl Adopt {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let (by, why) = signed(&self.word.by, &self.word.why)?;
        let (journal, runtime) = decide::open(&self.at.file)?;
        let now = super::now();
        if journal.quarantine().is_none() && self.missed.nothing_missed {
            return Err(Failure::refused(
                "the file is not in quarantine: it can be used as it is",
            ));
        }
        if let Some(since) = self.missed.missed_since.filter(|since| *since > now) {
            return Err(Failure::refused(format!(
                "{} is yet to come: say since when it may have missed something",
                time(since)
            )));
        }
        let adoption = Adoption::new(self.missed.missed_since, by, why);
        let adopted = runtime.block_on(journal.adopt(&adoption, now))?;
        let in_doubt = adopted.in_doubt;
        if self.form.json {
            return super::export::object(out, &Adopted { in_doubt });
        }
        writeln!(
            out,
            "The file is in use again; {in_doubt} operations are in doubt, and a service looks them up."
        )?;
        if self.missed.missed_since.is_some() {
            writeln!(
                out,
                "Until {} it refuses keys that are not on record and do not say when they were made.",
                time(now.plus(adoption.refuse_undated_for))
            )?;
        }
        writeln!(out, "Start the service that was stopped for this.")?;
        Ok(())
    }
}

impl Purge {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.before > super::now() {
            return Err(Failure::refused(format!(
                "{} is yet to come: name a time that is over",
                time(self.before)
            )));
        }
        let (journal, runtime) = decide::open(&self.at.file)?;
        let keep = if self.keep.delete {
            Keep::Nothing
        } else {
            Keep::Tombstones
        };
        let purged = runtime.block_on(journal.purge(self.before, keep))?;
        let (tombstones, deleted) = (purged.tombstones, purged.deleted);
        if self.form.json {
            let purged = Purged {
                tombstones,
                deleted,
            };
            return super::export::object(out, &purged);
        }
        match keep {
            Keep::Tombstones => writeln!(out, "{tombstones} operations are tombstones now.")?,
            Keep::Nothing => writeln!(
                out,
                "{deleted} operations are deleted, and {tombstones} are tombstones now."
            )?,
        }
        writeln!(
            out,
            "What is in doubt, contradicted, not acknowledged, or still looked up was left as it is."
        )?;
        Ok(())
    }
}
