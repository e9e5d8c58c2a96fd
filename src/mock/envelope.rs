//! What answers look like on the wire. Pure.

use super::config::ThrottleShape;
use super::course::Ending;
use super::date;
use crate::clock::Timestamp;
use crate::payload::Payload;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde_json::Value;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// On every recorded answer, errors included; the underscore is Intuit's.
const INTUIT_TID: HeaderName = HeaderName::from_static("intuit_tid");

/// An answer before it gets the headers of its own delivery.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) content_type: HeaderValue,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: JSON,
            body: body.into(),
        }
    }

    /// Half of it, under the same head.
    pub(super) fn cut(mut self) -> Self {
        self.body = self.body.slice(..self.body.len() / 2);
        self
    }

    pub(super) fn into_response(self, tid: &str) -> Response<Payload> {
        let unauthorized = self.status == StatusCode::UNAUTHORIZED;
        let mut response = Response::new(Payload::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.content_type);
        if let Ok(tid) = HeaderValue::from_str(tid) {
            headers.insert(INTUIT_TID, tid);
        }
        if unauthorized {
            let ask = r#"Bearer realm="Intuit", error="invalid_token""#;
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(ask));
        }
        response
    }
}

/// A refusal of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AppFault {
    pub(super) status: StatusCode,
    pub(super) kind: &'static str,
    pub(super) code: &'static str,
    pub(super) message: &'static str,
    pub(super) detail: String,
    pub(super) element: Option<String>,
}

impl AppFault {
    /// A business refusal: status 400.
    pub(super) fn validation(
        code: &'static str,
        message: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "ValidationFault",
            code,
            message,
            detail: detail.into(),
            element: None,
        }
    }

    pub(super) fn at(mut self, element: impl Into<String>) -> Self {
        self.element = Some(element.into());
        self
    }

    /// Code 10000, with the status it came with.
    pub(super) fn system(status: StatusCode) -> Self {
        Self {
            status,
            kind: "SystemFault",
            code: "10000",
            message: "An application error has occurred while processing your request",
            detail: "System Failure Error: the application could not process the request"
                .to_owned(),
            element: None,
        }
    }

    pub(super) fn unsupported(what: &str) -> Self {
        Self::validation(
            "500",
            "Unsupported Operation",
            format!("Operation {what} is not supported."),
        )
    }

    pub(super) fn required(name: &str) -> Self {
        Self::validation(
            "2020",
            "Required param missing, need to supply the required value for the API",
            format!("Required parameter {name} is missing in the request"),
        )
        .at(name)
    }

    pub(super) fn business(detail: impl Into<String>) -> Self {
        Self::validation(
            "6000",
            "A business validation error has occurred while processing your request",
            detail,
        )
    }

    pub(super) fn property(name: &str, why: &str) -> Self {
        Self::validation(
            "2010",
            "Request has invalid or unsupported property",
            format!("Property Name:{name} specified is unsupported or invalid: {why}"),
        )
        .at(name)
    }

    pub(super) fn not_found() -> Self {
        Self::validation(
            "610",
            "Object Not Found",
            "Object Not Found : Something you're trying to use has been made inactive or does not exist.",
        )
    }

    pub(super) fn reply(&self, now: Timestamp) -> Reply {
        let mut error = serde_json::json!({
            "Message": self.message, "Detail": self.detail, "code": self.code,
        });
        if let Some(element) = &self.element {
            error["element"] = Value::from(element.as_str());
        }
        let fault = serde_json::json!({
            "Fault": { "Error": [error], "type": self.kind },
            "time": date::millis(now),
        });
        Reply::json(self.status, fault.to_string())
    }
}

/// The gateway's own envelope: all lower case, `time` in milliseconds.
fn gateway(
    status: StatusCode,
    name: &str,
    code: &str,
    detail: Option<&str>,
    kind: &str,
    now: Timestamp,
) -> Reply {
    let fault = serde_json::json!({
        "warnings": null, "intuitObject": null,
        "fault": {
            "error": [{
                "message": format!("message={name}; errorCode=00{code}; statusCode={}", status.as_u16()),
                "detail": detail, "code": code, "element": null,
            }],
            "type": kind,
        },
        "report": null, "queryResponse": null, "batchItemResponse": [], "attachableResponse": [],
        "syncErrorResponse": null, "requestId": null, "time": now.as_millis(), "status": null,
        "cdcresponse": [],
    });
    Reply::json(status, fault.to_string())
}

