//! Facts about keys: made of the request, too old, used for something that looks the same, and what is told of them.

use super::house::{
    Does, House, KEYED, Plan, clock, faulty, kind, millis, on_record, pay, pay_within, seconds,
    state, upstream,
};
use super::probe::Probe;
use http::{Request, Response};
use std::sync::{Arc, Mutex};
use tower::{Layer, Service, ServiceExt};
use tower_sturdy::clock::Timestamp;
use tower_sturdy::context::{Context, OperationId, OperationKey, Tenant};
use tower_sturdy::error::Kind;
use tower_sturdy::journal::faulty::{Call, Fault};
use tower_sturdy::journal::{
    BoxFuture, Claim, Durability, Filter, Journal, JournalError, Lookup, MemoryJournal, Record,
    State, Status,
};
use tower_sturdy::outcome::Outcome;
use tower_sturdy::payload::{Payload, ServedFrom};
use tower_sturdy::reconcile::NoHooks;

/// A journal that keeps what it is asked to claim, and has forgotten what was made before a time.
#[derive(Clone, Debug)]
struct Forgetful {
    inner: MemoryJournal,
    forgot: Timestamp,
    asked: Arc<Mutex<Vec<Option<Timestamp>>>>,
    quarantine: Arc<Mutex<bool>>,
}

impl Forgetful {
    fn refuses(&self) -> Result<(), JournalError> {
        if *self.quarantine.lock().unwrap() {
            return Err(JournalError::Quarantined("restored: adopt it".into()));
        }
        Ok(())
    }
}

impl Journal for Forgetful {
    fn durability(&self) -> Durability {
        Durability::CrashDurable
    }

    fn claim<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, Result<Claim, JournalError>> {
        if let Err(refused) = self.refuses() {
            return Box::pin(std::future::ready(Err(refused)));
        }
        let issued = record.asked.issued;
        self.asked.lock().unwrap().push(issued);
        if issued.is_none_or(|issued| issued <= self.forgot) {
            return Box::pin(std::future::ready(Ok(Claim::Expired)));
        }
        self.inner.claim(record)
    }

    fn step<'a>(&'a self, next: &'a Record) -> BoxFuture<'a, Result<(), JournalError>> {
        if let Err(refused) = self.refuses() {
            return Box::pin(std::future::ready(Err(refused)));
        }
        self.inner.step(next)
    }

    fn get<'a>(&'a self, which: Lookup<'a>) -> BoxFuture<'a, Result<Option<Record>, JournalError>> {
        self.inner.get(which)
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> BoxFuture<'a, Result<Vec<Record>, JournalError>> {
        self.inner.list(filter)
    }
}

fn uuid_7(at: Timestamp) -> String {
    let millis = format!("{:012x}", at.as_millis());
    format!("{}-{}-7abc-8def-0123456789ab", &millis[..8], &millis[8..])
}

#[tokio::test(start_paused = true)]
async fn a_key_is_refused_as_expired_unless_it_says_that_it_is_young_enough() {
    let forgot = Timestamp::from_millis(900_000_000);
    let after = Timestamp::from_millis(950_000_000);
    let far = Timestamp::from_millis(1_000_000_000 + 301_000);
    let near = Timestamp::from_millis(1_000_000_000 + 299_000);
    let said = |at| Context::new().with_key_issued(at);
    let cases = [
        ("bill-1".to_owned(), Context::new(), false),
        ("bill-2".to_owned(), said(forgot), false),
        ("bill-3".to_owned(), said(after), true),
        (uuid_7(forgot), Context::new(), false),
        (uuid_7(after), Context::new(), true),
        // What the caller says of it goes before what can be read in it.
        (uuid_7(near), said(forgot), false),
        (uuid_7(forgot), said(after), true),
        // From ahead of our clock: no further than clocks may be apart.
        (uuid_7(near), Context::new(), true),
        (uuid_7(far), Context::new(), false),
        ("bill-4".to_owned(), said(far), false),
    ];
    let (probe, counts) = Probe::new(|_| async { Ok(Response::new(Payload::from("paid"))) });
    let journal = Forgetful {
        inner: MemoryJournal::new(),
        forgot,
        asked: Arc::default(),
        quarantine: Arc::default(),
    };
    let config = tower_sturdy::journal::BookConfig::default();
    let book = super::house::book_with(Arc::new(journal.clone()), clock(), config, 1);
    let layer = tower_sturdy::idempotency::IdempotencyLayer::new(Default::default(), book);
    let service = layer.unwrap().layer(probe);
    let mut taken = 0;
    for (key, marker, young) in cases {
        let mut request = pay(&key);
        request.extensions_mut().insert(marker);
        match service.clone().oneshot(request).await {
            Ok(_) => assert!(young, "{key}"),
            Err(error) => assert_eq!((error.kind(), young), (Kind::KeyExpired, false), "{key}"),
        }
        taken += usize::from(young);
        assert_eq!(counts.calls(), taken, "{key}");
    }
}

