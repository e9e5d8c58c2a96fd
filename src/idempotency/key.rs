//! Which key a write has, and which key the upstream sees. Pure.

use super::fingerprint::part;
use super::writes::Writes;
use crate::context::{Context, OperationKey, Tenant};
use crate::error::Error;
use crate::payload::Payload;
use data_encoding::BASE32_NOPAD;
use http::{HeaderName, HeaderValue, Request};
use sha2::{Digest, Sha256};

/// The header that callers send their key in (IETF draft-ietf-httpapi-idempotency-key-header).
pub(super) static HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// The version of [`upstream_key`]'s scheme.
const VERSION: u8 = 1;

/// The key of a write: from its marker, its header, or what its URL carries already. Two that differ are refused.
pub(super) fn of(request: &Request<Payload>, writes: &dyn Writes) -> Result<OperationKey, Error> {
    let marked = Context::of(request).key().cloned();
    let mut values = request.headers().get_all(&HEADER).iter();
    let header = values.next().map(read).transpose()?;
    if values.next().is_some() {
        return Err(Error::invalid(
            "the header `Idempotency-Key` comes more than once; nothing was sent; send one key",
        ));
    }
    let own = writes.own_key(request).map(OperationKey::new).transpose()?;
    let mut keys = [marked, header, own].into_iter().flatten();
    let key = keys.next().ok_or(Error::KeyRequired)?;
    if key.is_derived() {
        return Err(Error::invalid(format!(
            "the key {key} begins with `derived:`, which is kept for keys that are made here; nothing was sent; choose \
             another"
        )));
    }
    match keys.find(|other| *other != key) {
        Some(other) => Err(Error::invalid(format!(
            "the request carries two different keys ({key} and {other}); nothing was sent; set one of marker, \
             `Idempotency-Key` and the upstream's own parameter"
        ))),
        None => Ok(key),
    }
}

fn read(value: &HeaderValue) -> Result<OperationKey, Error> {
    let text = value.to_str().map_err(|_| {
        Error::invalid(
            "the header `Idempotency-Key` is not visible ASCII; encode the key before use",
        )
    })?;
    // The draft's form is a quoted string; the bare form is what most clients send.
    let bare = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(text);
    Ok(OperationKey::new(bare)?)
}

/// The key the upstream sees: 32 characters of base32 that depend on namespace, tenant and key alone.
#[must_use]
pub fn upstream_key(namespace: &str, tenant: &Tenant, key: &OperationKey) -> String {
    let mut hash = Sha256::new();
    hash.update([VERSION]);
    part(&mut hash, namespace.as_bytes());
    part(&mut hash, tenant.as_str().as_bytes());
    part(&mut hash, key.as_str().as_bytes());
    // 160 bits are 32 characters; QBO takes requestid and bId of 50 together.
    BASE32_NOPAD.encode(&hash.finalize()[..20])
}

#[cfg(test)]
mod tests {
    use super::super::writes::KeyHeader;
    use super::*;
    use proptest::prelude::*;

    fn tenant(name: &str) -> Tenant {
        Tenant::new(name).unwrap()
    }

    #[test]
    fn a_write_without_a_key_is_refused() {
        let request = Request::post("http://u/").body(Payload::empty()).unwrap();
        assert!(matches!(
            of(&request, &KeyHeader::new()),
            Err(Error::KeyRequired)
        ));
    }

    #[test]
    fn a_caller_cannot_give_a_key_that_looks_like_one_made_here() {
        let made = OperationKey::derived(&[7; 32], 1);
        let request = Request::post("http://u/").header("idempotency-key", made.as_str());
        let request = request.body(Payload::empty()).unwrap();
        let error = of(&request, &KeyHeader::new()).unwrap_err();
        assert!(error.to_string().contains("derived:"), "{error}");
    }

    #[test]
    fn two_keys_that_differ_are_refused_with_both_names() {
        let mut request = Request::post("http://u/")
            .header("idempotency-key", "\"one\"")
            .body(Payload::empty())
            .unwrap();
        assert_eq!(of(&request, &KeyHeader::new()).unwrap().as_str(), "one");
        let marked = Context::new().with_key(OperationKey::new("two").unwrap());
        request.extensions_mut().insert(marked);
        let error = of(&request, &KeyHeader::new()).unwrap_err().to_string();
        assert!(error.contains("two") && error.contains("one"), "{error}");
    }

    proptest! {
        #[test]
        fn upstream_keys_are_short_and_differ_in_every_part(
            namespace in "[a-z]{0,8}", name in "[a-z0-9]{0,8}", key in "[!-~]{1,40}", other in "[!-~]{1,40}",
        ) {
            let made = upstream_key(&namespace, &tenant(&name), &OperationKey::new(&key).unwrap());
            prop_assert_eq!(made.len(), 32);
            let again = upstream_key(&namespace, &tenant(&name), &OperationKey::new(&key).unwrap());
            prop_assert_eq!(&made, &again);
            if key != other {
                let differs = upstream_key(&namespace, &tenant(&name), &OperationKey::new(&other).unwrap());
                prop_assert_ne!(&made, &differs);
            }
            // The parts do not run together.
            let moved = upstream_key(&format!("{namespace}{name}"), &tenant(""), &OperationKey::new(&key).unwrap());
            prop_assert!(name.is_empty() || made != moved);
        }
    }
}
