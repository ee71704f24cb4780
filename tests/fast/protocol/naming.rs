//! An upload that gets another name at its end: what is asked when, and when it is not renamed.

use super::ftpd::{Act, Behaviour, Fault, Server, Step, Tree};
use super::{client, client_of, path};
use ftpsfs::ftp::client::Client;
use ftpsfs::remote::{self, Alteration, ErrorKind, Metadata, Named, Naming, Remote as _, Start};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

const VSFTPD: &str = "220 (vsFTPd 3.0.3)";
const PROFTPD: &str = "220 ProFTPD Server";
const OTHER: &str = "220 Welcome.";

fn server(greeting: &str, faults: &[Fault]) -> Server {
    let mut behaviour = Behaviour::default().with(Fault::say(Step::Greeting, greeting));
    if greeting == VSFTPD {
        behaviour = behaviour.without_facts();
        behaviour.status = true;
    }
    behaviour.faults.extend(faults.iter().cloned());
    Server::start(behaviour, Tree::new().file("/old", "old"))
}

fn naming(name: &str) -> Naming {
    Naming { path: path(name), is_new: name != "/old", mode: None, modified: None }
}

/// Uploads "hello" as `/t`, to be called otherwise.
fn upload(client: &Client, naming: &Naming) -> Result<Option<Named>, remote::Error> {
    let mut upload = client.write_to(&path("/t"), Start::Beginning)?;
    upload.write(b"hello")?;
    upload.finish_for(naming)
}

/// What came since the upload began, without pathnames that are `/t` or the new name.
fn dialogue(server: &Server) -> String {
    let lines = server.lines().into_iter().map(|(_, line)| line);
    let lines = lines.skip_while(|line| !line.starts_with("STOR")).skip(1);
    lines.collect::<Vec<_>>().join(", ")
}

#[test]
fn what_must_be_known_is_asked_at_once_and_what_came_of_it_too() {
    for (greeting, name, before, after) in [
        (VSFTPD, "/new", "SIZE /t, SIZE /new, RNFR /t", "RNTO /new, SIZE /new, MDTM /new, STAT /new"),
        (
            VSFTPD,
            "/old",
            "SIZE /t, SIZE /old, MDTM /old, STAT /old, RNFR /t",
            "RNTO /old, SIZE /old, MDTM /old, STAT /old",
        ),
        (PROFTPD, "/new", "SIZE /t, MLST /new, RNFR /t", "RNTO /new, MLST /new, SIZE /new"),
        (PROFTPD, "/old", "SIZE /t, MLST /old, SIZE /old, RNFR /t", "RNTO /old, MLST /old, SIZE /old"),
        // One after the other.
        (OTHER, "/new", "SIZE /t, MLST /new, RNFR /t", "RNTO /new, MLST /new, SIZE /new"),
    ] {
        let server = server(greeting, &[]);
        let client = client(&server);
        let named = upload(&client, &naming(name)).unwrap().unwrap();
        assert_eq!(dialogue(&server), before, "{greeting} {name}");
        let size = |metadata: &Metadata| metadata.size;
        assert_eq!(named.found.as_ref().map(size), (name == "/old").then_some(Some(3)), "{greeting} {name}");
        let told = named.renaming.rename().unwrap().unwrap();
        assert_eq!(dialogue(&server), format!("{before}, {after}"), "{greeting} {name}");
        assert_eq!(told.size, Some(5), "{greeting} {name}");
        assert_eq!(super::read(&client, name, Some(5)).unwrap(), b"hello", "{greeting} {name}");
        assert_eq!(server.connections(), 1);
    }
}

/// A server that is known to read no command during a transfer has them before its end.
#[test]
fn only_a_server_known_for_it_is_asked_before_the_last_reply() {
    for (greeting, at_once) in [(VSFTPD, true), (PROFTPD, false), (OTHER, false)] {
        // The last reply never comes.
        let server = server(greeting, &[Fault::new(Step::FinalReply, Act::Silence)]);
        let named = upload(&client(&server), &naming("/new"));
        assert!(named.is_err() || named.is_ok_and(|named| named.is_none()), "{greeting}");
        // It may not have read yet what has come.
        let deadline = Instant::now() + Duration::from_secs(5);
        while at_once && !dialogue(&server).contains("RNFR") && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(dialogue(&server).contains("RNFR"), at_once, "{greeting}");
        assert_eq!(server.count("RNTO"), 0, "{greeting}");
    }
}

