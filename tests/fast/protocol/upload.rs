//! The end of an upload: what the server says, what size the file has, and what its checksum is; and its rests, in which others
//! have the connection.

use super::ftpd::{Act, Behaviour, Fault, Server, Step, Tree};
use super::{names, path, settings};
use ftpsfs::ftp::client::Client;
use ftpsfs::ftp::settings::{Settings, Verify};
use ftpsfs::remote::{self, ErrorKind, Naming, Remote as _, Start};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const SHA256: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
const MD5: &str = "5d41402abc4b2a76b9719d911017c592";

/// Uploads "hello" in two pieces.
fn upload(client: &Client, start: Start) -> Result<(), remote::Error> {
    let mut upload = client.write_to(&path("/f"), start)?;
    upload.write(b"hel")?;
    upload.write(b"lo")?;
    upload.finish()
}

/// The same with a checksum, which stands before the new name.
fn upload_for_another_name(server: &Server) -> Result<(), remote::Error> {
    let mut upload = client(server, Verify::Hash).write_to(&path("/f"), Start::Beginning)?;
    upload.write(b"hello")?;
    let naming = Naming { path: path("/g"), is_new: true, mode: None, modified: None };
    upload.finish_for(&naming).map(|named| assert!(named.is_none(), "{named:?}"))
}

fn client(server: &Server, verify: Verify) -> Client {
    Client::connect(Settings { verify, ..settings(server.port()) }).unwrap()
}

/// It is stored where the last reply says so and the size agrees. A size alone may be that of what was there before; whoever knows
/// what that was asks for it.
#[test]
fn only_what_reply_and_size_confirm_is_stored() {
    for (fault, told) in [
        (Fault::say(Step::FinalReply, "226 Transfer complete."), Ok(())),
        (Fault::say(Step::FinalReply, "250-Two\r\n250 lines."), Ok(())),
        (Fault::say(Step::FinalReply, "426 Failure reading network stream."), Err(ErrorKind::Lost)),
        // The disk of the server took it all, and could not keep it in the end.
        (Fault::say(Step::FinalReply, "451 Local error."), Err(ErrorKind::Refused)),
        (Fault::say(Step::FinalReply, "552 Quota exceeded."), Err(ErrorKind::Quota)),
        (Fault::new(Step::FinalReply, Act::HangUp), Err(ErrorKind::Lost)),
        // The connection that was to tell the size is lost: another one tells it.
        (Fault::new(Step::Command("SIZE"), Act::HangUp).once(), Ok(())),
        (Fault::say(Step::Command("SIZE"), "421 Timeout.").once(), Ok(())),
        (Fault::say(Step::Command("SIZE"), "213 4"), Err(ErrorKind::Lost)),
        (Fault::say(Step::Command("SIZE"), "213 6"), Err(ErrorKind::Lost)),
        // Where a file may be written and not looked at, the server's word is all there is.
        (Fault::say(Step::Command("SIZE"), "550 Permission denied."), Ok(())),
        (Fault::say(Step::Preliminary, "552 Quota exceeded."), Err(ErrorKind::Quota)),
        (Fault::say(Step::Preliminary, "452 No space left on device."), Err(ErrorKind::NoSpace)),
    ] {
        let server = Server::start(Behaviour::default().with(fault.clone()), Tree::new());
        let stored = upload(&client(&server, Verify::Size), Start::Beginning);
        assert_eq!(stored.map_err(|error| error.kind), told, "{fault:?}");
    }
}

/// Pure-FTPd says `226` of a file that it could not give its name.
#[test]
fn a_226_that_tells_of_a_failure_is_one() {
    let said = "226-Rename/move failure: Is a directory\r\n226 Done.";
    let behaviour = Behaviour::default()
        .with(Fault::say(Step::FinalReply, said))
        .with(Fault::say(Step::Command("SIZE"), "550 Not there."));
    let server = Server::start(behaviour, Tree::new());
    let error = upload(&client(&server, Verify::Size), Start::Beginning).unwrap_err();
    assert!(error.to_string().contains("Rename/move failure"), "{error}");
}

#[test]
fn what_is_appended_comes_after_what_is_there() {
    let server = Server::start(Behaviour::default(), Tree::new().file("/f", "before, "));
    upload(&client(&server, Verify::Size), Start::End(8)).unwrap();
    assert_eq!(server.count("APPE"), 1);
    assert_eq!(super::read(&client(&server, Verify::Size), "/f", Some(13)).unwrap(), b"before, hello");
    // The file was not so long as was thought.
    let error = upload(&client(&server, Verify::Size), Start::End(100)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Lost);
}

