//! Opening a journal file: nothing is written before the file is known to be ours, and nothing is believed about
//! durability that was not read back.

use super::SqliteConfig;
use super::beside::Neighbours;
use super::error::{OpenError, WhyNot};
use super::keeper::Keeper;
use super::owners::Owners;
use super::schema::{self, APPLICATION_ID, VERSION};
use super::{meta, store};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One at a time in this process: closing the handle that made a file would drop the locks that another connection
/// of the same process holds on it (POSIX locks belong to the process).
static OPENING: Mutex<()> = Mutex::new(());

/// A file that is open for writing.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) owners: Owners,
    pub(super) keeper: Keeper,
}

/// Opens or makes the file that `config` names.
pub(super) fn open(config: &SqliteConfig) -> Result<Opened, OpenError> {
    let _alone = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    // Absolute, so that SQLite's names for things that are no files (":memory:", "") mean files here.
    let path = std::path::absolute(&config.path).unwrap_or_else(|_| config.path.clone());
    match config
        .check()
        .map_err(WhyNot::Setting)
        .and_then(|()| open_at(&path, config))
    {
        Ok((connection, keeper)) => Ok(Opened {
            owners: Owners::beside(keeper.neighbours().journal()),
            connection,
            path,
            keeper,
        }),
        Err(why) => Err(OpenError { path, why }),
    }
}

fn open_at(path: &Path, config: &SqliteConfig) -> Result<(Connection, Keeper), WhyNot> {
    if path.is_dir() {
        return Err(WhyNot::NoFile);
    }
    not_a_log_alone(path)?;
    make(path)?;
    not_a_stub(path)?;
    // One thread at a time uses the connection, under a lock of ours.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(config.busy_timeout)?;
    recognise_at_once(&connection)?;
    // SQLite follows links as well: whatever lies beside the file lies beside the same file for everybody.
    let itself = std::fs::canonicalize(path)?;
    not_cut_off(&connection, &itself)?;
    if connection.is_readonly("main")? {
        return Err(WhyNot::ReadOnly);
    }
    let neighbours = Neighbours::of(itself);
    let locked = neighbours.lock(config.busy_timeout)?;
    let locked = locked.ok_or(WhyNot::Locked)?;
    make_durable_in_time(&connection, config.busy_timeout)?;
    bring_up_to_date(&connection, config)?;
    let keeper = Keeper::start(neighbours, &connection, &locked).map_err(WhyNot::of)?;
    if keeper.quarantine().is_none() {
        let owners = Owners::beside(keeper.neighbours().journal());
        owners.sweep(&store::working(&connection)?);
    }
    Ok((connection, keeper))
}

/// SQLite deletes the log of a file that is empty: with it what was acknowledged and not yet copied into the file, if that
/// was only moved away.
fn not_a_log_alone(path: &Path) -> Result<(), WhyNot> {
    let itself = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    let log = super::beside::named(&itself, "-wal");
    // In this order: whoever makes a new file at this moment fills it before its log.
    if length(&log) > 0 && length(&itself) == 0 {
        return Err(WhyNot::LogAlone(log));
    }
    Ok(())
}

/// SQLite takes a file that is too short for a header for an empty one, and would write over it.
fn not_a_stub(path: &Path) -> Result<(), WhyNot> {
    // The smallest page of any SQLite file is 512 bytes.
    match std::fs::metadata(path)?.len() {
        1..512 => Err(WhyNot::Foreign("no SQLite database".to_owned())),
        _ => Ok(()),
    }
}

/// SQLite notices that a file lost its end only when it looks for something there. A file with a log may be shorter than
/// it says: the rest is in the log.
fn not_cut_off(connection: &Connection, path: &Path) -> Result<(), WhyNot> {
    let read = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let says = read("page_count")? * read("page_size")?;
    // In this order: another process may write the log, or empty it into the file, between any two of these.
    let log = std::fs::metadata(super::beside::named(path, "-wal"));
    if log.is_ok_and(|log| log.len() > 0) {
        return Ok(());
    }
    let length = std::fs::metadata(path)?.len();
    if says.cast_unsigned() > length {
        return Err(WhyNot::Damaged(format!(
            "it has {length} bytes and says that it has {says}"
        )));
    }
    Ok(())
}

/// Makes an empty file that only its owner may read, unless there is one. SQLite gives the files that it keeps beside
/// it the same permissions.
fn make(path: &Path) -> Result<(), WhyNot> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

/// Looks at one state of the file: between two looks another process may make the tables of a new one, and whoever saw no
/// name first and tables then would take it for somebody else's.
fn recognise_at_once(connection: &Connection) -> Result<i32, WhyNot> {
    let one = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
    recognise(&one)
}

