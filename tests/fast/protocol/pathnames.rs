//! Pathnames that a command line cannot carry as they are.

use super::ftpd::{Behaviour, Server, Tree};
use super::{client, names, read, settings};
use ftpsfs::ftp::charset::{Charset, Wish};
use ftpsfs::ftp::client::Client;
use ftpsfs::ftp::settings::Settings;
use ftpsfs::path::{Name, RemotePath};
use ftpsfs::remote::{ErrorKind, FileKind, Remote as _, Start};

fn path(bytes: &[u8]) -> RemotePath {
    RemotePath::parse(bytes).unwrap()
}

/// ProFTPD took `FF FB x` out of a name and answered it in the middle of its reply; that connection was lost.
#[test]
fn every_0xff_in_a_name_arrives_whether_the_server_reads_telnet_or_not() {
    let names: &[&[u8]] = &[
        b"a\xff",
        b"a\xffb",
        b"a\xff\xffb",
        b"a\xff\xfbc",
        b"\xff\xfd",
        b"a\xff\xf4d",
        b"\xff\xf2",
        b"\xff\xff\xfe\xff",
    ];
    for telnet in [false, true] {
        for behaviour in [Behaviour::default(), Behaviour::default().without_facts()] {
            let tree = names.iter().fold(Tree::new(), |tree, name| {
                tree.file([b"/", *name].concat(), name).directory([b"/dir", *name].concat())
            });
            let server = Server::start(Behaviour { telnet, ..behaviour }, tree);
            let client = client(&server);
            for name in names {
                let file = path(&[b"/", *name].concat());
                assert_eq!(client.stat(&file).unwrap().size, Some(name.len() as u64), "{file}");
                let mut download = client.read_from(&file, 1, None).unwrap();
                let mut bytes = [0; 100];
                let count = download.read(&mut bytes).unwrap_or(0);
                assert_eq!(bytes[..count], name[1..], "{file}");
                drop(download);

                let directory = path(&[b"/dir", *name].concat());
                let inside = directory.join(&Name::new(*name).unwrap());
                let mut upload = client.write_to(&inside, Start::Beginning).unwrap();
                upload.write(b"new").unwrap();
                upload.finish().unwrap();
                let listed = client.list(&directory).unwrap();
                assert_eq!(listed.iter().map(|entry| entry.name.as_bytes()).collect::<Vec<_>>(), [*name]);
                client.rename(&inside, &file).unwrap();
                client.remove_file(&file).unwrap();
                client.remove_directory(&directory).unwrap();
                client.create_directory(&directory).unwrap();
            }
            assert_eq!(server.connections(), 1, "nothing was out of step");
            let questions = server.lines().iter().filter(|(_, line)| line.contains("question")).count();
            assert_eq!(questions, 1);
        }
    }
}

#[test]
fn a_name_without_0xff_costs_no_question() {
    let server = Server::start(Behaviour::default(), Tree::new().file("/\u{fe}", "x"));
    assert_eq!(client(&server).stat(&path("/\u{fe}".as_bytes())).unwrap().size, Some(1));
    assert!(server.lines().iter().all(|(_, line)| !line.contains("question")));
}

