//! One effect per key: a write is claimed before its first byte, duplicates join it or get its recorded answer, and a
//! caller that loses patience learns the operation's id while the work goes on.
//!
//! Every write needs a key, from the `Idempotency-Key` header or [`Context::with_key`](crate::context::Context::with_key).
//! The claim, with the request as it will be sent, is durable before anything leaves; from then on the operation runs in
//! a task of its own, so that dropping the caller's future only stops waiting. After the claim a caller gets a settled
//! answer, or one of [`Pending`](crate::Error::Pending), [`OutcomeUnknown`](crate::Error::OutcomeUnknown),
//! [`Parked`](crate::Error::Parked): never an error that hides whether money may have moved.
//!
//! A route may do without keys ([`Writes::derived`]): a key is made of the request itself, and the same write asked again
//! within a window is told as a [`PossibleDuplicate`](crate::Error::PossibleDuplicate), neither joined nor replayed.
//!
//! What an upstream offers against repetition, and how our key is planted in a request, is said by [`Writes`];
//! [`KeyHeader`] is the hook for upstreams that take an `Idempotency-Key` header.
//!
//! It does not retry (the room below may), and does not settle doubt: that is `reconcile`'s work, over the same
//! [`Book`](crate::journal::Book).
//!
//! **Errors.** Before the claim: `KeyRequired`, `KeyReused`, `Invalid`, `JournalUnavailable`, `RateLimited` (too many
//! live operations): nothing was sent by this call. Where too much is live, or the process shuts down, a key that is on
//! record still gets what the journal knows of it, and `InFlight` where that cannot be read. After the claim: see above.
//!
//! **Cancel safety.** From the call on, the operation goes on in its own task, whoever drops its future.
//!
//! ```
//! use http::{Request, Response};
//! use std::sync::Arc;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_sturdy::idempotency::{IdempotencyConfig, IdempotencyLayer};
//! use tower_sturdy::journal::{Book, MemoryJournal};
//! use tower_sturdy::payload::{Payload, ServedFrom};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let upstream = service_fn(|_: Request<Payload>| async {
//!     Ok::<_, std::io::Error>(Response::new(Payload::from("paid")))
//! });
//! let book = Book::open(Arc::new(MemoryJournal::new()))?;
//! let service = IdempotencyLayer::new(IdempotencyConfig::default(), book)?.layer(upstream);
//!
//! let pay = || Request::post("http://upstream/pay").header("idempotency-key", "bill-7").body(Payload::from("{}"));
//! let first = service.clone().oneshot(pay()?).await?;
//! let second = service.oneshot(pay()?).await?;
//! assert_eq!(first.body().bytes(), second.body().bytes());
//! assert!(matches!(second.body().served_from(), ServedFrom::Replay { .. }));
//! # Ok(()) }
//! ```

mod admit;
mod canonical;
mod derived;
mod drive;
pub mod fingerprint;
mod key;
mod layer;
mod members;
mod refused;
mod same;
mod send;
mod service;
mod waiting;
mod wish;
mod writes;

pub use key::upstream_key;
pub use layer::{IdempotencyConfig, IdempotencyLayer};
pub use service::Idempotency;
pub use writes::{Derived, KeyHeader, Writes};
