//! What may be there only once: names, and document numbers where the company says so. Pure.

use super::entities::{Kind, Row};
use super::envelope::AppFault;
use super::ledger::Ledger;
use super::rules::Draft;
use serde_json::{Map, Value};

impl Ledger {
    pub(super) fn check_unique(
        &self,
        kind: Kind,
        draft: &Draft,
        own: Option<u64>,
    ) -> Result<(), AppFault> {
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
}

/// Names are compared without their case, over vendors and customers together.
pub(super) fn name_key(fields: &Map<String, Value>) -> String {
    let name = fields.get("DisplayName").and_then(Value::as_str);
    name.unwrap_or_default().to_lowercase()
}

/// Seen recorded: a name that is made inactive gets a suffix. It loses it when it is made active again.
pub(super) fn rename_by_activity(before: &Row, fields: &mut Map<String, Value>) {
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
