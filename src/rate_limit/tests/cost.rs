//! Calls that cost more than one slot, and limits that change.

use super::super::config::Scope;
use super::*;

fn costly(at: Nanos, cost: u32) -> Call {
    Call {
        cost,
        ..Call::at(at, 0)
    }
}

#[test]
fn a_batch_takes_what_it_costs_all_at_once_or_waits() {
    let quota = Quota::per_tenant("items", 40, Duration::from_secs(60)).by_cost();
    let calls = vec![costly(0, 30), costly(MS, 10), costly(2 * MS, 30)];
    let world = World::run(config(vec![quota], Anchor::Answer), calls);
    let sent: Vec<_> = world.stories.iter().map(|story| story.sent).collect();
    assert_eq!(sent, [Some(0), Some(MS), Some(60 * SECOND)]);
}

#[test]
fn a_flood_of_small_calls_cannot_starve_a_costly_one() {
    for (scope, tenant) in [(Scope::Tenant, 0), (Scope::App, 1)] {
        let quota = Quota {
            scope,
            ..Quota::per_tenant("items", 20, Duration::from_secs(1)).by_cost()
        };
        // Reads come twice as fast as they can go, so there is never a free slot that nobody wants.
        let mut calls: Vec<_> = (0..4_000)
            .map(|nth| Call {
                safety: Safety::Read,
                tenant,
                ..Call::at(nth * 25 * MS, 0)
            })
            .collect();
        calls.push(costly(10 * SECOND, 15));
        let world = World::run(config(vec![quota], Anchor::Answer), calls);
        let sent = world.stories[4_000].sent.unwrap();
        // It came after some 200 reads that wait, each of which is due before it, and it is owed the next slots.
        assert!(sent < 22 * SECOND, "sent at {sent}");
        world.assert_never_over_the_limit();
    }
}

#[test]
fn what_can_never_go_is_told_at_once_and_again_when_the_limit_shrinks() {
    let quota = Quota::per_tenant("items", 20, Duration::from_secs(1)).by_cost();
    let smaller = Quota {
        limit: 5,
        ..quota.clone()
    };
    let calls = vec![
        costly(0, 21),
        costly(MS, 20),
        costly(2 * MS, 6),
        costly(3 * MS, 5),
    ];
    let world = World::run_changing(
        config(vec![quota], Anchor::Answer),
        calls,
        vec![(4 * MS, vec![smaller])],
    );
    let told: Vec<_> = world.stories.iter().map(|story| story.too_costly).collect();
    assert_eq!(told, [true, false, true, false]);
    assert_eq!(world.stories[3].sent, Some(SECOND + MS));
}

#[test]
fn a_call_that_costs_more_than_what_is_not_reserved_is_for_user_actions_alone() {
    let quota = Quota::per_tenant("items", 10, Duration::from_secs(1))
        .by_cost()
        .reserving(3);
    let scheduled = Call {
        priority: Priority::Scheduled,
        ..costly(0, 8)
    };
    let world = World::run(
        config(vec![quota], Anchor::Answer),
        vec![scheduled, costly(0, 8)],
    );
    assert!(world.stories[0].too_costly);
    assert_eq!(world.stories[1].sent, Some(0));
}

#[test]
fn another_limit_gives_nobody_a_free_burst() {
    let minute = |limit, per| Quota::per_tenant("minute", limit, Duration::from_secs(per));
    let calls: Vec<_> = (0..100).map(|nth| Call::at(nth * MS, 0)).collect();
    let sent_by = |world: &World, at| {
        world
            .sent(|_| true)
            .into_iter()
            .filter(|sent| *sent <= at)
            .count()
    };
    // Wider: the difference, and no more.
    let world = World::run_changing(
        config(vec![minute(10, 60)], Anchor::Answer),
        calls.clone(),
        vec![(SECOND, vec![minute(15, 60)])],
    );
    assert_eq!(sent_by(&world, 59 * SECOND), 15);
    // Narrower: nobody until enough have come back.
    let world = World::run_changing(
        config(vec![minute(10, 60)], Anchor::Answer),
        calls.clone(),
        vec![(SECOND, vec![minute(4, 60)])],
    );
    assert_eq!(sent_by(&world, 61 * SECOND), 14);
    // Longer: what is out comes back later by the difference.
    let world = World::run_changing(
        config(vec![minute(10, 60)], Anchor::Answer),
        calls,
        vec![(SECOND, vec![minute(10, 90)])],
    );
    assert_eq!(sent_by(&world, 89 * SECOND), 10);
    assert_eq!(sent_by(&world, 91 * SECOND), 20);
}

#[test]
fn slots_that_are_free_when_per_grows_are_not_free_at_once() {
    let second = |per| Quota::per_tenant("window", 3, Duration::from_secs(per));
    let calls = (0..3)
        .map(|_| Call::at(0, 0))
        .chain((0..3).map(|_| Call::at(5 * SECOND, 0)))
        .collect();
    let world = World::run_changing(
        config(vec![second(1)], Anchor::Answer),
        calls,
        vec![(4 * SECOND, vec![second(10)])],
    );
    // They came back at 1 s, which nobody remembers: for all that is known it was just now.
    assert_eq!(world.stories[3].sent, Some(13 * SECOND));
}
