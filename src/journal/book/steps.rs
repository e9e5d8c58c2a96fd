//! Every change of a live record, and its way to the journal.
//!
//! A change that must be durable before anything follows is a step: one at a time for each live operation, so that
//! versions follow one another. What is seen of a keyed write's attempts changes the record here at once and is written
//! with the next step; it is never lost to a step that was under way meanwhile, or to one that came first.

use super::super::record::{Record, State};
use super::super::{JournalError, Proof};
use super::Book;
use super::live::{Inside, Live};
use crate::clock::Timestamp;
use crate::event::Decision;
use std::time::Duration;

/// Why a change was not made.
pub(crate) enum NotMade<E> {
    /// The record, as it is now, does not allow it.
    Refused(E),
    /// The journal did not take it, or says so.
    Journal(JournalError),
}

impl Book {
    /// Changes the record of a live operation and writes it to the journal. When another step came first, the record
    /// becomes what it is now, and the change is not made.
    pub(crate) async fn step(
        &self,
        live: &Live,
        change: impl FnOnce(&mut Record),
    ) -> Result<Record, JournalError> {
        let change = |record: &mut Record| {
            change(record);
            Ok::<_, std::convert::Infallible>(())
        };
        match self.try_step_whole(live, change).await {
            Ok(made) => Ok(made),
            Err(NotMade::Journal(error)) => Err(error),
            Err(NotMade::Refused(never)) => match never {},
        }
    }

    /// A step that the record may refuse, and the record as the journal has it then.
    pub(crate) async fn try_step_whole<E>(
        &self,
        live: &Live,
        change: impl FnOnce(&mut Record) -> Result<(), E>,
    ) -> Result<Record, NotMade<E>> {
        let mut made = None;
        self.make_step(live, change, |next| made = Some(next.clone()))
            .await?;
        made.ok_or(NotMade::Journal(JournalError::Missing(live.id)))
    }

    /// A step that the record may refuse when its turn comes.
    pub(crate) async fn try_step<T, E>(
        &self,
        live: &Live,
        change: impl FnOnce(&mut Record) -> Result<T, E>,
    ) -> Result<T, NotMade<E>> {
        self.make_step(live, change, |_| {}).await
    }

    /// `show` sees the record as the journal has it then.
    async fn make_step<T, E>(
        &self,
        live: &Live,
        change: impl FnOnce(&mut Record) -> Result<T, E>,
        show: impl FnOnce(&Record),
    ) -> Result<T, NotMade<E>> {
        let _turn = live.turn.lock().await;
        let (before, unrecorded, changes, next, made) = {
            let inside = live.lock();
            let Some(record) = &inside.record else {
                return Err(NotMade::Journal(JournalError::Missing(live.id)));
            };
            let mut next = record.clone();
            let made = change(&mut next).map_err(NotMade::Refused)?;
            next.progress.version += 1;
            let before = record.state();
            (before, inside.dirty, inside.changes, next, made)
        };
        match self.inner.journal.step(&next).await {
            Ok(()) => {
                if before != next.state() || unrecorded {
                    self.tell_moved(&next);
                }
                show(&next);
                let due = next.progress.due.is_some();
                self.adopt(live, next, Some(changes));
                if due {
                    self.inner.due.notify_one();
                }
                Ok(made)
            }
            Err(JournalError::Conflict(current)) => {
                self.adopt(live, (*current).clone(), None);
                Err(NotMade::Journal(JournalError::Conflict(current)))
            }
            Err(error) => Err(NotMade::Journal(error)),
        }
    }

    fn tell_moved(&self, next: &Record) {
        if let Some(step) = next.progress.history.last() {
            let decision = Decision::Moved {
                from: step.from.as_str(),
                to: step.to.as_str(),
                why: &step.why,
            };
            self.tell(next, 0, decision);
        }
    }

    /// The journal has `current`. What was seen here and is not in it yet is added to it: since `changes` where the
    /// step was ours, else everything that was not on record.
    fn adopt(&self, live: &Live, current: Record, changes: Option<u64>) {
        let mut contradicted = None;
        {
            let mut inside = live.lock();
            let missing = match changes {
                Some(changes) => inside.changes != changes,
                None => inside.dirty,
            };
            let known = current.progress.contradicted;
            let ours = inside.record.replace(current).filter(|_| missing);
            inside.dirty = ours.is_some_and(|ours| self.catch_up(&mut inside, &ours));
            if !inside.dirty {
                inside.released = None;
            }
            if let Some(record) = &inside.record
                && record.progress.contradicted
                && !known
            {
                contradicted = Some(record.clone());
            }
        }
        match contradicted {
            Some(record) => {
                self.tell_end_again(live);
                self.tell_contradiction(&record, 0);
            }
            None => self.tell_end(live),
        }
        live.changed.notify_waiters();
    }

    /// Adds what this process saw to the record that the journal has. Returns whether anything was new.
    fn catch_up(&self, inside: &mut Inside, ours: &Record) -> bool {
        let released = inside.released;
        let Some(record) = inside.record.as_mut() else {
            return false;
        };
        let now = self.now().at;
        let mut changed = record.absorb(ours, now);
        // A step of ours that seemed to fail and came first: the work on it is over all the same.
        let still_ours = record.progress.owner == self.inner.owner;
        if let Some(due) = released
            && still_ours
            && matches!(record.state(), State::Claimed | State::Sending)
        {
            record.release(now, due);
            changed = true;
        }
        if changed {
            self.schedule_acknowledgement(record, now);
        }
        changed
    }

