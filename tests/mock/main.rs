//! The QuickBooks of the tests: that it is as good, and as bad, as it says.
#![cfg(feature = "mock")]
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod books;
mod calls;
mod faults;
mod request_id;
mod settings;
mod throttle;
