//! The control connection: replies are the same, however their bytes were cut.
#![no_main]

use ftpsfs::ftp::reply::{Reader, Reply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (whole, whole_ended) = read([bytes]);
    let (single, single_ended) = read(bytes.chunks(1));
    assert_eq!(whole, single);
    assert_eq!(whole_ended, single_ended);
    for reply in whole {
        let _ = reply.to_string();
    }
});

/// The replies, and whether something came that is none.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Reply>, bool) {
    let mut reader = Reader::new();
    let mut replies = Vec::new();
    for piece in pieces {
        reader.feed(piece);
        loop {
            match reader.next() {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(_) => return (replies, true),
            }
        }
    }
    (replies, false)
}
