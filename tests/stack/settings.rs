//! Bad settings and bad requests are told with the field and the fix, and nothing is sent.

use crate::rig::{Rig, SECOND, ask};
use http::Request;
use std::time::Duration;
use tower_sturdy::error::{InvalidConfig, Kind, Side};
use tower_sturdy::payload::Payload;
use tower_sturdy::qbo::limits::{EndpointClass, Limit};
use tower_sturdy::qbo::{Qbo, QboWrites};
use tower_sturdy::rate_limit::Quota;
use tower_sturdy::stack::{Stack, StackConfig};
use tower_sturdy::{BoxError, Error};

fn complaint(change: impl FnOnce(&mut StackConfig)) -> InvalidConfig {
    Rig::new().builder().configure(change).build().unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_stack_without_a_journal_says_which_to_give() {
    let transport = tower::service_fn(|_: Request<Payload>| async {
        Err::<http::Response<Payload>, BoxError>("never asked".into())
    });
    let invalid = Stack::builder(transport).build().unwrap_err();
    assert_eq!(invalid.field(), "journal");
    let told = invalid.to_string();
    assert!(told.contains("SqliteJournal::open"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_cannot_work_is_told_by_its_field() {
    type Change = fn(&mut StackConfig);
    let cases: [(&str, Change); 19] = [
        ("rate_limit.quotas[0].limit", |config| {
            config.rate_limit.quotas = vec![Quota::per_tenant("realm/minute", 0, SECOND)];
        }),
        ("rate_limit.max_waiting", |config| {
            config.rate_limit.max_waiting = 0;
        }),
        ("collect.request_limit", |config| config.request_limit = 0),
        ("collect.answer_limit", |config| config.answer_limit = 0),
        ("cache.capacity", |config| {
            config.cache.as_mut().unwrap().capacity = 0;
        }),
        ("cache.ttl", |config| {
            config.cache.as_mut().unwrap().ttl = Duration::ZERO;
        }),
        ("retry.user_action.attempts_max", |config| {
            config.retry.user_action.attempts_max = 0;
        }),
        ("retry.budget.percent", |config| {
            config.retry.budget.percent = 101;
        }),
        ("attempt.write_timeout", |config| {
            config.attempt.write_timeout = Duration::ZERO;
        }),
        ("attempt.write_timeout", |config| {
            config.attempt.write_timeout = Duration::MAX;
        }),
        ("attempt.kept_headers", |config| {
            config.attempt.kept_headers = vec![http::header::SET_COOKIE];
        }),
        ("idempotency.attempt_bound", |config| {
            config.idempotency.attempt_bound = Duration::MAX;
        }),
        ("journal.lease_margin", |config| {
            config.book.lease_margin = Duration::MAX;
        }),
        ("journal.settle.look_backoff", |config| {
            config.book.settle.look_backoff = Duration::ZERO;
        }),
        ("journal.settle.parked_interval", |config| {
            config.book.settle.parked_interval = Duration::ZERO;
        }),
        ("idempotency.namespace", |config| {
            config.idempotency.namespace = String::new();
        }),
        ("journal.live_max", |config| config.book.live_max = 0),
        ("reconcile.concurrency", |config| {
            config.reconcile.concurrency = 0;
        }),
        ("reconcile.concurrency", |config| {
            config.reconcile.concurrency = usize::MAX;
        }),
    ];
    for (field, change) in cases {
        let invalid = complaint(change);
        assert_eq!(invalid.field(), field);
        let told = invalid.to_string();
        let fixed = ["use ", "name ", "leave "];
        assert!(fixed.iter().any(|fix| told.contains(fix)), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_preset_that_cannot_work_is_told_by_its_field() {
    let transport = || Rig::new().mock;
    let zero = Limit {
        name: "realm/minute",
        limit: 0,
        per: SECOND,
        per_app: false,
        class: EndpointClass::Any,
    };
    let limits = Qbo {
        limits: vec![zero],
        ..Qbo::default()
    };
    let invalid = Rig::new().preset(limits).build().unwrap_err();
    assert_eq!(invalid.field(), "rate_limit.quotas[0].limit");
    let writes = Qbo {
        writes: QboWrites {
            horizon: Duration::ZERO,
            ..QboWrites::default()
        },
        ..Qbo::default()
    };
    let invalid = writes.stack(transport()).unwrap_err();
    assert_eq!(invalid.field(), "qbo.writes.horizon");
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_limit_is_refused_before_anything_is_sent() {
    let rig = Rig::new();
    let small = rig.builder().configure(|config| config.request_limit = 64);
    let error = ask(&small.build().unwrap(), rig.pay(1, "a"))
        .await
        .unwrap_err();
    let Error::TooLarge(large) = &error else {
        panic!("{error:?}");
    };
    assert_eq!((large.side, large.limit), (Side::Request, 64));
    assert!(error.to_string().contains("64"), "{error}");
    assert_eq!(rig.sends(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_without_a_key_is_refused_before_anything_is_sent() {
    let rig = Rig::new();
    let error = ask(&rig.stack(), rig.pay_without_key(1, "a"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::KeyRequired);
    assert!(error.to_string().contains("Idempotency-Key"), "{error}");
    assert_eq!(rig.sends(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_too_long_is_refused_with_its_length_and_the_limit() {
    let rig = Rig::new();
    let mut request = rig.pay_without_key(1, "a");
    let key = "k".repeat(300).parse().unwrap();
    request.headers_mut().insert("idempotency-key", key);
    let error = ask(&rig.stack(), request).await.unwrap_err();
    let told = error.to_string();
    assert!(told.contains("300 bytes") && told.contains("255"), "{told}");
    assert_eq!(rig.sends(), 0);
}
