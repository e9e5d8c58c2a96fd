//! What was asked, as 32 bytes: the same request has the same fingerprint, another one does not. Pure.
//!
//! Version 1: SHA-256 over length-prefixed parts: method, scheme and authority, path, query without inert names,
//! content type, body. A JSON body is canonicalised by white space and member order only: number literals and strings
//! stay verbatim, arrays keep their order, null is not absent, duplicate members are refused. Other bodies: raw bytes.

use super::canonical::{Unusual, canonical};
use crate::error::Error;
use crate::journal::Fingerprint;
use crate::payload::Payload;
use http::{Request, header};
use sha2::{Digest, Sha256};

/// The version of the scheme that [`of`] computes.
pub const VERSION: u8 = 1;

/// The fingerprint of a request. Query names that `inert` accepts do not count.
///
/// # Errors
/// [`Error::Invalid`] when a JSON body has the same member twice: which one the upstream takes is not known.
pub fn of(request: &Request<Payload>, inert: impl Fn(&str) -> bool) -> Result<Fingerprint, Error> {
    let mut hash = Sha256::new();
    hash.update([VERSION]);
    part(&mut hash, request.method().as_str().as_bytes());
    let uri = request.uri();
    part(&mut hash, uri.scheme_str().unwrap_or("").as_bytes());
    part(
        &mut hash,
        uri.authority()
            .map_or("", |authority| authority.as_str())
            .as_bytes(),
    );
    part(&mut hash, uri.path().as_bytes());
    for pair in uri.query().unwrap_or("").split('&') {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        if !pair.is_empty() && !inert(name) {
            part(&mut hash, pair.as_bytes());
        }
    }
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], |value| value.as_bytes());
    part(&mut hash, kind);
    let body = request.body().bytes();
    match canonical(body) {
        Ok(canonical) => part(&mut hash, &canonical),
        Err(Unusual::Raw) => part(&mut hash, body),
        Err(Unusual::Twice(name)) => {
            return Err(Error::invalid(format!(
                "the JSON body has the member {name:?} twice; nothing was sent; send each member once"
            )));
        }
    }
    Ok(Fingerprint {
        version: VERSION,
        digest: hash.finalize().into(),
    })
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

    proptest! {
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
