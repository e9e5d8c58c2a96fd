//! The operations that this process works on, over a journal: what the rooms share.
//!
//! The book holds a record while somebody here works on it or waits for it, writes every step through to the journal,
//! and wakes who waits. It decides nothing: [`may_send`], the record and `settle` do.
//!
//! Cancel safety: a step whose future is dropped is whole in the journal or absent; the next step or the takeover
//! after the lease finds out which.

mod attempts;
mod live;
mod pages;
mod recent;
mod settled;
mod status;
mod steps;
mod tasks;

pub(crate) use attempts::Hold;
pub use live::{Live, Told, told_of};
use pages::Pages;
pub(crate) use pages::{Entered, Joined, KeyOf};
pub use status::Status;
pub(crate) use steps::NotMade;
pub(crate) use tasks::Tasks;

use super::moment::{Moment, Watch};
use super::record::{Liveness, OwnerId, Record};
use super::settle::SettleConfig;
use super::{Claim, Durability, Enlisted, Journal, JournalError, Lookup};
use crate::clock::Clock;
use crate::context::{OperationId, Tenant};
use crate::error::{Error, InvalidConfig};
use crate::event::{Decision, Event, Observer, Tracing};
use crate::random::Random;
use crate::sync::{Mutex, Notify};
use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How this process owns operations. See [`Default`] for the numbers and their reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookConfig {
    /// For how long a claim keeps others from taking the operation over; renewed while its task runs.
    pub lease: Duration,
    /// No send starts within this much of the lease's end. Hosts that share one journal must have clocks that agree within
    /// it.
    pub lease_margin: Duration,
    /// How doubt is settled.
    pub settle: SettleConfig,
    /// How long after completion the worker verifies and tells the local record; `None`: nobody wants to know.
    pub acknowledge_after: Option<Duration>,
    /// How many operations may be live at once in this process.
    pub live_max: usize,
}

impl Default for BookConfig {
    fn default() -> Self {
        Self {
            // Long enough that a renewal every third of it may fail twice; short enough that a crash is settled soon.
            lease: Duration::from_secs(60),
            // Clock skew between hosts under NTP is far below this, and so is the way from the check to the wire.
            lease_margin: Duration::from_secs(5),
            settle: SettleConfig::default(),
            acknowledge_after: None,
            // A bound on memory, not a measured optimum: each holds its request, its record and a task.
            live_max: 20_000,
        }
    }
}

