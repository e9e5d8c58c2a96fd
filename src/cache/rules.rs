//! What an API's requests read and change: the hook that makes caching right for it.

use crate::payload::Payload;
use http::{Method, Request};
use std::fmt;
use std::time::Duration;

/// How the answer to a read may be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadRule {
    /// How long it is fresh; `None` for the time of [`CacheConfig::ttl`](super::CacheConfig::ttl).
    pub ttl: Option<Duration>,
}

/// Says which answers may be kept, and which entities a request touches.
///
/// An *entity* is what a write invalidates: a kind of object (`"Bill"`), or a single one (`"Bill/42"`), as fine as the API
/// lets you be sure. Names are compared within a tenant only. A read has to name everything whose change could change its
/// answer; a write everything that it could change. What names nothing touches the whole tenant:
/// - a *write* that names nothing invalidates every cached answer of its tenant;
/// - a *read* that names nothing is invalidated only by such writes and by
///   [`CacheHandle::invalidate_tenant`](super::CacheHandle::invalidate_tenant).
///
/// So where some reads name nothing, all writes must do the same, as with [`GetRules`].
///
/// ```
/// use http::Request;
/// use tower_sturdy::cache::{CacheRules, ReadRule};
/// use tower_sturdy::payload::Payload;
///
/// /// `/bills/42` and `/bills?open=true` read bills; what is sent there changes bills.
/// #[derive(Debug)]
/// struct ByFirstSegment;
///
/// impl CacheRules for ByFirstSegment {
///     fn read(&self, request: &Request<Payload>) -> Option<ReadRule> {
///         request.method().is_safe().then(ReadRule::default)
///     }
///     fn entities(&self, request: &Request<Payload>, touch: &mut dyn FnMut(&str)) {
///         touch(request.uri().path().split('/').nth(1).unwrap_or_default());
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what may be cached",
    note = "use `cache::GetRules`, or implement `CacheRules`"
)]
pub trait CacheRules: Send + Sync + fmt::Debug + 'static {
    /// How the answer to `request` may be kept; `None` where it must not be.
    ///
    /// Asked only of requests that the classifier calls reads, so that a mistake here never swallows a write.
    fn read(&self, request: &Request<Payload>) -> Option<ReadRule>;

    /// Names the entities that `request` reads, or, being a write, could change. Asked on every hit: must not block,
    /// and should not allocate.
    fn entities(&self, request: &Request<Payload>, touch: &mut dyn FnMut(&str));
}

/// Every `GET` and `HEAD` may be kept, and every write invalidates all answers of its tenant: right for every API whose
/// tenants are apart, and coarse.
#[derive(Clone, Copy, Debug, Default)]
pub struct GetRules;

impl CacheRules for GetRules {
    fn read(&self, request: &Request<Payload>) -> Option<ReadRule> {
        (request.method() == Method::GET || request.method() == Method::HEAD)
            .then(ReadRule::default)
    }

    fn entities(&self, _: &Request<Payload>, _: &mut dyn FnMut(&str)) {}
}
