//! The money path under a seeded storm: clicks, duplicates, lost answers, late effects, crashes, a journal that fails.
//!
//! `STURDY_SEEDS=1000` runs more seeds; a failure names its seed, and `STURDY_SEED=n` runs that one again.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

mod judge;
mod storm;
mod upstream;

use storm::{Kind, storm};

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(
            text.parse::<u64>()
                .unwrap_or_else(|_| panic!("{name} is no number: {text:?}")),
        )
    };
    match number("STURDY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STURDY_SEEDS").unwrap_or(100),
    }
}

fn all_seeds(kind: Kind) {
    let mut failed = Vec::new();
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let wrong = runtime.block_on(storm(seed, kind));
        if !wrong.is_empty() {
            failed.push(format!("STURDY_SEED={seed}: {}", wrong.join("; ")));
        }
    }
    assert!(failed.is_empty(), "{kind:?}:\n{}", failed.join("\n"));
}

#[test]
fn keyed_writes_take_effect_at_most_once_and_settle() {
    all_seeds(Kind {
        keyed: true,
        hosts: 1,
        journal_fails: false,
    });
}

#[test]
fn keyed_writes_of_two_hosts_on_a_journal_that_fails_take_effect_at_most_once_and_settle() {
    all_seeds(Kind {
        keyed: true,
        hosts: 2,
        journal_fails: true,
    });
}

#[test]
fn writes_that_only_a_look_up_protects_take_effect_at_most_once_and_settle_or_park() {
    all_seeds(Kind {
        keyed: false,
        hosts: 1,
        journal_fails: false,
    });
}

#[test]
fn looked_up_writes_of_two_hosts_on_a_journal_that_fails_take_effect_at_most_once() {
    all_seeds(Kind {
        keyed: false,
        hosts: 2,
        journal_fails: true,
    });
}
