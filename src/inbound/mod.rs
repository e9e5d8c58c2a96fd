//! Idempotency for the handlers of a server: each key runs its handler once, and its answer is given to every repeat.
//!
//! [`InboundLayer`] stands in front of an axum router, or any other service of HTTP requests. A request with a method that
//! needs a key (`POST`, `PATCH`) is claimed on the journal before its handler runs; the codes are those of
//! draft-ietf-httpapi-idempotency-key-header, as `application/problem+json`:
//!
//! | what came | what the client gets |
//! |---|---|
//! | no key, or one that is no key | 400 |
//! | nobody knows who asks | 401 |
//! | a key whose request is under way, or whose end is in doubt | 409, with the operation and where to ask for it |
//! | a key that was used for another request | 422 |
//! | a body over the limit | 413 |
//! | a server that can take nothing now | 503 or 429: nothing was done by this request |
//! | a key that has its answer | that answer, byte for byte, with `Idempotent-Replayed: true` |
//!
//! Keys belong to whoever asks: a [`Principal`] must be named. Every whole answer of a handler is recorded, whatever its
//! status, unless it carries [`DidNothing`] or has a status that was declared to mean that
//! ([`InboundConfig::did_nothing`]): then the same key may start again. So limits behind this layer (a load shedder's 503)
//! must be declared, or stand in front of it.
//!
//! A handler that panics, takes too long, dies with its process, or answers that the outcome is `unknown` (as
//! [`problem`](crate::problem) tells of an operation in doubt) leaves the operation in doubt: its caller and repeats are
//! told so, and nothing runs twice, until a hook ([`InboundLayer::recovery`]) or a person settles it, or the worker asks a
//! `Keyed` handler again under its key ([`InboundLayer::recovery_by`]). A client that goes away does not stop its handler.
//!
//! It holds whole bodies in memory, up to a limit, and knows requests by method, path and query, content type and body.
//! So put it on the outermost router, where the path is whole; streams belong on a route without it. The host does not
//! count: where one router serves several, name them apart in the principal.
//!
//! **Cancel safety.** Dropping the future before the body is read does nothing; after that the handler runs to its end.
//!
//! ```
//! use axum::{Extension, Router, body::Body, routing::{get_service, post}};
//! use http::Request;
//! use std::sync::Arc;
//! use tower::ServiceExt;
//! use tower_sturdy::inbound::{HashedHeader, InboundConfig, InboundLayer, Running};
//! use tower_sturdy::journal::{Book, MemoryJournal};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // `SqliteJournal` in production: a journal that forgets must be accepted by name.
//! let book = Book::open(Arc::new(MemoryJournal::new()))?;
//! let config = InboundConfig { accept_volatile: true, ..InboundConfig::default() };
//! let guard = InboundLayer::new(config, book, HashedHeader(http::header::AUTHORIZATION))?;
//! let pay = |Extension(running): Extension<Running>| async move { format!("paid as {}", running.key) };
//! let app = Router::new()
//!     .route("/pay", post(pay))
//!     .route("/operations/{id}", get_service(guard.operations()))
//!     .layer(guard);
//!
//! let request = || Request::post("/pay").header("authorization", "Bearer a").header("idempotency-key", "bill-7");
//! let first = app.clone().oneshot(request().body(Body::from("{}"))?).await?;
//! let again = app.clone().oneshot(request().body(Body::from("{}"))?).await?;
//! let other = app.oneshot(request().body(Body::from("2"))?).await?;
//! assert_eq!((first.status(), again.status(), other.status()), (200.try_into()?, 200.try_into()?, 422.try_into()?));
//! assert_eq!(again.headers()["idempotent-replayed"], "true");
//! # Ok(()) }
//! ```

mod answer;
mod handler;
mod layer;
mod operations;
mod principal;
mod service;

pub use answer::AnswerBody;
pub use handler::{DidNothing, Running};
pub use layer::{InboundConfig, InboundLayer};
pub use operations::Operations;
pub use principal::{HashedHeader, Principal, PrincipalFn, principal_fn};
pub use service::Inbound;
