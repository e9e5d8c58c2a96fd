//! The line-up that this crate is about: the whole [`Stack`] with the QuickBooks preset.

use super::config::{JournalKind, Scenario};
use super::declared::Declared;
use super::lineup::{Answer, BoxFuture, Client, LineUp, World, told_by_status};
use super::told::Told;
use crate::error::{BoxError, Error};
use crate::journal::sqlite::SqliteJournal;
use crate::journal::{Journal, MemoryJournal};
use crate::outcome::Outcome;
use crate::payload::Payload;
use crate::qbo::Qbo;
use crate::qbo::limits::{EndpointClass, Limit};
use crate::random::Random;
use crate::stack::Stack;
use http::Request;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tower::ServiceExt;

/// The whole stack: quotas as the scenario's upstream has them, writes as the scenario declares them: keyed where the
/// upstream honours our key, looked up by a planted mark, or neither. All else is the preset's default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sturdy;

impl LineUp for Sturdy {
    fn name(&self) -> &'static str {
        "sturdy"
    }

    fn start<'a>(&'a self, world: &'a World) -> BoxFuture<'a, Result<Arc<dyn Client>, BoxError>> {
        Box::pin(async move {
            let books = Books::new(world.scenario.stack.journal)?;
            let stack = build(world, books.open()?)?;
            let client: Arc<dyn Client> = Arc::new(SturdyClient {
                world: world.clone(),
                books,
                stack: Mutex::new(stack),
            });
            Ok(client)
        })
    }
}

struct SturdyClient {
    world: World,
    books: Books,
    stack: Mutex<Stack>,
}

impl SturdyClient {
    fn stack(&self) -> Stack {
        self.stack
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Client for SturdyClient {
    fn call(&self, request: Request<Payload>) -> BoxFuture<'static, Answer> {
        let stack = self.stack();
        Box::pin(async move { stack.oneshot(request).await.map_err(Into::into) })
    }

    fn told(&self, answer: &Answer) -> Told {
        match answer {
            Ok(response) => match response.body().verdict().map(|verdict| verdict.outcome) {
                Some(outcome) => told_of(outcome),
                None => told_by_status(answer),
            },
            Err(error) => error.downcast_ref::<Error>().map_or(Told::Failed, told_by),
        }
    }

    fn crash(&self) -> BoxFuture<'_, ()> {
        self.stack().kill();
        Box::pin(std::future::ready(()))
    }

    fn restart(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        let again = self
            .books
            .open()
            .and_then(|journal| build(&self.world, journal));
        Box::pin(std::future::ready(again.map(|stack| {
            *self.stack.lock().unwrap_or_else(PoisonError::into_inner) = stack;
        })))
    }

    fn finish(&self) -> BoxFuture<'_, ()> {
        let stack = self.stack();
        Box::pin(async move {
            stack.shutdown(Duration::from_secs(5)).await;
        })
    }
}

/// What an application tells its user of a judged answer.
const fn told_of(outcome: Outcome) -> Told {
    match outcome {
        Outcome::Applied => Told::Succeeded,
        Outcome::Rejected => Told::Rejected,
        Outcome::NoEffect | Outcome::Unsent => Told::Failed,
        Outcome::Unknown => Told::Pending,
    }
}

/// The same of one of our errors.
const fn told_by(error: &Error) -> Told {
    match error {
        Error::Pending(_) | Error::OutcomeUnknown(_) | Error::InFlight(_) => Told::Pending,
        Error::Parked(_) => Told::Parked,
        Error::Upstream(upstream) => told_of(upstream.verdict.outcome),
        _ => Told::Refused,
    }
}

/// Between a server's timeout and the time after which nothing of a request counts any more; as in the preset.
const MARGIN: Duration = Duration::from_secs(10);

fn build(world: &World, journal: Arc<dyn Journal>) -> Result<Stack, BoxError> {
    let settings = world.scenario.stack;
    let upstream = world.scenario.upstream;
    let (read_lag, server_timeout) = (upstream.read_lag.get(), upstream.server_timeout.get());
    let writes = Declared::new(settings.horizon.get());
    let preset = Qbo {
        limits: limits(&world.scenario),
        writes: writes.keyed,
        ..Qbo::default()
    };
    let stack = preset
        .stack(world.mock.clone())?
        .writes(Arc::new(writes))
        .journal(journal)
        .clock(world.clock)
        .random(world.random.clone())
        .configure(|config| {
            let settle = &mut config.book.settle;
            settle.settle_window = settings.settle_window.get();
            settle.read_lag = settle.read_lag.max(read_lag);
            if let Some(cache) = &mut config.cache {
                cache.settle_window = settings.settle_window.get();
                cache.read_lag = cache.read_lag.max(read_lag);
            }
            // Documented like the quotas: what was given up counts against them for as long as the server works on it.
            let rate_limit = &mut config.rate_limit;
            rate_limit.settle_window = (rate_limit.settle_window).max(server_timeout + MARGIN);
            // The simulated process dies, the memory of this journal does not: it is as good as a file here.
            config.idempotency.accept_volatile = settings.journal == JournalKind::Memory;
        })
        .build()?;
    Ok(stack)
}

/// The upstream's quotas: what an integrator reads in its documentation.
fn limits(scenario: &Scenario) -> Vec<Limit> {
    let throttle = scenario.throttle;
    let of = |name, limit, per, per_app| Limit {
        name,
        limit,
        per,
        per_app,
        class: EndpointClass::Any,
    };
    let minute = Duration::from_secs(60);
    let mut limits = vec![
        of("realm/minute", throttle.per_minute, minute, false),
        of(
            "realm/second",
            throttle.per_second,
            Duration::from_secs(1),
            false,
        ),
        of(
            "realm/concurrent",
            throttle.concurrent,
            Duration::ZERO,
            false,
        ),
    ];
    limits.extend(
        throttle
            .app_per_minute
            .map(|limit| of("app/minute", limit, minute, true)),
    );
    limits
}

/// Where operations are recorded: what outlives the simulated process.
enum Books {
    Memory(Arc<MemoryJournal>),
    Folder(PathBuf),
}

impl Books {
    fn new(kind: JournalKind) -> Result<Self, BoxError> {
        Ok(match kind {
            JournalKind::Memory => Self::Memory(Arc::new(MemoryJournal::new())),
            JournalKind::Sqlite => {
                // A name of its own, not the simulation's: several may run at once.
                let name = format!("tower-sturdy-scenario-{:032x}", Random::system().id());
                let folder = std::env::temp_dir().join(name);
                std::fs::create_dir(&folder)?;
                Self::Folder(folder)
            }
        })
    }

    fn open(&self) -> Result<Arc<dyn Journal>, BoxError> {
        Ok(match self {
            Self::Memory(journal) => Arc::clone(journal) as Arc<dyn Journal>,
            Self::Folder(folder) => Arc::new(SqliteJournal::open(folder.join("journal.db"))?),
        })
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        if let Self::Folder(folder) = self {
            // A file left over in a temporary folder is no reason to fail.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}
