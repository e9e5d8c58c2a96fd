//! Two hosts, one journal, one upstream, one operation: everything that the rules decide on, and nothing else.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tower_sturdy::clock::{Instant, Timestamp};
use tower_sturdy::context::{OperationId, OperationKey, Tenant};
use tower_sturdy::journal::{
    Asked, Capability, Concurrent, Fingerprint, Liveness, Moment, OwnerId, Record, SettleConfig,
    State, StoredRequest, Watch,
};

/// Time goes by in ticks; every limit is some of them.
pub const TICK: Duration = Duration::from_secs(10);
/// How long one attempt can be under way.
pub const BOUND: u64 = 1;
/// How long after it was given up an attempt can still land.
pub const WINDOW: u64 = 1;
/// How long a lease is.
pub const LEASE: u64 = 1;
/// How long after the first possible byte a resend is allowed.
pub const HORIZON: u64 = 5;
/// How long after an effect a look-up may miss it.
pub const LAG: u64 = 1;
/// No send starts this close to the lease's end, nor this long after it was decided.
pub const MARGIN: Duration = Duration::from_secs(1);

pub fn ticks(many: u64) -> Duration {
    TICK * u32::try_from(many).unwrap()
}

/// What is assumed, and what is allowed to happen.
#[derive(Clone, Debug)]
pub struct Setup {
    pub name: &'static str,
    pub capability: Capability,
    /// The journal knows which owners run.
    pub locks: bool,
    /// How often each may happen.
    pub asks: u8,
    pub sends: u8,
    pub crashes: u8,
    /// The second host dies too, not only the first.
    pub both_die: bool,
    pub jumps: u8,
    pub journal_failures: u8,
    /// How often the first host is slow: it stops between two of its steps, for any time.
    pub sleeps: u8,
    /// The upstream gives every kind of answer, not only proof and nothing; a caller may be told that nothing happened.
    pub all_answers: bool,
    /// For how many ticks the world is watched.
    pub ends: u64,
    /// For how long after an effect the upstream knows its key.
    pub retention: u64,
    /// A host may stand still for any time, also while its request is under way.
    pub suspends: bool,
    /// Breaks A1: every press of the button makes a key of its own.
    pub new_key_each: bool,
    /// Breaks A3: the journal may lose its last step.
    pub rolls_back: bool,
    /// Breaks A4: a settled operation may be forgotten, and its key taken as new.
    pub forgets: bool,
    /// Breaks the guard of clocks: wall time is believed as it is.
    pub trusts_wall: bool,
}

impl Setup {
    pub fn new(name: &'static str, capability: Capability) -> Self {
        Self {
            name,
            capability,
            locks: false,
            asks: 1,
            sends: 2,
            crashes: 1,
            both_die: false,
            jumps: 0,
            journal_failures: 0,
            sleeps: 1,
            all_answers: false,
            ends: 7,
            retention: HORIZON,
            suspends: false,
            new_key_each: false,
            rolls_back: false,
            forgets: false,
            trusts_wall: false,
        }
    }
}

pub const fn keyed() -> Capability {
    Capability::Keyed {
        horizon: Duration::from_secs(10 * HORIZON),
        concurrent: Concurrent::Unproven,
    }
}

pub fn settle() -> SettleConfig {
    SettleConfig {
        settle_window: ticks(WINDOW),
        attempt_bound: ticks(BOUND) + MARGIN,
        read_lag: ticks(LAG),
        look_backoff: ticks(1),
        look_backoff_max: ticks(1),
        parked_interval: ticks(4),
        parked_for: ticks(1_000),
        resume_for: ticks(1_000),
        looks_max: 2,
    }
}

/// What a host does with the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doing {
    Nothing,
    /// It may send, or leave it.
    Driving,
    /// The attempt is on record since then, and has not left.
    Begun(u32, Timestamp),
    /// The attempt is under way: which request it is.
    Sending(u32, usize),
    /// It asked the upstream whether the effect is there, and has no answer yet.
    Looking,
    /// It has seen all it will see, and must record it.
    Recording,
}

