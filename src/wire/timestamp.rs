//! Event times as they stand in payloads, and as we write them: RFC 3339 in UTC.

use crate::detector::row::EventTime;

/// How a timestamp field is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Text as RFC 3339, numbers by their size: below 1e11 seconds, below 1e14 ms, below 1e17 us, else ns.
    #[default]
    Auto,
    /// Seconds since the Unix epoch, fractions allowed.
    Seconds,
    /// Milliseconds since the Unix epoch.
    Millis,
    /// Microseconds since the Unix epoch.
    Micros,
    /// Nanoseconds since the Unix epoch, cut to microseconds.
    Nanos,
    /// Text: RFC 3339; a space for the `T` and no offset (then UTC) are taken too.
    Rfc3339,
}

/// First instant of the year 2201, in microseconds: what is later is a mistake.
const LATEST: i64 = days_from_civil(2201, 1, 1) * 86_400_000_000 - 1;

/// Within 1970 and 2200.
#[must_use]
pub fn in_range(micros: i64) -> Option<EventTime> {
    (0..=LATEST).contains(&micros).then(|| EventTime::from_micros(micros))
}

impl Unit {
    /// A whole number; `None`: not in this unit, or out of range.
    #[must_use]
    pub fn of_integer(self, number: i64) -> Option<EventTime> {
        let micros = match self {
            Self::Seconds => number.checked_mul(1_000_000)?,
            Self::Millis => number.checked_mul(1_000)?,
            Self::Micros => number,
            Self::Nanos => number.div_euclid(1_000),
            Self::Rfc3339 => return None,
            Self::Auto => return Self::by_size(number as f64).of_integer(number),
        };
        in_range(micros)
    }

    /// A number with a fraction; `None`: not in this unit, or out of range.
    #[must_use]
    pub fn of_float(self, number: f64) -> Option<EventTime> {
        let micros = match self {
            Self::Seconds => number * 1e6,
            Self::Millis => number * 1e3,
            Self::Micros => number,
            Self::Nanos => number / 1e3,
            Self::Rfc3339 => return None,
            Self::Auto => return Self::by_size(number).of_float(number),
        };
        // Checked before the cast; f64 holds these microseconds to a quarter.
        (micros >= 0.0 && micros <= LATEST as f64).then(|| in_range((micros + 0.5) as i64)).flatten()
    }

    /// A text; `None`: not in this unit, or out of range.
    #[must_use]
    pub fn of_text(self, text: &str) -> Option<EventTime> {
        match self {
            Self::Auto | Self::Rfc3339 => parse_rfc3339(text.as_bytes()),
            Self::Seconds | Self::Millis | Self::Micros | Self::Nanos => None,
        }
    }

    fn by_size(number: f64) -> Self {
        if number < 1e11 {
            Self::Seconds
        } else if number < 1e14 {
            Self::Millis
        } else if number < 1e17 {
            Self::Micros
        } else {
            Self::Nanos
        }
    }
}

/// `2026-11-24T12:58:18.5Z`, also with a space, an offset, or none (UTC). More than six digits of a second are cut.
#[must_use]
pub fn parse_rfc3339(text: &[u8]) -> Option<EventTime> {
    if text.len() < 19 {
        return None;
    }
    let (date, rest) = text.split_at(19);
    if date[4] != b'-' || date[7] != b'-' || date[13] != b':' || date[16] != b':' {
        return None;
    }
    if !matches!(date[10], b'T' | b't' | b' ') {
        return None;
    }
    let (year, month, day) = (digits(&date[0..4])?, digits(&date[5..7])?, digits(&date[8..10])?);
    let (hour, minute, second) = (digits(&date[11..13])?, digits(&date[14..16])?, digits(&date[17..19])?);
    // A leap second (60) counts as the first instant of the next minute.
    if !(1..=12).contains(&month)
        || day < 1
        || day > days_in_month(year, month)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let (micros, rest) = fraction(rest)?;
    let offset = offset_minutes(rest)?;
    let minutes = (days_from_civil(year, month, day) * 24 + hour) * 60 + minute - offset;
    in_range((minutes * 60 + second) * 1_000_000 + micros)
}

fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', tail)) = rest.split_first() else {
        return Some((0, rest));
    };
    let n = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if n == 0 {
        return None;
    }
    let (shown, rest) = tail.split_at(n);
    let mut micros = 0;
    for place in 0..6 {
        micros = micros * 10 + shown.get(place).map_or(0, |byte| i64::from(byte - b'0'));
    }
    Some((micros, rest))
}

