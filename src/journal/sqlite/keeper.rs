//! Keeps the file's incarnations: judges it when it is opened and while it is written, raises it, and remembers whether it
//! is in quarantine.

use super::beside::{Locked, Neighbours};
use super::identity::{Beside, Identity, Mirror, Quarantine, judge, judge_running};
use super::{meta, store};
use crate::clock::{Clock, Instant, Timestamp};
use crate::error::BoxError;
use crate::random::Random;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a file that is written is raised: a copy of it is told apart once this much was written after it.
const EVERY: Duration = Duration::from_secs(60);
/// How often a file in quarantine is judged again: another process may have adopted it.
const AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Seen {
    /// The last that this process raised or saw.
    identity: Identity,
    raised: Instant,
    quarantine: Option<Arc<Quarantine>>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Keeper {
    neighbours: Neighbours,
    clock: Clock,
    random: Random,
    seen: Mutex<Seen>,
    /// The latest time that the file had seen when it was opened.
    at_open: Option<Timestamp>,
    /// The latest that was written since.
    latest: AtomicU64,
}

/// A raising that is in the file's transaction, and must be in the mirror after it.
pub(super) struct Raise<'a> {
    keeper: &'a Keeper,
    identity: Identity,
    _locked: Locked,
}

pub(super) fn identity(db: &Connection) -> rusqlite::Result<Identity> {
    Ok(Identity {
        journal: meta::text(db, meta::JOURNAL)?,
        incarnation: meta::number(db, meta::INCARNATION)?.unwrap_or(0),
        inode: meta::number(db, meta::INODE)?,
    })
}

fn mirror_of(identity: &Identity) -> Mirror {
    Mirror {
        journal: identity.journal.clone().unwrap_or_default(),
        incarnation: identity.incarnation,
        inode: identity.inode,
    }
}

impl Keeper {
    /// Judges the file, and raises it unless it is in quarantine. The lock is held meanwhile.
    pub(super) fn start(
        neighbours: Neighbours,
        db: &Connection,
        _locked: &Locked,
    ) -> Result<Self, BoxError> {
        let clock = Clock::system();
        let high = meta::number(db, meta::HIGH_WATER)?.map(Timestamp::from_millis);
        let keeper = Self {
            at_open: high.max(store::last_asked(db)?),
            seen: Mutex::new(Seen {
                identity: identity(db)?,
                raised: clock.now(),
                quarantine: None,
            }),
            neighbours,
            clock,
            random: Random::system(),
            latest: AtomicU64::new(0),
        };
        let inode = keeper.neighbours.inode()?;
        let file = identity(db)?;
        let beside = keeper.neighbours.mirror()?;
        match judge(&file, &beside, inode) {
            Ok(()) => {
                // The last raising did not reach the mirror: made up for first, or the next would leave it two behind.
                let mirror = mirror_of(&file);
                if file.incarnation > 0 && beside != Beside::Mirror(mirror.clone()) {
                    keeper.neighbours.write(&mirror)?;
                }
                let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
                let raised = keeper.put(&transaction, &file, file.incarnation + 1, inode)?;
                transaction.commit()?;
                keeper.neighbours.write(&mirror_of(&raised))?;
                keeper.lock().identity = raised;
            }
            Err(doubt) => {
                keeper.lock().quarantine = Some(keeper.quarantined(doubt));
            }
        }
        Ok(keeper)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file's number now; no file's, if it is gone from its place while it is open.
    fn inode(&self) -> Option<u64> {
        match self.neighbours.inode() {
            Ok(inode) => inode,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(0),
            Err(_) => None,
        }
    }

    fn quarantined(&self, doubt: super::Doubt) -> Arc<Quarantine> {
        let quarantine = Quarantine::new(self.neighbours.journal(), doubt, self.at_open);
        tracing::error!(target: "tower_sturdy", "{quarantine}");
        Arc::new(quarantine)
    }

    pub(super) fn quarantine(&self) -> Option<Arc<Quarantine>> {
        self.lock().quarantine.clone()
    }

    pub(super) const fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }

    pub(super) const fn at_open(&self) -> Option<Timestamp> {
        self.at_open
    }

    /// A record that knows of this time is on record.
    pub(super) fn saw(&self, latest: u64) {
        self.latest.fetch_max(latest, Ordering::Relaxed);
    }

