//! What a scenario file says: the load, the users, and what goes wrong.
//!
//! Everything has a checked range; a mistake is a [`ScenarioError`](super::ScenarioError) that names the field and the
//! fix. Unknown fields are refused, so a misspelt setting is never silently a default.

mod capability;
mod check;
mod fault;

use super::error::ScenarioError;
use super::span::Span;
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub use capability::{CapabilityShares, WriteCapability};
pub use fault::{FaultName, FaultOn, FaultRule, HangCommit};

/// One scenario, as its file says.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name, as the report prints it.
    pub name: String,
    /// What it shows, for people.
    #[serde(default)]
    pub about: String,
    /// How many of whom do what, and when.
    pub load: LoadConfig,
    /// How a person behaves: the same for every line-up.
    #[serde(default)]
    pub user: UserConfig,
    /// The background sync; absent: none.
    #[serde(default)]
    pub digest: Option<DigestConfig>,
    /// The upstream's own throttles.
    #[serde(default)]
    pub throttle: ThrottleConfig,
    /// The rest of the upstream's temper.
    #[serde(default)]
    pub upstream: UpstreamConfig,
    /// What goes wrong, and how often.
    #[serde(default)]
    pub faults: Vec<FaultRule>,
    /// Our process dies again and again; absent: never.
    #[serde(default)]
    pub crash: Option<CrashConfig>,
    /// How a line-up with a journal is set up.
    #[serde(default)]
    pub stack: StackConfig,
    /// How long after the last action everything may still settle.
    pub settling: Span,
}

/// How many of whom do what, and when.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LoadConfig {
    /// Companies; each has its own quota and data.
    pub companies: usize,
    /// Users in each company.
    pub users: usize,
    /// Bills paid, in all companies together.
    pub operations: usize,
    /// The time over which they are spread, as a Poisson process would.
    pub over: Span,
    /// Chance that the user clicks twice.
    #[serde(default)]
    pub double_click: f64,
    /// Time between the two clicks.
    #[serde(default = "Span::double_click")]
    pub double_click_gap: Span,
    /// Which share of the writes is declared as what: all keyed by default.
    #[serde(default)]
    pub capability: CapabilityShares,
    /// Times of day at which more happens.
    #[serde(default)]
    pub surges: Vec<Surge>,
}

/// A stretch of the load in which more happens.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Surge {
    /// From this time of the load on.
    pub from: Span,
    /// Until this one.
    pub until: Span,
    /// How many times as much happens.
    pub times: f64,
}

/// How a person behaves.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UserConfig {
    /// How long an answer may take before it is felt; also the patience that the stack is given.
    pub patience: Span,
    /// How often a user who was told "failed" presses again.
    pub presses_again: u32,
    /// After how long, the first time; each further time takes twice as long. Between half and one and a half of it.
    pub think: Span,
    /// A user who was told "pending" asks again this often.
    pub asks_every: Span,
}

impl Default for UserConfig {
    fn default() -> Self {
        Self {
            // The product's bound for user actions (design, section 1).
            patience: Span::millis(300),
            presses_again: 2,
            think: Span::secs(20),
            asks_every: Span::secs(30),
        }
    }
}

/// The background sync.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DigestConfig {
    /// Each company is read this often.
    pub every: Span,
    /// How many pages of open bills are read after their number.
    #[serde(default)]
    pub pages: u32,
}

/// The upstream's throttles. A limit that is not named has Intuit's published value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ThrottleConfig {
    /// Requests of one company in a minute.
    pub per_minute: u32,
    /// Requests of one company in a second.
    pub per_second: u32,
    /// Requests of one company at once.
    pub concurrent: u32,
    /// Requests of all companies in a minute; absent: no such limit.
    pub app_per_minute: Option<u32>,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        // Intuit's published limits of 2026: 500 a minute and 10 a second per realm; 10 at once is of 2016 and may
        // still hold.
        Self {
            per_minute: 500,
            per_second: 10,
            concurrent: 10,
            app_per_minute: None,
        }
    }
}

/// The rest of the upstream's temper.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamConfig {
    /// How long answers take.
    pub latency: Latency,
    /// How long after its commit a requestid is remembered, where it is honoured at all. Intuit publishes none. No
    /// longer than `stack.horizon` by default, which is the worst: with less, the stack is promised something that does
    /// not hold.
    pub retention: Span,
    /// How long a query may not see what was written.
    pub read_lag: Span,
    /// After how long the server gives up on a request.
    pub server_timeout: Span,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            latency: Latency::Quick,
            retention: Span::secs(60 * 60),
            read_lag: Span::secs(0),
            // Intuit: a request over 120 s times out.
            server_timeout: Span::secs(120),
        }
    }
}

/// How long answers take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Latency {
    /// Median 120 ms, p99 280 ms.
    #[default]
    Quick,
    /// 85 to 860 ms, as in recorded sandbox traffic.
    Recorded,
}

/// Our process dies again and again while the load lasts.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CrashConfig {
    /// The mean time between two deaths.
    pub every: Span,
    /// How long it stays down.
    #[serde(default = "Span::down")]
    pub down: Span,
}

/// How a line-up with a journal is set up.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StackConfig {
    /// Where operations are recorded.
    pub journal: JournalKind,
    /// How long after the first byte the same key may be sent again.
    pub horizon: Span,
    /// How long after an abandoned attempt its effect may still land.
    pub settle_window: Span,
}

impl Default for StackConfig {
    fn default() -> Self {
        Self {
            journal: JournalKind::Memory,
            horizon: Span::secs(60 * 60),
            settle_window: Span::secs(5 * 60),
        }
    }
}

