//! The last gate before the wire: no attempt of an operation leaves unless its record allows it, and every attempt is
//! judged exactly once.
//!
//! For a request that names an operation ([`Payload::operation`](crate::payload::Payload::operation)) the room asks
//! [`may_send`](crate::journal::may_send) through the [`Book`](crate::journal::Book), puts the attempt on record, sends
//! it, classifies the whole answer and puts the end on record. Every other request is only bounded in time and judged.
//! The [`Verdict`](crate::outcome::Verdict) travels in the answer's payload, or in [`Error::Upstream`](crate::Error).
//!
//! It does not retry, does not wait for its turn, and does not decide what an operation becomes.
//!
//! **Cancel safety.** Dropping the future of a plain request abandons the attempt: the upstream may still be at work.
//! The future of an operation's attempt is run by the operation's own task; dropping it leaves the attempt on record as
//! open until its settle window is over.
//!
//! ```
//! use http::{Request, Response};
//! use std::time::Duration;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_sturdy::attempt::{AttemptConfig, AttemptLayer};
//! use tower_sturdy::outcome::Outcome;
//! use tower_sturdy::payload::Payload;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let upstream = service_fn(|_: Request<Payload>| async {
//!     tokio::time::sleep(Duration::from_secs(3_600)).await;
//!     Ok::<_, std::io::Error>(Response::new(Payload::empty()))
//! });
//! let service = AttemptLayer::new(AttemptConfig::default())?.layer(upstream);
//! let write = Request::post("http://upstream/pay").body(Payload::from("{}"))?;
//! let error = service.oneshot(write).await.unwrap_err();
//! assert_eq!(error.outcome(), Outcome::Unknown); // it may have been paid
//! assert!(!error.verdict().closed); // and may still be
//! # Ok(()) }
//! ```

mod layer;
mod service;

pub use layer::{AttemptConfig, AttemptLayer};
pub use service::{Attempt, AttemptFuture};
