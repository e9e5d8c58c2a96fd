//! `sturdy journal resolve`, `park` and `retry`: one compare-and-swap step each.

use super::words::{parse_id, time};
use super::{At, Form, view};
use crate::failure::Failure;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tower_sturdy::clock::Clock;
use tower_sturdy::context::OperationId;
use tower_sturdy::journal::sqlite::SqliteReader;
use tower_sturdy::journal::{
    CannotResolve, Journal, JournalError, Lookup, Moment, Record, SqliteJournal, State,
};

/// How often a step is tried when a running service came first, and the wait between two tries. A check of the service
/// makes a few steps, each within some milliseconds, then none for seconds.
const TRIES: u32 = 10;
const WAIT: Duration = Duration::from_millis(100);

/// Who decides, and why: kept in the history of the operation for ever.
#[derive(Debug, clap::Args)]
pub(crate) struct Word {
    /// Who decides: your name.
    #[arg(long, value_name = "WHO")]
    pub(super) by: String,

    /// Why: what you know, and from where.
    #[arg(long, value_name = "WHY")]
    pub(super) why: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Resolve {
    #[command(flatten)]
    at: At,

    /// The operation's id.
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: OperationId,

    #[command(flatten)]
    end: End,

    #[command(flatten)]
    word: Word,

    /// Decides although what was sent may still take effect.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    form: Form,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct End {
    /// It took effect upstream.
    #[arg(long)]
    applied: bool,

    /// It did not, and never will.
    #[arg(long)]
    not_applied: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Decide {
    #[command(flatten)]
    at: At,

    /// The operation's id.
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: OperationId,

    #[command(flatten)]
    word: Word,

    #[command(flatten)]
    form: Form,
}

impl Resolve {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let Word { by, why } = &self.word;
        let record = step(&self.at.file, self.id, |record, now| {
            record.resolve(now, self.end.applied, by, why, self.force)
        })?;
        let next = "A running service tells the local record, and goes on looking it up; what it proves otherwise is told as contradicted.";
        tell(out, &record, self.form, next)
    }
}

impl Decide {
    pub(crate) fn park(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let Word { by, why } = &self.word;
        let record = step(&self.at.file, self.id, |record, now| {
            record.park(now, by, why)
        })?;
        let next = "Nothing is sent any more; a running service goes on looking it up. `resolve` ends it, `retry` undoes this.";
        tell(out, &record, self.form, next)
    }

    pub(crate) fn retry(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let Word { by, why } = &self.word;
        let record = step(&self.at.file, self.id, |record, now| {
            record.retry(now, by, why)
        })?;
        let next = match record.state() {
            State::Ready => "A running service sends it within its poll (30 s by default).",
            _ => {
                "A running service looks it up within its poll (30 s by default), and sends it again only where that cannot repeat it."
            }
        };
        tell(out, &record, self.form, next)
    }
}

/// Opens a journal that is there, to change it.
pub(super) fn open(file: &Path) -> Result<(SqliteJournal, Runtime), Failure> {
    // The journal itself would make a file that is not there.
    drop(SqliteReader::open(file)?);
    let journal = SqliteJournal::open(file)?;
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| Failure::Journal(error.into()))?;
    Ok((journal, runtime))
}

/// Reads the record, changes it, and writes it if nobody came first.
fn step(
    file: &Path,
    id: OperationId,
    change: impl Fn(&mut Record, Moment) -> Result<(), CannotResolve>,
) -> Result<Record, Failure> {
    let (journal, runtime) = open(file)?;
    let clock = Clock::system();
    runtime.block_on(async {
        for tried in 1.. {
            let found = journal.get(Lookup::Id(id)).await?;
            let mut record = found.ok_or(JournalError::Missing(id))?;
            change(&mut record, Moment::sure(clock.wall()))?;
            record.progress.version += 1;
            match journal.step(&record).await {
                Ok(()) => return Ok(record),
                Err(JournalError::Conflict(_)) if tried < TRIES => {}
                Err(error) => return Err(error.into()),
            }
            clock.sleep(WAIT).await;
        }
        Err(Failure::refused("it was tried for too long"))
    })
}

fn tell(out: &mut dyn Write, record: &Record, form: Form, next: &str) -> Result<(), Failure> {
    let now = super::now();
    if form.json {
        return super::export::object(out, &view::operation(record, now, false));
    }
    let (id, state) = (record.id(), record.state());
    match record.progress.history.last() {
        Some(step) if step.from == step.to => {
            writeln!(out, "{id} is {state} and due now ({}).", time(step.at))?;
        }
        Some(step) => writeln!(
            out,
            "{id} is {state} now, and was {} ({}).",
            step.from,
            time(step.at)
        )?,
        None => writeln!(out, "{id} is {state}.")?,
    }
    writeln!(out, "{next}")?;
    Ok(())
}
