//! The one error of the crate: flat, cloneable, and honest about money.
//!
//! Every variant says what to do next. After a write was accepted, an error never hides whether money may have moved:
//! a caller gets a settled answer, or [`Error::Pending`], [`Error::OutcomeUnknown`], [`Error::Parked`] or
//! [`Error::Contradicted`].

use crate::context::{InvalidWord, OperationId};
use crate::outcome::{Advice, Outcome, Verdict};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A boxed error of any kind: what inner services may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Everything a layer of this crate can answer instead of a response. Cheap to clone: joined callers share it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// Not admitted: the line is full, or no slot would be free in time. Nothing was sent by this call.
    RateLimited(RateLimited),
    /// A write without an operation key. Nothing was sent.
    KeyRequired,
    /// The key was used before, for another request. Nothing was sent.
    KeyReused(Operation),
    /// The key is older than what the journal still remembers. Nothing was sent.
    KeyExpired,
    /// Another process works on this operation right now.
    InFlight(InFlight),
    /// Accepted and still settling: ask for the result later, under the same key.
    Pending(Operation),
    /// It is not known whether the effect happened; it is being settled. Do not use a new key.
    OutcomeUnknown(Operation),
    /// It could not be settled without a person. Do not use a new key.
    Parked(Operation),
    /// The record says how it ended, and the upstream proves otherwise: a person decides. Do not use a new key.
    Contradicted(Operation),
    /// The same write without a key was made a short while ago, as this operation. Nothing was sent now.
    PossibleDuplicate(Operation),
    /// The journal did not take the operation. Nothing was sent by this call; an earlier one under its key may have been.
    JournalUnavailable(JournalUnavailable),
    /// The deadline passed before anything was sent by this call.
    Deadline,
    /// A body over the limit.
    TooLarge(TooLarge),
    /// The request contradicts itself or a rule; nothing was sent.
    Invalid(Invalid),
    /// The transport failed; [`Upstream::verdict`] says what that means.
    Upstream(Upstream),
}

/// What kind of thing happened, for matching without payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// See [`Error::RateLimited`].
    RateLimited,
    /// See [`Error::KeyRequired`].
    KeyRequired,
    /// See [`Error::KeyReused`].
    KeyReused,
    /// See [`Error::KeyExpired`].
    KeyExpired,
    /// See [`Error::InFlight`].
    InFlight,
    /// See [`Error::Pending`].
    Pending,
    /// See [`Error::OutcomeUnknown`].
    OutcomeUnknown,
    /// See [`Error::Parked`].
    Parked,
    /// See [`Error::Contradicted`].
    Contradicted,
    /// See [`Error::PossibleDuplicate`].
    PossibleDuplicate,
    /// See [`Error::JournalUnavailable`].
    JournalUnavailable,
    /// See [`Error::Deadline`].
    Deadline,
    /// See [`Error::TooLarge`].
    TooLarge,
    /// See [`Error::Invalid`].
    Invalid,
    /// See [`Error::Upstream`].
    Upstream,
}

/// Refused by admission.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimited {
    /// The soonest that trying again can help; a second where nobody can know.
    pub retry_after: Duration,
    /// What the call would have waited for longest.
    pub held_by: HeldBy,
}

/// What kept a call from being admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeldBy {
    /// One of our own quotas had no room for it.
    Quota(Arc<ShortQuota>),
    /// As many already waited in its line as may.
    FullLine,
    /// The upstream asked for a pause, or said that nothing is left.
    Upstream,
    /// Scheduled work is spread over time.
    Pace,
    /// Something else: others that go first, or a limit of another layer.
    #[default]
    Other,
}

/// The quota that was free last of all that a refused call needed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShortQuota {
    /// Its name in the settings.
    pub name: Arc<str>,
    /// How many slots it has.
    pub limit: u32,
    /// Its window; zero for a limit on requests at once.
    pub per: Duration,
    /// How many slots were left for this call: fewer than it takes.
    pub left: u32,
    /// Whether it counts what calls cost, not how many they are.
    pub weighed: bool,
}

impl ShortQuota {
    /// A quota of this name, with `limit` slots in each window of `per` (zero: at once), none of them left.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, limit: u32, per: Duration) -> Self {
        Self {
            name: name.into(),
            limit,
            per,
            left: 0,
            weighed: false,
        }
    }
}

