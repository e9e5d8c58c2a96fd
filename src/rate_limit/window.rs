//! One quota's slots: how many are out, and when each comes back. No clock, no lock.

use std::collections::VecDeque;

/// Nanoseconds since the layer was made.
pub(super) type Nanos = u64;
/// Later than everything.
pub(super) const NEVER: Nanos = Nanos::MAX;

/// Of a wide quota, returns are kept in this many steps of `per`, each rounded up to the next: a thousandth is lost, and
/// the memory of a quota does not grow with its limit.
const STEPS: u32 = 1024;

/// What one call takes of each quota that counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// How many slots of a quota that weighs its calls; one of every other.
    pub(super) cost: u32,
    /// Whether the slots that are reserved for user actions are open to it.
    pub(super) user: bool,
}

/// Slots that come back together.
#[derive(Clone, Copy, Debug)]
struct Return {
    at: Nanos,
    slots: u32,
    /// The part of them that is not a user action's.
    background: u32,
}

/// What one quota is: plain numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) limit: u32,
    pub(super) per: Nanos,
    /// How many of the slots only user actions may use.
    pub(super) reserve: u32,
    /// Whether a call takes as many slots as it costs.
    pub(super) weighed: bool,
}

impl Spec {
    const fn weight(&self, load: Load) -> u32 {
        if self.weighed { load.cost } else { 1 }
    }

    /// Whether a call could ever go.
    pub(super) const fn can_ever(&self, load: Load) -> bool {
        let kept = if load.user { 0 } else { self.reserve };
        self.weight(load) <= self.limit.saturating_sub(kept)
    }
}

/// Slots kept, while slots are dealt, for calls that go before whoever asks next.
#[derive(Clone, Copy, Debug, Default)]
struct Claims {
    /// For user actions.
    users: u32,
    /// For all others.
    background: u32,
    /// The part of the latter that user actions, too, must leave alone: those who wait for it are held up by the quota
    /// itself, not by the reserve.
    before_users: u32,
}

/// `limit` slots. Each is free, in flight, or on its way back at a known time.
#[derive(Debug)]
pub(super) struct Window {
    spec: Spec,
    /// How many of the slots may be used at present: all, unless other hosts hold some of them.
    allowed: u32,
    step: Nanos,
    /// In flight and on the way back, as of the last [`Window::collect`]: a stale count only hides free slots.
    in_use: u32,
    /// The part of them that is on its way back.
    returning: u32,
    /// The part of those in use that is not a user action's.
    background: u32,
    background_returning: u32,
    claims: Claims,
    /// When slots come back, soonest first. Answers arrive in nearly the order of their return times, so a new time
    /// almost always belongs at the end; an abandoned call's comes much later and stays behind.
    back: VecDeque<Return>,
}

fn step(spec: Spec) -> Nanos {
    if spec.limit > STEPS {
        (spec.per / Nanos::from(STEPS)).max(1)
    } else {
        1
    }
}

impl Window {
    pub(super) const fn new(spec: Spec) -> Self {
        Self {
            spec,
            allowed: spec.limit,
            step: 0,
            in_use: 0,
            returning: 0,
            background: 0,
            background_returning: 0,
            claims: Claims {
                users: 0,
                background: 0,
                before_users: 0,
            },
            back: VecDeque::new(),
        }
    }

    pub(super) const fn per(&self) -> Nanos {
        self.spec.per
    }

    pub(super) const fn limit(&self) -> u32 {
        self.spec.limit
    }

    pub(super) const fn reserve(&self) -> u32 {
        self.spec.reserve
    }

    pub(super) const fn in_use(&self) -> u32 {
        self.in_use
    }

    /// How many slots a call takes.
    pub(super) const fn weight(&self, load: Load) -> u32 {
        self.spec.weight(load)
    }

    /// The slots that are not reserved for user actions: of those that may be used at present, the same share.
    const fn unreserved(&self) -> u32 {
        if self.spec.reserve == 0 || self.allowed == self.spec.limit {
            return self.allowed.saturating_sub(self.spec.reserve);
        }
        let kept =
            (self.spec.reserve as u64 * self.allowed as u64).div_ceil(self.spec.limit as u64);
        // A share of `allowed` is no more than that.
        #[allow(clippy::cast_possible_truncation, reason = "a share of a u32")]
        self.allowed.saturating_sub(kept as u32)
    }

    const fn fits(&self, load: Load, in_use: u32, background: u32) -> bool {
        let weight = self.weight(load);
        if in_use.saturating_add(weight) > self.allowed {
            return false;
        }
        load.user
            || self.spec.reserve == 0
            || background.saturating_add(weight) <= self.unreserved()
    }

