//! Runs a load against the mock in virtual time, judges what happened, and reports it.
//!
//! A scenario (a TOML file; four are stored with the crate, see [`stored`]) says how many people pay how many bills and
//! what goes wrong. [`run_all`] plays it, with one seed, in front of each [`LineUp`]: the same clicks at the same times,
//! the same upstream, the same faults by the same chances. Then the [`judge`] counts, from the upstream's own record and
//! from what callers were told.
//!
//! # What is the same for everyone
//! A person presses "pay" (some click twice); told "failed", presses again a bounded number of times; told "pending",
//! asks again under the same key; left without an answer because our process died, presses again. When the process
//! dies, every call in flight is dropped and everything in memory is lost.
//!
//! # The line-ups
//! - `bare`: no layers. One send per call, a client timeout of 30 s (what Intuit's own OAuth client uses); the status
//!   decides what the user is told.
//! - `tower-resilience` (in `examples/fragility/peers.rs`): its retry over its rate limiter, as its README composes them,
//!   over the same 30 s timeout for each attempt. Retry: 3 attempts, exponential backoff from 1 s, on errors, 5xx and
//!   429. Limiter: one per company and quota (minute and second; one for the application where it has a quota), exact
//!   sliding windows, up to 30 s of waiting. Both read tokio's clock, so they live in virtual time as they are.
//! - `tower-resilience+requestid`: the same, and the caller sets a `requestid` once per call on every keyed write, above
//!   the retry, so that all attempts of one call share it. A second click is another call, and has another one.
//!
//! - `sturdy`: the whole [`Stack`](crate::stack::Stack) with the QuickBooks preset, told the upstream's quotas and what
//!   each write is declared as: keyed where the upstream honours our key, looked up by a planted mark where it does not,
//!   or (where the scenario has such writes) neither. The journal outlives the simulated process.
//!
//! This simulates; it is no load test of real machines: computing takes no virtual time.

mod config;
mod declared;
mod error;
pub mod judge;
mod lineup;
mod load;
mod report;
mod request;
mod run;
mod span;
mod stage;
mod stored;
mod sturdy;
mod table;
mod told;
mod user;
mod world;

pub use config::{
    CapabilityShares, CrashConfig, DigestConfig, FaultName, FaultOn, FaultRule, HangCommit,
    JournalKind, Latency, LoadConfig, Scenario, StackConfig, Surge, ThrottleConfig, UpstreamConfig,
    UserConfig, WriteCapability,
};
pub use error::ScenarioError;
pub use lineup::{Answer, Bare, BoxFuture, CLIENT_TIMEOUT, Client, LineUp, World, told_by_status};
pub use load::{Digest, Operation, Plan};
pub use report::{ByCapability, CapabilityReport, Latencies, LineUpReport, Report, Spread};
pub use run::{Finished, Options, Progress, run, run_all};
pub use span::Span;
pub use stored::{STORED, find, stored};
pub use sturdy::Sturdy;
pub use table::to_json;
pub use told::{Answers, Told};
