//! What holds for every input.
#![allow(clippy::unwrap_used)]

use crate::corpus::corpus;
use ftpsfs::ftp::charset::Charset;
use ftpsfs::ftp::command::Command;
use ftpsfs::ftp::features::Features;
use ftpsfs::ftp::listing::{Listing, Parser, read_mlst};
use ftpsfs::ftp::passive;
use ftpsfs::ftp::reply::{Malformed, Reader, Reply};
use ftpsfs::ftp::time::{DateOrder, ListClock, Zone, time_val};
use ftpsfs::path::RemotePath;
use ftpsfs::secret::Secret;
use proptest::collection::vec;
use proptest::prelude::{
    Just, ProptestConfig, Strategy, TestCaseError, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use std::fs;
use std::mem::discriminant;
use std::ops::Range;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};
use time::UtcDateTime;

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn replies_are_the_same_for_every_chunking(bytes in replies(), cuts in vec(1..40_usize, 0..40)) {
        let (whole, end) = read(&[bytes.as_slice()]);
        let (pieces, pieces_end) = read(&chunks(&bytes, &cuts));
        prop_assert_eq!(whole, pieces);
        prop_assert_eq!(end.as_ref().map(discriminant), pieces_end.as_ref().map(discriminant));
    }

    #[test]
    fn listings_are_the_same_for_every_chunking(bytes in listing(), cuts in vec(1..400_usize, 0..40), facts: bool) {
        let whole = list(parser(facts), &[bytes.as_slice()]);
        prop_assert_eq!(whole, list(parser(facts), &chunks(&bytes, &cuts)));
    }

    #[test]
    fn every_line_of_a_listing_is_accounted_for(bytes in listing(), facts: bool) {
        sound(&list(parser(facts), &[bytes.as_slice()]))?;
    }

    #[test]
    fn a_command_is_one_line(argument in vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(0)], 0..200)) {
        let password = Secret::new(argument.clone());
        for command in [Command::Retr(&argument), Command::User(&argument), Command::Pass(&password), Command::Opts(&argument)] {
            let mut line = Vec::new();
            match command.encode_into(&mut line) {
                Ok(()) => {
                    let inner = line.strip_suffix(b"\r\n").unwrap();
                    prop_assert!(!inner.iter().any(|byte| b"\r\n\0".contains(byte)));
                    prop_assert!(inner.ends_with(&argument));
                }
                Err(_) => prop_assert!(line.is_empty()),
            }
        }
    }

    #[test]
    fn a_path_never_leaves_the_root(text in "[a./\\\\ ]{0,40}") {
        if let Ok(path) = RemotePath::parse(text.as_bytes()) {
            prop_assert!(path.as_bytes().starts_with(b"/"));
            prop_assert!(path.names().all(|name| name != b".." && name != b"."));
        }
    }
}

/// One of each make.
const CHARSETS: &[&str] = &[
    "utf-8",
    "windows-1252",
    "windows-1251",
    "windows-1253",
    "ibm866",
    "koi8-u",
    "macintosh",
    "shift_jis",
    "euc-jp",
    "euc-kr",
    "big5",
    "gbk",
    "gb18030",
    "windows-874",
    "iso-8859-8-i",
    "x-user-defined",
];

/// What must hold for every byte that a server can send, tried so often that a rare mistake shows: 100,000 times each in a
/// release build, which is the one that `make test` runs.
mod often {
    use super::*;

