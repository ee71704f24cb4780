//! The reply to `MLST`, and the times of `MDTM`.
#![no_main]

use ftpsfs::ftp::listing::read_mlst;
use ftpsfs::ftp::time::time_val;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((_, name)) = read_mlst(bytes) {
        assert!(bytes.ends_with(name));
    }
    let _ = time_val(bytes);
});
