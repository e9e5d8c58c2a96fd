//! The four things a journal does, as SQL on one connection; no transaction of their own.

use super::codec::{self, COLUMNS, ChangingRow, NewRow, Unfit, id_bytes};
use super::meta;
use crate::clock::Timestamp;
use crate::context::{OperationId, OperationKey, Tenant};
use crate::journal::forget::Forgotten;
use crate::journal::{Asked, Claim, Filter, JournalError, OwnerId, Record, State};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Params, params};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

/// Why a statement did not do its work.
#[derive(Debug)]
pub(super) enum Failure {
    /// SQLite says so.
    Sqlite(rusqlite::Error),
    /// A row is there but is no record.
    Unreadable(OperationId, Unfit),
    /// A new row was refused, and nothing on record explains it.
    Unexplained(OperationId),
}

impl Failure {
    /// Whether what was to be written did not fit.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull))
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(error) => {
                let advice = match error.sqlite_error_code() {
                    Some(ErrorCode::DiskFull) => "; make room on the disk, then try again",
                    Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                        "; another process held the file for longer than `busy_timeout`; try again"
                    }
                    Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                        "; the file is damaged: stop, copy it aside, and restore a backup"
                    }
                    Some(ErrorCode::SystemIoFailure) => "; look at the disk and the system's log",
                    _ => "",
                };
                write!(f, "SQLite: {error}{advice}")
            }
            Self::Unreadable(id, unfit) => write!(f, "operation {id} cannot be read: {unfit}"),
            Self::Unexplained(id) => write!(
                f,
                "operation {id} was refused by the file though nothing on record stands against it; check the file with `PRAGMA integrity_check`"
            ),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Sqlite(error) => Some(error),
            Self::Unreadable(_, unfit) => Some(unfit),
            Self::Unexplained(_) => None,
        }
    }
}

/// An answer of the store: a refusal by the journal's rules is an answer like any other.
pub(super) type Told<T> = Result<Result<T, JournalError>, Failure>;

/// The condition of the index `operation_conflict`: what holds its conflict key, as [`Record::holds_conflict`] says.
const HOLDS: &str =
    "state NOT IN ('completed', 'rejected') AND NOT (state = 'ready' AND due IS NULL)";

pub(super) fn claim(db: &Connection, row: &NewRow) -> Told<Claim> {
    let takes = forgotten(db)?.takes(&row.asked);
    // Nothing but the write lock keeps two operations about one thing apart, so who else is there is asked first.
    if row.asked.conflict.is_some() || !takes {
        match standing_against(db, row)? {
            Some(existing @ Claim::Existing(_)) => return Ok(Ok(existing)),
            _ if !takes => return Ok(Ok(Claim::Expired)),
            Some(refused) => return Ok(Ok(refused)),
            None => {}
        }
    }
    if insert(db, row)? {
        return Ok(Ok(Claim::Claimed));
    }
    if let Some(refused) = standing_against(db, row)? {
        return Ok(Ok(refused));
    }
    match by_id(db, row.asked.id)? {
        Some(other) => Ok(Err(JournalError::Conflict(Box::new(other)))),
        None => Err(Failure::Unexplained(row.asked.id)),
    }
}

/// Which keys that are not on record are not taken.
pub(super) fn forgotten(db: &Connection) -> rusqlite::Result<Forgotten> {
    Ok(meta::json(db, meta::FORGOTTEN)?.unwrap_or_default())
}

fn standing_against(db: &Connection, row: &NewRow) -> Result<Option<Claim>, Failure> {
    let asked = &row.asked;
    if let Some(existing) = by_key(db, &asked.namespace, &asked.tenant, &asked.key)? {
        return Ok(Some(Claim::Existing(Box::new(existing))));
    }
    let other = holder(db, asked)?;
    Ok(other.map(|other| Claim::Conflict(Box::new(other))))
}

/// The operation that holds the conflict key of `asked`.
fn holder(db: &Connection, asked: &Asked) -> Result<Option<Record>, Failure> {
    let Some(conflict) = &asked.conflict else {
        return Ok(None);
    };
    one(
        db,
        &format!("namespace = ?1 AND tenant = ?2 AND conflict = ?3 AND {HOLDS}"),
        params![&*asked.namespace, asked.tenant.as_str(), conflict],
    )
}

