//! A write that is not taken: its caller is told what the journal knows of its key, and that nothing was sent only where
//! nothing is on record.

use super::admit::{Existing, existing};
use super::layer::Shared;
use super::same::{Original, is_same_as_made};
use super::waiting::tell;
use crate::clock::Instant;
use crate::context::Priority;
use crate::error::Error;
use crate::event::Decision;
use crate::journal::{Asked, Lookup, Record, Told, told_of};
use crate::payload::{Payload, ServedFrom};
use http::Response;
use std::sync::Arc;
use std::time::Duration;

/// Nothing of it is known here, and this process takes nothing new.
pub(super) struct Refused {
    pub(super) shared: Arc<Shared>,
    pub(super) asked: Arc<Asked>,
    pub(super) original: Original,
    pub(super) priority: Priority,
    pub(super) until: Instant,
    /// What is true where the key is new.
    pub(super) why: Error,
}

impl Refused {
    /// Changes nothing, so it may be dropped at any await.
    pub(super) async fn told(self) -> Result<Response<Payload>, Error> {
        let (book, asked) = (&self.shared.book, &self.asked);
        let which = Lookup::Key {
            namespace: &asked.namespace,
            tenant: &asked.tenant,
            key: &asked.key,
        };
        let looked = book.journal().get(which);
        match book.clock().timeout_at(self.until, looked).await {
            Some(Ok(Some(found))) => self.of(&found),
            Some(Ok(None)) => Err(self.why),
            // It may be on record: who asks again under the same key learns which.
            Some(Err(_)) | None => Err(Error::in_flight(asked.id, Duration::from_secs(1))),
        }
    }

    fn of(self, found: &Record) -> Result<Response<Payload>, Error> {
        let (shared, id) = (&*self.shared, found.id());
        if self.asked.key.is_derived() {
            return Err(Error::possible_duplicate(id));
        }
        let same = is_same_as_made(&found.asked, &self.original, &self.asked, &*shared.writes)?;
        let now = shared.book.now().at;
        match existing(found, same, now) {
            // Of a tombstone only the same bytes can be told.
            Existing::Reused if found.is_tombstone() => Err(Error::KeyExpired),
            Existing::Reused => Err(Error::key_reused(id)),
            Existing::Answer(Told::Final(result)) => {
                let replayed = result.as_ref().as_ref().is_ok_and(|answer| {
                    matches!(answer.body().served_from(), ServedFrom::Replay { .. })
                });
                if replayed {
                    let tenant = &self.asked.tenant;
                    tell(shared, tenant, self.priority, id, Decision::Replayed);
                }
                *result
            }
            Existing::Answer(Told::NotYet(error)) | Existing::Elsewhere(error) => Err(error),
            Existing::Answer(Told::Unclaimed) | Existing::Hasten => Err(Error::outcome_unknown(id)),
            // All that was sent did nothing; whether somebody goes on with it, the record says.
            Existing::Start => match told_of(found, now) {
                Told::NotYet(error) => Err(error),
                Told::Final(_) | Told::Unclaimed => Err(self.why),
            },
        }
    }
}
