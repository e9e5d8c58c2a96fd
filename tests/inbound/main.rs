//! Handlers of an axum server behind `inbound`: by call, over a socket, and over a restart.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

mod codes;
mod doubt;
mod rig;
mod server;
