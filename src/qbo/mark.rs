//! A mark planted in a transaction's `PrivateNote`, by which a write in doubt is found again. Pure.
//!
//! The note cannot be queried (facts 3, A), so a look-up reads the company's recent rows and searches them. Everything
//! of the body but the note stays byte for byte as the caller wrote it.

use super::entity::{Entity, EntityKind};
use super::json::Json;
use crate::error::Error;
use bytes::Bytes;

/// The longest note (facts 8, A).
pub const MAX_NOTE: usize = 4000;

const OPEN: &str = "[sturdy:";

/// Whether a mark can be planted in this entity.
#[must_use]
pub fn is_markable(entity: Entity) -> bool {
    entity.kind() == EntityKind::Transaction
}

/// The body of a create with the mark in its note.
///
/// Only for creates: an updated entity carries the mark of the operation that created it.
///
/// # Errors
/// [`Error::Invalid`] when the body is no JSON object, when its note is no text, too long with the mark, or carries
/// another operation's mark (a copied note would make two operations look like one).
pub fn plant(body: &Bytes, mark: &str) -> Result<Bytes, Error> {
    let refused =
        |why: &str| Error::invalid(format!("no mark can be planted: {why}; nothing was sent"));
    if mark.is_empty() || !mark.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(refused("it is not letters, digits and `-`"));
    }
    let json = Json::checked(body)
        .filter(|json| json.is_object())
        .ok_or_else(|| refused("the body is no JSON object; send the entity as JSON"))?;
    let mut notes = json.members().filter(|(name, _)| name.is("PrivateNote"));
    let note = notes.next().map(|(_, value)| value);
    if notes.next().is_some() {
        return Err(refused("the body has two PrivateNotes; send one"));
    }
    let text = match note {
        Some(note) if !note.is_null() => note
            .text()
            .filter(|_| note.raw().starts_with(b"\""))
            .ok_or_else(|| refused("PrivateNote is not a text"))?,
        _ => "".into(),
    };
    let tag = format!("{OPEN}{mark}]");
    if text.contains(&tag) && text.matches(OPEN).count() == 1 {
        return Ok(body.clone());
    }
    if text.contains(OPEN) {
        return Err(refused(
            "PrivateNote carries the mark of another operation, copied perhaps; remove `[sturdy:..]` from it",
        ));
    }
    let joint = if text.is_empty() { "" } else { " " };
    let marked = format!("{text}{joint}{tag}");
    if marked.chars().count() > MAX_NOTE {
        return Err(refused(&format!(
            "PrivateNote would be longer than {MAX_NOTE} characters with it; shorten the note by {}",
            marked.chars().count() - MAX_NOTE
        )));
    }
    Ok(with_note(
        body,
        json,
        note,
        &serde_json::Value::from(marked).to_string(),
    ))
}

/// The body with `literal` in place of the note, or as a last member.
fn with_note(body: &Bytes, json: Json<'_>, note: Option<Json<'_>>, literal: &str) -> Bytes {
    let (from, to, insert) = match note {
        Some(old) => {
            let from = old.offset_in(body);
            (from, from + old.raw().len(), literal.to_owned())
        }
        None => {
            // The closing brace is the last byte of a checked object.
            let end = json.offset_in(body) + json.raw().len() - 1;
            let joint = if json.members().next().is_some() {
                ","
            } else {
                ""
            };
            (end, end, format!("{joint}\"PrivateNote\":{literal}"))
        }
    };
    [&body[..from], insert.as_bytes(), &body[to..]]
        .concat()
        .into()
}

/// Whether the entity's note carries exactly this mark.
#[must_use]
pub fn find(entity: &[u8], mark: &str) -> bool {
    is_in(Json::unchecked(entity), mark)
}

pub(crate) fn is_in(entity: Json<'_>, mark: &str) -> bool {
    let note = entity.get("PrivateNote").and_then(Json::text);
    note.is_some_and(|note| note.contains(&format!("{OPEN}{mark}]")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn planted(body: &'static str, mark: &str) -> Result<String, Error> {
        let bytes = plant(&Bytes::from_static(body.as_bytes()), mark)?;
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn all_but_the_note_stays_byte_for_byte() {
        for (before, after) in [
            (
                r#"{"TotalAmt":100.10 ,"Id":1e2}"#,
                r#"{"TotalAmt":100.10 ,"Id":1e2,"PrivateNote":"[sturdy:M1]"}"#,
            ),
            ("{ }\n", "{ \"PrivateNote\":\"[sturdy:M1]\"}\n"),
            (
                r#"{"PrivateNote": null,"A":1.00}"#,
                r#"{"PrivateNote": "[sturdy:M1]","A":1.00}"#,
            ),
            (
                r#"{"B":[1.0],"PrivateNote":"rent \"May\"","A":{"PrivateNote":"x"}}"#,
                r#"{"B":[1.0],"PrivateNote":"rent \"May\" [sturdy:M1]","A":{"PrivateNote":"x"}}"#,
            ),
        ] {
            assert_eq!(planted(before, "M1").unwrap(), after);
        }
    }

    #[test]
    fn what_cannot_carry_a_mark_is_refused() {
        for body in [
            "[]",
            "<Bill/>",
            r#"{"PrivateNote":7}"#,
            r#"{"PrivateNote":"a","PrivateNote":"b"}"#,
            r#"{"PrivateNote":"[sturdy:OTHER]"}"#,
            r#"{"PrivateNote":"[sturdy:OTHER] [sturdy:M1]"}"#,
        ] {
            assert!(planted(body, "M1").is_err(), "{body}");
        }
        assert!(planted("{}", "a]b").is_err());
        let long = format!("{{\"PrivateNote\":\"{}\"}}", "n".repeat(3989));
        assert!(plant(&Bytes::from(long), "M1").is_err());
    }

    #[test]
    fn a_mark_is_found_only_whole_and_only_in_the_note() {
        assert!(find(br#"{"PrivateNote":"Voided [sturdy:M1]"}"#, "M1"));
        assert!(!find(br#"{"PrivateNote":"[sturdy:M12]"}"#, "M1"));
        assert!(!find(br#"{"Memo":"[sturdy:M1]"}"#, "M1"));
        assert!(!find(b"{}", "M1"));
    }

    #[test]
    fn transactions_are_markable_and_names_are_not() {
        assert!(is_markable(Entity::BillPayment) && is_markable(Entity::Bill));
        assert!(!is_markable(Entity::Vendor) && !is_markable(Entity::Other));
    }

    proptest! {
        #[test]
        fn what_was_planted_is_found_and_planting_again_changes_nothing(
            note in "[^\u{0}]{0,40}", mark in "[A-Z2-7]{1,26}"
        ) {
            prop_assume!(!note.contains("[sturdy:"));
            let body = Bytes::from(serde_json::json!({"PrivateNote": note, "Z": 1}).to_string());
            let once = plant(&body, &mark).unwrap();
            prop_assert!(find(&once, &mark));
            prop_assert!(!find(&body, &mark));
            prop_assert_eq!(plant(&once, &mark).unwrap(), once);
        }
    }
}
