//! The journal of the simulation: calls wait in a queue of their process, and are committed together some time later.
//! A crash loses the queue; what was committed stays, also where nobody was told.

use super::boundary::Boundary;
use super::file::{File, at_once};
use super::owners::Owners;
use super::power::Power;
use super::script::Script;
use super::world::World;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tower_sturdy::clock::Timestamp;
use tower_sturdy::context::OperationId;
use tower_sturdy::journal::{
    BoxFuture, Claim, Durability, Enlisted, Filter, Journal, JournalError, Liveness, Lookup,
    MemoryJournal, OwnerId, Record, State,
};

#[derive(Debug)]
enum Store {
    Memory(MemoryJournal),
    Sqlite(Mutex<Arc<File>>),
}

/// What outlives the processes.
#[derive(Debug)]
pub struct Disk {
    store: Store,
    world: Arc<Mutex<World>>,
    /// The first final state that each operation was on record with, and when.
    finals: Mutex<HashMap<OperationId, (State, u64)>>,
    owners: Option<Owners>,
    /// Whether it does so now and then, while the storm lasts.
    fails: bool,
    stalls: bool,
    wrong: Mutex<Vec<String>>,
}

impl Disk {
    pub fn new(sqlite: bool, script: &Script, world: Arc<Mutex<World>>) -> Arc<Self> {
        Arc::new(Self {
            store: if sqlite {
                Store::Sqlite(Mutex::new(Arc::new(File::new())))
            } else {
                Store::Memory(MemoryJournal::new())
            },
            world,
            finals: Mutex::default(),
            owners: script.knows_owners.then(Owners::default),
            fails: script.fails,
            stalls: script.stalls,
            wrong: Mutex::default(),
        })
    }

    fn journal(&self) -> Arc<dyn Journal> {
        match &self.store {
            Store::Memory(memory) => Arc::new(memory.clone()),
            Store::Sqlite(file) => Arc::new(file.lock().unwrap().journal.clone()),
        }
    }

    /// Everything on record.
    pub fn records(&self) -> Vec<Record> {
        let all = Filter {
            limit: 10_000,
            ..Filter::default()
        };
        at_once(self.journal().list(&all)).unwrap()
    }

    /// When each operation's end was first on record, and what broke the rules of the record itself.
    pub fn finals(&self) -> HashMap<OperationId, (State, u64)> {
        self.finals.lock().unwrap().clone()
    }

    pub fn wrong(&self) -> Vec<String> {
        self.wrong.lock().unwrap().clone()
    }

    fn note(&self, record: &Record) {
        let mut finals = self.finals.lock().unwrap();
        let (id, state) = (record.id(), record.state());
        match finals.get(&id) {
            Some((first, _)) if *first != state => {
                let what = format!("{id}: on record as {first}, and later as {state}");
                self.wrong.lock().unwrap().push(what);
            }
            None if state.is_final() => {
                let when = self.world.lock().unwrap().tick();
                finals.insert(id, (state, when));
            }
            _ => {}
        }
    }

    /// Commits everything that waits, as one: no boundary is within. Sometimes it fails, or says so.
    fn commit(&self, jobs: &[Job], rng: &mut fastrand::Rng) -> Vec<Answer> {
        let failed = |job: &Job| match job.work {
            Work::Claim(_) => Answer::Claim(Err(JournalError::unavailable("planned"))),
            Work::Step(_) => Answer::Step(Err(JournalError::unavailable("planned"))),
        };
        let trouble = rng.u32(0..16);
        if !self.fails || !self.world.lock().unwrap().stormy || trouble > 1 {
            return self.make(jobs);
        }
        if trouble == 0 {
            self.make(jobs);
        }
        jobs.iter().map(failed).collect()
    }

    /// How long calls wait for their commit: sometimes for longer than a lease.
    fn delay(&self, rng: &mut fastrand::Rng) -> Duration {
        let (usual, long) = (rng.u64(0..4), rng.u64(1_000..12_000));
        let stalls = rng.u32(0..12) == 0 && self.stalls;
        let stormy = self.world.lock().unwrap().stormy;
        Duration::from_millis(if stalls && stormy { long } else { usual })
    }

    fn make(&self, jobs: &[Job]) -> Vec<Answer> {
        let journal = self.journal();
        let made = jobs.iter().map(|job| {
            let journal = Arc::clone(&journal);
            async move {
                match &job.work {
                    Work::Claim(record) => Answer::Claim(journal.claim(record).await),
                    Work::Step(next) => Answer::Step(journal.step(next).await),
                }
            }
        });
        let answers: Vec<Answer> = made.map(at_once).collect();
        for (job, answer) in jobs.iter().zip(&answers) {
            match (&job.work, answer) {
                (Work::Claim(record), Answer::Claim(Ok(Claim::Claimed)))
                | (Work::Step(record), Answer::Step(Ok(()))) => self.note(record),
                _ => {}
            }
        }
        answers
    }

    /// The process that had the file is dead. `torn` are jobs whose commit the crash cut off.
    fn crash(&self, torn: &[Job], rng: &mut fastrand::Rng) {
        let Store::Sqlite(file) = &self.store else {
            return;
        };
        let mut file = file.lock().unwrap();
        let before = file.logged();
        for job in torn {
            match &job.work {
                Work::Claim(record) => drop(at_once(file.journal.claim(record))),
                Work::Step(next) => drop(at_once(file.journal.step(next))),
            }
        }
        let after = file.logged();
        let length = (after > before).then(|| rng.u64(before..after));
        *file = Arc::new(file.as_it_is(length));
    }
}

#[derive(Debug)]
enum Work {
    Claim(Record),
    Step(Record),
}

