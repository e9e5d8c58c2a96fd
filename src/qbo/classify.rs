//! What QBO's answers mean, by body first and status second.

use super::fault::{Fault, FaultError, Foreign, Reading, fault_in, read};
use super::json::Json;
use super::proof::Expected;
use super::route::{Operation, QboRoute, batch_items};
use crate::classify::{Classify, Route, Safety, retry_after};
use crate::outcome::{Advice, Outcome, Verdict};
use crate::payload::Payload;
use http::{Request, Response, StatusCode};
use std::time::{Duration, SystemTime};

/// Judges QBO's answers; see the table in [`qbo`](crate::qbo). Reads JSON answers (`Accept: application/json`): an XML
/// answer proves nothing but a fault.
#[derive(Clone, Copy, Debug, Default)]
pub struct QboClassify;

impl Classify for QboClassify {
    fn route(&self, request: &Request<Payload>) -> Route {
        let route = QboRoute::of(request);
        let items = match route.operation {
            Operation::Batch { .. } => batch_items(request.body().bytes()).count(),
            _ => 0,
        };
        let expected = Expected {
            operation: route.operation,
            entity: route.entity,
            items: u16::try_from(items).unwrap_or(0),
        };
        Route {
            safety: route.safety,
            kind: expected.encode(),
        }
    }

    fn answer(&self, route: Route, answer: &Response<Payload>, wall: SystemTime) -> Verdict {
        let after = retry_after(answer.headers(), wall);
        let body = answer.body().bytes();
        let expected = Expected::decode(route.kind);
        let verdict = match (read(body), route.safety) {
            (Reading::Fault(fault), _) => of_fault(&fault, answer.status(), after),
            (Reading::Json(json), Safety::Write) if answer.status().is_success() => {
                of_written(expected, json, after)
            }
            (Reading::Json(json), Safety::Read) if answer.status().is_success() => {
                of_read(expected, json, after)
            }
            (reading, Safety::Read) if answer.status().is_success() => {
                of_download(expected, &reading, body, after)
            }
            (reading, _) => of_foreign(&reading, answer.status(), after),
        };
        match route.safety {
            Safety::Read if verdict.outcome != Outcome::Applied => Verdict {
                outcome: Outcome::NoEffect,
                ..verdict
            },
            _ => verdict,
        }
    }
}

const fn unknown(advice: Advice) -> Verdict {
    Verdict::closed(Outcome::Unknown, advice)
}

const fn no_effect(advice: Advice) -> Verdict {
    Verdict::closed(Outcome::NoEffect, advice)
}

/// A 2xx to a write that is no fault as a whole.
fn of_written(expected: Expected, json: Json<'_>, after: Option<Duration>) -> Verdict {
    if expected.is_proven_by(json) {
        return Verdict::APPLIED;
    }
    match expected.operation {
        // Some items may have taken effect: they settle one by one, and the batch is never resent whole.
        Operation::Batch { .. } => unknown(Advice::Stop),
        // Facts 3, A: an upload fails inside a 200. Refused only if nothing of it stands.
        Operation::Upload => of_items(json, "AttachableResponse", after)
            .unwrap_or_else(|| unknown(Advice::Retry { after })),
        _ => unknown(Advice::Retry { after }),
    }
}

/// The joint verdict on an answer of which every item is a fault.
fn of_items(json: Json<'_>, array: &str, after: Option<Duration>) -> Option<Verdict> {
    let mut worst: Option<Verdict> = None;
    for item in json.get(array)?.items() {
        let verdict = of_fault(&fault_in(item)?, StatusCode::OK, after);
        worst = Some(worst.map_or(verdict, |worst| graver(worst, verdict)));
    }
    worst
}

fn graver(one: Verdict, other: Verdict) -> Verdict {
    if other.outcome > one.outcome {
        other
    } else {
        one
    }
}

/// A 2xx to a read that is no fault as a whole.
fn of_read(expected: Expected, json: Json<'_>, after: Option<Duration>) -> Verdict {
    if let Some(fault) = inner_fault(expected, json) {
        return of_fault(&fault, StatusCode::OK, after);
    }
    if !expected.is_answered_by(json) {
        // Facts 4, B: "random empty responses or not valid json on 200".
        return no_effect(Advice::Retry { after });
    }
    match expected.operation {
        Operation::Other => Verdict::APPLIED,
        _ => Verdict::APPLIED.cacheable(),
    }
}

