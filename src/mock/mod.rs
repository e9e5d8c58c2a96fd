//! A QuickBooks Online that misbehaves on purpose, in process and in virtual time, with a history to be judged.
//!
//! [`MockQbo`] is a tower service: requests go in as they would go to Intuit (any host), answers come out as they
//! were recorded. It keeps the books of any number of companies: vendors, customers, accounts, bills and their payments,
//! invoices and theirs; create, read, full and sparse update with `SyncToken`, void, delete, query; `Balance` and
//! `LinkedTxn` follow. It has limits of its own, remembers a `requestid`, and does what [`FaultPlan`] says.
//!
//! Where Intuit's behaviour is not established, the default is the worst for a client: two requests at once under one
//! `requestid` are both carried out, a payment of a paid bill leaves all the same, the effect of an abandoned request may
//! land until the server gives it up, refused requests count against the limits. Each is a setting.
//!
//! # What a test can ask
//!
//! [`MockQbo::history`] holds every request and every effect. A test plants `op=<token>` in the text of a write (its
//! `PrivateNote`, say); the history tells it back as the *marker*. The mock itself never looks at it, and never tells
//! operations apart by `requestid`, so a judge's count does not depend on what is judged.
//!
//! # What it does not do
//!
//! No batch (counted by the limits, then refused with fault 500), reports, change data capture, webhooks, OAuth or HTTP
//! socket; no taxes, currencies or items; one application. A `requestid` on a read is ignored. Effects of hung requests
//! land within [`MockConfig::server_timeout`]; then the connection breaks, so that no client waits for ever.
//! `MetaData` times are in whole seconds, and queries compare them as such, like the recorded ones.
//!
//! # Cancel safety
//!
//! A request arrives with `call` and is worked on in a task of its own: dropping the answer never stops it.
//!
//! # Errors
//!
//! [`MockError`] is what a broken connection looks like; all else is an answer with a status. [`InvalidMock`] names the
//! setting that cannot be.
//!
//! # Example
//!
//! ```
//! use http::Request;
//! use tower::{Service, ServiceExt};
//! use tower_sturdy::clock::{Clock, Timestamp};
//! use tower_sturdy::mock::{Fault, FaultPlan, MockConfig, MockError, MockQbo, On, bodies};
//! use tower_sturdy::payload::Payload;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = Clock::anchored(Timestamp::from_millis(1_793_638_800_000));
//! let mut qbo = MockQbo::new(MockConfig::quiet(7), clock)?;
//! let bill = qbo.entity("1", "Bill", "1").ok_or("a bill to start with")?;
//! let cents = (bill["Balance"].as_f64().ok_or("a balance")? * 100.0).round() as i64;
//!
//! // The payment is made, and its answer lost.
//! qbo.set_faults(FaultPlan::always(On::Writes, Fault::LostAnswer));
//! let body = bodies::bill_payment("1", "1", cents, "rent op=rent-2026-11");
//! let request = Request::post("https://quickbooks.api.intuit.com/v3/company/1/billpayment")
//!     .body(Payload::from(body.to_string()))?;
//! let answer = qbo.ready().await?.call(request).await;
//!
//! assert_eq!(answer.unwrap_err(), MockError::Reset);
//! assert_eq!(qbo.history().effects_of("rent-2026-11").len(), 1);
//! assert_eq!(qbo.entity("1", "Bill", "1").ok_or("still there")?["Balance"], 0.0);
//! # Ok(())
//! # }
//! ```

pub mod bodies;
mod claim;
mod config;
mod course;
mod date;
mod entities;
mod envelope;
mod faults;
mod gateway;
mod history;
mod latency;
mod ledger;
mod lines;
mod money;
mod names;
mod properties;
mod query;
mod replay;
mod route;
mod rules;
mod seed;
mod server;
mod service;
mod throttle;
mod ties;
mod work;

pub use config::{
    Concurrent, InvalidMock, MockConfig, PaidBill, RequestIdConfig, ThrottleConfig, ThrottleShape,
};
pub use faults::{Fault, FaultPlan, FaultRule, HangCommit, On};
pub use history::{Effect, EffectKind, History, SendRecord};
pub use latency::Latency;
pub use seed::CompanyConfig;
pub use service::{Answer, MockError, MockQbo};
