//! What the file knows of itself, by name.

use rusqlite::{Connection, OptionalExtension, ToSql, types::FromSql};

/// The environment that the file belongs to.
pub(super) const ENVIRONMENT: &str = "environment";
/// The journal's random name.
pub(super) const JOURNAL: &str = "journal";
/// How often it was opened for writing, and each minute of writing.
pub(super) const INCARNATION: &str = "incarnation";
/// Its number on its file system.
pub(super) const INODE: &str = "inode";
/// The latest time on record.
pub(super) const HIGH_WATER: &str = "high_water";
/// Which keys it takes no more, as JSON.
pub(super) const FORGOTTEN: &str = "forgotten";

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

pub(super) fn number(db: &Connection, name: &str) -> rusqlite::Result<Option<u64>> {
    Ok(get::<i64>(db, name)?.map(i64::cast_unsigned))
}

pub(super) fn json<T: serde::de::DeserializeOwned>(
    db: &Connection,
    name: &str,
) -> rusqlite::Result<Option<T>> {
    let Some(text) = text(db, name)? else {
        return Ok(None);
    };
    let unfit = |error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(0, kind, Box::new(error))
    };
    serde_json::from_str(&text).map(Some).map_err(unfit)
}

pub(super) fn put_json(
    db: &Connection,
    name: &str,
    value: &impl serde::Serialize,
) -> rusqlite::Result<()> {
    let unfit = |error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
    put(db, name, &serde_json::to_string(value).map_err(unfit)?)
}
