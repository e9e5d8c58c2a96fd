//! What `requestid` remembers. Pure: `now` is handed in.

use super::config::{Concurrent, RequestIdConfig};
use super::envelope::Reply;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// What a request under an id is to do.
#[derive(Debug)]
pub(super) enum Begin {
    /// Work.
    Run,
    /// Give this answer again.
    Replay(Reply),
    /// Wait until its twin is done with, and ask again.
    Wait(OwnedNotified),
    /// Fail: its twin is being worked on.
    Refuse,
}

/// The ids of one company.
#[derive(Debug, Default)]
pub(super) struct Replays {
    remembered: HashMap<Arc<str>, Remembered>,
    expiry: VecDeque<(u64, Arc<str>)>,
    working: HashMap<String, Arc<Notify>>,
}

#[derive(Debug)]
struct Remembered {
    until: u64,
    /// Boxed, for up to half of a table's places are empty.
    reply: Box<Reply>,
}

impl Replays {
    /// A request under `id` arrives at `now`, in milliseconds since the mock's start.
    pub(super) fn begin(&mut self, config: &RequestIdConfig, id: &str, now: u64) -> Begin {
        self.forget(now);
        if let Some(remembered) = self.remembered.get(id) {
            return Begin::Replay(Reply::clone(&remembered.reply));
        }
        if config.concurrent == Concurrent::RunBoth {
            return Begin::Run;
        }
        match self.working.get(id) {
            Some(_) if config.concurrent == Concurrent::Refuse => Begin::Refuse,
            // Made under the lock, so that no wake-up falls between the look and the wait.
            Some(working) => Begin::Wait(Arc::clone(working).notified_owned()),
            None => {
                self.working.insert(id.to_owned(), Arc::default());
                Begin::Run
            }
        }
    }

    /// A request that was told to run is done with; `reply` is what to remember of it, from its commit on.
    pub(super) fn end(
        &mut self,
        config: &RequestIdConfig,
        id: &str,
        committed: u64,
        reply: Option<Reply>,
    ) {
        if let Some(reply) = reply {
            let retention = u64::try_from(config.retention.as_millis()).unwrap_or(u64::MAX);
            let until = committed.saturating_add(retention);
            // The original answer stays: a twin that ran beside it does not replace it.
            let id: Arc<str> = Arc::from(id);
            if let Entry::Vacant(place) = self.remembered.entry(Arc::clone(&id)) {
                place.insert(Remembered {
                    until,
                    reply: Box::new(reply),
                });
                self.expiry.push_back((until, id));
            }
        }
        if let Some(working) = self.working.remove(id) {
            working.notify_waiters();
        }
    }

    fn forget(&mut self, now: u64) {
        // Late commits may be out of order here, so an entry is asked for its own time before it goes.
        while let Some((until, _)) = self.expiry.front()
            && *until <= now
        {
            if let Some((_, id)) = self.expiry.pop_front()
                && self.remembered.get(&id).is_some_and(|of| of.until <= now)
            {
                self.remembered.remove(&id);
            }
        }
    }
}
