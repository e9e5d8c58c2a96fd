//! One process: a whole stack on the shared journal, its hooks, and those who call it.

use super::boundary::Boundary;
use super::disk::{Disk, Handle};
use super::power::{Crashes, Power};
use super::script::{Protection, Script};
use super::upstream::Wire;
use super::world::World;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tower::ServiceExt;
use tower_sturdy::Error;
use tower_sturdy::classify::HttpClassify;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::error::BoxError;
use tower_sturdy::event::{Event, Observer};
use tower_sturdy::journal::{BoxFuture, Observation, Proof, Record, StoredAnswer};
use tower_sturdy::outcome::Outcome;
use tower_sturdy::payload::Payload;
use tower_sturdy::random::Random;
use tower_sturdy::reconcile::{Hooks, NoHooks, Settled, Upstream};
use tower_sturdy::stack::Stack;

/// What one click was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Its process died first.
    Nothing,
    /// It took effect; whether it had, at that moment.
    Done(bool),
    /// It was refused for good.
    Rejected,
    /// It did not happen, and will not unless it is asked for again.
    Failed,
    /// Nothing was done for this click; what became of earlier ones is not said.
    NotTaken,
    /// It goes on, or is being settled, or a person looks at it.
    Promised,
}

/// One click and its answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub operation: usize,
    pub asked: u64,
    pub told: Told,
    /// When it was told, or its process died.
    pub ended: Option<u64>,
}

/// What all processes share.
pub struct Shared {
    pub script: Script,
    pub world: Arc<Mutex<World>>,
    pub disk: Arc<Disk>,
    pub crashes: Crashes,
    pub answers: Mutex<Vec<Answer>>,
}

/// One process that runs.
pub struct Running {
    pub power: Power,
    pub stack: Stack,
    pub callers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Watch(Power);

impl Observer for Watch {
    fn observe(&self, _: &Event<'_>) {
        self.0.at(Boundary::Decided);
    }
}

/// Looks an operation up by its mark, as late as the upstream's readers see it; and the local record.
#[derive(Debug)]
struct ByMark(Wire);

impl ByMark {
    async fn look(&self, record: &Record) -> Observation {
        self.0.power.pass(Boundary::HookBegins).await;
        let protection = Protection::of(record.asked.request.uri.path());
        let mark = &record.asked.upstream_key;
        let (trouble, took) = self.0.world.lock().unwrap().trouble();
        let seen = |hook: &Self| hook.0.world.lock().unwrap().shows(mark);
        // The answer to a look-up may be old by the time that it arrives.
        let early = seen(self);
        tokio::time::sleep(took).await;
        self.0.power.pass(Boundary::HookEnds).await;
        match trouble {
            0 => std::panic::resume_unwind(Box::new("told to nobody")),
            1 => std::future::pending::<()>().await,
            _ => {}
        }
        if trouble == 2 || protection == Protection::NoneAtAll {
            let why = "trouble".into();
            return Observation::CannotTell { why };
        }
        if !(if trouble < 7 { early } else { seen(self) }) {
            let scope = "all".into();
            return Observation::Absent { scope };
        }
        Observation::Found(Proof {
            answer: StoredAnswer {
                status: 200,
                headers: Vec::new(),
                body: "200".into(),
            },
            evidence: "mark".into(),
        })
    }

    async fn tell(&self, record: &Record) -> Result<Settled, BoxError> {
        self.0.power.pass(Boundary::HookBegins).await;
        let (trouble, took) = self.0.world.lock().unwrap().trouble();
        tokio::time::sleep(took).await;
        match trouble {
            0 => return Err("the local record is locked".into()),
            1 => return Ok(Settled::NotYet),
            _ => {}
        }
        let name = String::from_utf8(record.asked.request.body.to_vec()).unwrap();
        {
            let mut world = self.0.world.lock().unwrap();
            world.local.entry(name).or_default().push(record.state());
        }
        self.0.power.pass(Boundary::HookEnds).await;
        Ok(Settled::Agrees)
    }
}

impl Hooks for ByMark {
    fn observe<'a>(&'a self, record: &'a Record, _: &'a Upstream) -> BoxFuture<'a, Observation> {
        let power = &self.0.power;
        Box::pin(power.while_on(Boundary::HookPolled, self.look(record)))
    }

    fn settled<'a>(
        &'a self,
        record: &'a Record,
        _: &'a Upstream,
    ) -> BoxFuture<'a, Result<Settled, BoxError>> {
        let power = &self.0.power;
        Box::pin(power.while_on(Boundary::HookPolled, self.tell(record)))
    }
}

