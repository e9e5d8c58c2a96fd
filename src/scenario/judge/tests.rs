//! Hand-made histories: each count can be other than zero, and is for the reason it names.

use super::*;
use crate::mock::EffectKind;
use crate::scenario::report::CapabilityReport;
use std::sync::LazyLock;

const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn send(marker: &str, begins: u64, done: u64, status: u16) -> SendRecord {
    SendRecord {
        number: 0,
        at: at(begins),
        realm: "1".into(),
        method: http::Method::POST,
        target: "/v3/company/1/billpayment".to_owned(),
        write: true,
        marker: Some(marker.to_owned()),
        done: Some(at(done)),
        answered: Some((at(done), status)),
        answer_lost: false,
        fault: None,
        throttled: false,
        replayed: false,
        effect: None,
    }
}

/// A send with an effect that its answer proves.
fn proven(marker: &str, begins: u64, done: u64) -> SendRecord {
    SendRecord {
        effect: Some(0),
        ..send(marker, begins, done, 200)
    }
}

fn effect(marker: &str, bill: &str, cents: i64, when: u64) -> Effect {
    Effect {
        at: at(when),
        send: 0,
        realm: "1".into(),
        entity: "BillPayment",
        id: "9".to_owned(),
        what: EffectKind::Created,
        amount_cents: cents,
        targets: vec![("Bill", bill.to_owned(), cents)],
        marker: Some(marker.to_owned()),
    }
}

fn said(said: &[(u64, Told)]) -> Answers {
    let mut answers = Answers::default();
    answers.click(at(0));
    for (when, told) in said {
        answers.say(at(*when), *told);
    }
    answers
}

static EXPECTED: LazyLock<[Expected; 2]> = LazyLock::new(|| {
    [("a", "1"), ("b", "2")].map(|(token, bill)| Expected {
        token: token.to_owned(),
        realm: "1".to_owned(),
        bill: bill.to_owned(),
        vendor: "1".to_owned(),
        cents: 100,
        capability: WriteCapability::Keyed,
    })
});

/// Two operations: `a` pays bill 1, `b` pays bill 2, a hundred cents each. Settling begins at 10,000 and ends at 20,000.
#[allow(clippy::needless_pass_by_value, reason = "shorter tests")]
fn judged(answers: [Answers; 2], sends: &[SendRecord], effects: &[Effect]) -> LineUpReport {
    judged_with(&answers, sends, effects, |_| ())
}

fn judged_with<'a>(
    answers: &'a [Answers],
    sends: &'a [SendRecord],
    effects: &'a [Effect],
    change: impl FnOnce(&mut Case<'a>),
) -> LineUpReport {
    let mut case = Case {
        expected: &*EXPECTED,
        answers,
        sends,
        effects,
        throttled: 0,
        digests: &[],
        user_calls: &[],
        scheduled_calls: &[],
        deaths: &[],
        load_ends: at(10_000),
        ends: at(20_000),
        patience: Duration::from_millis(300),
        read_lag: Duration::ZERO,
        replay: true,
    };
    change(&mut case);
    judge("t", &case)
}

fn paid() -> Answers {
    said(&[(120, Told::Succeeded)])
}

#[test]
fn all_well_is_all_zero() {
    let report = judged(
        [paid(), paid()],
        &[proven("a", 0, 120), proven("b", 0, 120)],
        &[effect("a", "1", 100, 50), effect("b", "2", 100, 50)],
    );
    assert_eq!((report.succeeded, report.operations), (2, 2));
    let wrong = report.duplicate_effects
        + report.lost
        + report.false_rejects
        + report.wrong_effects
        + report.paid_twice
        + report.forbidden_sends
        + report.unresolved
        + report.parked
        + report.stale_answers;
    assert_eq!(wrong, 0, "{report:?}");
    assert!((report.attempts_per_operation - 1.0).abs() < 1e-9);
    assert!((report.final_within_patience - 1.0).abs() < 1e-9);
    assert!((report.drift_before, report.drift_after) == (0.0, 0.0));
}

