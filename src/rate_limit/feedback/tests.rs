//! Headers as they are seen in the wild, and as nobody should send them.

use super::*;
use proptest::prelude::*;

/// 2026-11-23 20:00:00 UTC.
const NOW: u64 = 1_795_464_000;

fn said(headers: &[(&str, &str)]) -> Option<(u64, u64)> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, value.parse().unwrap());
    }
    let left = read(&map, || UNIX_EPOCH + Duration::from_secs(NOW))?;
    Some((
        left.calls,
        u64::try_from(left.resets_in.as_millis()).unwrap(),
    ))
}

fn pair(remaining: &str, reset: &str) -> Option<(u64, u64)> {
    said(&[
        ("x-ratelimit-remaining", remaining),
        ("x-ratelimit-reset", reset),
    ])
}

#[test]
fn the_current_draft_is_read_and_the_most_used_up_policy_counts() {
    for (value, expected) in [
        (r#""default";r=50;t=30"#, Some((50, 30_000))),
        (
            r#""minute";r=20;t=23, "hour";r=3;t=2402"#,
            Some((3, 2_402_000)),
        ),
        (r#""a";r=0;t=1 , "b";r=0;t=9,"c";r=0;t=3"#, Some((0, 9_000))),
        (r#""of \"two\", or;r=0;t=9";r=7;t=5"#, Some((7, 5_000))),
        (r#""a";t=5;r=4;pk=:dGVuYW50:"#, Some((4, 5_000))),
        ("default;r=8;t=3", Some((8, 3_000))),
        ("limit=100, remaining=40, reset=7", Some((40, 7_000))),
        // No reset, no remaining, or no numbers.
        (r#""a";r=0"#, None),
        (r#""a";t=5"#, None),
        (r#""a";r=-1;t=5"#, None),
        (r#""a";r=1.5;t=5"#, None),
        (r#""a";r="1";t=5"#, None),
        (r#""a;r=1;t=5"#, None),
        // One that is read beside one that is not.
        (r#""a";r=x;t=5, "b";r=2;t=5"#, Some((2, 5_000))),
    ] {
        assert_eq!(said(&[("ratelimit", value)]), expected, "{value}");
    }
    let two = [
        ("ratelimit", r#""a";r=5;t=5"#),
        ("ratelimit", r#""b";r=4;t=6"#),
    ];
    assert_eq!(said(&two), Some((4, 6_000)));
}

#[test]
fn what_counts_something_else_than_requests_says_nothing_until_nothing_is_left() {
    let with = |unit: &str, r: u64| {
        let policy = format!(r#""a";q=10;w=60;qu="{unit}""#);
        let limit = format!(r#""a";r={r};t=5"#);
        said(&[("ratelimit-policy", &policy), ("ratelimit", &limit)])
    };
    assert_eq!(with("requests", 4), Some((4, 5_000)));
    assert_eq!(with("content-bytes", 4), None);
    assert_eq!(with("content-bytes", 0), Some((0, 5_000)));
    assert_eq!(with("concurrent-requests", 0), None);
}

#[test]
fn a_reset_is_seconds_from_now_or_a_time_in_any_of_the_usual_forms() {
    let at = NOW + 90;
    for (reset, expected) in [
        ("90".to_owned(), Some((3, 90_000))),
        ("1.25".to_owned(), Some((3, 1_250))),
        (at.to_string(), Some((3, 90_000))),
        (format!("{at}.5"), Some((3, 90_500))),
        (format!("{at}250"), Some((3, 90_250))),
        (
            "Mon, 23 Nov 2026 20:01:30 GMT".to_owned(),
            Some((3, 90_000)),
        ),
        // Over already, or nothing that could be a time.
        ("0".to_owned(), None),
        ((NOW - 1).to_string(), None),
        ("Mon, 23 Nov 2026 19:59:59 GMT".to_owned(), None),
        ("-5".to_owned(), None),
        ("NaN".to_owned(), None),
        ("inf".to_owned(), None),
        ("1e3".to_owned(), None),
        ("9 s".to_owned(), None),
        ("1.".to_owned(), None),
        (".5".to_owned(), None),
        (u64::MAX.to_string() + "0", None),
    ] {
        assert_eq!(pair("3", &reset), expected, "{reset}");
    }
}

#[test]
fn no_reset_is_further_away_than_an_hour() {
    let year = (NOW + 31_536_000).to_string();
    for reset in ["3601", "99999999", &year, &u64::MAX.to_string()] {
        assert_eq!(pair("0", reset), Some((0, 3_600_000)), "{reset}");
    }
}

#[test]
fn with_nothing_left_a_reset_that_was_rounded_down_to_now_takes_a_second() {
    for reset in ["0".to_owned(), NOW.to_string()] {
        assert_eq!(pair("0", &reset), Some((0, 1_000)));
        assert_eq!(pair("1", &reset), None);
    }
}

#[test]
fn a_time_of_day_counts_from_the_answers_own_date() {
    let at = (NOW + 90).to_string();
    let mut headers = vec![
        ("x-rate-limit-remaining", "3"),
        ("x-rate-limit-reset", &*at),
    ];
    assert_eq!(said(&headers), Some((3, 90_000)));
    headers.push(("date", "Mon, 23 Nov 2026 20:01:00 GMT"));
    assert_eq!(said(&headers), Some((3, 30_000)));
}

#[test]
fn of_doubles_that_differ_and_of_answers_from_a_cache_nothing_is_believed() {
    let reset = ("ratelimit-reset", "5");
    let remaining = |value| ("ratelimit-remaining", value);
    assert_eq!(said(&[remaining("3"), reset]), Some((3, 5_000)));
    assert_eq!(
        said(&[remaining("3"), remaining("3"), reset]),
        Some((3, 5_000))
    );
    assert_eq!(said(&[remaining("3"), remaining("4"), reset]), None);
    assert_eq!(said(&[remaining("3, 4"), reset]), None);
    assert_eq!(
        said(&[remaining("3"), reset, ("ratelimit-reset", "6")]),
        None
    );
    assert_eq!(
        said(&[remaining("3"), reset, ("age", "0")]),
        Some((3, 5_000))
    );
    assert_eq!(said(&[remaining("3"), reset, ("age", "7")]), None);
}

#[test]
fn the_standard_header_counts_before_the_others_if_it_can_be_read() {
    let old = [("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "9")];
    let with = |value: &'static str| said(&[("ratelimit", value), old[0], old[1]]);
    assert_eq!(with(r#""a";r=2;t=5"#), Some((2, 5_000)));
    assert_eq!(with("rubbish"), Some((9, 9_000)));
}

proptest! {
    #[test]
    fn no_text_panics_and_no_wait_is_zero_or_longer_than_an_hour(
        limit in "[ -~]{0,60}",
        policy in "[ -~]{0,30}",
        remaining in "[-+0-9.eENa, ]{0,25}",
        reset in "[-+0-9.eENa, ]{0,25}",
        date in "[ -~]{0,30}",
    ) {
        let left = said(&[
            ("ratelimit", &limit),
            ("ratelimit-policy", &policy),
            ("x-ratelimit-remaining", &remaining),
            ("x-ratelimit-reset", &reset),
            ("date", &date),
        ]);
        if let Some((_, millis)) = left {
            prop_assert!((1..=3_600_000).contains(&millis), "{millis}");
        }
    }

    #[test]
    fn what_the_draft_writes_is_read_back(
        limits in prop::collection::vec(("[ -~]{1,12}", 0_u64..1_000_000_000_000_000, 1_u64..3_600), 1..5),
    ) {
        let text: Vec<_> = limits
            .iter()
            .map(|(name, r, t)| {
                let name = name.replace('\\', "\\\\").replace('"', "\\\"");
                format!("\"{name}\";r={r};t={t}")
            })
            .collect();
        let expected = limits.iter().map(|(_, r, t)| (*r, u64::MAX - t)).min();
        let expected = expected.map(|(r, t)| (r, (u64::MAX - t) * 1_000));
        prop_assert_eq!(said(&[("ratelimit", &text.join(", "))]), expected);
    }
}