/// An operation that answers this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// Its id.
    pub operation: OperationId,
}

/// Somebody else is at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InFlight {
    /// The operation.
    pub operation: OperationId,
    /// When asking again is worth it.
    pub retry_after: Duration,
}

/// The journal failed before the claim was durable.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JournalUnavailable {
    /// Why.
    pub source: Arc<dyn std::error::Error + Send + Sync>,
}

/// Which body was over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooLarge {
    /// The request's body, or the answer's.
    pub side: Side,
    /// The limit in bytes.
    pub limit: usize,
}

/// One of the two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// From the caller to the upstream. Nothing was sent.
    Request,
    /// From the upstream to the caller. The effect of a write is then unknown.
    Answer,
}

/// A request that cannot be taken as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invalid {
    /// What is wrong and what to do about it.
    pub why: Arc<str>,
}

/// A failure of the transport, judged.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Upstream {
    /// What the transport said.
    pub source: Arc<dyn std::error::Error + Send + Sync>,
    /// What it means: whether anything can have happened, and whether the attempt is over.
    pub verdict: Verdict,
}

/// The per-attempt timeout ran out. The upstream may still be at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut {
    /// The timeout.
    pub after: Duration,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no whole answer within {:?}", self.after)
    }
}

impl std::error::Error for TimedOut {}

/// A transport's affirmation that nothing was dispatched; wraps the reason.
#[derive(Debug)]
pub struct NotSent(pub BoxError);

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was not sent")
    }
}

impl std::error::Error for NotSent {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

impl Error {
    /// Refused by admission; try again after `retry_after`.
    #[must_use]
    pub const fn rate_limited(retry_after: Duration) -> Self {
        Self::RateLimited(RateLimited {
            retry_after,
            held_by: HeldBy::Other,
        })
    }

    /// Refused by admission for this reason; try again after `retry_after`.
    #[must_use]
    pub const fn held_up(retry_after: Duration, held_by: HeldBy) -> Self {
        Self::RateLimited(RateLimited {
            retry_after,
            held_by,
        })
    }

    /// Accepted and still settling.
    #[must_use]
    pub const fn pending(operation: OperationId) -> Self {
        Self::Pending(Operation { operation })
    }

    /// In doubt, being settled.
    #[must_use]
    pub const fn outcome_unknown(operation: OperationId) -> Self {
        Self::OutcomeUnknown(Operation { operation })
    }

    /// Waits for a person.
    #[must_use]
    pub const fn parked(operation: OperationId) -> Self {
        Self::Parked(Operation { operation })
    }

    /// The record and the upstream say different things.
    #[must_use]
    pub const fn contradicted(operation: OperationId) -> Self {
        Self::Contradicted(Operation { operation })
    }

    /// The same write was made a short while ago.
    #[must_use]
    pub const fn possible_duplicate(operation: OperationId) -> Self {
        Self::PossibleDuplicate(Operation { operation })
    }

    /// The key belongs to another request.
    #[must_use]
    pub const fn key_reused(operation: OperationId) -> Self {
        Self::KeyReused(Operation { operation })
    }

    /// Another process works on it.
    #[must_use]
    pub const fn in_flight(operation: OperationId, retry_after: Duration) -> Self {
        Self::InFlight(InFlight {
            operation,
            retry_after,
        })
    }

    /// The journal failed before the claim.
    #[must_use]
    pub fn journal_unavailable(source: impl Into<BoxError>) -> Self {
        Self::JournalUnavailable(JournalUnavailable {
            source: Arc::from(source.into()),
        })
    }

    /// A body over the limit.
    #[must_use]
    pub const fn too_large(side: Side, limit: usize) -> Self {
        Self::TooLarge(TooLarge { side, limit })
    }

    /// A request that cannot be taken; `why` says what is wrong and what to do.
    #[must_use]
    pub fn invalid(why: impl Into<String>) -> Self {
        Self::Invalid(Invalid {
            why: Arc::from(why.into()),
        })
    }

    /// A judged transport failure. An error that is already ours is not wrapped again.
    #[must_use]
    pub fn upstream(source: impl Into<BoxError>, verdict: Verdict) -> Self {
        match source.into().downcast::<Self>() {
            Ok(ours) => *ours,
            Err(source) => Self::Upstream(Upstream {
                source: Arc::from(source),
                verdict,
            }),
        }
    }

