//! Times as servers write them: the time-val of RFC 3659 section 2.3, and the dates of `LIST`.
//!
//! A text that is no time, or one that cannot be, gives `None`; no year panics.

#![deny(clippy::indexing_slicing)]

use crate::ftp::decimal::number;
use crate::remote::Modified;
use std::time::{Duration, SystemTime};
use time::{Date, Month, PrimitiveDateTime, Time};

/// Reads a time-val, `YYYYMMDDHHMMSS` with or without a fraction, in UTC. The precision is a millisecond where the
/// fraction has three digits or more, else a second.
///
/// Also takes the year 2000 as `19100`, as servers with a fault of that year write it: `19` and the years since 1900.
pub fn time_val(text: &[u8]) -> Option<Modified> {
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let (whole, fraction) = (parts.next()?, parts.next());
    let (year, rest) = match whole.len() {
        14 => whole.split_at_checked(4).and_then(|(year, rest)| Some((number(year)?, rest)))?,
        15 => whole
            .split_at_checked(5)
            .and_then(|(year, rest)| Some((1900 + number::<u32>(year.strip_prefix(b"19")?)?, rest)))?,
        _ => return None,
    };
    let mut pairs = rest.chunks_exact(2).map(number);
    let mut next = || pairs.next().flatten();
    let time = Civil { year, month: next()?, day: next()?, hour: next()?, minute: next()?, second: next()? }.utc()?;
    let milliseconds: Option<u64> = match fraction {
        Some(digits) if !digits.iter().all(u8::is_ascii_digit) => return None,
        Some(digits) => digits.get(..3).and_then(number),
        None => None,
    };
    Some(match milliseconds {
        Some(milliseconds) => {
            Modified { time: time.checked_add(Duration::from_millis(milliseconds))?, precision: MILLISECOND }
        }
        None => Modified { time, precision: SECOND },
    })
}

/// Writes a time-val to the second, in UTC; `None` before the year 0 and after 9999.
pub fn to_time_val(time: SystemTime) -> Option<String> {
    let civil = civil(time)?;
    let (year, month, day) = (civil.year(), u8::from(civil.month()), civil.day());
    let (hour, minute, second) = civil.as_hms();
    (0..=9999).contains(&year).then(|| format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}"))
}

/// What the dates of `LIST` are read by: they name no zone, and recent ones no year.
#[derive(Debug, Clone, Copy)]
pub struct ListClock {
    /// The present, to find the year that is left out.
    pub now: SystemTime,
    /// What the server's clock is ahead of UTC, in seconds.
    pub utc_offset: i32,
}

impl ListClock {
    /// Reads `Nov 23 14:40` (to the minute) or `Nov 23 2025` (to the day), given as three words.
    ///
    /// Without a year it is the latest that does not put the date more than a day into the future: server and client
    /// need not agree on the time.
    pub fn unix(&self, month: &[u8], day: &[u8], year_or_time: &[u8]) -> Option<Modified> {
        let (month, day) = (month_number(month)?, two_digits(day)?);
        let Some((hour, minute)) = split_pair(year_or_time, b':') else {
            let year = (year_or_time.len() == 4).then(|| number(year_or_time)).flatten()?;
            let time = self.time(Civil { year, month, day, hour: 0, minute: 0, second: 0 })?;
            return Some(Modified { time, precision: DAY });
        };
        let (hour, minute) = (two_digits(hour)?, two_digits(minute)?);
        let latest = self.now.checked_add(DAY)?;
        let this_year = civil(self.now)?.year();
        // 29 February may lie several years back.
        let time = (this_year - 8..=this_year + 1).rev().find_map(|year| {
            let time = self.time(Civil { year: u32::try_from(year).ok()?, month, day, hour, minute, second: 0 })?;
            (time <= latest).then_some(time)
        })?;
        Some(Modified { time, precision: MINUTE })
    }

    /// Reads `2026-11-23` and `14:40` or `14:40:36`, with or without a fraction.
    pub fn iso(&self, date: &[u8], time: &[u8]) -> Option<Modified> {
        let (year, month_day) = split_pair(date, b'-')?;
        let (month, day) = split_pair(month_day, b'-')?;
        let year = (year.len() == 4).then(|| number(year)).flatten()?;
        let (hour, rest) = split_pair(time, b':')?;
        let (minute, second) = split_pair(rest, b':').unwrap_or((rest, b""));
        let second = split_pair(second, b'.').map_or(second, |(second, _)| second);
        let precision = if second.is_empty() { MINUTE } else { SECOND };
        let civil = Civil {
            year,
            month: two_digits(month)?,
            day: two_digits(day)?,
            hour: two_digits(hour)?,
            minute: two_digits(minute)?,
            second: if second.is_empty() { 0 } else { two_digits(second)? },
        };
        Some(Modified { time: self.time(civil)?, precision })
    }