impl Running {
    /// A process begins: a new stack, a new owner, the journal as it is, a clock that is wrong by so many milliseconds.
    pub fn start(shared: &Shared, seed: u64, wrong_by: i64) -> Self {
        let power = Power::new(shared.crashes.clone());
        let wire = Wire {
            world: Arc::clone(&shared.world),
            power: power.clone(),
        };
        let wall = shared.world.lock().unwrap().clock.wall().as_millis();
        let wall = wall.saturating_add_signed(wrong_by);
        let clock = Clock::anchored(Timestamp::from_millis(wall));
        let journal = Handle::open(&shared.disk, &power, seed);
        let builder = Stack::builder(wire.clone())
            .journal(Arc::new(journal))
            .config(shared.script.config())
            .classify(Arc::new(
                HttpClassify::new().trust(http::StatusCode::TOO_MANY_REQUESTS),
            ))
            .writes(Arc::new(shared.script.writes()))
            .observer(Arc::new(Watch(power.clone())))
            .clock(clock)
            .random(Random::seeded(seed));
        let builder = if shared.script.hooks {
            builder.hooks(Arc::new(ByMark(wire)))
        } else {
            builder.hooks(Arc::new(NoHooks))
        };
        let stack = builder.build().unwrap();
        power.at(Boundary::Started);
        Self {
            power,
            stack,
            callers: Vec::new(),
        }
    }

    /// Somebody asks this process for an operation.
    pub fn click(&mut self, shared: &Arc<Shared>, operation: usize, patience: Duration) {
        let (shared, stack) = (Arc::clone(shared), self.stack.clone());
        let power = self.power.clone();
        self.callers.push(tokio::spawn(async move {
            let ask = async {
                power.pass(Boundary::Asks).await;
                let at = shared.asks(operation);
                let request = shared.script.request(operation, patience);
                let result = stack.oneshot(request).await;
                power.pass(Boundary::Tells).await;
                shared.tells(at, &result);
                power.pass(Boundary::Told).await;
            };
            power.while_on(Boundary::CallerPolled, ask).await;
        }));
    }

    /// Takes the dead process away: nothing of it can have an effect any more, and this makes it end.
    pub fn bury(self) {
        self.stack.kill();
        for caller in &self.callers {
            caller.abort();
        }
    }
}

impl Shared {
    fn asks(&self, operation: usize) -> usize {
        let asked = self.world.lock().unwrap().tick();
        let mut answers = self.answers.lock().unwrap();
        answers.push(Answer {
            operation,
            asked,
            told: Told::Nothing,
            ended: None,
        });
        answers.len() - 1
    }

    fn tells(&self, at: usize, result: &Result<http::Response<Payload>, Error>) {
        let mut answers = self.answers.lock().unwrap();
        let answer = &mut answers[at];
        let mut world = self.world.lock().unwrap();
        answer.ended = Some(world.tick());
        let operation = &self.script.operations[answer.operation].name;
        let outcome = match result {
            Ok(told) => told.body().verdict().unwrap().outcome,
            Err(error) => error.outcome(),
        };
        answer.told = match (result, outcome) {
            (Err(Error::InFlight(_) | Error::JournalUnavailable(_)), _) => Told::NotTaken,
            (_, Outcome::Applied) => Told::Done(world.effects(operation) > 0),
            (_, Outcome::Rejected) => Told::Rejected,
            (_, Outcome::Unknown) => Told::Promised,
            (_, Outcome::Unsent | Outcome::NoEffect) => Told::Failed,
        };
    }
}
