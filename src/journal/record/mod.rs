//! One operation on record: what was asked, what was tried, what is known. Pure: no clock, no I/O.

mod gap;
mod people;

pub use people::{CannotResolve, Proven, Resolved, WHO_MAX, WHY_MAX, signed};

use super::moment::Moment;
use crate::clock::Timestamp;
use crate::context::{Context, OperationId, OperationKey, Priority, Tenant};
use crate::outcome::{Outcome, Verdict};
use crate::payload::Payload;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum State {
    /// Accepted; nothing was sent.
    Claimed,
    /// A byte may have left.
    Sending,
    /// In doubt; being settled.
    Unknown,
    /// Provably no effect, and nobody works on it: the same key may start again.
    Ready,
    /// The effect is proven. Final.
    Completed,
    /// Refused without effect. Final.
    Rejected,
    /// Could not be settled; a person decides. Look-ups go on and may still complete it.
    Parked,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Claimed,
        Self::Sending,
        Self::Unknown,
        Self::Ready,
        Self::Completed,
        Self::Rejected,
        Self::Parked,
    ];

    /// Whether it never changes again.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Rejected)
    }

    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Sending => "sending",
            Self::Unknown => "unknown",
            Self::Ready => "ready",
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::Parked => "parked",
        }
    }

    /// Reads the word that [`State::as_str`] wrote.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// The steps that exist. A final state has none.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Claimed => matches!(next, Self::Sending | Self::Ready | Self::Unknown),
            Self::Sending => !matches!(next, Self::Claimed | Self::Sending | Self::Parked),
            Self::Unknown => !matches!(next, Self::Claimed | Self::Unknown | Self::Ready),
            // Only a person rejects what nobody works on.
            Self::Ready => matches!(
                next,
                Self::Claimed | Self::Sending | Self::Parked | Self::Rejected
            ),
            Self::Parked => matches!(next, Self::Completed | Self::Rejected | Self::Unknown),
            Self::Completed | Self::Rejected => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the upstream offers against doing one write twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Capability {
    /// It honours a key of ours: a resend under the same key does not repeat the effect.
    Keyed {
        /// For how long after the first possible byte. Refused attempts do not count: shorter by what they may take, for
        /// an upstream that keeps a key from a request on that it throttled.
        horizon: Duration,
        /// Whether that holds while an earlier send may still be running.
        concurrent: Concurrent,
    },
    /// It does not, but a write can be found again by a mark planted in it.
    Lookup,
    /// Neither: the write leaves at most once, so that any refusal of it is final.
    None,
}

/// What is known of two requests under one key at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Concurrent {
    /// The upstream runs one of them.
    Proven,
    /// Not known (QBO): no attempt starts until every earlier one is closed.
    Unproven,
}

/// Which process works on an operation: random per start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OwnerId(pub u64);

/// Whether the process that owns an operation still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Liveness {
    /// It does, and may be slow.
    Alive,
    /// It does not: nothing of it runs any more.
    Dead,
    /// The journal cannot tell: its lease decides.
    Unknown,
}

/// Versioned SHA-256 of what was asked; see `idempotency::fingerprint`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// The version of the scheme.
    pub version: u8,
    /// The digest.
    pub digest: [u8; 32],
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Fingerprint(v{}, {:02x?}..)",
            self.version,
            &self.digest[..4]
        )
    }
}

/// The request as it is sent, upstream key and mark included. Headers by allow-list: no credentials.
///
/// `Debug` shows neither body nor query nor header values: what is recorded is business data.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredRequest {
    /// The method.
    pub method: http::Method,
    /// The whole URL.
    pub uri: http::Uri,
    /// Allowed headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// An answer as it is replayed: byte-identical body, allow-listed headers.
///
/// `Debug` shows neither body nor header values.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The status code.
    pub status: u16,
    /// Allowed headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl fmt::Debug for StoredRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "StoredRequest({} {}, {} headers, {} bytes)",
            self.method,
            self.uri.path(),
            self.headers.len(),
            self.body.len()
        )
    }
}

impl fmt::Debug for StoredAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "StoredAnswer({}, {} headers, {} bytes)",
            self.status,
            self.headers.len(),
            self.body.len()
        )
    }
}

