//! Every change of a live record.

use super::super::record::{Capability, Record, State, StoredAnswer};
use super::super::{JournalError, Withheld, may_send};
use super::Book;
use super::live::Live;
use crate::clock::Timestamp;
use crate::context::OperationId;
use crate::error::Error;
use crate::event::Decision;
use crate::outcome::{Advice, Outcome, Verdict};
use std::future::Future;
use std::time::Duration;

impl Book {
    /// Runs `work` on a live operation to its end, renewing the lease while it takes.
    pub(crate) async fn hold<T>(&self, live: &Live, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let renew_every = self.inner.config.lease / 3;
        loop {
            if let Some(done) = self.inner.clock.timeout(renew_every, &mut work).await {
                return done;
            }
            // A lease that could not be renewed is seen by the gate; what is under way goes on. Boxed, for it is rare
            // and would make every operation's task larger.
            let _ = Box::pin(self.own(live, None)).await;
        }
    }

    /// Changes the record of a live operation and writes it to the journal. When another step came first, the record
    /// becomes what it is now, and the change is not made.
    pub(crate) async fn step(
        &self,
        live: &Live,
        change: impl FnOnce(&mut Record),
    ) -> Result<Record, JournalError> {
        let Some(mut next) = live.record() else {
            return Err(JournalError::Missing(live.id));
        };
        let before = next.state();
        change(&mut next);
        next.progress.version += 1;
        match self.inner.journal.step(&next).await {
            Ok(()) => {
                self.note(live, before, &next);
                let mut inside = live.lock();
                inside.record = Some(next.clone());
                inside.dirty = false;
                drop(inside);
                self.tell_end(live);
                live.changed.notify_waiters();
                if next.progress.due.is_some() {
                    self.inner.due.notify_one();
                }
                Ok(next)
            }
            Err(JournalError::Conflict(current)) => {
                let mut inside = live.lock();
                inside.record = Some((*current).clone());
                inside.dirty = false;
                drop(inside);
                self.tell_end(live);
                live.changed.notify_waiters();
                Err(JournalError::Conflict(current))
            }
            Err(error) => Err(error),
        }
    }

    fn note(&self, live: &Live, before: State, next: &Record) {
        if before == next.state() && !live.lock().dirty {
            return;
        }
        if let Some(step) = next.progress.history.last() {
            let decision = Decision::Moved {
                from: step.from.as_str(),
                to: step.to.as_str(),
                why: &step.why,
            };
            self.tell(next, 0, decision);
        }
    }

    /// Takes (or renews) the operation for this process; the step is durable when this resolves.
    pub(crate) async fn own(
        &self,
        live: &Live,
        state: Option<State>,
    ) -> Result<Record, JournalError> {
        let now = self.inner.clock.wall();
        let (owner, lease) = (self.inner.owner, self.inner.config.lease);
        self.step(live, |record| {
            if let Some(state) = state {
                // Whoever asks has looked at the state; a step that does not exist leaves it as it is.
                let _ = record.step(state, now, "taken up again", "owner");
            }
            record.progress.owner = owner;
            record.progress.lease_until = now.plus(lease);
            record.progress.due = Some(now.plus(lease));
        })
        .await
    }

    /// The gate: puts an attempt on record, if one may leave now. What must be durable before the first byte is.
    ///
    /// # Errors
    /// [`Withheld`] inside an `Unsent` error where it may not leave; [`Error::JournalUnavailable`] where the journal
    /// did not take the step.
    pub async fn begin_attempt(&self, id: OperationId, bound: Duration) -> Result<u32, Error> {
        let Some(live) = self.pages().by_id.get(&id).cloned() else {
            return Err(withheld(Withheld::NotOwner));
        };
        let Some(record) = live.record() else {
            return Err(withheld(Withheld::NotOwner));
        };
        let now = self.inner.clock.wall();
        let config = &self.inner.config;
        if let Err(why) = may_send(&record, self.inner.owner, now, bound, config.lease_margin) {
            self.tell(&record, 0, Decision::Withheld { why: why.as_str() });
            return Err(withheld(why));
        }
        let settles = now.plus(bound).plus(config.settle.settle_window);
        let keyed = matches!(record.asked.capability, Capability::Keyed { .. });
        if keyed && record.state() == State::Sending {
            // Durable as "sending" already: a crash is settled as if this attempt had left.
            let mut inside = live.lock();
            inside.dirty = true;
            return match inside.record.as_mut() {
                Some(record) => record
                    .begin_attempt(self.inner.owner, now, settles)
                    .map_err(|_| withheld(Withheld::Settled)),
                None => Err(withheld(Withheld::NotOwner)),
            };
        }
        let mut number = Err(withheld(Withheld::Settled));
        let stepped = self
            .step(&live, |record| {
                if let Ok(begun) = record.begin_attempt(self.inner.owner, now, settles) {
                    number = Ok(begun);
                }
            })
            .await;
        match stepped {
            Ok(_) => number,
            Err(JournalError::Conflict(_)) => Err(withheld(Withheld::NotOwner)),
            Err(error) => Err(Error::journal_unavailable(error)),
        }
    }

