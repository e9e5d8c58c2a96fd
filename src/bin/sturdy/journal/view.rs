//! An operation as programs read it: one JSON object, the same in `list`, `show`, `export` and after a decision.
//!
//! Times are RFC 3339 in UTC. What is not there is `null`. Bodies, header values and the query are there only with
//! `--bodies`: a body as text where it is UTF-8, else in base64. New members may come; those that are here stay.

use super::words::time;
use serde::Serialize;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::journal::{Attempt, Capability, Moment, Record, record};

#[derive(Debug, Serialize)]
pub(crate) struct Operation<'a> {
    id: String,
    namespace: &'a str,
    tenant: &'a str,
    key: &'a str,
    conflict: Option<&'a str>,
    state: &'static str,
    version: u64,
    asked_at: String,
    /// When the worker looks at it.
    due: Option<String>,
    /// Until when something that was sent may still take effect.
    open_until: Option<String>,
    /// What is known over all attempts.
    outcome: &'static str,
    capability: &'static str,
    upstream_key: &'a str,
    owner: String,
    lease_until: String,
    acknowledged: bool,
    contradicted: bool,
    /// When it became final, of one whose request and answer were purged.
    purged: Option<String>,
    resolved: Option<Resolved<'a>>,
    request: Request<'a>,
    answer: Option<Answer<'a>>,
    attempts: Vec<Sent>,
    history: Vec<Step<'a>>,
}

#[derive(Debug, Serialize)]
struct Resolved<'a> {
    at: String,
    applied: bool,
    proven_at: Option<String>,
    evidence: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Request<'a> {
    method: &'a str,
    /// Without its query, unless bodies are shown.
    url: String,
    headers: Vec<Header<'a>>,
    #[serde(flatten)]
    body: Body<'a>,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    status: u16,
    headers: Vec<Header<'a>>,
    #[serde(flatten)]
    body: Body<'a>,
}

#[derive(Debug, Serialize)]
struct Header<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Body<'a> {
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

#[derive(Debug, Serialize)]
struct Sent {
    number: u32,
    owner: String,
    started: String,
    ended: Option<String>,
    outcome: &'static str,
    /// Whether it is over for the upstream too.
    closed: bool,
    /// When nothing of it can land any more.
    settles: String,
}

#[derive(Debug, Serialize)]
struct Step<'a> {
    at: String,
    from: &'static str,
    to: &'static str,
    why: &'a str,
    by: &'a str,
}

/// The word for what the upstream offers against doing a write twice.
pub(crate) fn capability(record: &Record) -> &'static str {
    match record.asked.capability {
        Capability::Keyed { .. } => "keyed",
        Capability::Lookup => "lookup",
        Capability::None => "none",
    }
}

/// The URL, without its query unless that is shown.
pub(crate) fn url(record: &Record, bodies: bool) -> String {
    let uri = &record.asked.request.uri;
    let whole = uri.to_string();
    match uri.query() {
        Some(query) if !bodies => {
            let kept = whole.len() - query.len();
            whole[..kept].trim_end_matches('?').to_owned()
        }
        _ => whole,
    }
}

fn headers(headers: &[(String, String)], bodies: bool) -> Vec<Header<'_>> {
    headers
        .iter()
        .map(|(name, value)| Header {
            name,
            value: bodies.then_some(value.as_str()),
        })
        .collect()
}

fn body(body: &[u8], bodies: bool) -> Body<'_> {
    let text = std::str::from_utf8(body).ok();
    Body {
        bytes: body.len(),
        body: text.filter(|_| bodies),
        body_base64: (bodies && text.is_none()).then(|| data_encoding::BASE64.encode(body)),
    }
}

fn sent(attempt: &Attempt) -> Sent {
    Sent {
        number: attempt.number,
        owner: format!("{:016x}", attempt.owner.0),
        started: time(attempt.started),
        ended: attempt.ended.map(|ended| time(ended.at)),
        outcome: attempt.outcome().as_str(),
        closed: attempt.ended.is_some_and(|ended| ended.closed),
        settles: time(attempt.settles),
    }
}

fn step(step: &record::Transition) -> Step<'_> {
    Step {
        at: time(step.at),
        from: step.from.as_str(),
        to: step.to.as_str(),
        why: &step.why,
        by: &step.by,
    }
}

/// The operation as it is on record, at `now`.
pub(crate) fn operation(record: &Record, now: Timestamp, bodies: bool) -> Operation<'_> {
    let (asked, progress) = (&record.asked, &record.progress);
    Operation {
        id: record.id().to_string(),
        namespace: &asked.namespace,
        tenant: asked.tenant.as_str(),
        key: asked.key.as_str(),
        conflict: asked.conflict.as_deref(),
        state: progress.state.as_str(),
        version: progress.version,
        asked_at: time(asked.at),
        due: progress.due.map(time),
        open_until: record.open_until(Moment::sure(now)).map(time),
        outcome: record.outcome().as_str(),
        capability: capability(record),
        upstream_key: &asked.upstream_key,
        owner: format!("{:016x}", progress.owner.0),
        lease_until: time(progress.lease_until),
        acknowledged: progress.acknowledged,
        contradicted: progress.contradicted,
        purged: progress.purged.map(time),
        resolved: progress.resolved.as_ref().map(|resolved| Resolved {
            at: time(resolved.at),
            applied: resolved.applied,
            proven_at: resolved.proven.as_ref().map(|proven| time(proven.at)),
            evidence: resolved
                .proven
                .as_ref()
                .map(|proven| proven.evidence.as_str()),
        }),
        request: Request {
            method: asked.request.method.as_str(),
            url: url(record, bodies),
            headers: headers(&asked.request.headers, bodies),
            body: body(&asked.request.body, bodies),
        },
        answer: record.answer.as_ref().map(|answer| Answer {
            status: answer.status,
            headers: headers(&answer.headers, bodies),
            body: body(&answer.body, bodies),
        }),
        attempts: progress.attempts.iter().map(sent).collect(),
        history: progress.history.iter().map(step).collect(),
    }
}
