//! What was asked, as 32 bytes: the same request has the same fingerprint, another one does not. Pure.
//!
//! Both schemes are SHA-256 over length-prefixed parts: method, scheme and authority, path, query without inert names,
//! content type, body. Version 2, which is recorded at the claim, takes the body's raw bytes, so that no JSON is read on
//! the straight path. Version 1, of which derived keys are made, canonicalises a JSON body by white space and member
//! order only: number literals and strings stay verbatim, arrays keep their order, null is not absent. Other bodies: raw
//! bytes. A body that has one member twice is refused at the claim, whatever is recorded of it.

use super::canonical::{self, Unusual};
use crate::error::Error;
use crate::journal::Fingerprint;
use crate::payload::Payload;
use http::{HeaderValue, Method, Request, Uri, header};
use sha2::{Digest, Sha256};

/// The version of the scheme that [`of`] computes: by canonical form.
pub const CANONICAL: u8 = 1;

/// The version of the scheme by raw bytes.
pub const RAW: u8 = 2;

/// What counts of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) content_type: Option<&'a [u8]>,
    pub(super) body: &'a [u8],
}

/// The fingerprint of a request by its canonical form. Query names that `inert` accepts do not count.
///
/// # Errors
/// [`Error::Invalid`] when a JSON body has the same member twice: which one the upstream takes is not known.
pub fn of(request: &Request<Payload>, inert: impl Fn(&str) -> bool) -> Result<Fingerprint, Error> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let shape = Shape {
        method: request.method(),
        uri: request.uri(),
        content_type: content_type.map(HeaderValue::as_bytes),
        body: request.body().bytes(),
    };
    canonical_of(shape, inert)
}

pub(super) fn canonical_of(
    shape: Shape<'_>,
    inert: impl Fn(&str) -> bool,
) -> Result<Fingerprint, Error> {
    let canonical = canonical(shape.body)?;
    let body = canonical.as_deref().unwrap_or(shape.body);
    Ok(digest(CANONICAL, Shape { body, ..shape }, inert))
}

/// The fingerprint by raw bytes.
pub(super) fn raw(shape: Shape<'_>, inert: impl Fn(&str) -> bool) -> Fingerprint {
    digest(RAW, shape, inert)
}

fn digest(version: u8, shape: Shape<'_>, inert: impl Fn(&str) -> bool) -> Fingerprint {
    let Shape {
        method,
        uri,
        content_type,
        body,
    } = shape;
    let mut hash = Sha256::new();
    hash.update([version]);
    part(&mut hash, method.as_str().as_bytes());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    part(&mut hash, uri.scheme_str().unwrap_or("").as_bytes());
    part(&mut hash, authority.as_bytes());
    part(&mut hash, uri.path().as_bytes());
    for pair in counting(uri, &inert) {
        part(&mut hash, pair.as_bytes());
    }
    part(&mut hash, content_type.unwrap_or_default());
    part(&mut hash, body);
    Fingerprint {
        version,
        digest: hash.finalize().into(),
    }
}

/// The pairs of a query that count.
fn counting<'a>(uri: &'a Uri, inert: &impl Fn(&str) -> bool) -> impl Iterator<Item = &'a str> {
    let pairs = uri.query().unwrap_or("").split('&');
    pairs.filter(move |pair| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        !pair.is_empty() && !inert(name)
    })
}

/// The canonical form of a JSON body; `None` for what has none and counts as it is.
fn canonical(body: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    match canonical::canonical(body) {
        Ok(canonical) => Ok(Some(canonical)),
        Err(Unusual::Raw) => Ok(None),
        Err(Unusual::Twice(name)) => Err(Error::invalid(format!(
            "the JSON body has the member {name:?} twice; nothing was sent; send each member once"
        ))),
    }
}

/// Whether two requests have the same canonical form.
pub(super) fn canonically_equal(
    one: Shape<'_>,
    other: Shape<'_>,
    inert: impl Fn(&str) -> bool,
) -> Result<bool, Error> {
    if one.method != other.method
        || one.uri.scheme() != other.uri.scheme()
        || one.uri.authority() != other.uri.authority()
        || one.uri.path() != other.uri.path()
        || one.content_type.unwrap_or_default() != other.content_type.unwrap_or_default()
        || !counting(one.uri, &inert).eq(counting(other.uri, &inert))
    {
        return Ok(false);
    }
    match (canonical(one.body)?, canonical(other.body)?) {
        (Some(one), Some(other)) => Ok(one == other),
        (None, None) => Ok(one.body == other.body),
        _ => Ok(false),
    }
}

/// Refuses a JSON body that has one member twice: which of them the upstream takes is not known.
///
/// # Errors
/// [`Error::Invalid`] with the member's name.
pub(super) fn refuse_twice(body: &[u8]) -> Result<(), Error> {
    // The names are compared as they are written first. Only where one comes twice, or is written in a way that two
    // spellings could be one name, the body is read in full.
    if super::members::may_repeat(body) {
        canonical(body)?;
    }
    Ok(())
}

