//! One caller that waits for an operation.

use super::layer::Shared;
use super::same::{Original, is_same, is_same_as_made};
use crate::clock::Instant;
use crate::context::{OperationId, Priority, Tenant};
use crate::error::Error;
use crate::event::{Decision, Event};
use crate::journal::{Asked, Live, Told};
use crate::payload::{Payload, ServedFrom};
use http::{Request, Response};
use std::sync::Arc;

/// What a caller asked for, to be compared with what is on record.
pub(super) enum Mine {
    /// It was made into a record, which is claimed or finds its key taken.
    Made {
        asked: Arc<Asked>,
        original: Original,
    },
    /// Somebody else works under its key.
    Joined(Box<Request<Payload>>),
    /// Its key was made for it, and somebody else has that.
    Again,
    /// It was compared with this operation, and is the same.
    Same(OperationId),
}

/// Dropping it leaves the operation to go on.
pub(super) struct Waiting {
    pub(super) shared: Arc<Shared>,
    pub(super) live: Arc<Live>,
    pub(super) mine: Mine,
    pub(super) tenant: Tenant,
    pub(super) priority: Priority,
    pub(super) until: Instant,
    pub(super) left: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.left {
            let _ = self.shared.book.give_up(&self.live);
        }
    }
}

impl Shared {
    /// When a caller that waits for what somebody else began is told to ask later.
    pub(super) fn joined_until(&self, until: Instant) -> Instant {
        match self.config.joined_patience {
            Some(patience) => until.min(self.book.clock().ahead(patience)),
            None => until,
        }
    }
}

impl Waiting {
    fn tell(&self, decision: Decision<'_>) {
        let operation = self.live.operation();
        tell(
            &self.shared,
            &self.tenant,
            self.priority,
            operation,
            decision,
        );
    }

    pub(super) async fn wait(mut self, joined: bool) -> Result<Response<Payload>, Error> {
        let clock = self.shared.book.clock();
        let live = Arc::clone(&self.live);
        if joined {
            self.tell(Decision::Joined);
            let hastened = Box::pin(self.shared.book.hasten(&live));
            let _ = clock.timeout_at(self.until, hastened).await;
        }
        loop {
            let changed = live.notified();
            tokio::pin!(changed);
            // From here on no change is missed, also one between the look and the wait.
            changed.as_mut().enable();
            // Told first and compared then: an answer that comes between the two would belong to another request.
            let told = live.told(self.shared.book.now().at);
            if let Some(recorded) = live.asked()
                && let Err(error) = self.compare(&recorded)
            {
                return self.answered(Err(error));
            }
            match told {
                Told::Final(result) if !live.is_answering() => return self.answered(*result),
                // Nothing can be promised before the claim is durable; the journal's own limits bound this wait.
                Told::Unclaimed => changed.await,
                Told::Final(_) | Told::NotYet(_) => {
                    if !live.is_answering() {
                        self.until = self.shared.joined_until(self.until);
                    }
                    if clock.timeout_at(self.until, changed).await.is_none() {
                        return self.out_of_patience();
                    }
                }
            }
        }
    }

    /// Whether the operation is what this caller asked for: once for each that is on record under the key.
    fn compare(&mut self, recorded: &Arc<Asked>) -> Result<(), Error> {
        let writes = &*self.shared.writes;
        let same = match &mut self.mine {
            Mine::Same(id) => *id == recorded.id,
            Mine::Made { asked, .. } if Arc::ptr_eq(asked, recorded) => true,
            Mine::Made { asked, original } => is_same_as_made(recorded, original, asked, writes)?,
            Mine::Joined(request) => {
                let request = std::mem::replace(&mut **request, Request::new(Payload::empty()));
                is_same(recorded, request, writes)?
            }
            Mine::Again => return Err(Error::possible_duplicate(recorded.id)),
        };
        if !same {
            // Of a tombstone only the same bytes can be told: it may well be the same, and no new key is called for.
            return Err(match self.live.is_tombstone() {
                true => Error::KeyExpired,
                false => Error::key_reused(recorded.id),
            });
        }
        self.mine = Mine::Same(recorded.id);
        Ok(())
    }

    fn answered(
        &mut self,
        result: Result<Response<Payload>, Error>,
    ) -> Result<Response<Payload>, Error> {
        self.left = true;
        self.shared.book.leave(&self.live);
        if let Ok(answer) = &result
            && matches!(answer.body().served_from(), ServedFrom::Replay { .. })
        {
            self.tell(Decision::Replayed);
        }
        result
    }

    fn out_of_patience(&mut self) -> Result<Response<Payload>, Error> {
        self.left = true;
        let book = &self.shared.book;
        // The operation may have ended between the look and now: then its end is what the caller is told.
        if let Some(ended) = book.give_up(&self.live) {
            return ended;
        }
        // Looked at after leaving: from here on whoever ends the work knows that somebody was told to wait.
        let error = match self.live.told(book.now().at) {
            Told::Final(result) => return *result,
            Told::NotYet(error) => error,
            Told::Unclaimed => Error::outcome_unknown(self.live.operation()),
        };
        self.tell(Decision::StillPending);
        Err(error)
    }
}

/// Tells the observer.
pub(super) fn tell(
    shared: &Shared,
    tenant: &Tenant,
    priority: Priority,
    operation: OperationId,
    decision: Decision<'_>,
) {
    let event = Event::new(tenant.as_str(), priority, decision).with_operation(Some(operation));
    shared.observer.observe(&event);
}
