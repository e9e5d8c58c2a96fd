//! The durable record of operations; also the work list of reconciliation.
//!
//! Deciding is pure: [`record`] is the state machine, [`may_send`] the one question before every byte, `settle` what
//! follows from doubt. A [`Journal`] only keeps records: it claims, replaces by compare-and-swap, and lists what is due.
//! [`Book`] is what the rooms share: the operations that this process works on, over a journal. A [`Shelf`](shelf::Shelf)
//! beside it keeps small values that no payment depends on.
//!
//! Every method of a journal may be dropped at any await: the change is then either whole or absent, and the next
//! `get` tells which.

mod book;
pub mod conformance;
pub mod faulty;
mod forget;
mod may_send;
mod memory;
mod moment;
pub mod record;
pub mod sealed;
mod settle;
pub mod shelf;
#[cfg(feature = "sqlite")]
pub mod sqlite;

pub use book::{Book, BookConfig, Live, Status, Told, told_of};
pub(crate) use book::{Entered, Hold, Joined, KeyOf, NotMade};
pub use faulty::FaultyJournal;
pub use forget::{Keep, Purge, Purged};
pub use may_send::{Withheld, may_send, still_may_leave};
pub use memory::MemoryJournal;
pub use moment::{Moment, Watch};
pub use record::{
    Asked, Attempt, CannotResolve, Capability, Concurrent, Fingerprint, Liveness, OwnerId,
    Progress, Record, State, StoredAnswer, StoredRequest,
};
pub use sealed::{Seal, SealedJournal};
pub use settle::{
    After, AfterTelling, Next, Observation, Proof, SettleConfig, after_look, after_telling,
    again_at, next,
};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteJournal;

use crate::clock::Timestamp;
use crate::context::{OperationId, OperationKey, Tenant};
use crate::error::BoxError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A boxed future that borrows what it works on.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What survives what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Gone with the process: for tests, or accepted by name.
    Volatile,
    /// What was acknowledged survives `kill -9` and power loss.
    CrashDurable,
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// The operation is ours.
    Claimed,
    /// The key is on record already.
    Existing(Box<Record>),
    /// Another operation with the same conflict key is unresolved.
    Conflict(Box<Record>),
    /// The key is not on record, but it may be older than what the journal has forgotten, so that it may have been used.
    Expired,
}

/// How a record is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'a> {
    /// By the operation's id.
    Id(OperationId),
    /// By the caller's key.
    Key {
        /// The namespace.
        namespace: &'a str,
        /// The tenant.
        tenant: &'a Tenant,
        /// The key.
        key: &'a OperationKey,
    },
}

/// Which records to list, soonest due first (those with nothing due last), then by id.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Only these states; empty for all.
    pub states: Vec<State>,
    /// Only this namespace.
    pub namespace: Option<Arc<str>>,
    /// Only this tenant.
    pub tenant: Option<Tenant>,
    /// Only what is due at or before this.
    pub due_by: Option<Timestamp>,
    /// How many at most.
    pub limit: usize,
    /// How many to skip.
    pub skip: usize,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            states: Vec::new(),
            namespace: None,
            tenant: None,
            due_by: None,
            limit: 100,
            skip: 0,
        }
    }
}

/// Why a journal did not do what it was asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum JournalError {
    /// Another step came first; the record as it is now.
    Conflict(Box<Record>),
    /// No such record: the journal lost it or never had it.
    Missing(OperationId),
    /// The step would begin an operation again while another one with the same conflict key is unresolved: that one.
    Contended(Box<Record>),
    /// The journal takes no changes until a person has said what may be missing in it: the message says why and how.
    Quarantined(Arc<str>),
    /// The store failed; whether the change was made is not known. Read it back.
    Unavailable(Arc<dyn std::error::Error + Send + Sync>),
}

impl JournalError {
    /// The store failed.
    #[must_use]
    pub fn unavailable(source: impl Into<BoxError>) -> Self {
        Self::Unavailable(Arc::from(source.into()))
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(current) => write!(
                f,
                "operation {} was changed by another step (now {})",
                current.id(),
                current.state()
            ),
            Self::Missing(id) => write!(f, "operation {id} is not on record"),
            Self::Contended(other) => write!(
                f,
                "operation {} about the same thing is unresolved (now {})",
                other.id(),
                other.state()
            ),
            Self::Quarantined(why) => f.write_str(why),
            Self::Unavailable(source) => write!(f, "the journal failed: {source}"),
        }
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unavailable(source) => Some(&**source),
            Self::Conflict(_) | Self::Missing(_) | Self::Contended(_) | Self::Quarantined(_) => {
                None
            }
        }
    }
}

/// Held by a running owner; while it is held, [`Journal::liveness`] says that the owner is alive.
pub type Enlisted = Box<dyn std::any::Any + Send + Sync>;

/// Keeps records. Five methods; everything is decided elsewhere. Three more have defaults, for what a store may know of
/// its users and of time.
pub trait Journal: Send + Sync + fmt::Debug + 'static {
    /// What an acknowledged change survives.
    fn durability(&self) -> Durability;

    /// Puts a new operation on record, unless its (namespace, tenant, key) is there already, or another operation of
    /// that (namespace, tenant) holds the same conflict key ([`Record::holds_conflict`]). Resolves once the claim is as
    /// durable as [`Journal::durability`] says. An id that another operation has is [`JournalError::Conflict`].
    fn claim<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, Result<Claim, JournalError>>;

    /// Replaces progress and answer of the record `next.id()`, if its version on record is `next.progress.version - 1`.
    /// What was asked never changes. Resolves once the step is durable. A step that takes the conflict key again while
    /// another operation holds it is [`JournalError::Contended`], and changes nothing.
    fn step<'a>(&'a self, next: &'a Record) -> BoxFuture<'a, Result<(), JournalError>>;

    /// One record.
    fn get<'a>(&'a self, which: Lookup<'a>) -> BoxFuture<'a, Result<Option<Record>, JournalError>>;

    /// Records by filter, soonest due first.
    fn list<'a>(&'a self, filter: &'a Filter) -> BoxFuture<'a, Result<Vec<Record>, JournalError>>;

    /// An owner starts; dropping what is returned, or the death of its process, ends it. Blocks on the disk for a moment
    /// at most. The default: the journal does not know its owners, and leases alone decide.
    ///
    /// # Errors
    /// When the owner cannot be made known to others.
    fn enlist(&self, owner: OwnerId) -> Result<Option<Enlisted>, JournalError> {
        let _ = owner;
        Ok(None)
    }

    /// Whether an owner still runs. What cannot be told, for whatever reason, is [`Liveness::Unknown`].
    fn liveness(&self, owner: OwnerId) -> BoxFuture<'_, Liveness> {
        let _ = owner;
        Box::pin(std::future::ready(Liveness::Unknown))
    }

    /// The latest time that the store has seen on record when it was opened; `None` where it does not know.
    fn high_water(&self) -> Option<Timestamp> {
        None
    }
}
