//! The dates of `LIST`: without a zone, often without a year, in any order.

#![deny(clippy::indexing_slicing)]

use crate::ftp::decimal::number;
use crate::ftp::time::zone::Zone;
use crate::ftp::time::{Civil, SECOND, civil, months};
use crate::remote::Modified;
use std::time::{Duration, SystemTime};

/// What the dates of `LIST` are read by: they name no zone, and recent ones no year.
#[derive(Debug, Clone)]
pub struct ListClock {
    /// The present, to find the year that is left out.
    pub now: SystemTime,
    /// What the server's clock shows.
    pub zone: Zone,
}

/// The order of a date that is all numbers. A year of four digits at its beginning needs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateOrder {
    /// `11-23-26`.
    MonthFirst,
    /// `23.11.26`.
    DayFirst,
    /// `26/11/23`.
    YearFirst,
}

impl ListClock {
    /// Reads `Nov 23 14:40` (to the minute) or `Nov 23 2025` (to the day), given as three words. Months may be named in
    /// other languages.
    ///
    /// Without a year it is the latest that does not put the date more than a day into the future: server and client
    /// need not agree on the time.
    pub fn unix(&self, month: &[u8], day: &[u8], year_or_time: &[u8]) -> Option<Modified> {
        // The month last: its names are many.
        let (day, end) = (day_of_month(day)?, YearOrTime::read(year_or_time)?);
        self.dated(months::number(month)?, day, end)
    }

    /// Reads `11-23 14:40` or `11-23 2025`, as [`ListClock::unix`] does.
    pub fn month_and_day(&self, date: &[u8], year_or_time: &[u8]) -> Option<Modified> {
        let (month, day) = split_pair(date, b'-')?;
        self.dated(two_digits(month)?, two_digits(day)?, YearOrTime::read(year_or_time)?)
    }

    fn dated(&self, month: u32, day: u32, end: YearOrTime) -> Option<Modified> {
        let (hour, minute) = match end {
            YearOrTime::Time(hour, minute) => (hour, minute),
            YearOrTime::Year(year) => {
                let time = self.time(Civil { year, month, day, hour: 0, minute: 0, second: 0 })?;
                return Some(Modified { time, precision: self.day() });
            }
        };
        let latest = self.now.checked_add(DAY)?;
        let this_year = civil(self.now)?.year();
        // 29 February may lie several years back.
        let time = (this_year - 8..=this_year + 1).rev().find_map(|year| {
            let time = self.time(Civil { year: u32::try_from(year).ok()?, month, day, hour, minute, second: 0 })?;
            (time <= latest).then_some(time)
        })?;
        Some(Modified { time, precision: MINUTE })
    }

    /// Reads `Nov 23 14:40:36 2026`, given as four words.
    pub fn unix_to_the_second(&self, month: &[u8], day: &[u8], time: &[u8], year: &[u8]) -> Option<Modified> {
        let (day, time, year) = (day_of_month(day)?, TimeOfDay::read(time)?, four_digits(year)?);
        self.whole(year, months::number(month)?, day, time)
    }

    /// Reads `2026-11-23` and `14:40` or `14:40:36`, with or without a fraction.
    pub fn iso(&self, date: &[u8], time: &[u8]) -> Option<Modified> {
        let (year, month_day) = split_pair(date, b'-')?;
        let (month, day) = split_pair(month_day, b'-')?;
        let time = TimeOfDay::read(time).filter(|_| time.contains(&b':'))?;
        self.whole(four_digits(year)?, two_digits(month)?, two_digits(day)?, time)
    }

    /// Reads `2026-11-23`, to the day.
    pub fn iso_day(&self, date: &[u8]) -> Option<Modified> {
        let midnight = self.iso(date, b"00:00")?;
        Some(Modified { precision: self.day(), ..midnight })
    }

    /// Reads a date of three numbers, parted by `-`, `/` or `.`, and a time of day: `14:40`, `14:40:36`, `02:40PM`,
    /// `1440`.
    ///
    /// A year of two digits lies in 1969..=2068, as POSIX has it; one of three digits counts from 1900, as old servers
    /// have it after 1999.
    pub fn numeric(&self, order: DateOrder, date: &[u8], time: &[u8]) -> Option<Modified> {
        let separator = *date.iter().find(|byte| !byte.is_ascii_digit())?;
        if !matches!(separator, b'-' | b'/' | b'.') {
            return None;
        }
        let (first, rest) = split_pair(date, separator)?;
        let (second, third) = split_pair(rest, separator)?;
        let (year, month, day) = match order {
            _ if first.len() == 4 => (first, second, third),
            DateOrder::YearFirst => (first, second, third),
            DateOrder::MonthFirst => (third, first, second),
            DateOrder::DayFirst => (third, second, first),
        };
        self.whole(any_year(year)?, two_digits(month)?, two_digits(day)?, TimeOfDay::read(time)?)
    }

