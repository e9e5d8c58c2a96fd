//! One company's books: what is in them, and what a write does to them. Pure: `now` is handed in.

use super::config::PaidBill;
use super::date;
use super::entities::{Kind, Link, Row, State};
use super::envelope::AppFault;
use super::history::EffectKind;
use super::money::number;
use super::query::Table;
use super::rules::{self, Draft, Target};
use crate::clock::Timestamp;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::time::Duration;

/// The books of one company.
#[derive(Debug)]
pub(super) struct Ledger {
    tables: [Table; Kind::ALL.len()],
    /// Who bears a name, in lower case.
    names: HashMap<String, u64>,
    next_name: u64,
    next_account: u64,
    next_transaction: u64,
    next_invoice_number: u64,
    rules: LedgerRules,
}

/// What of the settings the books need.
#[derive(Clone, Copy, Debug)]
pub(super) struct LedgerRules {
    pub(super) paid_bill: PaidBill,
    pub(super) unique_doc_numbers: bool,
    pub(super) read_lag: Duration,
}

/// What a write did. Without an effect it found everything as it was to be.
#[derive(Debug)]
pub(super) struct Booked {
    pub(super) id: u64,
    pub(super) effect: Option<Change>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) what: EffectKind,
    pub(super) cents: i64,
    pub(super) targets: Vec<Target>,
}

impl Ledger {
    pub(super) fn new(rules: LedgerRules) -> Self {
        Self {
            tables: Default::default(),
            names: HashMap::new(),
            next_name: 1,
            next_account: 1,
            next_transaction: 1,
            // Where QuickBooks begins.
            next_invoice_number: 1_001,
            rules,
        }
    }

    /// Books what was checked, or needs no check: new entities of a company that is set up.
    pub(super) fn seed(&mut self, kind: Kind, draft: Draft, now: Timestamp) {
        // Names of a set-up company are numbered, so that none is refused as a duplicate.
        let _ = self.create(kind, draft, now);
    }

    pub(super) const fn table(&self, kind: Kind) -> &Table {
        &self.tables[kind as usize]
    }

    const fn table_mut(&mut self, kind: Kind) -> &mut Table {
        &mut self.tables[kind as usize]
    }

    /// Carries out a create, or an update where the body has an id.
    pub(super) fn save(
        &mut self,
        kind: Kind,
        body: Map<String, Value>,
        must_exist: bool,
        now: Timestamp,
    ) -> Result<Booked, AppFault> {
        match rules::id(&body)? {
            None if must_exist => Err(AppFault::required("Id")),
            None => {
                let draft = rules::draft(self, kind, body, None)?;
                self.create(kind, draft, now)
            }
            Some(id) => {
                let row = self.table(kind).live(id).ok_or_else(AppFault::not_found)?;
                rules::fresh(&body, row)?;
                let draft = rules::draft(self, kind, body, Some(row))?;
                self.update(kind, id, draft, now)
            }
        }
    }

    fn create(&mut self, kind: Kind, mut draft: Draft, now: Timestamp) -> Result<Booked, AppFault> {
        self.check_unique(kind, &draft, None)?;
        let id = self.next_id(kind);
        self.defaults(kind, &mut draft.fields, now);
        let mut row = Row {
            id,
            sync: 0,
            created: now,
            updated: now,
            state: State::Live,
            party: draft.party,
            total: draft.total,
            links: Vec::new(),
            fields: draft.fields,
            past: Vec::new(),
        };
        self.apply(kind, &mut row, &draft.targets, now);
        if !draft.targets.is_empty()
            && row.links.is_empty()
            && self.rules.paid_bill == PaidBill::Voided
        {
            row.total = 0;
            row.state = State::Voided;
            mark_voided(&mut row.fields);
        }
        let cents = row.total;
        self.owe(kind, row.party, row.total);
        if kind.is_name() {
            self.names.insert(name_key(&row.fields), id);
        }
        self.table_mut(kind).insert(row);
        Ok(Booked {
            id,
            effect: Some(Change {
                what: EffectKind::Created,
                cents,
                targets: draft.targets,
            }),
        })
    }

