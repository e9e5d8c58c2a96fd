//! Dealing: which waiters go now, and when to look again.
//!
//! The heads of a tenant's lines compete by rank. Where tenants share a quota, turns come first: every tenant that waits
//! has a turn number, the lowest goes next, and going costs one for each shared slot; a tenant that joins starts at the
//! turn being dealt. So a flood from one tenant costs the others nothing, and equals in turn still compete by rank. There
//! the heads are kept in that order (see [`super::turns`]), for thousands of tenants may wait: one that its own tenant
//! holds up is set aside until that can change, and with the first that lacks shared slots those behind it are passed over.
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
use super::tenants::TenantState;
use super::turns::{Key, Kind, Spot};
use super::window::{Load, NEVER, Nanos, Window};
use crate::context::Priority;

/// The head of one line, with what it competes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    rank: Rank,
    priority: u8,
    waiter: usize,
}

/// What came of asking for a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Went,
    /// Its tenant's own quotas, gate or pace hold it up, until then for all that is known.
    Held(Nanos),
    /// What tenants share holds it up: the quotas of its class, or (`all`) those of all requests.
    Blocked {
        all: bool,
    },
}

impl Admission {
    /// Admits everyone who can go at `now`, after something changed for `tenant`, or for all.
    pub(super) fn deal(&mut self, now: Nanos, tenant: Option<usize>) {
        if self.rules.shared_by_tenants() {
            if let Some(at) = tenant {
                self.ask_again(at);
            }
            return self.deal_in_turns(now);
        }
        let mut alarm = self.alarm;
        match tenant {
            Some(at) => alarm = alarm.min(self.deal_own(at, now)),
            None => {
                alarm = NEVER;
                // Whoever has nobody in line any more leaves the list, and the last one takes its place.
                for nth in (0..self.queued.len()).rev() {
                    if let Some(at) = self.queued.get(nth).copied() {
                        alarm = alarm.min(self.deal_own(at, now));
                    }
                }
            }
        }
        self.alarm = alarm;
    }

    /// Admits who can go of one tenant, which shares nothing. Returns when the next of its heads can, for all that is
    /// known: what becomes known later (an answer, a drop) sets the alarm itself.
    fn deal_own(&mut self, at: usize, now: Nanos) -> Nanos {
        loop {
            self.line_up(at, now);
            let candidates = std::mem::take(&mut self.candidates);
            let went = (candidates.iter())
                .any(|candidate| self.ask(candidate.waiter, true, now) == Some(Asked::Went));
            self.candidates = candidates;
            if !went {
                break;
            }
        }
        let mut alarm = NEVER;
        let candidates = std::mem::take(&mut self.candidates);
        self.list_heads(at);
        for candidate in &self.candidates {
            if let Some(waiter) = self.waiters.get(candidate.waiter) {
                let free = self.may_go_at(waiter.grant, waiter.priority);
                // A head that only waits for another head to go is dealt with when that one goes or leaves.
                if free > now {
                    alarm = alarm.min(free);
                }
            }
        }
        self.candidates = candidates;
        alarm
    }

    /// Lists a tenant's heads in the order in which they go.
    fn list_heads(&mut self, at: usize) {
        self.candidates.clear();
        let Some(tenant) = self.tenants.get(at) else {
            return;
        };
        for line in &tenant.lines {
            for (priority, head) in line.heads() {
                self.candidates.push(Candidate {
                    rank: head.rank,
                    priority: priority as u8,
                    waiter: head.waiter,
                });
            }
        }
        self.candidates.sort_unstable();
    }

    /// Brings a tenant up to date, and lists its heads; nothing is kept for any of them yet.
    fn line_up(&mut self, at: usize, now: Nanos) {
        if let Some(tenant) = self.tenants.get_mut(at) {
            tenant.open_gates(now);
            for window in &mut tenant.windows {
                window.collect(now);
                window.forget_claims();
            }
            tenant.blocked = [0; 2];
        }
        self.list_heads(at);
    }

