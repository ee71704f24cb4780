//! Names in the server's character set: the first byte chooses which.
#![no_main]

use ftpsfs::ftp::charset::Charset;
use libfuzzer_sys::fuzz_target;

const CHARSETS: [&str; 8] =
    ["utf-8", "windows-1252", "ibm866", "shift_jis", "euc-jp", "euc-kr", "big5", "gb18030"];

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, name)) = bytes.split_first() else { return };
    let charset = Charset::named(CHARSETS[usize::from(*choice) % CHARSETS.len()]).expect("these are known");
    let local = charset.to_local(name);
    assert_eq!(charset.to_server(&local).as_deref(), Some(name));
    if let Some(server) = charset.to_server(name) {
        assert_eq!(&*charset.to_local(&server), name);
    }
    let _ = Charset::detect(name.split(|&byte| byte == b'\n'));
});
