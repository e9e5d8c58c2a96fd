//! Whether two requests under one key are the same. Pure.
//!
//! What would be sent is compared with what is on record, byte for byte; that settles almost every repeat. Else the
//! recorded digest of what was asked decides, which also holds where the record's bodies were purged, or where a later
//! version plants its key in another way. JSON is compared by its canonical form only where both say no.

use super::fingerprint::{self, CANONICAL, RAW, Shape};
use super::writes::Writes;
use crate::error::Error;
use crate::journal::{Asked, Fingerprint, StoredRequest};
use crate::payload::Payload;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};

/// A request as it was asked, before our key was planted: what counts of it. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Original {
    method: Method,
    uri: Uri,
    content_type: Option<HeaderValue>,
    pub(super) body: Bytes,
}

impl Original {
    pub(super) fn of(request: &Request<Payload>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            content_type: request.headers().get(header::CONTENT_TYPE).cloned(),
            body: request.body().bytes().clone(),
        }
    }

    fn shape(&self) -> Shape<'_> {
        let content_type = self.content_type.as_ref();
        Shape {
            method: &self.method,
            uri: &self.uri,
            content_type: content_type.map(HeaderValue::as_bytes),
            body: &self.body,
        }
    }

    /// What is recorded of it at the claim.
    pub(super) fn digest(&self, inert: impl Fn(&str) -> bool) -> Fingerprint {
        fingerprint::raw(self.shape(), inert)
    }
}

fn shape(stored: &StoredRequest) -> Shape<'_> {
    let content_type = stored
        .headers
        .iter()
        .find(|(name, _)| name == header::CONTENT_TYPE.as_str());
    Shape {
        method: &stored.method,
        uri: &stored.uri,
        content_type: content_type.map(|(_, value)| value.as_bytes()),
        body: &stored.body,
    }
}

fn shape_of(request: &Request<Payload>) -> Shape<'_> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    Shape {
        method: request.method(),
        uri: request.uri(),
        content_type: content_type.map(HeaderValue::as_bytes),
        body: request.body().bytes(),
    }
}

/// Whether `request`, as a caller asks it, is what `recorded` was asked as.
///
/// # Errors
/// [`Error::Invalid`] where it cannot be planted, or says one thing twice.
pub(super) fn is_same(
    recorded: &Asked,
    mut request: Request<Payload>,
    writes: &dyn Writes,
) -> Result<bool, Error> {
    let original = Original::of(&request);
    writes.plant(&mut request, &recorded.upstream_key)?;
    decide(recorded, &original, shape_of(&request), writes)
}

/// The same for one that was made into a record of its own, and found its key taken.
pub(super) fn is_same_as_made(
    recorded: &Asked,
    original: &Original,
    made: &Asked,
    writes: &dyn Writes,
) -> Result<bool, Error> {
    decide(recorded, original, shape(&made.request), writes)
}

fn decide(
    recorded: &Asked,
    original: &Original,
    planted: Shape<'_>,
    writes: &dyn Writes,
) -> Result<bool, Error> {
    let inert = |name: &str| writes.inert(name);
    let sent = shape(&recorded.request);
    let purged = is_purged(recorded);
    if !purged && sent == planted {
        return Ok(true);
    }
    let fingerprint = recorded.fingerprint;
    match fingerprint.version {
        RAW if original.digest(inert) == fingerprint => Ok(true),
        RAW if !purged => fingerprint::canonically_equal(sent, planted, inert),
        CANONICAL => Ok(fingerprint::canonical_of(original.shape(), inert)? == fingerprint),
        // Purged, or recorded by a version of this crate that is yet to come: it cannot be told, so it is another.
        _ => Ok(false),
    }
}

/// Whether the recorded body may have been purged: then only the digest tells. Of a request without a body it tells as
/// much as a comparison would.
fn is_purged(recorded: &Asked) -> bool {
    recorded.request.body.is_empty()
}
