//! The gate's side of the book: leases, and attempts that begin and end.

use super::super::record::{Capability, Record, State, StoredAnswer};
use super::super::{BoxFuture, JournalError, Moment, Withheld, may_send, still_may_leave};
use super::Book;
use super::live::Live;
use super::steps::NotMade;
use crate::context::OperationId;
use crate::error::Error;
use crate::event::Decision;
use crate::outcome::{Advice, Outcome, Verdict};
use pin_project::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

impl Book {
    /// Runs `work` on a live operation to its end, renewing the lease beside it. `None` when the lease of a keyed write
    /// ran out first: whoever takes it over counts the settle window from there, so nothing of it may go on longer.
    pub(crate) const fn hold<'a, W: Future>(&'a self, live: &'a Live, work: W) -> Hold<'a, W> {
        Hold {
            book: self,
            live,
            work,
            lease: None,
        }
    }

    /// Renews the lease for as long as it can; resolves when it is over for a write whose sends may not be on record.
    async fn lease_lost(&self, live: &Live) {
        let clock = self.inner.clock;
        let renew_every = self.inner.config.lease / 3;
        loop {
            let seen = live.peek(|record| {
                let keyed = matches!(record.asked.capability, Capability::Keyed { .. });
                (record.progress.owner, record.progress.lease_until, keyed)
            });
            let Some((owner, until, keyed)) = seen else {
                return std::future::pending().await;
            };
            // Another process has it, so our lease was over on its clock.
            let ours = owner == self.inner.owner;
            let left = until.since(self.now().at);
            if left.is_zero() || !ours {
                if keyed {
                    return;
                }
                if !ours {
                    return std::future::pending().await;
                }
            }
            let wait = if left.is_zero() {
                renew_every
            } else {
                renew_every.min(left)
            };
            clock.sleep(wait).await;
            // A renewal that fails is tried again; one that hangs must not outlast the lease.
            let _ = clock.timeout(renew_every, self.renew(live)).await;
        }
    }

    /// Renews the lease, if the operation is still ours.
    async fn renew(&self, live: &Live) {
        let owner = self.inner.owner;
        let until = self.now().at.plus(self.inner.config.lease);
        let _ = self
            .try_step(live, |record| {
                if record.progress.owner != owner {
                    return Err(());
                }
                record.progress.lease_until = until;
                record.progress.due = Some(until);
                Ok(())
            })
            .await;
    }

    /// Takes the operation for this process; the step is durable when this resolves.
    pub(crate) async fn own(
        &self,
        live: &Live,
        state: Option<State>,
    ) -> Result<Record, JournalError> {
        let now = self.now().at;
        let (owner, lease) = (self.inner.owner, self.inner.config.lease);
        self.step(live, |record| {
            if let Some(state) = state {
                // Whoever asks has looked at the state; a step that does not exist leaves it as it is.
                let _ = record.step(state, now, "taken up again", "owner");
            }
            record.progress.owner = owner;
            record.progress.lease_until = now.plus(lease);
            record.progress.due = Some(now.plus(lease));
        })
        .await
    }

    /// The gate: puts an attempt on record, if one may leave now. What must be durable before the first byte is.
    ///
    /// # Errors
    /// [`Withheld`] inside an `Unsent` error where it may not leave; [`Error::JournalUnavailable`] where the journal
    /// did not take the step.
    pub async fn begin_attempt(&self, id: OperationId, bound: Duration) -> Result<u32, Error> {
        let Some(live) = self.pages().by_id.get(&id).cloned() else {
            return Err(withheld(Withheld::NotOwner));
        };
        // A step of ours that seemed to fail and was made comes first once; then the record is asked again.
        for _ in 0..3 {
            let now = self.now();
            if let Some(begun) = self.begin_here(&live, now, bound) {
                return begun.map_err(|why| self.tell_withheld(&live, why));
            }
            let begin = |record: &mut Record| {
                let number = self.begin_on(record, now, bound)?;
                Ok((number, record.progress.lease_until))
            };
            // Boxed: a keyed write needs no step, and holds no room for one.
            match Box::pin(self.try_step(&live, begin)).await {
                Ok((number, lease)) => {
                    let margin = self.inner.config.lease_margin;
                    if still_may_leave(lease, now.at, self.now(), margin) {
                        return Ok(number);
                    }
                    self.not_let_out(&live, number);
                }
                Err(NotMade::Refused(why)) => return Err(self.tell_withheld(&live, why)),
                Err(NotMade::Journal(JournalError::Conflict(_))) => {}
                Err(NotMade::Journal(error)) => {
                    self.never_left(&live, now, bound);
                    return Err(Error::journal_unavailable(error));
                }
            }
        }
        Err(self.tell_withheld(&live, Withheld::NotOwner))
    }

