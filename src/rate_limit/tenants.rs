//! What is kept of each tenant, found by name; nothing is kept of an idle one.

use super::hint::Hint;
use super::line::Line;
use super::rules::Rules;
use super::slab::Slab;
use super::window::{Nanos, Window};
use crate::classify::Safety;
use crate::context::Priority;
use hashbrown::HashTable;
use std::sync::Arc;

/// The line of one tenant for one set of quotas, and the gate before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineId {
    pub(super) set: u8,
    pub(super) safety: Safety,
}

impl LineId {
    pub(super) fn index(self) -> usize {
        usize::from(self.set) * 2 + self.safety as usize
    }

    /// Its place in a set of lines: there are at most 33 sets, two lines each.
    pub(super) const fn bit(self) -> u128 {
        1 << (self.set as u32 * 2 + self.safety as u32)
    }

    pub(super) fn all(sets: usize) -> impl Iterator<Item = Self> {
        (0..=u8::MAX)
            .take(sets)
            .flat_map(|set| [Safety::Read, Safety::Write].map(|safety| Self { set, safety }))
    }
}

#[derive(Debug)]
pub(super) struct TenantState {
    pub(super) name: Arc<str>,
    hash: u64,
    pub(super) windows: Vec<Window>,
    /// Until when the upstream's throttle answers close the way, for reads and for writes; zero while open.
    gates: [Nanos; 2],
    /// By [`LineId::index`]; empty until someone has to wait.
    pub(super) lines: Vec<Line>,
    /// Who stands in one of the lines.
    pub(super) waiting: usize,
    /// Admitted and not over.
    pub(super) out: usize,
    /// Its turn at what tenants share: the lowest goes next.
    pub(super) turn: u64,
    /// Where it stands in the list of tenants that wait.
    pub(super) queued_at: usize,
    /// The soonest that its next scheduled call may go.
    pub(super) paced_until: Nanos,
    /// While slots are dealt: in which of its lines someone waits whom those behind may not pass; user actions, others.
    pub(super) blocked: [u128; 2],
    /// How many reads in a row were throttled, each admitted after the pause of the one before.
    reads_refused: u8,
    /// How many calls had been admitted when the last of them was throttled; it wraps.
    refused_after: u32,
    /// Until when a cap on reads is remembered, so that asking about it rarely does not stop writes each time.
    capped_until: Nanos,
    /// How many of its calls were admitted, ever; it wraps.
    pub(super) sent: u32,
    /// What the upstream says is left to it.
    pub(super) hint: Hint,
}

/// A cap that reads alone run into is asked about again this often at least.
const LONGEST_CAP: Nanos = 3600 * 1_000_000_000;

impl TenantState {
    /// Until when nobody of this kind can go for certain; zero while open.
    pub(super) fn gate(&self, safety: Safety) -> Nanos {
        self.gates[safety as usize].max(self.hint.used_up_until())
    }

    /// Whether all that the upstream says is left may be gone with the calls that are out. The next answer tells more.
    pub(super) fn is_held(&self) -> bool {
        self.hint.is_held(self.out)
    }

    /// Until when [`TenantState::is_held`] lasts at most; zero while it does not hold.
    pub(super) fn held_until(&self) -> Nanos {
        if self.is_held() { self.hint.until() } else { 0 }
    }

    pub(super) fn close_gate(&mut self, safety: Safety, until: Nanos) {
        let gate = &mut self.gates[safety as usize];
        *gate = (*gate).max(until);
    }

    /// The upstream throttles a call of this kind for `pause`, or for a time of its own choice (`named`). Returns for how
    /// long which gates are closed.
    ///
    /// No answer says which limit was hit. A limit of requests a minute stops reads and writes, so both gates close. When
    /// the first read after that pause is throttled again, it is a cap on reads (a month's worth is used up): writes go
    /// on, and reads are tried again after a pause that doubles, up to an hour.
    pub(super) fn throttled(
        &mut self,
        safety: Safety,
        nth: u32,
        now: Nanos,
        pause: Nanos,
        named: bool,
    ) -> Nanos {
        let of_a_burst = self.gates[safety as usize] > now || !self.knows_of_refusal(nth);
        if safety == Safety::Read && !of_a_burst {
            self.reads_refused = self.reads_refused.saturating_add(1);
            self.refused_after = self.sent;
        }
        let capped = safety == Safety::Read && self.reads_refused > 1;
        let pause = if capped && !named {
            let doubled = pause.saturating_mul(1 << (self.reads_refused - 1).min(12));
            doubled.min(LONGEST_CAP.max(pause))
        } else {
            pause
        };
        let until = now.saturating_add(pause);
        self.close_gate(safety, until);
        if capped {
            self.capped_until = until.saturating_add(LONGEST_CAP);
        } else {
            self.close_gate(Safety::Read, until);
            self.close_gate(Safety::Write, until);
        }
        pause
    }

