//! The operations that this process works on, over a journal: what the rooms share.
//!
//! The book holds a record while somebody here works on it or waits for it, writes every step through to the journal,
//! and wakes who waits. It decides nothing: [`may_send`], the record and `settle` do.
//!
//! Cancel safety: a step whose future is dropped is whole in the journal or absent; the next step or the takeover
//! after the lease finds out which.

mod live;
mod tasks;

pub use live::{Live, Told, told_of};
pub(crate) use tasks::Tasks;

use super::record::{Capability, OwnerId, Record, State, StoredAnswer};
use super::settle::SettleConfig;
use super::{Claim, Durability, Journal, JournalError, Lookup, Withheld, may_send};
use crate::clock::{Clock, Timestamp};
use crate::context::{OperationId, OperationKey, Tenant};
use crate::error::{Error, InvalidConfig};
use crate::event::{Decision, Event, Observer, Tracing};
use crate::outcome::{Advice, Outcome, Verdict};
use crate::payload::Payload;
use crate::random::Random;
use http::Response;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How this process owns operations. See [`Default`] for the numbers and their reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookConfig {
    /// For how long a claim keeps others from taking the operation over; renewed while its task runs.
    pub lease: Duration,
    /// No send starts within this much of the lease's end.
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
            // About 4 KiB each with a 1 KiB body: 80 MB at worst.
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
        if self.lease_margin * 2 > self.lease {
            return Err(InvalidConfig::new(
                "journal.lease_margin",
                "is over half the lease, so that nothing could be sent: use a tenth of the lease",
            ));
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

/// Namespace, tenant, key.
pub(crate) type KeyOf = (Arc<str>, Tenant, OperationKey);

#[derive(Debug, Default)]
struct Pages {
    by_id: HashMap<OperationId, Arc<Live>>,
    by_key: HashMap<KeyOf, Arc<Live>>,
}

#[derive(Debug)]
struct Inner {
    journal: Arc<dyn Journal>,
    config: BookConfig,
    clock: Clock,
    random: Random,
    observer: Arc<dyn Observer>,
    owner: OwnerId,
    pages: Mutex<Pages>,
    due: Notify,
    tasks: Tasks,
}

/// See the module. Clones share everything.
#[derive(Clone, Debug)]
pub struct Book {
    inner: Arc<Inner>,
}

/// Whether a caller starts the work on an operation or joins it.
#[derive(Debug)]
pub(crate) enum Entered {
    /// Nobody here works on it: the caller's task must.
    Drive(Arc<Live>),
    /// Somebody does.
    Join(Arc<Live>),
    /// Too many operations are live.
    Full,
}

impl Book {
    /// A book over `journal`, with a new owner id: every start of a process is a new owner.
    ///
    /// # Errors
    /// When a setting cannot work.
    pub fn new(
        journal: Arc<dyn Journal>,
        config: BookConfig,
        clock: Clock,
        random: Random,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, InvalidConfig> {
        config.check()?;
        Ok(Self {
            inner: Arc::new(Inner {
                journal,
                config,
                clock,
                owner: OwnerId(random.bits()),
                random,
                observer,
                pages: Mutex::default(),
                due: Notify::new(),
                tasks: Tasks::default(),
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

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.inner.clock
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
        self.inner.tasks.drain(self.inner.clock, limit).await
    }

    /// Stops every task of this process where it is, as `kill -9` would: for crash tests.
    pub fn kill(&self) {
        self.inner.tasks.kill();
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

    /// Runs `work` on a live operation to its end, renewing the lease while it takes.
    pub(crate) async fn hold<T>(&self, live: &Live, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let renew_every = self.inner.config.lease / 3;
        loop {
            if let Some(done) = self.inner.clock.timeout(renew_every, &mut work).await {
                return done;
            }
            // A lease that could not be renewed is seen by the gate; what is under way goes on.
            let _ = self.own(live, None).await;
        }
    }

    /// Resolves when something may be due sooner than the worker thinks.
    pub(crate) async fn something_due(&self) {
        self.inner.due.notified().await;
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // Inserting and removing whole entries cannot leave half of one.
        self.inner
            .pages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The live operation under a key, entered by one more caller.
    pub(crate) fn enter(&self, key: KeyOf, id: OperationId) -> Entered {
        let mut pages = self.pages();
        if let Some(live) = pages.by_key.get(&key) {
            live.lock().waiting += 1;
            return Entered::Join(Arc::clone(live));
        }
        if pages.by_key.len() >= self.inner.config.live_max {
            return Entered::Full;
        }
        let live = Arc::new(Live::new(id, key.clone(), None));
        live.lock().waiting = 1;
        pages.by_key.insert(key, Arc::clone(&live));
        pages.by_id.insert(id, Arc::clone(&live));
        Entered::Drive(live)
    }

    /// The record of a live operation: the claim was answered, by `Claimed` or with an existing record.
    pub(crate) fn opened(&self, live: &Arc<Live>, record: Record) {
        let mut pages = self.pages();
        if record.id() != live.id {
            pages.by_id.remove(&live.id);
            pages.by_id.insert(record.id(), Arc::clone(live));
        }
        live.lock().record = Some(record);
        drop(pages);
        live.changed.notify_waiters();
    }

    /// Takes a due record in hand, for the worker; `None` while somebody here works on it.
    pub(crate) fn take(&self, record: Record) -> Option<Arc<Live>> {
        let mut pages = self.pages();
        if let Some(live) = pages.by_id.get(&record.id()) {
            let mut inside = live.lock();
            if inside.driven {
                return None;
            }
            inside.driven = true;
            // What was seen here and is not on record yet is worth more than what is.
            if !inside.dirty {
                inside.record = Some(record);
            }
            drop(inside);
            return Some(Arc::clone(live));
        }
        let asked = &record.asked;
        let key = (
            Arc::clone(&asked.namespace),
            asked.tenant.clone(),
            asked.key.clone(),
        );
        // A caller is just entering this key: it will find the record as it is.
        if pages.by_key.contains_key(&key) {
            return None;
        }
        let live = Arc::new(Live::new(record.id(), key.clone(), Some(record)));
        pages.by_key.insert(key, Arc::clone(&live));
        pages.by_id.insert(live.id, Arc::clone(&live));
        Some(live)
    }

    /// The one who worked on it is done. What is settled, or waited for by nobody, leaves the book.
    pub(crate) fn put_down(&self, live: &Arc<Live>) {
        self.settle_page(live, |inside| inside.driven = false);
        live.changed.notify_waiters();
    }

    /// A caller got its answer.
    pub(crate) fn leave(&self, live: &Arc<Live>) {
        self.settle_page(live, |inside| {
            inside.waiting = inside.waiting.saturating_sub(1)
        });
    }

    /// A caller stops waiting without an answer: the operation must be brought to an end without it. Returns the end
    /// if it came first.
    pub(crate) fn give_up(&self, live: &Arc<Live>) -> Option<Result<Response<Payload>, Error>> {
        let mut ended = None;
        self.settle_page(live, |inside| {
            inside.waiting = inside.waiting.saturating_sub(1);
            ended = inside.ended.clone();
            inside.told |= ended.is_none();
        });
        ended
    }

    fn settle_page(&self, live: &Arc<Live>, change: impl FnOnce(&mut live::Inside)) {
        let mut pages = self.pages();
        let mut inside = live.lock();
        change(&mut inside);
        let settled = inside.ended.is_some()
            || inside
                .record
                .as_ref()
                .is_none_or(|record| record.state().is_final());
        if inside.driven || (inside.waiting > 0 && !settled) {
            return;
        }
        let id = inside.record.as_ref().map_or(live.id, Record::id);
        drop(inside);
        if pages
            .by_id
            .get(&id)
            .is_some_and(|page| Arc::ptr_eq(page, live))
        {
            pages.by_id.remove(&id);
        }
        if pages
            .by_key
            .get(&live.key)
            .is_some_and(|page| Arc::ptr_eq(page, live))
        {
            pages.by_key.remove(&live.key);
        }
    }

    /// Claims on the journal. A claim whose commit is in doubt is read back.
    pub(crate) async fn claim(&self, record: &Record) -> Result<Claim, Error> {
        let source = match self.inner.journal.claim(record).await {
            Ok(claim) => return Ok(claim),
            Err(JournalError::Unavailable(source)) => source,
            Err(other) => return Err(Error::journal_unavailable(other)),
        };
        self.tell(
            record,
            0,
            Decision::JournalTrouble {
                why: "a claim is in doubt",
            },
        );
        for wait in [100, 400, 1_600] {
            self.inner.clock.sleep(Duration::from_millis(wait)).await;
            match self.inner.journal.get(Lookup::Id(record.id())).await {
                Ok(Some(_)) => return Ok(Claim::Claimed),
                Ok(None) => {
                    return Err(Error::journal_unavailable(JournalError::Unavailable(
                        source,
                    )));
                }
                Err(_) => {}
            }
        }
        // It may be on record, and would then be settled like that of a dead owner: do not promise that nothing happens.
        Err(Error::outcome_unknown(record.id()))
    }

    /// A fresh record of `asked`, owned by this process.
    pub(crate) fn fresh(&self, asked: super::Asked) -> Record {
        let lease_until = self.inner.clock.wall().plus(self.inner.config.lease);
        Record::claim(asked, self.inner.owner, lease_until)
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
        if contradicted && let Some(record) = live.record() {
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
    pub(crate) fn complete(&self, record: &mut Record, proof: super::Proof, now: Timestamp) {
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

    /// What is known of an operation of this tenant, without changing anything.
    ///
    /// # Errors
    /// [`Error::JournalUnavailable`] where it cannot be read.
    pub async fn find(&self, tenant: &Tenant, id: OperationId) -> Result<Option<Record>, Error> {
        let live = self.pages().by_id.get(&id).cloned();
        let record = match live.and_then(|live| live.record()) {
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

fn withheld(why: Withheld) -> Error {
    Error::upstream(why, Verdict::closed(Outcome::Unsent, Advice::Stop))
}
