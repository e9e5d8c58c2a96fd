//! The cache's place below the journal: writes that no caller waits for make reads outdated too.

use super::service::ResponseFuture;
use super::shared::Shared;
use super::writing::Writing;
use crate::classify::Safety;
use crate::error::{BoxError, Error};
use crate::payload::Payload;
use http::{Request, Response};
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

/// Passes everything on, and invalidates around every write that really leaves: also one that is sent again by a
/// worker, or still waits in line when its caller has gone. See [`CacheHandle::below`](super::CacheHandle::below).
#[derive(Clone, Debug)]
pub struct Below<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Below<S> {
    pub(super) const fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S> Service<Request<Payload>> for Below<S>
where
    S: Service<Request<Payload>, Response = Response<Payload>> + Clone,
    S::Error: Into<BoxError>,
{
    type Response = Response<Payload>;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_inner)
    }

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        let route = self.shared.classify.route(&request);
        let writing = match route.safety {
            Safety::Read => None,
            // A request that contradicts itself about its tenant is refused by the rooms that need to know.
            Safety::Write => self
                .shared
                .tenant_of
                .tenant(&request)
                .ok()
                .map(|tenant| Writing::begin(&self.shared, tenant, &request, route)),
        };
        let clone = self.inner.clone();
        ResponseFuture::sent(mem::replace(&mut self.inner, clone).call(request), writing)
    }
}
