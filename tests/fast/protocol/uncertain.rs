//! Connections that break around a change: it is done once, or it is an error; never twice.

use super::ftpd::{Act, Behaviour, Fault, Server, Step, Tree};
use super::{client, path};
use ftpsfs::ftp::client::Client;
use ftpsfs::remote::{ErrorKind, Metadata, Remote as _, Seen};

/// One server pipelines `RNFR` and `RNTO`, the other gets them one by one.
const GREETINGS: [&str; 2] = ["220 ProFTPD Server", "220 Welcome."];

/// What is changed, by the command that counts.
const CHANGES: [&str; 5] = ["DELE", "RMD", "MKD", "RNTO", "RNTO onto"];

fn server(greeting: &str) -> Server {
    let tree = Tree::new().file("/a", "content").directory("/d").file("/taken", "something else").file("/z", "");
    Server::start(Behaviour::default().with(Fault::say(Step::Greeting, greeting)), tree)
}

fn change(client: &Client, what: &str, seen: Seen<'_>) -> Result<(), ErrorKind> {
    match what {
        "DELE" => client.remove_seen_file(&path("/a"), seen),
        "RMD" => client.remove_seen_directory(&path("/d"), seen),
        "MKD" => client.create_directory(&path("/new")),
        "RNTO onto" => client.rename_seen(&path("/a"), &path("/taken"), seen),
        _ => client.rename_seen(&path("/a"), &path("/new"), seen),
    }
    .map_err(|error| error.kind)
}

fn before(client: &Client, what: &str) -> Metadata {
    client.stat(&path(if what == "RMD" { "/d" } else { "/a" })).unwrap()
}

/// What each change leaves.
fn assert_done(server: &Server, what: &str, story: &str) {
    let tree = server.tree();
    let content = |path: &str| tree.get(path.as_bytes()).map(|node| node.size());
    match what {
        "DELE" => assert_eq!(content("/a"), None, "{story}"),
        "RMD" => assert_eq!(content("/d"), None, "{story}"),
        "MKD" => assert!(tree.get(b"/new").is_some_and(|node| node.is_directory()), "{story}"),
        "RNTO onto" => assert_eq!((content("/a"), content("/taken")), (None, Some(7)), "{story}"),
        _ => assert_eq!((content("/a"), content("/new")), (None, Some(7)), "{story}"),
    }
}

fn verb(what: &str) -> &'static str {
    CHANGES.into_iter().find(|change| *change == what).unwrap().split(' ').next().unwrap()
}

fn losses() -> [Act; 3] {
    [Act::HangUp, Act::Reset, Act::End]
}

#[test]
fn a_change_whose_reply_is_lost_is_done_once() {
    for greeting in GREETINGS {
        for what in CHANGES {
            for loss in losses() {
                let server = server(greeting);
                let client = client(&server);
                let seen = before(&client, what);
                server.fault(Fault::new(Step::Reply(verb(what)), loss.clone()).once());
                let story = format!("{greeting} {what} {loss:?}");
                assert_eq!(change(&client, what, Seen::As(&seen)), Ok(()), "{story}");
                assert_done(&server, what, &story);
                assert_eq!(server.count(verb(what)), 1, "{story}");
                assert_eq!(server.connections(), 2, "{story}");
            }
        }
    }
}

/// Where nothing is known of what is changed, too, unless it replaces something.
#[test]
fn a_change_that_was_not_done_is_asked_for_again() {
    for greeting in GREETINGS {
        for what in CHANGES {
            let goodbye = Act::SayAndHangUp("421 Timeout.".to_owned());
            for loss in losses().into_iter().chain([goodbye.clone()]) {
                let server = server(greeting);
                let client = client(&server);
                let seen = before(&client, what);
                let step = Step::Command(verb(what));
                server.fault(Fault::new(step, loss.clone()).once());
                let story = format!("{greeting} {what} {loss:?}");
                assert_eq!(change(&client, what, Seen::As(&seen)), Ok(()), "{story}");
                assert_done(&server, what, &story);
                assert_eq!(server.connections(), 2, "{story}");
            }
            // The server says itself that it did nothing.
            let server = server(greeting);
            let client = client(&server);
            server.fault(Fault::new(Step::AnyCommand, goodbye).once());
            assert_eq!(change(&client, what, Seen::Nothing), Ok(()), "{greeting} {what}");
        }
    }
}

#[test]
fn a_connection_that_ended_while_idle_is_replaced_before_a_change() {
    for what in CHANGES {
        let server = server(GREETINGS[0]);
        let client = client(&server);
        server.hang_up();
        assert_eq!(change(&client, what, Seen::Nothing), Ok(()), "{what}");
        assert_done(&server, what, what);
        assert_eq!(server.count(verb(what)), 1, "{what}");
    }
}