    fn update(
        &mut self,
        kind: Kind,
        id: u64,
        mut draft: Draft,
        now: Timestamp,
    ) -> Result<Booked, AppFault> {
        self.check_unique(kind, &draft, Some(id))?;
        let Some(row) = self.table(kind).live(id) else {
            return Err(AppFault::not_found());
        };
        if kind.is_name() {
            rename_by_activity(row, &mut draft.fields);
        }
        if row.state == State::Voided && kind.party().is_some() && draft.total != 0 {
            return Err(AppFault::business("The transaction was voided"));
        }
        // Seen recorded: what changes nothing does not move the sync token.
        if row.fields == draft.fields && row.total == draft.total {
            return Ok(Booked { id, effect: None });
        }
        if kind.is_open_item() && draft.total < row.total - row.balance() {
            return Err(AppFault::business(
                "The total is less than the payments linked to it",
            ));
        }
        if kind.is_open_item() && row.party != draft.party && !row.links.is_empty() {
            return Err(AppFault::business(
                "The transaction has payments of its present name",
            ));
        }
        let (old_total, old_party, old_key) = (row.total, row.party, name_key(&row.fields));
        // What a payment pays is untied and tied again only if it changes, so that a new note leaves bills alone.
        let paid = row.links.iter().map(|link| (link.id, link.cents));
        let asked = draft.targets.iter().map(|target| (target.id, target.cents));
        let pays_anew = kind.pays().is_some() && !paid.eq(asked);
        self.touch(kind, id, now);
        if pays_anew {
            self.release(kind, id, now);
        }
        let Some(mut row) = self.table_mut(kind).get_mut(id).map(std::mem::take) else {
            return Err(AppFault::not_found());
        };
        (row.fields, row.total, row.party) = (draft.fields, draft.total, draft.party);
        if pays_anew {
            self.apply(kind, &mut row, &draft.targets, now);
        }
        self.owe(kind, old_party, -old_total);
        self.owe(kind, row.party, row.total);
        if kind.is_name() {
            self.names.remove(&old_key);
            self.names.insert(name_key(&row.fields), id);
        }
        let number = row.text("DocNumber").map(str::to_owned);
        if let Some(place) = self.table_mut(kind).get_mut(id) {
            *place = row;
        }
        if let Some(number) = number {
            self.table_mut(kind).renumbered(id, &number);
        }
        Ok(Booked {
            id,
            effect: Some(Change {
                what: EffectKind::Updated,
                cents: draft.total,
                targets: draft.targets,
            }),
        })
    }

    /// Takes a transaction out of the books.
    pub(super) fn delete(
        &mut self,
        kind: Kind,
        body: &Map<String, Value>,
        now: Timestamp,
    ) -> Result<Booked, AppFault> {
        let (id, cents) = self.named(kind, body)?;
        let row = self.table(kind).live(id);
        if kind == Kind::Bill && row.is_some_and(|row| !row.links.is_empty()) {
            return Err(AppFault::business(
                "The bill is paid: unlink its payments first",
            ));
        }
        Ok(self.undo(kind, id, cents, EffectKind::Deleted, now))
    }

    /// Sets all amounts of a transaction to zero.
    pub(super) fn void(
        &mut self,
        kind: Kind,
        body: &Map<String, Value>,
        now: Timestamp,
    ) -> Result<Booked, AppFault> {
        let (id, cents) = self.named(kind, body)?;
        if self
            .table(kind)
            .live(id)
            .is_some_and(|row| row.state == State::Voided)
        {
            return Ok(Booked { id, effect: None });
        }
        Ok(self.undo(kind, id, cents, EffectKind::Voided, now))
    }

    fn named(&self, kind: Kind, body: &Map<String, Value>) -> Result<(u64, i64), AppFault> {
        let id = rules::id(body)?.ok_or_else(|| AppFault::required("Id"))?;
        let row = self.table(kind).live(id).ok_or_else(AppFault::not_found)?;
        rules::fresh(body, row)?;
        Ok((id, row.total))
    }

