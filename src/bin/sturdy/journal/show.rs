//! `sturdy journal show`.

use super::words::{from_now, parse_id, plain, span, time};
use super::{At, Bodies, Form, table, view};
use crate::failure::Failure;
use std::io::{self, Write};
use tower_sturdy::clock::Timestamp;
use tower_sturdy::context::{OperationId, OperationKey, Tenant};
use tower_sturdy::journal::sqlite::SqliteReader;
use tower_sturdy::journal::{Lookup, Moment, Record, StoredAnswer};
use tower_sturdy::outcome::Outcome;

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    at: At,

    /// The operation's id, from `list` or from what a caller was told.
    #[arg(value_name = "ID", value_parser = parse_id, required_unless_present = "key", conflicts_with = "key")]
    id: Option<OperationId>,

    /// The operation with this key, instead of an id.
    #[arg(long, value_name = "KEY", value_parser = OperationKey::new)]
    key: Option<OperationKey>,

    /// The tenant of that key.
    #[arg(long, value_name = "TENANT", default_value = "", value_parser = Tenant::new, requires = "key")]
    tenant: Tenant,

    /// The namespace of that key.
    #[arg(
        long,
        value_name = "NAMESPACE",
        default_value = "default",
        requires = "key"
    )]
    namespace: String,

    #[command(flatten)]
    bodies: Bodies,

    #[command(flatten)]
    form: Form,
}

impl Show {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let reader = SqliteReader::open(&self.at.file)?;
        let record = match (&self.id, &self.key) {
            (_, Some(key)) => reader.get(Lookup::Key {
                namespace: &self.namespace,
                tenant: &self.tenant,
                key,
            })?,
            (Some(id), None) => reader.get(Lookup::Id(*id))?,
            (None, None) => None,
        };
        let Some(record) = record else {
            return Err(Failure::Refused(self.missing()));
        };
        let now = super::now();
        if self.form.json {
            return super::export::object(out, &view::operation(&record, now, self.bodies.shown));
        }
        print(out, &record, now, self.bodies.shown)?;
        Ok(())
    }

    fn missing(&self) -> String {
        match (&self.id, &self.key) {
            (_, Some(key)) => format!(
                "no operation of the tenant \"{}\" in the namespace \"{}\" has the key \"{key}\"; `list --all --json` names tenants, namespaces and keys",
                plain(self.tenant.as_str()),
                plain(&self.namespace)
            ),
            (Some(id), None) => {
                format!(
                    "operation {id} is not on record; is it the right file? `list --all` lists what is"
                )
            }
            (None, None) => "name an operation".to_owned(),
        }
    }
}

/// Everything about one operation, for a person.
fn print(out: &mut dyn Write, record: &Record, now: Timestamp, bodies: bool) -> io::Result<()> {
    head(out, record, now)?;
    standing(out, record, now)?;
    exchange(out, record, bodies)?;
    attempts(out, record)?;
    history(out, record)?;
    if !bodies {
        writeln!(
            out,
            "\nBodies, header values and the query are hidden; --bodies shows them."
        )?;
    }
    Ok(())
}

fn head(out: &mut dyn Write, record: &Record, now: Timestamp) -> io::Result<()> {
    let asked = &record.asked;
    writeln!(out, "operation  {}", record.id())?;
    writeln!(out, "tenant     {}", plain(asked.tenant.as_str()))?;
    writeln!(
        out,
        "key        {}  (namespace {})",
        asked.key,
        plain(&asked.namespace)
    )?;
    if let Some(conflict) = &asked.conflict {
        writeln!(out, "about      {}", plain(conflict))?;
    }
    writeln!(
        out,
        "accepted   {}  ({})",
        time(asked.at),
        from_now(asked.at, now)
    )
}

/// What is known of it, and what guards it.
fn known(record: &Record) -> String {
    let known = match record.outcome() {
        Outcome::Applied => "the upstream's answer proves that it took effect",
        Outcome::Unknown => "what was sent may have taken effect, or not",
        Outcome::Rejected => "the upstream refused it",
        Outcome::NoEffect | Outcome::Unsent => "nothing that was sent had an effect",
    };
    let guard = match view::capability(record) {
        _ if record.state().is_final() => return known.to_owned(),
        "keyed" => "the upstream honours its key, so it may be sent again for a time",
        "lookup" => "in doubt it is looked up, and never sent again",
        _ => "it leaves at most once",
    };
    format!("{known}; {guard}")
}

