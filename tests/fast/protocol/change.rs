//! What is changed of a file but its content: which command sets it on which server, and what a refusal means.

use super::ftpd::{Behaviour, Fault, Server, Step, Tree};
use super::{client, path};
use ftpsfs::remote::{ErrorKind, Remote as _};
use std::time::{Duration, SystemTime};

/// A server that offers `features` and answers `verb` with `reply`.
fn server(features: &[&'static str], verb: &'static str, reply: &str) -> Server {
    let mut behaviour = Behaviour::default().with(Fault::say(Step::Command(verb), reply));
    behaviour.features.retain(|line| *line != "MDTM");
    behaviour.features.extend(features);
    Server::start(behaviour, Tree::new().directory("/d").file("/d/a", "abc"))
}

/// What came that sets something.
fn sent(server: &Server) -> Vec<String> {
    let lines = server.lines().into_iter().map(|(_, line)| line);
    lines.filter(|line| ["MFMT", "MDTM", "SITE"].iter().any(|verb| line.starts_with(verb))).collect()
}

#[test]
fn a_time_is_set_in_the_way_that_the_server_offers() {
    // 2001-02-03 04:05:06, the fraction of which no server is told.
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(981_173_106_500);
    for (features, verb, reply, expected, told) in [
        (&["MFMT", "MDTM"][..], "MFMT", "213 Modify=20010203040506; /d/a", &["MFMT 20010203040506 /d/a"][..], Ok(())),
        (&["MDTM"], "MDTM", "213 File modification time set.", &["MDTM 20010203040506 /d/a"], Ok(())),
        (&["MDTM", "SITE UTIME"], "SITE", "200 UTIME command successful", &["SITE UTIME 20010203040506 /d/a"], Ok(())),
        // It took the time for a part of the name.
        (
            &["MDTM"],
            "MDTM",
            "550 Could not get file modification time.",
            &["MDTM 20010203040506 /d/a"],
            Err(ErrorKind::Unsupported),
        ),
        (&["MFMT"], "MFMT", "550 No such file", &["MFMT 20010203040506 /d/a"], Err(ErrorKind::NotFound)),
        (&["MFMT"], "MFMT", "550 Permission denied", &["MFMT 20010203040506 /d/a"], Err(ErrorKind::PermissionDenied)),
        (&[], "MFMT", "213 It could.", &[], Err(ErrorKind::Unsupported)),
    ] {
        let server = server(features, verb, reply);
        let set = client(&server).set_modified(&path("/d/a"), time).map_err(|error| error.kind);
        assert_eq!(
            (set, &sent(&server).iter().map(String::as_str).collect::<Vec<_>>()[..]),
            (told, expected),
            "{features:?} {reply}"
        );
    }
}

#[test]
fn the_way_that_worked_is_used_again() {
    let mut behaviour = Behaviour::default();
    behaviour.features.extend(["SITE UTIME"]);
    let behaviour = behaviour
        .with(Fault::say(Step::Command("SITE"), "500 'SITE UTIME' not understood"))
        .with(Fault::say(Step::Command("MDTM"), "213 Set."));
    let server = Server::start(behaviour, Tree::new().file("/a", "abc"));
    let client = client(&server);
    for _ in 0..2 {
        client.set_modified(&path("/a"), SystemTime::UNIX_EPOCH).unwrap();
    }
    let mdtm = "MDTM 19700101000000 /a";
    assert_eq!(sent(&server), ["SITE UTIME 19700101000000 /a", mdtm, mdtm]);
}

#[test]
fn permission_bits_are_set_by_site_chmod() {
    for (reply, told) in [
        ("200 SITE CHMOD command ok.", Ok(())),
        ("500 Unknown SITE command.", Err(ErrorKind::Unsupported)),
        ("550 Permission denied.", Err(ErrorKind::PermissionDenied)),
    ] {
        let server = server(&[], "SITE", reply);
        assert_eq!(client(&server).set_mode(&path("/d/a"), 0o640).map_err(|error| error.kind), told, "{reply}");
        assert_eq!(sent(&server), ["SITE CHMOD 640 /d/a"]);
    }
}

/// A relative target is resolved by ProFTPD from where the session is.
#[test]
fn a_link_is_made_from_inside_its_directory_where_the_server_offers_it() {
    let make = |features: &[&'static str], reply: &str, target: &[u8], link: &str| {
        let server = server(features, "SITE", reply);
        let made = client(&server).create_symlink(&path(link), target).map_err(|error| error.kind);
        let entered = server.lines().iter().any(|(_, line)| line == "CWD /d");
        (made, entered, sent(&server))
    };
    let site = &["SITE SYMLINK"][..];
    let (made, entered, lines) = make(site, "200 SITE SYMLINK command successful", b"a", "/d/l");
    assert_eq!((made, entered), (Ok(()), true));
    assert_eq!(lines, ["SITE SYMLINK a /d/l"]);
    assert_eq!(make(site, "550 l: Permission denied", b"a", "/d/l").0, Err(ErrorKind::PermissionDenied));
    // The words are parted by spaces: such a link would be another one.
    for (features, target, link) in [(&[][..], &b"a"[..], "/d/l"), (site, b"a b", "/d/l"), (site, b"a", "/d/l m")] {
        let (made, _, lines) = make(features, "200 Done.", target, link);
        assert_eq!((made, lines), (Err(ErrorKind::Unsupported), Vec::new()), "{link}");
    }
}
