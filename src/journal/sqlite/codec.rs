//! Records to rows and back, without loss. Pure.
//!
//! What was asked is kept column by column, so that a person can read it. What changes is kept whole, as JSON, in
//! `progress`; the columns beside it (`state`, `version`, `owner`, `lease_until`, `due`) repeat what SQLite compares,
//! sorts and indexes. A row whose columns and JSON disagree was edited by hand and is not believed.

use super::store::Failure;
use crate::clock::Timestamp;
use crate::context::{OperationId, OperationKey, Tenant};
use crate::error::BoxError;
use crate::journal::{
    Asked, Fingerprint, Progress, Record, State, StoredAnswer, StoredRequest, record::Capability,
};
use bytes::Bytes;
use rusqlite::Row;
use std::fmt;
use std::sync::Arc;

/// What every read selects; [`decode`] finds columns by name.
pub(super) const COLUMNS: &str = "id, namespace, tenant, key, conflict, fp_version, fp_digest, capability, upstream_key, \
     method, uri, headers, body, asked_at, \
     issued_at, state, version, progress, answer_status, answer_headers, answer_body";

/// A record that cannot be put into, or taken out of, a row.
#[derive(Debug)]
pub(super) struct Unfit {
    column: &'static str,
    why: BoxError,
}

impl Unfit {
    fn new(column: &'static str, why: impl Into<BoxError>) -> Self {
        Self {
            column,
            why: why.into(),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column `{}`: {}", self.column, self.why)
    }
}

impl std::error::Error for Unfit {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.why)
    }
}

/// A new operation, ready to be bound. Made by the caller, so that the one connection has less to do.
#[derive(Debug)]
pub(super) struct NewRow {
    pub(super) asked: Arc<Asked>,
    pub(super) capability: String,
    pub(super) uri: String,
    pub(super) headers: String,
    pub(super) changing: ChangingRow,
}

/// The part that a step replaces, ready to be bound.
#[derive(Debug)]
pub(super) struct ChangingRow {
    pub(super) id: OperationId,
    pub(super) state: State,
    pub(super) version: u64,
    pub(super) owner: i64,
    pub(super) lease_until: i64,
    pub(super) due: Option<i64>,
    /// See [`Record::holds_conflict`].
    pub(super) holds: bool,
    /// See [`Record::latest`].
    pub(super) latest: u64,
    pub(super) progress: String,
    pub(super) answer: Option<AnswerRow>,
}

/// A recorded answer, ready to be bound.
#[derive(Debug)]
pub(super) struct AnswerRow {
    pub(super) status: u16,
    pub(super) headers: String,
    pub(super) body: Bytes,
}

/// The id as it is stored: big-endian, so that SQLite sorts ids as we do.
pub(super) fn id_bytes(id: OperationId) -> [u8; 16] {
    id.bits().to_be_bytes()
}