#[test]
fn the_checksum_is_compared_where_that_is_wished_and_the_server_tells_one() {
    let wrong = "0".repeat(64);
    for (feature, verb, said, told) in [
        ("HASH SHA-1*;SHA-256;", "HASH", format!("213 SHA-256 0-5 {SHA256} /f"), Ok(())),
        ("HASH SHA-1*;SHA-256;", "HASH", format!("213 SHA-256 0-5 {wrong} /f"), Err(ErrorKind::Misbehaved)),
        ("XSHA256", "XSHA256", format!("250 {}", SHA256.to_uppercase()), Ok(())),
        ("XSHA256", "XSHA256", format!("250 {wrong}"), Err(ErrorKind::Misbehaved)),
        ("XMD5", "XMD5", format!("250 {MD5}"), Ok(())),
        ("XMD5", "XMD5", format!("250 {}", &wrong[..32]), Err(ErrorKind::Misbehaved)),
        // It tells none: the size has to do.
        ("XMD5", "XMD5", "550 Not permitted.".to_owned(), Ok(())),
    ] {
        let mut behaviour = Behaviour::default().with(Fault::say(Step::Command(verb), said.as_str()));
        behaviour.features.push(feature);
        let server = Server::start(behaviour, Tree::new());
        let stored = upload(&client(&server, Verify::Hash), Start::Beginning);
        assert_eq!(stored.map_err(|error| error.kind), told, "{said}");
        assert_eq!(upload_for_another_name(&server).map_err(|error| error.kind), told, "{said}");
        assert_eq!(server.count(verb), 2, "{said}");
        let asked: Vec<String> = server.lines().into_iter().map(|(_, line)| line).collect();
        assert!(asked.contains(&format!("{verb} /f")), "{asked:?}");
        assert_eq!(asked.contains(&"OPTS HASH SHA-256".to_owned()), verb == "HASH");
        // Not asked for where the size is enough.
        upload(&client(&server, Verify::Size), Start::Beginning).unwrap();
        assert_eq!(server.count(verb), 2);
    }
}

/// ProFTPD says no more of a disk that had room for a part of a write; what is written next is told why.
#[test]
fn an_input_output_error_is_asked_about_where_nothing_was_there_before() {
    let vague = "451 Input/output error";
    let full = "552 Quota exceeded.";
    for (start, said, then, told, appended) in [
        (Start::Beginning, vague, full, ErrorKind::Quota, 1),
        (Start::Beginning, vague, "226 Transfer complete.", ErrorKind::Refused, 1),
        (Start::Beginning, "451 Local error.", full, ErrorKind::Refused, 0),
        // Zeros at its end would spoil it.
        (Start::End(8), vague, full, ErrorKind::Refused, 1),
    ] {
        let behaviour = Behaviour::default()
            .with(Fault::say(Step::FinalReply, said).once())
            .with(Fault::say(Step::FinalReply, then));
        let server = Server::start(behaviour, Tree::new().file("/f", "before, "));
        let error = upload(&client(&server, Verify::Size), start).unwrap_err();
        assert_eq!((error.kind, server.count("APPE")), (told, appended), "{start:?} {said} {then}: {error}");
    }
}

/// What a server says of one file is no word about others.
#[test]
fn only_a_server_that_never_appends_is_not_asked_to_again() {
    for (said, told, asked) in [
        ("500 Unknown command.", ErrorKind::Unsupported, 1),
        ("504 Not with these parameters.", ErrorKind::Unsupported, 1),
        // ProFTPD without AllowStoreRestart.
        ("451 f: Append/Restart not permitted, try again", ErrorKind::Unsupported, 1),
        ("450 f: Somebody else writes to it.", ErrorKind::Unavailable, 2),
        ("550 f: Operation not permitted", ErrorKind::PermissionDenied, 2),
    ] {
        let behaviour = Behaviour::default().with(Fault::say(Step::Command("APPE"), said).once());
        let server = Server::start(behaviour, Tree::new().file("/f", "before, "));
        let client = client(&server, Verify::Size);
        let error = upload(&client, Start::End(8)).unwrap_err();
        assert_eq!(error.kind, told, "{said}: {error}");
        assert_eq!(upload(&client, Start::End(8)).is_ok(), asked == 2, "{said}");
        assert_eq!((server.count("APPE"), server.connections()), (asked, 1), "{said}");
    }
}

