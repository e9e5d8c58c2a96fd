//! A tiny upstream: it pays, refuses, loses answers, hangs, pays late, and takes two requests under one key for two.

use http::{Request, Response, StatusCode};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tower::Service;
use tower_sturdy::BoxError;
use tower_sturdy::clock::Clock;
use tower_sturdy::error::NotSent;
use tower_sturdy::journal::{BoxFuture, Observation, Proof, Record, StoredAnswer};
use tower_sturdy::payload::Payload;
use tower_sturdy::reconcile::{Hooks, Upstream};

/// After an abandoned request, its effect lands within this: the settle window of the books.
pub const WINDOW: Duration = Duration::from_secs(60);
/// After an effect, a look-up may miss it for this long.
pub const READ_LAG: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct World {
    rng: fastrand::Rng,
    keyed: bool,
    /// Whether anything goes wrong.
    pub stormy: bool,
    /// Effects by what the request's body says it is, never by key: when, and from when it can be seen.
    pub effects: HashMap<String, Vec<(Instant, Instant)>>,
    /// What the upstream itself goes by.
    by_key: HashMap<String, usize>,
    pub sends: usize,
}

/// Clones share one world.
#[derive(Clone, Debug)]
pub struct Bank {
    pub world: Arc<Mutex<World>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pays,
    NeverArrives,
    Throttles,
    PaysAndLosesTheAnswer,
    LosesTheRequest,
    HangsAndPaysLate,
    HangsForNothing,
    PaysAndFails,
    Fails,
    GatewayGivesUpAndPaysLate,
}

impl Bank {
    pub fn new(seed: u64, keyed: bool) -> Self {
        let world = World {
            rng: fastrand::Rng::with_seed(seed),
            keyed,
            stormy: true,
            effects: HashMap::new(),
            by_key: HashMap::new(),
            sends: 0,
        };
        Self {
            world: Arc::new(Mutex::new(world)),
        }
    }

    pub fn effects(&self, operation: &str) -> usize {
        let world = self.world.lock().unwrap();
        world.effects.get(operation).map_or(0, Vec::len)
    }

    fn fate(&self) -> (Fate, Duration) {
        let mut world = self.world.lock().unwrap();
        world.sends += 1;
        let took = Duration::from_millis(world.rng.u64(20..400));
        if !world.stormy {
            return (Fate::Pays, took);
        }
        let fate = match world.rng.u32(0..100) {
            0..50 => Fate::Pays,
            50..58 => Fate::NeverArrives,
            58..68 => Fate::Throttles,
            68..76 => Fate::PaysAndLosesTheAnswer,
            76..80 => Fate::LosesTheRequest,
            80..86 => Fate::HangsAndPaysLate,
            86..89 => Fate::HangsForNothing,
            89..93 => Fate::PaysAndFails,
            93..96 => Fate::Fails,
            _ => Fate::GatewayGivesUpAndPaysLate,
        };
        (fate, took)
    }

    fn pay(&self, operation: &str, key: &str) {
        let mut world = self.world.lock().unwrap();
        let lag = world
            .rng
            .u64(0..=u64::try_from(READ_LAG.as_millis()).unwrap());
        let now = Clock::system().now();
        let seen_from = now + Duration::from_millis(if world.stormy { lag } else { 0 });
        world
            .effects
            .entry(operation.to_owned())
            .or_default()
            .push((now, seen_from));
        *world.by_key.entry(key.to_owned()).or_default() += 1;
    }

    /// Some time within the window, or nearly at its end.
    fn late(&self) -> Duration {
        let mut world = self.world.lock().unwrap();
        if world.rng.bool() {
            WINDOW - Duration::from_millis(world.rng.u64(1..50))
        } else {
            WINDOW.mul_f64(world.rng.f64() * 0.9)
        }
    }