#[derive(Debug)]
enum Answer {
    Claim(Result<Claim, JournalError>),
    Step(Result<(), JournalError>),
}

#[derive(Debug)]
struct Job {
    work: Work,
    told: oneshot::Sender<Answer>,
}

/// The journal as one process has it.
#[derive(Debug)]
pub struct Handle {
    disk: Arc<Disk>,
    power: Power,
    queue: Arc<Mutex<Vec<Job>>>,
    more: Arc<Notify>,
    /// The latest time on record when it was opened.
    high_water: Option<Timestamp>,
}

fn latest(record: &Record) -> Timestamp {
    let progress = &record.progress;
    let steps = progress.history.iter().map(|step| step.at);
    let begun = progress.attempts.iter().map(|attempt| attempt.started);
    let ended = progress.attempts.iter().filter_map(|attempt| attempt.ended);
    let seen = steps.chain(begun).chain(ended.map(|ended| ended.at)).max();
    seen.unwrap_or_default().max(record.asked.at)
}

impl Handle {
    /// Opens the journal for a process that has just begun.
    pub fn open(disk: &Arc<Disk>, power: &Power, seed: u64) -> Self {
        let handle = Self {
            disk: Arc::clone(disk),
            power: power.clone(),
            queue: Arc::default(),
            more: Arc::default(),
            high_water: disk.records().iter().map(latest).max(),
        };
        let rng = fastrand::Rng::with_seed(seed);
        tokio::spawn(handle.commits(rng.clone()));
        // Weak, for the disk knows its owners' switches: a file must go away with its run.
        let (disk, queue) = (Arc::downgrade(disk), Arc::clone(&handle.queue));
        let mut rng = rng;
        power.when_cut(move |boundary| {
            let queued = std::mem::take(&mut *queue.lock().unwrap());
            let torn = if boundary == Boundary::Commits && rng.bool() {
                queued.as_slice()
            } else {
                &[]
            };
            if let Some(disk) = disk.upgrade() {
                disk.crash(torn, &mut rng);
            }
        });
        handle
    }

    /// The group commit of this process.
    fn commits(&self, mut rng: fastrand::Rng) -> impl Future<Output = ()> + Send + use<> {
        let (disk, power) = (Arc::clone(&self.disk), self.power.clone());
        let (queue, more) = (Arc::clone(&self.queue), Arc::clone(&self.more));
        async move {
            loop {
                more.notified().await;
                tokio::time::sleep(disk.delay(&mut rng)).await;
                if !power.at(Boundary::Commits) {
                    return;
                }
                let jobs = std::mem::take(&mut *queue.lock().unwrap());
                let answers = disk.commit(&jobs, &mut rng);
                if !power.at(Boundary::Committed) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(rng.u64(0..3))).await;
                for (job, answer) in jobs.into_iter().zip(answers) {
                    // Whoever does not wait any more is told nothing; the change is made all the same.
                    let _ = job.told.send(answer);
                }
            }
        }
    }

    async fn submit(&self, begins: Boundary, work: Work) -> Answer {
        self.power.pass(begins).await;
        let (told, answer) = oneshot::channel();
        self.queue.lock().unwrap().push(Job { work, told });
        self.more.notify_one();
        let Ok(answer) = answer.await else {
            // The process died with its queue.
            return std::future::pending().await;
        };
        self.power.pass(Boundary::Acknowledges).await;
        answer
    }

    async fn read<T>(&self, read: impl Future<Output = T>) -> T {
        let read = async {
            self.power.pass(Boundary::ReadBegins).await;
            let read = at_once(read);
            self.power.pass(Boundary::ReadEnds).await;
            read
        };
        self.power.while_on(Boundary::JournalPolled, read).await
    }
}

fn mixed_up() -> JournalError {
    JournalError::unavailable("the simulation mixed up its answers")
}

impl Journal for Handle {
    fn durability(&self) -> Durability {
        Durability::CrashDurable
    }

    fn claim<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, Result<Claim, JournalError>> {
        Box::pin(self.power.while_on(Boundary::JournalPolled, async {
            let work = Work::Claim(record.clone());
            match self.submit(Boundary::ClaimBegins, work).await {
                Answer::Claim(claim) => claim,
                Answer::Step(_) => Err(mixed_up()),
            }
        }))
    }

    fn step<'a>(&'a self, next: &'a Record) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(self.power.while_on(Boundary::JournalPolled, async {
            let work = Work::Step(next.clone());
            match self.submit(Boundary::StepBegins, work).await {
                Answer::Step(step) => step,
                Answer::Claim(_) => Err(mixed_up()),
            }
        }))
    }

    fn get<'a>(&'a self, which: Lookup<'a>) -> BoxFuture<'a, Result<Option<Record>, JournalError>> {
        Box::pin(self.read(async move { self.disk.journal().get(which).await }))
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> BoxFuture<'a, Result<Vec<Record>, JournalError>> {
        Box::pin(self.read(async move { self.disk.journal().list(filter).await }))
    }

    fn enlist(&self, owner: OwnerId) -> Result<Option<Enlisted>, JournalError> {
        let owners = self.disk.owners.as_ref();
        Ok(owners.map(|owners| owners.enlist(owner, &self.power)))
    }

    fn liveness(&self, owner: OwnerId) -> BoxFuture<'_, Liveness> {
        Box::pin(self.read(async move {
            let owners = self.disk.owners.as_ref();
            owners.map_or(Liveness::Unknown, |owners| owners.liveness(owner))
        }))
    }

    fn high_water(&self) -> Option<Timestamp> {
        self.high_water
    }
}
