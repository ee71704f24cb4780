//! What a server's clock shows, compared with UTC.

use crate::ftp::decimal::number;
use crate::ftp::time::system_time;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, AmbiguousTimestamp, TimeZone};
use std::time::{Duration, SystemTime};
use time::PrimitiveDateTime;

/// The zone in which a server writes the times of `LIST`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Zone {
    /// Not known: read as UTC, from which it may differ by [`AHEAD_MAX`].
    #[default]
    Unknown,
    /// Always this many seconds ahead of UTC.
    Ahead(i32),
    /// By the rules of a place.
    Rules(Rules),
}

/// When the clocks of a place are put on and back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules(TimeZone);

impl Zone {
    /// Universal time.
    pub const UTC: Self = Self::Ahead(0);

    /// Reads `UTC`, `+05:30`, `-5`, or the name of a place as the IANA's database has it: `Europe/Berlin`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("UTC") {
            return Some(Self::UTC);
        }
        match text.as_bytes() {
            [sign @ (b'+' | b'-'), digits @ ..] => {
                let ahead = seconds(digits)?;
                Some(Self::Ahead(if *sign == b'-' { -ahead } else { ahead }))
            }
            _ => TimeZone::get(text).ok().map(|zone| Self::Rules(Rules(zone))),
        }
    }

    /// The zone of a server that is `winter` seconds ahead of UTC in January and `summer` in July. The days on which it
    /// changes are those that most places of such offsets share: of North America, of Europe, of Chile, of Australia.
    pub fn of_halves(winter: i32, summer: i32) -> Self {
        let (standard, ahead) = (winter.min(summer), winter.max(summer));
        if standard == ahead {
            return Self::Ahead(standard);
        }
        let (start, end) = match (winter < summer, standard < -2 * HOUR, standard > 4 * HOUR) {
            (true, true, _) => ("M3.2.0".to_owned(), "M11.1.0".to_owned()),
            // At 1 o'clock of universal time everywhere.
            (true, false, _) => {
                (format!("M3.5.0/{}", posix(HOUR + standard)), format!("M10.5.0/{}", posix(HOUR + ahead)))
            }
            (false, _, true) => ("M10.1.0".to_owned(), "M4.1.0/3".to_owned()),
            (false, ..) => ("M9.1.6/24".to_owned(), "M4.1.6/24".to_owned()),
        };
        let rules = format!("<std>{}<dst>{},{start},{end}", posix(-standard), posix(-ahead));
        TimeZone::posix(&rules).map_or(Self::Ahead(standard), |zone| Self::Rules(Rules(zone)))
    }

    /// The moment at which the server's clock shows `civil`. Of an hour that comes twice it is the first; of one that is left
    /// out, what the clock would show if it were not, but for its last minute: where part of that was shown, where that begins.
    pub(super) fn moment(&self, civil: PrimitiveDateTime) -> Option<SystemTime> {
        match self {
            Self::Unknown => system_time(civil),
            Self::Ahead(seconds) => later(system_time(civil)?, -i64::from(*seconds)),
            Self::Rules(Rules(zone)) => {
                let moment = zone.to_ambiguous_timestamp(date_time(civil)?);
                let moment = cut_minute(zone, moment, civil.second()).or_else(|| moment.compatible().ok())?;
                later(SystemTime::UNIX_EPOCH, moment.as_second())
            }
        }
    }

    /// How many seconds the server's clock is ahead of UTC at `time`.
    pub fn ahead_at(&self, time: SystemTime) -> i32 {
        match self {
            Self::Unknown => 0,
            Self::Ahead(seconds) => *seconds,
            Self::Rules(Rules(zone)) => timestamp(time).map_or(0, |time| zone.to_offset(time).seconds()),
        }
    }

    /// What the server's clock shows at `time`, as the moment at which a clock of UTC shows it.
    pub fn shown_at(&self, time: SystemTime) -> Option<SystemTime> {
        later(time, self.ahead_at(time).into())
    }

    /// The moment at which the server's clock shows what a clock of UTC shows at `shown`.
    pub fn moment_shown(&self, shown: SystemTime) -> Option<SystemTime> {
        self.moment(crate::ftp::time::civil(shown)?)
    }
}

/// When the clocks were put on, if that was into the minute of `moment`, which is `second` seconds into it and was left out.
/// Local time of long ago was not whole minutes from UTC.
fn cut_minute(zone: &TimeZone, moment: AmbiguousTimestamp, second: u8) -> Option<Timestamp> {
    let AmbiguousOffset::Gap { .. } = moment.offset() else { return None };
    let before = moment.earlier().ok()?;
    let change = zone.following(before).next()?.timestamp();
    (change.as_second() - before.as_second() < 60 - i64::from(second)).then_some(change)
}

/// `05:30`, `0530`, `5`.
fn seconds(digits: &[u8]) -> Option<i32> {
    let (hours, minutes) = match *digits {
        [ref hours @ .., b':', a, b] => (hours, [a, b]),
        [ref hours @ .., a, b] if digits.len() == 4 => (hours, [a, b]),
        _ => (digits, *b"00"),
    };
    let (hours, minutes) = (number::<i32>(hours).filter(|_| matches!(hours.len(), 1 | 2))?, number::<i32>(&minutes)?);
    let seconds = (hours * 60 + minutes) * 60;
    (minutes < 60 && seconds <= AHEAD_MAX).then_some(seconds)
}

