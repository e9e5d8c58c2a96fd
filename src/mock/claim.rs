//! What a request under a `requestid` is to do, and what is remembered of it.

use super::config::RequestIdConfig;
use super::course::Ending;
use super::envelope::{AppFault, Reply};
use super::replay::Begin;
use super::server::{Committed, Job, Server};
use crate::clock::Timestamp;
use http::StatusCode;

/// Intuit's longest `requestid`.
const REQUEST_ID_MOST: usize = 50;

/// What `requestid` has to say about a request.
#[derive(Debug)]
pub(super) enum Claim {
    /// Nothing: it is carried out.
    Free,
    /// It is carried out, and remembered under its id.
    Held,
    /// It is answered with this.
    Known { reply: Reply, replayed: bool },
    /// Its twin did not come to an end.
    GaveUp,
}

impl Server {
    /// Asks what `requestid` has to say, waiting for a twin where that is the setting.
    pub(super) async fn claim(&self, job: &Job) -> Claim {
        let config = &self.config.request_id;
        let (Some(id), Some(company)) = (&job.request_id, job.company) else {
            return Claim::Free;
        };
        if !config.honoured || !job.course.reaches_app {
            return Claim::Free;
        }
        let known = |fault: &AppFault| Claim::Known {
            reply: fault.reply(self.clock.wall()),
            replayed: false,
        };
        if id.chars().count() > REQUEST_ID_MOST {
            let detail =
                format!("The request id must not be longer than {REQUEST_ID_MOST} characters");
            return known(&AppFault::validation(
                "2130",
                "Invalid Request Id Format",
                detail,
            ));
        }
        let give_up = self.clock.now() + self.config.server_timeout;
        loop {
            match self.begin(company, id) {
                Begin::Run => return Claim::Held,
                Begin::Replay(reply) => {
                    return Claim::Known {
                        reply,
                        replayed: true,
                    };
                }
                Begin::Refuse => {
                    let detail = "A request with this id is being processed";
                    return known(&AppFault::validation("600", "Duplicate Request ID", detail));
                }
                Begin::Wait(twin) => {
                    if self.clock.timeout_at(give_up, twin).await.is_none() {
                        return Claim::GaveUp;
                    }
                }
            }
        }
    }
}

/// What a repeat under the same id is to get.
pub(super) fn remembered(
    config: &RequestIdConfig,
    job: &Job,
    committed: Option<&Committed>,
    now: Timestamp,
) -> Option<Reply> {
    if job.course.ending == Ending::App500 && config.replay_server_errors {
        return Some(AppFault::system(StatusCode::INTERNAL_SERVER_ERROR).reply(now));
    }
    let worth = |of: &&Committed| !of.failed || config.replay_failures;
    committed.filter(worth).map(|of| of.reply.clone())
}
