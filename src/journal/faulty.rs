//! A journal that goes wrong by plan: for whoever tests what stands on a journal.
//!
//! [`FaultyJournal`] wraps any journal. A call of it fails before it is made, fails after it was made, is told late, is
//! made late, hangs or panics:
//!
//! - by a script: [`FaultyJournal::next`] says what the next claims, steps, gets or listings do;
//! - by chance: a [`FaultyPlan`] says how likely each is, and a seed repeats the run;
//! - as a whole: between `down(true)` and `down(false)` every call fails, and nothing is changed.
//!
//! Owners are enlisted beneath in any case; whether one is alive cannot be told while the journal is down.
//!
//! `down` comes before the script, and the script before chance. With none of them it is the journal that it wraps. A
//! fault never makes the journal wrong, only unreliable: what it claims is claimed, and what it lists is on record.
//!
//! ```
//! use std::sync::Arc;
//! use tower_sturdy::journal::faulty::{Call, Fault};
//! use tower_sturdy::journal::{Book, FaultyJournal, Filter, Journal, MemoryJournal};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let memory = MemoryJournal::new();
//! let journal = FaultyJournal::new(Arc::new(memory.clone()));
//! // The stack under test stands on the book, as it would on one over the journal itself.
//! let book = Book::open(Arc::new(journal.clone()))?;
//!
//! // The second listing from here is made, and then said to have failed.
//! journal.next(Call::List, [Fault::Fine, Fault::AppliesThenFails]);
//! assert!(book.journal().list(&Filter::default()).await.is_ok());
//! assert!(book.journal().list(&Filter::default()).await.is_err());
//! assert_eq!((journal.calls(Call::List), journal.faults(Call::List)), (2, 1));
//!
//! // Clones share the plan: the journal is down for whoever uses it.
//! journal.down(true);
//! assert!(book.journal().list(&Filter::default()).await.is_err());
//! # Ok(())
//! # }
//! ```
//!
//! Waits are on tokio's clock, so that a paused clock drives them. Cancel safety: a call that is dropped while it waits
//! to be made is not made; one that is dropped while it waits to be told was made.

use super::record::{Liveness, OwnerId};
use super::{
    BoxFuture, Claim, Durability, Enlisted, Filter, Journal, JournalError, Lookup, Record,
};
use crate::clock::{Clock, Timestamp};
use crate::error::InvalidConfig;
use crate::random::Random;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Which call of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`Journal::claim`].
    Claim,
    /// [`Journal::step`].
    Step,
    /// [`Journal::get`].
    Get,
    /// [`Journal::list`].
    List,
}

impl Call {
    /// Every kind of call.
    pub const ALL: [Self; 4] = [Self::Claim, Self::Step, Self::Get, Self::List];
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Claim => "claim",
            Self::Step => "step",
            Self::Get => "get",
            Self::List => "list",
        })
    }
}

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: the call is made.
    Fine,
    /// The call is not made, and the journal says that it failed.
    Fails,
    /// The call is made, and the journal says that it failed.
    AppliesThenFails,
    /// The call is made at once, and its answer is told this much later.
    TellsAfter(Duration),
    /// The call is made this much later.
    MakesAfter(Duration),
    /// The call is not made, and never comes back.
    Hangs,
    /// The call is not made, and the journal panics.
    Panics,
}

/// How likely one kind of call goes wrong: each a fraction of all calls, together at most 1. What is left is fine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultOdds {
    /// [`Fault::Fails`].
    pub fails: f64,
    /// [`Fault::AppliesThenFails`].
    pub applies_then_fails: f64,
    /// [`Fault::TellsAfter`].
    pub tells_after: f64,
    /// [`Fault::MakesAfter`].
    pub makes_after: f64,
    /// The longest delay. Each is drawn between 1 ms and this.
    pub delay_max: Duration,
}

