//! Settings of the cache room, and the layer that holds what its services share.

use super::flight::Flights;
use super::generations::Generations;
use super::handle::CacheHandle;
use super::rules::{CacheRules, GetRules};
use super::service::Cache;
use super::shared::Shared;
use super::store::Store;
use crate::classify::{Classify, HttpClassify};
use crate::clock::Clock;
use crate::context::{MarkedTenant, TenantOf};
use crate::error::InvalidConfig;
use crate::event::{Observer, Tracing};
use crate::random::Random;
use http::{HeaderName, header};
use std::sync::Arc;
use std::time::Duration;

/// Settings of the cache room: plain data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Bytes that the kept answers may take, keys and headers included.
    pub capacity: u64,
    /// How long an answer is fresh, where [`ReadRule::ttl`](super::ReadRule::ttl) says nothing else. Counted from when it was asked for.
    pub ttl: Duration,
    /// How long after that it may still stand in where the upstream fails or is slow. Zero: never.
    pub stale_for: Duration,
    /// How long a user action waits for the upstream before an answer that may stand in does so (the read goes on, and
    /// renews it). [`Context::patience`](crate::context::Context::patience) says it per request, for any priority. `None`: a
    /// slow upstream is waited for.
    pub slow_after: Option<Duration>,
    /// For how long after a write the upstream may still answer reads with what was before. Reads begun within are
    /// passed on and not kept.
    pub read_lag: Duration,
    /// For how long after a write in doubt its effect may still land. Reads begun within are passed on and not kept.
    pub settle_window: Duration,
    /// Counters for the generations of entities: 24 bytes each. Entities that share one share their invalidations.
    pub generations: usize,
    /// Reads under way that can be joined; beyond it reads are passed on, neither joined nor kept.
    pub flights_max: usize,
    /// Request headers that carry credentials: answers are given only under the same ones.
    pub scope: Vec<HeaderName>,
    /// Other request headers by which answers differ. An answer whose `Vary` names more is not kept.
    pub variants: Vec<HeaderName>,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            capacity: 64 * 1024 * 1024,
            // The product's own figure for reads of QBO.
            ttl: Duration::from_secs(240 * 60),
            // A day-old figure, marked as such, serves a person better than none.
            stale_for: Duration::from_secs(20 * 3_600),
            // The product's bound for user actions.
            slow_after: Some(Duration::from_millis(300)),
            // No upstream of this kind publishes it; a few seconds cost a few reads.
            read_lag: Duration::from_secs(5),
            // QBO's server timeout of 120 s plus margin, as everywhere in this crate.
            settle_window: Duration::from_secs(300),
            generations: 4_096,
            flights_max: 1_024,
            scope: vec![header::AUTHORIZATION, header::COOKIE],
            variants: vec![
                header::ACCEPT,
                header::ACCEPT_ENCODING,
                header::ACCEPT_LANGUAGE,
                header::HOST,
                header::ORIGIN,
            ],
        }
    }
}

impl CacheConfig {
    fn check(&self) -> Result<(), InvalidConfig> {
        // Bounds that keep the arithmetic far from its limits.
        const YEAR: Duration = Duration::from_secs(365 * 86_400);
        let wrong = |field: &str, why: String| Err(InvalidConfig::new(field, why));
        if self.capacity < 16 * 1024 {
            return wrong(
                "capacity",
                format!("is {} bytes: use at least 16 KiB", self.capacity),
            );
        }
        if self.ttl.is_zero() {
            return wrong(
                "ttl",
                "is 0: nothing would be kept; leave the layer out instead".into(),
            );
        }
        for (field, time) in [
            ("ttl", self.ttl),
            ("stale_for", self.stale_for),
            ("read_lag", self.read_lag),
            ("settle_window", self.settle_window),
            ("slow_after", self.slow_after.unwrap_or_default()),
        ] {
            if time > YEAR {
                return wrong(field, format!("is {time:?}: use at most a year"));
            }
        }
        if self.generations == 0 || self.generations > 1 << 24 {
            return wrong(
                "generations",
                format!("is {}: use 1 to 16777216", self.generations),
            );
        }
        if self.flights_max == 0 {
            return wrong(
                "flights_max",
                "is 0: no read could be joined or kept; use at least 1".into(),
            );
        }
        if !self.scope.contains(&header::AUTHORIZATION) {
            return wrong(
                "scope",
                "lacks `authorization`: answers of one credential would be given to another; add it"
                    .into(),
            );
        }
        Ok(())
    }
}

