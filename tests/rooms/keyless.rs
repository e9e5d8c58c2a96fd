//! Facts about writes without a key, on routes that make one of the request itself.

use super::house::{Does, House, KEYED, Plan, count, faulty, kind, millis, pay, seconds, upstream};
use super::probe::Counts;
use http::{Request, Response};
use std::sync::Arc;
use std::time::Duration;
use tower::{Layer, ServiceExt};
use tower_sturdy::context::{Context, Tenant};
use tower_sturdy::error::{Error, Kind};
use tower_sturdy::idempotency::{Derived, KeyHeader, Writes};
use tower_sturdy::journal::faulty::{Call, Fault, FaultyJournal};
use tower_sturdy::journal::{Capability, Filter};
use tower_sturdy::outcome::Outcome;
use tower_sturdy::payload::{Payload, ServedFrom};
use tower_sturdy::reconcile::NoHooks;

const WINDOW: Duration = Duration::from_secs(600);

/// Writes that need no key.
#[derive(Debug)]
struct Keyless(KeyHeader);

impl Writes for Keyless {
    fn capability(&self, request: &Request<Payload>) -> Capability {
        self.0.capability(request)
    }

    fn plant(&self, request: &mut Request<Payload>, key: &str) -> Result<(), Error> {
        self.0.plant(request, key)
    }

    fn derived(&self, _: &Request<Payload>) -> Option<Derived> {
        Some(Derived { window: WINDOW })
    }
}

fn keyless(body: &'static str, marker: Context) -> Request<Payload> {
    let mut request = Request::post("http://upstream/pay").body(Payload::from(body));
    request.as_mut().unwrap().extensions_mut().insert(marker);
    request.unwrap()
}

/// A house whose writes need no key.
struct Open {
    house: House,
    counts: Arc<Counts>,
}

impl Open {
    fn new(journal: &FaultyJournal, plan: &Plan, does: impl IntoIterator<Item = Does>) -> Self {
        let (probe, counts) = upstream(does);
        let house = plan.build(journal, probe, Arc::new(NoHooks));
        Self { house, counts }
    }

    async fn ask(&self, request: Request<Payload>) -> Result<Response<Payload>, Error> {
        let writes = Keyless(KeyHeader::new());
        let layer = self.house.layer.clone().with_writes(Arc::new(writes));
        layer.layer(self.house.inner.clone()).oneshot(request).await
    }

