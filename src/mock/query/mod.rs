//! The query language, as far as the entities need it. Pure.

mod parse;
mod search;
#[cfg(test)]
mod tests;

use super::date;
use super::entities::{Kind, Row, read_id};
use super::envelope::AppFault;
use std::cmp::Ordering;

pub(super) use parse::parse;
pub(super) use search::{Found, Table, search};

/// A question about the entities of one kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Query {
    pub(super) kind: Kind,
    pub(super) select: Select,
    pub(super) conditions: Vec<Condition>,
    pub(super) order: Vec<(Field, bool)>,
    pub(super) start: usize,
    pub(super) max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Select {
    All,
    Count,
    Some(Vec<String>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub(super) field: Field,
    pub(super) operator: Operator,
    pub(super) operands: Vec<Operand>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
    In,
    Like,
}

/// What can be asked about. Notes cannot: QuickBooks answers 4001.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Id,
    Created,
    Updated,
    Party,
    Total,
    Balance,
    Active,
    Date(&'static str),
    Text(&'static str),
}

/// A value, read as its field's type once.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Id(u64),
    Millis(i64),
    Amount(f64),
    Flag(bool),
    Text(String),
}

/// Why a text is no query, or none that is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    parsed: bool,
    why: String,
}

impl Wrong {
    fn parse(why: impl Into<String>) -> Self {
        Self {
            parsed: false,
            why: why.into(),
        }
    }

    fn invalid(why: impl Into<String>) -> Self {
        Self {
            parsed: true,
            why: why.into(),
        }
    }

    pub(super) fn fault(&self) -> AppFault {
        if self.parsed {
            let detail = format!("QueryValidationError: {}", self.why);
            AppFault::validation("4001", "Invalid query", detail)
        } else {
            let detail = format!("QueryParserError: {}", self.why);
            AppFault::validation("4000", "Error parsing query", detail)
        }
    }
}

impl Field {
    fn of(kind: Kind, name: &str) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let texts: &[&'static str] = match kind {
            Kind::Account => &["Name", "AccountType", "AccountSubType", "Classification"],
            Kind::Vendor | Kind::Customer => &[
                "DisplayName",
                "GivenName",
                "FamilyName",
                "CompanyName",
                "PrintOnCheckName",
            ],
            Kind::BillPayment => &["DocNumber", "PayType"],
            Kind::Payment => &["DocNumber", "PaymentRefNum"],
            Kind::Bill | Kind::Invoice => &["DocNumber"],
        };
        let transaction = kind.party().is_some();
        if is("Id") {
            Some(Self::Id)
        } else if is("MetaData.CreateTime") {
            Some(Self::Created)
        } else if is("MetaData.LastUpdatedTime") {
            Some(Self::Updated)
        } else if kind.party().is_some_and(|(party, _)| is(party)) {
            Some(Self::Party)
        } else if transaction && is("TotalAmt") {
            Some(Self::Total)
        } else if kind.is_name() && is("Balance") {
            // A vendor's or customer's total is its balance.
            Some(Self::Total)
        } else if kind.is_open_item() && is("Balance") {
            Some(Self::Balance)
        } else if !transaction && is("Active") {
            Some(Self::Active)
        } else if transaction && is("TxnDate") {
            Some(Self::Date("TxnDate"))
        } else if kind.is_open_item() && is("DueDate") {
            Some(Self::Date("DueDate"))
        } else {
            texts
                .iter()
                .find(|text| is(text))
                .map(|text| Self::Text(text))
        }
    }

    /// Published for the id; by its nature for the others.
    fn allows(self, operator: Operator) -> bool {
        match operator {
            Operator::Equal | Operator::In => true,
            Operator::Like => matches!(self, Self::Text(_)),
            _ => !matches!(self, Self::Id | Self::Party | Self::Active),
        }
    }

    /// The text as this field's type, or the text again.
    fn operand(self, text: String) -> Result<Operand, String> {
        let read = match self {
            Self::Id | Self::Party => read_id(&text).map(Operand::Id),
            Self::Created | Self::Updated => date::read(&text).map(Operand::Millis),
            Self::Total | Self::Balance => text
                .parse()
                .ok()
                .filter(|amount: &f64| amount.is_finite())
                .map(Operand::Amount),
            Self::Active => text.to_ascii_lowercase().parse().ok().map(Operand::Flag),
            Self::Date(_) => date::is_date(&text).then(|| Operand::Text(text.clone())),
            Self::Text(_) => Some(Operand::Text(text.clone())),
        };
        read.ok_or(text)
    }

    fn compare(self, row: &Row, operand: &Operand) -> Option<Ordering> {
        match (self, operand) {
            (Self::Id, Operand::Id(id)) => Some(row.id.cmp(id)),
            (Self::Party, Operand::Id(id)) => Some(row.party.cmp(id)),
            (Self::Created, Operand::Millis(at)) => Some(whole_seconds(row.created).cmp(at)),
            (Self::Updated, Operand::Millis(at)) => Some(whole_seconds(row.updated).cmp(at)),
            (Self::Total, Operand::Amount(amount)) => {
                (row.total as f64 / 100.0).partial_cmp(amount)
            }
            (Self::Balance, Operand::Amount(amount)) => {
                (row.balance() as f64 / 100.0).partial_cmp(amount)
            }
            (Self::Active, Operand::Flag(flag)) => Some(row.active().cmp(flag)),
            (Self::Date(name) | Self::Text(name), Operand::Text(text)) => {
                Some(row.text(name)?.cmp(text))
            }
            _ => None,
        }
    }

    fn order(self, one: &Row, other: &Row) -> Ordering {
        match self {
            Self::Id => one.id.cmp(&other.id),
            Self::Party => one.party.cmp(&other.party),
            Self::Created => one.created.cmp(&other.created),
            Self::Updated => one.updated.cmp(&other.updated),
            Self::Total => one.total.cmp(&other.total),
            Self::Balance => one.balance().cmp(&other.balance()),
            Self::Active => one.active().cmp(&other.active()),
            Self::Date(name) | Self::Text(name) => one.text(name).cmp(&other.text(name)),
        }
    }
}

/// Times are kept, shown and compared in whole seconds, as in every recorded `MetaData`.
fn whole_seconds(at: crate::clock::Timestamp) -> i64 {
    i64::try_from(at.as_millis() / 1_000 * 1_000).unwrap_or(i64::MAX)
}

impl Condition {
    fn holds(&self, row: &Row) -> bool {
        let compare = |operand| self.field.compare(row, operand);
        self.operands.iter().any(|operand| match self.operator {
            Operator::Equal | Operator::In => compare(operand) == Some(Ordering::Equal),
            Operator::Less => compare(operand) == Some(Ordering::Less),
            Operator::Greater => compare(operand) == Some(Ordering::Greater),
            Operator::LessOrEqual => compare(operand).is_some_and(Ordering::is_le),
            Operator::GreaterOrEqual => compare(operand).is_some_and(Ordering::is_ge),
            Operator::Like => match (self.field, operand) {
                (Field::Text(name), Operand::Text(pattern)) => {
                    row.text(name).is_some_and(|text| like(text, pattern))
                }
                _ => false,
            },
        })
    }
}

/// Whether the text is what the pattern says, where `%` is anything.
fn like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('%');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut middle: Vec<&str> = parts.collect();
    let Some(last) = middle.pop() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
