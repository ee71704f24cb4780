//! The ladder: `MLSD`, `LIST -a`, `LIST`, `STAT -a`, `NLST`, and what is learnt on the way.

use super::ftpd::{Behaviour, DashA, Fault, Server, Step, Style, Tree};
use super::script::Script;
use super::{client, names, path, settings};
use ftpsfs::errno::Errno;
use ftpsfs::ftp::client::Client;
use ftpsfs::remote::{ErrorKind, FileKind, Remote as _};
use ftpsfs::vfs::filesystem::{Looked, Patience};
use ftpsfs::vfs::inodes::Ino;
use ftpsfs::vfs::{Settings, Vfs};
use std::sync::Arc;
use std::time::Instant;

fn tree() -> Tree {
    let tree = Tree::new().directory("/d").directory("/d/sub").file("/d/a file", "abc").file("/d/.hidden", "12345");
    tree.file("/d/sub/x", "1").directory("/empty")
}

fn refusing(verbs: &[&'static str]) -> Behaviour {
    let all = Behaviour { status: true, dash_a: DashA::MissingName, ..Behaviour::default() };
    verbs.iter().fold(all, |behaviour, verb| behaviour.with(Fault::say(Step::Command(verb), "502 No such command.")))
}

fn sorted(client: &Client, directory: &str) -> Vec<String> {
    let mut names = names(client, directory);
    names.sort();
    names
}

/// What each rung tells, and the commands that two directories cost on it.
#[test]
fn where_a_rung_breaks_the_next_one_holds_and_is_remembered() {
    let all = [".hidden", "a file", "sub"];
    for (refused, expected, verbs) in [
        (&[][..], &all[..], &[("MLSD", 2), ("LIST", 0), ("STAT", 0), ("NLST", 0)][..]),
        (&["MLSD"], &all[1..], &[("MLSD", 1), ("LIST", 3), ("STAT", 0), ("NLST", 0)]),
        (&["MLSD", "LIST"], &all[..], &[("MLSD", 1), ("LIST", 2), ("STAT", 2), ("NLST", 0)]),
        (&["MLSD", "LIST", "STAT"], &all[..], &[("MLSD", 1), ("LIST", 2), ("STAT", 2), ("NLST", 2), ("SIZE", 4)]),
    ] {
        let server = Server::start(refusing(refused), tree());
        let client = client(&server);
        assert_eq!(sorted(&client, "/d"), expected, "without {refused:?}");
        assert_eq!(sorted(&client, "/d/sub"), ["x"], "without {refused:?}");
        for (verb, times) in verbs {
            assert_eq!(server.count(verb), *times, "{verb} without {refused:?}");
        }
    }
}

#[test]
fn every_rung_tells_files_from_directories_and_their_sizes() {
    for refused in [&[][..], &["MLSD"], &["MLSD", "LIST"], &["MLSD", "LIST", "STAT"]] {
        let server = Server::start(refusing(refused), tree());
        let client = client(&server);
        let entries = client.list(&path("/d")).unwrap();
        let told = |name: &str| entries.iter().find(|entry| entry.name.as_bytes() == name.as_bytes()).unwrap();
        let file = &told("a file").metadata;
        assert_eq!((&file.kind, file.size), (&FileKind::File, Some(3)), "without {refused:?}");
        assert_eq!(told("sub").metadata.kind, FileKind::Directory, "without {refused:?}");
        assert_eq!(client.stat(&path("/d/a file")).unwrap().size, Some(3), "without {refused:?}");
        assert_eq!(client.list(&path("/nowhere")).unwrap_err().kind, ErrorKind::NotFound, "without {refused:?}");
        assert!(names(&client, "/empty").is_empty(), "without {refused:?}");
    }
}

/// Some servers offer MLSD and answer it with an error whatever the directory. One directory may be an odd one.
#[test]
fn an_mlsd_that_fails_twice_and_never_worked_is_given_up() {
    let server = Server::start(Behaviour::default().with(Fault::say(Step::Command("MLSD"), "550 Failed.")), tree());
    let client = client(&server);
    for _ in 0..3 {
        assert_eq!(sorted(&client, "/d").len(), 3);
    }
    assert_eq!((server.count("MLSD"), server.count("LIST")), (2, 3));
}

#[test]
fn an_mlsd_that_worked_before_is_asked_again_after_a_failure() {
    let server = Server::start(Behaviour::default(), tree());
    let client = client(&server);
    names(&client, "/d");
    for _ in 0..3 {
        server.fault(Fault::say(Step::Command("MLSD"), "550 Failed.").once());
        assert_eq!(sorted(&client, "/d").len(), 3);
    }
    names(&client, "/d");
    assert_eq!((server.count("MLSD"), server.count("LIST")), (5, 3));
}

/// lftp's issue 232: files that MLSD does not show are not mirrored. It is noticed on the mounted directory.
#[test]
fn names_that_mlsd_leaves_out_are_taken_from_list() {
    let behaviour = Behaviour { hiding: vec![Style::Facts], ..Behaviour::default() };
    let server = Server::start(behaviour, tree().file("/.profile", "x"));
    let client = client(&server);
    assert_eq!(sorted(&client, "/"), [".profile", "d", "empty"]);
    assert_eq!(sorted(&client, "/d"), [".hidden", "a file", "sub"]);
    // A second MLSD showed that the name is missing indeed, and a second LIST, once, that nobody has removed it meanwhile.
    assert_eq!((server.count("MLSD"), server.count("LIST")), (4, 3));
}

#[test]
fn where_mlsd_shows_all_it_is_compared_once() {
    let server = Server::start(Behaviour::default(), tree());
    let client = client(&server);
    for _ in 0..3 {
        names(&client, "/");
    }
    assert_eq!((server.count("MLSD"), server.count("LIST")), (3, 1));
}

#[test]
fn a_name_created_between_the_two_listings_is_not_held_against_mlsd() {
    let a = r"type=file;size=3;modify=20240229123456; a\r\n";
    let b = r"type=file;size=3;modify=20240229123456; b\r\n";
    let list = |command: &str, lines: &str| {
        let passive = "< EPSV\n> 229 Entering Extended Passive Mode (|||$PORT|)";
        format!("{passive}\n< {command}\n> 150 Here it comes.\n= DATA {lines}\n> 226 Done.\n")
    };
    let ls = r"-rw-r--r-- 1 u g 3 Feb 29  2024 a\r\n-rw-r--r-- 1 u g 3 Feb 29  2024 b\r\n";
    let server = Script::play(
        &[
            "= LOGIN\n< CWD /\n> 250 Okay.\n",
            &list("MLSD /", a),
            "< CWD /\n> 250 Okay.\n",
            &list("LIST -a", ls),
            &list("MLSD /", &[a, b].concat()),
            &list("MLSD /d", a),
            "< QUIT\n> 221 Bye.\n",
        ]
        .concat(),
    );
    let client = Client::connect(settings(server.port())).unwrap();
    assert_eq!((names(&client, "/"), names(&client, "/d")), (vec!["a".to_owned()], vec!["a".to_owned()]));
    client.close();
}

/// `LIST -a` may look for a name `-a`, and find nothing in it.
#[test]
fn a_server_that_takes_the_option_for_a_name_is_listed_without() {
    for dash_a in [DashA::MissingName, DashA::EmptyPattern] {
        let behaviour = Behaviour { dash_a, hiding: Vec::new(), ..Behaviour::default().without_facts() };
        let server = Server::start(behaviour, tree());
        let client = client(&server);
        for _ in 0..3 {
            assert_eq!(sorted(&client, "/d"), [".hidden", "a file", "sub"], "{dash_a:?}");
        }
        assert_eq!(server.count("LIST"), 4, "{dash_a:?}");
    }
}

/// A directory's name stands in CWD alone, where nothing is a pattern or an option.
#[test]
fn odd_names_of_directories_are_never_an_argument_of_list() {
    let odd = ["/-d", "/[ab]", "/a*b", "/-a x", "/ "];
    let tree = odd.iter().fold(tree(), |tree, name| tree.directory(name).file(format!("{name}/in"), "1"));
    for refused in [&["MLSD"][..], &["MLSD", "LIST"], &["MLSD", "LIST", "STAT"]] {
        let server = Server::start(refusing(refused), tree.clone());
        let client = client(&server);
        for name in odd {
            assert_eq!(names(&client, name), ["in"], "{name}");
        }
        let lines = server.lines();
        let lists = lines.iter().map(|(_, line)| line).filter(|line| {
            ["LIST", "STAT", "NLST"].iter().any(|verb| line.starts_with(verb)) && !line.starts_with("STAT /")
        });
        let argument =
            |line: &String| line.split_once(' ').map(|(_, argument)| argument.to_owned()).unwrap_or_default();
        let arguments: std::collections::BTreeSet<String> = lists.map(argument).collect();
        assert!(arguments.iter().all(|argument| ["", "-a", ".", "-a ."].contains(&&argument[..])), "{arguments:?}");
    }
}

/// vsftpd, ProFTPD and Pure-FTPd say 226 to a directory that may be entered and not read. Only `.` tells it from an empty one.
#[test]
fn a_listing_without_even_a_dot_is_of_a_directory_that_may_not_be_read() {
    let server = Server::start(Behaviour::default().without_facts(), tree());
    let client = client(&server);
    assert_eq!(sorted(&client, "/d").len(), 3);
    assert!(names(&client, "/empty").is_empty());
    server.tree().insert(b"/closed", super::ftpd::Content::Crowd(0));
    let error = client.list(&path("/closed")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error}");
}

/// Pure-FTPd stops at 10,000 names by default and tells it in the text of the 226 alone: half a directory must not look
/// like all of it. A name of the other half can be used all the same.
#[test]
fn a_listing_that_the_server_cut_is_an_error_and_its_names_can_be_used() {
    const CUT: &str = "226-Output truncated to 2 matches\r\n226 Done.";
    let server = Server::start(Behaviour::default().with(Fault::say(Step::FinalReply, CUT)), tree());
    let client = Arc::new(client(&server));
    assert_eq!(client.list(&path("/d")).unwrap_err().kind, ErrorKind::Incomplete);
    assert_eq!((server.count("MLSD"), server.count("LIST"), server.count("NLST")), (1, 1, 0));
    let vfs = Vfs::new(client, Settings::default());
    let (now, wait) = (Instant::now(), Patience::Network);
    let Looked::Up(directory) = vfs.lookup(Ino::ROOT, b"d", now, wait).unwrap() else { panic!("d is absent") };
    assert_eq!(vfs.opendir(directory.ino, now, wait).unwrap_err().errno(), Errno::EIO);
    for name in [&b"a file"[..], b"sub", b".hidden", b"a file"] {
        assert!(matches!(vfs.lookup(directory.ino, name, now, wait), Ok(Looked::Up(_))));
    }
    assert!(matches!(vfs.lookup(directory.ino, b"none", now, wait), Ok(Looked::Absent(_))));
}

/// suppaftp's issue 114: a directory that looks empty cannot be removed, for a file that nobody sees.
#[test]
fn a_directory_with_hidden_files_is_not_empty_when_it_is_to_be_removed() {
    for (behaviour, way) in [
        (Behaviour { hiding: vec![Style::Facts], ..Behaviour::default() }, "MLSD"),
        (Behaviour { status: true, dash_a: DashA::MissingName, ..Behaviour::default().without_facts() }, "LIST"),
    ] {
        let behaviour = behaviour.with(Fault::say(Step::Command("RMD"), "550 Remove directory operation failed."));
        let server = Server::start(behaviour, Tree::new().directory("/d").file("/d/.hidden", "1").directory("/empty"));
        let client = client(&server);
        assert!(names(&client, "/d").is_empty(), "{way}");
        assert_eq!(client.remove_directory(&path("/d")).unwrap_err().kind, ErrorKind::NotEmpty, "{way}");
        assert_eq!(names(&client, "/d"), [".hidden"], "what was learnt by {way} is remembered");
        assert_eq!(client.remove_directory(&path("/empty")).unwrap_err().kind, ErrorKind::Unavailable, "{way}");
    }
}

/// `LIST` of a directory without entries is refused by some, once it was entered.
#[test]
fn a_refusal_that_says_that_there_are_no_files_is_an_empty_directory() {
    for (reply, empty) in [("550 No files found.", true), ("550 No data sets found.", true), ("550 Failed.", false)] {
        let behaviour = Behaviour::default().without_facts();
        let server = Server::start(behaviour.with(Fault::say(Step::Command("LIST"), reply)), tree());
        server.fault(Fault::say(Step::Command("NLST"), reply));
        let listed = client(&server).list(&path("/d"));
        assert_eq!(listed.is_ok_and(|entries| entries.is_empty()), empty, "{reply}");
    }
}

/// vsftpd: without MLSD, and with a STAT that tells the same.
fn with_status() -> Behaviour {
    let greeting = Fault::say(Step::Greeting, "220 (vsFTPd 3.0.3)");
    Behaviour { status: true, ..Behaviour::default().without_facts() }.with(greeting)
}

/// Some servers read one command and drop what comes in the same packet.
#[test]
fn a_server_of_which_nothing_is_known_is_not_asked_four_things_at_once() {
    let server = Server::start(Behaviour { status: true, ..Behaviour::default().without_facts() }, tree());
    let client = client(&server);
    assert_eq!(sorted(&client, "/"), ["d", "empty"]);
    assert_eq!((sorted(&client, "/d").len(), server.count("STAT")), (3, 0));
}

/// STAT takes no data connection: compared once with what LIST told, it lists from then on.
#[test]
fn where_stat_tells_the_same_as_list_it_comes_first() {
    let server = Server::start(with_status(), tree());
    let client = client(&server);
    assert_eq!(sorted(&client, "/"), ["d", "empty"]);
    let before = server.lines().len();
    assert_eq!(sorted(&client, "/d"), [".hidden", "a file", "sub"]);
    assert!(names(&client, "/empty").is_empty());
    assert_eq!(client.list(&path("/nowhere")).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(client.list(&path("/d/a file")).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!((server.count("LIST"), server.count("EPSV"), server.count("STAT")), (1, 1, 5));
    let verbs: Vec<String> = server.lines()[before..].iter().map(|(_, line)| line[..4].to_owned()).collect();
    assert_eq!(verbs, ["CWD ", "STAT", "REST", "REST"].repeat(4));
}

#[test]
fn where_stat_tells_less_or_nothing_list_stays() {
    const ONE_LINE: &str = "213-Status:\r\n-rw-r--r-- 1 u g 3 Feb 29  2024 other\r\n213 End.";
    for behaviour in [
        with_status().with(Fault::say(Step::Command("STAT"), ONE_LINE)),
        with_status().with(Fault::say(Step::Command("STAT"), "502 No.")),
        with_status().with(Fault::say(Step::Command("STAT"), "211 Logged in.")),
        with_status().with(Fault::say(Step::Command("REST"), "502 No.")),
        with_status().with(Fault::say(Step::Command("REST"), "350 Fine.")),
    ] {
        let server = Server::start(behaviour, tree().file("/.profile", "x"));
        let client = client(&server);
        for _ in 0..4 {
            sorted(&client, "/");
        }
        sorted(&client, "/d");
        assert_eq!(server.count("LIST"), 5);
        assert!(server.count("STAT") <= 3);
    }
}

/// The mounted directory may have nothing to compare in it.
#[test]
fn below_an_empty_root_the_next_directory_is_compared() {
    let server = Server::start(with_status(), Tree::new());
    let client = client(&server);
    assert!(names(&client, "/").is_empty());
    server.tree().insert(b"/d", super::ftpd::Content::Directory);
    server.tree().insert(b"/d/f", super::ftpd::Content::Bytes(b"1".to_vec().into()));
    for _ in 0..3 {
        assert_eq!(names(&client, "/d"), ["f"]);
    }
    assert_eq!((server.count("LIST"), server.count("STAT")), (2, 3));
}

/// vsftpd writes a name with a line break into its reply as it is. A user of the server could make the rest of it look like
/// replies to whatever is asked next.
#[test]
fn a_name_that_looks_like_the_end_of_the_reply_ends_listing_by_stat_and_nothing_else() {
    for name in ["x\r\n213 End", "x\n213 End\r\n350 Restart position accepted (1).\r\n350 (0).\r\n213 99", "x\r\n350 a"]
    {
        let evil = format!("/e/{name}");
        let server = Server::start(with_status(), tree().directory("/e").file(evil, "1").file("/e/y", "12"));
        let client = client(&server);
        names(&client, "/");
        let entries = client.list(&path("/e")).unwrap();
        assert!(entries.iter().any(|entry| entry.name.as_bytes() == b"y"), "{name:?}: {entries:?}");
        assert_eq!(client.stat(&path("/d/a file")).unwrap().size, Some(3), "{name:?}");
        let by_list = server.count("LIST");
        assert_eq!(sorted(&client, "/d").len(), 3);
        let refuted = name.contains("213");
        assert_eq!(server.count("LIST") > by_list, refuted, "{name:?}");
    }
}

#[test]
fn a_name_with_telnets_own_byte_is_listed_by_list() {
    let server = Server::start(with_status(), tree().directory("/t"));
    server.tree().insert(b"/t/a\xffb", super::ftpd::Content::Bytes(b"1".to_vec().into()));
    let client = client(&server);
    names(&client, "/");
    assert_eq!(client.list(&path("/t")).unwrap()[0].name.as_bytes(), b"a\xffb");
    assert_eq!((server.count("LIST"), server.count("STAT")), (2, 2));
}

/// More than any reply that is kept, in lines that go into the listing as they come.
#[test]
fn a_large_directory_is_listed_by_stat_as_well() {
    let server = Server::start(with_status(), tree());
    server.tree().insert(b"/many", super::ftpd::Content::Crowd(50_000));
    let client = client(&server);
    names(&client, "/");
    let listed = client.list(&path("/many")).unwrap().len();
    assert_eq!((listed, server.count("LIST")), (50_000, 1));
}
