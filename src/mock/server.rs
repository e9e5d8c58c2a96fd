//! What the service shares: the companies and the history behind one lock, and each step of a request under it.

use super::claim::{Claim, remembered};
use super::config::{InvalidMock, MockConfig};
use super::course::Course;
use super::entities::{Kind, read_id};
use super::envelope::{AppFault, Reply};
use super::faults::FaultPlan;
use super::gateway::mix;
use super::history::{self, Effect, Log, SendRecord};
use super::ledger::{Change, Ledger, LedgerRules};
use super::replay::{Begin, Replays};
use super::route::{self, Route};
use super::throttle::{AppGate, Gate};
use super::work::{self, Worked};
use super::{rules, seed};
use crate::clock::{Clock, Instant, Timestamp};
use crate::payload::Payload;
use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(super) struct Server {
    pub(super) clock: Clock,
    pub(super) config: MockConfig,
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    log: Arc<Log>,
    pub(super) plan: FaultPlan,
    pub(super) app: AppGate,
    pub(super) companies: Vec<Company>,
    by_realm: HashMap<Arc<str>, usize>,
}

#[derive(Debug)]
pub(super) struct Company {
    realm: Arc<str>,
    ledger: Ledger,
    pub(super) gate: Gate,
    replays: Replays,
}

/// A request that arrived.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) number: u64,
    pub(super) course: Course,
    /// Of a throttled one: the seconds to wait.
    pub(super) come_back: Option<u64>,
    admitted: bool,
    pub(super) company: Option<usize>,
    route: Route,
    body: Bytes,
    pub(super) request_id: Option<String>,
    marker: Option<String>,
}

impl Server {
    pub(super) fn new(config: MockConfig, clock: Clock) -> Result<Self, InvalidMock> {
        config.check()?;
        let rules = LedgerRules {
            paid_bill: config.paid_bill,
            unique_doc_numbers: config.unique_doc_numbers,
            read_lag: config.read_lag,
        };
        let mut rng = fastrand::Rng::with_seed(config.seed);
        let start = clock.wall();
        let companies = config.companies.iter().map(|company| Company {
            realm: Arc::from(company.realm.as_str()),
            ledger: seed::company(company, rules, &mut rng, start),
            gate: Gate::new(&config.throttle),
            replays: Replays::default(),
        });
        let companies: Vec<_> = companies.collect();
        let by_realm = companies.iter().enumerate();
        let by_realm = by_realm.map(|(at, company)| (company.realm.clone(), at));
        let state = State {
            log: Arc::default(),
            plan: config.faults.clone(),
            app: AppGate::new(&config.throttle),
            by_realm: by_realm.collect(),
            companies,
        };
        Ok(Self {
            begun: clock.now(),
            clock,
            config,
            state: Mutex::new(state),
        })
    }