    /// Takes the error of an inner service: ours stays what it is, another's is an unjudged transport failure.
    #[must_use]
    pub fn from_inner(source: impl Into<BoxError>) -> Self {
        Self::upstream(source, Verdict::OPEN)
    }

    /// What kind of thing happened.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::RateLimited(_) => Kind::RateLimited,
            Self::KeyRequired => Kind::KeyRequired,
            Self::KeyReused(_) => Kind::KeyReused,
            Self::KeyExpired => Kind::KeyExpired,
            Self::InFlight(_) => Kind::InFlight,
            Self::Pending(_) => Kind::Pending,
            Self::OutcomeUnknown(_) => Kind::OutcomeUnknown,
            Self::Parked(_) => Kind::Parked,
            Self::Contradicted(_) => Kind::Contradicted,
            Self::PossibleDuplicate(_) => Kind::PossibleDuplicate,
            Self::JournalUnavailable(_) => Kind::JournalUnavailable,
            Self::Deadline => Kind::Deadline,
            Self::TooLarge(_) => Kind::TooLarge,
            Self::Invalid(_) => Kind::Invalid,
            Self::Upstream(_) => Kind::Upstream,
        }
    }

    /// When trying the same request again can help, if that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(limited) => Some(limited.retry_after),
            Self::InFlight(flight) => Some(flight.retry_after),
            Self::Upstream(upstream) => upstream.verdict.advice.retry_after(),
            _ => None,
        }
    }

    /// What is known of the effect of the request that got this error.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.verdict().outcome
    }

    /// The error as a judgement of the attempt that got it.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::RateLimited(limited) => Verdict::closed(
                Outcome::Unsent,
                Advice::Retry {
                    after: Some(limited.retry_after),
                },
            ),
            Self::KeyRequired
            | Self::KeyReused(_)
            | Self::KeyExpired
            | Self::PossibleDuplicate(_)
            | Self::Deadline
            | Self::Invalid(_)
            | Self::TooLarge(TooLarge {
                side: Side::Request,
                ..
            }) => Verdict::closed(Outcome::Unsent, Advice::Stop),
            Self::JournalUnavailable(_) => Verdict::UNSENT,
            Self::InFlight(_)
            | Self::Pending(_)
            | Self::OutcomeUnknown(_)
            | Self::Parked(_)
            | Self::Contradicted(_) => Verdict {
                advice: Advice::Stop,
                ..Verdict::OPEN
            },
            // The rest of the answer was not read, so the attempt may still be running.
            Self::TooLarge(TooLarge {
                side: Side::Answer, ..
            }) => Verdict {
                advice: Advice::Stop,
                ..Verdict::OPEN
            },
            Self::Upstream(upstream) => upstream.verdict,
        }
    }

    /// The operation to ask about, where there is one.
    #[must_use]
    pub const fn operation(&self) -> Option<OperationId> {
        match self {
            Self::KeyReused(of)
            | Self::Pending(of)
            | Self::OutcomeUnknown(of)
            | Self::Parked(of)
            | Self::Contradicted(of)
            | Self::PossibleDuplicate(of) => Some(of.operation),
            Self::InFlight(flight) => Some(flight.operation),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RateLimited(limited) => write!(
                f,
                "not admitted within the allowed wait: {}; nothing was sent by this call; try again in {:?}",
                limited.held_by, limited.retry_after
            ),
            Self::KeyRequired => f.write_str(
                "a write needs an operation key; nothing was sent; set `Idempotency-Key` or `Context::with_key` to a value that is stable for this one write",
            ),
            Self::KeyReused(of) => write!(
                f,
                "this key was used for another request (operation {}); nothing was sent; use a new key for a new write",
                of.operation
            ),
            Self::KeyExpired => f.write_str(
                "this key is older than the journal remembers; nothing was sent; look the write up before using a new key",
            ),
            Self::InFlight(flight) => write!(
                f,
                "operation {} is being worked on elsewhere; ask again in {:?} under the same key",
                flight.operation, flight.retry_after
            ),
            Self::Pending(of) => write!(
                f,
                "operation {} is accepted and still settling; ask again under the same key",
                of.operation
            ),
            Self::OutcomeUnknown(of) => write!(
                f,
                "whether operation {} took effect is not known yet; it is being settled; do not use a new key",
                of.operation
            ),
            Self::Parked(of) => write!(
                f,
                "operation {} could not be settled and waits for a person; do not use a new key",
                of.operation
            ),
            Self::Contradicted(of) => write!(
                f,
                "what is on record of operation {} and what the upstream shows contradict each other; a person must look at it; do not use a new key",
                of.operation
            ),
            Self::PossibleDuplicate(of) => write!(
                f,
                "the same write was made a short while ago without a key (operation {}); nothing was sent; look at that one first, and say `Context::with_duplicate_allowed` if this is meant to be another",
                of.operation
            ),
            Self::JournalUnavailable(journal) => write!(
                f,
                "the journal did not take the operation ({}); nothing was sent by this call; try again under the same key",
                journal.source
            ),
            Self::Deadline => {
                f.write_str("the deadline passed before anything was sent by this call; try again with more time under the same key")
            }
            Self::TooLarge(large) => match large.side {
                Side::Request => write!(
                    f,
                    "the request's body is over the limit of {} bytes; nothing was sent; raise the limit or send it around the stack",
                    large.limit
                ),
                Side::Answer => write!(
                    f,
                    "the answer's body is over the limit of {} bytes; raise the limit or fetch it around the stack",
                    large.limit
                ),
            },
            Self::Invalid(invalid) => f.write_str(&invalid.why),
            Self::Upstream(upstream) => {
                f.write_str(match (upstream.verdict.outcome, upstream.verdict.closed) {
                    (Outcome::Unsent, _) => "the upstream could not be reached; nothing was sent",
                    (_, false) => "the upstream gave no whole answer; it may still be at work",
                    (_, true) => "the upstream failed",
                })
            }
        }
    }
}

