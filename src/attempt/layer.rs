//! Settings of the gate.

use super::service::Attempt;
use crate::classify::{Classify, HttpClassify};
use crate::clock::Clock;
use crate::error::InvalidConfig;
use crate::event::{Observer, Tracing};
use crate::journal::Book;
use std::sync::Arc;
use std::time::Duration;
use tower_layer::Layer;

/// How long an attempt may take, and what is kept of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptConfig {
    /// The time for one whole answer to a write.
    pub write_timeout: Duration,
    /// The time for one whole answer to a read.
    pub read_timeout: Duration,
    /// Answer headers that are recorded with a settled operation and given in replays.
    pub kept_headers: Vec<http::HeaderName>,
}

impl Default for AttemptConfig {
    fn default() -> Self {
        Self {
            // Above QBO's own 120 s, so that it is the upstream that gives up first; patience is what a caller feels.
            write_timeout: Duration::from_secs(130),
            // Nothing is lost with a read; integrators use 10 s to 300 s.
            read_timeout: Duration::from_secs(30),
            kept_headers: vec![
                http::header::CONTENT_TYPE,
                http::header::LOCATION,
                http::header::ETAG,
                // Intuit support asks for this id.
                http::HeaderName::from_static("intuit_tid"),
            ],
        }
    }
}

impl AttemptConfig {
    fn check(&self) -> Result<(), InvalidConfig> {
        for (field, timeout) in [
            ("attempt.write_timeout", self.write_timeout),
            ("attempt.read_timeout", self.read_timeout),
        ] {
            if timeout.is_zero() {
                return Err(InvalidConfig::new(
                    field,
                    "is 0, so that every attempt would time out: use 130 s for writes, 30 s for reads",
                ));
            }
            if timeout > Duration::from_secs(86_400) {
                return Err(InvalidConfig::new(
                    field,
                    "is over a day: use 130 s for writes, 30 s for reads",
                ));
            }
        }
        if self.kept_headers.contains(&http::header::SET_COOKIE) {
            return Err(InvalidConfig::new(
                "attempt.kept_headers",
                "`set-cookie` carries credentials, which are never recorded: leave it out",
            ));
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: AttemptConfig,
    pub(super) clock: Clock,
    pub(super) classify: Arc<dyn Classify>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) book: Option<Book>,
}

/// Puts the gate in front of a transport.
#[derive(Clone, Debug)]
pub struct AttemptLayer {
    shared: Arc<Shared>,
}

impl AttemptLayer {
    /// A gate with these settings, judging plain HTTP, without a book.
    ///
    /// # Errors
    /// When a setting cannot work.
    pub fn new(config: AttemptConfig) -> Result<Self, InvalidConfig> {
        config.check()?;
        Ok(Self {
            shared: Arc::new(Shared {
                config,
                clock: Clock::system(),
                classify: Arc::new(HttpClassify::new()),
                observer: Arc::new(Tracing),
                book: None,
            }),
        })
    }

    fn with(self, change: impl FnOnce(&mut Shared)) -> Self {
        let mut shared = Shared {
            config: self.shared.config.clone(),
            clock: self.shared.clock,
            classify: Arc::clone(&self.shared.classify),
            observer: Arc::clone(&self.shared.observer),
            book: self.shared.book.clone(),
        };
        change(&mut shared);
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Judges answers by `classify`.
    #[must_use]
    pub fn with_classify(self, classify: Arc<dyn Classify>) -> Self {
        self.with(|shared| shared.classify = classify)
    }

    /// Asks `book` before each attempt of an operation.
    #[must_use]
    pub fn with_book(self, book: Book) -> Self {
        self.with(|shared| shared.book = Some(book))
    }

    /// Reads time from `clock`.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        self.with(|shared| shared.clock = clock)
    }

    /// Tells `observer` what is decided.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn Observer>) -> Self {
        self.with(|shared| shared.observer = observer)
    }
}

impl<S> Layer<S> for AttemptLayer {
    type Service = Attempt<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Attempt::new(inner, Arc::clone(&self.shared))
    }
}
