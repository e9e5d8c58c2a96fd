//! What is not known: handlers that break down, processes that die, answers that cannot be kept.

use crate::rig::{Does, Rig, config, paying, soon};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::error::Kind;
use tower_sturdy::inbound::InboundConfig;
use tower_sturdy::journal::faulty::{Call, Fault};
use tower_sturdy::journal::{
    BoxFuture, Capability, Concurrent, Durability, FaultyJournal, MemoryJournal, Observation,
    Proof, Record, SqliteJournal, State, StoredAnswer,
};
use tower_sturdy::reconcile::{Hooks, NoHooks, Query, ReconcileConfig, Upstream};

#[tokio::test]
async fn a_handler_that_breaks_down_leaves_doubt_and_never_runs_twice() {
    for does in [Does::Panics, Does::PanicsLate, Does::AnswersALot] {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::sqlite(&folder.path().join("inbound.db"));
        rig.till.next([does]);
        let first = soon(rig.pay("a")).await;
        let operation = first.problem(409)["operation"].clone();
        assert!(operation.is_string(), "{does:?}");
        for _ in 0..2 {
            let again = soon(rig.pay("a")).await;
            assert_eq!(again.problem(409)["operation"], operation, "{does:?}");
        }
        let asked = rig.operation("a", first.header("location")).await;
        assert_eq!(asked.header("operation-state"), "unknown", "{does:?}");
        assert_eq!(rig.till.runs(), 1, "{does:?}");
        assert_eq!(soon(rig.pay("b")).await.status, 201);
    }
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_given_up_and_in_doubt() {
    let folder = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(folder.path().join("inbound.db")).unwrap();
    let short = InboundConfig {
        handler_limit: Duration::from_millis(50),
        ..config()
    };
    let rig = Rig::over(Arc::new(journal), &Arc::default(), short);
    rig.till.next([Does::Waits]);
    soon(rig.pay("a")).await.problem(409);
    soon(rig.pay("a")).await.problem(409);
    assert_eq!(rig.till.runs(), 1);
}

#[tokio::test]
async fn a_replay_survives_a_restart_and_so_does_doubt() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("inbound.db");
    let before = Rig::sqlite(&file);
    let paid = soon(before.pay("paid")).await;
    before.till.next([Does::Waits]);
    let router = before.router.clone();
    let lost = tokio::spawn(router.oneshot(paying("lost", "a", "{\"amount\":1}")));
    soon(before.till.entered.notified()).await;
    soon(before.till.entered.notified()).await;
    // As if the process had died in the handler.
    before.book.kill();
    lost.abort();
    drop(before);

    let after = Rig::sqlite(&file);
    let again = soon(after.pay("paid")).await;
    assert_eq!((again.status, &again.body), (paid.status, &paid.body));
    assert_eq!(again.header("idempotent-replayed"), "true");
    soon(after.ask(paying("paid", "a", "{\"amount\":2}")))
        .await
        .problem(422);
    let doubt = soon(after.pay("lost")).await;
    doubt.problem(409);
    assert_eq!(after.till.runs(), 0);
    assert_eq!(soon(after.pay("new")).await.status, 201);
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_stop_its_handler() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::sqlite(&folder.path().join("inbound.db"));
    rig.till.next([Does::Waits]);
    let call = tokio::spawn(
        rig.router
            .clone()
            .oneshot(paying("a", "a", "{\"amount\":1}")),
    );
    soon(rig.till.entered.notified()).await;
    call.abort();
    assert!(call.await.is_err());
    rig.till.go_on.notify_one();
    let told = soon(async {
        loop {
            let told = rig.pay("a").await;
            if told.status != 409 {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // Whoever joins in the last moment gets the answer itself.
    assert_eq!(told.status, 200);
    assert_eq!(rig.pay("a").await.body, told.body);
    assert_eq!(rig.till.runs(), 1);
}

#[tokio::test]
async fn a_caller_is_told_what_its_handler_said_though_another_was_told_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::sqlite(&folder.path().join("inbound.db"));
    rig.till.next([Does::Waits, Does::SaysItDidNothing]);
    let waits = tokio::spawn(
        rig.router
            .clone()
            .oneshot(paying("a", "a", "{\"amount\":1}")),
    );
    soon(rig.till.entered.notified()).await;
    soon(rig.pay("a")).await.problem(409);
    rig.till.go_on.notify_one();
    assert_eq!(soon(waits).await.unwrap().unwrap().status(), 200);

    // The same where it did nothing: nobody is left waiting for a worker that there is not.
    rig.till.plan.lock().unwrap().clear();
    rig.till.next([Does::SaysItDidNothing]);
    let (first, second) = soon(async { tokio::join!(rig.pay("b"), rig.pay("b")) }).await;
    assert!(first.status == 409 && second.status == 409);
    let bodies = [&first.body, &second.body];
    assert!(
        bodies.iter().any(|body| body.contains("paid 1")),
        "{bodies:?}"
    );
    assert_eq!(soon(rig.pay("b")).await.status, 201);
}

/// Finds that the payment was made.
#[derive(Debug)]
struct Books;

impl Hooks for Books {
    fn observe<'a>(&'a self, record: &'a Record, _: &'a Upstream) -> BoxFuture<'a, Observation> {
        let proof = Proof {
            answer: StoredAnswer {
                status: 200,
                headers: Vec::new(),
                body: "found".into(),
            },
            evidence: format!("{} is in the books", record.asked.key),
        };
        Box::pin(std::future::ready(Observation::Found(proof)))
    }
}

#[tokio::test]
async fn doubt_is_settled_by_a_hook_and_parked_where_no_hook_can_tell() {
    let hooks: [(Arc<dyn Hooks>, &str); 2] = [
        (Arc::new(Books), "completed"),
        (Arc::new(NoHooks), "parked"),
    ];
    for (hooks, state) in hooks {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::sqlite(&folder.path().join("inbound.db"));
        rig.till.next([Does::Panics]);
        let location = soon(rig.pay("a")).await.header("location").to_owned();
        let worker = rig
            .guard
            .recovery(ReconcileConfig::default(), hooks)
            .unwrap();
        let told = soon(async {
            loop {
                worker.work_off().await.unwrap();
                let told = rig.operation("a", &location).await;
                if told.header("operation-state") == state {
                    return told;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        let again = soon(rig.pay("a")).await;
        if state == "completed" {
            assert_eq!((again.status, again.body.as_str()), (200, "found"));
        } else {
            assert_eq!(told.status, 409);
            assert!(
                again.problem(409)["detail"]
                    .as_str()
                    .unwrap()
                    .contains("waits for a person")
            );
        }
        assert_eq!(rig.till.runs(), 1);
    }
}

#[tokio::test]
async fn a_handler_that_is_keyed_may_run_again_by_the_worker_under_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Arc::new(SqliteJournal::open(folder.path().join("inbound.db")).unwrap());
    let keyed = InboundConfig {
        capability: Capability::Keyed {
            horizon: Duration::from_secs(3_600),
            concurrent: Concurrent::Proven,
        },
        ..config()
    };
    let rig = Rig::over(journal, &Arc::default(), keyed);
    rig.till.next([Does::Panics]);
    soon(rig.pay("a")).await.problem(409);
    // Beneath authentication: what runs again has no credentials, so the account is put back here.
    let account = crate::rig::Account("a".into());
    let till = Arc::clone(&rig.till);
    let beneath = axum::Router::new()
        .route("/bills/{bill}/pay", axum::routing::post(crate::rig::pay))
        .with_state(till)
        .layer(axum::Extension(account));
    let worker = rig
        .guard
        .recovery_by::<_, axum::body::Body, _>(
            ReconcileConfig::default(),
            Arc::new(Absent),
            beneath,
        )
        .unwrap();
    let told = soon(async {
        loop {
            worker.work_off().await.unwrap();
            let told = rig.pay("a").await;
            if told.status != 409 {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(
        (told.status, told.header("idempotent-replayed")),
        (201, "true")
    );
    let paid = rig.till.paid.lock().unwrap().clone();
    assert_eq!(paid.len(), 2);
    assert_eq!(
        paid[0], paid[1],
        "the same request, the same key to pass on"
    );
}

/// Finds nothing.
#[derive(Debug)]
struct Absent;

impl Hooks for Absent {
    fn observe<'a>(&'a self, _: &'a Record, _: &'a Upstream) -> BoxFuture<'a, Observation> {
        let scope = "everything".to_owned();
        Box::pin(std::future::ready(Observation::Absent { scope }))
    }
}

#[tokio::test]
async fn what_a_dead_process_never_ran_is_left_to_its_caller() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("inbound.db");
    let before = Rig::sqlite(&file);
    // As if the process had died between the claim and the handler.
    let journal = SqliteJournal::open(&file).unwrap();
    let faulty = FaultyJournal::new(Arc::new(journal)).with_durability(Durability::CrashDurable);
    faulty.next(Call::Step, [Fault::Hangs]);
    let dies = Rig::over(Arc::new(faulty.clone()), &Arc::default(), config());
    let lost = tokio::spawn(
        dies.router
            .clone()
            .oneshot(paying("a", "a", "{\"amount\":1}")),
    );
    soon(async {
        while faulty.calls(Call::Step) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    dies.book.kill();
    lost.abort();
    drop((dies, faulty));

    let worker = before
        .guard
        .recovery(ReconcileConfig::default(), Arc::new(NoHooks))
        .unwrap();
    let people = worker.operations();
    for _ in 0..10 {
        worker.work_off().await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let record = people.list(&Query::default()).await.unwrap().remove(0);
    // Nothing happened, nothing will, and nothing is written about it again and again.
    assert_eq!((record.state(), record.progress.due), (State::Ready, None));
    assert!(record.progress.history.len() <= 2, "{record:?}");
    assert_eq!(soon(before.pay("a")).await.status, 201);
}

#[tokio::test]
async fn a_handler_that_tells_of_doubt_has_not_ended() {
    for kind in [
        Kind::OutcomeUnknown,
        Kind::Pending,
        Kind::Parked,
        Kind::InFlight,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::sqlite(&folder.path().join("inbound.db"));
        rig.till.next([Does::Tells(kind)]);
        let first = soon(rig.pay("a")).await;
        let operation = first.problem(409)["operation"].clone();
        let again = soon(rig.pay("a")).await;
        assert_eq!(again.problem(409)["operation"], operation, "{kind:?}");
        assert_eq!(again.header("idempotent-replayed"), "", "{kind:?}");
        let asked = rig.operation("a", first.header("location")).await;
        assert_eq!(asked.header("operation-state"), "unknown", "{kind:?}");
        assert_eq!(rig.till.runs(), 1, "only its declaration protects it");
        // Nothing was done, and that is an end.
        rig.till.next([Does::Tells(Kind::KeyReused)]);
        assert_eq!(rig.pay("b").await.status, 422);
        assert_eq!(rig.pay("b").await.header("idempotent-replayed"), "true");
    }
}

#[tokio::test]
async fn a_keyed_handler_that_told_of_doubt_is_asked_again_and_its_end_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(folder.path().join("inbound.db")).unwrap();
    let keyed = InboundConfig {
        capability: Capability::Keyed {
            horizon: Duration::from_secs(3_600),
            concurrent: Concurrent::Unproven,
        },
        ..config()
    };
    let rig = Rig::over(Arc::new(journal), &Arc::default(), keyed);
    let till = Arc::clone(&rig.till);
    let beneath = axum::Router::new()
        .route("/bills/{bill}/pay", axum::routing::post(crate::rig::pay))
        .with_state(till)
        .layer(axum::Extension(crate::rig::Account("a".into())));
    let worker = rig
        .guard
        .recovery_by::<_, axum::body::Body, _>(
            ReconcileConfig::default(),
            Arc::new(Absent),
            beneath,
        )
        .unwrap();
    worker.start();
    rig.till.next([Does::Tells(Kind::OutcomeUnknown)]);
    soon(rig.pay("a")).await.problem(409);
    let ended = soon(async {
        loop {
            let again = rig.pay("a").await;
            if again.status != 409 {
                return again;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(
        (ended.status, ended.header("idempotent-replayed")),
        (201, "true")
    );
    let paid = rig.till.paid.lock().unwrap().clone();
    assert_eq!(paid.len(), 2);
    assert_eq!(paid[0], paid[1], "one key");
}

#[tokio::test(start_paused = true)]
async fn a_send_that_the_lease_withheld_is_told_as_the_servers_trouble() {
    let journal = FaultyJournal::new(Arc::new(MemoryJournal::new()));
    let accepted = InboundConfig {
        accept_volatile: true,
        ..config()
    };
    let clock = Clock::anchored(Timestamp::from_millis(1_000_000_000));
    let rig = Rig::at(clock, Arc::new(journal.clone()), &Arc::default(), accepted);
    // The claim takes longer than the lease that it asks for.
    let lease = Duration::from_secs(61);
    journal.next(Call::Claim, [Fault::TellsAfter(lease)]);
    let told = rig.pay("a").await;
    told.problem(503);
    assert_eq!(told.header("retry-after"), "1");
    assert_eq!(rig.till.runs(), 0);
    assert_eq!(rig.pay("a").await.status, 201);
}
