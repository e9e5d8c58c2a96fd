//! Two processes at once on one file and one set of keys.

use crate::judge::Case;
use crate::number;
use crate::process::operation::Operation;
use crate::process::payer::{Payer, Told};
use crate::process::upstream::Upstream;
use crate::process::{PATIENCE, Process};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use tower_sturdy::clock::Clock;
use tower_sturdy::journal::State;

/// Operations that each process asks for, round by round: both have their ends before the next begins. Only those of the
/// first were asked of processes that are killed.
const ROUNDS: [Range<u32>; 4] = [0..120, 120..160, 160..200, 200..240];
/// How long the upstream lets nobody in at most: only if a machine gives a process no time at all is that not enough for
/// both to ask.
const MEET_WITHIN: Duration = Duration::from_secs(10);
/// How many of them each works on at once.
const TASKS: usize = 32;

/// What everybody was told.
type Tellings = BTreeMap<Operation, Vec<Told>>;

#[test]
fn two_processes_with_32_tasks_each_make_one_effect_a_keyed_write() {
    race(true, 0);
}

#[test]
fn two_processes_with_32_tasks_each_make_one_effect_a_looked_up_write() {
    race(false, 0);
}

#[test]
fn two_processes_that_start_while_a_third_is_killed_make_one_effect_a_keyed_write() {
    race(true, 3);
}

#[test]
fn two_processes_that_start_while_a_third_is_killed_make_one_effect_a_looked_up_write() {
    race(false, 3);
}

/// Those of a round; none that the upstream must refuse, for a refusal whose answer is lost is in doubt for long.
fn operations(round: &Range<u32>) -> impl Iterator<Item = Operation> {
    let all = round.clone().map(Operation);
    all.filter(|operation| !operation.is_refused())
}

/// Two processes pay all of them, after `kills` others were killed at it. Each time the pair is started first, so that
/// the file of a process that dies is opened by two at once.
fn race(keyed: bool, kills: usize) {
    let seed = number("STURDY_SEED").unwrap_or(1);
    let mut rng = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("shared.journal");
    let mut upstream = Upstream::start(seed, keyed, false);
    let address = upstream.address.clone();
    let payer = Payer {
        journal: &journal,
        upstream: &address,
        keyed,
        tasks: TASKS,
    };
    let mut told = Tellings::new();
    for _ in 0..kills {
        let mut first = payer.start();
        first.waits_for("ready", |_| ());
        ask(&mut first, &ROUNDS[0]);
        hear(&first, Duration::from_millis(rng.u64(50..400)), &mut told);
        let pair = [payer.start(), payer.start()];
        hear(&first, Duration::from_millis(rng.u64(0..80)), &mut told);
        take_down(first.kill(), &mut told);
        // They live until they have begun, and are killed too.
        for mut process in pair {
            process.waits_for("ready", |_| ());
            ask(&mut process, &ROUNDS[0]);
            hear(&process, Duration::from_millis(rng.u64(0..200)), &mut told);
            take_down(process.kill(), &mut told);
        }
    }
    let mut pair = [payer.start(), payer.start()];
    for process in &pair {
        process.waits_for("ready", |_| ());
    }
    let mut each = [Tellings::new(), Tellings::new()];
    for round in &ROUNDS {
        // What was asked of killed processes may be done: nobody need meet over that.
        let held = (kills == 0 || *round != ROUNDS[0]).then_some(&mut upstream);
        pay(&mut pair, round, held, &mut each);
    }
    pair.into_iter().for_each(Process::end);
    for each in &each {
        for (operation, tellings) in each {
            told.entry(*operation)
                .or_default()
                .extend_from_slice(tellings);
        }
    }
    let case = Case::new(told, &journal, upstream.end());
    report(&case, &each, keyed, kills, seed);
    check(&case, keyed, kills, seed);
    assert!(met(&each) > 0, "STURDY_SEED={seed}: they never met");
}

/// Lets two processes pay a round at the same time, until each was told all ends. While the upstream is held, what one of
/// them has claimed cannot end, so the other meets it.
fn pay(
    pair: &mut [Process; 2],
    round: &Range<u32>,
    mut held: Option<&mut Upstream>,
    each: &mut [Tellings; 2],
) {
    if let Some(upstream) = &mut held {
        upstream.hold();
    }
    for process in &mut *pair {
        ask(process, round);
    }
    if let Some(upstream) = held {
        let until = Clock::system().now() + MEET_WITHIN;
        let before = met(each);
        while met(each) == before && Clock::system().now() < until {
            for (process, told) in pair.iter().zip(&mut *each) {
                hear(process, Duration::from_millis(5), told);
            }
        }
        upstream.admit();
    }
    for (process, told) in pair.iter().zip(each) {
        let until = Clock::system().now() + PATIENCE;
        let is_over = |told: &Tellings| {
            let ended = |operation| told.get(&operation)?.iter().find(|told| told.is_end());
            operations(round).all(|operation| ended(operation).is_some())
        };
        while !is_over(told) {
            match process.hears_until(until) {
                Some(line) => take_down([line], told),
                None => panic!("not told all ends in time: {told:?}"),
            }
        }
    }
}

fn ask(process: &mut Process, round: &Range<u32>) {
    for operation in operations(round) {
        process.say(&format!("pay {}", operation.0));
    }
}

/// Hears a process for so long.
fn hear(process: &Process, span: Duration, told: &mut Tellings) {
    let until = Clock::system().now() + span;
    while let Some(line) = process.hears_until(until) {
        take_down([line], told);
    }
}

fn take_down(lines: impl IntoIterator<Item = String>, told: &mut Tellings) {
    for line in lines {
        if let Some((operation, what)) = Told::read(&line) {
            told.entry(operation).or_default().push(what);
        }
    }
}

fn report(case: &Case, each: &[Tellings; 2], keyed: bool, kills: usize, seed: u64) {
    println!(
        "STURDY_SEED={seed}, {}, {} killed before: {} operations by 2 processes x {TASKS} tasks: {} completed, {} \
         parked, {} effects, {} sends; {} met in two processes",
        if keyed { "keyed" } else { "looked up" },
        kills * 3,
        case.told.len(),
        case.count(State::Completed),
        case.count(State::Parked),
        case.effects.values().map(Vec::len).sum::<usize>(),
        case.sends.values().map(Vec::len).sum::<usize>(),
        met(each),
    );
}

/// How many operations one process was told of that the other worked on at that moment.
fn met(each: &[Tellings; 2]) -> usize {
    let told = each.iter().flat_map(BTreeMap::values);
    told.filter(|told| told.contains(&Told::Elsewhere)).count()
}

fn check(case: &Case, keyed: bool, kills: usize, seed: u64) {
    let mut wrong = case.judge();
    // Whatever goes wrong here leaves doubt, so each of these would be untrue of some.
    for (operation, told) in &case.told {
        let untrue = told.iter().filter(|told| match told {
            Told::Nothing(..) | Told::Rejected | Told::Wrong(_) => true,
            // Whether there was doubt is judged already: a request may have been given up before its first byte.
            Told::Parked => keyed,
            Told::Completed(_) | Told::Doubt | Told::Elsewhere => false,
        });
        wrong.extend(untrue.map(|told| format!("{operation:?}: told {told:?}")));
    }
    assert!(
        wrong.is_empty(),
        "STURDY_SEED={seed}, keyed: {keyed}, {kills} kills: {} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
