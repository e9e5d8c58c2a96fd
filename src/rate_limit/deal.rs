//! Dealing: which waiters go now, and when to look again.
//!
//! The heads of a tenant's lines compete by rank. Where tenants share a quota, turns come first: every tenant that waits
//! has a turn number, the lowest goes next, and going costs one; a tenant that joins starts at the turn being dealt. So a
//! flood from one tenant costs the others nothing, and equals in turn still compete by rank.
//!
//! A request needs the quotas of all requests and those of its class, so lines of one tenant, or of all for what is shared,
//! never starve each other: a slot of a class waits for the head of that class until the common ones come round to it.
//! Only between a quota of its own and a shared one could a head starve, where one is always gone when the other comes:
//! it has no claim on the shared slot while its own tenant holds it up. So a head that a shared quota holds up keeps a
//! slot of each of its tenant's own from those behind it, as soon as it has waited longer than the head start.

use super::admission::{Admission, Grant, Standing, take};
use super::line::{Line, Rank};
use super::rules::Kept;
use super::tenants::LineId;
use super::window::{NEVER, Nanos};

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
        for nth in 0..self.concerned_count(only) {
            let Some(at) = self.concerned_at(only, nth) else {
                continue;
            };
            let Some(tenant) = self.tenants.get_mut(at) else {
                continue;
            };
            for window in &mut tenant.windows {
                window.forget_reserved();
            }
            // It is owed nothing for turns at which it did not wait, or was held up by a quota of its own.
            let turn = tenant.turn.max(self.turn);
            for line in LineId::all(self.rules.sets.len()) {
                if tenant.gate(line.safety) > now {
                    continue;
                }
                let head = tenant.lines.get(line.index()).and_then(|line| line.head());
                if let Some(head) = head
                    && let Some(waiter) = self.waiters.get(head.waiter)
                {
                    self.candidates.push(Candidate {
                        turn,
                        rank: head.rank,
                        priority: waiter.priority as u8,
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
        let Grant { tenant, line } = waiter.grant;
        let set = &self.rules.sets[usize::from(line.set)];
        let Some(tenant) = self.tenants.get_mut(tenant) else {
            return false;
        };
        if tenant.dealt == self.round {
            return false;
        }
        let own_room = set.tenant.iter().all(|at| tenant.windows[*at].has_room());
        let shared_room = set.app.iter().all(|at| self.app[*at].is_free());
        if own_room
            && !shared_room
            && waiter.since.saturating_add(self.rules.longest_head_start) <= now
        {
            for at in &set.tenant {
                tenant.windows[*at].reserve();
            }
        }
        if !(own_room && shared_room) {
            return false;
        }
        take(set, tenant, &mut self.app);
        tenant.dealt = self.round;
        if !set.app.is_empty() {
            self.turn = self.turn.max(candidate.turn);
            tenant.turn = candidate.turn + 1;
        }
        self.leave(candidate.waiter);
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
                if tenant.lines.get(line.index()).is_none_or(Line::is_empty) {
                    continue;
                }
                let free = self.line_free(Grant { tenant: at, line });
                // A head that only waits for another head to go is dealt with when that one goes or leaves.
                if free > now {
                    alarm = alarm.min(free);
                }
            }
        }
        self.alarm = alarm;
    }

    /// When the gate is open and each quota of a line has a free slot, for all that is known.
    pub(super) fn line_free(&self, of: Grant) -> Nanos {
        let Some(tenant) = self.tenants.get(of.tenant) else {
            return NEVER;
        };
        self.rules.sets[usize::from(of.line.set)]
            .all
            .iter()
            .map(|kept| match kept {
                Kept::Tenant(at) => tenant.windows[*at].next_free(),
                Kept::App(at) => self.app[*at].next_free(),
            })
            .fold(tenant.gate(of.line.safety), Nanos::max)
    }
}