/// The first fault of an item, of the answers that have items.
fn inner_fault(expected: Expected, json: Json<'_>) -> Option<Fault> {
    match expected.operation {
        Operation::Batch { .. } => json.get("BatchItemResponse")?.items().find_map(fault_in),
        Operation::Cdc => json.get("CDCResponse")?.items().find_map(|item| {
            let inner = item.get("QueryResponse").into_iter().flat_map(Json::items);
            fault_in(item).or_else(|| inner.into_iter().find_map(fault_in))
        }),
        _ => None,
    }
}

/// A 2xx to a read that is not JSON.
fn of_download(
    expected: Expected,
    reading: &Reading<'_>,
    body: &[u8],
    after: Option<Duration>,
) -> Verdict {
    let good = match expected.operation {
        Operation::Pdf => body.starts_with(b"%PDF"),
        Operation::Other => !matches!(reading, Reading::Foreign(Foreign::StreamTimeout)),
        _ => false,
    };
    if good {
        Verdict::APPLIED
    } else {
        no_effect(Advice::Retry { after })
    }
}

/// Anything that is neither a fault of QBO's nor a success: the status tells what to do, and nothing of the effect.
fn of_foreign(reading: &Reading<'_>, status: StatusCode, after: Option<Duration>) -> Verdict {
    let given_up = Verdict {
        advice: Advice::Retry { after },
        ..Verdict::OPEN
    };
    if matches!(reading, Reading::Foreign(Foreign::StreamTimeout)) {
        return given_up;
    }
    match status {
        StatusCode::UNAUTHORIZED => unknown(Advice::Reauthenticate),
        StatusCode::TOO_MANY_REQUESTS => unknown(Advice::Throttled { after }),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => unknown(Advice::Retry { after }),
        // Said by a box that gave up on the upstream, which may still be at work.
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            given_up
        }
        _ if status.is_server_error() || status.is_success() => unknown(Advice::Retry { after }),
        _ => unknown(Advice::Stop),
    }
}

fn of_fault(fault: &Fault, status: StatusCode, after: Option<Duration>) -> Verdict {
    if fault.is_throttle() {
        return of_throttle(fault, status, after);
    }
    if fault.is_gateways() {
        return of_gateway(fault, status, after);
    }
    match status {
        _ if status.is_success() || status.is_client_error() => fault
            .errors
            .iter()
            .map(|error| of_error(fault, error, after))
            .reduce(graver)
            .unwrap_or(unknown(Advice::Stop)),
        _ if status.is_server_error() => unknown(Advice::Retry { after }),
        _ => unknown(Advice::Stop),
    }
}

/// Refused before anything was done: 429 today, 403 and 503 in 2016, and 200 inside a batch (facts 1).
fn of_throttle(fault: &Fault, status: StatusCode, after: Option<Duration>) -> Verdict {
    let advice = Advice::Throttled { after };
    match status.as_u16() {
        200 | 400 => no_effect(advice),
        403 | 429 | 503 if fault.agrees_with(status.as_u16()) => no_effect(advice),
        _ => unknown(advice),
    }
}

/// The gateway's own word, which comes before the application sees the request, except for a 500 and its like.
fn of_gateway(fault: &Fault, status: StatusCode, after: Option<Duration>) -> Verdict {
    let retry = Advice::Retry { after };
    let agreed = fault.agrees_with(status.as_u16());
    match status {
        StatusCode::UNAUTHORIZED if agreed => no_effect(Advice::Reauthenticate),
        StatusCode::FORBIDDEN if agreed => no_effect(Advice::Stop),
        StatusCode::TOO_MANY_REQUESTS if agreed => no_effect(Advice::Throttled { after }),
        StatusCode::SERVICE_UNAVAILABLE if agreed => no_effect(retry),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Verdict {
                advice: retry,
                ..Verdict::OPEN
            }
        }
        StatusCode::UNAUTHORIZED => unknown(Advice::Reauthenticate),
        StatusCode::TOO_MANY_REQUESTS => unknown(Advice::Throttled { after }),
        _ if status.is_server_error() => unknown(retry),
        _ => unknown(Advice::Stop),
    }
}

