//! Now, as the rules see it: a wall clock that is watched, for whether something is over decides about money. Pure.
//!
//! Wall time can jump: a wrong clock is set right, a machine sleeps, a process starts on a machine whose clock lost its
//! battery. So a process watches its wall clock beside its monotonic one ([`Watch`]), and says with every [`Moment`]
//! since when it has seen time pass without a jump. What was sent before that is taken as open until a whole settle
//! window was seen to pass, and what happened before the store's own high-water mark says so has no known age.

use crate::clock::{Instant, Timestamp};
use std::time::Duration;

/// Now, and what of the past can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Now. Never goes back within a process, and never slower than the monotonic clock.
    pub at: Timestamp,
    /// Before this every attempt that is not closed may still land, whatever its own time says.
    pub settles_from: Timestamp,
    /// Before this no lease of another owner is over, whatever its own time says.
    pub leases_from: Timestamp,
    /// The age of what happened before this is not known: it is beyond every horizon.
    pub ages_from: Timestamp,
}

impl Moment {
    /// A moment on a clock that never jumped.
    #[must_use]
    pub const fn sure(at: Timestamp) -> Self {
        let zero = Timestamp::from_millis(0);
        Self {
            at,
            settles_from: zero,
            leases_from: zero,
            ages_from: zero,
        }
    }
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self::sure(at)
    }
}

/// How far wall time may part from monotonic time before it counts as a jump: clocks are slewed by up to 0.05 % (NTP) and
/// stepped by less than this without harm to any default here (the lease's margin is 5 s).
const SLACK: Duration = Duration::from_secs(2);

/// Watches a wall clock beside a monotonic one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    window: Duration,
    lease: Duration,
    /// Both clocks when the watch began or the last jump was seen, and what was told then: since when no jump was seen.
    wall: Timestamp,
    mono: Instant,
    since: Timestamp,
    /// The last moment that was told.
    told: Timestamp,
    ages_from: Timestamp,
}

impl Watch {
    /// Begins to watch. `high_water` is the latest time that the store has seen: a wall clock behind it is wrong now, or
    /// was wrong then, so that nothing from before has a known age.
    #[must_use]
    pub fn start(
        wall: Timestamp,
        mono: Instant,
        high_water: Option<Timestamp>,
        settle_window: Duration,
        lease: Duration,
    ) -> Self {
        let ahead = high_water.filter(|high| *high > wall.plus(SLACK));
        let since = ahead.unwrap_or(wall);
        Self {
            window: settle_window,
            lease,
            wall,
            mono,
            since,
            told: since,
            ages_from: ahead.map_or(Timestamp::from_millis(0), |high| {
                high.plus(Duration::from_millis(1))
            }),
        }
    }

    /// The clocks read `wall` and `mono` now. The second value is how far they parted, if that is a jump.
    pub fn read(&mut self, wall: Timestamp, mono: Instant) -> (Moment, Option<Duration>) {
        let passed = mono.saturating_duration_since(self.mono);
        let expected = self.wall.plus(passed);
        let by = wall.since(expected).max(expected.since(wall));
        // What slewing may add up to in that time.
        let jumped = by > SLACK + passed / 1_000;
        let by_wall = self.since.plus(wall.since(self.wall));
        if jumped {
            // Back: time goes on as the monotonic clock says. Ahead: the wall clock may be right.
            self.told = self.told.max(by_wall).max(self.since.plus(passed));
            (self.wall, self.mono, self.since) = (wall, mono, self.told);
        } else {
            self.told = self.told.max(by_wall);
        }
        (self.moment(), jumped.then_some(by))
    }

