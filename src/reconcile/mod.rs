//! The worker beside the stack: settles what is unknown, resumes what was promised, and tells the local record what
//! became true.
//!
//! A [`Reconciler`] works off what is due in the journal: it takes over the operations of dead owners, looks up those in
//! doubt ([`Hooks::observe`]), completes them on proof and only on proof, sends again under the same key where the
//! upstream honours it, and parks what neither can settle. Settled operations are told to [`Hooks::settled`], at least
//! once, until it says done; what differs then is drift. Everything it sends goes through the same lower half of the
//! stack as the callers' requests: the same quotas, the same gate.
//!
//! It never sends a write that is not `Keyed` a second time, and never changes a final state.
//!
//! What it cannot settle waits for a person ([`Operations`]): list, inspect, resolve, park, retry, with who and why in
//! the audit trail. What a person resolved is looked up on; proof of the contrary is told as drift, and as contradicted.
//!
//! **Cancel safety.** A check that is cut off anywhere is made again once its lease is over; hooks run at least once.
//!
//! ```
//! use http::{Request, Response};
//! use std::sync::Arc;
//! use tower::service_fn;
//! use tower_sturdy::journal::{Book, MemoryJournal};
//! use tower_sturdy::payload::Payload;
//! use tower_sturdy::reconcile::{NoHooks, ReconcileConfig, Reconciler, Upstream};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let upstream = service_fn(|_: Request<Payload>| async {
//!     Ok::<_, std::convert::Infallible>(Response::new(Payload::from("paid")))
//! });
//! let book = Book::open(Arc::new(MemoryJournal::new()))?;
//! let reconciler = Reconciler::new(ReconcileConfig::default(), book, Upstream::new(upstream), Arc::new(NoHooks))?;
//! assert_eq!(reconciler.work_off().await?, 0); // nothing is due
//! reconciler.start(); // goes on until the book is shut down
//! # Ok(()) }
//! ```

mod figures;
mod hooks;
mod people;
mod settled;
mod upstream;
mod worker;

pub use figures::{Figures, Unresolved};
pub use hooks::{Hooks, NoHooks, Settled};
pub use people::{Operations, Query, Resolution, Undecided};
pub use upstream::Upstream;
pub use worker::{ReconcileConfig, Reconciler};
