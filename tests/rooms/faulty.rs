//! A journal that fails by plan: before a change is made, after it was made, or late.
#![allow(dead_code, reason = "each room uses a part")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower_sturdy::journal::{
    BoxFuture, Claim, Durability, Filter, Journal, JournalError, Lookup, MemoryJournal, Record,
};

/// What happens to one call of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: the call is made.
    Fine,
    /// The change is not made, and the journal says that it failed.
    Fails,
    /// The change is made, and the journal says that it failed.
    AppliesThenFails,
    /// The change is made at once, and told this much later.
    TellsAfter(Duration),
    /// The call is made this much later.
    MakesAfter(Duration),
    /// The call never comes back; nothing is changed.
    Hangs,
    /// The journal panics.
    Panics,
}

/// Which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Claim,
    Step,
    Get,
    List,
}

#[derive(Debug, Default)]
struct Plan {
    /// The faults of the next calls of each kind; fine once they are used up.
    next: Vec<(Call, VecDeque<Fault>)>,
    /// While set, every call fails.
    down: bool,
    steps: usize,
}

/// A [`MemoryJournal`] with faults. Clones share journal and plan.
#[derive(Clone, Debug)]
pub struct FaultyJournal {
    pub inner: MemoryJournal,
    plan: Arc<Mutex<Plan>>,
    durable: bool,
}

impl FaultyJournal {
    pub fn over(inner: &MemoryJournal) -> Self {
        Self {
            inner: inner.clone(),
            plan: Arc::default(),
            durable: true,
        }
    }

    pub fn new() -> Self {
        Self::over(&MemoryJournal::new())
    }

    /// The next calls of this kind go wrong like this, in turn.
    pub fn next(&self, call: Call, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().collect();
        self.plan.lock().unwrap().next.push((call, faults));
    }

    /// From now on every call fails (`true`), or none does.
    pub fn down(&self, down: bool) {
        self.plan.lock().unwrap().down = down;
    }

    pub fn steps(&self) -> usize {
        self.plan.lock().unwrap().steps
    }

    fn fault(&self, call: Call) -> Fault {
        let mut plan = self.plan.lock().unwrap();
        if call == Call::Step {
            plan.steps += 1;
        }
        if plan.down {
            return Fault::Fails;
        }
        let fault = plan
            .next
            .iter_mut()
            .filter(|(of, _)| *of == call)
            .find_map(|(_, faults)| faults.pop_front());
        fault.unwrap_or(Fault::Fine)
    }

    async fn through<T>(
        &self,
        call: Call,
        made: impl Future<Output = Result<T, JournalError>>,
    ) -> Result<T, JournalError> {
        let failed = || Err(JournalError::unavailable("planned"));
        match self.fault(call) {
            Fault::Fine => made.await,
            Fault::Fails => failed(),
            Fault::AppliesThenFails => {
                let _ = made.await;
                failed()
            }
            Fault::TellsAfter(wait) => {
                let result = made.await;
                tokio::time::sleep(wait).await;
                result
            }
            Fault::MakesAfter(wait) => {
                tokio::time::sleep(wait).await;
                made.await
            }
            Fault::Hangs => std::future::pending().await,
            Fault::Panics => panic!("planned"),
        }
    }
}

impl Journal for FaultyJournal {
    fn durability(&self) -> Durability {
        if self.durable {
            Durability::CrashDurable
        } else {
            Durability::Volatile
        }
    }

    fn claim<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, Result<Claim, JournalError>> {
        Box::pin(self.through(Call::Claim, async { self.inner.claim(record).await }))
    }

    fn step<'a>(&'a self, next: &'a Record) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(self.through(Call::Step, async { self.inner.step(next).await }))
    }

    fn get<'a>(&'a self, which: Lookup<'a>) -> BoxFuture<'a, Result<Option<Record>, JournalError>> {
        Box::pin(self.through(Call::Get, async move { self.inner.get(which).await }))
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> BoxFuture<'a, Result<Vec<Record>, JournalError>> {
        Box::pin(self.through(Call::List, async { self.inner.list(filter).await }))
    }
}
