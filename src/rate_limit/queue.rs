//! The queue's book: who stands where, who is called out, and how long it would take. No clock, no lock.

use super::admission::{Admission, By, End, Grant, Look, Refusal, Said, Standing, Waiter};
use super::hint::Told;
use super::line::{Place, Rank};
use super::rules::{Kept, Rules};
use super::tenants::{LineId, TenantState};
use super::window::{Nanos, Window};
use crate::classify::Safety;
use crate::context::Priority;
use std::sync::Arc;

/// A second: what is told where no slot's return is known, as with a limit on requests at once.
const UNKNOWN_WAIT: Nanos = 1_000_000_000;

impl Admission {
    /// The upstream throttles: gates close (see [`TenantState::throttled`]), the call is over, and those who cannot wait
    /// that long are told at once. Returns the tenant's name, and for how long.
    pub(super) fn throttled(
        &mut self,
        grant: Grant,
        end: End,
        now: Nanos,
        pause: Nanos,
        named: bool,
    ) -> Option<(Arc<str>, Nanos)> {
        let now = self.advance(now);
        let tenant = self.tenants.get_mut(grant.tenant)?;
        let pause = tenant.throttled(grant.line.safety, grant.nth, now, pause, named);
        let name = Arc::clone(&tenant.name);
        // Before the slots are given back, so that nobody slips through in between.
        self.shut_out(grant.tenant);
        self.settle_as(grant, end, Said::Stop, now);
        self.deal(now, Some(grant.tenant));
        Some((name, pause))
    }

    /// The call is over, and its answer says how many more the upstream would take until when. Where that is none,
    /// nobody goes until then; those who cannot wait that long are told at once. Returns the tenant's name, and for how
    /// long, if nothing is left by this word and something was before.
    pub(super) fn told(
        &mut self,
        grant: Grant,
        end: End,
        told: Told,
        now: Nanos,
    ) -> Option<(Arc<str>, Nanos)> {
        let now = self.advance(now);
        let tenant = self.tenants.get_mut(grant.tenant)?;
        let open = tenant.hint.used_up_until() <= now;
        tenant.hint.hear(told, grant.nth, tenant.sent);
        let used_up_until = tenant.hint.used_up_until();
        let closed =
            (open && used_up_until > now).then(|| (Arc::clone(&tenant.name), used_up_until - now));
        if used_up_until > now {
            self.shut_out(grant.tenant);
        }
        self.settle_as(grant, end, Said::Left, now);
        closed
    }

    /// Gates of a tenant have closed: refuses those who cannot wait until they open again.
    fn shut_out(&mut self, at: usize) {
        let Some(tenant) = self.tenants.get(at) else {
            return;
        };
        let too_late: Vec<usize> = LineId::all(self.rules.sets.len())
            .filter_map(|id| {
                let line = tenant.lines.get(id.index())?;
                Some((line, tenant.gate(id.safety)))
            })
            .flat_map(|(line, until)| line.iter().map(move |place| (place.waiter, until)))
            .filter(|(id, until)| self.waiters.get(*id).is_some_and(|w| w.until < *until))
            .map(|(id, _)| id)
            .collect();
        for id in too_late {
            self.refuse(id);
        }
    }

    /// The quotas are others from now on; see [`Window::change`]. Whoever costs more than they can ever have is told.
    pub(super) fn change(&mut self, rules: Arc<Rules>, now: Nanos) {
        let now = self.advance(now);
        self.rules = rules;
        for (window, spec) in self.app.iter_mut().zip(self.rules.app_specs()) {
            window.change(*spec, now);
        }
        for (_, tenant) in self.tenants.each() {
            for (window, spec) in tenant.windows.iter_mut().zip(self.rules.tenant_specs()) {
                window.change(*spec, now);
            }
        }
        let too_costly: Vec<(usize, Kept)> = self
            .waiters
            .each()
            .filter(|(_, waiter)| waiter.standing == Standing::InLine)
            .filter_map(|(id, waiter)| {
                let Grant { line, load, .. } = waiter.grant;
                Some((id, self.rules.too_costly(line, load)?))
            })
            .collect();
        for (id, kept) in too_costly {
            self.leave(id);
            self.call_out(id, Standing::TooCostly(kept));
        }
        for nth in 0..self.queued.len() {
            self.ask_again(self.queued[nth]);
        }
        self.deal(now, None);
    }