    fn pay_late(&self, operation: String, key: String) {
        let (bank, wait) = (self.clone(), self.late());
        // Without a runtime the test is over.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(wait).await;
                bank.pay(&operation, &key);
            });
        }
    }

    async fn answer(self, request: Request<Payload>) -> Result<Response<Payload>, BoxError> {
        let header = request.headers().get("idempotency-key");
        let key = header.map_or("", |key| key.to_str().unwrap()).to_owned();
        let operation = String::from_utf8(request.body().bytes().to_vec()).unwrap();
        let (fate, took) = self.fate();
        if fate == Fate::NeverArrives {
            tokio::time::sleep(took).await;
            return Err(Box::new(NotSent("connection refused".into())));
        }
        // Asked once, at the beginning: two requests under one key at the same time are two.
        let replayed = {
            let world = self.world.lock().unwrap();
            world.keyed && world.by_key.contains_key(&key)
        };
        // From here on the request is with the upstream: dropping it does not stop it.
        let mut abandoned = Abandoned {
            bank: self.clone(),
            late: (!replayed && fate != Fate::Throttles && !operation.contains("invalid"))
                .then(|| (operation.clone(), key.clone())),
        };
        if matches!(
            fate,
            Fate::LosesTheRequest | Fate::HangsForNothing | Fate::Fails
        ) {
            abandoned.late = None;
        }
        tokio::time::sleep(took).await;
        let pays = abandoned.late.is_some();
        if matches!(fate, Fate::HangsAndPaysLate | Fate::HangsForNothing) {
            return std::future::pending().await; // It is given up some time, and may be paid after that.
        }
        if fate == Fate::GatewayGivesUpAndPaysLate {
            drop(abandoned);
            return Ok(status(503, "gateway"));
        }
        abandoned.late = None;
        if pays {
            self.pay(&operation, &key);
        }
        match fate {
            Fate::Throttles => Ok(status(429, "later")),
            Fate::PaysAndLosesTheAnswer | Fate::LosesTheRequest => Err("reset".into()),
            Fate::PaysAndFails | Fate::Fails => Ok(status(500, "failed")),
            _ if operation.contains("invalid") => Ok(status(400, "refused")),
            _ => Ok(status(200, "paid")),
        }
    }
}

/// A request whose sender is gone lands within the window, if it does.
struct Abandoned {
    bank: Bank,
    late: Option<(String, String)>,
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some((operation, key)) = self.late.take() {
            self.bank.pay_late(operation, key);
        }
    }
}

fn status(status: u16, text: &'static str) -> Response<Payload> {
    let mut answer = Response::new(Payload::from(text));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

impl Service<Request<Payload>> for Bank {
    type Response = Response<Payload>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Payload>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

/// Looks an operation up by its mark, as late as the upstream's readers see it.
#[derive(Debug)]
pub struct ByMark(pub Bank);

impl Hooks for ByMark {
    fn observe<'a>(&'a self, record: &'a Record, _: &'a Upstream) -> BoxFuture<'a, Observation> {
        Box::pin(async move {
            let (trouble, took) = {
                let mut world = self.0.world.lock().unwrap();
                let trouble = if world.stormy {
                    world.rng.u32(0..20)
                } else {
                    19
                };
                (trouble, Duration::from_millis(world.rng.u64(10..2_000)))
            };
            match trouble {
                0 => std::panic::resume_unwind(Box::new("told to nobody")),
                1 => std::future::pending().await,
                2 => {
                    return Observation::CannotTell {
                        why: "trouble".into(),
                    };
                }
                _ => tokio::time::sleep(took).await,
            }
            let operation = String::from_utf8(record.asked.request.body.to_vec()).unwrap();
            let world = self.0.world.lock().unwrap();
            let now = Clock::system().now();
            let seen = world
                .effects
                .get(&operation)
                .into_iter()
                .flatten()
                .any(|(_, from)| *from <= now);
            if seen {
                let answer = StoredAnswer {
                    status: 200,
                    headers: Vec::new(),
                    body: "paid".into(),
                };
                Observation::Found(Proof {
                    answer,
                    evidence: "mark".into(),
                })
            } else {
                Observation::Absent {
                    scope: "all".into(),
                }
            }
        })
    }
}
