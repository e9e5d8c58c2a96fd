//! Runs one line-up through one scenario, in virtual time.

use super::config::{Latency, Scenario};
use super::error::ScenarioError;
use super::judge::{self, Case, DigestAnswer, Expected};
use super::lineup::{Answer, BoxFuture, Client, LineUp, World};
use super::load::Plan;
use super::report::{LineUpReport, Report};
use super::told::{Answers, Told};
use super::{request, user, world};
use crate::clock::{Clock, Instant, Timestamp};
use crate::error::BoxError;
use crate::mock::History;
use crate::payload::Payload;
use http::Request;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What to run a scenario with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The seed: the same seed, the same load, faults and latencies.
    pub seed: u64,
    /// Whether the upstream honours our key.
    pub replay: bool,
    /// Latencies other than the scenario's.
    pub latency: Option<Latency>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The line-up.
    pub lineup: &'a str,
    /// Operations begun.
    pub begun: usize,
    /// Operations in all.
    pub operations: usize,
}

/// What one line-up's run came to.
#[derive(Debug)]
pub struct Finished {
    /// The judge's counts.
    pub report: LineUpReport,
    /// How much time passed in the simulation.
    pub virtual_time: Duration,
    /// The mock's whole record, for further questions.
    pub history: History,
}

/// Runs several line-ups on one seed, each in a world of its own.
///
/// # Errors
/// When the scenario or a line-up does not start.
pub fn run_all(
    scenario: &Scenario,
    options: Options,
    lineups: &[&dyn LineUp],
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Report, ScenarioError> {
    let clock = Clock::system();
    let started = clock.wall();
    let mut report = Report {
        scenario: scenario.name.clone(),
        seed: options.seed,
        replay: options.replay,
        virtual_seconds: 0.0,
        wall_seconds: 0.0,
        lineups: Vec::new(),
    };
    for lineup in lineups {
        let finished = run(scenario, options, *lineup, progress)?;
        report.virtual_seconds = report
            .virtual_seconds
            .max(finished.virtual_time.as_secs_f64());
        report.lineups.push(finished.report);
    }
    report.wall_seconds = clock.wall().since(started).as_secs_f64();
    Ok(report)
}

/// Runs one line-up on a paused runtime of its own. Not to be called from within a runtime.
///
/// # Errors
/// When the scenario or the line-up does not start.
pub fn run(
    scenario: &Scenario,
    options: Options,
    lineup: &dyn LineUp,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Finished, ScenarioError> {
    scenario.check()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| ScenarioError::Run(error.into()))?;
    runtime.block_on(drive(scenario, options, lineup, progress))
}

async fn drive(
    scenario: &Scenario,
    options: Options,
    lineup: &dyn LineUp,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Finished, ScenarioError> {
    let world = world::build(scenario, options)?;
    let client = lineup
        .start(&world)
        .await
        .map_err(|source| ScenarioError::LineUp {
            name: lineup.name().to_owned(),
            source,
        })?;
    let stage = Arc::new(Stage::new(&world, client)?);
    let mut tasks = perform(&stage, lineup.name(), progress).await?;
    stage.clock.sleep_until(stage.closes).await;
    // The last word is asked for as the run closes; slow answers to it are waited for, but not for ever.
    let drained = stage.clock.timeout(GRACE, drain(&mut tasks)).await;
    tasks.abort_all();
    drained.transpose()?;
    stage.client.finish().await;
    Ok(stage.judged(lineup.name(), &world))
}

/// Longer than any line-up's retries of one call may take.
const GRACE: Duration = Duration::from_secs(15 * 60);

async fn drain(tasks: &mut JoinSet<Result<(), BoxError>>) -> Result<(), ScenarioError> {
    while let Some(done) = tasks.join_next().await {
        outcome(done)?;
    }
    Ok(())
}

fn outcome(
    done: Result<Result<(), BoxError>, tokio::task::JoinError>,
) -> Result<(), ScenarioError> {
    match done {
        Ok(result) => result.map_err(ScenarioError::Run),
        Err(error) => Err(ScenarioError::Run(error.into())),
    }
}

/// What can happen, in the order in which it is served at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Crash,
    Restart,
    Digest(usize),
    Operation(usize),
}

fn events(scenario: &Scenario, plan: &Plan) -> Vec<(Duration, Event)> {
    let down = scenario
        .crash
        .map_or(Duration::ZERO, |crash| crash.down.get());
    let operations = plan.operations.iter().enumerate();
    let digests = plan.digests.iter();
    let mut events: Vec<_> = operations
        .map(|(at, operation)| (operation.at, Event::Operation(at)))
        .chain(digests.map(|digest| (digest.at, Event::Digest(digest.company))))
        .chain(plan.crashes.iter().map(|at| (*at, Event::Crash)))
        .chain(plan.crashes.iter().map(|at| (*at + down, Event::Restart)))
        .collect();
    events.sort_unstable();
    events
}

/// Plays the load; returns the users who are still at it.
async fn perform(
    stage: &Arc<Stage>,
    name: &str,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<JoinSet<Result<(), BoxError>>, ScenarioError> {
    let start = stage.clock.now();
    let operations = stage.plan.operations.len();
    let step = (operations / 100).max(1);
    let mut tasks = JoinSet::new();
    let mut begun = 0;
    for (at, event) in events(&stage.scenario, &stage.plan) {
        stage.clock.sleep_until(start + at).await;
        match event {
            Event::Crash => {
                stage.life.send_modify(|life| *life += 1);
                stage.client.crash().await;
            }
            Event::Restart => {
                stage.client.restart().await;
                stage.life.send_modify(|life| *life += 1);
            }
            Event::Digest(company) => {
                tasks.spawn(digest(Arc::clone(stage), company));
            }
            Event::Operation(at) => {
                tasks.spawn(user::act(Arc::clone(stage), at));
                begun += 1;
                if begun % step == 0 {
                    progress(Progress {
                        lineup: name,
                        begun,
                        operations,
                    });
                }
            }
        }
        while let Some(done) = tasks.try_join_next() {
            outcome(done)?;
        }
    }
    Ok(tasks)
}

/// One background read of a company: how many bills are open, and what they are.
async fn digest(stage: Arc<Stage>, company: usize) -> Result<(), BoxError> {
    let realm = Plan::realm(company);
    let asked = stage.clock.wall();
    let answer = stage.scheduled(request::count_open_bills(&realm)?).await;
    let open = match &answer {
        Some(Ok(answer)) if answer.status().is_success() => request::total(answer.body().bytes()),
        _ => None,
    };
    if let Some(open) = open {
        let paid = stage.bills[company].saturating_sub(open);
        stage.log(|log| {
            log.digests.push(DigestAnswer {
                realm: realm.clone(),
                asked,
                paid,
            })
        });
    }
    for page in 0..stage.scenario.digest.map_or(0, |digest| digest.pages) {
        let _ = stage.scheduled(request::open_bills(&realm, page)?).await;
    }
    Ok(())
}

/// What the people of one run share.
pub(super) struct Stage {
    pub(super) scenario: Arc<Scenario>,
    pub(super) plan: Arc<Plan>,
    pub(super) clock: Clock,
    pub(super) client: Arc<dyn Client>,
    pub(super) expected: Vec<Expected>,
    /// When the last word is asked for.
    pub(super) closes: Instant,
    /// Bills of each company.
    bills: Vec<usize>,
    /// Even: our process is up; odd: it is down.
    life: watch::Sender<u64>,
    load_ends: Timestamp,
    begins: Timestamp,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) answers: Vec<Answers>,
    pub(super) digests: Vec<DigestAnswer>,
    pub(super) user_calls: Vec<Duration>,
    pub(super) scheduled_calls: Vec<Duration>,
}

impl Stage {
    fn new(world: &World, client: Arc<dyn Client>) -> Result<Self, ScenarioError> {
        let begins = world.clock.wall();
        Ok(Self {
            scenario: Arc::clone(&world.scenario),
            plan: Arc::clone(&world.plan),
            clock: world.clock,
            client,
            expected: world::expected(world)?,
            closes: world.clock.now() + world.scenario.ends(),
            bills: world.plan.bills(),
            life: watch::Sender::new(0),
            load_ends: begins.plus(world.scenario.load_ends()),
            begins,
            log: Mutex::new(Log {
                answers: vec![Answers::default(); world.plan.operations.len()],
                ..Log::default()
            }),
        })
    }

    pub(super) fn log<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        change(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One call of the application; `None` when our process was down or died before the answer.
    async fn call(&self, request: Request<Payload>) -> Option<Answer> {
        let mut life = self.life.subscribe();
        if *life.borrow_and_update() % 2 == 1 {
            return None;
        }
        let answer: BoxFuture<'static, Answer> = self.client.call(request);
        tokio::select! {
            biased;
            _ = life.changed() => None,
            answer = answer => Some(answer),
        }
    }

    async fn scheduled(&self, request: Request<Payload>) -> Option<Answer> {
        let asked = self.clock.now();
        let answer = self.call(request).await;
        if answer.is_some() {
            let took = self.clock.now() - asked;
            self.log(|log| log.scheduled_calls.push(took));
        }
        answer
    }

    /// The user presses "pay".
    pub(super) async fn press(&self, operation: usize) -> Result<(), BoxError> {
        let pressed = self.clock.wall();
        let asked = self.clock.now();
        self.log(|log| log.answers[operation].click(pressed));
        let told = self.ask(operation).await?;
        if told != Told::NoAnswer {
            let took = self.clock.now() - asked;
            self.log(|log| log.user_calls.push(took));
        }
        Ok(())
    }

    /// The user, or the page they look at, asks what became of it: the same call under the same key.
    pub(super) async fn ask(&self, operation: usize) -> Result<Told, BoxError> {
        let patience = self.scenario.user.patience.get();
        let request = request::pay(&self.expected[operation], patience)?;
        let told = match self.call(request).await {
            Some(answer) => self.client.told(&answer),
            None => Told::NoAnswer,
        };
        let at = self.clock.wall();
        self.log(|log| log.answers[operation].say(at, told));
        Ok(told)
    }

    fn judged(&self, name: &str, world: &World) -> Finished {
        let history = world.mock.history();
        let ends = self.clock.wall();
        let report = self.log(|log| {
            judge::judge(
                name,
                &Case {
                    expected: &self.expected,
                    answers: &log.answers,
                    sends: history.sends(),
                    effects: history.effects(),
                    throttled: history.throttled(),
                    digests: &log.digests,
                    user_calls: &log.user_calls,
                    scheduled_calls: &log.scheduled_calls,
                    load_ends: self.load_ends,
                    ends,
                    patience: self.scenario.user.patience.get(),
                    read_lag: self.scenario.upstream.read_lag.get(),
                    replay: world.replay,
                },
            )
        });
        Finished {
            report,
            virtual_time: ends.since(self.begins),
            history,
        }
    }
}
