//! Whether a scenario's values are in their ranges: pure, and each complaint names the field and the fix.

use super::{FaultName, FaultRule, Scenario, ThrottleConfig, UserConfig};
use crate::scenario::error::ScenarioError;
use crate::scenario::span::{Span, fail};

impl Scenario {
    /// Whether every value is in its range.
    ///
    /// # Errors
    /// The first field that is not, with the fix.
    pub fn check(&self) -> Result<(), ScenarioError> {
        self.check_load()?;
        self.user.check()?;
        if let Some(digest) = &self.digest {
            positive("digest.every", digest.every, "30s")?;
            let reads = self
                .times(digest.every)
                .saturating_mul(self.load.companies as u128);
            bounded("digest.every", reads)?;
            if digest.pages > 1_000 {
                return fail("digest.pages", "is over 1000: write at most that");
            }
        }
        self.throttle.check()?;
        positive(
            "upstream.server_timeout",
            self.upstream.server_timeout,
            "120s",
        )?;
        positive("upstream.retention", self.upstream.retention, "2h")?;
        for (at, rule) in self.faults.iter().enumerate() {
            rule.check(&format!("faults[{at}]"))?;
        }
        if let Some(crash) = &self.crash {
            positive("crash.every", crash.every, "60s")?;
            bounded("crash.every", self.times(crash.every))?;
        }
        positive("stack.horizon", self.stack.horizon, "1h")?;
        positive("settling", self.settling, "15m")
    }

    /// How often something happens that happens this often.
    fn times(&self, every: Span) -> u128 {
        self.load.over.get().as_nanos() / every.get().as_nanos().max(1)
    }

    fn check_load(&self) -> Result<(), ScenarioError> {
        let load = &self.load;
        counted("load.companies", load.companies)?;
        counted("load.users", load.users)?;
        counted("load.operations", load.operations)?;
        positive("load.over", load.over, "10m")?;
        share("load.double_click", load.double_click)?;
        load.capability.check()?;
        // Where surges overlap their factors multiply, which stays a number for so many.
        if load.surges.len() > 50 {
            return fail("load.surges", "are over 50: write at most that");
        }
        for (at, surge) in load.surges.iter().enumerate() {
            let field = format!("load.surges[{at}]");
            window(&field, Some(surge.from), Some(surge.until))?;
            if !(0.001..=1_000.0).contains(&surge.times) {
                return fail(
                    format!("{field}.times"),
                    "is not between 0.001 and 1000: write how many times as much happens, such as 5",
                );
            }
        }
        Ok(())
    }
}

impl UserConfig {
    fn check(&self) -> Result<(), ScenarioError> {
        positive("user.patience", self.patience, "300ms")?;
        positive("user.think", self.think, "20s")?;
        positive("user.asks_every", self.asks_every, "30s")?;
        if self.presses_again > 20 {
            return fail(
                "user.presses_again",
                "is over 20: no person presses that often; use 20 at most",
            );
        }
        Ok(())
    }
}

impl ThrottleConfig {
    fn check(&self) -> Result<(), ScenarioError> {
        let quotas = [
            ("throttle.per_minute", Some(self.per_minute)),
            ("throttle.per_second", Some(self.per_second)),
            ("throttle.concurrent", Some(self.concurrent)),
            ("throttle.app_per_minute", self.app_per_minute),
        ];
        for (field, quota) in quotas {
            // A line-up may keep a place for every request of a window.
            if quota > Some(1_000_000) {
                return fail(field, "is over 1000000: write at most that");
            }
            if quota == Some(0) {
                return fail(
                    field,
                    "is 0, which lets nothing through: write a quota of at least 1, or leave the field out",
                );
            }
        }
        Ok(())
    }
}

impl FaultRule {
    fn check(&self, field: &str) -> Result<(), ScenarioError> {
        share(&format!("{field}.probability"), self.probability)?;
        window(field, self.from, self.until)?;
        let needs = |part: &str, there: bool, of: FaultName, example: &str| {
            let field = format!("{field}.{part}");
            match (self.fault == of, there) {
                (true, false) => fail(
                    field,
                    format!("is missing: this fault needs it, such as {example}"),
                ),
                (false, true) => fail(field, "does not belong to this fault: remove it"),
                _ => Ok(()),
            }
        };
        needs(
            "commit",
            self.commit.is_some(),
            FaultName::Hang,
            "commit = \"seeded\"",
        )?;
        needs(
            "delay",
            self.delay.is_some(),
            FaultName::Delay,
            "delay = \"2s\"",
        )?;
        needs(
            "commits_late",
            self.commits_late.is_some(),
            FaultName::StreamTimeout504,
            "commits_late = true",
        )
    }
}

fn counted(field: &str, count: usize) -> Result<(), ScenarioError> {
    // A million operations already need gigabytes of history.
    match count {
        0 => fail(field, "is 0: write at least 1"),
        1..=1_000_000 => Ok(()),
        _ => fail(field, "is over 1000000: write at most that"),
    }
}

/// As many events as operations, at most.
fn bounded(field: &str, events: u128) -> Result<(), ScenarioError> {
    match events {
        0..=1_000_000 => Ok(()),
        _ => fail(
            field,
            "means over 1000000 events within `load.over`: write a longer time",
        ),
    }
}

fn positive(field: &str, span: Span, example: &str) -> Result<(), ScenarioError> {
    if span.get().is_zero() {
        return fail(
            field,
            format!("is zero: write a time such as \"{example}\""),
        );
    }
    Ok(())
}

pub(super) fn share(field: &str, share: f64) -> Result<(), ScenarioError> {
    if (0.0..=1.0).contains(&share) {
        return Ok(());
    }
    fail(
        field,
        format!("is {share}: a chance lies between 0 and 1, such as 0.05 for 5 %"),
    )
}

fn window(field: &str, from: Option<Span>, until: Option<Span>) -> Result<(), ScenarioError> {
    match (from.unwrap_or_default(), until) {
        (from, Some(until)) if until <= from => fail(
            format!("{field}.until"),
            "is not after `from`: the stretch would be empty; write a later time",
        ),
        _ => Ok(()),
    }
}