fn insert(db: &Connection, row: &NewRow) -> Result<bool, Failure> {
    let (asked, changing) = (&row.asked, &row.changing);
    let answer = changing.answer.as_ref();
    let added = db
        .prepare_cached(
            "INSERT INTO operation (id, namespace, tenant, key, conflict, fp_version, fp_digest, capability, \
             upstream_key, method, uri, headers, body, asked_at, issued_at, state, version, owner, lease_until, due, \
             progress, answer_status, answer_headers, answer_body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, \
             ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            &id_bytes(asked.id)[..],
            &*asked.namespace,
            asked.tenant.as_str(),
            asked.key.as_str(),
            asked.conflict,
            asked.fingerprint.version,
            &asked.fingerprint.digest[..],
            row.capability,
            asked.upstream_key,
            asked.request.method.as_str(),
            row.uri,
            row.headers,
            &asked.request.body[..],
            asked.at.as_millis().cast_signed(),
            asked.issued.map(|at| at.as_millis().cast_signed()),
            changing.state.as_str(),
            changing.version.cast_signed(),
            changing.owner,
            changing.lease_until,
            changing.due,
            changing.progress,
            answer.map(|answer| answer.status),
            answer.map(|answer| &*answer.headers),
            answer.map(|answer| &answer.body[..]),
        ])?;
    Ok(added == 1)
}

pub(super) fn step(db: &Connection, next: &ChangingRow) -> Told<()> {
    let answer = next.answer.as_ref();
    // The first version has none before it, so nothing on record can be waiting for it.
    let before = next.version.checked_sub(1);
    if let Some(before) = before {
        let replaced = db.prepare_cached(&STEP)?.execute(params![
            &id_bytes(next.id)[..],
            before.cast_signed(),
            next.state.as_str(),
            next.version.cast_signed(),
            next.owner,
            next.lease_until,
            next.due,
            next.progress,
            answer.map(|answer| answer.status),
            answer.map(|answer| &*answer.headers),
            answer.map(|answer| &answer.body[..]),
            next.holds,
        ])?;
        if replaced == 1 {
            return Ok(Ok(()));
        }
    }
    let Some(current) = by_id(db, next.id)? else {
        return Ok(Err(JournalError::Missing(next.id)));
    };
    if Some(current.progress.version) != before {
        return Ok(Err(JournalError::Conflict(Box::new(current))));
    }
    match holder(db, &current.asked)? {
        Some(other) => Ok(Err(JournalError::Contended(Box::new(other)))),
        None => Err(Failure::Unexplained(next.id)),
    }
}

/// A step from what does not hold its conflict key to what does finds nobody else who holds it.
static STEP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE operation SET state = ?3, version = ?4, owner = ?5, lease_until = ?6, due = ?7, \
         progress = ?8, answer_status = ?9, answer_headers = ?10, answer_body = ?11 \
         WHERE id = ?1 AND version = ?2 AND (NOT ?12 OR conflict IS NULL OR ({HOLDS}) OR NOT EXISTS \
         (SELECT 1 FROM operation AS other WHERE other.namespace = operation.namespace \
         AND other.tenant = operation.tenant AND other.conflict = operation.conflict AND {}))",
        HOLDS
            .replace("state ", "other.state ")
            .replace("due ", "other.due ")
    )
});

pub(super) fn by_id(db: &Connection, id: OperationId) -> Result<Option<Record>, Failure> {
    one(db, "id = ?1", params![&id_bytes(id)[..]])
}

pub(super) fn by_key(
    db: &Connection,
    namespace: &str,
    tenant: &Tenant,
    key: &OperationKey,
) -> Result<Option<Record>, Failure> {
    one(
        db,
        "namespace = ?1 AND tenant = ?2 AND key = ?3",
        params![namespace, tenant.as_str(), key.as_str()],
    )
}

fn one(db: &Connection, condition: &str, params: impl Params) -> Result<Option<Record>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM operation WHERE {condition}");
    let found = db
        .prepare_cached(&sql)?
        .query_row(params, |row| Ok(codec::decode(row)))
        .optional()?;
    found.transpose()
}

/// The record in a row of the table.
pub(super) fn by_row(db: &Connection, row: i64) -> Result<Option<Record>, Failure> {
    one(db, "rowid = ?1", params![row])
}

/// When the newest row was asked for.
pub(super) fn last_asked(db: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let at: Option<i64> = db
        .query_row(
            "SELECT asked_at FROM operation ORDER BY rowid DESC LIMIT 1",
            [],
            |row| row.get(0),
        )
        .optional()?;
    Ok(at.map(|at| Timestamp::from_millis(at.cast_unsigned())))
}

/// Who has operations in hand. All of these are due: their leases end.
pub(super) fn working(db: &Connection) -> Result<BTreeSet<OwnerId>, rusqlite::Error> {
    let sql = "SELECT DISTINCT owner FROM operation WHERE due IS NOT NULL AND state IN ('claimed', 'sending')";
    let mut statement = db.prepare(sql)?;
    let owners = statement.query_map([], |row| {
        let owner: i64 = row.get(0)?;
        Ok(OwnerId(owner.cast_unsigned()))
    })?;
    owners.collect()
}

/// How many unreadable rows one listing leaves out: more are no single bad row.
pub(super) const UNREADABLE_MAX: usize = 1_000;