    fn moment(&self) -> Moment {
        Moment {
            at: self.told,
            settles_from: self.since.plus(self.window),
            leases_from: self.since.plus(self.lease),
            ages_from: self.ages_from,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_secs(300);
    const LEASE: Duration = Duration::from_secs(60);
    const START: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn started(mono: Instant, high_water: Option<Timestamp>) -> Watch {
        Watch::start(START, mono, high_water, WINDOW, LEASE)
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_goes_forward_evenly_is_believed() {
        let mono = crate::clock::Clock::system().now();
        let mut watch = started(mono, None);
        for second in [1, 60, 3_600, 86_400] {
            let (moment, jumped) = watch.read(START.plus(secs(second)), mono + secs(second));
            assert_eq!(jumped, None);
            assert_eq!(moment.at, START.plus(secs(second)));
            assert_eq!(moment.settles_from, START.plus(WINDOW));
            assert_eq!(moment.ages_from, Timestamp::from_millis(0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_jump_a_whole_window_must_be_seen_to_pass() {
        let mono = crate::clock::Clock::system().now();
        let mut watch = started(mono, None);
        let ahead = START.plus(secs(7_200));
        let (moment, jumped) = watch.read(ahead, mono + secs(10));
        assert_eq!(jumped, Some(secs(7_190)));
        assert_eq!(moment.at, ahead);
        assert_eq!(moment.settles_from, ahead.plus(WINDOW));
        assert_eq!(moment.leases_from, ahead.plus(LEASE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_back_does_not_turn_time_back() {
        let mono = crate::clock::Clock::system().now();
        let mut watch = started(mono, None);
        let (moment, jumped) = watch.read(START.minus(secs(3_600)), mono + secs(10));
        assert!(jumped.is_some());
        assert_eq!(moment.at, START.plus(secs(10)));
        // It goes on from there, and is not a jump again.
        let (moment, jumped) = watch.read(START.minus(secs(3_500)), mono + secs(110));
        assert_eq!(jumped, None);
        assert_eq!(moment.at, START.plus(secs(110)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_store_saw_at_a_later_time_has_no_known_age() {
        let mono = crate::clock::Clock::system().now();
        let high = START.plus(secs(86_400));
        let mut watch = started(mono, Some(high));
        let (moment, _) = watch.read(START.plus(secs(1)), mono + secs(1));
        assert_eq!(moment.at, high.plus(secs(1)));
        assert!(moment.ages_from > high);
        let mut usual = started(mono, Some(START.plus(secs(1))));
        let (moment, _) = usual.read(START.plus(secs(1)), mono + secs(1));
        assert_eq!(moment.ages_from, Timestamp::from_millis(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_ahead_by_no_more_than_clocks_part_is_believed() {
        let mono = crate::clock::Clock::system().now();
        let edge = START.plus(SLACK);
        let beyond = edge.plus(Duration::from_millis(1));
        for (high, from, since) in [
            (edge, Timestamp::from_millis(0), START),
            (beyond, beyond.plus(Duration::from_millis(1)), beyond),
        ] {
            let (moment, jumped) = started(mono, Some(high)).read(START, mono);
            assert_eq!(jumped, None);
            assert_eq!(
                moment,
                Moment {
                    at: since,
                    settles_from: since.plus(WINDOW),
                    leases_from: since.plus(LEASE),
                    ages_from: from,
                }
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_slewing_may_add_up_to_is_no_jump_and_a_millisecond_more_is_one() {
        let mono = crate::clock::Clock::system().now();
        for passed in [secs(0), secs(10), secs(3_600)] {
            let edge = SLACK + passed / 1_000;
            let beyond = edge + Duration::from_millis(1);
            for (parted, jumped) in [(edge, None), (beyond, Some(beyond))] {
                let ahead = START.plus(passed + parted);
                let (_, by) = started(mono, None).read(ahead, mono + passed);
                assert_eq!(by, jumped, "ahead, {passed:?}");
                let behind = START.plus(passed).minus(parted);
                let (_, by) = started(mono, None).read(behind, mono + passed);
                assert_eq!(by, jumped, "behind, {passed:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn told_time_never_goes_back_nor_much_slower_than_the_monotonic_clock(
            readings in prop::collection::vec((0_u64..100_000_000, -400_000_i64..400_000), 1..40),
        ) {
            let mono = crate::clock::Clock::system().now();
            let mut watch = started(mono, None);
            let (mut wall, mut now, mut before) = (START.as_millis(), mono, START);
            for (micros, jump) in readings {
                now += Duration::from_micros(micros);
                // Small and large steps, in both directions.
                let step = if jump % 3 == 0 { jump } else { jump / 400 };
                wall = wall.saturating_add(micros / 1_000).saturating_add_signed(step);
                let (moment, jumped) = watch.read(Timestamp::from_millis(wall), now);
                prop_assert!(moment.at >= before);
                let passed = now - mono;
                let told = moment.at.since(START);
                prop_assert!(told + SLACK + passed / 1_000 + secs(1) >= passed, "{told:?} {passed:?}");
                prop_assert!(moment.settles_from <= moment.at.plus(WINDOW));
                if jumped.is_some() {
                    prop_assert_eq!(moment.settles_from, moment.at.plus(WINDOW));
                }
                before = moment.at;
            }
        }
    }
}
