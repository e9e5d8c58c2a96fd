//! How values and their places are written in the server. Pure.

use super::super::{Expected, ShelfError, Shelved};
use crate::clock::Timestamp;
use bytes::{Buf, Bytes};

/// Stands for no expiry; no expiry is this late.
const NEVER: u64 = u64::MAX;

/// The name of a place. The namespace holds no colon, and the length says where the space ends: no two places share one.
pub(super) fn name(namespace: &str, space: &str, key: &str) -> Vec<u8> {
    format!("sturdy:{namespace}:{}:{space}:{key}", space.len()).into_bytes()
}

/// What the scripts compare with the version that is there.
pub(super) fn expected(expected: Expected) -> Vec<u8> {
    match expected {
        Expected::Absent => Vec::new(),
        Expected::Version(version) => version.to_be_bytes().to_vec(),
        // One byte is no version, so it can be told from one.
        Expected::Any => vec![b'*'],
    }
}

/// The expiry for the server, which refuses 0.
pub(super) fn expiry(expires: Option<Timestamp>) -> String {
    expires.map_or_else(String::new, |at| at.as_millis().max(1).to_string())
}

/// A version out of an id.
pub(super) fn half(id: u128) -> u64 {
    (&id.to_be_bytes()[..]).get_u64()
}

/// Version, expiry, value.
pub(super) fn written(version: u64, expires: Option<Timestamp>, value: &[u8]) -> Vec<u8> {
    let expires = expires.map_or(NEVER, Timestamp::as_millis);
    let mut text = Vec::with_capacity(16 + value.len());
    text.extend_from_slice(&version.to_be_bytes());
    text.extend_from_slice(&expires.to_be_bytes());
    text.extend_from_slice(value);
    text
}

/// What [`written`] wrote.
pub(super) fn read(mut text: Bytes) -> Result<Shelved, ShelfError> {
    let (Ok(version), Ok(expires)) = (text.try_get_u64(), text.try_get_u64()) else {
        return Err(foreign());
    };
    Ok(Shelved {
        value: text,
        version,
        expires: (expires != NEVER).then(|| Timestamp::from_millis(expires)),
    })
}

/// The version that a script found.
pub(super) fn version(held: &[u8]) -> Result<Option<u64>, ShelfError> {
    if held.is_empty() {
        return Ok(None);
    }
    let held = <[u8; 8]>::try_from(held).map_err(|_| foreign())?;
    Ok(Some(u64::from_be_bytes(held)))
}

fn foreign() -> ShelfError {
    ShelfError::unavailable(
        "redis holds something at this place that no shelf wrote: use a namespace that nobody else uses",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            version: u64,
            millis in proptest::option::of(0..Timestamp::NEVER.as_millis()),
            value: Vec<u8>,
        ) {
            let expires = millis.map(Timestamp::from_millis);
            let found = read(Bytes::from(written(version, expires, &value))).unwrap();
            prop_assert_eq!(found, Shelved { value: Bytes::from(value), version, expires });
        }

        #[test]
        fn any_text_is_read_without_panic(text: Vec<u8>) {
            let whole = text.len() >= 16;
            prop_assert_eq!(version(&text).is_ok(), matches!(text.len(), 0 | 8));
            prop_assert_eq!(read(Bytes::from(text)).is_ok(), whole);
        }

        #[test]
        fn no_two_places_share_a_name(
            a in ("[a:1-3]{1,4}", "[a:1-3]{0,4}"),
            b in ("[a:1-3]{1,4}", "[a:1-3]{0,4}"),
        ) {
            let names = [&a, &b].map(|(space, key)| name("n", space, key));
            prop_assert_eq!(names[0] == names[1], a == b);
        }
    }

    #[test]
    fn an_expectation_is_never_taken_for_another() {
        let star = u64::from_be_bytes([b'*'; 8]);
        let all = [
            Expected::Absent,
            Expected::Any,
            Expected::Version(star),
            Expected::Version(0),
        ];
        for one in all {
            for other in all {
                assert_eq!(expected(one) == expected(other), one == other);
            }
        }
    }
}