    fn undo(
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
                void_lines(kind, &mut row.fields);
                mark_voided(&mut row.fields);
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

    /// Applies a payment to what is open, and drops the lines for which nothing is: what is left over stays as a
    /// credit.
    fn apply(&mut self, kind: Kind, payment: &mut Row, targets: &[Target], now: Timestamp) {
        let Some(pays) = kind.pays() else {
            return;
        };
        let as_linked = match payment.text("PayType") {
            Some("CreditCard") => "BillPaymentCreditCard",
            Some(_) => "BillPaymentCheck",
            None => "Payment",
        };
        let mut lines = match payment.fields.remove("Line") {
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
                item.links.push(link);
            }
            let link = Link {
                id: target.id,
                kind: pays.name(),
                cents,
            };
            payment.links.push(link);
            if cents != target.cents {
                line["Amount"] = number(cents);
            }
            true
        });
        payment
            .fields
            .insert("Line".to_owned(), Value::Array(lines));
    }

    /// Unties a transaction from all that it is linked to; what it paid.
    fn release(&mut self, kind: Kind, id: u64, now: Timestamp) -> Vec<Target> {
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
                    drop_line(&mut row.fields, id);
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
    fn touch(&mut self, kind: Kind, id: u64, now: Timestamp) {
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
    fn owe(&mut self, kind: Kind, party: u64, total: i64) {
        let sign = if kind.pays().is_some() { -1 } else { 1 };
        if let Some((_, name)) = kind.party()
            && let Some(row) = self.table_mut(name).get_mut(party)
        {
            row.total += sign * total;
        }
    }

    fn next_id(&mut self, kind: Kind) -> u64 {
        let next = match kind {
            Kind::Account => &mut self.next_account,
            Kind::Vendor | Kind::Customer => &mut self.next_name,
            _ => &mut self.next_transaction,
        };
        *next += 1;
        *next - 1
    }

    fn check_unique(&self, kind: Kind, draft: &Draft, own: Option<u64>) -> Result<(), AppFault> {
        let other = |id: u64| Some(id) != own;
        if kind.is_name()
            && self
                .names
                .get(&name_key(&draft.fields))
                .is_some_and(|&id| other(id))
        {
            let detail = "The name supplied already exists. : null";
            return Err(AppFault::validation(
                "6240",
                "Duplicate Name Exists Error",
                detail,
            ));
        }
        if !self.rules.unique_doc_numbers || kind.party().is_none() {
            return Ok(());
        }
        let Some(number) = draft.fields.get("DocNumber").and_then(Value::as_str) else {
            return Ok(());
        };
        match self
            .table(kind)
            .with_doc_number(number)
            .find(|row| other(row.id))
        {
            None => Ok(()),
            Some(row) => Err(AppFault::validation(
                "6140",
                "Duplicate Document Number Error",
                format!(
                    "Duplicate Document Number Error : You must specify a different number. This number has \
                     already been used. DocNumber={number} is assigned to TxnType={} with TxnId={}",
                    kind.name(),
                    row.id
                ),
            )),
        }
    }

    fn defaults(&mut self, kind: Kind, fields: &mut Map<String, Value>, now: Timestamp) {
        let mut default = |name: &str, value: Value| {
            fields.entry(name).or_insert(value);
        };
        match kind {
            Kind::Account | Kind::Vendor | Kind::Customer => default("Active", Value::Bool(true)),
            _ => default("TxnDate", Value::from(date::date(now, 0))),
        }
        match kind {
            Kind::Bill => default("DueDate", Value::from(date::date(now, 30))),
            Kind::Invoice => {
                default("DueDate", Value::from(date::date(now, 30)));
                default(
                    "DocNumber",
                    Value::from(self.next_invoice_number.to_string()),
                );
                default("EmailStatus", Value::from("NotSet"));
                default("PrintStatus", Value::from("NeedToPrint"));
                self.next_invoice_number += 1;
            }
            Kind::Payment => default("ProcessPayment", Value::Bool(false)),
            _ => {}
        }
    }
}

/// Names are compared without their case, over vendors and customers together.
fn name_key(fields: &Map<String, Value>) -> String {
    let name = fields.get("DisplayName").and_then(Value::as_str);
    name.unwrap_or_default().to_lowercase()
}

/// Seen recorded: a name that is made inactive gets a suffix. It loses it when it is made active again.
fn rename_by_activity(before: &Row, fields: &mut Map<String, Value>) {
    const SUFFIX: &str = " (deleted)";
    let active = fields.get("Active") != Some(&Value::Bool(false));
    let Some(name) = fields.get("DisplayName").and_then(Value::as_str) else {
        return;
    };
    let renamed = match (before.active(), active) {
        (true, false) if !name.ends_with(SUFFIX) => format!("{name}{SUFFIX}"),
        (false, true) => name.strip_suffix(SUFFIX).unwrap_or(name).to_owned(),
        _ => return,
    };
    fields.insert("DisplayName".to_owned(), Value::from(renamed));
}

fn mark_voided(fields: &mut Map<String, Value>) {
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