/// A number of seconds as POSIX writes it in TZ: `-5:30`.
fn posix(seconds: i32) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    let minutes = seconds.unsigned_abs() / 60;
    format!("{sign}{}:{:02}", minutes / 60, minutes % 60)
}

fn later(time: SystemTime, seconds: i64) -> Option<SystemTime> {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { time.checked_sub(distance) } else { time.checked_add(distance) }
}

fn date_time(civil: PrimitiveDateTime) -> Option<DateTime> {
    let small = |number: u8| i8::try_from(number).ok();
    let (year, month, day) = civil.to_calendar_date();
    let (hour, minute, second) = civil.as_hms();
    let year = i16::try_from(year).ok()?;
    DateTime::new(year, small(month.into())?, small(day)?, small(hour)?, small(minute)?, small(second)?, 0).ok()
}

fn timestamp(time: SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(time).ok()
}

const HOUR: i32 = 60 * 60;

/// No clock is further from UTC than this (seconds): Kiribati's is 14 hours ahead, and one more for what may yet come.
pub const AHEAD_MAX: i32 = 15 * HOUR;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::time_val;

    fn at(text: &str) -> SystemTime {
        time_val(text.as_bytes()).unwrap().time
    }

    #[test]
    fn a_zone_is_a_place_or_a_distance() {
        for (text, ahead) in [
            ("UTC", Some(0)),
            ("utc", Some(0)),
            ("+05:30", Some(19_800)),
            ("+0530", Some(19_800)),
            ("-5", Some(-18_000)),
            ("-03:30", Some(-12_600)),
            ("+14:00", Some(50_400)),
            ("America/New_York", Some(-18_000)),
            ("Asia/Kolkata", Some(19_800)),
            ("Europe/Berlin", Some(3600)),
            ("+16", None),
            ("+05:60", None),
            ("+", None),
            ("+5:3", None),
            ("+005:30", None),
            ("-x", None),
            ("Mars/Olympus", None),
            ("", None),
        ] {
            let zone = Zone::parse(text);
            assert_eq!(zone.map(|zone| zone.ahead_at(at("20261123144036"))), ahead, "{text}");
        }
    }

    /// Each with a moment before and one after each change of 2026.
    #[test]
    fn the_days_of_change_are_guessed_from_the_offsets() {
        for (place, winter, summer) in [
            ("America/New_York", -5 * HOUR, -4 * HOUR),
            ("America/Los_Angeles", -8 * HOUR, -7 * HOUR),
            ("America/St_Johns", -12_600, -9_000),
            ("Europe/London", 0, HOUR),
            ("Europe/Berlin", HOUR, 2 * HOUR),
            ("Europe/Helsinki", 2 * HOUR, 3 * HOUR),
            ("America/Santiago", -3 * HOUR, -4 * HOUR),
            ("Australia/Sydney", 11 * HOUR, 10 * HOUR),
            ("Asia/Kolkata", 19_800, 19_800),
        ] {
            let (zone, guessed) = (Zone::parse(place).unwrap(), Zone::of_halves(winter, summer));
            for day in 0..365 {
                let time = at("20260101120000") + Duration::from_secs(day * 86_400);
                assert_eq!(guessed.ahead_at(time), zone.ahead_at(time), "{place}, day {day}");
            }
            for hour in 0..48 {
                for change in ["20260308000000", "20260328180000", "20261024180000", "20261031180000"] {
                    let time = at(change) + Duration::from_secs(hour * 3600);
                    assert_eq!(guessed.ahead_at(time), zone.ahead_at(time), "{place}, hour {hour} after {change}");
                }
            }
        }
    }

    #[test]
    fn an_hour_that_comes_twice_is_the_first_and_one_left_out_goes_on() {
        let zone = Zone::parse("America/New_York").unwrap();
        for (shown, moment) in [
            ("20261101003000", "20261101043000"),
            ("20261101013000", "20261101053000"),
            ("20261101023000", "20261101073000"),
            ("20260308013000", "20260308063000"),
            ("20260308023000", "20260308073000"),
            ("20260308033000", "20260308073000"),
        ] {
            assert_eq!(zone.moment_shown(at(shown)), Some(at(moment)), "{shown}");
        }
    }
    /// Santiago went from 00:00:00 to 00:17:15 in 1916, Monrovia from 00:00:00 to 00:44:30 in 1972: `00:17` was shown for 45
    /// seconds, but was read as 17 minutes later because its beginning had been left out.
    #[test]
    fn a_minute_of_which_the_end_was_shown_is_when_that_begins() {
        for (place, shown, moment) in [
            ("America/Santiago", "19160630235900", "19160701045900"),
            ("America/Santiago", "19160701001600", "19160701051600"),
            ("America/Santiago", "19160701001700", "19160701050000"),
            ("America/Santiago", "19160701001714", "19160701050000"),
            ("America/Santiago", "19160701001716", "19160701050001"),
            ("America/Santiago", "19160701001800", "19160701050045"),
            ("Africa/Monrovia", "19720107004300", "19720107012730"),
            ("Africa/Monrovia", "19720107004400", "19720107004430"),
            ("Africa/Monrovia", "19720107004500", "19720107004500"),
            ("America/New_York", "20260308025959", "20260308075959"),
        ] {
            let zone = Zone::parse(place).unwrap();
            assert_eq!(zone.moment_shown(at(shown)), Some(at(moment)), "{place} {shown}");
        }
    }
}
