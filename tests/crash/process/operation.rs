//! Which operations there are: the number tells everything, in every process alike.

use http::Request;
use tower_sturdy::context::{Context, OperationKey};
use tower_sturdy::mock::{CompanyConfig, bodies};
use tower_sturdy::payload::Payload;

/// How many companies pay.
pub const COMPANIES: u32 = 24;
/// How many bills each has. A load that is longer pays them again, in part as always.
const BILLS: u32 = 500;
/// The least that any bill is over; no payment is over more.
const LEAST_CENTS: i64 = 10_000;

/// The payment of one bill: its own for each number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operation(pub u32);

impl Operation {
    /// The company that pays.
    pub fn company(self) -> CompanyConfig {
        company(self.0 % COMPANIES)
    }

    pub fn bill(self) -> u32 {
        self.0 / COMPANIES % BILLS + 1
    }

    /// How much: below what the bill is over, and rarely the same twice.
    pub fn cents(self) -> i64 {
        100 + i64::from(self.0 % 9_000)
    }

    /// The key, and the marker that the upstream's history tells back.
    pub fn key(self) -> String {
        format!("pay-{}", self.0)
    }

    pub fn of_key(key: &str) -> Option<Self> {
        Some(Self(key.strip_prefix("pay-")?.parse().ok()?))
    }

    /// Whether it names a vendor that does not exist, so that the upstream must refuse it.
    pub fn is_refused(self) -> bool {
        self.0 % 25 == 7
    }

    /// Whether its caller clicks twice at once.
    pub fn is_clicked_twice(self) -> bool {
        self.0 % 5 == 3
    }

    /// What the caller sends.
    pub fn request(self, upstream: &str) -> Request<Payload> {
        let company = self.company();
        let vendor = if self.is_refused() {
            "987654".to_owned()
        } else {
            company.vendor_of_bill(self.bill())
        };
        let key = self.key();
        let note = format!("op={key}");
        let body = bodies::bill_payment(&vendor, &self.bill().to_string(), self.cents(), &note);
        Request::post(format!(
            "{upstream}/v3/company/{}/billpayment?minorversion=75",
            company.realm
        ))
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .extension(Context::new().with_key(OperationKey::new(&key).unwrap()))
        .body(Payload::from(body.to_string()))
        .unwrap()
    }
}

/// One company.
pub fn company(number: u32) -> CompanyConfig {
    CompanyConfig {
        customers: 0,
        invoices: 0,
        bills: BILLS,
        bill_amount_cents: (LEAST_CENTS, 10 * LEAST_CENTS),
        ..CompanyConfig::of(format!("{}", 9130 + number))
    }
}
