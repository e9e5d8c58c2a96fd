//! Each write treated as what the scenario declares it to be.

use super::config::WriteCapability;
use crate::classify::Safety;
use crate::error::Error;
use crate::idempotency::Writes;
use crate::journal::Capability;
use crate::payload::Payload;
use crate::qbo::{QboWrites, request_id};
use http::Request;
use std::time::Duration;

/// The QuickBooks preset, keyed or not write by write. What is not keyed carries no `requestid`, so that an upstream which
/// honours them hides no second send; what is declared `None` carries no mark either.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declared {
    pub(super) keyed: QboWrites,
    unkeyed: QboWrites,
}

impl Declared {
    pub(super) fn new(horizon: Duration) -> Self {
        let keyed = QboWrites {
            horizon,
            ..QboWrites::default()
        };
        Self {
            unkeyed: QboWrites {
                keyed: false,
                ..keyed
            },
            keyed,
        }
    }
}

/// What the scenario declares a write to be.
fn declared(request: &Request<Payload>) -> WriteCapability {
    let told = request.extensions().get().copied();
    // A write that nobody declared leaves at most once.
    told.unwrap_or(WriteCapability::None)
}

impl Writes for Declared {
    fn safety(&self, request: &Request<Payload>) -> Safety {
        Writes::safety(&self.keyed, request)
    }

    fn capability(&self, request: &Request<Payload>) -> Capability {
        match declared(request) {
            WriteCapability::Keyed => self.keyed.capability(request),
            WriteCapability::Lookup => self.unkeyed.capability(request),
            WriteCapability::None => Capability::None,
        }
    }

    fn plant(&self, request: &mut Request<Payload>, upstream_key: &str) -> Result<(), Error> {
        match declared(request) {
            WriteCapability::Keyed => return self.keyed.plant(request, upstream_key),
            WriteCapability::Lookup => self.unkeyed.plant(request, upstream_key)?,
            WriteCapability::None => {}
        }
        *request.uri_mut() = request_id::strip(request.uri())?;
        Ok(())
    }

    fn inert(&self, query_name: &str) -> bool {
        self.keyed.inert(query_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qbo::mark;

    /// The write as it leaves, and what protects it.
    fn planted(kind: Option<WriteCapability>) -> (Capability, Request<Payload>) {
        let mut request = Request::post("https://h/v3/company/1/billpayment?minorversion=75")
            .body(Payload::from(r#"{"PrivateNote":"op=a"}"#))
            .unwrap();
        if let Some(kind) = kind {
            request.extensions_mut().insert(kind);
        }
        let writes = Declared::new(Duration::from_secs(900));
        let capability = writes.capability(&request);
        writes.plant(&mut request, "KEY").unwrap();
        (capability, request)
    }

    #[test]
    fn a_keyed_write_carries_a_request_id_and_no_mark() {
        let (capability, request) = planted(Some(WriteCapability::Keyed));
        assert!(
            matches!(capability, Capability::Keyed { horizon, .. } if horizon.as_secs() == 900)
        );
        assert_eq!(request.uri().query(), Some("minorversion=75&requestid=KEY"));
        assert!(!mark::find(request.body().bytes(), "KEY"));
    }

    #[test]
    fn a_write_to_be_looked_up_carries_a_mark_and_no_request_id() {
        let (capability, request) = planted(Some(WriteCapability::Lookup));
        assert_eq!(capability, Capability::Lookup);
        assert_eq!(request.uri().query(), Some("minorversion=75"));
        assert!(mark::find(request.body().bytes(), "KEY"));
    }

    #[test]
    fn a_write_declared_none_or_not_at_all_carries_neither() {
        for kind in [Some(WriteCapability::None), None] {
            let (capability, request) = planted(kind);
            assert_eq!(capability, Capability::None);
            assert_eq!(request.uri().query(), Some("minorversion=75"));
            assert!(!mark::find(request.body().bytes(), "KEY"));
        }
    }
}
