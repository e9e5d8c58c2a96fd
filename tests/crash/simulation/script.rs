//! What one seed's users do, and how its processes are set up: decided before the first crash, and the same with and
//! without crashes.

use super::world::{READ_LAG, WINDOW};
use http::Request;
use std::time::Duration;
use tower_sturdy::Error;
use tower_sturdy::attempt::AttemptConfig;
use tower_sturdy::context::Context;
use tower_sturdy::idempotency::{IdempotencyConfig, KeyHeader, Writes};
use tower_sturdy::journal::{BookConfig, Capability, Concurrent, SettleConfig};
use tower_sturdy::payload::Payload;
use tower_sturdy::rate_limit::{Quota, RateLimitConfig};
use tower_sturdy::reconcile::ReconcileConfig;
use tower_sturdy::retry::{Profile, RetryConfig};
use tower_sturdy::stack::StackConfig;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Whether the upstream honours our keys.
    pub replay: bool,
    /// How many processes share the journal.
    pub hosts: usize,
    /// Whether it is a SQLite file.
    pub sqlite: bool,
    /// What becomes of a dead process.
    pub remains: Remains,
}

/// What becomes of the stack of a dead process, its tasks and its callers. It must make no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// They are dropped soon.
    Buried,
    /// They lie around until the end of the run.
    Lying,
    /// The one or the other.
    Either,
}

/// What protects a write; told by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// The upstream honours its key, but not while another request under it is under way.
    Keyed,
    /// It honours it always.
    KeyedProven,
    /// A look-up finds the key in what was written.
    Lookup,
    /// Nothing, though a look-up finds it.
    NoneMarked,
    /// Nothing, and nothing finds it.
    NoneAtAll,
}

impl Protection {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Keyed, "/keyed"),
        (Self::KeyedProven, "/proven"),
        (Self::Lookup, "/lookup"),
        (Self::NoneMarked, "/marked"),
        (Self::NoneAtAll, "/nothing"),
    ];

    pub fn of(path: &str) -> Self {
        let known = Self::ALL.into_iter().find(|(_, known)| *known == path);
        known.unwrap().0
    }

    fn path(self) -> &'static str {
        let known = Self::ALL.into_iter().find(|(known, _)| *known == self);
        known.unwrap().1
    }

    pub const fn is_keyed(self) -> bool {
        matches!(self, Self::Keyed | Self::KeyedProven)
    }

    fn drawn(rng: &mut fastrand::Rng, replay: bool) -> Self {
        match (replay, rng.u32(0..10)) {
            (true, 0..6) => Self::Keyed,
            (true, 6..8) => Self::KeyedProven,
            (false, 0..6) => Self::Lookup,
            (_, 6..9) => Self::NoneMarked,
            _ => Self::NoneAtAll,
        }
    }
}

/// One write, whatever number of clicks it takes.
#[derive(Clone, Debug)]
pub struct Operation {
    pub name: String,
    pub protection: Protection,
}

/// One click.
#[derive(Clone, Copy, Debug)]
pub struct Click {
    /// In milliseconds of the run.
    pub at: u64,
    pub host: usize,
    pub operation: usize,
    pub patience: Duration,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Script {
    pub operations: Vec<Operation>,
    pub clicks: Vec<Click>,
    /// When the first process is shut down, if it ever is, and for how long it may drain.
    pub stops: Option<(u64, Duration)>,
    /// When the upstream behaves again, in milliseconds of the run.
    pub calm: u64,
    /// For how long keys may be relied on.
    pub horizon: Duration,
    /// Whether anything can be looked up, and the local record is told.
    pub hooks: bool,
    /// Whether the journal knows which of its users are alive.
    pub knows_owners: bool,
    /// Whether the journal fails now and then, before or after it did what it was asked.
    pub fails: bool,
    /// Whether it takes longer than a lease now and then.
    pub stalls: bool,
    /// Whether the wall clock of a process may be wrong when it starts.
    pub jumps: bool,
    /// Whether everything is asked for once more in the end.
    pub asks_again: bool,
    write_timeout: Duration,
    attempts: u32,
    at_once: u32,
}

impl Script {
    pub fn new(seed: u64, kind: Kind) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let count = [1, 1, 1, 2, 2, 3][rng.usize(0..6)];
        let operations: Vec<Operation> = (0..count)
            .map(|number| Operation {
                protection: Protection::drawn(&mut rng, kind.replay),
                name: match rng.u32(0..8) {
                    0 => format!("invalid-{number}"),
                    // Refused at one time, accepted at another.
                    1 | 2 => format!("fussy-{number}"),
                    _ => format!("pay-{number}"),
                },
            })
            .collect();
        let mut clicks = Vec::new();
        for operation in 0..operations.len() {
            for _ in 0..rng.usize(1..4) {
                clicks.push(Click {
                    at: [rng.u64(0..50), rng.u64(0..2_000), rng.u64(0..30_000)][rng.usize(0..3)],
                    host: rng.usize(0..kind.hosts),
                    operation,
                    patience: Duration::from_millis([50, 300, 2_000, 30_000][rng.usize(0..4)]),
                });
            }
        }
        clicks.sort_by_key(|click| click.at);
        Self {
            operations,
            clicks,
            stops: (rng.u32(0..4) == 0)
                .then(|| (rng.u64(0..5_000), Duration::from_millis(rng.u64(0..5_000)))),
            calm: rng.u64(1_000..60_000),
            horizon: Duration::from_secs(if rng.u32(0..4) == 0 { 60 } else { 600 }),
            // A keyed upstream can be settled without any look-up.
            hooks: !kind.replay || rng.bool(),
            knows_owners: rng.bool(),
            fails: rng.u32(0..4) == 0,
            stalls: rng.u32(0..4) == 0,
            // Leases and windows of several hosts are counted on clocks that agree.
            jumps: kind.hosts == 1 && rng.u32(0..4) == 0,
            asks_again: rng.u32(0..3) == 0,
            write_timeout: Duration::from_millis(rng.u64(1_000..8_000)),
            attempts: rng.u32(1..4),
            at_once: rng.u32(1..4),
        }
    }

