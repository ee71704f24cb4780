//! Downloads: whole and right, or an error.

use super::ftpd::tree::pattern;
use super::ftpd::{Act, Behaviour, Fault, Server, Step, Tree};
use super::{Broken, client, names, path, read};
use ftpsfs::remote::{ErrorKind, Remote as _};
use std::time::Duration;

const SIZE: u64 = 1_000_000;

fn tree() -> Tree {
    Tree::new().made_up("/big", SIZE).file("/empty", "").file("/small", "abc")
}

fn bytes(from: u64, to: u64) -> Vec<u8> {
    (from..to).map(pattern).collect()
}

#[test]
fn a_file_is_read_whole_and_from_any_offset() {
    let server = Server::start(Behaviour::default(), tree());
    let client = client(&server);
    assert!(read(&client, "/big", Some(SIZE)).unwrap() == bytes(0, SIZE));
    assert!(read(&client, "/empty", Some(0)).unwrap().is_empty());
    for offset in [1, 65_535, SIZE - 1, SIZE] {
        let mut download = client.read_from(&path("/big"), offset, Some(SIZE)).unwrap();
        let (mut buffer, mut got) = (vec![0; 10_000], Vec::new());
        loop {
            match download.read(&mut buffer).unwrap() {
                0 => break,
                count => got.extend_from_slice(&buffer[..count]),
            }
        }
        assert!(got == bytes(offset, SIZE), "from {offset}");
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_refused_download_costs_no_connection() {
    let server = Server::start(Behaviour::default(), tree().directory("/d"));
    let client = client(&server);
    for (file, kind) in [("/none", ErrorKind::NotFound), ("/d", ErrorKind::IsADirectory)] {
        for _ in 0..5 {
            assert_eq!(read(&client, file, None).unwrap_err().error.kind, kind);
        }
    }
    assert_eq!(read(&client, "/small", Some(3)).unwrap(), b"abc");
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_missing_close_notify_is_forgiven_where_the_size_is_right() {
    for (act, size) in [(Act::HangUp, Some(SIZE)), (Act::HangUp, Some(0))] {
        let file = if size == Some(0) { "/empty" } else { "/big" };
        let server = Server::start(Behaviour::default().with(Fault::new(Step::CloseNotify, act)), tree());
        let client = client(&server);
        assert_eq!(read(&client, file, size).unwrap().len() as u64, size.unwrap());
    }
}

#[test]
fn a_missing_close_notify_is_an_error_where_the_size_is_unknown_or_wrong() {
    for size in [None, Some(SIZE + 1), Some(SIZE - 1)] {
        let server = Server::start(Behaviour::default().with(Fault::new(Step::CloseNotify, Act::HangUp)), tree());
        let Broken { bytes: got, error } = read(&client(&server), "/big", size).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Lost, "{error}");
        assert!(got == bytes(0, SIZE));
    }
}

/// An attacker, or a bad middle box, can end TCP early; and some servers say 226 all the same (pyftpdlib).
#[test]
fn a_transfer_cut_short_is_an_error_even_with_a_226() {
    for reply in ["226 Transfer complete.", "426 Failure writing network stream.", "250 Fine."] {
        for position in [0, 1, 65_536, SIZE / 2, SIZE - 1] {
            let behaviour = Behaviour::default()
                .with(Fault::new(Step::Byte(position), Act::HangUp).once())
                .with(Fault::say(Step::FinalReply, reply).once());
            let server = Server::start(behaviour, tree());
            let client = client(&server);
            let Broken { bytes: got, error } = read(&client, "/big", Some(SIZE)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Lost, "{reply} after {position}: {error}");
            assert!(got == bytes(0, position), "{reply} after {position}: {} bytes", got.len());
            assert!(read(&client, "/big", Some(SIZE)).unwrap() == bytes(0, SIZE));
        }
    }
}

#[test]
fn close_notify_with_a_426_is_an_error() {
    let behaviour = Behaviour::default()
        .with(Fault::new(Step::Half, Act::End))
        .with(Fault::say(Step::FinalReply, "426 Failure reading the disk."));
    let server = Server::start(behaviour, tree());
    let Broken { bytes: got, error } = read(&client(&server), "/big", Some(SIZE)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Lost, "{error}");
    assert!(error.to_string().contains("reading the disk"), "{error}");
    assert!(got == bytes(0, SIZE / 2));
}

#[test]
fn a_reset_in_the_middle_is_lost_and_the_bytes_before_it_are_right() {
    let server = Server::start(Behaviour::default().with(Fault::new(Step::Half, Act::Reset).once()), tree());
    let client = client(&server);
    let Broken { bytes: got, error } = read(&client, "/big", Some(SIZE)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Lost, "{error}");
    assert!(got == bytes(0, got.len() as u64));
    assert!(read(&client, "/big", Some(SIZE)).unwrap() == bytes(0, SIZE));
}

#[test]
fn the_final_reply_may_be_250_or_have_many_lines_and_the_first_125() {
    let behaviour = Behaviour::default()
        .with(Fault::say(Step::Preliminary, "125-Already\r\n here\r\n125 Open.").once())
        .with(Fault::say(Step::FinalReply, "226-Sent\r\n 226 at 5 MB/s\r\n226-\r\n250 no\r\n226 Done.").once())
        .with(Fault::say(Step::FinalReply, "250 Done."));
    let server = Server::start(behaviour, tree());
    let client = client(&server);
    for _ in 0..3 {
        assert_eq!(read(&client, "/small", Some(3)).unwrap(), b"abc");
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_download_dropped_in_the_middle_leaves_a_session_that_works() {
    let server = Server::start(Behaviour::default(), tree());
    let client = client(&server);
    for _ in 0..5 {
        let mut download = client.read_from(&path("/big"), 0, Some(SIZE)).unwrap();
        let mut buffer = [0; 1000];
        let count = download.read(&mut buffer).unwrap();
        assert!(buffer[..count] == bytes(0, count as u64));
        drop(download);
        assert_eq!(names(&client, "/").len(), 3);
    }
    assert_eq!(server.connections(), 1, "the control connection survives");
}

/// Pure-FTPd, pyftpdlib and others say 226 before the client has closed the data connection.
#[test]
fn a_226_may_come_before_the_data_connection_ends() {
    let server = Server::start(Behaviour { waits_for_close: false, ..Behaviour::default() }, tree());
    let client = client(&server);
    for _ in 0..20 {
        assert_eq!(read(&client, "/small", Some(3)).unwrap(), b"abc");
    }
    assert_eq!(server.connections(), 1);
}

/// Pure-FTPd answers a broken-off download with `150` or not at all; ProFTPD may take its time.
#[test]
fn whatever_a_server_says_to_a_download_dropped_the_next_request_gets_its_own_answer() {
    let late = |time| Act::SayLate(Duration::from_millis(time), "226 Done after all.".to_owned());
    for (act, survives) in [
        (Act::Say("150 0.004 seconds (measured here), 12.3 Mbytes per second".to_owned()), true),
        (Act::Say("226-Odd\r\n226 Abort successful.".to_owned()), true),
        (Act::Say("500 Odd.".to_owned()), true),
        (Act::Silence, true),
        (late(100), true),
        (late(1500), false),
        (Act::HangUp, false),
        (Act::SayAndHangUp("421 Data timeout. Reconnect. Sorry.".to_owned()), false),
        (Act::Say("426 Broken.\r\n226 Abort successful.".to_owned()), false),
    ] {
        let server = Server::start(Behaviour::default(), tree().made_up("/huge", 1 << 30));
        let client = client(&server);
        server.fault(Fault::new(Step::FinalReply, act.clone()).once());
        let mut download = client.read_from(&path("/huge"), 0, None).unwrap();
        download.read(&mut [0; 1000]).unwrap();
        drop(download);
        for _ in 0..3 {
            assert_eq!(client.stat(&path("/small")).unwrap().size, Some(3), "{act:?}");
            assert_eq!(names(&client, "/").len(), 4, "{act:?}");
            assert_eq!(read(&client, "/small", Some(3)).unwrap(), b"abc", "{act:?}");
        }
        if survives {
            assert_eq!(server.connections(), 1, "{act:?}");
        }
    }
}

/// A server may answer `NOOP` while it has not noticed that nobody listens to its transfer any more.
#[test]
fn the_end_of_a_download_dropped_may_come_with_the_answer_to_what_is_asked_next() {
    for late in ["226 Done after all.", "426 Broken off.", "225 Abort successful."] {
        let server = Server::start(Behaviour::default().without_facts(), tree().made_up("/huge", 1 << 30));
        let client = client(&server);
        assert_eq!(client.stat(&path("/small")).unwrap().size, Some(3));
        server.fault(Fault::new(Step::FinalReply, Act::Silence).once());
        server.fault(Fault::say(Step::Command("SIZE"), format!("{late}\r\n213 3")).once());
        let mut download = client.read_from(&path("/huge"), 0, None).unwrap();
        download.read(&mut [0; 1000]).unwrap();
        drop(download);
        assert_eq!(client.stat(&path("/small")).unwrap().size, Some(3), "{late}");
        assert_eq!(read(&client, "/small", Some(3)).unwrap(), b"abc", "{late}");
        assert_eq!(server.connections(), 1, "{late}");
    }
}

/// vsftpd does so when it dies.
#[test]
fn clear_text_in_the_middle_of_tls_is_an_error_and_the_next_download_works() {
    for step in [Step::DataHandshake, Step::Half, Step::FinalReply, Step::Command("RETR"), Step::Command("EPSV")] {
        let oops = Act::Clear("500 OOPS: priv_sock_get_result\r\n".to_owned());
        let server = Server::start(Behaviour::default().with(Fault::new(step, oops).once()), tree());
        let client = client(&server);
        match read(&client, "/big", Some(SIZE)) {
            Ok(got) => assert!(got == bytes(0, SIZE), "{step:?}"),
            Err(broken) => assert!(broken.bytes == bytes(0, broken.bytes.len() as u64), "{step:?}: {broken:?}"),
        }
        assert!(read(&client, "/big", Some(SIZE)).unwrap() == bytes(0, SIZE), "{step:?}");
    }
}