#[test]
fn an_upload_that_is_given_up_leaves_its_connection() {
    let server = Server::start(Behaviour::default(), Tree::new());
    let client = client(&server, Verify::Size);
    let mut upload = client.write_to(&path("/f"), Start::Beginning).unwrap();
    upload.write(b"hel").unwrap();
    drop(upload);
    assert_eq!(names(&client, "/"), ["f"]);
    assert_eq!(server.connections(), 1);
}

/// A client with one connection that waits for it, to a server that is known to append.
fn with_one_connection(server: &Server) -> Client {
    let client = Client::connect(Settings { timeout: Duration::from_secs(10), ..settings(server.port()) }).unwrap();
    upload(&client, Start::End(0)).unwrap();
    client
}

/// It goes on where it was, and its end is judged by all of it.
#[test]
fn an_upload_at_rest_gives_its_connection_to_who_waits() {
    // Both at once, for each waits for the rest.
    thread::scope(|scope| {
        for is_renamed in [false, true] {
            scope.spawn(move || {
                let server = Server::start(Behaviour::default(), Tree::new().file("/f", ""));
                let client = with_one_connection(&server);
                let mut upload = client.write_to(&path("/g"), Start::Beginning).unwrap();
                let begun = Instant::now();
                upload.write(b"hel").unwrap();
                assert_eq!(names(&client, "/"), ["f", "g"]);
                assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
                upload.write(b"lo").unwrap();
                if is_renamed {
                    let naming = Naming { path: path("/h"), is_new: true, mode: None, modified: None };
                    upload.finish_for(&naming).unwrap().unwrap().renaming.rename().unwrap();
                } else {
                    upload.finish().unwrap();
                }
                let name = if is_renamed { "/h" } else { "/g" };
                assert_eq!(super::read(&client, name, Some(5)).unwrap(), b"hello");
                assert_eq!((server.count("STOR"), server.count("APPE"), server.connections()), (1, 2, 1));
            });
        }
    });
}

/// The server says that it has it all, and how the data connection ended says otherwise: what is written behind it may be in the
/// wrong place.
#[test]
fn an_upload_whose_rest_began_badly_does_not_go_on() {
    let server = Server::start(Behaviour::default(), Tree::new().file("/f", ""));
    let client = with_one_connection(&server);
    server.fault(Fault::new(Step::Stored(3), Act::Reset).once());
    server.fault(Fault::say(Step::FinalReply, "226 Transfer complete.").once());
    let mut upload = client.write_to(&path("/g"), Start::Beginning).unwrap();
    upload.write(b"hel").unwrap();
    assert_eq!(names(&client, "/"), ["f", "g"]);
    let error = upload.write(b"lo").unwrap_err();
    assert!(error.kind == ErrorKind::Lost && error.to_string().contains("put aside"), "{error}");
    assert_eq!(server.count("APPE"), 1);
}

/// One that is written to without a pause has a second of its own.
#[test]
fn an_upload_that_goes_on_and_on_gives_its_connection_to_who_waits() {
    let server = Server::start(Behaviour::default(), Tree::new().file("/f", ""));
    let client = with_one_connection(&server);
    let mut upload = client.write_to(&path("/g"), Start::Beginning).unwrap();
    thread::sleep(Duration::from_secs(1));
    let mut size = 0;
    let mut write = || {
        upload.write(b"x").unwrap();
        size += 1;
    };
    // Nobody waits yet.
    (0..3).for_each(|_| write());
    assert_eq!(server.count("APPE"), 1);
    let is_answered = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(names(&client, "/"), ["f", "g"]);
            is_answered.store(true, SeqCst);
        });
        let begun = Instant::now();
        while !is_answered.load(SeqCst) {
            write();
            assert!(begun.elapsed() < Duration::from_secs(5));
            thread::sleep(Duration::from_millis(1));
        }
    });
    upload.finish().unwrap();
    assert_eq!(client.stat(&path("/g")).unwrap().size, Some(size));
    assert_eq!((server.count("STOR"), server.count("APPE"), server.connections()), (1, 2, 1));
}