impl FaultOdds {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        fails: 0.0,
        applies_then_fails: 0.0,
        tells_after: 0.0,
        makes_after: 0.0,
        // Longer than the patience of a user action, shorter than a lease: delays of both kinds are met.
        delay_max: Duration::from_secs(2),
    };

    fn check(&self, call: Call) -> Result<(), InvalidConfig> {
        let field = |name: &str| format!("faulty.{call}.{name}");
        let fractions = [
            ("fails", self.fails),
            ("applies_then_fails", self.applies_then_fails),
            ("tells_after", self.tells_after),
            ("makes_after", self.makes_after),
        ];
        for (name, fraction) in fractions {
            if !(0.0..=1.0).contains(&fraction) {
                let why = format!("is {fraction}: use a fraction between 0 and 1");
                return Err(InvalidConfig::new(field(name), why));
            }
        }
        let sum: f64 = fractions.iter().map(|(_, fraction)| fraction).sum();
        // Ten tenths are a little more than 1 in floating point.
        if sum > 1.0 + 1e-9 {
            let why = format!("has fractions that add up to {sum}: 1 is every call");
            return Err(InvalidConfig::new(format!("faulty.{call}"), why));
        }
        if self.delay_max < Duration::from_millis(1) {
            let why = "is under 1 ms: use 1 ms at least";
            return Err(InvalidConfig::new(field("delay_max"), why));
        }
        Ok(())
    }

    fn draw(&self, random: &Random) -> Fault {
        // Both are always drawn, so that a run with other odds meets the same delays.
        let (mut at, part) = (random.fraction(), random.fraction());
        let delay = Duration::from_millis(1).max(self.delay_max.mul_f64(part));
        for (odds, fault) in [
            (self.fails, Fault::Fails),
            (self.applies_then_fails, Fault::AppliesThenFails),
            (self.tells_after, Fault::TellsAfter(delay)),
            (self.makes_after, Fault::MakesAfter(delay)),
        ] {
            if at < odds {
                return fault;
            }
            at -= odds;
        }
        Fault::Fine
    }
}

impl Default for FaultOdds {
    fn default() -> Self {
        Self::NONE
    }
}

/// How likely what goes wrong. The same seed and the same calls meet the same faults; each kind of call draws from a
/// stream of its own, so that one more listing does not change what happens to the claims.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FaultyPlan {
    /// What is drawn follows from it.
    pub seed: u64,
    /// Of claims.
    pub claim: FaultOdds,
    /// Of steps.
    pub step: FaultOdds,
    /// Of gets.
    pub get: FaultOdds,
    /// Of listings.
    pub list: FaultOdds,
}

impl FaultyPlan {
    /// The same odds for every kind of call.
    #[must_use]
    pub const fn all(seed: u64, odds: FaultOdds) -> Self {
        Self {
            seed,
            claim: odds,
            step: odds,
            get: odds,
            list: odds,
        }
    }

    const fn odds(&self, call: Call) -> &FaultOdds {
        match call {
            Call::Claim => &self.claim,
            Call::Step => &self.step,
            Call::Get => &self.get,
            Call::List => &self.list,
        }
    }
}

/// What is planned for one kind of call, and what was met.
#[derive(Debug)]
struct Line {
    script: VecDeque<Fault>,
    odds: FaultOdds,
    random: Random,
    calls: u64,
    faults: u64,
}

#[derive(Debug)]
struct State {
    down: bool,
    /// In the order of [`Call::ALL`].
    lines: [Line; 4],
}

impl State {
    const fn line(&mut self, call: Call) -> &mut Line {
        &mut self.lines[call as usize]
    }
}

/// See the [module](self). Clones share the journal beneath and the plan.
#[derive(Clone, Debug)]
pub struct FaultyJournal {
    inner: Arc<dyn Journal>,
    durability: Durability,
    clock: Clock,
    state: Arc<Mutex<State>>,
}

impl FaultyJournal {
    /// A journal over `inner` to which nothing happens until it is told so.
    #[must_use]
    pub fn new(inner: Arc<dyn Journal>) -> Self {
        Self::planned(inner, &FaultyPlan::default())
    }

