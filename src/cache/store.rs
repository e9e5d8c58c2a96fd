//! The kept answers, weighed by bytes, and what keeps them true. No clock: instants are given.

use super::generations::Generations;
use super::key::{Key, KeyRef};
use crate::clock::Instant;
use crate::payload::Payload;
use hashbrown::DefaultHashBuilder;
use http::{Response, header};
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A kept answer.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) answer: Response<Payload>,
    /// When it was asked for: it is no younger than that.
    pub(super) asked_at: Instant,
    /// The generations under which it was asked for.
    pub(super) token: u64,
}

/// What is noted before a read is sent, so that its answer may be kept afterwards.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) key: Key,
    pub(super) slots: Vec<usize>,
    pub(super) token: u64,
    pub(super) asked_at: Instant,
}

#[derive(Clone, Debug)]
struct Bytes;

impl Weighter<Key, Arc<Entry>> for Bytes {
    fn weight(&self, key: &Key, entry: &Arc<Entry>) -> u64 {
        // The two allocations, the head, and the cache's own bookkeeping: measured once, rounded up.
        const FIXED: usize = 512;
        // A header's slot and its two indices, beside the text.
        const HEADER: usize = 64;
        let headers: usize = entry
            .answer
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + HEADER)
            .sum();
        (FIXED + key.len() + entry.answer.body().bytes().len() + headers) as u64
    }
}

type Kept = Cache<Key, Arc<Entry>, Bytes, DefaultHashBuilder>;

pub(super) struct Store {
    kept: Kept,
    pub(super) generations: Generations,
    /// Where the generations' time counts from.
    born: Instant,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("len", &self.len())
            .field("weight", &self.weight())
            .finish_non_exhaustive()
    }
}

