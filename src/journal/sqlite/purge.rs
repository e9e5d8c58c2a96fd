//! Forgets what is over, some hundred rows at a time, so that whoever works beside it waits for milliseconds.

use super::codec;
use super::meta;
use super::store::{self, Failure, forgotten};
use crate::clock::Timestamp;
use crate::journal::forget::{Fate, fate};
use crate::journal::{Keep, Purged, Record};
use rusqlite::{Connection, params};

/// How many rows one transaction looks at: as many as calls share a commit by default.
const ROWS: i64 = 256;

/// One part of a purge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// The rows behind this one.
    pub(super) after: i64,
    pub(super) before: Timestamp,
    pub(super) keep: Keep,
}

/// Purges the next rows; also tells where the following part begins, if there is one.
pub(super) fn purge(db: &Connection, part: Part) -> Result<(Purged, Option<i64>), Failure> {
    let mut purged = Purged::default();
    let rows = next_rows(db, part)?;
    let last = rows.last().map(|(row, _)| *row);
    let mut forgets = None;
    for (row, candidate) in rows {
        if !candidate {
            continue;
        }
        // A row that cannot be read is left to whoever mends it.
        let Ok(Some(record)) = store::by_row(db, row) else {
            continue;
        };
        match fate(&record, part.before, part.keep) {
            Fate::Stays => {}
            Fate::Tombstone(left) => {
                entomb(db, &left)?;
                purged.tombstones += 1;
            }
            Fate::Deleted => {
                if forgets.is_none() {
                    forgets = Some(forgotten(db)?);
                }
                if let Some(forgets) = &mut forgets {
                    forgets.delete(&record);
                }
                db.prepare_cached("DELETE FROM operation WHERE rowid = ?1")?
                    .execute([row])?;
                purged.deleted += 1;
            }
        }
    }
    if let Some(forgets) = forgets {
        meta::put_json(db, meta::FORGOTTEN, &forgets)?;
    }
    Ok((purged, last))
}

/// The next rows, and which of them may be over; nothing of their bodies is read.
fn next_rows(db: &Connection, part: Part) -> Result<Vec<(i64, bool)>, Failure> {
    let mut statement = db.prepare_cached(
        "SELECT rowid, state IN ('completed', 'rejected') AND due IS NULL AND asked_at < ?2 \
         FROM operation WHERE rowid > ?1 ORDER BY rowid LIMIT ?3",
    )?;
    let before = codec::sortable(part.before);
    let rows = statement.query_map(params![part.after, before, ROWS], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn entomb(db: &Connection, left: &Record) -> Result<(), Failure> {
    let id = left.id();
    let row = codec::changing_row(left).map_err(|unfit| Failure::Unreadable(id, unfit))?;
    db.prepare_cached(
        "UPDATE operation SET uri = ?2, headers = '[]', body = x'', version = ?3, progress = ?4, \
         answer_status = NULL, answer_headers = NULL, answer_body = NULL WHERE id = ?1",
    )?
    .execute(params![
        &codec::id_bytes(id)[..],
        left.asked.request.uri.to_string(),
        row.version.cast_signed(),
        row.progress,
    ])?;
    Ok(())
}
