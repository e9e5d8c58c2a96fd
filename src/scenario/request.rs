//! The requests that the simulated application makes.

use super::judge::Expected;
use crate::context::{Context, InvalidWord, OperationKey, Priority, Tenant};
use crate::mock::bodies;
use crate::payload::Payload;
use http::{Method, Request, header};
use std::fmt::Write as _;
use std::time::Duration;

const HOST: &str = "https://quickbooks.api.intuit.com";

/// How many rows a page of open bills has: QBO's default.
const PAGE: u32 = 100;

/// How a line-up's context and address are put on every request.
fn request(
    method: Method,
    realm: &str,
    path_and_query: &str,
    context: Context,
    body: Payload,
) -> Result<Request<Payload>, RequestError> {
    let mut request = Request::builder()
        .method(method)
        .uri(exact(format!("{HOST}/v3/company/{realm}/{path_and_query}")))
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)?;
    let context = context.with_tenant(Tenant::new(realm)?);
    request.extensions_mut().insert(context);
    Ok(request)
}

/// Without spare room: journals and logs keep it for the whole run.
fn exact(mut text: String) -> String {
    text.shrink_to_fit();
    text
}

/// Pays one bill. The word planted in the note is the key too: both are stable for this one write.
pub(super) fn pay(
    expected: &Expected,
    patience: Duration,
) -> Result<Request<Payload>, RequestError> {
    let context = Context::new()
        .with_priority(Priority::UserAction)
        .with_key(OperationKey::new(&expected.token)?)
        .with_patience(patience);
    let body = bodies::bill_payment(
        &expected.vendor,
        &expected.bill,
        expected.cents,
        &format!("op={}", expected.token),
    );
    let mut request = request(
        Method::POST,
        &expected.realm,
        "billpayment?minorversion=75",
        context,
        Payload::from(exact(body.to_string())),
    )?;
    request.extensions_mut().insert(expected.capability);
    Ok(request)
}

/// How many bills of a company are open.
pub(super) fn count_open_bills(realm: &str) -> Result<Request<Payload>, RequestError> {
    query(realm, "select count(*) from Bill where Balance > '0'")
}

/// One page of the open bills of a company, from page 0.
pub(super) fn open_bills(realm: &str, page: u32) -> Result<Request<Payload>, RequestError> {
    let first = page * PAGE + 1;
    query(
        realm,
        &format!("select * from Bill where Balance > '0' startposition {first} maxresults {PAGE}"),
    )
}

fn query(realm: &str, text: &str) -> Result<Request<Payload>, RequestError> {
    request(
        Method::GET,
        realm,
        &format!("query?query={}&minorversion=75", encoded(text)),
        Context::new().with_priority(Priority::Scheduled),
        Payload::empty(),
    )
}

/// The total of a `count(*)` answer.
pub(super) fn total(body: &[u8]) -> Option<usize> {
    let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
    let total = answer.get("QueryResponse")?.get("totalCount")?.as_u64()?;
    usize::try_from(total).ok()
}

fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Why a request could not be made: a word or an address of ours that is none. A mistake of the scenario's code.
#[derive(Debug)]
pub(super) enum RequestError {
    Word(InvalidWord),
    Http(http::Error),
}

impl From<InvalidWord> for RequestError {
    fn from(word: InvalidWord) -> Self {
        Self::Word(word)
    }
}

impl From<http::Error> for RequestError {
    fn from(error: http::Error) -> Self {
        Self::Http(error)
    }
}

impl std::fmt::Display for RequestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(word) => word.fmt(f),
            Self::Http(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RequestError {}
