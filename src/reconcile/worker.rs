//! Sequences the checks: list what is due, take it in hand, do what `journal::settle` decides.

use super::figures::{Figures, Unresolved};
use super::hooks::Hooks;
use super::upstream::Upstream;
use crate::clock::Timestamp;
use crate::context::Priority;
use crate::error::{Error, InvalidConfig};
use crate::event::Decision;
use crate::journal::{
    After, Book, Capability, Filter, JournalError, Live, Liveness, Next, Observation, OwnerId,
    Record, State, after_look, again_at, next,
};
use crate::outcome::Outcome;
use http::HeaderMap;
use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// What is neither over nor with people.
const UNSETTLED: [State; 4] = [State::Claimed, State::Sending, State::Unknown, State::Ready];

/// How the worker works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconcileConfig {
    /// How many operations are checked at once.
    pub concurrency: usize,
    /// How long a hook may take before it "cannot tell".
    pub hook_timeout: Duration,
    /// How often the journal is asked for what other processes left, when nothing is due here.
    pub poll: Duration,
}

impl Default for ReconcileConfig {
    fn default() -> Self {
        Self {
            // Every tenant has its own quotas, in which checks stand behind user actions: this bounds memory, not load. A
            // resend that hangs holds its place for as long as an attempt may take (130 s).
            concurrency: 32,
            // Above one read with its retries (30 s, 3 attempts).
            hook_timeout: Duration::from_secs(120),
            poll: Duration::from_secs(30),
        }
    }
}

impl ReconcileConfig {
    fn check(&self) -> Result<(), InvalidConfig> {
        if self.concurrency == 0 {
            return Err(InvalidConfig::new(
                "reconcile.concurrency",
                "is 0, so that nothing would ever be settled: use 32",
            ));
        }
        if self.concurrency > Semaphore::MAX_PERMITS {
            return Err(InvalidConfig::new(
                "reconcile.concurrency",
                "is more than can be counted: use 32",
            ));
        }
        for (field, value) in [
            ("reconcile.hook_timeout", self.hook_timeout),
            ("reconcile.poll", self.poll),
        ] {
            if value.is_zero() {
                return Err(InvalidConfig::new(field, "is 0: use some seconds"));
            }
        }
        Ok(())
    }
}

/// How many records are listed at once: twice as many as are checked at once by default.
const PAGE: usize = 64;

/// How long a check waits after the journal failed.
const TROUBLE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Shared {
    config: ReconcileConfig,
    pub(super) book: Book,
    pub(super) upstream: Upstream,
    pub(super) hooks: Arc<dyn Hooks>,
    pub(super) figures: Figures,
    places: Arc<Semaphore>,
    /// Whose operations it works on; `None` for all in the journal.
    namespace: Option<Arc<str>>,
    /// Whether it sends what nothing happened to, or leaves that to the caller.
    resumes: bool,
    /// The work of owners that died before this start was looked for.
    inherited: AtomicBool,
    /// How many due records the next page behind the first one passes over.
    behind: AtomicUsize,
}

/// See the [room](super). Clones share one worker's state.
#[derive(Clone, Debug)]
pub struct Reconciler {
    pub(super) shared: Arc<Shared>,
}

/// Puts an operation down however its check ends.
pub(super) struct InHand {
    pub(super) book: Book,
    pub(super) live: Arc<Live>,
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.book.put_down(&self.live);
    }
}

impl Reconciler {
    /// A worker over `book`, sending through `upstream`.
    ///
    /// # Errors
    /// When a setting cannot work.
    pub fn new(
        config: ReconcileConfig,
        book: Book,
        upstream: Upstream,
        hooks: Arc<dyn Hooks>,
    ) -> Result<Self, InvalidConfig> {
        Self::within(None, config, book, upstream, hooks)
    }

