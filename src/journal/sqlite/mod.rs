//! A journal in one SQLite file: what it acknowledged survives `kill -9` and power loss.
//!
//! # What it promises
//! - `claim` and `step` resolve after the commit that holds them was synced. Claims are exclusive between all handles
//!   and processes on the file: every change runs in an IMMEDIATE transaction, and unique indexes decide.
//! - Calls that wait at the same time share one commit (group commit), so the rate under load is not bound by the disk's
//!   sync time. One call's failure is not another's, unless the disk failed the commit that they share.
//! - The queue is bounded; when it is full, callers wait. The journal has no thread: work runs on the blocking pool of
//!   the runtime that calls it, and ends with the queue. A panic or a runtime that goes away leaves nobody waiting.
//!
//! # What it does not do
//! It does not work on a network file system (WAL needs shared memory), does not encrypt, and deletes nothing. It cannot
//! know that the file was replaced by an older copy.
//!
//! # The file
//! | setting | value | why |
//! |---|---|---|
//! | `application_id`, `user_version` | `0x73746479` ("stdy"), 1 | a foreign or newer file is refused before anything is written |
//! | `journal_mode` | WAL, read back on open | one sync per commit; a reader stops no writer |
//! | `synchronous` | 2 (FULL), read back on open | with NORMAL a power loss would take back acknowledged commits |
//! | `fullfsync`, `checkpoint_fullfsync` | on | macOS reaches the disk only so; without effect elsewhere |
//! | `busy_timeout` | [`SqliteConfig::busy_timeout`] | another process may hold the write lock |
//! | `wal_autocheckpoint` | 4000 pages | fewer checkpoints copy fewer pages; opening after a crash reads 16 MiB at most |
//! | `journal_size_limit` | 64 MiB | the log shrinks after a burst |
//!
//! A new file can be read by its owner only (0600 on Unix), and SQLite keeps `-wal` and `-shm` beside it: back it up with
//! `sqlite3 FILE ".backup COPY"`, not by copying one of the three. Points in time are milliseconds since the epoch;
//! `owner` is the owner's 64 bits as a signed number.
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
mod schema;
mod store;
mod writer;

pub use adopt::{Adopted, Adoption, PastAdoption};
pub use config::SqliteConfig;
pub use error::{OpenError, WhyNot};
pub use identity::{Doubt, Quarantine};

use super::{
    BoxFuture, Claim, Durability, Enlisted, Filter, Journal, JournalError, Keep, Liveness, Lookup,
    OwnerId, Purge, Purged, Record,
};
use crate::clock::Timestamp;
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
                Writer::new(opened.connection, config.queue, config.batch).kept(opened.keeper),
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
