//! One quota's slots: how many are out, and when each comes back. No clock, no lock.

use std::collections::VecDeque;

/// Nanoseconds since the layer was made.
pub(super) type Nanos = u64;
/// Later than everything.
pub(super) const NEVER: Nanos = Nanos::MAX;

/// Of a wide quota, returns are kept in this many steps of `per`, each rounded up to the next: a thousandth is lost, and
/// the memory of a quota does not grow with its limit.
const STEPS: u32 = 1024;

/// Slots that come back together.
#[derive(Clone, Copy, Debug)]
struct Return {
    at: Nanos,
    slots: u32,
}

/// `limit` slots. Each is free, in flight, or on its way back at a known time.
#[derive(Debug)]
pub(super) struct Window {
    limit: u32,
    per: Nanos,
    step: Nanos,
    /// In flight and on the way back, as of the last [`Window::collect`]: a stale count only hides free slots.
    in_use: u32,
    /// The part of them that is on its way back.
    returning: u32,
    /// Free slots kept for a call that goes before whoever asks; only meaningful while slots are dealt.
    reserved: u32,
    /// When slots come back, soonest first. Answers arrive in nearly the order of their return times, so a new time
    /// almost always belongs at the end; an abandoned call's comes much later and stays behind.
    back: VecDeque<Return>,
}

impl Window {
    pub(super) fn new(limit: u32, per: Nanos) -> Self {
        Self {
            limit,
            per,
            step: if limit > STEPS {
                (per / Nanos::from(STEPS)).max(1)
            } else {
                1
            },
            in_use: 0,
            returning: 0,
            reserved: 0,
            back: VecDeque::new(),
        }
    }

    pub(super) fn per(&self) -> Nanos {
        self.per
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    pub(super) fn in_use(&self) -> u32 {
        self.in_use
    }

    /// Whether a slot is free for one who goes after those it is reserved for.
    pub(super) fn has_room(&self) -> bool {
        self.in_use + self.reserved < self.limit
    }

    /// Whether a slot is free at all.
    pub(super) fn is_free(&self) -> bool {
        self.in_use < self.limit
    }

    pub(super) fn take(&mut self) {
        debug_assert!(self.in_use < self.limit, "took a slot that was not there");
        self.in_use += 1;
    }

    pub(super) fn reserve(&mut self) {
        self.reserved += 1;
    }

    pub(super) fn forget_reserved(&mut self) {
        self.reserved = 0;
    }

    /// A slot in flight is free again.
    pub(super) fn free(&mut self) {
        debug_assert!(self.in_use > 0, "freed a slot that was not out");
        self.in_use = self.in_use.saturating_sub(1);
    }

    /// A slot in flight comes back at `at`. Slots that are back by `now` are collected on the way, a few at most, so that
    /// the list stays as short as the traffic without ever costing much.
    pub(super) fn comes_back(&mut self, at: Nanos, now: Nanos) {
        if at <= now {
            self.free();
            return;
        }
        for _ in 0..2 {
            self.collect_one(now);
        }
        let at = self.rounded(at);
        self.returning += 1;
        let place = match self.back.back() {
            Some(last) if last.at > at => self.back.partition_point(|other| other.at < at),
            Some(last) if last.at == at => self.back.len() - 1,
            _ => self.back.len(),
        };
        match self.back.get_mut(place) {
            Some(same) if same.at == at => same.slots += 1,
            _ => self.back.insert(place, Return { at, slots: 1 }),
        }
    }

    /// The next step at or after `at`. Usually it is the one that the last slot came back with, which needs no division.
    fn rounded(&self, at: Nanos) -> Nanos {
        if self.step == 1 {
            return at;
        }
        match self.back.back() {
            Some(last) if last.at >= at && last.at - at < self.step => last.at,
            _ => at.checked_next_multiple_of(self.step).unwrap_or(NEVER),
        }
    }

    fn collect_one(&mut self, now: Nanos) -> bool {
        let Some(first) = self.back.front().copied() else {
            return false;
        };
        if first.at > now {
            return false;
        }
        self.back.pop_front();
        self.in_use -= first.slots;
        self.returning -= first.slots;
        true
    }

    /// Frees every slot that is back by `now`.
    pub(super) fn collect(&mut self, now: Nanos) {
        while self.collect_one(now) {}
    }

    /// When the next slot is free, as far as that is known: `now` or earlier if one is, [`NEVER`] while all are in flight.
    pub(super) fn next_free(&self) -> Nanos {
        if self.in_use < self.limit {
            0
        } else {
            self.back.front().map_or(NEVER, |first| first.at)
        }
    }

    /// The soonest that `ahead + 1` more slots can have come free, if those in flight come back at `flight_back` at best
    /// and each slot that is handed out is gone for `per` at least. Call [`Window::collect`] first.
    pub(super) fn soonest(&self, now: Nanos, ahead: usize, flight_back: Nanos) -> Nanos {
        let limit = self.limit as usize;
        let (rounds, nth) = (ahead / limit, ahead % limit);
        let free = (self.limit - self.in_use) as usize;
        let first = match nth.checked_sub(free) {
            None => now,
            Some(nth) => self.nth_back(nth, flight_back),
        };
        first.saturating_add(self.per.saturating_mul(rounds as u64))
    }

    /// When the `nth` of the slots in use is back, counted from zero.
    fn nth_back(&self, nth: usize, flight_back: Nanos) -> Nanos {
        let mut flying = Some((self.in_use - self.returning) as usize);
        let mut passed = 0;
        for back in &self.back {
            if back.at >= flight_back {
                passed += flying.take().unwrap_or(0);
                if nth < passed {
                    return flight_back;
                }
            }
            passed += back.slots as usize;
            if nth < passed {
                return back.at;
            }
        }
        flight_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_soonest_time_counts_those_ahead_and_the_rounds_they_need() {
        let mut window = Window::new(3, 100);
        for _ in 0..3 {
            window.take();
        }
        window.comes_back(110, 10);
        window.comes_back(120, 20);
        // One still flies and is back at 130 at best.
        let soonest = |ahead| window.soonest(30, ahead, 130);
        assert_eq!(
            [soonest(0), soonest(1), soonest(2), soonest(3), soonest(8)],
            [110, 120, 130, 210, 330]
        );
    }

    #[test]
    fn a_wide_quota_keeps_few_times_and_gives_no_slot_back_early() {
        let mut window = Window::new(1_000_000, 60_000);
        for now in 0..50_000 {
            window.take();
            window.comes_back(now + 60_000, now);
        }
        assert!(window.back.len() <= 1024, "{} times", window.back.len());
        for now in (60_000..110_000).step_by(7) {
            window.collect(now);
            let early = u64::from(50_000 - window.in_use()).saturating_sub(now - 60_000 + 1);
            assert_eq!(early, 0, "at {now}");
        }
        window.collect(110_060);
        assert_eq!((window.in_use(), window.returning), (0, 0));
    }

    proptest! {
        #[test]
        fn every_slot_comes_back_at_its_own_time_and_no_sooner(mut times in prop::collection::vec(1_u64..1000, 1..40)) {
            let limit = u32::try_from(times.len()).unwrap();
            let mut window = Window::new(limit, 7);
            for at in &times {
                window.take();
                window.comes_back(*at, 0);
            }
            prop_assert!(!window.has_room());
            times.sort_unstable();
            for (before, at) in times.iter().enumerate() {
                window.collect(at - 1);
                prop_assert!(window.in_use() as usize >= times.len() - before);
            }
            window.collect(1000);
            prop_assert_eq!(window.in_use(), 0);
        }
    }
}
