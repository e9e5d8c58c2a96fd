//! The upstream at work, and the wire to it: a machine of its own, on which no crash of ours stops anything.

use super::boundary::Boundary;
use super::power::Power;
use super::script::Protection;
use super::world::{Fate, IfGone, Plan, Sent, World};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;
use tower::Service;
use tower_sturdy::BoxError;
use tower_sturdy::error::NotSent;
use tower_sturdy::payload::Payload;

/// One request on its way through the upstream.
struct Serving {
    world: Arc<Mutex<World>>,
    power: Power,
    send: usize,
    plan: Plan,
    key: String,
    protection: Protection,
    /// Its sender still waits.
    answer: Option<oneshot::Sender<u16>>,
}

impl Serving {
    /// Waits; whether the sender is still there afterwards. What the upstream does then is its plan's.
    async fn works(&mut self, work: Option<Duration>) -> bool {
        let Some(answer) = self.answer.as_mut() else {
            return false;
        };
        let gone = async {
            tokio::select! {
                biased;
                () = self.power.lost() => {}
                () = answer.closed() => {}
            }
        };
        match work {
            Some(work) => {
                let gone = pin!(gone);
                let began = tokio::time::timeout(work, gone).await;
                if began.is_err() {
                    return true;
                }
            }
            None => gone.await,
        }
        self.answer = None;
        false
    }

    /// Whether it goes on with a request whose sender is gone, after how long.
    fn afterwards(&self, left: Duration) -> Option<Duration> {
        match self.plan.if_gone {
            IfGone::Forgets => None,
            IfGone::GoesOn => Some(left),
            IfGone::PaysLate => Some(self.plan.late),
        }
    }

    async fn serve(mut self) {
        let plan = self.plan;
        let late = if self.works(Some(plan.way)).await {
            None
        } else {
            Some(self.afterwards(plan.way))
        };
        self.power.at(Boundary::Received);
        // Asked once, at the beginning: two requests under one key at the same time are two.
        let known = self.known();
        let pays = match late {
            Some(late) => self.sleeps(late).await && pays(plan.fate),
            None => self.decides().await,
        };
        self.ends(pays, known).await;
    }

    fn known(&self) -> bool {
        // What is throttled does not come so far.
        self.protection.is_keyed()
            && self.plan.fate != Fate::Throttles
            && self.world.lock().unwrap().known(&self.key)
    }

    async fn sleeps(&self, late: Option<Duration>) -> bool {
        if let Some(late) = late {
            tokio::time::sleep(late).await;
        }
        late.is_some()
    }

    /// Works on it as planned; whether it pays in the end.
    async fn decides(&mut self) -> bool {
        let plan = self.plan;
        let work = (plan.fate != Fate::Hangs).then_some(plan.work);
        if !self.works(work).await {
            let rest = self.afterwards(plan.work);
            return self.sleeps(rest).await && pays(plan.fate);
        }
        if plan.fate == Fate::GatewayGivesUpAndPaysLate {
            self.answers(503).await;
            // Its sender may have been gone before the answer was there.
            tokio::time::sleep(plan.late.saturating_sub(plan.back)).await;
            return true;
        }
        pays(plan.fate)
    }

    async fn ends(mut self, pays: bool, known: bool) {
        let invalid = self.world.lock().unwrap().refuses(self.send);
        // Asked again where the upstream is known to run one of two at the same time.
        let known = known || (self.protection == Protection::KeyedProven && self.known());
        if pays && !known && !invalid {
            self.power.at(Boundary::TakesEffect);
            self.world.lock().unwrap().pay(self.send, &self.key);
            self.power.at(Boundary::TookEffect);
        }
        self.world.lock().unwrap().done(self.send);
        let status = match self.plan.fate {
            Fate::Throttles => 429,
            Fate::PaysAndLosesTheAnswer | Fate::LosesTheRequest => return,
            Fate::PaysAndFails | Fate::Fails => 500,
            _ if invalid => 400,
            _ => 200,
        };
        self.answers(status).await;
    }

    async fn answers(&mut self, status: u16) {
        self.power.at(Boundary::Answers);
        tokio::time::sleep(self.plan.back).await;
        if let Some(answer) = self.answer.take() {
            let _ = answer.send(status);
        }
    }
}

const fn pays(fate: Fate) -> bool {
    !matches!(
        fate,
        Fate::Throttles | Fate::LosesTheRequest | Fate::Fails | Fate::NeverLeaves
    )
}

/// The wire of one process to the upstream.
#[derive(Clone, Debug)]
pub struct Wire {
    pub world: Arc<Mutex<World>>,
    pub power: Power,
}

impl Wire {
    async fn send(
        self,
        request: Request<Payload>,
    ) -> Result<Response<Full<bytes::Bytes>>, BoxError> {
        self.power.pass(Boundary::Leaves).await;
        let header = request.headers().get("idempotency-key");
        let key = header.map_or("", |key| key.to_str().unwrap()).to_owned();
        let operation = String::from_utf8(request.body().bytes().to_vec()).unwrap();
        let (answer, answered) = oneshot::channel();
        let (send, plan) = {
            let mut world = self.world.lock().unwrap();
            let (left, plan) = (world.tick(), world.plan());
            let unsent = plan.fate == Fate::NeverLeaves;
            world.sends.push(Sent {
                operation,
                left,
                done: unsent.then_some(left),
                unsent,
                harmless: unsent,
            });
            (world.sends.len() - 1, plan)
        };
        if plan.fate == Fate::NeverLeaves {
            tokio::time::sleep(plan.way).await;
            return Err(Box::new(NotSent("connection refused".into())));
        }
        let serving = Serving {
            world: Arc::clone(&self.world),
            power: self.power.clone(),
            send,
            plan,
            key,
            protection: Protection::of(request.uri().path()),
            answer: Some(answer),
        };
        tokio::spawn(serving.serve());
        self.power.pass(Boundary::Left).await;
        let answer = answered.await;
        self.power.pass(Boundary::Arrives).await;
        let status = answer.map_err(|_| "reset")?;
        self.world.lock().unwrap().sends[send].harmless = status == 429;
        let mut answer = Response::new(Full::from(status.to_string()));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(answer)
    }
}

impl Service<Request<Payload>> for Wire {
    type Response = Response<Full<bytes::Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        let (wire, power) = (self.clone(), self.power.clone());
        Box::pin(async move {
            power
                .while_on(Boundary::WirePolled, wire.send(request))
                .await
        })
    }
}
