//! The file's format: its mark, its version, and the steps from one version to the next.
//!
//! A new file is made by the same steps that bring an old one up to date, so that all files are alike.

use rusqlite::Connection;

/// `PRAGMA application_id` of our files: "stdy" in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x7374_6479;

/// `PRAGMA user_version` of the files that this code writes.
pub(super) const VERSION: i32 = 2;

/// From nothing to format 1. Only the columns from `state` to `answer_headers`, and `answer_body`, are ever updated.
///
/// The bodies stand last: what a comparison or an index needs of a row is on its first page.
const TO_1: &str = "
CREATE TABLE operation (
    id             BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    namespace      TEXT    NOT NULL,
    tenant         TEXT    NOT NULL,
    key            TEXT    NOT NULL,
    conflict       TEXT,
    fp_version     INTEGER NOT NULL,
    fp_digest      BLOB    NOT NULL,
    capability     TEXT    NOT NULL,
    upstream_key   TEXT    NOT NULL,
    method         TEXT    NOT NULL,
    uri            TEXT    NOT NULL,
    headers        TEXT    NOT NULL,
    asked_at       INTEGER NOT NULL,
    state          TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    owner          INTEGER NOT NULL,
    lease_until    INTEGER NOT NULL,
    due            INTEGER,
    progress       TEXT    NOT NULL,
    answer_status  INTEGER,
    answer_headers TEXT,
    body           BLOB    NOT NULL,
    answer_body    BLOB,
    UNIQUE (namespace, tenant, key)
) STRICT;

CREATE UNIQUE INDEX operation_conflict ON operation (namespace, tenant, conflict)
    WHERE conflict IS NOT NULL AND state NOT IN ('completed', 'rejected');

CREATE INDEX operation_due ON operation (due, id) WHERE due IS NOT NULL;

CREATE INDEX operation_tenant ON operation (tenant);
";

/// From format 1 to 2: when a key was made; what nobody works on holds no conflict key; what the file knows of itself.
///
/// The conflict index is not unique: the write lock keeps two operations about one thing apart, and after an adoption
/// there may be two that are both in doubt.
const TO_2: &str = "
ALTER TABLE operation ADD COLUMN issued_at INTEGER;

DROP INDEX operation_conflict;

CREATE INDEX operation_conflict ON operation (namespace, tenant, conflict)
    WHERE conflict IS NOT NULL AND state NOT IN ('completed', 'rejected') AND NOT (state = 'ready' AND due IS NULL);

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value ANY  NOT NULL
) STRICT;

CREATE TABLE adoption (
    at           INTEGER NOT NULL,
    by           TEXT    NOT NULL,
    why          TEXT    NOT NULL,
    quarantine   TEXT    NOT NULL,
    missed_since INTEGER,
    in_doubt     INTEGER NOT NULL
) STRICT;
";

/// What only makes reading faster is no part of the format: whoever opens a file makes what it lacks.
///
/// What is not settled and not due is few (parked for good, or ready with nobody at it) among all that is over.
pub(super) const MORE_INDEXES: &str = "
CREATE INDEX IF NOT EXISTS operation_resting ON operation (id)
    WHERE due IS NULL AND state NOT IN ('completed', 'rejected');
";

/// What leads from each format to the next.
const STEPS: [&str; VERSION as usize] = [TO_1, TO_2];

/// Brings a file of format `from` (0: an empty one) up to date, inside the caller's transaction.
pub(super) fn migrate(db: &Connection, from: i32) -> rusqlite::Result<()> {
    migrate_to(db, from, VERSION)
}

pub(super) fn migrate_to(db: &Connection, from: i32, to: i32) -> rusqlite::Result<()> {
    for (step, format) in STEPS.iter().zip(1..) {
        if from < format && format <= to {
            db.execute_batch(step)?;
        }
    }
    db.pragma_update(None, "application_id", APPLICATION_ID)?;
    db.pragma_update(None, "user_version", to)
}