    /// The same for the operations of one namespace alone: a journal may hold others, of other environments.
    ///
    /// # Errors
    /// When a setting cannot work.
    pub fn within(
        namespace: Option<Arc<str>>,
        config: ReconcileConfig,
        book: Book,
        upstream: Upstream,
        hooks: Arc<dyn Hooks>,
    ) -> Result<Self, InvalidConfig> {
        Self::make(namespace, config, book, upstream, hooks, true)
    }

    /// A worker that sends nothing: what provably did nothing is left to its caller, who may start it again under its key.
    ///
    /// # Errors
    /// When a setting cannot work.
    pub(crate) fn that_only_looks(
        namespace: Option<Arc<str>>,
        config: ReconcileConfig,
        book: Book,
        upstream: Upstream,
        hooks: Arc<dyn Hooks>,
    ) -> Result<Self, InvalidConfig> {
        Self::make(namespace, config, book, upstream, hooks, false)
    }

    fn make(
        namespace: Option<Arc<str>>,
        config: ReconcileConfig,
        book: Book,
        upstream: Upstream,
        hooks: Arc<dyn Hooks>,
        resumes: bool,
    ) -> Result<Self, InvalidConfig> {
        config.check()?;
        Ok(Self {
            shared: Arc::new(Shared {
                places: Arc::new(Semaphore::new(config.concurrency)),
                config,
                book,
                upstream,
                hooks,
                figures: Figures::default(),
                namespace,
                resumes,
                inherited: AtomicBool::new(false),
                behind: AtomicUsize::new(PAGE),
            }),
        })
    }

    /// What was done since the start.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// What is not settled yet, in the whole journal.
    ///
    /// # Errors
    /// [`Error::JournalUnavailable`] where it cannot be read.
    pub async fn unresolved(&self) -> Result<Unresolved, Error> {
        let book = &self.shared.book;
        Unresolved::read(&**book.journal(), self.ours(), book.now().at).await
    }

    /// Works in the background until the book is shut down. Must be called within a tokio runtime.
    pub fn start(&self) {
        let worker = self.clone();
        self.shared.book.spawn(async move { worker.work().await });
    }

    async fn work(&self) {
        let book = &self.shared.book;
        while !book.is_closed() {
            let wait = match self.dispatch().await {
                // More may be due than one page held, and what was taken in hand leaves the list with its first step.
                Ok(1..) => Duration::from_millis(10),
                Ok(0) => self.until_due().await,
                Err(error) => {
                    tracing::warn!(target: "tower_sturdy", %error, "the journal cannot be read; trying again");
                    Duration::from_secs(1)
                }
            };
            tokio::select! {
                () = book.closed() => return,
                () = book.something_due() => {}
                () = book.clock().sleep(wait) => {}
            }
        }
    }

    /// How long nothing is due, bounded by the poll.
    async fn until_due(&self) -> Duration {
        let poll = self.shared.config.poll;
        let filter = Filter {
            due_by: Some(Timestamp::NEVER),
            limit: 1,
            ..self.ours()
        };
        let book = &self.shared.book;
        let Ok(soonest) = book.journal().list(&filter).await else {
            return poll;
        };
        let now = book.now().at;
        let due = soonest.first().and_then(|record| record.progress.due);
        // What is due and was not taken in hand is worked on by somebody: look again soon, but do not spin.
        due.map_or(poll, |due| {
            due.since(now).clamp(Duration::from_millis(100), poll)
        })
    }

    pub(super) fn ours(&self) -> Filter {
        Filter {
            namespace: self.shared.namespace.clone(),
            ..Filter::default()
        }
    }

