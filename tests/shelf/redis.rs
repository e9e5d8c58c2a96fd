//! The shelf in Redis, against a server that is stopped, hung, restarted and used by others.

use crate::server::Server;
use crate::unwrap;
use bytes::Bytes;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::journal::shelf::conformance::check;
use tower_sturdy::journal::shelf::{
    Expected, Put, RedisShelf, RedisShelfConfig, Shelf, ShelfError,
};

/// Far longer than any call may take, on any machine: a call that is not over by then hangs.
const HUNG: Duration = Duration::from_secs(60);

fn shelf(server: &Server, namespace: &str, timeout: Duration) -> RedisShelf {
    unwrap(RedisShelf::new(&RedisShelfConfig {
        timeout,
        ..RedisShelfConfig::new(server.url(), namespace)
    }))
}

/// Generous: these tests share a busy machine.
fn patient(server: &Server, namespace: &str) -> RedisShelf {
    shelf(server, namespace, Duration::from_secs(30))
}

async fn put(shelf: &RedisShelf, expected: Expected) -> Result<Put, ShelfError> {
    let value = Bytes::from_static(b"value");
    let put = shelf.put("space", "key", value, expected, None);
    let over = tokio::time::timeout(HUNG, put).await;
    over.expect("a put hangs")
}

async fn stored(shelf: &RedisShelf, expected: Expected) -> u64 {
    match unwrap(put(shelf, expected).await) {
        Put::Stored(version) => version,
        Put::Conflict(held) => panic!("expected {expected:?}, met {held:?}"),
    }
}

#[track_caller]
fn failed<T: std::fmt::Debug>(answer: Result<T, ShelfError>) -> String {
    match answer {
        Err(ShelfError::Unavailable(why)) => why.to_string(),
        other => panic!("expected `Unavailable`, was told {other:?}"),
    }
}

async fn keeps_the_laws() {
    let server = Server::start().await;
    let made = AtomicU32::new(0);
    let make = async || {
        let number = made.fetch_add(1, Ordering::Relaxed);
        patient(&server, &format!("law-{number}"))
    };
    unwrap(check(Clock::system(), make).await);
}

