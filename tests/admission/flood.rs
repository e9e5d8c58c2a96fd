//! Background work floods, and user actions come at random: who waits, and how much flows.

use crate::upstream::{Chance, Seen, Upstream, assert_within, p99, request};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt};
use tower_sturdy::clock::Clock;
use tower_sturdy::context::Priority;
use tower_sturdy::rate_limit::{Pace, Quota, RateLimitConfig, RateLimitLayer, reserve_for};

const LIMIT: u32 = 500;
const PER: Duration = Duration::from_secs(60);
const ANSWER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(300));
const MEAN: Duration = Duration::from_millis(200);
/// User actions come at 20 % of what the quota allows.
const USERS: f64 = 0.2 * LIMIT as f64 / 60.0;
/// Background work comes at ten times of it.
const FLOOD: f64 = 10.0 * LIMIT as f64 / 60.0;
const LENGTH: Duration = Duration::from_secs(15 * 60);
/// By then the flood has filled the window and the line.
const SETTLED: Duration = Duration::from_secs(3 * 60);

struct Run {
    seen: Vec<Seen>,
    /// How long each user action stood in line, of those that came after everything had settled.
    waited: Vec<Duration>,
    refused: usize,
}

async fn flood(reserve: u32, pace: Pace, seed: u64) -> Run {
    let layer = RateLimitLayer::new(RateLimitConfig {
        pace,
        ..RateLimitConfig::with_quotas([Quota::per_tenant("minute", LIMIT, PER).reserving(reserve)])
    })
    .unwrap();
    let upstream = Upstream::new();
    let service = layer.layer(upstream.answering(ANSWER.0, ANSWER.1, seed));
    let waited = Arc::new(Mutex::new(Vec::new()));
    let mut chance = Chance(seed);
    let mut tasks = JoinSet::new();
    for (priority, rate) in [(Priority::UserAction, USERS), (Priority::Scheduled, FLOOD)] {
        let mut at = Duration::ZERO;
        while at < LENGTH {
            at += chance.gap(rate);
            let (service, upstream, waited) =
                (service.clone(), upstream.clone(), Arc::clone(&waited));
            tasks.spawn(async move {
                Clock::system().sleep(at).await;
                let came = upstream.since();
                let answer = service.oneshot(request("a", priority, 1)).await;
                let user = priority == Priority::UserAction;
                if user && came > SETTLED {
                    // It answered in at most the longest answer time, so the rest was the line.
                    let took = upstream.since().saturating_sub(came);
                    waited.lock().unwrap().push(took.saturating_sub(ANSWER.1));
                }
                usize::from(user && answer.is_err())
            });
        }
    }
    let mut refused = 0;
    while let Some(done) = tasks.join_next().await {
        refused += done.unwrap();
    }
    Run {
        seen: upstream.seen(),
        waited: Arc::into_inner(waited).unwrap().into_inner().unwrap(),
        refused,
    }
}

/// How much flowed of what `slots` can let through, over whole rounds of `per` and the answer.
fn flowed(run: &Run, slots: u32, count: impl Fn(&Seen) -> bool) -> f64 {
    let round = PER + MEAN;
    let span = round * 8;
    let within = (run.seen.iter())
        .filter(|seen| count(seen) && (SETTLED..SETTLED + span).contains(&seen.sent))
        .count();
    within as f64 / (f64::from(slots) * 8.0)
}

#[tokio::test(start_paused = true)]
async fn under_a_flood_nearly_all_that_the_slots_allow_flows() {
    for pace in [Pace::Unpaced, Pace::Even] {
        let run = flood(0, pace, 7).await;
        assert_within(&run.seen, LIMIT, PER, PER);
        let flowed = flowed(&run, LIMIT, |_| true);
        assert!(flowed >= 0.98, "{flowed:.4} with {pace:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_the_reserve_for_their_load_user_actions_hardly_wait_and_the_rest_flows() {
    let wait = Duration::from_millis(50);
    let reserve = reserve_for(USERS, PER + MEAN, wait);
    for (seed, pace) in [(7, Pace::Unpaced), (8, Pace::Even), (9, Pace::Unpaced)] {
        let run = flood(reserve, pace, seed).await;
        assert_within(&run.seen, LIMIT, PER, PER);
        let background = |seen: &Seen| seen.priority != Priority::UserAction;
        let flowed = flowed(&run, LIMIT - reserve, background);
        let p99 = p99(run.waited.clone());
        eprintln!(
            "seed {seed}, {pace:?}: {} user actions, p99 of the wait {p99:?}, background {flowed:.4} of {} slots",
            run.waited.len(),
            LIMIT - reserve
        );
        assert_eq!(run.refused, 0);
        assert!(p99 < wait, "p99 {p99:?}; seed {seed}");
        assert!(flowed >= 0.98, "{flowed:.4}; seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_reserve_the_same_flood_keeps_user_actions_waiting_until_they_give_up() {
    // So that the test above would fail if the reserve did nothing.
    let run = flood(0, Pace::Unpaced, 7).await;
    assert!(run.refused > 500, "only {} gave up", run.refused);
}
