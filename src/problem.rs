//! [`Error`] as an HTTP answer: problem details (RFC 9457), for axum and friends.
//!
//! Doubt about money is never a 5xx: a client that retries a 5xx with a new key would pay twice. An operation that is
//! still settling is 202, one that a person must look at is 409; both carry a `Location` to ask at, and say not to use a
//! new key. Doubt of a write that nobody keeps, for no idempotency room stands above, is 409 without a `Location`. A read
//! that failed is a 502, where it was judged by a room that knows that it is one, as in every stack; an answer over the
//! limit is 409 for both.
//!
//! A refusal of admission is 429 with `Retry-After`. Where one of our own quotas held the call up, it carries that one in
//! `RateLimit-Policy` and `RateLimit`, and as a problem of the type that draft-ietf-httpapi-ratelimit-headers-11 has for
//! it. Windows and times are whole seconds, rounded up; `t` is `Retry-After`. A limit on requests at once has neither
//! window nor reset, for it is free when an answer comes, and `qu` says what it counts. Nothing of the kind is said where
//! no quota of ours is used up: when the line is full, the upstream asked for a pause, or scheduled work is spread. There
//! is no partition key (`pk`): whoever asks knows no other tenant's quota, and need not see how we name theirs.

use crate::context::OperationId;
use crate::error::{Error, HeldBy, ShortQuota, Side};
use crate::journal::Status;
use crate::outcome::Outcome;
use crate::payload::Payload;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use std::time::Duration;

/// Where clients ask for an operation by its id: the path that `Location` is made of.
#[derive(Clone, Debug)]
pub struct ProblemConfig {
    /// The path before the operation's id.
    pub operations: String,
}

impl Default for ProblemConfig {
    fn default() -> Self {
        Self {
            operations: "/operations/".into(),
        }
    }
}