/// Answers reads from what the upstream answered before. All services of one layer share what is kept.
#[derive(Clone, Debug)]
pub struct CacheLayer {
    shared: Arc<Shared>,
}

impl CacheLayer {
    /// A layer with these settings.
    ///
    /// # Errors
    /// When a setting cannot work; the error names the field and the fix.
    pub fn new(config: CacheConfig) -> Result<Self, InvalidConfig> {
        config.check()?;
        let (clock, random) = (Clock::default(), Random::default());
        let generations = Generations::new(config.generations, &random);
        Ok(Self {
            shared: Arc::new(Shared {
                store: Arc::new(Store::new(config.capacity, generations, clock.now())),
                flights: Arc::new(Flights::new(config.flights_max)),
                hashers: super::key::Hashers::default(),
                config,
                clock,
                random,
                rules: Arc::new(GetRules),
                classify: Arc::new(HttpClassify::new()),
                tenant_of: Arc::new(MarkedTenant),
                observer: Arc::new(Tracing),
            }),
        })
    }

    /// Changes a layer that is being built; services and handles made before keep what they had.
    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }

    /// Reads time from this clock. Forgets what was kept.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        self.with(|shared| {
            shared.clock = clock;
            shared.renew();
        })
    }

    /// Draws the first generations from this source. Forgets what was kept.
    #[must_use]
    pub fn with_random(self, random: Random) -> Self {
        self.with(|shared| {
            shared.random = random;
            shared.renew();
        })
    }

    /// Says which answers may be kept, and which entities a request touches.
    #[must_use]
    pub fn with_rules(self, rules: Arc<dyn CacheRules>) -> Self {
        self.with(|shared| shared.rules = rules)
    }

    /// Says whose answers they are.
    #[must_use]
    pub fn with_tenant_of(self, tenant_of: Arc<dyn TenantOf>) -> Self {
        self.with(|shared| shared.tenant_of = tenant_of)
    }

    /// Says which requests only read, and judges answers that nobody below has judged.
    #[must_use]
    pub fn with_classify(self, classify: Arc<dyn Classify>) -> Self {
        self.with(|shared| shared.classify = classify)
    }

    /// Is told every answer from the cache, and every read that joined another.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn Observer>) -> Self {
        self.with(|shared| shared.observer = observer)
    }

    /// For jobs beside the stack: look up, keep, invalidate. Take it after the last `with_`.
    #[must_use]
    pub fn handle(&self) -> CacheHandle {
        CacheHandle::new(Arc::clone(&self.shared))
    }
}

impl<S> tower_layer::Layer<S> for CacheLayer {
    type Service = Cache<S>;

    fn layer(&self, inner: S) -> Cache<S> {
        Cache::new(inner, Arc::clone(&self.shared))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(change: impl FnOnce(&mut CacheConfig)) -> String {
        let mut config = CacheConfig::default();
        change(&mut config);
        CacheLayer::new(config).unwrap_err().field().to_owned()
    }

    #[test]
    fn the_default_settings_work() {
        assert!(CacheLayer::new(CacheConfig::default()).is_ok());
    }

    #[test]
    fn a_setting_that_cannot_work_is_named() {
        assert_eq!(complaint(|config| config.capacity = 1), "capacity");
        assert_eq!(complaint(|config| config.ttl = Duration::ZERO), "ttl");
        assert_eq!(
            complaint(|config| config.stale_for = Duration::MAX),
            "stale_for"
        );
        assert_eq!(complaint(|config| config.generations = 0), "generations");
        assert_eq!(complaint(|config| config.flights_max = 0), "flights_max");
        assert_eq!(complaint(|config| config.scope.clear()), "scope");
    }
}