/// A listing, less the rows that are no records.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) records: Vec<Record>,
    pub(super) unreadable: Vec<(OperationId, Unfit)>,
}

/// What is due, then what is not: two ordered walks along two indexes, for no one index has both orders.
///
/// One bad row must not keep the others from being settled, so it is left out. Places are those of records that can be
/// read; where all can be (`all_readable`: none is known that cannot), they are the same as places of rows.
pub(super) fn list(
    db: &Connection,
    filter: &Filter,
    all_readable: bool,
) -> Result<Listed, Failure> {
    let mut listed = Listed::default();
    let mut skip = Skip::new(filter.skip, all_readable);
    walk(db, filter, DUE, &mut skip, &mut listed)?;
    if filter.due_by.is_none() && listed.records.len() < filter.limit {
        if listed.records.is_empty() && skip.rows > 0 {
            skip.rows -= count_due(db, filter)?.min(skip.rows);
        } else {
            skip.rows = 0;
        }
        walk(db, filter, undue(filter), &mut skip, &mut listed)?;
    }
    Ok(listed)
}

/// What is passed over before the first that is listed: rows unread, then records.
#[derive(Clone, Copy, Debug)]
struct Skip {
    rows: usize,
    records: usize,
}

impl Skip {
    const fn new(skip: usize, all_readable: bool) -> Self {
        if all_readable {
            Self {
                rows: skip,
                records: 0,
            }
        } else {
            Self {
                rows: 0,
                records: skip,
            }
        }
    }
}

/// Which rows a walk visits, in which order, and whether they are few: the unsettled, among all that is over.
#[derive(Clone, Copy)]
struct Walk {
    only: &'static str,
    order: &'static str,
    few: bool,
}

const DUE: Walk = Walk {
    only: "due IS NOT NULL AND due <= ?2",
    order: "due, id",
    few: true,
};
const UNDUE: Walk = Walk {
    only: "due IS NULL",
    order: "id",
    few: false,
};
/// Of the undue those that are not settled, in the words of their index.
const RESTING: Walk = Walk {
    only: "due IS NULL AND state NOT IN ('completed', 'rejected')",
    order: "id",
    few: true,
};

/// The walk that finds what is not due.
fn undue(filter: &Filter) -> Walk {
    let settled = filter.states.is_empty() || filter.states.iter().any(|state| state.is_final());
    if settled { UNDUE } else { RESTING }
}

/// A `+` keeps SQLite from an index: of few rows, the walk's own is better than the one on tenants; and most files hold
/// one namespace, whose index would lead to all rows, to be sorted.
fn condition(walk: Walk, filter: &Filter) -> String {
    let mut sql = walk.only.to_owned();
    if filter.tenant.is_some() {
        sql.push_str(if walk.few {
            " AND +tenant = ?1"
        } else {
            " AND tenant = ?1"
        });
    }
    if filter.namespace.is_some() {
        sql.push_str(" AND +namespace = ?3");
    }
    if !filter.states.is_empty() {
        let words: Vec<String> = State::ALL
            .into_iter()
            .filter(|state| filter.states.contains(state))
            .map(|state| format!("'{state}'"))
            .collect();
        sql.push_str(" AND state IN (");
        sql.push_str(&words.join(", "));
        sql.push(')');
    }
    sql
}

fn due_by(filter: &Filter) -> i64 {
    filter.due_by.map_or(i64::MAX, codec::sortable)
}

fn walk_sql(walk: Walk, filter: &Filter) -> String {
    format!(
        "SELECT {COLUMNS} FROM operation WHERE {} ORDER BY {} LIMIT ?4 OFFSET ?5",
        condition(walk, filter),
        walk.order
    )
}

fn walk(
    db: &Connection,
    filter: &Filter,
    walk: Walk,
    skip: &mut Skip,
    listed: &mut Listed,
) -> Result<(), Failure> {
    let mut statement = db.prepare_cached(&walk_sql(walk, filter))?;
    let mut behind = skip.rows;
    loop {
        let wanted = filter.limit - listed.records.len().min(filter.limit);
        let wanted = wanted.saturating_add(skip.records);
        let mut rows = statement.query(params![
            filter.tenant.as_ref().map(Tenant::as_str),
            due_by(filter),
            filter.namespace.as_deref(),
            i64::try_from(wanted).unwrap_or(i64::MAX),
            i64::try_from(behind).unwrap_or(i64::MAX),
        ])?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            seen += 1;
            match codec::decode(row) {
                Ok(_) if skip.records > 0 => skip.records -= 1,
                Ok(record) => listed.records.push(record),
                Err(Failure::Unreadable(id, unfit)) if listed.unreadable.len() < UNREADABLE_MAX => {
                    listed.unreadable.push((id, unfit));
                }
                Err(failure) => return Err(failure),
            }
        }
        if seen < wanted || listed.records.len() >= filter.limit {
            return Ok(());
        }
        behind = behind.saturating_add(seen);
    }
}