    proptest! {
        #![proptest_config(config(if cfg!(debug_assertions) { 256 } else { 100_000 }))]

        #[test]
        fn no_bytes_make_a_parser_panic(bytes in vec(any::<u8>(), 0..120), seconds: i64, utc_offset: i32) {
            let distance = Duration::from_secs(seconds.unsigned_abs());
            let now = SystemTime::UNIX_EPOCH;
            let now = if seconds < 0 { now.checked_sub(distance) } else { now.checked_add(distance) }.unwrap_or(now);
            let clock = ListClock { now, zone: Zone::Ahead(utc_offset) };
            let words: Vec<&[u8]> = bytes.splitn(3, |&byte| byte == b' ').chain([&b""[..]; 3]).take(3).collect();
            if let [first, second, third] = words[..] {
                let _ = (clock.unix(first, second, third), clock.iso(first, second), clock.numeric(DateOrder::DayFirst, first, second));
                let _ = (clock.named(first, second), clock.month_and_day(first, second), clock.iso_day(first));
                let _ = clock.unix_to_the_second(first, second, third, b"2026");
                let _ = clock.unix(b"Nov", b"23", b"14:40");
            }
            let _ = (time_val(&bytes), read_mlst(&bytes));
            for listing in [list(Parser::list(now, Zone::Ahead(utc_offset)), &[&bytes]), list(Parser::facts(), &[&bytes])] {
                sound(&listing)?;
            }
            let _ = read(&[&bytes]);
            for reply in read(&[&[b"211-", bytes.as_slice(), b"\n 1\n211 x\n"].concat()]).0 {
                let _ = (Features::read(&reply), passive::passive(&reply), passive::extended(&reply), reply.to_string());
            }
        }

        /// Two names of the server are never one here, and each leads back to its bytes.
        #[test]
        fn a_name_in_any_character_set_leads_back_to_its_bytes(
            name in vec(prop_oneof![any::<u8>(), 0x80..=0xff_u8], 0..24), set in 0..CHARSETS.len(),
        ) {
            let charset = Charset::named(CHARSETS[set]).unwrap();
            let local = charset.to_local(&name);
            prop_assert!(charset.is_bytes() || std::str::from_utf8(&local).is_ok() || name.is_ascii());
            let back = charset.to_server(&local);
            prop_assert_eq!(back.as_deref(), Some(&name[..]));
            let parts = |name: &[u8]| name.iter().filter(|byte| b"/\r\n\0".contains(byte)).count();
            prop_assert_eq!(parts(&name), parts(&local));
        }

        #[test]
        fn a_name_here_is_one_name_of_the_server_or_none(name in "[a-zäß€я語\u{301}\u{f780}-\u{f7ff}]{0,6}", set in 0..CHARSETS.len()) {
            let charset = Charset::named(CHARSETS[set]).unwrap();
            if let Some(server) = charset.to_server(name.as_bytes()) {
                prop_assert_eq!(&*charset.to_local(&server), name.as_bytes());
            }
        }

        #[test]
        fn digits_in_the_form_of_a_time_do_not_panic(text in "[0-9]{14,15}(\\.[0-9]{0,5})?") {
            let _ = time_val(text.as_bytes());
        }

        #[test]
        fn a_listing_with_some_bytes_changed_is_read_soundly(
            text in changed(&LISTINGS, 6), cut in 0..400_usize, facts: bool,
        ) {
            let whole = list(parser(facts), &[&text]);
            sound(&whole)?;
            prop_assert_eq!(whole, list(parser(facts), &chunks(&text, &[cut])));
        }

        #[test]
        fn a_reply_with_some_bytes_changed_is_read_soundly(text in changed(&REPLIES, 12), cut in 0..400_usize) {
            let (whole, end) = read(&[&text]);
            for reply in &whole {
                let _ = (Features::read(reply), passive::passive(reply), passive::extended(reply), reply.to_string());
                for line in &reply.lines {
                    let _ = (read_mlst(line), time_val(line));
                }
            }
            let (pieces, pieces_end) = read(&chunks(&text, &[cut]));
            prop_assert_eq!(whole, pieces);
            prop_assert_eq!(end.as_ref().map(discriminant), pieces_end.as_ref().map(discriminant));
        }

        /// `Mon dd hh:mm` is what `ls` writes of the last six months, and of the future by as much as clocks differ.
        #[test]
        fn a_date_without_a_year_is_found_from_a_day_ahead_to_a_year_back(
            now in YEARS, age in -86_340..363 * 86_400_i64, quarters in OFFSETS,
        ) {
            let utc_offset = quarters * 900;
            let clock = clock(now, utc_offset);
            let minute = (now - age).div_euclid(60) * 60;
            let told = civil(minute + i64::from(utc_offset));
            let (month, day) = (MONTHS[usize::from(u8::from(told.month())) - 1], told.day().to_string());
            let time = format!("{:02}:{:02}", told.hour(), told.minute());
            let read = clock.unix(month.as_bytes(), day.as_bytes(), time.as_bytes()).unwrap();
            prop_assert_eq!((seconds(read.time), read.precision.as_secs()), (minute, 60));
            // Where the server's clock was put an hour on or back since, the time is an hour off, and no more.
            let other = ListClock { zone: Zone::Ahead(utc_offset + 3600), ..clock };
            let hour_off = other.unix(month.as_bytes(), day.as_bytes(), time.as_bytes()).unwrap();
            prop_assert!(seconds(hour_off.time) == minute - 3600 || age < -82_800);
        }

        /// Whatever the place, its clock then shows what the line says, and the moment is right to the minute but for the hour
        /// that comes twice when clocks are put back.
        #[test]
        fn a_date_of_a_place_is_read_by_its_rules(
            now in YEARS, age in -82_800..363 * 86_400_i64, edge in prop_oneof![Just(None), (0..2_u8, -7_200..7_200_i64).prop_map(Some)],
            place in 0..PLACES.len(),
        ) {
            let zone = Zone::parse(PLACES[place]).unwrap();
            let mut at = now - age;
            if let Some((which, distance)) = edge {
                // Around a change of the clocks, if the place has one that year.
                at = changes(&zone, now).get(usize::from(which)).map_or(at, |change| change + distance);
            }
            // Zones of long ago were not whole minutes from UTC.
            let ahead = i64::from(zone.ahead_at(clock(at, 0).now));
            let shown = (at + ahead).div_euclid(60) * 60;
            let (minute, told) = (shown - ahead, civil(shown));
            let clock = ListClock { zone: zone.clone(), ..clock(now, 0) };
            let (month, day) = (MONTHS[usize::from(u8::from(told.month())) - 1], told.day().to_string());
            let time = format!("{:02}:{:02}", told.hour(), told.minute());
            let read = clock.unix(month.as_bytes(), day.as_bytes(), time.as_bytes()).unwrap();
            // Where clocks of long ago were put on into a minute, no moment shows its beginning.
            let unit = if at < SINCE_RULES { 60 } else { 1 };
            prop_assert_eq!(zone.shown_at(read.time).map(|time| seconds(time).div_euclid(unit) * unit), Some(shown));
            prop_assert!((0..=3_600).contains(&(minute - seconds(read.time))) || at < SINCE_RULES);
        }

        #[test]
        fn a_whole_date_is_read_as_it_was_written(at in YEARS, quarters in OFFSETS) {
            let utc_offset = quarters * 900;
            let clock = clock(0, utc_offset);
            let told = civil(at + i64::from(utc_offset));
            let (year, month, day) = (told.year(), u8::from(told.month()), told.day());
            let name = MONTHS[usize::from(month) - 1];
            let to_the_second = format!("{:02}:{:02}:{:02}", told.hour(), told.minute(), told.second());
            let half = if told.hour() < 12 { "AM" } else { "PM" };
            let half_day = format!("{:02}:{:02}{half}", (told.hour() + 11) % 12 + 1, told.minute());
            let date = |text: String| text.into_bytes();
            let day_of = |time: i64| (time + i64::from(utc_offset)).div_euclid(86_400);
            for read in [
                clock.iso(&date(format!("{year:04}-{month:02}-{day:02}")), to_the_second.as_bytes()),
                clock.named(&date(format!("{day}-{name}-{year:04}")), to_the_second.as_bytes()),
                clock.numeric(DateOrder::DayFirst, &date(format!("{day}.{month}.{year:04}")), to_the_second.as_bytes()),
                clock.unix_to_the_second(
                    name.as_bytes(), &date(format!("{day}")), to_the_second.as_bytes(), &date(format!("{year:04}")),
                ),
            ] {
                prop_assert_eq!(read.map(|read| seconds(read.time)), Some(at));
            }
            let minute = clock.numeric(DateOrder::MonthFirst, &date(format!("{month}-{day}-{year:04}")), half_day.as_bytes());
            prop_assert_eq!(minute.map(|read| seconds(read.time)), Some(at.div_euclid(60) * 60));
            let days = clock.unix(name.as_bytes(), &date(format!("{day}")), &date(format!("{year:04}")));
            prop_assert_eq!(days.map(|read| seconds(read.time)), Some(day_of(at) * 86_400 - i64::from(utc_offset)));
        }

        #[test]
        fn a_time_val_is_read_as_it_was_written(at in YEARS, millisecond in 0..1000_u16) {
            let told = civil(at);
            let (date, time) = (told.date(), told.time());
            let text = format!(
                "{:04}{:02}{:02}{:02}{:02}{:02}.{millisecond:03}",
                date.year(), u8::from(date.month()), date.day(), time.hour(), time.minute(), time.second(),
            );
            let read = time_val(text.as_bytes()).unwrap();
            let expected = at * 1000 + i64::from(millisecond);
            let whole = read.time.duration_since(SystemTime::UNIX_EPOCH);
            let milliseconds = whole.map_or_else(
                |before| -i64::try_from(before.duration().as_millis()).unwrap(),
                |after| i64::try_from(after.as_millis()).unwrap(),
            );
            prop_assert_eq!(milliseconds, expected);
        }
    }