    /// Writes into the file that it is raised.
    fn put(
        &self,
        db: &Connection,
        file: &Identity,
        incarnation: u64,
        inode: Option<u64>,
    ) -> rusqlite::Result<Identity> {
        let new = || format!("{:032x}", self.random.id());
        let raised = Identity {
            journal: Some(file.journal.clone().unwrap_or_else(new)),
            incarnation,
            inode: inode.or(file.inode),
        };
        meta::put(db, meta::JOURNAL, &raised.journal)?;
        meta::put(db, meta::INCARNATION, &incarnation.cast_signed())?;
        if let Some(inode) = raised.inode {
            meta::put(db, meta::INODE, &inode.cast_signed())?;
        }
        let seen = Timestamp::from_millis(self.latest.load(Ordering::Relaxed)).max(
            meta::number(db, meta::HIGH_WATER)?
                .map_or(Timestamp::default(), Timestamp::from_millis),
        );
        let high = self.at_open.map_or(seen, |at_open| at_open.max(seen));
        if high > Timestamp::default() {
            meta::put(db, meta::HIGH_WATER, &high.as_millis().cast_signed())?;
        }
        Ok(raised)
    }

    /// Judges and raises the file inside the caller's transaction, if it is time to and nobody else does. Whether it is
    /// still in its place is asked each time.
    ///
    /// # Errors
    /// When the file cannot be read or written; what cannot be done beside it is tried again later.
    pub(super) fn raise(&self, db: &Connection) -> rusqlite::Result<Option<Raise<'_>>> {
        let now = self.clock.now();
        let inode = self.inode();
        let mut seen = self.lock();
        if seen.quarantine.is_none() && seen.identity.moved(inode) {
            // What is written from now on is in a file that nobody will open again.
            seen.quarantine = Some(self.quarantined(super::Doubt::Copied));
            seen.raised = now;
            return Ok(None);
        }
        let wait = if seen.quarantine.is_some() {
            AGAIN
        } else {
            EVERY
        };
        if now.saturating_duration_since(seen.raised) < wait {
            return Ok(None);
        }
        let Ok(Some(locked)) = self.neighbours.try_lock() else {
            return Ok(None);
        };
        let Ok(beside) = self.neighbours.mirror() else {
            return Ok(None);
        };
        seen.raised = now;
        let file = identity(db)?;
        let judged = match seen.quarantine {
            Some(_) => judge(&file, &beside, inode),
            None => judge_running(&seen.identity, &file, &beside, inode),
        };
        match judged {
            Ok(()) => seen.quarantine = None,
            Err(_) if seen.quarantine.is_some() => return Ok(None),
            Err(doubt) => {
                seen.quarantine = Some(self.quarantined(doubt));
                return Ok(None);
            }
        }
        // While the mirror cannot be written, the file stays one ahead of it.
        let behind = beside != Beside::Mirror(mirror_of(&file));
        let next = file.incarnation + u64::from(!behind);
        let identity = self.put(db, &file, next, inode)?;
        Ok(Some(Raise {
            keeper: self,
            identity,
            _locked: locked,
        }))
    }

    /// The file was adopted as it is now: raises it above whatever it or its mirror was. The lock is held, and
    /// [`Keeper::adopted`] follows the commit.
    pub(super) fn renew(&self, db: &Connection) -> Result<Identity, BoxError> {
        let file = identity(db)?;
        let mirrored = match self.neighbours.mirror()? {
            Beside::Mirror(mirror) => mirror.incarnation,
            _ => 0,
        };
        let next = file.incarnation.max(mirrored) + 1;
        Ok(self.put(db, &file, next, self.neighbours.inode()?)?)
    }

    /// What was adopted is durable.
    pub(super) fn adopted(&self, identity: Identity) -> Result<(), BoxError> {
        self.neighbours.write(&mirror_of(&identity))?;
        let mut seen = self.lock();
        seen.raised = self.clock.now();
        seen.identity = identity;
        seen.quarantine = None;
        Ok(())
    }

    /// Judges the file as it is, without a change.
    pub(super) fn doubted(&self, db: &Connection) -> Result<Option<super::Doubt>, BoxError> {
        let inode = self.neighbours.inode()?;
        Ok(judge(&identity(db)?, &self.neighbours.mirror()?, inode).err())
    }
}

impl Raise<'_> {
    /// The transaction is durable.
    pub(super) fn mirror(self) {
        if let Err(error) = self.keeper.neighbours.write(&mirror_of(&self.identity)) {
            let file = self.keeper.neighbours.journal().display();
            tracing::warn!(target: "tower_sturdy", %error, "the mirror of the journal {file} could not be written; trying again in a minute");
        }
        self.keeper.lock().identity = self.identity;
    }
}
