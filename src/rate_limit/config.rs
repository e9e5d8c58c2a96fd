//! What admission can be told: plain data, checked once.

use crate::context::Priority;
use crate::error::InvalidConfig;
use std::borrow::Cow;
use std::time::Duration;

/// The longest time any setting of this room may name. A quota over weeks needs a count that survives a restart.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Quotas are looked at one by one on every call.
const MOST_QUOTAS: usize = 32;

/// The kind of endpoint a request goes to, named by your [`ClassOf`](super::ClassOf): batches, reports, uploads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Class(pub u8);

/// Who shares one quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Scope {
    /// Each tenant has its own.
    #[default]
    Tenant,
    /// All tenants of this layer share one; it is dealt in turns between those that wait.
    App,
}

/// What a request takes of a quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Counts {
    /// One slot.
    #[default]
    Requests,
    /// As many slots as it [costs](super::ClassOf::cost): a batch of 30 takes 30.
    Cost,
}

/// At most `limit` requests in any window of `per`.
///
/// ```
/// use std::time::Duration;
/// use tower_sturdy::rate_limit::{Class, Quota};
///
/// const BATCH: Class = Class(1);
/// let quotas = [
///     Quota::per_tenant("per minute", 500, Duration::from_secs(60)),
///     Quota::per_tenant("batches", 40, Duration::from_secs(60)).for_class(BATCH),
///     Quota::at_once("at once", 10),
/// ];
/// # assert_eq!(quotas[2].per, Duration::ZERO);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// What people call it; unique within one configuration.
    pub name: Cow<'static, str>,
    /// How many slots it has.
    pub limit: u32,
    /// How long after the answer a slot comes back. Zero makes it a limit on requests at once.
    pub per: Duration,
    /// Who shares it.
    pub scope: Scope,
    /// Which requests it counts: one class, or (`None`) every request.
    pub class: Option<Class>,
    /// What each of them takes of it.
    pub counts: Counts,
    /// How many of its slots only [`Priority::UserAction`] may use. Background work never takes the last `reserve`
    /// slots, so a user action finds one free as long as users alone use fewer. The [room](super#how-much-to-reserve)
    /// has a table.
    pub reserve: u32,
}

impl Quota {
    /// A quota that each tenant has for itself.
    #[must_use]
    pub const fn per_tenant(name: &'static str, limit: u32, per: Duration) -> Self {
        Self {
            name: Cow::Borrowed(name),
            limit,
            per,
            scope: Scope::Tenant,
            class: None,
            counts: Counts::Requests,
            reserve: 0,
        }
    }

    /// A quota that all tenants share.
    #[must_use]
    pub const fn per_app(name: &'static str, limit: u32, per: Duration) -> Self {
        let mut quota = Self::per_tenant(name, limit, per);
        quota.scope = Scope::App;
        quota
    }

    /// A limit on how many requests of one tenant are in flight at once.
    #[must_use]
    pub const fn at_once(name: &'static str, limit: u32) -> Self {
        Self::per_tenant(name, limit, Duration::ZERO)
    }

    /// Counts what requests cost, not how many they are.
    #[must_use]
    pub const fn by_cost(mut self) -> Self {
        self.counts = Counts::Cost;
        self
    }

    /// Keeps this many slots for user actions.
    #[must_use]
    pub const fn reserving(mut self, slots: u32) -> Self {
        self.reserve = slots;
        self
    }

    /// Counts requests of this class only.
    #[must_use]
    pub const fn for_class(mut self, class: Class) -> Self {
        self.class = Some(class);
        self
    }
}

/// A duration for each priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerPriority {
    /// For [`Priority::UserAction`].
    pub user_action: Duration,
    /// For [`Priority::EventTriggered`].
    pub event_triggered: Duration,
    /// For [`Priority::Scheduled`].
    pub scheduled: Duration,
}

impl PerPriority {
    /// The same for every priority.
    #[must_use]
    pub const fn all(duration: Duration) -> Self {
        Self {
            user_action: duration,
            event_triggered: duration,
            scheduled: duration,
        }
    }

    /// The one for `priority`.
    #[must_use]
    pub const fn of(&self, priority: Priority) -> Duration {
        match priority {
            Priority::UserAction => self.user_action,
            Priority::EventTriggered => self.event_triggered,
            Priority::Scheduled => self.scheduled,
        }
    }
}