    /// Reads `11-23-26` or `11-23-2026` (month first) and `02:40PM` or `14:40`. Years of two digits lie in 1970..2070.
    pub fn dos(&self, date: &[u8], time: &[u8]) -> Option<Modified> {
        let (month, day_year) = split_pair(date, b'-')?;
        let (day, year) = split_pair(day_year, b'-')?;
        let year = match (year.len(), number(year)?) {
            (2, short @ ..70) => 2000 + short,
            (2, short) => 1900 + short,
            (4, year) => year,
            _ => return None,
        };
        let (hour, minute) = split_pair(time, b':')?;
        let (minute, half) = minute.split_at_checked(2)?;
        let hour = match (half.to_ascii_uppercase().as_slice(), two_digits(hour)?) {
            (b"", hour) => hour,
            (b"AM", hour @ 1..=12) => hour % 12,
            (b"PM", hour @ 1..=12) => hour % 12 + 12,
            _ => return None,
        };
        let (month, day, minute) = (two_digits(month)?, two_digits(day)?, two_digits(minute)?);
        let time = self.time(Civil { year, month, day, hour, minute, second: 0 })?;
        Some(Modified { time, precision: MINUTE })
    }

    fn time(&self, civil: Civil) -> Option<SystemTime> {
        let ahead = Duration::from_secs(self.utc_offset.unsigned_abs().into());
        let time = civil.utc()?;
        if self.utc_offset < 0 { time.checked_add(ahead) } else { time.checked_sub(ahead) }
    }
}

/// A date and a time of day, not yet checked.
struct Civil {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
}

impl Civil {
    fn utc(&self) -> Option<SystemTime> {
        let month = Month::try_from(u8::try_from(self.month).ok()?).ok()?;
        let date =
            Date::from_calendar_date(i32::try_from(self.year).ok()?, month, u8::try_from(self.day).ok()?).ok()?;
        // A leap second is the second before it here, as on the server's own disk.
        let second = if self.second == 60 { 59 } else { self.second };
        let (hour, minute) = (u8::try_from(self.hour).ok()?, u8::try_from(self.minute).ok()?);
        let time = Time::from_hms(hour, minute, u8::try_from(second).ok()?).ok()?;
        system_time(PrimitiveDateTime::new(date, time))
    }
}

/// A date and time of day in UTC; `None` beyond the years that these can be.
fn civil(time: SystemTime) -> Option<PrimitiveDateTime> {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => epoch()?.checked_add(after.try_into().ok()?),
        Err(before) => epoch()?.checked_sub(before.duration().try_into().ok()?),
    }
}

fn system_time(civil: PrimitiveDateTime) -> Option<SystemTime> {
    let since = civil - epoch()?;
    let distance = since.unsigned_abs();
    if since.is_negative() {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    }
}

fn epoch() -> Option<PrimitiveDateTime> {
    Some(PrimitiveDateTime::new(Date::from_calendar_date(1970, Month::January, 1).ok()?, Time::MIDNIGHT))
}

fn month_number(name: &[u8]) -> Option<u32> {
    let index = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
    u32::try_from(index + 1).ok()
}

/// The two sides of the first `separator`.
fn split_pair(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let mut sides = text.splitn(2, |&byte| byte == separator);
    Some((sides.next()?, sides.next()?))
}

