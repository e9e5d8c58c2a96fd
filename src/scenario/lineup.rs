//! A line-up: one way to put a client in front of the upstream.

use super::config::Scenario;
use super::load::Plan;
use super::told::Told;
use crate::clock::Clock;
use crate::error::BoxError;
use crate::mock::MockQbo;
use crate::payload::Payload;
use crate::random::Random;
use http::{Request, Response, StatusCode};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a call comes to.
pub type Answer = Result<Response<Payload>, BoxError>;

/// Where a line-up lives: one upstream, one clock, one seed.
#[derive(Clone, Debug)]
pub struct World {
    /// The scenario.
    pub scenario: Arc<Scenario>,
    /// What will happen.
    pub plan: Arc<Plan>,
    /// Whether the upstream honours our key. Where it does not, writes are to be declared so.
    pub replay: bool,
    /// The upstream.
    pub mock: MockQbo,
    /// The simulation's clock.
    pub clock: Clock,
    /// Chance for the line-up, from the seed.
    pub random: Random,
}

/// One way to put a client in front of the upstream.
pub trait LineUp: Send + Sync + fmt::Debug {
    /// Its name in reports.
    fn name(&self) -> &str;

    /// Builds its client.
    fn start<'a>(&'a self, world: &'a World) -> BoxFuture<'a, Result<Arc<dyn Client>, BoxError>>;
}

/// What the simulated application holds.
pub trait Client: Send + Sync + 'static {
    /// One call of the application. Dropping the future is what happens to a caller who goes away.
    fn call(&self, request: Request<Payload>) -> BoxFuture<'static, Answer>;

    /// What the application tells its user of a write's answer. By status, unless the client knows more.
    fn told(&self, answer: &Answer) -> Told {
        told_by_status(answer)
    }

    /// The process dies: everything in memory is gone, nothing more is sent. Calls have been dropped already.
    fn crash(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// The process starts again.
    ///
    /// # Errors
    /// When it cannot; that ends the run.
    fn restart(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The run is over: stop workers.
    fn finish(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What an application without further knowledge tells its user: 2xx is paid, a refusal by the upstream is final, and
/// all else failed.
#[must_use]
pub fn told_by_status(answer: &Answer) -> Told {
    let Ok(answer) = answer else {
        return Told::Failed;
    };
    match answer.status() {
        status if status.is_success() => Told::Succeeded,
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_EARLY
        | StatusCode::TOO_MANY_REQUESTS => Told::Failed,
        status if status.is_client_error() => Told::Rejected,
        _ => Told::Failed,
    }
}

/// The client timeout that integrators have: Intuit's own OAuth client gives up after 30 s.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);

/// No layers at all: one send per call, and the status as the answer. It has the client timeout that integrators have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bare;

impl LineUp for Bare {
    fn name(&self) -> &'static str {
        "bare"
    }

    fn start<'a>(&'a self, world: &'a World) -> BoxFuture<'a, Result<Arc<dyn Client>, BoxError>> {
        let client: Arc<dyn Client> = Arc::new(BareClient {
            mock: world.mock.clone(),
            clock: world.clock,
        });
        Box::pin(std::future::ready(Ok(client)))
    }
}

#[derive(Debug)]
struct BareClient {
    mock: MockQbo,
    clock: Clock,
}

impl Client for BareClient {
    fn call(&self, request: Request<Payload>) -> BoxFuture<'static, Answer> {
        let (mock, clock) = (self.mock.clone(), self.clock);
        Box::pin(async move {
            match clock.timeout(CLIENT_TIMEOUT, mock.oneshot(request)).await {
                Some(answer) => answer.map_err(Into::into),
                None => Err("no answer within the client's timeout".into()),
            }
        })
    }
}

/// The client of a run that is over.
#[derive(Debug)]
pub(super) struct Gone;

impl Client for Gone {
    fn call(&self, _: Request<Payload>) -> BoxFuture<'static, Answer> {
        Box::pin(std::future::ready(Err("the run is over".into())))
    }
}
