//! A journal in one SQLite file: what it acknowledged survives `kill -9` and power loss.
//!
//! # What it promises
//! - `claim` and `step` resolve after the commit that holds them was synced. Claims are exclusive between all handles
//!   and processes on the file: every change runs in an IMMEDIATE transaction, under the file's one write lock.
//! - Calls that wait at the same time share one commit (group commit), so the rate under load is not bound by the disk's
//!   sync time. One call's failure is not another's, unless the disk failed the commit that they share.
//! - The queue is bounded; when it is full, callers wait. The journal has no thread: work runs on the blocking pool of
//!   the runtime that calls it, and ends with the queue. A panic or a runtime that goes away leaves nobody waiting.
//! - Whether an owner is dead is asked of the operating system, not of a clock: each holds a lock until its process ends.
//! - A file that may not be the journal that it was is in quarantine: it can be read, and takes no changes until a person
//!   says since when it may have missed something ([`SqliteJournal::adopt`]).
//! - A used key is never taken as new, also after a purge and after an adoption ([`Claim::Expired`]).
//!
//! # What it does not do
//! It does not work on a network file system (WAL needs shared memory, owners need locks), and does not encrypt. SQLite
//! keeps no checksums: a damaged page is told where its form is broken, a flipped bit inside a value is not. A snapshot
//! of the whole machine that is put back brings the mirror back too, and a copy that is put back in place within a minute
//! of when it was made is not told apart: adopt the file then, though it is not in quarantine. A process of an older
//! version must not go on using a file that was brought up to date.
//! A purge frees pages for later operations and does not overwrite them.
//!
//! # The file
//! | setting | value | why |
//! |---|---|---|
//! | `application_id`, `user_version` | `0x73746479` ("stdy"), 2 | a foreign or newer file is refused before anything is written; an older one is brought up to date in one transaction |
//! | `journal_mode` | WAL, read back on open | one sync per commit; a reader stops no writer |
//! | `synchronous` | 2 (FULL), read back on open | with NORMAL a power loss would take back acknowledged commits |
//! | `fullfsync`, `checkpoint_fullfsync` | on | macOS reaches the disk only so; without effect elsewhere |
//! | `busy_timeout` | [`SqliteConfig::busy_timeout`] | another process may hold the write lock; a claim or step looks for it each millisecond, so that none is kept from it by one that writes without a pause |
//! | `wal_autocheckpoint` | 4000 pages | fewer checkpoints copy fewer pages; opening after a crash reads 16 MiB at most |
//! | `journal_size_limit` | 64 MiB | the log shrinks after a burst |
//! | `cell_size_check`, `trusted_schema` | on, off | a damaged page is told where it is read; names in the schema are never run |
//!
//! What lies beside it, readable by its owner only (0600, the directory 0700 on Unix):
//!
//! | file | what it is |
//! |---|---|
//! | `-wal`, `-shm` | SQLite's log and its index; a part of the journal until it is closed |
//! | `-incarnation` | the mirror: the journal's random name, how often it was raised, the file's inode. Raised with each opening for writing and each minute of writing, in the file first and here next. Whether the file is still in its place is asked with each change |
//! | `-lock` | held for milliseconds while the file is judged or raised |
//! | `-owners/` | one file per process, locked while that lives; swept on open |
//!
//! Points in time are milliseconds since the epoch; `owner` is the owner's 64 bits as a signed number. The table `meta`
//! holds what the file knows of itself, `adoption` who adopted it, when and why.
//!
//! # Backing up and restoring
//! Back it up while it runs with `sqlite3 FILE ".backup COPY"`, not by copying one of the files, and leave out what lies
//! beside it. To restore: stop the service, put the copy in the place of the file, remove `-wal` and `-shm`, and leave
//! `-incarnation` as it is. The file then opens in quarantine, and `sturdy journal adopt FILE --missed-since TIME`, with
//! the time of the backup, takes it into use: whatever is not settled is in doubt, for it may have been sent since; keys
//! made before the adoption that are not on record are refused, and so are keys that do not say when they were made, for a
//! day ([`Adoption::refuse_undated_for`]). A file that was moved as a whole while nothing ran has missed nothing:
//! `--nothing-missed`.
//!
//! # Purging
//! [`Purge::purge`] forgets what ended before a time, is acknowledged, and has no check due, some hundred rows at a time,
//! beside a running service. [`Keep::Tombstones`] keeps key, fingerprint, state, id and times; [`Keep::Nothing`] deletes
//! the rows and remembers when the newest of their keys was made.
//!
//! # Cancel safety
//! A future that is dropped before its job has a place in the queue did nothing; dropped later, the job is done whole.
//!
//! # Errors
//! [`JournalError::Unavailable`] after a failed commit (a full disk, a lock held longer than `busy_timeout`): read the
//! operation back. The journal goes on working once the cause is gone. Reads stand in the same queue, behind what was
//! asked before them: they see it, and share its transaction and its failure. Methods must be awaited inside a tokio
//! runtime. A large body is written again by each step of its operation; keep attachments elsewhere.
//!
//! A row that is no record (it was changed by hand, or is damaged inside) is told by whatever names that operation, and
//! nothing of it is sent. Listings leave it out, so that the others are settled; it is told to the log once, and
//! [`SqliteJournal::unreadable`] names it. More than a thousand in one listing are no single bad row: the listing fails.
//!
//! Dropping the last clone closes the file: SQLite then copies the log into it, which blocks for some milliseconds.
//!
//! # Example
//! ```
//! use tower_sturdy::journal::{Durability, Filter, Journal, SqliteJournal};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("payments.journal");
//! let journal = SqliteJournal::open(&path)?;
//! assert_eq!(journal.durability(), Durability::CrashDurable);
//! assert!(journal.list(&Filter::default()).await?.is_empty());
//! # Ok(())
//! # }
//! ```

