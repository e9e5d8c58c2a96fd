//! Any schedule of arrivals, priorities, costs, latencies, cancellations and changes.

use super::*;
use crate::rate_limit::config::Pace;
use proptest::prelude::*;

fn any_config() -> impl Strategy<Value = RateLimitConfig> {
    let second = Duration::from_secs(1);
    prop::sample::select(vec![
        vec![Quota::per_tenant("tight", 2, second)],
        vec![Quota::at_once("at once", 2)],
        // Wide enough for its returns to be kept in steps.
        vec![
            Quota::per_tenant("wide", 2000, second),
            Quota::per_app("app", 7, 2 * second),
        ],
        vec![
            Quota::per_tenant("second", 3, second),
            Quota::per_tenant("minute", 12, 20 * second),
            Quota::at_once("at once", 2),
            Quota::per_tenant("batches", 1, 3 * second).for_class(BATCH),
        ],
        vec![
            Quota::per_tenant("second", 2, second),
            Quota::per_app("app", 5, 3 * second),
            Quota::per_app("app batches", 1, 5 * second).for_class(BATCH),
        ],
        vec![
            Quota::per_tenant("items", 12, 2 * second).by_cost(),
            Quota::per_tenant("requests", 4, second),
            Quota::per_app("app items", 20, 3 * second).by_cost(),
        ],
        vec![
            Quota::per_tenant("minute", 9, 10 * second).reserving(3),
            Quota::at_once("at once", 3).reserving(1),
            Quota::per_app("app", 12, 5 * second).reserving(2),
        ],
        vec![
            Quota::per_tenant("items", 10, second)
                .by_cost()
                .reserving(2),
            Quota::per_tenant("batches", 2, 4 * second)
                .for_class(BATCH)
                .reserving(1),
        ],
    ])
    .prop_flat_map(|quotas| {
        let pace = prop_oneof![
            3 => Just(Pace::Unpaced),
            1 => Just(Pace::Even),
            1 => (1..2_000_u64).prop_map(|ms| Pace::Every(Duration::from_millis(ms))),
        ];
        pace.prop_map(move |pace| RateLimitConfig {
            pace,
            ..config(quotas.clone(), Anchor::Answer)
        })
    })
}

/// Other numbers for the same quotas, up to three times while the calls come.
fn any_changes(quotas: Vec<Quota>) -> impl Strategy<Value = Vec<(Nanos, Vec<Quota>)>> {
    let numbers = prop::collection::vec((0..4_u32, 0..3_u32), quotas.len());
    prop::collection::vec((1..40_000_u64, numbers), 0..3).prop_map(move |changes| {
        let mut changes: Vec<_> = changes
            .into_iter()
            .map(|(at, numbers)| {
                let mut changed = quotas.clone();
                for (quota, (limit, per)) in changed.iter_mut().zip(numbers) {
                    quota.limit = match limit {
                        0 => quota.reserve + 1,
                        1 => quota.limit * 2,
                        2 => (quota.limit * 2 / 3).max(quota.reserve + 1),
                        _ => quota.limit,
                    };
                    quota.per = match per {
                        0 => quota.per / 3,
                        1 => quota.per * 3,
                        _ => quota.per,
                    };
                }
                (at * MS, changed)
            })
            .collect();
        changes.sort_by_key(|(at, _)| *at);
        changes
    })
}

/// A whole story: settings, calls, and changes on the way.
type Story = (RateLimitConfig, Vec<Call>, Vec<(Nanos, Vec<Quota>)>);

fn any_story() -> impl Strategy<Value = Story> {
    any_config().prop_flat_map(|config| {
        let changes = any_changes(config.quotas.clone());
        (Just(config), any_schedule(), changes)
    })
}

fn any_call() -> impl Strategy<Value = Call> {
    let fate = prop_oneof![
        12 => Just(Fate::Answered),
        2 => Just(Fate::Unsent),
        1 => Just(Fate::Abandoned),
        1 => (1..20_u64).prop_map(|pause| Fate::Throttled(pause * SECOND)),
    ];
    // Latencies from nothing to beyond the longest that QBO lets a request run (120 s).
    let latency = prop_oneof![3 => 0..400_u64, 2 => 0..5_000_u64, 1 => 0..125_000_u64];
    (
        0..400_u64,
        0..3_usize,
        prop::sample::select(vec![Class(0), Class(0), BATCH]),
        prop::sample::select(vec![Safety::Read, Safety::Write]),
        prop::sample::select(Priority::ALL.to_vec()),
        prop_oneof![3 => Just(1_u32), 2 => 1..5_u32, 1 => 5..11_u32],
        latency,
        fate,
        prop::option::weighted(0.1, 1..5_000_u64),
        prop::option::weighted(0.1, 1..3_000_u64),
    )
        .prop_map(
            |(gap, tenant, class, safety, priority, cost, latency, fate, patience, dropped)| Call {
                at: gap * MS,
                tenant,
                class,
                safety,
                priority,
                cost,
                latency: latency * MS,
                fate,
                patience: patience.map_or(PATIENT, |ms| ms * MS),
                dropped_after: dropped.map(|ms| ms * MS),
            },
        )
}

fn any_schedule() -> impl Strategy<Value = Vec<Call>> {
    prop::collection::vec(any_call(), 1..80).prop_map(|mut calls| {
        let mut now = 0;
        for call in &mut calls {
            now += call.at;
            call.at = now;
        }
        calls
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_comes_the_upstream_never_sees_more_than_the_limit((config, calls, changes) in any_story()) {
        World::run_changing(config, calls, changes).assert_never_over_the_limit();
    }

    #[test]
    fn whatever_comes_everyone_is_let_through_or_told_in_time((config, calls, changes) in any_story()) {
        World::run_changing(config, calls, changes).assert_everyone_was_served_or_told();
    }

    #[test]
    fn whatever_comes_a_line_is_served_by_arrival_less_head_start((config, calls, changes) in any_story()) {
        World::run_changing(config, calls, changes).assert_order_is_arrival_less_head_start();
    }

    #[test]
    fn whatever_comes_nobody_who_could_go_stands_in_line((config, mut calls, changes) in any_story()) {
        for call in &mut calls {
            call.cost = 1;
        }
        World::run_changing(config, calls, changes);
    }

    #[test]
    fn whatever_comes_scheduled_calls_keep_the_pace((config, calls, changes) in any_story()) {
        World::run_changing(config, calls, changes).assert_scheduled_calls_keep_the_pace();
    }

    #[test]
    fn whatever_comes_no_slot_and_no_idle_tenant_stays((config, calls, changes) in any_story()) {
        World::run_changing(config, calls, changes).assert_nothing_leaks();
    }

    #[test]
    fn counted_from_the_send_the_limit_holds_while_requests_are_counted_within_the_margin(calls in any_schedule()) {
        let margin = Duration::from_millis(50);
        let mut world = World::run(
            config(vec![Quota::per_tenant("second", 3, Duration::from_secs(1))], Anchor::Send { margin }),
            calls,
        );
        // The upstream counts within the margin of the send, however long the answer takes.
        for story in &mut world.stories {
            story.over = story.sent.zip(story.over).map(|(sent, over)| over.min(sent + nanos(margin)));
        }
        for call in &mut world.calls {
            if call.fate == Fate::Abandoned {
                call.fate = Fate::Answered;
            }
        }
        world.assert_never_over_the_limit();
    }
}
