//! What a journal may forget, and which keys it then no longer takes. Pure.
//!
//! A used key must never be taken as new. So either a tombstone stays, which knows the key, or the journal remembers up
//! to when the keys that it forgot were made, and takes only keys that were made later.

use super::JournalError;
use super::record::{Asked, Record};
use crate::clock::Timestamp;
use std::time::Duration;

/// What a purge leaves of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// A tombstone: key, fingerprint, state, id and times. Who asks with its key is told that it is too old.
    Tombstones,
    /// Nothing. From then on only keys that say when they were made, later than what was deleted, are taken as new.
    Nothing,
}

/// What a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// How many operations became tombstones.
    pub tombstones: u64,
    /// How many were deleted.
    pub deleted: u64,
}

/// A journal that can forget what is over.
pub trait Purge: super::Journal {
    /// Forgets the operations that ended before `before`, are acknowledged, and have no check due. What is in doubt, not
    /// final, or contradicted is never forgotten. Dropped at any await, a part of them is forgotten, each whole.
    fn purge(
        &self,
        before: Timestamp,
        keep: Keep,
    ) -> super::BoxFuture<'_, Result<Purged, JournalError>>;
}

/// How far the clocks of callers may be ahead of ours: under NTP they are closer by far.
const AHEAD: Duration = Duration::from_secs(5);

impl Asked {
    /// When its key was made, as far as that can be believed: not later than it was asked with.
    #[must_use]
    pub fn made(&self) -> Option<Timestamp> {
        self.issued.filter(|made| *made <= self.at.plus(AHEAD))
    }
}

/// Which keys that are not on record may have been used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Forgotten {
    /// Those made until then may have been deleted; so may all that do not say when they were made.
    deleted: Option<Timestamp>,
    /// Those made until then may have been used while this journal did not see it.
    missed: Option<Timestamp>,
    /// Until then so may all that do not say when they were made.
    undated: Option<Timestamp>,
}

impl Forgotten {
    /// Whether a key that is not on record can be taken as new.
    pub(super) fn takes(&self, asked: &Asked) -> bool {
        match asked.made() {
            // It is made now, of a number that may have been used unseen.
            Some(_) if asked.key.is_derived() => self.undated.is_none_or(|until| asked.at >= until),
            Some(made) => {
                self.deleted.is_none_or(|until| made > until)
                    && self.missed.is_none_or(|until| made > until)
            }
            None => self.deleted.is_none() && self.undated.is_none_or(|until| asked.at >= until),
        }
    }

    /// This operation is deleted.
    pub(super) fn delete(&mut self, record: &Record) {
        let ended = record.ended().unwrap_or(record.asked.at);
        let last = ended
            .max(record.asked.at)
            .max(record.asked.made().unwrap_or_default());
        self.deleted = self.deleted.max(Some(last));
    }

    /// Keys may have been used until `now` that this journal never saw.
    #[cfg_attr(
        not(feature = "sqlite"),
        allow(dead_code, reason = "files can be restored")
    )]
    pub(super) fn miss(&mut self, now: Timestamp, refuse_undated_for: Duration) {
        self.missed = self.missed.max(Some(now.plus(AHEAD)));
        self.undated = self.undated.max(Some(now.plus(refuse_undated_for)));
    }
}

/// What a purge does to one operation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fate {
    /// Nothing.
    Stays,
    /// This is left of it.
    Tombstone(Box<Record>),
    /// Nothing is left of it.
    Deleted,
}

pub(super) fn fate(record: &Record, before: Timestamp, keep: Keep) -> Fate {
    let progress = &record.progress;
    let over = record.ended().is_some_and(|ended| ended < before)
        && progress.acknowledged
        && progress.due.is_none()
        && !progress.contradicted;
    // A key that says it was made later than it was used could not be told from a new one.
    let dated = record.asked.issued.is_none() || record.asked.made().is_some();
    // Derived keys are numbered: a gap would hide what came before.
    let stands_alone = dated && !record.asked.key.is_derived();
    match keep {
        _ if !over => Fate::Stays,
        Keep::Nothing if stands_alone => Fate::Deleted,
        _ => tombstone(record).map_or(Fate::Stays, |left| Fate::Tombstone(Box::new(left))),
    }
}

