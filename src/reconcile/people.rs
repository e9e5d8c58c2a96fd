//! What people do with operations, beside the worker: list, inspect, resolve, park, retry.

use super::figures::Figures;
use super::worker::{InHand, Reconciler};
use crate::clock::Timestamp;
use crate::context::{OperationId, Tenant};
use crate::error::Error;
use crate::journal::{
    CannotResolve, Filter, JournalError, Live, Lookup, Moment, NotMade, Observation, Record, State,
};
use std::fmt;
use std::time::Duration;

/// How many records are read at once for a listing.
const PAGE: usize = 500;

/// How often, and how long apart, an operation that is being checked is asked for: two seconds in all.
const TRIES: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(100);

/// Which operations to list, soonest due first.
#[derive(Clone, Debug)]
pub struct Query {
    /// Only these states; empty for all.
    pub states: Vec<State>,
    /// Only this tenant.
    pub tenant: Option<Tenant>,
    /// Only what was accepted at least this long ago.
    pub older_than: Duration,
    /// Only what the upstream contradicts.
    pub contradicted: bool,
    /// How many at most.
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            states: Vec::new(),
            tenant: None,
            older_than: Duration::ZERO,
            contradicted: false,
            // Some screens full.
            limit: 100,
        }
    }
}

impl Query {
    fn wants(&self, record: &Record, now: Timestamp) -> bool {
        now.since(record.asked.at) >= self.older_than
            && (!self.contradicted || record.progress.contradicted)
    }
}

/// How an operation was resolved.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// The look-up found proof: it is completed by that, whatever the person said.
    Proof {
        /// The operation.
        record: Box<Record>,
        /// What was found.
        evidence: String,
    },
    /// By the person's word.
    Word {
        /// The operation.
        record: Box<Record>,
        /// What the look-up before it said; `None` where nothing that was sent can have had an effect.
        looked: Option<String>,
    },
}

/// Why a person's decision was not taken.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Undecided {
    /// No such operation.
    Missing(OperationId),
    /// The record does not allow it.
    Refused(CannotResolve),
    /// A check of it goes on, here or elsewhere; try again in a moment.
    InHand,
    /// The journal could not be read or written; whether the decision was taken is not known: inspect the operation.
    Journal(JournalError),
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(id) => write!(f, "operation {id} is not on record"),
            Self::Refused(why) => write!(f, "{why}"),
            Self::InHand => f.write_str("it is being checked right now; try again in a moment"),
            Self::Journal(error) => write!(f, "{error}; inspect the operation, then try again"),
        }
    }
}

impl std::error::Error for Undecided {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(why) => Some(why),
            Self::Journal(error) => Some(error),
            Self::Missing(_) | Self::InHand => None,
        }
    }
}

impl From<JournalError> for Undecided {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Missing(id) => Self::Missing(id),
            JournalError::Conflict(_) => Self::InHand,
            other => Self::Journal(other),
        }
    }
}

impl From<NotMade<CannotResolve>> for Undecided {
    fn from(why: NotMade<CannotResolve>) -> Self {
        match why {
            NotMade::Refused(why) => Self::Refused(why),
            NotMade::Journal(error) => error.into(),
        }
    }
}

/// What people do with the operations of one service. Made by [`Reconciler::operations`].
///
/// It shows and changes the operations of every tenant: who may see or decide what is for the program around it to say.
/// `who` is taken at its word.
#[derive(Clone, Debug)]
pub struct Operations {
    reconciler: Reconciler,
}

impl Operations {
    pub(super) const fn new(reconciler: Reconciler) -> Self {
        Self { reconciler }
    }

    /// Operations by state, tenant and age. Reads the journal a page at a time until enough are found.
    ///
    /// # Errors
    /// [`Error::JournalUnavailable`] where it cannot be read.
    pub async fn list(&self, query: &Query) -> Result<Vec<Record>, Error> {
        let book = &self.reconciler.shared.book;
        let now = book.now().at;
        let mut filter = Filter {
            states: query.states.clone(),
            tenant: query.tenant.clone(),
            limit: PAGE,
            ..self.reconciler.ours()
        };
        let mut found = Vec::new();
        while found.len() < query.limit {
            let page = book.journal().list(&filter).await;
            let page = page.map_err(Error::journal_unavailable)?;
            let last = page.len() < filter.limit;
            filter.skip += page.len();
            found.extend(page.into_iter().filter(|record| query.wants(record, now)));
            if last {
                break;
            }
        }
        found.truncate(query.limit);
        Ok(found)
    }

    /// One operation, as it is on record: attempts and audit trail included.
    ///
    /// # Errors
    /// [`Error::JournalUnavailable`] where it cannot be read.
    pub async fn inspect(&self, id: OperationId) -> Result<Option<Record>, Error> {
        let journal = self.reconciler.shared.book.journal();
        let found = journal.get(Lookup::Id(id)).await;
        found.map_err(Error::journal_unavailable)
    }

