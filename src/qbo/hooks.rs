//! Settling and verifying through QBO's own reads: the hooks of reconciliation.

use super::lookup::{Search, Seen, answer_for};
use super::mark;
use super::route::{Operation, QboRoute};
use super::verify::{ReadBack, read_back, read_back_request};
use crate::clock::Timestamp;
use crate::error::{BoxError, Error};
use crate::journal::{BoxFuture, Observation, Proof, Record, State};
use crate::reconcile::{Hooks, Settled, Upstream};

/// How many pages one look-up reads: 20,000 rows since the operation was accepted. Beyond that it cannot tell.
const PAGES_MAX: usize = 20;

/// Finds an operation in doubt by its mark, and reads a completed one back.
///
/// All it sends are reads, through the same quotas as everything else.
#[derive(Clone, Copy, Debug, Default)]
pub struct QboHooks;

impl Hooks for QboHooks {
    fn observe<'a>(
        &'a self,
        record: &'a Record,
        upstream: &'a Upstream,
    ) -> BoxFuture<'a, Observation> {
        Box::pin(async move {
            look(record, upstream)
                .await
                .unwrap_or_else(|error| Observation::CannotTell {
                    why: error.to_string(),
                })
        })
    }

    fn settled<'a>(
        &'a self,
        record: &'a Record,
        upstream: &'a Upstream,
    ) -> BoxFuture<'a, Result<Settled, BoxError>> {
        Box::pin(async move { Ok(verify(record, upstream).await?) })
    }
}

fn route(record: &Record) -> QboRoute<'_> {
    let stored = &record.asked.request;
    QboRoute::parse(&stored.method, &stored.uri, &stored.body)
}

async fn look(record: &Record, upstream: &Upstream) -> Result<Observation, Error> {
    let asked = &record.asked;
    let (entity, operation) = {
        let route = route(record);
        (route.entity, route.operation)
    };
    if operation != Operation::Create || !mark::find(&asked.request.body, &asked.upstream_key) {
        return Ok(Observation::CannotTell {
            why: "it planted no mark to look for".into(),
        });
    }
    let mut search = Search::new(entity, &asked.upstream_key, asked.at)?;
    for page in 1..=PAGES_MAX {
        let request = search.request(&asked.request.uri)?;
        let answer = upstream.read(&asked.tenant, request).await?;
        match search.read(&answer) {
            Seen::Found(found) => {
                let also = if found.others.is_empty() {
                    String::new()
                } else {
                    format!("; the same mark is on {}", found.others.join(", "))
                };
                let at = Timestamp::from_millis(asked.at.as_millis());
                return Ok(Observation::Found(Proof {
                    answer: answer_for(entity, &found.entity, at),
                    evidence: format!("its mark is on {} {}{also}", entity.name(), found.id),
                }));
            }
            Seen::NotOnThisPage { more: true, .. } => search = search.next(),
            Seen::NotOnThisPage { more: false, .. } => {
                return Ok(Observation::Absent {
                    scope: format!(
                        "no {} since its acceptance carries its mark ({page} pages)",
                        entity.name()
                    ),
                });
            }
            Seen::CannotTell(why) => return Ok(Observation::CannotTell { why }),
        }
    }
    Ok(Observation::CannotTell {
        why: format!("more than {PAGES_MAX} pages were created since it was accepted"),
    })
}

async fn verify(record: &Record, upstream: &Upstream) -> Result<Settled, Error> {
    let asked = &record.asked;
    let (State::Completed, Some(answer)) = (record.state(), &record.answer) else {
        return Ok(Settled::Told);
    };
    let (entity, operation) = {
        let route = route(record);
        (route.entity, route.operation)
    };
    let Some(request) = read_back_request(&asked.request.uri, entity, &answer.body)? else {
        return Ok(Settled::Told);
    };
    let now = upstream.read(&asked.tenant, request).await?;
    Ok(match read_back(operation, entity, &answer.body, &now) {
        ReadBack::Verified => Settled::Agrees,
        ReadBack::Differs(what) => Settled::Drift(what),
        ReadBack::CannotTell(_) => Settled::NotYet,
    })
}
