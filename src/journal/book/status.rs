//! What became of an operation: for whoever was told to ask later.

use super::live::{Live, is_idle, only_the_journal_knows};
use super::{Book, Lookup, Told, told_of};
use crate::clock::Timestamp;
use crate::context::{OperationId, OperationKey, Tenant};
use crate::error::{Error, Kind};
use crate::journal::record::{Record, State};
use crate::payload::Payload;
use http::Response;
use std::sync::Arc;
use std::time::Duration;

/// What can be told of an operation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Status {
    /// It is being worked on.
    Pending(OperationId),
    /// Its effect is proven: the recorded answer.
    Completed(Response<Payload>),
    /// It was refused without effect: the recorded answer.
    Rejected(Response<Payload>),
    /// It is in doubt, and being settled.
    Unknown(OperationId),
    /// It waits for a person.
    Parked(OperationId),
    /// It is on record as ended, and the upstream shows otherwise: a person must look at it.
    Contradicted(OperationId),
    /// It is over, and how it ended is on record; what it answered was purged.
    Expired(OperationId),
    /// Provably nothing happened, and nobody works on it: the same key may start it again.
    NothingHappened(OperationId),
}

impl Status {
    /// The stable word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending(_) => "pending",
            Self::Completed(_) => "completed",
            Self::Rejected(_) => "rejected",
            Self::Unknown(_) => "unknown",
            Self::Parked(_) => "parked",
            Self::Contradicted(_) => "contradicted",
            Self::Expired(_) => "expired",
            Self::NothingHappened(_) => "nothing_happened",
        }
    }

    /// Whether asking again soon may find something else.
    #[must_use]
    pub const fn may_change(&self) -> bool {
        matches!(self, Self::Pending(_) | Self::Unknown(_))
    }

    /// What a record tells.
    #[must_use]
    pub fn of(record: &Record, now: Timestamp) -> Self {
        Self::told(record, told_of(record, now))
    }

    fn told(record: &Record, told: Told) -> Self {
        let id = record.id();
        match told {
            Told::Final(told) => match *told {
                Ok(answer) if record.state() == State::Completed => Self::Completed(answer),
                Ok(answer) if record.state() == State::Rejected => Self::Rejected(answer),
                Err(error) if error.kind() == Kind::Parked => Self::Parked(id),
                Err(error) if error.kind() == Kind::Contradicted => Self::Contradicted(id),
                Err(error) if error.kind() == Kind::KeyExpired => Self::Expired(id),
                Err(_) if record.state() == State::Ready => Self::NothingHappened(id),
                Ok(_) | Err(_) => Self::Pending(id),
            },
            Told::NotYet(error) if error.kind() == Kind::OutcomeUnknown => Self::Unknown(id),
            Told::NotYet(_) | Told::Unclaimed => Self::Pending(id),
        }
    }
}

impl Live {
    /// What its record tells now; `None` until its claim is answered.
    fn status(&self, now: Timestamp) -> Option<Status> {
        let inside = self.lock();
        let record = inside.record.as_ref()?;
        // Not on record yet: a crash now would send it again, or leave it in doubt. And whoever works on what did nothing
        // may yet promise to go on with it.
        let may_change = (inside.dirty && only_the_journal_knows(record))
            || ((inside.dirty || inside.driven) && is_idle(record));
        if may_change && !record.progress.contradicted {
            return Some(Status::Pending(record.id()));
        }
        Some(Status::of(record, now))
    }

    /// Its record, unless the journal has to be asked: it may not have what is known here.
    pub(super) fn found(&self) -> Option<Record> {
        let inside = self.lock();
        let record = inside.record.as_ref()?;
        let undone = only_the_journal_knows(record) || record.state() == State::Ready;
        (!(inside.dirty && undone)).then(|| record.clone())
    }
}

impl Book {
    /// What became of an operation of this namespace and tenant; `None` where they have none of this id.
    ///
    /// # Errors
    /// [`Error::JournalUnavailable`] where it cannot be read.
    pub async fn status(
        &self,
        namespace: &str,
        tenant: &Tenant,
        id: OperationId,
    ) -> Result<Option<Status>, Error> {
        self.look(namespace, tenant, Lookup::Id(id)).await
    }

    /// What became of the operation under a key.
    ///
    /// # Errors
    /// [`Error::JournalUnavailable`] where it cannot be read.
    pub async fn status_of_key(
        &self,
        namespace: &str,
        tenant: &Tenant,
        key: &OperationKey,
    ) -> Result<Option<Status>, Error> {
        let which = Lookup::Key {
            namespace,
            tenant,
            key,
        };
        self.look(namespace, tenant, which).await
    }

    /// The same as [`Book::status`], waiting for up to `patience` while it may still change.
    ///
    /// # Errors
    /// [`Error::JournalUnavailable`] where it cannot be read.
    pub async fn status_within(
        &self,
        namespace: &str,
        tenant: &Tenant,
        id: OperationId,
        patience: Duration,
    ) -> Result<Option<Status>, Error> {
        let clock = self.inner.clock;
        let until = clock.ahead(patience);
        loop {
            let live = self.live_by_id(id);
            let changed = live.as_ref().map(|live| live.notified());
            let mut changed = std::pin::pin!(changed);
            if let Some(changed) = changed.as_mut().as_pin_mut() {
                // From here on no change is missed.
                changed.enable();
            }
            let status = self.status(namespace, tenant, id).await?;
            let now = clock.now();
            if now >= until || !status.as_ref().is_some_and(Status::may_change) {
                return Ok(status);
            }
            // What another process works on is looked at now and then.
            let next = until.min(now + ASK_AGAIN);
            match changed.as_pin_mut() {
                Some(changed) => clock.timeout_at(next, changed).await,
                None => {
                    clock.sleep(next.saturating_duration_since(now)).await;
                    None
                }
            };
        }
    }

    async fn look(
        &self,
        namespace: &str,
        tenant: &Tenant,
        which: Lookup<'_>,
    ) -> Result<Option<Status>, Error> {
        let now = self.now().at;
        let live = match which {
            Lookup::Id(id) => self.live_by_id(id),
            Lookup::Key { key, .. } => {
                let key = (Arc::from(namespace), tenant.clone(), key.clone());
                self.pages().by_key.get(&key).cloned()
            }
        };
        let theirs = |asked: &crate::journal::Asked| {
            *asked.namespace == *namespace && asked.tenant == *tenant
        };
        if let Some(live) = live
            && let Some(asked) = live.asked()
        {
            return Ok(live.status(now).filter(|_| theirs(&asked)));
        }
        let found = self.inner.journal.get(which).await;
        let found = found.map_err(Error::journal_unavailable)?;
        let found = found.filter(|record| theirs(&record.asked));
        Ok(found.map(|record| Status::of(&record, now)))
    }

    fn live_by_id(&self, id: OperationId) -> Option<Arc<Live>> {
        self.pages().by_id.get(&id).cloned()
    }
}

/// How often the journal is asked for what this process does not work on.
const ASK_AGAIN: Duration = Duration::from_millis(250);
