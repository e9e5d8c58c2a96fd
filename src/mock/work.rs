//! The application tier: from a route and a body to books and an answer. Pure: `now` is handed in.

use super::date;
use super::entities::{Kind, Row};
use super::envelope::{AppFault, Reply};
use super::ledger::{Booked, Change, Ledger};
use super::query::{self, Found, Query, Select};
use super::route::{Route, Save};
use super::rules;
use crate::clock::Timestamp;
use http::StatusCode;
use serde_json::{Map, Value, json};
use std::io::Write;

/// What came of a request.
#[derive(Debug)]
pub(super) struct Worked {
    pub(super) reply: Reply,
    /// Whether the answer is a refusal, under whatever status.
    pub(super) failed: bool,
    /// What changed, and in which entity.
    pub(super) effect: Option<(Kind, u64, Change)>,
}

impl Worked {
    pub(super) fn fault(fault: &AppFault, now: Timestamp) -> Self {
        Self {
            reply: fault.reply(now),
            failed: true,
            effect: None,
        }
    }

    fn ok(body: Vec<u8>) -> Self {
        Self {
            reply: Reply::json(StatusCode::OK, body),
            failed: false,
            effect: None,
        }
    }
}

/// Carries out a request.
pub(super) fn work(
    ledger: &mut Ledger,
    realm: &str,
    route: &Route,
    body: Result<Map<String, Value>, AppFault>,
    now: Timestamp,
    cutoff: Option<Timestamp>,
) -> Worked {
    let result = match route {
        Route::Save(kind, save) => body.and_then(|body| {
            let booked = ledger.save(*kind, body, *save == Save::Update, now)?;
            Ok(booked_as(ledger, *kind, booked, now))
        }),
        Route::Void(kind) => body.and_then(|body| {
            let booked = ledger.void(*kind, &body, now)?;
            Ok(booked_as(ledger, *kind, booked, now))
        }),
        Route::Delete(kind) => body.and_then(|body| {
            let booked = ledger.delete(*kind, &body, now)?;
            Ok(deleted(*kind, booked, now))
        }),
        Route::Read(kind, id) => read(ledger, *kind, id, now),
        Route::Query(Ok(query)) => Ok(Worked::ok(queried(ledger, query, now, cutoff))),
        Route::Query(Err(wrong)) => Err(wrong.fault()),
        Route::CompanyInfo => Ok(company_info(realm, now)),
        Route::Batch => Err(AppFault::unsupported("batch")),
        // Seen live: status 200 with a SystemFault.
        Route::BillVoid => Err(AppFault::system(StatusCode::OK)),
        Route::Unsupported(what) => Err(AppFault::unsupported(what)),
    };
    result.unwrap_or_else(|fault| Worked::fault(&fault, now))
}

fn close(out: &mut Vec<u8>, now: Timestamp) {
    // Writing to a vector cannot fail.
    let _ = write!(out, r#","time":"{}"}}"#, date::millis(now));
}

fn single(kind: Kind, row: &Row, now: Timestamp) -> Vec<u8> {
    let mut out = Vec::with_capacity(1_024);
    let _ = write!(out, r#"{{"{}":"#, kind.name());
    row.write(kind, None, &mut out);
    close(&mut out, now);
    // It may be remembered for hours.
    out.shrink_to_fit();
    out
}

fn booked_as(ledger: &Ledger, kind: Kind, booked: Booked, now: Timestamp) -> Worked {
    let row = ledger.table(kind).get(booked.id);
    let body = row.map_or_else(Vec::new, |row| single(kind, row, now));
    Worked {
        effect: booked.effect.map(|change| (kind, booked.id, change)),
        ..Worked::ok(body)
    }
}

fn deleted(kind: Kind, booked: Booked, now: Timestamp) -> Worked {
    let body = json!({
        kind.name(): { "domain": "QBO", "status": "Deleted", "Id": booked.id.to_string() },
        "time": date::millis(now),
    });
    Worked {
        effect: booked.effect.map(|change| (kind, booked.id, change)),
        ..Worked::ok(body.to_string().into_bytes())
    }
}

fn read(ledger: &Ledger, kind: Kind, id: &str, now: Timestamp) -> Result<Worked, AppFault> {
    let row = ledger.table(kind).live(rules::id_of(id)?);
    let row = row.ok_or_else(AppFault::not_found)?;
    Ok(Worked::ok(single(kind, row, now)))
}

fn company_info(realm: &str, now: Timestamp) -> Worked {
    let body = json!({
        "CompanyInfo": {
            "CompanyName": format!("Company {realm}"), "Country": "US",
            "Id": "1", "SyncToken": "0", "domain": "QBO", "sparse": false,
        },
        "time": date::millis(now),
    });
    Worked::ok(body.to_string().into_bytes())
}

fn queried(ledger: &Ledger, query: &Query, now: Timestamp, cutoff: Option<Timestamp>) -> Vec<u8> {
    let mut out = br#"{"QueryResponse":{"#.to_vec();
    match query::search(ledger.table(query.kind), query, cutoff) {
        Found::Count(count) => {
            let _ = write!(out, r#""totalCount":{count}"#);
        }
        Found::Page(rows) if rows.is_empty() => {}
        Found::Page(rows) => {
            let only = match &query.select {
                Select::Some(names) => Some(names.as_slice()),
                _ => None,
            };
            let _ = write!(out, r#""{}":["#, query.kind.name());
            for (at, row) in rows.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                row.write(query.kind, only, &mut out);
            }
            let (start, count) = (query.start, rows.len());
            let _ = write!(out, r#"],"startPosition":{start},"maxResults":{count}"#);
        }
    }
    out.push(b'}');
    close(&mut out, now);
    // A client may cache it.
    out.shrink_to_fit();
    out
}
