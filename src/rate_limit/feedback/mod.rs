//! What an answer's headers say is left of the upstream's own limits. No clock: wall time is handed in.
//!
//! Read are, in this order, and the first that says anything counts: `RateLimit` as in
//! draft-ietf-httpapi-ratelimit-headers-11 (`"name";r=3;t=12`, a list) and as in -07 (`remaining=3, reset=12`);
//! `RateLimit-Remaining` with `RateLimit-Reset` (-06 and before); the same with `X-RateLimit-` and `X-Rate-Limit-`. A reset
//! is a number of seconds from now, a Unix time in seconds or milliseconds (whoever sends which says nothing but by its
//! size), or an HTTP date. Times of day count from the answer's own `Date`, so that its clock need not agree with ours.
//!
//! Nothing else is believed: what cannot be read, is negative, comes twice with different values, is over already, names
//! no reset, comes from a cache, or counts something else than requests says nothing.

use http::{HeaderMap, HeaderName, header};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An hour: a limit over a longer time is asked about again this often, and a wrong header does no more harm than that.
const LONGEST: Duration = Duration::from_secs(3600);
/// No seconds from now are that many (three years), and no Unix time in seconds is that few (1973).
const FIRST_SECOND: u64 = 100_000_000;
/// No Unix time in seconds is that many (the year 5138), and none in milliseconds that few (1973).
const FIRST_MILLI: u64 = 100_000_000_000;
/// Headers longer than this say nothing: they are ours to read on every answer.
const LONGEST_TEXT: usize = 1024;

static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static PAIRS: [(HeaderName, HeaderName); 3] = [
    (
        HeaderName::from_static("ratelimit-remaining"),
        HeaderName::from_static("ratelimit-reset"),
    ),
    (
        HeaderName::from_static("x-ratelimit-remaining"),
        HeaderName::from_static("x-ratelimit-reset"),
    ),
    (
        HeaderName::from_static("x-rate-limit-remaining"),
        HeaderName::from_static("x-rate-limit-reset"),
    ),
];

/// What is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// How many calls.
    pub(super) calls: u64,
    /// Until when that counts; more than zero, an hour at most.
    pub(super) resets_in: Duration,
}

impl Left {
    /// Something that is over already says nothing. A reset within this very second was rounded down: with nothing left,
    /// it takes up to one more.
    fn new(calls: u64, resets_in: Duration) -> Option<Self> {
        let resets_in = match (resets_in.is_zero(), calls) {
            (false, _) => resets_in.min(LONGEST),
            (true, 0) => Duration::from_secs(1),
            (true, _) => return None,
        };
        Some(Self { calls, resets_in })
    }

    /// The one that is more used up; of two alike, the one that lasts.
    fn tighter(self, other: Self) -> Self {
        if (other.calls, self.resets_in) < (self.calls, other.resets_in) {
            other
        } else {
            self
        }
    }
}

/// Reads an answer's headers; wall time is asked for only where one of them is there.
pub(super) fn read(headers: &HeaderMap, wall: impl FnOnce() -> SystemTime) -> Option<Left> {
    let listed = headers.contains_key(&RATELIMIT);
    let pair = PAIRS
        .iter()
        .find(|(remaining, _)| headers.contains_key(remaining));
    if !listed && pair.is_none() || is_from_a_cache(headers) {
        return None;
    }
    if listed && let Some(left) = list(headers) {
        return Some(left);
    }
    let (remaining, reset) = pair?;
    let calls = whole(only(headers, remaining)?)?;
    Left::new(calls, until(only(headers, reset)?, headers, wall)?)
}

/// Such an answer tells of a time that is over.
fn is_from_a_cache(headers: &HeaderMap) -> bool {
    headers
        .get(header::AGE)
        .is_some_and(|age| age.as_bytes() != b"0")
}

/// The value of a header that comes once, or always with the same value.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.any(|other| other != first) {
        return None;
    }
    Some(first.to_str().ok()?.trim())
}

