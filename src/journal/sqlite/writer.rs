//! Group commit: callers put jobs into a bounded queue; a drain takes many, runs them in one transaction, commits once,
//! and only then answers.
//!
//! The drain runs on the blocking pool and ends when the queue is empty, so the journal has no thread of its own, and a
//! paused clock stands still while it works. A job that is in the queue is done whether or not its caller still waits.

use super::adopt::{self, PastAdoption};
use super::codec::{ChangingRow, NewRow};
use super::keeper::Keeper;
use super::purge::{self, Part};
use super::store::{self, Failure, UNREADABLE_MAX};
use crate::context::{OperationId, OperationKey, Tenant};
use crate::journal::{Claim, Filter, JournalError, Purged, Record};
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// What a caller wants done.
#[derive(Debug)]
pub(super) enum Work {
    Claim(Box<NewRow>),
    Step(Box<ChangingRow>),
    Id(OperationId),
    Key(String, Tenant, OperationKey),
    List(Filter),
    Purge(Part),
    Adoptions,
    /// Stands for a bug in the drain.
    #[cfg(test)]
    Panic,
}

/// What it is told.
#[derive(Debug)]
pub(super) enum Reply {
    Claim(Claim),
    Stepped,
    Found(Option<Box<Record>>),
    Listed(Vec<Record>),
    /// And where the next part begins.
    Purged(Purged, Option<i64>),
    Adoptions(Vec<PastAdoption>),
}

type Answer = Result<Reply, JournalError>;

/// The drain ended before it answered: it panicked, or its runtime shut down.
#[derive(Debug)]
struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the journal's writer ended without an answer; read the operation back")
    }
}

impl std::error::Error for NoAnswer {}

struct Job {
    work: Work,
    answer: oneshot::Sender<Answer>,
    /// Its place in the bounded queue, until it is answered.
    _place: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    draining: bool,
}

/// The queue in front of the one connection.
pub(super) struct Writer {
    connection: Mutex<Connection>,
    queue: Mutex<Queue>,
    places: Arc<Semaphore>,
    batch: usize,
    commits: AtomicU64,
    keeper: Option<Keeper>,
    /// How long a transaction waits for the file's write lock.
    patience: Duration,
    /// Rows that were met and are no records, less those that were mended since.
    unreadable: Mutex<BTreeSet<OperationId>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The queue is never left half changed, and a transaction that a panic cut off was rolled back while unwinding.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    pub(super) fn new(connection: Connection, places: usize, batch: usize) -> Self {
        Self {
            connection: Mutex::new(connection),
            queue: Mutex::default(),
            places: Arc::new(Semaphore::new(places)),
            batch,
            commits: AtomicU64::new(0),
            keeper: None,
            patience: Duration::ZERO,
            unreadable: Mutex::default(),
        }
    }

    /// Of a file that other processes may have open too.
    pub(super) fn kept(mut self, keeper: Keeper, patience: Duration) -> Self {
        self.keeper = Some(keeper);
        self.patience = patience;
        self
    }

    pub(super) const fn keeper(&self) -> Option<&Keeper> {
        self.keeper.as_ref()
    }

