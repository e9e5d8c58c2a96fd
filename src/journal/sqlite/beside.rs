//! What lies beside a journal file: its mirror, and the lock under which both are raised.
//!
//! The mirror is written after the file, under the lock, and never the other way round; so at any instant, also that of
//! a crash, it is the file's equal or one behind.

use super::identity::{Beside, Mirror};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The files beside one journal.
#[derive(Debug)]
pub(super) struct Neighbours {
    journal: PathBuf,
}

/// Nobody else raises or judges the file while this is held.
#[derive(Debug)]
pub(super) struct Locked(#[allow(dead_code, reason = "its lock is what counts")] File);

pub(super) fn named(journal: &Path, ending: &str) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

impl Neighbours {
    /// Those of the journal at `path`, in its canonical form.
    pub(super) fn of(path: PathBuf) -> Self {
        Self { journal: path }
    }

    pub(super) fn journal(&self) -> &Path {
        &self.journal
    }

    /// The file's number on its file system.
    pub(super) fn inode(&self) -> io::Result<Option<u64>> {
        let metadata = fs::metadata(&self.journal)?;
        #[cfg(unix)]
        let inode = Some(std::os::unix::fs::MetadataExt::ino(&metadata));
        #[cfg(not(unix))]
        let inode = {
            drop(metadata);
            None
        };
        Ok(inode)
    }

    /// Makes a file that is not there, for whoever the journal belongs to: a person who looks after it as root must not
    /// keep its service out. SQLite does the same with the log.
    fn make(&self, name: &Path) -> io::Result<File> {
        let file = private().create_new(true).open(name)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt, fchown};
            let (journal, made) = (fs::metadata(&self.journal)?, file.metadata()?);
            let of = |file: &fs::Metadata| (file.uid(), file.gid());
            if of(&journal) != of(&made) {
                // Only root may, and only root has to.
                let _ = fchown(&file, Some(journal.uid()), Some(journal.gid()));
            }
        }
        Ok(file)
    }

    /// Takes the lock if it is free.
    pub(super) fn try_lock(&self) -> io::Result<Option<Locked>> {
        let name = named(&self.journal, "-lock");
        let file = match self.make(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => private().open(&name)?,
            made => made?,
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Locked(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits for the lock for about `limit`; it is held for milliseconds. Blocks.
    pub(super) fn lock(&self, limit: Duration) -> io::Result<Option<Locked>> {
        const STEP: Duration = Duration::from_millis(5);
        let mut left = limit;
        loop {
            match self.try_lock()? {
                None if !left.is_zero() => {
                    std::thread::park_timeout(STEP);
                    left = left.saturating_sub(STEP);
                }
                taken => return Ok(taken),
            }
        }
    }

    pub(super) fn mirror(&self) -> io::Result<Beside> {
        match fs::read(named(&self.journal, "-incarnation")) {
            Ok(bytes) => {
                Ok(serde_json::from_slice(&bytes).map_or(Beside::Unreadable, Beside::Mirror))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Beside::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Replaces the mirror as a whole; on disk when this returns.
    pub(super) fn write(&self, mirror: &Mirror) -> io::Result<()> {
        let name = named(&self.journal, "-incarnation");
        // One name is enough: only who holds the lock writes.
        let making = named(&self.journal, "-incarnation.making");
        // What a crash left of it, or a link that somebody laid there: neither is written into.
        let _ = fs::remove_file(&making);
        let mut file = self.make(&making)?;
        let mut text = serde_json::to_vec(mirror)?;
        text.push(b'\n');
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&making, &name)?;
        // The new name is durable once its directory is; elsewhere than on Unix a directory cannot be synced.
        #[cfg(unix)]
        if let Some(directory) = self.journal.parent() {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }
}
