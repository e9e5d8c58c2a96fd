//! Who may go: all quotas of a request at once, or a place in line. No clock, no lock, no async: time is handed in, and
//! whom to wake is handed out.

use super::deal::Candidate;
use super::line::Rank;
use super::queue::refusal;
use super::rules::{Kept, Rules, Set};
use super::slab::Slab;
use super::tenants::{LineId, TenantState, Tenants};
use super::turns::{Spot, Turns};
use super::window::{Load, NEVER, Nanos, Spec, Window};
use crate::classify::Safety;
use crate::context::Priority;
use std::sync::Arc;

/// Every so many answers one tenant is looked at, so that idle ones leave while others are busy.
const SWEEP_EVERY: u32 = 16;

/// One who asks to be let through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) tenant: &'a str,
    pub(super) hash: u64,
    pub(super) line: LineId,
    pub(super) priority: Priority,
    pub(super) cost: u32,
}

impl Ask<'_> {
    fn load(&self) -> Load {
        Load {
            cost: self.cost,
            user: self.priority == Priority::UserAction,
        }
    }
}

/// Slots taken: give them back with [`Admission::settle`], exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) tenant: usize,
    pub(super) line: LineId,
    pub(super) load: Load,
    /// How many calls of the tenant were admitted before it; see [`super::hint`].
    pub(super) nth: u32,
}

/// Why not, and the soonest that trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// How long that is; never zero.
    pub(super) wait: Nanos,
    pub(super) by: By,
}

/// What held a call up, longest of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// A quota, as it is now, and how much of it was left for the call.
    Quota {
        kept: Kept,
        spec: Spec,
        left: u32,
    },
    FullLine,
    Upstream,
    Pace,
    Other,
}

/// The answer to one who came while the quotas looked full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Go(Grant),
    Wait(usize),
    /// It cannot be admitted in time.
    Refused(Refusal),
    /// It costs more than this quota can ever have free for it.
    TooCostly(Kept),
}

/// How a waiter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Standing,
    Granted(Grant),
    /// See [`Arrival::Refused`].
    Refused(Refusal),
    /// See [`Arrival::TooCostly`]: the quota was made smaller meanwhile.
    TooCostly(Kept),
}

/// How an admitted call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its answer is whole.
    Answered { sent_at: Nanos },
    /// No byte of it left.
    Unsent,
    /// It may still run upstream.
    Abandoned,
}

/// What an answer says of the upstream's own limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    /// How much is left.
    Left,
    /// That it throttles.
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    InLine,
    Granted,
    Refused,
    TooCostly(Kept),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) grant: Grant,
    pub(super) priority: Priority,
    pub(super) rank: Rank,
    /// When it came.
    pub(super) since: Nanos,
    /// When it gives up.
    pub(super) until: Nanos,
    pub(super) standing: Standing,
    /// Among the heads that are asked, where tenants share a quota.
    pub(super) spot: Spot,
}

/// One part of the tenants (or all of them, where they share a quota), with everything they hold and everyone who waits.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) rules: Arc<Rules>,
    pub(super) tenants: Tenants,
    pub(super) app: Vec<Window>,
    pub(super) waiters: Slab<Waiter>,
    /// The tenants in whose lines someone stands.
    pub(super) queued: Vec<usize>,
    pub(super) in_line: usize,
    /// The turn that is being dealt; see [`super::deal`].
    pub(super) turn: u64,
    pub(super) alarm: Nanos,
    pub(super) woken: Vec<usize>,
    /// Where one tenant is asked alone, and while it is.
    pub(super) candidates: Vec<Candidate>,
    /// Where tenants share a quota.
    pub(super) turns: Turns,
    latest: Nanos,
    settled: u32,
}

fn fits(set: &Set, load: Load, tenant: &[Window], app: &[Window]) -> bool {
    set.tenant.iter().all(|at| tenant[*at].is_free(load))
        && set.app.iter().all(|at| app[*at].is_free(load))
}

/// Takes all slots, and says how many calls of the tenant were admitted before.
pub(super) fn take(set: &Set, load: Load, tenant: &mut TenantState, app: &mut [Window]) -> u32 {
    for at in &set.tenant {
        tenant.windows[*at].take(load);
    }
    for at in &set.app {
        app[*at].take(load);
    }
    tenant.out += 1;
    let nth = tenant.sent;
    tenant.sent = nth.wrapping_add(1);
    nth
}