/// Parts are prefixed by their length, so that no two lists of parts run together to the same bytes.
pub(super) fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn print(uri: &str, body: &str) -> Result<Fingerprint, Error> {
        let request = Request::post(uri)
            .body(Payload::from(body.to_owned()))
            .unwrap();
        of(&request, |name| name == "requestid")
    }

    fn same(one: &str, other: &str) -> bool {
        print("http://u/", one).unwrap() == print("http://u/", other).unwrap()
    }

    #[test]
    fn only_white_space_and_member_order_do_not_count() {
        assert!(same(
            r#"{"a":1,"b":[1,2]}"#,
            "{ \"b\" : [1, 2],\n \"a\":1 }"
        ));
        assert!(
            !same(r#"{"a":1}"#, r#"{"a":1.0}"#),
            "number literals stay verbatim"
        );
        assert!(
            !same(r#"{"b":[1,2]}"#, r#"{"b":[2,1]}"#),
            "arrays keep their order"
        );
        assert!(
            !same(r#"{"a":1,"b":null}"#, r#"{"a":1}"#),
            "null is not absent"
        );
        assert!(!same(r#"{"a":{"b":1},"c":2}"#, r#"{"a":{"b":1,"c":2}}"#));
    }

    #[test]
    fn a_member_that_comes_twice_is_refused_by_name() {
        let error = print("http://u/", r#"{"x":{"Amount":1,"Amount":2}}"#).unwrap_err();
        assert!(error.to_string().contains("Amount"), "{error}");
    }

    #[test]
    fn inert_query_names_do_not_count_and_others_do() {
        let plain = print("http://u/p?minor=1", "").unwrap();
        assert_eq!(plain, print("http://u/p?minor=1&requestid=7", "").unwrap());
        assert_ne!(plain, print("http://u/p?minor=2", "").unwrap());
        assert_ne!(plain, print("http://v/p?minor=1", "").unwrap());
    }

    fn raw_print(uri: &str, body: &str) -> Fingerprint {
        let request = Request::post(uri).body(Payload::from(body.to_owned()));
        let request = request.unwrap();
        let shape = Shape {
            method: request.method(),
            uri: request.uri(),
            content_type: None,
            body: request.body().bytes(),
        };
        raw(shape, |name| name == "requestid")
    }

    #[test]
    fn raw_bytes_all_count_but_inert_names_do_not() {
        let one = raw_print("http://u/p?minor=1", r#"{"a":1}"#);
        assert_eq!(
            one,
            raw_print("http://u/p?requestid=7&minor=1", r#"{"a":1}"#)
        );
        assert_ne!(one, raw_print("http://u/p?minor=1", r#"{"a": 1}"#));
        assert_ne!(one, raw_print("http://u/p?minor=2", r#"{"a":1}"#));
        assert_eq!(
            (one.version, print("http://u/", "").unwrap().version),
            (RAW, CANONICAL)
        );
    }

    /// JSON with members that may come twice, in objects of every depth.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec!["1", "null", "\"a\"", "\"}\\\"{\"", "[]", "{}"]);
        leaf.prop_map(str::to_owned)
            .prop_recursive(4, 32, 4, |inner| {
                let name = prop::sample::select(vec!["a", "b", "c", "\\u0061", "a\\\\"]);
                let members =
                    prop::collection::vec((name, inner.clone()), 0..4).prop_map(|members| {
                        let members = members
                            .iter()
                            .map(|(name, value)| format!("\"{name}\": {value}"));
                        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
                    });
                let items = prop::collection::vec(inner, 0..4);
                prop_oneof![
                    members,
                    items.prop_map(|items| format!("[{}]", items.join(",")))
                ]
            })
    }

    proptest! {
        #[test]
        fn what_comes_twice_is_refused_at_the_claim_as_by_the_canonical_form(body in json()) {
            prop_assert_eq!(refuse_twice(body.as_bytes()).is_err(), canonical(body.as_bytes()).is_err());
        }

        #[test]
        fn no_bytes_hide_what_comes_twice(body in prop::collection::vec(any::<u8>(), 0..60), json in "[{}\\[\\]:,\"a\\\\ ]{0,30}") {
            for body in [&body[..], json.as_bytes()] {
                prop_assert_eq!(refuse_twice(body).is_err(), canonical(body).is_err());
            }
        }

        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let request = Request::post("http://u/").body(Payload::from(body)).unwrap();
            let _ = of(&request, |_| false);
        }

        #[test]
        fn different_texts_have_different_prints(one in "[ -~]{0,30}", other in "[ -~]{0,30}") {
            let canonical_equal = one.trim() == other.trim();
            if let (Ok(a), Ok(b)) = (print("http://u/", &one), print("http://u/", &other))
                && !canonical_equal
                && serde_json::from_str::<serde_json::Value>(&one).is_err()
            {
                prop_assert_ne!(a, b);
            }
        }

        #[test]
        fn shuffled_members_have_the_same_print(
            members in prop::collection::btree_map("[a-z]{1,4}", any::<u32>(), 0..8), turn in 0_usize..8,
        ) {
            let mut parts: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let sorted = format!("{{{}}}", parts.join(","));
            let at = turn.min(parts.len());
            parts.rotate_left(at);
            let spaced = format!("{{ {} }}", parts.join(" , "));
            prop_assert!(same(&sorted, &spaced));
        }

        #[test]
        fn deep_nesting_is_taken_as_bytes(depth in 100_usize..400) {
            let body = "[".repeat(depth) + &"]".repeat(depth);
            prop_assert!(print("http://u/", &body).is_ok());
        }
    }
}
