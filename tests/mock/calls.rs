//! Short ways to call the mock.

use http::{Request, Response, StatusCode};
use serde_json::Value;
use tower::{Service, ServiceExt};
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::mock::{MockConfig, MockError, MockQbo, ThrottleConfig};
use tower_sturdy::payload::Payload;

pub(crate) type Answer = Result<Response<Payload>, MockError>;

/// 2026-11-02, 10 in the morning where the servers are.
pub(crate) const START: u64 = 1_793_638_800_000;

pub(crate) fn mock(config: MockConfig) -> MockQbo {
    MockQbo::new(config, Clock::anchored(Timestamp::from_millis(START))).unwrap()
}

/// Nothing goes wrong, nothing is limited.
pub(crate) fn calm() -> MockConfig {
    MockConfig {
        throttle: ThrottleConfig::none(),
        ..MockConfig::quiet(1)
    }
}

/// The request arrives with this call; the answer is awaited apart.
pub(crate) fn send(
    qbo: &MockQbo,
    method: &str,
    target: &str,
    body: &str,
) -> tower_sturdy::mock::Answer {
    let request = Request::builder()
        .method(method)
        .uri(format!("https://host/v3/company/1/{target}"))
        .body(Payload::from(body.to_owned()))
        .unwrap();
    qbo.clone().call(request)
}

pub(crate) async fn post(qbo: &MockQbo, target: &str, body: &Value) -> (StatusCode, Value) {
    qbo.clone().ready().await.unwrap();
    read(send(qbo, "POST", target, &body.to_string()).await)
}

pub(crate) async fn get(qbo: &MockQbo, target: &str) -> (StatusCode, Value) {
    read(send(qbo, "GET", target, "").await)
}

pub(crate) async fn query(qbo: &MockQbo, text: &str) -> (StatusCode, Value) {
    read(send(qbo, "POST", "query", text).await)
}

pub(crate) fn read(answer: Answer) -> (StatusCode, Value) {
    let answer = answer.unwrap();
    assert!(answer.headers().contains_key("intuit_tid"));
    (
        answer.status(),
        serde_json::from_slice(answer.body().bytes()).unwrap(),
    )
}

/// The code of the application's fault.
pub(crate) fn code(answer: &(StatusCode, Value)) -> &str {
    answer.1["Fault"]["Error"][0]["code"]
        .as_str()
        .unwrap_or("none")
}

pub(crate) fn cents(value: &Value) -> i64 {
    let amount = value.as_f64().unwrap();
    #[allow(
        clippy::cast_possible_truncation,
        reason = "amounts of tests are small"
    )]
    let cents = (amount * 100.0).round() as i64;
    cents
}

pub(crate) fn balance(qbo: &MockQbo, entity: &str, id: &str) -> i64 {
    cents(&qbo.entity("1", entity, id).unwrap()["Balance"])
}
