//! What the upstream says is left to a tenant, against the calls that are out. No clock, no lock.
//!
//! A word counts the calls that the upstream had seen when it answered, and nobody knows which of those in flight are
//! among them. Within one window words only fall, so the lowest one heard comes from the call that was seen last of
//! those that are answered; whatever was seen later is still out. So `lowest - out` calls can go for certain, whatever
//! the order of the answers. As calls come back words fall and `out` with them, and when nothing is out the lowest word
//! is the whole truth: nothing that is left is wasted, and nobody is held for longer than the calls in flight take.
//!
//! Words rise again in a new window, and with buckets that are refilled. A call that was admitted after a word was heard
//! knows better than that word. So words are kept by generation: the first one from a call that was admitted after the
//! present generation began starts the next, and only that and the one before it count (those of the one before may
//! have been heard after this call left).

use super::window::Nanos;

/// How many calls the upstream would still take until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) left: u64,
    pub(super) until: Nanos,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hint {
    present: Option<Told>,
    before: Option<Told>,
    /// How many calls had been admitted when the present generation began; it wraps.
    began: u32,
}

/// The lower word; of two equal ones, the one that counts for longer.
fn lower(a: Told, b: Told) -> Told {
    if (b.left, a.until) < (a.left, b.until) {
        b
    } else {
        a
    }
}

impl Hint {
    fn lowest(&self) -> Option<Told> {
        match (self.present, self.before) {
            (Some(present), Some(before)) => Some(lower(present, before)),
            (one, other) => one.or(other),
        }
    }

    /// An answer to the `nth` call says this; `sent` calls were admitted so far.
    pub(super) fn hear(&mut self, told: Told, nth: u32, sent: u32) {
        // Both counts wrap; a call is never half of their range old.
        let knows_better = nth.wrapping_sub(self.began) < 1 << 31;
        match self.present {
            Some(present) if !knows_better => self.present = Some(lower(present, told)),
            _ => {
                self.before = self.present.or(self.before);
                self.present = Some(told);
                self.began = sent;
            }
        }
    }

    /// A call is over, or nobody will hear of it, and no answer said what is left after it: it may have been counted.
    pub(super) fn spent_unheard(&mut self) {
        for told in [&mut self.present, &mut self.before].into_iter().flatten() {
            told.left = told.left.saturating_sub(1);
        }
    }

    /// Until when nothing is left; zero if something is.
    pub(super) fn used_up_until(&self) -> Nanos {
        match self.lowest() {
            Some(told) if told.left == 0 => told.until,
            _ => 0,
        }
    }

    /// Whether what is left may be gone with `out` calls in flight.
    pub(super) fn is_held(&self, out: usize) -> bool {
        self.lowest().is_some_and(|told| told.left <= out as u64)
    }

    /// Until when the lowest word counts; zero if there is none.
    pub(super) fn until(&self) -> Nanos {
        self.lowest().map_or(0, |told| told.until)
    }

    /// Forgets what counts no more.
    pub(super) fn forget(&mut self, now: Nanos) {
        for told in [&mut self.present, &mut self.before] {
            if told.is_some_and(|told| told.until <= now) {
                *told = None;
            }
        }
    }
}
