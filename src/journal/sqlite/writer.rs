//! Group commit: callers put jobs into a bounded queue; a drain takes many, runs them in one transaction, commits once,
//! and only then answers.
//!
//! The drain runs on the blocking pool and ends when the queue is empty, so the journal has no thread of its own, and a
//! paused clock stands still while it works. A job that is in the queue is done whether or not its caller still waits.

use super::codec::{ChangingRow, NewRow};
use super::store::{self, Failure};
use crate::context::{OperationId, OperationKey, Tenant};
use crate::journal::{Claim, Filter, JournalError, Record};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
        }
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

    fn serve(&self, batch: Vec<Job>) {
        let answers = self.transact(&batch);
        match answers {
            Ok(answers) => {
                for (job, answer) in batch.into_iter().zip(answers) {
                    // A caller that stopped waiting is told nothing; its work is done all the same.
                    let _ = job.answer.send(answer);
                }
            }
            Err(failure) => {
                let failed = JournalError::unavailable(failure);
                for job in batch {
                    let _ = job.answer.send(Err(failed.clone()));
                }
            }
        }
    }

    /// Runs all of them in one transaction. The error is everybody's; an error of one job alone is among the answers.
    fn transact(&self, batch: &[Job]) -> Result<Vec<Answer>, Failure> {
        let connection = lock(&self.connection);
        let writes = batch.iter().any(|job| job.work.writes());
        // IMMEDIATE: whoever may write waits for the write lock here, not in the middle.
        let behavior = if writes {
            TransactionBehavior::Immediate
        } else {
            TransactionBehavior::Deferred
        };
        let transaction = Transaction::new_unchecked(&connection, behavior)?;
        let mut answers = Vec::with_capacity(batch.len());
        for job in batch {
            answers.push(match job.work.run(&transaction) {
                Ok(answer) => answer,
                // SQLite undid the failed statement alone, or, after the worst errors, the whole transaction.
                Err(failure) if transaction.is_autocommit() => return Err(failure),
                Err(failure) => Err(JournalError::unavailable(failure)),
            });
        }
        transaction.commit()?;
        if writes {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(answers)
    }
}

impl Work {
    const fn writes(&self) -> bool {
        matches!(self, Self::Claim(_) | Self::Step(_))
    }

    fn run(&self, db: &Connection) -> store::Told<Reply> {
        Ok(match self {
            Self::Claim(row) => store::claim(db, row)?.map(Reply::Claim),
            Self::Step(row) => store::step(db, row)?.map(|()| Reply::Stepped),
            Self::Id(id) => Ok(Reply::Found(store::by_id(db, *id)?.map(Box::new))),
            Self::Key(namespace, tenant, key) => Ok(Reply::Found(
                store::by_key(db, namespace, tenant, key)?.map(Box::new),
            )),
            Self::List(filter) => Ok(Reply::Listed(store::list(db, filter)?)),
            #[cfg(test)]
            Self::Panic => panic!("a bug in the drain"),
        })
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
            self.writer.serve(batch);
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
        // It panicked, or its runtime shut down before it ran: dropping the jobs tells everybody who waits.
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
    use super::super::schema;
    use super::*;

    fn writer(places: usize) -> Arc<Writer> {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(schema::CREATE).unwrap();
        Arc::new(Writer::new(connection, places, 8))
    }

    fn lookup() -> Work {
        Work::Id(OperationId::from_bits(1))
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_that_panics_answers_everybody_and_the_next_one_works() {
        let writer = writer(16);
        let (panicked, beside) =
            tokio::join!(writer.submit(Work::Panic), writer.submit(lookup()));
        assert!(matches!(panicked, Err(JournalError::Unavailable(_))));
        // It shared the batch, or was in the queue, or came after: an answer in any case.
        drop(beside);
        assert!(matches!(
            writer.submit(lookup()).await,
            Ok(Reply::Found(None))
        ));
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
