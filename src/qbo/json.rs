//! A JSON value seen as the bytes it was written in: members in order, number literals verbatim, no allocation.
//!
//! QBO's answers are large and only a few members of them matter, and a request that carries money must reach the
//! upstream with every literal as the caller wrote it. A `serde_json::Value` would cost the first and lose the second.

use serde_json::value::RawValue;
use std::borrow::Cow;

/// One value. [`Json::checked`] vouches for its syntax; the walkers are total on anything and end where they are lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Json<'a>(&'a [u8]);

impl<'a> Json<'a> {
    /// The value that makes up all of `bytes`; `None` unless that is well-formed JSON to its last byte.
    pub(crate) fn checked(bytes: &'a [u8]) -> Option<Self> {
        let raw: &'a RawValue = serde_json::from_slice(bytes).ok()?;
        Some(Self(raw.get().as_bytes()))
    }

    /// The value as which `bytes` begin, syntax unseen: for requests, whose syntax the upstream judges.
    pub(crate) fn unchecked(bytes: &'a [u8]) -> Self {
        Self(bytes.trim_ascii())
    }

    /// As written.
    pub(crate) const fn raw(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn is_object(self) -> bool {
        self.0.starts_with(b"{")
    }

    pub(crate) fn is_array(self) -> bool {
        self.0.starts_with(b"[")
    }

    pub(crate) fn is_null(self) -> bool {
        self.0 == b"null"
    }

    /// The members of an object, in order; of anything else, none.
    pub(crate) fn members(self) -> Members<'a> {
        Members(self.0.strip_prefix(b"{").unwrap_or_default())
    }

    /// The items of an array, in order; of anything else, none.
    pub(crate) fn items(self) -> Items<'a> {
        Items(self.0.strip_prefix(b"[").unwrap_or_default())
    }

    /// The first member of this name.
    pub(crate) fn get(self, name: &str) -> Option<Self> {
        self.members()
            .find(|(key, _)| key.is(name))
            .map(|(_, value)| value)
    }

    /// The text of a string; of a number, its literal.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        let inner = match self.0 {
            [b'"', inner @ .., b'"'] => inner,
            [b'-' | b'0'..=b'9', ..] => self.0,
            _ => return None,
        };
        if inner.contains(&b'\\') {
            return serde_json::from_slice(self.0).ok().map(Cow::Owned);
        }
        std::str::from_utf8(inner).ok().map(Cow::Borrowed)
    }

    /// The number, also when it is written as a string. Amounts of up to 15 digits compare exactly.
    pub(crate) fn number(self) -> Option<f64> {
        self.text()?
            .trim()
            .parse()
            .ok()
            .filter(|n: &f64| n.is_finite())
    }

    /// Whether this is the string `text`.
    pub(crate) fn is(self, text: &str) -> bool {
        match self.0 {
            [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => inner == text.as_bytes(),
            _ => self.text().is_some_and(|own| own == text),
        }
    }

    /// Where this value begins in `whole`, which it was taken from.
    pub(crate) fn offset_in(self, whole: &[u8]) -> usize {
        (self.0.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
    }
}

/// See [`Json::members`].
#[derive(Clone, Debug)]
pub(crate) struct Members<'a>(&'a [u8]);

impl<'a> Iterator for Members<'a> {
    type Item = (Json<'a>, Json<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = past_comma(std::mem::take(&mut self.0));
        if !rest.starts_with(b"\"") {
            return None;
        }
        let (key, rest) = take_value(rest)?;
        let rest = rest.trim_ascii_start().strip_prefix(b":")?;
        let (value, rest) = take_value(rest)?;
        self.0 = rest;
        Some((key, value))
    }
}

/// See [`Json::items`].
#[derive(Clone, Debug)]
pub(crate) struct Items<'a>(&'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (value, rest) = take_value(past_comma(std::mem::take(&mut self.0)))?;
        self.0 = rest;
        Some(value)
    }
}

fn past_comma(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.trim_ascii_start();
    bytes
        .strip_prefix(b",")
        .map_or(bytes, <[u8]>::trim_ascii_start)
}

/// Splits off the first value; `None` where there is none, or where it does not end.
fn take_value(bytes: &[u8]) -> Option<(Json<'_>, &[u8])> {
    let bytes = bytes.trim_ascii_start();
    let end = match bytes.first()? {
        b'"' => string_end(bytes, 0)?,
        b'{' | b'[' => nest_end(bytes)?,
        _ => bytes
            .iter()
            .position(|byte| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace())
            .unwrap_or(bytes.len()),
    };
    if end == 0 {
        return None;
    }
    let (value, rest) = bytes.split_at(end);
    Some((Json(value), rest))
}

/// One past the closing quote of the string that opens at `start`.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// One past the bracket that closes the one at 0. Counts rather than recurses: nesting is the sender's choice.
fn nest_end(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = string_end(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn walk(json: Json<'_>, depth: u8) -> usize {
        let inner = if depth == 0 {
            0
        } else {
            json.members()
                .map(|(_, v)| walk(v, depth - 1))
                .sum::<usize>()
                + json.items().map(|v| walk(v, depth - 1)).sum::<usize>()
        };
        let _ = (json.text(), json.number());
        inner + 1
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_walkers(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            walk(Json::unchecked(&bytes), 4);
        }

        #[test]
        fn no_json_like_text_panics_the_walkers(text in r#"[\[\]{}",:\\ a1-]{0,60}"#) {
            walk(Json::unchecked(text.as_bytes()), 4);
        }

        #[test]
        fn members_come_as_serde_json_reads_them(
            members in proptest::collection::btree_map("[a-z\"\\\\]{1,6}", "[ -~]{0,12}", 0..6)
        ) {
            let text = serde_json::to_string(&members).unwrap();
            let json = Json::checked(text.as_bytes()).unwrap();
            let seen: Vec<_> = json
                .members()
                .map(|(k, v)| (k.text().unwrap().into_owned(), v.text().unwrap().into_owned()))
                .collect();
            prop_assert_eq!(seen, members.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn nesting_of_any_depth_is_walked_without_recursion() {
        let deep = format!(
            "{{\"a\":{}{},\"Id\":\"1\"}}",
            "[".repeat(200_000),
            "]".repeat(200_000)
        );
        assert!(Json::unchecked(deep.as_bytes()).get("Id").unwrap().is("1"));
    }

    #[test]
    fn a_name_written_with_escapes_is_the_same_name() {
        let json = Json::unchecked(br#"{"\u0049d":"7"}"#);
        assert!(json.get("Id").unwrap().is("7"));
    }

    #[test]
    fn half_a_document_is_not_checked_json() {
        assert!(Json::checked(br#"{"a":1"#).is_none());
        assert!(Json::checked(br#"{"a":1} x"#).is_none());
        assert!(Json::checked(b"").is_none());
    }
}
