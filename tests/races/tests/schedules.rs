//! Every race, under many schedules.
//!
//! `STURDY_SCHEDULES=100000` tries more; a failure prints the seed of its schedule, and `STURDY_SEED=n` with
//! `STURDY_SCHEDULES=1` runs that one again.

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};
use tower_sturdy_races::races;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}

fn explore(race: fn()) {
    let schedules = usize::try_from(number("STURDY_SCHEDULES").unwrap_or(1_000)).unwrap();
    let seed = number("STURDY_SEED").unwrap_or(1);
    println!("{schedules} schedules from STURDY_SEED={seed}");
    let mut config = Config::new();
    // Futures of a test build are deep.
    config.stack_size = 0x8_0000;
    let random = RandomScheduler::new_from_seed(seed, schedules);
    Runner::new(random, config.clone()).run(race);
    // And some where few tasks are held up for long, which chance hardly does.
    let held_up = PctScheduler::new_from_seed(seed, 3, schedules.div_ceil(4));
    Runner::new(held_up, config).run(race);
}

macro_rules! explored {
    ($($race:ident),* $(,)?) => {$(
        #[test]
        fn $race() {
            explore(races::$race);
        }
    )*};
}

explored!(
    whoever_joins_is_woken_with_the_answer,
    whoever_joins_is_told_every_other_end_too,
    whoever_leaves_gets_the_end_or_the_promise_that_it_goes_on,
    whoever_loses_patience_alone_gets_the_end_or_the_write_goes_on,
    whoever_asks_for_something_else_is_told_so_and_leaves_no_page,
    nobody_takes_in_hand_what_a_task_works_on,
    whoever_waits_for_a_claim_is_woken_when_it_is_made,
    whoever_waits_for_the_worker_is_woken_by_it,
    whoever_joins_is_told_something_while_the_journal_fails,
    a_shutdown_ends_what_was_taken_and_refuses_what_was_not,
    no_task_is_lost_between_close_and_drain,
    whoever_waits_for_the_end_is_woken,
    a_kill_stops_everything_and_hangs_nobody,
);
