//! Dates as QuickBooks writes and reads them: ISO 8601 in Pacific time, without daylight saving. Pure.

use crate::clock::Timestamp;

/// The offset in the recorded answers.
const OFFSET: &str = "-07:00";
const OFFSET_MILLIS: i64 = -7 * 3_600_000;
const DAY_MILLIS: i64 = 86_400_000;

/// Year, month and day of a day count since 1970-01-01: the proleptic Gregorian calendar by eras of 400 years that
/// begin in March, so that the leap day is an era's last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

fn local(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX - DAY_MILLIS) + OFFSET_MILLIS
}

/// `2026-11-02`, `after_days` later.
pub(super) fn date(at: Timestamp, after_days: i64) -> String {
    let (year, month, day) = civil(local(at).div_euclid(DAY_MILLIS) + after_days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `2026-11-02T10:11:12-07:00`, as in `MetaData`: whole seconds.
pub(super) fn seconds(at: Timestamp) -> String {
    let (hour, minute, second, _) = of_day(at);
    let date = date(at, 0);
    format!("{date}T{hour:02}:{minute:02}:{second:02}{OFFSET}")
}

/// `2026-11-02T10:11:12.345-07:00`, as in the `time` of an answer.
pub(super) fn millis(at: Timestamp) -> String {
    let (hour, minute, second, milli) = of_day(at);
    let date = date(at, 0);
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{milli:03}{OFFSET}")
}

fn of_day(at: Timestamp) -> (i64, i64, i64, i64) {
    let millis = local(at).rem_euclid(DAY_MILLIS);
    let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
    (hour, minute, millis / 1_000 % 60, millis % 1_000)
}

/// The day count of `YYYY-MM-DD`, and what follows it.
fn read_date(text: &str) -> Option<(i64, &str)> {
    let bytes = text.as_bytes();
    if bytes.len() < 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let number = |from: usize, to: usize| read_digits(text.get(from..to)?);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let count = days(year, month, day);
    // A date that does not exist, such as the 30th of February, comes back as another one.
    (civil(count) == (year, month, day)).then_some((count, text.get(10..)?))
}

fn read_digits(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// Whether this is a date, `YYYY-MM-DD`.
pub(super) fn is_date(text: &str) -> bool {
    read_date(text).is_some_and(|(_, rest)| rest.is_empty())
}

/// Milliseconds since the epoch of a date, or of a date and time with `Z`, an offset, or none (then Pacific).
pub(super) fn read(text: &str) -> Option<i64> {
    let (days, rest) = read_date(text)?;
    let midnight = days * DAY_MILLIS;
    if rest.is_empty() {
        return Some(midnight - OFFSET_MILLIS);
    }
    let time = rest.strip_prefix(['T', ' '])?;
    let zone_at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    let offset = if zone.is_empty() {
        OFFSET_MILLIS
    } else {
        read_offset(zone)?
    };
    Some(midnight + read_clock(clock)? - offset)
}

fn read_clock(clock: &str) -> Option<i64> {
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':');
    let hour = read_digits(parts.next()?)?;
    let minute = read_digits(parts.next()?)?;
    let second = parts.next().map_or(Some(0), read_digits)?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let milli = read_digits(&format!("{:0<3}", fraction.get(..fraction.len().min(3))?))?;
    read_digits(fraction.get(..fraction.len().min(18))?)?;
    Some(((hour * 60 + minute) * 60 + second) * 1_000 + milli)
}

fn read_offset(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits = zone.get(1..)?.replacen(':', "", 1);
    if digits.len() != 4 {
        return None;
    }
    let (hour, minute) = (read_digits(&digits[..2])?, read_digits(&digits[2..])?);
    (hour < 24 && minute < 60).then_some(sign * (hour * 60 + minute) * 60_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(at in 0_u64..10_000_000_000_000) {
            let at = Timestamp::from_millis(at);
            let whole = i64::try_from(at.as_millis()).unwrap();
            prop_assert_eq!(read(&millis(at)), Some(whole));
            prop_assert_eq!(read(&seconds(at)), Some(whole - whole % 1_000));
            prop_assert!(is_date(&date(at, 30)));
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,40}", near in "[0-9TZ:.+ -]{0,32}") {
            let _ = read(&text);
            let _ = read(&near);
            let _ = read(&format!("2026-11-02T{near}"));
        }
    }

    #[test]
    fn all_written_forms_of_one_moment_are_the_same() {
        let at = read("2026-11-02T17:00:00Z");
        assert_eq!(at, Some(1_793_638_800_000));
        for form in [
            "2026-11-02T10:00:00-07:00",
            "2026-11-02T10:00:00",
            "2026-11-02T10:00:00.000-0700",
            "2026-11-02 18:00+01:00",
        ] {
            assert_eq!(read(form), at, "{form}");
        }
        assert_eq!(read("2026-11-02"), Some(1_793_602_800_000));
        for wrong in [
            "2026-02-30",
            "2026-11-02T25:00:00",
            "2026-1-2",
            "",
            "2026-11-02T10:00:00.x",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