fn offset_minutes(rest: &[u8]) -> Option<i64> {
    match rest {
        [] | [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let minutes = hours * 60 + minutes;
            Some(if *sign == b'-' { -minutes } else { minutes })
        }
        _ => None,
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date algorithms").
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`].
const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// An instant as 27 bytes of RFC 3339, `2026-11-24T12:58:18.500000Z`: always six digits, so that texts sort as times do.
/// Years outside 0 to 9999 are cut to their last four digits; the decoder lets none in.
#[must_use]
pub fn rfc3339(at: EventTime) -> [u8; 27] {
    let seconds = at.micros().div_euclid(1_000_000);
    let micros = at.micros().rem_euclid(1_000_000);
    let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    put(&mut text[0..4], year.rem_euclid(10_000));
    put(&mut text[5..7], month);
    put(&mut text[8..10], day);
    put(&mut text[11..13], second_of_day / 3_600);
    put(&mut text[14..16], second_of_day / 60 % 60);
    put(&mut text[17..19], second_of_day % 60);
    put(&mut text[20..26], micros);
    text
}

/// [`rfc3339`] as a `String`.
#[must_use]
pub fn to_rfc3339(at: EventTime) -> String {
    rfc3339(at).iter().map(|byte| *byte as char).collect()
}

fn put(place: &mut [u8], mut number: i64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, micros: Option<i64>) {
        assert_eq!(parse_rfc3339(text.as_bytes()).map(EventTime::micros), micros, "{text}");
    }

    #[test]
    fn what_people_write_is_read() {
        check("1970-01-01T00:00:00Z", Some(0));
        check("2020-03-09 10:14:33", Some(1_583_748_873_000_000));
        check("2020-03-09T12:14:33.5+02:00", Some(1_583_748_873_500_000));
        check("2020-03-09t04:44:33.123456789-05:30", Some(1_583_748_873_123_456));
        check("2016-12-31T23:59:60Z", Some(1_483_228_800_000_000));
        check("2200-12-31T23:59:59.999999Z", Some(LATEST));
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "2020-03-09",
            "2020-02-30T00:00:00Z",
            "2021-02-29T00:00:00Z",
            "2020-13-01T00:00:00Z",
            "2020-00-01T00:00:00Z",
            "2020-03-09T24:00:00Z",
            "2020-03-09T10:60:00Z",
            "2020-03-09T10:14:61Z",
            "2020-03-09T10:14:33.Z",
            "2020-03-09T10:14:33+2:00",
            "2020-03-09T10:14:33+0200",
            "2020-03-09T10:14:33 UTC",
            "2020/03/09T10:14:33Z",
            "+020-03-09T10:14:33Z",
            "1969-12-31T23:59:59Z",
            "2201-01-01T00:00:00Z",
            "1970-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59Z",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn auto_tells_units_by_size() {
        for (number, micros) in [
            (1_700_000_000, 1_700_000_000_000_000),
            (1_700_000_000_000, 1_700_000_000_000_000),
            (1_700_000_000_000_000, 1_700_000_000_000_000),
            (1_700_000_000_000_000_000, 1_700_000_000_000_000),
        ] {
            assert_eq!(Unit::Auto.of_integer(number).map(EventTime::micros), Some(micros));
            assert_eq!(Unit::Auto.of_float(number as f64).map(EventTime::micros), Some(micros));
        }
        assert_eq!(Unit::Auto.of_float(1_700_000_000.25).unwrap().micros(), 1_700_000_000_250_000);
        assert_eq!(Unit::Seconds.of_integer(4_102_444_800).unwrap().micros(), 4_102_444_800_000_000);
    }

    #[test]
    fn absurd_numbers_are_refused() {
        for unit in [Unit::Auto, Unit::Seconds, Unit::Millis, Unit::Micros, Unit::Nanos, Unit::Rfc3339] {
            assert_eq!(unit.of_integer(-1_700_000_000_000_000_000), None);
            for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300] {
                assert_eq!(unit.of_float(number), None, "{unit:?} {number}");
            }
        }
        assert_eq!(Unit::Seconds.of_integer(i64::MAX), None);
        assert_eq!(Unit::Millis.of_integer(i64::MAX), None);
    }

    proptest! {
        #[test]
        fn written_and_read_again_it_is_the_same_instant(micros in 0..=LATEST) {
            let at = EventTime::from_micros(micros);
            prop_assert_eq!(parse_rfc3339(&rfc3339(at)), Some(at));
        }

        #[test]
        fn it_agrees_with_the_crate_time(micros in 0..=LATEST) {
            let theirs = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).unwrap();
            let text = to_rfc3339(EventTime::from_micros(micros));
            let parsed = time::OffsetDateTime::parse(&text, &time::format_description::well_known::Rfc3339).unwrap();
            prop_assert_eq!(parsed, theirs);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}", digits in "[0-9T: .+Zz-]{19,32}") {
            let _ = parse_rfc3339(text.as_bytes());
            let _ = parse_rfc3339(digits.as_bytes());
        }
    }
}
