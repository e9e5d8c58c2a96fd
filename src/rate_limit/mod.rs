//! Lets a request out only when every quota that it falls under has a free slot, so that limits that are ours alone are
//! never tripped.
//!
//! A quota is a number of slots. Admission takes one of each quota that counts the request, all at once or none; a slot
//! comes back `per` after the *answer*, so whatever the network does to timing, the upstream never sees more than `limit`
//! in any window of `per`. `per` zero makes it a limit on requests at once. [`Anchor::Send`] trades the proof for the last
//! few per cent.
//!
//! - **Order.** Each tenant has a line per endpoint class, for reads and for writes. Heads compete by `arrival - head start`:
//!   strict priority within the head start, first-come beyond it. What tenants share is dealt between them in turns.
//! - **Bounds.** Lines are bounded, and so is the wait. A call that cannot be admitted before its deadline, or before
//!   `max_wait`, is refused at once with [`Error::RateLimited`](crate::Error::RateLimited): nothing was sent, and
//!   `retry_after` is the soonest that trying again can help; the error names the quota that held it up, and
//!   [`problem`](crate::problem) makes `RateLimit` and `RateLimit-Policy` of it.
//! - **Giving back.** By the [`Verdict`](crate::outcome::Verdict) in the answer or the error: `Unsent` frees the slots at
//!   once; a closed attempt starts their way back; one that is not closed, or whose future is dropped in flight, may still
//!   run upstream, and counts as answered when the settle window is over.
//! - **Feedback.** A throttle answer closes both gates of its tenant, for reads and for writes, until `Retry-After`, or
//!   the reset that the answer names, or for the configured pause: a limit per minute stops both. When the first read
//!   after that is throttled again it is a cap on reads (QBO counts them by the month): writes go on, and reads are tried
//!   again after a pause that doubles, up to an hour. What other answers say is left (`RateLimit`, `X-RateLimit-Remaining`
//!   and their like) is obeyed as well: no more of a tenant's calls go than that, until the reset, an hour at most. All
//!   other tenants go on.
//!
//! - **Costs.** A quota [by cost](Quota::by_cost) gives a call as many slots as it [costs](ClassOf::cost), all at once or
//!   none. A call that waits for several slots keeps those that come free from whoever would pass it.
//! - **Users first.** [`Quota::reserve`] keeps slots for user actions; [`Pace`] spreads scheduled work, so that a bulk sync
//!   trickles. Neither holds up those whom it does not concern.
//! - **Other limits.** [`RateLimitHandle::set_quotas`] changes a running layer's numbers, without a burst for anybody.
//!
//! # How much to reserve
//!
//! Without a reserve a user action goes before scheduled work that came up to a head start earlier, but it still waits for
//! a slot to come back, and behind what has waited longer than the head start. Under a lasting flood of background work
//! only a reserve keeps user actions from waiting. How large it must be depends on how many slots they hold on average:
//! how many come a second, times `per` and the answer time. [`reserve_for`] computes it; this table is for all but one in
//! a thousand of them, where slots are held for a time `h`:
//!
//! | slots held on average | no wait | wait up to `h / 100` | wait up to `h / 10` |
//! |--:|--:|--:|--:|
//! | 0.5 | 5 | 5 | 5 |
//! | 1 | 6 | 6 | 6 |
//! | 2 | 9 | 9 | 8 |
//! | 5 | 14 | 14 | 13 |
//! | 10 | 22 | 22 | 21 |
//! | 20 | 36 | 36 | 34 |
//! | 50 | 74 | 74 | 70 |
//! | 100 | 134 | 132 | 125 |
//!
//! What it costs is what it keeps: background work gets `limit - reserve` slots, always all of them.
//!
//! What it does not do: it retries nothing, it shares nothing with other processes, and others who share a limit with us
//! can still trip it. The state is gone with the process: after a restart the first window may add to the last one's.
//!
//! Cancel safety: a future that is dropped in line leaves it and passes its turn on; one dropped after its turn came and
//! before it called gives everything back; one dropped in flight holds its slots until the settle window is over, and
//! then `per`.
//!
//! Waiting needs tokio's timer, and one task per part of the tenants while someone of them waits. The straight path
//! (slots free, nobody before you) allocates nothing and spawns nothing.
//!
//! ```
//! use http::{Request, Response};
//! use std::time::Duration;
//! use tower::{Layer, Service, ServiceExt, service_fn};
//! use tower_sturdy::BoxError;
//! use tower_sturdy::error::Kind;
//! use tower_sturdy::payload::Payload;
//! use tower_sturdy::rate_limit::{PerPriority, Quota, RateLimitConfig, RateLimitLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let limit = RateLimitLayer::new(RateLimitConfig {
//!     quotas: vec![
//!         Quota::per_tenant("per minute", 2, Duration::from_secs(60)),
//!         Quota::at_once("at once", 10),
//!     ],
//!     max_wait: PerPriority::all(Duration::from_secs(5)),
//!     ..RateLimitConfig::default()
//! })?;
//! let handle = limit.handle();
//! let mut upstream = limit.layer(service_fn(|_: Request<Payload>| async {
//!     Ok::<_, BoxError>(Response::new(Payload::from("paid")))
//! }));
//!
//! for _ in 0..2 {
//!     upstream.ready().await?.call(Request::new(Payload::empty())).await?;
//! }
//! assert_eq!(handle.tenant("").quotas[0].in_use, 2);
//!
//! // The third would have to wait for nearly a minute, which is longer than it may.
//! let error = upstream.ready().await?.call(Request::new(Payload::empty())).await.unwrap_err();
//! assert_eq!(error.kind(), Kind::RateLimited);
//! assert!(error.retry_after() > Some(Duration::from_secs(59)));
//! # Ok(())
//! # }
//! ```

mod admission;
mod config;
mod deal;
mod feedback;
mod handle;
mod hint;
mod layer;
mod line;
mod part;
mod permit;
mod queue;
mod reserve;
mod rules;
mod service;
mod shared;
mod slab;
mod tenants;
#[cfg(test)]
mod tests;
mod turns;
mod wait;
mod window;

pub use config::{
    Anchor, Class, Counts, HeadStart, Pace, PerPriority, Quota, RateLimitConfig, Scope,
};
pub use handle::{QuotaState, RateLimitHandle, TenantLimits};
pub use layer::{ClassOf, OneClass, RateLimitLayer};
pub use reserve::reserve_for;
pub use service::{RateLimit, ResponseFuture};
