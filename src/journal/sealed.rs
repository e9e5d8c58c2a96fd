//! Bodies that are encrypted before they reach a journal: [`SealedJournal`] over any journal, with a [`Seal`] of yours.
//!
//! What is sealed: the body of the request, and the body of the recorded answer. What is not, for a journal searches and
//! sorts by it, and people read it: ids, namespace, tenant, keys, method, URL, recorded headers, times, states and why
//! they changed. The fingerprint is a plain SHA-256 over the request: whoever has the file and can guess a whole body can
//! see that the guess is right.
//!
//! - **Bound.** The seal is told the operation and the [`Part`], and must bind both: a body that is moved to another
//!   record does not open. [`SealedJournal::new`] tries the seal and refuses one that binds nothing.
//! - **Marked.** A sealed body begins with a mark. A body without it was written before sealing was on, and passes as it
//!   is, unless [`SealedJournal::with_plain_refused`] is set: set it once nothing plain is left, for without it whoever
//!   can write to the store can put a plain body in a sealed one's place.
//! - **On every host.** A process without the seal takes the sealed bytes for the body, and would send them. Turn sealing
//!   on everywhere at once, before the first write.
//! - **Replays are byte-identical**, as without it.
//!
//! # Keys
//!
//! Keys are the seal's own. To change them, let [`Seal::seal`] use the newest key and put that key's id in front of its
//! bytes, and let [`Seal::open`] take the key by that id. The body of a request is sealed once, at the claim: keep a key
//! for as long as the journal keeps records from its time.
//!
//! # When a body does not open
//!
//! The key is missing, or the body was changed. Nothing is lost: the record stays as it is, and due, until it opens.
//! Meanwhile whatever names that operation (a `get`, a claim of its key, a step that lost to it) fails with
//! [`JournalError::Unavailable`] around a [`SealError`]: nothing of it is sent, and nothing is told of it. A listing
//! leaves it out, so that the worker goes on with the others; it is told to the log once, and
//! [`SealedJournal::unopened`] names it. More than a thousand in one listing are no single bad record but a missing key:
//! the listing fails with the first one's error.
//!
//! # Example
//!
//! With `chacha20poly1305` (RustCrypto), whose 24-byte nonces may be drawn at random:
//!
//! ```
//! use chacha20poly1305::aead::{Aead, Payload};
//! use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
//! use std::sync::Arc;
//! use tower_sturdy::BoxError;
//! use tower_sturdy::context::OperationId;
//! use tower_sturdy::journal::sealed::{Part, Seal, SealedJournal, bound_to};
//! use tower_sturdy::journal::{Book, MemoryJournal};
//!
//! struct Sealer(XChaCha20Poly1305);
//!
//! impl std::fmt::Debug for Sealer {
//!     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
//!         f.write_str("Sealer") // Never the key.
//!     }
//! }
//!
//! impl Seal for Sealer {
//!     fn seal(&self, operation: OperationId, part: Part, plain: &[u8]) -> Result<Vec<u8>, BoxError> {
//!         let mut nonce = [0; 24];
//!         getrandom::fill(&mut nonce)?;
//!         let aad = bound_to(operation, part);
//!         let plain = Payload { msg: plain, aad: &aad };
//!         let sealed = self.0.encrypt(&XNonce::from(nonce), plain).map_err(|_| "sealing failed")?;
//!         Ok([&nonce[..], &sealed].concat())
//!     }
//!
//!     fn open(&self, operation: OperationId, part: Part, sealed: &[u8]) -> Result<Vec<u8>, BoxError> {
//!         let (nonce, sealed) = sealed.split_first_chunk::<24>().ok_or("too short")?;
//!         let aad = bound_to(operation, part);
//!         let sealed = Payload { msg: sealed, aad: &aad };
//!         let wrong = |_| "the key is another one, or the bytes were changed";
//!         Ok(self.0.decrypt(&XNonce::from(*nonce), sealed).map_err(wrong)?)
//!     }
//! }
//!
//! # fn main() -> Result<(), tower_sturdy::InvalidConfig> {
//! let key = [7; 32]; // From where your secrets are.
//! let seal = Arc::new(Sealer(XChaCha20Poly1305::new(&key.into())));
//! let journal = SealedJournal::new(Arc::new(MemoryJournal::new()), seal)?;
//! let book = Book::open(Arc::new(journal))?;
//! # Ok(())
//! # }
//! ```

use super::record::{Liveness, OwnerId};
use super::{
    BoxFuture, Claim, Durability, Enlisted, Filter, Journal, JournalError, Lookup, Record,
};
use crate::clock::Timestamp;
use crate::context::OperationId;
use crate::error::{BoxError, InvalidConfig};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Which body of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Of the request.
    Request,
    /// Of the recorded answer.
    Answer,
}

