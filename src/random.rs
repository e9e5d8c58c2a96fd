//! The only file that draws randomness: from the system in production, from a printed seed in a simulation.
#![allow(
    clippy::disallowed_methods,
    reason = "the one place that may draw randomness"
)]

use std::sync::{Arc, Mutex, PoisonError};

/// A shared source of chance. Clones share the same stream.
#[derive(Clone, Debug)]
pub struct Random {
    jitter: Arc<Mutex<fastrand::Rng>>,
    seeded: bool,
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
            seeded: false,
        }
    }

    /// Everything from one seed: the same seed, the same run.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            jitter: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))),
            seeded: true,
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
        let mut bytes = [0_u8; 16];
        if !self.seeded && getrandom::fill(&mut bytes).is_ok() {
            return u128::from_le_bytes(bytes);
        }
        self.with(|rng| rng.u128(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_stream() {
        let (a, b) = (Random::seeded(7), Random::seeded(7));
        assert_eq!(
            (a.bits(), a.id(), a.fraction().to_bits()),
            (b.bits(), b.id(), b.fraction().to_bits())
        );
    }

    #[test]
    fn system_ids_differ() {
        let random = Random::system();
        assert_ne!(random.id(), random.id());
    }
}