/// What never changes after the claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The operation's id.
    pub id: OperationId,
    /// Environment and application: keys of one never meet keys of another.
    pub namespace: Arc<str>,
    /// The tenant.
    pub tenant: Tenant,
    /// The caller's key.
    pub key: OperationKey,
    /// What the operation is about (a bill's id): one unresolved operation each.
    pub conflict: Option<String>,
    /// What was asked.
    pub fingerprint: Fingerprint,
    /// What the upstream offers for this write.
    pub capability: Capability,
    /// The key the upstream sees. The recorded one is used, never recomputed.
    pub upstream_key: String,
    /// The request as it is sent.
    pub request: StoredRequest,
    /// When it was accepted.
    pub at: Timestamp,
    /// When the caller made the key, if it says so. A journal that has forgotten old keys takes only keys that were made
    /// after what it forgot.
    pub issued: Option<Timestamp>,
}

/// One send to the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// Who sent.
    pub owner: OwnerId,
    /// Not later than its first byte.
    pub started: Timestamp,
    /// How it ended, once it did.
    pub ended: Option<Ended>,
    /// When nothing of it can land any more, if it never closes before.
    pub settles: Timestamp,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// What is known of it.
    #[cfg_attr(feature = "serde", serde(with = "outcome_word"))]
    pub outcome: Outcome,
    /// Whether it is over for the upstream too.
    pub closed: bool,
}

impl Attempt {
    /// Whether its effect may still land.
    #[must_use]
    pub fn is_open(&self, now: Moment) -> bool {
        !self.ended.is_some_and(|ended| ended.closed) && now.at < self.settled_by(now)
    }

    /// When nothing of it can land any more, if it never closes.
    fn settled_by(&self, now: Moment) -> Timestamp {
        self.settles.max(now.settles_from)
    }

    /// What is known of it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.ended.map_or(Outcome::Unknown, |ended| ended.outcome)
    }
}

/// One step of the state machine, for the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Transition {
    /// When.
    pub at: Timestamp,
    /// From which state.
    pub from: State,
    /// To which state.
    pub to: State,
    /// Why.
    pub why: Cow<'static, str>,
    /// By whom: a process or a person.
    pub by: Cow<'static, str>,
}

/// What changes: replaced as a whole by each compare-and-swap.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Progress {
    /// The state.
    pub state: State,
    /// Counts the steps; what compare-and-swap compares.
    pub version: u64,
    /// Who works on it.
    pub owner: OwnerId,
    /// Until when the owner may start sends.
    pub lease_until: Timestamp,
    /// Every send that is on record.
    pub attempts: Vec<Attempt>,
    /// Every step.
    pub history: Vec<Transition>,
    /// When the worker should look at it; `None` when there is nothing to do.
    pub due: Option<Timestamp>,
    /// How often the worker looked since the last step.
    pub checks: u32,
    /// Whether the hook for settled operations said done.
    pub acknowledged: bool,
    /// The upstream proved otherwise than what the record says.
    pub contradicted: bool,
    /// What it held is gone: it is the tombstone of an operation that ended then.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub purged: Option<Timestamp>,
    /// A person said how it ended.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub resolved: Option<Resolved>,
}

/// An operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What was asked; shared, never changed.
    pub asked: Arc<Asked>,
    /// What was done.
    pub progress: Progress,
    /// The recorded answer of a settled operation.
    pub answer: Option<StoredAnswer>,
}

/// Most operations take one attempt and one step.
fn room_for_one<T>(list: &mut Vec<T>) {
    if list.is_empty() {
        list.reserve_exact(1);
    }
}

/// A step that the state machine does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IllegalStep {
    /// From.
    pub from: State,
    /// To.
    pub to: State,
}

impl fmt::Display for IllegalStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an operation that is {} cannot become {}",
            self.from, self.to
        )
    }
}

impl std::error::Error for IllegalStep {}

impl Record {
    /// A fresh claim. A `Keyed` write is on record as `Sending` at once: one durable commit before its first byte.
    #[must_use]
    pub fn claim(asked: Asked, owner: OwnerId, lease_until: Timestamp) -> Self {
        let state = match asked.capability {
            Capability::Keyed { .. } => State::Sending,
            Capability::Lookup | Capability::None => State::Claimed,
        };
        Self {
            progress: Progress {
                state,
                version: 1,
                owner,
                lease_until,
                attempts: Vec::new(),
                history: Vec::new(),
                due: Some(lease_until),
                checks: 0,
                acknowledged: false,
                contradicted: false,
                purged: None,
                resolved: None,
            },
            asked: Arc::new(asked),
            answer: None,
        }
    }

