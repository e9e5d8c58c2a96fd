//! From text to a query. Pure, total: whatever the text, a query or what is wrong with it.

use super::{Condition, Field, Operand, Operator, Query, Select, Wrong};
use crate::mock::entities::Kind;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(&'static str),
}

/// Splits the text; a quote or a backslash is escaped by a backslash.
fn tokens(text: &str) -> Result<Vec<Token>, Wrong> {
    const SIGNS: [&str; 8] = ["<=", ">=", "=", "<", ">", "(", ")", ","];
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            found.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else if first == '\'' {
            let (value, after) = quoted(&rest[1..])?;
            found.push(Token::Text(value));
            rest = after;
        } else {
            let word =
                |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '*' | '-' | '+' | ':');
            let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
            if end == 0 {
                return Err(Wrong::parse(format!("unexpected character {first:?}")));
            }
            found.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(found)
}

fn quoted(text: &str) -> Result<(String, &str), Wrong> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Ok((value, &text[at + 1..])),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(c),
        }
    }
    Err(Wrong::parse("a quote is not closed"))
}

struct Reader {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
}

impl Reader {
    fn take_keyword(&mut self, keyword: &str) -> bool {
        let same = |token: &Token| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.tokens.next_if(same).is_some()
    }

    fn take_sign(&mut self, sign: &'static str) -> bool {
        self.tokens.next_if_eq(&Token::Sign(sign)).is_some()
    }

    fn expect_keyword(&mut self, keyword: &str) -> Result<(), Wrong> {
        if self.take_keyword(keyword) {
            Ok(())
        } else {
            Err(Wrong::parse(format!(
                "expected {keyword}, found {:?}",
                self.tokens.peek()
            )))
        }
    }

    fn expect_sign(&mut self, sign: &'static str) -> Result<(), Wrong> {
        if self.take_sign(sign) {
            Ok(())
        } else {
            Err(Wrong::parse(format!(
                "expected {sign}, found {:?}",
                self.tokens.peek()
            )))
        }
    }

    fn word(&mut self) -> Result<String, Wrong> {
        match self.tokens.next() {
            Some(Token::Word(word)) => Ok(word),
            other => Err(Wrong::parse(format!("expected a name, found {other:?}"))),
        }
    }

    fn value(&mut self) -> Result<String, Wrong> {
        match self.tokens.next() {
            Some(Token::Word(value) | Token::Text(value)) => Ok(value),
            other => Err(Wrong::parse(format!("expected a value, found {other:?}"))),
        }
    }

    /// A number of rows; its least is 1.
    fn rows(&mut self, most: usize) -> Result<usize, Wrong> {
        let text = self.word()?;
        let number: usize = text
            .parse()
            .map_err(|_| Wrong::parse(format!("expected a number, found {text:?}")))?;
        if number == 0 {
            return Err(Wrong::invalid(
                "value 0 is too small. Min allowed value is 1",
            ));
        }
        if number > most {
            return Err(Wrong::invalid(format!(
                "value {number} is too large. Max allowed value is {most}"
            )));
        }
        Ok(number)
    }
}

/// Reads a query.
///
/// # Errors
///
/// The text is none, or asks for what is not on offer.
pub(in crate::mock) fn parse(text: &str) -> Result<Query, Wrong> {
    let mut reader = Reader {
        tokens: tokens(text)?.into_iter().peekable(),
    };
    reader.expect_keyword("select")?;
    let select = select(&mut reader)?;
    reader.expect_keyword("from")?;
    let name = reader.word()?;
    let kind =
        Kind::by_name(&name).ok_or_else(|| Wrong::invalid(format!("can't find entity {name}")))?;
    let mut query = Query {
        kind,
        select,
        conditions: Vec::new(),
        order: Vec::new(),
        start: 1,
        // The default page and the largest are published.
        max: 100,
    };
    if reader.take_keyword("where") {
        query.conditions.push(condition(&mut reader, kind)?);
        while reader.take_keyword("and") {
            query.conditions.push(condition(&mut reader, kind)?);
        }
    }
    loop {
        if reader.take_keyword("orderby") {
            query.order = order(&mut reader, kind)?;
        } else if reader.take_keyword("order") {
            reader.expect_keyword("by")?;
            query.order = order(&mut reader, kind)?;
        } else if reader.take_keyword("startposition") {
            query.start = reader.rows(usize::MAX)?;
        } else if reader.take_keyword("maxresults") {
            query.max = reader.rows(1_000)?;
        } else {
            break;
        }
    }
    match reader.tokens.next() {
        None => Ok(query),
        Some(token) => Err(Wrong::parse(format!("unexpected {token:?}"))),
    }
}

fn select(reader: &mut Reader) -> Result<Select, Wrong> {
    if reader.take_keyword("*") {
        return Ok(Select::All);
    }
    if reader.take_keyword("count") {
        reader.expect_sign("(")?;
        reader.expect_keyword("*")?;
        reader.expect_sign(")")?;
        return Ok(Select::Count);
    }
    let mut names = Vec::new();
    loop {
        let name = reader.word()?;
        // What is nested is answered whole.
        let top = name.split('.').next().unwrap_or_default();
        names.push(top.to_owned());
        if !reader.take_sign(",") {
            return Ok(Select::Some(names));
        }
    }
}

fn condition(reader: &mut Reader, kind: Kind) -> Result<Condition, Wrong> {
    let field = field(&reader.word()?, kind)?;
    let operator = match reader.tokens.next() {
        Some(Token::Sign("=")) => Operator::Equal,
        Some(Token::Sign("<")) => Operator::Less,
        Some(Token::Sign(">")) => Operator::Greater,
        Some(Token::Sign("<=")) => Operator::LessOrEqual,
        Some(Token::Sign(">=")) => Operator::GreaterOrEqual,
        Some(Token::Word(word)) if word.eq_ignore_ascii_case("in") => Operator::In,
        Some(Token::Word(word)) if word.eq_ignore_ascii_case("like") => Operator::Like,
        other => {
            return Err(Wrong::parse(format!(
                "expected an operator, found {other:?}"
            )));
        }
    };
    if !field.allows(operator) {
        return Err(Wrong::invalid(format!(
            "operator {operator:?} is not supported for this property"
        )));
    }
    let mut operands = Vec::new();
    if operator == Operator::In {
        reader.expect_sign("(")?;
        loop {
            operands.push(operand(field, reader.value()?)?);
            if !reader.take_sign(",") {
                break;
            }
        }
        reader.expect_sign(")")?;
    } else {
        operands.push(operand(field, reader.value()?)?);
    }
    Ok(Condition {
        field,
        operator,
        operands,
    })
}

fn operand(field: Field, text: String) -> Result<Operand, Wrong> {
    field
        .operand(text)
        .map_err(|text| Wrong::invalid(format!("value {text:?} is not valid for this property")))
}

fn order(reader: &mut Reader, kind: Kind) -> Result<Vec<(Field, bool)>, Wrong> {
    let mut order = Vec::new();
    loop {
        let field = field(&reader.word()?, kind)?;
        let descending = reader.take_keyword("desc");
        if !descending {
            reader.take_keyword("asc");
        }
        order.push((field, descending));
        if !reader.take_sign(",") {
            return Ok(order);
        }
    }
}

fn field(name: &str, kind: Kind) -> Result<Field, Wrong> {
    Field::of(kind, name)
        .ok_or_else(|| Wrong::invalid(format!("property '{name}' is not queryable")))
}
