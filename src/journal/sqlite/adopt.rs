//! A person says since when a file may have missed something, and it is taken into use again.

use super::codec::changing_row;
use super::keeper::Keeper;
use super::store::{self, Failure};
use super::{meta, store::forgotten};
use crate::clock::Timestamp;
use crate::context::OperationId;
use crate::journal::JournalError;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use std::fmt;
use std::time::Duration;

/// What a person says about a file that may have missed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// Since when operations may have been taken and sent that the file does not know of: for a restored copy, when the
    /// copy was made. `None`: nothing was missed; whatever used the file was stopped, and the file moved whole.
    pub missed_since: Option<Timestamp>,
    /// Who says so.
    pub by: String,
    /// On what grounds.
    pub why: String,
    /// How long from now what was sent and is not on record may still land.
    pub settle_window: Duration,
    /// For how long from now a key is refused that does not say when it was made and is not on record; and a write for
    /// which a key is made of the request.
    pub refuse_undated_for: Duration,
}

impl Adoption {
    /// With the default times.
    #[must_use]
    pub fn new(
        missed_since: Option<Timestamp>,
        by: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self {
            missed_since,
            by: by.into(),
            why: why.into(),
            settle_window: crate::journal::SettleConfig::default().settle_window,
            // Callers are expected to have given up, or to have been told, within a day.
            refuse_undated_for: Duration::from_secs(86_400),
        }
    }
}

/// What an adoption did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// How many operations are in doubt now: each may have been sent without a record of it.
    pub in_doubt: u64,
}

/// An adoption on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastAdoption {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// On what grounds.
    pub why: String,
    /// Why the file was in quarantine ([`Doubt::as_str`](super::Doubt::as_str)); empty if it was not.
    pub quarantine: String,
    /// Since when something may have been missed.
    pub missed_since: Option<Timestamp>,
    /// How many operations were put in doubt.
    pub in_doubt: u64,
}

/// Why a file was not adopted. Nothing was changed.
#[derive(Debug)]
struct NotAdopted(&'static str);

impl fmt::Display for NotAdopted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the journal was not adopted: {}", self.0)
    }
}

impl std::error::Error for NotAdopted {}

fn refused(why: &'static str) -> JournalError {
    JournalError::unavailable(NotAdopted(why))
}

pub(super) fn adopt(
    db: &Connection,
    keeper: &Keeper,
    adoption: &Adoption,
    now: Timestamp,
    limit: Duration,
) -> Result<Adopted, JournalError> {
    if adoption.by.is_empty() || adoption.why.is_empty() {
        return Err(refused("say who adopts it, and why"));
    }
    // A clock that is behind what the file has seen would leave a part of the gap open.
    let now = keeper.at_open().map_or(now, |seen| seen.max(now));
    let locked = keeper.neighbours().lock(limit);
    let Some(_locked) = locked.map_err(JournalError::unavailable)? else {
        return Err(refused(
            "another process judges it at this moment; try again",
        ));
    };
    let failed = |failure: Failure| JournalError::unavailable(failure);
    let begun = Transaction::new_unchecked(db, TransactionBehavior::Immediate);
    let transaction = begun.map_err(|error| failed(error.into()))?;
    let doubt = keeper
        .doubted(&transaction)
        .map_err(JournalError::unavailable)?;
    if doubt.is_none() && adoption.missed_since.is_none() {
        return Err(refused(
            "it is not in quarantine; only if it missed something nevertheless, say since when",
        ));
    }
    let adopted = write(
        &transaction,
        adoption,
        doubt.map_or("", |doubt| doubt.as_str()),
        now,
    );
    let adopted = adopted.map_err(failed)?;
    let identity = keeper
        .renew(&transaction)
        .map_err(JournalError::unavailable)?;
    transaction.commit().map_err(|error| failed(error.into()))?;
    // Should this fail, the file stays in quarantine, and adopting it again does no harm.
    keeper
        .adopted(identity)
        .map_err(JournalError::unavailable)?;
    Ok(adopted)
}

fn write(
    db: &Connection,
    adoption: &Adoption,
    quarantine: &str,
    now: Timestamp,
) -> Result<Adopted, Failure> {
    let mut adopted = Adopted::default();
    if let Some(since) = adoption.missed_since {
        let since = since.min(now);
        for id in unsettled(db)? {
            adopted.in_doubt += u64::from(put_in_doubt(db, id, since, now, adoption)?);
        }
        let mut forgotten = forgotten(db)?;
        forgotten.miss(now, adoption.refuse_undated_for);
        meta::put_json(db, meta::FORGOTTEN, &forgotten)?;
    }
    db.execute(
        "INSERT INTO adoption (at, by, why, quarantine, missed_since, in_doubt) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            now.as_millis().cast_signed(),
            adoption.by,
            adoption.why,
            quarantine,
            adoption.missed_since.map(|at| at.as_millis().cast_signed()),
            adopted.in_doubt.cast_signed(),
        ],
    )?;
    Ok(adopted)
}

fn unsettled(db: &Connection) -> Result<Vec<OperationId>, Failure> {
    let mut statement = db.prepare(
        "SELECT id FROM operation WHERE state NOT IN ('completed', 'rejected', 'parked')",
    )?;
    let ids = statement.query_map([], |row| {
        let id: [u8; 16] = row.get(0)?;
        Ok(OperationId::from_bits(u128::from_be_bytes(id)))
    })?;
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}

fn put_in_doubt(
    db: &Connection,
    id: OperationId,
    since: Timestamp,
    now: Timestamp,
    adoption: &Adoption,
) -> Result<bool, Failure> {
    let Some(mut record) = store::by_id(db, id)? else {
        return Ok(false);
    };
    if !record.doubt_gap(since, now, adoption.settle_window) {
        return Ok(false);
    }
    record.progress.version += 1;
    let mut row = changing_row(&record).map_err(|unfit| Failure::Unreadable(id, unfit))?;
    // Whatever else is about the same thing: each of them may have been sent.
    row.holds = false;
    match store::step(db, &row)? {
        Ok(()) => Ok(true),
        Err(_) => Err(Failure::Unexplained(id)),
    }
}

pub(super) fn adoptions(db: &Connection) -> Result<Vec<PastAdoption>, Failure> {
    let mut statement = db.prepare(
        "SELECT at, by, why, quarantine, missed_since, in_doubt FROM adoption ORDER BY rowid",
    )?;
    let past = statement.query_map([], |row| {
        let time = |at: i64| Timestamp::from_millis(at.cast_unsigned());
        Ok(PastAdoption {
            at: time(row.get(0)?),
            by: row.get(1)?,
            why: row.get(2)?,
            quarantine: row.get(3)?,
            missed_since: row.get::<_, Option<i64>>(4)?.map(time),
            in_doubt: row.get::<_, i64>(5)?.cast_unsigned(),
        })
    })?;
    Ok(past.collect::<rusqlite::Result<_>>()?)
}
