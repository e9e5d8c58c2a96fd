//! What an upstream offers against doing a write twice: the room's one hook.

use super::key::HEADER;
use crate::classify::Safety;
use crate::error::Error;
use crate::journal::{Capability, Concurrent};
use crate::payload::Payload;
use http::{HeaderName, HeaderValue, Request};
use std::fmt;
use std::time::Duration;

/// Says which requests are writes, what protects each, and how our key gets into it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how the upstream protects writes",
    note = "use `idempotency::KeyHeader`, `qbo::QboWrites`, or implement `Writes`"
)]
pub trait Writes: Send + Sync + fmt::Debug + 'static {
    /// Whether the request may change something.
    fn safety(&self, request: &Request<Payload>) -> Safety {
        Safety::of(request.method())
    }

    /// What protects this write. The default: nothing, so that it leaves at most once.
    fn capability(&self, request: &Request<Payload>) -> Capability {
        let _ = request;
        Capability::None
    }

    /// Puts the upstream's key (and a mark, where a look-up is to find it) into the request.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the request leaves no room for it; nothing is sent then.
    fn plant(&self, request: &mut Request<Payload>, upstream_key: &str) -> Result<(), Error>;

    /// A key that the request carries already in the upstream's own place (QBO: `requestid`).
    fn own_key<'a>(&self, request: &'a Request<Payload>) -> Option<&'a str> {
        let _ = request;
        None
    }

    /// What the write is about: one unresolved operation each. Two people who press "pay" for one bill make two keys;
    /// a conflict key stops the second while the first is unresolved.
    fn conflict_key(&self, request: &Request<Payload>) -> Option<String> {
        let _ = request;
        None
    }

    /// Whether a write without a key gets one made of the request itself. The default: it is refused.
    fn derived(&self, request: &Request<Payload>) -> Option<Derived> {
        let _ = request;
        None
    }

    /// Query names that do not change what is asked.
    fn inert(&self, query_name: &str) -> bool {
        let _ = query_name;
        false
    }
}

/// A write that needs no key: the same write asked again within the window is told as a possible duplicate.
///
/// It is a net for callers that cannot make keys, not a promise: two writes that are meant as two look the same, and one
/// that is repeated after the window is a new one. See
/// [`Context::with_duplicate_allowed`](crate::context::Context::with_duplicate_allowed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Derived {
    /// For how long after the last settle. It never ends while the last one is unresolved.
    pub window: Duration,
}

/// An upstream that takes an idempotency key in a header, for every write.
#[derive(Clone, Debug)]
pub struct KeyHeader {
    name: HeaderName,
    capability: Capability,
}

impl Default for KeyHeader {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyHeader {
    /// `Idempotency-Key`, honoured for one hour after the first byte, not while an earlier send may still run.
    ///
    /// One hour is a choice on the safe side: upstreams that publish a retention keep keys for a day or so. Lower it with
    /// [`KeyHeader::with_capability`] where yours forgets sooner.
    #[must_use]
    pub fn new() -> Self {
        Self {
            name: HEADER.clone(),
            capability: Capability::Keyed {
                horizon: Duration::from_secs(3_600),
                concurrent: Concurrent::Unproven,
            },
        }
    }

    /// Another header.
    #[must_use]
    pub fn with_name(mut self, name: HeaderName) -> Self {
        self.name = name;
        self
    }

    /// What the upstream is known to offer.
    #[must_use]
    pub const fn with_capability(mut self, capability: Capability) -> Self {
        self.capability = capability;
        self
    }
}

impl Writes for KeyHeader {
    fn capability(&self, _: &Request<Payload>) -> Capability {
        self.capability
    }

    fn plant(&self, request: &mut Request<Payload>, upstream_key: &str) -> Result<(), Error> {
        let value = HeaderValue::from_str(upstream_key)
            .map_err(|_| Error::invalid("the upstream key does not fit into a header"))?;
        request.headers_mut().insert(self.name.clone(), value);
        Ok(())
    }
}
