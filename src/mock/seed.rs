//! What a company owns when the mock starts. Pure.

use super::bodies;
use super::config::InvalidMock;
use super::entities::Kind;
use super::ledger::{Ledger, LedgerRules};
use super::money::{MOST_CENTS, number};
use super::rules::Draft;
use crate::clock::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

/// What a company owns when the mock starts.
///
/// Ids are known beforehand: vendors are `1..=vendors` and customers go on from there; bills are `1..=bills` and
/// invoices go on from there; the accounts are those of [`bodies`](super::bodies).
#[derive(Clone, Debug)]
pub struct CompanyConfig {
    /// The company's id in every URL.
    pub realm: String,
    /// How many vendors.
    pub vendors: u32,
    /// How many customers.
    pub customers: u32,
    /// How many unpaid bills, dealt to the vendors in turn.
    pub bills: u32,
    /// How many unpaid invoices, dealt to the customers in turn.
    pub invoices: u32,
    /// The least and the most a bill or an invoice is over, in cents.
    pub bill_amount_cents: (i64, i64),
}

impl Default for CompanyConfig {
    fn default() -> Self {
        Self {
            realm: "1".to_owned(),
            vendors: 10,
            customers: 10,
            bills: 100,
            invoices: 20,
            bill_amount_cents: (1_000, 500_000),
        }
    }
}

impl CompanyConfig {
    /// A company of the default size.
    #[must_use]
    pub fn of(realm: impl Into<String>) -> Self {
        Self {
            realm: realm.into(),
            ..Self::default()
        }
    }

    /// The vendor of the bill with this id, among the bills the company starts with.
    #[must_use]
    pub fn vendor_of_bill(&self, bill: u32) -> String {
        (bill.saturating_sub(1) % self.vendors.max(1) + 1).to_string()
    }

    /// The id of the `n`th customer, from 0.
    #[must_use]
    pub fn customer_id(&self, n: u32) -> String {
        (u64::from(self.vendors) + u64::from(n) + 1).to_string()
    }

    /// The id of the `n`th invoice, from 0.
    #[must_use]
    pub fn invoice_id(&self, n: u32) -> String {
        (u64::from(self.bills) + u64::from(n) + 1).to_string()
    }

    /// The customer of the `n`th invoice, from 0.
    #[must_use]
    pub fn customer_of_invoice(&self, n: u32) -> String {
        self.customer_id(n % self.customers.max(1))
    }

    pub(super) fn check(&self, at: usize) -> Result<(), InvalidMock> {
        let field = |name: &str| format!("companies[{at}].{name}");
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.realm.is_empty() || !self.realm.chars().all(plain) {
            return Err(InvalidMock::new(
                field("realm"),
                "must be letters and digits: it is a part of the path",
            ));
        }
        if self.vendors == 0 && self.bills > 0 {
            return Err(InvalidMock::new(field("vendors"), "is 0: bills need one"));
        }
        if self.customers == 0 && self.invoices > 0 {
            return Err(InvalidMock::new(
                field("customers"),
                "is 0: invoices need one",
            ));
        }
        let (least, most) = self.bill_amount_cents;
        if least <= 0 || least > most || most > MOST_CENTS {
            return Err(InvalidMock::new(
                field("bill_amount_cents"),
                "must be (least, most) with 0 < least <= most <= 99999999999.99",
            ));
        }
        Ok(())
    }
}

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
