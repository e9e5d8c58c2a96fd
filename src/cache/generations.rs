//! Counts the writes on each entity, in a fixed number of slots: two entities in one slot share their writes, which costs
//! misses and never a wrong answer.
//!
//! A read's *token* is the sum of its slots' generations. Generations only grow, so an unchanged sum means that no write began
//! or ended on any of them.

use crate::random::Random;
use foldhash::fast::FixedState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// The entity that every read of a tenant touches.
const WHOLE_TENANT: &str = "";

#[derive(Debug)]
struct Slot {
    /// Grows when a write begins and when it ends.
    generation: AtomicU64,
    /// Writes that have begun and not ended.
    writing: AtomicU64,
    /// The earliest begin of a read that may be kept.
    quiet_from: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Generations {
    slots: Box<[Slot]>,
    /// Which entities share a counter decides which reads are sent, so a simulation must be able to repeat it.
    hasher: FixedState,
}

impl Generations {
    pub(super) fn new(count: usize, random: &Random) -> Self {
        Self {
            // Started at random, so that a token of an earlier life means nothing in this one.
            slots: (0..count.max(1))
                .map(|_| Slot {
                    generation: AtomicU64::new(random.bits()),
                    writing: AtomicU64::new(0),
                    quiet_from: AtomicU64::new(0),
                })
                .collect(),
            hasher: FixedState::with_seed(random.bits()),
        }
    }

    pub(super) fn slot(&self, tenant: &str, entity: &str) -> usize {
        let hash = self.hasher.hash_one((tenant, entity));
        // The hash as a fraction of all hashes, times the number of slots: as even as a remainder, without a division.
        let slot = (u128::from(hash) * self.slots.len() as u128) >> 64;
        usize::try_from(slot).unwrap_or_default()
    }

    pub(super) fn tenant_slot(&self, tenant: &str) -> usize {
        self.slot(tenant, WHOLE_TENANT)
    }

    pub(super) fn generation(&self, slot: usize) -> u64 {
        self.slots[slot].generation.load(SeqCst)
    }

    pub(super) fn token(&self, slots: &[usize]) -> u64 {
        slots
            .iter()
            .fold(0, |sum, slot| sum.wrapping_add(self.generation(*slot)))
    }

    /// Before the first byte of a write: what was read until now is no longer true.
    pub(super) fn begin_write(&self, slots: &[usize]) {
        for slot in slots.iter().map(|slot| &self.slots[*slot]) {
            slot.writing.fetch_add(1, SeqCst);
            slot.generation.fetch_add(1, SeqCst);
        }
    }

    /// After a write, whatever became of it: what was read meanwhile may be of before or after.
    pub(super) fn end_write(&self, slots: &[usize], quiet_from: u64) {
        self.invalidate(slots, quiet_from);
        // Last, so that whoever sees no write sees the new generation.
        for slot in slots {
            self.slots[*slot].writing.fetch_sub(1, SeqCst);
        }
    }

    pub(super) fn invalidate(&self, slots: &[usize], quiet_from: u64) {
        for slot in slots.iter().map(|slot| &self.slots[*slot]) {
            slot.quiet_from.fetch_max(quiet_from, SeqCst);
            slot.generation.fetch_add(1, SeqCst);
        }
    }

    /// Whether the answer to a read that began at `started`, under `token`, may be kept.
    pub(super) fn may_keep(&self, slots: &[usize], token: u64, started: u64) -> bool {
        let quiet = slots
            .iter()
            .map(|slot| &self.slots[*slot])
            .all(|slot| slot.writing.load(SeqCst) == 0 && slot.quiet_from.load(SeqCst) <= started);
        quiet && self.token(slots) == token
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Begin(usize),
        End(usize),
        Invalidate(usize),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        (0_usize..4, 0_u8..3).prop_map(|(entity, kind)| match kind {
            0 => Step::Begin(entity),
            1 => Step::End(entity),
            _ => Step::Invalidate(entity),
        })
    }

    #[test]
    fn one_seed_gives_every_entity_the_same_counter_in_every_run() {
        let slots = |seed| {
            let generations = Generations::new(64, &Random::seeded(seed));
            (0..40)
                .map(|at| generations.slot("t", &at.to_string()))
                .collect::<Vec<_>>()
        };
        assert_eq!(slots(1), slots(1));
        assert_ne!(slots(1), slots(2));
    }

    proptest! {
        #[test]
        fn a_read_is_kept_only_if_nothing_was_written_around_it(
            count in 1_usize..8,
            before in prop::collection::vec(any_step(), 0..20),
            during in prop::collection::vec(any_step(), 0..6),
            lag in 0_u64..3,
        ) {
            let names = ["a", "b", "c", "d"];
            let generations = Generations::new(count, &Random::seeded(1));
            let slots = |entity: usize| vec![generations.slot("t", names[entity])];
            let mut writing = [0_u32; 4];
            let mut last_change = [None; 4];
            let mut now = 0;
            let mut apply = |step: &Step, now: u64| match *step {
                Step::Begin(entity) => {
                    writing[entity] += 1;
                    generations.begin_write(&slots(entity));
                }
                Step::End(entity) if writing[entity] > 0 => {
                    writing[entity] -= 1;
                    last_change[entity] = Some(now);
                    generations.end_write(&slots(entity), now + lag);
                }
                Step::End(_) => {}
                Step::Invalidate(entity) => {
                    last_change[entity] = Some(now);
                    generations.invalidate(&slots(entity), now + lag);
                }
            };
            for step in &before {
                now += 1;
                apply(step, now);
            }
            let read = [generations.tenant_slot("t"), generations.slot("t", "a")];
            let token = generations.token(&read);
            let started = now;
            for step in &during {
                now += 1;
                apply(step, now);
            }
            let touched = during.iter().any(|step| matches!(step, Step::Begin(0) | Step::Invalidate(0)));
            let kept = generations.may_keep(&read, token, started);
            if touched || writing[0] > 0 || last_change[0].is_some_and(|at| at + lag > started) {
                prop_assert!(!kept);
            }
        }

        #[test]
        fn without_writes_every_read_is_kept(count in 1_usize..5_000, started: u64) {
            let generations = Generations::new(count, &Random::seeded(1));
            let read = [generations.tenant_slot("t"), generations.slot("t", "a")];
            prop_assert!(generations.may_keep(&read, generations.token(&read), started));
        }
    }

    #[test]
    fn writes_of_one_tenant_leave_another_alone() {
        let generations = Generations::new(4_096, &Random::seeded(1));
        let (mine, other) = (generations.slot("a", "Bill"), generations.slot("b", "Bill"));
        let token = generations.token(&[other]);
        generations.begin_write(&[mine]);
        // Only a collision of the two slots could join them.
        assert_eq!(generations.token(&[other]) == token, mine != other);
    }
}
