//! The order in which heads are asked where tenants share a quota: found again in a few steps, however many wait. No clock,
//! no lock.

use super::line::Rank;
use super::window::Nanos;
use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

/// What a head competes by: its tenant's turn, its rank, its priority. The lowest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) turn: u64,
    pub(super) rank: Rank,
    pub(super) priority: u8,
    pub(super) waiter: usize,
}

/// Where a head stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// It is no head, or waits for something to happen to its tenant.
    Nowhere,
    /// Among those that are asked, with this turn.
    Ready { turn: u64 },
    /// Held up by what is its tenant's alone, until then.
    Held { until: Nanos },
}

/// Heads that need the same quotas, user actions apart from others: if one of them cannot have its shared slots, none
/// behind it can.
pub(super) type Kind = usize;

/// All heads but those that wait for something to happen to their tenant.
#[derive(Debug, Default)]
pub(super) struct Turns {
    ready: Vec<BTreeSet<Key>>,
    held: BTreeSet<(Nanos, usize)>,
}

impl Turns {
    pub(super) fn insert(&mut self, kind: Kind, key: Key) {
        if self.ready.len() <= kind {
            self.ready.resize_with(kind + 1, BTreeSet::new);
        }
        self.ready[kind].insert(key);
    }

    pub(super) fn remove(&mut self, kind: Kind, key: Key) {
        if let Some(ready) = self.ready.get_mut(kind) {
            ready.remove(&key);
        }
    }

    pub(super) fn hold(&mut self, until: Nanos, waiter: usize) {
        self.held.insert((until, waiter));
    }

    pub(super) fn let_go(&mut self, until: Nanos, waiter: usize) {
        self.held.remove(&(until, waiter));
    }

    /// One that was held up until now at the latest.
    pub(super) fn pop_held(&mut self, now: Nanos) -> Option<usize> {
        let first = *self.held.first()?;
        if first.0 > now {
            return None;
        }
        self.held.pop_first();
        Some(first.1)
    }

    /// Until when the first of those that are held up is.
    pub(super) fn first_held(&self) -> Option<Nanos> {
        self.held.first().map(|(until, _)| *until)
    }

    /// The next to be asked after this one, but for those of the kinds that are shut.
    pub(super) fn next(&self, after: Option<Key>, shut: u128) -> Option<Key> {
        let from = after.map_or(Unbounded, Excluded);
        (self.ready.iter().enumerate())
            .filter(|(kind, _)| shut & (1 << kind) == 0)
            .filter_map(|(_, ready)| ready.range((from, Unbounded)).next())
            .min()
            .copied()
    }
}