fn expired_token(now: Timestamp) -> Reply {
    let detail = Some("Token expired: the access token is older than an hour");
    gateway(
        StatusCode::UNAUTHORIZED,
        "AuthenticationFailed",
        "3200",
        detail,
        "AUTHENTICATION",
        now,
    )
}

fn foreign_company(now: Timestamp) -> Reply {
    gateway(
        StatusCode::FORBIDDEN,
        "ApplicationAuthorizationFailed",
        "3100",
        None,
        "SERVICE",
        now,
    )
}

fn gateway_unavailable(now: Timestamp) -> Reply {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    gateway(status, "ServiceUnavailable", "3100", None, "SERVICE", now)
}

fn html_unavailable() -> Reply {
    Reply {
        status: StatusCode::SERVICE_UNAVAILABLE,
        content_type: HeaderValue::from_static("text/html"),
        body: Bytes::from_static(
            b"<html><head><title>503 Service Temporarily Unavailable</title></head>\
              <body><h1>503 Service Temporarily Unavailable</h1></body></html>",
        ),
    }
}

fn stream_timeout() -> Reply {
    Reply {
        status: StatusCode::GATEWAY_TIMEOUT,
        content_type: HeaderValue::from_static("text/plain"),
        body: Bytes::from_static(b"stream timeout"),
    }
}

fn throttled(shape: ThrottleShape, now: Timestamp) -> Reply {
    let status = StatusCode::TOO_MANY_REQUESTS;
    let message = "message=ThrottleExceeded; errorCode=003001; statusCode=429";
    let detail = "The request limit was reached.  Try again later";
    match shape {
        ThrottleShape::GatewayJson => gateway(
            status,
            "ThrottleExceeded",
            "3001",
            Some(detail),
            "SERVICE",
            now,
        ),
        ThrottleShape::UpperJson => {
            let fault = AppFault {
                status,
                kind: "SERVICE",
                code: "3001",
                message,
                detail: detail.to_owned(),
                element: None,
            };
            fault.reply(now)
        }
        ThrottleShape::Xml => Reply {
            status,
            content_type: HeaderValue::from_static("application/xml"),
            body: Bytes::from(format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\
                 <IntuitResponse time=\"{}\" xmlns=\"http://schema.intuit.com/finance/v3\">\
                 <Fault type=\"SERVICE\"><Error code=\"3001\"><Message>{message}</Message>\
                 <Detail>{detail}</Detail></Error></Fault></IntuitResponse>",
                date::millis(now)
            )),
        },
    }
}

/// What the ending looks like now; `None` for a connection that breaks.
pub(super) fn ending(
    ending: Ending,
    truth: Option<Reply>,
    shape: ThrottleShape,
    now: Timestamp,
) -> Option<Reply> {
    let app = |status| AppFault::system(status).reply(now);
    Some(match ending {
        Ending::Truth | Ending::Lost | Ending::BodyCut => return truth,
        Ending::Malformed => return truth.map(Reply::cut),
        Ending::Reset => return None,
        Ending::Gateway503 => gateway_unavailable(now),
        Ending::Html503 => html_unavailable(),
        Ending::Throttle429 => throttled(shape, now),
        Ending::Gateway401 => expired_token(now),
        Ending::Gateway403 => foreign_company(now),
        Ending::App500 => app(StatusCode::INTERNAL_SERVER_ERROR),
        Ending::Fault200 => app(StatusCode::OK),
        Ending::StreamTimeout => stream_timeout(),
    })
}

/// Says when to come back.
pub(super) fn come_back(response: &mut Response<Payload>, seconds: u64) {
    let value = HeaderValue::from(seconds);
    response.headers_mut().insert(RETRY_AFTER, value);
}
