//! QBO's dates: written in UTC, read with any offset and any fraction of a second (facts 4 and 6, A). Pure.

use crate::clock::Timestamp;

const DAY: i64 = 86_400_000;

/// `2026-11-23T14:11:05.250Z`.
#[must_use]
pub fn format(at: Timestamp) -> String {
    // Beyond year 9999 no date of this form exists.
    let millis = i64::try_from(at.as_millis())
        .unwrap_or(i64::MAX)
        .min(253_402_300_799_999);
    let (days, of_day) = (millis / DAY, millis % DAY);
    let (year, month, day) = civil(days);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// `2026-11-23T14:11:05Z`: the second that `at` lies in, in the form that queries are documented with.
#[must_use]
pub fn format_seconds(at: Timestamp) -> String {
    let mut text = format(at);
    text.truncate(19);
    text.push('Z');
    text
}

/// Reads `YYYY-MM-DDThh:mm:ss`, any fraction, and `Z`, `+hh:mm` or `+hhmm`. `None` if it is anything else, without an
/// offset, or before 1970.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    let (head, rest) = text.split_at_checked(19)?;
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = head.get(from..to)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
        digits.parse().ok()
    };
    let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    if marks
        .iter()
        .any(|(at, mark)| head.get(*at..at + 1) != Some(*mark))
    {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if civil(days(year, month, day)) != (year, month, day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(after) => after.split_at(after.bytes().take_while(u8::is_ascii_digit).count()),
        None => ("", rest),
    };
    let milli: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let seconds =
        days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?;
    Some(Timestamp::from_millis(
        u64::try_from(seconds * 1000 + milli).ok()?,
    ))
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits = digits.replacen(':', "", 1);
    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let hours: i64 = digits[..2].parse().ok()?;
    let minutes: i64 = digits[2..].parse().ok()?;
    Some(sign * (hours * 3600 + minutes * 60))
}

/// Days since 1970-01-01 of a date of the Gregorian calendar. A year counts from March, so that the leap day is its last.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days`].
const fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let carry = if month <= 2 { 1 } else { 0 };
    (era * 400 + year + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn recorded_dates_are_read() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2020-09-29T05:58:07.300-07:00", 1_601_384_287_300),
            ("2020-09-29T05:58:07-07:00", 1_601_384_287_000),
            ("2015-10-05T14:42:19-0700", 1_444_081_339_000),
            ("2025-09-10T21:31:25.179851517Z", 1_757_539_885_179),
            ("2024-02-29T00:00:00.5+00:00", 1_709_164_800_500),
        ] {
            assert_eq!(parse(text), Some(Timestamp::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_not_read() {
        for text in [
            "",
            "2020-09-29",
            "2020-09-29T05:58:07",
            "2023-02-29T00:00:00Z",
            "2020-13-01T00:00:00Z",
            "2020-09-29T24:00:00Z",
            "2020-09-29 05:58:07Z",
            "2020-09-29T05:58:07+1",
            "+020-09-29T05:58:07Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_reads_back(millis in 0_u64..253_402_300_800_000) {
            let at = Timestamp::from_millis(millis);
            prop_assert_eq!(parse(&format(at)), Some(at));
            let second = Timestamp::from_millis(millis / 1000 * 1000);
            prop_assert_eq!(parse(&format_seconds(at)), Some(second));
            // httpdate is the second opinion on the calendar.
            let date = at.to_string();
            prop_assert_eq!(&date[17..25], &format(at)[11..19]);
            prop_assert_eq!(&date[5..7], &format(at)[8..10]);
            prop_assert_eq!(&date[12..16], &format(at)[..4]);
        }

        #[test]
        fn no_text_panics(text in "[0-9TZ:.+é-]{0,30}") {
            let _ = parse(&text);
        }
    }
}
