//! Reads a journal file beside whatever runs on it: for people and their programs.
//!
//! A reader changes no file (SQLite may leave an empty log and its index beside it), enlists no owner, and takes nothing over. Each call is a short transaction of
//! its own, so that it holds up neither a writer nor the shrinking of the log. It blocks on the disk.

use super::beside::Neighbours;
use super::codec::{self, COLUMNS, id_bytes, sortable};
use super::error::{OpenError, WhyNot};
use super::identity::{Quarantine, judge};
use super::keeper::identity;
use super::meta;
use super::schema::{APPLICATION_ID, VERSION};
use super::store::{self, Failure, UNREADABLE_MAX};
use crate::clock::Timestamp;
use crate::context::{OperationId, Tenant};
use crate::error::BoxError;
use crate::journal::{JournalError, Lookup, Record, State};
use rusqlite::{Connection, OpenFlags, params, params_from_iter, types::Value};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How many bytes of records one page of [`SqliteReader::page`] holds, or one record that is larger: twice the largest
/// answer that a stack takes by default.
const PAGE_BYTES: usize = 32 << 20;

/// See the module.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Connection,
    path: PathBuf,
    /// What was met and is no record.
    unreadable: RefCell<BTreeMap<OperationId, String>>,
}

/// Which records [`SqliteReader::list`] gives, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only these states; empty for all.
    pub states: Vec<State>,
    /// And those that the upstream contradicts, whatever their state.
    pub or_contradicted: bool,
    /// Only those that the upstream contradicts.
    pub contradicted: bool,
    /// Only this tenant.
    pub tenant: Option<Tenant>,
    /// Only what was accepted at or before this.
    pub asked_by: Option<Timestamp>,
    /// How many at most.
    pub limit: usize,
}

/// How many operations are in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// How many.
    pub count: u64,
    /// When the oldest of them was accepted.
    pub oldest: Timestamp,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// By state; a state that nothing is in is not there.
    pub by_state: BTreeMap<State, Held>,
    /// How many are due.
    pub due: u64,
    /// When the one that waits longest, or the next one, became or becomes due.
    pub soonest_due: Option<Timestamp>,
    /// How many the upstream contradicts.
    pub contradicted: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of the log beside it.
    pub log_bytes: u64,
}

