//! The canonical form of a JSON body, in one walk over its text. Pure.

use serde_json::value::RawValue;
use std::borrow::Cow;

/// Deeper JSON is taken as raw bytes; serde_json's own limit is the same.
const DEPTH_MAX: usize = 127;

/// Why a JSON text has no canonical form.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unusual {
    /// It is no JSON object or array, nests too deep, or has a name that is no text.
    Raw,
    /// One object has this member twice.
    Twice(String),
}

/// Members in the order of their names, no white space, everything else verbatim. A name stands decoded, so that two
/// spellings of one name are one; its length before it keeps it apart from values.
pub(super) fn canonical(body: &[u8]) -> Result<Vec<u8>, Unusual> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if !matches!(first, Some(b'{' | b'[')) {
        return Err(Unusual::Raw);
    }
    // The walk relies on it that the text is JSON.
    let text = serde_json::from_slice::<&RawValue>(body).map_err(|_| Unusual::Raw)?;
    let mut walk = Walk {
        text: text.get(),
        at: 0,
        // Each member's name gets a length of 8 bytes.
        out: Vec::with_capacity(body.len() * 2),
        members: Vec::new(),
        sorted: Vec::new(),
    };
    walk.value(0)?;
    Ok(walk.out)
}

/// A member that was written: its name, and where it stands in the output.
struct Member<'a> {
    name: Cow<'a, str>,
    from: usize,
    to: usize,
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
    out: Vec<u8>,
    /// Of all objects that are open, the inner ones last.
    members: Vec<Member<'a>>,
    /// Room to put members in order.
    sorted: Vec<u8>,
}

impl<'a> Walk<'a> {
    /// The next byte that is no white space.
    fn next(&mut self) -> Result<u8, Unusual> {
        let rest = &self.text.as_bytes()[self.at..];
        let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
        self.at += space.count();
        let next = self.text.as_bytes().get(self.at);
        next.copied().ok_or(Unusual::Raw)
    }

    fn value(&mut self, depth: usize) -> Result<(), Unusual> {
        let next = self.next()?;
        if depth > DEPTH_MAX {
            return Err(Unusual::Raw);
        }
        match next {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => {
                let string = self.string()?;
                self.out.extend_from_slice(string.as_bytes());
                Ok(())
            }
            _ => {
                let rest = &self.text.as_bytes()[self.at..];
                let ends =
                    |byte: &u8| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace();
                let len = rest.iter().position(ends).unwrap_or(rest.len());
                self.out.extend_from_slice(&rest[..len]);
                self.at += len;
                Ok(())
            }
        }
    }

