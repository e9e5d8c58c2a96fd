//! The presets as hooks of the rooms.

use super::cacheable::{EVERYTHING, depends_on, touches};
use super::capability::QboWrites;
use super::limits::{EndpointClass, Limit, class_of};
use super::mark;
use super::request_id;
use super::route::{Operation, QboRoute};
use crate::cache::{CacheRules, ReadRule};
use crate::classify::Safety;
use crate::error::Error;
use crate::idempotency::Writes;
use crate::journal::Capability;
use crate::payload::Payload;
use crate::rate_limit::{Class, ClassOf, Counts, Quota, Scope};
use http::Request;
use std::borrow::Cow;

/// The class of batch requests.
pub const BATCH: Class = Class(1);
/// The class of reports.
pub const REPORT: Class = Class(2);

impl From<Limit> for Quota {
    fn from(limit: Limit) -> Self {
        Self {
            name: Cow::Borrowed(limit.name),
            limit: limit.limit,
            per: limit.per,
            scope: if limit.per_app {
                Scope::App
            } else {
                Scope::Tenant
            },
            counts: Counts::Requests,
            reserve: 0,
            class: match limit.class {
                EndpointClass::Any => None,
                EndpointClass::Batch => Some(BATCH),
                EndpointClass::Report => Some(REPORT),
            },
        }
    }
}

/// Which quotas a request counts against, and whether it is a read (a query may be a POST).
#[derive(Clone, Copy, Debug, Default)]
pub struct QboClasses;

impl ClassOf for QboClasses {
    fn class(&self, request: &Request<Payload>) -> Class {
        match class_of(request) {
            EndpointClass::Any => Class::default(),
            EndpointClass::Batch => BATCH,
            EndpointClass::Report => REPORT,
        }
    }

    fn safety(&self, request: &Request<Payload>) -> Safety {
        // The body does not change whether it is a read, and is not looked at here.
        QboRoute::parse(request.method(), request.uri(), b"").safety
    }
}

/// Which reads are cached, and what a write makes stale.
#[derive(Clone, Copy, Debug, Default)]
pub struct QboCache;

impl CacheRules for QboCache {
    fn read(&self, request: &Request<Payload>) -> Option<ReadRule> {
        let route = QboRoute::parse(request.method(), request.uri(), b"");
        depends_on(&route, request.uri()).map(|_| ReadRule::default())
    }

    fn entities(&self, request: &Request<Payload>, touch: &mut dyn FnMut(&str)) {
        let route = QboRoute::of(request);
        if let Some(entity) = depends_on(&route, request.uri()) {
            return touch(entity.name());
        }
        let touched = touches(&route);
        // Naming nothing is naming everything of the tenant.
        if !touched.contains(&EVERYTHING) {
            touched.iter().for_each(|entity| touch(entity));
        }
    }
}

impl Writes for QboWrites {
    fn safety(&self, request: &Request<Payload>) -> Safety {
        QboRoute::parse(request.method(), request.uri(), b"").safety
    }

    fn capability(&self, request: &Request<Payload>) -> Capability {
        Self::capability(self, request)
    }

    fn plant(&self, request: &mut Request<Payload>, upstream_key: &str) -> Result<(), Error> {
        let route = QboRoute::of(request);
        let marked = (self.mark || !self.keyed)
            && route.operation == Operation::Create
            && mark::is_markable(route.entity);
        // A caller's own id became the operation's key; what the upstream sees is derived from that.
        let uri = request_id::strip(request.uri())?;
        *request.uri_mut() = request_id::plant(&uri, upstream_key)?;
        if marked {
            let body = mark::plant(request.body().bytes(), upstream_key)?;
            let payload = std::mem::take(request.body_mut());
            *request.body_mut() = payload.with_bytes(body);
        }
        Ok(())
    }

    fn own_key<'a>(&self, request: &'a Request<Payload>) -> Option<&'a str> {
        request_id::own(request.uri())
    }

    fn inert(&self, query_name: &str) -> bool {
        request_id::INERT
            .iter()
            .any(|inert| inert.eq_ignore_ascii_case(query_name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pay(query: &str) -> Request<Payload> {
        Request::post(format!("https://h/v3/company/1/billpayment{query}"))
            .body(Payload::from(r#"{"PrivateNote":"rent","TotalAmt":1.50}"#))
            .unwrap()
    }

    #[test]
    fn a_keyed_write_gets_the_id_and_keeps_its_body() {
        let mut request = pay("?minorversion=75&requestid=own");
        let writes = QboWrites::default();
        assert_eq!(Writes::own_key(&writes, &request), Some("own"));
        Writes::plant(&writes, &mut request, "KEY").unwrap();
        assert_eq!(request.uri().query(), Some("minorversion=75&requestid=KEY"));
        assert_eq!(
            request.body().bytes(),
            r#"{"PrivateNote":"rent","TotalAmt":1.50}"#
        );
    }

    #[test]
    fn without_a_key_a_create_carries_a_mark_and_an_update_does_not() {
        let writes = QboWrites {
            keyed: false,
            ..QboWrites::default()
        };
        let mut create = pay("");
        Writes::plant(&writes, &mut create, "KEY").unwrap();
        assert!(mark::find(create.body().bytes(), "KEY"));
        let mut update = Request::post("https://h/v3/company/1/billpayment")
            .body(Payload::from(r#"{"Id":"1","SyncToken":"0"}"#))
            .unwrap();
        Writes::plant(&writes, &mut update, "KEY").unwrap();
        assert_eq!(update.body().bytes(), r#"{"Id":"1","SyncToken":"0"}"#);
    }

    #[test]
    fn a_payment_makes_the_bill_stale_and_a_batch_everything() {
        let touched = |request: &Request<Payload>| {
            let mut names = Vec::new();
            QboCache.entities(request, &mut |name| names.push(name.to_owned()));
            names
        };
        assert!(touched(&pay("")).contains(&"Bill".to_owned()));
        let batch = Request::post("https://h/v3/company/1/batch")
            .body(Payload::from("{}"))
            .unwrap();
        assert!(touched(&batch).is_empty());
        let read = Request::get("https://h/v3/company/1/bill/7")
            .body(Payload::empty())
            .unwrap();
        assert_eq!(touched(&read), ["Bill"]);
    }
}
