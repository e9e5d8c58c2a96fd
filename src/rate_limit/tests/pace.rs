//! Scheduled work: its pace, and the slots that it leaves to user actions.

use super::super::config::Pace;
use super::*;
use governor::clock::FakeRelativeClock;
use governor::{Quota as GovernorQuota, RateLimiter};
use proptest::prelude::*;

fn scheduled(at: Nanos) -> Call {
    Call {
        priority: Priority::Scheduled,
        ..Call::at(at, 0)
    }
}

proptest! {
    #[test]
    fn the_pace_is_what_governor_decides_with_a_burst_of_one(
        gaps in prop::collection::vec(0_u64..300, 1..60),
        every in 1_u64..200,
    ) {
        let config = RateLimitConfig {
            pace: Pace::Every(Duration::from_millis(every)),
            ..config(vec![Quota::at_once("at once", 1000)], Anchor::Answer)
        };
        let clock = FakeRelativeClock::default();
        let quota = GovernorQuota::with_period(Duration::from_millis(every)).unwrap();
        let governor = RateLimiter::direct_with_clock(quota, clock.clone());
        let (mut calls, mut allowed) = (Vec::new(), Vec::new());
        let mut now = 0;
        for gap in gaps {
            clock.advance(Duration::from_millis(gap));
            now += gap * MS;
            // Who cannot go at once leaves, as with a limiter that only refuses.
            calls.push(Call { patience: 0, ..scheduled(now) });
            allowed.push(governor.check().is_ok());
        }
        let world = World::run(config, calls);
        let went: Vec<_> = world.stories.iter().map(|story| story.sent.is_some()).collect();
        prop_assert_eq!(went, allowed);
    }
}

#[test]
fn a_bulk_sync_trickles_and_whoever_is_not_scheduled_passes_it() {
    let config = RateLimitConfig {
        pace: Pace::Every(Duration::from_secs(1)),
        ..config(vec![Quota::at_once("at once", 1000)], Anchor::Answer)
    };
    let mut calls: Vec<_> = (0..10).map(|_| scheduled(0)).collect();
    calls.push(Call {
        priority: Priority::EventTriggered,
        ..Call::at(MS, 0)
    });
    let world = World::run(config, calls);
    let sent = world.sent(|call| call.priority == Priority::Scheduled);
    let seconds: Vec<_> = (0..10).map(|nth| nth * SECOND).collect();
    assert_eq!(sent, seconds);
    assert_eq!(world.stories[10].sent, Some(MS));
}

#[test]
fn each_tenant_has_a_pace_of_its_own() {
    let config = RateLimitConfig {
        pace: Pace::Every(Duration::from_secs(1)),
        ..config(
            vec![Quota::per_app("app", 1000, Duration::ZERO)],
            Anchor::Answer,
        )
    };
    let calls = (0..10)
        .map(|tenant| Call {
            tenant,
            ..scheduled(0)
        })
        .collect();
    assert_eq!(World::run(config, calls).sent(|_| true), [0; 10]);
}

#[test]
fn background_work_never_takes_the_slots_that_are_reserved_for_user_actions() {
    for priority in [Priority::EventTriggered, Priority::Scheduled] {
        let quota = Quota::per_tenant("minute", 10, Duration::from_secs(60)).reserving(4);
        let background = (0..20).map(|_| Call {
            priority,
            ..Call::at(0, 0)
        });
        let users = (0..5).map(|_| Call::at(SECOND, 0));
        let world = World::run(
            config(vec![quota], Anchor::Answer),
            background.chain(users).collect(),
        );
        let at_once = |user, at| {
            let sent = world.sent(|call| (call.priority == Priority::UserAction) == user);
            sent.into_iter().filter(|sent| *sent == at).count()
        };
        assert_eq!(at_once(false, 0), 6);
        assert_eq!(
            at_once(true, SECOND),
            4,
            "the fifth waits with everyone else"
        );
        assert_eq!(at_once(false, 60 * SECOND), 5);
        assert_eq!(at_once(true, 60 * SECOND), 1);
    }
}

#[test]
fn what_users_take_of_their_reserve_costs_background_work_nothing() {
    let quota = Quota::per_tenant("minute", 10, Duration::from_secs(60)).reserving(4);
    let users = (0..4).map(|_| Call::at(0, 0));
    let background = (0..6).map(|_| scheduled(MS));
    let world = World::run(
        config(vec![quota], Anchor::Answer),
        users.chain(background).collect(),
    );
    assert_eq!(world.sent(|_| true).last(), Some(&MS));
}
