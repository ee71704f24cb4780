//! The end of an upload: what the server says, what size the file has, and what its checksum is.

use super::ftpd::{Act, Behaviour, Fault, Server, Step, Tree};
use super::{path, settings};
use ftpsfs::ftp::client::Client;
use ftpsfs::ftp::settings::{Settings, Verify};
use ftpsfs::remote::{self, ErrorKind, Remote as _, Start};

const SHA256: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
const MD5: &str = "5d41402abc4b2a76b9719d911017c592";

/// Uploads "hello" in two pieces.
fn upload(client: &Client, start: Start) -> Result<(), remote::Error> {
    let mut upload = client.write_to(&path("/f"), start)?;
    upload.write(b"hel")?;
    upload.write(b"lo")?;
    upload.finish()
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
        let asked: Vec<String> = server.lines().into_iter().map(|(_, line)| line).collect();
        assert!(asked.contains(&format!("{verb} /f")), "{asked:?}");
        assert_eq!(asked.contains(&"OPTS HASH SHA-256".to_owned()), verb == "HASH");
        // Not asked for where the size is enough.
        upload(&client(&server, Verify::Size), Start::Beginning).unwrap();
        assert_eq!(server.count(verb), 1);
    }
}