impl BookConfig {
    fn check(&self) -> Result<(), InvalidConfig> {
        if self.lease < Duration::from_secs(1) {
            return Err(InvalidConfig::new(
                "journal.lease",
                "is under 1 s: use 60 s",
            ));
        }
        if self.lease_margin.saturating_mul(2) > self.lease {
            return Err(InvalidConfig::new(
                "journal.lease_margin",
                "is over half the lease, so that nothing could be sent: use a tenth of the lease",
            ));
        }
        // A wait of nothing would look, or send, again and again without end.
        for (field, wait) in [
            ("journal.settle.look_backoff", self.settle.look_backoff),
            (
                "journal.settle.look_backoff_max",
                self.settle.look_backoff_max,
            ),
            (
                "journal.settle.parked_interval",
                self.settle.parked_interval,
            ),
        ] {
            if wait < Duration::from_millis(1) {
                return Err(InvalidConfig::new(
                    field,
                    "is under 1 ms, so that the upstream would be asked without a pause: use 5 s, 120 s and 1 h",
                ));
            }
        }
        if self.live_max == 0 {
            return Err(InvalidConfig::new(
                "journal.live_max",
                "is 0, so that no write would be accepted: use at least 1",
            ));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Inner {
    journal: Arc<dyn Journal>,
    /// Held for as long as anything of this process may work on an operation.
    enlisted: Mutex<Option<Enlisted>>,
    watch: Mutex<Watch>,
    config: BookConfig,
    clock: Clock,
    random: Random,
    observer: Arc<dyn Observer>,
    owner: OwnerId,
    pages: Mutex<Pages>,
    due: Notify,
    tasks: Tasks,
    settled: settled::OnSettled,
}

/// See the module. Clones share everything.
#[derive(Clone, Debug)]
pub struct Book {
    inner: Arc<Inner>,
}

impl Book {
    /// A book over `journal`, with a new owner id: every start of a process is a new owner.
    ///
    /// # Errors
    /// When a setting cannot work, or the journal cannot make this process known to others.
    pub fn new(
        journal: Arc<dyn Journal>,
        config: BookConfig,
        clock: Clock,
        random: Random,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, InvalidConfig> {
        config.check()?;
        let owner = OwnerId(random.bits());
        let enlisted = journal
            .enlist(owner)
            .map_err(|error| InvalidConfig::new("journal", error.to_string()))?;
        let watch = Watch::start(
            clock.wall(),
            clock.now(),
            journal.high_water(),
            config.settle.settle_window,
            config.lease,
        );
        Ok(Self {
            inner: Arc::new(Inner {
                journal,
                enlisted: Mutex::new(enlisted),
                watch: Mutex::new(watch),
                config,
                clock,
                owner,
                random,
                observer,
                pages: Mutex::default(),
                due: Notify::new(),
                tasks: Tasks::default(),
                settled: settled::OnSettled::default(),
            }),
        })
    }

    /// A book with default settings on the system's clock.
    ///
    /// # Errors
    /// Never with the defaults of this version.
    pub fn open(journal: Arc<dyn Journal>) -> Result<Self, InvalidConfig> {
        Self::new(
            journal,
            BookConfig::default(),
            Clock::system(),
            Random::system(),
            Arc::new(Tracing),
        )
    }

    /// The journal beneath.
    #[must_use]
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.inner.journal
    }

    /// What an acknowledged change survives.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.inner.journal.durability()
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &BookConfig {
        &self.inner.config
    }

    /// The clock, for waiting. What is decided by time is decided at [`Book::now`].
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.inner.clock
    }

    /// Now, as the rules see it.
    #[must_use]
    pub fn now(&self) -> Moment {
        let clock = self.inner.clock;
        let (moment, jumped) = self
            .inner
            .watch
            .lock()
            // A reading is whole or was not made.
            .unwrap_or_else(PoisonError::into_inner)
            .read(clock.wall(), clock.now());
        if let Some(by) = jumped {
            let event = Event::new(
                "",
                crate::context::Priority::EventTriggered,
                Decision::ClockJumped { by },
            );
            self.inner.observer.observe(&event);
        }
        moment
    }

    /// Whether an owner still runs. Of its own work a process knows: what none of its tasks has in hand, nobody has.
    pub(crate) async fn liveness(&self, owner: OwnerId) -> Liveness {
        if owner == self.inner.owner {
            return Liveness::Dead;
        }
        self.inner.journal.liveness(owner).await
    }

    /// The source of chance.
    #[must_use]
    pub fn random(&self) -> &Random {
        &self.inner.random
    }

    /// This process.
    #[must_use]
    pub fn owner(&self) -> OwnerId {
        self.inner.owner
    }

    /// How many operations this process works on or waits for.
    #[must_use]
    pub fn live(&self) -> usize {
        self.pages().by_id.len()
    }

    /// Lets running operations end, for `limit` at most, and takes no new ones. Returns how many tasks are left;
    /// what they work on is taken over after their lease, by whoever opens the journal next.
    pub async fn shutdown(&self, limit: Duration) -> usize {
        self.inner.tasks.close();
        let left = self.inner.tasks.drain(self.inner.clock, limit).await;
        if left == 0 {
            self.resign();
        }
        left
    }

    /// Nothing of this process works on an operation any more, and others may know.
    fn resign(&self) {
        let enlisted = self.inner.enlisted.lock();
        *enlisted.unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Stops every task of this process where it is, as `kill -9` would: for crash tests.
    pub fn kill(&self) {
        self.inner.tasks.kill();
        self.resign();
    }

    pub(crate) fn tell(&self, record: &Record, attempt: u32, decision: Decision<'_>) {
        let event = Event::new(
            record.asked.tenant.as_str(),
            crate::context::Priority::UserAction,
            decision,
        )
        .with_operation(Some(record.id()))
        .with_attempt(attempt);
        self.inner.observer.observe(&event);
    }

    /// Runs `future` to its end, whoever stops waiting. `false` when the book is shutting down.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> bool {
        self.inner.tasks.spawn(future)
    }

    /// Whether the book is shutting down.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.tasks.is_closed()
    }

    pub(crate) async fn closed(&self) {
        self.inner.tasks.closed().await;
    }

    /// Resolves when something may be due sooner than the worker thinks.
    pub(crate) async fn something_due(&self) {
        self.inner.due.notified().await;
    }

    /// Claims on the journal. A claim whose commit is in doubt is read back.
    pub(crate) async fn claim(&self, record: &Record) -> Result<Claim, Error> {
        let source = match self.inner.journal.claim(record).await {
            Ok(claim) => return Ok(claim),
            Err(JournalError::Unavailable(source)) => source,
            Err(other) => return Err(Error::journal_unavailable(other)),
        };
        Box::pin(self.read_back(record, source)).await
    }

    /// Whether a claim is on record though it seemed to fail.
    async fn read_back(
        &self,
        record: &Record,
        source: Arc<dyn std::error::Error + Send + Sync>,
    ) -> Result<Claim, Error> {
        self.tell(
            record,
            0,
            Decision::JournalTrouble {
                why: "a claim is in doubt",
            },
        );
        for wait in [100, 400, 1_600] {
            self.inner.clock.sleep(Duration::from_millis(wait)).await;
            let asked = &record.asked;
            let key = Lookup::Key {
                namespace: &asked.namespace,
                tenant: &asked.tenant,
                key: &asked.key,
            };
            // By its key: another process may have it, and then "nothing was sent" would be untrue of the operation.
            match self.inner.journal.get(key).await {
                Ok(Some(found)) if found.id() == record.id() => return Ok(Claim::Claimed),
                Ok(Some(found)) => return Ok(Claim::Existing(Box::new(found))),
                Ok(None) => {
                    return Err(Error::journal_unavailable(JournalError::Unavailable(
                        source,
                    )));
                }
                Err(_) => {}
            }
        }
        // It may be on record, and would then be settled like that of a dead owner; or it is not, and nobody will. So
        // neither is promised: who asks again under the same key learns which.
        Err(Error::in_flight(record.id(), Duration::from_secs(1)))
    }

    /// A fresh record of `asked`, owned by this process.
    pub(crate) fn fresh(&self, asked: super::Asked) -> Record {
        let lease_until = asked.at.plus(self.inner.config.lease);
        Record::claim(asked, self.inner.owner, lease_until)
    }

    /// What is known of an operation of this tenant, without changing anything. An end that a crash could undo is not
    /// known yet.
    ///
    /// # Errors
    /// [`Error::JournalUnavailable`] where it cannot be read.
    pub async fn find(&self, tenant: &Tenant, id: OperationId) -> Result<Option<Record>, Error> {
        let live = self.pages().by_id.get(&id).cloned();
        let record = match live.and_then(|live| live.found()) {
            Some(record) => Some(record),
            None => self
                .inner
                .journal
                .get(Lookup::Id(id))
                .await
                .map_err(Error::journal_unavailable)?,
        };
        Ok(record.filter(|record| record.asked.tenant == *tenant))
    }
}