    /// From 1601 to 2200, in seconds since 1970.
    const YEARS: Range<i64> = -11_644_473_600..7_289_654_400;

    const WEEK: i64 = 7 * 86_400;

    /// Places with all kinds of rules, and none.
    const PLACES: [&str; 8] = [
        "America/New_York",
        "Europe/Berlin",
        "Asia/Kolkata",
        "Asia/Kathmandu",
        "Australia/Sydney",
        "America/Santiago",
        "Pacific/Auckland",
        "Asia/Tehran",
    ];

    /// Since 1970 clocks are put on and back by an hour at most.
    const SINCE_RULES: i64 = 0;

    /// Of all the zones there are, in quarters of an hour.
    const OFFSETS: Range<i32> = -12 * 4..14 * 4 + 1;

    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

    static LISTINGS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| lines("listing"));
    static REPLIES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| lines("replies"));

    /// Some lines that follow one another in the corpus, with up to `edits` changes of some bytes.
    fn changed(lines: &'static [Vec<u8>], edits: usize) -> impl Strategy<Value = Vec<u8>> {
        let edit = (any::<u16>(), 0..5_u8, any::<u8>());
        (0..lines.len(), 1..8_usize, 0..lines.len(), vec(edit, 0..edits)).prop_map(
            move |(first, count, stray, edits)| {
                let mut text =
                    lines[first..].iter().take(count).chain([&lines[stray]]).flatten().copied().collect::<Vec<_>>();
                for (place, edit, byte) in edits {
                    let place = usize::from(place) % text.len().max(1);
                    match edit {
                        _ if text.is_empty() => {}
                        0 => text[place] = byte,
                        1 => drop(text.remove(place)),
                        2 => text.insert(place, byte),
                        // What is found in listings is likelier to lead astray than any byte.
                        3 => text[place] = b" 0:-;=,.\t/>"[usize::from(byte) % 11],
                        _ => text.truncate(place + 1),
                    }
                }
                text
            },
        )
    }

    /// All lines of a part of the corpus, with their ends.
    fn lines(part: &str) -> Vec<Vec<u8>> {
        let texts = corpus(part).into_iter().map(|file| fs::read(file).unwrap());
        texts
            .flat_map(|text| text.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>())
            .collect()
    }

    /// The moments of the year before `now` at which the clocks of `zone` were changed, to the hour.
    fn changes(zone: &Zone, now: i64) -> Vec<i64> {
        let ahead = |at: i64| zone.ahead_at(clock(at, 0).now);
        let weeks = (1..51).map(|week| now - week * WEEK).filter(|week| ahead(*week) != ahead(week + WEEK));
        weeks.filter_map(|week| (week..week + WEEK).step_by(3600).find(|at| ahead(*at) != ahead(at + 3600))).collect()
    }

    fn clock(now: i64, utc_offset: i32) -> ListClock {
        let distance = Duration::from_secs(now.unsigned_abs());
        let epoch = SystemTime::UNIX_EPOCH;
        ListClock { now: if now < 0 { epoch - distance } else { epoch + distance }, zone: Zone::Ahead(utc_offset) }
    }

    fn civil(seconds: i64) -> UtcDateTime {
        UtcDateTime::from_unix_timestamp(seconds).unwrap()
    }

    fn seconds(time: SystemTime) -> i64 {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).unwrap(),
            Err(before) => -i64::try_from(before.duration().as_secs()).unwrap(),
        }
    }
}

