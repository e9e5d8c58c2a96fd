//! Dealing: which waiters go now, and when to look again.
//!
//! The heads of a tenant's lines compete by rank. Where tenants share a quota, turns come first: every tenant that waits
//! has a turn number, the lowest goes next, and going costs one; a tenant that joins starts at the turn being dealt. So a
//! flood from one tenant costs the others nothing, and equals in turn still compete by rank.
//!
//! A request needs the quotas of its class and those of all requests, its tenant's own and those that tenants share. They
//! are asked for in that order, in four levels, and within a level everyone who competes needs all of it. A head that is
//! held up at a level keeps its slots there from those behind it: so calls that cost one slot cannot starve one that costs
//! thirty. At the levels before, where it has its slots, it keeps them only once it has waited longer than the head
//! start: before that others may use what it cannot use yet, and after that a head cannot starve between a quota of its
//! own and a shared one, where one is always gone when the other comes.
//!
//! What only the reserve for user actions or the pace of scheduled work holds up is passed by those that neither concerns.

use super::admission::{Admission, Grant, Standing, Waiter, take};
use super::line::Rank;
use super::rules::{Kept, Set};
use super::tenants::{LineId, TenantState};
use super::window::{Load, NEVER, Nanos, Window};
use crate::context::Priority;

/// The head of one line, with what it competes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    turn: u64,
    rank: Rank,
    priority: u8,
    waiter: usize,
}

impl Admission {
    /// Admits everyone who can go at `now`; of one tenant alone where nobody else can be concerned.
    pub(super) fn deal(&mut self, now: Nanos, only: Option<usize>) {
        self.collect_waited_for(now, only);
        loop {
            self.line_up(now, only);
            self.round += 1;
            let candidates = std::mem::take(&mut self.candidates);
            let mut went = false;
            for candidate in &candidates {
                went |= self.try_grant(candidate, now);
            }
            self.candidates = candidates;
            if !went {
                break;
            }
        }
        self.set_alarm(now, only);
    }

    fn concerned_count(&self, only: Option<usize>) -> usize {
        only.map_or(self.queued.len(), |_| 1)
    }

    fn concerned_at(&self, only: Option<usize>, nth: usize) -> Option<usize> {
        only.or_else(|| self.queued.get(nth).copied())
    }

    fn collect_waited_for(&mut self, now: Nanos, only: Option<usize>) {
        for window in &mut self.app {
            window.collect(now);
        }
        for nth in 0..self.concerned_count(only) {
            if let Some(at) = self.concerned_at(only, nth)
                && let Some(tenant) = self.tenants.get_mut(at)
            {
                tenant.open_gates(now);
                for window in &mut tenant.windows {
                    window.collect(now);
                }
            }
        }
    }

    /// Lists the heads whose gate is open, in the order in which they go.
    fn line_up(&mut self, now: Nanos, only: Option<usize>) {
        self.candidates.clear();
        for window in &mut self.app {
            window.forget_claims();
        }
        for nth in 0..self.concerned_count(only) {
            let Some(at) = self.concerned_at(only, nth) else {
                continue;
            };
            let Some(tenant) = self.tenants.get_mut(at) else {
                continue;
            };
            for window in &mut tenant.windows {
                window.forget_claims();
            }
            tenant.blocked = [0; 2];
            if tenant.is_held() {
                continue;
            }
            // It is owed nothing for turns at which it did not wait, or was held up by a quota of its own.
            let turn = tenant.turn.max(self.turn);
            for line in LineId::all(self.rules.sets.len()) {
                if tenant.gate(line.safety) > now {
                    continue;
                }
                let Some(line) = tenant.lines.get(line.index()) else {
                    continue;
                };
                for (priority, head) in line.heads() {
                    self.candidates.push(Candidate {
                        turn,
                        rank: head.rank,
                        priority: priority as u8,
                        waiter: head.waiter,
                    });
                }
            }
        }
        self.candidates.sort_unstable();
    }

