//! The settings as admission reads them: which quotas a request needs, in plain numbers.

use super::config::{Anchor, Counts, Quota, RateLimitConfig, Scope};
use super::layer::ClassOf;
use super::tenants::LineId;
use super::window::{Load, NEVER, Nanos, Spec, Window};
use crate::context::Priority;
use crate::payload::Payload;
use http::Request;
use std::borrow::Cow;
use std::time::Duration;

/// Where a quota's window is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Tenant(usize),
    App(usize),
}

/// The quotas that requests of one class need. Classes that no quota names share one set, and so one line.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    /// The tenant's own: first those of the class, then those that count every request.
    pub(super) tenant: Vec<usize>,
    /// How many of them are of the class.
    pub(super) tenant_class: usize,
    /// What tenants share, in the same order.
    pub(super) app: Vec<usize>,
    pub(super) app_class: usize,
    pub(super) all: Vec<Kept>,
    /// Whether one of them keeps slots for user actions.
    pub(super) reserves: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Rules {
    tenant: Vec<Spec>,
    app: Vec<Spec>,
    names: Vec<(Cow<'static, str>, Kept)>,
    weighed: bool,
    pub(super) sets: Vec<Set>,
    set_of: [u8; 256],
    /// How much later than the most urgent each priority counts as having come.
    lag: [Nanos; 3],
    /// Who has waited for this long cannot be outrun by anyone who comes now.
    pub(super) longest_head_start: Nanos,
    max_wait: [Nanos; 3],
    pub(super) max_waiting: usize,
    pub(super) pause: Nanos,
    /// The least time between two scheduled calls of one tenant.
    pub(super) pace: Nanos,
    /// Whether the upstream's word on what is left is heard.
    pub(super) feedback: bool,
    settle: Nanos,
    margin: Option<Nanos>,
}

pub(super) fn spec(quota: &Quota) -> Spec {
    Spec {
        limit: quota.limit,
        per: nanos(quota.per),
        reserve: quota.reserve,
        weighed: quota.counts == Counts::Cost,
    }
}

pub(super) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

impl Rules {
    /// From settings that were checked.
    pub(super) fn new(config: &RateLimitConfig) -> Self {
        let (mut tenant, mut app, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for quota in &config.quotas {
            let spec = spec(quota);
            let (list, kept): (&mut Vec<Spec>, fn(usize) -> Kept) = match quota.scope {
                Scope::Tenant => (&mut tenant, Kept::Tenant),
                Scope::App => (&mut app, Kept::App),
            };
            names.push((quota.name.clone(), kept(list.len())));
            list.push(spec);
        }
        let (sets, set_of) = sets(&config.quotas, &names);
        let lag = |priority| {
            nanos(
                config
                    .head_start
                    .user_action
                    .saturating_sub(config.head_start.of(priority)),
            )
        };
        Self {
            weighed: config
                .quotas
                .iter()
                .any(|quota| quota.counts == Counts::Cost),
            tenant,
            app,
            names,
            sets,
            set_of,
            lag: Priority::ALL.map(lag),
            longest_head_start: nanos(config.head_start.user_action),
            max_wait: Priority::ALL.map(|priority| nanos(config.max_wait.of(priority))),
            max_waiting: config.max_waiting,
            pause: nanos(config.pause),
            pace: nanos(config.pace.every(&config.quotas)),
            feedback: config.feedback,
            settle: nanos(config.settle_window),
            margin: match config.anchor {
                Anchor::Answer => None,
                Anchor::Send { margin } => Some(nanos(margin)),
            },
        }
    }

    /// The quota of which a call wants more than it can ever have.
    pub(super) fn too_costly(&self, line: LineId, load: Load) -> Option<Kept> {
        let can = |kept: &Kept| {
            let spec = match kept {
                Kept::Tenant(at) => self.tenant.get(*at),
                Kept::App(at) => self.app.get(*at),
            };
            spec.is_none_or(|spec| spec.can_ever(load))
        };
        let set = self.sets.get(usize::from(line.set))?;
        set.all.iter().find(|kept| !can(kept)).copied()
    }

    /// What a request costs, where any quota asks.
    pub(super) fn cost(&self, classes: &dyn ClassOf, request: &Request<Payload>) -> u32 {
        if self.weighed {
            classes.cost(request).max(1)
        } else {
            1
        }
    }

    pub(super) fn name(&self, kept: Kept) -> &str {
        self.names()
            .find(|(_, other)| *other == kept)
            .map_or("", |(name, _)| name)
    }

    pub(super) fn tenant_specs(&self) -> &[Spec] {
        &self.tenant
    }

    pub(super) fn app_specs(&self) -> &[Spec] {
        &self.app
    }

    pub(super) fn tenant_windows(&self) -> Vec<Window> {
        windows(&self.tenant)
    }

    pub(super) fn app_windows(&self) -> Vec<Window> {
        windows(&self.app)
    }

    pub(super) fn shared_by_tenants(&self) -> bool {
        !self.app.is_empty()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&str, Kept)> {
        self.names.iter().map(|(name, kept)| (&**name, *kept))
    }

    pub(super) fn set_of(&self, class: u8) -> u8 {
        self.set_of[usize::from(class)]
    }

    pub(super) fn lag(&self, priority: Priority) -> Nanos {
        self.lag[priority as usize]
    }

    pub(super) fn max_wait(&self, priority: Priority) -> Nanos {
        self.max_wait[priority as usize]
    }

    pub(super) fn counts_from_send(&self) -> bool {
        self.margin.is_some()
    }

    /// When the slot of a call that was answered at `now` comes back.
    pub(super) fn back_after_answer(&self, per: Nanos, sent_at: Nanos, now: Nanos) -> Nanos {
        match self.margin {
            _ if per == 0 => now,
            None => now.saturating_add(per),
            Some(margin) => sent_at.saturating_add(per).saturating_add(margin).max(now),
        }
    }

    /// When the slot of a call that was abandoned at `now` comes back: it counts as answered when its settle window is over.
    pub(super) fn back_after_abandon(&self, per: Nanos, now: Nanos) -> Nanos {
        now.saturating_add(self.settle).saturating_add(per)
    }

    /// The soonest that a slot which is in flight at `now` can be back.
    pub(super) fn flight_back(&self, per: Nanos, now: Nanos) -> Nanos {
        if self.margin.is_some() {
            now
        } else {
            now.saturating_add(per)
        }
    }
}

fn windows(specs: &[Spec]) -> Vec<Window> {
    specs.iter().copied().map(Window::new).collect()
}

/// Set 0 is for the classes that no quota names.
fn sets(quotas: &[Quota], names: &[(Cow<'static, str>, Kept)]) -> (Vec<Set>, [u8; 256]) {
    let mut sets = vec![set(quotas, names, None)];
    let mut set_of = [0; 256];
    for class in quotas.iter().filter_map(|quota| quota.class) {
        let at = &mut set_of[usize::from(class.0)];
        if *at == 0 {
            // There are at most as many sets as quotas, and one.
            *at = u8::try_from(sets.len()).unwrap_or(0);
            sets.push(set(quotas, names, Some(class.0)));
        }
    }
    (sets, set_of)
}

fn set(quotas: &[Quota], names: &[(Cow<'static, str>, Kept)], class: Option<u8>) -> Set {
    let mut set = Set::default();
    let of_class = |quota: &Quota| quota.class.is_some_and(|of| Some(of.0) == class);
    let of_all = |quota: &Quota| quota.class.is_none();
    let mut add = |needed: &dyn Fn(&Quota) -> bool| {
        for (quota, (_, kept)) in quotas.iter().zip(names).filter(|(quota, _)| needed(quota)) {
            match kept {
                Kept::Tenant(at) => set.tenant.push(*at),
                Kept::App(at) => set.app.push(*at),
            }
            set.all.push(*kept);
            set.reserves |= quota.reserve > 0;
        }
        (set.tenant.len(), set.app.len())
    };
    let (tenant_class, app_class) = add(&of_class);
    add(&of_all);
    (set.tenant_class, set.app_class) = (tenant_class, app_class);
    set
}
