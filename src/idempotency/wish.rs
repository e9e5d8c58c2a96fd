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
use http::{HeaderMap, Request};
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
    /// Of the caller: also what is not recorded.
    pub(super) headers: HeaderMap,
}

impl Shared {
    /// Reads what a write says of itself.
    pub(super) fn wish(&self, mut request: Request<Payload>) -> Result<Asking, Error> {
        let tenant = Tenant::new(self.tenant_of.tenant(&request)?)?;
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
        let headers = request.headers().clone();
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
            request: self.stored(request, &headers),
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
    fn stored(&self, request: Request<Payload>, before: &HeaderMap) -> StoredRequest {
        let (head, body) = request.into_parts();
        let mut headers = Vec::new();
        for name in head.headers.keys() {
            let values = head.headers.get_all(name);
            // By all its values: a header may come in several fields, and a credential is in any of them.
            if self.config.recorded_headers.contains(name) || values != before.get_all(name) {
                let read = values.iter().filter_map(|value| value.to_str().ok());
                headers.extend(read.map(|value| (name.to_string(), value.to_owned())));
            }
        }
        // A journal in memory keeps it for long.
        headers.shrink_to_fit();
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
