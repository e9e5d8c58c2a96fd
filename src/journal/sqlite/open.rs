//! Opening a journal file: nothing is written before the file is known to be ours, and nothing is believed about
//! durability that was not read back.

use super::SqliteConfig;
use super::schema::{APPLICATION_ID, CREATE, VERSION};
use crate::error::{BoxError, InvalidConfig};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Why a journal file was not opened; the message says what to do. Nothing was changed in a file that is not ours.
#[derive(Clone, Debug)]
pub struct OpenError {
    path: PathBuf,
    why: WhyNot,
}

/// The kinds of [`OpenError`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WhyNot {
    /// A setting cannot work.
    Setting(InvalidConfig),
    /// The directory does not exist.
    NoDirectory,
    /// The path is a directory, or another thing that is no file.
    NoFile,
    /// The file or its directory may not be written by this process.
    ReadOnly,
    /// The file is something else: no SQLite database, or another application's.
    Foreign(String),
    /// The file was written by a newer version of this crate, in this format.
    Newer(i32),
    /// Another process holds the file locked.
    Locked,
    /// The file system or the build of SQLite does not give what durability needs.
    NotDurable(String),
    /// Anything else.
    Failed(Arc<dyn std::error::Error + Send + Sync>),
}

impl OpenError {
    /// The file, as an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why it was not opened.
    #[must_use]
    pub const fn why(&self) -> &WhyNot {
        &self.why
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot open the journal {}: ", self.path.display())?;
        match &self.why {
            WhyNot::Setting(invalid) => write!(f, "{invalid}"),
            WhyNot::NoDirectory => f.write_str("its directory does not exist; create it first"),
            WhyNot::NoFile => f.write_str("it is a directory; name a file in it"),
            WhyNot::ReadOnly => f.write_str(
                "this process may not write it; give its user write permission on the file and on the directory (SQLite keeps two more files beside it)",
            ),
            WhyNot::Foreign(found) => {
                write!(f, "it is not a journal but {found}; nothing was changed; name another path")
            }
            WhyNot::Newer(found) => write!(
                f,
                "its format is {found}, and this version knows {VERSION} at most; use the version that wrote it, or a newer one"
            ),
            WhyNot::Locked => f.write_str(
                "another process holds it locked; end that process (a backup, an open SQLite shell), or wait and try again",
            ),
            WhyNot::NotDurable(what) => write!(
                f,
                "{what}, so what it acknowledges would not survive a crash; put it on a local file system"
            ),
            WhyNot::Failed(source) => write!(f, "{source}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.why {
            WhyNot::Setting(invalid) => Some(invalid),
            WhyNot::Failed(source) => Some(&**source),
            _ => None,
        }
    }
}

impl WhyNot {
    fn failed(source: impl Into<BoxError>) -> Self {
        Self::Failed(Arc::from(source.into()))
    }
}

impl From<rusqlite::Error> for WhyNot {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign("no SQLite database".to_owned()),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                Self::ReadOnly
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            _ => Self::failed(error),
        }
    }
}

impl From<io::Error> for WhyNot {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NoDirectory,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            _ => Self::failed(error),
        }
    }
}

/// One at a time in this process: closing the handle that made a file would drop the locks that another connection
/// of the same process holds on it (POSIX locks belong to the process).
static OPENING: Mutex<()> = Mutex::new(());

/// Opens or makes the file that `config` names.
pub(super) fn open(config: &SqliteConfig) -> Result<(Connection, PathBuf), OpenError> {
    let _alone = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    // Absolute, so that SQLite's names for things that are no files (":memory:", "") mean files here.
    let path = std::path::absolute(&config.path).unwrap_or_else(|_| config.path.clone());
    match config
        .check()
        .map_err(WhyNot::Setting)
        .and_then(|()| open_at(&path, config))
    {
        Ok(connection) => Ok((connection, path)),
        Err(why) => Err(OpenError { path, why }),
    }
}

