//! What the users were told, held against what the upstream did.

use super::upstream::Bank;
use std::collections::BTreeMap;
use tower_sturdy::Error;
use tower_sturdy::journal::{Filter, Journal, MemoryJournal, State};
use tower_sturdy::outcome::Outcome;
use tower_sturdy::payload::Payload;

/// One click: what it was told, if it lived to hear it.
#[derive(Clone, Debug)]
pub struct Click {
    /// In milliseconds of the storm's clock.
    pub ended: Option<u64>,
    pub told: Told,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Its process died first.
    Nothing,
    /// It took effect; whether it had, at that moment.
    Done(bool),
    /// It did not and will not, unless it is asked for again.
    Failed,
    /// Nothing was sent for this click; what became of earlier ones is not said.
    NotTaken,
    /// Nothing, but to ask again.
    AskAgain,
    /// It goes on, or is being settled, or a person looks at it.
    Promised,
}

pub fn told(bank: &Bank, operation: &str, result: &Result<http::Response<Payload>, Error>) -> Told {
    let outcome = match result {
        Ok(answer) => answer.body().verdict().unwrap().outcome,
        Err(Error::InFlight(_)) => return Told::AskAgain,
        Err(Error::JournalUnavailable(_)) => return Told::NotTaken,
        Err(error) => error.outcome(),
    };
    match outcome {
        Outcome::Applied => Told::Done(bank.effects(operation) > 0),
        Outcome::Unknown => Told::Promised,
        Outcome::Unsent | Outcome::NoEffect | Outcome::Rejected => Told::Failed,
    }
}

/// Everything that is wrong in the end.
pub async fn judge(
    bank: &Bank,
    journal: &MemoryJournal,
    clicks: &BTreeMap<String, Vec<Click>>,
    keyed: bool,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (operation, clicks) in clicks {
        let effects = bank.effects(operation);
        if effects > 1 {
            wrong.push(format!("{operation}: {effects} effects"));
        }
        if operation.contains("invalid") && effects > 0 {
            wrong.push(format!("{operation}: the test's upstream is broken"));
        }
        if clicks.iter().any(|click| click.told == Told::Done(false)) {
            wrong.push(format!("{operation}: told done, no effect"));
        }
        for (at, click) in clicks.iter().enumerate() {
            // Whoever clicked again, or still waited, made it happen; whoever was told more knows more.
            let others = || clicks.iter().enumerate().filter(|(other, _)| *other != at);
            let again =
                others().any(|(_, other)| other.ended.is_none() || other.ended > click.ended);
            let more = others().any(|(_, other)| {
                matches!(other.told, Told::Promised | Told::AskAgain | Told::Done(_))
            });
            let failed = match click.told {
                Told::Failed => !again,
                Told::NotTaken => !again && !more,
                _ => false,
            };
            if failed && effects > 0 {
                wrong.push(format!(
                    "{operation}: told that it failed, and it took effect: {clicks:#?}"
                ));
            }
        }
    }
    let all = Filter {
        limit: 10_000,
        ..Filter::default()
    };
    for record in journal.list(&all).await.unwrap() {
        let operation = String::from_utf8(record.asked.request.body.to_vec()).unwrap();
        let effects = bank.effects(&operation);
        let state = record.state();
        let right = match state {
            State::Completed => effects == 1,
            State::Rejected => effects == 0,
            // A refusal after doubt settles nothing: a person looks at it.
            State::Parked => effects == 0 && (!keyed || operation.contains("invalid")),
            // Told as "nothing happened, try again", and nobody did.
            State::Ready => {
                effects == 0 && record.progress.due.is_none() && !promised(&clicks[&operation])
            }
            State::Claimed | State::Sending | State::Unknown => false,
        };
        if !right {
            let progress = &record.progress;
            wrong.push(format!(
                "{operation}: {state} with {effects} effects, due {:?}, {:?}, {:?}",
                progress.due, progress.history, clicks[&operation]
            ));
        }
        if record.progress.contradicted {
            wrong.push(format!("{operation}: contradicted"));
        }
    }
    wrong
}

/// Whether the last word that anybody got is that it goes on.
fn promised(clicks: &[Click]) -> bool {
    let word = |click: &&Click| matches!(click.told, Told::Promised | Told::Failed);
    let last = clicks.iter().filter(word).max_by_key(|click| click.ended);
    last.is_some_and(|click| click.told == Told::Promised)
}
