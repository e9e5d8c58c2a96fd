//! What an answer or an error means: asked once per attempt, just above the transport.

use crate::clock::Clock;
use crate::error::{BoxError, Error, NotSent};
use crate::outcome::{Advice, Outcome, Verdict};
use crate::payload::Payload;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use std::fmt;
use std::time::{Duration, SystemTime};

/// Whether a request may change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Safety {
    /// It changes nothing.
    Read,
    /// It may change something.
    Write,
}

impl Safety {
    /// By method alone (RFC 9110, section 9.2.1).
    #[must_use]
    pub fn of(method: &Method) -> Self {
        if method.is_safe() {
            Self::Read
        } else {
            Self::Write
        }
    }
}

/// What a classifier needs to remember of a request until its answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Whether it may change something. Says more than the method: a QBO query may be a POST.
    pub safety: Safety,
    /// The classifier's own number for what is expected of the answer.
    pub kind: u32,
}

/// Judges attempts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what answers mean",
    note = "use `classify::HttpClassify`, `qbo::QboClassify`, or implement `Classify`"
)]
pub trait Classify: Send + Sync + fmt::Debug + 'static {
    /// What kind of request this is.
    fn route(&self, request: &Request<Payload>) -> Route;

    /// What a whole answer means. `wall` is the time to count a dated `Retry-After` from.
    fn answer(&self, route: Route, answer: &Response<Payload>, wall: SystemTime) -> Verdict;

    /// What a transport error means. The default: [`NotSent`] anywhere in the chain is `Unsent`; an error of this
    /// crate means what it says; a read had no effect; all else is an open `Unknown`.
    fn error(&self, route: Route, error: &(dyn std::error::Error + 'static)) -> Verdict {
        transport_error(route, error)
    }
}

/// The default reading of transport errors; see [`Classify::error`].
#[must_use]
pub fn transport_error(route: Route, error: &(dyn std::error::Error + 'static)) -> Verdict {
    let mut cause = Some(error);
    let mut verdict = None;
    while let Some(error) = cause {
        if error.is::<NotSent>() {
            return Verdict::UNSENT;
        }
        if let Some(ours) = error.downcast_ref::<Error>() {
            verdict.get_or_insert(ours.verdict());
        }
        // An `io::Error` hides the error it wraps from `source()`.
        cause = match error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
        {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    without_effect_if_read(route, verdict.unwrap_or(Verdict::OPEN))
}

/// A read that failed had no effect, whatever became of it; whether it is over stays as it was.
#[must_use]
pub fn without_effect_if_read(route: Route, verdict: Verdict) -> Verdict {
    if route.safety == Safety::Read && verdict.outcome == Outcome::Unknown {
        Verdict {
            outcome: Outcome::NoEffect,
            ..verdict
        }
    } else {
        verdict
    }
}

/// What came back of an attempt, and what it means: the judgement from below where there is one, that of `classify` where
/// nobody judged yet. It is recorded in the answer, or in the error.
///
/// # Errors
/// The inner service's own, as an [`Error`] that carries the verdict.
pub fn judge(
    classify: &dyn Classify,
    route: Route,
    clock: &Clock,
    answer: Result<Response<Payload>, BoxError>,
) -> (Result<Response<Payload>, Error>, Verdict) {
    match answer {
        Ok(mut answer) => {
            let verdict = judge_answer(classify, route, clock, &mut answer);
            (Ok(answer), verdict)
        }
        Err(error) => {
            let verdict = match error.downcast_ref::<Error>() {
                Some(ours) => ours.verdict(),
                None => classify.error(route, &*error),
            };
            let verdict = without_effect_if_read(route, verdict);
            (Err(Error::upstream(error, verdict)), verdict)
        }
    }
}

/// What [`judge`] makes of an answer, recorded in place.
pub(crate) fn judge_answer(
    classify: &dyn Classify,
    route: Route,
    clock: &Clock,
    answer: &mut Response<Payload>,
) -> Verdict {
    let verdict = match answer.body().verdict() {
        Some(verdict) => verdict,
        None => classify.answer(route, answer, wall_for(answer, clock)),
    };
    let verdict = without_effect_if_read(route, verdict);
    answer.body_mut().set_verdict(verdict);
    verdict
}

/// The time to count a dated `Retry-After` from; the wall clock is read only where there may be one.
pub(crate) fn wall_for(answer: &Response<Payload>, clock: &Clock) -> SystemTime {
    if answer.headers().contains_key(header::RETRY_AFTER) {
        SystemTime::from(clock.wall())
    } else {
        SystemTime::UNIX_EPOCH
    }
}

/// The wait that `Retry-After` asks for, in seconds or as an HTTP date; `None` if absent or unreadable.
#[must_use]
pub fn retry_after(headers: &HeaderMap, wall: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(wall).unwrap_or_default())
}

/// Plain HTTP, strictly: a status alone proves success and business refusals, but never that a failed write had no
/// effect, for any box on the way can answer 401, 403, 429 or 503 after the upstream did the work.
///
/// Where you know that your upstream refuses before doing anything, say so with [`HttpClassify::trust`]. A 202 to a write
/// is no proof: it was accepted, and may yet be refused ([`HttpClassify::done`]). Problem details (RFC 9457) whose
/// `outcome` is `unknown` are doubt whatever their status: so speaks a server that stands on this crate.
#[derive(Clone, Debug, Default)]
pub struct HttpClassify {
    trusted: Vec<StatusCode>,
    done: Vec<StatusCode>,
}

impl HttpClassify {
    /// The strict reading.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            trusted: Vec::new(),
            done: Vec::new(),
        }
    }

    /// Takes `status` (202) as proof that the write is done, or will be whatever comes.
    #[must_use]
    pub fn done(mut self, status: StatusCode) -> Self {
        self.done.push(status);
        self
    }

    /// Takes `status` as proof that nothing happened, unless the answer itself says otherwise.
    #[must_use]
    pub fn trust(mut self, status: StatusCode) -> Self {
        self.trusted.push(status);
        self
    }
}

