//! Who is told that an operation came to its end, whoever settled it.

use super::super::record::Record;
use super::Book;
use super::live::Live;
use std::fmt;
use std::sync::{Arc, OnceLock};

type Callback = Arc<dyn Fn(&Record) + Send + Sync>;

/// The callback, once one is given.
#[derive(Default)]
pub(super) struct OnSettled(OnceLock<Callback>);

impl fmt::Debug for OnSettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnSettled")
            .field(&self.0.get().is_some())
            .finish()
    }
}

impl Book {
    /// Calls `settled` once for every operation that this process sees become final: by its caller's attempt, by the
    /// worker, or by another process. Before anybody is told of the end, so that what it does comes first; and once
    /// more where proof of effect contradicts a final record. It must not block.
    ///
    /// All clones share it; only the first one given counts.
    #[must_use]
    pub fn with_settled(self, settled: impl Fn(&Record) + Send + Sync + 'static) -> Self {
        let _ = self.inner.settled.0.set(Arc::new(settled));
        self
    }

    /// Tells the end of a live operation, if it has come and was not told.
    pub(super) fn tell_end(&self, live: &Live) {
        let Some(settled) = self.inner.settled.0.get() else {
            return;
        };
        let ended = {
            let mut inside = live.lock();
            let ended = inside
                .record
                .as_ref()
                .filter(|record| record.state().is_final() && !inside.end_told)
                .cloned();
            inside.end_told |= ended.is_some();
            ended
        };
        if let Some(record) = ended {
            settled(&record);
        }
    }

    /// The record says one thing and the upstream did another: what the end once told must be told again.
    pub(super) fn tell_end_again(&self, live: &Live) {
        live.lock().end_told = false;
        self.tell_end(live);
    }
}
