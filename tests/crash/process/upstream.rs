//! The upstream: the mock of this crate behind a socket, in a process that nobody kills.

use super::lines::{heard, say, setting};
use super::operation::{COMPANIES, company};
use super::settings::{LATENCY, READ_LAG, SERVER_TIMEOUT, doubt, faults};
use super::{PATIENCE, Process};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceExt;
use tower_sturdy::clock::Clock;
use tower_sturdy::error::BoxError;
use tower_sturdy::mock::{FaultPlan, MockConfig, MockQbo, RequestIdConfig, ThrottleConfig};
use tower_sturdy::payload::Payload;

const SEED: &str = "TOWER_STURDY_TEST_SEED";
const HONOURS_KEYS: &str = "TOWER_STURDY_TEST_HONOURS_KEYS";
const FAULTS: &str = "TOWER_STURDY_TEST_FAULTS";

/// What a judge reads of its history: writes alone. Times are in milliseconds since the epoch.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    pub sends: Vec<Send>,
    pub effects: Vec<Effect>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Send {
    pub number: u64,
    pub marker: Option<String>,
    pub at: u64,
    /// From when on nothing of it could happen any more.
    pub done: Option<u64>,
    pub answered: Option<u64>,
    pub lost: bool,
    pub fault: Option<String>,
    pub replayed: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Effect {
    pub at: u64,
    pub send: u64,
    pub marker: Option<String>,
    pub realm: String,
    pub id: String,
    pub what: String,
    pub cents: i64,
    /// The bills it pays.
    pub bills: Vec<String>,
}

/// The parent's handle.
#[derive(Debug)]
pub struct Upstream {
    process: Process,
    pub address: String,
}

impl Upstream {
    /// `faults`: every kind, or (`false`) only what leaves doubt.
    pub fn start(seed: u64, honours_keys: bool, faults: bool) -> Self {
        let settings = [
            (SEED, seed.to_string()),
            (HONOURS_KEYS, honours_keys.to_string()),
            (FAULTS, faults.to_string()),
        ];
        let process = Process::start("upstream", &settings);
        let port = process.waits_for("listens", |_| ());
        Self {
            process,
            address: format!("http://127.0.0.1:{port}"),
        }
    }

    /// From now on nothing goes wrong.
    pub fn calm(&mut self) {
        self.process.say("calm");
        self.process.waits_for("calmed", |_| ());
    }

    /// From now on requests wait at its door, for as long as it takes it to give one up.
    pub fn hold(&mut self) {
        self.process.say("hold");
        self.process.waits_for("held", |_| ());
    }

    /// Lets them in.
    pub fn admit(&mut self) {
        self.process.say("admit");
    }

    /// Everything that happened, once nothing more can.
    pub fn end(mut self) -> Seen {
        self.process.say("history");
        let seen = self.process.waits_for("history", |_| ());
        self.process.end();
        serde_json::from_str(&seen).unwrap()
    }
}

/// Not a test: the process of the tests of this binary.
#[test]
#[ignore = "a process that the tests of this binary start"]
fn process() {
    let Some(seed) = setting(SEED) else { return };
    let config = MockConfig {
        seed,
        companies: (0..COMPANIES).map(company).collect(),
        request_id: RequestIdConfig {
            honoured: setting(HONOURS_KEYS).unwrap(),
            ..RequestIdConfig::default()
        },
        throttle: ThrottleConfig::none(),
        latency: LATENCY,
        faults: if setting(FAULTS).unwrap() {
            faults()
        } else {
            doubt()
        },
        read_lag: READ_LAG,
        server_timeout: SERVER_TIMEOUT,
        ..MockConfig::default()
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(serve(MockQbo::new(config, Clock::system()).unwrap()));
}

async fn serve(mock: MockQbo) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    say(&format!(
        "listens {}",
        listener.local_addr().unwrap().port()
    ));
    let (door, admits) = watch::channel(true);
    tokio::spawn(accept(listener, mock.clone(), admits));
    let mut orders = heard();
    while let Some(order) = orders.recv().await {
        match order.as_str() {
            "calm" => {
                mock.set_faults(FaultPlan::none());
                say("calmed");
            }
            "hold" => {
                door.send_replace(false);
                say("held");
            }
            "admit" => {
                door.send_replace(true);
            }
            "history" => {
                let seen = all(&mock).await;
                say(&format!(
                    "history {}",
                    serde_json::to_string(&seen).unwrap()
                ));
            }
            other => panic!("no such order: {other:?}"),
        }
    }
}

async fn accept(listener: TcpListener, mock: MockQbo, admits: watch::Receiver<bool>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (mock, admits) = (mock.clone(), admits.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(mock.clone(), admits.clone(), request));
            // A client that was killed, or a connection that the mock breaks: both are what it is here for.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// An error breaks the connection.
async fn answer(
    mock: MockQbo,
    mut admits: watch::Receiver<bool>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, BoxError> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let request = Request::from_parts(head, Payload::new(body));
    // Whatever waits longer has no effect any more.
    let admitted = admits.wait_for(|admits| *admits);
    Clock::system()
        .timeout(SERVER_TIMEOUT, admitted)
        .await
        .ok_or("never let in")??;
    let answer = mock.oneshot(request).await?;
    Ok(answer.map(|payload| Full::new(payload.into_bytes())))
}

/// The history, once the server is finished with every write.
async fn all(mock: &MockQbo) -> Seen {
    let clock = Clock::system();
    let until = clock.now() + PATIENCE;
    loop {
        let history = mock.history();
        let busy = history.sends().iter().any(|send| send.done.is_none());
        if !busy || clock.now() > until {
            return seen(&history);
        }
        drop(history);
        clock.sleep(SERVER_TIMEOUT / 4).await;
    }
}

fn seen(history: &tower_sturdy::mock::History) -> Seen {
    let sends = history.sends().iter().filter(|send| send.write);
    Seen {
        sends: sends
            .map(|send| Send {
                number: send.number,
                marker: send.marker.clone(),
                at: send.at.as_millis(),
                done: send.done.map(|at| at.as_millis()),
                answered: send.answered.map(|(at, _)| at.as_millis()),
                lost: send.answer_lost,
                fault: send.fault.map(str::to_owned),
                replayed: send.replayed,
            })
            .collect(),
        effects: history
            .effects()
            .iter()
            .map(|effect| Effect {
                at: effect.at.as_millis(),
                send: effect.send,
                marker: effect.marker.clone(),
                realm: effect.realm.to_string(),
                id: effect.id.clone(),
                what: format!("{:?}", effect.what),
                cents: effect.amount_cents,
                bills: effect.targets.iter().map(|(_, id, _)| id.clone()).collect(),
            })
            .collect(),
    }
}
