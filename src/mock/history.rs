//! Everything that happened, in order: what a judge reads.

use crate::clock::Timestamp;
use std::sync::Arc;

/// What happened up to the moment it was asked for. Cheap to take and to clone; it does not follow the mock further.
#[derive(Clone, Debug, Default)]
pub struct History {
    log: Arc<Log>,
}

impl History {
    pub(super) const fn new(log: Arc<Log>) -> Self {
        Self { log }
    }

    /// Every request that arrived, by number.
    #[must_use]
    pub fn sends(&self) -> &[SendRecord] {
        &self.log.sends
    }

    /// Every change that was made, in the order in which they were made.
    #[must_use]
    pub fn effects(&self) -> &[Effect] {
        &self.log.effects
    }

    /// The changes made by requests that carry this marker. Looks at all of them: whoever asks for many markers
    /// had better go through [`History::effects`] once.
    #[must_use]
    pub fn effects_of(&self, marker: &str) -> Vec<&Effect> {
        let effects = self.effects().iter();
        effects
            .filter(|effect| effect.marker.as_deref() == Some(marker))
            .collect()
    }

    /// The requests that carry this marker. Looks at all of them, as [`History::effects_of`] does.
    #[must_use]
    pub fn sends_of(&self, marker: &str) -> Vec<&SendRecord> {
        let sends = self.sends().iter();
        sends
            .filter(|send| send.marker.as_deref() == Some(marker))
            .collect()
    }

    /// How many requests were refused because they passed a limit. A 429 of the fault plan is not among them.
    #[must_use]
    pub fn throttled(&self) -> usize {
        self.log.throttled
    }
}

/// One request, from arrival to the last trace of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendRecord {
    /// Its place among all requests, from 0: also its index.
    pub number: u64,
    /// When it arrived.
    pub at: Timestamp,
    /// The company in its path; empty where there is none.
    pub realm: Arc<str>,
    /// Its method.
    pub method: http::Method,
    /// Its path and query.
    pub target: String,
    /// Whether it asks for a change.
    pub write: bool,
    /// The marker that the test planted in the body of a write.
    pub marker: Option<String>,
    /// When the server was finished with it: from then on no effect of it can land. For a hang that is when the late
    /// effect landed or the server gave up. `None` while it is being worked on.
    pub done: Option<Timestamp>,
    /// When it was answered, and with which status. Connections that break are no answers; one that breaks after the
    /// work was done keeps the status that was meant for it.
    pub answered: Option<(Timestamp, u16)>,
    /// Whether the answer did not reach the client: broken connection, broken body, or nobody listening any more.
    pub answer_lost: bool,
    /// What went wrong with it on purpose.
    pub fault: Option<&'static str>,
    /// Whether it was refused because it passed a limit.
    pub throttled: bool,
    /// Whether it got the remembered answer of an earlier one.
    pub replayed: bool,
    /// Its effect, as an index into the effects.
    pub effect: Option<usize>,
}

/// One change of a company's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// When it was made.
    pub at: Timestamp,
    /// The number of the request that made it.
    pub send: u64,
    /// The company.
    pub realm: Arc<str>,
    /// The entity's name.
    pub entity: &'static str,
    /// The entity's id.
    pub id: String,
    /// What was done to it.
    pub what: EffectKind,
    /// The money it is over afterwards; of a void or a delete, what it was over before.
    pub amount_cents: i64,
    /// Of a payment: type, id and amount of what it was asked to pay, whether or not that was still open. So two
    /// payments of one bill are found by counting.
    pub targets: Vec<(&'static str, String, i64)>,
    /// The marker of the request.
    pub marker: Option<String>,
}

/// What was done to an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EffectKind {
    /// It is new.
    Created,
    /// Its fields changed.
    Updated,
    /// It is gone.
    Deleted,
    /// It stays, with all amounts zero.
    Voided,
}

/// What a [`History`] is a view of.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    sends: Vec<SendRecord>,
    effects: Vec<Effect>,
    throttled: usize,
}

impl Log {
    /// The number of the next request.
    pub(super) fn next_number(&self) -> u64 {
        self.sends.len() as u64
    }

    pub(super) fn arrived(&mut self, send: SendRecord) {
        self.throttled += usize::from(send.throttled);
        grow(&mut self.sends);
        self.sends.push(send);
    }

    pub(super) fn send(&mut self, number: u64) -> Option<&mut SendRecord> {
        let at = usize::try_from(number).ok()?;
        self.sends.get_mut(at)
    }

    pub(super) fn happened(&mut self, effect: Effect) {
        let at = self.effects.len();
        if let Some(send) = self.send(effect.send) {
            send.effect = Some(at);
        }
        grow(&mut self.effects);
        self.effects.push(effect);
    }
}

/// Makes room by an eighth: doubling would leave half of a long history empty.
fn grow<T>(log: &mut Vec<T>) {
    if log.len() == log.capacity() {
        log.reserve_exact(log.len() / 8 + 64);
    }
}

/// The token of the first `op=<token>` in a body, where `op` begins a word.
pub(super) fn marker(body: &[u8]) -> Option<String> {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let mut from = 0;
    while let Some(found) = body[from..].windows(3).position(|three| three == b"op=") {
        let at = from + found;
        let token = &body[at + 3..];
        let length = token.iter().take_while(|byte| word(byte)).count();
        if length > 0 && !at.checked_sub(1).is_some_and(|before| word(&body[before])) {
            return std::str::from_utf8(&token[..length])
                .ok()
                .map(str::to_owned);
        }
        from = at + 3;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::marker;

    #[test]
    fn a_marker_is_the_word_after_op() {
        assert_eq!(
            marker(br#"{"PrivateNote":"rent op=a-1_B."}"#).as_deref(),
            Some("a-1_B")
        );
        assert_eq!(marker(b"op=x"), Some("x".to_owned()));
        assert_eq!(marker(b"stop=5 op= op=7"), Some("7".to_owned()));
        assert_eq!(marker(b"requestid=5"), None);
        assert_eq!(marker(b""), None);
    }
}