    /// Takes in hand what is due now, and once what owners left that died before this start; returns how many.
    async fn dispatch(&self) -> Result<usize, JournalError> {
        let mut taken = 0;
        if !self.shared.inherited.load(Ordering::Relaxed) {
            taken += self.inherit().await?;
            self.shared.inherited.store(true, Ordering::Relaxed);
        }
        let page = self.due(Vec::new(), 0).await?;
        let full = page.len() == PAGE;
        if full {
            // What nobody knows goes before what is looked at again: after a rest of hours thousands of parked ones are due.
            let unsettled = self.due(UNSETTLED.to_vec(), 0).await?;
            taken += self.take_all(unsettled).await;
        }
        taken += self.take_all(page).await;
        if full {
            // What fails each time, or takes long, stays at the head: the others have their turn page by page.
            let behind = self.shared.behind.load(Ordering::Relaxed);
            let more = self.due(Vec::new(), behind).await?;
            let next = if more.len() == PAGE {
                behind + PAGE
            } else {
                PAGE
            };
            taken += self.take_all(more).await;
            self.shared.behind.store(next, Ordering::Relaxed);
        }
        Ok(taken)
    }

    /// A page of what is due now, of these states or (none named) of all.
    async fn due(&self, states: Vec<State>, skip: usize) -> Result<Vec<Record>, JournalError> {
        let book = &self.shared.book;
        let filter = Filter {
            states,
            due_by: Some(book.now().at),
            limit: PAGE,
            skip,
            ..self.ours()
        };
        book.journal().list(&filter).await
    }

    /// Takes in hand what there is room for; returns how many.
    async fn take_all(&self, page: Vec<Record>) -> usize {
        let mut taken = 0;
        for record in page {
            match self.take_in_hand(record).await {
                Some(true) => taken += 1,
                Some(false) => {}
                None => break,
            }
        }
        taken
    }

    /// Takes in hand what dead owners worked on, before their leases are over, where the journal knows that they are
    /// dead. Who dies later is noticed at the end of its lease.
    async fn inherit(&self) -> Result<usize, JournalError> {
        let book = &self.shared.book;
        let mut filter = Filter {
            states: vec![State::Claimed, State::Sending],
            due_by: Some(Timestamp::NEVER),
            limit: PAGE,
            ..self.ours()
        };
        let mut known: HashMap<OwnerId, Liveness> = HashMap::new();
        let mut taken = 0;
        loop {
            let page = book.journal().list(&filter).await?;
            filter.skip += page.len();
            let last = page.len() < filter.limit;
            for record in page {
                let owner = record.progress.owner;
                if owner == book.owner() {
                    continue;
                }
                let liveness = match known.get(&owner) {
                    Some(liveness) => *liveness,
                    None => book.liveness(owner).await,
                };
                known.insert(owner, liveness);
                if liveness == Liveness::Dead && self.take_in_hand(record).await == Some(true) {
                    taken += 1;
                    // It is about to leave the list; what is missed here is noticed at the end of its lease.
                    filter.skip -= 1;
                }
            }
            if last {
                return Ok(taken);
            }
        }
    }

    /// Checks an operation in a task of its own, when there is room; `false` if somebody here works on it, `None` when
    /// the worker is at its end.
    async fn take_in_hand(&self, record: Record) -> Option<bool> {
        let place = Arc::clone(&self.shared.places).acquire_owned().await.ok()?;
        let book = &self.shared.book;
        let Some(live) = book.take(record) else {
            return Some(false);
        };
        let in_hand = InHand {
            book: book.clone(),
            live,
        };
        let worker = self.clone();
        book.spawn(async move {
            let _place = place;
            worker.check(&in_hand.live).await;
        });
        Some(true)
    }

    /// Checks everything that is due now, to the end of each check; returns how many. For tests and for programs that
    /// have a schedule of their own.
    ///
    /// # Errors
    /// [`Error::JournalUnavailable`] where the journal cannot be read.
    pub async fn work_off(&self) -> Result<usize, Error> {
        let taken = self.dispatch().await.map_err(Error::journal_unavailable)?;
        let all = u32::try_from(self.shared.config.concurrency).unwrap_or(u32::MAX);
        // All places are free again once every check has ended.
        let _ = self.shared.places.acquire_many(all).await;
        Ok(taken)
    }

