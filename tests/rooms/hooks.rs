//! Hooks that answer by plan and count how they are called.
#![allow(dead_code, reason = "each room uses a part")]

use super::house::seconds;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower_sturdy::BoxError;
use tower_sturdy::journal::{BoxFuture, Observation, Proof, Record, StoredAnswer};
use tower_sturdy::reconcile::{Hooks, Settled, Upstream};

/// What a look-up does.
#[derive(Clone, Copy, Debug)]
pub enum Look {
    Found,
    Absent,
    CannotTell,
    /// Panics before it returns a future.
    PanicsAtOnce,
    Panics,
    Hangs,
    /// Takes this long, then finds nothing.
    AbsentAfter(Duration),
}

#[derive(Clone, Copy, Debug)]
pub enum Check {
    Agrees,
    Told,
    Drifts,
    NotYet,
    Fails,
    Panics,
}

/// See the module. Used up, a look-up finds nothing and a check agrees.
#[derive(Debug, Default)]
pub struct Planned {
    looks: Mutex<VecDeque<Look>>,
    checks: Mutex<VecDeque<Check>>,
    pub looked: AtomicUsize,
    pub looking: AtomicUsize,
    pub looking_max: AtomicUsize,
    pub checked: AtomicUsize,
}

impl Planned {
    pub fn new(looks: impl IntoIterator<Item = Look>) -> Arc<Self> {
        let planned = Self::default();
        planned.looks.lock().unwrap().extend(looks);
        Arc::new(planned)
    }

    pub fn then(&self, looks: impl IntoIterator<Item = Look>) {
        self.looks.lock().unwrap().extend(looks);
    }

    pub fn checks(&self, checks: impl IntoIterator<Item = Check>) {
        self.checks.lock().unwrap().extend(checks);
    }

    pub fn looked(&self) -> usize {
        self.looked.load(Ordering::SeqCst)
    }

    pub fn checked(&self) -> usize {
        self.checked.load(Ordering::SeqCst)
    }
}

pub fn proof() -> Proof {
    Proof {
        answer: StoredAnswer {
            status: 200,
            headers: Vec::new(),
            body: "found".into(),
        },
        evidence: "the planted mark".into(),
    }
}

struct Looking<'a>(&'a Planned);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.looking.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Hooks for Planned {
    fn observe<'a>(&'a self, _: &'a Record, _: &'a Upstream) -> BoxFuture<'a, Observation> {
        self.looked.fetch_add(1, Ordering::SeqCst);
        let look = self
            .looks
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Look::Absent);
        assert!(!matches!(look, Look::PanicsAtOnce), "planned");
        Box::pin(async move {
            let now = self.looking.fetch_add(1, Ordering::SeqCst) + 1;
            self.looking_max.fetch_max(now, Ordering::SeqCst);
            let _looking = Looking(self);
            let absent = Observation::Absent {
                scope: "everything".into(),
            };
            match look {
                Look::Found => Observation::Found(proof()),
                Look::CannotTell => Observation::CannotTell {
                    why: "planned".into(),
                },
                Look::Panics | Look::PanicsAtOnce => panic!("planned"),
                Look::Hangs => std::future::pending().await,
                Look::Absent => {
                    tokio::time::sleep(seconds(1)).await;
                    absent
                }
                Look::AbsentAfter(wait) => {
                    tokio::time::sleep(wait).await;
                    absent
                }
            }
        })
    }

    fn settled<'a>(
        &'a self,
        _: &'a Record,
        _: &'a Upstream,
    ) -> BoxFuture<'a, Result<Settled, BoxError>> {
        self.checked.fetch_add(1, Ordering::SeqCst);
        let check = self
            .checks
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Check::Agrees);
        Box::pin(async move {
            match check {
                Check::Agrees => Ok(Settled::Agrees),
                Check::Told => Ok(Settled::Told),
                Check::Drifts => Ok(Settled::Drift("planned".into())),
                Check::NotYet => Ok(Settled::NotYet),
                Check::Fails => Err("planned".into()),
                Check::Panics => panic!("planned"),
            }
        })
    }
}
