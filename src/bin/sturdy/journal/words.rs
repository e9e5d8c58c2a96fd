//! Times, durations and text, as people and programs read and write them.

use std::time::Duration;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::context::OperationId;
use tower_sturdy::journal::CannotResolve;
use tower_sturdy::qbo::iso;

/// RFC 3339 in UTC, to the millisecond.
pub(crate) fn time(at: Timestamp) -> String {
    if at >= Timestamp::NEVER {
        "never".to_owned()
    } else {
        iso::format(at)
    }
}

/// Reads RFC 3339 with any offset.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    // The standard allows a small `t` and `z`, and a blank between date and time.
    let mut plain = text.trim().to_uppercase();
    if plain.get(10..11) == Some(" ") {
        plain.replace_range(10..11, "T");
    }
    iso::parse(&plain)
        .ok_or_else(|| "write a time with its offset, such as 2026-11-23T14:11:05Z".to_owned())
}

pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|error| format!("{error}; write a duration, such as 90s, 2h or 3d"))
}

/// Ids are in capitals; who types one need not be.
pub(crate) fn parse_id(text: &str) -> Result<OperationId, String> {
    let capitals = text.trim().to_ascii_uppercase();
    capitals
        .parse()
        .map_err(|error: tower_sturdy::context::InvalidWord| error.to_string())
}

/// A duration in its two largest units: "3h 12m".
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let Some(first) = units.iter().position(|(size, _)| seconds >= *size) else {
        return "0s".to_owned();
    };
    let (size, name) = units[first];
    let rest = units
        .get(first + 1)
        .map(|(small, name)| (seconds % size / small, name));
    match rest {
        Some((count @ 1.., small)) => format!("{}{name} {count}{small}", seconds / size),
        _ => format!("{}{name}", seconds / size),
    }
}

/// How far `at` is from now: "in 4m", "2h ago".
pub(crate) fn from_now(at: Timestamp, now: Timestamp) -> String {
    if at >= Timestamp::NEVER {
        "never".to_owned()
    } else if at > now {
        format!("in {}", span(at.since(now)))
    } else {
        format!("{} ago", span(now.since(at)))
    }
}

/// Text as a terminal may show it: what could move the cursor or hide a part is written out.
pub(crate) fn plain(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            // Marks that turn the direction of what follows, and what is seen as nothing.
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars()
        .flat_map(|c| {
            let escaped = hidden(c).then(|| c.escape_default());
            let same = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(same)
        })
        .collect()
}

/// The same, cut to a width; what was cut is told by two dots.
pub(crate) fn cut(text: &str, width: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= width {
        return text;
    }
    let kept: String = text.chars().take(width.saturating_sub(2)).collect();
    format!("{kept}..")
}

/// A size in bytes, KiB, MiB or GiB.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(size, _)| bytes >= *size) {
        Some((size, name)) => format!("{}.{} {name}", bytes / size, bytes % size * 10 / size),
        None => format!("{bytes} bytes"),
    }
}

/// Why a decision was not taken, and what to do.
pub(crate) fn refusal(why: &CannotResolve) -> String {
    match why {
        CannotResolve::Unsigned(field, fix) => {
            let option = if *field == "who" { "--by" } else { "--why" };
            format!("{option} {fix}")
        }
        CannotResolve::Final { state, at, by } => format!(
            "it is {state} since {}, by {}, and what is final never changes. If that is wrong, correct the books upstream, under a new key",
            time(*at),
            plain(by)
        ),
        CannotResolve::InHand { lease_until } => format!(
            "a process works on it, or died while it did. Its lease ends {}; a running service takes it over then. Start the service, then decide",
            time(*lease_until)
        ),
        CannotResolve::StillOpen(until) => format!(
            "what was sent may still take effect until {}. Decide after that, or add --force if you know that nothing can land any more",
            time(*until)
        ),
        CannotResolve::NoEffect => {
            "all that was sent provably had no effect. Say --not-applied, or have it tried again with `retry`".to_owned()
        }
        CannotResolve::Applied => "proof of its effect is on record. Say --applied".to_owned(),
        CannotResolve::NoStep(step) => format!("{step}. `show` says where it stands and why"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_two_units_at_most() {
        for (seconds, told) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_599, "59m 59s"),
            (3_600, "1h"),
            (3_601, "1h"),
            (11_520, "3h 12m"),
            (1_000_000, "11d 13h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), told);
        }
    }

    #[test]
    fn times_are_read_in_every_form_that_the_standard_allows_and_no_other() {
        let at = Timestamp::from_millis(1_795_443_065_000);
        assert_eq!(time(at), "2026-11-23T14:11:05.000Z");
        for text in [
            "2026-11-23T14:11:05Z",
            "2026-11-23t14:11:05z",
            "2026-11-23 14:11:05Z",
            "2026-11-23T16:11:05+02:00",
            "2026-11-23T14:11:05.000Z",
        ] {
            assert_eq!(parse_time(text), Ok(at), "{text}");
        }
        for text in [
            "",
            "now",
            "2026-11-23",
            "2026-11-23T14:11:05",
            "2026-13-23T14:11:05Z",
        ] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_that_moves_a_cursor_reaches_a_terminal() {
        let told = plain("a\u{1b}[2Jb\nc\u{202e}d\u{7f}");
        assert_eq!(told, "a\\u{1b}[2Jb\\nc\\u{202e}d\\u{7f}");
        assert_eq!(plain("Zoë & 東京"), "Zoë & 東京");
        assert_eq!(cut("abcdefgh", 5), "abc..");
    }
}