    pub(super) async fn check(&self, live: &Live) {
        let book = &self.shared.book;
        let Some(record) = live.record() else { return };
        let settle = &book.config().settle;
        let owner = match record.state() {
            State::Claimed | State::Sending => book.liveness(record.progress.owner).await,
            // Nobody works on it.
            _ => Liveness::Unknown,
        };
        // Read after the owner was asked for: what it did before is on record before.
        let now = book.now();
        let done = match next(&record, now, owner, settle) {
            Next::Nothing => {
                self.tell_never_found(&record);
                book.step(live, |record| record.progress.due = None)
                    .await
                    .map(|_| ())
            }
            Next::Wait(at) if record.progress.due == Some(at) => Ok(()),
            Next::Wait(at) => book
                .step(live, |record| record.progress.due = Some(at))
                .await
                .map(|_| ()),
            Next::TakeOver => {
                let (window, ours, was) =
                    (settle.settle_window, book.owner(), record.progress.owner);
                book.step(live, |record| {
                    // Its last owner, if it is only slow, sees that it lost the operation.
                    if record.progress.owner == was && record.take_over(now, owner, window) {
                        record.progress.owner = ours;
                    }
                })
                .await
                .map(|_| Figures::count(&self.shared.figures.taken_over))
            }
            Next::Look => self.look(live).await,
            Next::Resume if self.shared.resumes => self.resume(live, &record).await,
            Next::Resume => book
                .step(live, |record| record.progress.due = None)
                .await
                .map(|_| ()),
            Next::Park(why) => self.park(live, why).await,
            Next::Acknowledge => self.acknowledge(live).await,
        };
        if let Err(error) = done {
            // Another step came first, or the journal is down: what is due then says what comes next.
            let why = error.to_string();
            book.tell(&record, 0, Decision::JournalTrouble { why: &why });
            if matches!(
                error,
                JournalError::Unavailable(_) | JournalError::Quarantined(_)
            ) {
                // Still in hand, so that it is not taken up again at once.
                book.clock().sleep(TROUBLE).await;
            }
        }
    }

    /// Takes the operation for this process and asks the hook; `None` when the lease ended meanwhile.
    pub(super) async fn observe(
        &self,
        live: &Live,
    ) -> Result<Option<(Record, Observation)>, JournalError> {
        let book = &self.shared.book;
        // The lease makes this check ours alone, on every host.
        let record = book.own(live, None).await?;
        Figures::count(&self.shared.figures.looked);
        let shared = &self.shared;
        let looking = self.guarded(async { shared.hooks.observe(&record, &shared.upstream).await });
        let observation = match book.hold(live, looking).await {
            Some(Ok(observation)) => observation,
            Some(Err(why)) => Observation::CannotTell { why },
            None => return Ok(None),
        };
        let found = match &observation {
            Observation::Found(proof) => proof.evidence.as_str(),
            Observation::Absent { scope } => scope.as_str(),
            Observation::CannotTell { why } => why.as_str(),
        };
        book.tell(&record, 0, Decision::Looked { found });
        Ok(Some((record, observation)))
    }

    async fn look(&self, live: &Live) -> Result<(), JournalError> {
        let book = &self.shared.book;
        let Some((record, observation)) = self.observe(live).await? else {
            return Ok(()); // Somebody else may look by now.
        };
        let moment = book.now();
        let now = moment.at;
        match after_look(&record, observation, moment, &book.config().settle) {
            After::Complete(proof) => {
                book.step(live, |record| book.complete(record, proof, now))
                    .await?;
                Figures::count(&self.shared.figures.found);
            }
            After::Weigh(proof) => self.weigh(live, proof).await?,
            After::Resend if !self.shared.resumes && record.outcome() < Outcome::Rejected => {
                self.leave_to_its_caller(live).await?;
            }
            After::Resend => {
                Figures::count(&self.shared.figures.resent);
                self.send(live, &record).await;
            }
            After::Park(why) => self.park(live, why).await?,
            After::LookAgain(at) => {
                book.step(live, |record| {
                    record.progress.due = Some(at);
                    record.progress.checks = record.progress.checks.saturating_add(1);
                })
                .await?;
            }
        }
        Ok(())
    }