mod adopt;
mod beside;
mod codec;
mod config;
mod error;
mod identity;
mod keeper;
mod meta;
mod open;
mod owners;
mod purge;
mod reader;
mod schema;
mod store;
mod writer;

pub use adopt::{Adopted, Adoption, PastAdoption};
pub use config::SqliteConfig;
pub use error::{OpenError, WhyNot};
pub use identity::{Doubt, Quarantine};
pub use reader::{Held, SqliteReader, Stats, Wanted};

use super::{
    BoxFuture, Claim, Durability, Enlisted, Filter, Journal, JournalError, Keep, Liveness, Lookup,
    OwnerId, Purge, Purged, Record,
};
use crate::clock::Timestamp;
use crate::context::OperationId;
use owners::Owners;
use purge::Part;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use writer::{Reply, Work, Writer};

/// See the [module](self). Clones share the connection and the queue.
#[derive(Clone)]
pub struct SqliteJournal {
    path: Arc<Path>,
    owners: Arc<Owners>,
    busy_timeout: Duration,
    writer: Arc<Writer>,
}

impl fmt::Debug for SqliteJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteJournal")
            .field("path", &self.path)
            .field("commits", &self.commits())
            .finish_non_exhaustive()
    }
}

impl SqliteJournal {
    /// Opens the file, or makes it, with the default settings.
    ///
    /// Blocks on the disk (some milliseconds; up to `busy_timeout` while another process locks the file): call it while
    /// starting up, or on a blocking thread.
    ///
    /// # Errors
    /// When the file is not ours, cannot be written, is locked, or would not be durable; the message says what to do.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(&SqliteConfig::new(path.as_ref()))
    }

    /// Opens the file, or makes it. Blocks like [`SqliteJournal::open`].
    ///
    /// # Errors
    /// The same, and [`WhyNot::Setting`] for a setting that cannot work.
    pub fn open_with(config: &SqliteConfig) -> Result<Self, OpenError> {
        let opened = open::open(config)?;
        Ok(Self {
            owners: Arc::new(opened.owners),
            path: Arc::from(opened.path),
            busy_timeout: config.busy_timeout,
            writer: Arc::new(
                Writer::new(opened.connection, config.queue, config.batch)
                    .kept(opened.keeper, config.busy_timeout),
            ),
        })
    }

    /// The file, as an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many transactions with changes this handle has committed; fewer than its changes, where they came together.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    /// Operations that a listing met and could not read, less those that were read since; a thousand at most. They are
    /// not in listings, and nothing of them is sent: watch that this is empty.
    #[must_use]
    pub fn unreadable(&self) -> Vec<OperationId> {
        self.writer.unreadable()
    }

    /// Why the file takes no changes, while it does not: it may have missed something. Reading goes on.
    #[must_use]
    pub fn quarantine(&self) -> Option<Arc<Quarantine>> {
        self.writer.keeper()?.quarantine()
    }

    /// Takes a file into use that may have missed something, on a person's word, in one transaction. What is not settled
    /// is in doubt then, and due; keys that may have been used unseen are refused; who said so is on record. Stop
    /// whatever else uses the file first.
    ///
    /// Once it is polled, it runs to its end.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`] when nothing is to be adopted, or the file or what lies beside it cannot be written.
    pub async fn adopt(
        &self,
        adoption: &Adoption,
        now: Timestamp,
    ) -> Result<Adopted, JournalError> {
        let (adoption, limit) = (adoption.clone(), self.busy_timeout);
        let adopt = move |db: &_, keeper: &_| adopt::adopt(db, keeper, &adoption, now, limit);
        self.writer.alone(adopt).await
    }

    /// Every adoption of this file, first to last.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`] when the file cannot be read.
    pub async fn adoptions(&self) -> Result<Vec<PastAdoption>, JournalError> {
        match self.writer.submit(Work::Adoptions).await? {
            Reply::Adoptions(past) => Ok(past),
            _ => Err(mixed_up()),
        }
    }

    async fn find(&self, work: Work) -> Result<Option<Record>, JournalError> {
        match self.writer.submit(work).await? {
            Reply::Found(found) => Ok(found.map(|record| *record)),
            _ => Err(mixed_up()),
        }
    }
}

