//! The only file that draws randomness: from the system in production, from a printed seed in a simulation.
#![allow(
    clippy::disallowed_methods,
    reason = "the one place that may draw randomness"
)]

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A shared source of chance. Clones share the same stream.
#[derive(Clone, Debug)]
pub struct Random {
    jitter: Arc<Mutex<fastrand::Rng>>,
    /// `None` where everything comes from a seed.
    system: Option<Arc<Mutex<Drawn>>>,
}

/// What one call of the system gives whole (getrandom(2): up to 256 bytes).
const DRAW: usize = 256;
const ID: usize = 16;

/// Bytes of the system for the next ids; each is given out once.
struct Drawn {
    bytes: [u8; DRAW],
    left: usize,
}

impl fmt::Debug for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drawn").finish_non_exhaustive()
    }
}

impl Drawn {
    fn id(&mut self) -> Option<u128> {
        if self.left < ID {
            self.left = 0;
            getrandom::fill(&mut self.bytes).ok()?;
            self.left = DRAW;
        }
        self.left -= ID;
        let (_, next) = self.bytes.split_at_mut(self.left);
        let next = next.first_chunk_mut::<ID>()?;
        Some(u128::from_le_bytes(std::mem::take(next)))
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::system()
    }
}

impl Random {
    /// Ids from the operating system; jitter from a generator seeded by it.
    ///
    /// Where the system has no randomness to give (a broken container), the generator falls back to the standard
    /// library's own seed, so that a missing device never stops payments.
    #[must_use]
    pub fn system() -> Self {
        let mut seed = [0_u8; 8];
        let rng = match getrandom::fill(&mut seed) {
            Ok(()) => fastrand::Rng::with_seed(u64::from_le_bytes(seed)),
            Err(_) => fastrand::Rng::new(),
        };
        Self {
            jitter: Arc::new(Mutex::new(rng)),
            system: Some(Arc::new(Mutex::new(Drawn {
                bytes: [0; DRAW],
                left: 0,
            }))),
        }
    }

    /// Everything from one seed: the same seed, the same run.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            jitter: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))),
            system: None,
        }
    }

    fn with<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.jitter.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A fraction in `[0, 1)`.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        self.with(fastrand::Rng::f64)
    }

    /// 64 random bits, for jitter, sampling and generations.
    #[must_use]
    pub fn bits(&self) -> u64 {
        self.with(|rng| rng.u64(..))
    }

    /// 128 bits that nobody can guess (unless the source is seeded): for ids.
    #[must_use]
    pub fn id(&self) -> u128 {
        let drawn = self
            .system
            .as_ref()
            .and_then(|drawn| drawn.lock().unwrap_or_else(PoisonError::into_inner).id());
        drawn.unwrap_or_else(|| self.with(|rng| rng.u128(..)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_same_seed_gives_the_same_stream() {
        let (a, b) = (Random::seeded(7), Random::seeded(7));
        assert_eq!(
            (a.bits(), a.id(), a.fraction().to_bits()),
            (b.bits(), b.id(), b.fraction().to_bits())
        );
    }

    #[test]
    fn system_ids_differ_and_none_is_what_a_used_place_holds() {
        let random = Random::system();
        let ids: HashSet<u128> = (0..1_000).map(|_| random.id()).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(!ids.contains(&0));
    }
}