/// The status that tells a client what to do next.
#[must_use]
pub const fn status(error: &Error) -> StatusCode {
    match error {
        Error::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
        // The codes of draft-ietf-httpapi-idempotency-key-header: missing 400, in progress 409, reused 422.
        Error::KeyRequired | Error::Invalid(_) => StatusCode::BAD_REQUEST,
        Error::KeyReused(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Error::KeyExpired
        | Error::InFlight(_)
        | Error::Parked(_)
        | Error::Contradicted(_)
        | Error::PossibleDuplicate(_) => StatusCode::CONFLICT,
        Error::Pending(_) | Error::OutcomeUnknown(_) => StatusCode::ACCEPTED,
        Error::JournalUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Deadline => StatusCode::GATEWAY_TIMEOUT,
        Error::TooLarge(large) => match large.side {
            Side::Request => StatusCode::PAYLOAD_TOO_LARGE,
            // What it would have said is not known, and a write may have had its effect.
            Side::Answer => StatusCode::CONFLICT,
        },
        Error::Upstream(upstream) => match upstream.verdict.outcome {
            // Also a read that failed, where an inner room has judged it.
            Outcome::Unsent | Outcome::NoEffect | Outcome::Rejected => StatusCode::BAD_GATEWAY,
            Outcome::Unknown | Outcome::Applied => StatusCode::CONFLICT,
        },
    }
}

/// The whole answer: status, `Retry-After`, `RateLimit`, `Location`, and a body in `application/problem+json`.
#[must_use]
pub fn response(error: &Error, config: &ProblemConfig) -> Response<Payload> {
    let status = match (status(error), error.operation()) {
        // A write in doubt is never told as a failure of the server.
        (status, Some(_)) if status.is_server_error() => StatusCode::ACCEPTED,
        (status, _) => status,
    };
    response_with(error, status, config)
}

/// The same under another status code, for those who keep to other rules.
#[must_use]
pub fn response_with(
    error: &Error,
    status: StatusCode,
    config: &ProblemConfig,
) -> Response<Payload> {
    let detail = match error {
        // What is wrong with it, and where it is, is for whoever runs the server.
        Error::JournalUnavailable(_) => {
            "the journal did not take the operation; nothing was sent by this call; try again under the same key"
                .into()
        }
        // Nobody keeps it: no operation can be asked for.
        other if other.operation().is_none() && other.outcome() == Outcome::Unknown => {
            format!("{other}; whether it took effect is not known: look, before you use a new key")
        }
        other => other.to_string(),
    };
    let mut body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Problem"),
        "status": status.as_u16(),
        "detail": detail,
        "outcome": error.outcome().as_str(),
    });
    if let Some(operation) = error.operation() {
        body["operation"] = operation.to_string().into();
    }
    let after = error.retry_after().map(whole_seconds);
    if let Some(seconds) = after {
        body["retry-after"] = seconds.into();
    }
    let short = short_quota(error);
    if let Some(quota) = short {
        body["type"] = QUOTA_EXCEEDED.into();
        body["title"] = "Quota Exceeded".into();
        body["violated-policies"] = serde_json::json!([*quota.name]);
        body["limit"] = quota.limit.into();
        body["remaining"] = quota.left.into();
        if !quota.per.is_zero() {
            body["window"] = whole_seconds(quota.per).into();
        }
    }
    let mut response = problem(status, &body);
    let headers = response.headers_mut();
    if let Some(seconds) = after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some((quota, seconds)) = short.zip(after) {
        let [policy, limit] = limit_headers(quota, seconds);
        for (name, value) in [(&POLICY, policy), (&RATELIMIT, limit)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
    if let Some(operation) = error.operation()
        && let Ok(location) = HeaderValue::from_str(&format!("{}{operation}", config.operations))
    {
        headers.insert(header::LOCATION, location);
    }
    response
}

/// The problem type of draft-ietf-httpapi-ratelimit-headers-11 for a policy that is used up.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The most that an integer of a structured field can be.
const LARGEST: u64 = 999_999_999_999_999;
/// Of a quota's name, this many characters are told: a header is no place for more.
const LONGEST_NAME: usize = 64;

fn short_quota(error: &Error) -> Option<&ShortQuota> {
    match error {
        Error::RateLimited(limited) => match &limited.held_by {
            HeldBy::Quota(quota) => Some(quota),
            _ => None,
        },
        _ => None,
    }
}

/// `RateLimit-Policy` and `RateLimit` for a quota that has room in so many seconds.
fn limit_headers(quota: &ShortQuota, seconds: u64) -> [String; 2] {
    let name = field_string(&quota.name);
    let mut policy = format!("{name};q={}", quota.limit);
    let mut limit = format!("{name};r={}", quota.left);
    let unit = match (quota.per.is_zero(), quota.weighed) {
        (true, false) => ";qu=\"concurrent-requests\"",
        // The draft registers no unit for what its own servers weigh; this is what it is.
        (_, true) => ";qu=\"cost\"",
        (false, false) => "",
    };
    policy.push_str(unit);
    if !quota.per.is_zero() {
        policy.push_str(&format!(";w={}", whole_seconds(quota.per).min(LARGEST)));
        limit.push_str(&format!(";t={}", seconds.min(LARGEST)));
    }
    [policy, limit]
}

/// A string of a structured field (RFC 9651): visible ASCII and spaces, quoted. What cannot be said in it is left out.
fn field_string(text: &str) -> String {
    let mut field = String::from("\"");
    let sayable = text.chars().filter(|char| matches!(char, ' '..='~'));
    for char in sayable.take(LONGEST_NAME) {
        if matches!(char, '"' | '\\') {
            field.push('\\');
        }
        field.push(char);
    }
    if field.trim_end().len() == 1 {
        field = "\"quota".into();
    }
    field.push('"');
    field
}

/// How soon a client that asks for an operation should ask again: settling takes seconds at least.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("1");

/// What an operation is told as: on every answer of [`operation`], whatever its status code.
static STATE: HeaderName = HeaderName::from_static("operation-state");
/// The status code of the recorded answer.
static ANSWER: HeaderName = HeaderName::from_static("operation-answer-status");

/// The answer to `GET /operations/{id}`: what became of an operation, whoever asks for it.
///
/// 200 with the recorded answer's headers and body once it has ended (its own status code is in
/// `operation-answer-status`, and whether it was `completed` or `rejected` in `operation-state`); 202 with `Location` and
/// `Retry-After` while it is settling; 409 where a person must look at it, or where nothing happened and the same key may
/// start it again; 404 where this tenant has no such operation in this journal.
#[must_use]
pub fn operation(
    id: OperationId,
    status: Option<Status>,
    config: &ProblemConfig,
) -> Response<Payload> {
    let word = status.as_ref().map(Status::as_str);
    let mut answer = match status {
        None => details(
            StatusCode::NOT_FOUND,
            "no such operation of yours is on record here; that says nothing about whether it happened: ask where it was \
             accepted, and do not use a new key",
            None,
        ),
        Some(Status::Completed(mut answer) | Status::Rejected(mut answer)) => {
            let code = HeaderValue::from(answer.status().as_u16());
            *answer.status_mut() = StatusCode::OK;
            answer.headers_mut().insert(&ANSWER, code);
            answer
        }
        Some(Status::Pending(_)) => again(response(&Error::pending(id), config)),
        Some(Status::Unknown(_)) => again(response(&Error::outcome_unknown(id), config)),
        Some(Status::Parked(_)) => response(&Error::parked(id), config),
        Some(Status::Contradicted(_)) => response(&Error::contradicted(id), config),
        Some(Status::Expired(_)) => response(&Error::KeyExpired, config),
        Some(Status::NothingHappened(_)) => details(
            StatusCode::CONFLICT,
            "nothing happened, and nobody works on it; the same key may start it again",
            Some(id),
        ),
    };
    if let Some(word) = word {
        answer
            .headers_mut()
            .insert(&STATE, HeaderValue::from_static(word));
    }
    answer
}

fn again(mut answer: Response<Payload>) -> Response<Payload> {
    answer.headers_mut().insert(header::RETRY_AFTER, ASK_AGAIN);
    answer
}

/// Problem details of a status code alone.
#[must_use]
pub fn details(
    status: StatusCode,
    detail: &str,
    operation: Option<OperationId>,
) -> Response<Payload> {
    let mut body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Problem"),
        "status": status.as_u16(),
        "detail": detail,
    });
    if let Some(operation) = operation {
        body["operation"] = operation.to_string().into();
    }
    problem(status, &body)
}