/// What holds for every listing: each line is accounted for, and each name is one.
fn sound(listing: &Listing) -> Result<(), TestCaseError> {
    let entries = listing.entries.len() + listing.duplicates;
    prop_assert!(entries + listing.not_understood + listing.refused_names + listing.special <= listing.lines);
    prop_assert_eq!(listing.not_understood > 0, listing.sample.is_some());
    for entry in &listing.entries {
        let name = entry.name.as_bytes();
        prop_assert!(!name.iter().any(|byte| b"/\0\r\n".contains(byte)) && name != b"." && name != b"..");
    }
    Ok(())
}

/// So many cases unless `PROPTEST_CASES` says otherwise.
fn config(cases: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(cases);
    ProptestConfig { cases, ..ProptestConfig::default() }
}

/// Replies as servers send them, with every kind of line end, and now and then something else.
fn replies() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        8 => "[1-5][0-9]{2}[ -][ -~]{0,20}\r?\n".prop_map(String::into_bytes),
        4 => "(220|211|150)([ -][a-z0-9 -]{0,10})?\r?\n".prop_map(String::into_bytes),
        2 => " [A-Z ;*]{0,10}\r?\n".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..20),
        1 => (4000..9000_usize).prop_map(|length| [&vec![b'2'; length][..], b"\n"].concat()),
    ];
    vec(line, 0..12).prop_map(|lines| lines.concat())
}

