//! Whether a JSON body may have one member twice, told in one pass without reading its values. Pure.

/// More names in one object than are compared one by one, and more levels than are followed: read in full.
const NAMES_MAX: usize = 64;
const DEPTH_MAX: usize = 127;
/// Names open at once in most bodies: a bound on nothing.
const NAMES_USUAL: usize = 16;

/// `false` only where no object of the body has two members of one name, or the body is no JSON object or array. Whoever
/// is told `true` reads the body in full.
pub(super) fn may_repeat(body: &[u8]) -> bool {
    let Some(start) = body.iter().position(|byte| !byte.is_ascii_whitespace()) else {
        return false;
    };
    if !matches!(body[start], b'{' | b'[') {
        return false;
    }
    let mut names: Vec<&[u8]> = Vec::with_capacity(NAMES_USUAL);
    // Of each open object or array: where its names begin, and whether it has any.
    let mut open = [(0_u16, false); DEPTH_MAX];
    let mut depth = 0;
    let mut name_next = false;
    let mut at = start;
    while let Some(byte) = body.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                let Some(level) = open.get_mut(depth) else {
                    return true;
                };
                let Ok(first) = u16::try_from(names.len()) else {
                    return true;
                };
                *level = (first, *byte == b'{');
                depth += 1;
                name_next = *byte == b'{';
            }
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                names.truncate(usize::from(open[depth].0));
                name_next = false;
            }
            b',' if depth > 0 => name_next = open[depth - 1].1,
            b'"' => {
                let Some((text, escaped)) = string(&body[at..]) else {
                    return true;
                };
                at += text.len() + 1;
                if !std::mem::take(&mut name_next) {
                    continue;
                }
                let first = usize::from(open[depth.saturating_sub(1)].0);
                // Two spellings may be one name.
                if escaped || names.len() - first >= NAMES_MAX || names[first..].contains(&text) {
                    return true;
                }
                names.push(text);
            }
            _ => {}
        }
    }
    false
}

/// The text up to the closing quote, and whether it has escapes; `None` where it does not end.
fn string(rest: &[u8]) -> Option<(&[u8], bool)> {
    let mut escaped = false;
    let mut at = 0;
    loop {
        while let Some(eight) = rest[at..].first_chunk() {
            match first_special(u64::from_le_bytes(*eight)) {
                Some(special) => {
                    at += special;
                    break;
                }
                None => at += 8,
            }
        }
        match rest.get(at)? {
            b'"' => return Some((&rest[..at], escaped)),
            b'\\' => {
                escaped = true;
                // Whatever is escaped, it does not end the text; nothing follows where the body ends here.
                at = (at + 2).min(rest.len());
            }
            _ => at += 1,
        }
    }
}

/// Which of eight bytes, the first one lowest, is the first quote or backslash.
const fn first_special(eight: u64) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    let quotes = eight ^ (ONES * b'"' as u64);
    let slashes = eight ^ (ONES * b'\\' as u64);
    // The high bit of each byte that is zero; above the lowest one there may be bits that say nothing.
    let zero =
        ((quotes.wrapping_sub(ONES) & !quotes) | (slashes.wrapping_sub(ONES) & !slashes)) & HIGH;
    if zero == 0 {
        None
    } else {
        Some((zero.trailing_zeros() / 8) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_one_object_count() {
        for (body, repeats) in [
            (r#"{"a":1,"b":2}"#, false),
            (r#"{"a":1,"a":2}"#, true),
            (r#"{"a":{"a":1},"b":[{"a":1},{"a":2}]}"#, false),
            (r#"{"b":{"x":1},"c":{"x":1,"y":[],"x":2}}"#, true),
            (r#"{"a":"a","b":"a"}"#, false),
            (r#"{"a":["a","a"],"b":"}","c":"\"a\":"}"#, false),
            (r#"{"a":{},"a":{}}"#, true),
            (r#" [ {"a":1 , "a":1} ]"#, true),
            ("a=1&a=2", false),
            ("", false),
        ] {
            assert_eq!(may_repeat(body.as_bytes()), repeats, "{body}");
        }
    }

    #[test]
    fn what_is_not_followed_is_read_in_full() {
        let many: Vec<String> = (0..100).map(|name| format!("\"{name}\":1")).collect();
        assert!(may_repeat(format!("{{{}}}", many.join(",")).as_bytes()));
        assert!(may_repeat("[".repeat(200).as_bytes()));
        assert!(may_repeat(br#"{"\u0061":1}"#));
        assert!(may_repeat(br#"{"a"#));
    }
}