fn open_at(path: &Path, config: &SqliteConfig) -> Result<Connection, WhyNot> {
    if path.is_dir() {
        return Err(WhyNot::NoFile);
    }
    make(path)?;
    not_a_stub(path)?;
    // One thread at a time uses the connection, under a lock of ours.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(config.busy_timeout)?;
    let fresh = recognise(&connection)?;
    if connection.is_readonly("main")? {
        return Err(WhyNot::ReadOnly);
    }
    make_durable(&connection)?;
    if fresh {
        create(&connection)?;
    }
    Ok(connection)
}

/// SQLite takes a file that is too short for a header for an empty one, and would write over it.
fn not_a_stub(path: &Path) -> Result<(), WhyNot> {
    // The smallest page of any SQLite file is 512 bytes.
    match std::fs::metadata(path)?.len() {
        1..512 => Err(WhyNot::Foreign("no SQLite database".to_owned())),
        _ => Ok(()),
    }
}

/// Makes an empty file that only its owner may read, unless there is one. SQLite gives the files that it keeps beside
/// it the same permissions.
fn make(path: &Path) -> Result<(), WhyNot> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

/// Whether the file is empty; an error if it is not ours.
fn recognise(connection: &Connection) -> Result<bool, WhyNot> {
    let application = number(connection, "application_id")?;
    let version = number(connection, "user_version")?;
    if application == APPLICATION_ID {
        return match version {
            VERSION => Ok(false),
            newer if newer > VERSION => Err(WhyNot::Newer(newer)),
            unknown => Err(WhyNot::Foreign(format!(
                "a journal of the format {unknown}, which never was"
            ))),
        };
    }
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(true);
    }
    Err(WhyNot::Foreign(format!(
        "an SQLite database of another application (application_id {application}, {tables} tables and indexes)"
    )))
}

fn make_durable(connection: &Connection) -> Result<(), WhyNot> {
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(WhyNot::NotDurable(format!(
            "its journal_mode is {mode:?} instead of \"wal\""
        )));
    }
    // 2 is FULL: every commit is synced before it is acknowledged.
    connection.pragma_update(None, "synchronous", 2)?;
    let synchronous = number(connection, "synchronous")?;
    if synchronous != 2 {
        return Err(WhyNot::NotDurable(format!(
            "its synchronous setting reads {synchronous} instead of 2 (FULL)"
        )));
    }
    // Only macOS knows these two: there an fsync alone does not reach the disk.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    // In pages of 4 KiB; the default is 1000. Claims have random ids, so one page of an index is written by many: waiting
    // for 16 MiB of log copies it once for all of them (measured here: a third more claims a second, 64 at once).
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 4_000, |_| Ok(()))?;
    // After a burst the log shrinks back to this at a checkpoint: 64 MiB, four times where checkpoints begin.
    connection.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
    // Names in the file's schema are never run as code, whoever wrote it.
    connection.pragma_update(None, "trusted_schema", false)?;
    // The SQL of this module: a dozen statements, and a few more for the filters of listings.
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Makes the table, unless another process did so meanwhile.
fn create(connection: &Connection) -> Result<(), WhyNot> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    if recognise(&transaction)? {
        transaction.execute_batch(CREATE)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: i32) -> WhyNot {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None).into()
    }

    #[test]
    fn what_may_not_be_written_is_told_as_such() {
        for code in [
            rusqlite::ffi::SQLITE_READONLY,
            rusqlite::ffi::SQLITE_READONLY_DIRECTORY,
            rusqlite::ffi::SQLITE_PERM,
            rusqlite::ffi::SQLITE_CANTOPEN,
        ] {
            assert!(matches!(told(code), WhyNot::ReadOnly), "{code}");
        }
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(matches!(WhyNot::from(denied), WhyNot::ReadOnly));
    }

    #[test]
    fn a_lock_is_told_as_such() {
        for code in [
            rusqlite::ffi::SQLITE_BUSY,
            rusqlite::ffi::SQLITE_BUSY_RECOVERY,
            rusqlite::ffi::SQLITE_LOCKED,
        ] {
            assert!(matches!(told(code), WhyNot::Locked), "{code}");
        }
    }
}
