//! What ties payments to what they pay, and undoing it. Pure: `now` is handed in.

use super::entities::{Kind, Link, Row, State};
use super::fields::Fields;
use super::history::EffectKind;
use super::ledger::{Booked, Change, Ledger};
use super::money::number;
use super::rules::Target;
use crate::clock::Timestamp;
use serde_json::{Map, Value};

impl Ledger {
    /// Applies a payment to what is open, and drops the lines for which nothing is: what is left over stays as a
    /// credit.
    pub(super) fn apply(
        &mut self,
        kind: Kind,
        payment: &mut Row,
        targets: &[Target],
        now: Timestamp,
    ) {
        let Some(pays) = kind.pays() else {
            return;
        };
        let as_linked = match payment.text("PayType").as_deref() {
            Some("CreditCard") => "BillPaymentCreditCard",
            Some(_) => "BillPaymentCheck",
            None => "Payment",
        };
        let mut fields = payment.fields.to_map();
        let mut lines = match fields.remove("Line") {
            Some(Value::Array(lines)) => lines,
            _ => Vec::new(),
        };
        let mut asked = targets.iter();
        lines.retain_mut(|line| {
            let Some(target) = asked.next() else {
                return false;
            };
            let open = self.table(pays).live(target.id).map_or(0, Row::balance);
            let cents = target.cents.min(open);
            if cents <= 0 {
                return false;
            }
            self.touch(pays, target.id, now);
            if let Some(item) = self.table_mut(pays).get_mut(target.id) {
                let link = Link {
                    id: payment.id,
                    kind: as_linked,
                    cents,
                };
                // Most have one link for ever, and `push` alone would make room for four.
                item.links.reserve_exact(1);
                item.links.push(link);
            }
            let link = Link {
                id: target.id,
                kind: pays.name(),
                cents,
            };
            payment.links.reserve_exact(1);
            payment.links.push(link);
            if cents != target.cents {
                line["Amount"] = number(cents);
            }
            true
        });
        fields.insert("Line".to_owned(), Value::Array(lines));
        payment.fields = Fields::from(&fields);
    }

    /// Unties a transaction from all that it is linked to; what it paid.
    pub(super) fn release(&mut self, kind: Kind, id: u64, now: Timestamp) -> Vec<Target> {
        let Some(row) = self.table_mut(kind).get_mut(id) else {
            return Vec::new();
        };
        let links = std::mem::take(&mut row.links);
        let other = match kind {
            Kind::Bill => Kind::BillPayment,
            Kind::Invoice => Kind::Payment,
            _ => kind.pays().unwrap_or(kind),
        };
        for link in &links {
            self.touch(other, link.id, now);
            if let Some(row) = self.table_mut(other).get_mut(link.id) {
                row.links.retain(|back| back.id != id);
                if kind.is_open_item() {
                    row.fields.edit(|fields| drop_line(fields, id));
                }
            }
        }
        if kind.is_open_item() {
            return Vec::new();
        }
        let paid = links.iter();
        paid.map(|link| Target {
            id: link.id,
            cents: link.cents,
        })
        .collect()
    }

    /// Moves the sync token and the time of the last change; keeps the earlier state where queries lag behind.
    pub(super) fn touch(&mut self, kind: Kind, id: u64, now: Timestamp) {
        let lag = self.rules.read_lag;
        if let Some(row) = self.table_mut(kind).get_mut(id) {
            if !lag.is_zero() {
                let cutoff = now.minus(lag);
                let mut past = std::mem::take(&mut row.past);
                past.retain(|(replaced, _)| *replaced > cutoff);
                past.push((now, row.clone()));
                row.past = past;
            }
            row.sync += 1;
            row.updated = now;
        }
    }

    /// Moves what is open with a vendor or a customer: up by what is owed, down by what is paid.
    pub(super) fn owe(&mut self, kind: Kind, party: u64, total: i64) {
        let sign = if kind.pays().is_some() { -1 } else { 1 };
        if let Some((_, name)) = kind.party()
            && let Some(row) = self.table_mut(name).get_mut(party)
        {
            row.total += sign * total;
        }
    }

    pub(super) fn undo(
        &mut self,
        kind: Kind,
        id: u64,
        cents: i64,
        what: EffectKind,
        now: Timestamp,
    ) -> Booked {
        self.touch(kind, id, now);
        let targets = self.release(kind, id, now);
        if let Some(row) = self.table_mut(kind).get_mut(id) {
            let (party, total) = (row.party, row.total);
            row.total = 0;
            if what == EffectKind::Deleted {
                row.state = State::Deleted;
            } else {
                row.state = State::Voided;
                row.fields.edit(|fields| {
                    void_lines(kind, fields);
                    mark_voided(fields);
                });
            }
            self.owe(kind, party, -total);
        }
        Booked {
            id,
            effect: Some(Change {
                what,
                cents,
                targets,
            }),
        }
    }
}

pub(super) fn mark_voided(fields: &mut Map<String, Value>) {
    let note = match fields.get("PrivateNote").and_then(Value::as_str) {
        Some(note) => format!("Voided - {note}"),
        None => "Voided".to_owned(),
    };
    fields.insert("PrivateNote".to_owned(), Value::from(note));
}

/// The lines of a voided payment are gone; those of an invoice stay, over nothing.
fn void_lines(kind: Kind, fields: &mut Map<String, Value>) {
    if let Some(Value::Array(lines)) = fields.get_mut("Line") {
        if kind.pays().is_some() {
            lines.clear();
        }
        for line in lines {
            line["Amount"] = number(0);
        }
    }
}

fn drop_line(fields: &mut Map<String, Value>, target: u64) {
    let target = Value::from(target.to_string());
    if let Some(Value::Array(lines)) = fields.get_mut("Line") {
        lines.retain(|line| line.pointer("/LinkedTxn/0/TxnId") != Some(&target));
    }
}