#[test]
fn a_second_effect_is_a_duplicate_and_pays_the_bill_twice() {
    let report = judged(
        [paid(), paid()],
        &[],
        &[
            effect("a", "1", 100, 50),
            effect("a", "1", 100, 60),
            effect("b", "2", 100, 50),
        ],
    );
    assert_eq!((report.duplicate_effects, report.paid_twice), (1, 1));
    assert!((report.drift_after - 0.5).abs() < 1e-9);
}

#[test]
fn two_operations_on_one_bill_pay_it_twice_without_a_duplicate() {
    let report = judged(
        [paid(), paid()],
        &[],
        &[effect("a", "1", 100, 50), effect("b", "1", 100, 50)],
    );
    assert_eq!((report.duplicate_effects, report.paid_twice), (0, 1));
    assert_eq!(report.wrong_effects, 1, "b paid another bill than asked");
}

#[test]
fn paid_without_an_effect_is_lost_and_no_success() {
    let report = judged([paid(), paid()], &[], &[effect("b", "2", 100, 50)]);
    assert_eq!((report.lost, report.succeeded), (1, 1));
}

#[test]
fn a_denied_payment_that_happened_is_a_false_reject() {
    for told in [Told::Failed, Told::Rejected, Told::Refused] {
        let effects = [effect("a", "1", 100, 50), effect("b", "2", 100, 50)];
        let report = judged([said(&[(120, told)]), paid()], &[], &effects);
        assert_eq!(report.false_rejects, 1, "{told:?}");
        let mended = said(&[(120, told), (900, Told::Succeeded)]);
        assert_eq!(judged([mended, paid()], &[], &effects).false_rejects, 1);
        let known = said(&[(90, Told::Succeeded), (120, told)]);
        assert_eq!(judged([known, paid()], &[], &effects).false_rejects, 0);
    }
}

#[test]
fn a_failure_that_was_true_when_it_was_told_is_no_false_reject_but_a_rejection_is_for_good() {
    let effects = [effect("a", "1", 100, 500), effect("b", "2", 100, 50)];
    let rejects = |told: Told| {
        let answers = said(&[(120, told), (900, Told::Succeeded)]);
        judged([answers, paid()], &[], &effects).false_rejects
    };
    assert_eq!(rejects(Told::Failed), 0);
    assert_eq!(rejects(Told::Refused), 0);
    assert_eq!(rejects(Told::Rejected), 1);
}

#[test]
fn paid_told_before_it_was_is_lost_though_it_is_paid_later() {
    let effects = [effect("a", "1", 100, 500), effect("b", "2", 100, 50)];
    let report = judged([paid(), paid()], &[], &effects);
    assert_eq!((report.lost, report.succeeded), (1, 1));
}

#[test]
fn a_read_that_knows_of_payments_nobody_made_is_wrong_too() {
    let effects = [effect("a", "1", 100, 1_000), effect("b", "2", 100, 4_000)];
    let digests = [2, 1, 0].map(|paid| DigestAnswer {
        realm: "1".to_owned(),
        asked: at(900),
        answered: at(2_000),
        paid,
    });
    let stranger = DigestAnswer {
        realm: "2".to_owned(),
        ..digests[1].clone()
    };
    let answers = [paid(), paid()];
    let stale = |digests: &[DigestAnswer]| {
        judged_with(&answers, &[], &effects, |case| case.digests = digests).stale_answers
    };
    assert_eq!(stale(&digests), 1);
    assert_eq!(stale(&[stranger]), 1);
}