/// One or two digits.
fn two_digits(text: &[u8]) -> Option<u32> {
    (text.len() <= 2).then(|| number(text)).flatten()
}

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    /// A time as `2026-11-23T14:40:36.617 1ms`, or `-`.
    fn shown(modified: Option<Modified>) -> String {
        let Some(Modified { time, precision }) = modified else { return "-".into() };
        let civil = civil(time).unwrap();
        let milliseconds = civil.millisecond();
        format!("{} {:?} .{milliseconds}", civil.replace_millisecond(0).unwrap(), precision)
    }

    fn clock(now: &str, utc_offset: i32) -> ListClock {
        ListClock { now: time_val(now.as_bytes()).unwrap().time, utc_offset }
    }

    #[test]
    fn a_time_val_is_read_to_the_second_or_the_millisecond() {
        for (text, expected) in [
            ("20261123144036", "2026-11-23 14:40:36.0 1s .0"),
            ("20261123144036.617", "2026-11-23 14:40:36.0 1ms .617"),
            ("20261123144036.617999", "2026-11-23 14:40:36.0 1ms .617"),
            ("20261123144036.6", "2026-11-23 14:40:36.0 1s .0"),
            ("20261123144036.", "2026-11-23 14:40:36.0 1s .0"),
            ("191001123144036", "2000-11-23 14:40:36.0 1s .0"),
            ("191261123144036", "2026-11-23 14:40:36.0 1s .0"),
            ("19691231235959", "1969-12-31 23:59:59.0 1s .0"),
            ("20161231235960", "2016-12-31 23:59:59.0 1s .0"),
            ("00000101000000", "0000-01-01 0:00:00.0 1s .0"),
            ("99991231235959.999", "9999-12-31 23:59:59.0 1ms .999"),
            ("20260229000000", "-"),
            ("20261323144036", "-"),
            ("20261123244036", "-"),
            ("2026112314403", "-"),
            ("+0261123144036", "-"),
            ("20261123144036.x", "-"),
            ("", "-"),
        ] {
            assert_eq!(shown(time_val(text.as_bytes())), expected, "{text}");
        }
    }

    #[test]
    fn a_date_without_a_year_is_the_latest_that_is_not_in_the_future() {
        for (now, date, expected) in [
            ("20261123144036", ["Nov", "23", "14:40"], "2026-11-23 14:40:00.0 1m .0"),
            ("20261123144036", ["Nov", "24", "14:40"], "2026-11-24 14:40:00.0 1m .0"),
            ("20261123144036", ["Nov", "24", "14:41"], "2025-11-24 14:41:00.0 1m .0"),
            ("20261231230000", ["Jan", "1", "01:00"], "2027-01-01 1:00:00.0 1m .0"),
            ("20270101000000", ["Dec", "31", "23:00"], "2026-12-31 23:00:00.0 1m .0"),
            ("20270301000000", ["Feb", "29", "10:00"], "2024-02-29 10:00:00.0 1m .0"),
            ("20261123144036", ["Nov", "23", "2025"], "2025-11-23 0:00:00.0 86400s .0"),
            ("20261123144036", ["nov", "3", "9999"], "9999-11-03 0:00:00.0 86400s .0"),
            ("20261123144036", ["Nov", "31", "10:00"], "-"),
            ("20261123144036", ["Nov", "23", "24:00"], "-"),
            ("20261123144036", ["Nov", "23", "123"], "-"),
            ("20261123144036", ["Foo", "23", "2025"], "-"),
        ] {
            let [month, day, rest] = date.map(str::as_bytes);
            let expected = expected.replace("1m ", "60s ");
            assert_eq!(shown(clock(now, 0).unix(month, day, rest)), expected, "{now} {date:?}");
        }
    }

    #[test]
    fn other_dates_of_listings_are_read() {
        let clock = clock("20261123144036", 3600);
        for (time, expected) in [
            (clock.iso(b"2026-11-23", b"14:40"), "2026-11-23 13:40:00.0 60s .0"),
            (clock.iso(b"2026-11-23", b"14:40:36.123456789"), "2026-11-23 13:40:36.0 1s .0"),
            (clock.iso(b"2026-11", b"14:40"), "-"),
            (clock.iso(b"26-11-23", b"14:40"), "-"),
            (clock.dos(b"11-23-26", b"02:40PM"), "2026-11-23 13:40:00.0 60s .0"),
            (clock.dos(b"11-23-2026", b"12:00AM"), "2026-11-22 23:00:00.0 60s .0"),
            (clock.dos(b"11-23-99", b"12:00pm"), "1999-11-23 11:00:00.0 60s .0"),
            (clock.dos(b"11-23-26", b"14:40"), "2026-11-23 13:40:00.0 60s .0"),
            (clock.dos(b"11-23-26", b"14:40PM"), "-"),
            (clock.dos(b"23-11-26", b"14:40"), "-"),
            (clock.dos(b"11-23-126", b"14:40"), "-"),
            (clock.unix(b"Nov", b"23", b"14:40"), "2026-11-23 13:40:00.0 60s .0"),
        ] {
            assert_eq!(shown(time), expected);
        }
    }

    #[test]
    fn no_present_panics() {
        let far = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(1 << 60)).unwrap();
        assert_eq!(ListClock { now: far, utc_offset: i32::MIN }.unix(b"Nov", b"23", b"14:40"), None);
    }
}
