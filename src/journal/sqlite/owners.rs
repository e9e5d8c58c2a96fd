//! Which owners still run: each holds a lock of the operating system on a file of its own, for as long as it lives.
//!
//! The lock ends with its process, however that ends, and no clock is asked. So a free lock says that nothing of that owner
//! runs any more, a taken one that it is alive, and a file that is not there says nothing.

use crate::journal::{Liveness, OwnerId};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Of names that are not in place yet: nobody asks for these.
const MAKING: &str = "making";

/// The files of the owners beside one journal.
#[derive(Debug)]
pub(super) struct Owners {
    directory: PathBuf,
}

/// An owner's lock; dropped, the owner is dead.
#[derive(Debug)]
pub(super) struct Held(#[allow(dead_code, reason = "its lock is what counts")] File);

/// Why an owner could not be made known.
#[derive(Debug)]
pub(super) struct Unknown {
    directory: PathBuf,
    source: io::Error,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (directory, source) = (self.directory.display(), &self.source);
        write!(
            f,
            "cannot tell other processes that this one runs, by a locked file in {directory}: {source}; give its user \
             write permission there, on a local file system"
        )
    }
}

impl std::error::Error for Unknown {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl Owners {
    /// Those of the journal at `path`, which no other path of it may differ from.
    pub(super) fn beside(path: &Path) -> Self {
        let mut name = path.as_os_str().to_owned();
        name.push("-owners");
        Self {
            directory: name.into(),
        }
    }

    /// Makes an owner known, as alive from the first moment.
    pub(super) fn enlist(&self, owner: OwnerId) -> Result<Held, Unknown> {
        // Whoever opens the journal at this moment may take the file for one that a dead process left.
        const TRIES: u32 = 8;
        let mut result = Err(io::Error::from(io::ErrorKind::NotFound));
        for attempt in 0..TRIES {
            result = self.try_enlist(owner, attempt);
            match &result {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::WouldBlock
                    ) => {}
                _ => break,
            }
        }
        result.map_err(|source| Unknown {
            directory: self.directory.clone(),
            source,
        })
    }

    fn try_enlist(&self, owner: OwnerId, attempt: u32) -> io::Result<Held> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.directory)?;
        let name = self.name(owner);
        let making = name.with_extension(format!("{MAKING}{attempt}"));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&making)?;
        file.try_lock()?;
        fs::rename(&making, &name)?;
        Ok(Held(file))
    }

    fn name(&self, owner: OwnerId) -> PathBuf {
        self.directory.join(format!("{:016x}", owner.0))
    }

    /// Whether an owner runs.
    pub(super) fn liveness(&self, owner: OwnerId) -> Liveness {
        let Ok(file) = File::open(self.name(owner)) else {
            return Liveness::Unknown;
        };
        // Shared, so that two who ask at once do not take each other for the owner.
        match file.try_lock_shared() {
            Ok(()) => Liveness::Dead,
            Err(TryLockError::WouldBlock) => Liveness::Alive,
            Err(TryLockError::Error(_)) => Liveness::Unknown,
        }
    }

    /// Removes what dead owners left that have nothing in hand. Whatever goes wrong, a file more or less does not matter.
    pub(super) fn sweep(&self, working: &BTreeSet<OwnerId>) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let (owner, making) = match name.split_once('.') {
                Some((owner, rest)) if rest.starts_with(MAKING) => (owner, true),
                _ => (name, false),
            };
            let Ok(owner) = u64::from_str_radix(owner, 16) else {
                continue;
            };
            if !making && working.contains(&OwnerId(owner)) {
                continue;
            }
            let Ok(file) = OpenOptions::new().read(true).write(true).open(entry.path()) else {
                continue;
            };
            if file.try_lock().is_ok() {
                // Removed under its lock: whoever holds it at this moment is nobody.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Owners) {
        let directory = tempfile::tempdir().unwrap();
        let owners = Owners::beside(&directory.path().join("journal"));
        (directory, owners)
    }

    fn names(owners: &Owners) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&owners.directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_owner_is_alive_while_its_lock_is_held_and_dead_after_it() {
        let (_directory, owners) = place();
        assert_eq!(owners.liveness(OwnerId(1)), Liveness::Unknown);
        let held = owners.enlist(OwnerId(1)).unwrap();
        let other = owners.enlist(OwnerId(u64::MAX)).unwrap();
        for _ in 0..3 {
            assert_eq!(owners.liveness(OwnerId(1)), Liveness::Alive);
            assert_eq!(owners.liveness(OwnerId(u64::MAX)), Liveness::Alive);
        }
        drop(held);
        assert_eq!(owners.liveness(OwnerId(1)), Liveness::Dead);
        assert_eq!(owners.liveness(OwnerId(u64::MAX)), Liveness::Alive);
        assert_eq!(owners.liveness(OwnerId(2)), Liveness::Unknown);
        drop(other);
    }

    #[test]
    fn two_who_ask_at_once_do_not_take_each_other_for_the_owner() {
        let (_directory, owners) = place();
        drop(owners.enlist(OwnerId(1)).unwrap());
        let asking = File::open(owners.name(OwnerId(1))).unwrap();
        asking.try_lock_shared().unwrap();
        assert_eq!(owners.liveness(OwnerId(1)), Liveness::Dead);
    }

    #[test]
    fn a_sweep_removes_what_dead_owners_left_who_have_nothing_in_hand() {
        let (_directory, owners) = place();
        let alive = owners.enlist(OwnerId(1)).unwrap();
        drop(owners.enlist(OwnerId(2)).unwrap());
        drop(owners.enlist(OwnerId(3)).unwrap());
        // One that died between making its file and putting it in place, and one that is about to.
        fs::write(owners.directory.join(format!("{:016x}.{MAKING}0", 4)), "").unwrap();
        let making = owners.directory.join(format!("{:016x}.{MAKING}0", 5));
        let making = File::create(making).unwrap();
        making.try_lock().unwrap();
        fs::write(owners.directory.join("notes.txt"), "").unwrap();
        owners.sweep(&BTreeSet::from([OwnerId(3)]));
        let left = [
            format!("{:016x}", 1),
            format!("{:016x}", 3),
            format!("{:016x}.{MAKING}0", 5),
            "notes.txt".to_owned(),
        ];
        assert_eq!(names(&owners), left);
        drop((alive, making));
    }

    #[test]
    fn nobody_sees_an_owner_before_it_is_locked() {
        let (_directory, owners) = place();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for owner in 0..500 {
                    std::mem::forget(owners.enlist(OwnerId(owner)).unwrap());
                }
            });
            for owner in 0..500 {
                let mut seen = Liveness::Unknown;
                while seen == Liveness::Unknown {
                    seen = owners.liveness(OwnerId(owner));
                    std::thread::yield_now();
                }
                assert_eq!(seen, Liveness::Alive, "{owner}");
            }
        });
    }

    #[cfg(unix)]
    #[test]
    fn only_its_user_can_look_at_the_files() {
        use std::os::unix::fs::PermissionsExt;
        let (_directory, owners) = place();
        let _held = owners.enlist(OwnerId(1)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&owners.directory), 0o700);
        assert_eq!(mode(&owners.name(OwnerId(1))), 0o600);
    }

    #[test]
    fn where_no_directory_can_be_made_the_error_says_what_to_do() {
        let (directory, owners) = place();
        fs::write(directory.path().join("journal-owners"), "").unwrap();
        let error = owners.enlist(OwnerId(1)).unwrap_err().to_string();
        assert!(
            error.contains("journal-owners") && error.contains("write permission"),
            "{error}"
        );
    }
}
