//! Bodies behind a seal: what the store sees, what comes back, and what happens when one does not open.

use crate::cipher::Keys;
use crate::mutants::{Breaks, Plain};
use crate::sample::{record, unwrap};
use bytes::Bytes;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use tower_sturdy::BoxError;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::context::OperationId;
use tower_sturdy::journal::conformance::check;
use tower_sturdy::journal::sealed::{Part, Seal, SealedJournal, bound_to};
use tower_sturdy::journal::{
    Claim, FaultyJournal, Filter, Journal, JournalError, Lookup, MemoryJournal, Record, State,
    StoredAnswer,
};

fn over(inner: &MemoryJournal, keys: &[u8]) -> SealedJournal {
    unwrap(SealedJournal::new(Arc::new(inner.clone()), Keys::new(keys)))
}

const ASKED: &str = "{\"Vendor\":\"Hexenkessel GmbH\",\"Amount\":471100}";
const ANSWERED: &str = "{\"Id\":\"99\",\"Iban\":\"DE02120300000000202051\"}";

/// A claim of `key` with a body that must not be seen.
fn secret(id: u128, key: &str) -> Record {
    let mut record = record(id, key, 0);
    let mut asked = (*record.asked).clone();
    asked.request.body = Bytes::from_static(ASKED.as_bytes());
    record.asked = Arc::new(asked);
    record
}

fn completed(record: &Record) -> Record {
    let mut next = record.clone();
    next.progress.version += 1;
    next.progress.state = State::Completed;
    next.answer = Some(StoredAnswer {
        status: 200,
        headers: Vec::new(),
        body: Bytes::from_static(ANSWERED.as_bytes()),
    });
    next
}

/// Puts a completed operation on record; returns it.
async fn settled(journal: &dyn Journal, id: u128, key: &str) -> Record {
    let claimed = secret(id, key);
    assert_eq!(unwrap(journal.claim(&claimed).await), Claim::Claimed);
    let completed = completed(&claimed);
    unwrap(journal.step(&completed).await);
    completed
}

async fn found(journal: &dyn Journal, id: u128) -> Result<Record, JournalError> {
    let found = journal.get(Lookup::Id(OperationId::from_bits(id))).await?;
    Ok(found.expect("it is on record"))
}

#[cfg(feature = "sqlite")]
fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|at| at == text.as_bytes())
}

/// Hides what it seals from a glance, and sees a change: no cipher, but one in a test build takes most of a second for the
/// megabytes that the laws put on record. The cipher is tried by the laws over SQLite.
#[derive(Debug)]
struct Quick;

impl Quick {
    fn sum(bound: &[u8], bytes: &[u8]) -> [u8; 8] {
        let mut hasher = foldhash::quality::FixedState::with_seed(7).build_hasher();
        hasher.write(bound);
        hasher.write(bytes);
        hasher.finish().to_be_bytes()
    }
}

impl Seal for Quick {
    fn seal(&self, operation: OperationId, part: Part, plain: &[u8]) -> Result<Vec<u8>, BoxError> {
        let hidden: Vec<u8> = plain.iter().map(|byte| byte ^ 0x55).collect();
        let sum = Self::sum(&bound_to(operation, part), &hidden);
        Ok([&hidden[..], &sum].concat())
    }

    fn open(&self, operation: OperationId, part: Part, sealed: &[u8]) -> Result<Vec<u8>, BoxError> {
        let (hidden, sum) = sealed.split_last_chunk::<8>().ok_or("too short")?;
        if *sum != Self::sum(&bound_to(operation, part), hidden) {
            return Err("it was changed".into());
        }
        Ok(hidden.iter().map(|byte| byte ^ 0x55).collect())
    }
}

