//! QBO's own idempotency: `requestid=` in the query (facts 2, A). Pure.
//!
//! The id is planted once per operation and stays the same on every resend. It is merged into the query, never appended
//! to the URL: `?minorversion=4?requestid=` broke real calls (facts 2, QR#430, C).

use super::query_string::{is_unreserved, pairs, says};
use super::route::split;
use crate::error::Error;
use http::Uri;
use http::uri::PathAndQuery;

/// The parameter.
pub const NAME: &str = "requestid";

/// The longest id (facts 2, A).
pub const MAX_LEN: usize = 50;

/// The longest id of a batch, whose items' `bId`s of up to 10 characters are joined to it (facts 2, A).
pub const MAX_LEN_OF_BATCH: usize = 36;

/// Query names that do not change what a write means: for fingerprints. QBO answers every minor version as 75 since
/// 2025-08 (facts 3, A).
pub const INERT: [&str; 3] = [NAME, "minorversion", "format"];

/// The caller's own id in this URL, as written; it becomes the operation's key.
#[must_use]
pub fn own(uri: &Uri) -> Option<&str> {
    ids(uri.query()?).next()
}

fn ids(query: &str) -> impl Iterator<Item = &str> {
    pairs(query)
        .filter(|(name, _)| says(name, NAME))
        .map(|(_, id)| id)
}

/// The URL with `key` as its request id; unchanged if it has that already.
///
/// # Errors
/// [`Error::Invalid`] when the URL carries another id, when `key` does not fit QBO's format, or when the query is
/// malformed in a way that would hide the id.
pub fn plant(uri: &Uri, key: &str) -> Result<Uri, Error> {
    check(uri, key)?;
    let query = uri.query().unwrap_or("");
    if query.to_ascii_lowercase().contains("?requestid=") {
        return Err(Error::invalid(
            "the URL has a second `?` before `requestid`, which QuickBooks does not read; nothing was sent; join parameters with `&`",
        ));
    }
    let mut present = ids(query);
    match (present.next(), present.next()) {
        (None, _) => {}
        (Some(id), None) if id == key => return Ok(uri.clone()),
        (Some(id), _) => {
            return Err(Error::invalid(format!(
                "the URL carries the request id {id:?}, but this operation's is {key:?}; nothing was sent; leave `requestid` out, or use it as the operation key"
            )));
        }
    }
    let query = query.trim_end_matches('&');
    let joint = if query.is_empty() { "" } else { "&" };
    with_query(uri, &format!("{query}{joint}{NAME}={key}"))
}

/// The URL without any request id: for a caller's own id that became the operation's key.
///
/// # Errors
/// [`Error::Invalid`] when no URL is left; does not happen with a URL that was valid before.
pub fn strip(uri: &Uri) -> Result<Uri, Error> {
    let Some(query) = uri.query() else {
        return Ok(uri.clone());
    };
    if ids(query).next().is_none() {
        return Ok(uri.clone());
    }
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && ids(pair).next().is_none())
        .collect();
    with_query(uri, &kept.join("&"))
}

fn check(uri: &Uri, key: &str) -> Result<(), Error> {
    let batch = split(uri.path()).is_some_and(|(_, _, rest)| rest.trim_matches('/') == "batch");
    let limit = if batch { MAX_LEN_OF_BATCH } else { MAX_LEN };
    if (1..=limit).contains(&key.len()) && key.bytes().all(is_unreserved) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the request id {key:?} is not 1 to {limit} letters, digits, `-`, `.`, `_` or `~`; nothing was sent; hash the key into that form"
    )))
}

/// The same URL with another query.
pub(crate) fn with_query(uri: &Uri, query: &str) -> Result<Uri, Error> {
    let mark = if query.is_empty() { "" } else { "?" };
    rebuild(uri, &format!("{}{mark}{query}", uri.path()))
}

/// The same scheme and host with another path and query.
pub(crate) fn rebuild(uri: &Uri, path_and_query: &str) -> Result<Uri, Error> {
    let refused = |why: &dyn std::fmt::Display| {
        Error::invalid(format!("no URL can be made of {path_and_query:?}: {why}"))
    };
    let path_and_query = PathAndQuery::try_from(path_and_query).map_err(|why| refused(&why))?;
    match (uri.scheme(), uri.authority()) {
        // In one text: parts of the old URL would keep the whole of it in memory, for as long as the journal keeps the new.
        (Some(scheme), Some(authority)) => {
            Uri::try_from(format!("{scheme}://{authority}{path_and_query}"))
                .map_err(|why| refused(&why))
        }
        _ => {
            let mut parts = uri.clone().into_parts();
            parts.path_and_query = Some(path_and_query);
            Uri::from_parts(parts).map_err(|why| refused(&why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn the_id_is_merged_into_the_query() {
        for (before, after) in [
            (
                "https://h/v3/company/1/bill",
                "https://h/v3/company/1/bill?requestid=K1",
            ),
            (
                "https://h/v3/company/1/bill?",
                "https://h/v3/company/1/bill?requestid=K1",
            ),
            (
                "https://h/v3/company/1/bill?minorversion=75",
                "https://h/v3/company/1/bill?minorversion=75&requestid=K1",
            ),
            (
                "https://h/v3/company/1/bill?requestid=K1&minorversion=75",
                "https://h/v3/company/1/bill?requestid=K1&minorversion=75",
            ),
            ("/v3/company/1/bill", "/v3/company/1/bill?requestid=K1"),
        ] {
            assert_eq!(plant(&uri(before), "K1").unwrap(), uri(after));
        }
    }

    #[test]
    fn a_differing_id_is_refused_however_it_is_written() {
        for query in [
            "requestid=other",
            "RequestId=other",
            "request%69d=other",
            "requestid=K1&requestid=K1",
            "minorversion=4?requestid=K1",
        ] {
            let before = uri(&format!("https://h/v3/company/1/bill?{query}"));
            assert!(plant(&before, "K1").is_err(), "{query}");
        }
    }

    #[test]
    fn a_batch_takes_shorter_ids() {
        let batch = uri("https://h/v3/company/1/batch");
        let bill = uri("https://h/v3/company/1/bill");
        assert!(plant(&batch, &"k".repeat(36)).is_ok());
        assert!(plant(&batch, &"k".repeat(37)).is_err());
        assert!(plant(&bill, &"k".repeat(50)).is_ok());
        assert!(plant(&bill, &"k".repeat(51)).is_err());
        assert!(plant(&bill, "").is_err());
        assert!(plant(&bill, "a&b=c").is_err());
    }

    proptest! {
        #[test]
        fn what_was_planted_is_found_and_stripped_again(
            key in "[A-Za-z0-9._~-]{1,50}", query in "([a-z]{1,6}=[a-z0-9%]{0,6}){1}(&[a-z]{1,6}=[a-z0-9]{0,6}){0,3}"
        ) {
            let before = uri(&format!("https://h/v3/company/1/bill?{query}"));
            let planted = plant(&before, &key).unwrap();
            prop_assert_eq!(own(&planted), Some(key.as_str()));
            prop_assert_eq!(strip(&planted).unwrap(), before);
            prop_assert_eq!(plant(&planted, &key).unwrap(), planted);
        }
    }
}