/// Where operations are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalKind {
    /// In memory that outlives the simulated process.
    #[default]
    Memory,
    /// In a SQLite file of its own.
    Sqlite,
}

impl Scenario {
    /// Reads a scenario from TOML.
    ///
    /// # Errors
    /// When the text is no TOML, a field is unknown or missing, or a value is out of its range.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text)
            .map_err(|error| ScenarioError::Text(error.to_string().trim_end().to_owned()))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// The scenario as a file, with every default written out.
    ///
    /// # Errors
    /// Never with a scenario that was read from a file; the signature is the TOML writer's.
    pub fn to_toml(&self) -> Result<String, ScenarioError> {
        toml::to_string(self).map_err(|error| ScenarioError::Run(error.into()))
    }

    /// The scenario with another number of operations. Companies grow with them, so that each company's share of the
    /// load, and the shape of the whole, stay what the file says.
    #[must_use]
    pub fn with_operations(mut self, operations: usize) -> Self {
        if operations > self.load.operations {
            self.load.companies = (self.load.companies.saturating_mul(operations))
                .div_ceil(self.load.operations.max(1));
        }
        self.load.operations = operations;
        self
    }

    /// When the last action begins, counted from the start.
    #[must_use]
    pub fn load_ends(&self) -> Duration {
        self.load.over.get()
    }

    /// When the run is judged, counted from the start.
    #[must_use]
    pub fn ends(&self) -> Duration {
        self.load_ends() + self.settling.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "good"
settling = "10m"
[load]
companies = 2
users = 3
operations = 10
over = "5m"
"#;

    fn complaint(text: &str) -> String {
        Scenario::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_short_file_is_enough() {
        let scenario = Scenario::parse(GOOD).unwrap();
        assert_eq!(scenario.throttle, ThrottleConfig::default());
        assert_eq!(scenario.ends(), Duration::from_secs(15 * 60));
    }

    #[test]
    fn a_mistake_is_told_with_its_field_and_the_fix() {
        let cases = [
            (
                "[throttle]\nper_minute = 0",
                "`throttle.per_minute`",
                "at least 1",
            ),
            (
                "[throttle]\nper_second = 4294967295",
                "`throttle.per_second`",
                "at most",
            ),
            ("[user]\nthink = \"-5s\"", "think", "negative"),
            ("[user]\npatience = \"soon\"", "patience", "300ms"),
            ("[user]\npatience = \"0s\"", "`user.patience`", "300ms"),
            ("[user]\npatiense = \"1s\"", "patiense", "expected one of"),
            (
                "[[faults]]\nfault = \"reset_before\"\nprobability = 1.5",
                "`faults[0].probability`",
                "between 0 and 1",
            ),
            (
                "[[faults]]\nfault = \"hang\"\nprobability = 0.5",
                "`faults[0].commit`",
                "seeded",
            ),
            (
                "[[faults]]\nfault = \"boom\"\nprobability = 0.5",
                "fault = \"boom\"",
                "expected one of",
            ),
            (
                "[[faults]]\nfault = \"error_500\"\nprobability = 0.5\nfrom = \"2m\"\nuntil = \"1m\"",
                "`faults[0].until`",
                "later",
            ),
            (
                "[load.capability]\nlookup = 1.5",
                "`load.capability.lookup`",
                "between 0 and 1",
            ),
            (
                "[load.capability]\nlookup = 0.6\nnone = 0.6",
                "`load.capability`",
                "more than 1",
            ),
            ("[crash]\nevery = \"0s\"", "`crash.every`", "60s"),
            (
                "[crash]\nevery = \"1ns\"\ndown = \"0s\"",
                "`crash.every`",
                "longer",
            ),
            ("[digest]\nevery = \"1ns\"", "`digest.every`", "longer"),
            (
                "[digest]\nevery = \"1m\"\npages = 4294967295",
                "`digest.pages`",
                "at most",
            ),
            (
                "[[load.surges]]\nfrom = \"1m\"\nuntil = \"2m\"\ntimes = 1e308",
                "`load.surges[0].times`",
                "1000",
            ),
            (
                "[[load.surges]]\nfrom = \"1m\"\nuntil = \"2m\"\ntimes = 1e-300",
                "`load.surges[0].times`",
                "0.001",
            ),
        ];
        for (more, field, fix) in cases {
            let told = complaint(&format!("{GOOD}\n{more}\n"));
            assert!(
                told.contains(field) && told.contains(fix),
                "{more}\n-> {told}"
            );
        }
        let told = complaint(&GOOD.replace("companies = 2", "companies = 0"));
        assert!(
            told.contains("`load.companies`") && told.contains("at least 1"),
            "{told}"
        );
        let told = complaint(&GOOD.replace("settling = \"10m\"", ""));
        assert!(told.contains("settling"), "{told}");
        assert!(complaint("name = ").contains("line 1"));
    }

    #[test]
    fn more_operations_mean_more_companies_of_the_same_size() {
        let scenario = Scenario::parse(GOOD).unwrap().with_operations(100);
        assert_eq!(
            (scenario.load.companies, scenario.load.operations),
            (20, 100)
        );
        let told = Scenario::parse(GOOD).unwrap().with_operations(usize::MAX);
        assert!(told.check().unwrap_err().to_string().contains("load."));
        let fewer = Scenario::parse(GOOD).unwrap().with_operations(4);
        assert_eq!((fewer.load.companies, fewer.load.operations), (2, 4));
    }
}
