//! What people do with an operation: resolve it, park it, have it tried again. Pure.
//!
//! A person's word moves the state and permits no send: [`may_send`](crate::journal::may_send) still decides, from the
//! state and the attempts. What a person resolved goes on being looked up, and what the upstream proves otherwise raises
//! `contradicted`; the state stays what it is. Every decision is in the audit trail, by `person:NAME`.

use super::{IllegalStep, Record, State, StoredAnswer, Transition};
use crate::clock::Timestamp;
use crate::journal::Moment;
use crate::outcome::Outcome;
use std::fmt;
use std::time::Duration;

/// The longest name of a person, in characters: an email address has at most 254 octets (RFC 5321).
pub const WHO_MAX: usize = 254;

/// The longest reason, in characters: some sentences and a link. It is kept in the record for ever.
pub const WHY_MAX: usize = 1_000;

/// What the audit trail calls a person.
const PERSON: &str = "person:";

/// A person said how the operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Resolved {
    /// When.
    pub at: Timestamp,
    /// Whether it took effect, by that person's word.
    pub applied: bool,
    /// What the upstream has proven since, and when it was seen. Whether that contradicts the person, the record says.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub proven: Option<Proven>,
}

/// The upstream's word on what a person resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Proven {
    /// When it was seen.
    pub at: Timestamp,
    /// What was seen.
    pub evidence: String,
}

/// Why a person's decision was not taken. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CannotResolve {
    /// Who or why is missing, too long, or not plain text: which, and what to give.
    Unsigned(&'static str, &'static str),
    /// It is over already.
    Final {
        /// How it ended.
        state: State,
        /// When.
        at: Timestamp,
        /// By whom.
        by: String,
    },
    /// A process works on it, and sends without asking again.
    InHand {
        /// Until when that process has it, unless it renews its lease.
        lease_until: Timestamp,
    },
    /// Something that was sent may still take effect, until then.
    StillOpen(Timestamp),
    /// All that was sent provably had no effect.
    NoEffect,
    /// Proof of the effect is on record.
    Applied,
    /// There is no such step from where it stands.
    NoStep(IllegalStep),
}

impl fmt::Display for CannotResolve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(field, fix) => write!(f, "{field} {fix}"),
            Self::Final { state, at, by } => write!(
                f,
                "it is {state} since {at} (by {by}), and what is final never changes; what the upstream proves otherwise is told as contradicted"
            ),
            Self::InHand { lease_until } => write!(
                f,
                "a process works on it, or died while it did: its lease ends {lease_until}, and a running service takes it over then; try again once it is unknown, ready or parked"
            ),
            Self::StillOpen(until) => write!(
                f,
                "what was sent may still take effect until {until}; decide after that, or force it if you know that nothing can land any more"
            ),
            Self::NoEffect => f.write_str(
                "all that was sent provably had no effect: resolve it as not applied, or have it tried again",
            ),
            Self::Applied => f.write_str("proof of its effect is on record: resolve it as applied"),
            Self::NoStep(step) => write!(f, "{step}"),
        }
    }
}

impl std::error::Error for CannotResolve {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoStep(step) => Some(step),
            _ => None,
        }
    }
}

impl From<IllegalStep> for CannotResolve {
    fn from(step: IllegalStep) -> Self {
        Self::NoStep(step)
    }
}

/// Who and why, as they go into an audit trail.
///
/// # Errors
/// When one of them is missing, too long, or not plain text.
pub fn signed(who: &str, why: &str) -> Result<(String, String), CannotResolve> {
    let (who, why) = (who.trim(), why.trim());
    for (field, text, max, missing, long) in [
        (
            "who",
            who,
            WHO_MAX,
            "is missing: give the name of the person who decides",
            "is longer than 254 characters: give a name",
        ),
        (
            "why",
            why,
            WHY_MAX,
            "is missing: say what you know, and from where",
            "is longer than 1000 characters: link to the rest",
        ),
    ] {
        if text.is_empty() {
            return Err(CannotResolve::Unsigned(field, missing));
        }
        if text.chars().count() > max {
            return Err(CannotResolve::Unsigned(field, long));
        }
        if text.chars().any(char::is_control) {
            return Err(CannotResolve::Unsigned(
                field,
                "has a line break or another control character: write one line of plain text",
            ));
        }
    }
    Ok((format!("{PERSON}{who}"), why.to_owned()))
}

