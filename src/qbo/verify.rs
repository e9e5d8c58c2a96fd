//! Verifying a completed write by reading its entity back. Pure.
//!
//! Compares what the operation's own answer said with what the company says now: amount, party, the transactions it
//! settles, and whether it was voided or is gone. A difference is drift, whoever made it.

use super::entity::Entity;
use super::fault::{Reading, read};
use super::json::Json;
use super::lookup::{get, id_in};
use super::proof::is_voided;
use super::query_string::encode;
use super::route::Operation;
use crate::error::Error;
use crate::payload::Payload;
use http::{Request, Response, Uri};
use std::collections::BTreeSet;

/// What reading back showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadBack {
    /// The company says what the operation's answer said.
    Verified,
    /// It does not: what differs, for people.
    Differs(String),
    /// The answer says nothing about it.
    CannotTell(String),
}

/// The read that verifies a write, from its URL and its recorded answer; `None` where the answer names no entity to read.
///
/// # Errors
/// [`Error::Invalid`] where the URL names no company.
pub fn read_back_request(
    recorded: &Uri,
    entity: Entity,
    answer: &[u8],
) -> Result<Option<Request<Payload>>, Error> {
    match id_in(entity, answer) {
        Some(id) => get(recorded, &format!("/{}/{}", entity.segment(), encode(&id))).map(Some),
        None => Ok(None),
    }
}

/// Compares the recorded answer of a write with what a read of its entity says now.
#[must_use]
pub fn read_back(
    operation: Operation,
    entity: Entity,
    recorded: &[u8],
    now: &Response<Payload>,
) -> ReadBack {
    let then = Json::checked(recorded).and_then(|json| json.get(entity.name()));
    let Some(then) = then else {
        return ReadBack::CannotTell("the recorded answer holds no entity".into());
    };
    match read(now.body().bytes()) {
        // Facts 4, A: 610 is "not found or inactive", also to the read of a missing id.
        Reading::Fault(fault) if fault.has(610) && now.status().as_u16() < 500 => {
            if operation == Operation::Delete {
                ReadBack::Verified
            } else {
                ReadBack::Differs("it is deleted or inactive now".into())
            }
        }
        Reading::Json(json) if now.status().is_success() => match json.get(entity.name()) {
            Some(entity) if entity.is_object() => compare(operation, then, entity),
            _ => ReadBack::CannotTell("the answer holds another entity".into()),
        },
        _ => ReadBack::CannotTell("the answer is a fault or no JSON".into()),
    }
}

fn compare(operation: Operation, then: Json<'_>, now: Json<'_>) -> ReadBack {
    let text = |json: Json<'_>, name| json.get(name).and_then(Json::text).map(String::from);
    if text(then, "Id") != text(now, "Id") {
        return ReadBack::CannotTell("the answer is about another id".into());
    }
    match operation {
        Operation::Delete => return ReadBack::Differs("it was deleted but is there".into()),
        Operation::Void if is_voided(now) => return ReadBack::Verified,
        Operation::Void => return ReadBack::Differs("it was voided but has an amount".into()),
        _ => {}
    }
    let amount = |json: Json<'_>| json.get("TotalAmt").and_then(Json::number);
    if let Some(before) = amount(then)
        && amount(now) != Some(before)
    {
        let after = amount(now).map_or_else(|| "none".into(), |now| now.to_string());
        let voided = if is_voided(now) {
            ": it was voided"
        } else {
            ""
        };
        return ReadBack::Differs(format!("the amount was {before} and is {after}{voided}"));
    }
    for party in ["VendorRef", "CustomerRef"] {
        let of = |json: Json<'_>| json.get(party).and_then(|party| text(party, "value"));
        if of(then) != of(now) {
            return ReadBack::Differs(format!("{party} is another"));
        }
    }
    let missing: Vec<String> = settled(then).difference(&settled(now)).cloned().collect();
    if missing.is_empty() {
        ReadBack::Verified
    } else {
        ReadBack::Differs(format!("it no longer settles {}", missing.join(", ")))
    }
}

/// The transactions that its lines settle: of a payment of bills that were paid already, QBO drops the lines (facts 8, B).
fn settled(entity: Json<'_>) -> BTreeSet<String> {
    let lines = entity.get("Line").into_iter().flat_map(Json::items);
    lines
        .flat_map(|line| line.get("LinkedTxn").into_iter().flat_map(Json::items))
        .filter_map(|linked| {
            let kind = linked.get("TxnType")?.text()?;
            let id = linked.get("TxnId")?.text()?;
            Some(format!("{kind} {id}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    const PAID: &str = r#"{"BillPayment":{"VendorRef":{"value":"5"},"TotalAmt":100.10,"Line":[{"Amount":100.10,"LinkedTxn":[{"TxnId":"118","TxnType":"Bill"}]}],"Id":"9","SyncToken":"0"},"time":"t"}"#;

    fn back(operation: Operation, status: u16, now: &str) -> ReadBack {
        let now = Response::builder()
            .status(status)
            .body(Payload::from(now.to_owned()))
            .unwrap();
        read_back(operation, Entity::BillPayment, PAID.as_bytes(), &now)
    }

    fn differs(now: &str, why: &str) -> bool {
        matches!(back(Operation::Create, 200, now), ReadBack::Differs(told) if told.contains(why))
    }

    #[test]
    fn the_same_payment_is_verified_however_its_amount_is_written() {
        assert_eq!(back(Operation::Create, 200, PAID), ReadBack::Verified);
        let now = PAID.replace("100.10,\"Line", "1.001e2,\"Line");
        assert_eq!(back(Operation::Create, 200, &now), ReadBack::Verified);
    }

    #[test]
    fn what_differs_is_told() {
        assert!(differs(&PAID.replace("100.10", "10.10"), "100.1"));
        assert!(differs(&PAID.replace("100.10", "0"), "voided"));
        assert!(differs(&PAID.replace("\"5\"", "\"6\""), "VendorRef"));
        assert!(differs(&PAID.replace("118", "119"), "Bill 118"));
        let gone = r#"{"Fault":{"Error":[{"code":"610"}],"type":"ValidationFault"}}"#;
        assert!(matches!(
            back(Operation::Create, 400, gone),
            ReadBack::Differs(_)
        ));
        assert_eq!(back(Operation::Delete, 400, gone), ReadBack::Verified);
        assert!(matches!(
            back(Operation::Delete, 200, PAID),
            ReadBack::Differs(_)
        ));
        assert!(matches!(
            back(Operation::Void, 200, PAID),
            ReadBack::Differs(_)
        ));
    }

    #[test]
    fn whatever_is_not_about_this_entity_cannot_tell() {
        for (status, body) in [
            (200, samples::INVOICE.to_owned()),
            (200, PAID.replace("\"9\"", "\"10\"")),
            (503, samples::HTML_503.to_owned()),
            (500, PAID.to_owned()),
            (200, samples::SYSTEM_FAULT.to_owned()),
        ] {
            let seen = back(Operation::Create, status, &body);
            assert!(matches!(seen, ReadBack::CannotTell(_)), "{body}");
        }
    }

    #[test]
    fn the_read_goes_to_the_id_of_the_recorded_answer() {
        let recorded = "https://h/v3/company/1/billpayment?requestid=K"
            .parse()
            .unwrap();
        let request = read_back_request(&recorded, Entity::BillPayment, PAID.as_bytes())
            .unwrap()
            .unwrap();
        assert_eq!(request.uri(), "https://h/v3/company/1/billpayment/9");
        let none = read_back_request(&recorded, Entity::Bill, PAID.as_bytes()).unwrap();
        assert!(none.is_none());
    }
}
