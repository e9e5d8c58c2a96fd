//! Who may go: all quotas of a request at once, or a place in line. No clock, no lock, no async: time is handed in, and
//! whom to wake is handed out.

use super::line::{Place, Rank};
use super::rules::{Kept, Rules, Set};
use super::slab::Slab;
use super::tenants::{LineId, TenantState, Tenants};
use super::window::{NEVER, Nanos, Window};
use crate::classify::Safety;
use crate::context::Priority;
use std::sync::Arc;

/// A second: what is told where no slot's return is known, as with a limit on requests at once.
pub(super) const UNKNOWN_WAIT: Nanos = 1_000_000_000;
/// Every so many answers one tenant is looked at, so that idle ones leave while others are busy.
const SWEEP_EVERY: u32 = 16;

/// One who asks to be let through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) tenant: &'a str,
    pub(super) hash: u64,
    pub(super) line: LineId,
    pub(super) priority: Priority,
}

/// Slots taken: give them back with [`Admission::settle`], exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) tenant: usize,
    pub(super) line: LineId,
}

/// The answer to one who came while the quotas looked full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Go(Grant),
    Wait(usize),
    /// It cannot be admitted in time; the soonest time that trying again can help.
    Refused(Nanos),
}

/// How a waiter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Standing,
    Granted(Grant),
    /// See [`Arrival::Refused`].
    Refused(Nanos),
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    InLine,
    Granted,
    Refused,
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
    pub(super) round: u64,
    pub(super) alarm: Nanos,
    pub(super) woken: Vec<usize>,
    pub(super) candidates: Vec<super::deal::Candidate>,
    latest: Nanos,
    settled: u32,
}

fn fits(set: &Set, tenant: &[Window], app: &[Window]) -> bool {
    set.tenant.iter().all(|at| tenant[*at].is_free()) && set.app.iter().all(|at| app[*at].is_free())
}

