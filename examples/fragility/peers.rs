//! tower-resilience, composed as its README shows, with settings that suit this upstream.
//!
//! - Retry: 3 attempts, exponential backoff from one second, on every error and on 5xx and 429.
//! - Limiter: the upstream's published quota of a minute and of a second, one of each per company (and one for the whole
//!   application where the upstream has such a quota), with exact sliding windows; a call waits up to 30 s for its turn.
//! - Timeout: 30 s for each attempt, below the retry, as integrators have.
//!
//! Retry and limiter sleep and count on tokio's clock, so the paused clock drives them as they are. (Only the time
//! stamps of their events, which nobody reads here, and the retry budget, which is not used, are the standard
//! library's.) The limiter's default, a fixed window, would let twice the quota through around each boundary.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tower::timeout::TimeoutLayer;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_resilience_ratelimiter::{RateLimiterLayer, WindowType};
use tower_resilience_retry::RetryLayer;
use tower_sturdy::BoxError;
use tower_sturdy::context::{Context, Tenant};
use tower_sturdy::payload::Payload;
use tower_sturdy::random::Random;
use tower_sturdy::scenario::{
    Answer, BoxFuture, CLIENT_TIMEOUT, Client, LineUp, World, WriteCapability,
};

type Request = http::Request<Payload>;
type Response = http::Response<Payload>;
type Stack = BoxCloneSyncService<Request, Response, BoxError>;

const ATTEMPTS: usize = 3;
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MOST_WAITING: Duration = Duration::from_secs(30);

/// The line-up.
#[derive(Debug)]
pub(crate) struct TowerResilience {
    request_id: bool,
}

impl TowerResilience {
    pub(crate) const fn plain() -> Self {
        Self { request_id: false }
    }

    /// As a careful user has it: the caller sets a requestid once per call, on every write for which the upstream
    /// honours one.
    pub(crate) const fn with_request_id() -> Self {
        Self { request_id: true }
    }
}

impl LineUp for TowerResilience {
    fn name(&self) -> &'static str {
        if self.request_id {
            "tower-resilience+requestid"
        } else {
            "tower-resilience"
        }
    }

    fn start<'a>(&'a self, world: &'a World) -> BoxFuture<'a, Result<Arc<dyn Client>, BoxError>> {
        Box::pin(async move {
            let client: Arc<dyn Client> = Arc::new(Peer {
                request_id: self.request_id.then(|| world.random.clone()),
                process: Mutex::new(Process::new(world)?),
                world: world.clone(),
            });
            Ok(client)
        })
    }
}

struct Peer {
    request_id: Option<Random>,
    process: Mutex<Process>,
    world: World,
}

/// What is in memory: one stack per company, over one connection with the limiter of the application.
struct Process {
    upstream: Stack,
    companies: HashMap<String, Stack>,
}

impl Process {
    fn new(world: &World) -> Result<Self, BoxError> {
        let upstream = ServiceBuilder::new()
            .layer(TimeoutLayer::new(CLIENT_TIMEOUT))
            .service(world.mock.clone());
        let upstream = match world.scenario.throttle.app_per_minute {
            Some(quota) => limited(upstream, quota, Duration::from_secs(60))?,
            None => BoxCloneSyncService::new(upstream),
        };
        Ok(Self {
            upstream,
            companies: HashMap::new(),
        })
    }

    fn company(&mut self, realm: &str, world: &World) -> Result<Stack, BoxError> {
        if let Some(stack) = self.companies.get(realm) {
            return Ok(stack.clone());
        }
        let throttle = world.scenario.throttle;
        let inner = limited(
            self.upstream.clone(),
            throttle.per_second,
            Duration::from_secs(1),
        )?;
        let inner = limited(inner, throttle.per_minute, Duration::from_secs(60))?;
        let retry = RetryLayer::<Request, Response, BoxError>::builder()
            .max_attempts(ATTEMPTS)
            .exponential_backoff(FIRST_BACKOFF)
            .retry_on_response(|answer: &Response| {
                answer.status().is_server_error()
                    || answer.status() == http::StatusCode::TOO_MANY_REQUESTS
            })
            .build();
        let stack = BoxCloneSyncService::new(ServiceBuilder::new().layer(retry).service(inner));
        self.companies.insert(realm.to_owned(), stack.clone());
        Ok(stack)
    }
}

fn limited<S>(inner: S, quota: u32, per: Duration) -> Result<Stack, BoxError>
where
    S: Service<Request, Response = Response, Error = BoxError> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let limiter = RateLimiterLayer::builder()
        .limit_for_period(usize::try_from(quota)?)
        .refresh_period(per)
        .window_type(WindowType::SlidingLog)
        .timeout_duration(MOST_WAITING)
        .build()?;
    Ok(BoxCloneSyncService::new(
        ServiceBuilder::new()
            .layer(limiter)
            .service(inner)
            .map_err(BoxError::from),
    ))
}

impl Client for Peer {
    fn call(&self, mut request: Request) -> BoxFuture<'static, Answer> {
        let keyed = request.extensions().get() == Some(&WriteCapability::Keyed);
        if let (Some(random), true) = (&self.request_id, keyed) {
            let named = format!("{}&requestid={:032x}", request.uri(), random.id());
            match named.parse() {
                Ok(uri) => *request.uri_mut() = uri,
                Err(why) => return Box::pin(std::future::ready(Err(why.into()))),
            }
        }
        let realm = Context::of(&request)
            .tenant()
            .map_or("", Tenant::as_str)
            .to_owned();
        let stack = self
            .process
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .company(&realm, &self.world);
        Box::pin(async move { stack?.oneshot(request).await })
    }

    /// The limiters forget what was sent.
    fn crash(&self) -> BoxFuture<'_, ()> {
        if let Ok(fresh) = Process::new(&self.world) {
            *self.process.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Box::pin(std::future::ready(()))
    }
}
