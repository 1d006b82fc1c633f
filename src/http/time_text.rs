//! Times and durations as the API writes them: RFC 3339 in UTC with milliseconds, and `500ms`, `30s`, `1m`, `1h`.

use crate::ledger::UnixMillis;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// `2026-01-02T03:04:05.678Z`. Times after the year 9999, which RFC 3339 cannot write, show as its last millisecond.
pub(super) fn rfc3339(at: UnixMillis) -> String {
    let Ok(time) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000) else {
        return "9999-12-31T23:59:59.999Z".to_owned();
    };
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second, millisecond) = time.to_hms_milli();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z", u8::from(month))
}

/// Reads an RFC 3339 time of any offset.
pub(super) fn parse_rfc3339(text: &str) -> Result<UnixMillis, &'static str> {
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "must be a time such as 2026-01-02T03:04:05Z (RFC 3339)")?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000)
        .map(UnixMillis)
        .map_err(|_| "must not be before 1970")
}

/// Reads a duration: a whole number and a unit.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "must be a whole number and a unit, such as 500ms, 30s or 1m";
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).ok_or(EXPECTED)?;
    let (digits, unit) = text.split_at(digits_end);
    let number: u64 = digits.parse().map_err(|_| EXPECTED)?;
    let milliseconds_each = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(EXPECTED),
    };
    number.checked_mul(milliseconds_each).map(Duration::from_millis).ok_or("is too long")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_times_are_written_as_they_are() {
        assert_eq!(rfc3339(UnixMillis(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(UnixMillis(951_827_696_789)), "2000-02-29T12:34:56.789Z");
        assert_eq!(rfc3339(UnixMillis(u64::MAX)), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn a_time_of_another_offset_is_read_and_one_without_is_refused() {
        assert_eq!(parse_rfc3339("1970-01-01T01:00:01+01:00"), Ok(UnixMillis(1_000)));
        assert!(parse_rfc3339("2026-01-02T03:04:05").is_err());
        assert!(parse_rfc3339("1969-12-31T23:59:59Z").is_err());
        assert!(parse_rfc3339("yesterday").is_err());
    }

    #[test]
    fn durations_need_a_unit_and_stay_in_range() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("1m"), Ok(Duration::from_secs(60)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        for wrong in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "1d",
            "99999999999999999999s",
            "18446744073709551615h",
            "1é",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn a_written_time_reads_back(ms in 0_u64..253_402_300_800_000) {
            prop_assert_eq!(parse_rfc3339(&rfc3339(UnixMillis(ms))), Ok(UnixMillis(ms)));
        }
    }
}