    async fn pay(&self) -> Result<Response<Payload>, Error> {
        self.ask(keyless("{}", Context::new())).await
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_write_without_a_key_is_a_possible_duplicate_until_the_window_is_over() {
    let journal = faulty();
    let open = Open::new(&journal, &Plan::new(KEYED), []);
    for round in 1..=5 {
        let paid = open.pay().await.unwrap();
        assert_eq!(paid.body().served_from(), ServedFrom::Upstream);
        tokio::time::sleep(WINDOW - seconds(1)).await;
        let again = open.pay().await.unwrap_err();
        assert_eq!(again.kind(), Kind::PossibleDuplicate);
        assert_eq!(again.operation(), paid.body().operation());
        assert_eq!(again.outcome(), Outcome::Unsent);
        // To be told so does not make the window longer.
        tokio::time::sleep(seconds(1)).await;
        assert_eq!(open.counts.calls(), round);
    }
}

#[tokio::test(start_paused = true)]
async fn two_at_once_are_one_operation_and_a_possible_duplicate() {
    for does in [Does::Answers(200), Does::Slowly(200, millis(100))] {
        let journal = faulty();
        let mut plan = Plan::new(KEYED);
        let one = Open::new(&journal, &plan, [does]);
        plan.seed = 2;
        let other = Open::new(&journal, &plan, [does]);
        // Within one process, and of two on one journal.
        let (a, b, c) = tokio::join!(one.pay(), one.pay(), other.pay());
        let told: Vec<_> = [a, b, c]
            .into_iter()
            .map(|told| told.map_err(|e| e.kind()))
            .collect();
        let paid = told.iter().filter(|told| told.is_ok()).count();
        assert_eq!(paid, 1, "{does:?} {told:?}");
        for told in told {
            assert!(
                told.is_ok() || told.as_ref().unwrap_err() == &Kind::PossibleDuplicate,
                "{told:?}"
            );
        }
        assert_eq!(one.counts.calls() + other.counts.calls(), 1, "{does:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_that_is_meant_is_another_operation_and_the_next_one_is_told_of_that() {
    let journal = faulty();
    let open = Open::new(&journal, &Plan::new(KEYED), []);
    let first = open.pay().await.unwrap();
    let meant = || keyless("{}", Context::new().with_duplicate_allowed());
    let mut last = first.body().operation();
    for _ in 0..4 {
        let second = open.ask(meant()).await.unwrap();
        assert_ne!(second.body().operation(), last);
        last = second.body().operation();
        assert_eq!(open.pay().await.unwrap_err().operation(), last);
    }
    assert_eq!((open.counts.calls(), count(&journal).await), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn spelling_does_not_make_another_write_but_tenant_and_amount_do() {
    let journal = faulty();
    let open = Open::new(&journal, &Plan::new(KEYED), []);
    let tenant = |name| Context::new().with_tenant(Tenant::new(name).unwrap());
    open.ask(keyless("{\"a\":1,\"b\":2}", tenant("x")))
        .await
        .unwrap();
    let spelled = open.ask(keyless("{ \"b\":2, \"a\":1 }", tenant("x"))).await;
    assert_eq!(kind(spelled), Kind::PossibleDuplicate);
    open.ask(keyless("{\"a\":1,\"b\":2}", tenant("y")))
        .await
        .unwrap();
    open.ask(keyless("{\"a\":1,\"b\":3}", tenant("x")))
        .await
        .unwrap();
    assert_eq!(open.counts.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_the_window_and_doubt_keeps_it_for_ever() {
    let journal = faulty();
    let mut plan = Plan::new(KEYED);
    let before = Open::new(&journal, &plan, [Does::Resets]);
    let doubt = before.pay().await.unwrap_err();
    assert_eq!(doubt.kind(), Kind::OutcomeUnknown);
    before.house.book.kill();
    plan.seed = 2;
    let after = Open::new(&journal, &plan, []);
    tokio::time::sleep(WINDOW * 100).await;
    let again = after.pay().await.unwrap_err();
    assert_eq!(
        (again.kind(), again.operation()),
        (Kind::PossibleDuplicate, doubt.operation())
    );
    assert_eq!(before.counts.calls() + after.counts.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_without_a_key_that_did_nothing_starts_again_as_the_same_operation() {
    let journal = faulty();
    let open = Open::new(&journal, &Plan::new(KEYED), [Does::Answers(429)]);
    let refused = open.pay().await.unwrap();
    assert_eq!(refused.status(), 429);
    let paid = open.pay().await.unwrap();
    assert_eq!(paid.status(), 200);
    assert_eq!((open.counts.calls(), count(&journal).await), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_looked_up_is_not_sent_without_a_key() {
    let journal = faulty();
    let open = Open::new(&journal, &Plan::new(KEYED), []);
    journal.next(Call::Get, [Fault::Fails]);
    let refused = open.pay().await.unwrap_err();
    assert_eq!(refused.kind(), Kind::JournalUnavailable);
    assert!(refused.to_string().contains("planned"), "{refused}");
    assert_eq!(open.counts.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_cannot_give_a_key_that_is_made_here() {
    let journal = faulty();
    let open = Open::new(&journal, &Plan::new(KEYED), []);
    open.pay().await.unwrap();
    let records = journal.inner().list(&Filter::default()).await.unwrap();
    let key = records[0].asked.key.as_str().to_owned();
    assert!(records[0].asked.key.is_derived(), "{key}");
    assert_eq!(kind(open.ask(pay(&key)).await), Kind::Invalid);
}
