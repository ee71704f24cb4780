//! `LIST` in every form, and a clock that may stand anywhere.
#![no_main]

use ftpsfs::ftp::listing::{Listing, Parser};
use ftpsfs::ftp::time::Zone;
use libfuzzer_sys::fuzz_target;
use std::time::{Duration, SystemTime};

fuzz_target!(|input: (u32, i32, &[u8])| {
    let (days, utc_offset, bytes) = input;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(days) * 86_400);
    let whole = list(now, utc_offset, [bytes]);
    assert!(whole.entries.len() + whole.not_understood + whole.refused_names + whole.special <= whole.lines);
    assert_eq!(whole, list(now, utc_offset, bytes.chunks(1)));
});

fn list<'a>(now: SystemTime, utc_offset: i32, pieces: impl IntoIterator<Item = &'a [u8]>) -> Listing {
    let mut parser = Parser::list(now, Zone::Ahead(utc_offset));
    for piece in pieces {
        let _ = parser.feed(piece);
    }
    parser.finish()
}