    pub(super) fn begin(&self, company: usize, id: &str) -> Begin {
        let now = self.since_start();
        let replays = &mut self.lock().companies[company].replays;
        replays.begin(&self.config.request_id, id, now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn since_start(&self) -> u64 {
        let since = self.clock.now().saturating_duration_since(self.begun);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn log(&self) -> Arc<Log> {
        Arc::clone(&self.lock().log)
    }

    pub(super) fn set_faults(&self, plan: FaultPlan) {
        self.lock().plan = plan;
    }

    /// The truth about the entities of a kind: about one, or about all.
    pub(super) fn entities(&self, realm: &str, entity: &str, id: Option<&str>) -> Vec<Value> {
        let state = self.lock();
        let company = state.by_realm.get(realm).map(|&at| &state.companies[at]);
        let (Some(company), Some(kind)) = (company, Kind::by_name(entity)) else {
            return Vec::new();
        };
        let table = company.ledger.table(kind);
        let written = |id: u64| {
            let mut out = Vec::new();
            table.live(id)?.write(kind, None, &mut out);
            serde_json::from_slice(&out).ok()
        };
        match id {
            Some(id) => read_id(id).and_then(written).into_iter().collect(),
            None => table
                .rows()
                .iter()
                .filter_map(|row| written(row.id))
                .collect(),
        }
    }

    /// A request arrives: it is counted, and its way is settled.
    pub(super) fn arrive(&self, request: Request<Payload>) -> Job {
        let (head, body) = request.into_parts();
        let body = body.into_bytes();
        let asked = route::read(&head.method, &head.uri, &body);
        let marker = asked.write.then(|| history::marker(&body)).flatten();
        let at = self.clock.wall();
        let mut state = self.lock();
        let number = state.log.next_number();
        let company = state.by_realm.get(asked.realm.as_str()).copied();
        let passage = self.passage(&mut state, &asked, company, number);
        let target = head.uri.path_and_query();
        let realm = match company {
            Some(at) => Arc::clone(&state.companies[at].realm),
            None => Arc::from(asked.realm),
        };
        Arc::make_mut(&mut state.log).arrived(SendRecord {
            number,
            at,
            realm,
            method: head.method,
            target: target.map_or_else(String::new, ToString::to_string),
            write: asked.write,
            marker: marker.clone(),
            done: None,
            answered: None,
            answer_lost: false,
            fault: passage.fault,
            throttled: passage.come_back.is_some(),
            replayed: false,
            effect: None,
        });
        drop(state);
        Job {
            number,
            course: passage.course,
            come_back: passage.come_back,
            admitted: passage.admitted,
            company,
            route: asked.route,
            body,
            request_id: asked.request_id.filter(|_| asked.write),
            marker,
        }
    }

    /// The work is done: the commit.
    pub(super) fn perform(&self, job: &Job) -> Committed {
        let now = self.clock.wall();
        let body = match job.route {
            Route::Save(..) | Route::Delete(_) | Route::Void(_) => rules::object(&job.body),
            _ => Ok(serde_json::Map::new()),
        };
        let lag = self.config.read_lag;
        let cutoff = (!lag.is_zero()).then(|| now.minus(lag));
        let mut state = self.lock();
        let worked = match job.company {
            Some(at) => {
                let company = &mut state.companies[at];
                let realm = &company.realm;
                work::work(&mut company.ledger, realm, &job.route, body, now, cutoff)
            }
            None => Worked::fault(&AppFault::unsupported("this path"), now),
        };
        if let (Some((kind, id, change)), Some(at)) = (worked.effect, job.company) {
            let realm = Arc::clone(&state.companies[at].realm);
            let effect = effect(job, realm, kind, id, &change, now);
            Arc::make_mut(&mut state.log).happened(effect);
        }
        Committed {
            reply: worked.reply,
            failed: worked.failed,
            at: self.since_start(),
        }
    }

    /// Nothing of the request can happen any more.
    pub(super) fn finish(&self, job: &Job, claim: &Claim, committed: Option<&Committed>) {
        let done = self.clock.wall();
        let mut state = self.lock();
        if let Some(send) = Arc::make_mut(&mut state.log).send(job.number) {
            send.done = Some(done);
            send.replayed = matches!(claim, Claim::Known { replayed: true, .. });
        }
        let Some(company) = job.company.map(|at| &mut state.companies[at]) else {
            return;
        };
        if job.admitted {
            company.gate.leave();
        }
        if let (Claim::Held, Some(id)) = (claim, &job.request_id) {
            let at = committed.map_or_else(|| self.since_start(), |committed| committed.at);
            let config = &self.config.request_id;
            let remember = remembered(config, job, committed, done);
            company.replays.end(config, id, at, remember);
        }
    }

    /// The answer was given, or was to be given.
    pub(super) fn answered(&self, number: u64, status: Option<StatusCode>, lost: bool) {
        let at = self.clock.wall();
        if let Some(send) = Arc::make_mut(&mut self.lock().log).send(number) {
            send.answered = status.map(|status| (at, status.as_u16()));
            send.answer_lost = lost;
        }
    }

    /// The value of `intuit_tid`, in the recorded form: `1-<8hex>-<24hex>`.
    pub(super) fn tid(&self, number: u64) -> String {
        let seconds = self.clock.wall().as_millis() / 1_000;
        let mixed = mix(self.config.seed, number);
        format!("1-{seconds:08x}-{mixed:016x}{:08x}", number & 0xffff_ffff)
    }
}

/// What the application made of a request.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) reply: Reply,
    pub(super) failed: bool,
    at: u64,
}

fn effect(
    job: &Job,
    realm: Arc<str>,
    kind: Kind,
    id: u64,
    change: &Change,
    at: Timestamp,
) -> Effect {
    let pays = kind.pays().map_or("", Kind::name);
    let targets = change.targets.iter();
    let targets = targets.map(|target| (pays, target.id.to_string(), target.cents));
    Effect {
        at,
        send: job.number,
        realm,
        entity: kind.name(),
        id: id.to_string(),
        what: change.what,
        amount_cents: change.cents,
        targets: targets.collect(),
        marker: job.marker.clone(),
    }
}
