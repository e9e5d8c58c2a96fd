//! What kind of QuickBooks this one is: plain data, with the worst for a client as default wherever Intuit's
//! behaviour is not established.

use super::faults::FaultPlan;
use super::latency::Latency;
use super::seed::CompanyConfig;
use std::fmt;
use std::time::Duration;

/// Settings of a mock.
#[derive(Clone, Debug)]
pub struct MockConfig {
    /// The same seed and the same requests give the same history.
    pub seed: u64,
    /// The companies that have authorised the application.
    pub companies: Vec<CompanyConfig>,
    /// What `requestid` does.
    pub request_id: RequestIdConfig,
    /// The upstream's own limits.
    pub throttle: ThrottleConfig,
    /// How long an answer takes.
    pub latency: Latency,
    /// What goes wrong.
    pub faults: FaultPlan,
    /// Queries do not show effects younger than this; reads by id always show the truth.
    pub read_lag: Duration,
    /// After this long the server gives a request up. Intuit: "any request over 120 s times out".
    pub server_timeout: Duration,
    /// What becomes of the money of a payment whose bills are all paid already.
    pub paid_bill: PaidBill,
    /// Refuse a second transaction of one kind with the same `DocNumber` (fault 6140). A company setting in
    /// QuickBooks, off unless the company chose custom transaction numbers.
    pub unique_doc_numbers: bool,
}

impl Default for MockConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            companies: vec![CompanyConfig::default()],
            request_id: RequestIdConfig::default(),
            throttle: ThrottleConfig::default(),
            latency: Latency::Quick,
            faults: FaultPlan::default(),
            read_lag: Duration::ZERO,
            server_timeout: Duration::from_secs(120),
            paid_bill: PaidBill::MoneyLeaves,
            unique_doc_numbers: false,
        }
    }
}

impl MockConfig {
    /// Nothing goes wrong and every answer takes 100 ms; all else as by default.
    #[must_use]
    pub fn quiet(seed: u64) -> Self {
        Self {
            seed,
            latency: Latency::Fixed(Duration::from_millis(100)),
            ..Self::default()
        }
    }

    pub(super) fn check(&self) -> Result<(), InvalidMock> {
        if self.companies.is_empty() {
            return Err(InvalidMock::new("companies", "is empty: name at least one"));
        }
        for (at, company) in self.companies.iter().enumerate() {
            company.check(at)?;
            if self.companies[..at]
                .iter()
                .any(|other| other.realm == company.realm)
            {
                return Err(InvalidMock::new(
                    format!("companies[{at}].realm"),
                    format!("is {} a second time: a realm is one company", company.realm),
                ));
            }
        }
        if self.server_timeout.is_zero() {
            return Err(InvalidMock::new(
                "server_timeout",
                "is 0: nothing could be answered; Intuit's is 120 s",
            ));
        }
        self.latency.check(self.server_timeout)?;
        self.throttle.check()?;
        self.faults.check(self.server_timeout)
    }
}

/// What `requestid` does. Intuit publishes that a repeat gets "the same response", and nothing else.
#[derive(Clone, Debug)]
pub struct RequestIdConfig {
    /// `false`: ignored wholly, every request is carried out.
    pub honoured: bool,
    /// How long after its commit a request is remembered. Not published: 1 h is what a client is told to count on.
    pub retention: Duration,
    /// What becomes of a request whose twin is still being worked on.
    pub concurrent: Concurrent,
    /// Whether a business refusal (400) is remembered and repeated too.
    pub replay_failures: bool,
    /// Whether a 500 of the application is remembered and repeated too, instead of the success behind it.
    pub replay_server_errors: bool,
}

impl Default for RequestIdConfig {
    fn default() -> Self {
        Self {
            honoured: true,
            retention: Duration::from_secs(60 * 60),
            concurrent: Concurrent::RunBoth,
            replay_failures: true,
            replay_server_errors: false,
        }
    }
}

/// What becomes of a request whose twin (same company, same `requestid`) is still being worked on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Concurrent {
    /// Both are carried out: the worst, and nothing published excludes it.
    #[default]
    RunBoth,
    /// The second waits for the first, and gets its answer.
    RunOne,
    /// The second is refused with fault 600, "Duplicate Request ID": the code is in Intuit's table.
    Refuse,
}

/// What becomes of the money of a payment whose bills are all paid already. In either case the lines are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PaidBill {
    /// It leaves, and stays with the vendor as a credit: the worst.
    #[default]
    MoneyLeaves,
    /// The payment is voided at once, as a public client's live test reports.
    Voided,
}

/// The upstream's own limits; all per company unless said otherwise. Sources: Intuit's limits page of 2025 for the
/// minute, the second and the batches; its post of August 2016 for ten at once.
#[derive(Clone, Debug)]
pub struct ThrottleConfig {
    /// Requests in any minute.
    pub per_minute: Option<u32>,
    /// Requests in any second.
    pub per_second: Option<u32>,
    /// Requests being worked on at once.
    pub concurrent: Option<u32>,
    /// Batch requests in any minute.
    pub batch_per_minute: Option<u32>,
    /// Requests in any minute by the whole application, over all companies.
    pub app_per_minute: Option<u32>,
    /// Whether a refused request counts like an admitted one: the worst, and not known.
    pub count_refused: bool,
    /// What a refusal looks like.
    pub shape: ThrottleShape,
    /// Whether it says when to come back. Never seen in a recorded answer.
    pub retry_after: bool,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self {
            per_minute: Some(500),
            per_second: Some(10),
            concurrent: Some(10),
            batch_per_minute: Some(40),
            app_per_minute: None,
            count_refused: true,
            shape: ThrottleShape::GatewayJson,
            retry_after: false,
        }
    }
}

impl ThrottleConfig {
    /// No limit at all.
    #[must_use]
    pub fn none() -> Self {
        Self {
            per_minute: None,
            per_second: None,
            concurrent: None,
            batch_per_minute: None,
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), InvalidMock> {
        let limits = [
            ("per_minute", self.per_minute),
            ("per_second", self.per_second),
            ("concurrent", self.concurrent),
            ("batch_per_minute", self.batch_per_minute),
            ("app_per_minute", self.app_per_minute),
        ];
        for (name, limit) in limits {
            if limit == Some(0) {
                return Err(InvalidMock::new(
                    format!("throttle.{name}"),
                    "is 0: nothing would pass; None for no limit",
                ));
            }
        }
        Ok(())
    }
}

/// What a 429 looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ThrottleShape {
    /// The gateway's lower-case JSON: by analogy with its recorded 401 and 403.
    #[default]
    GatewayJson,
    /// The XML recorded in 2016 and 2017, whatever was asked for.
    Xml,
    /// The application's upper-case JSON.
    UpperJson,
}

/// A setting that cannot be, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidMock {
    /// The setting, as a path.
    pub field: String,
    /// What is wrong with it, and the fix.
    pub why: String,
}

impl InvalidMock {
    pub(super) fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            why: why.into(),
        }
    }
}

impl fmt::Display for InvalidMock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.why)
    }
}

impl std::error::Error for InvalidMock {}
