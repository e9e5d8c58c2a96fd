//! Request bodies for the companies of the mock, and the ids of the accounts every company has.

use super::money::number;
use serde_json::{Value, json};

/// Accounts payable.
pub const ACCOUNTS_PAYABLE: &str = "1";
/// Accounts receivable.
pub const ACCOUNTS_RECEIVABLE: &str = "2";
/// The bank account that payments leave from.
pub const CHECKING: &str = "3";
/// An expense account for the lines of bills.
pub const EXPENSES: &str = "4";
/// An income account.
pub const SALES: &str = "5";
/// A credit card.
pub const CREDIT_CARD: &str = "6";

/// A check that pays `cents` of one bill.
///
/// Plant `op=<token>` in `note` to find the operation in the [`History`](super::History).
#[must_use]
pub fn bill_payment(vendor_id: &str, bill_id: &str, cents: i64, note: &str) -> Value {
    json!({
        "VendorRef": { "value": vendor_id },
        "PayType": "Check",
        "CheckPayment": { "BankAccountRef": { "value": CHECKING } },
        "TotalAmt": number(cents),
        "Line": [{
            "Amount": number(cents),
            "LinkedTxn": [{ "TxnId": bill_id, "TxnType": "Bill" }],
        }],
        "PrivateNote": note,
    })
}

/// A bill over `cents`.
#[must_use]
pub fn bill(vendor_id: &str, cents: i64, note: &str) -> Value {
    json!({
        "VendorRef": { "value": vendor_id },
        "Line": [{
            "Amount": number(cents),
            "DetailType": "AccountBasedExpenseLineDetail",
            "AccountBasedExpenseLineDetail": { "AccountRef": { "value": EXPENSES } },
        }],
        "PrivateNote": note,
    })
}

/// An invoice over `cents`.
#[must_use]
pub fn invoice(customer_id: &str, cents: i64, note: &str) -> Value {
    json!({
        "CustomerRef": { "value": customer_id },
        "Line": [{
            "Amount": number(cents),
            "DetailType": "SalesItemLineDetail",
            "SalesItemLineDetail": { "ItemRef": { "value": "1" } },
        }],
        "PrivateNote": note,
    })
}

/// A customer's payment of `cents` towards one invoice.
#[must_use]
pub fn payment(customer_id: &str, invoice_id: &str, cents: i64, note: &str) -> Value {
    json!({
        "CustomerRef": { "value": customer_id },
        "TotalAmt": number(cents),
        "Line": [{
            "Amount": number(cents),
            "LinkedTxn": [{ "TxnId": invoice_id, "TxnType": "Invoice" }],
        }],
        "PrivateNote": note,
    })
}

/// A vendor. Names are unique among vendors and customers together.
#[must_use]
pub fn vendor(display_name: &str) -> Value {
    json!({ "DisplayName": display_name })
}

/// A customer. Names are unique among vendors and customers together.
#[must_use]
pub fn customer(display_name: &str) -> Value {
    json!({ "DisplayName": display_name })
}

/// A sparse update of the note alone.
#[must_use]
pub fn note(id: &str, sync_token: &str, note: &str) -> Value {
    json!({ "Id": id, "SyncToken": sync_token, "sparse": true, "PrivateNote": note })
}

/// What a delete needs, and (with `sparse`) a void.
#[must_use]
pub fn handle(id: &str, sync_token: &str) -> Value {
    json!({ "Id": id, "SyncToken": sync_token, "sparse": true })
}