fn problem(status: StatusCode, body: &serde_json::Value) -> Response<Payload> {
    let mut response = Response::new(Payload::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    response
}

/// Rounded up: a client that comes back earlier is refused again.
const fn whole_seconds(after: Duration) -> u64 {
    let more = if after.subsec_nanos() > 0 { 1 } else { 0 };
    after.as_secs().saturating_add(more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::OperationId;
    use crate::error::BoxError;
    use crate::outcome::Verdict;

    #[test]
    fn doubt_about_money_is_never_a_server_error_and_says_where_to_ask() {
        let id = OperationId::from_bits(7);
        for error in [
            Error::pending(id),
            Error::outcome_unknown(id),
            Error::parked(id),
            Error::contradicted(id),
            Error::in_flight(id, Duration::from_millis(1_500)),
        ] {
            let response = response(&error, &ProblemConfig::default());
            assert!(!response.status().is_server_error(), "{error}");
            assert_eq!(
                response.headers()["location"],
                format!("/operations/{id}").as_str()
            );
            let body: serde_json::Value = serde_json::from_slice(response.body().bytes()).unwrap();
            assert_eq!(body["outcome"], Outcome::Unknown.as_str());
            assert_eq!(body["operation"], id.to_string());
        }
    }

    fn told(quota: ShortQuota, after: Duration) -> (Response<Payload>, serde_json::Value) {
        let error = Error::held_up(after, HeldBy::Quota(quota.into()));
        let response = response(&error, &ProblemConfig::default());
        let body = serde_json::from_slice(response.body().bytes()).unwrap();
        (response, body)
    }

    fn headers(quota: ShortQuota, after: Duration) -> [String; 3] {
        let (response, _) = told(quota, after);
        ["retry-after", "ratelimit-policy", "ratelimit"]
            .map(|name| response.headers()[name].to_str().unwrap().to_owned())
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_used_up_quota_is_told_in_headers_and_body() {
        let quota = ShortQuota::new("per minute", 500, MINUTE);
        let (response, body) = told(quota, Duration::from_millis(11_001));
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!(header("retry-after"), "12");
        assert_eq!(header("ratelimit-policy"), r#""per minute";q=500;w=60"#);
        assert_eq!(header("ratelimit"), r#""per minute";r=0;t=12"#);
        let detail = body["detail"].as_str().unwrap();
        assert!(
            detail.contains(r#"quota "per minute" (500 in 60s)"#),
            "{detail}"
        );
        let expected = serde_json::json!({
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Quota Exceeded",
            "status": 429,
            "detail": detail,
            "outcome": "unsent",
            "violated-policies": ["per minute"],
            "limit": 500,
            "remaining": 0,
            "window": 60,
            "retry-after": 12,
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn windows_and_times_are_rounded_up_and_the_unit_is_told_where_it_is_not_requests() {
        let short = ShortQuota::new("a", 10, Duration::from_millis(500));
        let [after, policy, limit] = headers(short, Duration::from_millis(1));
        assert_eq!(
            [&*after, &*policy, &*limit],
            ["1", r#""a";q=10;w=1"#, r#""a";r=0;t=1"#]
        );

        let items = ShortQuota {
            left: 7,
            weighed: true,
            ..ShortQuota::new("items", 40, MINUTE)
        };
        let [_, policy, limit] = headers(items, MINUTE);
        assert_eq!(
            [&*policy, &*limit],
            [r#""items";q=40;qu="cost";w=60"#, r#""items";r=7;t=60"#]
        );
    }

    #[test]
    fn a_limit_on_requests_at_once_has_no_window_and_no_reset() {
        let quota = ShortQuota::new("at once", 10, Duration::ZERO);
        let (_, body) = told(quota.clone(), Duration::from_secs(1));
        let [after, policy, limit] = headers(quota, Duration::from_secs(1));
        assert_eq!(
            [&*after, &*policy, &*limit],
            [
                "1",
                r#""at once";q=10;qu="concurrent-requests""#,
                r#""at once";r=0"#
            ]
        );
        assert_eq!(body.get("window"), None);
        assert!(body["detail"].as_str().unwrap().contains("10 at once"));
    }

    #[test]
    fn any_name_becomes_a_string_of_a_structured_field() {
        for (name, told) in [
            (r#"a "b" \c"#, r#""a \"b\" \\c""#),
            ("a\r\nSet-Cookie: b=c", r#""aSet-Cookie: b=c""#),
            ("pro Minute \u{fc}ber", r#""pro Minute ber""#),
            ("\u{5206}\u{949f}", r#""quota""#),
            ("\u{7f}\0 ", r#""quota""#),
            ("a\", b;q=9", r#""a\", b;q=9""#),
        ] {
            assert_eq!(field_string(name), told, "{name:?}");
            let [_, policy, _] = headers(ShortQuota::new(name, 1, MINUTE), MINUTE);
            assert_eq!(policy, format!("{told};q=1;w=60"));
        }
        assert_eq!(field_string(&"x".repeat(500)).len(), 66);
        assert_eq!(
            headers(ShortQuota::new("a", 1, Duration::MAX), Duration::MAX)[2],
            format!("\"a\";r=0;t={LARGEST}")
        );
    }

    #[test]
    fn where_no_quota_of_ours_is_used_up_there_is_only_a_time_to_come_back() {
        for held_by in [
            HeldBy::FullLine,
            HeldBy::Upstream,
            HeldBy::Pace,
            HeldBy::Other,
        ] {
            let error = Error::held_up(Duration::from_millis(1_200), held_by);
            let response = response(&error, &ProblemConfig::default());
            let body: serde_json::Value = serde_json::from_slice(response.body().bytes()).unwrap();
            assert_eq!(response.headers()["retry-after"], "2");
            assert_eq!(
                (&body["retry-after"], &body["type"]),
                (&2.into(), &"about:blank".into())
            );
            assert!(!response.headers().contains_key("ratelimit"), "{error}");
            assert!(
                !response.headers().contains_key("ratelimit-policy"),
                "{error}"
            );
        }
    }

    #[test]
    fn doubt_that_nobody_keeps_is_no_server_error_either_and_what_had_no_effect_is() {
        let config = ProblemConfig::default();
        let reset = || BoxError::from("reset");
        for error in [
            Error::from_inner(reset()),
            Error::too_large(Side::Answer, 10),
        ] {
            let answer = response(&error, &config);
            assert_eq!(answer.status(), StatusCode::CONFLICT, "{error}");
            let body: serde_json::Value = serde_json::from_slice(answer.body().bytes()).unwrap();
            assert_eq!(body["outcome"], "unknown");
            let detail = body["detail"].as_str().unwrap();
            assert!(detail.contains("before you use a new key"), "{detail}");
        }
        for verdict in [
            Verdict::UNSENT,
            Verdict {
                outcome: Outcome::NoEffect,
                ..Verdict::OPEN
            },
        ] {
            let error = Error::upstream(reset(), verdict);
            assert_eq!(status(&error), StatusCode::BAD_GATEWAY);
        }
    }

    #[test]
    fn what_is_wrong_with_the_journal_is_no_business_of_the_client() {
        let error = Error::journal_unavailable("cannot open /var/lib/secret.db");
        let answer = response(&error, &ProblemConfig::default());
        let body = String::from_utf8(answer.body().bytes().to_vec()).unwrap();
        assert!(!body.contains("secret"), "{body}");
        assert!(
            body.contains("nothing was sent") && body.contains("same key"),
            "{body}"
        );
    }

    #[test]
    fn retry_after_is_rounded_up() {
        let limited = Error::rate_limited(Duration::from_millis(1_001));
        assert_eq!(
            response(&limited, &ProblemConfig::default()).headers()["retry-after"],
            "2"
        );
        let never = Error::rate_limited(Duration::MAX);
        assert_eq!(
            response(&never, &ProblemConfig::default()).headers()["retry-after"],
            u64::MAX.to_string().as_str()
        );
    }
}
