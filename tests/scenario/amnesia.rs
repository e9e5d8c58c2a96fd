//! An upstream that forgets our keys, lets effects land late and shows them later still; writes with a key, with a mark
//! and with neither in one load. What can be settled is, what cannot is parked, and nothing is repeated.

use crate::sturdy::seeds;
use std::collections::HashMap;
use std::time::Duration;
use tower_sturdy::scenario::{
    self, Bare, FaultOn, FaultRule, Finished, LineUp, LineUpReport, Options, Plan, Scenario, Span,
    Sturdy, WriteCapability,
};

fn amnesia() -> Scenario {
    scenario::stored("amnesia").unwrap().with_operations(200)
}

fn run(scenario: &Scenario, seed: u64, replay: bool, lineup: &dyn LineUp) -> Finished {
    let options = Options {
        seed,
        replay,
        latency: None,
    };
    scenario::run(scenario, options, lineup, &mut |_| ()).unwrap()
}

/// Runs the whole stack over the seeds, with an upstream that honours keys and one that does not.
fn each(scenario: &Scenario, mut check: impl FnMut(&Finished, u64, bool, &str)) {
    for seed in 1..=seeds() {
        for replay in [true, false] {
            let finished = run(scenario, seed, replay, &Sturdy);
            let named = format!("seed {seed}, replay {replay}: {:#?}", finished.report);
            check(&finished, seed, replay, &named);
        }
    }
}

fn is_clean(report: &LineUpReport, named: &str) {
    for (what, count) in [
        ("duplicate_effects", report.duplicate_effects),
        ("paid_twice", report.paid_twice),
        ("lost", report.lost),
        ("false_rejects", report.false_rejects),
        ("wrong_effects", report.wrong_effects),
        ("forbidden_sends", report.forbidden_sends),
        ("unresolved", report.unresolved),
        ("none.second_sends", report.by_capability.none.second_sends),
    ] {
        assert_eq!(count, 0, "{what}, {named}");
    }
    for (kind, of) in report.by_capability.named() {
        assert_eq!(of.parked_clear, 0, "{kind}.parked_clear, {named}");
        assert_eq!(of.visible_open, 0, "{kind}.visible_open, {named}");
        assert!(of.parked <= of.in_doubt, "{kind}.parked, {named}");
    }
}

#[test]
fn nothing_is_repeated_lost_or_denied_and_only_what_is_in_doubt_without_a_trace_is_parked() {
    each(&amnesia(), |finished, _, replay, named| {
        let report = &finished.report;
        is_clean(report, named);
        assert_eq!(report.stale_answers, 0, "{named}");
        assert!(report.success_ratio >= 0.85, "{named}");
        // Doubt there was, in every kind, and it was settled in every way there is.
        let of = report.by_capability;
        assert_eq!(of.keyed.operations > 0, replay, "{named}");
        assert!(
            !replay || of.keyed.second_sends > of.keyed.parked,
            "{named}"
        );
        assert!(of.lookup.in_doubt > of.lookup.parked, "{named}");
        assert!(of.none.parked > 0, "{named}");
    });
}

#[test]
fn a_process_that_dies_again_and_again_changes_none_of_it() {
    let mut scenario = amnesia();
    scenario.crash = Some(scenario::CrashConfig {
        every: Span::secs(60),
        down: Span::secs(3),
    });
    each(&scenario, |finished, _, _, named| {
        is_clean(&finished.report, named);
    });
}

#[test]
fn a_write_that_may_leave_once_and_is_plainly_refused_waits_for_no_person() {
    let mut scenario = amnesia();
    scenario.faults.clear();
    for fault in [
        scenario::FaultName::Refuse503Gateway,
        scenario::FaultName::Throttle429,
    ] {
        scenario.faults.push(FaultRule {
            fault,
            probability: 0.15,
            on: FaultOn::Writes,
            from: None,
            until: None,
            commit: None,
            delay: None,
            commits_late: None,
        });
    }
    each(&scenario, |finished, _, _, named| {
        let report = &finished.report;
        is_clean(report, named);
        // Nobody was in doubt of anything.
        assert_eq!(report.parked, 0, "{named}");
        assert!(report.success_ratio >= 0.9, "{named}");
    });
}