    /// A journal over `inner` that goes wrong by chance.
    ///
    /// # Errors
    /// When odds are no fractions, or add up to more than 1.
    pub fn seeded(inner: Arc<dyn Journal>, plan: &FaultyPlan) -> Result<Self, InvalidConfig> {
        for call in Call::ALL {
            plan.odds(call).check(call)?;
        }
        Ok(Self::planned(inner, plan))
    }

    fn planned(inner: Arc<dyn Journal>, plan: &FaultyPlan) -> Self {
        let seeds = Random::seeded(plan.seed);
        let lines = Call::ALL.map(|call| Line {
            script: VecDeque::new(),
            odds: *plan.odds(call),
            random: Random::seeded(seeds.bits()),
            calls: 0,
            faults: 0,
        });
        Self {
            durability: inner.durability(),
            inner,
            clock: Clock::system(),
            state: Arc::new(Mutex::new(State { down: false, lines })),
        }
    }

    /// Says that it survives what `durability` says, whatever is beneath: a test over a journal in memory can so send
    /// writes that a volatile journal must refuse.
    #[must_use]
    pub const fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The journal beneath: what is really on record, whatever this one says.
    #[must_use]
    pub fn inner(&self) -> &dyn Journal {
        &*self.inner
    }

    /// The next calls of this kind do this, in turn, after what was planned before.
    pub fn next(&self, call: Call, faults: impl IntoIterator<Item = Fault>) {
        self.lock().line(call).script.extend(faults);
    }

    /// From now on every call fails and none is made (`true`), or all go on as planned (`false`). What is planned is
    /// not used up meanwhile.
    pub fn down(&self, down: bool) {
        self.lock().down = down;
    }

    /// How many calls of this kind there were, the faulty ones included.
    #[must_use]
    pub fn calls(&self, call: Call) -> u64 {
        self.lock().line(call).calls
    }

    /// How many of them met a fault.
    #[must_use]
    pub fn faults(&self, call: Call) -> u64 {
        self.lock().line(call).faults
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing below panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, call: Call) -> Fault {
        let mut state = self.lock();
        let down = state.down;
        let line = state.line(call);
        line.calls += 1;
        let fault = if down {
            Fault::Fails
        } else {
            let scripted = line.script.pop_front();
            scripted.unwrap_or_else(|| line.odds.draw(&line.random))
        };
        line.faults += u64::from(fault != Fault::Fine);
        fault
    }

    async fn through<T>(
        &self,
        call: Call,
        made: impl Future<Output = Result<T, JournalError>>,
    ) -> Result<T, JournalError> {
        let failed = |when| {
            let why = format!("a fault planned in a FaultyJournal: this {call} failed {when}");
            Err(JournalError::unavailable(why))
        };
        match self.fault(call) {
            Fault::Fine => made.await,
            Fault::Fails => failed("before it was made"),
            Fault::AppliesThenFails => {
                let _ = made.await;
                failed("after it was made")
            }
            Fault::TellsAfter(wait) => {
                let result = made.await;
                self.clock.sleep(wait).await;
                result
            }
            Fault::MakesAfter(wait) => {
                self.clock.sleep(wait).await;
                made.await
            }
            Fault::Hangs => std::future::pending().await,
            Fault::Panics => panic!("a fault planned in a FaultyJournal: this {call} panics"),
        }
    }
}

// The call beneath is made inside an async block: a journal may do its work before its future is polled.
impl Journal for FaultyJournal {
    fn durability(&self) -> Durability {
        self.durability
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

    fn enlist(&self, owner: OwnerId) -> Result<Option<Enlisted>, JournalError> {
        self.inner.enlist(owner)
    }

    fn liveness(&self, owner: OwnerId) -> BoxFuture<'_, Liveness> {
        let down = self.lock().down;
        if down {
            return Box::pin(std::future::ready(Liveness::Unknown));
        }
        self.inner.liveness(owner)
    }

    fn high_water(&self) -> Option<Timestamp> {
        self.inner.high_water()
    }
}