    pub(super) fn pick_up(&mut self, id: usize, now: Nanos) -> Look {
        let Some(waiter) = self.waiters.get(id).copied() else {
            return Look::Standing;
        };
        match waiter.standing {
            Standing::InLine => Look::Standing,
            Standing::Granted => {
                self.waiters.remove(id);
                Look::Granted(waiter.grant)
            }
            Standing::TooCostly(kept) => {
                self.waiters.remove(id);
                Look::TooCostly(kept)
            }
            Standing::Refused => {
                self.waiters.remove(id);
                let (soonest, by) = self.soonest(waiter.grant, waiter.priority, waiter.rank, now);
                Look::Refused(refusal(soonest, by, now))
            }
        }
    }

    /// Brings the windows and gates that a line depends on up to date.
    pub(super) fn collect(&mut self, at: usize, line: LineId, now: Nanos) {
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
    /// or if calls in flight take their time. And what holds it up until then.
    pub(super) fn soonest(
        &mut self,
        of: Grant,
        priority: Priority,
        rank: Rank,
        now: Nanos,
    ) -> (Nanos, By) {
        self.collect(of.tenant, of.line, now);
        let Some(tenant) = self.tenants.get(of.tenant) else {
            return (now, By::Other);
        };
        let gate = tenant.gate(of.line.safety);
        let set = &self.rules.sets[usize::from(of.line.set)];
        // Only those who need the very same quotas certainly go first: others may be held up by one of their own.
        let mut ahead = [0; 3];
        for safety in [Safety::Read, Safety::Write] {
            if safety != of.line.safety && tenant.gate(safety) > gate {
                continue;
            }
            if let Some(line) = tenant.lines.get(LineId { safety, ..of.line }.index()) {
                for (sum, theirs) in ahead.iter_mut().zip(line.ahead(priority, rank)) {
                    *sum += theirs;
                }
            }
        }
        let scheduled = ahead[Priority::Scheduled as usize];
        // Nor is it certain of those whom the reserve or the pace may hold up.
        if priority == Priority::UserAction && set.reserves {
            ahead[1..].fill(0);
        }
        if priority != Priority::Scheduled && self.rules.pace > 0 {
            ahead[Priority::Scheduled as usize] = 0;
        }
        let (all, background) = (ahead.iter().sum(), ahead[1..].iter().sum());
        let mut soonest = gate.max(now);
        let mut by = if gate > now || tenant.is_held() {
            By::Upstream
        } else {
            By::Other
        };
        for kept in &set.all {
            let window = match kept {
                Kept::Tenant(at) => &tenant.windows[*at],
                Kept::App(at) => &self.app[*at],
            };
            let flight_back = self.rules.flight_back(window.per(), now);
            let at = window.soonest(now, of.load, all, background, flight_back);
            let left = window.left(of.load, all, background);
            // A limit on requests at once never says when it is free: it holds up whom nothing else does.
            if left < window.weight(of.load) && (at > soonest || by == By::Other) {
                by = By::Quota {
                    kept: *kept,
                    spec: window.spec(),
                    left,
                };
            }
            soonest = soonest.max(at);
        }
        if priority == Priority::Scheduled && self.rules.pace > 0 {
            let turns = self.rules.pace.saturating_mul(scheduled as u64);
            let at = tenant.paced_until.max(now).saturating_add(turns);
            if at > soonest {
                by = By::Pace;
            }
            soonest = soonest.max(at);
        }
        (soonest, by)
    }

    pub(super) fn stand(&mut self, waiter: Waiter) -> usize {
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
        let line = &mut tenant.lines[line.index()];
        line.push(waiter.priority, place);
        let is_head = line.len(waiter.priority) == 1;
        if tenant.waiting == 0 {
            tenant.queued_at = self.queued.len();
            self.queued.push(waiter.grant.tenant);
        }
        tenant.waiting += 1;
        self.in_line += 1;
        if is_head {
            self.ask_in_turn(id);
        }
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
        let line = &mut tenant.lines[waiter.grant.line.index()];
        line.remove(waiter.priority, place);
        let next = line.first(waiter.priority);
        tenant.waiting -= 1;
        self.in_line -= 1;
        let waits = tenant.waiting > 0;
        self.ask_no_more(id);
        if let Some(next) = next {
            self.ask_in_turn(next.waiter);
        }
        let Some(tenant) = self.tenants.get_mut(waiter.grant.tenant) else {
            return;
        };
        if waits {
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

/// A refusal until then.
pub(super) fn refusal(soonest: Nanos, by: By, now: Nanos) -> Refusal {
    let wait = match soonest.saturating_sub(now) {
        0 => UNKNOWN_WAIT,
        wait => wait,
    };
    Refusal { wait, by }
}
