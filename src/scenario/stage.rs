//! What the people of one run share: the client, the clock, and the record of what they were told.

use super::config::Scenario;
use super::error::ScenarioError;
use super::judge::{self, Case, DigestAnswer, Expected};
use super::lineup::{Answer, Client, World};
use super::load::Plan;
use super::run::Finished;
use super::told::{Answers, Told};
use super::{request, world};
use crate::clock::{Clock, Instant, Timestamp};
use crate::error::BoxError;
use crate::mock::History;
use crate::payload::Payload;
use http::Request;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

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
    pub(super) life: watch::Sender<u64>,
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
    pub(super) fn new(world: &World, client: Arc<dyn Client>) -> Result<Self, ScenarioError> {
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
        let answer = self.client.call(request);
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

    pub(super) fn judged(&self, name: &str, history: History, replay: bool) -> Finished {
        let ends = self.clock.wall();
        let crashes = self.plan.crashes.iter();
        let deaths: Vec<_> = crashes.map(|at| self.begins.plus(*at)).collect();
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
                    deaths: &deaths,
                    load_ends: self.load_ends,
                    ends,
                    patience: self.scenario.user.patience.get(),
                    read_lag: self.scenario.upstream.read_lag.get(),
                    replay,
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

/// One background read of a company: how many bills are open, and what they are.
pub(super) async fn digest(stage: Arc<Stage>, company: usize) -> Result<(), BoxError> {
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
                answered: stage.clock.wall(),
                paid,
            })
        });
    }
    for page in 0..stage.scenario.digest.map_or(0, |digest| digest.pages) {
        let _ = stage.scheduled(request::open_bills(&realm, page)?).await;
    }
    Ok(())
}
