//! Where the journal files of these tests lie.

use crate::sample::unwrap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tower_sturdy::journal::sqlite::SqliteConfig;
use tower_sturdy::journal::{Claim, Journal, Record, SqliteJournal};

pub(crate) fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("payments.journal");
    (directory, path)
}

pub(crate) fn impatient(path: &Path) -> SqliteConfig {
    SqliteConfig {
        busy_timeout: Duration::from_millis(20),
        ..SqliteConfig::new(path)
    }
}

pub(crate) async fn claim(journal: &SqliteJournal, record: &Record) -> Claim {
    unwrap(journal.claim(record).await)
}