pub(super) fn take(set: &Set, tenant: &mut TenantState, app: &mut [Window]) {
    for at in &set.tenant {
        tenant.windows[*at].take();
    }
    for at in &set.app {
        app[*at].take();
    }
    tenant.out += 1;
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
            round: 0,
            alarm: NEVER,
            woken: Vec::new(),
            candidates: Vec::new(),
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
    fn advance(&mut self, now: Nanos) -> Nanos {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// The straight path, without a clock: takes all slots if they look free, the gate was never closed, and nobody
    /// stands before who asks. `None` says nothing: ask again with [`Admission::arrive`].
    pub(super) fn try_go(&mut self, ask: Ask<'_>) -> Option<Grant> {
        let at = self.tenants.find(ask.tenant, ask.hash)?;
        self.go(at, ask.line)
    }

    fn go(&mut self, at: usize, line: LineId) -> Option<Grant> {
        let set = self.rules.sets.get(usize::from(line.set))?;
        let tenant = self.tenants.get_mut(at)?;
        let behind_someone = tenant.waiting > 0 || (!set.app.is_empty() && self.in_line > 0);
        if behind_someone || tenant.gate(line.safety) > 0 || !fits(set, &tenant.windows, &self.app)
        {
            return None;
        }
        take(set, tenant, &mut self.app);
        Some(Grant { tenant: at, line })
    }

    /// Lets one through, puts it in line until `until`, or refuses it because it cannot be admitted by then.
    pub(super) fn arrive(&mut self, ask: Ask<'_>, now: Nanos, until: Nanos) -> Arrival {
        let now = self.advance(now);
        let rules = Arc::clone(&self.rules);
        let at = self
            .tenants
            .find_or_insert(ask.tenant, ask.hash, &rules, now);
        self.collect(at, ask.line, now);
        if let Some(grant) = self.go(at, ask.line) {
            return Arrival::Go(grant);
        }
        let rank = now.saturating_add(rules.lag(ask.priority));
        let grant = Grant {
            tenant: at,
            line: ask.line,
        };
        let soonest = self.soonest(grant, ask.priority, rank, now);
        let full = self.tenants.get(at).is_some_and(|tenant| {
            tenant
                .lines
                .get(ask.line.index())
                .is_some_and(|line| line.len(ask.priority) >= rules.max_waiting)
        });
        if full || soonest > until {
            return Arrival::Refused(after(soonest, now));
        }
        let id = self.stand(Waiter {
            grant,
            priority: ask.priority,
            rank,
            since: now,
            until,
            standing: Standing::InLine,
        });
        let may_go_at = self.line_free(grant);
        if may_go_at > now {
            self.alarm = self.alarm.min(may_go_at);
            return Arrival::Wait(id);
        }
        self.deal(now, self.concerned(at));
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
            return Look::Refused(UNKNOWN_WAIT);
        };
        if waiter.standing == Standing::InLine && waiter.until <= now {
            // A slot that comes back at this very instant is still in time.
            self.deal(now, self.concerned(waiter.grant.tenant));
            if self.refuse(id) {
                self.deal(now, self.concerned(waiter.grant.tenant));
            }
        }
        self.pick_up(id, now)
    }

    fn pick_up(&mut self, id: usize, now: Nanos) -> Look {
        let Some(waiter) = self.waiters.get(id).copied() else {
            return Look::Standing;
        };
        match waiter.standing {
            Standing::InLine => Look::Standing,
            Standing::Granted => {
                self.waiters.remove(id);
                Look::Granted(waiter.grant)
            }
            Standing::Refused => {
                self.waiters.remove(id);
                let soonest = self.soonest(waiter.grant, waiter.priority, waiter.rank, now);
                Look::Refused(after(soonest, now))
            }
        }
    }

    /// A waiter leaves without having looked: it passes its turn on, and gives back what it was granted.
    pub(super) fn cancel(&mut self, id: usize, now: Nanos) {
        let now = self.advance(now);
        let Some(waiter) = self.waiters.get(id).copied() else {
            return;
        };
        if waiter.standing == Standing::InLine {
            self.leave(id);
            self.deal(now, self.concerned(waiter.grant.tenant));
        }
        self.waiters.remove(id);
        if waiter.standing == Standing::Granted {
            self.settle(waiter.grant, End::Unsent, now);
        }
    }

    /// An admitted call is over: its slots are free, or on their way back.
    pub(super) fn settle(&mut self, grant: Grant, end: End, now: Nanos) {
        let now = self.advance(now);
        let Some(set) = self.rules.sets.get(usize::from(grant.line.set)) else {
            return;
        };
        let Some(tenant) = self.tenants.get_mut(grant.tenant) else {
            debug_assert!(false, "a tenant left with a call out");
            return;
        };
        let mut soonest = NEVER;
        for kept in &set.slowest_first {
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
            window.comes_back(at, now);
            soonest = soonest.min(at);
        }
        tenant.out -= 1;
        let someone_waits = tenant.waiting > 0 || (!set.app.is_empty() && self.in_line > 0);
        if someone_waits && soonest <= now {
            self.deal(now, self.concerned(grant.tenant));
        } else if someone_waits {
            self.alarm = self.alarm.min(soonest);
        }
        self.settled = self.settled.wrapping_add(1);
        if self.settled.is_multiple_of(SWEEP_EVERY) {
            self.tenants.sweep(now);
        }
    }

    /// The upstream throttles: the tenant's gate is closed until `until`, and those who cannot wait that long are told
    /// at once. Returns the tenant's name.
    pub(super) fn close_gate(
        &mut self,
        grant: Grant,
        now: Nanos,
        until: Nanos,
    ) -> Option<Arc<str>> {
        let now = self.advance(now);
        let safety = grant.line.safety;
        let tenant = self.tenants.get_mut(grant.tenant)?;
        tenant.close_gate(safety, until);
        let until = tenant.gate(safety);
        let name = Arc::clone(&tenant.name);
        let too_late: Vec<usize> = LineId::all(self.rules.sets.len())
            .filter(|line| line.safety == safety)
            .filter_map(|line| tenant.lines.get(line.index()))
            .flat_map(|line| line.iter().map(|place| place.waiter))
            .filter(|id| self.waiters.get(*id).is_some_and(|w| w.until < until))
            .collect();
        for id in too_late {
            self.refuse(id);
        }
        self.deal(now, self.concerned(grant.tenant));
        Some(name)
    }

    /// Time has passed: admits who can go now.
    pub(super) fn tick(&mut self, now: Nanos) {
        let now = self.advance(now);
        self.deal(now, None);
    }

    /// Whom a change at one tenant can concern: only itself, unless tenants share a quota.
    fn concerned(&self, tenant: usize) -> Option<usize> {
        (!self.rules.shared_by_tenants()).then_some(tenant)
    }

    /// Brings the windows and gates that a line depends on up to date.
    fn collect(&mut self, at: usize, line: LineId, now: Nanos) {
        let Some(set) = self.rules.sets.get(usize::from(line.set)) else {
            return;
        };
        if let Some(tenant) = self.tenants.get_mut(at) {
            tenant.open_gates(now);
            for at in &set.tenant {
                tenant.windows[*at].collect(now);
            }
        }
        for at in &set.app {
            self.app[*at].collect(now);
        }
    }

    /// The soonest that one of this rank can be admitted, as far as is known: later if others with a better rank come,
    /// or if calls in flight take their time.
    fn soonest(&mut self, of: Grant, priority: Priority, rank: Rank, now: Nanos) -> Nanos {
        self.collect(of.tenant, of.line, now);
        let Some(tenant) = self.tenants.get(of.tenant) else {
            return now;
        };
        let gate = tenant.gate(of.line.safety);
        // Only those who need the very same quotas certainly go first: others may be held up by one of their own.
        let ahead = [Safety::Read, Safety::Write]
            .into_iter()
            .filter(|safety| *safety == of.line.safety || tenant.gate(*safety) <= gate)
            .filter_map(|safety| tenant.lines.get(LineId { safety, ..of.line }.index()))
            .map(|line| line.ahead(priority, rank))
            .sum();
        let mut soonest = gate.max(now);
        for kept in &self.rules.sets[usize::from(of.line.set)].slowest_first {
            let window = match kept {
                Kept::Tenant(at) => &tenant.windows[*at],
                Kept::App(at) => &self.app[*at],
            };
            let flight_back = self.rules.flight_back(window.per(), now);
            soonest = soonest.max(window.soonest(now, ahead, flight_back));
        }
        soonest
    }

    fn stand(&mut self, waiter: Waiter) -> usize {
        let id = self.waiters.insert(waiter);
        let line = waiter.grant.line;
        let lines = self.rules.sets.len() * 2;
        let Some(tenant) = self.tenants.get_mut(waiter.grant.tenant) else {
            return id;
        };
        tenant.lines.resize_with(lines, Default::default);
        let place = Place {
            rank: waiter.rank,
            waiter: id,
        };
        tenant.lines[line.index()].push(waiter.priority, place);
        if tenant.waiting == 0 {
            tenant.queued_at = self.queued.len();
            // It has missed nothing while it did not wait, and is owed nothing for that time.
            tenant.turn = tenant.turn.max(self.turn);
            self.queued.push(waiter.grant.tenant);
        }
        tenant.waiting += 1;
        self.in_line += 1;
        id
    }

    /// Takes a waiter out of its line; what becomes of it is the caller's business.
    pub(super) fn leave(&mut self, id: usize) {
        let Some(waiter) = self.waiters.get(id).copied() else {
            return;
        };
        let Some(tenant) = self.tenants.get_mut(waiter.grant.tenant) else {
            return;
        };
        let place = Place {
            rank: waiter.rank,
            waiter: id,
        };
        tenant.lines[waiter.grant.line.index()].remove(waiter.priority, place);
        tenant.waiting -= 1;
        self.in_line -= 1;
        if tenant.waiting > 0 {
            return;
        }
        tenant.lines = Vec::new();
        let at = tenant.queued_at;
        self.queued.swap_remove(at);
        if let Some(moved) = self.queued.get(at).copied()
            && let Some(tenant) = self.tenants.get_mut(moved)
        {
            tenant.queued_at = at;
        }
    }

    /// Sends a waiter away if it still stands in line; says whether it did.
    pub(super) fn refuse(&mut self, id: usize) -> bool {
        if !self
            .waiters
            .get(id)
            .is_some_and(|waiter| waiter.standing == Standing::InLine)
        {
            return false;
        }
        self.leave(id);
        self.call_out(id, Standing::Refused);
        true
    }

    pub(super) fn call_out(&mut self, id: usize, standing: Standing) {
        if let Some(waiter) = self.waiters.get_mut(id) {
            waiter.standing = standing;
            self.woken.push(id);
        }
    }

    /// A tenant's state, brought up to date, and the shared windows; for those who look.
    pub(super) fn inspect(
        &mut self,
        name: &str,
        hash: u64,
        now: Nanos,
    ) -> (Option<&TenantState>, &[Window]) {
        let now = self.advance(now);
        for window in &mut self.app {
            window.collect(now);
        }
        let Some(at) = self.tenants.find(name, hash) else {
            return (None, &self.app);
        };
        if let Some(tenant) = self.tenants.get_mut(at) {
            tenant.open_gates(now);
            for window in &mut tenant.windows {
                window.collect(now);
            }
        }
        (self.tenants.get(at), &self.app)
    }
}

fn after(soonest: Nanos, now: Nanos) -> Nanos {
    match soonest.saturating_sub(now) {
        0 => UNKNOWN_WAIT,
        wait => wait,
    }
}