#[tokio::test]
async fn it_keeps_the_laws_on_one_thread() {
    keeps_the_laws().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_laws_on_several_threads() {
    keeps_the_laws().await;
}

#[tokio::test]
async fn two_handles_share_a_namespace_and_namespaces_share_nothing() {
    let server = Server::start().await;
    let (here, there) = (patient(&server, "one"), patient(&server, "one"));
    let elsewhere = patient(&server, "two");
    let version = stored(&here, Expected::Absent).await;
    let met = unwrap(put(&there, Expected::Absent).await);
    assert_eq!(met, Put::Conflict(Some(version)));
    stored(&there, Expected::Version(version)).await;
    stored(&elsewhere, Expected::Absent).await;
    // Its name in the server is part of what is promised: other versions of this program look there.
    let names = server.ask("KEYS *").unwrap();
    assert!(names.contains("sturdy:one:5:space:key\r\n"), "{names}");
}

#[tokio::test]
async fn a_server_that_stops_is_an_error_and_one_that_comes_back_works_again() {
    let mut server = Server::start().await;
    let shelf = patient(&server, "n");
    let before = stored(&shelf, Expected::Absent).await;
    server.stop();
    // The first fails on the lost connection, the next ones on connecting.
    for _ in 0..3 {
        let why = failed(put(&shelf, Expected::Any).await);
        assert!(why.contains("redis at 127.0.0.1:"), "{why}");
        failed(shelf.get("space", "key").await);
    }
    server.start_again().await;
    // It forgot everything, the counters too: the old version is nobody's all the same.
    let old = Expected::Version(before);
    assert_eq!(unwrap(put(&shelf, old).await), Put::Conflict(None));
    let after = stored(&shelf, Expected::Absent).await;
    assert_ne!(after, before);
    assert_eq!(unwrap(put(&shelf, old).await), Put::Conflict(Some(after)));
}

#[tokio::test]
async fn a_restart_between_two_calls_is_not_noticed_after_a_while() {
    let mut server = Server::start().await;
    let shelf = patient(&server, "n");
    stored(&shelf, Expected::Absent).await;
    server.start_again().await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    stored(&shelf, Expected::Absent).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_an_error_for_all_who_wait_and_is_used_again_afterwards() {
    let server = Server::start().await;
    let timeout = Duration::from_millis(300);
    let impatient = shelf(&server, "n", timeout);
    stored(&patient(&server, "n"), Expected::Absent).await;
    let mut connected = put(&impatient, Expected::Any).await;
    // On a busy machine the first call may be over its short timeout.
    for _ in 0..20 {
        if connected.is_ok() {
            break;
        }
        connected = put(&impatient, Expected::Any).await;
    }
    unwrap(connected);
    server.signal("STOP");
    let calls = (0..64).map(|_| {
        let shelf = impatient.clone();
        tokio::spawn(async move { put(&shelf, Expected::Any).await })
    });
    for call in calls.collect::<Vec<_>>() {
        let why = failed(call.await.unwrap());
        assert!(why.contains("did not answer within 300ms"), "{why}");
    }
    // Also whoever must connect first.
    let fresh = shelf(&server, "n", timeout);
    let why = failed(put(&fresh, Expected::Any).await);
    assert!(why.contains("did not answer within 300ms"), "{why}");
    server.signal("CONT");
    stored(&patient(&server, "n"), Expected::Any).await;
    let mut answer = put(&impatient, Expected::Any).await;
    for _ in 0..20 {
        if answer.is_ok() {
            break;
        }
        answer = put(&impatient, Expected::Any).await;
    }
    assert!(matches!(unwrap(answer), Put::Stored(_)));
}

#[tokio::test]
async fn a_dropped_call_leaves_the_connection_in_order() {
    let server = Server::start().await;
    let shelf = patient(&server, "n");
    stored(&shelf, Expected::Absent).await;
    for round in 0..50_u64 {
        let key = format!("key-{round}");
        let mut dropped = shelf.get("space", "key");
        let _ = tokio::time::timeout(Duration::from_micros(round * 10), &mut dropped).await;
        drop(dropped);
        // An answer that was meant for the dropped call would be the value of another key.
        assert_eq!(unwrap(shelf.get("space", &key).await), None);
    }
}

#[tokio::test]
async fn what_no_shelf_wrote_is_an_error_and_is_kept() {
    let server = Server::start().await;
    let shelf = patient(&server, "n");
    server.ask("SET sturdy:n:5:space:key short").unwrap();
    assert!(failed(shelf.get("space", "key").await).contains("no shelf wrote"));
    assert!(failed(put(&shelf, Expected::Absent).await).contains("no shelf wrote"));
    let kept = server.ask("GET sturdy:n:5:space:key").unwrap();
    assert!(kept.contains("short"), "{kept}");
    server.ask("DEL sturdy:n:5:space:key").unwrap();
    server.ask("LPUSH sturdy:n:5:space:key one").unwrap();
    assert!(failed(put(&shelf, Expected::Any).await).contains("WRONGTYPE"));
    assert!(failed(shelf.get("space", "key").await).contains("WRONGTYPE"));
}

#[tokio::test]
async fn a_full_server_is_an_error_and_changes_nothing() {
    let server = Server::start().await;
    let shelf = patient(&server, "n");
    let version = stored(&shelf, Expected::Absent).await;
    server.ask("CONFIG SET maxmemory 1").unwrap();
    assert!(failed(put(&shelf, Expected::Any).await).contains("OOM"));
    let found = unwrap(shelf.get("space", "key").await).unwrap();
    assert_eq!(found.version, version);
    server.ask("CONFIG SET maxmemory 0").unwrap();
    stored(&shelf, Expected::Version(version)).await;
}

#[tokio::test]
async fn the_server_itself_ends_a_value() {
    let server = Server::start().await;
    let shelf = patient(&server, "n");
    let at = Timestamp::from_millis(Clock::system().wall().as_millis() + 3_600_000);
    let value = Bytes::from_static(b"value");
    let put = shelf.put("space", "key", value, Expected::Absent, Some(at));
    unwrap(put.await);
    let expiry = server.ask("PEXPIRETIME sturdy:n:5:space:key").unwrap();
    assert!(
        expiry.contains(&format!(":{}\r\n", at.as_millis())),
        "{expiry}"
    );
}

#[tokio::test]
async fn a_wrong_password_is_told_and_never_shown() {
    let server = Server::start().await;
    let url = server.url().replace("for-this-test-alone", "hunter2");
    let config = RedisShelfConfig {
        timeout: Duration::from_secs(30),
        ..RedisShelfConfig::new(url, "n")
    };
    let shelf = unwrap(RedisShelf::new(&config));
    let why = failed(put(&shelf, Expected::Any).await);
    let shown = format!("{why} {config:?} {shelf:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(why.to_lowercase().contains("password"), "{why}");
}

#[test]
fn settings_that_cannot_work_are_refused_without_a_server() {
    let fine = RedisShelfConfig::new("redis://127.0.0.1/", "n");
    let with = |change: fn(&mut RedisShelfConfig)| {
        let mut config = fine.clone();
        change(&mut config);
        RedisShelf::new(&config)
    };
    unwrap(with(|_| {}));
    for (refused, field) in [
        (
            with(|config| config.url = "http://:hunter2@host/".into()),
            "url",
        ),
        (
            with(|config| config.url = "redis://:hunter2@host:99999/".into()),
            "url",
        ),
        (
            with(|config| config.url = "rediss://:hunter2@host/".into()),
            "url",
        ),
        (with(|config| config.namespace = String::new()), "namespace"),
        (with(|config| config.namespace = "a:b".into()), "namespace"),
        (
            with(|config| config.namespace = "n".repeat(65)),
            "namespace",
        ),
        (with(|config| config.timeout = Duration::ZERO), "timeout"),
        (with(|config| config.timeout = Duration::MAX), "timeout"),
    ] {
        let why = refused.expect_err(field).to_string();
        assert!(why.contains(field) && !why.contains("hunter2"), "{why}");
    }
}