    /// Whether a call has its slots at all.
    pub(super) const fn is_free(&self, load: Load) -> bool {
        self.fits(load, self.in_use, self.background)
    }

    /// Whether a call has its slots beside those that are kept for others before it.
    pub(super) fn has_room(&self, load: Load) -> bool {
        let Claims {
            users,
            background,
            before_users,
        } = self.claims;
        let before = if load.user {
            // Nobody but a user action gets at the reserve, so nothing of it is kept for others.
            before_users.min(self.unreserved().saturating_sub(self.background))
        } else {
            background
        };
        self.fits(
            load,
            self.in_use.saturating_add(users).saturating_add(before),
            self.background.saturating_add(background),
        )
    }

    pub(super) fn take(&mut self, load: Load) {
        debug_assert!(self.is_free(load), "took a slot that was not there");
        let weight = self.weight(load);
        self.in_use += weight;
        if !load.user {
            self.background += weight;
        }
    }

    /// Keeps a call's slots from those after it; `full` where the quota itself holds it up.
    pub(super) fn claim(&mut self, load: Load, full: bool) {
        let weight = self.weight(load);
        let claims = &mut self.claims;
        if load.user {
            claims.users = claims.users.saturating_add(weight);
            return;
        }
        claims.background = claims.background.saturating_add(weight);
        if full {
            claims.before_users = claims.before_users.saturating_add(weight);
        }
    }

    pub(super) fn forget_claims(&mut self) {
        self.claims = Claims::default();
    }

    /// A call's slots in flight are free again.
    fn free(&mut self, load: Load) {
        let weight = self.weight(load);
        debug_assert!(self.in_use >= weight, "freed a slot that was not out");
        self.in_use = self.in_use.saturating_sub(weight);
        if !load.user {
            self.background = self.background.saturating_sub(weight);
        }
    }

    /// A call's slots in flight come back at `at`. Slots that are back by `now` are collected on the way, a few at most,
    /// so that the list stays as short as the traffic without ever costing much.
    pub(super) fn comes_back(&mut self, load: Load, at: Nanos, now: Nanos) {
        if at <= now {
            self.free(load);
            return;
        }
        for _ in 0..2 {
            self.collect_one(now);
        }
        let slots = self.weight(load);
        self.on_the_way(Return {
            at,
            slots,
            background: if load.user { 0 } else { slots },
        });
    }

    fn on_the_way(&mut self, new: Return) {
        let at = self.rounded(new.at);
        self.returning += new.slots;
        self.background_returning += new.background;
        let place = match self.back.back() {
            Some(last) if last.at > at => self.back.partition_point(|other| other.at < at),
            Some(last) if last.at == at => self.back.len() - 1,
            _ => self.back.len(),
        };
        match self.back.get_mut(place) {
            Some(same) if same.at == at => {
                same.slots += new.slots;
                same.background += new.background;
            }
            _ => self.back.insert(place, Return { at, ..new }),
        }
    }

    /// The next step at or after `at`. Usually it is the one that the last slot came back with, which needs no division.
    fn rounded(&mut self, at: Nanos) -> Nanos {
        if self.step == 0 {
            self.step = step(self.spec);
        }
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
        self.background -= first.background;
        self.background_returning -= first.background;
        true
    }

    /// Frees every slot that is back by `now`.
    pub(super) fn collect(&mut self, now: Nanos) {
        while self.collect_one(now) {}
    }

    /// When the next slot is free, as far as that is known: `now` or earlier if one is, [`NEVER`] while all are in flight.
    pub(super) fn next_free(&self) -> Nanos {
        self.fit_at(Load {
            cost: 1,
            user: true,
        })
    }

    /// When the next slot comes back, as far as that is known.
    pub(super) fn next_back(&self) -> Nanos {
        self.back.front().map_or(NEVER, |first| first.at)
    }

    /// When a call has its slots, as far as that is known: zero if it has, [`NEVER`] while too many are in flight.
    pub(super) fn fit_at(&self, load: Load) -> Nanos {
        if self.is_free(load) {
            return 0;
        }
        let (mut in_use, mut background) = (self.in_use, self.background);
        for back in &self.back {
            in_use -= back.slots;
            background -= back.background;
            if self.fits(load, in_use, background) {
                return back.at;
            }
        }
        NEVER
    }

    /// How many slots are free for a call like this one when those ahead have theirs; see [`Window::soonest`].
    pub(super) fn left(&self, load: Load, ahead: usize, behind_reserve: usize) -> u32 {
        let less =
            |slots: u32, gone: usize| slots.saturating_sub(u32::try_from(gone).unwrap_or(u32::MAX));
        let whole = less(self.allowed.saturating_sub(self.in_use), ahead);
        if load.user || self.spec.reserve == 0 {
            return whole;
        }
        let background = self.unreserved().saturating_sub(self.background);
        whole.min(less(background, behind_reserve))
    }