    /// The operation's id.
    #[must_use]
    pub fn id(&self) -> OperationId {
        self.asked.id
    }

    /// The recorded request as an attempt of this operation, on top of `headers` that are not recorded (credentials).
    /// It has no deadline: what was claimed is brought to an end.
    #[must_use]
    pub fn request(&self, mut headers: HeaderMap, priority: Priority) -> Request<Payload> {
        let mut last = None;
        for (name, value) in &self.asked.request.headers {
            if let (Ok(name), Ok(value)) =
                (name.parse::<HeaderName>(), value.parse::<HeaderValue>())
            {
                // The values of one name stand together.
                if last.as_ref() == Some(&name) {
                    headers.append(name, value);
                } else {
                    headers.insert(name.clone(), value);
                    last = Some(name);
                }
            }
        }
        self.request_with(headers, priority)
    }

    /// The same with exactly these headers.
    pub(crate) fn request_with(&self, headers: HeaderMap, priority: Priority) -> Request<Payload> {
        let stored = &self.asked.request;
        let payload = Payload::new(stored.body.clone()).with_operation(self.id());
        let mut request = Request::new(payload);
        request.method_mut().clone_from(&stored.method);
        request.uri_mut().clone_from(&stored.uri);
        *request.headers_mut() = headers;
        let marker = Context::new()
            .with_priority(priority)
            .with_tenant(self.asked.tenant.clone());
        request
            .extensions_mut()
            .insert(marker.with_key(self.asked.key.clone()));
        request
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.progress.state
    }

    /// Whether it keeps other operations about the same thing ([`Asked::conflict`]) from beginning: it is not settled, and
    /// not one that nothing happened to and nobody works on.
    #[must_use]
    pub fn holds_conflict(&self) -> bool {
        let idle = self.state() == State::Ready && self.progress.due.is_none();
        !self.state().is_final() && !idle
    }

    /// When it became final; `None` while it is not.
    #[must_use]
    pub fn ended(&self) -> Option<Timestamp> {
        if !self.state().is_final() {
            return None;
        }
        let last = self.progress.history.last().map(|step| step.at);
        Some(self.progress.purged.or(last).unwrap_or(self.asked.at))
    }

    /// Whether it is a tombstone: it knows its key and how it ended, and neither what was asked nor what was answered.
    #[must_use]
    pub const fn is_tombstone(&self) -> bool {
        self.progress.purged.is_some()
    }

