//! How a journal file is opened.

use crate::error::InvalidConfig;
use std::path::PathBuf;
use std::time::Duration;

/// How a file is opened. Plain data; checked by [`SqliteJournal::open_with`](super::SqliteJournal::open_with).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteConfig {
    /// The file.
    pub path: PathBuf,
    /// How long to wait for the write lock of another process.
    pub busy_timeout: Duration,
    /// How many calls may wait for their commit; more wait before they are taken.
    pub queue: usize,
    /// How many calls share one commit at most.
    pub batch: usize,
    /// Whose operations the file holds ("prod/runway"): written into the file by the first to name one, and compared
    /// whenever it is opened with one. No secrets: it is shown in messages.
    pub environment: Option<String>,
}

impl SqliteConfig {
    /// The default settings for a file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            // Longer than any commit of another process on a healthy disk, shorter than people wait.
            busy_timeout: Duration::from_secs(5),
            // Some tenths of a second of work at the budgeted 20,000 operations a second.
            queue: 4_096,
            // A commit of this many took below 20 ms on the machine that the budgets were measured on.
            batch: 256,
            environment: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        // What fits SQLite's milliseconds by far, and nobody means to wait longer for a lock.
        const LONGEST: Duration = Duration::from_secs(3_600);
        // A semaphore of tokio counts so far.
        const MOST: usize = usize::MAX >> 3;
        if self.busy_timeout > LONGEST {
            return Err(InvalidConfig::new(
                "busy_timeout",
                format!("is {:?}: at most an hour; 5 s is usual", self.busy_timeout),
            ));
        }
        if self.environment.as_deref() == Some("") {
            return Err(InvalidConfig::new(
                "environment",
                "is empty: leave it out, or name it (\"prod/runway\")",
            ));
        }
        for (field, count) in [("queue", self.queue), ("batch", self.batch)] {
            if count == 0 || count > MOST {
                return Err(InvalidConfig::new(
                    field,
                    format!("is {count}: at least 1 call must fit; some hundreds are usual"),
                ));
            }
        }
        Ok(())
    }
}