    /// A string as it stands, with its quotes.
    fn string(&mut self) -> Result<&'a str, Unusual> {
        let from = self.at;
        let bytes = self.text.as_bytes();
        let mut at = from + 1;
        loop {
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => at += 2,
                Some(_) => at += 1,
                None => return Err(Unusual::Raw),
            }
        }
        self.at = at + 1;
        self.text.get(from..self.at).ok_or(Unusual::Raw)
    }

    fn array(&mut self, depth: usize) -> Result<(), Unusual> {
        self.at += 1;
        self.out.push(b'[');
        loop {
            match self.next()? {
                b']' => break,
                b',' => self.at += 1,
                _ => {
                    self.value(depth + 1)?;
                    self.out.push(b',');
                }
            }
        }
        self.at += 1;
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), Unusual> {
        self.at += 1;
        self.out.push(b'{');
        let (first, start) = (self.members.len(), self.out.len());
        loop {
            match self.next()? {
                b'}' => break,
                b',' => self.at += 1,
                _ => self.member(depth)?,
            }
        }
        self.at += 1;
        self.order(first, start)?;
        self.members.truncate(first);
        self.out.push(b'}');
        Ok(())
    }

    fn member(&mut self, depth: usize) -> Result<(), Unusual> {
        let quoted = self.string()?;
        let name = if quoted.contains('\\') {
            let name = serde_json::from_str::<String>(quoted);
            Cow::Owned(name.map_err(|_| Unusual::Raw)?)
        } else {
            Cow::Borrowed(&quoted[1..quoted.len() - 1])
        };
        let from = self.out.len();
        self.out
            .extend_from_slice(&(name.len() as u64).to_le_bytes());
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b':');
        self.next()?;
        self.at += 1;
        self.value(depth + 1)?;
        self.out.push(b',');
        let to = self.out.len();
        self.members.push(Member { name, from, to });
        Ok(())
    }

    /// Puts the members from `first` on in order, where they stand: from `start` to the end.
    fn order(&mut self, first: usize, start: usize) -> Result<(), Unusual> {
        let members = &mut self.members[first..];
        if members.windows(2).all(|pair| pair[0].name < pair[1].name) {
            return Ok(());
        }
        members.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        if let Some(twice) = members.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(Unusual::Twice(twice[0].name.to_string()));
        }
        self.sorted.clear();
        for member in members {
            self.sorted
                .extend_from_slice(&self.out[member.from..member.to]);
        }
        self.out.truncate(start);
        self.out.extend_from_slice(&self.sorted);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn same(one: &str, other: &str) -> bool {
        canonical(one.as_bytes()).unwrap() == canonical(other.as_bytes()).unwrap()
    }

    #[test]
    fn names_are_compared_as_they_read_and_values_as_they_stand() {
        assert!(same(r#"{"a\u0062":1,"b":2}"#, r#"{"b":2,"ab":1}"#));
        assert!(!same(r#"{"a":"\u0062"}"#, r#"{"a":"b"}"#));
        assert!(!same(r#"{"a":1e2}"#, r#"{"a":100}"#));
        let quoted = r#"{"a\"}":"}\\","b":["]\""]}"#;
        assert!(same(quoted, r#" { "b" : [ "]\"" ] , "a\"}" : "}\\" } "#));
    }

    #[test]
    fn a_member_twice_is_seen_at_any_depth_and_in_any_spelling() {
        let twice = canonical(br#"[{"x":[{"a":1,"b":2,"\u0061":1}]}]"#);
        assert_eq!(twice, Err(Unusual::Twice("a".to_owned())));
        assert!(canonical(br#"[{"a":1},{"a":1}]"#).is_ok());
    }

    #[test]
    fn what_is_no_json_or_has_a_name_that_is_no_text_is_raw() {
        for body in [
            "",
            "7",
            "{",
            "{\"a\":}",
            "[1,]",
            "{\"\\ud800\":1}",
            "{\"a\":1} x",
            "{\"a\"\u{a0}:1}",
        ] {
            assert_eq!(canonical(body.as_bytes()), Err(Unusual::Raw), "{body}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Written another way: members turned round, names in escapes, white space between.
    fn otherwise(value: &Value, out: &mut String) {
        match value {
            Value::Array(items) => {
                out.push_str("[ ");
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at > 0 { "\n, " } else { "" });
                    otherwise(item, out);
                }
                out.push_str("\t]");
            }
            Value::Object(members) => {
                out.push('{');
                for (at, (name, value)) in members.iter().rev().enumerate() {
                    out.push_str(if at > 0 { " ,\r\n\"" } else { " \"" });
                    for unit in name.encode_utf16() {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                    out.push_str("\" : ");
                    otherwise(value, out);
                }
                out.push_str(" }");
            }
            leaf => out.push_str(&leaf.to_string()),
        }
    }

    proptest! {
        #[test]
        fn the_same_value_has_the_same_form_however_it_is_written(value in json()) {
            let plain = value.to_string();
            let mut spaced = String::from(" ");
            otherwise(&value, &mut spaced);
            prop_assert_eq!(canonical(plain.as_bytes()), canonical(spaced.as_bytes()));
        }

        #[test]
        fn other_values_have_another_form(one in json(), other in json()) {
            let (a, b) = (one.to_string(), other.to_string());
            if let (Ok(a), Ok(b)) = (canonical(a.as_bytes()), canonical(b.as_bytes())) {
                // As they are written: serde_json takes 1.0 and 1 for one number.
                let written = (one.to_string(), other.to_string());
                prop_assert_eq!(a == b, written.0 == written.1);
            }
        }

        #[test]
        fn no_bytes_panic_the_walk(body in prop::collection::vec(prop_oneof![
            Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b'"'), Just(b'\\'), Just(b','), Just(b':'), any::<u8>(),
        ], 0..60)) {
            let _ = canonical(&body);
        }
    }
}
