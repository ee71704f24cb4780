//! How fast listings are read, and how much memory their entries take: `cargo bench --bench listing`.
//!
//! Fails where less than a million entries a second are read on one core, or an entry takes more than 200 bytes beside its
//! name. Memory is what the process has resident, so that it holds what the allocator adds.
#![allow(clippy::unwrap_used)]

use ftpsfs::ftp::listing::{Listing, Parser};
use ftpsfs::ftp::time::Zone;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant, SystemTime};

fn main() {
    let unix = lines(|line, number| {
        let (day, hour) = (number % 28 + 1, number % 24);
        write!(
            line,
            "-rw-r--r--   1 lab      1002     {number:>8} Nov {day:>2} {hour:02}:40 file number {number:06}.txt"
        )
    });
    let facts = lines(|line, number| {
        let second = number % 60;
        write!(line, "modify=202611231440{second:02};perm=adfrw;size={number};type=file;unique=FE00UE{number:06X};")?;
        write!(line, "UNIX.group=1002;UNIX.groupname=lab;UNIX.mode=0644;UNIX.owner=1001;UNIX.ownername=lab; ")?;
        write!(line, "file number {number:06}.txt")
    });
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_445_400);
    let place = Zone::parse("America/New_York").unwrap();
    let good = [
        measure("MLSD", &facts, Parser::facts),
        measure("LIST, Unix", &unix, || Parser::list(now, Zone::UTC)),
        measure("LIST, Unix, in New York", &unix, || Parser::list(now, place.clone())),
    ];
    if good.contains(&false) {
        std::process::exit(1);
    }
}

/// Reads the listing several times; the best time counts, as everything else that the machine does only adds.
fn measure(what: &str, text: &[u8], parser: impl Fn() -> Parser) -> bool {
    let before = resident_bytes();
    let mut kept = Vec::new();
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let listing = list(text, parser());
        best = best.min(start.elapsed());
        kept.push(listing);
    }
    let taken = resident_bytes().saturating_sub(before);
    let names: usize = kept.iter().flat_map(|listing| &listing.entries).map(|entry| entry.name.as_bytes().len()).sum();
    let rate = f64::from(ENTRIES) / best.as_secs_f64();
    let bytes = taken.saturating_sub(names) / (kept.len() * ENTRIES as usize);
    println!("{what}: {:.2} million entries a second, {bytes} bytes an entry beside its name", rate / 1e6);
    rate >= RATE_MIN && bytes <= BYTES_MAX
}

/// In the pieces in which a data connection gives it.
fn list(text: &[u8], mut parser: Parser) -> Listing {
    for piece in text.chunks(PIECE_BYTES) {
        parser.feed(piece).unwrap();
    }
    let listing = parser.finish();
    assert_eq!((listing.entries.len(), listing.not_understood), (ENTRIES as usize, 0));
    listing
}

fn lines(line: impl Fn(&mut String, u32) -> std::fmt::Result) -> Vec<u8> {
    let mut text = String::new();
    for number in 0..ENTRIES {
        line(&mut text, number).unwrap();
        text.push_str("\r\n");
    }
    text.into_bytes()
}

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

const ENTRIES: u32 = 100_000;
const ROUNDS: usize = 10;
const PIECE_BYTES: usize = 16 * 1024;
const RATE_MIN: f64 = 1e6;
const BYTES_MAX: usize = 200;