/// Where it stands, and what comes next.
fn standing(out: &mut dyn Write, record: &Record, now: Timestamp) -> io::Result<()> {
    let progress = &record.progress;
    writeln!(
        out,
        "state      {}  (step {})",
        record.state(),
        progress.version
    )?;
    writeln!(out, "known      {}", known(record))?;
    if let Some(until) = record.open_until(Moment::sure(now)) {
        let when = from_now(until, now);
        writeln!(
            out,
            "open       until {}  ({when}): what was sent may still take effect",
            time(until)
        )?;
    }
    if let Some(due) = progress.due {
        writeln!(out, "due        {}  ({})", time(due), from_now(due, now))?;
    }
    if let Some(resolved) = &progress.resolved {
        let word = if resolved.applied {
            "applied"
        } else {
            "not applied"
        };
        let proven = match &resolved.proven {
            Some(proven) => format!(
                "; proof of the effect since {}: {}",
                time(proven.at),
                plain(&proven.evidence)
            ),
            None => "; nothing proven since".to_owned(),
        };
        writeln!(out, "resolved   {word}, by a person{proven}")?;
    }
    if progress.contradicted {
        writeln!(
            out,
            "!          CONTRADICTED: the upstream proved otherwise than what is on record; correct the books"
        )?;
    }
    Ok(())
}

fn exchange(out: &mut dyn Write, record: &Record, bodies: bool) -> io::Result<()> {
    if record.is_tombstone() {
        return writeln!(out, "\npurged     what was asked and answered is gone");
    }
    let request = &record.asked.request;
    writeln!(
        out,
        "\nrequest    {} {}",
        request.method,
        plain(&view::url(record, bodies))
    )?;
    writeln!(
        out,
        "           upstream key {}",
        plain(&record.asked.upstream_key)
    )?;
    content(out, &request.headers, &request.body, bodies)?;
    match &record.answer {
        None => writeln!(out, "answer     none on record"),
        Some(StoredAnswer {
            status,
            headers,
            body,
        }) => {
            writeln!(out, "answer     status {status}")?;
            content(out, headers, body, bodies)
        }
    }
}

fn content(
    out: &mut dyn Write,
    headers: &[(String, String)],
    body: &[u8],
    bodies: bool,
) -> io::Result<()> {
    if !bodies {
        let names: Vec<String> = headers.iter().map(|(name, _)| plain(name)).collect();
        let names = if names.is_empty() {
            "no headers".to_owned()
        } else {
            names.join(", ")
        };
        return writeln!(out, "           {names}; a body of {} bytes", body.len());
    }
    for (name, value) in headers {
        writeln!(out, "           {}: {}", plain(name), plain(value))?;
    }
    match std::str::from_utf8(body) {
        Ok("") => writeln!(out, "           (no body)"),
        Ok(text) => text
            .lines()
            .try_for_each(|line| writeln!(out, "           {}", plain(line))),
        Err(_) => writeln!(
            out,
            "           base64: {}",
            data_encoding::BASE64.encode(body)
        ),
    }
}

fn attempts(out: &mut dyn Write, record: &Record) -> io::Result<()> {
    let attempts = &record.progress.attempts;
    if attempts.is_empty() {
        return writeln!(out, "\nno attempt is on record");
    }
    let rows: Vec<_> = attempts
        .iter()
        .map(|attempt| {
            let (took, over) = match attempt.ended {
                Some(ended) if ended.closed => {
                    (span(ended.at.since(attempt.started)), "closed".to_owned())
                }
                Some(ended) => (span(ended.at.since(attempt.started)), time(attempt.settles)),
                None => ("no end seen".to_owned(), time(attempt.settles)),
            };
            [
                attempt.number.to_string(),
                time(attempt.started),
                took,
                attempt.outcome().to_string(),
                over,
                format!("{:016x}", attempt.owner.0),
            ]
        })
        .collect();
    writeln!(out, "\nattempts")?;
    table::write(
        out,
        "  ",
        ["#", "STARTED", "TOOK", "KNOWN", "OVER", "BY PROCESS"],
        &rows,
    )
}

fn history(out: &mut dyn Write, record: &Record) -> io::Result<()> {
    writeln!(out, "\nhistory")?;
    writeln!(out, "  {}  accepted", time(record.asked.at))?;
    for step in &record.progress.history {
        writeln!(
            out,
            "  {}  {} -> {}, by {}: {}",
            time(step.at),
            step.from,
            step.to,
            plain(&step.by),
            plain(&step.why)
        )?;
    }
    Ok(())
}