    /// Reads `23-NOV-2026` or `Nov-23-2026` and a time of day as [`ListClock::numeric`] does.
    pub fn named(&self, date: &[u8], time: &[u8]) -> Option<Modified> {
        let (first, rest) = split_pair(date, b'-')?;
        let (second, year) = split_pair(rest, b'-')?;
        let (month, day) = if first.first()?.is_ascii_digit() { (second, first) } else { (first, second) };
        let (year, day, time) = (any_year(year)?, two_digits(day)?, TimeOfDay::read(time)?);
        self.whole(year, months::number(month)?, day, time)
    }

    fn whole(&self, year: u32, month: u32, day: u32, time: TimeOfDay) -> Option<Modified> {
        let TimeOfDay { hour, minute, second } = time;
        let civil = Civil { year, month, day, hour, minute, second: second.unwrap_or(0) };
        let precision = if second.is_some() { SECOND } else { MINUTE };
        Some(Modified { time: self.time(civil)?, precision })
    }

    fn time(&self, civil: Civil) -> Option<SystemTime> {
        civil.moment(&self.zone)
    }

    /// How exactly a day is told: where the zone is not known, the moment may lie in the day before or after.
    fn day(&self) -> Duration {
        if self.zone == Zone::Unknown { 2 * DAY } else { DAY }
    }
}

/// The last word of a date that leaves out the one or the other.
enum YearOrTime {
    Year(u32),
    /// Hour and minute.
    Time(u32, u32),
}

impl YearOrTime {
    fn read(text: &[u8]) -> Option<Self> {
        match split_pair(text, b':') {
            Some((hour, minute)) => Some(Self::Time(two_digits(hour)?, two_digits(minute)?)),
            None => four_digits(text.strip_suffix("年".as_bytes()).unwrap_or(text)).map(Self::Year),
        }
    }
}

struct TimeOfDay {
    hour: u32,
    minute: u32,
    second: Option<u32>,
}

impl TimeOfDay {
    /// `14:40`, `14:40:36`, `14:40:36.12`, `02:40PM`, `2:40p`, `1440`. Hours of the half day are checked here, the rest is
    /// not.
    fn read(text: &[u8]) -> Option<Self> {
        let end = text.iter().rposition(u8::is_ascii_digit)? + 1;
        let (clock, half) = text.split_at_checked(end)?;
        let (hour, rest) = match split_pair(clock, b':') {
            Some(sides) => sides,
            None if clock.len() == 4 => clock.split_at_checked(2)?,
            None => return None,
        };
        let (minute, second) = match split_pair(rest, b':') {
            Some((minute, second)) => (minute, Some(split_pair(second, b'.').map_or(second, |(whole, _)| whole))),
            None => (rest, None),
        };
        let hour = match (half, two_digits(hour)?) {
            (b"", hour) => hour,
            (b"AM" | b"am" | b"A" | b"a", hour @ 1..=12) => hour % 12,
            (b"PM" | b"pm" | b"P" | b"p", hour @ 1..=12) => hour % 12 + 12,
            _ => return None,
        };
        let second = match second {
            Some(second) => Some(two_digits(second)?),
            None => None,
        };
        Some(Self { hour, minute: two_digits(minute)?, second })
    }
}

/// The two sides of the first `separator`.
fn split_pair(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == separator)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// One or two digits.
fn two_digits(text: &[u8]) -> Option<u32> {
    (text.len() <= 2).then(|| number(text)).flatten()
}

fn four_digits(text: &[u8]) -> Option<u32> {
    (text.len() == 4).then(|| number(text)).flatten()
}

/// `23`, `23.` or `23日`.
fn day_of_month(text: &[u8]) -> Option<u32> {
    let marks = [&b"."[..], b",", "日".as_bytes(), "일".as_bytes()];
    two_digits(marks.iter().find_map(|mark| text.strip_suffix(*mark)).unwrap_or(text))
}