/// A long path used to be refused by the server's limit of a line, and the connection given up with it.
#[test]
fn a_path_that_no_line_carries_is_walked() {
    let name = ["~", &"n".repeat(250)].concat();
    let directory = format!("/{name}").repeat(12);
    let tree = (1..=12).fold(Tree::new(), |tree, depth| tree.directory(format!("/{name}").repeat(depth)));
    let tree = tree.file(format!("{directory}/-file"), "deep").directory(format!("/{name}/side"));
    for behaviour in [Behaviour::default(), Behaviour::default().without_facts()] {
        let server = Server::start(Behaviour { line_bytes_max: 1024, ..behaviour }, tree.clone());
        let client = client(&server);
        let file = path(format!("{directory}/-file").as_bytes());
        assert_eq!(client.stat(&file).unwrap().size, Some(4));
        assert_eq!(client.list(&path(directory.as_bytes())).unwrap().len(), 1);
        assert_eq!(read(&client, &format!("{directory}/-file"), Some(4)).unwrap(), b"deep");

        let side = path(format!("/{name}/side/file").as_bytes());
        client.rename(&file, &side).unwrap();
        client.rename(&side, &file).unwrap();
        let beside = path(format!("{directory}/~beside").as_bytes());
        client.rename(&file, &beside).unwrap();
        // From no directory can both be named in one line each.
        let half = path(format!("{}/half", format!("/{name}").repeat(6)).as_bytes());
        assert_eq!(client.rename(&beside, &half).unwrap_err().kind, ErrorKind::NameTooLong);
        client.remove_file(&beside).unwrap();
        client.create_directory(&beside).unwrap();
        client.remove_directory(&beside).unwrap();
        let mut upload = client.write_to(&file, Start::Beginning).unwrap();
        upload.write(b"again").unwrap();
        upload.finish().unwrap();
        client.remove_file(&file).unwrap();
        // Counted from the root still, wherever the session is by now.
        assert_eq!(client.list(&RemotePath::root()).unwrap().len(), 1);
        assert_eq!(client.stat(&file).unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(server.connections(), 1);
    }
}

fn client_in(server: &Server, charset: Wish) -> Client {
    Client::connect(Settings { charset, ..settings(server.port()) }).unwrap()
}

fn latin() -> Wish {
    Wish::Named(Charset::named("windows-1252").unwrap())
}

#[test]
fn names_in_a_character_set_are_utf_8_here_in_everything_that_is_asked() {
    let tree = || Tree::new().directory(b"/\xfc").file(b"/\xfc/caf\xe9", "x").symlink(b"/\xfc/link", *b"caf\xe9");
    for behaviour in [Behaviour::default(), Behaviour::default().without_facts()] {
        let server = Server::start(behaviour, tree());
        let client = client_in(&server, latin());
        let directory = path("/ü".as_bytes());
        assert_eq!(names(&client, "/"), ["ü"]);
        let listed = client.list(&directory).unwrap();
        assert_eq!(listed[0].name.to_string(), "café");
        assert_eq!(listed[1].metadata.kind, FileKind::Symlink(Some("café".as_bytes().into())));
        let (cafe, the) = (path("/ü/café".as_bytes()), path("/ü/thé".as_bytes()));
        assert_eq!(client.stat(&cafe).unwrap().size, Some(1));
        assert_eq!(read(&client, "/ü/café", Some(1)).unwrap(), b"x");
        client.rename(&cafe, &the).unwrap();
        let mut upload = client.write_to(&cafe, Start::Beginning).unwrap();
        upload.write(b"xy").unwrap();
        upload.finish().unwrap();
        client.remove_file(&the).unwrap();
        client.create_directory(&the).unwrap();
        assert_eq!(names(&client, "/ü"), ["café", "link", "thé"]);

        // No name of this server.
        let (greek, raw) = (path("/ü/ω".as_bytes()), path(b"/\xc3\xbc/caf\xe9"));
        for name in [greek, raw] {
            assert_eq!(client.stat(&name).unwrap_err().kind, ErrorKind::NotFound);
            assert_eq!(client.create_directory(&name).unwrap_err().kind, ErrorKind::InvalidName);
            assert_eq!(client.rename(&cafe, &name).unwrap_err().kind, ErrorKind::InvalidName);
        }
        assert!(server.lines().iter().all(|(_, line)| line != "OPTS UTF8 ON"));
    }
}

#[test]
fn the_first_names_decide_once_what_a_server_writes_that_does_not_say() {
    let silent = || Behaviour { features: vec!["MLST type*;size*;", "SIZE"], ..Behaviour::default() };
    let (latin, utf8) = (&b"/d/caf\xe9"[..], "/d/grüße".as_bytes());
    let tree = || Tree::new().directory("/d").directory("/e").file(b"/e/\xc3\xa9", "");
    // What it is, what is shown, and what a name of two bytes is that could be either.
    for (behaviour, name, shown, later) in [
        (silent(), latin, "café", "Ã©"),
        (silent(), utf8, "grüße", "é"),
        (Behaviour::default(), latin, "caf\\xe9", "é"),
    ] {
        let server = Server::start(behaviour, tree().file(name, ""));
        let client = client_in(&server, Wish::Detected);
        assert_eq!(names(&client, "/d"), [shown]);
        assert_eq!(names(&client, "/e"), [later]);
    }
    // A name that is asked for before any was seen is UTF-8, and so are all others then.
    let server = Server::start(silent(), tree().file(latin, ""));
    let client = client_in(&server, Wish::Detected);
    assert_eq!(client.stat(&path("/e/é".as_bytes())).unwrap().kind, FileKind::File);
    assert_eq!(names(&client, "/d"), ["caf\\xe9"]);
}

/// Pure-FTPd took `_` for a tab, and said that all went well: over a file that was called so.
#[test]
fn a_name_that_the_server_changes_is_not_made_and_is_not_another() {
    let server = Server::start(Behaviour { replaces: true, ..Behaviour::default() }, Tree::new().file("/a_b", "other"));
    let client = client(&server);
    let (odd, plain) = (path(b"/a\tb"), path(b"/plain"));
    assert_eq!(client.stat(&odd).unwrap_err().kind, ErrorKind::NotFound);
    client.create_directory(&plain).unwrap();
    for _ in 0..2 {
        assert_eq!(client.write_to(&odd, Start::Beginning).unwrap_err().kind, ErrorKind::InvalidName);
        assert_eq!(client.rename(&plain, &odd).unwrap_err().kind, ErrorKind::InvalidName);
        assert_eq!(client.create_directory(&odd).unwrap_err().kind, ErrorKind::InvalidName);
    }
    assert_eq!(read(&client, "/a_b", Some(5)).unwrap(), b"other");
    assert_eq!(names(&client, "/"), ["a_b", "plain"]);
    assert_eq!(server.count("MKD"), 3, "it is tried out once");
}

#[test]
fn a_server_that_keeps_odd_names_is_asked_once() {
    let server = Server::start(Behaviour::default(), Tree::new());
    let client = client(&server);
    for name in [&b"/a\tb"[..], b"/c\td", b"/e\x1b"] {
        client.create_directory(&path(name)).unwrap();
        assert_eq!(client.stat(&path(name)).unwrap().kind, FileKind::Directory);
    }
    assert_eq!((server.count("MKD"), names(&client, "/").len()), (5, 3));
}
