//! What the worker did, and what is unresolved.

use crate::error::Error;
use crate::journal::{Filter, Journal, State};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts since the start of this process.
#[derive(Debug, Default)]
pub struct Figures {
    pub(super) looked: AtomicU64,
    pub(super) found: AtomicU64,
    pub(super) resent: AtomicU64,
    pub(super) parked: AtomicU64,
    pub(super) taken_over: AtomicU64,
    pub(super) agreed: AtomicU64,
    pub(super) drifted: AtomicU64,
    pub(super) contradicted: AtomicU64,
}

impl Figures {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn read(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    /// Look-ups made.
    #[must_use]
    pub fn looked(&self) -> u64 {
        Self::read(&self.looked)
    }

    /// Operations completed by proof that a look-up found.
    #[must_use]
    pub fn found(&self) -> u64 {
        Self::read(&self.found)
    }

    /// Operations sent again.
    #[must_use]
    pub fn resent(&self) -> u64 {
        Self::read(&self.resent)
    }

    /// Operations handed to a person.
    #[must_use]
    pub fn parked(&self) -> u64 {
        Self::read(&self.parked)
    }

    /// Operations taken over from dead owners.
    #[must_use]
    pub fn taken_over(&self) -> u64 {
        Self::read(&self.taken_over)
    }

    /// Operations about which the upstream proved a person wrong.
    #[must_use]
    pub fn contradicted(&self) -> u64 {
        Self::read(&self.contradicted)
    }

    /// The share of verified operations on which the upstream and the local record disagreed; 0 when none was verified.
    /// What a hook only took note of ([`Settled::Told`](super::Settled::Told)) was not verified.
    #[must_use]
    pub fn drift_ratio(&self) -> f64 {
        let drifted = Self::read(&self.drifted);
        let verified = drifted + Self::read(&self.agreed);
        if verified == 0 {
            return 0.0;
        }
        // Counts far below 2^52 are exact.
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        {
            drifted as f64 / verified as f64
        }
    }
}

/// What is not settled yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unresolved {
    /// How many, by state.
    pub by_state: BTreeMap<State, usize>,
    /// For how long the oldest has been.
    pub oldest: Duration,
}

impl Unresolved {
    /// Reads the journal, a page at a time.
    pub(super) async fn read(
        journal: &dyn Journal,
        ours: Filter,
        now: crate::clock::Timestamp,
    ) -> Result<Self, Error> {
        let states = State::ALL
            .into_iter()
            .filter(|state| !state.is_final())
            .collect();
        let mut filter = Filter {
            states,
            limit: 1_000,
            ..ours
        };
        let mut unresolved = Self::default();
        loop {
            let page = journal
                .list(&filter)
                .await
                .map_err(Error::journal_unavailable)?;
            for record in &page {
                *unresolved.by_state.entry(record.state()).or_default() += 1;
                unresolved.oldest = unresolved.oldest.max(now.since(record.asked.at));
            }
            if page.len() < filter.limit {
                return Ok(unresolved);
            }
            filter.skip += page.len();
        }
    }

    /// How many in all.
    #[must_use]
    pub fn total(&self) -> usize {
        self.by_state.values().sum()
    }
}
