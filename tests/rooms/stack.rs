//! The rooms put together: what none of them can keep alone.

use http::{Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use tower::{ServiceExt, service_fn};
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::error::Error;
use tower_sturdy::journal::{BoxFuture, MemoryJournal, Observation, Proof, Record, StoredAnswer};
use tower_sturdy::payload::{Payload, ServedFrom};
use tower_sturdy::reconcile::{Hooks, NoHooks, Upstream};
use tower_sturdy::stack::Stack;

/// One bill. The first payment of it hangs for ever; the bill is paid by a later one, or by whoever sets `paid`.
#[derive(Clone, Debug, Default)]
struct Bill {
    paid: Arc<AtomicBool>,
    payments: Arc<AtomicU32>,
}

impl Bill {
    async fn answer(self, request: Request<Payload>) -> Result<Response<Payload>, Infallible> {
        if request.method().is_safe() {
            let paid = self.paid.load(SeqCst);
            return Ok(Response::new(Payload::from(if paid {
                "paid"
            } else {
                "open"
            })));
        }
        if self.payments.fetch_add(1, SeqCst) == 0 {
            std::future::pending::<()>().await;
        }
        self.paid.store(true, SeqCst);
        Ok(Response::new(Payload::from("paid")))
    }

    /// A stack in which doubt lasts `window` after an abandoned attempt, for the book; for the cache ten seconds.
    fn stack(&self, hooks: Arc<dyn Hooks>, window: Duration) -> Stack {
        let bill = self.clone();
        Stack::builder(service_fn(move |request| bill.clone().answer(request)))
            .journal(Arc::new(MemoryJournal::new()))
            .hooks(hooks)
            .clock(Clock::anchored(Timestamp::from_millis(0)))
            .configure(|config| {
                config.attempt.write_timeout = Duration::from_secs(5);
                config.book.settle.settle_window = window;
                if let Some(cache) = &mut config.cache {
                    cache.settle_window = Duration::from_secs(10);
                }
            })
            .build()
            .unwrap()
    }
}

async fn read(stack: &Stack) -> (String, bool) {
    let request = Request::get("http://upstream/bill/1").body(Payload::empty());
    let answer = stack.clone().oneshot(request.unwrap()).await.unwrap();
    let text = String::from_utf8(answer.body().bytes().to_vec()).unwrap();
    let kept = answer.body().served_from() != ServedFrom::Upstream;
    (text, kept)
}

async fn pay(stack: &Stack) {
    let request = Request::post("http://upstream/pay").header("idempotency-key", "bill-1");
    let request = request.body(Payload::from("{}")).unwrap();
    let answer = stack.clone().oneshot(request).await;
    assert!(matches!(answer, Err(Error::Pending(_))), "{answer:?}");
}

/// Reads until an answer is kept, which shows that the bill was open.
async fn keep_open(stack: &Stack) {
    for _ in 0..2 {
        assert_eq!(read(stack).await.0, "open");
    }
    assert_eq!(read(stack).await, ("open".to_owned(), true));
}

#[tokio::test(start_paused = true)]
async fn what_the_worker_sends_again_is_no_longer_shown_as_it_was() {
    let bill = Bill::default();
    let stack = bill.stack(Arc::new(NoHooks), Duration::from_secs(60));
    pay(&stack).await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    keep_open(&stack).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(bill.payments.load(SeqCst), 2, "the worker sent it again");
    assert_eq!(read(&stack).await.0, "paid");
}

#[derive(Debug)]
struct Look(Arc<AtomicBool>);

impl Hooks for Look {
    fn observe<'a>(&'a self, _: &'a Record, _: &'a Upstream) -> BoxFuture<'a, Observation> {
        let seen = if self.0.load(SeqCst) {
            Observation::Found(Proof {
                answer: StoredAnswer {
                    status: 200,
                    headers: Vec::new(),
                    body: "paid".into(),
                },
                evidence: "its mark".to_owned(),
            })
        } else {
            Observation::CannotTell {
                why: "not yet".to_owned(),
            }
        };
        Box::pin(std::future::ready(seen))
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_look_up_finds_is_no_longer_shown_as_it_was() {
    let bill = Bill::default();
    let look = Look(Arc::clone(&bill.paid));
    let stack = bill.stack(Arc::new(look), Duration::from_secs(1_000));
    pay(&stack).await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    keep_open(&stack).await;
    // The abandoned payment lands late; the next look-up finds it.
    bill.paid.store(true, SeqCst);
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(bill.payments.load(SeqCst), 1);
    assert_eq!(stack.reconciler().figures().found(), 1);
    assert_eq!(read(&stack).await.0, "paid");
}