fn pay_as(body: &'static str, key: &str) -> Request<Payload> {
    let request = Request::post("http://upstream/pay").header("idempotency-key", key);
    request.body(Payload::from(body)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn spelling_and_member_order_are_the_same_request_and_amounts_are_not() {
    let journal = faulty();
    let mut plan = Plan::new(KEYED);
    let slow = Does::Slowly(200, millis(100));
    let (probe, counts) = upstream([slow]);
    let house = plan.build(&journal, probe, Arc::new(NoHooks));
    plan.seed = 2;
    let (probe, others) = upstream([]);
    let restarted = plan.build(&journal, probe, Arc::new(NoHooks));
    let first = "{\"amount\":1.0,\"to\":\"x\"}";
    let running = tokio::spawn(house.service.clone().oneshot(pay_as(first, "a")));
    tokio::time::sleep(millis(1)).await;
    let ask = async |house: &House| {
        for same in [first, "{ \"to\":\"x\",\n\"amount\": 1.0 }"] {
            let answer = house
                .service
                .clone()
                .oneshot(pay_as(same, "a"))
                .await
                .unwrap();
            assert_eq!(answer.body().bytes(), "paid", "{same}");
        }
        for other in [
            "{\"amount\":1.00,\"to\":\"x\"}",
            "{\"amount\":1.0}",
            "",
            "{\"amount\":1.0,\"to\":\"x\"}x",
        ] {
            let refused = house.service.clone().oneshot(pay_as(other, "a")).await;
            assert_eq!(kind(refused), Kind::KeyReused, "{other}");
        }
        let twice = "{\"amount\":1.0,\"to\":\"x\",\"amount\":2}";
        let refused = house.service.clone().oneshot(pay_as(twice, "a")).await;
        assert_eq!(kind(refused), Kind::Invalid);
        let elsewhere = Request::post("http://upstream/refund").header("idempotency-key", "a");
        let elsewhere = elsewhere.body(Payload::from(first)).unwrap();
        assert_eq!(
            kind(house.service.clone().oneshot(elsewhere).await),
            Kind::KeyReused
        );
    };
    // While it runs, from memory, and from the journal.
    ask(&house).await;
    running.await.unwrap().unwrap();
    ask(&house).await;
    ask(&restarted).await;
    assert_eq!((counts.calls(), others.calls()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_record_of_the_first_scheme_is_still_told_apart() {
    let journal = faulty();
    let (probe, counts) = upstream([]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    let first = "{\"amount\":1}";
    house
        .service
        .clone()
        .oneshot(pay_as(first, "a"))
        .await
        .unwrap();
    let record = on_record(journal.inner(), "a").await.unwrap();
    let mut asked = (*record.asked).clone();
    let request = Request::post("http://upstream/pay")
        .body(Payload::from(first))
        .unwrap();
    asked.fingerprint = tower_sturdy::idempotency::fingerprint::of(&request, |_| false).unwrap();
    // As an older release, which planted otherwise, would have left it.
    asked.request.body = "{\"amount\":1,\"mark\":7}".into();
    let older = faulty();
    let record = Record {
        asked: Arc::new(asked),
        ..record
    };
    assert_eq!(older.inner().claim(&record).await.unwrap(), Claim::Claimed);
    let mut plan = Plan::new(KEYED);
    plan.seed = 2;
    let (probe, others) = upstream([]);
    let house = plan.build(&older, probe, Arc::new(NoHooks));
    for same in [first, "{ \"amount\": 1 }"] {
        house
            .service
            .clone()
            .oneshot(pay_as(same, "a"))
            .await
            .unwrap();
    }
    let other = house
        .service
        .clone()
        .oneshot(pay_as("{\"amount\":2}", "a"))
        .await;
    assert_eq!(kind(other), Kind::KeyReused);
    assert_eq!((counts.calls(), others.calls()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_bodies_were_purged_is_told_apart_by_its_digest() {
    let journal = faulty();
    let (probe, counts) = upstream([]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    let first = "{\"amount\":1}";
    let paid = house.service.clone().oneshot(pay_as(first, "a")).await;
    paid.unwrap();
    let record = on_record(journal.inner(), "a").await.unwrap();
    let mut asked = (*record.asked).clone();
    asked.request.body = Default::default();
    let purged = faulty();
    let record = Record {
        asked: Arc::new(asked),
        ..record
    };
    assert_eq!(purged.inner().claim(&record).await.unwrap(), Claim::Claimed);
    let mut plan = Plan::new(KEYED);
    plan.seed = 2;
    let (probe, others) = upstream([]);
    let house = plan.build(&purged, probe, Arc::new(NoHooks));
    for other in ["", "{\"amount\":2}", "{ \"amount\":1 }"] {
        let told = house.service.clone().oneshot(pay_as(other, "a")).await;
        assert_eq!(kind(told), Kind::KeyReused, "{other}");
    }
    let same = house.service.clone().oneshot(pay_as(first, "a")).await;
    assert!(same.is_ok());
    assert_eq!((counts.calls(), others.calls()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_replay_needs_no_journal_while_it_is_fresh_and_no_memory_after_a_restart() {
    let journal = faulty();
    let mut plan = Plan::new(KEYED);
    let (probe, counts) = upstream([]);
    let house = plan.build(&journal, probe, Arc::new(NoHooks));
    let paid = house.service.clone().oneshot(pay("a")).await.unwrap();
    tokio::time::sleep(seconds(7)).await;
    journal.down(true);
    let again = house.service.clone().oneshot(pay("a")).await.unwrap();
    assert_eq!(
        again.body().served_from(),
        ServedFrom::Replay { age: seconds(7) }
    );
    assert_eq!(again.body().bytes(), paid.body().bytes());
    assert_eq!(again.body().operation(), paid.body().operation());
    journal.down(false);
    plan.seed = 2;
    let (probe, others) = upstream([]);
    let restarted = plan.build(&journal, probe, Arc::new(NoHooks));
    let again = restarted.service.clone().oneshot(pay("a")).await.unwrap();
    assert_eq!(
        again.body().served_from(),
        ServedFrom::Replay { age: seconds(7) }
    );
    assert_eq!(
        (counts.calls(), others.calls(), house.book.live()),
        (1, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_asked_of_the_journal_each_time_for_proof_may_contradict_it() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Answers(400)]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    let ask = || house.service.clone().oneshot(pay("a"));
    assert_eq!(ask().await.unwrap().status(), 400);
    assert_eq!(ask().await.unwrap().status(), 400);
    let mut record = on_record(journal.inner(), "a").await.unwrap();
    assert_eq!(record.state(), State::Rejected);
    // Another process saw proof of the effect.
    record.progress.contradicted = true;
    record.progress.version += 1;
    journal.inner().step(&record).await.unwrap();
    let told = ask().await.unwrap_err();
    assert_eq!(
        (told.kind(), told.operation()),
        (Kind::Contradicted, Some(record.id()))
    );
    assert_eq!(told.outcome(), Outcome::Unknown);
    let status = house
        .book
        .status("default", &Tenant::default(), record.id())
        .await;
    assert!(matches!(status.unwrap(), Some(Status::Contradicted(_))));
    assert_eq!(counts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_contradicted_while_it_is_waited_for_is_told_as_that() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Slowly(400, seconds(10))]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    let call = tokio::spawn(house.service.clone().oneshot(pay_within("a", seconds(60))));
    tokio::time::sleep(seconds(1)).await;
    let mut record = on_record(journal.inner(), "a").await.unwrap();
    let now = house.book.now().at;
    record
        .step(State::Rejected, now, "not applied", "a person")
        .unwrap();
    record.progress.contradicted = true;
    record.progress.version += 1;
    journal.inner().step(&record).await.unwrap();
    assert_eq!(kind(call.await.unwrap()), Kind::Contradicted);
    assert_eq!(counts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_id_of_an_operation_begins_with_the_time_it_was_asked_at() {
    let journal = faulty();
    let (probe, _) = upstream([]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    house.service.clone().oneshot(pay("a")).await.unwrap();
    let record = on_record(journal.inner(), "a").await.unwrap();
    let begins = record.id().bits() >> 80;
    assert_eq!(begins, u128::from(record.asked.at.as_millis()));
}

#[tokio::test(start_paused = true)]
async fn the_words_of_the_journal_reach_the_caller() {
    let journal = faulty();
    let (probe, counts) = upstream([Does::Answers(429)]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    journal.next(Call::Claim, [Fault::Fails]);
    let refused = house.service.clone().oneshot(pay("a")).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("this claim failed before it was made"),
        "{refused}"
    );
    // A step that seemed to fail may have been made, and would be taken up by the worker: nobody is told "not sent".
    house.service.clone().oneshot(pay("a")).await.unwrap();
    assert_eq!(state(journal.inner(), "a").await, State::Ready);
    journal.next(Call::Step, [Fault::AppliesThenFails]);
    let refused = house.service.clone().oneshot(pay("a")).await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.outcome()),
        (Kind::InFlight, Outcome::Unknown)
    );
    assert_eq!(counts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_journal_in_quarantine_tells_its_callers_why_at_the_claim_and_at_a_new_start() {
    let (probe, counts) = upstream([Does::Answers(429)]);
    let journal = Forgetful {
        inner: MemoryJournal::new(),
        forgot: Timestamp::from_millis(0),
        asked: Arc::default(),
        quarantine: Arc::default(),
    };
    let config = tower_sturdy::journal::BookConfig::default();
    let book = super::house::book_with(Arc::new(journal.clone()), clock(), config, 1);
    let layer = tower_sturdy::idempotency::IdempotencyLayer::new(Default::default(), book);
    let layer = layer.unwrap().with_classify(super::house::classify());
    let service = layer.layer(probe);
    let ask = |key: &str| {
        let mut request = pay(key);
        let issued = Context::new().with_key_issued(clock().wall());
        request.extensions_mut().insert(issued);
        service.clone().oneshot(request)
    };
    assert_eq!(ask("a").await.unwrap().status(), 429);
    assert_eq!(state(&journal.inner, "a").await, State::Ready);
    *journal.quarantine.lock().unwrap() = true;
    for key in ["a", "b"] {
        let refused = ask(key).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::JournalUnavailable, "{key}");
        assert!(refused.to_string().contains("adopt it"), "{key}: {refused}");
    }
    *journal.quarantine.lock().unwrap() = false;
    assert_eq!(ask("a").await.unwrap().status(), 200);
    assert_eq!(counts.calls(), 2);
}

async fn word(house: &House, id: OperationId) -> String {
    let status = house.book.status("default", &Tenant::default(), id).await;
    status
        .unwrap()
        .map_or("none", |status| status.as_str())
        .to_owned()
}

#[tokio::test(start_paused = true)]
async fn the_status_of_an_operation_is_what_a_repeat_would_be_told_and_belongs_to_its_tenant() {
    for (does, before, after) in [
        (Does::Slowly(200, seconds(2)), "pending", "completed"),
        (Does::Slowly(400, seconds(2)), "pending", "rejected"),
        (Does::Resets, "unknown", "unknown"),
        (Does::Answers(429), "nothing_happened", "nothing_happened"),
    ] {
        let journal = faulty();
        let (probe, counts) = upstream([does]);
        let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
        let told = house.service.clone().oneshot(pay("a")).await;
        let id = told.map_or_else(
            |error| error.operation(),
            |answer| answer.body().operation(),
        );
        let id = match id {
            Some(id) => id,
            None => on_record(journal.inner(), "a").await.unwrap().id(),
        };
        assert_eq!(word(&house, id).await, before, "{does:?}");
        tokio::time::sleep(seconds(3)).await;
        assert_eq!(word(&house, id).await, after, "{does:?}");
        let key = OperationKey::new("a").unwrap();
        let (own, other) = (Tenant::default(), Tenant::new("other").unwrap());
        let by_key = house.book.status_of_key("default", &own, &key).await;
        assert_eq!(by_key.unwrap().unwrap().as_str(), after, "{does:?}");
        for (namespace, tenant) in [("default", &other), ("elsewhere", &own)] {
            let hidden = house.book.status(namespace, tenant, id).await.unwrap();
            assert!(hidden.is_none(), "{namespace} {tenant}");
            let hidden = house
                .book
                .status_of_key(namespace, tenant, &key)
                .await
                .unwrap();
            assert!(hidden.is_none(), "{namespace} {tenant}");
        }
        assert_eq!(counts.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_for_an_operation_may_wait_for_its_end() {
    let journal = faulty();
    let (probe, _) = upstream([Does::Slowly(200, seconds(2))]);
    let mut plan = Plan::new(KEYED);
    let house = plan.build(&journal, probe, Arc::new(NoHooks));
    plan.seed = 2;
    let (probe, _) = upstream([]);
    let beside = plan.build(&journal, probe, Arc::new(NoHooks));
    let id = house.service.clone().oneshot(pay("a")).await.unwrap_err();
    let id = id.operation().unwrap();
    let tenant = Tenant::default();
    let within = async |house: &House, patience| {
        let started = tower_sturdy::clock::Clock::system().now();
        let status = house
            .book
            .status_within("default", &tenant, id, patience)
            .await;
        (status.unwrap().unwrap().as_str(), started.elapsed())
    };
    assert_eq!(within(&house, millis(500)).await, ("pending", millis(500)));
    // In the process that works on it at once; in another one, as soon as it looks again.
    let (here, there) = tokio::join!(within(&house, seconds(60)), within(&beside, seconds(60)));
    assert_eq!(here, ("completed", millis(1_200)));
    assert!(
        there.0 == "completed" && there.1 < millis(1_500),
        "{there:?}"
    );
    assert_eq!(within(&house, seconds(60)).await, ("completed", millis(0)));
}

#[tokio::test(start_paused = true)]
async fn only_so_many_recent_answers_are_kept_and_the_rest_is_on_record() {
    let journal = faulty();
    let (probe, counts) = upstream([]);
    let house = Plan::new(KEYED).build(&journal, probe, Arc::new(NoHooks));
    for key in 0..1_030 {
        let mut service = house.service.clone();
        service
            .ready()
            .await
            .unwrap()
            .call(pay(&format!("k{key}")))
            .await
            .unwrap();
    }
    journal.down(true);
    let old = house.service.clone().oneshot(pay("k0")).await;
    assert_eq!(kind(old), Kind::InFlight);
    house.service.clone().oneshot(pay("k1029")).await.unwrap();
    journal.down(false);
    let old = house.service.clone().oneshot(pay("k0")).await.unwrap();
    assert!(matches!(
        old.body().served_from(),
        ServedFrom::Replay { .. }
    ));
    assert_eq!(counts.calls(), 1_030);
}
