//! What goes through, and in which order, in schedules that are written out.

use super::*;

#[test]
fn while_work_waits_nearly_all_that_the_quota_allows_goes_through() {
    for (limit, per, latency) in [
        (10, 1, 120),
        (500, 60, 120),
        (10, 1, 860),
        (3, 1, 0),
        (1100, 60, 120),
    ] {
        let per = Duration::from_secs(per);
        let quota = Quota::per_tenant("only", limit, per);
        let calls = (0..6000).map(|_| Call::at(0, latency * MS)).collect();
        let world = World::run(config(vec![quota], Anchor::Answer), calls);
        world.assert_never_over_the_limit();
        let answer = Duration::from_millis(latency);
        let allowed = 60.0 * f64::from(limit) / (per + answer).as_secs_f64();
        let flowed = a_minute(&world.sent(|_| true), 2);
        assert!(
            flowed >= 0.98 * allowed,
            "{flowed} of {allowed} a minute at {limit} per {per:?}"
        );
    }
}

#[test]
fn a_line_of_batches_takes_nothing_from_the_rest_and_gets_all_of_its_own() {
    let quotas = vec![
        Quota::per_tenant("minute", 500, Duration::from_secs(60)),
        Quota::per_tenant("second", 10, Duration::from_secs(1)),
        Quota::per_tenant("batches", 40, Duration::from_secs(60)).for_class(BATCH),
    ];
    let call = |index: u64| Call {
        class: if index.is_multiple_of(3) {
            BATCH
        } else {
            Class(0)
        },
        ..Call::at(index, 120 * MS)
    };
    let world = World::run(
        config(quotas, Anchor::Answer),
        (0..3000).map(call).collect(),
    );
    world.assert_never_over_the_limit();
    let per = 60.12 / 60.0;
    let batches = a_minute(&world.sent(|call| call.class == BATCH), 3);
    let all = a_minute(&world.sent(|_| true), 3);
    assert!(batches >= 0.98 * 40.0 / per, "{batches} batches a minute");
    assert!(all >= 0.98 * 500.0 / per, "{all} requests a minute");
}

#[test]
fn a_flooding_tenant_costs_the_others_nothing_of_their_share() {
    let quota = Quota::per_app("app", 500, Duration::from_secs(60));
    let flood = (0..5000).map(|_| Call::at(0, 120 * MS));
    // Each of the others asks for 24 a minute: just under its twentieth.
    let others = (1..20).flat_map(|tenant| {
        (0..72).map(move |nth| Call {
            tenant,
            ..Call::at(nth * 2500 * MS + tenant as u64 * MS, 120 * MS)
        })
    });
    let calls = flood.chain(others).collect();
    let world = World::run(config(vec![quota], Anchor::Answer), calls);
    world.assert_never_over_the_limit();
    for (call, story) in world.calls.iter().zip(&world.stories) {
        // The flood took the whole first window before anyone else came; from then on everyone has its turn.
        if call.tenant > 0 && call.at > 70 * SECOND {
            let waited = story.sent.unwrap() - call.at;
            assert!(
                waited <= 61 * SECOND,
                "tenant {} waited {waited} ns",
                call.tenant
            );
        }
    }
    for tenant in 1..20 {
        let share = world
            .sent(|call| call.tenant == tenant)
            .iter()
            .filter(|at| **at < 241 * SECOND)
            .count();
        assert_eq!(share, 72, "tenant {tenant} got less than its share");
    }
}

#[test]
fn shared_slots_are_dealt_in_turns_while_everyone_waits() {
    let quota = Quota::per_app("app", 20, Duration::from_secs(10));
    // Tenant 0 came first with much, the others later with less.
    let calls = (0..400)
        .map(|_| Call::at(0, 0))
        .chain((1..20).flat_map(|tenant| {
            (0..5).map(move |_| Call {
                tenant,
                ..Call::at(MS, 0)
            })
        }))
        .collect();
    let world = World::run(config(vec![quota], Anchor::Answer), calls);
    for round in 1..=5 {
        let window = (round * 10 * SECOND)..(round * 10 * SECOND + SECOND);
        for tenant in 0..20 {
            let got = world
                .sent(|call| call.tenant == tenant)
                .iter()
                .filter(|at| window.contains(*at))
                .count();
            assert_eq!(got, 1, "tenant {tenant} in round {round}");
        }
    }
}

#[test]
fn shared_slots_that_come_one_by_one_are_dealt_in_turns_too() {
    let quota = Quota::per_app("app", 10, Duration::from_secs(10));
    let first_window = (0..10).map(|nth| Call::at(nth * SECOND, 0));
    let flood = (0..200).map(|_| Call::at(9 * SECOND, 0));
    let others = (1..5).flat_map(|tenant| {
        (0..20).map(move |_| Call {
            tenant,
            ..Call::at(9 * SECOND + MS, 0)
        })
    });
    let calls = first_window.chain(flood).chain(others).collect();
    let world = World::run(config(vec![quota], Anchor::Answer), calls);
    // Five tenants wait, a slot comes back every second: each has every fifth.
    for round in 2..15 {
        let window = (round * 5 * SECOND)..((round + 1) * 5 * SECOND);
        for tenant in 0..5 {
            let sent = world.sent(|call| call.tenant == tenant);
            let got = sent.iter().filter(|at| window.contains(*at)).count();
            assert_eq!(got, 1, "tenant {tenant} in round {round}");
        }
    }
}

