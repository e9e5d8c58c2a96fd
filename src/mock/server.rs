//! What the service shares: the companies and the history behind one lock, and each step of a request under it.

use super::config::{InvalidMock, MockConfig};
use super::entities::{Kind, read_id};
use super::envelope::{self, AppFault, Reply};
use super::faults::{Course, Ending, FaultPlan};
use super::history::{self, Effect, Log, SendRecord};
use super::ledger::{Change, Ledger, LedgerRules};
use super::replay::{Begin, Replays};
use super::route::{self, Asked, Route};
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

/// Intuit's longest `requestid`.
const REQUEST_ID_MOST: usize = 50;

#[derive(Debug)]
pub(super) struct Server {
    pub(super) clock: Clock,
    pub(super) config: MockConfig,
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    log: Arc<Log>,
    plan: FaultPlan,
    app: AppGate,
    companies: Vec<Company>,
    by_realm: HashMap<String, usize>,
}

#[derive(Debug)]
struct Company {
    realm: String,
    ledger: Ledger,
    gate: Gate,
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
    company: Option<usize>,
    route: Route,
    body: Bytes,
    request_id: Option<String>,
    marker: Option<String>,
}

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
            realm: company.realm.clone(),
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since_start(&self) -> u64 {
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
        let company = state.by_realm.get(&asked.realm).copied();
        let passage = self.passage(&mut state, &asked, company, number);
        let target = head.uri.path_and_query();
        Arc::make_mut(&mut state.log).arrived(SendRecord {
            number,
            at,
            realm: asked.realm,
            method: head.method.to_string(),
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

    fn passage(
        &self,
        state: &mut State,
        asked: &Asked,
        company: Option<usize>,
        number: u64,
    ) -> Passage {
        // One generator for each request: what happens to it depends on its place in the order of arrivals alone.
        let mut rng = fastrand::Rng::with_seed(mix(self.config.seed, number));
        let timeout = self.config.server_timeout;
        let latency = self.config.latency.draw(&mut rng).min(timeout);
        let refused = |ending, come_back| Passage {
            course: Course::refused(latency, ending),
            come_back,
            admitted: false,
            fault: None,
        };
        let now = self.since_start();
        if let Some(at) = company {
            let batch = asked.route == Route::Batch;
            let gate = &mut state.companies[at].gate;
            if let Err(wait) = gate.arrive(&mut state.app, batch, now) {
                return refused(Ending::Throttle429, Some(wait));
            }
        } else if !asked.realm.is_empty() {
            return refused(Ending::Gateway403, None);
        }
        let since = std::time::Duration::from_millis(now);
        let entity = asked.route.entity();
        let fault = state
            .plan
            .pick(since, &asked.realm, asked.write, entity, &mut rng);
        Passage {
            course: Course::of(fault, latency, timeout, &mut rng),
            come_back: None,
            admitted: true,
            fault: fault.map(super::Fault::as_str),
        }
    }

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
            let now = self.since_start();
            let begin = self.lock().companies[company]
                .replays
                .begin(config, id, now);
            match begin {
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
            let realm = state.companies[at].realm.clone();
            let effect = effect(job, realm, kind, id, change, now);
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
            let remembered = self.remembered(job, committed, done);
            company
                .replays
                .end(&self.config.request_id, id, at, remembered);
        }
    }

    /// What a repeat under the same id is to get.
    fn remembered(
        &self,
        job: &Job,
        committed: Option<&Committed>,
        now: Timestamp,
    ) -> Option<Reply> {
        let config = &self.config.request_id;
        if job.course.ending == Ending::App500 && config.replay_server_errors {
            return Some(AppFault::system(StatusCode::INTERNAL_SERVER_ERROR).reply(now));
        }
        let worth = |of: &&Committed| !of.failed || config.replay_failures;
        committed.filter(worth).map(|of| of.reply.clone())
    }

    /// What the ending looks like now; `None` for a connection that breaks.
    pub(super) fn ending(&self, ending: Ending, truth: Option<Reply>) -> Option<Reply> {
        let now = self.clock.wall();
        let app = |status| AppFault::system(status).reply(now);
        Some(match ending {
            Ending::Truth | Ending::Lost | Ending::BodyCut => return truth,
            Ending::Malformed => return truth.map(Reply::cut),
            Ending::Reset => return None,
            Ending::Gateway503 => envelope::gateway_unavailable(now),
            Ending::Html503 => envelope::html_unavailable(),
            Ending::Throttle429 => envelope::throttled(self.config.throttle.shape, now),
            Ending::Gateway401 => envelope::expired_token(now),
            Ending::Gateway403 => envelope::foreign_company(now),
            Ending::App500 => app(StatusCode::INTERNAL_SERVER_ERROR),
            Ending::Fault200 => app(StatusCode::OK),
            Ending::StreamTimeout => envelope::stream_timeout(),
        })
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

/// What the gateway makes of a request.
struct Passage {
    course: Course,
    come_back: Option<u64>,
    admitted: bool,
    fault: Option<&'static str>,
}

/// What the application made of a request.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) reply: Reply,
    failed: bool,
    at: u64,
}

fn effect(job: &Job, realm: String, kind: Kind, id: u64, change: Change, at: Timestamp) -> Effect {
    let pays = kind.pays().map_or("", Kind::name);
    let targets = change.targets.iter();
    let targets = targets.map(|target| (pays.to_owned(), target.id.to_string(), target.cents));
    Effect {
        at,
        send: job.number,
        realm,
        entity: kind.name().to_owned(),
        id: id.to_string(),
        what: change.what,
        amount_cents: change.cents,
        targets: targets.collect(),
        marker: job.marker.clone(),
    }
}

/// Scatters seed and number over 64 bits (the finaliser of SplitMix64).
fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
