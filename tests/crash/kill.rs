//! `kill -9`: a process under load is killed again and again, and each time a new one goes on from the same file.
//!
//! What a caller was told before a kill holds after all of them; nothing happened twice, and nothing is lost. The
//! upstream is another process, behind a socket; half of what it does wrong leaves doubt.

use crate::hits::Hits;
use crate::judge::Case;
use crate::load::{Load, Moment, NEW_AT_ONCE, OLD_AT_ONCE};
use crate::number;
use crate::process::payer::{Payer, Told};
use crate::process::settings::HORIZON;
use crate::process::upstream::Upstream;
use tower_sturdy::journal::State;

fn kills() -> u32 {
    u32::try_from(number("STURDY_KILLS").unwrap_or(100)).unwrap()
}

#[test]
fn whoever_was_told_the_end_of_a_keyed_write_was_told_the_truth_whatever_is_killed() {
    play(kills(), true);
}

#[test]
fn a_write_that_only_a_look_up_protects_happens_once_or_is_parked_whatever_is_killed() {
    play(kills().div_ceil(3), false);
}

fn play(kills: u32, keyed: bool) {
    let seed = number("STURDY_SEED").unwrap_or(1);
    let mut rng = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("killed.journal");
    let mut load = Load::default();
    let mut upstream = Upstream::start(seed, keyed, true);
    let address = upstream.address.clone();
    let payer = Payer {
        journal: &journal,
        upstream: &address,
        keyed,
        tasks: OLD_AT_ONCE + NEW_AT_ONCE,
    };
    let mut killed = Vec::new();
    for round in 0..kills {
        let moment = Moment::draw(round, &load, &mut rng);
        killed.push(load.run_until(moment, payer.start()));
    }
    upstream.calm();
    // Nobody's place is taken by what stays in doubt.
    let payer = Payer {
        tasks: load.told.len(),
        ..payer
    };
    load.settle(payer.start());
    load.finish(payer.start_ahead(2 * HORIZON));
    let case = Case::new(load.told, &journal, upstream.end());
    let hits = Hits::new(&case, &killed);
    report(&case, &hits, keyed, seed);
    let wrong = case.judge();
    assert!(
        wrong.is_empty(),
        "STURDY_SEED={seed} STURDY_KILLS={kills}, keyed: {keyed}: {} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    check_that_it_was_hit(&case, &hits);
}

fn report(case: &Case, hits: &Hits, keyed: bool, seed: u64) {
    println!(
        "STURDY_SEED={seed}, {}: {} kills, {} of them with operations in flight ({} begun, {} at work upstream, {} \
         finished upstream and not on record), {} takeovers",
        if keyed { "keyed" } else { "looked up" },
        hits.kills,
        hits.in_flight,
        hits.begun,
        hits.upstream,
        hits.answered,
        hits.takeovers,
    );
    println!(
        "  {} operations: {} completed ({} told so), {} rejected ({} told so), {} parked; {} told of doubt, {} that \
         nothing happened; {} sends, {} effects",
        case.told.len(),
        case.count(State::Completed),
        case.count_told(|told| matches!(told, Told::Completed(_))),
        case.count(State::Rejected),
        case.count_told(|told| *told == Told::Rejected),
        case.count(State::Parked),
        case.count_told(|told| matches!(told, Told::Doubt | Told::Elsewhere)),
        case.count_told(|told| matches!(told, Told::Nothing(..))),
        case.sends.values().map(Vec::len).sum::<usize>(),
        case.effects.values().map(Vec::len).sum::<usize>(),
    );
}

/// A run in which nothing was hit proves nothing.
fn check_that_it_was_hit(case: &Case, hits: &Hits) {
    if hits.kills < 20 {
        return;
    }
    assert!(
        hits.in_flight * 4 >= hits.kills,
        "kills hit nothing: {hits:?}"
    );
    assert!(hits.upstream > 0, "no kill hit a send: {hits:?}");
    assert!(hits.takeovers > 0, "nothing was taken over: {hits:?}");
    let completed = case.count(State::Completed);
    assert!(
        completed * 2 > case.told.len(),
        "only {completed} completed"
    );
}
