//! Sequences a write: key, enter, drive or join, wait.

use super::drive::{Driving, Job, drive};
use super::layer::Shared;
use super::{fingerprint, key};
use crate::classify::Safety;
use crate::clock::Instant;
use crate::context::{Context as Marker, OperationId, Priority, Tenant};
use crate::error::{BoxError, Error};
use crate::event::{Decision, Event};
use crate::journal::{
    Asked, BoxFuture, Capability, Durability, Entered, Fingerprint, Live, StoredRequest, Told,
};
use crate::payload::{Payload, ServedFrom};
use http::{HeaderMap, Request, Response};
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

#[pin_project(project = KindProject)]
enum Kind<F> {
    Read(#[pin] F),
    Wait(BoxFuture<'static, Result<Response<Payload>, Error>>),
    Refused(Option<Error>),
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
            KindProject::Refused(error) => {
                Poll::Ready(Err(error.take().unwrap_or(Error::Deadline)))
            }
        }
    }
}

/// A write that may be claimed.
struct Prepared {
    asked: Asked,
    headers: HeaderMap,
    priority: Priority,
    patience: Duration,
}

impl Shared {
    fn prepare(&self, mut request: Request<Payload>) -> Result<Prepared, Error> {
        let tenant = Tenant::new(self.tenant_of.tenant(&request)?)?;
        let key = key::of(&request, &*self.writes)?;
        request.headers_mut().remove(&key::HEADER);
        // What is planted may change the body: the transport counts its bytes again.
        request.headers_mut().remove(http::header::CONTENT_LENGTH);
        let fingerprint = fingerprint::of(&request, |name| self.writes.inert(name))?;
        let capability = self.writes.capability(&request);
        self.check_durability(capability)?;
        let conflict = self.writes.conflict_key(&request);
        let marker = Marker::of(&request);
        let (priority, patience) = (marker.priority(), self.patience(marker)?);
        let issued = marker.key_issued();
        let headers = request.headers().clone();
        let upstream_key = key::upstream_key(&self.namespace, &tenant, &key);
        self.writes.plant(&mut request, &upstream_key)?;
        let (head, body) = request.into_parts();
        let recorded = head
            .headers
            .iter()
            .filter(|(name, value)| {
                self.config.recorded_headers.contains(name) || headers.get(*name) != Some(value)
            })
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        let mut recorded: Vec<_> = recorded.collect();
        // A journal in memory keeps it for long.
        recorded.shrink_to_fit();
        let request = StoredRequest {
            method: head.method,
            headers: recorded,
            uri: head.uri,
            body: body.into_bytes(),
        };
        let asked = Asked {
            id: OperationId::from_bits(self.book.random().id()),
            namespace: Arc::clone(&self.namespace),
            tenant,
            key,
            conflict,
            fingerprint,
            capability,
            upstream_key,
            request,
            at: self.book.now().at,
            issued,
        };
        Ok(Prepared {
            asked,
            headers,
            priority,
            patience,
        })
    }

    fn check_durability(&self, capability: Capability) -> Result<(), Error> {
        let only_the_journal = !matches!(capability, Capability::Keyed { .. });
        if only_the_journal
            && self.book.durability() == Durability::Volatile
            && !self.config.accept_volatile
        {
            return Err(Error::invalid(
                "the upstream honours no key for this write, and the journal forgets in a crash; nothing was sent; use a \
                 durable journal, or accept the risk by `accept_volatile`",
            ));
        }
        Ok(())
    }

    fn patience(&self, marker: &Marker) -> Result<Duration, Error> {
        let patience = marker.patience().unwrap_or(self.config.patience);
        let Some(deadline) = marker.deadline() else {
            return Ok(patience);
        };
        let left = deadline.saturating_duration_since(self.book.clock().now());
        if left.is_zero() {
            return Err(Error::Deadline);
        }
        Ok(patience.min(left))
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
        let kind = match self.shared.prepare(request) {
            Ok(prepared) => self.start(prepared),
            Err(error) => Kind::Refused(Some(error)),
        };
        IdempotencyFuture { kind }
    }
}