/// How much earlier than it came a call of each priority counts as having come.
pub type HeadStart = PerPriority;

/// From when on a slot's way back is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anchor {
    /// A slot comes back `per` after the answer: whatever the network does to timing, the upstream never sees more than
    /// `limit` in any window of `per`.
    #[default]
    Answer,
    /// A slot comes back `per + margin` after the send, but not before the answer. Faster on short windows, and right
    /// only while no request takes longer than `margin` to be counted upstream.
    Send {
        /// The longest that a request may take to be counted.
        margin: Duration,
    },
}

/// How scheduled work is spread, so that a bulk sync trickles and does not empty a window at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// It goes as fast as the quotas let it.
    #[default]
    Unpaced,
    /// Each tenant's scheduled calls are spread evenly over the tightest of its quotas: one goes every
    /// `per / (limit - reserve)`, less a tenth, for an even pace never catches up with what it missed.
    Even,
    /// At least this long lies between two scheduled calls of one tenant.
    Every(Duration),
}

impl Pace {
    pub(super) fn every(self, quotas: &[Quota]) -> Duration {
        match self {
            Self::Unpaced => Duration::ZERO,
            Self::Every(every) => every,
            Self::Even => quotas
                .iter()
                .filter(|quota| quota.class.is_none() && quota.counts == Counts::Requests)
                .map(|quota| quota.per / quota.limit.saturating_sub(quota.reserve).max(1))
                .max()
                .unwrap_or_default()
                .mul_f64(0.9),
        }
    }
}

/// The settings of [`RateLimitLayer`](super::RateLimitLayer).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimitConfig {
    /// The quotas; none by default, for they are the upstream's. Without any, only its throttle answers are obeyed.
    pub quotas: Vec<Quota>,
    /// Strict priority within the head start, first-come beyond it. A minute for a user action, which is the window of
    /// the quota that fills first at QBO; 20 s for what an event triggered; none for scheduled work.
    pub head_start: HeadStart,
    /// How many may stand in one line; each tenant has one per endpoint class, read or write, and priority, so that a
    /// bulk sync cannot fill a user's line. 1000 by default: two QBO windows.
    pub max_waiting: usize,
    /// How long a call may stand in line; one that cannot be admitted by then is refused at once. 30 s for a user
    /// action (by then nobody looks), 2 minutes for what an event triggered, 10 minutes for scheduled work.
    pub max_wait: PerPriority,
    /// How scheduled work is spread; not at all by default.
    pub pace: Pace,
    /// How long a throttle answer without `Retry-After` closes the tenant's gates. 60 s: what Intuit asks for on a 429. For
    /// what looks like a cap on reads it doubles each time, up to an hour.
    pub pause: Duration,
    /// How long an abandoned call may still run upstream. Five minutes: QBO's 120 s server timeout plus margin.
    pub settle_window: Duration,
    /// From when on a slot's way back is counted.
    pub anchor: Anchor,
    /// Whether an upstream's `RateLimit`, `RateLimit-Remaining`, `X-RateLimit-Remaining` and `X-Rate-Limit-Remaining`
    /// headers are obeyed: no more of a tenant's calls go than the upstream says are left to it, until the reset that it
    /// names, an hour at most. On by default: whoever sends them means it. Turn it off where what they count is not what
    /// one tenant may send.
    pub feedback: bool,
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self {
            quotas: Vec::new(),
            head_start: HeadStart {
                user_action: Duration::from_secs(60),
                event_triggered: Duration::from_secs(20),
                scheduled: Duration::ZERO,
            },
            max_waiting: 1000,
            max_wait: PerPriority {
                user_action: Duration::from_secs(30),
                event_triggered: Duration::from_secs(120),
                scheduled: Duration::from_secs(600),
            },
            pace: Pace::Unpaced,
            pause: Duration::from_secs(60),
            settle_window: Duration::from_secs(300),
            anchor: Anchor::Answer,
            feedback: true,
        }
    }
}