fn count_sql(filter: &Filter) -> String {
    format!(
        // The last part changes nothing; it makes every parameter one of this statement's.
        "SELECT count(*) FROM operation WHERE {} AND (?3 IS NULL OR ?3 IS NOT NULL)",
        condition(DUE, filter)
    )
}

fn count_due(db: &Connection, filter: &Filter) -> Result<usize, Failure> {
    let count: i64 = db.prepare_cached(&count_sql(filter))?.query_row(
        params![
            filter.tenant.as_ref().map(Tenant::as_str),
            due_by(filter),
            filter.namespace.as_deref()
        ],
        |row| row.get(0),
    )?;
    Ok(usize::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;
    use crate::clock::Timestamp;
    use crate::journal::Capability;
    use crate::journal::record::tests::asked;

    fn plan(sql: &str) -> String {
        let db = Connection::open_in_memory().unwrap();
        schema::migrate(&db, 0).unwrap();
        db.execute_batch(schema::MORE_INDEXES).unwrap();
        let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let count = statement.parameter_count();
        let rows = statement
            .query_map(
                rusqlite::params_from_iter(vec![rusqlite::types::Null; count]),
                |row| row.get::<_, String>("detail"),
            )
            .unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_is_due_is_walked_in_the_order_of_its_index_and_never_sorted() {
        let filter = Filter {
            states: vec![State::Unknown, State::Ready],
            ..Filter::default()
        };
        let plan = plan(&walk_sql(DUE, &filter));
        assert!(plan.contains("operation_due"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }

    #[test]
    fn whatever_else_is_asked_only_what_is_due_is_looked_at() {
        // Whoever settles asks for its namespace again and again, and nearly all on record is over.
        for tenant in [None, Some(Tenant::default())] {
            for namespace in [None, Some("ours".into())] {
                let filter = Filter {
                    namespace: namespace.clone(),
                    tenant: tenant.clone(),
                    states: vec![State::Claimed, State::Sending],
                    due_by: Some(Timestamp::NEVER),
                    ..Filter::default()
                };
                for sql in [walk_sql(DUE, &filter), count_sql(&filter)] {
                    let plan = plan(&sql);
                    assert!(plan.contains("operation_due (due"), "{plan}");
                    assert!(!plan.contains("TEMP B-TREE"), "{plan}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_settled_is_found_without_a_walk_over_what_is() {
        for tenant in [None, Some(Tenant::default())] {
            let filter = Filter {
                namespace: Some("ours".into()),
                tenant,
                states: State::ALL
                    .into_iter()
                    .filter(|state| !state.is_final())
                    .collect(),
                ..Filter::default()
            };
            let plan = plan(&walk_sql(undue(&filter), &filter));
            assert!(plan.contains("operation_resting"), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }

    #[test]
    fn a_page_of_one_namespace_is_no_sort_of_all_of_it() {
        let filter = Filter {
            namespace: Some("ours".into()),
            ..Filter::default()
        };
        let plan = plan(&walk_sql(UNDUE, &filter));
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }

    #[test]
    fn one_tenants_work_is_found_without_a_walk_over_all() {
        let filter = Filter {
            tenant: Some(Tenant::default()),
            ..Filter::default()
        };
        for walk in [DUE, UNDUE] {
            let plan = plan(&walk_sql(walk, &filter));
            assert!(plan.starts_with("SEARCH"), "{plan}");
        }
    }

    #[test]
    fn the_conflict_index_is_used_and_knows_who_holds_a_conflict_key() {
        let db = Connection::open_in_memory().unwrap();
        for state in State::ALL {
            for due in [None, Some(0), Some(i64::MAX)] {
                let mut record = Record::claim(
                    asked(Capability::Lookup),
                    OwnerId(1),
                    Timestamp::from_millis(1),
                );
                record.progress.state = state;
                record.progress.due = due.map(|due| Timestamp::from_millis(due.cast_unsigned()));
                let sql = format!("SELECT {HOLDS} FROM (SELECT ?1 AS state, ?2 AS due)");
                let holds: bool = db
                    .query_row(&sql, params![state.as_str(), due], |row| row.get(0))
                    .unwrap();
                assert_eq!(holds, record.holds_conflict(), "{state} {due:?}");
            }
        }
        let ask = plan(&format!(
            "SELECT id FROM operation WHERE namespace = ?1 AND tenant = ?2 AND conflict = ?3 AND {HOLDS}"
        ));
        assert!(ask.contains("operation_conflict"), "{ask}");
        let step = plan(&STEP);
        assert!(step.contains("operation_conflict"), "{step}");
        assert!(!step.contains("SCAN"), "{step}");
    }
}