#[test]
fn a_renaming_that_breaks_between_its_commands_is_begun_again() {
    for loss in losses() {
        for step in [Step::Command("RNFR"), Step::Reply("RNFR")] {
            for greeting in GREETINGS {
                let server = server(greeting);
                let client = client(&server);
                let seen = before(&client, "RNTO");
                server.fault(Fault::new(step, loss.clone()).once());
                let story = format!("{greeting} {step:?} {loss:?}");
                assert_eq!(change(&client, "RNTO", Seen::As(&seen)), Ok(()), "{story}");
                assert_done(&server, "RNTO", &story);
            }
        }
    }
}

/// Another client is quick: what it puts at the old name while the connection is away is neither removed nor renamed.
#[test]
fn what_another_client_put_at_the_name_is_left_alone() {
    for (what, put, told) in [
        ("DELE", ("/a", "a successor"), Err(ErrorKind::Lost)),
        ("RMD", ("/d/", ""), Err(ErrorKind::Lost)),
        ("RNTO", ("/a", "a successor"), Ok(())),
        ("RNTO onto", ("/a", "a successor"), Ok(())),
    ] {
        let server = server(GREETINGS[0]);
        let client = client(&server);
        let seen = before(&client, what);
        server.fault(Fault::new(Step::Reply(verb(what)), Act::PutAndHangUp(vec![put])).once());
        assert_eq!(change(&client, what, Seen::As(&seen)), told, "{what}");
        assert_eq!(server.count(verb(what)), 1, "{what}");
        let tree = server.tree();
        let left = tree.get(put.0.trim_end_matches('/').as_bytes()).unwrap();
        assert!(left.is_directory() || left.size() == put.1.len() as u64, "{what}");
    }
}

/// A file that was seen in no listing may be the one that was there, or its successor.
#[test]
fn what_nothing_is_known_of_is_not_removed_twice() {
    for what in ["DELE", "RMD", "RNTO onto"] {
        let server = server(GREETINGS[0]);
        let client = client(&server);
        server.fault(Fault::new(Step::Command(verb(what)), Act::HangUp).once());
        assert_eq!(change(&client, what, Seen::Nothing), Err(ErrorKind::Lost), "{what}");
        assert_eq!(server.count(verb(what)), 1, "{what}");
        // A name that is ours alone is not in question.
        server.fault(Fault::new(Step::Command(verb(what)), Act::HangUp).once());
        assert_eq!(change(&client, what, Seen::Ours), Ok(()), "{what}");
        assert_done(&server, what, what);
    }
}

#[test]
fn a_directory_that_another_client_made_is_not_ours() {
    for (put, told) in [
        (vec![("/new/", ""), ("/new/theirs", "")], Err(ErrorKind::Exists)),
        (vec![("/new", "a file")], Err(ErrorKind::Exists)),
    ] {
        let server = server(GREETINGS[0]);
        let client = client(&server);
        server.fault(Fault::new(Step::Command("MKD"), Act::PutAndHangUp(put.clone())).once());
        assert_eq!(change(&client, "MKD", Seen::Nothing), told, "{put:?}");
        assert_eq!(server.count("MKD"), 1, "{put:?}");
    }
    // One that was there before the first try is none of a broken connection's.
    let server = server(GREETINGS[0]);
    server.tree().insert_new("/new", super::ftpd::Content::Directory);
    assert_eq!(change(&client(&server), "MKD", Seen::Nothing), Err(ErrorKind::Exists));
}

/// The link is made from inside its directory, by several commands.
#[test]
fn a_link_whose_reply_is_lost_is_made_once() {
    for (target, told) in [("a", Ok(())), ("b", Err(ErrorKind::Exists))] {
        let tree = Tree::new().file("/a", "").symlink("/l", "a");
        let mut behaviour = Behaviour::default().without_facts();
        behaviour.features.push("SITE SYMLINK");
        let server = Server::start(behaviour, tree);
        server.fault(Fault::new(Step::Command("SITE"), Act::HangUp).once());
        let made = client(&server).create_symlink(&path("/l"), target.as_bytes());
        assert_eq!(made.map_err(|error| error.kind), told, "{target}");
        assert_eq!(server.count("SITE"), 1);
    }
}

/// No answer is no loss: the program hears that it took too long, and nothing is done twice.
#[test]
fn a_change_that_is_not_answered_is_not_repeated() {
    for what in CHANGES {
        let server = server(GREETINGS[0]);
        let client = client(&server);
        let seen = before(&client, what);
        server.fault(Fault::new(Step::Reply(verb(what)), Act::Stall).once());
        assert_eq!(change(&client, what, Seen::As(&seen)), Err(ErrorKind::TimedOut), "{what}");
        assert_eq!(server.count(verb(what)), 1, "{what}");
    }
}
