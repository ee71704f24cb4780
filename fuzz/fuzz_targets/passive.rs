//! The replies to `PASV` and `EPSV`.
#![no_main]

use ftpsfs::ftp::passive;
use ftpsfs::ftp::reply::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::new();
    reader.feed(&[b"227 ", bytes, b"\r\n"].concat());
    while let Ok(Some(reply)) = reader.next() {
        assert!(passive::extended(&reply) != Some(0));
        assert!(passive::passive(&reply).is_none_or(|(_, port)| port != 0));
    }
});