/// What is left of a final operation; `None` if it is one already.
fn tombstone(record: &Record) -> Option<Record> {
    let ended = record.ended()?;
    if record.is_tombstone() {
        return None;
    }
    let mut left = record.clone();
    let mut asked = (*left.asked).clone();
    asked.request.uri = without_query(&asked.request.uri);
    asked.request.headers.clear();
    asked.request.body.clear();
    left.asked = std::sync::Arc::new(asked);
    left.progress.attempts.clear();
    left.progress.history.clear();
    left.progress.purged = Some(ended);
    // Whoever still has it in hand learns of it with the next step.
    left.progress.version = left.progress.version.checked_add(1)?;
    left.answer = None;
    Some(left)
}

fn without_query(uri: &http::Uri) -> http::Uri {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = parts
        .path_and_query
        .and_then(|whole| whole.path().parse().ok());
    http::Uri::from_parts(parts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::asked;
    use super::super::record::{Capability, OwnerId, State};
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn ask(second: u64, made: Option<u64>) -> Asked {
        Asked {
            at: at(second),
            issued: made.map(at),
            ..asked(Capability::Lookup)
        }
    }

    fn over(second: u64, made: Option<u64>, ended: u64) -> Record {
        let mut record = Record::claim(ask(second, made), OwnerId(1), at(second + 30));
        record.step(State::Sending, at(second), "", "").unwrap();
        record.step(State::Completed, at(ended), "", "").unwrap();
        record.progress.due = None;
        record.progress.acknowledged = true;
        record
    }

    #[test]
    fn a_journal_that_forgot_nothing_takes_every_key() {
        for made in [None, Some(0), Some(100), Some(1_000_000)] {
            assert!(Forgotten::default().takes(&ask(100, made)));
        }
    }

    #[test]
    fn a_numbered_key_leaves_a_tombstone_whatever_is_kept() {
        let mut record = over(10, Some(10), 20);
        assert_eq!(fate(&record, at(21), Keep::Nothing), Fate::Deleted);
        record.asked = std::sync::Arc::new(Asked {
            key: crate::context::OperationKey::derived(&[7; 32], 1),
            ..(*record.asked).clone()
        });
        // Deleted, it would hide the numbers behind it.
        for keep in [Keep::Tombstones, Keep::Nothing] {
            assert!(matches!(fate(&record, at(21), keep), Fate::Tombstone(_)));
        }
    }

    #[test]
    fn a_numbered_key_that_may_have_been_used_unseen_is_not_taken_as_new() {
        let mut forgotten = Forgotten::default();
        forgotten.delete(&over(10, Some(10), 20));
        let derived = |now| Asked {
            key: crate::context::OperationKey::derived(&[7; 32], 2),
            ..ask(now, Some(now))
        };
        // Deleted ones are no reason: a number is never deleted.
        assert!(forgotten.takes(&derived(15)));
        forgotten.miss(at(100), Duration::from_secs(3_600));
        assert!(!forgotten.takes(&derived(110)));
        assert!(forgotten.takes(&derived(3_700)));
    }

    #[test]
    fn only_what_is_over_is_forgotten() {
        let record = over(10, None, 20);
        for keep in [Keep::Tombstones, Keep::Nothing] {
            assert_eq!(fate(&record, at(20), keep), Fate::Stays, "not yet");
            assert_ne!(fate(&record, at(21), keep), Fate::Stays);
            let changes: [fn(&mut Record); 4] = [
                |record| record.progress.due = Some(at(20)),
                |record| record.progress.acknowledged = false,
                |record| record.progress.contradicted = true,
                |record| record.progress.version = u64::MAX,
            ];
            for (number, change) in changes.into_iter().enumerate() {
                let mut record = record.clone();
                change(&mut record);
                let stays = fate(&record, at(1_000), keep) == Fate::Stays;
                assert_eq!(stays, number < 3 || keep == Keep::Tombstones, "{number}");
            }
            for state in State::ALL.into_iter().filter(|state| !state.is_final()) {
                let mut record = record.clone();
                record.progress.state = state;
                assert_eq!(
                    fate(&record, Timestamp::NEVER, keep),
                    Fate::Stays,
                    "{state}"
                );
            }
        }
    }

    #[test]
    fn a_tombstone_keeps_the_key_and_no_business_data() {
        let mut record = over(10, Some(9), 20);
        let mut whole = (*record.asked).clone();
        whole.request.uri = http::Uri::from_static("https://upstream/pay?card=4111");
        whole.request.headers = vec![("x-secret".into(), "token-7".into())];
        whole.request.body = "amount-1042".into();
        record.asked = std::sync::Arc::new(whole.clone());
        record.answer = Some(crate::journal::StoredAnswer {
            status: 200,
            headers: Vec::new(),
            body: "balance".into(),
        });
        let Fate::Tombstone(left) = fate(&record, at(100), Keep::Tombstones) else {
            panic!("it stayed");
        };
        assert!(left.is_tombstone() && !record.is_tombstone());
        assert_eq!(
            (left.state(), left.ended()),
            (State::Completed, Some(at(20)))
        );
        whole.request.uri = http::Uri::from_static("https://upstream/pay");
        whole.request.headers.clear();
        whole.request.body.clear();
        assert_eq!(*left.asked, whole);
        assert_eq!(left.answer, None);
        assert!(left.progress.attempts.is_empty() && left.progress.history.is_empty());
        assert_eq!(left.progress.version, record.progress.version + 1);
        // A second purge changes nothing, or deletes it.
        assert_eq!(fate(&left, at(100), Keep::Tombstones), Fate::Stays);
        assert_eq!(fate(&left, at(20), Keep::Nothing), Fate::Stays);
        assert_eq!(fate(&left, at(100), Keep::Nothing), Fate::Deleted);
    }

    #[test]
    fn a_key_that_says_it_was_made_after_its_use_leaves_a_tombstone() {
        let record = over(10, Some(16), 20);
        assert!(matches!(
            fate(&record, at(100), Keep::Nothing),
            Fate::Tombstone(_)
        ));
        let record = over(10, Some(15), 20);
        assert_eq!(fate(&record, at(100), Keep::Nothing), Fate::Deleted);
    }

    proptest! {
        #[test]
        fn a_deleted_key_is_never_taken_as_new(
            used in 0_u64..1_000, made in prop::option::of(0_u64..1_100), took in 0_u64..100, later in 0_u64..10_000,
            others in prop::collection::vec((0_u64..1_000, prop::option::of(0_u64..1_100)), 0..5),
        ) {
            let record = over(used, made, used + took);
            let mut forgotten = Forgotten::default();
            let deleted = fate(&record, at(1_000_000), Keep::Nothing) == Fate::Deleted;
            if deleted {
                forgotten.delete(&record);
            }
            for (second, made) in others {
                forgotten.delete(&over(second, made, second));
            }
            // The same key again, now or at any time later; it says the same of when it was made.
            prop_assert!(!deleted || !forgotten.takes(&ask(used + later, made)));
        }

        #[test]
        fn a_key_that_was_used_unseen_is_never_taken_as_new(
            since in 0_u64..1_000, gap in 0_u64..1_000, ahead in 0_u64..5, later in 0_u64..10_000, old in 0_u64..500,
        ) {
            let now = since + gap;
            let mut forgotten = Forgotten::default();
            forgotten.miss(at(now), Duration::from_secs(3_600));
            // Made before the gap ended, by a clock that may be ahead a little; asked with again after it.
            let made = (now + ahead).saturating_sub(old);
            prop_assert!(!forgotten.takes(&ask(now + later, Some(made))));
            // What does not say so is refused for the time that was set.
            prop_assert_eq!(forgotten.takes(&ask(now + later, None)), later >= 3_600);
            prop_assert!(forgotten.takes(&ask(now + 6 + later, Some(now + 6 + later))));
        }
    }
}