impl SqliteReader {
    /// Opens a journal file that is there.
    ///
    /// # Errors
    /// When it is not there, is no journal, or is one of another format; nothing is changed.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = std::path::absolute(&path).unwrap_or_else(|_| path.as_ref().to_owned());
        match open_at(&path) {
            Ok(connection) => Ok(Self {
                connection,
                path,
                unreadable: RefCell::default(),
            }),
            Err(why) => Err(OpenError { path, why }),
        }
    }

    /// The file, as an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One record.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get(&self, which: Lookup<'_>) -> Result<Option<Record>, JournalError> {
        let db = &self.connection;
        let found = match which {
            Lookup::Id(id) => store::by_id(db, id),
            Lookup::Key {
                namespace,
                tenant,
                key,
            } => store::by_key(db, namespace, tenant, key),
        };
        found.map_err(JournalError::unavailable)
    }

    /// Operations that [`SqliteReader::list`] and [`SqliteReader::page`] met and left out, for they cannot be read, and why;
    /// a thousand at most.
    #[must_use]
    pub fn unreadable(&self) -> Vec<(OperationId, String)> {
        let met = self.unreadable.borrow();
        met.iter().map(|(id, why)| (*id, why.clone())).collect()
    }

    /// What can be read of it: a row that is no record is left out, and remembered.
    fn readable<T>(&self, read: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match read {
            Ok(record) => Ok(Some(record)),
            Err(Failure::Unreadable(id, unfit)) => {
                let mut met = self.unreadable.borrow_mut();
                if met.len() < UNREADABLE_MAX {
                    met.insert(id, unfit.to_string());
                }
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Records by filter, oldest first, and how many match in all. Looks at every record.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn list(&self, wanted: &Wanted) -> Result<(Vec<Record>, u64), JournalError> {
        self.try_list(wanted).map_err(JournalError::unavailable)
    }

    fn try_list(&self, wanted: &Wanted) -> Result<(Vec<Record>, u64), Failure> {
        let (condition, mut values) = wanted.condition();
        let count = format!("SELECT count(*) FROM operation WHERE {condition}");
        let count = self.number(&count, &values)?;
        // Ids first: sorting must not carry bodies.
        let sql = format!(
            "SELECT id FROM operation WHERE {condition} ORDER BY asked_at, id LIMIT ?{}",
            values.len() + 1
        );
        values.push(Value::from(i64::try_from(wanted.limit).unwrap_or(i64::MAX)));
        let mut statement = self.connection.prepare_cached(&sql)?;
        let ids = statement.query_map(params_from_iter(values), |row| row.get::<_, [u8; 16]>(0))?;
        let ids: Vec<[u8; 16]> = ids.collect::<Result<_, _>>()?;
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let id = OperationId::from_bits(u128::from_be_bytes(id));
            let read = self.readable(store::by_id(&self.connection, id))?;
            found.extend(read.flatten());
        }
        Ok((found, count))
    }

    /// The records after `after`, by id, that were accepted at or after `since`: some hundred at most, and some megabytes.
    /// An empty page is the end. What is accepted meanwhile may be missed.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn page(
        &self,
        after: Option<OperationId>,
        since: Timestamp,
    ) -> Result<Vec<Record>, JournalError> {
        self.try_page(after, since)
            .map_err(JournalError::unavailable)
    }

    fn try_page(
        &self,
        after: Option<OperationId>,
        since: Timestamp,
    ) -> Result<Vec<Record>, Failure> {
        const ROWS: usize = 500;
        // No limit: as many rows are read as are wanted, and more only in the place of those that are no records.
        let sql =
            format!("SELECT {COLUMNS} FROM operation WHERE id > ?1 AND asked_at >= ?2 ORDER BY id");
        // No id is empty, and every other is larger.
        let after = after.map_or_else(Vec::new, |id| id_bytes(id).to_vec());
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![after, sortable(since)])?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let Some(record) = self.readable(codec::decode(row))? else {
                continue;
            };
            bytes += record.asked.request.body.len()
                + record.answer.as_ref().map_or(0, |answer| answer.body.len());
            page.push(record);
            if bytes >= PAGE_BYTES || page.len() >= ROWS {
                break;
            }
        }
        Ok(page)
    }

    /// What the file holds. Looks at every record.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stats(&self, now: Timestamp) -> Result<Stats, JournalError> {
        self.try_stats(now).map_err(JournalError::unavailable)
    }

    fn try_stats(&self, now: Timestamp) -> Result<Stats, Failure> {
        let db = &self.connection;
        let mut by_state = BTreeMap::new();
        let mut statement =
            db.prepare_cached("SELECT state, count(*), min(asked_at) FROM operation GROUP BY 1")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (word, count, oldest): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            // A word that is no state is told by whoever reads that record.
            if let Some(state) = State::parse(&word) {
                let oldest = Timestamp::from_millis(oldest.cast_unsigned());
                let count = count.cast_unsigned();
                by_state.insert(state, Held { count, oldest });
            }
        }
        let due = "SELECT count(*) FROM operation WHERE due IS NOT NULL AND due <= ?1";
        let soonest: Option<i64> = db.query_row(
            "SELECT min(due) FROM operation WHERE due IS NOT NULL",
            [],
            |row| row.get(0),
        )?;
        let contradicted = format!("SELECT count(*) FROM operation WHERE {CONTRADICTED}");
        let beside = |suffix: &str| {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            std::fs::metadata(path).map_or(0, |found| found.len())
        };
        Ok(Stats {
            by_state,
            due: self.number(due, &[Value::from(sortable(now))])?,
            soonest_due: soonest.map(|at| Timestamp::from_millis(at.cast_unsigned())),
            contradicted: self.number(&contradicted, &[])?,
            file_bytes: beside(""),
            log_bytes: beside("-wal"),
        })
    }

    /// Why the file takes no changes until a person adopts it; `None` where it may be used as it is. Judged as if it were
    /// opened now.
    ///
    /// # Errors
    /// When it, or what lies beside it, cannot be read.
    pub fn quarantine(&self) -> Result<Option<Quarantine>, JournalError> {
        let judged = self.judged();
        judged.map_err(JournalError::unavailable)
    }

    fn judged(&self) -> Result<Option<Quarantine>, BoxError> {
        let neighbours = Neighbours::of(std::fs::canonicalize(&self.path)?);
        // The mirror first: it is written after the file, and must not seem to be ahead of it.
        let beside = neighbours.mirror()?;
        let file = identity(&self.connection)?;
        let Err(doubt) = judge(&file, &beside, neighbours.inode()?) else {
            return Ok(None);
        };
        let high = meta::number(&self.connection, meta::HIGH_WATER)?.map(Timestamp::from_millis);
        let known_until = high.max(store::last_asked(&self.connection)?);
        Ok(Some(Quarantine::new(
            neighbours.journal(),
            doubt,
            known_until,
        )))
    }

    fn number(&self, sql: &str, values: &[Value]) -> Result<u64, Failure> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let number: i64 = statement.query_row(params_from_iter(values), |row| row.get(0))?;
        Ok(number.cast_unsigned())
    }
}