impl Part {
    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Answer => "answer",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a body is bound to, as bytes: the associated data of an AEAD. It never changes between versions of this crate.
#[must_use]
pub fn bound_to(operation: OperationId, part: Part) -> Vec<u8> {
    let id = operation.bits().to_be_bytes();
    [&id[..], part.as_str().as_bytes()].concat()
}

/// Encrypts bodies, and authenticates what they belong to. Called inside async code: a millisecond is long.
///
/// Neither its errors nor its `Debug` may show a body or a key: both are logged.
pub trait Seal: Send + Sync + fmt::Debug + 'static {
    /// Seals a body of this operation; what it belongs to goes in as associated data (see [`bound_to`]).
    ///
    /// # Errors
    /// When it cannot: the write is then refused before anything is sent.
    fn seal(&self, operation: OperationId, part: Part, plain: &[u8]) -> Result<Vec<u8>, BoxError>;

    /// Opens what was sealed for this operation and part.
    ///
    /// # Errors
    /// When it was sealed for another one, was changed, or the key is not there.
    fn open(&self, operation: OperationId, part: Part, sealed: &[u8]) -> Result<Vec<u8>, BoxError>;
}

/// What every body begins with that went through here. No text and no JSON begins with a null.
const MARK: &[u8] = b"\0sturdy:";
/// Behind the mark: the seal's bytes follow.
const SEALED: u8 = b's';
/// Behind the mark: nothing follows. In the place of what a step does not change, and must not be stored.
const WITHHELD: &[u8] = b"\0sturdy:w";

/// How many records that do not open one listing leaves out, and how many are remembered.
const UNOPENED_MAX: usize = 1_000;

#[derive(Debug)]
enum Failed {
    Seal(BoxError),
    Open(BoxError),
    /// Its mark is none of ours.
    Newer,
    Withheld,
    Plain,
}

/// A body that could not be sealed or opened.
#[derive(Debug)]
pub struct SealError {
    operation: OperationId,
    part: Part,
    failed: Failed,
}

impl SealError {
    /// The operation.
    #[must_use]
    pub const fn operation(&self) -> OperationId {
        self.operation
    }

    /// Which body of it.
    #[must_use]
    pub const fn part(&self) -> Part {
        self.part
    }
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operation, part, ..
        } = self;
        match &self.failed {
            Failed::Seal(why) => write!(
                f,
                "the body of the {part} of operation {operation} could not be sealed ({why}), so it was not put on record: \
                 see that the seal has its key"
            ),
            Failed::Open(why) => write!(
                f,
                "the body of the {part} of operation {operation} does not open ({why}); it stays on record: give the seal \
                 the key that it was sealed with, or restore the store if it was changed"
            ),
            Failed::Newer => write!(
                f,
                "the body of the {part} of operation {operation} was sealed by a newer version of this crate: upgrade this \
                 process"
            ),
            Failed::Withheld => write!(
                f,
                "the body of the {part} of operation {operation} was overwritten by the journal beneath the seal, which \
                 must not change what was asked: run `journal::conformance` on that journal, and restore the record"
            ),
            Failed::Plain => write!(
                f,
                "the body of the {part} of operation {operation} is on record in plain, which is refused here: it was \
                 written before sealing was on, or put there by somebody else; once you know that it is yours, open this \
                 journal without `with_plain_refused` until the operation is settled"
            ),
        }
    }
}

impl std::error::Error for SealError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.failed {
            Failed::Seal(why) | Failed::Open(why) => Some(&**why),
            Failed::Newer | Failed::Withheld | Failed::Plain => None,
        }
    }
}

impl From<SealError> for JournalError {
    fn from(error: SealError) -> Self {
        Self::unavailable(error)
    }
}

/// See the [module](self). Clones share the journal beneath and what is known not to open.
#[derive(Clone, Debug)]
pub struct SealedJournal {
    inner: Arc<dyn Journal>,
    seal: Arc<dyn Seal>,
    plain_refused: bool,
    unopened: Arc<Mutex<BTreeSet<OperationId>>>,
}

impl SealedJournal {
    /// A journal that seals what it puts into `inner`. Tries the seal first.
    ///
    /// # Errors
    /// When the seal fails, hides nothing, or opens what was changed or belongs to something else.
    pub fn new(inner: Arc<dyn Journal>, seal: Arc<dyn Seal>) -> Result<Self, InvalidConfig> {
        tried(&*seal).map_err(|why| InvalidConfig::new("journal.seal", why))?;
        Ok(Self {
            inner,
            seal,
            plain_refused: false,
            unopened: Arc::default(),
        })
    }

