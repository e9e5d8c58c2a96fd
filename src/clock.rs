//! The only file that reads a clock.
//!
//! Waiting is done on tokio's monotonic clock, so that a paused clock drives a whole simulation. Wall time (for stored
//! expiry, and for anything that outlives the process) comes from the same [`Clock`]: the system's in production,
//! derived from tokio's clock in a simulation.
#![allow(
    clippy::disallowed_methods,
    reason = "the one place that may read a clock"
)]

use pin_project::pin_project;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use tokio::time::Instant;

/// A point in wall time, in whole milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Timestamp(u64);

impl Timestamp {
    /// Later than everything.
    pub const NEVER: Self = Self(i64::MAX as u64);

    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The point `after` later, rounded up to whole milliseconds so that a wait never ends early.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        let millis = u64::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis).min(Self::NEVER.0))
    }

    /// The point `before` earlier, not before the epoch.
    #[must_use]
    pub fn minus(self, before: Duration) -> Self {
        let millis = u64::try_from(before.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(millis))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(at: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(at.0)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole seconds in the HTTP date form: for messages to people, not for parsing back. The form ends with the year
        // 9999.
        const LAST: Timestamp = Timestamp(253_402_300_799_000);
        if *self > LAST {
            return f.write_str("never");
        }
        f.write_str(&httpdate::fmt_http_date(SystemTime::from(*self)))
    }
}

#[derive(Clone, Copy, Debug)]
enum Wall {
    System,
    Anchored { instant: Instant, wall: Timestamp },
}

/// Reads time and waits for it. Cheap to copy; every part of one stack holds the same.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Wall,
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub const fn system() -> Self {
        Self { wall: Wall::System }
    }

    /// A clock whose wall time is `wall` now and moves with tokio's clock: for simulations on a paused runtime.
    #[must_use]
    pub fn anchored(wall: Timestamp) -> Self {
        Self {
            wall: Wall::Anchored {
                instant: Instant::now(),
                wall,
            },
        }
    }

    /// Monotonic now.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// The monotonic time `after` now. What is further ahead than the clock can say is far ahead: thirty years.
    #[must_use]
    pub fn ahead(&self, after: Duration) -> Instant {
        const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);
        self.now() + after.min(FAR)
    }

    /// Wall-clock now.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        match self.wall {
            Wall::System => Timestamp::from(SystemTime::now()),
            // Rounded down, as the system's is: `plus` rounds up, so no stored wait ends early.
            Wall::Anchored { instant, wall } => {
                Timestamp(wall.0.saturating_add(
                    u64::try_from(instant.elapsed().as_millis()).unwrap_or(u64::MAX),
                ))
            }
        }
    }

    /// Waits until the monotonic clock reads `at`.
    pub fn sleep_until(&self, at: Instant) -> tokio::time::Sleep {
        tokio::time::sleep_until(at)
    }

    /// Waits for `duration`.
    pub fn sleep(&self, duration: Duration) -> tokio::time::Sleep {
        tokio::time::sleep(duration)
    }

    /// Runs `future` for at most `limit`, counted from now; `None` when time ran out.
    pub fn timeout<F: Future>(&self, limit: Duration, future: F) -> Limited<F> {
        let now = self.now();
        self.timeout_at(now.checked_add(limit).unwrap_or(now + FAR), future)
    }

    /// Runs `future` until `at` at the latest; `None` when time ran out.
    pub fn timeout_at<F: Future>(&self, at: Instant, future: F) -> Limited<F> {
        Limited {
            future,
            at,
            sleep: None,
        }
    }
}

/// What tokio takes for "never": about 30 years.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

/// A future that is given up at a point in time. No timer is made before it has to wait: most do not.
#[pin_project]
#[must_use = "does nothing unless it is awaited"]
pub struct Limited<F> {
    #[pin]
    future: F,
    at: Instant,
    // Whatever the future took of its task's turn: time runs out all the same.
    #[pin]
    sleep: Option<tokio::task::coop::Unconstrained<tokio::time::Sleep>>,
}

impl<F> fmt::Debug for Limited<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limited")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<F: Future> Future for Limited<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(done) = this.future.poll(cx) {
            return Poll::Ready(Some(done));
        }
        if this.sleep.is_none() {
            let sleep = tokio::time::sleep_until(*this.at);
            this.sleep
                .set(Some(tokio::task::coop::unconstrained(sleep)));
        }
        match this.sleep.as_pin_mut() {
            Some(sleep) => sleep.poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_anchored_wall_clock_moves_with_the_paused_clock() {
        let clock = Clock::anchored(Timestamp::from_millis(1_000));
        clock.sleep(Duration::from_millis(250)).await;
        assert_eq!(clock.wall(), Timestamp::from_millis(1_250));
    }

    #[test]
    fn every_timestamp_can_be_shown() {
        assert_eq!(Timestamp::NEVER.to_string(), "never");
        assert_eq!(
            Timestamp(253_402_300_799_000).to_string(),
            "Fri, 31 Dec 9999 23:59:59 GMT"
        );
        assert_eq!(Timestamp(253_402_300_800_000).to_string(), "never");
    }

    #[test]
    fn adding_a_fraction_of_a_millisecond_rounds_up() {
        let at = Timestamp::from_millis(5).plus(Duration::from_micros(1));
        assert_eq!(at, Timestamp::from_millis(6));
    }
}