    /// The upstream proved otherwise than what is on record as final: the alarm, and the end told again.
    pub(crate) fn contradicted(&self, live: &Live) {
        self.tell_end_again(live);
        if let Some(record) = live.record() {
            self.tell_contradiction(&record, 0);
        }
    }

    pub(super) fn tell_contradiction(&self, record: &Record, attempt: u32) {
        let what = match record.state() {
            State::Completed => "what a person resolved as applied had no effect upstream",
            _ => "the upstream applied what is on record as settled otherwise",
        };
        self.tell(record, attempt, Decision::Drift { what });
    }

    /// When the local record is told of a settled operation.
    pub(crate) fn schedule_acknowledgement(&self, record: &mut Record, now: Timestamp) {
        if record.state().is_final() && !record.progress.acknowledged {
            match self.inner.config.acknowledge_after {
                Some(after) => record.progress.due = Some(now.plus(after)),
                None => {
                    // What a person resolved is looked up all the same.
                    let watched = record.is_watched(now, self.inner.config.settle.parked_for);
                    record.progress.due = watched.then_some(now);
                    record.progress.acknowledged = true;
                }
            }
        }
    }

    /// Completes an operation by proof found in a look-up.
    pub(crate) fn complete(&self, record: &mut Record, proof: Proof, now: Timestamp) {
        if record
            .step(State::Completed, now, proof.evidence, "worker")
            .is_ok()
        {
            record.answer = Some(proof.answer);
            self.schedule_acknowledgement(record, now);
        }
    }

    /// Ends the work of this process on what is not final; see [`Record::release`]. `due` is told whether all who asked
    /// still wait, at the moment from which nobody is promised anything else. Resolves to `true` once what is known
    /// here is on record; whose the record is then, the record says.
    pub(crate) async fn release(
        &self,
        live: &Live,
        due: impl FnOnce(bool) -> Option<Timestamp>,
    ) -> bool {
        let now = self.now().at;
        {
            let mut inside = live.lock();
            let due = due(inside.all_wait());
            let Some(record) = inside.record.as_mut() else {
                return false;
            };
            record.release(now, due);
            inside.released = Some(due);
            inside.unrecorded();
        }
        let flushed = self.flush(live).await;
        live.changed.notify_waiters();
        flushed
    }

    /// Makes sure that the worker takes a `Ready` operation up again, for somebody who left while it became that, unless
    /// another operation about the same thing has begun meanwhile. Returns whether it will.
    pub(crate) async fn promise(&self, live: &Live, due: Timestamp) -> bool {
        {
            let mut inside = live.lock();
            inside.told = true;
            if let Some(record) = inside.record.as_mut()
                && record.state() == State::Ready
            {
                record.progress.due = Some(due);
                inside.unrecorded();
            }
        }
        self.flush(live).await
            && live
                .record()
                .is_some_and(|record| record.progress.due.is_some())
    }

    /// Writes what the journal does not have yet. Tries again for about a lease's time; what then is not on record is
    /// settled like the work of a dead owner.
    pub(crate) async fn flush(&self, live: &Live) -> bool {
        if !live.lock().dirty {
            return true;
        }
        let made = self.write(live).await;
        if made.is_ok() && !live.lock().dirty {
            return true;
        }
        // Boxed: the straight path holds no room for it.
        Box::pin(self.flush_on(live, made)).await
    }

    async fn write(&self, live: &Live) -> Result<(), JournalError> {
        let nothing = |_: &mut Record| Ok::<_, std::convert::Infallible>(());
        match self.try_step(live, nothing).await {
            Ok(()) => Ok(()),
            Err(NotMade::Journal(error)) => Err(error),
            Err(NotMade::Refused(never)) => match never {},
        }
    }

    async fn flush_on(&self, live: &Live, mut made: Result<(), JournalError>) -> bool {
        let mut wait = Duration::from_millis(100);
        let mut tries_left = 9;
        loop {
            match made {
                // What came in between is written by the next turn.
                Ok(()) | Err(JournalError::Conflict(_)) => {}
                // Another operation about the same thing came first: this one cannot be promised, and stays as it was.
                Err(JournalError::Contended(_)) => {
                    if let Some(record) = live.lock().record.as_mut() {
                        record.progress.due = None;
                    }
                }
                Err(JournalError::Missing(_) | JournalError::Quarantined(_)) => return false,
                Err(JournalError::Unavailable(_)) => {
                    if let Some(record) = live.record() {
                        let why = "an end could not be recorded yet";
                        self.tell(&record, 0, Decision::JournalTrouble { why });
                    }
                    self.inner.clock.sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(10));
                }
            }
            if !live.lock().dirty || tries_left == 0 {
                return !live.lock().dirty;
            }
            tries_left -= 1;
            made = self.write(live).await;
        }
    }

    /// Makes the check of an operation in doubt due now; for a caller that asks again.
    pub(crate) async fn hasten(&self, live: &Live) {
        let now = self.now().at;
        let waits = |record: &Record| {
            matches!(record.state(), State::Unknown | State::Ready)
                && record.progress.due.is_some_and(|due| due > now)
        };
        if live.lock().driven || live.peek(waits) != Some(true) {
            return;
        }
        // Should the step fail, the check is made when it was due anyway.
        let _ = self
            .try_step(live, |record| {
                if !waits(record) {
                    return Err(());
                }
                record.progress.due = Some(now);
                Ok(())
            })
            .await;
    }
}