/// A last reply that came late was taken for the answer to `SIZE`, and each that followed for the one to the command after.
#[test]
fn after_a_last_reply_that_did_not_come_in_time_nothing_more_is_heard() {
    let late = Act::SayLate(Duration::from_millis(1200), "226 Transfer complete.".to_owned());
    let server = server(VSFTPD, &[Fault::new(Step::FinalReply, late).once()]);
    let client = client(&server);
    let named = upload(&client, &naming("/new"));
    assert_eq!(named.map_err(|error| error.kind).map(drop), Err(ErrorKind::TimedOut));
    for _ in 0..3 {
        assert_eq!(client.stat(&path("/old")).unwrap().size, Some(3));
    }
    assert_eq!((server.count("RNTO"), server.connections()), (0, 2));
}

/// Whether the size and the last reply agree that all is well decides; else it is left to whoever looks closer.
#[test]
fn nothing_is_made_ready_where_the_end_was_not_good() {
    for greeting in [VSFTPD, PROFTPD, OTHER] {
        let is_asked_before = greeting == VSFTPD;
        for (fault, told, goes_on) in [
            (Fault::say(Step::Command("SIZE"), "213 4"), Err(ErrorKind::Lost), false),
            (Fault::say(Step::Command("SIZE"), "213 6"), Err(ErrorKind::Lost), false),
            (Fault::say(Step::Command("SIZE"), "550 Permission denied."), Ok(false), false),
            (
                Fault::say(Step::FinalReply, "426 Failure reading network stream."),
                Err(ErrorKind::Lost),
                !is_asked_before,
            ),
            (Fault::say(Step::FinalReply, "451 Local error."), Err(ErrorKind::Refused), !is_asked_before),
            (Fault::new(Step::FinalReply, Act::HangUp), Err(ErrorKind::Lost), false),
            (Fault::say(Step::Command("RNFR"), "550 No."), Ok(false), true),
            (Fault::new(Step::Command("RNFR"), Act::HangUp), Ok(false), false),
        ] {
            let server = server(greeting, std::slice::from_ref(&fault));
            let client = client(&server);
            let ready = upload(&client, &naming("/new")).map(|named| named.is_some());
            assert_eq!(ready.map_err(|error| error.kind), told, "{greeting} {fault:?}");
            assert_eq!(server.count("RNTO"), 0, "{greeting} {fault:?}");
            // Where the session is gone, or expects the new name, another one is needed, and only there.
            server.no_more_faults();
            client.remove_file(&path("/t")).unwrap();
            assert_eq!(server.connections(), if goes_on { 1 } else { 2 }, "{greeting} {fault:?}");
        }
        // It says why, and the size proves it.
        let full =
            [Fault::say(Step::FinalReply, "452 No space left on device."), Fault::say(Step::Command("SIZE"), "213 2")];
        let server = server(greeting, &full);
        let error = upload(&client(&server), &naming("/new")).unwrap_err();
        assert_eq!((error.kind, server.count("RNTO")), (ErrorKind::NoSpace, 0), "{greeting}");
    }
}

/// ProFTPD refuses everything but `RNTO` after an accepted `RNFR`, and others would rename the wrong file later.
#[test]
fn a_session_that_expects_a_renaming_is_used_for_nothing_else() {
    for greeting in [VSFTPD, PROFTPD] {
        let server = server(greeting, &[]);
        let client = client(&server);
        drop(upload(&client, &naming("/new")).unwrap().unwrap());
        client.remove_file(&path("/t")).unwrap();
        let sessions: Vec<usize> = server.lines().into_iter().map(|(session, _)| session).collect();
        assert_eq!((server.count("RNTO"), sessions.last()), (0, Some(&1)), "{greeting}");
    }
}

/// What is found where nothing was is looked at step by step: it may be a link.
#[test]
fn a_new_name_that_is_taken_is_not_made_ready() {
    for greeting in [VSFTPD, PROFTPD] {
        let server = server(greeting, &[]);
        let named = upload(&client(&server), &Naming { is_new: true, ..naming("/old") }).unwrap();
        assert!(named.is_none(), "{greeting}");
        assert_eq!(server.count("RNTO"), 0, "{greeting}");
    }
}