impl Classify for HttpClassify {
    fn route(&self, request: &Request<Payload>) -> Route {
        Route {
            safety: Safety::of(request.method()),
            kind: 0,
        }
    }

    fn answer(&self, route: Route, answer: &Response<Payload>, wall: SystemTime) -> Verdict {
        let status = answer.status();
        let write = route.safety == Safety::Write;
        let only_accepted = write && status == StatusCode::ACCEPTED && !self.done.contains(&status);
        if status.is_success() && !only_accepted {
            return Verdict::APPLIED.cacheable();
        }
        let after = retry_after(answer.headers(), wall);
        if write && (only_accepted || tells_doubt(answer)) {
            return Verdict {
                advice: Advice::Retry { after },
                ..Verdict::OPEN
            };
        }
        let advice = match status {
            StatusCode::UNAUTHORIZED => Advice::Reauthenticate,
            StatusCode::TOO_MANY_REQUESTS => Advice::Throttled { after },
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => Advice::Retry { after },
            _ if status.is_server_error() => Advice::Retry { after },
            _ => Advice::Stop,
        };
        let verdict = match status {
            _ if self.trusted.contains(&status) => Verdict::closed(Outcome::NoEffect, advice),
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS => Verdict::closed(Outcome::Unknown, advice),
            _ if status.is_client_error() => Verdict::closed(Outcome::Rejected, advice),
            // Said by a gateway that gave up on the upstream, which may still be at work.
            StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Verdict {
                advice,
                ..Verdict::OPEN
            },
            // No standard's: those of gateways and content networks, which say the same.
            _ if status.as_u16() >= 520 => Verdict {
                advice,
                ..Verdict::OPEN
            },
            _ => Verdict::closed(Outcome::Unknown, advice),
        };
        without_effect_if_read(route, verdict)
    }
}

