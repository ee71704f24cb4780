//! `MLSD`: a listing is the same, however its bytes were cut.
#![no_main]

use ftpsfs::ftp::listing::{Listing, Parser};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = list([bytes]);
    assert!(whole.entries.len() + whole.not_understood + whole.refused_names <= whole.lines);
    assert_eq!(whole, list(bytes.chunks(1)));
});

fn list<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Listing {
    let mut parser = Parser::facts();
    for piece in pieces {
        let _ = parser.feed(piece);
    }
    parser.finish()
}
