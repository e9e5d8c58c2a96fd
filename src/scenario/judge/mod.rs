//! The judge: counts from the mock's history and from what callers were told; never from what a line-up says of itself.
//!
//! Requests are mapped to operations by the word that the scenario plants in the payload. The counts:
//!
//! - `duplicate_effects`: effects beyond the first of one operation.
//! - `lost`: told "succeeded", and there was no effect: never, or only later.
//! - `false_rejects`: told "failed" or "refused" while there was an effect, or in the end; told "rejected", and there is
//!   an effect at any time. Not of callers who had heard "succeeded" before: they know.
//! - `wrong_effects`: operations with an effect of another amount, on another target, or voided or deleted afterwards;
//!   and effects that no operation asked for.
//! - `paid_twice`: bills that more than one effect pays.
//! - `forbidden_sends`: sends that start after an earlier answer proved the effect (unless our process died in the very
//!   moment in which the proof came, so that nobody alive knew it), sends that start while an earlier
//!   send of the same operation may still land, and, where the upstream does not honour our key (at all, or for this
//!   write), sends after one whose effect was in doubt.
//! - `unresolved`: operations of which callers do not know the end: nothing or nothing more than "pending" was said.
//! - `parked`: operations that wait for a person; `parked_knowable`: those of them whose effect was there to be seen (by
//!   that person: without a mark, one payment may look like another).
//! - `drift`: the share of operations on which the local record (what callers were told) and the upstream disagree:
//!   "succeeded" without exactly one effect, or anything else with an effect. Before settling, and after.
//! - `stale_answers`: background reads that did not know of a payment which the upstream already showed when they were
//!   asked (their age is how long it had shown it), and those that knew of payments which nobody had made (another
//!   company's books, say; of no age).
//! - `by_capability`: of the operations that were declared keyed, to be looked up, or neither (where the upstream ignores
//!   keys, what would be keyed is looked up): how many `sends` arrived, and how many of those were `second_sends`, sends
//!   after the first of an operation, whatever became of that one; how many operations were `in_doubt`, with a send whose
//!   answer did not tell its client whether it took effect; how many are `parked`, and how many of these had only clear
//!   answers (`parked_clear`); and how many had an effect that could be found by its mark and did not end "succeeded"
//!   (`visible_open`; of those to be looked up, for they alone carry one).
//! - `final_within_patience`: the share of operations whose caller was told "succeeded" or "rejected" within the
//!   patience after the first click.

mod capability;
mod sends;
mod truth;

use super::config::WriteCapability;
use super::report::{Latencies, LineUpReport, Spread};
use super::told::{Answers, Told};
use crate::clock::Timestamp;
use crate::mock::{Effect, SendRecord};
use std::collections::HashMap;
use std::time::Duration;
use truth::Truth;

/// What an operation was to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The word planted in its payload.
    pub token: String,
    /// The company.
    pub realm: String,
    /// The bill.
    pub bill: String,
    /// Whom it pays.
    pub vendor: String,
    /// The amount.
    pub cents: i64,
    /// What the write is declared as, with this upstream.
    pub capability: WriteCapability,
}

/// What a background read was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestAnswer {
    /// The company.
    pub realm: String,
    /// When it was asked.
    pub asked: Timestamp,
    /// When it was answered.
    pub answered: Timestamp,
    /// How many bills were paid, as it was told.
    pub paid: usize,
}

/// Everything the judge sees.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Per operation: what it was to do.
    pub expected: &'a [Expected],
    /// Per operation: what callers were told.
    pub answers: &'a [Answers],
    /// The mock's record of requests.
    pub sends: &'a [SendRecord],
    /// The mock's record of effects.
    pub effects: &'a [Effect],
    /// Requests that the mock throttled.
    pub throttled: usize,
    /// What background reads were told.
    pub digests: &'a [DigestAnswer],
    /// How long calls of users took.
    pub user_calls: &'a [Duration],
    /// How long background calls took.
    pub scheduled_calls: &'a [Duration],
    /// When our process died.
    pub deaths: &'a [Timestamp],
    /// When the load ended.
    pub load_ends: Timestamp,
    /// When the run ended.
    pub ends: Timestamp,
    /// How long an answer may take.
    pub patience: Duration,
    /// How long the upstream's reads may not see what was written.
    pub read_lag: Duration,
    /// Whether the upstream honours our key.
    pub replay: bool,
}

