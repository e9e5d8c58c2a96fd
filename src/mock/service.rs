//! The tower service: each request is a task of its own, which walks the request's way in time.

use super::claim::Claim;
use super::course::Ending;
use super::envelope;
use super::server::{Committed, Job, Server};
use super::{FaultPlan, History, InvalidMock, MockConfig};
use crate::clock::Clock;
use crate::payload::Payload;
use http::{Request, Response};
use serde_json::Value;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

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
#[derive(Clone)]
pub struct MockQbo {
    server: Arc<Server>,
}

impl fmt::Debug for MockQbo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let companies = self.server.config.companies.len();
        f.debug_struct("MockQbo")
            .field("seed", &self.server.config.seed)
            .field("companies", &companies)
            .finish_non_exhaustive()
    }
}

impl MockQbo {
    /// A server with these settings, whose time is `clock`.
    ///
    /// # Errors
    ///
    /// Names the setting that cannot be.
    pub fn new(config: MockConfig, clock: Clock) -> Result<Self, InvalidMock> {
        Ok(Self {
            server: Arc::new(Server::new(config, clock)?),
        })
    }

    /// What happened so far. Dropping it before the next request keeps that one from copying it.
    #[must_use]
    pub fn history(&self) -> History {
        History::new(self.server.log())
    }

    /// The truth about one entity now, whatever queries show; `None` if it never was, or was deleted.
    #[must_use]
    pub fn entity(&self, realm: &str, entity: &str, id: &str) -> Option<Value> {
        self.server.entities(realm, entity, Some(id)).pop()
    }

    /// The truth about all entities of a kind now, oldest first.
    #[must_use]
    pub fn entities(&self, realm: &str, entity: &str) -> Vec<Value> {
        self.server.entities(realm, entity, None)
    }

    /// What goes wrong from now on, with requests that have yet to arrive. Probabilities beyond 1 count as 1.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.server.set_faults(plan);
    }
}

impl tower_service::Service<Request<Payload>> for MockQbo {
    type Response = Response<Payload>;
    type Error = MockError;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), MockError>> {
        Poll::Ready(Ok(()))
    }

    /// The request arrives now, whether or not the future is ever polled. Must be called within a tokio runtime.
    fn call(&mut self, request: Request<Payload>) -> Answer {
        let job = self.server.arrive(request);
        let (reply, answer) = oneshot::channel();
        tokio::spawn(serve(Arc::clone(&self.server), job, reply));
        Answer { answer }
    }
}

type Sender = oneshot::Sender<Result<Response<Payload>, MockError>>;

/// The answer to come. Dropping it does not stop the server: the effect can still land.
#[derive(Debug)]
pub struct Answer {
    answer: oneshot::Receiver<Result<Response<Payload>, MockError>>,
}

impl Future for Answer {
    type Output = Result<Response<Payload>, MockError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.get_mut().answer).poll(cx);
        // A server that went down with its runtime is a connection that broke.
        answer.map(|received| received.unwrap_or(Err(MockError::Reset)))
    }
}

#[derive(Clone, Copy)]
enum Step {
    Commit,
    Done,
    Answer,
}

async fn serve(server: Arc<Server>, job: Job, reply: Sender) {
    let claim = server.claim(&job).await;
    let start = server.clock.now();
    let course = job.course;
    let mut steps = [
        (course.commit, Step::Commit),
        (Some(course.done), Step::Done),
        (Some(course.answer), Step::Answer),
    ];
    // Stable: at one and the same moment it is commit, then done, then the answer.
    steps.sort_by_key(|(at, _)| *at);
    let mut committed = None;
    let mut reply = Some(reply);
    for (at, step) in steps {
        let Some(at) = at else { continue };
        let at = start + at;
        if server.clock.now() < at {
            server.clock.sleep_until(at).await;
        }
        match step {
            Step::Commit => {
                if matches!(claim, Claim::Free | Claim::Held) {
                    committed = Some(server.perform(&job));
                }
            }
            Step::Done => server.finish(&job, &claim, committed.as_ref()),
            Step::Answer => {
                if let Some(reply) = reply.take() {
                    answer(&server, &job, &claim, committed.as_ref(), reply);
                }
            }
        }
    }
}

fn answer(server: &Server, job: &Job, claim: &Claim, committed: Option<&Committed>, reply: Sender) {
    let truth = match claim {
        Claim::Known { reply, .. } => Some(reply.clone()),
        Claim::Free | Claim::Held => committed.map(|committed| committed.reply.clone()),
        Claim::GaveUp => None,
    };
    let ending = job.course.ending;
    let shape = server.config.throttle.shape;
    let told = envelope::ending(ending, truth, shape, server.clock.wall());
    let status = told.as_ref().map(|told| told.status);
    let result = match (told, ending) {
        (None, _) | (_, Ending::Lost) => Err(MockError::Reset),
        (_, Ending::BodyCut) => Err(MockError::BodyCut),
        (Some(told), _) => {
            let mut response = told.into_response(&server.tid(job.number));
            if let Some(seconds) = job.come_back.filter(|_| server.config.throttle.retry_after) {
                envelope::come_back(&mut response, seconds);
            }
            Ok(response)
        }
    };
    let broken = result.is_err();
    let deaf = reply.send(result).is_err();
    server.answered(job.number, status, broken || deaf);
}
