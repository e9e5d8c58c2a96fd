//! What a caller sees at the edge: headers that tell where an answer came from, and errors as HTTP answers.

use crate::rig::{MINUTE, Rig, SECOND, ask, read};
use serde_json::Value;
use tower_sturdy::Error;
use tower_sturdy::context::OperationId;
use tower_sturdy::error::Side;
use tower_sturdy::mock::{Fault, FaultPlan, On};
use tower_sturdy::outcome::Verdict;
use tower_sturdy::problem::{self, ProblemConfig};

#[tokio::test(start_paused = true)]
async fn a_second_read_is_answered_from_the_cache_with_its_age() {
    let rig = Rig::new();
    let stack = rig.stack();
    let first = ask(&stack, read(1)).await.unwrap();
    assert!(!first.headers().contains_key("age"));
    tokio::time::sleep(MINUTE).await;
    let second = ask(&stack, read(1)).await.unwrap();
    assert_eq!(rig.sends(), 1);
    assert_eq!(second.body().bytes(), first.body().bytes());
    assert_eq!(second.headers()["age"], "60");
    assert_eq!(second.headers()["cache-status"], "tower-sturdy; hit");
}

#[tokio::test(start_paused = true)]
async fn a_repeated_write_is_answered_with_the_recorded_answer_and_says_so() {
    let rig = Rig::new();
    let stack = rig.stack();
    let first = ask(&stack, rig.pay(1, "rent")).await.unwrap();
    assert!(!first.headers().contains_key("idempotent-replayed"));
    tokio::time::sleep(90 * SECOND).await;
    let again = ask(&stack, rig.pay(1, "rent")).await.unwrap();
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(again.headers()["age"], "90");
    assert_eq!(again.body().bytes(), first.body().bytes());
    assert_eq!((rig.sends(), rig.mock.history().effects().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_still_settling_is_told_as_accepted_with_a_place_to_ask() {
    let rig = Rig::new();
    let stack = rig.stack();
    rig.mock
        .set_faults(FaultPlan::always(On::Writes, Fault::ResetBefore));
    let error = ask(&stack, rig.pay(1, "rent")).await.unwrap_err();
    let response = problem::response(&error, &ProblemConfig::default());
    assert_eq!(response.status(), 202, "{error}");
    let operation = error.operation().unwrap();
    assert_eq!(
        response.headers()["location"],
        format!("/operations/{operation}").as_str()
    );
    let tenant = tower_sturdy::context::Tenant::new("1").unwrap();
    let record = stack.operation(&tenant, operation).await.unwrap().unwrap();
    assert!(!record.state().is_final(), "{record:?}");
    // Another company's operation is nobody else's business.
    let other = tower_sturdy::context::Tenant::new("2").unwrap();
    assert!(stack.operation(&other, operation).await.unwrap().is_none());
}

#[test]
fn every_error_has_its_status_its_words_and_where_it_applies_a_time_and_a_place() {
    let id = OperationId::from_bits(9);
    let cases = [
        (Error::rate_limited(SECOND), 429),
        (Error::KeyRequired, 400),
        (Error::invalid("nonsense"), 400),
        (Error::key_reused(id), 422),
        (Error::KeyExpired, 409),
        (Error::in_flight(id, SECOND), 409),
        (Error::pending(id), 202),
        (Error::outcome_unknown(id), 202),
        (Error::parked(id), 409),
        (Error::contradicted(id), 409),
        (Error::possible_duplicate(id), 409),
        (Error::journal_unavailable("disk full"), 503),
        (Error::Deadline, 504),
        (Error::too_large(Side::Request, 64), 413),
        (Error::too_large(Side::Answer, 64), 409),
        (Error::upstream("refused", Verdict::UNSENT), 502),
    ];
    for (error, status) in cases {
        let response = problem::response(&error, &ProblemConfig::default());
        assert_eq!(response.status(), status, "{error}");
        let headers = response.headers();
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(
            headers.contains_key("retry-after"),
            error.retry_after().is_some(),
            "{error}"
        );
        assert_eq!(
            headers.contains_key("location"),
            error.operation().is_some(),
            "{error}"
        );
        let body: Value = serde_json::from_slice(response.body().bytes()).unwrap();
        assert_eq!(body["status"], status, "{error}");
        let detail = body["detail"].as_str().unwrap();
        if matches!(error, Error::JournalUnavailable(_)) {
            assert!(
                !detail.contains("disk full"),
                "told to whom it does not concern"
            );
        } else {
            assert!(detail.starts_with(&error.to_string()), "{detail}");
        }
    }
}
