//! In the place of `src/clock.rs`: time stands still until [`pass`] lets it pass, from one timer to the next.

#[path = "../../../src/clock.rs"]
mod real;

pub use real::{Instant, Timestamp};

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

#[derive(Default)]
struct Time {
    /// Since the schedule began.
    now: Duration,
    timers: u64,
    waiting: BTreeMap<(Duration, u64), Waker>,
    keeper: Option<Waker>,
}

thread_local! {
    // All tasks of a schedule run on one thread.
    static TIME: RefCell<Time> = RefCell::default();
    static START: Instant = real::Clock::system().now();
}

fn with<T>(does: impl FnOnce(&mut Time) -> T) -> T {
    TIME.with_borrow_mut(does)
}

fn now() -> Duration {
    with(|time| time.now)
}

/// A new schedule begins.
pub(crate) fn reset() {
    // Dropped outside of the borrow: a waker may belong to a schedule that is over.
    drop(with(std::mem::take));
}

/// Lets timers end that are set for `limit` after the beginning at the latest, one after the other, at moments that the
/// schedule chooses. What is set for later does not end.
pub(crate) async fn pass(limit: Duration) {
    loop {
        poll_fn(|cx| {
            with(|time| {
                time.keeper = Some(cx.waker().clone());
                match time.waiting.first_key_value() {
                    Some(((at, _), _)) if *at <= limit => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            })
        })
        .await;
        crate::world::pause(20).await;
        let ended = with(|time| {
            let entry = time.waiting.first_entry()?;
            let (at, _) = *entry.key();
            if at > limit {
                return None;
            }
            let waker = entry.remove();
            time.now = time.now.max(at);
            Some(waker)
        });
        if let Some(waker) = ended {
            waker.wake();
        }
    }
}

pub struct Sleep {
    at: Duration,
    number: u64,
}

impl Sleep {
    fn until(at: Duration) -> Self {
        let number = with(|time| {
            time.timers += 1;
            time.timers
        });
        Self { at, number }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let keeper = with(|time| {
            if time.now >= self.at {
                return Poll::Ready(());
            }
            let key = (self.at, self.number);
            let new = time.waiting.insert(key, cx.waker().clone()).is_none();
            if new && let Some(keeper) = time.keeper.take() {
                keeper.wake();
            }
            Poll::Pending
        });
        keeper
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        drop(with(|time| time.waiting.remove(&(self.at, self.number))));
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

const EPOCH: u64 = 1_000_000_000;

impl Clock {
    pub const fn system() -> Self {
        Self
    }

    pub fn now(&self) -> Instant {
        START.with(|start| *start) + now()
    }

    pub fn ahead(&self, after: Duration) -> Instant {
        self.now() + after
    }

    pub fn wall(&self) -> Timestamp {
        Timestamp::from_millis(EPOCH).plus(now())
    }

    pub fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep::until(at - START.with(|start| *start))
    }

    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::until(now().saturating_add(duration))
    }

    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        before(self.sleep(limit), future).await
    }

    pub async fn timeout_at<F: Future>(&self, at: Instant, future: F) -> Option<F::Output> {
        before(self.sleep_until(at), future).await
    }
}

async fn before<F: Future>(end: Sleep, future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        done = future => Some(done),
        () = end => None,
    }
}
