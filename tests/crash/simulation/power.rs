//! The switch of one process, and the plan that says where it is thrown.
//!
//! All that a process does to the world goes through a few doors: its journal, its wire, its hooks, its observer, its
//! callers. Each door asks the switch before and after it does anything. Once the switch is off, no door opens again:
//! calls never come back, and nothing is told. So whatever of the old stack still runs or is dropped has no effect, and
//! a crash between two doors is the same as one at the second.

use super::boundary::{Boundary, Count, Next};
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use tokio::sync::Notify;

#[derive(Debug)]
struct Plan {
    seen: Count,
    hits: Count,
    next: Next,
    /// How many crashes may follow the first one, and how far apart at most.
    more: u32,
    gap_max: u64,
    rng: fastrand::Rng,
    /// Of everything that was seen, in order.
    digest: u64,
}

impl Plan {
    /// The crash after this one. Recovery is as short as a start and as long as a settle window, so the next is as
    /// likely among the first ten boundaries as among the next hundred; or soon at one of a kind.
    fn draw(&mut self) -> Next {
        if self.rng.bool() {
            let kind = Boundary::ALL[self.rng.usize(0..Boundary::Instant as usize)];
            return Next::Of(kind, self.seen.0[kind as usize] + self.rng.u64(1..8));
        }
        let most = self.gap_max.max(1).ilog2();
        let magnitude = self.rng.u32(2.min(most)..=most);
        Next::At(self.seen.sum() + self.rng.u64(1..=1 << magnitude))
    }
}

/// The crashes of one run. Clones share them.
#[derive(Clone, Debug)]
pub struct Crashes {
    plan: Arc<Mutex<Plan>>,
}

impl Crashes {
    pub fn new(seed: u64, first: Next, more: u32, gap_max: u64) -> Self {
        let plan = Plan {
            seen: Count::default(),
            hits: Count::default(),
            next: first,
            more,
            gap_max,
            rng: fastrand::Rng::with_seed(seed),
            digest: 0,
        };
        Self {
            plan: Arc::new(Mutex::new(plan)),
        }
    }

    /// None at all.
    pub fn none() -> Self {
        Self::new(0, Next::Never, 0, 1)
    }

    pub fn next(&self) -> Next {
        self.plan.lock().unwrap().next
    }

    pub fn seen(&self) -> Count {
        self.plan.lock().unwrap().seen
    }

    pub fn hits(&self) -> Count {
        self.plan.lock().unwrap().hits
    }

    pub fn digest(&self) -> u64 {
        self.plan.lock().unwrap().digest
    }

    fn strikes(&self, boundary: Boundary) -> bool {
        let mut plan = self.plan.lock().unwrap();
        plan.seen.0[boundary as usize] += 1;
        plan.digest = (plan.digest ^ boundary as u64).wrapping_mul(0x100_0000_01b3);
        let struck = match plan.next {
            Next::Never => false,
            Next::At(at) => plan.seen.sum() == at,
            Next::Of(kind, number) => boundary == kind && plan.seen.0[boundary as usize] == number,
            Next::Instant(_) => boundary == Boundary::Instant,
        };
        if struck {
            plan.hits.0[boundary as usize] += 1;
            plan.next = Next::Never;
            if plan.more > 0 {
                plan.more -= 1;
                plan.next = plan.draw();
            }
        }
        struck
    }
}

type OnCut = Box<dyn FnOnce(Boundary) + Send>;

struct Inner {
    on: AtomicBool,
    lost: Notify,
    crashes: Crashes,
    on_cut: Mutex<Option<OnCut>>,
}

/// The switch of one process. Clones are the same switch.
#[derive(Clone)]
pub struct Power {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Power {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Power").field("on", &self.is_on()).finish()
    }
}

impl Power {
    pub fn new(crashes: Crashes) -> Self {
        Self {
            inner: Arc::new(Inner {
                on: AtomicBool::new(true),
                lost: Notify::new(),
                crashes,
                on_cut: Mutex::new(None),
            }),
        }
    }

    /// Does this at the very instant of the crash.
    pub fn when_cut(&self, on_cut: impl FnOnce(Boundary) + Send + 'static) {
        *self.inner.on_cut.lock().unwrap() = Some(Box::new(on_cut));
    }

    pub fn is_on(&self) -> bool {
        self.inner.on.load(Ordering::Relaxed)
    }

    /// Comes to a boundary; whether the process lives on.
    pub fn at(&self, boundary: Boundary) -> bool {
        if !self.is_on() {
            return false;
        }
        if !self.inner.crashes.strikes(boundary) {
            return true;
        }
        self.cut(boundary);
        false
    }

    fn cut(&self, boundary: Boundary) {
        self.inner.on.store(false, Ordering::Relaxed);
        if let Some(on_cut) = self.inner.on_cut.lock().unwrap().take() {
            on_cut(boundary);
        }
        self.inner.lost.notify_waiters();
    }

    /// The process ends by itself.
    pub fn ends(&self) {
        if self.is_on() {
            self.cut(Boundary::Drains);
        }
    }

    /// Comes to a boundary, and never leaves it if the process dies there.
    pub async fn pass(&self, boundary: Boundary) {
        if !self.at(boundary) {
            pending::<()>().await;
        }
    }

    /// Resolves once the process is dead.
    pub async fn lost(&self) {
        let lost = self.inner.lost.notified();
        let mut lost = pin!(lost);
        lost.as_mut().enable();
        if self.is_on() {
            lost.await;
        }
    }

    /// Runs `work` for as long as the process lives; each of its polls is a boundary.
    pub async fn while_on<T>(&self, polled: Boundary, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if !self.at(polled) {
                return Poll::Pending;
            }
            let polled = work.as_mut().poll(cx);
            // It may have died within.
            if self.is_on() { polled } else { Poll::Pending }
        })
        .await
    }
}
