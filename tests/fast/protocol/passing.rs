//! What passes: nothing is learnt for the time of a mount from a server that leaves, has a bad moment, or was started again.

use super::ftpd::{Act, Behaviour, Dialect, Fault, Server, Step, Tickets, Tree, Versions};
use super::{client_of, path, read, settings};
use ftpsfs::ftp::client::Client;
use ftpsfs::remote::{ErrorKind, Remote as _, Start};
use std::time::{Duration, Instant};

fn names(client: &Client) -> Vec<String> {
    let mut tried = 0;
    loop {
        tried += 1;
        match client.list(&path("/")) {
            Ok(entries) => return entries.iter().map(|entry| entry.name.to_string()).collect(),
            Err(error) => assert!(tried < 3, "{error}"),
        }
    }
}

/// The first connection hears it, and the next one is what counts.
#[test]
fn a_bad_moment_at_the_login_teaches_nothing() {
    for (verb, said) in [
        ("USER", "434 Host unavailable."),
        ("PASS", "451 Local error: the accounts are away."),
        ("PASS", "421 Going down."),
        ("FEAT", "421 Going down."),
        ("FEAT", "450 Not now."),
        ("PWD", "421 Going down."),
        ("PWD", "450 Not now."),
        // A path in it is not where the login landed.
        ("PWD", "421 \"/\" is going down."),
    ] {
        let behaviour = Behaviour::default()
            .with(Fault::say(Step::Command(verb), said).once())
            .with(Fault::say(Step::Command("PWD"), "257 \"/home\" is where you are."));
        let tree = Tree::new().file("/not-ours", "x").directory("/home").file("/home/ours", "y");
        let server = Server::start(behaviour, tree);
        let client = Client::delayed(settings(server.port())).unwrap();
        assert_eq!(names(&client), ["ours"], "{verb} {said}");
        assert_eq!(server.count("MLSD"), 1, "{verb} {said}");
    }
}

/// Only what the server will say of the same password tomorrow keeps others from trying it.
#[test]
fn a_wrong_password_is_told_at_once_and_one_that_cannot_be_looked_up_is_waited_for() {
    for (said, is_final) in [
        ("530 Login incorrect.", true),
        ("430 Invalid username or password.", true),
        ("421 Too many users.", false),
        ("451 Local error: the accounts are away.", false),
    ] {
        let server = Server::start(Behaviour::default().with(Fault::say(Step::Command("PASS"), said)), Tree::new());
        let client = Client::delayed(settings(server.port())).unwrap();
        let began = Instant::now();
        let told = client.list(&path("/")).unwrap_err();
        assert_eq!(told.kind == ErrorKind::LoginRefused, is_final, "{said}: {told}");
        assert_eq!(began.elapsed() < Duration::from_millis(500), is_final, "{said}: {:?}", began.elapsed());
    }
}

/// A goodbye is no answer to what was asked: another connection is asked.
#[test]
fn a_goodbye_answers_no_question() {
    for verb in ["MLST", "DELE", "MKD", "RNFR", "RNTO", "MFMT"] {
        let behaviour = Behaviour::default().with(Fault::say(Step::Command(verb), "421 Timeout.").once());
        let server = Server::start(behaviour, Tree::new().file("/f", "abc").file("/g", "x"));
        let client = client_of(&server, 2);
        assert_eq!(client.stat(&path("/f")).unwrap().size, Some(3), "{verb}");
        client.remove_file(&path("/g")).unwrap();
        client.create_directory(&path("/d")).unwrap();
        client.rename(&path("/f"), &path("/d/f")).unwrap();
        assert_eq!(read(&client, "/d/f", Some(3)).unwrap(), b"abc", "{verb}");
        assert!(client.stat(&path("/g")).is_err(), "{verb}");
    }
}

/// With other settings, such that no session is resumed any more and none needs to be.
#[test]
fn a_server_that_stops_resuming_sessions_is_used_as_it_is() {
    for versions in [Versions::Tls12, Versions::Tls13] {
        let behaviour = Behaviour { versions, ..Behaviour::default() };
        let server = Server::start(behaviour, Tree::new().file("/f", "abc"));
        let client = client_of(&server, 2);
        assert_eq!(read(&client, "/f", Some(3)).unwrap(), b"abc");
        assert!(server.data_handshakes().resumed > 0, "{versions:?}");
        server.resume_no_more();
        for number in 0..3 {
            assert_eq!(read(&client, "/f", Some(3)).unwrap(), b"abc", "{versions:?} {number}");
            let mut upload = client.write_to(&path("/new"), Start::Beginning).unwrap();
            upload.write(b"content").unwrap();
            upload.finish().unwrap();
        }
    }
}

/// Whoever requires it is still told so.
#[test]
fn a_server_that_demands_what_it_does_not_give_is_explained() {
    let behaviour = Behaviour::requiring_reuse(Dialect::ProFtpd, Tickets::counted(2, 1));
    let server = Server::start(behaviour, Tree::new().file("/f", "abc"));
    let client = client_of(&server, 2);
    assert_eq!(read(&client, "/f", Some(3)).unwrap(), b"abc");
    server.resume_no_more();
    let told = read(&client, "/f", Some(3)).unwrap_err();
    assert_eq!(told.error.kind, ErrorKind::Insecure, "{}", told.error);
}

/// What has no content moves nothing: neither the reply nor the data that are waited for may be put off by it for ever.
#[test]
fn records_without_content_are_not_listened_to_for_ever() {
    for step in [Step::Command("MLST"), Step::Byte(10)] {
        let behaviour = Behaviour { versions: Versions::Tls13, ..Behaviour::default() };
        let server =
            Server::start(behaviour.with(Fault::new(step, Act::EmptyRecords)), Tree::new().made_up("/f", 1000));
        let client = client_of(&server, 1);
        let began = Instant::now();
        assert!(
            client.stat(&path("/f")).and_then(|_| read(&client, "/f", Some(1000)).map_err(|told| told.error)).is_err()
        );
        assert!(began.elapsed() < Duration::from_secs(10), "{step:?}: {:?}", began.elapsed());
    }
}