#[test]
fn a_refused_renaming_says_why_and_the_session_goes_on() {
    for greeting in [VSFTPD, PROFTPD] {
        let server = server(greeting, &[Fault::say(Step::Command("RNTO"), "550 Permission denied.")]);
        let client = client(&server);
        let named = upload(&client, &naming("/new")).unwrap().unwrap();
        assert_eq!(named.renaming.rename().unwrap_err().kind, ErrorKind::PermissionDenied, "{greeting}");
        client.remove_file(&path("/t")).unwrap();
        assert_eq!(server.connections(), 1, "{greeting}");
    }
}

#[test]
fn permission_bits_and_time_go_along() {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(981_173_106);
    let mut behaviour = Behaviour::default()
        .with(Fault::say(Step::Greeting, PROFTPD))
        .with(Fault::say(Step::Command("SITE"), "200 Done."))
        .with(Fault::say(Step::Command("MFMT"), "213 Modify=20010203040506; /t"));
    behaviour.features.push("MFMT");
    let server = Server::start(behaviour, Tree::new().file("/old", "old"));
    let client = client(&server);
    let wish = Naming { mode: Some(0o600), modified: Some(time), ..naming("/new") };
    let named = upload(&client, &wish).unwrap().unwrap();
    // How the server lets times be set is not known yet.
    assert!(!named.has_time && named.mode_refused.is_none());
    assert_eq!(dialogue(&server), "SIZE /t, SITE CHMOD 600 /t, MLST /new, RNFR /t");
    named.renaming.rename().unwrap();
    client.set_modified(&path("/new"), time).unwrap();
    server.fault(Fault::say(Step::Command("SITE"), "502 SITE not implemented."));
    let named = upload(&client, &Naming { path: path("/newer"), ..wish }).unwrap().unwrap();
    assert!(named.has_time, "{named:?}");
    assert!(dialogue(&server).ends_with("SITE CHMOD 600 /t, MFMT 20010203040506 /t, MLST /newer, RNFR /t"));
}

/// The first time is set step by step: it shows how the server lets times be set.
#[test]
fn what_is_changed_of_a_file_is_told_in_the_same_flight() {
    let time = Alteration::Modified(SystemTime::UNIX_EPOCH + Duration::from_secs(981_173_106));
    for (greeting, questions) in [(VSFTPD, "SIZE /old, MDTM /old, STAT /old"), (PROFTPD, "MLST /old, SIZE /old")] {
        let server = server(greeting, &[Fault::say(Step::Command("SITE"), "200 Done.")]);
        let client = client(&server);
        let alter = |alteration| {
            let before = server.lines().len();
            let told = client.alter(&path("/old"), alteration).map(|told| told.map(|told| told.size));
            let lines: Vec<String> = server.lines().drain(before..).map(|(_, line)| line).collect();
            (told.map_err(|error| error.kind), lines.join(", "))
        };
        let set = "MDTM 20010203040506 /old";
        assert_eq!(alter(Alteration::Mode(0o640)), (Ok(Some(Some(3))), format!("SITE CHMOD 640 /old, {questions}")));
        assert_eq!(alter(time), (Ok(None), set.to_owned()), "{greeting}");
        assert_eq!(alter(time), (Ok(Some(Some(3))), format!("{set}, {questions}")), "{greeting}");
        server.no_more_faults();
        assert_eq!(alter(Alteration::Mode(0o640)).0, Err(ErrorKind::Unsupported), "{greeting}");
        server.fault(Fault::say(Step::Command("MDTM"), "550 Permission denied."));
        assert_eq!(alter(time), (Err(ErrorKind::Unsupported), format!("{set}, {questions}")), "{greeting}");
    }
}

#[test]
fn a_file_is_renamed_in_one_flight_where_the_order_is_known_to_be_kept() {
    for (greeting, refused) in [(VSFTPD, "RNFR 1, RNTO 1"), (PROFTPD, "RNFR 1, RNTO 1"), (OTHER, "RNFR 1, RNTO 0")] {
        let server = server(greeting, &[]);
        let client = client(&server);
        client.rename(&path("/missing"), &path("/new")).unwrap_err();
        assert_eq!(format!("RNFR {}, RNTO {}", server.count("RNFR"), server.count("RNTO")), refused, "{greeting}");
        client.rename(&path("/old"), &path("/new")).unwrap();
        assert_eq!(super::read(&client, "/new", Some(3)).unwrap(), b"old", "{greeting}");
    }
}

/// As it is across a link of 8 ms: vsftpd has a small file a round trip before it says so, and another session tells.
fn late_server(faults: &[Fault]) -> Server {
    let late = Act::SayLate(Duration::from_millis(8), "150 Ok to send data.".to_owned());
    server(VSFTPD, &[&[Fault::new(Step::Preliminary, late)], faults].concat())
}