#[tokio::test]
async fn a_sealed_journal_keeps_the_laws() {
    let over = |inner: Arc<dyn Journal>| unwrap(SealedJournal::new(inner, Arc::new(Quick)));
    let memory = || Arc::new(MemoryJournal::new());
    unwrap(check(async || over(memory())).await);
    unwrap(check(async || over(memory()).with_plain_refused()).await);
    // Behind and before another wrapper too, and twice over.
    let faulty = async || {
        let inner = FaultyJournal::new(memory());
        FaultyJournal::new(Arc::new(over(Arc::new(inner))))
    };
    unwrap(check(faulty).await);
    unwrap(check(async || over(Arc::new(over(memory())))).await);
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::*;
    use std::path::Path;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tower_sturdy::journal::SqliteJournal;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_sealed_journal_in_sqlite_keeps_the_laws() {
        let directory = tempfile::tempdir().unwrap();
        let made = AtomicU32::new(0);
        let make = async || {
            let number = made.fetch_add(1, Ordering::Relaxed);
            let path = directory.path().join(format!("{number}.journal"));
            let inner = unwrap(SqliteJournal::open(path));
            unwrap(SealedJournal::new(Arc::new(inner), Keys::new(&[1])))
        };
        unwrap(check(make).await);
    }

    /// Every byte of every file beside the journal: its write-ahead log too.
    fn bytes_of(directory: &Path) -> Vec<u8> {
        let files = std::fs::read_dir(directory).unwrap();
        files
            .flat_map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn the_file_shows_no_byte_of_a_sealed_body_also_after_a_restart() {
        for sealing in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("a.journal");
            let open = || -> Arc<dyn Journal> {
                let inner = Arc::new(unwrap(SqliteJournal::open(&path)));
                if !sealing {
                    return inner;
                }
                Arc::new(unwrap(SealedJournal::new(inner, Keys::new(&[1]))))
            };
            let journal = open();
            let mut on_record = settled(&*journal, 1, "key").await;
            for open_again in [false, true] {
                // Looked at while it is in use, and once more after it was closed.
                let bytes = bytes_of(directory.path());
                for text in [ASKED, ANSWERED, "Hexenkessel", "DE0212030"] {
                    assert_eq!(
                        contains(&bytes, text),
                        !sealing,
                        "{text}, again: {open_again}"
                    );
                }
                assert!(contains(&bytes, "https://upstream.example/bill"));
                if open_again {
                    break;
                }
                on_record.progress.version += 1;
                on_record.progress.acknowledged = true;
                unwrap(journal.step(&on_record).await);
            }
            drop(journal);
            assert_eq!(unwrap(found(&*open(), 1).await), on_record);
        }
    }
}

