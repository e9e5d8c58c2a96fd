//! What the lines of a transaction must hold, and what they come to. Pure: the books are only looked at.

use super::entities::Kind;
use super::envelope::AppFault;
use super::ledger::Ledger;
use super::money::{MOST_CENTS, number};
use super::rules::{Draft, Target, amount, id_of, referred};
use serde_json::{Map, Value, json};

fn lines(fields: &mut Map<String, Value>) -> Result<&mut Vec<Value>, AppFault> {
    match fields.get_mut("Line") {
        None => Err(AppFault::required("Line")),
        Some(Value::Array(lines)) => Ok(lines),
        Some(_) => Err(AppFault::property("Line", "expected an array")),
    }
}

/// Checks the lines of a bill or an invoice, and adds them up.
pub(super) fn open_item(
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
    if total > MOST_CENTS {
        return Err(AppFault::business("The total is too large"));
    }
    if kind == Kind::Invoice {
        lines.push(json!({
            "Amount": number(total), "DetailType": SUBTOTAL, "SubTotalLineDetail": {},
        }));
    }
    Ok(total)
}

/// Checks a payment, and what each line asks to pay.
pub(super) fn payment(ledger: &Ledger, kind: Kind, draft: &mut Draft) -> Result<(), AppFault> {
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
