//! A router that pays, told what to do, and what its clients see.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, get_service, post};
use axum::{Extension, Router};
use http::{Request, StatusCode, header};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tower::ServiceExt;
use tower_sturdy::clock::Clock;
use tower_sturdy::context::OperationId;
use tower_sturdy::error::{Error, Kind};
use tower_sturdy::event::Tracing;
use tower_sturdy::inbound::{DidNothing, InboundConfig, InboundLayer, Running, principal_fn};
use tower_sturdy::journal::{Book, BookConfig, Journal, SettleConfig, SqliteJournal};
use tower_sturdy::problem::{self, ProblemConfig};
use tower_sturdy::random::Random;

/// What the handler does with its next request.
#[derive(Clone, Copy, Debug)]
pub enum Does {
    Answers(u16),
    SaysItDidNothing,
    /// Answers with what became of a write of its own.
    Tells(Kind),
    Waits,
    Panics,
    /// Panics while its answer's body is read.
    PanicsLate,
    /// Answers more than may be kept.
    AnswersALot,
}

#[derive(Debug, Default)]
pub struct Till {
    pub plan: Mutex<VecDeque<Does>>,
    /// What was paid, as the handler saw it.
    pub paid: Mutex<Vec<String>>,
    pub entered: Notify,
    pub go_on: Notify,
}

impl Till {
    pub fn next(&self, does: impl IntoIterator<Item = Does>) {
        self.plan.lock().unwrap().extend(does);
    }

    pub fn runs(&self) -> usize {
        self.paid.lock().unwrap().len()
    }
}

/// Who asks, as authentication in front would say it.
#[derive(Clone, Debug)]
pub struct Account(pub String);

struct Breaks;

impl http_body::Body for Breaks {
    type Data = bytes::Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, std::io::Error>>> {
        panic!("planned")
    }
}

pub async fn pay(
    State(till): State<Arc<Till>>,
    Path(bill): Path<String>,
    Extension(Account(account)): Extension<Account>,
    Extension(running): Extension<Running>,
    body: String,
) -> Response {
    let run = {
        let mut paid = till.paid.lock().unwrap();
        paid.push(format!("{account} {bill} {body} {}", running.key));
        paid.len()
    };
    let next = till.plan.lock().unwrap().pop_front();
    till.entered.notify_one();
    let text = format!("run {run}: {account} paid {bill}");
    match next.unwrap_or(Does::Answers(201)) {
        Does::Answers(status) => {
            let headers = [(header::LOCATION, "/bills/1"), (header::SET_COOKIE, "a=b")];
            (StatusCode::from_u16(status).unwrap(), headers, text).into_response()
        }
        Does::SaysItDidNothing => {
            (StatusCode::CONFLICT, Extension(DidNothing), text).into_response()
        }
        Does::Tells(kind) => {
            let id = OperationId::from_bits(7);
            let error = match kind {
                Kind::Pending => Error::pending(id),
                Kind::Parked => Error::parked(id),
                Kind::InFlight => Error::in_flight(id, Duration::from_secs(1)),
                Kind::KeyReused => Error::key_reused(id),
                _ => Error::outcome_unknown(id),
            };
            problem::response(&error, &ProblemConfig::default()).map(Body::new)
        }
        Does::Waits => {
            till.go_on.notified().await;
            text.into_response()
        }
        Does::Panics => panic!("planned"),
        Does::PanicsLate => Body::new(Breaks).into_response(),
        Does::AnswersALot => "x".repeat(4_097).into_response(),
    }
}

pub struct Rig {
    pub till: Arc<Till>,
    pub book: Book,
    pub guard: InboundLayer,
    pub router: Router,
}

pub fn config() -> InboundConfig {
    InboundConfig {
        request_limit: 1_024,
        answer_limit: 4_096,
        ..InboundConfig::default()
    }
}

impl Rig {
    pub fn over(journal: Arc<dyn Journal>, till: &Arc<Till>, config: InboundConfig) -> Self {
        Self::at(Clock::system(), journal, till, config)
    }

    pub fn at(
        clock: Clock,
        journal: Arc<dyn Journal>,
        till: &Arc<Till>,
        config: InboundConfig,
    ) -> Self {
        // Doubt is settled in the time of a test.
        let settle = SettleConfig {
            settle_window: Duration::from_millis(20),
            read_lag: Duration::ZERO,
            look_backoff: Duration::from_millis(5),
            look_backoff_max: Duration::from_millis(20),
            ..SettleConfig::default()
        };
        let book_config = BookConfig {
            settle,
            ..BookConfig::default()
        };
        let random = Random::system();
        let book = Book::new(journal, book_config, clock, random, Arc::new(Tracing)).unwrap();
        let principal = principal_fn(|head| Some(head.extensions.get::<Account>()?.0.clone()));
        let guard = InboundLayer::new(config, book.clone(), principal).unwrap();
        let router = Router::new()
            .route("/bills/{bill}/pay", post(pay))
            .route(
                "/bills/{bill}",
                get(async |Path(bill): Path<String>| bill).post(pay),
            )
            .route("/operations/{id}", get_service(guard.operations()))
            .with_state(Arc::clone(till))
            .layer(guard.clone());
        Self {
            till: Arc::clone(till),
            book,
            guard,
            router,
        }
    }

    pub fn sqlite(file: &std::path::Path) -> Self {
        let journal = SqliteJournal::open(file).unwrap();
        Self::over(Arc::new(journal), &Arc::default(), config())
    }

    pub async fn ask(&self, request: Request<Body>) -> Told {
        Told::of(self.router.clone().oneshot(request).await.unwrap()).await
    }

    pub async fn pay(&self, key: &str) -> Told {
        self.ask(paying(key, "a", "{\"amount\":1}")).await
    }

    pub async fn operation(&self, account: &str, location: &str) -> Told {
        let request = Request::get(location).extension(Account(account.to_owned()));
        self.ask(request.body(Body::empty()).unwrap()).await
    }
}

pub fn paying(key: &str, account: &str, body: &str) -> Request<Body> {
    Request::post("/bills/1/pay")
        .header("idempotency-key", key)
        .extension(Account(account.to_owned()))
        .body(Body::from(body.to_owned()))
        .unwrap()
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Told {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Told {
    async fn of(answer: Response) -> Self {
        let (head, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// A refusal in the form of RFC 9457, with this status.
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let body: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(body["status"], status);
        body
    }
}

/// Bounds every wait.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, what).await.expect("in time")
}
