//! The upstream: it applies or not, answers or not, late or never; it takes two requests under one key for two, forgets
//! keys, replays failures, and shows what was a while ago.

use super::moves::answer;
use super::world::{BOUND, LAG, Sent, Setup, World};
use tower_sturdy::journal::{Capability, Observation, Proof};
use tower_sturdy::outcome::{Advice, Outcome, Verdict};

/// What a request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Proof of the effect.
    Applied,
    /// A final refusal.
    Refused,
    /// Provably nothing happened; it may be tried again.
    NoEffect,
    /// It never came to the upstream.
    NotSent,
    /// A whole answer that says nothing.
    Failed,
    /// The connection broke.
    Broke,
}

impl Answer {
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Applied => Verdict::APPLIED,
            Self::Refused => Verdict::REJECTED,
            Self::NoEffect => Verdict::closed(Outcome::NoEffect, Advice::Retry { after: None }),
            Self::NotSent => Verdict::UNSENT,
            Self::Failed => Verdict::closed(Outcome::Unknown, Advice::Retry { after: None }),
            Self::Broke => Verdict::OPEN,
        }
    }
}

/// What a look-up answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Found,
    Absent,
    CannotTell,
}

impl Seen {
    pub fn observation(self) -> Observation {
        match self {
            Self::Found => Observation::Found(Proof {
                answer: answer(),
                evidence: "mark".into(),
            }),
            Self::Absent => Observation::Absent {
                scope: "all".into(),
            },
            Self::CannotTell => Observation::CannotTell { why: "down".into() },
        }
    }
}

fn honours_keys(setup: &Setup) -> bool {
    matches!(setup.capability, Capability::Keyed { .. })
}

/// Whether the upstream knows this key now: it looks once, when a request comes.
fn knows(setup: &Setup, world: &World, key: u8) -> bool {
    honours_keys(setup)
        && world
            .effects
            .iter()
            .any(|(at, its)| *its == key && world.now <= at + setup.retention)
}

/// A request comes; returns its number.
pub fn receive(setup: &Setup, world: &mut World, host: usize) -> usize {
    // The keys of two journals' records for one key are one key to the upstream.
    let key = world.key;
    let never_again = setup.capability == Capability::None
        && world.sent.iter().any(|sent| !sent.answered || sent.applied);
    if never_again && !setup.new_key_each && !setup.rolls_back && !setup.forgets {
        world.wrong = Some("a write that may leave once left twice");
    }
    world.sent.push(Sent {
        host,
        at: world.now,
        known: knows(setup, world, key),
        applied: false,
        left: None,
        answered: false,
        key,
    });
    world.sent.len() - 1
}

/// Whether a request may still take effect: it came, the upstream did not know its key, and nothing closed it.
pub fn may_apply(setup: &Setup, world: &World, sent: &Sent) -> bool {
    if sent.applied || sent.known || sent.answered {
        return false;
    }
    match sent.left {
        None if !setup.suspends => world.now <= sent.at + BOUND,
        _ => world.now < world.lands_until(setup, sent),
    }
}

pub fn apply(world: &mut World, number: usize) {
    world.sent[number].applied = true;
    let key = world.sent[number].key;
    world.effects.push((world.now, key));
    if world.effects.len() > 1 {
        world.wrong = Some("two effects");
    }
    if world.told.rejected {
        world.wrong = Some("told that it was refused, and it took effect");
    }
}

/// What the upstream may answer a request that somebody waits for.
pub fn answers(setup: &Setup, sent: &Sent) -> Vec<Answer> {
    let mut all = vec![Answer::Broke];
    if setup.all_answers {
        all.push(Answer::Failed);
    }
    if sent.applied || sent.known {
        all.push(Answer::Applied);
    }
    if sent.known && setup.all_answers {
        // It replays a failure under the key, though the effect is there.
        all.push(Answer::Refused);
    }
    if !sent.applied && !sent.known && setup.all_answers {
        all.extend([Answer::Refused, Answer::NoEffect]);
        // Only for what may leave once is there a difference between the two.
        if setup.capability == Capability::None {
            all.push(Answer::NotSent);
        }
    }
    all
}

pub fn seen(world: &World) -> Vec<Seen> {
    let mut all = vec![Seen::CannotTell];
    if world.effects.is_empty() {
        all.push(Seen::Absent);
    } else {
        all.push(Seen::Found);
        if world.effects.iter().all(|(at, _)| world.now < at + LAG) {
            all.push(Seen::Absent);
        }
    }
    all
}
