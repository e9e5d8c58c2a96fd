//! Visits every world that can be reached, breadth first, so that the first wrong one is reached by the shortest way.

use super::moves::{Move, after, moves};
use super::upstream::{Answer, Seen};
use super::world::{Doing, Setup, World};
use std::collections::{HashSet, VecDeque};
use tower_sturdy::clock::Instant;
use tower_sturdy::journal::State;

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// How many worlds there are.
    pub worlds: usize,
    /// The first wrong one: what is wrong, and how it came to it.
    pub wrong: Option<(String, Vec<Move>)>,
}

/// A world of another kind of mistake: found by a look at it, not on the way to it.
fn look(world: &World) -> Option<&'static str> {
    if world.wrong.is_some() {
        return world.wrong;
    }
    if world.told.completed && world.effects.is_empty() {
        return Some("told that it is done, and it is not");
    }
    if world.told.rejected && !world.effects.is_empty() {
        return Some("told that it was refused, and it took effect");
    }
    let record = world.journal.as_ref()?;
    if record.state() == State::Completed && world.effects.is_empty() {
        return Some("on record as completed without an effect");
    }
    if record.state() == State::Rejected
        && !world.effects.is_empty()
        && !record.progress.contradicted
    {
        return Some("on record as refused, with an effect");
    }
    None
}

/// Visits at most `most` worlds. Every `settled_every`th is also brought to its end by a world in which nothing goes
/// wrong any more, which must settle it.
pub fn explore(setup: &Setup, most: usize, settled_every: u64) -> Found {
    let base = tower_sturdy::clock::Clock::system().now();
    let first = World::new(base);
    let mut seen = HashSet::from([first.digest(setup, base)]);
    let mut ways: Vec<(usize, Option<Move>)> = vec![(0, None)];
    let mut open = VecDeque::from([(0_usize, first)]);
    while let Some((number, world)) = open.pop_front() {
        for what in moves(setup, &world) {
            let next = after(setup, &world, what, base);
            let digest = next.digest(setup, base);
            if !seen.insert(digest) {
                continue;
            }
            ways.push((number, Some(what)));
            let wrong = look(&next).map(str::to_owned);
            let wrong = wrong.or_else(|| {
                let chosen = settled_every > 0 && digest.is_multiple_of(settled_every);
                chosen.then(|| stuck(setup, &next, base)).flatten()
            });
            if let Some(wrong) = wrong {
                return Found {
                    worlds: ways.len(),
                    wrong: Some((wrong, way(&ways, ways.len() - 1))),
                };
            }
            assert!(
                ways.len() < most,
                "{}: more than {most} worlds at tick {}",
                setup.name,
                world.now
            );
            open.push_back((ways.len() - 1, next));
        }
    }
    Found {
        worlds: ways.len(),
        wrong: None,
    }
}

fn way(ways: &[(usize, Option<Move>)], mut number: usize) -> Vec<Move> {
    let mut all = Vec::new();
    while let (before, Some(what)) = ways[number] {
        all.push(what);
        number = before;
    }
    all.reverse();
    all
}

/// Nothing goes wrong from here on. Says how the operation is stuck, if it is.
fn stuck(setup: &Setup, world: &World, base: Instant) -> Option<String> {
    let mut world = world.clone();
    let well = Setup {
        ends: u64::MAX,
        ..setup.clone()
    };
    for _ in 0..600 {
        let Some(what) = kind_move(&well, &world, base) else {
            break;
        };
        world = after(&well, &world, what, base);
        if what == Move::Tick {
            // A process that works reads its clocks again and again.
            for host in 0..world.hosts.len() {
                let _ = world.moment(&well, host, base);
            }
        }
        if let Some(wrong) = look(&world) {
            return Some(format!("{wrong}, though nothing went wrong any more"));
        }
        if world.now > setup.ends + 60 {
            break;
        }
    }
    let record = world.journal.as_ref()?;
    let told_to_wait = record.progress.due.is_some();
    match record.state() {
        State::Completed | State::Rejected => None,
        State::Parked if !world.effects.is_empty() => {
            Some("parked though the effect can be seen".to_owned())
        }
        State::Parked => None,
        State::Ready if !told_to_wait => None,
        state => Some(format!("it stays {state}: {:?}", record.progress)),
    }
}

/// What happens next where all is well: everybody answers, everything is recorded, the worker works.
fn kind_move(setup: &Setup, world: &World, base: Instant) -> Option<Move> {
    let all = moves(
        &Setup {
            sends: u8::MAX,
            ..setup.clone()
        },
        world,
    );
    let find = |wanted: &dyn Fn(&Move) -> bool| all.iter().copied().find(|what| wanted(what));
    let works = |number: &usize| world.hosts[*number].doing == Doing::Nothing;
    find(&|what| matches!(what, Move::Restart(_)))
        .or_else(|| find(&|what| matches!(what, Move::Apply(_))))
        .or_else(|| find(&|what| matches!(what, Move::Answer(_, Answer::Applied))))
        .or_else(|| find(&|what| matches!(what, Move::GiveUp(_) | Move::Leave(_) | Move::Record(_))))
        .or_else(|| find(&|what| matches!(what, Move::Begin(_))))
        .or_else(|| find(&|what| matches!(what, Move::Look(_, Seen::Found))))
        .or_else(|| find(&|what| matches!(what, Move::Look(_, Seen::Absent))))
        .or_else(|| find(&|what| matches!(what, Move::Work(host) if works(host) && due(setup, world, *host, base))))
        .or_else(|| find(&|what| matches!(what, Move::Tick)))
}

/// Whether the worker of this host would change anything now.
fn due(setup: &Setup, world: &World, host: usize, base: Instant) -> bool {
    let next = after(setup, world, Move::Work(host), base);
    next.journal.as_ref().map(|record| record.progress.version)
        != world.journal.as_ref().map(|record| record.progress.version)
}
