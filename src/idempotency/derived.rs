//! Writes without a key, on routes that allow it: the key is made of the request itself.
//!
//! The keys of one request are numbered from 1, without a gap: the last one says what became of the same write before.
//! Who claims the next number decides between two that ask at once.

use super::fingerprint;
use super::wish::Wish;
use super::writes::Writes;
use crate::clock::Timestamp;
use crate::context::{Context as Marker, OperationId, OperationKey, Tenant};
use crate::error::Error;
use crate::journal::{Book, Fingerprint, Lookup, Moment, Record, State};
use crate::payload::Payload;
use http::Request;
use std::time::Duration;

/// A write that needs a key made for it.
pub(super) struct Derivation {
    wish: Wish,
    fingerprint: Fingerprint,
    window: Duration,
    allowed: bool,
}

/// What follows from the last operation of the same write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// Claim this number.
    Claim(u64),
    /// It may be the same again.
    Duplicate(OperationId),
}

/// Pure.
fn choose(latest: Option<(u64, &Record)>, now: Moment, window: Duration, allowed: bool) -> Choice {
    let Some((number, record)) = latest else {
        return Choice::Claim(1);
    };
    let contradicted = record.progress.contradicted;
    // Provably nothing happened, and nobody is at it: the same operation starts again.
    if record.state() == State::Ready && record.progress.due.is_none() && !contradicted {
        return Choice::Claim(number);
    }
    let over = record.state().is_final()
        && !contradicted
        // What happened at a time of unknown age may have happened just before that.
        && now.at.since(settled_at(record).max(now.ages_from)) >= window;
    if allowed || over {
        Choice::Claim(number.saturating_add(1))
    } else {
        Choice::Duplicate(record.id())
    }
}

fn settled_at(record: &Record) -> Timestamp {
    record.ended().unwrap_or(record.asked.at)
}

impl Derivation {
    /// `None` where the route makes no keys; an error where the request cannot have one.
    pub(super) fn of(
        request: Request<Payload>,
        writes: &dyn Writes,
        wish: impl FnOnce(Request<Payload>, OperationKey) -> Wish,
    ) -> Result<Self, Error> {
        let derived = writes.derived(&request).ok_or(Error::KeyRequired)?;
        let fingerprint = fingerprint::of(&request, |name| writes.inert(name))?;
        let allowed = Marker::of(&request).duplicate_allowed();
        let wish = wish(request, OperationKey::derived(&fingerprint.digest, 1));
        Ok(Self {
            wish,
            fingerprint,
            window: derived.window,
            allowed,
        })
    }

    /// The write under the key of its number.
    ///
    /// # Errors
    /// [`Error::PossibleDuplicate`], or [`Error::JournalUnavailable`] where the last one cannot be read.
    pub(super) async fn numbered(mut self, book: &Book, namespace: &str) -> Result<Wish, Error> {
        let latest = self.latest(book, namespace).await?;
        let latest = latest.as_ref().map(|(number, record)| (*number, record));
        match choose(latest, book.now(), self.window, self.allowed) {
            Choice::Claim(number) => {
                self.wish.key = OperationKey::derived(&self.fingerprint.digest, number);
                Ok(self.wish)
            }
            Choice::Duplicate(operation) => Err(Error::possible_duplicate(operation)),
        }
    }

    /// The last number that is taken: by doubling, then by halving.
    async fn latest(&self, book: &Book, namespace: &str) -> Result<Option<(u64, Record)>, Error> {
        let at = |number| {
            read(
                book,
                namespace,
                &self.wish.tenant,
                &self.fingerprint,
                number,
            )
        };
        let Some(first) = at(1).await? else {
            return Ok(None);
        };
        let (mut low, mut found) = (1_u64, first);
        let mut high = 2;
        while let Some(record) = at(high).await? {
            (low, found) = (high, record);
            high = high.saturating_mul(2);
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match at(middle).await? {
                Some(record) => (low, found) = (middle, record),
                None => high = middle,
            }
        }
        Ok(Some((low, found)))
    }
}

async fn read(
    book: &Book,
    namespace: &str,
    tenant: &Tenant,
    fingerprint: &Fingerprint,
    number: u64,
) -> Result<Option<Record>, Error> {
    let key = OperationKey::derived(&fingerprint.digest, number);
    let which = Lookup::Key {
        namespace,
        tenant,
        key: &key,
    };
    let found = book.journal().get(which).await;
    found.map_err(Error::journal_unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::Transition;
    use crate::journal::record::tests::asked;
    use crate::journal::{Capability, OwnerId};

    const WINDOW: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn record(state: State, settled: Timestamp) -> Record {
        let mut record = Record::claim(asked(Capability::Lookup), OwnerId(1), settled);
        record.progress.history.push(Transition {
            at: settled,
            from: State::Sending,
            to: state,
            why: "".into(),
            by: "".into(),
        });
        record.progress.state = state;
        record
    }

    #[test]
    fn the_first_of_its_kind_is_number_one() {
        assert_eq!(choose(None, at(0).into(), WINDOW, false), Choice::Claim(1));
    }

    #[test]
    fn the_window_counts_from_the_last_settle_and_never_ends_while_it_is_unresolved() {
        for state in State::ALL {
            let record = record(state, at(100));
            let chosen = |seconds| choose(Some((7, &record)), at(seconds).into(), WINDOW, false);
            let duplicate = Choice::Duplicate(record.id());
            assert_eq!(chosen(159), duplicate, "{state}");
            let after = if state.is_final() {
                Choice::Claim(8)
            } else {
                duplicate
            };
            assert_eq!(chosen(160), after, "{state}");
            assert_eq!(chosen(99), duplicate, "{state}: a clock that went back");
        }
    }

    #[test]
    fn what_did_nothing_starts_again_under_its_own_number() {
        let mut record = record(State::Ready, at(100));
        record.progress.due = None;
        for allowed in [false, true] {
            let chosen = choose(Some((7, &record)), at(101).into(), WINDOW, allowed);
            assert_eq!(chosen, Choice::Claim(7));
        }
    }

    #[test]
    fn a_duplicate_that_is_meant_is_another_operation() {
        for state in State::ALL {
            let record = record(state, at(100));
            let chosen = choose(Some((7, &record)), at(101).into(), WINDOW, true);
            assert_eq!(chosen, Choice::Claim(8), "{state}");
        }
    }

    #[test]
    fn proof_against_the_record_and_an_age_that_is_not_known_keep_the_window_open() {
        let mut record = record(State::Rejected, at(100));
        let mut now = Moment::sure(at(1_000));
        now.ages_from = at(990);
        let duplicate = Choice::Duplicate(record.id());
        assert_eq!(choose(Some((1, &record)), now, WINDOW, false), duplicate);
        record.progress.contradicted = true;
        let sure = Moment::sure(at(1_000));
        assert_eq!(choose(Some((1, &record)), sure, WINDOW, false), duplicate);
    }
}
