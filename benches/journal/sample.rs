//! Records for these measurements.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::context::{OperationId, OperationKey, Tenant};
use tower_sturdy::journal::{
    Asked, Capability, Concurrent, Fingerprint, OwnerId, Record, StoredRequest,
};
use tower_sturdy::random::Random;

/// A bill with some lines.
pub(crate) const BODY: usize = 1_024;

/// A new operation: its id as the idempotency room makes ids, its key the worst for an index, random.
pub(crate) fn claim(random: &Random, clock: Clock) -> Record {
    numbered(clock.wall(), random.id(), random.id())
}

pub(crate) fn numbered(at: Timestamp, id: u128, key: u128) -> Record {
    let asked = Asked {
        id: OperationId::new(at, id),
        namespace: Arc::from("bench"),
        tenant: Tenant::new("9130").unwrap(),
        key: OperationKey::new(&format!("{key:032x}")).unwrap(),
        conflict: None,
        fingerprint: Fingerprint {
            version: 1,
            digest: [3; 32],
        },
        capability: Capability::Keyed {
            horizon: Duration::from_secs(3_600),
            concurrent: Concurrent::Unproven,
        },
        upstream_key: format!("{key:032x}"),
        request: StoredRequest {
            method: http::Method::POST,
            uri: http::Uri::from_static("https://upstream.example/v3/company/9130/bill"),
            headers: vec![("content-type".into(), "application/json".into())],
            body: Bytes::from(vec![b'x'; BODY]),
        },
        at,
        issued: None,
    };
    Record::claim(asked, OwnerId(1), at.plus(Duration::from_secs(30)))
}

pub(crate) struct Quantiles(Vec<Duration>);

impl Quantiles {
    pub(crate) fn new(mut taken: Vec<Duration>) -> Self {
        taken.sort_unstable();
        Self(taken)
    }

    /// In microseconds.
    pub(crate) fn at(&self, percent: usize) -> f64 {
        self.0[(self.0.len() - 1) * percent / 100].as_secs_f64() * 1e6
    }
}