#[test]
fn a_tenant_that_joins_late_is_owed_nothing_for_the_turns_before() {
    let quota = Quota::per_app("app", 1, Duration::from_secs(1));
    let flood = |tenant, from| {
        (0..60).map(move |_| Call {
            tenant,
            ..Call::at(from, 0)
        })
    };
    let joins = 30 * SECOND + MS;
    let calls = flood(0, 0)
        .chain(flood(1, 0))
        .chain(flood(2, joins))
        .collect();
    let world = World::run(config(vec![quota], Anchor::Answer), calls);
    for tenant in 0..3 {
        let sent = world.sent(|call| call.tenant == tenant);
        let got = sent
            .iter()
            .filter(|at| (joins..joins + 30 * SECOND).contains(*at));
        assert_eq!(got.count(), 10, "tenant {tenant}");
    }
}

#[test]
fn a_scheduled_call_is_passed_only_by_what_came_within_the_head_start() {
    let quota = Quota::per_tenant("second", 1, Duration::from_secs(1));
    let scheduled = Call {
        priority: Priority::Scheduled,
        ..Call::at(500 * MS, 0)
    };
    // More user actions than fit, for longer than the head start.
    let calls = std::iter::once(scheduled)
        .chain((0..60).map(|nth| Call::at(nth * 400 * MS, 0)))
        .collect();
    let world = World::run(config(vec![quota], Anchor::Answer), calls);
    let sent = world.stories[0].sent.unwrap();
    // The head start is 5 s: what came until 5.5 s goes first (14 calls), nothing that came later does.
    assert_eq!(sent, 14 * SECOND);
}

#[test]
fn nobody_starves_between_an_own_and_a_shared_quota_that_are_never_free_together() {
    let quotas = vec![
        Quota::per_tenant("second", 1, Duration::from_secs(1)),
        Quota::per_app("batches", 1, Duration::from_millis(2500)).for_class(BATCH),
    ];
    let call = |tenant, class| Call {
        tenant,
        class,
        ..Call::at(0, 0)
    };
    // A little more than the own quota lets through, all of it later than the one call that needs both.
    let mut calls: Vec<_> = (0..200)
        .map(|nth| Call {
            at: nth * 900 * MS,
            ..call(0, Class(0))
        })
        .collect();
    // The shared slot comes back at quarters, the own one at whole seconds.
    calls.extend((0..100).map(|_| Call {
        at: 250 * MS,
        ..call(1, BATCH)
    }));
    calls.push(Call {
        at: MS,
        ..call(0, BATCH)
    });
    let world = World::run(config(quotas, Anchor::Answer), calls);
    let waited = world.stories[300].sent.unwrap();
    assert!(waited < 12 * SECOND, "waited {waited} ns");
}

#[test]
fn an_abandoned_call_counts_as_answered_when_its_settle_window_is_over() {
    let second = Duration::from_secs(1);
    for (quota, free) in [
        (Quota::per_tenant("second", 1, second), 31 * SECOND),
        (Quota::at_once("at once", 1), 30 * SECOND),
    ] {
        let abandoned = Call {
            fate: Fate::Abandoned,
            ..Call::at(0, 0)
        };
        let world = World::run(
            config(vec![quota], Anchor::Answer),
            vec![abandoned, Call::at(MS, 0)],
        );
        assert_eq!(world.stories[1].sent, Some(free));
    }
}

#[test]
fn a_throttle_answer_refuses_those_who_cannot_wait_that_long_and_keeps_the_rest() {
    let quota = Quota::at_once("at once", 1);
    let throttled = Call {
        fate: Fate::Throttled(60 * SECOND),
        ..Call::at(0, SECOND)
    };
    let short = Call {
        patience: 10 * SECOND,
        ..Call::at(MS, 0)
    };
    let read = Call {
        safety: Safety::Read,
        ..Call::at(MS, 0)
    };
    let calls = vec![throttled, short, Call::at(MS, 0), read];
    let world = World::run(config(vec![quota], Anchor::Answer), calls);
    assert!(world.stories[1].refused);
    assert_eq!(world.stories[2].sent, Some(61 * SECOND));
    assert_eq!(
        world.stories[3].sent,
        Some(61 * SECOND),
        "a limit that a write ran into holds for reads"
    );
}

#[test]
fn idle_tenants_leave_while_one_is_busy() {
    let quota = Quota::per_tenant("second", 1000, Duration::from_secs(1));
    let crowd = (1..1000).map(|tenant| Call {
        tenant,
        ..Call::at(0, 0)
    });
    let busy = (0..20_000).map(|nth| Call::at(2 * SECOND + nth * 2 * MS, 0));
    let world = World::run(
        config(vec![quota], Anchor::Answer),
        crowd.chain(busy).collect(),
    );
    assert_eq!(world.admission.tenants.len(), 1);
}
