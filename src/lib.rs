//! Composable tower layers that make a fragile, money-moving HTTP API safe to use.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod classify;
pub mod clock;
pub mod context;
pub mod error;
pub mod event;
pub mod journal;
pub mod outcome;
pub mod payload;
pub mod random;
mod sync;

pub mod attempt;
pub mod cache;
pub mod collect;
pub mod idempotency;
pub mod inbound;
#[cfg(feature = "mock")]
pub mod mock;
pub mod problem;
pub mod qbo;
pub mod rate_limit;
pub mod reconcile;
pub mod retry;
#[cfg(feature = "scenario")]
pub mod scenario;
pub mod stack;
pub mod transport;

pub use error::{BoxError, Error, InvalidConfig};

/// The README's example is compiled with the document tests.
#[cfg(all(doctest, feature = "full"))]
#[doc = include_str!("../README.md")]
struct Readme;
