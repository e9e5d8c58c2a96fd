//! Records for these tests.

use bytes::Bytes;
use std::fmt::Display;
use std::sync::Arc;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::context::{OperationId, OperationKey, Tenant};
use tower_sturdy::journal::{Asked, Capability, Fingerprint, OwnerId, Record, StoredRequest};

/// Like `unwrap`, but the message is the error's own.
#[track_caller]
pub(crate) fn unwrap<T, E: Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

/// A claim of `key` with a body of `len` bytes.
#[allow(dead_code, reason = "only journals behind features need it")]
pub(crate) fn record(id: u128, key: &str, len: usize) -> Record {
    let asked = Asked {
        id: OperationId::from_bits(id),
        namespace: Arc::from("test"),
        tenant: Tenant::new("9130").unwrap(),
        key: OperationKey::new(key).unwrap(),
        conflict: None,
        fingerprint: Fingerprint {
            version: 1,
            digest: [3; 32],
        },
        capability: Capability::Lookup,
        upstream_key: format!("up-{key}"),
        request: StoredRequest {
            method: http::Method::POST,
            uri: http::Uri::from_static("https://upstream.example/bill"),
            headers: vec![("content-type".into(), "application/json".into())],
            body: Bytes::from(vec![b'x'; len]),
        },
        at: Timestamp::from_millis(1_000),
        issued: None,
    };
    Record::claim(asked, OwnerId(u64::MAX), Timestamp::from_millis(31_000))
}
