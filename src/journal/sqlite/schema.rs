//! The file's format: its mark, its version, its one table.

/// `PRAGMA application_id` of our files: "stdy" in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x7374_6479;

/// `PRAGMA user_version` of the files that this code writes.
pub(super) const VERSION: i32 = 1;

/// Makes the table. Only the columns from `state` to `answer_headers`, and `answer_body`, are ever updated.
///
/// The bodies stand last: what a comparison or an index needs of a row is on its first page.
pub(super) const CREATE: &str = "
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