/// The format of the file, 0 if it is empty; an error if it is not ours.
fn recognise(connection: &Connection) -> Result<i32, WhyNot> {
    let application = number(connection, "application_id")?;
    let version = number(connection, "user_version")?;
    if application == APPLICATION_ID {
        return match version {
            1..=VERSION => Ok(version),
            newer if newer > VERSION => Err(WhyNot::Newer(newer)),
            unknown => Err(WhyNot::Foreign(format!(
                "a journal of the format {unknown}, which never was"
            ))),
        };
    }
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(0);
    }
    Err(WhyNot::Foreign(format!(
        "an SQLite database of another application (application_id {application}, {tables} tables and indexes)"
    )))
}

/// SQLite does not wait for the lock that the first change to WAL needs, and another process that opens the same new file
/// holds it for a moment by looking: so this waits for it, for about `limit`.
fn make_durable_in_time(connection: &Connection, limit: Duration) -> Result<(), WhyNot> {
    const STEP: Duration = Duration::from_millis(5);
    let mut left = limit;
    connection.busy_timeout(Duration::ZERO)?;
    loop {
        match make_durable(connection) {
            Err(WhyNot::Locked) if !left.is_zero() => {
                std::thread::park_timeout(STEP);
                left = left.saturating_sub(STEP);
            }
            done => {
                connection.busy_timeout(limit)?;
                return done;
            }
        }
    }
}

fn make_durable(connection: &Connection) -> Result<(), WhyNot> {
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(WhyNot::NotDurable(format!(
            "its journal_mode is {mode:?} instead of \"wal\""
        )));
    }
    // 2 is FULL: every commit is synced before it is acknowledged.
    connection.pragma_update(None, "synchronous", 2)?;
    let synchronous = number(connection, "synchronous")?;
    if synchronous != 2 {
        return Err(WhyNot::NotDurable(format!(
            "its synchronous setting reads {synchronous} instead of 2 (FULL)"
        )));
    }
    // Only macOS knows these two: there an fsync alone does not reach the disk.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    // In pages of 4 KiB; the default is 1000. Claims have random ids, so one page of an index is written by many: waiting
    // for 16 MiB of log copies it once for all of them (measured here: a third more claims a second, 64 at once).
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 4_000, |_| Ok(()))?;
    // After a burst the log shrinks back to this at a checkpoint: 64 MiB, four times where checkpoints begin.
    connection.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
    // A damaged page is told, where SQLite can see it, instead of being used.
    connection.pragma_update(None, "cell_size_check", true)?;
    // Names in the file's schema are never run as code, whoever wrote it.
    connection.pragma_update(None, "trusted_schema", false)?;
    // The SQL of this module: a dozen statements, and a few more for the filters of listings.
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Makes the tables or brings an older file up to date, in one transaction, unless another process did so meanwhile.
fn bring_up_to_date(connection: &Connection, config: &SqliteConfig) -> Result<(), WhyNot> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let format = recognise(&transaction)?;
    if format < VERSION {
        schema::migrate(&transaction, format)?;
    }
    transaction.execute_batch(schema::MORE_INDEXES)?;
    if let Some(wanted) = &config.environment {
        match meta::text(&transaction, meta::ENVIRONMENT)? {
            Some(found) if found != *wanted => {
                let wanted = wanted.clone();
                return Err(WhyNot::Environment { found, wanted });
            }
            Some(_) => {}
            None => meta::put(&transaction, meta::ENVIRONMENT, wanted)?,
        }
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_brought_up_to_date_whole_or_not_at_all() {
        let db = Connection::open_in_memory().unwrap();
        schema::migrate_to(&db, 0, 1).unwrap();
        let config = SqliteConfig::new("unused");
        let pages: i64 = db
            .query_row("PRAGMA page_count", [], |row| row.get(0))
            .unwrap();
        let mut refused = 0;
        for more in 0.. {
            assert!(more < 1_000, "it stays half done");
            // What a full disk is to SQLite: it stops at one page more each time.
            db.execute_batch(&format!("PRAGMA max_page_count = {}", pages + more))
                .unwrap();
            if bring_up_to_date(&db, &config).is_ok() {
                break;
            }
            refused += 1;
            assert_eq!(number(&db, "user_version").unwrap(), 1);
            let tables = "SELECT count(*) FROM sqlite_schema WHERE name IN ('meta', 'adoption')";
            let made: i64 = db.query_row(tables, [], |row| row.get(0)).unwrap();
            assert_eq!(made, 0);
        }
        assert!(refused > 0);
        assert_eq!(number(&db, "user_version").unwrap(), VERSION);
    }
}
