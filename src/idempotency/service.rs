//! Sequences a write: key, enter, drive or join, wait.

use super::drive::{Driving, Job, drive};
use super::layer::Shared;
use super::refused::Refused;
use super::same::is_same;
use super::waiting::{Mine, Waiting, tell};
use super::wish::{Asking, Wish};
use crate::classify::Safety;
use crate::error::{BoxError, Error};
use crate::event::Decision;
use crate::journal::{BoxFuture, Entered, Joined, KeyOf, Live};
use crate::payload::Payload;
use http::{Request, Response};
use pin_project::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_service::Service;

/// See the [room](super).
#[derive(Clone, Debug)]
pub struct Idempotency<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Idempotency<S> {
    pub(super) const fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

/// A read on its way through, or a caller that waits for its write.
#[pin_project]
pub struct IdempotencyFuture<F> {
    #[pin]
    kind: Kind<F>,
}

impl<F> std::fmt::Debug for IdempotencyFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdempotencyFuture").finish_non_exhaustive()
    }
}

#[allow(
    clippy::large_enum_variant,
    reason = "a replay allocates nothing of its own; what a read's future takes is often more"
)]
#[pin_project(project = KindProject)]
enum Kind<F> {
    Read(#[pin] F),
    Wait(BoxFuture<'static, Result<Response<Payload>, Error>>),
    Told(Option<Result<Response<Payload>, Error>>),
}

impl<F, E> Future for IdempotencyFuture<F>
where
    F: Future<Output = Result<Response<Payload>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<Payload>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProject::Read(read) => read.poll(cx).map_err(Error::from_inner),
            KindProject::Wait(wait) => wait.as_mut().poll(cx),
            // Polled again after it was ready: a caller's mistake, answered without a panic.
            KindProject::Told(told) => Poll::Ready(told.take().unwrap_or(Err(Error::Deadline))),
        }
    }
}

impl<S> Service<Request<Payload>> for Idempotency<S>
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    type Response = Response<Payload>;
    type Error = Error;
    type Future = IdempotencyFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_inner)
    }

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        if self.shared.writes.safety(&request) == Safety::Read {
            let kind = Kind::Read(self.inner.call(request));
            return IdempotencyFuture { kind };
        }
        let kind = match self.shared.wish(request) {
            Ok(Asking::Keyed(wish)) => match self.start(wish) {
                Started::Told(told) => Kind::Told(Some(told)),
                Started::Waiting(waiting, joined) => Kind::Wait(Box::pin(waiting.wait(joined))),
                Started::Refused(refused) => Kind::Wait(Box::pin(refused.told())),
            },
            Ok(Asking::Derived(derivation)) => {
                // The readied service goes along; its place is taken by a clone.
                let clone = self.inner.clone();
                let mut ours = Self {
                    inner: std::mem::replace(&mut self.inner, clone),
                    shared: Arc::clone(&self.shared),
                };
                Kind::Wait(Box::pin(async move {
                    let (book, namespace) = (&ours.shared.book, &ours.shared.namespace);
                    let wish = derivation.numbered(book, namespace).await?;
                    match ours.start(wish) {
                        Started::Told(told) => told,
                        Started::Waiting(waiting, joined) => waiting.wait(joined).await,
                        Started::Refused(refused) => refused.told().await,
                    }
                }))
            }
            Err(error) => Kind::Told(Some(Err(error))),
        };
        IdempotencyFuture { kind }
    }
}

/// What became of a write when it was taken in.
enum Started {
    /// Its answer is there.
    Told(Result<Response<Payload>, Error>),
    /// It is being worked on; whether by somebody else.
    Waiting(Waiting, bool),
    /// This process takes nothing new: the journal may know of it.
    Refused(Box<Refused>),
}

