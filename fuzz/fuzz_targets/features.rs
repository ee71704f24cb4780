//! The reply to `FEAT`.
#![no_main]

use ftpsfs::ftp::features::Features;
use ftpsfs::ftp::reply::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::new();
    reader.feed(&[b"211-Features\r\n", bytes, b"\r\n211 End\r\n"].concat());
    while let Ok(Some(reply)) = reader.next() {
        let _ = Features::read(&reply).opts_mlst();
    }
});