    /// Adds the end of an attempt. For a write that is not `Keyed` the end is durable when this resolves (or its
    /// recording goes on in the background, if the journal is down).
    pub async fn end_attempt(
        &self,
        id: OperationId,
        number: u32,
        verdict: Verdict,
        answer: Option<StoredAnswer>,
    ) {
        let Some(live) = self.pages().by_id.get(&id).cloned() else {
            return;
        };
        let now = self.inner.clock.wall();
        let window = self.inner.config.settle.settle_window;
        let (keyed, contradicted) = {
            let mut inside = live.lock();
            inside.dirty = true;
            let Some(record) = inside.record.as_mut() else {
                return;
            };
            let contradicted =
                record.end_attempt(self.inner.owner, number, now, verdict, window, answer);
            self.schedule_acknowledgement(record, now);
            (
                matches!(record.asked.capability, Capability::Keyed { .. }),
                contradicted,
            )
        };
        self.tell_end(&live);
        if contradicted && let Some(record) = live.record() {
            self.tell_end_again(&live);
            let what = "the upstream applied what is on record as settled otherwise";
            self.tell(&record, number, Decision::Drift { what });
        }
        if !keyed {
            self.flush(&live).await;
        }
    }

    fn schedule_acknowledgement(&self, record: &mut Record, now: Timestamp) {
        if record.state().is_final() && !record.progress.acknowledged {
            match self.inner.config.acknowledge_after {
                Some(after) => record.progress.due = Some(now.plus(after)),
                None => {
                    record.progress.due = None;
                    record.progress.acknowledged = true;
                }
            }
        }
    }

    /// Completes an operation by proof found in a look-up.
    pub(crate) fn complete(&self, record: &mut Record, proof: super::super::Proof, now: Timestamp) {
        if record
            .step(State::Completed, now, &proof.evidence, "worker")
            .is_ok()
        {
            record.answer = Some(proof.answer);
            self.schedule_acknowledgement(record, now);
        }
    }

    /// Ends the work of this process on what is not final; see [`Record::release`]. Durable when this resolves to `true`.
    pub(crate) async fn release(&self, live: &Live, due: Option<Timestamp>) -> bool {
        let now = self.inner.clock.wall();
        {
            let mut inside = live.lock();
            let Some(record) = inside.record.as_mut() else {
                return false;
            };
            record.release(now, due);
            inside.dirty = true;
        }
        let flushed = self.flush(live).await;
        live.changed.notify_waiters();
        flushed
    }

    /// Writes what the journal does not have yet. Tries again for about a lease's time; what then is not on record is
    /// settled like the work of a dead owner.
    pub(crate) async fn flush(&self, live: &Live) -> bool {
        let mut wait = Duration::from_millis(100);
        for _ in 0..10 {
            if !live.lock().dirty {
                return true;
            }
            let ours = live.record();
            match self.step(live, |_| {}).await {
                Ok(_) => return true,
                Err(JournalError::Conflict(_)) => self.absorb(live, ours),
                Err(JournalError::Missing(_)) => return false,
                Err(JournalError::Unavailable(_)) => {
                    if let Some(record) = ours {
                        let why = "an end could not be recorded yet";
                        self.tell(&record, 0, Decision::JournalTrouble { why });
                    }
                    self.inner.clock.sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(10));
                }
            }
        }
        false
    }

    /// Another process took the operation over: what was seen here is added to its record, whoever owns it.
    fn absorb(&self, live: &Live, ours: Option<Record>) {
        let Some(ours) = ours else { return };
        let mut inside = live.lock();
        if let Some(current) = inside.record.as_mut() {
            let now = self.inner.clock.wall();
            let changed = current.absorb(&ours, now);
            self.schedule_acknowledgement(current, now);
            inside.dirty = changed;
        }
    }

    /// Makes the check of an operation in doubt due now; for a caller that asks again.
    pub(crate) async fn hasten(&self, live: &Live) {
        let now = self.inner.clock.wall();
        let waits = !live.lock().driven
            && live.record().is_some_and(|record| {
                matches!(record.state(), State::Unknown | State::Ready)
                    && record.progress.due.is_some_and(|due| due > now)
            });
        if waits {
            // Should the step fail, the check is made when it was due anyway.
            let _ = self
                .step(live, |record| record.progress.due = Some(now))
                .await;
        }
    }
}

fn withheld(why: Withheld) -> Error {
    Error::upstream(why, Verdict::closed(Outcome::Unsent, Advice::Stop))
}