impl fmt::Display for HeldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quota(quota) if quota.per.is_zero() => {
                write!(
                    f,
                    "quota {:?} ({} at once) is used up",
                    quota.name, quota.limit
                )
            }
            Self::Quota(quota) => write!(
                f,
                "quota {:?} ({} in {:?}) is used up",
                quota.name, quota.limit, quota.per
            ),
            Self::FullLine => f.write_str("too many wait already"),
            Self::Upstream => f.write_str("the upstream asked for a pause"),
            Self::Pace => f.write_str("scheduled work is spread over time"),
            Self::Other => f.write_str("others go first"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::JournalUnavailable(journal) => Some(&*journal.source),
            Self::Upstream(upstream) => Some(&*upstream.source),
            _ => None,
        }
    }
}

impl From<InvalidWord> for Error {
    fn from(word: InvalidWord) -> Self {
        Self::invalid(word.to_string())
    }
}

/// A setting that cannot work: names the field, what is wrong with it, and what would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConfig {
    field: String,
    why: String,
}

impl InvalidConfig {
    /// `field` as the user wrote it (`rate_limit.quotas[0].limit`); `why` names the fix.
    #[must_use]
    pub fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            why: why.into(),
        }
    }

    /// The field that is wrong.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The same complaint about a field inside `outer`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid setting `{}`: {}", self.field, self.why)
    }
}

impl std::error::Error for InvalidConfig {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_ours_is_never_nested() {
        let inner: BoxError = Box::new(Error::KeyRequired);
        assert_eq!(Error::from_inner(inner).kind(), Kind::KeyRequired);
    }

    #[test]
    fn doubt_about_an_accepted_write_is_never_reported_as_nothing_sent() {
        let id = OperationId::from_bits(1);
        for error in [
            Error::pending(id),
            Error::outcome_unknown(id),
            Error::parked(id),
            Error::in_flight(id, Duration::ZERO),
        ] {
            assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
            assert_eq!(error.operation(), Some(id));
        }
    }

    #[test]
    fn a_contradiction_takes_no_side() {
        // A person said that it had the effect, and the upstream that it had none: or the other way round.
        let told = Error::contradicted(OperationId::from_bits(1)).to_string();
        assert!(
            !told.contains("had one") && told.contains("do not use a new key"),
            "{told}"
        );
    }

    #[test]
    fn a_foreign_error_keeps_its_cause() {
        let error = Error::from_inner(std::io::Error::other("cable"));
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "cable");
        assert_eq!(error.outcome(), Outcome::Unknown);
    }
}
