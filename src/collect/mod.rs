//! The edges: any HTTP body becomes a whole, bounded [`Payload`](crate::payload::Payload), on the way in and on the way out.
//!
//! [`EdgeLayer`] stands outermost: it takes requests with any body, and tells in headers (`Age`, `Cache-Status`,
//! `Idempotent-Replayed`) and in the extension [`Told`](headers::Told) where an answer came from. [`WholeLayer`] stands
//! innermost, on the transport: it reads the answer to its end, so that one that breaks off is a failure of the attempt
//! and not a surprise to its reader.
//!
//! Bodies over the limit are [`Error::TooLarge`](crate::Error). Streams that must not be held in memory go around the
//! stack.
//!
//! **Cancel safety.** Dropping the edge's future before the request is whole sends nothing. After that it is what the
//! rooms inside make of it.
//!
//! ```
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_sturdy::collect::EdgeLayer;
//! use tower_sturdy::error::{Error, Kind};
//! use tower_sturdy::payload::Payload;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let inner = service_fn(|_: Request<Payload>| async {
//!     Ok::<_, Error>(Response::new(Payload::empty()))
//! });
//! let service = EdgeLayer::new(8)?.layer(inner);
//! let request = Request::post("http://upstream/").body(Full::<bytes::Bytes>::from("more than eight bytes"))?;
//! assert_eq!(service.oneshot(request).await.unwrap_err().kind(), Kind::TooLarge);
//! # Ok(()) }
//! ```

pub mod headers;
mod layer;
mod service;

pub use layer::{EdgeLayer, WholeLayer};
pub(crate) use service::RequestBroke;
pub use service::{Edge, Whole};
