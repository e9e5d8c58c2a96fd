//! `sturdy journal export`, and JSON in general.

use super::words::parse_time;
use super::{At, Bodies, view};
use crate::failure::Failure;
use serde::Serialize;
use std::io::Write;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::journal::sqlite::SqliteReader;

#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    #[command(flatten)]
    at: At,

    /// Only what was accepted at this time or later.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<Timestamp>,

    #[command(flatten)]
    bodies: Bodies,
}

impl Export {
    /// A page at a time, each a short transaction: however slowly the lines are read, the service is not held up. What it
    /// changes meanwhile is exported as it was or as it is.
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let reader = SqliteReader::open(&self.at.file)?;
        let since = self.since.unwrap_or_default();
        let mut after = None;
        loop {
            let page = reader.page(after, since)?;
            let Some(last) = page.last() else {
                return super::whole(&reader);
            };
            after = Some(last.id());
            let now = super::now();
            for record in &page {
                line(out, &view::operation(record, now, self.bodies.shown))?;
            }
        }
    }
}

fn line(out: &mut dyn Write, value: &impl Serialize) -> Result<(), Failure> {
    serde_json::to_writer(&mut *out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// One JSON object, for people to read too.
pub(crate) fn object(out: &mut dyn Write, value: &impl Serialize) -> Result<(), Failure> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}
