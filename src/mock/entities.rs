//! The kinds of entities, what they may hold, and how they are written. Pure.

use super::date;
use super::money;
use crate::clock::Timestamp;
use serde_json::{Map, Value, json};
use std::io::Write;

/// A kind of entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Account,
    Vendor,
    Customer,
    Bill,
    BillPayment,
    Invoice,
    Payment,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::Account,
        Self::Vendor,
        Self::Customer,
        Self::Bill,
        Self::BillPayment,
        Self::Invoice,
        Self::Payment,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Account => "Account",
            Self::Vendor => "Vendor",
            Self::Customer => "Customer",
            Self::Bill => "Bill",
            Self::BillPayment => "BillPayment",
            Self::Invoice => "Invoice",
            Self::Payment => "Payment",
        }
    }

    /// By name, whatever its case: as queries name it.
    pub(super) fn by_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// By path segment, which is lower case: URIs are case sensitive.
    pub(super) fn by_path(segment: &str) -> Option<Self> {
        let lower = !segment.bytes().any(|byte| byte.is_ascii_uppercase());
        Self::by_name(segment).filter(|_| lower)
    }

    /// A vendor or a customer: unique by name, never deleted.
    pub(super) const fn is_name(self) -> bool {
        matches!(self, Self::Vendor | Self::Customer)
    }

    /// Owed until paid.
    pub(super) const fn is_open_item(self) -> bool {
        matches!(self, Self::Bill | Self::Invoice)
    }

    /// What this kind of payment pays.
    pub(super) const fn pays(self) -> Option<Self> {
        match self {
            Self::BillPayment => Some(Self::Bill),
            Self::Payment => Some(Self::Invoice),
            _ => None,
        }
    }

    /// Whom a transaction of this kind is with: the reference's name, and its kind.
    pub(super) const fn party(self) -> Option<(&'static str, Self)> {
        match self {
            Self::Bill | Self::BillPayment => Some(("VendorRef", Self::Vendor)),
            Self::Invoice | Self::Payment => Some(("CustomerRef", Self::Customer)),
            _ => None,
        }
    }
}

/// An id as a client writes it.
pub(super) fn read_id(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// The id in a reference such as `{"value":"7"}`.
pub(super) fn ref_id(reference: &Value) -> Option<&str> {
    reference.get("value").unwrap_or(reference).as_str()
}

/// The part of a payment that pays one open item; kept on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The other side's id.
    pub(super) id: u64,
    /// The other side's type, as `LinkedTxn` names it.
    pub(super) kind: &'static str,
    pub(super) cents: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Live,
    Voided,
    Deleted,
}

/// One entity.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) id: u64,
    pub(super) sync: u64,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) state: State,
    pub(super) party: u64,
    /// Of a transaction: what it is over. Of a vendor or customer: what is open, less credits.
    pub(super) total: i64,
    pub(super) links: Vec<Link>,
    /// What clients said, less what the server computes.
    pub(super) fields: Map<String, Value>,
    /// Earlier states, each with the time at which it was replaced; kept only while queries lag behind.
    pub(super) past: Vec<(Timestamp, Row)>,
}

impl Row {
    /// Of an open item: still to be paid. Of a payment: not applied.
    pub(super) fn balance(&self) -> i64 {
        self.total - self.links.iter().map(|link| link.cents).sum::<i64>()
    }

    pub(super) fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }

    pub(super) fn active(&self) -> bool {
        self.fields.get("Active") != Some(&Value::Bool(false))
    }

    /// The state that a query which may not see anything after `cutoff` finds.
    pub(super) fn at(&self, cutoff: Timestamp) -> Option<&Self> {
        if self.created > cutoff {
            return None;
        }
        let earlier = self.past.iter().find(|(replaced, _)| *replaced > cutoff);
        Some(earlier.map_or(self, |(_, row)| row))
    }

    /// Writes the whole entity as JSON, or the chosen properties and those that every answer has.
    pub(super) fn write(&self, kind: Kind, only: Option<&[String]>, out: &mut Vec<u8>) {
        let wanted = |name: &str| {
            only.is_none_or(|only| only.iter().any(|one| one.eq_ignore_ascii_case(name)))
        };
        // Writing to a vector cannot fail.
        let _ = write!(
            out,
            r#"{{"Id":"{}","SyncToken":"{}","domain":"QBO","sparse":{}"#,
            self.id,
            self.sync,
            only.is_some(),
        );
        if wanted("MetaData") {
            let (created, updated) = (date::seconds(self.created), date::seconds(self.updated));
            let _ = write!(
                out,
                r#","MetaData":{{"CreateTime":"{created}","LastUpdatedTime":"{updated}"}}"#
            );
        }
        if kind != Kind::Account
            && wanted("CurrencyRef")
            && !self.fields.contains_key("CurrencyRef")
        {
            out.extend_from_slice(
                br#","CurrencyRef":{"value":"USD","name":"United States Dollar"}"#,
            );
        }
        for (name, value) in &self.fields {
            if wanted(name) {
                let _ = write!(out, r#","{name}":{value}"#);
            }
        }
        self.write_computed(kind, wanted, out);
        out.push(b'}');
    }

    fn write_computed(&self, kind: Kind, wanted: impl Fn(&str) -> bool, out: &mut Vec<u8>) {
        let mut amount = |name: &str, cents: i64| {
            if wanted(name) {
                let _ = write!(out, r#","{name}":{}"#, money::number(cents));
            }
        };
        if kind.is_name() {
            amount("Balance", self.total);
        }
        if kind.party().is_some() {
            amount("TotalAmt", self.total);
        }
        match kind {
            Kind::Bill | Kind::Invoice => amount("Balance", self.balance()),
            Kind::Payment => amount("UnappliedAmt", self.balance()),
            _ => {}
        }
        if kind.is_open_item() && wanted("LinkedTxn") {
            let linked = self.links.iter();
            let linked: Vec<_> = linked
                .map(|link| json!({ "TxnId": link.id.to_string(), "TxnType": link.kind }))
                .collect();
            let _ = write!(out, r#","LinkedTxn":{}"#, Value::Array(linked));
        }
    }
}
