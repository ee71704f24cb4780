//! Directories: `MLSD`, or `CWD` and `LIST -a`.

use super::ftpd::{Act, Behaviour, Fault, Server, Step, Tree};
use super::{client, names, path};
use ftpsfs::remote::{ErrorKind, FileKind, Remote as _};

fn tree() -> Tree {
    Tree::new().directory("/d").directory("/d/sub").file("/d/a file", "abc").symlink("/d/link", *b"a file")
}

#[test]
fn a_listing_is_the_same_by_mlsd_and_by_list() {
    for behaviour in [Behaviour::default(), Behaviour::default().without_facts()] {
        let server = Server::start(behaviour, tree());
        let mut entries = client(&server).list(&path("/d")).unwrap();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        let told: Vec<_> = entries
            .iter()
            .map(|entry| (entry.name.to_string(), entry.metadata.kind.clone(), entry.metadata.size))
            .collect();
        let link = FileKind::Symlink(Some((*b"a file").into()));
        assert_eq!(told[0], ("a file".to_owned(), FileKind::File, Some(3)));
        assert_eq!((&told[1].0[..], &told[1].1), ("link", &link));
        assert_eq!((&told[2].0[..], &told[2].1), ("sub", &FileKind::Directory));
        assert_eq!(told.len(), 3);
    }
}

#[test]
fn an_empty_directory_is_empty_and_a_missing_one_is_missing() {
    for behaviour in [Behaviour::default(), Behaviour::default().without_facts()] {
        let server = Server::start(behaviour, tree());
        let client = client(&server);
        assert!(names(&client, "/d/sub").is_empty());
        assert_eq!(client.list(&path("/nowhere")).unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(server.connections(), 1, "a refusal costs no connection");
    }
}

#[test]
fn stat_tells_of_files_directories_and_what_is_missing() {
    for behaviour in [Behaviour::default(), Behaviour::default().without_facts()] {
        let server = Server::start(behaviour, tree());
        let client = client(&server);
        let file = client.stat(&path("/d/a file")).unwrap();
        assert_eq!((file.kind, file.size), (FileKind::File, Some(3)));
        assert_eq!(client.stat(&path("/d/sub")).unwrap().kind, FileKind::Directory);
        assert_eq!(client.stat(&path("/")).unwrap().kind, FileKind::Directory);
        assert_eq!(client.stat(&path("/d/none")).unwrap_err().kind, ErrorKind::NotFound);
    }
}

/// A session used to remember where it was and spared itself the CWD. When the directory had been renamed meanwhile, and
/// another one made under its name, LIST told of the wrong one.
#[test]
fn a_directory_is_entered_anew_for_each_listing() {
    let server = Server::start(Behaviour::default().without_facts(), tree());
    let client = client(&server);
    let before = server.commands()["CWD"];
    for _ in 0..3 {
        client.list(&path("/d")).unwrap();
    }
    assert_eq!(server.commands()["CWD"], before + 3);
}

/// Some servers put blank lines into MLST replies.
#[test]
fn an_mlst_reply_with_blank_lines_is_read() {
    let reply = "250-Begin\r\n\r\n type=file;size=3;modify=20240229123456; /d/a file\r\n\r\n250 End.";
    let server = Server::start(Behaviour::default().with(Fault::say(Step::Command("MLST"), reply)), tree());
    let file = client(&server).stat(&path("/d/a file")).unwrap();
    assert_eq!((file.kind, file.size), (FileKind::File, Some(3)));
}

#[test]
fn a_listing_cut_in_the_middle_is_an_error_or_asked_for_again_and_never_short() {
    for act in [Act::HangUp, Act::Reset] {
        for behaviour in [Behaviour::default(), Behaviour::default().without_facts()] {
            let server = Server::start(behaviour, tree());
            let client = client(&server);
            let cut = Fault::new(Step::Half, act.clone());
            server.fault(cut.clone().once());
            if let Ok(entries) = client.list(&path("/d")) {
                assert_eq!(entries.len(), 3, "{act:?}");
            }
            server.fault(cut);
            assert_eq!(client.list(&path("/d")).unwrap_err().kind, ErrorKind::Lost, "{act:?}");
            server.no_more_faults();
            assert_eq!(names(&client, "/d").len(), 3, "{act:?}");
        }
    }
}

/// MLSD is offered and refused: LIST from then on.
#[test]
fn mlsd_refused_is_remembered_and_list_used() {
    let server = Server::start(Behaviour::default().with(Fault::say(Step::Command("MLSD"), "500 No.")), tree());
    let client = client(&server);
    assert_eq!(names(&client, "/d").len(), 3);
    assert_eq!(names(&client, "/d").len(), 3);
    assert_eq!((server.count("MLSD"), server.count("LIST")), (1, 2));
}

/// One entry costs its name and a fixed size; the listing's text is not kept.
#[test]
fn a_million_entries_are_listed_in_bounded_memory() {
    const COUNT: usize = 1_000_000;
    let server = Server::start(Behaviour::default(), Tree::new().crowd("/many", COUNT as u64));
    let client = client(&server);
    let before = resident_bytes();
    let entries = client.list(&path("/many")).unwrap();
    let after = resident_bytes();
    assert_eq!(entries.len(), COUNT);
    assert_eq!(entries[COUNT - 1].name.as_bytes(), b"entry-0999999");
    assert_eq!(entries[COUNT - 1].metadata.size, Some(COUNT as u64 - 1));
    let each = after.saturating_sub(before) / COUNT;
    assert!(each < 400, "{each} bytes an entry");
}

/// A name of megabytes is no name, and a hostile server must not choose our memory use. The line is not read on, but
/// counted; where it is the only one, the listing is an error.
#[test]
fn an_endless_line_in_a_listing_is_not_kept_and_not_dropped_in_silence() {
    let long = || tree().directory("/long").file([b"/long/", &[b'x'; 4 << 20][..]].concat(), "");
    let server = Server::start(Behaviour::default(), long());
    let error = client(&server).list(&path("/long")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Misbehaved, "{error}");
    assert!(error.to_string().len() < 1000);
    // LIST -a shows `.` and `..` as well.
    let server = Server::start(Behaviour::default().without_facts(), long());
    let client = client(&server);
    assert!(names(&client, "/long").is_empty());
    assert_eq!(client.counters().lines_not_understood.value(), 1);
    assert_eq!(names(&client, "/d").len(), 3);
}

/// A server that offers nothing is read by LIST, SIZE and MDTM.
#[test]
fn a_server_without_feat_is_listed_and_read() {
    let server = Server::start(Behaviour { features: Vec::new(), facts: false, ..Behaviour::default() }, tree());
    let client = client(&server);
    assert_eq!(names(&client, "/d").len(), 3);
    assert_eq!(client.stat(&path("/d/a file")).unwrap().size, Some(3));
    assert_eq!(super::read(&client, "/d/a file", Some(3)).unwrap(), b"abc");
    assert_eq!((server.count("MLSD"), server.count("MLST")), (0, 0));
}

/// The process' resident memory; other tests run beside this one, but none of them holds much.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