    /// The request of an operation.
    pub fn request(&self, operation: usize, patience: Duration) -> Request<Payload> {
        let Operation { name, protection } = &self.operations[operation];
        let mut request = Request::post(format!("http://upstream{}", protection.path()))
            .header("idempotency-key", name)
            .body(Payload::from(name.clone()))
            .unwrap();
        let context = Context::new().with_patience(patience);
        request.extensions_mut().insert(context);
        request
    }

    pub fn config(&self) -> StackConfig {
        let settle = SettleConfig {
            settle_window: WINDOW,
            read_lag: READ_LAG,
            look_backoff: Duration::from_secs(2),
            look_backoff_max: Duration::from_secs(30),
            parked_interval: Duration::from_secs(120),
            looks_max: 6,
            ..SettleConfig::default()
        };
        let mut config = StackConfig::default();
        config.cache = None;
        config.book = BookConfig {
            lease: Duration::from_secs(6),
            lease_margin: Duration::from_secs(1),
            settle,
            acknowledge_after: self.hooks.then_some(Duration::from_secs(1)),
            ..BookConfig::default()
        };
        config.idempotency = IdempotencyConfig {
            resume_after: Duration::from_secs(3),
            ..IdempotencyConfig::default()
        };
        config.attempt = AttemptConfig {
            write_timeout: self.write_timeout,
            ..AttemptConfig::default()
        };
        config.retry = RetryConfig::uniform(Profile {
            attempts_max: self.attempts,
            base: Duration::from_millis(300),
            ..Profile::default()
        });
        config.rate_limit = RateLimitConfig {
            pause: Duration::from_secs(2),
            settle_window: WINDOW,
            ..RateLimitConfig::with_quotas([Quota::at_once("at once", self.at_once)])
        };
        config.reconcile = ReconcileConfig {
            hook_timeout: Duration::from_secs(10),
            poll: Duration::from_secs(60),
            ..ReconcileConfig::default()
        };
        config
    }

    /// For how long the upstream honours a key. A clock that is set back by less than its process was down looks like one
    /// that is right, so whoever may have such clocks needs an upstream that remembers for longer than he hopes.
    pub fn retention(&self) -> Duration {
        let unseen = if self.jumps { 120 } else { 0 };
        self.horizon + Duration::from_secs(unseen)
    }

    /// What the stack is told of the upstream.
    pub fn writes(&self) -> impl Writes + use<> {
        ByPath {
            horizon: self.horizon,
            header: KeyHeader::new(),
        }
    }
}

#[derive(Debug)]
struct ByPath {
    horizon: Duration,
    header: KeyHeader,
}

impl Writes for ByPath {
    fn capability(&self, request: &Request<Payload>) -> Capability {
        let concurrent = match Protection::of(request.uri().path()) {
            Protection::Keyed => Concurrent::Unproven,
            Protection::KeyedProven => Concurrent::Proven,
            Protection::Lookup => return Capability::Lookup,
            Protection::NoneMarked | Protection::NoneAtAll => return Capability::None,
        };
        Capability::Keyed {
            horizon: self.horizon,
            concurrent,
        }
    }

    fn plant(&self, request: &mut Request<Payload>, upstream_key: &str) -> Result<(), Error> {
        self.header.plant(request, upstream_key)
    }
}