    /// Refuses bodies that are on record in plain, as those that do not open.
    #[must_use]
    pub const fn with_plain_refused(mut self) -> Self {
        self.plain_refused = true;
        self
    }

    /// Operations that were met and did not open, less those that have opened since; a thousand at most. They are not in
    /// listings: watch that this is empty.
    #[must_use]
    pub fn unopened(&self) -> Vec<OperationId> {
        self.lock().iter().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<OperationId>> {
        // One insertion or removal at a time.
        self.unopened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seal(&self, operation: OperationId, part: Part, plain: &Bytes) -> Result<Bytes, SealError> {
        let sealed = self.seal.seal(operation, part, plain);
        let sealed = sealed.map_err(|why| SealError {
            operation,
            part,
            failed: Failed::Seal(why),
        })?;
        Ok([MARK, &[SEALED], &sealed].concat().into())
    }

    fn open(&self, operation: OperationId, part: Part, body: &Bytes) -> Result<Bytes, SealError> {
        let failed = |failed| SealError {
            operation,
            part,
            failed,
        };
        let Some(marked) = body.strip_prefix(MARK) else {
            return if self.plain_refused {
                Err(failed(Failed::Plain))
            } else {
                Ok(body.clone())
            };
        };
        match marked.split_first() {
            Some((&SEALED, sealed)) => match self.seal.open(operation, part, sealed) {
                Ok(plain) => Ok(plain.into()),
                Err(why) => Err(failed(Failed::Open(why))),
            },
            _ if body == WITHHELD => Err(failed(Failed::Withheld)),
            _ => Err(failed(Failed::Newer)),
        }
    }

    fn sealed_answer(&self, record: &mut Record) -> Result<(), SealError> {
        let id = record.id();
        if let Some(answer) = &mut record.answer {
            answer.body = self.seal(id, Part::Answer, &answer.body)?;
        }
        Ok(())
    }

    /// A record as it is claimed beneath.
    fn sealed(&self, record: &Record) -> Result<Record, SealError> {
        let mut sealed = record.clone();
        let body = self.seal(record.id(), Part::Request, &record.asked.request.body)?;
        Arc::make_mut(&mut sealed.asked).request.body = body;
        self.sealed_answer(&mut sealed)?;
        Ok(sealed)
    }

    /// A record as it is stepped beneath. What was asked does not change, so that its body is not sealed again.
    fn stepped(&self, next: &Record) -> Result<Record, SealError> {
        let mut sealed = next.clone();
        Arc::make_mut(&mut sealed.asked).request.body = Bytes::from_static(WITHHELD);
        self.sealed_answer(&mut sealed)?;
        Ok(sealed)
    }

    /// Opens both bodies in place.
    fn open_both(&self, record: &mut Record) -> Result<(), SealError> {
        // Its bodies are gone: nothing is left that was sealed.
        if record.is_tombstone() && record.asked.request.body.is_empty() && record.answer.is_none()
        {
            return Ok(());
        }
        let id = record.id();
        let body = self.open(id, Part::Request, &record.asked.request.body)?;
        Arc::make_mut(&mut record.asked).request.body = body;
        if let Some(answer) = &mut record.answer {
            answer.body = self.open(id, Part::Answer, &answer.body)?;
        }
        Ok(())
    }

    fn opened(&self, record: &mut Record) -> Result<(), SealError> {
        let id = record.id();
        let opened = self.open_both(record);
        let mut unopened = self.lock();
        match &opened {
            Ok(()) => {
                unopened.remove(&id);
            }
            Err(error) => {
                if unopened.len() < UNOPENED_MAX && unopened.insert(id) {
                    drop(unopened);
                    tracing::error!(target: "tower_sturdy", operation = %id, %error, "left out of listings");
                }
            }
        }
        opened
    }

    /// Errors that show a record show it opened.
    fn opened_error(&self, error: JournalError) -> JournalError {
        let (mut record, again): (_, fn(Box<Record>) -> JournalError) = match error {
            JournalError::Conflict(record) => (record, JournalError::Conflict),
            JournalError::Contended(record) => (record, JournalError::Contended),
            JournalError::Missing(_)
            | JournalError::Quarantined(_)
            | JournalError::Unavailable(_) => return error,
        };
        match self.opened(&mut record) {
            Ok(()) => again(record),
            Err(unopened) => unopened.into(),
        }
    }

    fn opened_claim(&self, claim: Claim) -> Result<Claim, SealError> {
        match claim {
            Claim::Existing(mut record) => {
                self.opened(&mut record)?;
                Ok(Claim::Existing(record))
            }
            Claim::Conflict(mut record) => {
                self.opened(&mut record)?;
                Ok(Claim::Conflict(record))
            }
            Claim::Claimed | Claim::Expired => Ok(claim),
        }
    }

    /// The listing beneath, less what does not open. Pages are pages of that, so that they join, and are full where more
    /// follows.
    async fn listed(&self, filter: &Filter) -> Result<Vec<Record>, JournalError> {
        let mut beneath = filter.clone();
        // Where everything opens, places are the same as beneath.
        let all_open = self.lock().is_empty();
        let mut skip = if all_open { 0 } else { filter.skip };
        beneath.skip = if all_open { filter.skip } else { 0 };
        let (mut listed, mut left_out, mut first) = (Vec::new(), 0, None);
        loop {
            let wanted = filter.limit.saturating_sub(listed.len());
            beneath.limit = skip.saturating_add(wanted);
            let page = self.inner.list(&beneath).await;
            let page = page.map_err(|error| self.opened_error(error))?;
            let last = page.len() < beneath.limit;
            beneath.skip = beneath.skip.saturating_add(page.len());
            for mut record in page {
                match self.opened(&mut record) {
                    Ok(()) if skip > 0 => skip -= 1,
                    Ok(()) => listed.push(record),
                    Err(error) => {
                        left_out += 1;
                        first = first.or(Some(error));
                    }
                }
            }
            match first {
                Some(error) if left_out > UNOPENED_MAX => return Err(error.into()),
                _ if last || listed.len() >= filter.limit => return Ok(listed),
                _ => {}
            }
        }
    }
}

impl Journal for SealedJournal {
    fn durability(&self) -> Durability {
        self.inner.durability()
    }

    fn claim<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, Result<Claim, JournalError>> {
        Box::pin(async move {
            let sealed = self.sealed(record)?;
            match self.inner.claim(&sealed).await {
                Ok(claim) => Ok(self.opened_claim(claim)?),
                Err(error) => Err(self.opened_error(error)),
            }
        })
    }

    fn step<'a>(&'a self, next: &'a Record) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            let sealed = self.stepped(next)?;
            let stepped = self.inner.step(&sealed).await;
            stepped.map_err(|error| self.opened_error(error))
        })
    }

    fn get<'a>(&'a self, which: Lookup<'a>) -> BoxFuture<'a, Result<Option<Record>, JournalError>> {
        Box::pin(async move {
            let mut found = self.inner.get(which).await?;
            if let Some(record) = &mut found {
                self.opened(record)?;
            }
            Ok(found)
        })
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> BoxFuture<'a, Result<Vec<Record>, JournalError>> {
        Box::pin(self.listed(filter))
    }

    fn enlist(&self, owner: OwnerId) -> Result<Option<Enlisted>, JournalError> {
        self.inner.enlist(owner)
    }

    fn liveness(&self, owner: OwnerId) -> BoxFuture<'_, Liveness> {
        self.inner.liveness(owner)
    }

    fn high_water(&self) -> Option<Timestamp> {
        self.inner.high_water()
    }
}

