//! Which sends should never have left.

use crate::clock::Timestamp;
use crate::mock::SendRecord;
use std::collections::HashMap;
use std::time::Duration;

/// A proof that arrives within this before our process dies is known to nobody: what is a moment for the machine is one
/// tick of the simulation's timer.
const MOMENT: Duration = Duration::from_millis(1);

/// The write sends of each operation, in the order in which they started.
pub(super) fn by_operation<'a>(
    sends: &'a [SendRecord],
    index: &HashMap<&str, usize>,
    operations: usize,
) -> Vec<Vec<&'a SendRecord>> {
    let mut grouped = vec![Vec::new(); operations];
    for send in sends.iter().filter(|send| send.write) {
        if let Some(at) = send.marker.as_deref().and_then(|marker| index.get(marker)) {
            grouped[*at].push(send);
        }
    }
    grouped
}

/// How many of one operation's sends should not have started when they did.
pub(super) fn forbidden(sends: &[&SendRecord], keyed: bool, deaths: &[Timestamp]) -> usize {
    sends
        .iter()
        .enumerate()
        .filter(|(at, send)| {
            sends[..*at].iter().any(|earlier| {
                after_proof(earlier, send, deaths)
                    || overlaps(earlier, send)
                    || (!keyed && left_doubt(earlier))
            })
        })
        .count()
}

/// The effect had been proven to the client when this send started, and the client had lived on to know it.
fn after_proof(earlier: &SendRecord, send: &SendRecord, deaths: &[Timestamp]) -> bool {
    let took_effect = earlier.effect.is_some() || earlier.replayed;
    took_effect
        && is_readable(earlier)
        && earlier.answered.is_some_and(|(when, status)| {
            (200..300).contains(&status) && when <= send.at && !is_forgotten(when, deaths)
        })
}

/// Our process died in the very moment in which this came.
fn is_forgotten(when: Timestamp, deaths: &[Timestamp]) -> bool {
    deaths
        .iter()
        .any(|death| (when..=when.plus(MOMENT)).contains(death))
}

/// The client knew from the answer whether this send took effect.
pub(super) fn is_clear(send: &SendRecord, deaths: &[Timestamp]) -> bool {
    // A slow answer is one all the same; every other fault but a gateway's refusal hides what happened.
    let tells = |fault| fault == "delay" || is_gateway_refusal(fault);
    is_readable(send)
        && (send.answered).is_some_and(|(when, _)| !is_forgotten(when, deaths))
        && send.fault.is_none_or(tells)
}

/// Something of the earlier send could still land when this one started.
fn overlaps(earlier: &SendRecord, send: &SendRecord) -> bool {
    earlier.done.is_none_or(|done| send.at < done)
}

/// The client could not know from the answer that nothing had happened. Only a refusal in the gateway's own envelope
/// says so.
fn left_doubt(earlier: &SendRecord) -> bool {
    !(earlier.throttled || earlier.fault.is_some_and(is_gateway_refusal))
}

/// The whole answer reached the client as the upstream meant it.
fn is_readable(send: &SendRecord) -> bool {
    !send.answer_lost && !send.fault.is_some_and(spoils_the_answer)
}

fn is_gateway_refusal(fault: &str) -> bool {
    matches!(
        fault,
        "refuse_503_gateway" | "throttle_429" | "unauthorized_401"
    )
}

fn spoils_the_answer(fault: &str) -> bool {
    // In place of a replay, a fault told by a 200 proves nothing either.
    matches!(
        fault,
        "lost_answer" | "cut_body" | "malformed" | "hang" | "fault_200"
    )
}
