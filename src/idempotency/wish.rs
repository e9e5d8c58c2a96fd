//! What a caller asks for: read from the request before anything is looked up, and made into a record where it is new.

use super::derived::Derivation;
use super::fingerprint;
use super::key;
use super::layer::Shared;
use super::same::Original;
use crate::context::{Context as Marker, OperationId, OperationKey, Priority, Tenant};
use crate::error::Error;
use crate::journal::{Asked, Capability, Durability, Record, StoredRequest};
use crate::payload::Payload;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use std::sync::Arc;
use std::time::Duration;

/// How far ahead of our clock a key may say it was made. Clocks under NTP are far closer; a key from further ahead says
/// nothing that can be believed, so it is taken as one that does not say when it was made.
const AHEAD_MAX: Duration = Duration::from_secs(300);

/// A write and who asks for it.
pub(super) struct Wish {
    pub(super) tenant: Tenant,
    pub(super) key: OperationKey,
    /// Without the caller's key header.
    pub(super) request: Request<Payload>,
    pub(super) priority: Priority,
    pub(super) patience: Duration,
}

/// A write with its key, or one whose key must be made.
#[allow(
    clippy::large_enum_variant,
    reason = "the large one is the usual one, and is taken apart at once"
)]
pub(super) enum Asking {
    Keyed(Wish),
    Derived(Box<Derivation>),
}

/// What a write is claimed as.
pub(super) struct Made {
    pub(super) record: Record,
    pub(super) original: Original,
    pub(super) headers: Headers,
}

/// The headers of a write: also those that are not recorded.
pub(super) struct Headers {
    /// As the caller gave them.
    asked: Vec<(HeaderName, HeaderValue)>,
    /// With our key planted, where a record gives each that was changed again as it is here.
    planted: Option<HeaderMap>,
}

impl Headers {
    fn asked(request: &Request<Payload>) -> Self {
        let pairs = request.headers().iter();
        Self {
            asked: pairs
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            planted: None,
        }
    }

    fn is_asked(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        let mut asked = self.asked.iter();
        asked.any(|(asked, given)| asked == name && given == value)
    }

    /// The request of the record that was made with them.
    pub(super) fn request_of_made(self, record: &Record, priority: Priority) -> Request<Payload> {
        match self.planted {
            Some(planted) => record.request_with(planted, priority),
            None => self.request_of(record, priority),
        }
    }

    /// The request of another record, which was made with headers of its own.
    pub(super) fn request_of(self, record: &Record, priority: Priority) -> Request<Payload> {
        let mut headers = HeaderMap::with_capacity(self.asked.len() + 1);
        for (name, value) in self.asked {
            headers.append(name, value);
        }
        record.request(headers, priority)
    }
}

impl Shared {
    /// Reads what a write says of itself.
    pub(super) fn wish(&self, mut request: Request<Payload>) -> Result<Asking, Error> {
        let name = self.tenant_of.tenant(&request)?;
        let marked = Marker::of(&request).tenant();
        let tenant = match marked.filter(|marked| marked.as_str() == name) {
            Some(marked) => marked.clone(),
            None => Tenant::new(name)?,
        };
        let found = key::of(&request, &*self.writes);
        request.headers_mut().remove(&key::HEADER);
        // What is planted may change the body: the transport counts its bytes again.
        request.headers_mut().remove(http::header::CONTENT_LENGTH);
        let marker = Marker::of(&request);
        let (priority, patience) = (marker.priority(), self.patience(marker)?);
        let wish = |request, key| Wish {
            tenant,
            key,
            request,
            priority,
            patience,
        };
        match found {
            Ok(key) => Ok(Asking::Keyed(wish(request, key))),
            Err(Error::KeyRequired) => {
                let derivation = Derivation::of(request, &*self.writes, wish)?;
                Ok(Asking::Derived(Box::new(derivation)))
            }
            Err(error) => Err(error),
        }
    }

    /// The record that the write is claimed with.
    pub(super) fn make(&self, wish: Wish) -> Result<Made, Error> {
        let Wish {
            tenant,
            key,
            mut request,
            ..
        } = wish;
        let original = Original::of(&request);
        fingerprint::refuse_twice(&original.body)?;
        let fingerprint = original.digest(|name| self.writes.inert(name));
        let capability = self.writes.capability(&request);
        self.check_durability(capability)?;
        let conflict = self.writes.conflict_key(&request);
        let at = self.book.now().at;
        let issued = if key.is_derived() {
            // Made now, and new: a journal forgets none of them.
            Some(at)
        } else {
            let said = Marker::of(&request).key_issued();
            said.or_else(|| key.issued())
                .filter(|issued| *issued <= at.plus(AHEAD_MAX))
        };
        let mut headers = Headers::asked(&request);
        let upstream_key = key::upstream_key(&self.namespace, &tenant, &key);
        self.writes.plant(&mut request, &upstream_key)?;
        let asked = Asked {
            id: OperationId::new(at, self.book.random().id()),
            namespace: Arc::clone(&self.namespace),
            tenant,
            key,
            conflict,
            fingerprint,
            capability,
            upstream_key,
            request: self.stored(request, &mut headers),
            at,
            issued,
        };
        Ok(Made {
            record: self.book.fresh(asked),
            original,
            headers,
        })
    }

    /// What is kept of a planted request: the allowed headers, and those that planting has changed.
    fn stored(&self, request: Request<Payload>, asked: &mut Headers) -> StoredRequest {
        let (head, body) = request.into_parts();
        let kept = |name: &HeaderName, value: &HeaderValue| {
            self.config.recorded_headers.contains(name) || !asked.is_asked(name, value)
        };
        let kept = || {
            head.headers
                .iter()
                .filter(|(name, value)| kept(name, value))
        };
        let count = kept().count();
        // A journal in memory keeps it for long: no more room than it takes.
        let mut headers = Vec::with_capacity(count);
        headers.extend(
            kept().filter_map(|(name, value)| {
                Some((name.to_string(), value.to_str().ok()?.to_owned()))
            }),
        );
        // What is recorded is sent again as text, and in place of what the caller gave under its name: so is it sent the
        // first time.
        let alike = headers.len() == count && head.headers.keys_len() == head.headers.len();
        asked.planted = alike.then_some(head.headers);
        StoredRequest {
            method: head.method,
            headers,
            uri: head.uri,
            body: body.into_bytes(),
        }
    }

    fn check_durability(&self, capability: Capability) -> Result<(), Error> {
        let only_the_journal = !matches!(capability, Capability::Keyed { .. });
        if only_the_journal
            && self.book.durability() == Durability::Volatile
            && !self.config.accept_volatile
        {
            return Err(Error::invalid(
                "the upstream honours no key for this write, and the journal forgets in a crash; nothing was sent; use a \
                 durable journal, or accept the risk by `accept_volatile`",
            ));
        }
        Ok(())
    }

    fn patience(&self, marker: &Marker) -> Result<Duration, Error> {
        let patience = marker.patience().unwrap_or(self.config.patience);
        let Some(deadline) = marker.deadline() else {
            return Ok(patience);
        };
        let left = deadline.saturating_duration_since(self.book.clock().now());
        if left.is_zero() {
            return Err(Error::Deadline);
        }
        Ok(patience.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_that_the_caller_gave_counts_as_planted() {
        let request = Request::post("http://u/")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(Payload::empty())
            .unwrap();
        let asked = Headers::asked(&request);
        for (name, value) in request.headers() {
            assert!(asked.is_asked(name, value), "{value:?}");
        }
        let planted = HeaderValue::from_static("c=3");
        assert!(!asked.is_asked(&http::header::COOKIE, &planted));
    }
}