fn any_year(text: &[u8]) -> Option<u32> {
    Some(match (text.len(), number(text)?) {
        (2, short @ ..69) => 2000 + short,
        (2 | 3, since_1900) => 1900 + since_1900,
        (4, year) => year,
        _ => return None,
    })
}

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::tests::shown;
    use crate::ftp::time::time_val;

    fn clock(now: &str, ahead: i32) -> ListClock {
        ListClock { now: time_val(now.as_bytes()).unwrap().time, zone: Zone::Ahead(ahead) }
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
            ("20280301000000", ["Feb", "29", "10:00"], "2028-02-29 10:00:00.0 1m .0"),
            ("21000301000000", ["Feb", "29", "10:00"], "2096-02-29 10:00:00.0 1m .0"),
            ("20261123144036", ["Nov", "23", "2025"], "2025-11-23 0:00:00.0 86400s .0"),
            ("20261123144036", ["nov", "3", "9999"], "9999-11-03 0:00:00.0 86400s .0"),
            ("20261123144036", ["11月", "23日", "14:40"], "2026-11-23 14:40:00.0 1m .0"),
            ("20261123144036", ["11月", "23日", "2025年"], "2025-11-23 0:00:00.0 86400s .0"),
            ("20261123144036", ["févr.", "3.", "2025"], "2025-02-03 0:00:00.0 86400s .0"),
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
        use DateOrder::{DayFirst, MonthFirst, YearFirst};
        let clock = clock("20261123144036", 3600);
        for (time, expected) in [
            (clock.iso(b"2026-11-23", b"14:40"), "2026-11-23 13:40:00.0 60s .0"),
            (clock.iso(b"2026-11-23", b"14:40:36.123456789"), "2026-11-23 13:40:36.0 1s .0"),
            (clock.iso(b"2026-11", b"14:40"), "-"),
            (clock.iso(b"26-11-23", b"14:40"), "-"),
            (clock.iso(b"2026-11-23", b"1440"), "-"),
            (clock.numeric(MonthFirst, b"11-23-26", b"02:40PM"), "2026-11-23 13:40:00.0 60s .0"),
            (clock.numeric(MonthFirst, b"11-23-2026", b"12:00AM"), "2026-11-22 23:00:00.0 60s .0"),
            (clock.numeric(MonthFirst, b"11-23-99", b"12:00pm"), "1999-11-23 11:00:00.0 60s .0"),
            (clock.numeric(MonthFirst, b"11-23-68", b"1:00p"), "2068-11-23 12:00:00.0 60s .0"),
            (clock.numeric(MonthFirst, b"11-23-69", b"01:00"), "1969-11-23 0:00:00.0 60s .0"),
            (clock.numeric(MonthFirst, b"11-23-126", b"14:40"), "2026-11-23 13:40:00.0 60s .0"),
            (clock.numeric(MonthFirst, b"2026/11/23", b"14:40:36"), "2026-11-23 13:40:36.0 1s .0"),
            (clock.numeric(MonthFirst, b"11-23-26", b"14:40PM"), "-"),
            (clock.numeric(MonthFirst, b"11-23-26", b"00:40AM"), "-"),
            (clock.numeric(MonthFirst, b"23-11-26", b"14:40"), "-"),
            (clock.numeric(MonthFirst, b"11-23/26", b"14:40"), "-"),
            (clock.numeric(MonthFirst, b"11-23-6", b"14:40"), "-"),
            (clock.numeric(DayFirst, b"23.11.2026", b"14:40"), "2026-11-23 13:40:00.0 60s .0"),
            (clock.numeric(DayFirst, b"29-02-25", b"14:40"), "-"),
            (clock.numeric(YearFirst, b"26/11/23", b"1440"), "2026-11-23 13:40:00.0 60s .0"),
            (clock.named(b"23-NOV-2026", b"14:40:36.12"), "2026-11-23 13:40:36.0 1s .0"),
            (clock.named(b"Nov-23-26", b"14:40"), "2026-11-23 13:40:00.0 60s .0"),
            (clock.month_and_day(b"11-23", b"14:40"), "2026-11-23 13:40:00.0 60s .0"),
            (clock.month_and_day(b"11-23", b"2000"), "2000-11-22 23:00:00.0 86400s .0"),
            (clock.iso_day(b"2000-11-23"), "2000-11-22 23:00:00.0 86400s .0"),
            (clock.unix_to_the_second(b"Nov", b"23", b"14:40:36", b"2026"), "2026-11-23 13:40:36.0 1s .0"),
            (clock.unix(b"Nov", b"23", b"14:40"), "2026-11-23 13:40:00.0 60s .0"),
        ] {
            assert_eq!(shown(time), expected);
        }
    }

    #[test]
    fn no_present_panics() {
        let far = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(1 << 60)).unwrap();
        assert_eq!(ListClock { now: far, zone: Zone::Ahead(i32::MIN) }.unix(b"Nov", b"23", b"14:40"), None);
    }
}
