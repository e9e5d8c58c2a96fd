//! One read for all who ask the same at the same time.

use super::key::Key;
use super::store::Ticket;
use crate::context::Priority;
use crate::error::Error;
use crate::outcome::{Advice, Outcome, Verdict};
use crate::payload::Payload;
use http::Response;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

pub(super) type Answered = Result<Response<Payload>, Error>;

/// Where a read's answer will be told.
pub(super) type Landing = watch::Receiver<Option<Answered>>;

/// The token is part of it: who asks after a write began never joins a read from before it.
type Course = (Key, u64, Priority);

#[derive(Debug)]
pub(super) struct Flights {
    flights: Mutex<HashMap<Course, Landing>>,
    max: usize,
}

/// How a read gets its answer.
pub(super) enum Entrance<T> {
    /// Another read of the same has just been answered.
    Landed(T),
    /// By the read that is under way.
    Join(Landing),
    /// By sending it, and telling all who join.
    Lead(Flight, Landing),
    /// Too many reads are under way.
    Full,
}

impl Flights {
    pub(super) fn new(max: usize) -> Self {
        Self {
            flights: Mutex::default(),
            max,
        }
    }

    /// Joins or leads. `landed` looks once more into the store, under the lock: a read leaves its answer there before
    /// it leaves the flights, so no second read of the same slips through between the two.
    pub(super) fn enter<T>(
        self: &Arc<Self>,
        ticket: &Ticket,
        priority: Priority,
        landed: impl FnOnce() -> Option<T>,
    ) -> Entrance<T> {
        let mut flights = self.lock();
        // Whoever is as urgent or less may join; a user never waits behind a bulk read's place in line.
        for urgency in Priority::ALL.into_iter().filter(|other| *other <= priority) {
            let course = (ticket.key.clone(), ticket.token, urgency);
            if let Some(landing) = flights.get(&course) {
                return Entrance::Join(landing.clone());
            }
        }
        if let Some(landed) = landed() {
            return Entrance::Landed(landed);
        }
        if flights.len() >= self.max {
            return Entrance::Full;
        }
        let (tell, landing) = watch::channel(None);
        let course = (ticket.key.clone(), ticket.token, priority);
        flights.insert(course.clone(), landing.clone());
        let flight = Flight {
            tell,
            listed: Some((Arc::clone(self), course)),
        };
        Entrance::Lead(flight, landing)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Course, Landing>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A read under way. Dropped without an answer, it tells those who joined that there will be none.
#[derive(Debug)]
pub(super) struct Flight {
    tell: watch::Sender<Option<Answered>>,
    listed: Option<(Arc<Flights>, Course)>,
}

impl Flight {
    /// A read that nobody joins.
    pub(super) fn alone() -> (Self, Landing) {
        let (tell, landing) = watch::channel(None);
        (Self { tell, listed: None }, landing)
    }

    pub(super) fn land(mut self, answer: Answered) {
        self.leave();
        self.tell.send_replace(Some(answer));
    }

    fn leave(&mut self) {
        if let Some((flights, course)) = self.listed.take() {
            flights.lock().remove(&course);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Waits for the answer.
pub(super) async fn told(landing: &mut Landing) -> Answered {
    match landing.wait_for(Option::is_some).await {
        Ok(answer) => answer.clone().unwrap_or_else(broken_off),
        Err(_) => broken_off(),
    }
}

fn broken_off() -> Answered {
    let verdict = Verdict {
        outcome: Outcome::NoEffect,
        advice: Advice::Retry { after: None },
        ..Verdict::OPEN
    };
    Err(Error::upstream(
        "the read that was joined broke off without an answer; try again",
        verdict,
    ))
}
