//! What the file knows of itself, by name.

use rusqlite::{Connection, OptionalExtension, ToSql, types::FromSql};

/// The environment that the file belongs to.
pub(super) const ENVIRONMENT: &str = "environment";

fn get<T: FromSql>(db: &Connection, name: &str) -> rusqlite::Result<Option<T>> {
    db.prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

pub(super) fn text(db: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    get(db, name)
}

pub(super) fn put(db: &Connection, name: &str, value: &impl ToSql) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
    )?
    .execute(rusqlite::params![name, value])
    .map(|_| ())
}