impl<S> Idempotency<S>
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    fn start(&mut self, prepared: Prepared) -> Kind<S::Future> {
        let book = &self.shared.book;
        let asked = &prepared.asked;
        let key = (
            Arc::clone(&asked.namespace),
            asked.tenant.clone(),
            asked.key.clone(),
        );
        let (live, joined) = match book.enter(key, asked.id) {
            Entered::Join(live) => (live, true),
            Entered::Drive(live) => (live, false),
            Entered::Full => {
                return Kind::Refused(Some(Error::rate_limited(Duration::from_secs(1))));
            }
        };
        let waiting = Waiting {
            until: book.clock().now() + prepared.patience,
            fingerprint: asked.fingerprint,
            tenant: asked.tenant.clone(),
            priority: prepared.priority,
            shared: Arc::clone(&self.shared),
            live: Arc::clone(&live),
            left: false,
        };
        if joined {
            waiting.tell(Decision::Joined);
        } else {
            // The readied service goes along with the operation; its place is taken by a clone.
            let clone = self.inner.clone();
            let job = Job {
                inner: std::mem::replace(&mut self.inner, clone),
                asked: prepared.asked,
                headers: prepared.headers,
                priority: prepared.priority,
                driving: Driving {
                    shared: Arc::clone(&self.shared),
                    live: Arc::clone(&live),
                },
            };
            if !book.spawn(drive(job)) {
                live.end(Err(Error::journal_unavailable(
                    "this process is shutting down",
                )));
            }
        }
        Kind::Wait(Box::pin(waiting.wait(joined)))
    }
}

/// One caller that waits for an operation. Dropping it leaves the operation to go on.
struct Waiting {
    shared: Arc<Shared>,
    live: Arc<Live>,
    fingerprint: Fingerprint,
    tenant: Tenant,
    priority: Priority,
    until: Instant,
    left: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.left {
            let _ = self.shared.book.give_up(&self.live);
        }
    }
}

impl Waiting {
    fn tell(&self, decision: Decision<'_>) {
        let event = Event::new(self.tenant.as_str(), self.priority, decision)
            .with_operation(Some(self.live.operation()));
        self.shared.observer.observe(&event);
    }

    async fn wait(mut self, joined: bool) -> Result<Response<Payload>, Error> {
        let clock = self.shared.book.clock();
        let live = Arc::clone(&self.live);
        if joined {
            let hastened = self.shared.book.hasten(&live);
            let _ = clock.timeout_at(self.until, hastened).await;
        }
        loop {
            let changed = live.notified();
            tokio::pin!(changed);
            // From here on no change is missed, also one between the look and the wait.
            changed.as_mut().enable();
            let told = match live.told_to(&self.fingerprint, self.shared.book.now().at) {
                Ok(told) => told,
                Err(other) => return self.answered(Err(Error::key_reused(other))),
            };
            match told {
                Told::Final(result) => return self.answered(*result),
                // Nothing can be promised before the claim is durable; the journal's own limits bound this wait.
                Told::Unclaimed => changed.await,
                Told::NotYet(_) => {
                    if clock.timeout_at(self.until, changed).await.is_none() {
                        return self.out_of_patience();
                    }
                }
            }
        }
    }

    fn answered(
        &mut self,
        result: Result<Response<Payload>, Error>,
    ) -> Result<Response<Payload>, Error> {
        self.left = true;
        self.shared.book.leave(&self.live);
        if let Ok(answer) = &result
            && matches!(answer.body().served_from(), ServedFrom::Replay { .. })
        {
            self.tell(Decision::Replayed);
        }
        result
    }

    fn out_of_patience(&mut self) -> Result<Response<Payload>, Error> {
        self.left = true;
        let book = &self.shared.book;
        // The operation may have ended between the look and now: then its end is what the caller is told.
        if let Some(ended) = book.give_up(&self.live) {
            return ended;
        }
        // Looked at after leaving: from here on whoever ends the work knows that somebody was told to wait.
        let error = match self.live.told(book.now().at) {
            Told::Final(result) => return *result,
            Told::NotYet(error) => error,
            Told::Unclaimed => Error::outcome_unknown(self.live.operation()),
        };
        self.tell(Decision::StillPending);
        Err(error)
    }
}
