//! A URL's query, read without allocating and with percent-encoding undone where it could hide a name.

/// Name and value of each pair, as written.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Whether `raw` says `plain` once decoded, in any case.
pub(crate) fn says(raw: &str, plain: &str) -> bool {
    let mut decoded = Decoded(raw.as_bytes());
    plain.bytes().all(|byte| {
        decoded
            .next()
            .is_some_and(|own| own.eq_ignore_ascii_case(&byte))
    }) && decoded.next().is_none()
}

/// The decoded text; broken UTF-8 is replaced.
pub(crate) fn decode(raw: &str) -> String {
    let bytes: Vec<u8> = Decoded(raw.as_bytes()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Everything but RFC 3986's unreserved characters as `%XX`.
pub(crate) fn encode(plain: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(plain.len() * 2);
    for byte in plain.bytes() {
        if is_unreserved(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// RFC 3986, section 2.3.
pub(crate) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        if let (b'%', [high, low, after @ ..]) = (*byte, rest)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            self.0 = after;
            return Some(high << 4 | low);
        }
        self.0 = rest;
        Some(if *byte == b'+' { b' ' } else { *byte })
    }
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(text in ".{0,40}") {
            prop_assert!(says(&encode(&text), &text));
            prop_assert_eq!(decode(&encode(&text)), text);
        }

        #[test]
        fn no_text_panics_the_decoder(text in "[%+=&a-f0-9]{0,20}") {
            for (name, value) in pairs(&text) {
                let _ = (decode(name), says(value, "x"));
            }
        }
    }

    #[test]
    fn encoding_hides_no_name() {
        assert!(says("%6Fperation", "operation"));
        assert!(!says("operation2", "operation"));
        assert!(!says("operatio", "operation"));
    }
}
