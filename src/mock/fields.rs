//! The members of an entity at rest: one text, where a tree of values would take ten times the memory. Pure.

use serde_json::{Map, Value};
use std::borrow::Cow;

/// Between a member's name and its value, and after each member. Neither occurs in either: names are known ones, and JSON
/// escapes control characters.
const VALUE: char = '\u{1f}';
const END: char = '\u{1e}';

/// Members of an object, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields(Box<str>);

impl From<&Map<String, Value>> for Fields {
    fn from(members: &Map<String, Value>) -> Self {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(512);
        for (name, value) in members {
            // Writing to a String cannot fail.
            let _ = write!(text, "{name}{VALUE}{value}{END}");
        }
        Self(text.into_boxed_str())
    }
}

impl Fields {
    /// Names and values; the values as JSON.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let members = self.0.split_terminator(END);
        members.filter_map(|member| member.split_once(VALUE))
    }

    /// A member's value as JSON.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(one, _)| *one == name)
            .map(|(_, value)| value)
    }

    pub(super) fn get(&self, name: &str) -> Option<Value> {
        serde_json::from_str(self.raw(name)?).ok()
    }

    /// A member that is a text.
    pub(super) fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        let raw = self.raw(name)?;
        let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
        if inside.contains('\\') {
            serde_json::from_str(raw).ok().map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(inside))
        }
    }

    pub(super) fn to_map(&self) -> Map<String, Value> {
        let members = self.iter();
        members
            .filter_map(|(name, value)| Some((name.to_owned(), serde_json::from_str(value).ok()?)))
            .collect()
    }

    pub(super) fn edit(&mut self, change: impl FnOnce(&mut Map<String, Value>)) {
        let mut members = self.to_map();
        change(&mut members);
        *self = Self::from(&members);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map(".*", inner, 0..3)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_put_at_rest_comes_back(
            members in proptest::collection::btree_map("[A-Za-z0-9]{1,12}", value(), 0..6)
        ) {
            let members: Map<_, _> = members.into_iter().collect();
            let fields = Fields::from(&members);
            prop_assert_eq!(&fields.to_map(), &members);
            for (name, value) in &members {
                prop_assert_eq!(fields.get(name), Some(value.clone()));
                prop_assert_eq!(fields.text(name), value.as_str().map(Cow::Borrowed));
            }
            prop_assert_eq!(fields.get("absent!"), None);
        }
    }
}