impl<S> Idempotency<S>
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    fn start(&mut self, wish: Wish) -> Started {
        let shared = &self.shared;
        let key = (
            Arc::clone(&shared.namespace),
            wish.tenant.clone(),
            wish.key.clone(),
        );
        match shared.book.join(&key) {
            Some(Joined::Settled(live)) => Started::Told(settled(shared, &live, wish)),
            Some(Joined::Running(live)) => self.join(live, wish),
            None => self.begin(key, wish),
        }
    }

    fn join(&self, live: Arc<Live>, wish: Wish) -> Started {
        let shared = Arc::clone(&self.shared);
        let until = shared.book.clock().ahead(wish.patience);
        let waiting = Waiting {
            until: shared.joined_until(until),
            mine: if wish.key.is_derived() {
                Mine::Again
            } else {
                Mine::Joined(Box::new(wish.request))
            },
            tenant: wish.tenant,
            priority: wish.priority,
            shared,
            live,
            left: false,
        };
        Started::Waiting(waiting, true)
    }

    fn begin(&mut self, key: KeyOf, wish: Wish) -> Started {
        let book = &self.shared.book;
        let (patience, priority) = (wish.patience, wish.priority);
        // Refused before anybody can join it.
        let made = match self.shared.make(wish) {
            Ok(made) => made,
            Err(error) => return Started::Told(Err(error)),
        };
        let asked = Arc::clone(&made.record.asked);
        let (live, joined) = match book.enter(key, asked.id) {
            Entered::Drive(live) => (live, false),
            // Somebody was quicker.
            Entered::Join(live) => (live, true),
            Entered::Full => {
                let full = Error::rate_limited(Duration::from_secs(1));
                let refused = Refused {
                    shared: Arc::clone(&self.shared),
                    asked,
                    original: made.original,
                    priority,
                    until: book.clock().ahead(patience),
                    why: full,
                };
                return Started::Refused(Box::new(refused));
            }
        };
        let until = book.clock().ahead(patience);
        let waiting = Waiting {
            until: if joined {
                self.shared.joined_until(until)
            } else {
                until
            },
            mine: if joined && asked.key.is_derived() {
                Mine::Again
            } else {
                Mine::Made {
                    asked: Arc::clone(&asked),
                    original: made.original.clone(),
                }
            },
            tenant: asked.tenant.clone(),
            priority,
            shared: Arc::clone(&self.shared),
            live: Arc::clone(&live),
            left: false,
        };
        if !joined {
            // The readied service goes along with the operation; its place is taken by a clone.
            let clone = self.inner.clone();
            let job = Box::new(Job {
                inner: std::mem::replace(&mut self.inner, clone),
                made,
                priority,
                driving: Some(Driving {
                    shared: Arc::clone(&self.shared),
                    live: Arc::clone(&live),
                }),
            });
            if !book.spawn(drive(job)) {
                // Whoever joined it meanwhile is told to ask again.
                let closing = Error::journal_unavailable("this process is shutting down");
                return refused_after_all(&waiting, closing);
            }
        }
        Started::Waiting(waiting, joined)
    }
}

/// One that entered its key and found that no task is taken any more.
fn refused_after_all(waiting: &Waiting, why: Error) -> Started {
    match &waiting.mine {
        Mine::Made { asked, original } => Started::Refused(Box::new(Refused {
            shared: Arc::clone(&waiting.shared),
            asked: Arc::clone(asked),
            original: original.clone(),
            priority: waiting.priority,
            until: waiting.until,
            why,
        })),
        // Whoever enters has made a record.
        Mine::Joined(_) | Mine::Again | Mine::Same(_) => Started::Told(Err(why)),
    }
}

/// The answer of an operation that ended well a short while ago: from memory, without a task.
fn settled(shared: &Shared, live: &Live, wish: Wish) -> Result<Response<Payload>, Error> {
    let operation = live.operation();
    if wish.key.is_derived() {
        return Err(Error::possible_duplicate(operation));
    }
    let same = match live.asked() {
        Some(recorded) => is_same(&recorded, wish.request, &*shared.writes)?,
        None => false,
    };
    if !same {
        return Err(Error::key_reused(operation));
    }
    let Some(told) = live.replay(shared.book.now().at) else {
        return Err(Error::outcome_unknown(operation));
    };
    tell(
        shared,
        &wish.tenant,
        wish.priority,
        operation,
        Decision::Replayed,
    );
    told
}