/// Whether a server that knows of outcomes says that it does not know this one; see [`crate::problem`].
pub(crate) fn tells_doubt(answer: &Response<Payload>) -> bool {
    let kind = answer.headers().get(header::CONTENT_TYPE);
    let is_problem = kind
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/problem+json"));
    if !is_problem {
        return false;
    }
    let body = serde_json::from_slice::<serde_json::Value>(answer.body().bytes());
    body.is_ok_and(|body| body["outcome"] == Outcome::Unknown.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::UNIX_EPOCH;

    const WRITE: Route = Route {
        safety: Safety::Write,
        kind: 0,
    };
    const READ: Route = Route {
        safety: Safety::Read,
        kind: 0,
    };

    fn judge(route: Route, status: u16) -> Verdict {
        let answer = Response::builder()
            .status(status)
            .body(Payload::empty())
            .unwrap();
        HttpClassify::new().answer(route, &answer, UNIX_EPOCH)
    }

    proptest! {
        #[test]
        fn no_failed_write_is_called_free_of_effect_by_a_server_side_status(status in 500_u16..600) {
            prop_assert_eq!(judge(WRITE, status).outcome, Outcome::Unknown);
        }

        #[test]
        fn a_failed_read_is_never_in_doubt(status in 100_u16..600) {
            prop_assert_ne!(judge(READ, status).outcome, Outcome::Unknown);
        }

        #[test]
        fn no_retry_after_text_panics(text in "[ -~]{0,40}") {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            let _ = retry_after(&headers, UNIX_EPOCH);
        }
    }

    #[test]
    fn a_throttle_answer_to_a_write_is_doubt_until_the_status_is_trusted() {
        assert_eq!(judge(WRITE, 429).outcome, Outcome::Unknown);
        let answer = Response::builder()
            .status(429)
            .header("retry-after", "7")
            .body(Payload::empty())
            .unwrap();
        let verdict = HttpClassify::new()
            .trust(StatusCode::TOO_MANY_REQUESTS)
            .answer(WRITE, &answer, UNIX_EPOCH);
        assert_eq!(verdict.outcome, Outcome::NoEffect);
        assert_eq!(verdict.advice.retry_after(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_dated_retry_after_counts_from_the_given_time() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::RETRY_AFTER,
            "Thu, 01 Jan 1970 00:00:30 GMT".parse().unwrap(),
        );
        assert_eq!(
            retry_after(&headers, UNIX_EPOCH + Duration::from_secs(10)),
            Some(Duration::from_secs(20))
        );
    }

    #[test]
    fn only_the_transport_can_affirm_that_nothing_was_sent() {
        let refused = std::io::Error::other(NotSent("no route".into()));
        assert_eq!(transport_error(WRITE, &refused), Verdict::UNSENT);
        let wrapped = Error::from_inner(refused);
        assert_eq!(transport_error(WRITE, &wrapped), Verdict::UNSENT);
        let reset = std::io::Error::other("reset");
        assert_eq!(transport_error(WRITE, &reset), Verdict::OPEN);
    }

    #[test]
    fn a_gateway_that_gave_up_says_nothing_of_what_is_behind_it() {
        // 520 to 530 are a content network's own; 598 and 599 stand for a proxy's timeouts.
        for status in [502, 503, 504, 520, 522, 524, 530, 598, 599] {
            assert!(!judge(WRITE, status).closed, "{status}");
        }
        assert!(judge(WRITE, 500).closed && judge(WRITE, 501).closed);
    }

    #[test]
    fn what_was_only_accepted_is_not_done() {
        let verdict = judge(WRITE, 202);
        assert_eq!((verdict.outcome, verdict.closed), (Outcome::Unknown, false));
        assert_eq!(judge(READ, 202).outcome, Outcome::Applied);
        let done = HttpClassify::new().done(StatusCode::ACCEPTED);
        let answer = Response::builder().status(202).body(Payload::empty());
        let verdict = done.answer(WRITE, &answer.unwrap(), UNIX_EPOCH);
        assert_eq!(verdict.outcome, Outcome::Applied);
    }

    #[test]
    fn the_doubt_of_a_server_that_stands_on_this_crate_is_taken_as_doubt() {
        let id = crate::context::OperationId::from_bits(7);
        for error in [
            Error::pending(id),
            Error::outcome_unknown(id),
            Error::parked(id),
            Error::contradicted(id),
            Error::in_flight(id, Duration::from_secs(1)),
        ] {
            for status in [StatusCode::ACCEPTED, StatusCode::CONFLICT] {
                let config = crate::problem::ProblemConfig::default();
                let answer = crate::problem::response_with(&error, status, &config);
                let verdict = HttpClassify::new().answer(WRITE, &answer, UNIX_EPOCH);
                assert_eq!(verdict.outcome, Outcome::Unknown, "{status} {error}");
                assert!(!verdict.closed, "{status} {error}");
            }
        }
        // A conflict of the business stays a refusal.
        assert_eq!(judge(WRITE, 409), Verdict::REJECTED);
    }
}
