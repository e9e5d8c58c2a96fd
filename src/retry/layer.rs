//! Settings of the retry room, and the layer that holds what its services share.

use super::budget::Budget;
use super::service::Retry;
use crate::classify::{Classify, HttpClassify};
use crate::clock::Clock;
use crate::context::{MarkedTenant, Priority, TenantOf};
use crate::error::InvalidConfig;
use crate::event::{Observer, Tracing};
use crate::random::Random;
use std::sync::Arc;
use std::time::Duration;

/// How chance spreads the waits, so that callers who failed together do not come back together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// The wait is what the backoff says.
    None,
    /// Between half of the backoff and all of it: spreads, and never comes back at once.
    #[default]
    Equal,
    /// Between nothing and all of the backoff: spreads most.
    Full,
}

/// How requests of one priority are attempted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Attempts altogether, the first one included. 1 switches retrying off.
    pub attempts_max: u32,
    /// The wait after the first attempt, before jitter.
    pub base: Duration,
    /// By what each further wait grows.
    pub factor: u32,
    /// The longest wait that the backoff makes. `Retry-After` may ask for more.
    pub cap: Duration,
    /// How chance spreads the waits.
    pub jitter: Jitter,
    /// No attempt starts later than this after the first one failed. A deadline in the request's
    /// [`Context`](crate::context::Context) may end it sooner.
    pub total: Duration,
}

impl Default for Profile {
    /// Three attempts, waits of 1 s and 2 s spread by half: the product's "exponential, 1 s, 2 s, 4 s, max 3 retries".
    /// 30 s cap; 5 min altogether, which lets two pauses of QBO's 60 s throttle pass.
    fn default() -> Self {
        Self {
            attempts_max: 3,
            base: Duration::from_secs(1),
            factor: 2,
            cap: Duration::from_secs(30),
            jitter: Jitter::Equal,
            total: Duration::from_secs(300),
        }
    }
}

/// How many retries a tenant may make against retry storms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetConfig {
    /// Retries that a tenant may make without having earned them.
    pub reserve: u32,
    /// Retries that a hundred first attempts earn.
    pub percent: u32,
    /// Tenants below their reserve that are remembered; beyond it the one that spent least starts anew.
    pub tenants_max: usize,
}

impl Default for BudgetConfig {
    /// 20 % as in tower's and Finagle's budgets; a reserve of 100 as in the standard mode of the AWS clients (500 tokens, 5 a
    /// retry); 4096 tenants in trouble at once take less than 1 MiB.
    fn default() -> Self {
        Self {
            reserve: 100,
            percent: 20,
            tenants_max: 4_096,
        }
    }
}

/// Settings of the retry room: plain data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryConfig {
    /// For requests a person waits for.
    pub user_action: Profile,
    /// For work that follows from an event.
    pub event_triggered: Profile,
    /// For bulk work by the clock.
    pub scheduled: Profile,
    /// The retry budget of each tenant.
    pub budget: BudgetConfig,
}

impl RetryConfig {
    /// The same profile for every priority.
    #[must_use]
    pub fn uniform(profile: Profile) -> Self {
        Self {
            user_action: profile,
            event_triggered: profile,
            scheduled: profile,
            budget: BudgetConfig::default(),
        }
    }

    /// The profile of a priority.
    #[must_use]
    pub const fn profile(&self, priority: Priority) -> &Profile {
        match priority {
            Priority::UserAction => &self.user_action,
            Priority::EventTriggered => &self.event_triggered,
            Priority::Scheduled => &self.scheduled,
        }
    }

    fn check(&self) -> Result<(), InvalidConfig> {
        for priority in Priority::ALL {
            self.profile(priority)
                .check()
                .map_err(|invalid| invalid.within(priority.as_str()))?;
        }
        if self.budget.percent > 100 {
            return Err(InvalidConfig::new(
                "budget.percent",
                format!(
                    "is {}: more retries than requests are a storm; use at most 100",
                    self.budget.percent
                ),
            ));
        }
        if self.budget.tenants_max == 0 {
            return Err(InvalidConfig::new(
                "budget.tenants_max",
                "is 0: no tenant could be held to its budget; use the number of tenants you serve",
            ));
        }
        Ok(())
    }
}