/// Of a row that is no record it is not known.
const CONTRADICTED: &str =
    "CASE WHEN json_valid(progress) THEN json_extract(progress, '$.contradicted') ELSE FALSE END";

impl Wanted {
    /// A condition, and what stands for its parameters.
    fn condition(&self) -> (String, Vec<Value>) {
        let mut values = Vec::new();
        let mut parts = Vec::new();
        if !self.states.is_empty() {
            let words: Vec<String> = self
                .states
                .iter()
                .map(|state| format!("'{state}'"))
                .collect();
            let states = format!("state IN ({})", words.join(", "));
            parts.push(if self.or_contradicted {
                format!("({states} OR {CONTRADICTED})")
            } else {
                states
            });
        }
        if self.contradicted {
            parts.push(CONTRADICTED.to_owned());
        }
        if let Some(tenant) = &self.tenant {
            values.push(Value::from(tenant.as_str().to_owned()));
            parts.push(format!("tenant = ?{}", values.len()));
        }
        if let Some(by) = self.asked_by {
            values.push(Value::from(sortable(by)));
            parts.push(format!("asked_at <= ?{}", values.len()));
        }
        if parts.is_empty() {
            parts.push("TRUE".to_owned());
        }
        (parts.join(" AND "), values)
    }
}

fn open_at(path: &Path) -> Result<Connection, WhyNot> {
    let told = |why: &str| WhyNot::Failed(Arc::from(BoxError::from(why.to_owned())));
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(told(
                "there is no such file, and none was made; name the journal that your service opens",
            ));
        }
        Err(error) => return Err(error.into()),
        Ok(found) if found.is_dir() => return Err(WhyNot::NoFile),
        Ok(found) if found.len() == 0 => {
            return Err(told(
                "it is an empty file, and was left as it is; name the journal that your service opens",
            ));
        }
        // The smallest page of any SQLite file is 512 bytes.
        Ok(found) if found.len() < 512 => {
            return Err(WhyNot::Foreign("no SQLite database".to_owned()));
        }
        Ok(_) => {}
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "trusted_schema", false)?;
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    if number("application_id")? != APPLICATION_ID {
        return Err(WhyNot::Foreign(
            "an SQLite database of another application".to_owned(),
        ));
    }
    match number("user_version")? {
        VERSION => Ok(connection),
        newer if newer > VERSION => Err(WhyNot::Newer(newer)),
        older => Err(told(&format!(
            "its format is {older}, and this version reads {VERSION}; open it once with a service of this version, which brings it up to date"
        ))),
    }
}
