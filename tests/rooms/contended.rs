//! Facts about two operations on one thing, where the first one did nothing and may begin again.

use super::hooks::Planned;
use super::house::{
    Does, House, KEYED, Plan, faulty_over, millis, on_record, pay, pay_within, seconds, state,
    upstream,
};
use super::probe::{Counts, Probe};
use http::Request;
use std::sync::Arc;
use tower::{Layer, ServiceExt};
use tower_sturdy::attempt::Attempt;
use tower_sturdy::error::{Error, Kind};
use tower_sturdy::idempotency::{Idempotency, KeyHeader, Writes};
use tower_sturdy::journal::faulty::{Call, Fault};
use tower_sturdy::journal::{Capability, FaultyJournal, MemoryJournal, State};
use tower_sturdy::payload::Payload;

/// Pays one bill, whatever is asked.
#[derive(Debug)]
struct OneBill(KeyHeader);

impl Writes for OneBill {
    fn capability(&self, request: &Request<Payload>) -> Capability {
        self.0.capability(request)
    }

    fn plant(&self, request: &mut Request<Payload>, key: &str) -> Result<(), Error> {
        self.0.plant(request, key)
    }

    fn conflict_key(&self, _: &Request<Payload>) -> Option<String> {
        Some("bill".to_owned())
    }
}

struct Bill {
    memory: MemoryJournal,
    journal: FaultyJournal,
    house: House,
    service: Idempotency<Attempt<Probe>>,
    counts: Arc<Counts>,
}

fn bill(does: impl IntoIterator<Item = Does>) -> Bill {
    let memory = MemoryJournal::new();
    let journal = faulty_over(&memory);
    let (probe, counts) = upstream(does);
    let house = Plan::new(KEYED).build(&journal, probe, Planned::new([]));
    let layer = house.layer.clone();
    let service = layer
        .with_writes(Arc::new(OneBill(KeyHeader::new())))
        .layer(house.inner.clone());
    Bill {
        memory,
        journal,
        house,
        service,
        counts,
    }
}

#[tokio::test(start_paused = true)]
async fn what_did_nothing_is_in_nobodys_way_and_waits_for_its_turn_to_begin_again() {
    let Bill {
        memory,
        service,
        counts,
        ..
    } = bill([Does::Answers(429), Does::Slowly(200, seconds(5))]);
    let refused = service.clone().oneshot(pay("a")).await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(state(&memory, "a").await, State::Ready);
    let second = tokio::spawn(service.clone().oneshot(pay_within("b", seconds(60))));
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(counts.calls(), 2);
    // The first one again, while the second is under way: it is told of that one, and nothing is sent.
    let told = service.clone().oneshot(pay("a")).await.unwrap_err();
    let other = on_record(&memory, "b").await.unwrap().id();
    assert_eq!(
        (told.kind(), told.operation()),
        (Kind::InFlight, Some(other))
    );
    assert_eq!(state(&memory, "a").await, State::Ready);
    assert_eq!(counts.calls(), 2);
    assert_eq!(second.await.unwrap().unwrap().status(), 200);
    // Whether it is paid once more is the caller's decision: the promise is per key.
    assert_eq!(service.oneshot(pay("a")).await.unwrap().status(), 200);
    assert_eq!(counts.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_promised_what_another_operation_came_before() {
    let Bill {
        memory,
        journal,
        house,
        service,
        counts,
    } = bill([Does::Answers(429), Does::Slowly(200, seconds(20))]);
    house.reconciler.start();
    // The first one is on record as idle, but its task learns that two seconds later; its caller has left by then.
    journal.next(Call::Step, [Fault::TellsAfter(seconds(2))]);
    let left = service.clone().oneshot(pay("a")).await.unwrap_err();
    assert_eq!(left.kind(), Kind::InFlight);
    let second = tokio::spawn(service.clone().oneshot(pay_within("b", seconds(60))));
    tokio::time::sleep(millis(500)).await;
    let joined = tokio::spawn(service.clone().oneshot(pay_within("a", seconds(10))));
    tokio::time::sleep(seconds(5)).await;
    let told = joined.await.unwrap().unwrap_err();
    assert_eq!(told.kind(), Kind::InFlight, "{told}");
    let first = on_record(&memory, "a").await.unwrap();
    assert_eq!((first.state(), first.progress.due), (State::Ready, None));
    assert_eq!(second.await.unwrap().unwrap().status(), 200);
    tokio::time::sleep(seconds(600)).await;
    assert_eq!(counts.calls(), 2, "nobody asked for the first one again");
    assert_eq!(house.book.live(), 0);
}
