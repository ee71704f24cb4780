//! What servers send, and what it must be read as: `tests/corpus/`. Directories named for a server and its version hold
//! what that server sent; the others, what the documentation of their kind says.
//!
//! Beside each `x.txt` stands `x.expected`. Listings of the name `mlsd*` are read as facts, all others as `LIST`; their
//! line ends are LF in the file and both LF and CRLF in the test.
#![allow(clippy::unwrap_used)]

use ftpsfs::ftp::features::Features;
use ftpsfs::ftp::listing::{Listing, Parser, read_mlst};
use ftpsfs::ftp::passive;
use ftpsfs::ftp::reply::{Reader, Reply};
use ftpsfs::ftp::time::Zone;
use ftpsfs::path::escaped;
use ftpsfs::remote::{Entry, FileKind, Metadata};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

#[test]
fn listings_of_every_server_are_read() {
    for file in corpus("listing") {
        let text = fs::read(&file).unwrap();
        let with_crlf: Vec<u8> =
            text.iter().flat_map(|&byte| if byte == b'\n' { vec![b'\r', b'\n'] } else { vec![byte] }).collect();
        for text in [text, with_crlf] {
            for bytes in [1, 7, 4096] {
                let mut parser = match file.file_name().unwrap().to_str().unwrap().starts_with("mlsd") {
                    true => Parser::facts(),
                    false => Parser::list(now(), Zone::UTC),
                };
                for piece in text.chunks(bytes) {
                    parser.feed(piece).unwrap();
                }
                expect(&file, &shown(&parser.finish()));
            }
        }
    }
}

#[test]
fn the_corpus_is_of_many_kinds() {
    let files = corpus("listing");
    let kinds: HashSet<_> = files.iter().map(|file| file.parent().unwrap()).collect();
    let expected = files.iter().map(|file| fs::read_to_string(file.with_extension("expected")).unwrap());
    let entries: usize = expected.map(|text| text.lines().filter(|line| line.contains('"')).count()).sum();
    assert!(kinds.len() >= 20 && entries >= 150, "{entries} entries of {} kinds", kinds.len());
}

#[test]
fn replies_of_every_server_are_read() {
    for file in corpus("replies") {
        let mut reader = Reader::new();
        reader.feed(&fs::read(&file).unwrap());
        let mut told = String::new();
        while let Some(reply) = reader.next().unwrap() {
            writeln!(told, "{reply}").unwrap();
            told.push_str(&meaning(&reply));
        }
        assert_eq!(reader.pending(), 0, "{}", file.display());
        expect(&file, &told);
    }
}

/// Every `.txt` of a part of the corpus.
pub(crate) fn corpus(part: &str) -> Vec<PathBuf> {
    let servers = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(part)).unwrap();
    let files = servers.flat_map(|server| fs::read_dir(server.unwrap().path()).unwrap());
    let mut files: Vec<_> =
        files.map(|file| file.unwrap().path()).filter(|file| file.extension().unwrap() == "txt").collect();
    assert!(files.len() > 5);
    files.sort();
    files
}

fn expect(file: &Path, told: &str) {
    let expected = fs::read_to_string(file.with_extension("expected")).unwrap_or_default();
    assert_eq!(expected, told, "\n{} is read as\n{told}", file.display());
}

fn shown(listing: &Listing) -> String {
    let mut told = String::new();
    for Entry { name, metadata } in &listing.entries {
        writeln!(told, "{} \"{name}\"{}", columns(metadata), target(&metadata.kind)).unwrap();
    }
    if let Some(itself) = &listing.itself {
        writeln!(told, "{} itself", columns(itself)).unwrap();
    }
    for (count, what) in [
        (listing.not_understood, "not understood"),
        (listing.refused_names, "refused"),
        (listing.special, "special"),
        (listing.duplicates, "twice"),
    ] {
        if count > 0 {
            writeln!(told, "{what}: {count}").unwrap();
        }
    }
    if let Some(form) = listing.form {
        writeln!(told, "form: {form}").unwrap();
    }
    told
}

/// `file 0644 1001:1001 16 2026-11-23T14:40:36Z±1s unique`, `-` for what was not told.
fn columns(metadata: &Metadata) -> String {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    let kind = match metadata.kind {
        FileKind::File => "file",
        FileKind::Directory => "dir",
        FileKind::Symlink(_) => "link",
    };
    let mode = or_dash(metadata.mode.map(|mode| format!("{mode:04o}")));
    let uid = or_dash(metadata.uid.map(|uid| uid.to_string()));
    let gid = or_dash(metadata.gid.map(|gid| gid.to_string()));
    let size = or_dash(metadata.size.map(|size| size.to_string()));
    let time = or_dash(metadata.modified.map(|modified| format!("{}±{:?}", utc(modified.time), modified.precision)));
    let unique = metadata.unique.as_ref().map(|unique| format!(" unique={}", escaped(unique))).unwrap_or_default();
    format!("{kind} {mode} {uid}:{gid} {size} {time}{unique}")
}

fn utc(time: SystemTime) -> String {
    let civil = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => time::UtcDateTime::UNIX_EPOCH + after,
        Err(before) => time::UtcDateTime::UNIX_EPOCH - before.duration(),
    };
    let (date, hour, minute, second) = (civil.date(), civil.hour(), civil.minute(), civil.second());
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{:03}Z", civil.millisecond())
}

fn target(kind: &FileKind) -> String {
    match kind {
        FileKind::Symlink(Some(target)) => format!(" -> \"{}\"", escaped(target)),
        FileKind::Symlink(None) => " -> ?".into(),
        _ => String::new(),
    }
}

/// What else is to be read from a reply.
fn meaning(reply: &Reply) -> String {
    match reply.code.number() {
        211 => format!("  {:?}\n  OPTS {:?}\n", Features::read(reply), Features::read(reply).opts_mlst()),
        227 => format!("  {:?}\n", passive::passive(reply)),
        229 => format!("  {:?}\n", passive::extended(reply)),
        250 => {
            let facts = reply.lines.get(1).and_then(|line| read_mlst(line));
            facts
                .map(|(metadata, name)| format!("  {} \"{}\"\n", columns(&metadata), escaped(name)))
                .unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// 2026-11-23 14:50 UTC.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_445_400)
}
