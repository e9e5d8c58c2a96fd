//! A whole stack for QuickBooks Online in one call.

use super::adapt::{QboCache, QboClasses};
use super::capability::QboWrites;
use super::classify::QboClassify;
use super::hooks::QboHooks;
use super::limits::{Limit, THROTTLE_PAUSE, intuit_2026};
use super::realm::Realm;
use crate::error::InvalidConfig;
use crate::rate_limit::{Pace, Quota};
use crate::stack::{Stack, StackBuilder};
use std::sync::Arc;
use std::time::Duration;

/// What is set for QuickBooks Online before anything of yours.
///
/// ```
/// use std::sync::Arc;
/// use tower_sturdy::journal::MemoryJournal;
/// use tower_sturdy::qbo::Qbo;
/// # use http::{Request, Response};
/// # use tower_sturdy::payload::Payload;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let transport = tower::service_fn(|_: Request<Payload>| async {
/// #     Ok::<_, std::io::Error>(Response::new(Payload::empty()))
/// # });
/// let stack = Qbo::default()
///     .stack(transport)? // any service that sends, such as `transport::reqwest::ReqwestTransport`
///     .journal(Arc::new(MemoryJournal::new())) // in production: `SqliteJournal::open(path)`
///     .build()?;
/// # drop(stack);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Qbo {
    /// The quotas; Intuit's published ones of 2026 by default.
    pub limits: Vec<Limit>,
    /// What guards writes.
    pub writes: QboWrites,
    /// How long after its completion each write is read back and compared; a difference is told as drift. Costs one read
    /// a write (metered, facts 1, A), behind user actions in every quota. `None`: never.
    pub verify_after: Option<Duration>,
}

impl Default for Qbo {
    fn default() -> Self {
        Self {
            limits: intuit_2026().to_vec(),
            writes: QboWrites::default(),
            // After the second click and the page that follows it, within the minute in which somebody still cares.
            verify_after: Some(Duration::from_secs(30)),
        }
    }
}

impl Qbo {
    /// Begins a stack on a transport, with every hook and limit set for QBO.
    ///
    /// # Errors
    /// When a setting cannot work.
    pub fn stack<T>(self, transport: T) -> Result<StackBuilder<T>, InvalidConfig> {
        self.writes
            .check()
            .map_err(|invalid| invalid.within("qbo.writes"))?;
        let verify_after = self.verify_after;
        let quotas: Vec<Quota> = self.limits.into_iter().map(Quota::from).collect();
        Ok(Stack::builder(transport)
            .classify(Arc::new(QboClassify))
            .writes(Arc::new(self.writes))
            .tenant_of(Arc::new(Realm))
            .classes(Arc::new(QboClasses))
            .cache_rules(Arc::new(QboCache))
            .hooks(Arc::new(QboHooks))
            .configure(|config| {
                config.book.acknowledge_after = verify_after;
                config.rate_limit.quotas = quotas;
                config.rate_limit.pause = THROTTLE_PAUSE;
                // A bulk sync must not take all ten of a second at once, every second.
                config.rate_limit.pace = Pace::Even;
                // A slot is held while its call may still run. QBO ends any request after 120 s (facts 1, A): unlike an
                // effect, which may be queued behind that, nothing counts against its limits for longer.
                config.rate_limit.settle_window = Duration::from_secs(130);
            }))
    }
}
