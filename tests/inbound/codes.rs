//! What clients are told: the codes of the draft, and answers byte for byte.

use crate::rig::{Account, Does, Rig, config, paying, soon};
use axum::body::Body;
use http::{Request, StatusCode};
use std::sync::Arc;
use tower::{Service, ServiceExt};
use tower_sturdy::inbound::{HashedHeader, InboundConfig, InboundLayer};
use tower_sturdy::journal::{Book, MemoryJournal, SqliteJournal};

fn rig() -> (tempfile::TempDir, Rig) {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::sqlite(&folder.path().join("inbound.db"));
    (folder, rig)
}

#[tokio::test]
async fn a_repeat_gets_the_same_answer_byte_for_byte_and_the_handler_runs_once() {
    let (_folder, rig) = rig();
    for (key, status) in [("a", 201), ("b", 200), ("c", 400), ("d", 404), ("e", 500)] {
        rig.till.next([Does::Answers(status)]);
        let runs = rig.till.runs();
        let first = rig.pay(key).await;
        assert_eq!(
            (first.status, first.header("idempotent-replayed")),
            (status, "")
        );
        let again = rig.pay(key).await;
        assert_eq!(again.header("idempotent-replayed"), "true", "{status}");
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        for kept in ["content-type", "location"] {
            assert_eq!(again.header(kept), first.header(kept));
            assert_ne!(again.header(kept), "");
        }
        // A cookie is a credential: it is not kept.
        assert_eq!(
            (first.header("set-cookie"), again.header("set-cookie")),
            ("a=b", "")
        );
        assert_eq!(rig.till.runs(), runs + 1, "{status}");
    }
}