impl Profile {
    fn check(&self) -> Result<(), InvalidConfig> {
        // A day is longer than any caller waits, and keeps the arithmetic far from its limits.
        const DAY: Duration = Duration::from_secs(86_400);
        if self.attempts_max == 0 {
            return Err(InvalidConfig::new(
                "attempts_max",
                "is 0: nothing would be sent; use 1 to switch retrying off",
            ));
        }
        if self.attempts_max > 100 {
            return Err(InvalidConfig::new(
                "attempts_max",
                format!("is {}: use at most 100", self.attempts_max),
            ));
        }
        if self.base.is_zero() {
            return Err(InvalidConfig::new(
                "base",
                "is 0: attempts would follow each other without a pause; use at least 1 ms",
            ));
        }
        if self.factor == 0 {
            return Err(InvalidConfig::new(
                "factor",
                "is 0: waits would shrink to nothing; use 1 for equal waits, 2 to double them",
            ));
        }
        if self.cap < self.base || self.cap > DAY {
            return Err(InvalidConfig::new(
                "cap",
                format!("is {:?}: use `base` at least, a day at most", self.cap),
            ));
        }
        if self.total.is_zero() || self.total > DAY {
            return Err(InvalidConfig::new(
                "total",
                format!("is {:?}: use more than 0, a day at most", self.total),
            ));
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) config: RetryConfig,
    pub(super) budget: Arc<Budget>,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) classify: Arc<dyn Classify>,
    pub(super) tenant_of: Arc<dyn TenantOf>,
    pub(super) observer: Arc<dyn Observer>,
}

/// Attempts again what provably had no effect. All services of one layer share their tenants' budgets.
#[derive(Clone, Debug)]
pub struct RetryLayer {
    shared: Arc<Shared>,
}

impl RetryLayer {
    /// A layer with these settings.
    ///
    /// # Errors
    /// When a setting cannot work; the error names the field and the fix.
    pub fn new(config: RetryConfig) -> Result<Self, InvalidConfig> {
        config.check()?;
        Ok(Self {
            shared: Arc::new(Shared {
                budget: Arc::new(Budget::new(&config.budget)),
                config,
                clock: Clock::default(),
                random: Random::default(),
                classify: Arc::new(HttpClassify::new()),
                tenant_of: Arc::new(MarkedTenant),
                observer: Arc::new(Tracing),
            }),
        })
    }

    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }

    /// Waits by this clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        self.with(|shared| shared.clock = clock)
    }

    /// Draws jitter from this source.
    #[must_use]
    pub fn with_random(self, random: Random) -> Self {
        self.with(|shared| shared.random = random)
    }

    /// Says which requests only read, and judges answers that nobody below has judged.
    #[must_use]
    pub fn with_classify(self, classify: Arc<dyn Classify>) -> Self {
        self.with(|shared| shared.classify = classify)
    }

    /// Says whose budget a retry is taken from.
    #[must_use]
    pub fn with_tenant_of(self, tenant_of: Arc<dyn TenantOf>) -> Self {
        self.with(|shared| shared.tenant_of = tenant_of)
    }

    /// Is told every retry, and every time no retry follows.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn Observer>) -> Self {
        self.with(|shared| shared.observer = observer)
    }
}

impl<S> tower_layer::Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry::new(inner, Arc::clone(&self.shared))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(change: impl FnOnce(&mut RetryConfig)) -> String {
        let mut config = RetryConfig::default();
        change(&mut config);
        RetryLayer::new(config).unwrap_err().to_string()
    }

    #[test]
    fn the_default_settings_work() {
        assert!(RetryLayer::new(RetryConfig::default()).is_ok());
    }

    #[test]
    fn a_setting_that_cannot_work_is_named() {
        let says = complaint(|config| config.scheduled.attempts_max = 0);
        assert!(says.contains("scheduled.attempts_max"), "{says}");
        let says = complaint(|config| config.user_action.cap = Duration::ZERO);
        assert!(says.contains("user_action.cap"), "{says}");
        let says = complaint(|config| config.event_triggered.total = Duration::MAX);
        assert!(says.contains("event_triggered.total"), "{says}");
        let says = complaint(|config| config.budget.percent = 101);
        assert!(says.contains("budget.percent"), "{says}");
        let says = complaint(|config| config.budget.tenants_max = 0);
        assert!(says.contains("budget.tenants_max"), "{says}");
    }
}