/// One error of the application's, under a 2xx or 4xx (facts 4, the table of codes).
fn of_error(fault: &Fault, error: &FaultError, after: Option<Duration>) -> Verdict {
    let retry = Advice::Retry { after };
    if fault.kind != "ValidationFault" {
        return match fault.kind.as_str() {
            "SystemFault" => unknown(retry),
            _ => unknown(Advice::Stop),
        };
    }
    match error.number() {
        // "Resubmit the request once" (A), whatever the fault's type.
        Some(10000) => unknown(retry),
        // Duplicate request id (that it exists: A; when: D): the first one may have landed, so look.
        Some(600) => unknown(Advice::Stop),
        // Wrong cluster, company locked, company under maintenance (A): refused for now.
        Some(130 | 140 | 150) => no_effect(retry),
        // An inventory lock clears in seconds (B).
        Some(6000) if error.mentions("at exactly the same time") => no_effect(retry),
        // "Unexpected Internal Error. (-30000)", "unexpected error ... saving your data" (C): no refusal of the business.
        Some(6000) if error.mentions("unexpected") => unknown(retry),
        // The application's router in an outage (B): it found nobody to give the request to.
        Some(500) if error.mentions("Could not find resource for relative") => no_effect(retry),
        _ => Verdict::REJECTED,
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use proptest::prelude::*;
    use std::time::UNIX_EPOCH;

    const STOP: Advice = Advice::Stop;
    const RETRY: Advice = Advice::Retry { after: None };
    const THROTTLED: Advice = Advice::Throttled { after: None };
    const REAUTH: Advice = Advice::Reauthenticate;

    fn request(method: &str, path: &str, body: &'static str) -> Request<Payload> {
        Request::builder()
            .method(method)
            .uri(format!("https://h/v3/company/1{path}"))
            .body(Payload::from(body))
            .unwrap()
    }

    fn judge(request: &Request<Payload>, status: u16, body: impl Into<Payload>) -> Verdict {
        let answer = Response::builder()
            .status(status)
            .body(body.into())
            .unwrap();
        QboClassify.answer(QboClassify.route(request), &answer, UNIX_EPOCH)
    }

    fn create() -> Request<Payload> {
        request("POST", "/invoice", r#"{"CustomerRef":{"value":"1"}}"#)
    }

    fn read_one() -> Request<Payload> {
        request("GET", "/invoice/266", "")
    }

    #[test]
    fn an_answer_to_a_write_means_what_the_table_says() {
        use Outcome::{NoEffect, Rejected, Unknown};
        for (status, body, outcome, advice) in [
            (400, samples::DUPLICATE_NAME, Rejected, STOP),
            (400, samples::INVALID_ID, Rejected, STOP),
            (200, samples::DUPLICATE_NAME, Rejected, STOP),
            (500, samples::DUPLICATE_NAME, Unknown, RETRY),
            (401, samples::TOKEN_EXPIRED, NoEffect, REAUTH),
            (500, samples::TOKEN_EXPIRED, Unknown, RETRY),
            (200, samples::TOKEN_EXPIRED, Unknown, STOP),
            (401, samples::AUTH_XML, NoEffect, REAUTH),
            (403, samples::FORBIDDEN, NoEffect, STOP),
            (401, samples::FORBIDDEN, Unknown, REAUTH),
            (500, samples::GATEWAY_500, Unknown, RETRY),
            (429, samples::THROTTLED_GATEWAY, NoEffect, THROTTLED),
            (429, samples::THROTTLED_APP, NoEffect, THROTTLED),
            (429, samples::THROTTLED_XML, NoEffect, THROTTLED),
            (500, samples::THROTTLED_XML, Unknown, THROTTLED),
            (200, samples::SYSTEM_FAULT, Unknown, RETRY),
            (400, samples::SYSTEM_FAULT, Unknown, RETRY),
            (500, samples::SYSTEM_FAULT, Unknown, RETRY),
            (200, samples::VOID_IGNORED, Unknown, RETRY),
            (200, "", Unknown, RETRY),
            (200, "{\"Invoice\":", Unknown, RETRY),
            (200, samples::QUERY, Unknown, RETRY),
            (200, samples::DELETED, Unknown, RETRY),
            (302, "", Unknown, STOP),
            (400, "<html>no</html>", Unknown, STOP),
            (404, "{}", Unknown, STOP),
            (401, samples::HTML_503, Unknown, REAUTH),
            (403, "", Unknown, STOP),
            (429, "slow down", Unknown, THROTTLED),
            (500, "", Unknown, RETRY),
        ] {
            let verdict = judge(&create(), status, body);
            assert_eq!(verdict, Verdict::closed(outcome, advice), "{status} {body}");
        }
    }

    fn stating(body: &str, status: u16) -> String {
        let stated = body.find("statusCode=").unwrap() + "statusCode=".len();
        format!("{}{status}{}", &body[..stated], &body[stated + 3..])
    }

    #[test]
    fn no_good_answer_is_believed_under_a_bad_status() {
        use Outcome::Unknown;
        let pdf = request("GET", "/invoice/266/pdf", "");
        for (status, advice) in [(302, STOP), (404, STOP), (500, RETRY)] {
            let written = judge(&create(), status, samples::INVOICE);
            assert_eq!(written, Verdict::closed(Unknown, advice), "{status}");
            for (read, body) in [(read_one(), samples::INVOICE), (pdf.clone(), "%PDF-1.4")] {
                assert_eq!(judge(&read, status, body), no_effect(advice), "{status}");
            }
        }
    }

    #[test]
    fn the_gateways_word_counts_only_under_the_status_that_it_states() {
        use Outcome::{NoEffect, Unknown};
        for (status, agreed, disagreed) in [
            (401, REAUTH, (REAUTH, true)),
            (403, STOP, (STOP, true)),
            (429, THROTTLED, (THROTTLED, true)),
            (503, RETRY, (RETRY, false)),
        ] {
            let of = |stated| judge(&create(), status, stating(samples::FORBIDDEN, stated));
            assert_eq!(of(status), Verdict::closed(NoEffect, agreed), "{status}");
            let (advice, closed) = disagreed;
            let expected = Verdict {
                closed,
                ..Verdict::closed(Unknown, advice)
            };
            assert_eq!(of(418), expected, "{status}");
        }
    }

    #[test]
    fn a_throttle_answer_counts_only_under_the_status_that_it_states() {
        for status in [403, 429, 503] {
            let of = |stated| judge(&create(), status, stating(samples::THROTTLED_XML, stated));
            assert_eq!(of(status), no_effect(THROTTLED), "{status}");
            assert_eq!(of(418), unknown(THROTTLED), "{status}");
        }
    }

    #[test]
    fn a_fault_under_a_status_that_faults_do_not_have_says_nothing_of_the_effect() {
        for (status, advice) in [(302, STOP), (500, RETRY), (503, RETRY)] {
            for body in [samples::DUPLICATE_NAME, samples::SYSTEM_FAULT] {
                assert_eq!(judge(&create(), status, body), unknown(advice), "{status}");
            }
        }
    }

    #[test]
    fn a_box_on_the_way_that_asks_for_another_try_gets_one() {
        for status in [408, 425] {
            assert_eq!(judge(&create(), status, ""), unknown(RETRY), "{status}");
        }
    }

    #[test]
    fn what_is_not_json_is_a_good_answer_only_where_a_file_was_asked_for() {
        let pdf = request("GET", "/invoice/266/pdf", "");
        let other = request("GET", "/download/5", "");
        for (request, body, good) in [
            (&pdf, "%PDF-1.4", true),
            (&pdf, samples::HTML_503, false),
            (&pdf, "", false),
            (&other, "https://files/5", true),
            (&other, "", true),
            (&other, "stream timeout", false),
            (&read_one(), "%PDF-1.4", false),
        ] {
            let expected = if good {
                Verdict::APPLIED
            } else {
                no_effect(RETRY)
            };
            assert_eq!(judge(request, 200, body), expected, "{body}");
        }
    }

    #[test]
    fn a_read_that_is_not_known_is_answered_and_not_cached() {
        let other = request("GET", "/invoice/266/history", "");
        assert_eq!(judge(&other, 200, samples::INVOICE), Verdict::APPLIED);
    }

    #[test]
    fn a_gateway_that_gave_up_leaves_the_attempt_open() {
        for (status, body) in [
            (502, ""),
            (503, samples::HTML_503),
            (504, "upstream request timeout"),
            (500, "stream timeout"),
            (408, "stream timeout"),
        ] {
            assert_eq!(
                judge(&create(), status, body),
                Verdict::OPEN,
                "{status} {body}"
            );
        }
    }

    #[test]
    fn a_503_in_the_gateways_own_envelope_had_no_effect() {
        let body = samples::GATEWAY_500.replace("statusCode=500", "statusCode=503");
        assert_eq!(judge(&create(), 503, body.clone()), no_effect(RETRY));
        assert_eq!(judge(&create(), 504, body), Verdict::OPEN);
    }

    #[test]
    fn the_403_that_throttled_in_2016_is_a_throttle_answer() {
        let body = samples::THROTTLED_XML.replace("statusCode=429", "statusCode=403");
        assert_eq!(judge(&create(), 403, body), no_effect(THROTTLED));
    }

    #[test]
    fn a_given_retry_after_is_passed_on() {
        let disagreeing = stating(samples::GATEWAY_500, 418);
        for (status, body) in [
            (429, samples::THROTTLED_GATEWAY),
            (429, disagreeing.as_str()),
            (429, ""),
            (408, ""),
            (408, "stream timeout"),
            (500, ""),
            (500, samples::DUPLICATE_NAME),
            (500, samples::GATEWAY_500),
            (502, ""),
            (503, samples::HTML_503),
            (503, disagreeing.as_str()),
            (504, disagreeing.as_str()),
            (200, samples::SYSTEM_FAULT),
            (200, ""),
        ] {
            let answer = Response::builder()
                .status(status)
                .header("retry-after", "7")
                .body(Payload::from(body.to_owned()))
                .unwrap();
            for request in [create(), read_one()] {
                let route = QboClassify.route(&request);
                let verdict = QboClassify.answer(route, &answer, UNIX_EPOCH);
                let after = verdict.advice.retry_after();
                assert_eq!(after, Some(Duration::from_secs(7)), "{status} {body}");
            }
        }
    }

    fn fault(kind: &str, code: &str, detail: &str) -> String {
        format!(
            r#"{{"Fault":{{"Error":[{{"Message":"m","Detail":"{detail}","code":"{code}"}}],"type":"{kind}"}}}}"#
        )
    }

    #[test]
    fn codes_that_are_no_refusal_of_the_business_are_told_apart() {
        use Outcome::{NoEffect, Rejected, Unknown};
        const LOCK: &str = "another user was editing a transaction with inventory products at exactly the same time";
        for (kind, code, detail, outcome, advice) in [
            ("ValidationFault", "6000", LOCK, NoEffect, RETRY),
            (
                "ValidationFault",
                "6000",
                "Unexpected Internal Error. (-30000)",
                Unknown,
                RETRY,
            ),
            (
                "ValidationFault",
                "6000",
                "Amounts do not match",
                Rejected,
                STOP,
            ),
            (
                "ValidationFault",
                "5010",
                "Stale Object Error",
                Rejected,
                STOP,
            ),
            (
                "ValidationFault",
                "6140",
                "Duplicate Document Number",
                Rejected,
                STOP,
            ),
            ("ValidationFault", "600", "", Unknown, STOP),
            ("ValidationFault", "2130", "", Rejected, STOP),
            ("ValidationFault", "150", "", NoEffect, RETRY),
            ("ValidationFault", "10000", "", Unknown, RETRY),
            ("ValidationFault", "3001", "", NoEffect, THROTTLED),
            (
                "ValidationFault",
                "500",
                "Could not find resource for relative : /x",
                NoEffect,
                RETRY,
            ),
            (
                "ValidationFault",
                "500",
                "Unsupported Operation",
                Rejected,
                STOP,
            ),
            (
                "AuthorizatonFault",
                "120",
                "-11014- You do not have access",
                Unknown,
                STOP,
            ),
            ("", "", "", Unknown, STOP),
        ] {
            let verdict = judge(&create(), 400, fault(kind, code, detail));
            assert_eq!(
                verdict,
                Verdict::closed(outcome, advice),
                "{kind} {code} {detail}"
            );
        }
    }

    #[test]
    fn the_gravest_of_several_errors_counts() {
        let body =
            r#"{"Fault":{"Error":[{"code":"6240"},{"code":"600"}],"type":"ValidationFault"}}"#;
        assert_eq!(judge(&create(), 400, body).outcome, Outcome::Unknown);
        let body =
            r#"{"Fault":{"Error":[{"code":"3001"},{"code":"6240"}],"type":"ValidationFault"}}"#;
        assert_eq!(judge(&create(), 400, body), Verdict::REJECTED);
        let body = r#"{"Fault":{"Error":[],"type":"ValidationFault"}}"#;
        assert_eq!(judge(&create(), 400, body), unknown(STOP));
        // Of two that are as grave, the first.
        let body =
            r#"{"Fault":{"Error":[{"code":"600"},{"code":"10000"}],"type":"ValidationFault"}}"#;
        assert_eq!(judge(&create(), 400, body), unknown(STOP));
        let body =
            r#"{"Fault":{"Error":[{"code":"10000"},{"code":"600"}],"type":"ValidationFault"}}"#;
        assert_eq!(judge(&create(), 400, body), unknown(RETRY));
    }

    #[test]
    fn only_its_own_proof_proves_a_write() {
        const OLD: &str = r#"{"Id":"266","SyncToken":"0"}"#;
        let update = request("POST", "/invoice", OLD);
        let delete = request("POST", "/invoice?operation=delete", OLD);
        let void = request("POST", "/invoice?operation=void", OLD);
        let bill = request("POST", "/bill", "{}");
        let applied = |request: &Request<Payload>, body: &'static str| {
            judge(request, 200, body) == Verdict::APPLIED
        };
        assert!(applied(&create(), samples::INVOICE));
        assert!(applied(&update, samples::INVOICE));
        assert!(!applied(&update, samples::DELETED));
        assert!(applied(&delete, samples::DELETED));
        assert!(!applied(&delete, samples::INVOICE));
        assert!(applied(&void, samples::VOIDED));
        assert!(!applied(&void, samples::INVOICE));
        assert!(!applied(&bill, samples::INVOICE));
        assert!(!applied(
            &create(),
            r#"{"Invoice":{"Id":"","SyncToken":"0"}}"#
        ));
        assert!(!applied(&create(), r#"{"Invoice":{"Id":"9"}}"#));
    }

    #[test]
    fn a_batch_of_writes_is_applied_only_as_a_whole() {
        const ITEMS: &str = r#"{"BatchItemRequest":[{"bId":"1","operation":"create","Vendor":{}},{"bId":"2","operation":"delete","Bill":{}}]}"#;
        const BOTH: &str = r#"{"BatchItemResponse":[{"Vendor":{"Id":"5","SyncToken":"0"},"bId":"1"},{"Bill":{"status":"Deleted","Id":"7"},"bId":"2"}]}"#;
        const ONE: &str =
            r#"{"BatchItemResponse":[{"Vendor":{"Id":"5","SyncToken":"0"},"bId":"1"}]}"#;
        let batch = request("POST", "/batch", ITEMS);
        assert_eq!(judge(&batch, 200, BOTH), Verdict::APPLIED);
        for body in [ONE, samples::BATCH, samples::VOID_IGNORED] {
            assert_eq!(judge(&batch, 200, body), unknown(STOP), "{body}");
        }
        let unread = request("POST", "/batch", "<IntuitBatchRequest/>");
        assert_eq!(judge(&unread, 200, samples::VOID_IGNORED), unknown(STOP));
    }

    #[test]
    fn an_upload_that_failed_inside_a_200_is_refused() {
        let upload = request("POST", "/upload", "--b");
        assert_eq!(
            judge(&upload, 200, samples::UPLOAD_FAILED),
            Verdict::REJECTED
        );
        let stored = r#"{"AttachableResponse":[{"Attachable":{"Id":"1","SyncToken":"0"}}]}"#;
        assert_eq!(judge(&upload, 200, stored), Verdict::APPLIED);
        let empty = r#"{"AttachableResponse":[]}"#;
        assert_eq!(judge(&upload, 200, empty), unknown(RETRY));
    }

    #[test]
    fn only_a_read_with_the_expected_envelope_may_be_cached() {
        let query = request("GET", "/query?query=select%20*%20from%20Vendor", "");
        let good = Verdict::APPLIED.cacheable();
        assert_eq!(judge(&query, 200, samples::QUERY), good);
        assert_eq!(
            judge(&query, 200, r#"{"QueryResponse":{},"time":"t"}"#),
            good
        );
        assert_eq!(judge(&read_one(), 200, samples::INVOICE), good);
        for (request, body, advice) in [
            (&query, samples::INVOICE, RETRY),
            (&query, "", RETRY),
            (&read_one(), samples::INVALID_ID, STOP),
            (&read_one(), samples::SYSTEM_FAULT, RETRY),
            (&read_one(), samples::THROTTLED_APP, THROTTLED),
        ] {
            assert_eq!(judge(request, 200, body), no_effect(advice), "{body}");
        }
    }

    #[test]
    fn a_fault_inside_a_read_of_many_is_no_good_answer() {
        let batch = request(
            "POST",
            "/batch",
            r#"{"BatchItemRequest":[{"bId":"1","Query":"q"}]}"#,
        );
        assert_eq!(judge(&batch, 200, samples::BATCH), no_effect(STOP));
        let cdc = request("GET", "/cdc?entities=Bill", "");
        let good = r#"{"CDCResponse":[{"QueryResponse":[{}]}],"time":"t"}"#;
        assert!(judge(&cdc, 200, good).cacheable);
        let bad = r#"{"CDCResponse":[{"QueryResponse":[{"Fault":{"Error":[{"code":"10000"}],"type":"SystemFault"}}]}]}"#;
        assert_eq!(judge(&cdc, 200, bad), no_effect(RETRY));
    }

    fn writes() -> impl Strategy<Value = Request<Payload>> {
        const OLD: &str = r#"{"Id":"266","SyncToken":"0"}"#;
        prop::sample::select(vec![
            ("/invoice", "{}"),
            ("/invoice", OLD),
            ("/invoice?operation=delete", OLD),
            ("/invoice?operation=void", OLD),
            ("/invoice/266/send", ""),
            ("/upload", "--b"),
            ("/taxservice/taxcode", "{}"),
            (
                "/batch",
                r#"{"BatchItemRequest":[{"bId":"1","operation":"create","Vendor":{}}]}"#,
            ),
        ])
        .prop_map(|(path, body)| request("POST", path, body))
    }

    proptest! {
        #[test]
        fn no_answer_panics(
            request in writes(), status in 100_u16..600, body in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            judge(&request, status, body.clone());
            judge(&read_one(), status, body);
        }

        #[test]
        fn no_page_and_no_text_tells_anything_of_a_writes_effect(
            request in writes(), status in 100_u16..600, text in "(<html>|stream timeout|)[a-z<>/ ]{0,30}"
        ) {
            prop_assert_eq!(judge(&request, status, text).outcome, Outcome::Unknown);
        }

        #[test]
        fn no_5xx_answers_a_write_with_certainty_but_the_gateways_own_503(
            request in writes(), status in 500_u16..600, which in 0..samples::ALL.len()
        ) {
            let verdict = judge(&request, status, samples::ALL[which]);
            // None of the samples states 503, and one that states another status is not believed.
            prop_assert_eq!(verdict.outcome, Outcome::Unknown);
        }

        #[test]
        fn half_a_good_answer_proves_nothing(request in writes(), which in 0..samples::ALL.len(), cut in 0_usize..2000) {
            let whole = samples::ALL[which];
            let half = whole.as_bytes()[..cut % whole.len()].to_vec();
            prop_assert_eq!(judge(&request, 200, half).outcome, Outcome::Unknown);
        }

        #[test]
        fn a_read_is_never_in_doubt_nor_rejected(status in 100_u16..600, which in 0..samples::ALL.len()) {
            let outcome = judge(&read_one(), status, samples::ALL[which]).outcome;
            prop_assert!(matches!(outcome, Outcome::Applied | Outcome::NoEffect));
        }

        #[test]
        fn only_good_answers_are_cacheable(status in 100_u16..600, which in 0..samples::ALL.len()) {
            let verdict = judge(&read_one(), status, samples::ALL[which]);
            prop_assert!(!verdict.cacheable || verdict.outcome == Outcome::Applied);
            prop_assert!(!judge(&create(), status, samples::ALL[which]).cacheable);
        }
    }
}
