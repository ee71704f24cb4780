//! Times as servers write them: the time-val of RFC 3659 section 2.3 here, the dates of `LIST` in `list`, what the server's
//! clock shows in `zone`.
//!
//! A text that is no time, or one that cannot be, gives `None`; no year panics.

#![deny(clippy::indexing_slicing)]

mod months;
mod zone;

mod list;

pub use list::{DateOrder, ListClock};
pub use zone::{AHEAD_MAX, Zone};

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

/// The month and the day of the month that a clock of UTC shows.
pub fn month_and_day(time: SystemTime) -> Option<(u8, u8)> {
    civil(time).map(|civil| (civil.month().into(), civil.day()))
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
        self.moment(&Zone::UTC)
    }

    /// The moment at which a clock of `zone` shows it.
    fn moment(&self, zone: &Zone) -> Option<SystemTime> {
        let month = Month::try_from(u8::try_from(self.month).ok()?).ok()?;
        let date =
            Date::from_calendar_date(i32::try_from(self.year).ok()?, month, u8::try_from(self.day).ok()?).ok()?;
        // A leap second is the second before it here, as on the server's own disk.
        let second = if self.second == 60 { 59 } else { self.second };
        let (hour, minute) = (u8::try_from(self.hour).ok()?, u8::try_from(self.minute).ok()?);
        let time = Time::from_hms(hour, minute, u8::try_from(second).ok()?).ok()?;
        zone.moment(PrimitiveDateTime::new(date, time))
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

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A time as `2026-11-23 14:40:36.0 1ms .617`, or `-`.
    pub(super) fn shown(modified: Option<Modified>) -> String {
        let Some(Modified { time, precision }) = modified else { return "-".into() };
        let civil = civil(time).unwrap();
        let milliseconds = civil.millisecond();
        format!("{} {:?} .{milliseconds}", civil.replace_millisecond(0).unwrap(), precision)
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
}
