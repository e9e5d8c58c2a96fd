//! What must hold under every schedule of callers that join and leave, of tasks that end, and of shutdown.
//!
//! A wake-up that is lost shows as a deadlock: where a race lets no time pass, nothing but a wake-up ends a wait.

use crate::clock;
use crate::error::{Error, Kind};
use crate::journal::{Claim, Journal, Proof, Record, State, StoredAnswer};
use crate::world::{Answer, NEVER, World, below, pause};
use bytes::Bytes;
use shuttle::future::{JoinHandle, block_on, spawn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Time passes for this long: patience and retries end, leases do not.
const A_WHILE: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_millis(300);

fn callers(world: &World, count: u32, patience: Duration) -> Vec<JoinHandle<Answer>> {
    let call = |_| spawn(world.clone().call("a", patience));
    (0..count).map(call).collect()
}

/// Runs `race` while time passes.
async fn in_time(race: impl Future<Output = ()>) {
    let time = spawn(clock::pass(A_WHILE));
    race.await;
    time.abort();
}

/// Callers join one write, with all the patience in the world: each gets the answer, the write leaves once, and the last
/// one out leaves nothing behind.
pub fn whoever_joins_is_woken_with_the_answer() {
    block_on(async {
        let world = World::new(&[200]);
        for caller in callers(&world, 3, NEVER) {
            let answer = caller.await.unwrap().unwrap();
            assert_eq!(answer.body().bytes(), "paid");
        }
        assert_eq!(world.bank.sends.load(Ordering::SeqCst), 1);
        world.empty().await;
        let record = world.on_record("a").await.unwrap();
        assert_eq!(record.state(), State::Completed);
    });
}

/// The same where the upstream refuses, or does nothing and says so: everybody is told the end, and who comes after the
/// end of what did nothing starts it again.
pub fn whoever_joins_is_told_every_other_end_too() {
    block_on(async {
        let world = World::new(&[400, 429]);
        for caller in callers(&world, 3, NEVER) {
            match caller.await.unwrap() {
                Ok(answer) => assert!(matches!(answer.status().as_u16(), 400 | 429)),
                // Asked for again while its end was just being told.
                Err(error) => assert_eq!(error.kind(), Kind::InFlight, "{error}"),
            }
        }
        world.empty().await;
        let record = world.on_record("a").await.unwrap();
        assert!(matches!(record.state(), State::Rejected | State::Ready));
        // Nobody left before the end, so that nobody was promised that it goes on.
        assert_eq!(record.progress.due, None);
    });
}

/// Says whether the upstream had answered when its caller was gone for good.
struct Gone {
    answered: Arc<AtomicBool>,
    before: Arc<AtomicUsize>,
}

impl Drop for Gone {
    fn drop(&mut self) {
        if !self.answered.load(Ordering::SeqCst) {
            self.before.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn call_and_tell(world: World, gone: Gone, entered: Arc<AtomicUsize>) -> Answer {
    // Dropped in this order when the caller is dropped: the call, and then what looks whether the end had come.
    let _gone = gone;
    entered.fetch_add(1, Ordering::SeqCst);
    world.call("a", PATIENCE).await
}

/// Callers lose their patience, or are dropped, while the write ends: who was told to wait was told the truth, and what
/// everybody left before its end goes on without them.
pub fn whoever_leaves_gets_the_end_or_the_promise_that_it_goes_on() {
    block_on(in_time(async {
        let world = World::new(&[200, 400, 429, 429, 500]);
        let (before, entered) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let mut calls = Vec::new();
        for _ in 0..2 {
            let gone = Gone {
                answered: Arc::clone(&world.bank.answered),
                before: Arc::clone(&before),
            };
            let call = call_and_tell(world.clone(), gone, Arc::clone(&entered));
            calls.push(spawn(call));
        }
        pause(12).await;
        let mut dropped = 0;
        for call in &calls {
            if below(2) == 0 {
                call.abort();
                dropped += 1;
            }
        }
        let mut told_to_wait = 0;
        for call in calls {
            if let Ok(Err(error)) = call.await {
                let waits = matches!(error.kind(), Kind::Pending | Kind::OutcomeUnknown);
                told_to_wait += u32::from(waits);
            }
        }
        world.empty().await;
        let Some(record) = world.on_record("a").await else {
            // Everybody was dropped before it was asked for.
            assert_eq!(
                (world.bank.sends.load(Ordering::SeqCst), told_to_wait),
                (0, 0)
            );
            return;
        };
        let goes_on = record.state().is_final() || record.progress.due.is_some();
        let left_before_the_end = dropped == 2 && before.load(Ordering::SeqCst) == 2;
        assert!(
            goes_on || (told_to_wait == 0 && !left_before_the_end),
            "{} was told to {told_to_wait} that it goes on, left by {dropped}: nobody takes it up",
            record.state(),
        );
    }));
}

/// A caller alone loses its patience while the write ends without effect: it gets that end, or the write goes on without
/// it, also where it left after everybody seemed to wait.
pub fn whoever_loses_patience_alone_gets_the_end_or_the_write_goes_on() {
    block_on(in_time(async {
        let world = World::new(&[429]);
        let told = world.clone().call("a", PATIENCE).await;
        world.empty().await;
        let record = world.on_record("a").await.unwrap();
        assert_eq!(record.state(), State::Ready);
        let goes_on = record.progress.due.is_some();
        match told {
            Ok(answer) => assert_eq!(answer.status().as_u16(), 429),
            Err(error) => assert!(goes_on, "told {:?}, and nobody takes it up", error.kind()),
        }
    }));
}

/// Two ask for different things under one key: one of them is told so at once, and leaves no place behind that would keep
/// the page.
pub fn whoever_asks_for_something_else_is_told_so_and_leaves_no_page() {
    block_on(in_time(async {
        let world = World::new(&[200, 429, 500]);
        let one = spawn(world.clone().call("a", PATIENCE));
        let other = spawn(world.clone().call_with("a", PATIENCE, "{\"other\":1}"));
        let told = [one.await.unwrap(), other.await.unwrap()];
        let reused =
            |answer: &&Answer| matches!(answer, Err(error) if error.kind() == Kind::KeyReused);
        assert_eq!(told.iter().filter(reused).count(), 1);
        world.empty().await;
    }));
}

/// The worker finds on record what a task here works on: it gets it in hand only after that task.
pub fn nobody_takes_in_hand_what_a_task_works_on() {
    block_on(async {
        let world = World::new(&[200, 429, 500]);
        let time = spawn(clock::pass(A_WHILE));
        let call = spawn(world.clone().call("a", PATIENCE));
        for _ in 0..6 {
            pause(3).await;
            let Some(record) = world.on_record("a").await else {
                continue;
            };
            if let Some(live) = world.book.take(record) {
                assert_eq!(world.bank.running.load(Ordering::SeqCst), 0);
                assert!(
                    world.bank.answered.load(Ordering::SeqCst),
                    "taken before it was sent"
                );
                world.book.put_down(&live);
            }
        }
        let _ = call.await.unwrap();
        time.abort();
        world.empty().await;
    });
}

/// The upstream never answers: whoever waited for the claim is woken by it, and can lose its patience.
pub fn whoever_waits_for_a_claim_is_woken_when_it_is_made() {
    block_on(in_time(async {
        let world = World::new(&[]);
        for caller in callers(&world, 3, PATIENCE) {
            let told = caller.await.unwrap().unwrap_err();
            assert_eq!(told.kind(), Kind::Pending);
        }
        world.book.kill();
        world.empty().await;
    }));
}

/// What the worker does with an operation in doubt, as often as it takes: takes it in hand, finds proof, puts it down.
async fn settle(world: World) {
    pause(20).await;
    for _ in 0..10_000 {
        pause(2).await;
        let record = world.on_record("a").await.unwrap();
        if record.state().is_final() {
            return;
        }
        let Some(live) = world.book.take(record) else {
            continue;
        };
        let answer = StoredAnswer {
            status: 200,
            headers: Vec::new(),
            body: Bytes::from_static(b"found"),
        };
        let proof = Proof {
            evidence: "seen".to_owned(),
            answer,
        };
        let now = world.book.now().at;
        let complete = |record: &mut Record| world.book.complete(record, proof, now);
        let _ = world.book.step(&live, complete).await;
        world.book.put_down(&live);
    }
    panic!("the worker never gets it in hand");
}

/// An operation is in doubt, left by a dead owner. Callers ask for it, wait, and leave, while the worker settles it: nobody
/// waits on a page that the worker does not know.
pub fn whoever_waits_for_the_worker_is_woken_by_it() {
    block_on(async {
        let world = World::new(&[200]);
        in_doubt(&world).await;
        let worker = spawn(settle(world.clone()));
        let mut waiting = callers(&world, 3, NEVER);
        // One of them leaves, perhaps as the last one that waits, while another one joins it.
        let leaves = waiting.pop().unwrap();
        pause(16).await;
        leaves.abort();
        for caller in waiting {
            let answer = caller.await.unwrap().unwrap();
            assert_eq!(answer.body().bytes(), "found");
        }
        worker.await.unwrap();
        assert_eq!(world.bank.sends.load(Ordering::SeqCst), 0);
        world.empty().await;
    });
}

/// Puts an operation in doubt on record, as callers ask for it.
async fn in_doubt(world: &World) {
    let other = World::seeded(&[500], 2);
    let time = spawn(clock::pass(A_WHILE));
    let told = other.clone().call("a", PATIENCE).await.unwrap_err();
    time.abort();
    assert!(matches!(told.kind(), Kind::OutcomeUnknown | Kind::Pending));
    assert_eq!(other.book.shutdown(NEVER).await, 0);
    let mut record = other.on_record("a").await.unwrap();
    assert_eq!(record.state(), State::Unknown);
    record.progress.version = 1;
    let claimed = world.journal.memory.claim(&record).await.unwrap();
    assert_eq!(claimed, Claim::Claimed);
}

/// The journal fails now and then, before or after it was made: everybody is told something in the end, nothing leaves
/// twice, and no page stays.
pub fn whoever_joins_is_told_something_while_the_journal_fails() {
    block_on(in_time(async {
        let world = World::new(&[200]);
        world.journal.fails.store(true, Ordering::Relaxed);
        let mut waits = 0;
        for caller in callers(&world, 3, A_WHILE / 2) {
            match caller.await.unwrap() {
                Ok(answer) => assert_eq!(answer.body().bytes(), "paid"),
                Err(error) => {
                    let kind = error.kind();
                    waits += u32::from(matches!(kind, Kind::Pending | Kind::OutcomeUnknown));
                    assert!(
                        matches!(
                            kind,
                            Kind::InFlight
                                | Kind::JournalUnavailable
                                | Kind::Pending
                                | Kind::OutcomeUnknown
                        ),
                        "{error}"
                    );
                }
            }
        }
        world.journal.fails.store(false, Ordering::Relaxed);
        world.empty().await;
        assert!(world.bank.sends.load(Ordering::SeqCst) <= 1);
        if waits > 0 {
            let record = world.on_record("a").await.unwrap();
            assert!(record.state().is_final() || record.progress.due.is_some());
        }
    }));
}

/// A process shuts down while callers come: what was taken is brought to its end before the drain is over, and what comes
/// after is refused, not forgotten.
pub fn a_shutdown_ends_what_was_taken_and_refuses_what_was_not() {
    block_on(async {
        let world = World::new(&[200]);
        let calls = callers(&world, 2, NEVER);
        pause(8).await;
        let closed = spawn({
            let book = world.book.clone();
            async move { book.closed().await }
        });
        assert_eq!(world.book.shutdown(NEVER).await, 0);
        assert_eq!(world.bank.running.load(Ordering::SeqCst), 0);
        let record = world.on_record("a").await;
        let paid = record.is_some_and(|record| record.state() == State::Completed);
        assert_eq!(paid, world.bank.sends.load(Ordering::SeqCst) == 1);
        let mut answers = 0;
        for call in calls {
            match call.await.unwrap() {
                Ok(answer) => {
                    assert_eq!(answer.body().bytes(), "paid");
                    answers += 1;
                }
                // It joined what was refused, and may ask again.
                Err(error) if error.kind() == Kind::InFlight => {}
                Err(error) => assert_eq!(error.kind(), Kind::JournalUnavailable, "{error}"),
            }
        }
        assert!(paid || answers == 0);
        closed.await.unwrap();
        assert_eq!(world.book.live(), 0);
    });
}

/// Tasks are spawned from several sides while the book closes and drains: what was taken has ended when the drain is
/// over, also what its own tasks spawn; what was refused never runs.
pub fn no_task_is_lost_between_close_and_drain() {
    block_on(async {
        let world = World::new(&[200]);
        let (taken, ended, ran) =
            <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let mut spawners = Vec::new();
        for _ in 0..3 {
            let (book, taken, ended, ran) = (
                world.book.clone(),
                Arc::clone(&taken),
                Arc::clone(&ended),
                Arc::clone(&ran),
            );
            spawners.push(spawn(async move {
                pause(3).await;
                let deep = {
                    let (book, taken, ended, ran) = (
                        book.clone(),
                        Arc::clone(&taken),
                        Arc::clone(&ended),
                        Arc::clone(&ran),
                    );
                    async move {
                        ran.fetch_add(1, Ordering::SeqCst);
                        pause(2).await;
                        // Counted before it can end: the drain must not be over between.
                        taken.fetch_add(1, Ordering::SeqCst);
                        let inner = Arc::clone(&ended);
                        let ran = Arc::clone(&ran);
                        let spawned = book.spawn(async move {
                            ran.fetch_add(1, Ordering::SeqCst);
                            pause(2).await;
                            inner.fetch_add(1, Ordering::SeqCst);
                        });
                        if !spawned {
                            taken.fetch_sub(1, Ordering::SeqCst);
                        }
                        ended.fetch_add(1, Ordering::SeqCst);
                    }
                };
                taken.fetch_add(1, Ordering::SeqCst);
                if !book.spawn(deep) {
                    taken.fetch_sub(1, Ordering::SeqCst);
                }
            }));
        }
        pause(4).await;
        assert_eq!(world.book.shutdown(NEVER).await, 0);
        let over = ended.load(Ordering::SeqCst);
        for spawner in spawners {
            spawner.await.unwrap();
        }
        pause(8).await;
        assert_eq!(
            ended.load(Ordering::SeqCst),
            over,
            "a task ended after the drain"
        );
        assert_eq!(
            taken.load(Ordering::SeqCst),
            over,
            "a task was taken and lost"
        );
        assert_eq!(
            ran.load(Ordering::SeqCst),
            over,
            "a task runs that was refused"
        );
        assert!(!world.book.spawn(async { panic!("taken after close") }));
    });
}

/// Several wait for the drain and for the closing, from before, during and after it.
pub fn whoever_waits_for_the_end_is_woken() {
    block_on(async {
        let world = World::new(&[200]);
        for _ in 0..2 {
            assert!(world.book.spawn(pause(4)));
        }
        let mut waiting = Vec::new();
        for drains in [false, true, true] {
            let book = world.book.clone();
            waiting.push(spawn(async move {
                pause(4).await;
                if drains {
                    assert_eq!(book.shutdown(NEVER).await, 0);
                } else {
                    book.closed().await;
                    assert!(book.is_closed());
                }
            }));
        }
        for one in waiting {
            one.await.unwrap();
        }
    });
}

/// A process is killed while callers wait and come: every task of it is dropped where it is, nothing leaves after that,
/// and whoever still waits here is told something.
pub fn a_kill_stops_everything_and_hangs_nobody() {
    block_on(in_time(async {
        let world = World::new(&[200]);
        let calls = callers(&world, 3, PATIENCE);
        pause(12).await;
        world.book.kill();
        assert!(!world.book.spawn(async { panic!("taken after a kill") }));
        assert_eq!(world.book.shutdown(NEVER).await, 0);
        let sends = world.bank.sends.load(Ordering::SeqCst);
        assert_eq!(world.bank.running.load(Ordering::SeqCst), 0);
        for call in calls {
            match call.await.unwrap() {
                Ok(answer) => assert_eq!(answer.body().bytes(), "paid"),
                Err(error) => assert_ne!(error.kind(), Kind::Parked),
            }
        }
        assert_eq!(
            world.bank.sends.load(Ordering::SeqCst),
            sends,
            "sent after a kill"
        );
        assert_eq!(world.book.live(), 0, "pages are left");
    }));
}
