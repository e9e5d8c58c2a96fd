//! The body inside the stack: bytes that can be replayed, with what the rooms know of them.
//!
//! A [`Payload`] holds a whole body, so cloning it copies a reference count. Verdict, served-from and operation id
//! travel in it rather than in extensions: an extension costs an allocation each time a request is cloned.

use crate::context::OperationId;
use crate::outcome::Verdict;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Where an answer came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ServedFrom {
    /// The upstream answered this very call.
    #[default]
    Upstream,
    /// A cached answer within its time to live.
    FreshCache {
        /// How old the answer is.
        age: Duration,
    },
    /// A cached answer past its time to live, given because the upstream failed or was too slow.
    StaleCache {
        /// How old the answer is.
        age: Duration,
    },
    /// The recorded answer of an operation that had settled before.
    Replay {
        /// How long ago it settled.
        age: Duration,
    },
}

impl ServedFrom {
    /// The stable word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::FreshCache { .. } => "fresh_cache",
            Self::StaleCache { .. } => "stale_cache",
            Self::Replay { .. } => "replay",
        }
    }

    /// How old the answer is; zero when the upstream gave it just now.
    #[must_use]
    pub const fn age(self) -> Duration {
        match self {
            Self::Upstream => Duration::ZERO,
            Self::FreshCache { age } | Self::StaleCache { age } | Self::Replay { age } => age,
        }
    }
}

/// A whole body and what is known of it.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    bytes: Bytes,
    operation: Option<OperationId>,
    verdict: Option<Verdict>,
    served_from: ServedFrom,
}

impl Payload {
    /// A body of these bytes.
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self {
            bytes,
            operation: None,
            verdict: None,
            served_from: ServedFrom::Upstream,
        }
    }

    /// No body.
    #[must_use]
    pub const fn empty() -> Self {
        Self::new(Bytes::new())
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes, without the rest.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Other bytes under the same marks.
    #[must_use]
    pub fn with_bytes(mut self, bytes: Bytes) -> Self {
        self.bytes = bytes;
        self
    }

    /// Of a request: the operation it is an attempt of. Of an answer: the operation it answers.
    #[must_use]
    pub const fn operation(&self) -> Option<OperationId> {
        self.operation
    }

    /// Names the operation.
    #[must_use]
    pub const fn with_operation(mut self, operation: OperationId) -> Self {
        self.operation = Some(operation);
        self
    }

    /// The judgement of the attempt that this answers; `None` where nobody judged it.
    #[must_use]
    pub const fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }

    /// Records the judgement.
    #[must_use]
    pub const fn with_verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = Some(verdict);
        self
    }

    /// Where the answer came from.
    #[must_use]
    pub const fn served_from(&self) -> ServedFrom {
        self.served_from
    }

    /// Says where the answer came from.
    #[must_use]
    pub const fn with_served_from(mut self, served_from: ServedFrom) -> Self {
        self.served_from = served_from;
        self
    }
}

/// In place, for the straight path: taking an answer apart to mark it moves all of it.
impl Payload {
    /// [`Payload::with_verdict`] in place.
    pub(crate) const fn set_verdict(&mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }

    /// [`Payload::with_operation`] in place.
    pub(crate) const fn set_operation(&mut self, operation: OperationId) {
        self.operation = Some(operation);
    }

    /// [`Payload::with_served_from`] in place.
    pub(crate) const fn set_served_from(&mut self, served_from: ServedFrom) {
        self.served_from = served_from;
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::new(bytes)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes.into())
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self::new(text.into())
    }
}

impl From<&'static str> for Payload {
    fn from(text: &'static str) -> Self {
        Self::new(Bytes::from_static(text.as_bytes()))
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.get_mut().bytes);
        if bytes.is_empty() {
            Poll::Ready(None)
        } else {
            Poll::Ready(Some(Ok(Frame::data(bytes))))
        }
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_clone_replays_the_same_bytes_after_the_original_was_read() {
        let payload = Payload::from("pay");
        let again = payload.clone();
        assert_eq!(payload.collect().await.unwrap().to_bytes(), "pay");
        assert_eq!(again.collect().await.unwrap().to_bytes(), "pay");
    }
}