impl Admission {
    pub(super) fn new(rules: Arc<Rules>) -> Self {
        Self {
            tenants: Tenants::new(),
            app: rules.app_windows(),
            waiters: Slab::new(),
            queued: Vec::new(),
            in_line: 0,
            turn: 0,
            alarm: NEVER,
            woken: Vec::new(),
            candidates: Vec::new(),
            turns: Turns::default(),
            latest: 0,
            settled: 0,
            rules,
        }
    }

    /// How many stand in line.
    pub(super) fn in_line(&self) -> usize {
        self.in_line
    }

    /// When to call [`Admission::tick`], at the latest: nobody can go before this unless something is told first.
    pub(super) fn alarm(&self) -> Nanos {
        self.alarm
    }

    /// Threads read the clock before they take the lock; here time never goes back.
    pub(super) fn advance(&mut self, now: Nanos) -> Nanos {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// The straight path, without a clock: takes all slots if they look free, the gate was never closed, and nobody
    /// stands before who asks. `None` says nothing: ask again with [`Admission::arrive`].
    pub(super) fn try_go(&mut self, ask: Ask<'_>) -> Option<Grant> {
        if ask.priority == Priority::Scheduled && self.rules.pace > 0 {
            return None;
        }
        let at = self.tenants.find(ask.tenant, ask.hash)?;
        self.go(at, ask)
    }

    fn go(&mut self, at: usize, ask: Ask<'_>) -> Option<Grant> {
        let (line, load) = (ask.line, ask.load());
        let set = self.rules.sets.get(usize::from(line.set))?;
        let tenant = self.tenants.get_mut(at)?;
        let behind_someone = tenant.waiting > 0 || (!set.app.is_empty() && self.in_line > 0);
        if behind_someone
            || tenant.gate(line.safety) > 0
            || tenant.is_held()
            || !fits(set, load, &tenant.windows, &self.app)
        {
            return None;
        }
        let nth = take(set, load, tenant, &mut self.app);
        Some(Grant {
            tenant: at,
            line,
            load,
            nth,
        })
    }

    /// Lets one through, puts it in line until `until`, or refuses it because it cannot be admitted by then.
    pub(super) fn arrive(&mut self, ask: Ask<'_>, now: Nanos, until: Nanos) -> Arrival {
        let now = self.advance(now);
        let rules = Arc::clone(&self.rules);
        let at = self
            .tenants
            .find_or_insert(ask.tenant, ask.hash, &rules, now);
        self.collect(at, ask.line, now);
        let load = ask.load();
        let paced = self.paced_until(at, ask.priority);
        if paced <= now
            && let Some(grant) = self.go(at, ask)
        {
            self.pace(at, ask.priority, now);
            return Arrival::Go(grant);
        }
        if let Some(kept) = rules.too_costly(ask.line, load) {
            return Arrival::TooCostly(kept);
        }
        let rank = now.saturating_add(rules.lag(ask.priority));
        let grant = Grant {
            tenant: at,
            line: ask.line,
            load,
            nth: 0,
        };
        let (soonest, by) = self.soonest(grant, ask.priority, rank, now);
        let full = self.tenants.get(at).is_some_and(|tenant| {
            tenant
                .lines
                .get(ask.line.index())
                .is_some_and(|line| line.len(ask.priority) >= rules.max_waiting)
        });
        if full || soonest > until {
            let by = if full { By::FullLine } else { by };
            return Arrival::Refused(refusal(soonest, by, now));
        }
        let id = self.stand(Waiter {
            grant,
            priority: ask.priority,
            rank,
            since: now,
            until,
            standing: Standing::InLine,
            spot: Spot::Nowhere,
        });
        let may_go_at = self.may_go_at(grant, ask.priority);
        if may_go_at > now {
            self.alarm = self.alarm.min(may_go_at);
            return Arrival::Wait(id);
        }
        self.deal(now, Some(at));
        if let Look::Granted(grant) = self.pick_up(id, now) {
            self.woken.retain(|woken| *woken != id);
            return Arrival::Go(grant);
        }
        Arrival::Wait(id)
    }

    /// How a waiter stands; one that is granted or refused is taken out, and its number is free again.
    pub(super) fn look(&mut self, id: usize, now: Nanos) -> Look {
        let now = self.advance(now);
        let Some(waiter) = self.waiters.get(id).copied() else {
            debug_assert!(false, "looked after a waiter that had left");
            return Look::Refused(refusal(now, By::Other, now));
        };
        if waiter.standing == Standing::InLine && waiter.until <= now {
            // A slot that comes back at this very instant is still in time.
            self.deal(now, Some(waiter.grant.tenant));
            if self.refuse(id) {
                self.deal(now, Some(waiter.grant.tenant));
            }
        }
        self.pick_up(id, now)
    }

    /// A waiter leaves without having looked: it passes its turn on, and gives back what it was granted.
    pub(super) fn cancel(&mut self, id: usize, now: Nanos) {
        let now = self.advance(now);
        let Some(waiter) = self.waiters.get(id).copied() else {
            return;
        };
        if waiter.standing == Standing::InLine {
            self.leave(id);
            self.deal(now, Some(waiter.grant.tenant));
        }
        self.waiters.remove(id);
        if waiter.standing == Standing::Granted {
            self.settle(waiter.grant, End::Unsent, now);
        }
    }

    /// Until when the pace holds back a tenant's calls of this priority.
    pub(super) fn paced_until(&self, at: usize, priority: Priority) -> Nanos {
        if self.rules.pace == 0 || priority != Priority::Scheduled {
            return 0;
        }
        self.tenants.get(at).map_or(0, |tenant| tenant.paced_until)
    }

    /// A call of this priority goes: the next one of its kind no sooner than the pace says. This is GCRA with a burst of
    /// one; a test holds it to `governor`'s decisions.
    pub(super) fn pace(&mut self, at: usize, priority: Priority, now: Nanos) {
        if self.rules.pace == 0 || priority != Priority::Scheduled {
            return;
        }
        if let Some(tenant) = self.tenants.get_mut(at) {
            tenant.paced_until = now.max(tenant.paced_until).saturating_add(self.rules.pace);
        }
    }

    /// An admitted call is over: its slots are free, or on their way back.
    pub(super) fn settle(&mut self, grant: Grant, end: End, now: Nanos) {
        self.settle_as(grant, end, Said::Nothing, now);
    }

    pub(super) fn settle_as(&mut self, grant: Grant, end: End, said: Said, now: Nanos) {
        let now = self.advance(now);
        let Some(set) = self.rules.sets.get(usize::from(grant.line.set)) else {
            return;
        };
        let Some(tenant) = self.tenants.get_mut(grant.tenant) else {
            debug_assert!(false, "a tenant left with a call out");
            return;
        };
        let mut soonest = NEVER;
        for kept in &set.all {
            let window = match kept {
                Kept::Tenant(at) => &mut tenant.windows[*at],
                Kept::App(at) => &mut self.app[*at],
            };
            let at = match end {
                End::Unsent => now,
                End::Answered { sent_at } => {
                    self.rules.back_after_answer(window.per(), sent_at, now)
                }
                End::Abandoned => self.rules.back_after_abandon(window.per(), now),
            };
            window.comes_back(grant.load, at, now);
            soonest = soonest.min(at);
        }
        tenant.out -= 1;
        if matches!(end, End::Answered { .. })
            && grant.line.safety == Safety::Read
            && said != Said::Stop
        {
            tenant.read_passed(grant.nth);
        }
        if end != End::Unsent && said != Said::Left {
            tenant.hint.spent_unheard();
        }
        let someone_waits = tenant.waiting > 0 || (!set.app.is_empty() && self.in_line > 0);
        let heard = tenant.hint.until() > 0;
        if someone_waits {
            // What it waited for may have a time now.
            self.ask_again(grant.tenant);
        }
        // What is left by the upstream's word may be more than was certain while this call was out.
        if someone_waits && (soonest <= now || heard) {
            self.deal(now, Some(grant.tenant));
        } else if someone_waits {
            self.alarm = self.alarm.min(soonest);
        }
        self.settled = self.settled.wrapping_add(1);
        if self.settled.is_multiple_of(SWEEP_EVERY) {
            self.tenants.sweep(now);
        }
    }

    /// Time has passed: admits who can go now.
    pub(super) fn tick(&mut self, now: Nanos) {
        let now = self.advance(now);
        self.deal(now, None);
    }
}
