//! One company's books: what is in them, and what a write does to them. Pure: `now` is handed in.

use super::config::PaidBill;
use super::date;
use super::entities::{Kind, Row, State};
use super::envelope::AppFault;
use super::history::EffectKind;
use super::names::{name_key, rename_by_activity};
use super::query::Table;
use super::rules::{self, Draft, Target};
use super::ties::mark_voided;
use crate::clock::Timestamp;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::time::Duration;

/// The books of one company.
#[derive(Debug)]
pub(super) struct Ledger {
    tables: [Table; Kind::ALL.len()],
    /// Who bears a name, in lower case.
    pub(super) names: HashMap<String, u64>,
    next_name: u64,
    next_account: u64,
    next_transaction: u64,
    next_invoice_number: u64,
    pub(super) rules: LedgerRules,
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

    pub(super) const fn table_mut(&mut self, kind: Kind) -> &mut Table {
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
        // Seen recorded: what changes nothing does not move the sync token.
        if row.fields == draft.fields && row.total == draft.total {
            return Ok(Booked { id, effect: None });
        }
        updatable(kind, row, &draft)?;
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

    fn next_id(&mut self, kind: Kind) -> u64 {
        let next = match kind {
            Kind::Account => &mut self.next_account,
            Kind::Vendor | Kind::Customer => &mut self.next_name,
            _ => &mut self.next_transaction,
        };
        *next += 1;
        *next - 1
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

/// Whether a row may become what the draft says.
fn updatable(kind: Kind, row: &Row, draft: &Draft) -> Result<(), AppFault> {
    if row.state == State::Voided && kind.party().is_some() && draft.total != 0 {
        return Err(AppFault::business("The transaction was voided"));
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
    Ok(())
}
