//! A transport over `reqwest::Client` (feature `reqwest`).

use crate::error::{BoxError, NotSent};
use crate::journal::BoxFuture;
use crate::payload::Payload;
use ::reqwest::{Client, ClientBuilder, redirect, retry};
use http::{Request, Response};
use std::task::{Context, Poll};
use tower_service::Service;

/// Sends through one `reqwest::Client`; clones share its connections.
///
/// Choose a TLS backend with reqwest's own features in your manifest; this crate forces none.
///
/// **Cancel safety.** Dropping the future closes the exchange; the upstream may still be at work.
#[derive(Clone, Debug)]
pub struct ReqwestTransport {
    client: Client,
}

impl ReqwestTransport {
    /// A client with redirects and reqwest's own retries off: a redirected or silently repeated write is a second send
    /// that no record knows of.
    ///
    /// # Errors
    /// What reqwest says of the builder (a TLS backend that cannot start).
    pub fn new(builder: ClientBuilder) -> Result<Self, ::reqwest::Error> {
        let client = builder
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .build()?;
        Ok(Self { client })
    }
}

impl Service<Request<Payload>> for ReqwestTransport {
    type Response = Response<::reqwest::Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        let client = self.client.clone();
        Box::pin(async move {
            let request = request.map(|payload| ::reqwest::Body::from(payload.into_bytes()));
            let request =
                ::reqwest::Request::try_from(request).map_err(|error| NotSent(error.into()))?;
            match client.execute(request).await {
                Ok(answer) => Ok(Response::from(answer)),
                // No connection, no byte. (A pooled connection that dies under the request is no connect error.)
                Err(error) if error.is_connect() || error.is_builder() => {
                    Err(NotSent(error.into()).into())
                }
                Err(error) => Err(error.into()),
            }
        })
    }
}
