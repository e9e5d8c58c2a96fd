//! The operations by what they were declared as.

use super::sends::is_clear;
use super::truth::Truth;
use super::{Case, is_visible};
use crate::mock::SendRecord;
use crate::scenario::config::WriteCapability;
use crate::scenario::report::{ByCapability, CapabilityReport};
use crate::scenario::told::Told;

/// Counts each kind apart. `sends` are those of each operation.
pub(super) fn split(
    case: &Case<'_>,
    truth: &Truth<'_>,
    sends: &[Vec<&SendRecord>],
) -> ByCapability {
    let mut split = ByCapability::default();
    for (at, expected) in case.expected.iter().enumerate() {
        let report = match expected.capability {
            WriteCapability::Keyed => &mut split.keyed,
            WriteCapability::Lookup => &mut split.lookup,
            WriteCapability::None => &mut split.none,
        };
        let marked = expected.capability == WriteCapability::Lookup;
        let belief = case.answers[at].belief(case.ends);
        let visible = marked && is_visible(case, truth.first_effect(at));
        count(report, &sends[at], case, belief, visible);
    }
    split
}

fn count(
    report: &mut CapabilityReport,
    sends: &[&SendRecord],
    case: &Case<'_>,
    belief: Option<Told>,
    visible: bool,
) {
    let clear = sends.iter().all(|send| is_clear(send, case.deaths));
    let parked = belief == Some(Told::Parked);
    report.operations += 1;
    report.sends += sends.len();
    report.second_sends += sends.len().saturating_sub(1);
    report.in_doubt += usize::from(!clear);
    report.parked += usize::from(parked);
    report.parked_clear += usize::from(parked && clear);
    report.visible_open += usize::from(visible && belief != Some(Told::Succeeded));
}
