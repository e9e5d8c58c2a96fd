//! The wire: sends one request once, follows no redirect, retries nothing, and says what was never dispatched.
//!
//! A transport is any `Service<Request<Payload>>` whose answers have an HTTP body; the stack's inner edge reads them
//! whole. What a transport owes the rooms above: no hidden resend, and [`NotSent`](crate::error::NotSent) in an error's
//! chain exactly when no byte of the request was dispatched.

#[cfg(feature = "reqwest")]
pub mod reqwest;