#[derive(Clone, Debug)]
pub struct Host {
    pub alive: bool,
    pub owner: OwnerId,
    /// How far its wall clock is off, in ticks.
    pub off: i64,
    pub watch: Watch,
    /// The record as this host knows it.
    pub known: Option<Record>,
    /// It knows more than what the journal has.
    pub dirty: bool,
    /// It has ended its work with this due time, and that is not on record yet.
    pub released: Option<Option<Timestamp>>,
    pub doing: Doing,
}

/// A request at the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sent {
    pub host: usize,
    pub at: u64,
    /// The upstream knew the key when it came, so that it changes nothing.
    pub known: bool,
    pub applied: bool,
    /// Since when nobody waits for it.
    pub left: Option<u64>,
    pub answered: bool,
    /// The key under which it came.
    pub key: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Told {
    pub completed: bool,
    pub rejected: bool,
}

#[derive(Clone, Debug)]
pub struct World {
    pub now: u64,
    pub journal: Option<Record>,
    pub before: Option<Record>,
    pub hosts: [Host; 2],
    pub sent: Vec<Sent>,
    /// Effects: when, and under which key.
    pub effects: Vec<(u64, u8)>,
    pub told: Told,
    pub key: u8,
    pub asks: u8,
    pub crashes: u8,
    pub jumps: u8,
    pub failures: u8,
    pub sleeps: u8,
    /// The first host has not gone on since it stopped.
    pub sleeping: bool,
    pub rolled_back: bool,
    /// What must never be, once it was.
    pub wrong: Option<&'static str>,
}

pub fn start() -> Timestamp {
    Timestamp::from_millis(1_000_000_000)
}

pub fn at(tick: u64) -> Timestamp {
    start().plus(ticks(tick))
}

fn host(number: u64, base: Instant) -> Host {
    Host {
        alive: true,
        owner: OwnerId(number),
        off: 0,
        watch: Watch::start(start(), base, None, ticks(WINDOW), ticks(LEASE)),
        known: None,
        dirty: false,
        released: None,
        doing: Doing::Nothing,
    }
}

impl World {
    pub fn new(base: Instant) -> Self {
        Self {
            now: 0,
            journal: None,
            before: None,
            hosts: [host(1, base), host(2, base)],
            sent: Vec::new(),
            effects: Vec::new(),
            told: Told::default(),
            key: 1,
            asks: 0,
            crashes: 0,
            jumps: 0,
            failures: 0,
            sleeps: 0,
            sleeping: false,
            rolled_back: false,
            wrong: None,
        }
    }

    pub fn wall(&self, host: usize) -> Timestamp {
        let off = self.hosts[host].off * i64::try_from(TICK.as_millis()).unwrap();
        Timestamp::from_millis(at(self.now).as_millis().saturating_add_signed(off))
    }

    /// Now, as a host sees it.
    pub fn moment(&mut self, setup: &Setup, host: usize, base: Instant) -> Moment {
        let (wall, mono) = (self.wall(host), base + ticks(self.now));
        if setup.trusts_wall {
            return Moment::sure(wall);
        }
        self.hosts[host].watch.read(wall, mono).0
    }

    pub fn liveness(&self, setup: &Setup, asks: usize, owner: OwnerId) -> Liveness {
        if self.hosts[asks].owner == owner {
            return Liveness::Dead;
        }
        if !setup.locks {
            return Liveness::Unknown;
        }
        let runs = self
            .hosts
            .iter()
            .any(|host| host.alive && host.owner == owner);
        if runs {
            Liveness::Alive
        } else {
            Liveness::Dead
        }
    }

    /// Until when a request can still take effect.
    pub fn lands_until(&self, setup: &Setup, sent: &Sent) -> u64 {
        // A server that is slow for nobody's sake has limits of its own.
        match sent.left {
            Some(left) if !setup.suspends => left + WINDOW,
            _ => sent.at + WINDOW,
        }
    }