/// Tries a seal on bodies of nobody: what is wrong with it.
fn tried(seal: &dyn Seal) -> Result<(), String> {
    const BODY: &[u8] = b"tower-sturdy tries its seal with this body";
    let (one, other) = (OperationId::from_bits(1), OperationId::from_bits(2));
    for (part, wrong_part) in [(Part::Request, Part::Answer), (Part::Answer, Part::Request)] {
        for body in [BODY, b""] {
            let sealed = seal.seal(one, part, body);
            let mut sealed = sealed.map_err(|why| format!("cannot seal: {why}"))?;
            if sealed.windows(BODY.len()).any(|bytes| bytes == BODY) {
                return Err("does not hide the body: encrypt it".to_owned());
            }
            match seal.open(one, part, &sealed) {
                Ok(opened) if opened == body => {}
                Ok(_) => return Err("opens as another body than was sealed".to_owned()),
                Err(why) => return Err(format!("does not open what it sealed: {why}")),
            }
            if seal.open(other, part, &sealed).is_ok()
                || seal.open(one, wrong_part, &sealed).is_ok()
            {
                return Err(
                    "opens a body of another operation or part: give `bound_to` to the cipher as associated data"
                        .to_owned(),
                );
            }
            if let Some(last) = sealed.last_mut() {
                *last ^= 1;
            }
            if seal.open(one, part, &sealed).is_ok() {
                return Err(
                    "opens a body that was changed: use a cipher that authenticates (an AEAD)"
                        .to_owned(),
                );
            }
        }
    }
    Ok(())
}