    /// An attempt that is on record does not leave after all.
    fn not_let_out(&self, live: &Live, number: u32) {
        let (now, window) = (self.now().at, self.inner.config.settle.settle_window);
        let mut inside = live.lock();
        if let Some(record) = inside.record.as_mut() {
            record.end_attempt(self.inner.owner, number, now, Verdict::UNSENT, window, None);
            inside.unrecorded();
        }
    }

    /// Begins an attempt of a keyed write that is durable as "sending" already: a crash is settled as if this attempt
    /// had left. Asked and begun under one lock, so that no takeover comes between. `None` where a step must come first.
    fn begin_here(
        &self,
        live: &Live,
        now: Moment,
        bound: Duration,
    ) -> Option<Result<u32, Withheld>> {
        let mut inside = live.lock();
        let Some(record) = inside.record.as_mut() else {
            return Some(Err(Withheld::NotOwner));
        };
        let keyed = matches!(record.asked.capability, Capability::Keyed { .. });
        if !keyed || record.state() != State::Sending {
            return None;
        }
        let begun = self.begin_on(record, now, bound);
        if begun.is_ok() {
            inside.unrecorded();
        }
        Some(begun)
    }

    fn begin_on(&self, record: &mut Record, now: Moment, bound: Duration) -> Result<u32, Withheld> {
        let (owner, config) = (self.inner.owner, &self.inner.config);
        // It may begin this much later than now, while the journal records it.
        let bound = bound + config.lease_margin;
        may_send(record, owner, now, bound, config.lease_margin)?;
        let now = now.at;
        let settles = now.plus(bound).plus(config.settle.settle_window);
        record
            .begin_attempt(owner, now, settles)
            .map_err(|_| Withheld::Settled)
    }

    /// The journal may show an attempt that was not let out because its step seemed to fail: it is known to be unsent.
    fn never_left(&self, live: &Live, now: Moment, bound: Duration) {
        let mut inside = live.lock();
        if let Some(record) = inside.record.as_mut()
            && let Ok(number) = self.begin_on(record, now, bound)
        {
            let window = self.inner.config.settle.settle_window;
            record.end_attempt(
                self.inner.owner,
                number,
                now.at,
                Verdict::UNSENT,
                window,
                None,
            );
            inside.unrecorded();
        }
    }

    fn tell_withheld(&self, live: &Live, why: Withheld) -> Error {
        if let Some(record) = live.record() {
            self.tell(&record, 0, Decision::Withheld { why: why.as_str() });
        }
        withheld(why)
    }

    /// Adds the end of an attempt. For a write that is not `Keyed` the end is durable when this resolves (or its
    /// recording goes on in the background, if the journal is down).
    pub async fn end_attempt(
        &self,
        id: OperationId,
        number: u32,
        verdict: Verdict,
        answer: Option<StoredAnswer>,
    ) {
        let Some(live) = self.pages().by_id.get(&id).cloned() else {
            return;
        };
        let now = self.now().at;
        let window = self.inner.config.settle.settle_window;
        let (keyed, contradicted) = {
            let mut inside = live.lock();
            inside.unrecorded();
            let Some(record) = inside.record.as_mut() else {
                return;
            };
            let contradicted =
                record.end_attempt(self.inner.owner, number, now, verdict, window, answer);
            self.schedule_acknowledgement(record, now);
            (
                matches!(record.asked.capability, Capability::Keyed { .. }),
                contradicted,
            )
        };
        self.tell_end(&live);
        if contradicted && let Some(record) = live.record() {
            self.tell_end_again(&live);
            self.tell_contradiction(&record, number);
        }
        if !keyed {
            Box::pin(self.flush(&live)).await;
        }
    }
}

/// Work on an operation, and its lease beside it: see [`Book::hold`].
#[pin_project]
pub(crate) struct Hold<'a, W> {
    book: &'a Book,
    live: &'a Live,
    #[pin]
    work: W,
    /// Made once the work has to wait.
    lease: Option<BoxFuture<'a, ()>>,
}

impl<W: Future> Future for Hold<'_, W> {
    type Output = Option<W::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(done) = this.work.poll(cx) {
            return Poll::Ready(Some(done));
        }
        let (book, live) = (*this.book, *this.live);
        let lease = this
            .lease
            .get_or_insert_with(|| Box::pin(book.lease_lost(live)));
        lease.as_mut().poll(cx).map(|()| None)
    }
}

fn withheld(why: Withheld) -> Error {
    Error::upstream(why, Verdict::closed(Outcome::Unsent, Advice::Stop))
}
