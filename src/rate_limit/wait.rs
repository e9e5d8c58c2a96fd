//! Standing in line. Every waiter watches its own time limit; one task per part watches the clock for the slots, and
//! lives only while someone waits.

use super::admission::{Ask, Look};
use super::permit::Permit;
use super::shared::{Limits, Shared};
use super::window::{NEVER, Nanos};
use crate::clock::Clock;
use crate::context::Priority;
use crate::error::Error;
use crate::event::Decision;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// A place in line. Dropped, it leaves the line and passes its turn on.
#[derive(Debug)]
pub(super) struct Ticket {
    shared: Arc<Shared>,
    part: usize,
    id: Option<usize>,
    bell: Arc<Notify>,
    tenant: Box<str>,
    priority: Priority,
    since: Nanos,
    until: Nanos,
}

impl Ticket {
    pub(super) fn new(
        shared: Arc<Shared>,
        part: usize,
        id: usize,
        bell: Arc<Notify>,
        ask: Ask<'_>,
        since: Nanos,
        until: Nanos,
    ) -> Self {
        Self {
            shared,
            part,
            id: Some(id),
            bell,
            tenant: Box::from(ask.tenant),
            priority: ask.priority,
            since,
            until,
        }
    }

    /// Waits for the turn.
    pub(super) async fn turn(mut self) -> Result<Permit, Error> {
        let limit = self
            .shared
            .hooks
            .clock
            .sleep_until(self.shared.limits.instant(self.until));
        let mut limit = std::pin::pin!(limit);
        let bell = Arc::clone(&self.bell);
        loop {
            if let Some(done) = self.look() {
                return done;
            }
            // Also after a ring: the runtime that ran the last watcher may be gone.
            watch(&self.shared, self.part);
            tokio::select! {
                () = bell.notified() => {}
                () = &mut limit => {}
            }
        }
    }

    fn look(&mut self) -> Option<Result<Permit, Error>> {
        let id = self.id?;
        let now = self.shared.now();
        let look = self.shared.limits.part(self.part).with(|locked| {
            let look = locked.admission.look(id, now);
            if look != Look::Standing {
                locked.unhang(id);
            }
            look
        });
        let done = match look {
            Look::Standing => return None,
            Look::Granted(grant) => {
                let shared = Arc::clone(&self.shared);
                Ok(Permit::new(shared, self.part, grant, self.priority))
            }
            Look::TooCostly(kept) => Err(self.shared.too_costly(kept)),
            Look::Refused(refusal) => Err(self.shared.refuse(&self.tenant, self.priority, refusal)),
        };
        self.id = None;
        if done.is_ok() {
            let waited = Duration::from_nanos(now.saturating_sub(self.since));
            self.shared
                .tell(&self.tenant, self.priority, Decision::Admitted { waited });
        }
        Some(done)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let now = self.shared.now();
            self.shared.limits.part(self.part).with(|locked| {
                locked.admission.cancel(id, now);
                locked.unhang(id);
            });
        }
    }
}

/// Makes sure that someone watches the clock for a part.
fn watch(shared: &Shared, part: usize) {
    let watched = shared
        .limits
        .part(part)
        .with(|locked| std::mem::replace(&mut locked.watched, true));
    if !watched {
        let watcher = Watcher {
            limits: Arc::clone(&shared.limits),
            clock: shared.hooks.clock,
            part,
            over: false,
        };
        tokio::spawn(watcher.run());
    }
}

struct Watcher {
    limits: Arc<Limits>,
    clock: Clock,
    part: usize,
    over: bool,
}

impl Watcher {
    async fn run(mut self) {
        loop {
            let part = self.limits.part(self.part);
            let now = self.limits.nanos(self.clock.now());
            let alarm = part.with(|locked| {
                locked.admission.tick(now);
                if locked.admission.in_line() == 0 {
                    locked.watched = false;
                    return None;
                }
                locked.watched_until = locked.admission.alarm();
                Some(locked.watched_until)
            });
            match alarm {
                None => {
                    self.over = true;
                    return;
                }
                Some(NEVER) => part.watcher.notified().await,
                Some(at) => {
                    tokio::select! {
                        () = part.watcher.notified() => {}
                        () = self.clock.sleep_until(self.limits.instant(at)) => {}
                    }
                }
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if !self.over {
            // Its runtime is shutting down: one of those who wait on another starts a new watcher.
            self.limits.part(self.part).with(|locked| {
                locked.watched = false;
                locked.ring_all();
            });
        }
    }
}
