//! A million tenants are seen, of which ten thousand are active at any time: what is kept.

use crate::requests::{Upstream, marked, marker, read};
use std::time::Duration;
use tower::{Layer, Service};
use tower_sturdy::rate_limit::{Quota, RateLimitConfig, RateLimitLayer};

const SEEN: u32 = 1_000_000;
const ACTIVE: u32 = 10_000;
const MINUTE: Duration = Duration::from_secs(60);

/// The quotas of one QBO company, as published.
fn quotas() -> Vec<Quota> {
    vec![
        Quota::per_tenant("minute", 500, MINUTE),
        Quota::per_tenant("second", 10, Duration::from_secs(1)),
        Quota::at_once("at once", 10),
    ]
}

/// Bytes on the heap after the tenants came one after another, a minute's worth of them within each minute, and after
/// another minute and one more crowd; and how many tenants are known then.
fn crowd(layer: &RateLimitLayer, names: std::ops::Range<u32>) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let counted = allocation_counter::measure(|| {
        runtime.block_on(async {
            let mut service = layer.layer(Upstream::new());
            for name in names {
                let request = marked(read(), marker(&name.to_string()));
                std::future::poll_fn(|cx| service.poll_ready(cx))
                    .await
                    .unwrap();
                service.call(request).await.unwrap();
                tokio::time::advance(MINUTE / ACTIVE).await;
            }
        });
    });
    u64::try_from(counted.bytes_current.max(0)).unwrap()
}

pub(crate) fn report() {
    println!("\nmemory: QBO's three quotas, one call a tenant");
    let few = RateLimitLayer::new(RateLimitConfig::with_quotas(quotas())).unwrap();
    let bytes = crowd(&few, 0..ACTIVE);
    println!(
        "  {ACTIVE} tenants, all active: {} bytes each ({} known)",
        bytes / u64::from(ACTIVE),
        few.handle().tenants()
    );
    let many = RateLimitLayer::new(RateLimitConfig::with_quotas(quotas())).unwrap();
    let bytes = crowd(&many, 0..SEEN);
    println!(
        "  {SEEN} tenants seen, {ACTIVE} active at a time: {} bytes for each active one, {} known",
        bytes / u64::from(ACTIVE),
        many.handle().tenants()
    );
}
