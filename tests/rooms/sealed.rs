//! Facts about writes whose bodies are sealed in the journal.

use super::cipher::Keys;
use super::house::{House, KEYED, Plan, kind, on_record, pay, seconds, state};
use super::probe::Probe;
use http::Response;
use std::sync::{Arc, Mutex};
use tower::ServiceExt;
use tower_sturdy::BoxError;
use tower_sturdy::error::Kind;
use tower_sturdy::journal::{Durability, FaultyJournal, MemoryJournal, SealedJournal, State};
use tower_sturdy::payload::Payload;
use tower_sturdy::reconcile::NoHooks;

/// What the upstream got, request by request.
type Got = Arc<Mutex<Vec<String>>>;

/// One process over `memory` with these keys. Its upstream resets the first connection if it is told to, and pays.
fn process(memory: &MemoryJournal, keys: &[u8], seed: u64, resets: bool) -> (House, Got) {
    let sealed = SealedJournal::new(Arc::new(memory.clone()), Keys::new(keys)).unwrap();
    let durable = FaultyJournal::new(Arc::new(sealed)).with_durability(Durability::CrashDurable);
    let got = Got::default();
    let log = Arc::clone(&got);
    let (probe, _) = Probe::new(move |request| {
        let body = String::from_utf8(request.into_body().into_bytes().to_vec()).unwrap();
        log.lock().unwrap().push(body);
        async move {
            if resets {
                return Err::<_, BoxError>("connection reset".into());
            }
            Ok(Response::new(Payload::from(
                "paid to DE02120300000000202051",
            )))
        }
    });
    let mut plan = Plan::new(KEYED);
    plan.seed = seed;
    (plan.build(&durable, probe, Arc::new(NoHooks)), got)
}

#[tokio::test(start_paused = true)]
async fn a_sealed_write_is_sent_and_replayed_in_plain_and_kept_sealed() {
    let memory = MemoryJournal::new();
    let (first, got) = process(&memory, &[1], 1, false);
    let answer = first.service.clone().oneshot(pay("a")).await.unwrap();
    assert_eq!(*got.lock().unwrap(), ["{}"]);
    tokio::time::sleep(seconds(1)).await;
    let raw = on_record(&memory, "a").await.unwrap();
    assert_eq!(raw.state(), State::Completed);
    let kept = [&raw.asked.request.body, &raw.answer.as_ref().unwrap().body];
    for body in kept {
        assert!(body.starts_with(b"\0sturdy:s"));
        assert!(!body.windows(4).any(|bytes| bytes == b"DE02"));
    }
    // After a restart, under a newer key beside the old one.
    let (next, got) = process(&memory, &[1, 2], 2, false);
    let replayed = next.service.clone().oneshot(pay("a")).await.unwrap();
    assert_eq!(replayed.body().bytes(), answer.body().bytes());
    assert!(got.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_does_not_open_waits_for_its_key_while_the_others_are_settled() {
    let memory = MemoryJournal::new();
    for (key, name) in [(1, "lost"), (2, "kept")] {
        let (dead, _) = process(&memory, &[key], key.into(), true);
        let told = dead.service.clone().oneshot(pay(name)).await;
        assert_eq!(kind(told), Kind::OutcomeUnknown);
        dead.book.kill();
    }
    let (one, got) = process(&memory, &[2], 3, false);
    one.reconciler.start();
    tokio::time::sleep(seconds(1_200)).await;
    assert_eq!(state(&memory, "kept").await, State::Completed);
    assert_eq!(state(&memory, "lost").await, State::Unknown);
    assert_eq!(*got.lock().unwrap(), ["{}"]);
    // Whoever asks for it is told that the journal cannot say, and nothing is sent.
    let told = one.service.clone().oneshot(pay("lost")).await;
    let error = told.unwrap_err();
    assert_eq!(error.kind(), Kind::JournalUnavailable);
    assert_eq!(got.lock().unwrap().len(), 1);
    one.book.kill();

    let (both, got) = process(&memory, &[1, 2], 4, false);
    both.reconciler.start();
    tokio::time::sleep(seconds(1_200)).await;
    assert_eq!(state(&memory, "lost").await, State::Completed);
    assert_eq!(*got.lock().unwrap(), ["{}"]);
}
