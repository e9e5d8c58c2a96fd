//! One line: who waits, in which order they go. No clock, no lock.

use super::window::Nanos;
use crate::context::Priority;
use std::collections::VecDeque;

/// A waiter's place in the order: when it came, less its head start (shifted so that it is never negative).
pub(super) type Rank = Nanos;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) rank: Rank,
    pub(super) waiter: usize,
}

/// The waiters that need the same quotas and pass the same gate. If its head cannot go, none of them can.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// By priority; within one, those who came first stand first, which is also the order of their ranks.
    by_priority: [VecDeque<Place>; 3],
}

impl Line {
    pub(super) fn len(&self, priority: Priority) -> usize {
        self.by_priority[priority as usize].len()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_priority.iter().all(VecDeque::is_empty)
    }

    pub(super) fn push(&mut self, priority: Priority, place: Place) {
        let line = &mut self.by_priority[priority as usize];
        debug_assert!(
            line.back().is_none_or(|last| last.rank <= place.rank),
            "a later one came first"
        );
        line.push_back(place);
    }

    /// Who is first of this priority.
    pub(super) fn first(&self, priority: Priority) -> Option<Place> {
        self.by_priority[priority as usize].front().copied()
    }

    /// Who is first of each priority.
    pub(super) fn heads(&self) -> impl Iterator<Item = (Priority, Place)> + '_ {
        Priority::ALL
            .into_iter()
            .zip(&self.by_priority)
            .filter_map(|(priority, line)| Some((priority, line.front().copied()?)))
    }

    /// Who goes next: the lowest rank, and the more urgent of two equals.
    #[cfg(test)]
    pub(super) fn head(&self) -> Option<Place> {
        // `min_by_key` keeps the first of equals, which is the more urgent.
        self.by_priority
            .iter()
            .filter_map(|line| line.front().copied())
            .min_by_key(|place| place.rank)
    }

    pub(super) fn remove(&mut self, priority: Priority, place: Place) {
        let line = &mut self.by_priority[priority as usize];
        let from = line.partition_point(|other| other.rank < place.rank);
        if let Some(offset) = line.range(from..).position(|other| *other == place) {
            line.remove(from + offset);
        }
    }

    /// How many go before one of this rank and priority that comes now, by their priority.
    pub(super) fn ahead(&self, priority: Priority, rank: Rank) -> [usize; 3] {
        Priority::ALL.map(|theirs| {
            let line = &self.by_priority[theirs as usize];
            if theirs <= priority {
                line.partition_point(|place| place.rank <= rank)
            } else {
                line.partition_point(|place| place.rank < rank)
            }
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Place> + '_ {
        self.by_priority.iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_head_is_always_the_one_with_nobody_ahead(
            arrivals in prop::collection::vec((0_u64..50, 0_usize..3, any::<bool>()), 1..40),
        ) {
            const LAG: [Nanos; 3] = [0, 40, 60];
            let mut line = Line::default();
            let mut standing = Vec::new();
            let mut now = 0;
            for (waiter, (gap, which, leaves)) in arrivals.into_iter().enumerate() {
                now += gap;
                let priority = Priority::ALL[which];
                let place = Place { rank: now + LAG[which], waiter };
                let ahead: usize = line.ahead(priority, place.rank).iter().sum();
                line.push(priority, place);
                if leaves {
                    line.remove(priority, place);
                } else {
                    prop_assert_eq!(
                        ahead,
                        standing.iter().filter(|(p, other): &&(Priority, Place)| (other.rank, *p) <= (place.rank, priority)).count()
                    );
                    standing.push((priority, place));
                }
            }
            standing.sort_by_key(|(priority, place)| (place.rank, *priority, place.waiter));
            for (priority, place) in standing {
                prop_assert_eq!(line.head(), Some(place));
                line.remove(priority, place);
            }
            prop_assert!(line.is_empty());
        }
    }
}
