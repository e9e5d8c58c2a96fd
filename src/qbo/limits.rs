//! QBO's published limits as data, and which of them a request counts against.

use super::route::split;
use crate::payload::Payload;
use http::Request;
use std::time::Duration;

/// Which requests a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndpointClass {
    /// Every request.
    Any,
    /// Batch requests, reads or writes.
    Batch,
    /// Reports.
    Report,
}

/// At most `limit` requests per `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// For messages and metrics.
    pub name: &'static str,
    /// How many.
    pub limit: u32,
    /// In which time; zero for "at once".
    pub per: Duration,
    /// Whether all companies share it; otherwise each has its own.
    pub per_app: bool,
    /// What it counts.
    pub class: EndpointClass,
}

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// How long to keep a tenant's gates closed after a throttle answer without `Retry-After`, which is how QBO gives them
/// (facts 1: "wait 60 seconds before retrying", A; no `Retry-After` recorded, D).
pub const THROTTLE_PAUSE: Duration = MINUTE;

/// Intuit's published limits of 2026.
#[must_use]
pub const fn intuit_2026() -> [Limit; 5] {
    [
        // Facts 1, A. Batch requests count too (2016 post).
        per_realm("realm/minute", 500, MINUTE, EndpointClass::Any),
        // Facts 1, A: in production, and in sandboxes since 2025-09-15.
        per_realm("realm/second", 10, SECOND, EndpointClass::Any),
        // Facts 1, A in 2016, B today: still enforced is not established, so the safe side is on.
        per_realm("realm/concurrent", 10, Duration::ZERO, EndpointClass::Any),
        // Facts 1, A: 40 a minute per realm and app. The further 120 a minute per realm are of all apps together; ours
        // alone cannot reach them under the 40.
        per_realm("realm/batch", 40, MINUTE, EndpointClass::Batch),
        // Facts 1, B and historical: not on today's page. Kept, since it costs nothing under 500 a minute.
        per_realm("realm/report", 200, MINUTE, EndpointClass::Report),
    ]
}

/// The limits that the product's decision record 005 assumed: 500 a minute for the whole app, 100 a second per company.
#[must_use]
pub const fn adr_005() -> [Limit; 2] {
    [
        Limit {
            name: "app/minute",
            limit: 500,
            per: MINUTE,
            per_app: true,
            class: EndpointClass::Any,
        },
        per_realm("realm/second", 100, SECOND, EndpointClass::Any),
    ]
}

const fn per_realm(name: &'static str, limit: u32, per: Duration, class: EndpointClass) -> Limit {
    Limit {
        name,
        limit,
        per,
        per_app: false,
        class,
    }
}

/// The class of a request, beside [`EndpointClass::Any`], which counts them all.
#[must_use]
pub fn class_of(request: &Request<Payload>) -> EndpointClass {
    // The first segment alone tells; reading the body for more would cost every admission.
    let (_, _, rest) = split(request.uri().path()).unwrap_or_default();
    match rest.split('/').find(|segment| !segment.is_empty()) {
        Some("batch") => EndpointClass::Batch,
        Some("reports") => EndpointClass::Report,
        _ => EndpointClass::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(method: &str, path: &str) -> EndpointClass {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://h/v3/company/1{path}"))
            .body(Payload::empty())
            .unwrap();
        class_of(&request)
    }

    #[test]
    fn batches_and_reports_have_classes_of_their_own() {
        assert_eq!(class("POST", "/batch"), EndpointClass::Batch);
        assert_eq!(class("GET", "/reports/BalanceSheet"), EndpointClass::Report);
        assert_eq!(class("GET", "/bill/1"), EndpointClass::Any);
    }

    #[test]
    fn names_within_a_preset_are_unique_and_no_limit_is_zero() {
        for preset in [&intuit_2026()[..], &adr_005()[..]] {
            for (at, limit) in preset.iter().enumerate() {
                assert!(limit.limit > 0);
                assert!(preset[..at].iter().all(|other| other.name != limit.name));
            }
        }
    }
}
