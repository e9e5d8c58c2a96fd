//! Just enough XML to read a fault in QBO's own envelope. Anything else is `None`, never a guess and never a panic.

use super::fault::{Envelope, Fault, FaultError, MAX_ERRORS};

/// The fault of an `<IntuitResponse>`; `None` unless that is there to its closing tag.
pub(crate) fn fault(body: &[u8]) -> Option<Fault> {
    let text = std::str::from_utf8(body).ok()?;
    let text = match text.strip_prefix("<?xml") {
        Some(after) => after.split_once("?>")?.1.trim_start(),
        None => text,
    };
    // Half a document is no answer, even if the half holds the whole fault.
    let text = text.strip_suffix("</IntuitResponse>")?;
    let (_, inside) = open(text.strip_prefix('<')?, "IntuitResponse")?;
    let (attributes, inside) = first(inside, "Fault")?;
    let (mut inside, _) = inside.split_once("</Fault>")?;
    let kind = attribute(attributes, "type").unwrap_or_default();
    let mut errors = Vec::new();
    while let Some((attributes, rest)) = first(inside, "Error") {
        if errors.len() == MAX_ERRORS {
            break;
        }
        let (one, after) = if attributes.ends_with('/') {
            ("", rest)
        } else {
            rest.split_once("</Error>")?
        };
        errors.push(FaultError {
            code: attribute(attributes, "code").unwrap_or_default(),
            message: content(one, "Message").unwrap_or_default(),
            detail: content(one, "Detail").unwrap_or_default(),
            element: attribute(attributes, "element").filter(|element| !element.is_empty()),
        });
        inside = after;
    }
    Some(Fault {
        envelope: Envelope::Xml,
        kind,
        errors,
    })
}

/// The attributes and what follows of the first tag of this name.
fn first<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let mut rest = text;
    loop {
        rest = rest.split_once('<')?.1;
        if let Some(found) = open(rest, name) {
            return Some(found);
        }
    }
}

/// `text` begins right after a `<`: attributes and what follows, if the tag has this name.
fn open<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let after = text.strip_prefix(name)?;
    if !after.starts_with(|next: char| next == '>' || next == '/' || next.is_ascii_whitespace()) {
        return None;
    }
    // A `>` inside an attribute's value would end the tag early; QBO writes none, and what follows would not be read.
    after.split_once('>')
}

fn attribute(attributes: &str, name: &str) -> Option<String> {
    let mut rest = attributes;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, next) = after[1..].split_once(quote)?;
        if key.trim() == name {
            return Some(unescape(value));
        }
        rest = next;
    }
}

fn content(text: &str, name: &str) -> Option<String> {
    let (attributes, inside) = first(text, name)?;
    if attributes.ends_with('/') {
        return None;
    }
    let end = inside.find("</")?;
    Some(unescape(&inside[..end]))
}

fn unescape(text: &str) -> String {
    // `&amp;` last, or `&amp;lt;` would become `<`.
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ]
    .into_iter()
    .fold(text.to_owned(), |text, (from, to)| {
        if text.contains(from) {
            text.replace(from, to)
        } else {
            text
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_error_of_a_fault_is_read_with_its_texts_unescaped() {
        let fault = fault(
            br#"<IntuitResponse time='x'><Fault type='ValidationFault'><Error code="1" element="A"><Message>a &amp; b</Message></Error><Error code="2"/></Fault></IntuitResponse>"#,
        )
        .unwrap();
        assert_eq!(fault.errors.len(), 2);
        assert_eq!(fault.errors[0].message, "a & b");
        assert_eq!(fault.errors[0].element.as_deref(), Some("A"));
        assert_eq!(fault.errors[1].code, "2");
    }

    #[test]
    fn half_a_fault_and_a_page_that_quotes_one_are_none() {
        assert!(fault(b"<IntuitResponse><Fault type='SERVICE'><Error code='3001'>").is_none());
        assert!(fault(b"<IntuitResponse><Fault type='SERVICE'></Fault>").is_none());
        assert!(fault(b"<html><IntuitResponse><Fault></Fault></IntuitResponse></html>").is_none());
        assert!(fault(b"<IntuitResponse><Faulty></Fault></IntuitResponse>").is_none());
    }

    proptest! {
        #[test]
        fn no_xml_like_text_panics(text in r#"(<|>|/|=|"|'|&amp;|Fault|Error|Message|code|IntuitResponse| |é){0,40}"#) {
            let _ = fault(format!("<IntuitResponse>{text}</IntuitResponse>").as_bytes());
            let _ = fault(text.as_bytes());
        }
    }
}