    /// A person says how an operation in doubt ended. It is looked up first: proof completes it, whatever the person
    /// said. Otherwise the person's word is taken, inside the settle window only if `forced`; look-ups go on, and what
    /// they prove otherwise is told as contradicted.
    ///
    /// # Errors
    /// Why not; nothing is changed then, unless the journal failed.
    pub async fn resolve(
        &self,
        id: OperationId,
        applied: bool,
        who: &str,
        why: &str,
        forced: bool,
    ) -> Result<Resolution, Undecided> {
        let in_hand = self.take(id).await?;
        let (book, live) = (&in_hand.book, &*in_hand.live);
        let record = live.record().ok_or(Undecided::Missing(id))?;
        let resolve =
            |record: &mut Record, now: Moment| record.resolve(now, applied, who, why, forced);
        match resolve(&mut record.clone(), book.now()) {
            // It may be there already.
            Ok(()) | Err(CannotResolve::StillOpen(_)) => {}
            Err(why) => return Err(Undecided::Refused(why)),
        }
        let looked = match record.state() {
            State::Ready => None,
            _ => match self.reconciler.observe(live).await? {
                None => return Err(Undecided::InHand),
                Some((_, Observation::Found(proof))) => {
                    let evidence = proof.evidence.clone();
                    let now = book.now().at;
                    let record = book.step(live, |record| book.complete(record, proof, now));
                    let record = Box::new(record.await?);
                    Figures::count(&self.reconciler.shared.figures.found);
                    return Ok(Resolution::Proof { record, evidence });
                }
                Some((_, Observation::Absent { scope })) => Some(scope),
                Some((_, Observation::CannotTell { why })) => Some(format!("cannot tell: {why}")),
            },
        };
        let now = book.now();
        let step = book.try_step_whole(live, |record| {
            resolve(record, now)?;
            book.schedule_acknowledgement(record, now.at);
            Ok(())
        });
        match step.await {
            Ok(record) => {
                let record = Box::new(record);
                Ok(Resolution::Word { record, looked })
            }
            Err(NotMade::Refused(why)) => {
                // The look took it for a lease's time; it is due when it was.
                let due = record.progress.due;
                let _ = book.step(live, |record| record.progress.due = due).await;
                Err(Undecided::Refused(why))
            }
            Err(NotMade::Journal(error)) => Err(error.into()),
        }
    }

    /// A person takes an operation out of the worker's hands: see [`Record::park`].
    ///
    /// # Errors
    /// Why not; nothing is changed then, unless the journal failed.
    pub async fn park(&self, id: OperationId, who: &str, why: &str) -> Result<Record, Undecided> {
        self.decide(id, |record, now| record.park(now, who, why))
            .await
    }

    /// A person has an operation tried again: see [`Record::retry`].
    ///
    /// # Errors
    /// Why not; nothing is changed then, unless the journal failed.
    pub async fn retry(&self, id: OperationId, who: &str, why: &str) -> Result<Record, Undecided> {
        self.decide(id, |record, now| record.retry(now, who, why))
            .await
    }

    async fn decide(
        &self,
        id: OperationId,
        change: impl Fn(&mut Record, Moment) -> Result<(), CannotResolve>,
    ) -> Result<Record, Undecided> {
        let in_hand = self.take(id).await?;
        let book = &in_hand.book;
        let now = book.now();
        let step = book.try_step_whole(&in_hand.live, |record| change(record, now));
        Ok(step.await?)
    }

    /// Takes an operation in hand, so that no check of this process goes on beside. What a dead owner left is taken over.
    async fn take(&self, id: OperationId) -> Result<InHand, Undecided> {
        let book = &self.reconciler.shared.book;
        for _ in 0..TRIES {
            let found = book.journal().get(Lookup::Id(id)).await?;
            let found = found.ok_or(Undecided::Missing(id))?;
            if let Some(live) = book.take(found) {
                let in_hand = InHand {
                    book: book.clone(),
                    live,
                };
                if is_sent(&in_hand.live) {
                    self.reconciler.check(&in_hand.live).await;
                }
                return Ok(in_hand);
            }
            book.clock().sleep(BETWEEN).await;
        }
        Err(Undecided::InHand)
    }
}

fn is_sent(live: &Live) -> bool {
    live.record()
        .is_some_and(|record| matches!(record.state(), State::Claimed | State::Sending))
}

impl Reconciler {
    /// What people do with the operations of this service.
    #[must_use]
    pub fn operations(&self) -> Operations {
        Operations::new(self.clone())
    }
}