/// A point in time as it is compared and sorted. What is later than [`Timestamp::NEVER`] is as late as that; the
/// exact value is in the JSON.
pub(super) fn sortable(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

fn json<T: serde::Serialize + ?Sized>(column: &'static str, value: &T) -> Result<String, Unfit> {
    serde_json::to_string(value).map_err(|error| Unfit::new(column, error))
}

/// A new record as a row.
///
/// # Errors
/// When it could not be read back: better refused now than a key that nobody can read.
pub(super) fn new_row(record: &Record) -> Result<NewRow, Unfit> {
    let asked = &record.asked;
    let uri = asked.request.uri.to_string();
    match http::Uri::try_from(&uri) {
        Ok(same) if same == asked.request.uri => {}
        Ok(_) => return Err(Unfit::new("uri", "it reads back as another one")),
        Err(error) => return Err(Unfit::new("uri", error)),
    }
    Ok(NewRow {
        capability: json("capability", &asked.capability)?,
        uri,
        headers: json("headers", &asked.request.headers)?,
        changing: changing_row(record)?,
        asked: Arc::clone(asked),
    })
}

/// The changing part of a record as a row.
pub(super) fn changing_row(record: &Record) -> Result<ChangingRow, Unfit> {
    let progress = &record.progress;
    let answer = match &record.answer {
        None => None,
        Some(answer) => Some(AnswerRow {
            status: answer.status,
            headers: json("answer_headers", &answer.headers)?,
            body: answer.body.clone(),
        }),
    };
    Ok(ChangingRow {
        id: record.id(),
        state: progress.state,
        version: progress.version,
        owner: progress.owner.0.cast_signed(),
        lease_until: sortable(progress.lease_until),
        due: progress.due.map(sortable),
        holds: record.holds_conflict(),
        latest: record.latest().as_millis(),
        progress: json("progress", progress)?,
        answer,
    })
}

/// A row as the record that it was; [`Failure::Unreadable`] for what only this row has.
pub(super) fn decode(row: &Row<'_>) -> Result<Record, Failure> {
    let id: [u8; 16] = row.get("id")?;
    let id = OperationId::from_bits(u128::from_be_bytes(id));
    decode_row(row, id).map_err(|failure| match failure {
        // SQLite has read the row by now: a value of it is none of ours.
        Failure::Sqlite(error) => Failure::Unreadable(id, Unfit::new("of another form", error)),
        other => other,
    })
}

fn decode_row(row: &Row<'_>, id: OperationId) -> Result<Record, Failure> {
    let unreadable = |unfit| Failure::Unreadable(id, unfit);
    let state: String = row.get("state")?;
    let version: i64 = row.get("version")?;
    let progress: Progress = from_json(row, "progress")?.map_err(unreadable)?;
    if progress.state.as_str() != state || progress.version != version.cast_unsigned() {
        return Err(unreadable(Unfit::new(
            "progress",
            "it differs from `state` or `version`: the file was changed by hand; undo that, or restore the file",
        )));
    }
    Ok(Record {
        asked: Arc::new(decode_asked(row, id)?),
        progress,
        answer: decode_answer(row)?.transpose().map_err(unreadable)?,
    })
}

fn decode_asked(row: &Row<'_>, id: OperationId) -> Result<Asked, Failure> {
    let unreadable = |unfit| Failure::Unreadable(id, unfit);
    let (namespace, tenant, key): (String, String, String) =
        (row.get("namespace")?, row.get("tenant")?, row.get("key")?);
    let (method, uri, body): (String, String, Vec<u8>) =
        (row.get("method")?, row.get("uri")?, row.get("body")?);
    let at: i64 = row.get("asked_at")?;
    let capability: Capability = from_json(row, "capability")?.map_err(unreadable)?;
    let headers = from_json(row, "headers")?.map_err(unreadable)?;
    Ok(Asked {
        id,
        namespace: Arc::from(namespace),
        tenant: Tenant::new(&tenant).map_err(|error| unreadable(Unfit::new("tenant", error)))?,
        key: OperationKey::new(&key).map_err(|error| unreadable(Unfit::new("key", error)))?,
        conflict: row.get("conflict")?,
        fingerprint: Fingerprint {
            version: row.get("fp_version")?,
            digest: row.get("fp_digest")?,
        },
        capability,
        upstream_key: row.get("upstream_key")?,
        request: StoredRequest {
            method: http::Method::from_bytes(method.as_bytes())
                .map_err(|error| unreadable(Unfit::new("method", error)))?,
            uri: http::Uri::try_from(uri).map_err(|error| unreadable(Unfit::new("uri", error)))?,
            headers,
            body: Bytes::from(body),
        },
        at: Timestamp::from_millis(at.cast_unsigned()),
        issued: row
            .get::<_, Option<i64>>("issued_at")?
            .map(|at| Timestamp::from_millis(at.cast_unsigned())),
    })
}

fn decode_answer(row: &Row<'_>) -> Result<Option<Result<StoredAnswer, Unfit>>, Failure> {
    let Some(status) = row.get("answer_status")? else {
        return Ok(None);
    };
    let body: Vec<u8> = row.get("answer_body")?;
    let headers = from_json(row, "answer_headers")?;
    Ok(Some(headers.map(|headers| StoredAnswer {
        status,
        headers,
        body: Bytes::from(body),
    })))
}

fn from_json<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    column: &'static str,
) -> Result<Result<T, Unfit>, Failure> {
    let text = row
        .get_ref(column)?
        .as_str()
        .map_err(rusqlite::Error::from)?;
    Ok(serde_json::from_str(text).map_err(|error| Unfit::new(column, error)))
}
