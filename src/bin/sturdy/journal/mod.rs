//! `sturdy journal`: what people do with the operations in a journal file, beside a running service or without one.
//!
//! What only reads opens the file for reading: it changes none, and takes nothing over. What changes an
//! operation is one compare-and-swap step of the journal, tried again a few times when a running service came first.

mod care;
mod decide;
mod export;
mod list;
mod show;
mod stats;
mod table;
mod view;
pub(crate) mod words;

use crate::failure::Failure;
use clap::{Args, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::journal::sqlite::SqliteReader;

#[derive(Debug, Subcommand)]
#[command(
    after_help = "Times are RFC 3339 (2026-11-23T14:11:05Z), durations such as 90s, 2h or 3d.\n\
    Bodies, header values and queries are hidden unless asked for with --bodies.\n\n\
    Exit codes: 0 done; 1 refused, or nothing of that name; 2 a mistake in an argument;\n\
    3 the file could not be opened, read or written."
)]
pub(crate) enum Command {
    /// Lists operations, oldest first: those that are not settled, unless told otherwise.
    List(list::List),
    /// Shows one operation: what was asked, every attempt, and who did what when.
    Show(show::Show),
    /// Says how an operation in doubt ended. Ask the upstream first: this program cannot look anything up.
    Resolve(decide::Resolve),
    /// Takes an operation out of the worker's hands: nothing is sent any more, look-ups go on and may complete it.
    Park(decide::Decide),
    /// Has an operation tried again: looked up at once, and sent again only where that cannot repeat it.
    Retry(decide::Decide),
    /// Counts: by state, what is due and for how long, what is contradicted, how large the file is.
    Stats(stats::Stats),
    /// Writes every operation as one line of JSON, in no order of time.
    Export(export::Export),
    /// Takes a file into use again that is in quarantine: a copy that was restored, or a file that was moved.
    ///
    /// Stop whatever uses it first. What is not settled is in doubt then and looked up; what is final stays.
    Adopt(care::Adopt),
    /// Forgets what is over: settled, acknowledged, and looked up no more.
    Purge(care::Purge),
}

/// The file.
#[derive(Debug, Args)]
pub(crate) struct At {
    /// The journal: the SQLite file that your service opens. It must be there; none is made.
    file: PathBuf,
}

/// How what was found is written.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Form {
    /// Writes JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Whether what is business data is shown.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Bodies {
    /// Shows bodies, header values and queries. They are business data.
    #[arg(long = "bodies")]
    shown: bool,
}

/// Does it, and prints what came of it.
pub(crate) fn run(command: &Command, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        Command::List(list) => list.run(out),
        Command::Show(show) => show.run(out),
        Command::Resolve(resolve) => resolve.run(out),
        Command::Park(decide) => decide.park(out),
        Command::Retry(decide) => decide.retry(out),
        Command::Stats(stats) => stats.run(out),
        Command::Export(export) => export.run(out),
        Command::Adopt(adopt) => adopt.run(out),
        Command::Purge(purge) => purge.run(out),
    }
}

/// What was left out because it cannot be read is told once the rest is.
fn whole(reader: &SqliteReader) -> Result<(), Failure> {
    // More are no single bad rows, and a person looks at the file.
    const NAMED: usize = 10;
    let left_out = reader.unreadable();
    let named = left_out.iter().take(NAMED);
    let named: Vec<String> = named.map(|(id, why)| format!("{id} ({why})")).collect();
    match left_out.len() {
        0 => Ok(()),
        many => Err(Failure::Journal(
            format!(
                "{many} operations cannot be read and were left out: {}{}",
                named.join(", "),
                if many > NAMED { ", and more" } else { "" }
            )
            .into(),
        )),
    }
}

/// Now, by this machine's clock.
fn now() -> Timestamp {
    Clock::system().wall()
}
