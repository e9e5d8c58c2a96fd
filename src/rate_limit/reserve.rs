//! How many slots to keep for user actions. No clock, no lock.

use std::time::Duration;

/// One in so many user actions may wait longer than was asked for.
const ONE_IN: f64 = 1000.0;
/// More slots than any quota here has.
const MOST: u32 = 1_000_000;

/// The [`reserve`](super::Quota::reserve) with which all but one in a thousand user actions find a slot within `wait`,
/// however much background work there is.
///
/// `per_second` is how many user actions come, at random (a Poisson process; bursts that are planned need as many slots as
/// they are large); `held` is how long each holds its slot: `per` and the time to the answer.
///
/// One in a thousand over a long time, so that it is less than one in a hundred in a busy quarter of an hour too: where
/// slots are held for a minute, a busy minute is felt for a minute more.
///
/// Background work fills what is not reserved, so user actions have the reserve to themselves: a queue with as many
/// servers as slots. This is Erlang's formula for it (M/M/c), which errs on the safe side: slots are held for nearly
/// constant times. The [room](super#how-much-to-reserve) has a table.
///
/// ```
/// use std::time::Duration;
/// use tower_sturdy::rate_limit::reserve_for;
///
/// // 100 user actions a minute, answered in 200 ms, under a quota of 500 a minute: 100.3 slots are out on average.
/// let held = Duration::from_millis(60_200);
/// assert_eq!(reserve_for(100.0 / 60.0, held, Duration::from_millis(50)), 134);
/// ```
#[must_use]
pub fn reserve_for(per_second: f64, held: Duration, wait: Duration) -> u32 {
    let load = per_second * held.as_secs_f64();
    if !load.is_finite() || load <= 0.0 {
        return 0;
    }
    let waits = wait.as_secs_f64() / held.as_secs_f64();
    // How likely all slots are taken, for each number of slots in turn (Erlang B).
    let mut blocked = 1.0;
    for slots in 1..MOST {
        let servers = f64::from(slots);
        blocked = load * blocked / (servers + load * blocked);
        if servers <= load {
            continue;
        }
        let queued = blocked / (1.0 - load / servers * (1.0 - blocked));
        let too_long = queued * (-(servers - load) * waits).exp();
        if too_long * ONE_IN <= 1.0 {
            return slots;
        }
    }
    MOST
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table in the module's documentation: slots that users hold on average, and the reserve for a wait
    /// of 0, of a hundredth, and of a tenth of the time that a slot is held.
    const TABLE: [(f64, [u32; 3]); 8] = [
        (0.5, [5, 5, 5]),
        (1.0, [6, 6, 6]),
        (2.0, [9, 9, 8]),
        (5.0, [14, 14, 13]),
        (10.0, [22, 22, 21]),
        (20.0, [36, 36, 34]),
        (50.0, [74, 74, 70]),
        (100.0, [134, 132, 125]),
    ];

    #[test]
    fn the_table_of_the_docs_is_what_the_formula_gives() {
        let docs = include_str!("mod.rs");
        for (load, reserves) in TABLE {
            let held = Duration::from_secs(1);
            let found = [0, 10, 100].map(|ms| reserve_for(load, held, Duration::from_millis(ms)));
            assert_eq!(found, reserves, "for {load}");
            let [none, hundredth, tenth] = reserves;
            let row = format!("//! | {load} | {none} | {hundredth} | {tenth} |");
            assert!(docs.contains(&row), "the docs lack {row:?}");
        }
    }

    #[test]
    fn nonsense_needs_no_reserve_and_never_hangs() {
        let second = Duration::from_secs(1);
        for load in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(reserve_for(load, second, second), 0);
        }
        assert_eq!(reserve_for(5.0, Duration::ZERO, second), 0);
        assert_eq!(reserve_for(1e9, second, second), MOST);
    }
}