/// Digits alone: no sign, no exponent, no "NaN".
fn whole(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// How far away a reset is, zero if it is now; `None` if it is over or is no time.
fn until(text: &str, headers: &HeaderMap, wall: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let now = || {
        let date =
            only(headers, &header::DATE).and_then(|date| httpdate::parse_http_date(date).ok());
        date.unwrap_or_else(wall)
    };
    let (digits, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let Some(number) = whole(digits) else {
        let at = httpdate::parse_http_date(text).ok()?;
        return at.duration_since(now()).ok();
    };
    // What is cut off is less than a millisecond.
    let millis = whole(fraction.get(..3).unwrap_or(fraction))?;
    let scale = 10_u64.pow(3_u32.saturating_sub(u32::try_from(fraction.len()).unwrap_or(3)));
    whole(
        fraction
            .get(3..)
            .filter(|rest| !rest.is_empty())
            .unwrap_or("0"),
    )?;
    let fraction = Duration::from_millis(millis * scale);
    let at = if number < FIRST_SECOND {
        return Some(Duration::from_secs(number) + fraction);
    } else if number < FIRST_MILLI {
        Duration::from_secs(number) + fraction
    } else {
        Duration::from_millis(number)
    };
    UNIX_EPOCH.checked_add(at)?.duration_since(now()).ok()
}

/// The tightest of the limits in `RateLimit`.
fn list(headers: &HeaderMap) -> Option<Left> {
    let mut tightest: Option<Left> = None;
    // Of -07: one limit, spelled as members of a dictionary.
    let (mut remaining, mut reset) = (None, None);
    for member in members(headers, &RATELIMIT) {
        let name = member.name();
        if name.starts_with('"') || member.parameters().next().is_some() {
            let left = member.number("r").zip(member.number("t"));
            let left = left.and_then(|(r, t)| Left::new(r, Duration::from_secs(t)));
            if let Some(left) = left.filter(|left| counts_requests(headers, name, left.calls)) {
                tightest = Some(tightest.map_or(left, |other| other.tighter(left)));
            }
        } else if let Some((key, value)) = name.split_once('=') {
            match key {
                "remaining" => remaining = whole(value),
                "reset" => reset = whole(value),
                _ => {}
            }
        }
    }
    let single = remaining.zip(reset);
    tightest.or_else(|| single.and_then(|(r, t)| Left::new(r, Duration::from_secs(t))))
}

/// Whether a policy counts requests over time. Of bytes, only that none are left means something here; of requests at
/// once, nothing does, for they come back with the answers.
fn counts_requests(headers: &HeaderMap, name: &str, left: u64) -> bool {
    let Some(policy) = members(headers, &POLICY).find(|policy| policy.name() == name) else {
        return true;
    };
    match policy.value("qu") {
        None | Some("\"requests\"" | "\"request\"") => true,
        Some("\"concurrent-requests\"") => false,
        Some(_) => left == 0,
    }
}

/// One member of a list: a name and its parameters, as they were written.
#[derive(Clone, Copy)]
struct Member<'h>(&'h str);

impl<'h> Member<'h> {
    fn name(self) -> &'h str {
        split(self.0, b';').0.trim()
    }

    fn parameters(self) -> impl Iterator<Item = (&'h str, &'h str)> {
        parts(split(self.0, b';').1, b';').filter_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            Some((key.trim(), value.trim()))
        })
    }

    fn value(self, key: &str) -> Option<&'h str> {
        // The last one counts, as structured fields have it.
        self.parameters()
            .filter(|(other, _)| *other == key)
            .map(|(_, value)| value)
            .last()
    }

    fn number(self, key: &str) -> Option<u64> {
        whole(self.value(key)?)
    }
}

fn members<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = Member<'h>> + use<'h> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .filter(|text| text.len() <= LONGEST_TEXT)
        .flat_map(|text| parts(text, b','))
        .map(|text| Member(text.trim()))
}

/// What is before the first `mark` that is in no string, and what is after it.
fn split(text: &str, mark: u8) -> (&str, Option<&str>) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == mark && !quoted => return (&text[..at], Some(&text[at + 1..])),
            _ => {}
        }
    }
    (text, None)
}

fn parts<'h>(text: impl Into<Option<&'h str>>, mark: u8) -> impl Iterator<Item = &'h str> {
    let mut rest = text.into();
    std::iter::from_fn(move || {
        let (part, after) = split(rest?, mark);
        rest = after;
        Some(part)
    })
}

#[cfg(test)]
mod tests;
