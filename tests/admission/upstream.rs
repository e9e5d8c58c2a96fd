//! An upstream that knows nothing of slots: it takes every call, takes its time, and remembers when.

use http::{Request, Response};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::service_fn;
use tower::util::BoxCloneSyncService;
use tower_sturdy::clock::{Clock, Instant};
use tower_sturdy::context::{Context, Priority, Tenant};
use tower_sturdy::error::Error;
use tower_sturdy::payload::Payload;

/// One call, as it was seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) tenant: String,
    pub(crate) priority: Priority,
    pub(crate) sent: Duration,
    /// None while it runs, or when its caller went away.
    pub(crate) over: Option<Duration>,
    /// How many slots it costs, by a header of the test's own.
    pub(crate) cost: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    began: Instant,
    seen: Arc<Mutex<Vec<Seen>>>,
}

pub(crate) type Service = BoxCloneSyncService<Request<Payload>, Response<Payload>, Error>;

/// A small generator of its own: the same numbers for the same seed, on every machine (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// In `0..1`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The time to the next of events that come `per_second`, at random.
    pub(crate) fn gap(&mut self, per_second: f64) -> Duration {
        Duration::from_secs_f64(-(1.0 - self.unit()).ln() / per_second)
    }
}

impl Upstream {
    pub(crate) fn new() -> Self {
        Self {
            began: Clock::system().now(),
            seen: Arc::default(),
        }
    }

    pub(crate) fn since(&self) -> Duration {
        Clock::system().now().saturating_duration_since(self.began)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Answers after a time between these two.
    pub(crate) fn answering(&self, from: Duration, to: Duration, seed: u64) -> Service {
        let this = self.clone();
        let chance = Arc::new(Mutex::new(Chance(seed)));
        BoxCloneSyncService::new(service_fn(move |request: Request<Payload>| {
            let latency = from + (to - from).mul_f64(chance.lock().unwrap().unit());
            let this = this.clone();
            async move {
                let at = this.saw(&request);
                Clock::system().sleep(latency).await;
                let over = this.since();
                this.seen.lock().unwrap()[at].over = Some(over);
                Ok::<_, Error>(Response::new(Payload::empty()))
            }
        }))
    }

    fn saw(&self, request: &Request<Payload>) -> usize {
        let context = Context::of(request);
        let sent = self.since();
        let mut seen = self.seen.lock().unwrap();
        seen.push(Seen {
            tenant: context
                .tenant()
                .map(ToString::to_string)
                .unwrap_or_default(),
            priority: context.priority(),
            sent,
            over: None,
            cost: cost_of(request),
        });
        seen.len() - 1
    }
}

pub(crate) fn cost_of(request: &Request<Payload>) -> u32 {
    let cost = request.headers().get("cost");
    cost.map_or(1, |cost| cost.to_str().unwrap().parse().unwrap())
}

pub(crate) fn request(tenant: &str, priority: Priority, cost: u32) -> Request<Payload> {
    let mut request = Request::post("/")
        .header("cost", cost)
        .body(Payload::empty())
        .unwrap();
    request.extensions_mut().insert(
        Context::new()
            .with_tenant(Tenant::new(tenant).unwrap())
            .with_priority(priority),
    );
    request
}

/// Whether any window of `per` holds more than `limit`, wherever between send and answer each call is counted. Calls whose
/// end nobody saw count until `settle` after their send.
pub(crate) fn assert_within(calls: &[Seen], limit: u32, per: Duration, settle: Duration) {
    type Counted = fn(usize, Duration, Duration) -> Duration;
    const WHERE: [Counted; 3] = [
        |_, sent, _| sent,
        |_, _, over| over,
        |index, sent, over| if index % 2 == 0 { sent } else { over },
    ];
    for counted in WHERE {
        let mut at: Vec<(Duration, u64)> = (calls.iter().enumerate())
            .map(|(index, call)| {
                let over = call.over.unwrap_or(call.sent + settle);
                (counted(index, call.sent, over), u64::from(call.cost))
            })
            .collect();
        at.sort_unstable();
        let (mut first, mut sum) = (0, 0);
        for (now, cost) in &at {
            sum += cost;
            while *now - at[first].0 >= per {
                sum -= at[first].1;
                first += 1;
            }
            assert!(
                sum <= u64::from(limit),
                "{sum} of {limit} within {per:?} until {now:?}"
            );
        }
    }
}

/// The value below which 99 of 100 are.
pub(crate) fn p99(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values[values.len() * 99 / 100]
}
