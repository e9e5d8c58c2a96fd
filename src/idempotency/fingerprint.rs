//! What was asked, as 32 bytes: the same request has the same fingerprint, another one does not. Pure.
//!
//! Version 1: SHA-256 over length-prefixed parts: method, scheme and authority, path, query without inert names,
//! content type, body. A JSON body is canonicalised by white space and member order only: number literals and strings
//! stay verbatim, arrays keep their order, null is not absent, duplicate members are refused. Other bodies: raw bytes.

use crate::error::Error;
use crate::journal::Fingerprint;
use crate::payload::Payload;
use http::{Request, header};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// The version of the scheme that [`of`] computes.
pub const VERSION: u8 = 1;

/// Deeper JSON is taken as raw bytes; serde_json's own limit is the same.
const DEPTH_MAX: usize = 127;

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
    match canonical(body)? {
        Some(canonical) => part(&mut hash, &canonical),
        None => part(&mut hash, body),
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

/// The canonical form of a JSON body; `None` when it is no JSON object or array.
fn canonical(body: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    if !matches!(
        body.iter().find(|byte| !byte.is_ascii_whitespace()),
        Some(b'{' | b'[')
    ) {
        return Ok(None);
    }
    let Ok(value) = serde_json::from_slice::<&RawValue>(body) else {
        return Ok(None);
    };
    let mut out = Vec::with_capacity(body.len());
    match write(value.get(), &mut out, 0) {
        Ok(()) => Ok(Some(out)),
        Err(Unusual::Deep) => Ok(None),
        Err(Unusual::Twice(name)) => Err(Error::invalid(format!(
            "the JSON body has the member {name:?} twice; nothing was sent; send each member once"
        ))),
    }
}

enum Unusual {
    Deep,
    Twice(String),
}

fn write(text: &str, out: &mut Vec<u8>, depth: usize) -> Result<(), Unusual> {
    let text = text.trim_ascii();
    if depth > DEPTH_MAX {
        return Err(Unusual::Deep);
    }
    match text.as_bytes().first() {
        Some(b'{') => {
            let Members(mut members) = serde_json::from_str(text).map_err(|_| Unusual::Deep)?;
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            if let Some(twice) = members.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(Unusual::Twice(twice[0].0.to_string()));
            }
            out.push(b'{');
            for (name, value) in members {
                // The decoded name, so that two spellings of one name are one; its length keeps it apart from values.
                out.extend_from_slice(&(name.len() as u64).to_le_bytes());
                out.extend_from_slice(name.as_bytes());
                out.push(b':');
                write(value.get(), out, depth + 1)?;
                out.push(b',');
            }
            out.push(b'}');
        }
        Some(b'[') => {
            let Items(items) = serde_json::from_str(text).map_err(|_| Unusual::Deep)?;
            out.push(b'[');
            for value in items {
                write(value.get(), out, depth + 1)?;
                out.push(b',');
            }
            out.push(b']');
        }
        _ => out.extend_from_slice(text.as_bytes()),
    }
    Ok(())
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<Name<'de>, &RawValue>()? {
                    members.push((name.0, value));
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Visit)
    }
}

/// A member's name, borrowed unless it has escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        from.deserialize_str(Visit)
    }
}

struct Items<'a>(Vec<&'a RawValue>);

impl<'de> serde::Deserialize<'de> for Items<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Items<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(value) = seq.next_element::<&RawValue>()? {
                    items.push(value);
                }
                Ok(Items(items))
            }
        }
        from.deserialize_seq(Visit)
    }
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
