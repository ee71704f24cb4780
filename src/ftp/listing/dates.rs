//! The dates of lines in Unix form: the words between the size and the name.

use crate::ftp::listing::line::Word;
use crate::ftp::time::{DateOrder, ListClock, Zone};
use crate::remote::Modified;
use std::ops::RangeInclusive;

/// The date at the front of `words`, and the line after it. `None` inside where the server knows no date.
pub(super) fn read<'a>(words: &[Word<'a>], clock: &ListClock) -> Option<(Option<Modified>, &'a [u8])> {
    let &(first, _) = words.first()?;
    match first.first()? {
        b'0'..=b'9' => number_first(words, clock).map(|(modified, rest)| (Some(modified), rest)),
        b'?' => unknown(words).map(|rest| (None, rest)),
        _ => month_first(words, clock).map(|(modified, rest)| (Some(modified), rest)),
    }
}

/// The line after what looks like a date and is none that we can read: of a month in another language, of a day that does
/// not exist. A file without its time is better than none.
pub(super) fn skip<'a>(words: &[Word<'a>]) -> Option<&'a [u8]> {
    let [(month, _), (day, _), (last, rest), ..] = *words else { return None };
    let digits = |text: &[u8], lengths: RangeInclusive<usize>| {
        lengths.contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
    };
    let is_time = |text: &[u8]| {
        matches!(text, [_, _, b':', _, _]) && text.iter().filter(|byte| byte.is_ascii_digit()).count() == 4
    };
    let fits = !month.iter().any(u8::is_ascii_digit) && digits(day, 1..=2) && (digits(last, 4..=4) || is_time(last));
    fits.then_some(rest)
}

fn month_first<'a>(words: &[Word<'a>], clock: &ListClock) -> Option<(Modified, &'a [u8])> {
    let [(month, _), (day, _), (last, rest), ..] = *words else { return None };
    if let Some(modified) = clock.unix(month, day, last) {
        return Some((modified, rest));
    }
    // BSD's `ls -T`: `Nov 23 14:40:36 2026`, and with the day of the week before it in older `--full-time`.
    let (&(year, rest), weekday) = (words.get(3)?, WEEKDAYS.iter().any(|day| month.eq_ignore_ascii_case(day)));
    match weekday {
        false => Some((clock.unix_to_the_second(month, day, last, year)?, rest)),
        true => match *words {
            [_, (month, _), (day, _), (time, _), (year, rest), ..] => {
                Some((clock.unix_to_the_second(month, day, time, year)?, rest))
            }
            _ => None,
        },
    }
}

fn number_first<'a>(words: &[Word<'a>], clock: &ListClock) -> Option<(Modified, &'a [u8])> {
    let [(first, after_first), (second, after_second), ref others @ ..] = *words else { return None };
    if first.contains(&b'-') {
        return iso(first, after_first, second, after_second, others, clock)
            .or_else(|| Some((clock.month_and_day(first, second)?, after_second)))
            .or_else(|| Some((clock.named(first, second)?, after_second)));
    }
    // `23.11.2026 14:40`, as Windows has it in German.
    if let Some(modified) = (first.len() >= 8).then(|| clock.numeric(DateOrder::DayFirst, first, second)).flatten() {
        return Some((modified, after_second));
    }
    let &(third, rest) = others.first()?;
    // `23 Nov 14:40`; and `11月 23日 14:40`.
    let modified = clock.unix(second, first, third).or_else(|| clock.unix(first, second, third))?;
    Some((modified, rest))
}

