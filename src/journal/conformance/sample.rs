//! Records as the laws need them: plain ones, and ones that hold whatever a record can hold.

use crate::clock::Timestamp;
use crate::context::{OperationId, OperationKey, Tenant};
use crate::journal::record::{
    Asked, Attempt, Capability, Concurrent, Ended, Fingerprint, OwnerId, Progress, Proven, Record,
    Resolved, State, StoredAnswer, StoredRequest, Transition,
};
use crate::outcome::Outcome;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

pub(super) const NAMESPACE: &str = "conformance";

pub(super) fn key(name: &str) -> Result<OperationKey, String> {
    OperationKey::new(name).map_err(|error| error.to_string())
}

pub(super) fn tenant(name: &str) -> Result<Tenant, String> {
    Tenant::new(name).map_err(|error| error.to_string())
}

/// A plain claim of `key` under the id `id`.
pub(super) fn plain(id: u128, key_name: &str) -> Result<Record, String> {
    let asked = Asked {
        id: OperationId::from_bits(id),
        namespace: Arc::from(NAMESPACE),
        tenant: tenant("9130")?,
        key: key(key_name)?,
        conflict: None,
        fingerprint: Fingerprint {
            version: 1,
            digest: [7; 32],
        },
        capability: Capability::Lookup,
        upstream_key: "upstream".to_owned(),
        request: StoredRequest {
            method: http::Method::POST,
            uri: http::Uri::from_static("https://upstream.example/v3/bill?minorversion=75"),
            headers: Vec::new(),
            body: Bytes::from_static(b"{}"),
        },
        at: Timestamp::from_millis(1_000),
        issued: Some(Timestamp::from_millis(900)),
    };
    Ok(Record::claim(
        asked,
        OwnerId(1),
        Timestamp::from_millis(31_000),
    ))
}

/// The same record with other things asked.
pub(super) fn asking(mut record: Record, change: impl FnOnce(&mut Asked)) -> Record {
    let mut asked = (*record.asked).clone();
    change(&mut asked);
    record.asked = Arc::new(asked);
    record
}

/// The next version of a record.
pub(super) fn after(record: &Record, change: impl FnOnce(&mut Record)) -> Record {
    let mut next = record.clone();
    next.progress.version += 1;
    change(&mut next);
    next
}

const ODD: &str =
    "quote ' \" \\ null \0 line \r\n tab \t \u{feff}\u{202e} emoji \u{1f4b8} \u{10ffff}";

fn odd_headers() -> Vec<(String, String)> {
    vec![
        ("content-type".into(), "application/json".into()),
        ("x-twice".into(), "one".into()),
        ("x-twice".into(), String::new()),
        (String::new(), ODD.into()),
    ]
}

fn every_byte() -> Bytes {
    (0..=u8::MAX).collect::<Vec<u8>>().into()
}

/// An answer whose parts are all unusual.
pub(super) fn odd_answer() -> StoredAnswer {
    StoredAnswer {
        status: u16::MAX,
        headers: odd_headers(),
        body: every_byte(),
    }
}

/// Progress whose parts are all unusual, in `state`.
pub(super) fn odd_progress(state: State, version: u64) -> Progress {
    let outcomes = [
        Outcome::Unsent,
        Outcome::NoEffect,
        Outcome::Rejected,
        Outcome::Unknown,
        Outcome::Applied,
    ];
    let ends = outcomes
        .into_iter()
        .map(|outcome| {
            Some(Ended {
                at: Timestamp::NEVER,
                outcome,
                closed: outcome == Outcome::Applied,
            })
        })
        .chain([None]);
    Progress {
        state,
        version,
        owner: OwnerId(u64::MAX),
        lease_until: Timestamp::NEVER,
        attempts: (u32::MAX - 5..=u32::MAX)
            .zip(ends)
            .map(|(number, ended)| Attempt {
                number,
                owner: OwnerId(u64::from(number) << 32),
                started: Timestamp::from_millis(0),
                ended,
                settles: Timestamp::NEVER,
            })
            .collect(),
        history: State::ALL
            .into_iter()
            .map(|to| Transition {
                at: Timestamp::from_millis(u64::MAX),
                from: state,
                to,
                why: ODD.into(),
                by: "".into(),
            })
            .collect(),
        due: Some(Timestamp::NEVER),
        checks: u32::MAX,
        acknowledged: true,
        contradicted: true,
        purged: Some(Timestamp::NEVER),
        resolved: Some(Resolved {
            at: Timestamp::NEVER,
            applied: true,
            proven: Some(Proven {
                at: Timestamp::from_millis(0),
                evidence: ODD.into(),
            }),
        }),
    }
}

/// Claims that hold whatever a record can hold: odd text, every byte, nothing at all, a megabyte, the ends of numbers.
pub(super) fn odd() -> Result<Vec<Record>, String> {
    let keyed = |horizon, concurrent| Capability::Keyed {
        horizon,
        concurrent,
    };
    let full = asking(plain(u128::MAX, "visible!~#%&'\"\\")?, |asked| {
        asked.namespace = Arc::from(ODD);
        asked.conflict = Some(ODD.to_owned());
        asked.fingerprint = Fingerprint {
            version: u8::MAX,
            digest: [u8::MAX; 32],
        };
        asked.capability = keyed(Duration::MAX, Concurrent::Proven);
        asked.upstream_key = ODD.to_owned();
        asked.request.headers = odd_headers();
        asked.request.body = every_byte();
        asked.at = Timestamp::NEVER;
        asked.issued = Some(Timestamp::NEVER);
    });
    let full = Record {
        progress: odd_progress(State::Parked, u64::MAX - 1),
        answer: Some(odd_answer()),
        ..asking(full, |asked| {
            asked.request.method = http::Method::TRACE;
            asked.request.uri = http::Uri::from_static("/a%20b?q=%27&r=a+b&s");
        })
    };
    let empty = asking(plain(0, "k")?, |asked| {
        asked.namespace = Arc::from("");
        asked.tenant = Tenant::default();
        asked.conflict = Some(String::new());
        asked.upstream_key = String::new();
        asked.request.body = Bytes::new();
        asked.capability = keyed(Duration::from_nanos(1), Concurrent::Unproven);
        asked.at = Timestamp::from_millis(0);
        asked.issued = Some(Timestamp::from_millis(0));
    });
    let empty = Record {
        answer: Some(StoredAnswer {
            status: 0,
            headers: Vec::new(),
            body: Bytes::new(),
        }),
        ..empty
    };
    let large = asking(plain(1, &"k".repeat(OperationKey::MAX_LEN))?, |asked| {
        asked.capability = Capability::None;
        asked.issued = None;
        asked.request.method = http::Method::PUT;
        asked.request.body = vec![0xA5; 1 << 20].into();
    });
    let large = asking(large, |asked| {
        if let Ok(tenant) = tenant(&"t".repeat(Tenant::MAX_LEN)) {
            asked.tenant = tenant;
        }
        if let Ok(method) = http::Method::from_bytes(b"BREW") {
            asked.request.method = method;
        }
    });
    Ok(vec![full, empty, large])
}
