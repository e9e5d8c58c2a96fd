//! The book and the idempotency room under many schedules: see [`races`].
//!
//! The files are those of the crate, included by path, but for two: `sync` (the locks, notices and tasks that the book
//! shares are this scheduler's) and `clock` (time passes when a schedule says so).
#![allow(
    dead_code,
    unused_imports,
    missing_docs,
    unreachable_pub,
    reason = "files of the crate, of which a part is used"
)]

#[path = "../../../src/classify.rs"]
pub mod classify;
pub mod clock;
#[path = "../../../src/context.rs"]
pub mod context;
#[path = "../../../src/error.rs"]
pub mod error;
#[path = "../../../src/event.rs"]
pub mod event;
#[path = "../../../src/idempotency/mod.rs"]
pub mod idempotency;
#[path = "../../../src/journal/mod.rs"]
pub mod journal;
#[path = "../../../src/outcome.rs"]
pub mod outcome;
#[path = "../../../src/payload.rs"]
pub mod payload;
#[path = "../../../src/random.rs"]
pub mod random;
pub mod sync;

pub mod races;
mod world;

pub use error::{BoxError, Error, InvalidConfig};
