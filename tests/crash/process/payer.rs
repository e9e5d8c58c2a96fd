//! The application: the whole stack over HTTP, with callers who press again until they are told the end. It is killed.

use super::lines::{heard, say, setting};
use super::operation::Operation;
use super::{PATIENCE, Process, settings};
use http::Response;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_sturdy::Error;
use tower_sturdy::clock::Clock;
use tower_sturdy::journal::State;
use tower_sturdy::outcome::Outcome;
use tower_sturdy::payload::Payload;
use tower_sturdy::stack::Stack;

const JOURNAL: &str = "TOWER_STURDY_TEST_JOURNAL";
const UPSTREAM: &str = "TOWER_STURDY_TEST_UPSTREAM";
const KEYED: &str = "TOWER_STURDY_TEST_KEYED";
const TASKS: &str = "TOWER_STURDY_TEST_TASKS";
const AHEAD_SECONDS: &str = "TOWER_STURDY_TEST_AHEAD_SECONDS";

/// How soon a caller presses again who was not told the end.
const THINKS: Duration = Duration::from_millis(50);

/// What a caller was told of its operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is paid, under this id of the upstream's.
    Completed(String),
    Rejected,
    Parked,
    /// Pending, or not known.
    Doubt,
    /// Worked on elsewhere.
    Elsewhere,
    /// Nothing was sent, or nothing happened; with the time of the telling.
    Nothing(u64, String),
    /// What nobody may be told here.
    Wrong(String),
}

impl Told {
    /// Whether the caller has its answer.
    pub const fn is_end(&self) -> bool {
        matches!(self, Self::Completed(_) | Self::Rejected | Self::Parked)
    }

    fn of(answer: &Result<Response<Payload>, Error>) -> Self {
        let outcome = match answer {
            Ok(answer) => answer.body().verdict().map(|verdict| verdict.outcome),
            Err(Error::Pending(_) | Error::OutcomeUnknown(_)) => return Self::Doubt,
            Err(Error::InFlight(_)) => return Self::Elsewhere,
            Err(Error::Parked(_)) => return Self::Parked,
            Err(Error::KeyReused(_) | Error::KeyRequired | Error::KeyExpired) => None,
            Err(Error::Invalid(_) | Error::Deadline) => None,
            Err(error) => Some(error.outcome()),
        };
        match (outcome, answer) {
            (Some(Outcome::Applied), Ok(answer)) => match id(answer.body().bytes()) {
                Some(id) => Self::Completed(id),
                None => Self::Wrong("an answer without an id".into()),
            },
            (Some(Outcome::Rejected), _) => Self::Rejected,
            (Some(Outcome::NoEffect | Outcome::Unsent), _) => {
                let why = match answer {
                    Ok(answer) => answer.status().to_string(),
                    Err(error) => chain(error),
                };
                Self::Nothing(Clock::system().wall().as_millis(), why)
            }
            (Some(Outcome::Unknown), _) => Self::Doubt,
            (_, Ok(answer)) => Self::Wrong(format!("{} without a verdict", answer.status())),
            (_, Err(error)) => Self::Wrong(chain(error)),
        }
    }

    fn line(&self) -> String {
        match self {
            Self::Completed(id) => format!("completed {id}"),
            Self::Rejected => "rejected".into(),
            Self::Parked => "parked".into(),
            Self::Doubt => "doubt".into(),
            Self::Elsewhere => "elsewhere".into(),
            Self::Nothing(at, why) => format!("nothing {at} {why}"),
            Self::Wrong(why) => format!("wrong {why}"),
        }
    }

    /// Reads a line `told <number> ...` of the payer's; `None` for what anybody else said.
    pub fn read(line: &str) -> Option<(Operation, Self)> {
        let (number, told) = line.strip_prefix("told ")?.split_once(' ')?;
        let (word, rest) = told.split_once(' ').unwrap_or((told, ""));
        let told = match word {
            "completed" => Self::Completed(rest.to_owned()),
            "rejected" => Self::Rejected,
            "parked" => Self::Parked,
            "doubt" => Self::Doubt,
            "elsewhere" => Self::Elsewhere,
            "nothing" => {
                let (at, why) = rest.split_once(' ')?;
                Self::Nothing(at.parse().ok()?, why.to_owned())
            }
            "wrong" => Self::Wrong(rest.to_owned()),
            _ => return None,
        };
        Some((Operation(number.parse().ok()?), told))
    }
}