    /// The latest time that something on it happened at.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        let steps = self.progress.history.iter().map(|step| step.at);
        let sends = self.progress.attempts.iter().map(|attempt| {
            attempt
                .ended
                .map_or(attempt.started, |ended| ended.at.max(attempt.started))
        });
        steps.chain(sends).fold(self.asked.at, Timestamp::max)
    }

    /// What is known over all attempts on record: the join, never the last.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.progress
            .attempts
            .iter()
            .fold(Outcome::Unsent, |known, attempt| {
                known.join(attempt.outcome())
            })
    }

    /// Whether it was refused without effect and will not leave again: a business refusal is final, and of a write that
    /// leaves at most once any refusal is.
    fn is_refused_for_good(&self) -> bool {
        match self.outcome() {
            Outcome::Rejected => true,
            Outcome::NoEffect => self.asked.capability == Capability::None,
            Outcome::Unsent | Outcome::Unknown | Outcome::Applied => false,
        }
    }

    /// When nothing that was sent can land any more; `None` if nothing is open at `now`.
    #[must_use]
    pub fn open_until(&self, now: Moment) -> Option<Timestamp> {
        self.progress
            .attempts
            .iter()
            .filter(|attempt| attempt.is_open(now))
            .map(|attempt| attempt.settled_by(now))
            .max()
    }

    /// When the first send that may have had an effect can have started; `None` while nothing that was sent can have.
    #[must_use]
    pub fn first_doubt(&self) -> Option<Timestamp> {
        self.progress
            .attempts
            .iter()
            .filter(|attempt| !attempt.outcome().is_without_effect())
            .map(|attempt| attempt.started)
            .min()
    }

    /// Until when a resend under the same key must be over, upstream too: `None` while nothing that was sent can have had
    /// an effect. What happened at a time of unknown age is over already.
    #[must_use]
    pub fn resend_until(&self, horizon: Duration, now: Moment) -> Option<Timestamp> {
        self.first_doubt().map(|first| {
            if first < now.ages_from {
                Timestamp::from_millis(0)
            } else {
                first.plus(horizon)
            }
        })
    }

    /// The earliest that a send which is not on record can have left: when the operation last became `Sending`.
    fn sending_since(&self) -> Timestamp {
        self.progress
            .history
            .iter()
            .rev()
            .find(|step| step.to == State::Sending)
            .map_or(self.asked.at, |step| step.at)
    }

    /// The number of the next attempt.
    fn next_number(&self) -> u32 {
        let numbers = self.progress.attempts.iter().map(|attempt| attempt.number);
        numbers.max().map_or(1, |last| last.saturating_add(1))
    }

    /// Moves to `next` and writes the step into the audit trail.
    ///
    /// # Errors
    /// When the state machine has no such step; nothing is changed then.
    pub fn step(
        &mut self,
        next: State,
        at: Timestamp,
        why: impl Into<Cow<'static, str>>,
        by: impl Into<Cow<'static, str>>,
    ) -> Result<(), IllegalStep> {
        let from = self.progress.state;
        if !from.may_become(next) {
            return Err(IllegalStep { from, to: next });
        }
        room_for_one(&mut self.progress.history);
        self.progress.history.push(Transition {
            at,
            from,
            to: next,
            why: why.into(),
            by: by.into(),
        });
        self.progress.state = next;
        self.progress.checks = 0;
        Ok(())
    }

    /// Puts a send on record before it leaves. `settles` is when nothing of it can land any more if no end is ever seen.
    ///
    /// # Errors
    /// When the operation is in a state from which nothing is sent.
    pub fn begin_attempt(
        &mut self,
        owner: OwnerId,
        at: Timestamp,
        settles: Timestamp,
    ) -> Result<u32, IllegalStep> {
        if self.progress.state != State::Sending {
            self.step(State::Sending, at, "an attempt begins", "gate")?;
        }
        let number = self.next_number();
        room_for_one(&mut self.progress.attempts);
        self.progress.attempts.push(Attempt {
            number,
            owner,
            started: at,
            ended: None,
            settles,
        });
        Ok(number)
    }

    /// Adds the end of an attempt, whoever owns the record. Proof completes at once and a refusal that stands alone and
    /// is final rejects at once; doubt and "nothing happened" are left to whoever works on the operation.
    ///
    /// Returns whether what is proven now contradicts a final state that says otherwise.
    pub fn end_attempt(
        &mut self,
        owner: OwnerId,
        number: u32,
        at: Timestamp,
        verdict: Verdict,
        settle_window: Duration,
        answer: Option<StoredAnswer>,
    ) -> bool {
        if let Some(attempt) = self.progress.attempts.iter_mut().find(|attempt| {
            attempt.owner == owner && attempt.number == number && attempt.ended.is_none()
        }) {
            attempt.ended = Some(Ended {
                at,
                outcome: verdict.outcome,
                closed: verdict.closed,
            });
            attempt.settles = if verdict.closed {
                at
            } else {
                at.plus(settle_window)
            };
        }
        match self.outcome() {
            Outcome::Applied if self.progress.state != State::Completed => {
                if self
                    .step(State::Completed, at, "the answer proves it", "gate")
                    .is_err()
                {
                    self.progress.contradicted = true;
                    self.hear(at, None);
                    return true;
                }
                self.answer = answer;
                self.progress.due = Some(at);
            }
            _ if self.is_refused_for_good()
                && matches!(self.progress.state, State::Sending | State::Unknown)
                && self
                    .step(State::Rejected, at, "the upstream refused it", "gate")
                    .is_ok() =>
            {
                self.answer = answer;
                self.progress.due = Some(at);
            }
            _ => return self.hear(at, answer),
        }
        false
    }

    /// Adds what a process saw of its own attempts to the record as it is now, whoever owns it. Returns whether
    /// anything was new.
    pub fn absorb(&mut self, seen: &Self, at: Timestamp) -> bool {
        let mut changed = false;
        for attempt in &seen.progress.attempts {
            let known = self
                .progress
                .attempts
                .iter_mut()
                .find(|known| known.owner == attempt.owner && known.number == attempt.number);
            match known {
                Some(known) if known.ended.is_some() || attempt.ended.is_none() => continue,
                Some(known) => known.clone_from(attempt),
                None => self.progress.attempts.push(attempt.clone()),
            }
            changed = true;
        }
        if !changed {
            return false;
        }
        let why = match (self.outcome(), self.state()) {
            (Outcome::Applied, state) if state != State::Completed => "a late answer proves it",
            (_, State::Sending | State::Unknown | State::Parked) if self.is_refused_for_good() => {
                "a late answer refuses it"
            }
            _ => {
                self.hear(at, seen.answer.clone());
                return true;
            }
        };
        let proven = self.outcome() == Outcome::Applied;
        let next = if proven {
            State::Completed
        } else {
            State::Rejected
        };
        if self.step(next, at, why, "gate").is_ok() {
            self.answer.clone_from(&seen.answer);
            self.progress.due = Some(at);
        } else {
            self.progress.contradicted |= proven;
            self.hear(at, None);
        }
        true
    }

    /// Ends the work of this process on the operation: what is not final becomes `Unknown` (in doubt), or `Ready`
    /// (provably nothing happened). `due` is when the worker goes on with it: with doubt at once if it is `None`, with a
    /// `Ready` one only if anyone was told to wait.
    pub fn release(&mut self, at: Timestamp, due: Option<Timestamp>) {
        if !matches!(self.progress.state, State::Claimed | State::Sending) {
            return;
        }
        let (next, why, due) = match self.outcome() {
            Outcome::Unsent | Outcome::NoEffect => (State::Ready, "nothing happened", due),
            _ => (State::Unknown, "no proof either way", due.or(Some(at))),
        };
        // Both steps exist from `Claimed` and from `Sending`.
        if self.step(next, at, why, "owner").is_ok() {
            self.progress.due = due;
            self.progress.lease_until = at;
        }
    }

    /// Takes the operation over from an owner that is dead, or whose lease is over where nobody can tell. A `Keyed` write
    /// may have left without an attempt on record, so doubt is recorded in its place, open until whatever was sent has
    /// settled.
    ///
    /// Returns whether anything changed.
    pub fn take_over(&mut self, now: Moment, owner: Liveness, settle_window: Duration) -> bool {
        let at = now.at;
        let progress = &mut self.progress;
        if !matches!(progress.state, State::Claimed | State::Sending) {
            return false;
        }
        let sent_by = match owner {
            Liveness::Alive => return false,
            // It sends nothing from now on, and sent nothing after its lease.
            Liveness::Dead => progress.lease_until.min(at),
            Liveness::Unknown if at < progress.lease_until.max(now.leases_from) => return false,
            Liveness::Unknown => progress.lease_until,
        };
        if progress.state == State::Claimed {
            // The step to `Sending` is its own durable commit: what is still claimed never left.
            return self
                .step(State::Ready, at, "its owner died before sending", "worker")
                .is_ok()
                && {
                    self.progress.due = Some(at);
                    true
                };
        }
        let settles = sent_by.plus(settle_window);
        let keyed = matches!(self.asked.capability, Capability::Keyed { .. });
        if keyed || progress.attempts.is_empty() {
            let number = progress
                .attempts
                .iter()
                .map(|attempt| attempt.number)
                .max()
                .map_or(1, |last| last.saturating_add(1));
            let (owner, started) = (progress.owner, self.sending_since());
            self.progress.attempts.push(Attempt {
                number,
                owner,
                started,
                ended: None,
                settles,
            });
        }
        if self.outcome() < Outcome::Unknown {
            return self
                .step(
                    State::Ready,
                    at,
                    "its owner died; nothing happened",
                    "worker",
                )
                .is_ok()
                && {
                    self.progress.due = Some(at);
                    true
                };
        }
        let moved = self
            .step(State::Unknown, at, "its owner died while sending", "worker")
            .is_ok();
        self.progress.due = Some(at);
        moved
    }
}

#[cfg(feature = "serde")]
mod outcome_word {
    use crate::outcome::Outcome;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(outcome: &Outcome, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(outcome.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Outcome, D::Error> {
        let word = String::deserialize(from)?;
        Outcome::parse(&word).ok_or_else(|| D::Error::custom(format!("unknown outcome {word:?}")))
    }
}

#[cfg(test)]
pub(crate) mod tests;
