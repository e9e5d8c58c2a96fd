//! How the program fails: what is told, and the exit code.

use crate::journal::words::plain;
use std::error::Error;
use std::io;
use std::process::ExitCode;
use tower_sturdy::journal::sqlite::OpenError;
use tower_sturdy::journal::{CannotResolve, JournalError};

/// Why the program did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was understood and refused, or there is nothing of that name.
    Refused(String),
    /// It cannot be done as it was asked.
    Usage(Box<dyn Error>),
    /// The journal could not be opened, read or written.
    Journal(Box<dyn Error>),
    /// Whoever read the output has seen enough.
    Closed,
}

impl Failure {
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }

    /// Says why on standard error.
    pub(crate) fn tell(&self) -> ExitCode {
        let (code, error): (u8, &dyn Error) = match self {
            Self::Closed => return ExitCode::SUCCESS,
            Self::Refused(why) => {
                eprintln!("refused: {why}");
                return ExitCode::from(1);
            }
            Self::Usage(error) => (2, &**error),
            Self::Journal(error) => (3, &**error),
        };
        // What is in the file may be in the message.
        let shown = |text: &str| match self {
            Self::Journal(_) => plain(text),
            _ => text.to_owned(),
        };
        eprintln!("error: {}", shown(&error.to_string()));
        let mut cause = error.source();
        let mut said = error.to_string();
        while let Some(why) = cause {
            let text = why.to_string();
            // Many errors repeat their cause.
            if !said.contains(&text) {
                eprintln!("  because: {}", shown(&text));
            }
            said = text;
            cause = why.source();
        }
        ExitCode::from(code)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Usage(format!("the output could not be written: {error}").into()),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::Journal(Box::new(error))
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Contended(other) => Self::refused(format!(
                "operation {} about the same thing is {}: settle that one first",
                other.id(),
                other.state()
            )),
            JournalError::Missing(id) => Self::refused(format!("operation {id} is not on record")),
            JournalError::Conflict(_) => Self::refused(
                "a running service changes it again and again; nothing was changed: try again in a moment",
            ),
            JournalError::Quarantined(why) => Self::refused(why.to_string()),
            other => Self::Journal(Box::new(other)),
        }
    }
}

impl From<CannotResolve> for Failure {
    fn from(why: CannotResolve) -> Self {
        Self::Refused(crate::journal::words::refusal(&why))
    }
}

impl From<tower_sturdy::scenario::ScenarioError> for Failure {
    fn from(error: tower_sturdy::scenario::ScenarioError) -> Self {
        Self::Usage(Box::new(error))
    }
}