impl RateLimitConfig {
    /// The defaults with these quotas.
    #[must_use]
    pub fn with_quotas(quotas: impl Into<Vec<Quota>>) -> Self {
        Self {
            quotas: quotas.into(),
            ..Self::default()
        }
    }

    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        self.check_quotas()?;
        if self.max_waiting == 0 {
            return Err(InvalidConfig::new(
                "max_waiting",
                "is 0: nobody could ever wait; use at least 1, or a `max_wait` of zero to refuse at once",
            ));
        }
        let starts = self.head_start;
        if starts.event_triggered > starts.user_action {
            return Err(InvalidConfig::new(
                "head_start.event_triggered",
                "is longer than that of user_action: people would wait behind events; shorten it",
            ));
        }
        if starts.scheduled > starts.event_triggered {
            return Err(InvalidConfig::new(
                "head_start.scheduled",
                "is longer than that of event_triggered: bulk work would go first; shorten it",
            ));
        }
        for (field, value) in [("pause", self.pause), ("settle_window", self.settle_window)] {
            if value.is_zero() {
                return Err(InvalidConfig::new(
                    field,
                    "is zero: use the time the upstream asks for (QBO: 60s for `pause`, 300s for `settle_window`)",
                ));
            }
        }
        let margin = match self.anchor {
            Anchor::Answer => Duration::ZERO,
            Anchor::Send { margin } => margin,
        };
        for (field, value) in [
            ("head_start.user_action", starts.user_action),
            ("max_wait.user_action", self.max_wait.user_action),
            ("max_wait.event_triggered", self.max_wait.event_triggered),
            ("max_wait.scheduled", self.max_wait.scheduled),
            ("pause", self.pause),
            ("settle_window", self.settle_window),
            ("anchor.margin", margin),
            ("pace", self.pace.every(&self.quotas)),
        ] {
            not_too_long(field, value)?;
        }
        Ok(())
    }

    /// A change at run time keeps what the book of slots is built on: which quotas there are, and what they count.
    pub(super) fn differs_in_numbers_alone(&self, from: &Self) -> Result<(), InvalidConfig> {
        if self.quotas.len() != from.quotas.len() {
            return Err(InvalidConfig::new(
                "quotas",
                format!(
                    "{} of them, where there were {}: a running layer keeps its quotas; change their numbers, or make a \
                     new layer",
                    self.quotas.len(),
                    from.quotas.len()
                ),
            ));
        }
        let kind = |quota: &Quota| (quota.name.clone(), quota.scope, quota.class, quota.counts);
        match (self.quotas.iter().zip(&from.quotas)).position(|(new, old)| kind(new) != kind(old)) {
            None => Ok(()),
            Some(at) => Err(InvalidConfig::new(
                format!("quotas[{at}]"),
                "differs in name, scope, class or what it counts: a running layer keeps those; change limit, per or \
                 reserve, or make a new layer",
            )),
        }
    }

    fn check_quotas(&self) -> Result<(), InvalidConfig> {
        if self.quotas.len() > MOST_QUOTAS {
            return Err(InvalidConfig::new(
                "quotas",
                format!(
                    "{} of them: at most {MOST_QUOTAS} are allowed; drop those that a tighter one covers",
                    self.quotas.len()
                ),
            ));
        }
        for (index, quota) in self.quotas.iter().enumerate() {
            let field = |name: &str| format!("quotas[{index}].{name}");
            if quota.name.is_empty() {
                return Err(InvalidConfig::new(
                    field("name"),
                    "is empty: name the quota as your upstream does, such as \"per minute\"",
                ));
            }
            if let Some(first) = self.quotas[..index]
                .iter()
                .position(|q| q.name == quota.name)
            {
                return Err(InvalidConfig::new(
                    field("name"),
                    format!(
                        "is {:?}, as quotas[{first}] is: give each its own name",
                        quota.name
                    ),
                ));
            }
            if quota.limit == 0 {
                return Err(InvalidConfig::new(
                    field("limit"),
                    "is 0: nothing could ever be admitted; use at least 1, or drop the quota",
                ));
            }
            if quota.reserve >= quota.limit {
                return Err(InvalidConfig::new(
                    field("reserve"),
                    format!(
                        "is {} of {} slots: background work could never go; leave it at least one",
                        quota.reserve, quota.limit
                    ),
                ));
            }
            not_too_long(&field("per"), quota.per)?;
        }
        Ok(())
    }
}

fn not_too_long(field: &str, value: Duration) -> Result<(), InvalidConfig> {
    if value > LONGEST {
        return Err(InvalidConfig::new(
            field,
            format!(
                "is {value:?}: at most one day is allowed, for slots are forgotten at a restart"
            ),
        ));
    }
    Ok(())
}