    pub fn fresh(&self, setup: &Setup, host: usize, now: Moment) -> Record {
        let asked = Asked {
            id: OperationId::from_bits(u128::from(self.key)),
            namespace: Arc::from("model"),
            tenant: Tenant::default(),
            key: OperationKey::new("k").unwrap(),
            conflict: None,
            fingerprint: Fingerprint {
                version: 1,
                digest: [0; 32],
            },
            capability: setup.capability,
            upstream_key: "u".into(),
            request: StoredRequest {
                method: http::Method::POST,
                uri: http::Uri::from_static("http://upstream/pay"),
                headers: Vec::new(),
                body: bytes::Bytes::new(),
            },
            at: now.at,
            issued: None,
        };
        Record::claim(asked, self.hosts[host].owner, now.at.plus(ticks(LEASE)))
    }

    /// Two worlds with one digest go on alike: what is over is told apart only where a rule still reads it.
    pub fn digest(&self, setup: &Setup, base: Instant) -> u64 {
        let mut hash = std::hash::DefaultHasher::new();
        self.now.hash(&mut hash);
        // With clocks that jump, what is over for one host is not for the other.
        let over = if setup.jumps == 0 {
            at(self.now)
        } else {
            at(0)
        };
        let works = self.hosts.iter().any(|host| host.doing != Doing::Nothing);
        put(&mut hash, self.journal.as_ref(), 0, over, works);
        if setup.rolls_back && !self.rolled_back {
            put(&mut hash, self.before.as_ref(), 0, over, true);
        }
        let version = self
            .journal
            .as_ref()
            .map_or(0, |record| record.progress.version);
        for host in &self.hosts {
            (host.alive, host.owner.0, host.off).hash(&mut hash);
            if !host.alive {
                continue;
            }
            (host.dirty, host.released, host.doing).hash(&mut hash);
            put(&mut hash, host.known.as_ref(), version, over, true);
            let mut watch = host.watch;
            let wall = at(self.now)
                .as_millis()
                .saturating_add_signed(host.off * 10_000);
            let (moment, _) = watch.read(Timestamp::from_millis(wall), base + ticks(self.now));
            let (settles, leases) = (moment.settles_from, moment.leases_from);
            (
                moment.at,
                settles.max(moment.at),
                leases.max(moment.at),
                moment.ages_from,
            )
                .hash(&mut hash);
        }
        self.sent.len().hash(&mut hash);
        for sent in &self.sent {
            let attended = sent.left.is_none() && !sent.answered;
            if attended || super::upstream::may_apply(setup, self, sent) {
                sent.hash(&mut hash);
            }
        }
        for (when, key) in &self.effects {
            ((self.now - when).min(setup.retention.max(LAG) + 1), key).hash(&mut hash);
        }
        (&self.told, self.key, self.asks, self.crashes, self.jumps).hash(&mut hash);
        (self.failures, self.rolled_back, self.sleeps, self.sleeping).hash(&mut hash);
        hash.finish()
    }
}

/// What the rules read of a record; of versions only whether they are the journal's.
fn put(
    hash: &mut impl Hasher,
    record: Option<&Record>,
    version: u64,
    over: Timestamp,
    works: bool,
) {
    let Some(record) = record else {
        return 0_u8.hash(hash);
    };
    let progress = &record.progress;
    let working = matches!(progress.state, State::Claimed | State::Sending);
    let lease = (works || working).then_some(progress.lease_until);
    (record.id(), progress.state, progress.owner.0, lease).hash(hash);
    (
        progress.due.map(|due| due.max(over)),
        progress.checks,
        progress.acknowledged,
    )
        .hash(hash);
    (progress.contradicted, progress.version == version).hash(hash);
    if progress.state.is_final() && !works {
        return;
    }
    for attempt in &progress.attempts {
        let ended = attempt
            .ended
            .map(|ended| (ended.outcome.as_str(), ended.closed));
        let open = ended.is_none_or(|(_, closed)| !closed);
        let settles = open.then(|| attempt.settles.max(over));
        let doubt = (!attempt.outcome().is_without_effect()).then_some(attempt.started);
        (doubt, settles, ended).hash(hash);
        if works {
            (attempt.number, attempt.owner.0).hash(hash);
        }
    }
    if working {
        let sending = progress
            .history
            .iter()
            .rev()
            .find(|step| step.to == State::Sending);
        sending.map(|step| step.at).hash(hash);
    }
}