#[test]
fn another_amount_a_void_and_a_stray_are_wrong_effects() {
    let count = |effects: &[Effect]| judged([paid(), paid()], &[], effects).wrong_effects;
    assert_eq!(count(&[effect("a", "1", 99, 50)]), 1);
    let voided = Effect {
        what: EffectKind::Voided,
        ..effect("a", "1", 100, 60)
    };
    assert_eq!(count(&[effect("a", "1", 100, 50), voided]), 1);
    let stray = Effect {
        marker: None,
        ..effect("a", "3", 100, 50)
    };
    assert_eq!(count(&[stray]), 1);
}

#[test]
fn a_send_after_proof_is_forbidden_but_not_after_a_lost_answer() {
    let forbidden = |first: SendRecord| {
        let sends = [first, send("a", 500, 600, 200)];
        judged([paid(), paid()], &sends, &[]).forbidden_sends
    };
    assert_eq!(forbidden(proven("a", 0, 120)), 1);
    let replayed = SendRecord {
        replayed: true,
        ..send("a", 0, 120, 200)
    };
    assert_eq!(forbidden(replayed), 1);
    let lost = SendRecord {
        answer_lost: true,
        ..proven("a", 0, 120)
    };
    assert_eq!(forbidden(lost), 0);
    let garbled = SendRecord {
        fault: Some("malformed"),
        ..proven("a", 0, 120)
    };
    assert_eq!(forbidden(garbled), 0);
    let denied = SendRecord {
        fault: Some("fault_200"),
        replayed: true,
        ..send("a", 0, 120, 200)
    };
    assert_eq!(forbidden(denied), 0, "a fault in place of the replay");
    let slow = SendRecord {
        fault: Some("delay"),
        ..proven("a", 0, 120)
    };
    assert_eq!(forbidden(slow), 1, "late, and whole");
    assert_eq!(forbidden(send("b", 0, 120, 200)), 0, "another operation's");
}

#[test]
fn a_proof_that_died_with_its_process_forbids_nothing() {
    let sends = [proven("a", 0, 120), send("a", 500, 600, 200)];
    let answers = [paid(), paid()];
    let forbidden = |deaths: &[Timestamp]| {
        judged_with(&answers, &sends, &[], |case| case.deaths = deaths).forbidden_sends
    };
    assert_eq!(forbidden(&[at(121)]), 0);
    assert_eq!(forbidden(&[at(119), at(122)]), 1);
}

#[test]
fn a_send_while_an_earlier_one_may_still_land_is_forbidden() {
    let forbidden = |done: Option<Timestamp>| {
        let first = SendRecord {
            done,
            answered: None,
            ..send("a", 0, 0, 0)
        };
        judged([paid(), paid()], &[first, send("a", 500, 600, 200)], &[]).forbidden_sends
    };
    assert_eq!(forbidden(Some(at(501))), 1);
    assert_eq!(forbidden(None), 1);
    assert_eq!(forbidden(Some(at(500))), 0);
}

#[test]
fn without_keys_a_second_send_needs_a_provable_refusal_first() {
    let forbidden = |first: SendRecord, replay: bool| {
        let sends = [first, send("a", 500, 600, 200)];
        let answers = [paid(), paid()];
        judged_with(&answers, &sends, &[], |case| case.replay = replay).forbidden_sends
    };
    assert_eq!(forbidden(send("a", 0, 120, 500), false), 1);
    assert_eq!(forbidden(send("a", 0, 120, 500), true), 0);
    let refused = SendRecord {
        fault: Some("refuse_503_gateway"),
        ..send("a", 0, 120, 503)
    };
    assert_eq!(forbidden(refused, false), 0);
    let throttled = SendRecord {
        throttled: true,
        ..send("a", 0, 120, 429)
    };
    assert_eq!(forbidden(throttled, false), 0);
}

#[test]
fn pending_to_the_end_and_silence_are_unresolved() {
    let pending = said(&[(300, Told::Pending)]);
    let report = judged([pending, said(&[(300, Told::NoAnswer)])], &[], &[]);
    assert_eq!(report.unresolved, 2);
    assert!((report.pending_settled_s_max - 19.7).abs() < 1e-9);
    assert_eq!(judged([said(&[]), paid()], &[], &[]).unresolved, 1);
}

