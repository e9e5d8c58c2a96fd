//! The lower half of the stack, as the worker and its hooks send through it.

use crate::context::{Context, Priority, Tenant};
use crate::error::{BoxError, Error};
use crate::payload::Payload;
use http::{Request, Response};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

/// Sends through the same quotas and the same gate as everything else. Clones share nothing but what the service shares.
#[derive(Clone, Debug)]
pub struct Upstream {
    service: BoxCloneSyncService<Request<Payload>, Response<Payload>, Error>,
}

impl Upstream {
    /// Over any service of the stack's lower half.
    #[must_use]
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Request<Payload>, Response = Response<Payload>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        Self {
            service: BoxCloneSyncService::new(service.map_err(Error::from_inner)),
        }
    }

    /// Sends one request.
    ///
    /// # Errors
    /// What the service fails with.
    pub async fn send(&self, request: Request<Payload>) -> Result<Response<Payload>, Error> {
        self.service.clone().ready().await?.call(request).await
    }

    /// Sends a read of `tenant` with the priority of event-triggered work.
    ///
    /// # Errors
    /// What the service fails with.
    pub async fn read(
        &self,
        tenant: &Tenant,
        mut request: Request<Payload>,
    ) -> Result<Response<Payload>, Error> {
        let marker = Context::new().with_priority(Priority::EventTriggered);
        request
            .extensions_mut()
            .insert(marker.with_tenant(tenant.clone()));
        self.send(request).await
    }
}