/// Every kind of work has its own kind of reply; another is a bug, told rather than panicked about.
fn mixed_up() -> JournalError {
    JournalError::unavailable("the journal's writer mixed up its replies: please report this bug")
}

impl Journal for SqliteJournal {
    fn durability(&self) -> Durability {
        Durability::CrashDurable
    }

    fn claim<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, Result<Claim, JournalError>> {
        Box::pin(async move {
            let row = codec::new_row(record).map_err(JournalError::unavailable)?;
            match self.writer.submit(Work::Claim(Box::new(row))).await? {
                Reply::Claim(claim) => Ok(claim),
                _ => Err(mixed_up()),
            }
        })
    }

    fn step<'a>(&'a self, next: &'a Record) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            let row = codec::changing_row(next).map_err(JournalError::unavailable)?;
            match self.writer.submit(Work::Step(Box::new(row))).await? {
                Reply::Stepped => Ok(()),
                _ => Err(mixed_up()),
            }
        })
    }

    fn get<'a>(&'a self, which: Lookup<'a>) -> BoxFuture<'a, Result<Option<Record>, JournalError>> {
        Box::pin(self.find(match which {
            Lookup::Id(id) => Work::Id(id),
            Lookup::Key {
                namespace,
                tenant,
                key,
            } => Work::Key(namespace.to_owned(), tenant.clone(), key.clone()),
        }))
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> BoxFuture<'a, Result<Vec<Record>, JournalError>> {
        Box::pin(async move {
            match self.writer.submit(Work::List(filter.clone())).await? {
                Reply::Listed(listed) => Ok(listed),
                _ => Err(mixed_up()),
            }
        })
    }

    fn enlist(&self, owner: OwnerId) -> Result<Option<Enlisted>, JournalError> {
        match self.owners.enlist(owner) {
            Ok(held) => Ok(Some(Box::new(held))),
            Err(error) => Err(JournalError::unavailable(error)),
        }
    }

    fn liveness(&self, owner: OwnerId) -> BoxFuture<'_, Liveness> {
        Box::pin(async move { self.owners.liveness(owner) })
    }

    fn high_water(&self) -> Option<Timestamp> {
        self.writer.keeper()?.at_open()
    }
}

impl Purge for SqliteJournal {
    fn purge(&self, before: Timestamp, keep: Keep) -> BoxFuture<'_, Result<Purged, JournalError>> {
        Box::pin(async move {
            let mut all = Purged::default();
            let mut next = Some(i64::MIN);
            while let Some(after) = next {
                let part = Part {
                    after,
                    before,
                    keep,
                };
                let Reply::Purged(purged, following) =
                    self.writer.submit(Work::Purge(part)).await?
                else {
                    return Err(mixed_up());
                };
                all.tombstones += purged.tombstones;
                all.deleted += purged.deleted;
                next = following;
            }
            Ok(all)
        })
    }
}