#[test]
fn parked_is_knowable_when_its_effect_can_be_seen() {
    let parked = || [said(&[(300, Told::Parked)]), paid()];
    let blind = judged(parked(), &[], &[]);
    assert_eq!((blind.parked, blind.parked_knowable), (1, 0));
    let seen = [effect("a", "1", 100, 50)];
    assert_eq!(judged(parked(), &[], &seen).parked_knowable, 1);
    let lagging = judged_with(&parked(), &[], &seen, |case| {
        case.read_lag = Duration::from_secs(60);
    });
    assert_eq!(lagging.parked_knowable, 0);
}

#[test]
fn drift_is_counted_before_and_after_settling() {
    let settled = said(&[(300, Told::Pending), (15_000, Told::Succeeded)]);
    let effects = [effect("a", "1", 100, 50), effect("b", "2", 100, 50)];
    let report = judged([settled, paid()], &[], &effects);
    assert!((report.drift_before - 0.5).abs() < 1e-9);
    assert!(report.drift_after == 0.0);
    let late = judged(
        [paid(), paid()],
        &[],
        &[effect("a", "1", 100, 50), effect("b", "2", 100, 12_000)],
    );
    assert!((late.drift_before, late.drift_after) == (0.5, 0.0));
}

#[test]
fn a_slow_or_open_answer_is_not_in_time() {
    let slow = said(&[(301, Told::Succeeded)]);
    let pending = said(&[(100, Told::Pending), (200, Told::Rejected)]);
    let report = judged([slow, pending], &[], &[]);
    assert!((report.final_within_patience - 0.5).abs() < 1e-9);
}

#[test]
fn a_read_that_misses_a_visible_payment_is_stale_since_that_payment() {
    let digest = |asked: u64, paid: usize| DigestAnswer {
        realm: "1".to_owned(),
        asked: at(asked),
        answered: at(asked + 100),
        paid,
    };
    let effects = [effect("a", "1", 100, 1_000), effect("b", "2", 100, 4_000)];
    let digests = [
        digest(3_000, 0),
        digest(3_000, 1),
        digest(900, 0),
        digest(6_000, 1),
    ];
    let answers = [paid(), paid()];
    let report = judged_with(&answers, &[], &effects, |case| case.digests = &digests);
    assert_eq!(report.stale_answers, 2);
    assert!((report.stale_age_s_max - 2.0).abs() < 1e-9);
}

#[test]
fn throttling_and_latencies_are_passed_on() {
    let calls = [Duration::from_millis(5), Duration::from_millis(9)];
    let report = judged_with(&[paid(), paid()], &[], &[], |case| {
        case.throttled = 7;
        case.user_calls = &calls;
        case.scheduled_calls = &calls[..1];
    });
    assert_eq!(report.throttled, 7);
    assert!(report.latency_ms.user_action.max == 9.0 && report.latency_ms.scheduled.p99 == 5.0);
}

/// The two operations, declared as told.
fn declared(capabilities: [WriteCapability; 2]) -> [Expected; 2] {
    let mut expected = EXPECTED.clone();
    for (expected, capability) in expected.iter_mut().zip(capabilities) {
        expected.capability = capability;
    }
    expected
}

#[test]
fn each_kind_of_write_is_counted_apart() {
    let expected = declared([WriteCapability::None, WriteCapability::Keyed]);
    let sends = [
        proven("a", 0, 120),
        send("a", 500, 600, 200),
        send("b", 0, 120, 500),
    ];
    let answers = [paid(), paid()];
    let split = judged_with(&answers, &sends, &[], |case| case.expected = &expected).by_capability;
    let counted = |of: CapabilityReport| (of.operations, of.sends, of.second_sends);
    assert_eq!(counted(split.none), (1, 2, 1));
    assert_eq!(counted(split.keyed), (1, 1, 0));
    assert_eq!(split.lookup, CapabilityReport::default());
}