    async fn resume(&self, live: &Live, record: &Record) -> Result<(), JournalError> {
        let state = match record.asked.capability {
            Capability::Keyed { .. } => State::Sending,
            Capability::Lookup | Capability::None => State::Claimed,
        };
        let record = self.shared.book.own(live, Some(state)).await?;
        self.send(live, &record).await;
        Ok(())
    }

    /// It is in doubt no more: all that was sent provably did nothing.
    async fn leave_to_its_caller(&self, live: &Live) -> Result<(), JournalError> {
        let book = &self.shared.book;
        let now = book.now().at;
        let step = book.step(live, |record| {
            let why = "all that was sent did nothing";
            // Both steps exist; from doubt there is none that is shorter.
            if record.step(State::Sending, now, why, "worker").is_ok() {
                record.release(now, None);
            }
        });
        step.await.map(|_| ())
    }

    /// Sends the recorded request through the gate, and leaves the record due for whatever follows.
    async fn send(&self, live: &Live, record: &Record) {
        let book = &self.shared.book;
        let request = record.request(HeaderMap::new(), Priority::EventTriggered);
        let result = book.hold(live, self.shared.upstream.send(request)).await;
        let retry_after = match &result {
            Some(Ok(answer)) => answer
                .body()
                .verdict()
                .and_then(|verdict| verdict.advice.retry_after()),
            Some(Err(error)) => error.retry_after(),
            None => None,
        };
        let Some(record) = live.record() else { return };
        let settle = &book.config().settle;
        let again = again_at(&record, retry_after.unwrap_or_default(), book.now(), settle);
        match record.state() {
            State::Claimed | State::Sending => {
                // Doubt over an attempt that may be open is looked at now: proof may be there already. What was
                // answered is not asked again before its time.
                let open = record.open_until(book.now()).is_some();
                let doubt = open && record.outcome() >= Outcome::Unknown;
                book.release(live, |_| (!doubt).then_some(again)).await;
            }
            // The gate withheld it, or it was never admitted: it stays in doubt.
            State::Unknown => {
                let _ = book
                    .step(live, |record| {
                        record.progress.due = Some(again);
                        record.progress.checks = record.progress.checks.saturating_add(1);
                    })
                    .await;
            }
            State::Completed | State::Rejected | State::Ready | State::Parked => {
                book.flush(live).await;
            }
        }
    }

    async fn park(&self, live: &Live, why: &'static str) -> Result<(), JournalError> {
        let book = &self.shared.book;
        let now = book.now().at;
        let again = now.plus(book.config().settle.parked_interval);
        book.step(live, |record| {
            if record.step(State::Parked, now, why, "worker").is_ok() {
                record.progress.due = Some(again);
            }
        })
        .await?;
        Figures::count(&self.shared.figures.parked);
        Ok(())
    }

    /// A hook's answer; a panic or a timeout is told in words.
    pub(super) async fn guarded<T>(&self, hook: impl Future<Output = T>) -> Result<T, String> {
        let limit = self.shared.config.hook_timeout;
        let mut hook = std::pin::pin!(hook);
        let caught = std::future::poll_fn(move |cx| {
            match std::panic::catch_unwind(AssertUnwindSafe(|| hook.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Ok),
                Err(_) => std::task::Poll::Ready(Err("the hook panicked".to_owned())),
            }
        });
        match self.shared.book.clock().timeout(limit, caught).await {
            Some(result) => result,
            None => Err(format!("the hook took longer than {limit:?}")),
        }
    }
}
