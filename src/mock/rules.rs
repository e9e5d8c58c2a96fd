//! What a body must hold, and what it comes to. Pure: the books are only looked at.

use super::date;
use super::entities::{Kind, Row, read_id, ref_id};
use super::envelope::AppFault;
use super::ledger::Ledger;
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
        if kind.computes(&name) {
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
        Kind::Bill | Kind::Invoice => draft.total = open_item(ledger, kind, &mut draft.fields)?,
        Kind::BillPayment | Kind::Payment => {
            let total = told_total.or(before_sparse.map(|row| row.total));
            draft.total = total.ok_or_else(|| AppFault::required("TotalAmt"))?;
            payment(ledger, kind, &mut draft)?;
        }
    }
    Ok(draft)
}

fn amount(name: &'static str) -> impl Fn(&Value) -> Result<i64, AppFault> {
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
fn referred(
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

fn lines(fields: &mut Map<String, Value>) -> Result<&mut Vec<Value>, AppFault> {
    match fields.get_mut("Line") {
        None => Err(AppFault::required("Line")),
        Some(Value::Array(lines)) => Ok(lines),
        Some(_) => Err(AppFault::property("Line", "expected an array")),
    }
}

/// Checks the lines of a bill or an invoice, and adds them up.
fn open_item(
    ledger: &Ledger,
    kind: Kind,
    fields: &mut Map<String, Value>,
) -> Result<i64, AppFault> {
    const SUBTOTAL: &str = "SubTotalLineDetail";
    let lines = lines(fields)?;
    lines.retain(|line| line.get("DetailType").and_then(Value::as_str) != Some(SUBTOTAL));
    if lines.is_empty() {
        return Err(AppFault::required("Line"));
    }
    let mut total: i64 = 0;
    for (at, line) in lines.iter_mut().enumerate() {
        let told = line
            .get("Amount")
            .ok_or_else(|| AppFault::required("Amount"))?;
        total = total.saturating_add(amount("Amount")(told)?);
        let detail = line.get("DetailType").and_then(Value::as_str);
        let detail = detail.ok_or_else(|| AppFault::required("DetailType"))?;
        if kind == Kind::Bill && detail == "AccountBasedExpenseLineDetail" {
            let account = line.get(detail).and_then(|detail| detail.get("AccountRef"));
            referred(ledger, account, "AccountRef", Kind::Account)?;
        }
        if let Value::Object(line) = line {
            line.insert("Id".to_owned(), Value::from((at + 1).to_string()));
        }
    }
    if total > super::money::MOST_CENTS {
        return Err(AppFault::business("The total is too large"));
    }
    if kind == Kind::Invoice {
        lines.push(serde_json::json!({
            "Amount": super::money::number(total), "DetailType": SUBTOTAL, "SubTotalLineDetail": {},
        }));
    }
    Ok(total)
}

/// Checks a payment, and what each line asks to pay.
fn payment(ledger: &Ledger, kind: Kind, draft: &mut Draft) -> Result<(), AppFault> {
    if kind == Kind::BillPayment {
        let (part, account) = match draft.fields.get("PayType").and_then(Value::as_str) {
            Some("Check") => ("CheckPayment", "BankAccountRef"),
            Some("CreditCard") => ("CreditCardPayment", "CCAccountRef"),
            Some(_) => {
                return Err(AppFault::property(
                    "PayType",
                    "expected Check or CreditCard",
                ));
            }
            None => return Err(AppFault::required("PayType")),
        };
        let told = draft.fields.get(part).and_then(|part| part.get(account));
        referred(ledger, told, account, Kind::Account)?;
    }
    if !draft.fields.contains_key("Line") {
        // A payment that pays nothing yet stays as a credit.
        draft
            .fields
            .insert("Line".to_owned(), Value::Array(Vec::new()));
    }
    let party = draft.party;
    let lines = lines(&mut draft.fields)?;
    let mut sum: i64 = 0;
    for line in lines {
        let target = target(ledger, kind, party, line)?;
        sum = sum.saturating_add(target.cents);
        draft.targets.push(target);
    }
    if sum > draft.total {
        return Err(AppFault::validation(
            "6070",
            "Amount mismatch",
            "The sum of the lines is more than the total amount",
        ));
    }
    Ok(())
}

fn target(ledger: &Ledger, kind: Kind, party: u64, line: &Value) -> Result<Target, AppFault> {
    let told = line
        .get("Amount")
        .ok_or_else(|| AppFault::required("Amount"))?;
    let cents = amount("Amount")(told)?;
    let cannot = |why: &str| {
        AppFault::validation("620", "Transaction can't be linked", why.to_owned()).at("LinkedTxn")
    };
    let linked = line.get("LinkedTxn").and_then(Value::as_array);
    let linked = match linked.map(Vec::as_slice) {
        Some([linked]) => linked,
        Some([]) | None => return Err(AppFault::required("LinkedTxn")),
        Some(_) => return Err(cannot("a line pays one transaction")),
    };
    let pays = kind.pays().unwrap_or(kind);
    if linked.get("TxnType").and_then(Value::as_str) != Some(pays.name()) {
        return Err(cannot(&format!("TxnType must be {}", pays.name())));
    }
    let id = linked
        .get("TxnId")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let row = ledger
        .table(pays)
        .live(id_of(id)?)
        .ok_or_else(AppFault::not_found)?;
    if row.party != party {
        return Err(cannot("the transaction belongs to another name"));
    }
    Ok(Target { id: row.id, cents })
}