impl Store {
    pub(super) fn new(capacity: u64, generations: Generations, born: Instant) -> Self {
        // Only a hint, for the first allocation: an answer of this kind of API is some KiB.
        let items = usize::try_from(capacity / 4_096).unwrap_or(usize::MAX);
        Self {
            kept: Cache::with(
                items.clamp(16, 65_536),
                capacity,
                Bytes,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
            generations,
            born,
        }
    }

    pub(super) fn find(&self, key: &KeyRef<'_>) -> Option<Arc<Entry>> {
        self.kept.get(key)
    }

    pub(super) fn find_owned(&self, key: &Key) -> Option<Arc<Entry>> {
        self.kept.get(key)
    }

    /// Keeps the answer to the read of `ticket`, unless a write came between them.
    pub(super) fn keep(&self, ticket: &Ticket, mut answer: Response<Payload>) -> bool {
        let started = self.nanos(ticket.asked_at, Duration::ZERO);
        if !self
            .generations
            .may_keep(&ticket.slots, ticket.token, started)
        {
            return false;
        }
        // A cookie is for the one who was answered.
        answer.headers_mut().remove(header::SET_COOKIE);
        self.kept.insert(
            ticket.key.clone(),
            Arc::new(Entry {
                answer,
                asked_at: ticket.asked_at,
                token: ticket.token,
            }),
        );
        true
    }

    /// Forgets what is older than `ticket`: the upstream said something else since.
    pub(super) fn forget(&self, ticket: &Ticket) {
        self.kept
            .remove_if(&ticket.key, |entry| entry.asked_at <= ticket.asked_at);
    }

    pub(super) fn is_valid(&self, slots: &[usize], entry: &Entry) -> bool {
        self.generations.token(slots) == entry.token
    }

    pub(super) fn end_write(&self, slots: &[usize], now: Instant, hold: Duration) {
        self.generations.end_write(slots, self.nanos(now, hold));
    }

    pub(super) fn invalidate(&self, slots: &[usize], now: Instant, hold: Duration) {
        self.generations.invalidate(slots, self.nanos(now, hold));
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn weight(&self) -> u64 {
        self.kept.weight()
    }

    /// The generations' own reckoning: nanoseconds, which last for five centuries.
    fn nanos(&self, at: Instant, hold: Duration) -> u64 {
        let since = at.saturating_duration_since(self.born).saturating_add(hold);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::{Hashers, Headers};
    use super::*;
    use crate::clock::Clock;
    use crate::random::Random;
    use http::Request;
    use proptest::prelude::*;

    const TENANTS: [&str; 2] = ["a", "b"];

    struct World {
        store: Store,
        hashers: Hashers,
        now: Instant,
        /// What the upstream says, by tenant: the number of writes that have begun or ended there.
        truth: [u64; 2],
        writing: [u32; 2],
        reads: Vec<(usize, Ticket, u64)>,
    }

    impl World {
        fn new(slots: usize) -> Self {
            let now = Clock::system().now();
            Self {
                store: Store::new(1 << 20, Generations::new(slots, &Random::seeded(3)), now),
                hashers: Hashers::default(),
                now,
                truth: [0; 2],
                writing: [0; 2],
                reads: Vec::new(),
            }
        }

        fn slots(&self, tenant: usize) -> Vec<usize> {
            vec![self.store.generations.tenant_slot(TENANTS[tenant])]
        }

        fn ticket(&self, tenant: usize) -> Ticket {
            let request = Request::new(Payload::empty());
            let key = KeyRef::new(&self.hashers, TENANTS[tenant], &request, Headers::default());
            let slots = self.slots(tenant);
            Ticket {
                key: key.to_key(),
                token: self.store.generations.token(&slots),
                slots,
                asked_at: self.now,
            }
        }

        fn step(&mut self, tenant: usize, kind: u8, lag: u64) {
            self.now += Duration::from_millis(1);
            let slots = self.slots(tenant);
            match kind {
                0 => {
                    self.store.generations.begin_write(&slots);
                    self.writing[tenant] += 1;
                    self.truth[tenant] += 1;
                }
                1 if self.writing[tenant] > 0 => {
                    self.writing[tenant] -= 1;
                    self.truth[tenant] += 1;
                    self.store
                        .end_write(&slots, self.now, Duration::from_millis(lag));
                }
                // The answer tells the state of the moment the read was sent: the oldest it may.
                2 => self
                    .reads
                    .push((tenant, self.ticket(tenant), self.truth[tenant])),
                _ => {
                    if let Some((tenant, ticket, seen)) = self.reads.pop() {
                        let body = Payload::from(format!("{tenant} {seen}"));
                        self.store.keep(&ticket, Response::new(body));
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn after_a_write_began_no_answer_from_before_it_is_valid(
            slots in 1_usize..5,
            steps in prop::collection::vec((0_usize..2, 0_u8..4), 0..60),
            lag in 0_u64..4,
        ) {
            let mut world = World::new(slots);
            for (tenant, kind) in steps {
                world.step(tenant, kind, lag);
                for tenant in 0..2 {
                    let ticket = world.ticket(tenant);
                    if let Some(entry) = world.store.find_owned(&ticket.key)
                        && world.store.is_valid(&ticket.slots, &entry)
                    {
                        let expected = format!("{tenant} {}", world.truth[tenant]);
                        prop_assert_eq!(entry.answer.body().bytes(), expected.as_bytes());
                    }
                }
            }
        }

        #[test]
        fn what_is_kept_never_weighs_more_than_the_capacity(bodies in prop::collection::vec(0_usize..20_000, 0..60)) {
            let capacity = 64 * 1_024;
            let now = Clock::system().now();
            let store = Store::new(capacity, Generations::new(1, &Random::seeded(3)), now);
            let hashers = Hashers::default();
            for (index, length) in bodies.into_iter().enumerate() {
                let request = Request::get(format!("/{index}")).body(Payload::empty()).unwrap();
                let key = KeyRef::new(&hashers, "t", &request, Headers::default()).to_key();
                let ticket = Ticket { key, slots: Vec::new(), token: 0, asked_at: now };
                store.keep(&ticket, Response::new(Payload::from(vec![0; length])));
                prop_assert!(store.weight() <= capacity);
            }
        }
    }

    #[test]
    fn a_cookie_is_not_kept() {
        let world = World::new(1);
        let ticket = world.ticket(0);
        let answer = Response::builder()
            .header("set-cookie", "id=1")
            .body(Payload::empty())
            .unwrap();
        assert!(world.store.keep(&ticket, answer));
        let entry = world.store.find_owned(&ticket.key).unwrap();
        assert!(entry.answer.headers().is_empty());
    }
}