    /// Runs `work` on the connection while nothing else does, to its end.
    pub(super) async fn alone<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection, &Keeper) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let runtime = Handle::try_current().map_err(JournalError::unavailable)?;
        let writer = Arc::clone(self);
        let done = runtime.spawn_blocking(move || {
            let connection = lock(&writer.connection);
            match &writer.keeper {
                Some(keeper) => work(&connection, keeper),
                None => Err(JournalError::unavailable(NoAnswer)),
            }
        });
        done.await
            .unwrap_or_else(|_| Err(JournalError::unavailable(NoAnswer)))
    }

    pub(super) fn unreadable(&self) -> Vec<OperationId> {
        lock(&self.unreadable).iter().copied().collect()
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Waits for a place in the queue, then for the answer. Dropped before it has a place, nothing was done; dropped
    /// later, the work is done whole.
    pub(super) async fn submit(self: &Arc<Self>, work: Work) -> Answer {
        let runtime = Handle::try_current().map_err(JournalError::unavailable)?;
        let place = Arc::clone(&self.places).acquire_owned().await;
        let (answer, told) = oneshot::channel();
        let job = Job {
            work,
            answer,
            _place: place.map_err(JournalError::unavailable)?,
        };
        if self.enqueue(job) {
            let drain = Drain {
                writer: Arc::clone(self),
                ended: false,
            };
            runtime.spawn_blocking(move || drain.run());
        }
        told.await
            .unwrap_or_else(|_| Err(JournalError::unavailable(NoAnswer)))
    }

    /// Returns whether a drain must be started.
    fn enqueue(&self, job: Job) -> bool {
        let mut queue = lock(&self.queue);
        queue.jobs.push_back(job);
        !std::mem::replace(&mut queue.draining, true)
    }

    fn serve(&self, mut batch: Vec<Job>) {
        loop {
            match self.transact(&batch) {
                Ok(answers) => {
                    for (job, answer) in batch.into_iter().zip(answers) {
                        // A caller that stopped waiting is told nothing; its work is done all the same.
                        let _ = job.answer.send(answer);
                    }
                    return;
                }
                // What does not fit must not keep out what does: the transaction is undone, so the rest runs again.
                Err(Undone {
                    failure,
                    culprit: Some(culprit),
                }) if failure.is_full() => {
                    let job = batch.remove(culprit);
                    let _ = job.answer.send(Err(JournalError::unavailable(failure)));
                }
                Err(Undone { failure, .. }) => {
                    let failed = JournalError::unavailable(failure);
                    for job in batch {
                        let _ = job.answer.send(Err(failed.clone()));
                    }
                    return;
                }
            }
        }
    }

    /// Runs all of them in one transaction. The error is everybody's; an error of one job alone is among the answers.
    fn transact(&self, batch: &[Job]) -> Result<Vec<Answer>, Undone> {
        let connection = lock(&self.connection);
        let writes = batch.iter().any(|job| job.work.writes());
        let transaction = if writes {
            begin_in_time(&connection, self.patience)?
        } else {
            Transaction::new_unchecked(&connection, TransactionBehavior::Deferred)?
        };
        let keeper = self.keeper.as_ref().filter(|_| writes);
        let raise = match keeper {
            Some(keeper) => keeper.raise(&transaction)?,
            None => None,
        };
        let quarantine = keeper.and_then(Keeper::quarantine);
        let mut answers = Vec::with_capacity(batch.len());
        for (number, job) in batch.iter().enumerate() {
            if let Some(quarantine) = quarantine.as_ref().filter(|_| job.work.writes()) {
                let why = Arc::clone(quarantine.message());
                answers.push(Err(JournalError::Quarantined(why)));
                continue;
            }
            answers.push(match job.work.run(&transaction, &self.unreadable) {
                Ok(answer) => answer,
                // SQLite undid the failed statement alone, or, after the worst errors, the whole transaction.
                Err(failure) if transaction.is_autocommit() => {
                    return Err(Undone {
                        failure,
                        culprit: Some(number),
                    });
                }
                Err(failure) => Err(JournalError::unavailable(failure)),
            });
        }
        transaction.commit()?;
        if writes {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(keeper) = keeper {
            let seen = batch.iter().filter_map(|job| job.work.latest());
            seen.for_each(|latest| keeper.saw(latest));
        }
        if let Some(raise) = raise {
            raise.mirror();
        }
        Ok(answers)
    }
}

/// Waits for the write lock here, not in the middle (IMMEDIATE), for about `limit`.
///
/// SQLite's own waiting looks ten times a second after a while, and a process that writes without a pause leaves the lock
/// free for some microseconds between two commits: it would get nearly all turns. Looking each millisecond meets those.
fn begin_in_time(connection: &Connection, limit: Duration) -> rusqlite::Result<Transaction<'_>> {
    const STEP: Duration = Duration::from_millis(1);
    let mut left = limit;
    connection.busy_timeout(Duration::ZERO)?;
    let begun = loop {
        match Transaction::new_unchecked(connection, TransactionBehavior::Immediate) {
            Err(error) if is_busy(&error) && !left.is_zero() => {
                std::thread::park_timeout(STEP);
                left = left.saturating_sub(STEP);
            }
            begun => break begun,
        }
    };
    connection.busy_timeout(limit)?;
    begun
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// A transaction of which nothing is left.
struct Undone {
    failure: Failure,
    /// The job at which it broke.
    culprit: Option<usize>,
}

impl From<rusqlite::Error> for Undone {
    fn from(error: rusqlite::Error) -> Self {
        Self {
            failure: error.into(),
            culprit: None,
        }
    }
}

impl Work {
    const fn writes(&self) -> bool {
        matches!(self, Self::Claim(_) | Self::Step(_) | Self::Purge(_))
    }

    /// The latest time that it puts on record.
    const fn latest(&self) -> Option<u64> {
        match self {
            Self::Claim(row) => Some(row.changing.latest),
            Self::Step(row) => Some(row.latest),
            _ => None,
        }
    }

    fn run(
        &self,
        db: &Connection,
        unreadable: &Mutex<BTreeSet<OperationId>>,
    ) -> store::Told<Reply> {
        Ok(match self {
            Self::Claim(row) => store::claim(db, row)?.map(Reply::Claim),
            Self::Step(row) => store::step(db, row)?.map(|()| Reply::Stepped),
            Self::Id(id) => Ok(found(store::by_id(db, *id)?, unreadable)),
            Self::Key(namespace, tenant, key) => Ok(found(
                store::by_key(db, namespace, tenant, key)?,
                unreadable,
            )),
            Self::List(filter) => {
                let mut known = lock(unreadable);
                let listed = store::list(db, filter, known.is_empty())?;
                tell(&mut known, &listed);
                Ok(Reply::Listed(listed.records))
            }
            Self::Purge(part) => {
                let (purged, next) = purge::purge(db, *part)?;
                Ok(Reply::Purged(purged, next))
            }
            Self::Adoptions => Ok(Reply::Adoptions(adopt::adoptions(db)?)),
            #[cfg(test)]
            Self::Panic => panic!("a bug in the drain"),
        })
    }
}

fn found(record: Option<Record>, unreadable: &Mutex<BTreeSet<OperationId>>) -> Reply {
    if let Some(record) = &record {
        lock(unreadable).remove(&record.id());
    }
    Reply::Found(record.map(Box::new))
}

/// Each is told once, until it is met again as it should be.
fn tell(known: &mut BTreeSet<OperationId>, listed: &store::Listed) {
    for record in &listed.records {
        known.remove(&record.id());
    }
    for (id, unfit) in &listed.unreadable {
        if known.len() < UNREADABLE_MAX && known.insert(*id) {
            tracing::error!(target: "tower_sturdy", operation = %id, "left out of listings, for it cannot be read: {unfit}");
        }
    }
}

/// Empties the queue. However it ends, nobody is left waiting for it.
struct Drain {
    writer: Arc<Writer>,
    ended: bool,
}

impl Drain {
    fn run(mut self) {
        loop {
            let batch = self.take();
            if batch.is_empty() {
                return;
            }
            // A panic drops the batch, which tells its callers; the connection rolls back while unwinding, and the jobs
            // behind it are served as if nothing had been.
            let _ = catch_unwind(AssertUnwindSafe(|| self.writer.serve(batch)));
        }
    }

    /// The next jobs; none is the end, decided under the same lock under which jobs are added.
    fn take(&mut self) -> Vec<Job> {
        let mut queue = lock(&self.writer.queue);
        let many = queue.jobs.len().min(self.writer.batch);
        if many == 0 {
            queue.draining = false;
            self.ended = true;
        }
        queue.jobs.drain(..many).collect()
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // Its runtime shut down before it ran: dropping the jobs tells everybody who waits.
        let abandoned = {
            let mut queue = lock(&self.writer.queue);
            queue.draining = false;
            std::mem::take(&mut queue.jobs)
        };
        drop(abandoned);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SqliteConfig, codec, open, schema};
    use super::*;
    use crate::clock::Timestamp;
    use crate::journal::record::tests::asked;
    use crate::journal::{Capability, OwnerId};

    fn writer(places: usize) -> Arc<Writer> {
        let connection = Connection::open_in_memory().unwrap();
        schema::migrate(&connection, 0).unwrap();
        Arc::new(Writer::new(connection, places, 8))
    }

    fn lookup() -> Work {
        Work::Id(OperationId::from_bits(1))
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_told_to_its_batch_and_the_jobs_behind_it_are_done() {
        let writer = writer(16);
        let (panicked, beside) = tokio::join!(writer.submit(Work::Panic), writer.submit(lookup()));
        assert!(matches!(panicked, Err(JournalError::Unavailable(_))));
        // It shared the batch, or came behind it: answered in any case.
        drop(beside);
        for _ in 0..50 {
            let (panicked, next) = tokio::join!(writer.submit(Work::Panic), async {
                tokio::task::yield_now().await;
                writer.submit(lookup()).await
            });
            assert!(panicked.is_err());
            drop(next);
            assert!(matches!(
                writer.submit(lookup()).await,
                Ok(Reply::Found(None))
            ));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_frees_the_places_it_held() {
        let writer = writer(1);
        for _ in 0..3 {
            assert!(writer.submit(Work::Panic).await.is_err());
        }
        assert!(writer.submit(lookup()).await.is_ok());
    }

    #[test]
    fn a_runtime_that_is_gone_leaves_nobody_waiting_and_the_next_runtime_works() {
        let writer = writer(16);
        let gone = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let handle = gone.handle().clone();
        gone.shutdown_background();
        let here = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let orphan = {
            let _entered = handle.enter();
            let mut submit = Box::pin(writer.submit(lookup()));
            // One poll inside the dead runtime: the job is queued, its drain never runs.
            let waker = std::task::Waker::noop();
            let mut context = std::task::Context::from_waker(waker);
            std::future::Future::poll(submit.as_mut(), &mut context)
        };
        assert!(
            !matches!(orphan, std::task::Poll::Ready(Ok(_))),
            "{orphan:?}"
        );
        assert!(here.block_on(writer.submit(lookup())).is_ok());
    }

    fn claim(id: u128, len: usize) -> Work {
        let mut asked = asked(Capability::Lookup);
        asked.id = OperationId::from_bits(id);
        asked.key = OperationKey::new(&format!("key-{id}")).unwrap();
        asked.request.body = vec![b'x'; len].into();
        let record = Record::claim(asked, OwnerId(1), Timestamp::NEVER);
        Work::Claim(Box::new(codec::new_row(&record).unwrap()))
    }

    fn claimed(answer: &Answer) -> bool {
        matches!(answer, Ok(Reply::Claim(Claim::Claimed)))
    }

    /// No more than `more` pages may be added to the file: what a full disk is to SQLite.
    fn leave_room_for(writer: &Writer, more: i64) {
        let connection = lock(&writer.connection);
        let pages: i64 = connection
            .query_row("PRAGMA page_count", [], |row| row.get(0))
            .unwrap();
        connection
            .execute_batch(&format!("PRAGMA max_page_count = {}", pages + more))
            .unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_is_an_error_that_says_so_and_the_journal_works_once_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("full.journal");
        let opened = open::open(&SqliteConfig::new(path)).unwrap();
        let writer = Arc::new(Writer::new(opened.connection, 16, 8));
        leave_room_for(&writer, 8);
        let full = writer.submit(claim(1, 1 << 20)).await.unwrap_err();
        assert!(full.to_string().contains("make room"), "{full}");
        assert!(claimed(&writer.submit(claim(2, 10)).await));
        leave_room_for(&writer, 1_000_000);
        assert!(claimed(&writer.submit(claim(1, 1 << 20)).await));
    }

    #[test]
    fn what_does_not_fit_fails_alone() {
        let writer = writer(16);
        leave_room_for(&writer, 12);
        let mut told = Vec::new();
        let batch = [10, 1 << 20, 11, 1 << 20, 12].into_iter().zip(1..);
        let batch = batch.map(|(len, id)| {
            let (answer, answered) = oneshot::channel();
            told.push(answered);
            Job {
                work: claim(id, len),
                answer,
                _place: Arc::clone(&writer.places).try_acquire_owned().unwrap(),
            }
        });
        writer.serve(batch.collect());
        let told = told.into_iter().map(|mut told| told.try_recv().unwrap());
        let fits: Vec<bool> = told.map(|answer| claimed(&answer)).collect();
        assert_eq!(fits, [true, false, true, false, true]);
        assert_eq!(writer.commits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_makes_callers_wait_and_loses_none() {
        let writer = writer(2);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let writer = Arc::clone(&writer);
            tasks.spawn(async move { writer.submit(lookup()).await.is_ok() });
        }
        assert!(tasks.join_all().await.into_iter().all(|answered| answered));
    }
}