    /// Lets a head go if all its quotas have room. What it is kept from by others of its tenant, and keeps from those
    /// behind it, is noted in the windows; in those that tenants share, only if it is asked in its turn. `None` if it
    /// stands in line no more.
    fn ask(&mut self, id: usize, in_turn: bool, now: Nanos) -> Option<Asked> {
        let waiter = self.waiters.get(id).copied()?;
        let Grant {
            tenant: at,
            line,
            load,
            ..
        } = waiter.grant;
        let paced = self.paced_until(at, waiter.priority);
        let set = &self.rules.sets[usize::from(line.set)];
        let tenant = self.tenants.get_mut(at)?;
        let closed = tenant.gate(line.safety).max(paced).max(tenant.held_until());
        if closed > now {
            return Some(Asked::Held(closed));
        }
        if tenant.blocked[usize::from(!load.user)] & line.bit() != 0 {
            return Some(Asked::Held(NEVER));
        }
        let old = waiter.since.saturating_add(self.rules.longest_head_start) <= now;
        let blocked = ask_level_by_level(set, &waiter, (old, in_turn), tenant, &mut self.app);
        match blocked {
            Some(level @ (Level::SharedClass | Level::Shared)) => {
                return Some(Asked::Blocked {
                    all: level == Level::Shared,
                });
            }
            Some(Level::OwnClass | Level::Own) => {
                let fits = set.tenant.iter().map(|at| tenant.windows[*at].fit_at(load));
                let fits = fits.max().unwrap_or(NEVER);
                // Where only others of its tenant hold it up, the next slot may be for it.
                let next = set.tenant.iter().map(|at| tenant.windows[*at].next_back());
                let until = if fits > now {
                    fits
                } else {
                    next.min().unwrap_or(NEVER)
                };
                return Some(Asked::Held(until));
            }
            None => {}
        }
        if !in_turn {
            return Some(Asked::Blocked { all: false });
        }
        let nth = take(set, load, tenant, &mut self.app);
        if let Some(weight) = set.app.iter().map(|at| self.app[*at].weight(load)).max() {
            let turn = tenant.turn.max(match waiter.spot {
                Spot::Ready { turn } => turn,
                Spot::Nowhere | Spot::Held { .. } => self.turn,
            });
            self.turn = self.turn.max(turn);
            tenant.turn = turn.saturating_add(u64::from(weight));
        }
        self.pace(at, waiter.priority, now);
        self.leave(id);
        if let Some(waiter) = self.waiters.get_mut(id) {
            waiter.grant.nth = nth;
        }
        self.call_out(id, Standing::Granted);
        Some(Asked::Went)
    }

    /// When the gate is open, the pace allows it and each quota has the slots, for all that is known.
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

    /// Admits who can go where tenants share a quota, in the order of turns.
    fn deal_in_turns(&mut self, now: Nanos) {
        for window in &mut self.app {
            window.collect(now);
            window.forget_claims();
        }
        while let Some(id) = self.turns.pop_held(now) {
            if let Some(waiter) = self.waiters.get_mut(id) {
                waiter.spot = Spot::Nowhere;
            }
            self.ask_in_turn(id);
        }
        let mut alarm = NEVER;
        let (mut after, mut shut) = (None, 0_u128);
        while let Some(key) = self.turns.next(after, shut) {
            after = Some(key);
            let Some(waiter) = self.waiters.get(key.waiter).copied() else {
                debug_assert!(false, "one that left is still asked");
                break;
            };
            match self.ask_of_tenant(key.waiter, waiter.grant.tenant, now) {
                None | Some(Asked::Went) => self.ask_again(waiter.grant.tenant),
                Some(Asked::Held(until)) => self.hold(key.waiter, until),
                Some(Asked::Blocked { all }) => {
                    let at = self.may_go_at(waiter.grant, waiter.priority);
                    if at > now {
                        alarm = alarm.min(at);
                    }
                    shut |= passed_over(&waiter, all);
                }
            }
        }
        self.alarm = self.turns.first_held().unwrap_or(NEVER).min(alarm);
    }

    /// Asks for a head after those of its tenant that go before it have noted what they keep.
    fn ask_of_tenant(&mut self, id: usize, tenant: usize, now: Nanos) -> Option<Asked> {
        self.line_up(tenant, now);
        let candidates = std::mem::take(&mut self.candidates);
        for candidate in candidates
            .iter()
            .take_while(|candidate| candidate.waiter != id)
        {
            self.ask(candidate.waiter, false, now);
        }
        self.candidates = candidates;
        self.ask(id, true, now)
    }

    /// A head is asked from now on when its turn comes.
    pub(super) fn ask_in_turn(&mut self, id: usize) {
        if !self.rules.shared_by_tenants() {
            return;
        }
        self.ask_no_more(id);
        let Some(waiter) = self.waiters.get_mut(id) else {
            return;
        };
        let Some(tenant) = self.tenants.get(waiter.grant.tenant) else {
            return;
        };
        // It is owed nothing for turns at which it did not wait, or was held up by a quota of its own.
        let turn = tenant.turn.max(self.turn);
        waiter.spot = Spot::Ready { turn };
        self.turns.insert(kind_of(waiter), key_of(waiter, id, turn));
    }

