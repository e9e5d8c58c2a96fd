//! The tower service.

use super::{FaultPlan, History, InvalidMock, MockConfig};
use crate::clock::Clock;
use crate::payload::Payload;
use http::{Request, Response};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a client sees instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MockError {
    /// The connection broke before the head of an answer.
    Reset,
    /// The connection broke after the head of an answer, within its body.
    BodyCut,
}

impl fmt::Display for MockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "the connection broke before an answer",
            Self::BodyCut => "the connection broke within the answer's body",
        })
    }
}

impl std::error::Error for MockError {}

/// The server. Clones are the same server.
#[derive(Clone, Debug)]
pub struct MockQbo;

/// The answer to come.
#[derive(Debug)]
pub struct Answer;

impl MockQbo {
    /// A server with these settings, whose time is `clock`.
    ///
    /// # Errors
    ///
    /// Names the setting that cannot be.
    pub fn new(config: MockConfig, _clock: Clock) -> Result<Self, InvalidMock> {
        config.check()?;
        Ok(Self)
    }
    /// What happened so far.
    #[must_use]
    pub fn history(&self) -> History {
        History::default()
    }
    /// The truth about one entity now.
    #[must_use]
    pub fn entity(&self, _realm: &str, _entity: &str, _id: &str) -> Option<serde_json::Value> {
        None
    }
    /// The truth about all entities of a kind now.
    #[must_use]
    pub fn entities(&self, _realm: &str, _entity: &str) -> Vec<serde_json::Value> {
        Vec::new()
    }
    /// What goes wrong from now on.
    pub fn set_faults(&self, _plan: FaultPlan) {}
}

impl tower_service::Service<Request<Payload>> for MockQbo {
    type Response = Response<Payload>;
    type Error = MockError;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), MockError>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, _request: Request<Payload>) -> Answer {
        Answer
    }
}

impl Future for Answer {
    type Output = Result<Response<Payload>, MockError>;
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Err(MockError::Reset))
    }
}
