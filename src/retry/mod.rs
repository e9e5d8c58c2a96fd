//! Attempts again exactly what provably had no effect, after a wait that nobody has to regret.
//!
//! The [`Outcome`](crate::outcome::Outcome) of an attempt decides, not its status code. Again goes
//! - what was never sent, or provably had no effect: any method;
//! - a read that failed for a moment;
//! - a write in doubt whose whole answer was read, if it is an operation under a key: the gate below looks at the journal and
//!   may refuse. After doubt the caller is told proof or doubt, never a later refusal.
//!
//! A write in doubt that may still be running leaves at once: settling it is not this room's work. Neither are timeouts (an attempt
//! under way is never cut off), authentication, or throttling the upstream: those are rooms below.
//!
//! Waits grow by a factor and are spread by chance; `Retry-After` is a floor that is never undercut, and a wait that would reach the
//! deadline is not begun. A budget per tenant keeps retries from becoming a storm: each takes one from it, first attempts
//! earn a share back.
//!
//! **Cancel safety**: dropping the future drops the attempt under way; while it waits, nothing more is sent.
//!
//! **Errors**: those of the last attempt, or of the last one in doubt. An inner service that becomes unavailable between attempts is
//! [`Error::Upstream`](crate::Error::Upstream) with what is known of the attempts so far.
//!
//! ```
//! use http::{Request, Response, StatusCode};
//! use std::convert::Infallible;
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_sturdy::payload::Payload;
//! use tower_sturdy::retry::{RetryConfig, RetryLayer};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_sturdy::BoxError> {
//! let calls = Arc::new(AtomicU32::new(0));
//! let seen = Arc::clone(&calls);
//! let upstream = service_fn(move |_: Request<Payload>| {
//!     let mut answer = Response::new(Payload::empty());
//!     if seen.fetch_add(1, Ordering::SeqCst) == 0 {
//!         *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
//!     }
//!     async { Ok::<_, Infallible>(answer) }
//! });
//!
//! let service = RetryLayer::new(RetryConfig::default())?.layer(upstream);
//! let answer = service.oneshot(Request::get("/bills").body(Payload::empty())?).await?;
//! assert_eq!(answer.status(), StatusCode::OK);
//! assert_eq!(calls.load(Ordering::SeqCst), 2);
//! # Ok(())
//! # }
//! ```

mod budget;
mod course;
mod layer;
mod policy;
mod service;

pub use layer::{BudgetConfig, Jitter, Profile, RetryConfig, RetryLayer};
pub use service::{ResponseFuture, Retry};
