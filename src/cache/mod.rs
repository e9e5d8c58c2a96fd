//! Answers reads from what the upstream answered before: never another's answer, never one from before a write, never one
//! older than its bound.
//!
//! What is kept: good answers (the classifier says which; a 200 that carries a fault is none) to reads that the [`CacheRules`] let
//! it keep, weighed by bytes. Keys tell apart tenant, method, whole URL, body, credentials (as a digest), and the headers by which
//! answers vary. Age counts from when the answer was asked for. The upstream's own `Cache-Control` is not read: fragile APIs
//! forbid all caching by habit, and the rules know better. A request's is: `no-store` goes around, `no-cache` asks anew.
//!
//! - **Writes** invalidate what they touch before they are sent, and again when they have settled or were dropped. A read is kept
//!   only if no write touched its entities since it was sent, none is under way, and the upstream's read lag (after a write in
//!   doubt: its settle window too) was over when it began.
//! - **One read for all**: who asks the same while a read is under way gets its answer, or its error. The read runs in a task of
//!   its own (on the tokio runtime of that caller), so it survives the caller who was first. It carries no deadline; each caller keeps its own. Nobody
//!   waits behind a read that is less urgent.
//! - **Standing in**: where the upstream fails for a moment, or is slower than the caller's patience, an older answer is given,
//!   marked with its age ([`ServedFrom::StaleCache`](crate::payload::ServedFrom::StaleCache)). One from before a write only to who
//!   asks for it by name ([`AllowInvalidated`]). A refusal (a 404, a 401) is an answer, and is told.
//!
//! What it does not do: it revalidates no validators, keeps no refusals, has no second tier, and knows of writes only what
//! passes through it; tell it of others with [`CacheHandle::invalidate`].
//!
//! **Cancel safety**: dropping a read's future stops only the waiting. Dropping a write's future leaves the write in doubt: for the
//! settle window and the read lag nothing it touches is kept.
//!
//! **Errors**: those of the inner service, shared by all who joined. A deadline that passes while a read is under way is
//! [`Error::Deadline`](crate::Error::Deadline).
//!
//! ```
//! use http::{Request, Response};
//! use std::convert::Infallible;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_sturdy::cache::{CacheConfig, CacheLayer};
//! use tower_sturdy::payload::{Payload, ServedFrom};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_sturdy::BoxError> {
//! let upstream = service_fn(|_: Request<Payload>| async {
//!     Ok::<_, Infallible>(Response::new(Payload::from("42 open bills")))
//! });
//! let service = CacheLayer::new(CacheConfig::default())?.layer(upstream);
//!
//! let ask = || Request::get("https://api.example/bills").body(Payload::empty());
//! let first = service.clone().oneshot(ask()?).await?;
//! assert_eq!(first.body().served_from(), ServedFrom::Upstream);
//!
//! let second = service.clone().oneshot(ask()?).await?;
//! assert_eq!(second.body().bytes(), "42 open bills");
//! assert!(matches!(second.body().served_from(), ServedFrom::FreshCache { .. }));
//! # Ok(())
//! # }
//! ```

mod below;
mod flight;
mod freshness;
mod generations;
mod handle;
mod key;
mod layer;
mod reading;
mod rules;
mod service;
mod shared;
mod store;
mod writing;

pub use below::Below;
pub use handle::{CacheHandle, Fill};
pub use layer::{CacheConfig, CacheLayer};
pub use reading::AllowInvalidated;
pub use rules::{CacheRules, GetRules, ReadRule};
pub use service::{Cache, ResponseFuture};