#[tokio::test]
async fn bodies_come_back_byte_for_byte_on_every_way() {
    let memory = MemoryJournal::new();
    let journal = over(&memory, &[1]);
    let on_record = settled(&journal, 1, "key").await;
    let raw = unwrap(found(&memory, 1).await);
    assert_ne!(raw.asked.request.body, on_record.asked.request.body);
    assert_ne!(raw.answer, on_record.answer);

    assert_eq!(unwrap(found(&journal, 1).await), on_record);
    assert_eq!(
        unwrap(journal.list(&Filter::default()).await),
        std::slice::from_ref(&on_record)
    );
    let again = unwrap(journal.claim(&secret(2, "key")).await);
    assert_eq!(again, Claim::Existing(Box::new(on_record.clone())));
    match journal.step(&completed(&secret(1, "key"))).await {
        Err(JournalError::Conflict(current)) => assert_eq!(*current, on_record),
        other => panic!("{other:?}"),
    }
    let mut taken = secret(1, "other");
    taken.progress.version = 7;
    match journal.claim(&taken).await {
        Err(JournalError::Conflict(current)) => assert_eq!(*current, on_record),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn equal_bodies_are_not_seen_to_be_equal() {
    let memory = MemoryJournal::new();
    let journal = over(&memory, &[1]);
    settled(&journal, 1, "one").await;
    settled(&journal, 2, "two").await;
    let (one, two) = (
        unwrap(found(&memory, 1).await),
        unwrap(found(&memory, 2).await),
    );
    assert_ne!(one.asked.request.body, two.asked.request.body);
    assert_ne!(one.answer, two.answer);
}

/// What an error says, through all its sources, as people and logs see it.
fn told(error: &JournalError) -> String {
    format!("{error} {error:?}")
}

#[tokio::test]
async fn a_body_that_was_moved_to_another_operation_or_part_does_not_open() {
    for answer_too in [false, true] {
        let memory = MemoryJournal::new();
        settled(&over(&memory, &[1]), 1, "one").await;
        let one = unwrap(found(&memory, 1).await);
        let body = one.asked.request.body.clone();
        // Beneath the seal: another operation with the body of the first, or one whose answer is its own request.
        let mut forged = secret(2, "two");
        let mut asked = (*forged.asked).clone();
        asked.request.body = body.clone();
        forged.asked = Arc::new(asked);
        if answer_too {
            forged = unwrap(found(&memory, 1).await);
            forged.progress.version += 1;
            forged.answer.as_mut().unwrap().body = body;
            unwrap(memory.step(&forged).await);
        } else {
            unwrap(memory.claim(&forged).await);
        }
        let error = found(&over(&memory, &[1]), 1 + u128::from(!answer_too)).await;
        let error = told(&error.unwrap_err());
        assert!(error.contains(&forged.id().to_string()), "{error}");
        assert!(
            error.contains(if answer_too { "answer" } else { "request" }),
            "{error}"
        );
        assert!(error.contains("restore the store"), "{error}");
    }
}

#[tokio::test]
async fn what_was_written_before_sealing_was_on_passes_unless_it_is_refused() {
    let memory = MemoryJournal::new();
    let old = settled(&memory, 1, "old").await;
    let journal = over(&memory, &[1]);
    let new = settled(&journal, 2, "new").await;
    assert_eq!(unwrap(found(&journal, 1).await), old);
    assert_eq!(unwrap(found(&journal, 2).await), new);
    // An old one goes on; its answer is sealed from here on.
    let mut next = old.clone();
    next.progress.version += 1;
    unwrap(journal.step(&next).await);
    assert_eq!(unwrap(found(&journal, 1).await), next);
    assert_ne!(unwrap(found(&memory, 1).await).answer, next.answer);

    let strict = over(&memory, &[1]).with_plain_refused();
    let error = told(&found(&strict, 1).await.unwrap_err());
    assert!(
        error.contains("in plain") && error.contains("with_plain_refused"),
        "{error}"
    );
    assert_eq!(unwrap(found(&strict, 2).await), new);
    assert_eq!(unwrap(strict.list(&Filter::default()).await), [new]);
}

#[tokio::test]
async fn keys_are_changed_by_the_seal_alone() {
    let memory = MemoryJournal::new();
    let old = settled(&over(&memory, &[1]), 1, "old").await;
    let both = over(&memory, &[1, 2]);
    let new = settled(&both, 2, "new").await;
    assert_eq!(
        unwrap(both.list(&Filter::default()).await),
        [old, new.clone()]
    );
    // Without the old key what it sealed does not open, and the rest does.
    let later = over(&memory, &[2]);
    assert_eq!(unwrap(found(&later, 2).await), new);
    let error = told(&found(&later, 1).await.unwrap_err());
    assert!(error.contains("there is no key 1"), "{error}");
}

/// Operations 0..`count`, due in turn; those in `foreign` are sealed with a key that is lost.
async fn mixed(memory: &MemoryJournal, count: u128, foreign: &[u128]) -> Vec<Record> {
    let (ours, lost) = (over(memory, &[1]), over(memory, &[9]));
    let mut readable = Vec::new();
    for id in 0..count {
        let mut claimed = secret(id, &format!("key-{id}"));
        claimed.progress.due = Some(Timestamp::from_millis(u64::try_from(id).unwrap()));
        let journal = if foreign.contains(&id) { &lost } else { &ours };
        unwrap(journal.claim(&claimed).await);
        if !foreign.contains(&id) {
            readable.push(claimed);
        }
    }
    readable
}

#[tokio::test]
async fn a_body_that_does_not_open_hides_no_other_operation_and_nothing_is_lost() {
    let memory = MemoryJournal::new();
    // The first ones too: a page of nothing but these would stop the worker.
    let foreign = [0, 1, 2, 3, 7, 11];
    let readable = mixed(&memory, 12, &foreign).await;
    for limit in [0, 1, 2, 3, 5, 100, usize::MAX] {
        for skip in [0, 1, 2, 5, 6, 7, usize::MAX] {
            let page = Filter {
                due_by: Some(Timestamp::NEVER),
                limit,
                skip,
                ..Filter::default()
            };
            let rest = readable.iter().skip(skip).take(limit);
            let rest: Vec<Record> = rest.cloned().collect();
            // Also by one that does not know yet which ones do not open, where a listing begins at its beginning.
            let journal = over(&memory, &[1]);
            if skip > 0 {
                unwrap(journal.list(&Filter::default()).await);
            }
            assert_eq!(
                unwrap(journal.list(&page).await),
                rest,
                "{limit} after {skip}"
            );
        }
    }
    let journal = over(&memory, &[1]);
    assert!(journal.unopened().is_empty());
    unwrap(journal.list(&Filter::default()).await);
    assert_eq!(journal.unopened(), foreign.map(OperationId::from_bits));
    // Nobody gets their keys.
    let again = journal.claim(&secret(100, "key-0")).await;
    assert!(
        matches!(again, Err(JournalError::Unavailable(_))),
        "{again:?}"
    );
    // With its key everything is as it was.
    let all = unwrap(over(&memory, &[1, 9]).list(&Filter::default()).await);
    assert_eq!(all.len(), 12);
    assert!(all.iter().all(|record| record.asked.request.body == ASKED));
}

/// A cipher whose old key can be taken away and given back.
#[derive(Debug)]
struct Gone(Arc<Keys>, std::sync::atomic::AtomicBool);

impl Seal for Gone {
    fn seal(&self, operation: OperationId, part: Part, plain: &[u8]) -> Result<Vec<u8>, BoxError> {
        if self.1.load(std::sync::atomic::Ordering::SeqCst) {
            return Err("the key store is down".into());
        }
        self.0.seal(operation, part, plain)
    }

    fn open(&self, operation: OperationId, part: Part, sealed: &[u8]) -> Result<Vec<u8>, BoxError> {
        if self.1.load(std::sync::atomic::Ordering::SeqCst) {
            return Err("the key store is down".into());
        }
        self.0.open(operation, part, sealed)
    }
}

#[tokio::test]
async fn what_opens_again_is_not_counted_any_more_and_what_cannot_be_sealed_is_not_put_on_record() {
    let memory = MemoryJournal::new();
    let seal = Arc::new(Gone(Keys::new(&[1]), false.into()));
    let journal = unwrap(SealedJournal::new(Arc::new(memory.clone()), seal.clone()));
    let settled = settled(&journal, 1, "key").await;
    seal.1.store(true, std::sync::atomic::Ordering::SeqCst);
    let error = journal.claim(&secret(2, "two")).await.unwrap_err();
    assert!(told(&error).contains("was not put on record"), "{error}");
    let mut next = settled.clone();
    next.progress.version += 1;
    assert!(matches!(
        journal.step(&next).await,
        Err(JournalError::Unavailable(_))
    ));
    assert_eq!(memory.len(), 1);
    assert!(unwrap(journal.list(&Filter::default()).await).is_empty());
    assert_eq!(journal.unopened(), [settled.id()]);
    seal.1.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(unwrap(journal.list(&Filter::default()).await), [settled]);
    assert!(journal.unopened().is_empty());
}

#[tokio::test]
async fn a_key_that_is_missing_altogether_fails_the_listing_and_names_an_operation() {
    let memory = MemoryJournal::new();
    let lost = over(&memory, &[9]);
    for id in 0..1_100 {
        unwrap(lost.claim(&secret(id, &format!("key-{id}"))).await);
    }
    let journal = over(&memory, &[1]);
    let page = Filter {
        limit: 64,
        ..Filter::default()
    };
    let error = journal.list(&page).await.unwrap_err();
    let first = OperationId::from_bits(0).to_string();
    assert!(told(&error).contains(&first), "{error}");
    assert_eq!(journal.unopened().len(), 1_000);
}

#[tokio::test]
async fn a_journal_beneath_that_changes_what_was_asked_is_told_of_and_sends_no_empty_body() {
    let beneath = Plain::new(Breaks::ChangesTheAsked);
    let journal = unwrap(SealedJournal::new(Arc::new(beneath), Keys::new(&[1])));
    let claimed = secret(1, "key");
    unwrap(journal.claim(&claimed).await);
    unwrap(journal.step(&completed(&claimed)).await);
    let error = told(&found(&journal, 1).await.unwrap_err());
    assert!(error.contains("journal::conformance"), "{error}");
}

#[tokio::test]
async fn neither_errors_nor_debug_show_a_body() {
    let memory = MemoryJournal::new();
    let journal = over(&memory, &[1]);
    let mut shown = String::new();
    let on_record = settled(&journal, 1, "key").await;
    shown += &format!("{journal:?} {on_record:?} {memory:?}");
    shown += &told(
        &journal
            .step(&completed(&secret(1, "key")))
            .await
            .unwrap_err(),
    );
    shown += &told(&found(&over(&memory, &[2]), 1).await.unwrap_err());
    let strict = over(&memory, &[1]).with_plain_refused();
    unwrap(memory.claim(&secret(3, "plain")).await);
    shown += &told(&found(&strict, 3).await.unwrap_err());
    let bytes = format!("{:?}", ASKED.as_bytes());
    for text in ["Hexenkessel", "DE0212030", bytes.trim_matches(['[', ']'])] {
        assert!(!shown.contains(text), "{shown}");
    }
    assert!(shown.contains("SealedJournal") && shown.contains("does not open"));
}

/// A seal that is none, in one way or another.
#[derive(Clone, Copy, Debug)]
enum Naive {
    Identity,
    Unbound,
    BoundToTheOperation,
    BoundToThePart,
    Unauthenticated,
    OpensNothing,
    OpensAnother,
}

impl Naive {
    fn aad(self, operation: OperationId, part: Part) -> (OperationId, Part) {
        let nobody = OperationId::from_bits(0);
        match self {
            Self::Unbound => (nobody, Part::Request),
            Self::BoundToTheOperation => (operation, Part::Request),
            Self::BoundToThePart => (nobody, part),
            _ => (operation, part),
        }
    }
}

impl Seal for Naive {
    fn seal(&self, operation: OperationId, part: Part, plain: &[u8]) -> Result<Vec<u8>, BoxError> {
        let (operation, part) = self.aad(operation, part);
        match self {
            Self::Identity => Ok(plain.to_vec()),
            // Hidden, and bound, but nothing tells whether it was changed.
            Self::Unauthenticated => {
                let hidden = plain.iter().map(|byte| byte ^ 0x55);
                Ok(bound_to(operation, part)
                    .into_iter()
                    .chain(hidden)
                    .collect())
            }
            _ => Keys::new(&[1]).seal(operation, part, plain),
        }
    }

    fn open(&self, operation: OperationId, part: Part, sealed: &[u8]) -> Result<Vec<u8>, BoxError> {
        let (operation, part) = self.aad(operation, part);
        match self {
            Self::Identity => Ok(sealed.to_vec()),
            Self::Unauthenticated => {
                let bound = bound_to(operation, part);
                let hidden = sealed.strip_prefix(&bound[..]).ok_or("not ours")?;
                Ok(hidden.iter().map(|byte| byte ^ 0x55).collect())
            }
            Self::OpensNothing => Err("no".into()),
            Self::OpensAnother => Ok(b"{}".to_vec()),
            _ => Keys::new(&[1]).open(operation, part, sealed),
        }
    }
}

#[test]
fn a_seal_that_hides_binds_or_authenticates_nothing_is_refused() {
    let tried = |seal: Arc<dyn Seal>| {
        let tried = SealedJournal::new(Arc::new(MemoryJournal::new()), seal);
        tried.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(tried(Keys::new(&[1])), Ok(()));
    for (naive, why) in [
        (Naive::Identity, "does not hide"),
        (Naive::Unbound, "another operation or part"),
        (Naive::BoundToTheOperation, "another operation or part"),
        (Naive::BoundToThePart, "another operation or part"),
        (Naive::Unauthenticated, "was changed"),
        (Naive::OpensNothing, "does not open"),
        (Naive::OpensAnother, "another body"),
    ] {
        let error = tried(Arc::new(naive)).unwrap_err();
        assert!(error.contains(why), "{naive:?}: {error}");
    }
    assert!(tried(Keys::new(&[])).unwrap_err().contains("cannot seal"));
}
