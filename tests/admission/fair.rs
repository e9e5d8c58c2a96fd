//! Tenants that share a quota, one of which floods.

use crate::upstream::{Upstream, assert_within, request};
use std::collections::HashMap;
use std::time::Duration;
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt};
use tower_sturdy::context::Priority;
use tower_sturdy::rate_limit::{PerPriority, Quota, RateLimitConfig, RateLimitLayer};

const PER: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
const TENANTS: usize = 50;

/// Each tenant keeps this many calls in line; how many each sent within ten minutes.
async fn shares(in_line: impl Fn(usize) -> usize, costly: impl Fn(usize) -> u32) -> Vec<u32> {
    let quotas = [Quota::per_app("app", 100, PER).by_cost()];
    let layer = RateLimitLayer::new(RateLimitConfig {
        max_wait: PerPriority::all(60 * MINUTE),
        max_waiting: 10_000,
        ..RateLimitConfig::with_quotas(quotas)
    })
    .unwrap()
    .with_classes(std::sync::Arc::new(ByHeader));
    let upstream = Upstream::new();
    let service =
        layer.layer(upstream.answering(Duration::from_millis(100), Duration::from_millis(300), 3));
    let mut tasks = JoinSet::new();
    for tenant in 0..TENANTS {
        for _ in 0..in_line(tenant) {
            let (service, upstream) = (service.clone(), upstream.clone());
            let cost = costly(tenant);
            tasks.spawn(async move {
                while upstream.since() < 10 * MINUTE {
                    let request = request(&tenant.to_string(), Priority::Scheduled, cost);
                    service.clone().oneshot(request).await.unwrap();
                }
            });
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let seen = upstream.seen();
    assert_within(&seen, 100, PER, PER);
    let mut slots: HashMap<String, u32> = HashMap::new();
    for call in seen
        .iter()
        .filter(|call| (MINUTE..10 * MINUTE).contains(&call.sent))
    {
        *slots.entry(call.tenant.clone()).or_default() += call.cost;
    }
    (0..TENANTS)
        .map(|tenant| slots.get(&tenant.to_string()).copied().unwrap_or(0))
        .collect()
}

#[derive(Debug)]
struct ByHeader;

impl tower_sturdy::rate_limit::ClassOf for ByHeader {
    fn class(
        &self,
        _: &http::Request<tower_sturdy::payload::Payload>,
    ) -> tower_sturdy::rate_limit::Class {
        tower_sturdy::rate_limit::Class(0)
    }

    fn cost(&self, request: &http::Request<tower_sturdy::payload::Payload>) -> u32 {
        crate::upstream::cost_of(request)
    }
}

#[tokio::test(start_paused = true)]
async fn with_fifty_tenants_and_one_that_floods_each_gets_its_fair_share() {
    let slots = shares(|tenant| if tenant == 0 { 500 } else { 4 }, |_| 1).await;
    let fair = slots.iter().sum::<u32>() / 50;
    for (tenant, slots) in slots.iter().enumerate() {
        assert!(
            slots.abs_diff(fair) * 50 <= fair,
            "tenant {tenant} had {slots}, fair are {fair}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn shares_are_of_slots_so_that_costly_calls_bring_nobody_more_or_less() {
    let slots = shares(|_| 4, |tenant| if tenant % 2 == 0 { 1 } else { 9 }).await;
    let fair = slots.iter().sum::<u32>() / 50;
    for (tenant, slots) in slots.iter().enumerate() {
        assert!(
            slots.abs_diff(fair) * 10 <= fair,
            "tenant {tenant} had {slots}, fair are {fair}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn tenants_that_want_little_get_it_while_others_flood() {
    // One call at a time each, and two that flood: nobody of the small ones gets less than what it asks for.
    let slots = shares(|tenant| if tenant < 2 { 500 } else { 1 }, |_| 1).await;
    let small = slots[2..].iter().min().unwrap();
    let large = slots[..2].iter().max().unwrap();
    assert!(
        small * 105 >= large * 100 || *small > 100,
        "{small} against {large}"
    );
}