/// When each operation's writes arrived, by the upstream's own history.
fn sends(finished: &Finished) -> HashMap<&str, Vec<Duration>> {
    let mut sends: HashMap<_, Vec<_>> = HashMap::new();
    for send in finished.history.sends().iter().filter(|send| send.write) {
        let marker = send.marker.as_deref().unwrap();
        let at = Duration::from_millis(send.at.as_millis());
        sends.entry(marker).or_default().push(at);
    }
    sends
}

/// The words planted in the operations that are declared as this.
fn tokens(scenario: &Scenario, seed: u64, kind: WriteCapability) -> Vec<String> {
    let plan = Plan::draw(scenario, seed);
    let operations = plan.operations.iter().enumerate();
    operations
        .filter(|(_, operation)| operation.capability == kind)
        .map(|(at, _)| plan.token(at))
        .collect()
}

#[test]
fn a_write_declared_none_arrives_once_at_most() {
    let scenario = amnesia();
    each(&scenario, |finished, seed, _, named| {
        let sends = sends(finished);
        let tokens = tokens(&scenario, seed, WriteCapability::None);
        assert!(tokens.len() > 10, "{named}");
        for token in tokens {
            assert_eq!(sends[token.as_str()].len(), 1, "{token}, {named}");
        }
    });
}

#[test]
fn no_keyed_write_arrives_when_the_upstream_may_have_forgotten_its_key() {
    let scenario = amnesia();
    let mut repeated = 0;
    for seed in 1..=seeds() {
        let finished = run(&scenario, seed, true, &Sturdy);
        let sends = sends(&finished);
        for token in tokens(&scenario, seed, WriteCapability::Keyed) {
            let sends = &sends[token.as_str()];
            let (first, last) = (sends[0], sends[sends.len() - 1]);
            repeated += usize::from(last > first);
            let whole = last + Duration::from_secs(130) - first;
            assert!(
                sends.len() == 1 || whole <= scenario.stack.horizon.get(),
                "{token}, seed {seed}: {whole:?} after the first byte"
            );
        }
    }
    assert!(repeated > 0);
}

#[test]
fn an_upstream_that_forgets_before_the_horizon_is_seen_to_pay_twice() {
    let mut scenario = amnesia();
    // What the stack is told to count on does not hold: no resend in doubt comes within a minute.
    scenario.upstream.retention = Span::secs(60);
    for seed in 1..=seeds() {
        let finished = run(&scenario, seed, true, &Sturdy);
        let report = &finished.report;
        assert!(report.duplicate_effects > 0, "seed {seed}: {report:#?}");
        assert!(report.paid_twice > 0, "seed {seed}: {report:#?}");
        // Only those are repeated that rely on the key.
        for kind in [WriteCapability::Lookup, WriteCapability::None] {
            for token in tokens(&scenario, seed, kind) {
                let effects = finished.history.effects_of(&token).len();
                assert!(effects <= 1, "{token}, seed {seed}");
            }
        }
        // The same without an upstream that honours keys: nothing relies on one, and nothing is repeated.
        let without = run(&scenario, seed, false, &Sturdy).report;
        assert_eq!(without.duplicate_effects, 0, "seed {seed}: {without:#?}");
    }
}

#[test]
fn a_bare_client_repeats_every_kind_of_write() {
    let report = run(&amnesia(), 1, true, &Bare).report;
    assert!(report.duplicate_effects > 10, "{report:#?}");
    assert!(report.false_rejects > 5, "{report:#?}");
    for (kind, of) in report.by_capability.named() {
        assert!(
            of.second_sends > 0 && of.in_doubt > 0,
            "{kind}, {report:#?}"
        );
        assert_eq!(of.parked, 0, "{kind}");
    }
}