    /// Whether the `nth` call was admitted after the last read that was throttled: what became of one that was on its way
    /// already says nothing of how things stand after the pause.
    fn knows_of_refusal(&self, nth: u32) -> bool {
        self.reads_refused == 0 || nth.wrapping_sub(self.refused_after) < 1 << 31
    }

    /// The `nth` call, a read, was answered.
    pub(super) fn read_passed(&mut self, nth: u32) {
        if self.knows_of_refusal(nth) {
            self.reads_refused = 0;
            self.capped_until = 0;
        }
    }

    /// Forgets a gate that is open again, so that the straight path need not ask the clock.
    pub(super) fn open_gates(&mut self, now: Nanos) {
        self.hint.forget(now);
        for gate in &mut self.gates {
            if *gate <= now {
                *gate = 0;
            }
        }
    }

    pub(super) fn waiting_by(&self, priority: Priority) -> usize {
        self.lines.iter().map(|line| line.len(priority)).sum()
    }

    fn is_idle(&mut self, now: Nanos) -> bool {
        if self.out > 0
            || self.waiting > 0
            || self.paced_until > now
            || self.gates.iter().any(|gate| *gate > now)
            || self.hint.until() > now
            || self.capped_until > now
        {
            return false;
        }
        self.windows.iter_mut().all(|window| {
            window.collect(now);
            window.in_use() == 0
        })
    }
}

#[derive(Debug)]
pub(super) struct Tenants {
    by_name: HashTable<usize>,
    states: Slab<TenantState>,
    /// Where the next look for idle tenants begins.
    hand: usize,
}

impl Tenants {
    pub(super) const fn new() -> Self {
        Self {
            by_name: HashTable::new(),
            states: Slab::new(),
            hand: 0,
        }
    }

    pub(super) fn find(&self, name: &str, hash: u64) -> Option<usize> {
        let same = |at: &usize| {
            self.states
                .get(*at)
                .is_some_and(|state| state.hash == hash && &*state.name == name)
        };
        self.by_name.find(hash, same).copied()
    }

    /// The tenant's number; a new one looks twice for an idle tenant, so that as many leave as come.
    pub(super) fn find_or_insert(
        &mut self,
        name: &str,
        hash: u64,
        rules: &Rules,
        now: Nanos,
    ) -> usize {
        if let Some(at) = self.find(name, hash) {
            return at;
        }
        self.sweep(now);
        self.sweep(now);
        let at = self.states.insert(TenantState {
            name: Arc::from(name),
            hash,
            windows: rules.tenant_windows(),
            gates: [0; 2],
            lines: Vec::new(),
            waiting: 0,
            out: 0,
            turn: 0,
            queued_at: 0,
            paced_until: 0,
            blocked: [0; 2],
            reads_refused: 0,
            refused_after: 0,
            capped_until: 0,
            sent: 0,
            hint: Hint::default(),
        });
        let states = &self.states;
        self.by_name
            .insert_unique(hash, at, |at| states.get(*at).map_or(0, |state| state.hash));
        at
    }

    pub(super) fn get(&self, at: usize) -> Option<&TenantState> {
        self.states.get(at)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut TenantState> {
        self.states.get_mut(at)
    }

    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    /// Every tenant's state, with its number.
    pub(super) fn each(&mut self) -> impl Iterator<Item = (usize, &mut TenantState)> {
        self.states.each()
    }

    /// Looks at the next tenant and forgets it if it is idle: no call out, nobody waiting, every slot back, gates open.
    pub(super) fn sweep(&mut self, now: Nanos) {
        if self.hand >= self.states.end() {
            self.hand = 0;
        }
        let at = self.hand;
        self.hand += 1;
        let Some(state) = self.states.get_mut(at) else {
            return;
        };
        if !state.is_idle(now) {
            return;
        }
        let hash = state.hash;
        if let Ok(entry) = self.by_name.find_entry(hash, |other| *other == at) {
            entry.remove();
        }
        self.states.remove(at);
        if self.by_name.is_empty() {
            self.by_name = HashTable::new();
        }
    }
}