/// A client with two idle sessions, as the first of several files leaves it.
fn client_with_two(server: &Server) -> Client {
    let client = client_of(server, 2);
    upload(&client, &naming("/first")).unwrap().unwrap().renaming.rename().unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while client.condition().connections.idle < 2 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(client.condition().connections.idle, 2);
    client
}

/// Which sessions took part since the second upload began, and what was said on them.
fn parts(server: &Server) -> Vec<(usize, String)> {
    let lines = server.lines();
    let begin = lines.iter().rposition(|(_, line)| line.starts_with("STOR")).unwrap();
    let parts = lines[begin..].iter().map(|(session, line)| (*session, line.clone()));
    parts.filter(|(_, line)| !line.starts_with("EPSV")).collect()
}

#[test]
fn another_session_tells_that_a_small_file_is_there_before_the_server_does() {
    let server = late_server(&[]);
    let client = client_with_two(&server);
    let last_word = Act::SayLate(Duration::from_millis(400), "226 Transfer complete.".to_owned());
    server.fault(Fault::new(Step::FinalReply, last_word).once());
    let begun = Instant::now();
    let named = upload(&client, &naming("/new")).unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!(named.renaming.rename().unwrap().unwrap().size, Some(5));
    // Whoever is told that it is stored can be sure of the session as well.
    assert!(begun.elapsed() >= Duration::from_millis(400));
    let parts = parts(&server);
    let (storing, telling) = (parts[0].0, parts[1].0);
    assert_ne!(storing, telling, "{parts:?}");
    let said: Vec<&str> = parts[1..].iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(said, ["SIZE /t", "SIZE /new", "RNFR /t", "RNTO /new", "SIZE /new", "MDTM /new", "STAT /new"]);
    assert!(parts[1..].iter().all(|(session, _)| *session == telling), "{parts:?}");
    assert_eq!((client.condition().connections.idle, server.connections()), (2, 2));
}

/// What was sent first need not be there first.
#[test]
fn another_session_that_was_asked_too_early_is_asked_again() {
    let server = late_server(&[]);
    let client = client_with_two(&server);
    let last_word = Act::SayLate(Duration::from_millis(400), "226 Transfer complete.".to_owned());
    server.fault(Fault::new(Step::FinalReply, last_word).once());
    server.fault(Fault::say(Step::Command("SIZE"), "213 3").once());
    let begun = Instant::now();
    let named = upload(&client, &naming("/new")).unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!(named.renaming.rename().unwrap().unwrap().size, Some(5));
}

/// What another session says decides nothing but that all is there; and what is there stays, whatever the transfer's end.
#[test]
fn what_another_session_cannot_tell_is_left_to_the_servers_own_word() {
    for (what, faults, told) in [
        ("asked too early", vec![Fault::say(Step::Command("SIZE"), "213 3").once()], Ok(true)),
        ("not whole at all", vec![Fault::say(Step::Command("SIZE"), "213 3")], Err(ErrorKind::Lost)),
        ("no word about it", vec![Fault::say(Step::Command("SIZE"), "550 No.")], Ok(false)),
        ("it hangs up", vec![Fault::new(Step::Command("SIZE"), Act::HangUp).once()], Ok(true)),
        ("a bad end", vec![Fault::say(Step::FinalReply, "426 Failure reading network stream.").once()], Ok(true)),
        ("no end", vec![Fault::new(Step::FinalReply, Act::HangUp).once()], Ok(true)),
    ] {
        let server = late_server(&[]);
        let client = client_with_two(&server);
        let before = server.count("RNTO");
        faults.into_iter().for_each(|fault| server.fault(fault));
        let named = upload(&client, &naming("/new"));
        let ready = named.as_ref().map(Option::is_some).map_err(|error| error.kind);
        assert_eq!(ready, told, "{what}");
        assert_eq!(server.count("RNTO"), before, "{what}");
        if let Ok(Some(named)) = named {
            assert_eq!(named.renaming.rename().unwrap().unwrap().size, Some(5), "{what}");
            assert_eq!(super::read(&client, "/new", Some(5)).unwrap(), b"hello", "{what}");
        }
        server.no_more_faults();
        assert_eq!(client.stat(&path("/old")).unwrap().size, Some(3), "{what}");
    }
}