/// Lines of listings in every form, some with bytes changed.
fn listing() -> impl Strategy<Value = Vec<u8>> {
    let name = "[ -~]{0,12}";
    let line = prop_oneof![
        ("[-dlbc?][rwxsStT-]{9}[+.@]?", " {1,4}[0-9]{1,3} {1,3}[a-z0-9]{1,8}( [a-z0-9]{1,8})?", "[0-9]{1,12}", name)
            .prop_map(|(mode, owners, size, name)| format!("{mode}{owners} {size} Nov 23 14:40 {name}")),
        ("[0-9]{2}-[0-9]{2}-[0-9]{2}  [0-9]{2}:[0-9]{2}(AM|PM)?", "(<DIR>|<JUNCTION>|[0-9]{1,9})", name)
            .prop_map(|(date, size, name)| format!("{date}       {size}          {name}")),
        ("(type|Size|modify|perm|UNIX.mode)=(dir|file|cdir|[0-9]{1,14}|[a-z:=/]{0,9});", "(type=(dir|file);)?", name)
            .prop_map(|(one, other, name)| format!("{one}{other} {name}")),
        "total [0-9]{0,3}".prop_map(|line| line),
    ];
    let line = (line, any::<u16>(), any::<u8>(), 0..4_u8, "\r?\n").prop_map(|(line, at, byte, odd, end)| {
        let mut line = line.into_bytes();
        let at = usize::from(at) % line.len().max(1);
        if let (0, Some(place)) = (odd, line.get_mut(at)) {
            *place = byte;
        }
        [line, end.into_bytes()].concat()
    });
    vec(line, 0..40).prop_map(|lines| lines.concat())
}

fn parser(facts: bool) -> Parser {
    if facts {
        Parser::facts()
    } else {
        Parser::list(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_445_400), Zone::UTC)
    }
}

fn list(mut parser: Parser, pieces: &[&[u8]]) -> Listing {
    for piece in pieces {
        parser.feed(piece).unwrap();
    }
    parser.finish()
}

fn read(pieces: &[&[u8]]) -> (Vec<Reply>, Option<Malformed>) {
    let mut reader = Reader::new();
    let mut replies = Vec::new();
    for piece in pieces {
        reader.feed(piece);
        loop {
            match reader.next() {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(malformed) => return (replies, Some(malformed)),
            }
        }
    }
    (replies, None)
}

/// `bytes` in pieces of the lengths of `cuts`, the rest in one.
fn chunks<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut chunks = Vec::new();
    for &cut in cuts {
        let (chunk, after) = rest.split_at(cut.min(rest.len()));
        chunks.push(chunk);
        rest = after;
    }
    chunks.push(rest);
    chunks
}
