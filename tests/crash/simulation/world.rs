//! What the upstream knows and remembers: all that was sent to it and all that it did. The judge reads that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::journal::State;

/// After an abandoned request, its effect lands within this: the settle window of the books.
pub const WINDOW: Duration = Duration::from_secs(20);
/// After an effect, a look-up may miss it for this long.
pub const READ_LAG: Duration = Duration::from_millis(READ_LAG_MS);
const READ_LAG_MS: u64 = 5_000;

/// One request that left us.
#[derive(Clone, Debug)]
pub struct Sent {
    pub operation: String,
    pub left: u64,
    /// From when on nothing of it could have an effect.
    pub done: Option<u64>,
    /// The transport affirms that nothing of it left.
    pub unsent: bool,
    /// It was refused so that the refusal proves that nothing happened, and the answer reached a living process.
    pub harmless: bool,
}

/// One payment.
#[derive(Clone, Debug)]
pub struct Effect {
    /// By which send.
    pub send: usize,
    seen_from: Timestamp,
    mark: String,
}

/// What the upstream knows of a key.
#[derive(Clone, Copy, Debug)]
struct Key {
    since: Timestamp,
    paid: bool,
}

#[derive(Debug)]
pub struct World {
    pub clock: Clock,
    rng: fastrand::Rng,
    ticks: u64,
    /// Whether anything goes wrong.
    pub stormy: bool,
    /// For how long it honours a key, from the first byte under it.
    retention: Duration,
    keys: HashMap<String, Key>,
    pub sends: Vec<Sent>,
    pub effects: Vec<Effect>,
    /// What the local record was told of each operation.
    pub local: HashMap<String, Vec<State>>,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub fate: Fate,
    pub way: Duration,
    pub work: Duration,
    pub back: Duration,
    pub if_gone: IfGone,
    pub late: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Pays,
    NeverLeaves,
    Throttles,
    PaysAndLosesTheAnswer,
    LosesTheRequest,
    /// Until its sender gives it up.
    Hangs,
    PaysAndFails,
    Fails,
    GatewayGivesUpAndPaysLate,
}

/// What the upstream makes of a request whose sender is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfGone {
    Forgets,
    GoesOn,
    PaysLate,
}

impl World {
    pub fn new(seed: u64, retention: Duration) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            clock: Clock::anchored(Timestamp::from_millis(1_000_000_000)),
            rng: fastrand::Rng::with_seed(seed),
            ticks: 0,
            stormy: true,
            retention,
            keys: HashMap::new(),
            sends: Vec::new(),
            effects: Vec::new(),
            local: HashMap::new(),
        }))
    }

    /// The order of things that happen in one instant.
    pub const fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    pub fn effects(&self, operation: &str) -> usize {
        self.effects
            .iter()
            .filter(|effect| self.sends[effect.send].operation == operation)
            .count()
    }

    /// Whether a look-up by this mark would find anything by now.
    pub fn shows(&self, mark: &str) -> bool {
        let now = self.clock.wall();
        self.effects
            .iter()
            .any(|effect| effect.mark == mark && effect.seen_from <= now)
    }

    /// What a hook does this time, and how long it takes.
    pub fn trouble(&mut self) -> (u32, Duration) {
        let trouble = if self.stormy { self.rng.u32(0..12) } else { 11 };
        (trouble, Duration::from_millis(self.rng.u64(1..1_500)))
    }

    pub fn plan(&mut self) -> Plan {
        let rng = &mut self.rng;
        let fate = match rng.u32(0..100) {
            _ if !self.stormy => Fate::Pays,
            0..46 => Fate::Pays,
            46..53 => Fate::NeverLeaves,
            53..60 => Fate::Throttles,
            60..68 => Fate::PaysAndLosesTheAnswer,
            68..73 => Fate::LosesTheRequest,
            73..82 => Fate::Hangs,
            82..87 => Fate::PaysAndFails,
            87..92 => Fate::Fails,
            _ => Fate::GatewayGivesUpAndPaysLate,
        };
        // Some time within the window, or nearly at its end.
        let late = if rng.bool() {
            WINDOW - Duration::from_millis(rng.u64(1..50))
        } else {
            WINDOW.mul_f64(rng.f64() * 0.9)
        };
        Plan {
            fate,
            way: Duration::from_millis(rng.u64(1..80)),
            work: Duration::from_millis(rng.u64(1..300)),
            back: Duration::from_millis(rng.u64(1..80)),
            if_gone: [IfGone::Forgets, IfGone::GoesOn, IfGone::PaysLate][rng.usize(0..3)],
            late,
        }
    }

    /// Whether it has been paid under this key, as far as it remembers. From now on it knows the key.
    pub fn known(&mut self, key: &str) -> bool {
        let (now, retention) = (self.clock.wall(), self.retention);
        let fresh = Key {
            since: now,
            paid: false,
        };
        let known = self.keys.entry(key.to_owned()).or_insert(fresh);
        if now > known.since.plus(retention) {
            *known = fresh;
        }
        known.paid
    }

    /// Whether it refuses it this time, which it may do also where it has done it before.
    pub fn refuses(&mut self, send: usize) -> bool {
        let drawn = self.rng.bool();
        let operation = &self.sends[send].operation;
        operation.contains("invalid") || (operation.contains("fussy") && drawn)
    }

    pub fn pay(&mut self, send: usize, key: &str) {
        let lag = Duration::from_millis(self.rng.u64(0..READ_LAG_MS));
        let seen_from = self.clock.wall().plus(lag);
        self.effects.push(Effect {
            send,
            seen_from,
            mark: key.to_owned(),
        });
        if let Some(key) = self.keys.get_mut(key) {
            key.paid = true;
        }
    }

    pub fn done(&mut self, send: usize) {
        let when = self.tick();
        self.sends[send].done.get_or_insert(when);
    }
}
