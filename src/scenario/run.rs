//! Runs one line-up through one scenario, in virtual time.

use super::config::{Latency, Scenario};
use super::error::ScenarioError;
use super::lineup::{Gone, LineUp};
use super::load::Plan;
use super::report::{LineUpReport, Report};
use super::stage::{Stage, digest};
use super::{user, world};
use crate::clock::Clock;
use crate::error::BoxError;
use crate::mock::History;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
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

/// As people read it: "sturdy: 40 %".
impl fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.begun * 100 / self.operations.max(1);
        write!(f, "{}: {percent} %", self.lineup)
    }
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
    let mut stage = Arc::new(Stage::new(&world, client)?);
    let mut tasks = perform(&stage, lineup.name(), progress).await?;
    stage.clock.sleep_until(stage.closes).await;
    // The last word is asked for as the run closes; slow answers to it are waited for, but not for ever.
    let drained = stage.clock.timeout(GRACE, drain(&mut tasks)).await;
    tasks.abort_all();
    drained.transpose()?;
    stage.client.finish().await;
    let (history, replay) = (world.mock.history(), world.replay);
    // The client, its journal and the upstream's books are large, and the judge needs none of them.
    drop(world);
    if let Some(stage) = Arc::get_mut(&mut stage) {
        stage.client = Arc::new(Gone);
    }
    Ok(stage.judged(lineup.name(), history, replay))
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
                stage.client.restart().await.map_err(ScenarioError::Run)?;
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