impl Record {
    /// A person says how it ended. From doubt only (`Parked`, `Unknown`), and from `Ready` as not applied; `forced` inside
    /// the settle window. It is due at once afterwards: the local record is told, and look-ups go on.
    ///
    /// # Errors
    /// Why not; nothing is changed then.
    pub fn resolve(
        &mut self,
        now: Moment,
        applied: bool,
        who: &str,
        why: &str,
        forced: bool,
    ) -> Result<(), CannotResolve> {
        let (by, why) = signed(who, why)?;
        self.can_decide()?;
        match self.outcome() {
            outcome if applied && outcome.is_without_effect() => {
                return Err(CannotResolve::NoEffect);
            }
            Outcome::Applied if !applied => return Err(CannotResolve::Applied),
            _ => {}
        }
        if let Some(until) = self.open_until(now)
            && !forced
        {
            return Err(CannotResolve::StillOpen(until));
        }
        let next = if applied {
            State::Completed
        } else {
            State::Rejected
        };
        self.step(next, now.at, why, by)?;
        self.progress.resolved = Some(Resolved {
            at: now.at,
            applied,
            proven: None,
        });
        self.progress.due = Some(now.at);
        Ok(())
    }

    /// A person takes it out of the worker's hands: nothing is sent any more, look-ups go on and may complete it. From
    /// `Unknown` and `Ready`.
    ///
    /// # Errors
    /// Why not; nothing is changed then.
    pub fn park(&mut self, now: Moment, who: &str, why: &str) -> Result<(), CannotResolve> {
        let (by, why) = signed(who, why)?;
        self.can_decide()?;
        self.step(State::Parked, now.at, why, by)?;
        self.progress.due = Some(now.at);
        Ok(())
    }

    /// A person has it tried again. What is `Parked` is in doubt again and looked up at once; the worker sends it only as
    /// it sends anything in doubt. What is `Ready` is taken up again at once.
    ///
    /// # Errors
    /// Why not; nothing is changed then.
    pub fn retry(&mut self, now: Moment, who: &str, why: &str) -> Result<(), CannotResolve> {
        let (by, why) = signed(who, why)?;
        self.can_decide()?;
        if self.state() == State::Ready {
            let (from, to) = (State::Ready, State::Ready);
            self.progress.history.push(Transition {
                at: now.at,
                from,
                to,
                why: why.into(),
                by: by.into(),
            });
        } else {
            self.step(State::Unknown, now.at, why, by)?;
        }
        self.progress.due = Some(now.at);
        Ok(())
    }

    /// Whether it is a person's to decide on: neither over, nor in the hands of a process that sends without asking.
    fn can_decide(&self) -> Result<(), CannotResolve> {
        match self.state() {
            State::Completed | State::Rejected => {
                let end = self.progress.history.last();
                Err(CannotResolve::Final {
                    state: self.state(),
                    at: end.map_or(self.asked.at, |end| end.at),
                    by: end.map_or_else(String::new, |end| end.by.to_string()),
                })
            }
            State::Claimed | State::Sending => Err(CannotResolve::InHand {
                lease_until: self.progress.lease_until,
            }),
            State::Unknown | State::Ready | State::Parked => Ok(()),
        }
    }

    /// When it was last asked for: by its caller, or by a person.
    #[must_use]
    pub fn asked_for(&self) -> Timestamp {
        let mut trail = self.progress.history.iter().rev();
        trail
            .find(|step| step.by.starts_with(PERSON))
            .map_or(self.asked.at, |step| step.at.max(self.asked.at))
    }

    /// Whether a person resolved it and the upstream has not yet said what is true: it is looked up for `period`.
    #[must_use]
    pub fn is_watched(&self, now: Timestamp, period: Duration) -> bool {
        self.progress.resolved.as_ref().is_some_and(|resolved| {
            resolved.proven.is_none()
                && !self.progress.contradicted
                && now < resolved.at.plus(period)
        })
    }

    /// Proof of its effect was found after a person resolved it. The state stays; the local record is told again. An
    /// operation that was resolved as applied has its answer now.
    ///
    /// Returns whether that contradicts the person.
    pub fn prove(&mut self, at: Timestamp, evidence: String, answer: Option<StoredAnswer>) -> bool {
        let Some(resolved) = &mut self.progress.resolved else {
            return false;
        };
        if resolved.proven.is_some() {
            return false;
        }
        resolved.proven = Some(Proven { at, evidence });
        let contradicted = !resolved.applied;
        if contradicted {
            self.progress.contradicted = true;
        } else if self.answer.is_none() {
            self.answer = answer;
        }
        self.tell_again(at);
        contradicted
    }

    /// The upstream's late word on an attempt of what a person resolved. Returns whether it contradicts the person.
    pub(super) fn hear(&mut self, at: Timestamp, answer: Option<StoredAnswer>) -> bool {
        let outcome = self.outcome();
        let Some(resolved) = &self.progress.resolved else {
            return false;
        };
        if outcome == Outcome::Applied {
            return self.prove(at, "a late answer proves it".to_owned(), answer);
        }
        if !resolved.applied || outcome == Outcome::Unknown || self.progress.contradicted {
            return false;
        }
        self.progress.contradicted = true;
        self.tell_again(at);
        true
    }

    fn tell_again(&mut self, at: Timestamp) {
        self.progress.acknowledged = false;
        self.progress.checks = 0;
        self.progress.due = Some(at);
    }
}

#[cfg(test)]
mod tests;
