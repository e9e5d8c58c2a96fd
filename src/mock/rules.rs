//! What a body must hold, and what it comes to. Pure: the books are only looked at.

use super::date;
use super::entities::{Kind, Row, read_id, ref_id};
use super::envelope::AppFault;
use super::ledger::Ledger;
use super::lines;
use super::money::cents;
use serde_json::{Map, Value};

/// A body that passed, ready to be booked.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) fields: Map<String, Value>,
    pub(super) party: u64,
    pub(super) total: i64,
    /// Of a payment: what it asks to pay, one for each line.
    pub(super) targets: Vec<Target>,
}

/// What one line of a payment asks to pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) id: u64,
    pub(super) cents: i64,
}

/// The members of a body.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, AppFault> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(AppFault::property("body", "expected an object")),
        Err(error) => Err(AppFault::property("body", &error.to_string())),
    }
}

/// The id in a body, if it has one.
pub(super) fn id(body: &Map<String, Value>) -> Result<Option<u64>, AppFault> {
    match body.get("Id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => id_of(text).map(Some),
        Some(other) => id_of(&other.to_string()).map(Some),
    }
}

/// The id in a path or a body.
pub(super) fn id_of(text: &str) -> Result<u64, AppFault> {
    read_id(text).ok_or_else(|| {
        let detail = format!("Id should be a valid number. Supplied value:{text}");
        AppFault::validation("2030", "Invalid ID", detail).at("Id")
    })
}

