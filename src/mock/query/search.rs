//! From a query to rows, without looking at all of them where an index helps. Pure.

use super::{Condition, Field, Operand, Operator, Query, Select};
use crate::clock::Timestamp;
use crate::mock::entities::{Kind, Row, State};
use std::cmp::Ordering;
use std::collections::HashMap;

/// The entities of one kind, in the order of their creation, and so of their ids.
#[derive(Debug, Default)]
pub(in crate::mock) struct Table {
    rows: Vec<Row>,
    by_id: HashMap<u64, usize>,
    by_doc_number: HashMap<String, Vec<usize>>,
}

impl Table {
    pub(in crate::mock) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row, deleted or not.
    pub(in crate::mock) fn get(&self, id: u64) -> Option<&Row> {
        self.by_id.get(&id).map(|&at| &self.rows[at])
    }

    /// The row, unless it was deleted.
    pub(in crate::mock) fn live(&self, id: u64) -> Option<&Row> {
        self.get(id).filter(|row| row.state != State::Deleted)
    }

    /// The row, to be changed in all but its id, its creation and its document number.
    pub(in crate::mock) fn get_mut(&mut self, id: u64) -> Option<&mut Row> {
        self.by_id.get(&id).map(|&at| &mut self.rows[at])
    }

    pub(in crate::mock) fn insert(&mut self, mut row: Row) {
        let at = self.rows.len();
        // Looking up by time needs rising times, also when the machine's clock was set back.
        if let Some(last) = self.rows.last() {
            row.created = row.created.max(last.created);
        }
        self.by_id.insert(row.id, at);
        if let Some(number) = row.text("DocNumber") {
            let of = self.by_doc_number.entry(number.to_owned()).or_default();
            of.push(at);
        }
        self.rows.push(row);
    }

    /// Remembers that the row has this document number now. An earlier one stays listed: whoever looks a number up
    /// compares it with the row's own.
    pub(in crate::mock) fn renumbered(&mut self, id: u64, number: &str) {
        if let Some(&at) = self.by_id.get(&id) {
            let of = self.by_doc_number.entry(number.to_owned()).or_default();
            if !of.contains(&at) {
                of.push(at);
                of.sort_unstable();
            }
        }
    }

    pub(in crate::mock) fn with_doc_number(&self, number: &str) -> impl Iterator<Item = &Row> {
        let of = self.by_doc_number.get(number).into_iter().flatten();
        of.map(|&at| &self.rows[at])
            .filter(move |row| row.state != State::Deleted && row.text("DocNumber") == Some(number))
    }

    /// Indices among which all rows are that meet the conditions, rising.
    fn candidates(&self, conditions: &[Condition], lagging: bool) -> Candidates {
        for condition in conditions {
            let exact = matches!(condition.operator, Operator::Equal | Operator::In);
            let ids = condition.operands.iter();
            if exact && condition.field == Field::Id {
                let at = ids.filter_map(|operand| match operand {
                    Operand::Id(id) => self.by_id.get(id).copied(),
                    _ => None,
                });
                return Candidates::listed(at.collect());
            }
            // The index knows the present numbers alone.
            if exact && condition.field == Field::Text("DocNumber") && !lagging {
                let at = ids.filter_map(|operand| match operand {
                    Operand::Text(number) => self.by_doc_number.get(number),
                    _ => None,
                });
                return Candidates::listed(at.flatten().copied().collect());
            }
        }
        let (mut from, mut until) = (0, self.rows.len());
        for condition in conditions.iter().filter(|of| of.field == Field::Created) {
            let Some(operand) = condition.operands.first() else {
                continue;
            };
            let below = |least: Ordering| {
                self.rows.partition_point(|row| {
                    Field::Created
                        .compare(row, operand)
                        .is_some_and(|is| is < least)
                })
            };
            let (first, after) = (below(Ordering::Equal), below(Ordering::Greater));
            match condition.operator {
                Operator::GreaterOrEqual => from = from.max(first),
                Operator::Greater => from = from.max(after),
                Operator::LessOrEqual => until = until.min(after),
                Operator::Less => until = until.min(first),
                Operator::Equal => (from, until) = (from.max(first), until.min(after)),
                Operator::In | Operator::Like => {}
            }
        }
        Candidates::Range(from, until.max(from))
    }
}

enum Candidates {
    Range(usize, usize),
    Listed(Vec<usize>),
}

impl Candidates {
    fn listed(mut at: Vec<usize>) -> Self {
        at.sort_unstable();
        at.dedup();
        Self::Listed(at)
    }

    fn newest_first(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        match self {
            Self::Range(from, until) => Box::new((*from..*until).rev()),
            Self::Listed(at) => Box::new(at.iter().rev().copied()),
        }
    }
}

/// What was found.
#[derive(Debug)]
pub(in crate::mock) enum Found<'a> {
    Count(usize),
    Page(Vec<&'a Row>),
}

/// Answers a query; nothing after `cutoff` is seen, if there is one. Without an order, the newest come first.
pub(in crate::mock) fn search<'a>(
    table: &'a Table,
    query: &Query,
    cutoff: Option<Timestamp>,
) -> Found<'a> {
    let names_active = query.conditions.iter().any(|of| of.field == Field::Active);
    let may_be_inactive = query.kind.is_name() || query.kind == Kind::Account;
    let candidates = table.candidates(&query.conditions, cutoff.is_some());
    let mut matching = candidates
        .newest_first()
        .filter_map(|at| {
            let row = &table.rows[at];
            cutoff.map_or(Some(row), |cutoff| row.at(cutoff))
        })
        .filter(|row| row.state != State::Deleted)
        .filter(|row| names_active || !may_be_inactive || row.active())
        .filter(|row| {
            query
                .conditions
                .iter()
                .all(|condition| condition.holds(row))
        });
    if query.select == Select::Count {
        return Found::Count(matching.count());
    }
    if query.order.is_empty() {
        return Found::Page(matching.skip(query.start - 1).take(query.max).collect());
    }
    let mut all: Vec<&Row> = matching.by_ref().collect();
    all.sort_by(|one, other| {
        let by = query.order.iter().map(|(field, descending)| {
            let order = field.order(one, other);
            if *descending { order.reverse() } else { order }
        });
        by.fold(Ordering::Equal, Ordering::then)
    });
    Found::Page(
        all.into_iter()
            .skip(query.start - 1)
            .take(query.max)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::query::parse;

    #[test]
    fn a_look_at_the_latest_entities_does_not_touch_the_earlier_ones() {
        let mut table = Table::default();
        for id in 1..=1_000 {
            let created = Timestamp::from_millis(1_793_638_800_000 + id * 1_000);
            table.insert(Row {
                id,
                created,
                ..Row::default()
            });
        }
        let touched = |text: &str| {
            let query = parse(text).unwrap();
            let candidates = table.candidates(&query.conditions, false);
            candidates.newest_first().count()
        };
        let since = "MetaData.CreateTime >= '2026-11-02T10:16:31-07:00'";
        let all = "select * from BillPayment where VendorRef = '1'";
        assert_eq!(touched(&format!("{all} and {since}")), 10);
        assert_eq!(touched(&format!("{all} and Id in ('7', '8', '7')")), 2);
        assert_eq!(touched(&format!("{all} and DocNumber = 'none'")), 0);
        assert_eq!(touched(all), 1_000);
    }
}