#[tokio::test]
async fn extractors_see_the_request_as_it_came_and_a_key_to_pass_on() {
    let (_folder, rig) = rig();
    rig.pay("one").await;
    rig.pay("two").await;
    let paid = rig.till.paid.lock().unwrap().clone();
    let keys: Vec<_> = paid
        .iter()
        .map(|line| line.strip_prefix("a 1 {\"amount\":1} ").expect(line))
        .collect();
    assert_eq!(keys[0].len(), 32);
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn what_has_no_key_or_none_that_can_be_one_is_a_bad_request() {
    let (_folder, rig) = rig();
    let ask = |keys: &[&str]| {
        let mut request = paying("x", "a", "{}");
        request.headers_mut().remove("idempotency-key");
        for key in keys {
            request
                .headers_mut()
                .append("idempotency-key", key.parse().unwrap());
        }
        rig.ask(request)
    };
    let long = "k".repeat(256);
    for (keys, says) in [
        (&[][..], "needs an operation key"),
        (&[""], "it is empty"),
        (&["\"\""], "it is empty"),
        (&["a b"], "not visible ASCII"),
        (&[long.as_str()], "at most 255"),
        (&["a", "b"], "more than once"),
        (&["derived:x"], "derived:"),
    ] {
        let told = ask(keys).await.problem(400);
        let detail = told["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{keys:?}: {detail}");
    }
    assert_eq!(rig.till.runs(), 0);
    // Methods that change nothing, and routes that are not there, need none.
    let read = Request::get("/bills/7").body(Body::empty()).unwrap();
    let read = rig.ask(read).await;
    assert_eq!((read.status, read.body.as_str()), (200, "7"));
}

#[tokio::test]
async fn a_key_that_was_used_for_another_request_is_refused_and_another_spelling_is_not_another() {
    let (_folder, rig) = rig();
    let first = rig
        .ask(paying("a", "a", "{\"amount\":1,\"to\":\"x\"}"))
        .await;
    let spelled = rig
        .ask(paying("a", "a", "{ \"to\":\"x\", \"amount\":1 }"))
        .await;
    assert_eq!(spelled.body, first.body);
    let told = rig
        .ask(paying("a", "a", "{\"amount\":2,\"to\":\"x\"}"))
        .await
        .problem(422);
    assert!(told["operation"].is_string());
    let mut elsewhere = paying("a", "a", "{\"amount\":1,\"to\":\"x\"}");
    *elsewhere.uri_mut() = "/bills/2/pay".parse().unwrap();
    rig.ask(elsewhere).await.problem(422);
    assert_eq!(rig.till.runs(), 1);
}

#[tokio::test]
async fn another_principal_has_keys_of_its_own_and_nobody_has_none() {
    let (_folder, rig) = rig();
    let a = rig.ask(paying("k", "a", "{}")).await;
    let b = rig.ask(paying("k", "b", "{}")).await;
    assert_ne!(a.body, b.body);
    assert_eq!(b.header("idempotent-replayed"), "");
    for somebody in [None, Some(Account(String::new()))] {
        let mut request = paying("k", "a", "{}");
        request.extensions_mut().clear();
        request.extensions_mut().extend(
            somebody
                .map(|one| {
                    let mut extensions = http::Extensions::new();
                    extensions.insert(one);
                    extensions
                })
                .unwrap_or_default(),
        );
        rig.ask(request).await.problem(401);
    }
    assert_eq!(rig.till.runs(), 2);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_the_key_stays_free() {
    let (_folder, rig) = rig();
    rig.ask(paying("a", "a", &"x".repeat(1_025)))
        .await
        .problem(413);
    assert_eq!(rig.till.runs(), 0);
    assert_eq!(
        rig.ask(paying("a", "a", &"x".repeat(1_024))).await.status,
        201
    );
}

#[tokio::test]
async fn what_the_handler_says_did_nothing_may_start_again_under_its_key() {
    let (_folder, rig) = rig();
    starts_again(&rig, Does::SaysItDidNothing).await;
}

async fn starts_again(rig: &Rig, does: Does) {
    let key = format!("{does:?}").replace(' ', "");
    rig.till.next([does, does]);
    let runs = rig.till.runs();
    let (first, second) = (rig.pay(&key).await, rig.pay(&key).await);
    assert_eq!(first.status, second.status);
    assert_eq!(
        (
            first.header("idempotent-replayed"),
            second.header("idempotent-replayed")
        ),
        ("", "")
    );
    assert_eq!(rig.pay(&key).await.status, 201);
    assert_eq!(rig.pay(&key).await.header("idempotent-replayed"), "true");
    assert_eq!(rig.till.runs(), runs + 3, "{does:?}");
}

#[tokio::test]
async fn a_status_that_a_handler_passes_on_is_no_promise_that_it_did_nothing() {
    let (_folder, rig) = rig();
    for status in [429, 503] {
        let key = format!("k{status}");
        // It paid, and the next thing that it asked was too busy.
        rig.till.next([Does::Answers(status)]);
        let runs = rig.till.runs();
        assert_eq!(rig.pay(&key).await.status, status);
        let again = rig.pay(&key).await;
        assert_eq!(
            (again.status, again.header("idempotent-replayed")),
            (status, "true")
        );
        assert_eq!(rig.till.runs(), runs + 1);
    }
}

#[tokio::test]
async fn a_status_that_is_declared_to_mean_that_nothing_was_done_lets_the_key_start_again() {
    let folder = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(folder.path().join("inbound.db")).unwrap();
    let declared = InboundConfig {
        did_nothing: vec![StatusCode::SERVICE_UNAVAILABLE],
        ..config()
    };
    let rig = Rig::over(Arc::new(journal), &Arc::default(), declared);
    starts_again(&rig, Does::Answers(503)).await;
    rig.till.next([Does::Answers(429)]);
    assert_eq!(rig.pay("busy").await.status, 429);
    assert_eq!(rig.pay("busy").await.header("idempotent-replayed"), "true");
}

#[tokio::test]
async fn a_duplicate_of_what_is_under_way_is_told_so_and_may_ask_for_it() {
    let (_folder, rig) = rig();
    rig.till.next([Does::Waits]);
    let router = rig.router.clone();
    let first = tokio::spawn(async move {
        use tower::ServiceExt;
        router
            .oneshot(paying("a", "a", "{}"))
            .await
            .unwrap()
            .status()
    });
    soon(rig.till.entered.notified()).await;
    let told = soon(rig.ask(paying("a", "a", "{}"))).await;
    let body = told.problem(409);
    assert_eq!(told.header("retry-after"), "1");
    let location = told.header("location").to_owned();
    assert_eq!(
        location,
        format!("/operations/{}", body["operation"].as_str().unwrap())
    );
    // Another request under the key is told apart, and another principal learns nothing.
    rig.ask(paying("a", "a", "{\"other\":1}"))
        .await
        .problem(422);
    rig.operation("b", &location).await.problem(404);
    let running = rig.operation("a", &location).await;
    running.problem(202);
    assert_eq!(
        (
            running.header("operation-state"),
            running.header("retry-after")
        ),
        ("pending", "1")
    );
    assert_eq!(running.header("location"), location);
    rig.till.go_on.notify_one();
    assert_eq!(soon(first).await.unwrap(), 200);
    let ended = rig.operation("a", &location).await;
    assert_eq!(
        (ended.status, ended.header("operation-state")),
        (200, "completed")
    );
    assert_eq!(ended.body, rig.ask(paying("a", "a", "{}")).await.body);
    assert_eq!(ended.header("operation-answer-status"), "200");
    assert_eq!(rig.till.runs(), 1);
}

#[tokio::test]
async fn an_operation_can_be_asked_for_and_waited_for_but_not_changed() {
    let (_folder, rig) = rig();
    rig.till.next([Does::Waits]);
    let router = rig.router.clone();
    let first = tokio::spawn(async move {
        use tower::ServiceExt;
        router
            .oneshot(paying("a", "a", "{}"))
            .await
            .unwrap()
            .status()
    });
    soon(rig.till.entered.notified()).await;
    let location = rig
        .ask(paying("a", "a", "{}"))
        .await
        .header("location")
        .to_owned();
    let waiting = Request::get(&location)
        .header("prefer", "respond-async, wait=15")
        .extension(Account("a".into()))
        .body(Body::empty())
        .unwrap();
    let (waited, ()) =
        soon(async { tokio::join!(rig.ask(waiting), async { rig.till.go_on.notify_one() }) }).await;
    assert_eq!(
        (waited.status, waited.header("operation-state")),
        (200, "completed")
    );
    soon(first).await.unwrap();
    for (location, status) in [
        ("/operations/nonsense", 404),
        ("/operations/AAAAAAAAAAAAAAAAAAAAAAAAAA", 404),
    ] {
        rig.operation("a", location).await.problem(status);
    }
    let nobody = Request::get(&location).body(Body::empty()).unwrap();
    rig.ask(nobody).await.problem(401);
    let change = Request::delete(&location).body(Body::empty()).unwrap();
    let refused = rig.guard.operations().oneshot(change).await.unwrap();
    assert_eq!(refused.status(), 405);
    assert_eq!(refused.headers()["allow"], "GET, HEAD");
    let head = Request::head(&location).extension(Account("a".into()));
    let head = rig.ask(head.body(Body::empty()).unwrap()).await;
    assert_eq!(
        (head.status, head.header("operation-state")),
        (200, "completed")
    );
}

#[test]
fn settings_that_cannot_work_are_refused_with_their_reason() {
    let book = Book::open(Arc::new(MemoryJournal::new())).unwrap();
    let principal = || HashedHeader(http::header::AUTHORIZATION);
    let volatile = InboundLayer::new(config(), book.clone(), principal()).unwrap_err();
    assert!(
        volatile.to_string().contains("accept_volatile"),
        "{volatile}"
    );
    let accepted = InboundConfig {
        accept_volatile: true,
        ..config()
    };
    InboundLayer::new(accepted.clone(), book.clone(), principal()).unwrap();
    for (wrong, says) in [
        (
            InboundConfig {
                methods: vec![http::Method::GET],
                ..accepted.clone()
            },
            "inbound.methods",
        ),
        (
            InboundConfig {
                did_nothing: vec![StatusCode::OK],
                ..accepted.clone()
            },
            "inbound.did_nothing",
        ),
        (
            InboundConfig {
                request_limit: 0,
                ..accepted.clone()
            },
            "limit",
        ),
        (
            InboundConfig {
                namespace: String::new(),
                ..accepted.clone()
            },
            "namespace",
        ),
        (
            InboundConfig {
                handler_limit: std::time::Duration::ZERO,
                ..accepted.clone()
            },
            "attempt_bound",
        ),
        (
            InboundConfig {
                handler_limit: std::time::Duration::MAX,
                ..accepted.clone()
            },
            "attempt_bound",
        ),
        (
            InboundConfig {
                answer_headers: vec![http::header::SET_COOKIE],
                ..accepted
            },
            "set-cookie",
        ),
    ] {
        let refused = InboundLayer::new(wrong, book.clone(), principal()).unwrap_err();
        assert!(refused.to_string().contains(says), "{refused}");
    }
}

#[tokio::test]
async fn the_same_request_is_the_same_over_any_version_of_http() {
    let (_folder, rig) = rig();
    let first = rig.pay("a").await;
    // HTTP/2 names the host in the request's target, HTTP/1.1 in a header.
    let mut again = paying("a", "a", "{\"amount\":1}");
    *again.uri_mut() = "http://bank.example/bills/1/pay".parse().unwrap();
    let again = rig.ask(again).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(rig.till.runs(), 1);
}

#[tokio::test]
async fn a_place_below_is_not_held_while_another_one_is_waited_for() {
    let (_folder, rig) = rig();
    let till = Arc::clone(&rig.till);
    let handler = tower::service_fn(move |_: Request<Body>| {
        till.paid.lock().unwrap().push(String::new());
        std::future::ready(Ok::<_, std::io::Error>(http::Response::new(Body::empty())))
    });
    let mut service = tower::ServiceBuilder::new()
        .layer(rig.guard.clone())
        .concurrency_limit(1)
        .service(handler);
    // The service is kept, as by whoever makes it ready again for the next request.
    for key in ["a", "b"] {
        let ready = soon(service.ready()).await.unwrap();
        let answer = soon(ready.call(paying(key, "a", "{}"))).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(rig.till.runs(), 2);
}
