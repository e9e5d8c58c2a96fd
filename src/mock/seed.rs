//! What a company owns when the mock starts. Pure.

use super::bodies;
use super::config::CompanyConfig;
use super::entities::Kind;
use super::ledger::{Ledger, LedgerRules};
use super::money::number;
use super::rules::Draft;
use crate::clock::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

/// The accounts, in the order of their ids in [`bodies`].
const ACCOUNTS: [(&str, &str); 6] = [
    ("Accounts Payable", "Accounts Payable"),
    ("Accounts Receivable", "Accounts Receivable"),
    ("Checking", "Bank"),
    ("Expenses", "Expense"),
    ("Sales", "Income"),
    ("Credit Card", "Credit Card"),
];

/// The books of a company that was set up a day before the mock starts.
pub(super) fn company(
    config: &CompanyConfig,
    rules: LedgerRules,
    rng: &mut fastrand::Rng,
    start: Timestamp,
) -> Ledger {
    let now = start.minus(Duration::from_secs(24 * 60 * 60));
    let mut ledger = Ledger::new(rules);
    for (name, account_type) in ACCOUNTS {
        let fields = json!({ "Name": name, "AccountType": account_type });
        ledger.seed(Kind::Account, draft(fields, 0, 0), now);
    }
    let names = [
        (Kind::Vendor, config.vendors),
        (Kind::Customer, config.customers),
    ];
    for (kind, count) in names {
        for n in 1..=count {
            let fields = json!({ "DisplayName": format!("{} {n}", kind.name()) });
            ledger.seed(kind, draft(fields, 0, 0), now);
        }
    }
    let (least, most) = config.bill_amount_cents;
    let open_items = [
        (Kind::Bill, config.bills, 1, config.vendors),
        (
            Kind::Invoice,
            config.invoices,
            config.vendors + 1,
            config.customers,
        ),
    ];
    for (kind, count, first_party, parties) in open_items {
        for n in 0..count {
            let party = u64::from(first_party + n % parties.max(1));
            let cents = rng.i64(least..=most);
            let fields = open_item(kind, party, cents);
            ledger.seed(kind, draft(fields, party, cents), now);
        }
    }
    ledger
}

fn draft(fields: Value, party: u64, total: i64) -> Draft {
    let fields = match fields {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    };
    Draft {
        fields,
        party,
        total,
        targets: Vec::new(),
    }
}

fn open_item(kind: Kind, party: u64, cents: i64) -> Value {
    let party = json!({ "value": party.to_string() });
    if kind == Kind::Bill {
        return json!({
            "VendorRef": party,
            "Line": [{
                "Id": "1",
                "Amount": number(cents),
                "DetailType": "AccountBasedExpenseLineDetail",
                "AccountBasedExpenseLineDetail": { "AccountRef": { "value": bodies::EXPENSES } },
            }],
        });
    }
    json!({
        "CustomerRef": party,
        "Line": [
            {
                "Id": "1",
                "Amount": number(cents),
                "DetailType": "SalesItemLineDetail",
                "SalesItemLineDetail": { "ItemRef": { "value": "1" } },
            },
            { "Amount": number(cents), "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {} },
        ],
    })
}