    pub(super) const fn spec(&self) -> Spec {
        self.spec
    }

    /// The soonest that a call can have its slots, if those in flight come back at `flight_back` at best, each slot that is
    /// handed out is gone for `per` at least, and `ahead` calls go first, `behind_reserve` of them no user actions. Call
    /// [`Window::collect`] first. What other hosts hold may come back at any time.
    pub(super) fn soonest(
        &self,
        now: Nanos,
        load: Load,
        ahead: usize,
        behind_reserve: usize,
        flight_back: Nanos,
    ) -> Nanos {
        let weight = self.weight(load) as usize;
        let whole = self.when(now, flight_back, ahead + weight, Part::Whole);
        if load.user || self.spec.reserve == 0 {
            return whole;
        }
        whole.max(self.when(now, flight_back, behind_reserve + weight, Part::Unreserved))
    }

    /// When `units` more slots of a part can have come free.
    fn when(&self, now: Nanos, flight_back: Nanos, units: usize, part: Part) -> Nanos {
        let (limit, in_use, returning) = match part {
            Part::Whole => (self.spec.limit, self.in_use, self.returning),
            Part::Unreserved => (
                self.spec.limit - self.spec.reserve,
                self.background,
                self.background_returning,
            ),
        };
        let limit = limit.max(1) as usize;
        let last = units.saturating_sub(1);
        let (rounds, nth) = (last / limit, last % limit);
        let later = self.spec.per.saturating_mul(rounds as u64);
        let must_come = (in_use as usize + nth + 1).saturating_sub(limit);
        if must_come == 0 {
            return now.saturating_add(later);
        }
        let mut flying = Some((in_use - returning) as usize);
        let mut passed = 0;
        for back in &self.back {
            if back.at >= flight_back {
                passed += flying.take().unwrap_or(0);
                if must_come <= passed {
                    break;
                }
            }
            passed += match part {
                Part::Whole => back.slots,
                Part::Unreserved => back.background,
            } as usize;
            if must_come <= passed {
                return back.at.saturating_add(later);
            }
        }
        flight_back.saturating_add(later)
    }

    /// Other hosts hold the rest of the slots. What is out stays out.
    pub(super) fn allow(&mut self, slots: u32) {
        self.allowed = slots.min(self.spec.limit);
    }

    /// The quota is another one from now on. What is out stays out; slots that are on their way back under a shorter `per`
    /// come back later by the difference, and so do those that are free, for nothing is kept of when they came back.
    pub(super) fn change(&mut self, spec: Spec, now: Nanos) {
        self.collect(now);
        let longer = spec.per.saturating_sub(self.spec.per);
        let free = self.spec.limit.saturating_sub(self.in_use);
        let whole = self.allowed == self.spec.limit;
        self.spec = spec;
        self.step = 0;
        if whole {
            self.allowed = spec.limit;
        } else {
            self.allow(self.allowed);
        }
        if longer == 0 {
            return;
        }
        for back in &mut self.back {
            back.at = back.at.saturating_add(longer);
        }
        if free > 0 {
            self.in_use += free;
            self.on_the_way(Return {
                at: now.saturating_add(longer),
                slots: free,
                background: 0,
            });
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Unreserved,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: Load = Load {
        cost: 1,
        user: true,
    };

    fn window(limit: u32, per: Nanos) -> Window {
        Window::new(Spec {
            limit,
            per,
            reserve: 0,
            weighed: true,
        })
    }

    #[test]
    fn the_soonest_time_counts_those_ahead_and_the_rounds_they_need() {
        let mut window = window(3, 100);
        for _ in 0..3 {
            window.take(ONE);
        }
        window.comes_back(ONE, 110, 10);
        window.comes_back(ONE, 120, 20);
        // One still flies and is back at 130 at best.
        let soonest = |ahead| window.soonest(30, ONE, ahead, 0, 130);
        assert_eq!(
            [soonest(0), soonest(1), soonest(2), soonest(3), soonest(8)],
            [110, 120, 130, 210, 330]
        );
    }

    #[test]
    fn a_wide_quota_keeps_few_times_and_gives_no_slot_back_early() {
        let mut window = window(1_000_000, 60_000);
        for now in 0..50_000 {
            window.take(ONE);
            window.comes_back(ONE, now + 60_000, now);
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
            let mut window = window(limit, 7);
            for at in &times {
                window.take(ONE);
                window.comes_back(ONE, *at, 0);
            }
            prop_assert!(!window.has_room(ONE));
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