/// `2026-11-23 14:40`; `2026-11-23 14:40:36.000000000 +0100`, GNU's `full-iso`; `2026-11-23 `, its `iso` of old files.
fn iso<'a>(
    date: &[u8],
    after_date: &'a [u8],
    time: &[u8],
    after_time: &'a [u8],
    others: &[Word<'a>],
    clock: &ListClock,
) -> Option<(Modified, &'a [u8])> {
    let Some(modified) = clock.iso(date, time) else {
        return Some((clock.iso_day(date)?, after_date.strip_prefix(b" ").filter(|rest| rest.starts_with(b" "))?));
    };
    let zone = others.first().filter(|_| time.contains(&b'.')).and_then(|&(word, rest)| Some((zone(word)?, rest)));
    let Some((ahead, rest)) = zone else { return Some((modified, after_time)) };
    Some((ListClock { now: clock.now, zone: Zone::Ahead(ahead) }.iso(date, time)?, rest))
}

/// `+0530`, in seconds.
fn zone(word: &[u8]) -> Option<i32> {
    let [sign @ (b'+' | b'-'), digits @ ..] = word else { return None };
    let &[a, b, c, d] = digits else { return None };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let [a, b, c, d] = [a, b, c, d].map(|digit| i32::from(digit - b'0'));
    let seconds = ((a * 10 + b) * 60 + c * 10 + d) * 60;
    Some(if *sign == b'-' { -seconds } else { seconds })
}

/// FileZilla Server, of a dangling link: `??? ?? ?????`.
fn unknown<'a>(words: &[Word<'a>]) -> Option<&'a [u8]> {
    let (date, &(_, rest)) = (words.get(..3)?, words.get(2)?);
    date.iter().all(|(word, _)| word.iter().all(|&byte| byte == b'?')).then_some(rest)
}

const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::listing::line::Words;
    use std::time::{Duration, SystemTime};

    #[test]
    fn dates_are_read_up_to_the_name() {
        // 2026-11-23 14:50, of a server an hour ahead.
        let clock =
            ListClock { now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_445_400), zone: Zone::Ahead(3600) };
        for (text, time, precision) in [
            ("Nov 23 14:40", 1_795_444_800 - 3600, 60),
            ("23 Nov 14:40", 1_795_444_800 - 3600, 60),
            ("23. Nov 14:40", 1_795_444_800 - 3600, 60),
            ("11月 23日 14:40", 1_795_444_800 - 3600, 60),
            ("11-23 14:40", 1_795_444_800 - 3600, 60),
            ("2026-11-23 14:40", 1_795_444_800 - 3600, 60),
            ("23.11.2026 14:40", 1_795_444_800 - 3600, 60),
            ("23-Nov-2026 14:40", 1_795_444_800 - 3600, 60),
            ("Nov 23 14:40:00 2026", 1_795_444_800 - 3600, 1),
            ("Mon Nov 23 14:40:00 2026", 1_795_444_800 - 3600, 1),
            ("2026-11-23 14:40:00.123456789 +0530", 1_795_444_800 - 19_800, 1),
            ("2026-11-23 14:40:00.123456789 -0530", 1_795_444_800 + 19_800, 1),
            ("Nov 23 2026", 1_795_392_000 - 3600, 86_400),
            ("2026-11-23 ", 1_795_392_000 - 3600, 86_400),
        ] {
            let line = format!("{text} a name");
            let (modified, rest) = read(Words::of(line.as_bytes()).as_slice(), &clock).expect(&line);
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time);
            assert_eq!(modified, Some(Modified { time, precision: Duration::from_secs(precision) }), "{line}");
            assert_eq!(rest, b" a name", "{line}");
        }
        for (text, rest) in [
            ("Foo 23 14:40  x", Some("  x")),
            ("Nov 31 2025 x", Some(" x")),
            ("Nov 31 20255 x", None),
            ("Nov 31 1:40 x", None),
            ("F1o 31 2025 x", None),
        ] {
            assert_eq!(skip(Words::of(text.as_bytes()).as_slice()), rest.map(str::as_bytes), "{text}");
        }
        for text in ["Nov 23", "23 Nov", "2026-11-23 name", "14:40 Nov 23 x", "??? ?? x", "Mon 23 14:40:00 2026 x", ""]
        {
            assert_eq!(read(Words::of(text.as_bytes()).as_slice(), &clock), None, "{text}");
        }
    }
}
