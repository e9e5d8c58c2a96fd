//! Journal files for these tests, filled through the library.

use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::context::{OperationId, OperationKey, Tenant};
use tower_sturdy::journal::{
    Asked, Capability, Claim, Fingerprint, Journal, OwnerId, Record, SqliteJournal, State,
    StoredAnswer, StoredRequest,
};
use tower_sturdy::outcome::Verdict;

pub const WINDOW: Duration = Duration::from_secs(300);
pub const ME: OwnerId = OwnerId(0xfeed);
/// What must never be shown unasked.
pub const SECRETS: [&str; 5] = [
    "amount-10.42",
    "balance-99",
    "card=4111",
    "tok-secret",
    "set-me",
];

pub fn now() -> Timestamp {
    Clock::system().wall()
}

/// An operation that was accepted `ago`.
pub fn asked(id: u128, ago: Duration) -> Asked {
    Asked {
        id: OperationId::from_bits(id),
        namespace: Arc::from("default"),
        tenant: Tenant::new(if id.is_multiple_of(2) { "9130" } else { "9131" }).unwrap(),
        key: OperationKey::new(&format!("pay-bill-{id}")).unwrap(),
        conflict: None,
        fingerprint: Fingerprint {
            version: 1,
            digest: [3; 32],
        },
        capability: Capability::Lookup,
        upstream_key: format!("UP{id}"),
        request: StoredRequest {
            method: http::Method::POST,
            uri: "https://upstream.example/v3/pay?card=4111".parse().unwrap(),
            headers: vec![("x-note".into(), "tok-secret".into())],
            body: Bytes::from_static(b"{\"note\":\"amount-10.42\"}"),
        },
        at: now().minus(ago),
        issued: None,
    }
}

/// In doubt since `ago`: it was sent, and no end was seen.
pub fn in_doubt(id: u128, ago: Duration) -> Record {
    let asked = asked(id, ago);
    let at = asked.at;
    let mut record = Record::claim(asked, ME, at.plus(WINDOW));
    record.begin_attempt(ME, at, at.plus(WINDOW)).unwrap();
    record.release(at, None);
    assert_eq!(record.state(), State::Unknown);
    record
}

/// Paid, with its answer.
pub fn completed(id: u128, ago: Duration) -> Record {
    let mut record = Record::claim(asked(id, ago), ME, Timestamp::NEVER);
    let at = record.asked.at;
    record.begin_attempt(ME, at, at.plus(WINDOW)).unwrap();
    let answer = StoredAnswer {
        status: 200,
        headers: vec![("x-trace".into(), "set-me".into())],
        body: Bytes::from_static(b"balance-99"),
    };
    record.end_attempt(ME, 1, at, Verdict::APPLIED, WINDOW, Some(answer));
    record.progress.acknowledged = true;
    record.progress.due = None;
    record
}

pub fn parked(id: u128, ago: Duration) -> Record {
    let mut record = in_doubt(id, ago);
    let at = record.asked.at.plus(WINDOW);
    record
        .step(State::Parked, at, "not found, and too old", "worker")
        .unwrap();
    record.progress.due = Some(now().plus(Duration::from_secs(3_600)));
    record
}

/// Said to be rejected by a person, and found upstream.
pub fn contradicted(id: u128, ago: Duration) -> Record {
    let mut record = in_doubt(id, ago);
    let at = record.asked.at.plus(WINDOW);
    record
        .resolve(at.into(), false, "bob", "not in the list", false)
        .unwrap();
    record.prove(at.plus(WINDOW), "its mark is on BillPayment 7".into(), None);
    record.progress.acknowledged = true;
    record.progress.due = None;
    record
}

/// One at a time: `work` is awaited to its end.
pub fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(work)
}

pub async fn put(journal: &SqliteJournal, records: &[Record]) {
    for record in records {
        let claimed = journal.claim(record).await.unwrap();
        assert_eq!(claimed, Claim::Claimed);
    }
}

/// A journal file with these records.
pub fn file(folder: &Path, records: &[Record]) -> PathBuf {
    let path = folder.join("operations.db");
    let journal = SqliteJournal::open(&path).unwrap();
    wait(put(&journal, records));
    path
}

pub fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3_600)
}

/// One of each kind, long enough ago that nothing is open: ids 1 to 5, the last still within its settle window.
pub fn usual() -> Vec<Record> {
    vec![
        in_doubt(1, hours(3)),
        completed(2, hours(30)),
        parked(3, hours(50)),
        contradicted(4, hours(9)),
        in_doubt(5, Duration::from_secs(60)),
    ]
}