/// Whether the body speaks of the row as it is now.
pub(super) fn fresh(body: &Map<String, Value>, row: &Row) -> Result<(), AppFault> {
    let told = match body.get("SyncToken") {
        None | Some(Value::Null) => return Err(AppFault::required("SyncToken")),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if told == row.sync.to_string() {
        return Ok(());
    }
    Err(AppFault::validation(
        "5010",
        "Stale Object Error",
        "Stale Object Error : You and another user were working on this at the same time. \
         The other user finished before you did, so your work was not saved.",
    ))
}

/// What a create or an update comes to; `before` is what is updated.
pub(super) fn draft(
    ledger: &Ledger,
    kind: Kind,
    body: Map<String, Value>,
    before: Option<&Row>,
) -> Result<Draft, AppFault> {
    if let Some(unknown) = body.keys().find(|name| !kind.has(name)) {
        let why = format!(
            "Unrecognized field \"{unknown}\" (class {}), not marked as ignorable",
            kind.name()
        );
        return Err(AppFault::property(unknown, &why));
    }
    lengths(&body)?;
    let sparse = body.get("sparse") == Some(&Value::Bool(true));
    let before_sparse = before.filter(|_| sparse);
    // Seen live: a bill needs its vendor on every write, sparse or not.
    if kind == Kind::Bill && !body.contains_key("VendorRef") {
        return Err(AppFault::required("VendorRef"));
    }
    let told_total = body.get("TotalAmt").map(amount("TotalAmt")).transpose()?;
    let mut fields = before_sparse.map_or_else(Map::new, |row| row.fields.clone());
    for (name, value) in body {
        if Kind::computes(&name) {
            continue;
        }
        if value.is_null() {
            fields.remove(&name);
        } else {
            fields.insert(name, value);
        }
    }
    // A full update replaces what clients said, but these never become empty.
    for name in ["TxnDate", "DueDate", "DocNumber", "Active"] {
        if let Some(value) = before.and_then(|row| row.fields.get(name)) {
            fields.entry(name).or_insert_with(|| value.clone());
        }
    }
    let mut draft = Draft {
        party: party(ledger, kind, &fields)?,
        fields,
        total: 0,
        targets: Vec::new(),
    };
    match kind {
        Kind::Account => account(&draft.fields)?,
        Kind::Vendor | Kind::Customer => {
            name(&mut draft.fields)?;
            draft.total = before.map_or(0, |row| row.total);
        }
        Kind::Bill | Kind::Invoice => {
            draft.total = lines::open_item(ledger, kind, &mut draft.fields)?
        }
        Kind::BillPayment | Kind::Payment => {
            let total = told_total.or(before_sparse.map(|row| row.total));
            draft.total = total.ok_or_else(|| AppFault::required("TotalAmt"))?;
            lines::payment(ledger, kind, &mut draft)?;
        }
    }
    Ok(draft)
}

pub(super) fn amount(name: &'static str) -> impl Fn(&Value) -> Result<i64, AppFault> {
    move |value| {
        let cents = cents(value).ok_or_else(|| AppFault::property(name, "expected an amount"))?;
        if cents < 0 {
            return Err(AppFault::business(format!("{name} must not be negative")));
        }
        Ok(cents)
    }
}

fn lengths(body: &Map<String, Value>) -> Result<(), AppFault> {
    // 21 and 4,000 characters are published.
    for (name, most) in [
        ("DocNumber", 21),
        ("PrivateNote", 4_000),
        ("DisplayName", 500),
    ] {
        let Some(value) = body.get(name).filter(|value| !value.is_null()) else {
            continue;
        };
        let text = value
            .as_str()
            .ok_or_else(|| AppFault::property(name, "expected a string"))?;
        if text.chars().count() > most {
            let detail = format!(
                "String length is either shorter or longer than supported by specification. Max:{most} {name}"
            );
            return Err(
                AppFault::validation("2050", "String length not supported", detail).at(name),
            );
        }
    }
    for name in ["TxnDate", "DueDate"] {
        let value = body.get(name).filter(|value| !value.is_null());
        if value.is_some_and(|value| !value.as_str().is_some_and(date::is_date)) {
            return Err(AppFault::property(name, "expected a date, YYYY-MM-DD"));
        }
    }
    Ok(())
}

/// The id in a reference that must be there and lead to something that may be used.
pub(super) fn referred(
    ledger: &Ledger,
    fields: Option<&Value>,
    name: &str,
    kind: Kind,
) -> Result<u64, AppFault> {
    let reference = fields.ok_or_else(|| AppFault::required(name))?;
    let row = ref_id(reference)
        .and_then(read_id)
        .and_then(|id| ledger.table(kind).live(id))
        .ok_or_else(|| {
            let detail = format!(
                "Invalid Reference Id : {} element id is invalid or not accessible",
                kind.name()
            );
            AppFault::validation("2500", "Invalid Reference Id", detail).at(name)
        })?;
    if row.active() {
        Ok(row.id)
    } else {
        Err(AppFault::not_found())
    }
}

fn party(ledger: &Ledger, kind: Kind, fields: &Map<String, Value>) -> Result<u64, AppFault> {
    match kind.party() {
        Some((name, kind)) => referred(ledger, fields.get(name), name, kind),
        None => Ok(0),
    }
}

fn account(fields: &Map<String, Value>) -> Result<(), AppFault> {
    for name in ["Name", "AccountType"] {
        if !fields.get(name).is_some_and(Value::is_string) {
            return Err(AppFault::required(name));
        }
    }
    Ok(())
}

fn name(fields: &mut Map<String, Value>) -> Result<(), AppFault> {
    if !fields.contains_key("DisplayName") {
        let parts = ["Title", "GivenName", "MiddleName", "FamilyName", "Suffix"];
        let parts: Vec<_> = parts
            .iter()
            .filter_map(|part| fields.get(*part)?.as_str())
            .collect();
        if parts.is_empty() {
            return Err(AppFault::required("DisplayName"));
        }
        let joined = parts.join(" ");
        fields.insert("DisplayName".to_owned(), Value::from(joined));
    }
    let display = fields
        .get("DisplayName")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if display.trim().is_empty() || display.contains([':', '\t', '\n']) {
        return Err(AppFault::property(
            "DisplayName",
            "must be a name without colon, tab or new line",
        ));
    }
    if fields
        .get("Active")
        .is_some_and(|active| !active.is_boolean())
    {
        return Err(AppFault::property("Active", "expected true or false"));
    }
    Ok(())
}