/// An error and its causes, on one line.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.replace('\n', " ")
}

fn id(body: &[u8]) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(answer["BillPayment"]["Id"].as_str()?.to_owned())
}

/// How a payer is started.
#[derive(Clone, Copy, Debug)]
pub struct Payer<'a> {
    pub journal: &'a Path,
    pub upstream: &'a str,
    /// Whether `requestid` is relied on.
    pub keyed: bool,
    /// How many operations it works on at once.
    pub tasks: usize,
}

impl Payer<'_> {
    /// Starts it; it is not ready yet.
    pub fn start(self) -> Process {
        self.start_ahead(Duration::ZERO)
    }

    /// Starts it with a clock ahead of everybody else's: so much later.
    pub fn start_ahead(self, ahead: Duration) -> Process {
        Process::start("payer", &self.settings(ahead))
    }

    /// Starts it by a command that runs what its last arguments name.
    pub fn start_within(self, within: Command) -> Process {
        Process::start_within(within, "payer", &self.settings(Duration::ZERO))
    }

    fn settings(self, ahead: Duration) -> [(&'static str, String); 5] {
        [
            (JOURNAL, self.journal.display().to_string()),
            (UPSTREAM, self.upstream.to_owned()),
            (KEYED, self.keyed.to_string()),
            (TASKS, self.tasks.to_string()),
            (AHEAD_SECONDS, ahead.as_secs().to_string()),
        ]
    }
}

/// Not a test: the process of the tests of this binary.
#[test]
#[ignore = "a process that the tests of this binary start"]
fn process() {
    let Some(journal) = setting::<PathBuf>(JOURNAL) else {
        return;
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work(&journal));
}

async fn work(journal: &Path) {
    let ahead = Duration::from_secs(setting(AHEAD_SECONDS).unwrap());
    let stack = settings::stack(journal, setting(KEYED).unwrap(), ahead);
    let upstream: Arc<str> = setting::<String>(UPSTREAM).unwrap().into();
    let places = Arc::new(Semaphore::new(setting(TASKS).unwrap()));
    let mut orders = heard();
    say("ready");
    while let Some(order) = orders.recv().await {
        let words: Vec<_> = order.split(' ').collect();
        match words.as_slice() {
            ["pay", number] => {
                let operation = Operation(number.parse().unwrap());
                let place = Arc::clone(&places).acquire_owned().await.unwrap();
                let (stack, upstream) = (stack.clone(), Arc::clone(&upstream));
                tokio::spawn(async move {
                    pay(&stack, &upstream, operation).await;
                    drop(place);
                });
            }
            ["settle", left] => settle(&stack, left.parse().unwrap()).await,
            other => panic!("no such order: {other:?}"),
        }
    }
    stack.shutdown(PATIENCE).await;
}

/// A caller: presses until it is told the end, and says everything that it is told.
async fn pay(stack: &Stack, upstream: &str, operation: Operation) {
    loop {
        let press = || async {
            let answer = stack.clone().oneshot(operation.request(upstream)).await;
            let told = Told::of(&answer);
            say(&format!("told {} {}", operation.0, told.line()));
            told.is_end()
        };
        let ended = if operation.is_clicked_twice() {
            let (first, second) = tokio::join!(press(), press());
            first && second
        } else {
            press().await
        };
        if ended {
            return;
        }
        Clock::system().sleep(THINKS).await;
    }
}

/// Waits until no more than `most` operations are neither final nor parked.
async fn settle(stack: &Stack, most: usize) {
    let clock = Clock::system();
    loop {
        let unresolved = stack.reconciler().unresolved().await.unwrap();
        let parked = unresolved.by_state.get(&State::Parked).unwrap_or(&0);
        if unresolved.total() - parked <= most {
            return say("settled");
        }
        say(&format!("left {:?}", unresolved.by_state));
        clock.sleep(THINKS * 4).await;
    }
}