/// Counts everything.
#[must_use]
pub fn judge(name: &str, case: &Case<'_>) -> LineUpReport {
    let index: HashMap<&str, usize> = case
        .expected
        .iter()
        .enumerate()
        .map(|(at, expected)| (expected.token.as_str(), at))
        .collect();
    let truth = Truth::new(case, &index);
    let sends = sends::by_operation(case.sends, &index, case.expected.len());
    let stale = truth.stale_ages(case.digests, case.read_lag);
    let operations = case.expected.len();
    let ended = Ended::new(case, &truth);
    let waits = || case.answers.iter();
    let in_time = |answers: &&Answers| {
        answers
            .until_final()
            .is_some_and(|took| took <= case.patience)
    };
    LineUpReport {
        name: name.to_owned(),
        operations,
        succeeded: ended.succeeded,
        success_ratio: ratio(ended.succeeded, operations),
        duplicate_effects: truth.duplicates(),
        lost: ended.lost,
        false_rejects: ended.false_rejects,
        wrong_effects: truth.wrong,
        paid_twice: truth.paid_twice(),
        forbidden_sends: sends
            .iter()
            .zip(case.expected)
            .map(|(sends, expected)| {
                let keyed = case.replay && expected.capability == WriteCapability::Keyed;
                sends::forbidden(sends, keyed, case.deaths)
            })
            .sum(),
        unresolved: ended.unresolved,
        parked: ended.parked,
        parked_knowable: ended.parked_knowable,
        throttled: case.throttled,
        attempts_per_operation: ratio(sends.iter().map(Vec::len).sum(), operations),
        final_within_patience: ratio(waits().filter(in_time).count(), operations),
        pending_settled_s_max: seconds(
            waits()
                .filter_map(|answers| answers.pending_for(case.ends))
                .max(),
        ),
        stale_answers: stale.len(),
        stale_age_s_max: seconds(stale.into_iter().max()),
        drift_before: truth.drift(case.answers, case.load_ends),
        drift_after: truth.drift(case.answers, case.ends),
        latency_ms: Latencies {
            user_action: Spread::of(case.user_calls),
            scheduled: Spread::of(case.scheduled_calls),
        },
        by_capability: capability::split(case, &truth, &sends),
    }
}

/// What was told in the end, against what is.
#[derive(Debug, Default)]
struct Ended {
    succeeded: usize,
    lost: usize,
    false_rejects: usize,
    unresolved: usize,
    parked: usize,
    parked_knowable: usize,
}

impl Ended {
    fn new(case: &Case<'_>, truth: &Truth<'_>) -> Self {
        let mut ended = Self::default();
        for (at, answers) in case.answers.iter().enumerate() {
            let effect = truth.first_effect(at);
            ended.false_rejects += usize::from(answers.denied(effect, case.ends));
            match answers.belief(case.ends) {
                Some(Told::Succeeded) if answers.told_paid_truly(effect) => ended.succeeded += 1,
                Some(Told::Succeeded) => ended.lost += 1,
                Some(Told::Parked) => {
                    ended.parked += 1;
                    ended.parked_knowable += usize::from(is_visible(case, effect));
                }
                // Refused in the end: no success, and counted above where it is not true.
                Some(told) if told.denies() => {}
                Some(_) | None => ended.unresolved += 1,
            }
        }
        ended
    }
}

/// Whether the upstream's reads showed the effect before the run ended.
fn is_visible(case: &Case<'_>, effect: Option<Timestamp>) -> bool {
    effect.is_some_and(|at| at.plus(case.read_lag) <= case.ends)
}

#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

fn seconds(span: Option<Duration>) -> f64 {
    span.unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests;
