//! How an answer tells where it came from, in standard headers. Pure.

use crate::outcome::Verdict;
use crate::payload::{Payload, ServedFrom};
use http::{HeaderName, HeaderValue, Response, header};

/// In the extensions of every answer that leaves the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Where the answer came from.
    pub served_from: ServedFrom,
    /// What the answer means, if anybody judged it.
    pub verdict: Option<Verdict>,
    /// The operation it answers, for writes.
    pub operation: Option<crate::context::OperationId>,
}

static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
static REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Writes [`Told`], and `Age` (RFC 9111), `Cache-Status` (RFC 9211) and `Idempotent-Replayed` where they apply.
pub fn tell(answer: &mut Response<Payload>) {
    let payload = answer.body();
    let told = Told {
        served_from: payload.served_from(),
        verdict: payload.verdict(),
        operation: payload.operation(),
    };
    answer.extensions_mut().insert(told);
    let (age, status) = match told.served_from {
        ServedFrom::Upstream => return,
        ServedFrom::FreshCache { age } => (age, Some("tower-sturdy; hit")),
        // RFC 9211: the cache was stale, went forward, and got nothing usable.
        ServedFrom::StaleCache { age } => (
            age,
            Some("tower-sturdy; hit; fwd=stale; detail=stale-if-error"),
        ),
        ServedFrom::Replay { age } => (age, None),
    };
    let headers = answer.headers_mut();
    headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    match status {
        Some(status) => headers.insert(&CACHE_STATUS, HeaderValue::from_static(status)),
        None => headers.insert(&REPLAYED, HeaderValue::from_static("true")),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn answer(served_from: ServedFrom) -> Response<Payload> {
        let mut answer = Response::new(Payload::empty().with_served_from(served_from));
        tell(&mut answer);
        answer
    }

    #[test]
    fn an_answer_of_the_upstream_gains_no_header() {
        assert!(answer(ServedFrom::Upstream).headers().is_empty());
    }

    #[test]
    fn a_replay_says_so_and_how_old_it_is() {
        let replay = answer(ServedFrom::Replay {
            age: Duration::from_millis(61_900),
        });
        assert_eq!(replay.headers()["idempotent-replayed"], "true");
        assert_eq!(replay.headers()["age"], "61");
        assert!(!replay.headers().contains_key("cache-status"));
    }

    #[test]
    fn a_stale_answer_is_told_apart_from_a_fresh_one() {
        let age = Duration::from_secs(5);
        let fresh = answer(ServedFrom::FreshCache { age });
        let stale = answer(ServedFrom::StaleCache { age });
        assert_ne!(
            fresh.headers()["cache-status"],
            stale.headers()["cache-status"]
        );
    }
}