#[test]
fn parked_after_nothing_but_clear_answers_is_told_apart_from_parked_in_doubt() {
    let answers = [said(&[(300, Told::Parked)]), paid()];
    let parked = |first: &[SendRecord], deaths: &[Timestamp]| {
        let report = judged_with(&answers, first, &[], |case| case.deaths = deaths);
        let keyed = report.by_capability.keyed;
        assert_eq!(keyed.parked, 1);
        (keyed.in_doubt, keyed.parked_clear)
    };
    let with = |fault| SendRecord {
        fault: Some(fault),
        ..send("a", 0, 120, 200)
    };
    assert_eq!(parked(&[], &[]), (0, 1), "nothing was sent");
    assert_eq!(parked(&[proven("a", 0, 120)], &[]), (0, 1));
    assert_eq!(parked(&[send("a", 0, 120, 400)], &[]), (0, 1), "refused");
    for clear in ["delay", "refuse_503_gateway", "throttle_429"] {
        assert_eq!(parked(&[with(clear)], &[]), (0, 1), "{clear}");
    }
    for hidden in ["lost_answer", "hang", "error_500", "stream_timeout_504"] {
        assert_eq!(parked(&[with(hidden)], &[]), (1, 0), "{hidden}");
        assert_eq!(parked(&[proven("a", 0, 9), with(hidden)], &[]), (1, 0));
    }
    let unanswered = SendRecord {
        answered: None,
        ..send("a", 0, 120, 0)
    };
    assert_eq!(parked(&[unanswered], &[]), (1, 0));
    let given_up = SendRecord {
        answer_lost: true,
        ..proven("a", 0, 120)
    };
    assert_eq!(parked(&[given_up], &[]), (1, 0), "nobody was listening");
    let died = at(121);
    assert_eq!(parked(&[proven("a", 0, 120)], &[died]), (1, 0));
}

#[test]
fn what_could_be_found_by_its_mark_must_end_succeeded() {
    let effects = [effect("a", "1", 100, 50), effect("b", "2", 100, 50)];
    let open = |kind, told: &[(u64, Told)], lag| {
        let (expected, answers) = (declared([kind, kind]), [said(told), paid()]);
        let report = judged_with(&answers, &[], &effects, |case| {
            case.expected = &expected;
            case.read_lag = lag;
        });
        let [keyed, lookup, none] = report.by_capability.named().map(|(_, of)| of.visible_open);
        assert_eq!((keyed, none), (0, 0), "they carry no mark");
        lookup
    };
    let now = Duration::ZERO;
    for told in [Told::Parked, Told::Pending, Told::Failed, Told::NoAnswer] {
        let said = [(300, told)];
        assert_eq!(open(WriteCapability::Lookup, &said, now), 1, "{told:?}");
        let hidden = Duration::from_secs(60);
        assert_eq!(open(WriteCapability::Lookup, &said, hidden), 0);
        for unmarked in [WriteCapability::Keyed, WriteCapability::None] {
            assert_eq!(open(unmarked, &said, now), 0);
        }
    }
    let found = [(300, Told::Pending), (900, Told::Succeeded)];
    assert_eq!(open(WriteCapability::Lookup, &found, now), 0);
}

#[test]
fn a_write_without_a_key_is_not_repeated_in_doubt_wherever_others_have_one() {
    let sends = [send("a", 0, 120, 500), send("a", 500, 600, 200)];
    let answers = [paid(), paid()];
    for (kind, forbidden) in [
        (WriteCapability::Keyed, 0),
        (WriteCapability::Lookup, 1),
        (WriteCapability::None, 1),
    ] {
        let expected = declared([kind, WriteCapability::Keyed]);
        let report = judged_with(&answers, &sends, &[], |case| case.expected = &expected);
        assert_eq!(report.forbidden_sends, forbidden, "{kind:?}");
    }
}