    /// Lets a head go if all its quotas have room; one per tenant and round. Says whether it went.
    fn try_grant(&mut self, candidate: &Candidate, now: Nanos) -> bool {
        let Some(waiter) = self.waiters.get(candidate.waiter).copied() else {
            return false;
        };
        let Grant {
            tenant, line, load, ..
        } = waiter.grant;
        let set = &self.rules.sets[usize::from(line.set)];
        let Some(tenant) = self.tenants.get_mut(tenant) else {
            return false;
        };
        if tenant.dealt == self.round
            || tenant.blocked[usize::from(!load.user)] & line.bit() != 0
            || (waiter.priority == Priority::Scheduled && tenant.paced_until > now)
        {
            return false;
        }
        let old = waiter.since.saturating_add(self.rules.longest_head_start) <= now;
        if !ask_level_by_level(set, &waiter, old, tenant, &mut self.app) {
            return false;
        }
        let nth = take(set, load, tenant, &mut self.app);
        tenant.dealt = self.round;
        if let Some(weight) = set.app.iter().map(|at| self.app[*at].weight(load)).max() {
            self.turn = self.turn.max(candidate.turn);
            tenant.turn = candidate.turn.saturating_add(u64::from(weight));
        }
        self.pace(waiter.grant.tenant, waiter.priority, now);
        self.leave(candidate.waiter);
        if let Some(waiter) = self.waiters.get_mut(candidate.waiter) {
            waiter.grant.nth = nth;
        }
        self.call_out(candidate.waiter, Standing::Granted);
        true
    }

    /// Finds when the next head can go for all that is known. What becomes known later (an answer, a drop) sets the alarm
    /// itself.
    fn set_alarm(&mut self, now: Nanos, only: Option<usize>) {
        let mut alarm = if only.is_some() { self.alarm } else { NEVER };
        for nth in 0..self.concerned_count(only) {
            let Some(at) = self.concerned_at(only, nth) else {
                continue;
            };
            let Some(tenant) = self.tenants.get(at) else {
                continue;
            };
            for line in LineId::all(self.rules.sets.len()) {
                let Some(heads) = tenant.lines.get(line.index()) else {
                    continue;
                };
                for (priority, head) in heads.heads() {
                    let Some(waiter) = self.waiters.get(head.waiter) else {
                        continue;
                    };
                    let at = self.may_go_at(waiter.grant, priority);
                    // A head that only waits for another head to go is dealt with when that one goes or leaves.
                    if at > now {
                        alarm = alarm.min(at);
                    }
                }
            }
        }
        self.alarm = alarm;
    }

    /// When the gate is open, the upstream's word lets it, the pace allows it and each quota has the slots, for all that is known.
    pub(super) fn may_go_at(&self, of: Grant, priority: Priority) -> Nanos {
        let Some(tenant) = self.tenants.get(of.tenant) else {
            return NEVER;
        };
        let open = tenant
            .gate(of.line.safety)
            .max(tenant.held_until())
            .max(self.paced_until(of.tenant, priority));
        self.rules.sets[usize::from(of.line.set)]
            .all
            .iter()
            .map(|kept| match kept {
                Kept::Tenant(at) => tenant.windows[*at].fit_at(of.load),
                Kept::App(at) => self.app[*at].fit_at(of.load),
            })
            .fold(open, Nanos::max)
    }
}

/// Whether every level has room for a head. If not, it keeps from those behind it what is its own, and says who may not
/// pass it.
fn ask_level_by_level(
    set: &Set,
    waiter: &Waiter,
    old: bool,
    tenant: &mut TenantState,
    app: &mut [Window],
) -> bool {
    let Grant { line, load, .. } = waiter.grant;
    let (own_class, own) = set.tenant.split_at(set.tenant_class);
    let (app_class, shared) = set.app.split_at(set.app_class);
    let levels = [
        (own_class, false),
        (own, false),
        (app_class, true),
        (shared, true),
    ];
    let has_room = |level: &(&[usize], bool), load: Load, tenant: &TenantState, app: &[Window]| {
        let windows = if level.1 { app } else { &*tenant.windows };
        level.0.iter().all(|at| windows[*at].has_room(load))
    };
    let Some(blocked) = levels
        .iter()
        .position(|level| !has_room(level, load, tenant, app))
    else {
        return true;
    };
    let user = Load { user: true, ..load };
    let full = !has_room(&levels[blocked], user, tenant, app);
    let from = if old { 0 } else { blocked };
    for (level, is_app) in &levels[from..=blocked] {
        for at in *level {
            let window = if *is_app {
                &mut app[*at]
            } else {
                &mut tenant.windows[*at]
            };
            window.claim(load, full);
        }
    }
    // Nobody of the same line passes it, but for user actions where slots are reserved for them.
    tenant.blocked[1] |= line.bit();
    if load.user || (full && !set.reserves) {
        tenant.blocked[0] |= line.bit();
    }
    false
}
