//! Everything that is known of QuickBooks Online, as presets for the rooms: what a request asks, what an answer means, how
//! a write in doubt is found again.
//!
//! | question | answered by | hook of |
//! |---|---|---|
//! | whose request is it? | [`Realm`] | every room that has tenants |
//! | what does it ask? | [`QboRoute`], [`Entity`], [`Operation`] | the others here |
//! | how fast may it go? | [`limits`] | rate_limit |
//! | what does the answer mean? | [`QboClassify`], [`fault`] | attempt |
//! | what guards it against happening twice? | [`QboWrites`], [`request_id`], [`mark`] | idempotency |
//! | did a write in doubt take effect? | [`lookup`] | reconcile |
//! | is a completed write still what it was? | [`verify`] | reconcile |
//! | may the answer be kept, and what makes it stale? | [`cacheable`] | cache |
//!
//! [`Qbo`] puts all of them on a stack. But for [`QboHooks`], which sends look-ups, all of it is pure: no clock, no I/O, no
//! state. What is not established about QBO (see the comments; D marks what is
//! inferred or unknown) is a setting or falls to the safe side: doubt, a look-up, or a person.
//!
//! # What an answer to a write means
//!
//! | answer | outcome | then |
//! |---|---|---|
//! | 2xx with the expected entity: Id and SyncToken; `status: Deleted` for a delete; amounts 0 for a void; every item for a batch | applied | |
//! | 2xx without that: empty, half, another entity, SystemFault 10000 | unknown, closed | retry under the key |
//! | ValidationFault under 2xx or 4xx | rejected | |
//! | the same with 600 (duplicate request id) | unknown, closed | look |
//! | the same with an inventory lock, or a locked company (130, 140, 150) | no effect | retry |
//! | throttle fault 3001, in any envelope | no effect | wait |
//! | 401, 403, 503 in the gateway's own envelope, which states no other status | no effect | reauthenticate, stop, retry |
//! | 401, 403, 429 with anything else | unknown, closed | |
//! | 500, also in QBO's own envelopes | unknown, closed | retry under the key |
//! | 502, 503, 504 with anything else; the text "stream timeout" | unknown, open | settle |
//! | a batch of writes with a fault or a gap | unknown, closed | settle item by item |
//! | 3xx, and any other page or text | unknown, closed | |
//!
//! A read that was not answered well had no effect, whatever happened; the advice is the same.
//!
//! ```
//! use tower_sturdy::classify::Classify;
//! use tower_sturdy::outcome::{Outcome, Verdict};
//! use tower_sturdy::payload::Payload;
//! use tower_sturdy::qbo::QboClassify;
//! use std::time::UNIX_EPOCH;
//!
//! let pay = http::Request::post("https://quickbooks.api.intuit.com/v3/company/9130/billpayment")
//!     .body(Payload::from(r#"{"VendorRef":{"value":"5"},"TotalAmt":100.00}"#))?;
//! let route = QboClassify.route(&pay);
//! let judge = |status: u16, body: &'static str| {
//!     let answer = http::Response::builder().status(status).body(Payload::from(body)).unwrap();
//!     QboClassify.answer(route, &answer, UNIX_EPOCH)
//! };
//!
//! let paid = r#"{"BillPayment":{"Id":"9","SyncToken":"0","TotalAmt":100.00},"time":"t"}"#;
//! assert_eq!(judge(200, paid), Verdict::APPLIED);
//! // Half an answer proves nothing, and a proxy's page says nothing of what happened behind it.
//! assert_eq!(judge(200, &paid[..40]).outcome, Outcome::Unknown);
//! assert_eq!(judge(429, "<html>slow down</html>").outcome, Outcome::Unknown);
//! # Ok::<(), http::Error>(())
//! ```
//!
//! What it does not do: read XML but for faults (send `Accept: application/json`), know the tax service or payments
//! APIs (their writes leave at most once, and count as applied if the answer is one object with Id and SyncToken), or
//! settle the items of a batch of writes.

mod adapt;
pub mod cacheable;
mod capability;
mod classify;
mod entity;
pub mod fault;
mod hooks;
pub mod iso;
mod json;
pub mod limits;
pub mod lookup;
pub mod mark;
mod preset;
mod proof;
mod query_string;
mod realm;
pub mod request_id;
mod route;
#[cfg(test)]
mod samples;
pub mod verify;
mod xml;

pub use adapt::{BATCH, QboCache, QboClasses, REPORT};
pub use capability::QboWrites;
pub use classify::QboClassify;
pub use entity::{Entity, EntityKind};
pub use hooks::QboHooks;
pub use preset::Qbo;
pub use realm::Realm;
pub use route::{Operation, QboRoute, realm_of};
