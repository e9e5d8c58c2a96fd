//! Why a journal file was not opened, and what to do about it.

use super::schema::VERSION;
use crate::error::{BoxError, InvalidConfig};
use rusqlite::ErrorCode;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a journal file was not opened; the message says what to do. Nothing was changed in a file that is not ours.
#[derive(Clone, Debug)]
pub struct OpenError {
    pub(super) path: PathBuf,
    pub(super) why: WhyNot,
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
    /// The file belongs to another environment than the settings say.
    Environment {
        /// The one that the file was made for.
        found: String,
        /// The one that the settings name.
        wanted: String,
    },
    /// There is no file, or an empty one, but a log of one: this. It may hold what was acknowledged.
    LogAlone(PathBuf),
    /// The file is a journal and cannot be read as a whole.
    Damaged(String),
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
            WhyNot::Environment { found, wanted } => write!(
                f,
                "it belongs to the environment {found:?}, and the settings say {wanted:?}; name the file of {wanted:?}, or correct `environment`"
            ),
            WhyNot::LogAlone(log) => write!(
                f,
                "it is not there, or empty, and its log {} is: opening would delete that, and with it operations that may be nowhere else; put the file back beside it, or, if the file is lost, move the log away and restore a backup",
                log.display()
            ),
            WhyNot::Damaged(how) => write!(
                f,
                "it is damaged ({how}); nothing was changed; copy it aside with all files beside it, then restore a backup and adopt it with `sturdy journal adopt`"
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
    pub(super) fn failed(source: impl Into<BoxError>) -> Self {
        Self::Failed(Arc::from(source.into()))
    }

    /// An error of SQLite or of the system, as what it is.
    pub(super) fn of(source: BoxError) -> Self {
        match source.downcast::<rusqlite::Error>() {
            Ok(error) => Self::from(*error),
            Err(source) => match source.downcast::<io::Error>() {
                Ok(error) => Self::from(*error),
                Err(source) => Self::failed(source),
            },
        }
    }
}

impl From<rusqlite::Error> for WhyNot {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign("no SQLite database".to_owned()),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                Self::ReadOnly
            }
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged(error.to_string()),
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
