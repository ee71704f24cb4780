//! What holds for every input.
#![allow(clippy::unwrap_used)]

use ftpsfs::ftp::command::Command;
use ftpsfs::ftp::features::Features;
use ftpsfs::ftp::listing::{Listing, Parser, read_mlst};
use ftpsfs::ftp::passive;
use ftpsfs::ftp::reply::{Malformed, Reader, Reply};
use ftpsfs::ftp::time::{DateOrder, ListClock, time_val};
use ftpsfs::path::RemotePath;
use ftpsfs::secret::Secret;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use std::mem::discriminant;
use std::time::{Duration, SystemTime};

proptest! {
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
        let listing = list(parser(facts), &[bytes.as_slice()]);
        let entries = listing.entries.len() + listing.duplicates;
        prop_assert!(entries + listing.not_understood + listing.refused_names + listing.special <= listing.lines);
        prop_assert_eq!(listing.not_understood > 0, listing.sample.is_some());
        for entry in listing.entries {
            let name = entry.name.as_bytes();
            prop_assert!(!name.iter().any(|byte| b"/\0\r\n".contains(byte)) && name != b"." && name != b"..");
        }
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in vec(any::<u8>(), 0..300), seconds: i64, utc_offset: i32) {
        let distance = Duration::from_secs(seconds.unsigned_abs());
        let now = SystemTime::UNIX_EPOCH;
        let now = if seconds < 0 { now.checked_sub(distance) } else { now.checked_add(distance) }.unwrap_or(now);
        let clock = ListClock { now, utc_offset };
        let words: Vec<&[u8]> = bytes.splitn(3, |&byte| byte == b' ').chain([&b""[..]; 3]).take(3).collect();
        if let [first, second, third] = words[..] {
            let _ = (clock.unix(first, second, third), clock.iso(first, second), clock.numeric(DateOrder::DayFirst, first, second));
            let _ = clock.unix(b"Nov", b"23", b"14:40");
        }
        let _ = (time_val(&bytes), read_mlst(&bytes), list(Parser::list(now, utc_offset), &[&bytes]));
        for reply in read(&[&[b"211-", bytes.as_slice(), b"\n 1\n211 x\n"].concat()]).0 {
            let _ = (Features::read(&reply), passive::passive(&reply), passive::extended(&reply), reply.to_string());
        }
    }

    #[test]
    fn digits_in_the_form_of_a_time_do_not_panic(text in "[0-9]{14,15}(\\.[0-9]{0,5})?") {
        let _ = time_val(text.as_bytes());
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
    if facts { Parser::facts() } else { Parser::list(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_445_400), 0) }
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