    /// Something changed for a tenant: its heads are asked again.
    pub(super) fn ask_again(&mut self, tenant: usize) {
        if !self.rules.shared_by_tenants() {
            return;
        }
        self.list_heads(tenant);
        let candidates = std::mem::take(&mut self.candidates);
        for candidate in &candidates {
            self.ask_in_turn(candidate.waiter);
        }
        self.candidates = candidates;
    }

    fn hold(&mut self, id: usize, until: Nanos) {
        self.ask_no_more(id);
        if let Some(waiter) = self.waiters.get_mut(id)
            && until < NEVER
        {
            waiter.spot = Spot::Held { until };
            self.turns.hold(until, id);
        }
    }

    /// Takes a head out of the order.
    pub(super) fn ask_no_more(&mut self, id: usize) {
        let Some(waiter) = self.waiters.get_mut(id) else {
            return;
        };
        match std::mem::replace(&mut waiter.spot, Spot::Nowhere) {
            Spot::Nowhere => {}
            Spot::Ready { turn } => self.turns.remove(kind_of(waiter), key_of(waiter, id, turn)),
            Spot::Held { until } => self.turns.let_go(until, id),
        }
    }
}

fn kind_of(waiter: &Waiter) -> Kind {
    usize::from(waiter.grant.line.set) * 2 + usize::from(!waiter.grant.load.user)
}

const fn key_of(waiter: &Waiter, id: usize, turn: u64) -> Key {
    Key {
        turn,
        rank: waiter.rank,
        priority: waiter.priority as u8,
        waiter: id,
    }
}

/// The kinds of heads that need not be asked after this one lacked shared slots: of its set, or of all. Slots that are
/// reserved for user actions may be left when others have none.
fn passed_over(waiter: &Waiter, all: bool) -> u128 {
    const BACKGROUND: u128 = u128::MAX / 3 * 2;
    match (all, waiter.grant.load.user) {
        (true, true) => u128::MAX,
        (true, false) => BACKGROUND,
        (false, true) => 0b11 << (usize::from(waiter.grant.line.set) * 2),
        (false, false) => 1 << kind_of(waiter),
    }
}

/// In the order in which slots are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    OwnClass,
    Own,
    SharedClass,
    Shared,
}

/// The first level that has no room for a head. There it keeps its slots from those behind it, and says who of its line may
/// not pass it; once it is old, at the levels before, too. What tenants share it keeps only in its turn.
fn ask_level_by_level(
    set: &Set,
    waiter: &Waiter,
    (old, in_turn): (bool, bool),
    tenant: &mut TenantState,
    app: &mut [Window],
) -> Option<Level> {
    let Grant { line, load, .. } = waiter.grant;
    let (own_class, own) = set.tenant.split_at(set.tenant_class);
    let (shared_class, shared) = set.app.split_at(set.app_class);
    let levels = [
        (Level::OwnClass, own_class),
        (Level::Own, own),
        (Level::SharedClass, shared_class),
        (Level::Shared, shared),
    ];
    let is_shared = |level| matches!(level, Level::SharedClass | Level::Shared);
    let has_room = |(level, at): &(Level, &[usize]), load, tenant: &TenantState, app: &[Window]| {
        let windows = if is_shared(*level) {
            app
        } else {
            &*tenant.windows
        };
        at.iter().all(|at| windows[*at].has_room(load))
    };
    let blocked = levels
        .iter()
        .position(|level| !has_room(level, load, tenant, app))?;
    let user = Load { user: true, ..load };
    let full = !has_room(&levels[blocked], user, tenant, app);
    let from = if old { 0 } else { blocked };
    for (level, windows) in &levels[from..=blocked] {
        for at in *windows {
            if !is_shared(*level) {
                tenant.windows[*at].claim(load, full);
            } else if in_turn {
                app[*at].claim(load, full);
            }
        }
    }
    // Nobody of the same line passes it, but for user actions where slots are reserved for them.
    tenant.blocked[1] |= line.bit();
    if load.user || (full && !set.reserves) {
        tenant.blocked[0] |= line.bit();
    }
    Some(levels[blocked].0)
}
