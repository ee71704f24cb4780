//! What the file system asks the server about names, and what it answers without.

use crate::memory::Memory;
use ftpsfs::errno::Errno;
use ftpsfs::remote::ErrorKind;
use ftpsfs::vfs::attr::{Attr, Kind};
use ftpsfs::vfs::error::Error;
use ftpsfs::vfs::filesystem::{Access, Entry, Looked, Patience};
use ftpsfs::vfs::inodes::Ino;
use ftpsfs::vfs::{Settings, Vfs};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(30);
/// An answer is as young as its end: a little more than the timeout makes it too old for sure.
const TOO_OLD: Duration = Duration::from_secs(40);

fn mount(memory: &Memory) -> Vfs {
    let settings = Settings { attr_timeout: TIMEOUT, dir_timeout: TIMEOUT, ..Settings::default() };
    Vfs::new(Arc::new(memory.clone()), settings)
}

fn lookup(vfs: &Vfs, parent: Ino, name: &str, now: Instant) -> Result<Looked, Error> {
    vfs.lookup(parent, name.as_bytes(), now, Patience::Network)
}

fn up(vfs: &Vfs, parent: Ino, name: &str, now: Instant) -> Entry {
    match lookup(vfs, parent, name, now).unwrap() {
        Looked::Up(entry) => entry,
        Looked::Absent(_) => panic!("{name} is absent"),
    }
}

/// What `ls -l` does: the names, and the attributes that came with them.
fn list(vfs: &Vfs, ino: Ino, now: Instant) -> Vec<(String, Option<Entry>)> {
    let opened = vfs.opendir(ino, now, Patience::Network).unwrap();
    let mut lines = Vec::new();
    let mut offset = 0;
    // The kernel's buffer holds a few entries at a time.
    loop {
        let before = lines.len();
        vfs.readdirplus(opened.fh, offset, now, |line| {
            let full = lines.len() - before == 7;
            if !full {
                lines.push((String::from_utf8(line.name.to_vec()).unwrap(), line.entry));
                offset = line.next_offset;
            }
            full
        })
        .unwrap();
        if lines.len() == before {
            break;
        }
    }
    vfs.releasedir(opened.fh).unwrap();
    lines
}

#[test]
fn listing_ten_thousand_files_asks_once_and_the_second_time_not_at_all() {
    let memory = Memory::new();
    memory.directory("/many");
    for number in 0..10_000 {
        memory.file(&format!("/many/f{number:04}"), "x");
    }
    let (vfs, now) = (mount(&memory), Instant::now());
    let many = up(&vfs, Ino::ROOT, "many", now).ino;
    let before = memory.counts();
    let lines = list(&vfs, many, now);
    assert_eq!(lines.len(), 10_002);
    let later = now + TIMEOUT / 2;
    assert_eq!(list(&vfs, many, later).len(), 10_002);
    for (name, entry) in lines.iter().skip(2) {
        assert_eq!(up(&vfs, many, name, later).ino, entry.unwrap().ino);
        assert_eq!(vfs.getattr(entry.unwrap().ino, later, Patience::CacheOnly).unwrap().0.size, 1);
    }
    let Ok(Looked::Absent(remaining)) = lookup(&vfs, many, "absent", later) else { panic!("it is absent") };
    assert!((TIMEOUT / 2..TIMEOUT / 2 + Duration::from_secs(9)).contains(&remaining), "{remaining:?}");
    assert_eq!((memory.counts().lists, memory.counts().stats), (before.lists + 1, before.stats));
    assert_eq!(list(&vfs, many, now + TOO_OLD).len(), 10_002);
    assert_eq!(memory.counts().lists, before.lists + 2);
}

#[test]
fn one_lookup_asks_about_one_file_and_the_second_lists_the_directory() {
    let memory = Memory::new();
    memory.file("/a", "1").file("/b", "22").file("/c", "333");
    let (vfs, now) = (mount(&memory), Instant::now());
    assert_eq!(up(&vfs, Ino::ROOT, "a", now).attr.size, 1);
    assert_eq!((memory.counts().lists, memory.counts().stats), (0, 1));
    assert_eq!(up(&vfs, Ino::ROOT, "a", now).attr.size, 1);
    assert_eq!((memory.counts().lists, memory.counts().stats), (0, 1));
    assert_eq!(up(&vfs, Ino::ROOT, "b", now).attr.size, 2);
    assert_eq!((memory.counts().lists, memory.counts().stats), (1, 1));
    assert_eq!(up(&vfs, Ino::ROOT, "c", now).attr.size, 3);
    assert_eq!(lookup(&vfs, Ino::ROOT, "d", now), Ok(Looked::Absent(TIMEOUT)));
    assert_eq!((memory.counts().lists, memory.counts().stats), (1, 1));
}

#[test]
fn a_directory_that_may_not_be_listed_is_asked_name_by_name() {
    let memory = Memory::new();
    memory.file("/a", "1").file("/b", "22").file("/c", "333");
    let (vfs, now) = (mount(&memory), Instant::now());
    up(&vfs, Ino::ROOT, "a", now);
    memory.fail_next(ErrorKind::PermissionDenied);
    assert_eq!(up(&vfs, Ino::ROOT, "b", now).attr.size, 2);
    assert_eq!(up(&vfs, Ino::ROOT, "c", now).attr.size, 3);
    assert_eq!((memory.counts().lists, memory.counts().stats), (1, 3));
}

#[test]
fn what_needs_the_network_is_said_at_once_when_it_may_not_wait() {
    let memory = Memory::new();
    memory.directory("/d").file("/f", "1");
    let (vfs, now) = (mount(&memory), Instant::now());
    let patience = Patience::CacheOnly;
    assert_eq!(vfs.lookup(Ino::ROOT, b"f", now, patience), Err(Error::WouldBlock));
    assert_eq!(vfs.getattr(Ino::ROOT, now, patience), Err(Error::WouldBlock));
    assert_eq!(vfs.opendir(Ino::ROOT, now, patience), Err(Error::WouldBlock));
    assert_eq!(memory.counts(), Memory::new().counts());
    let file = up(&vfs, Ino::ROOT, "f", now).ino;
    let fh = vfs.open(file, Access::Read, now, patience).unwrap().fh;
    assert_eq!(vfs.read(fh, 0, 1, now, patience).unwrap_err(), Error::WouldBlock);
    assert_eq!(memory.counts().reads, 0);
}

#[test]
fn many_who_ask_for_the_same_listing_share_one_call_and_its_failure() {
    for failure in [None, Some(ErrorKind::Lost)] {
        let memory = Memory::new();
        memory.file("/f", "1").close_gate();
        let (vfs, now) = (mount(&memory), Instant::now());
        if let Some(kind) = failure {
            memory.fail_next(kind);
        }
        let results: Vec<_> = thread::scope(|scope| {
            let askers: Vec<_> =
                (0..8).map(|_| scope.spawn(|| vfs.opendir(Ino::ROOT, now, Patience::Network))).collect();
            memory.await_blocked(1);
            // Some askers may come only after the answer, and then hit the cache or ask again; give them time to wait.
            thread::sleep(Duration::from_millis(100));
            memory.open_gate();
            askers.into_iter().map(|asker| asker.join().unwrap()).collect()
        });
        assert_eq!(memory.counts().lists, 1);
        for result in results {
            match failure {
                None => assert!(result.is_ok()),
                Some(_) => assert_eq!(result.unwrap_err().errno(), Errno::EIO),
            }
        }
    }
}

#[test]
fn a_refusal_without_a_reason_is_missing_or_forbidden_as_the_listing_knows() {
    let memory = Memory::new();
    memory.directory("/d").file("/f", "1");
    let (vfs, now) = (mount(&memory), Instant::now());
    memory.fail_next(ErrorKind::Unavailable);
    assert_eq!(lookup(&vfs, Ino::ROOT, "d", now).unwrap_err().errno(), Errno::ENOENT);
    let directory = list(&vfs, Ino::ROOT, now)[2].1.unwrap().ino;
    memory.fail_next(ErrorKind::Unavailable);
    assert_eq!(vfs.opendir(directory, now, Patience::Network).unwrap_err().errno(), Errno::EACCES);
}

#[test]
fn links_stay_in_the_mount() {
    let memory = Memory::new();
    memory.directory("/d").file("/f", "1");
    memory.symlink("/d/absolute", Some("/f")).symlink("/d/relative", Some("../f"));
    memory.symlink("/d/escaping", Some("../../etc/passwd")).symlink("/d/unknown", None);
    let (vfs, now) = (mount(&memory), Instant::now());
    let directory = up(&vfs, Ino::ROOT, "d", now).ino;
    list(&vfs, directory, now);
    let read = |name| {
        let entry = up(&vfs, directory, name, now);
        (entry.attr.size, vfs.readlink(entry.ino, now, Patience::CacheOnly))
    };
    assert_eq!(read("absolute"), (4, Ok(b"../f".to_vec())));
    assert_eq!(read("relative"), (4, Ok(b"../f".to_vec())));
    assert_eq!(read("escaping").1.unwrap_err().errno(), Errno::EACCES);
    assert_eq!(read("unknown").1.unwrap_err().errno(), Errno::EIO);
    // Asked about a link alone, a server may answer for the file it leads to: the listing is asked again instead.
    let stats = memory.counts().stats;
    let link = up(&vfs, directory, "relative", now).ino;
    assert_eq!(vfs.getattr(link, now + TOO_OLD, Patience::Network).unwrap().0.kind, Kind::Symlink);
    assert_eq!(memory.counts().stats, stats);
}

#[test]
fn a_name_that_becomes_another_kind_of_file_becomes_another_inode() {
    let memory = Memory::new();
    memory.file("/x", "1");
    let (vfs, now) = (mount(&memory), Instant::now());
    let file = up(&vfs, Ino::ROOT, "x", now).ino;
    memory.directory("/x");
    let later = now + TOO_OLD;
    let directory = up(&vfs, Ino::ROOT, "x", later);
    assert_eq!(directory.attr.kind, Kind::Directory);
    assert_ne!(directory.ino, file);
    assert_eq!(vfs.getattr(file, later, Patience::Network), Err(Error::Stale));
}

#[test]
fn a_size_that_the_listing_leaves_out_is_asked_for() {
    let memory = Memory::new();
    memory.file_without_listed_size("/f", "12345");
    let (vfs, now) = (mount(&memory), Instant::now());
    let listed = list(&vfs, Ino::ROOT, now)[2].1.unwrap();
    assert_eq!(listed.attr_remaining, Duration::ZERO);
    let later = now + TIMEOUT / 2;
    let entry = up(&vfs, Ino::ROOT, "f", later);
    assert_eq!((entry.ino, entry.attr.size, entry.attr_remaining), (listed.ino, 5, TIMEOUT));
    assert_eq!((memory.counts().lists, memory.counts().stats), (1, 1));
    up(&vfs, Ino::ROOT, "f", later);
    assert_eq!((memory.counts().lists, memory.counts().stats), (1, 1));
}

#[test]
fn an_open_directory_stays_as_it_was_opened() {
    let memory = Memory::new();
    memory.file("/a", "1").file("/b", "1").file("/c", "1");
    let (vfs, now) = (mount(&memory), Instant::now());
    let opened = vfs.opendir(Ino::ROOT, now, Patience::Network).unwrap();
    assert!(!opened.keep_cache);
    assert!(vfs.opendir(Ino::ROOT, now, Patience::Network).unwrap().keep_cache);
    memory.remove("/a").directory("/b");
    let later = now + TOO_OLD;
    assert!(!vfs.opendir(Ino::ROOT, later, Patience::Network).unwrap().keep_cache);
    let directory = up(&vfs, Ino::ROOT, "b", later).ino;
    let mut lines = Vec::new();
    vfs.readdirplus(opened.fh, 2, later, |line| {
        lines.push((line.name.to_vec(), line.ino, line.entry.unwrap().name_remaining));
        false
    })
    .unwrap();
    assert_eq!(lines.iter().map(|line| &line.0[..]).collect::<Vec<_>>(), [b"a", b"b", b"c"]);
    // What it says is not believed any more, and does not take the inode from what is there now.
    assert!(lines.iter().all(|line| line.2.is_zero()));
    assert_eq!(lines[1].1, directory);
    assert_eq!(up(&vfs, Ino::ROOT, "b", later).ino, directory);
}

/// The kernel would take it for a directory that is there, and create files in it.
#[test]
fn what_was_removed_since_a_directory_was_opened_is_not_believed() {
    let memory = Memory::new();
    memory.directory("/a").directory("/b").file("/c", "1");
    let (vfs, now) = (mount(&memory), Instant::now());
    let opened = vfs.opendir(Ino::ROOT, now, Patience::Network).unwrap();
    vfs.rmdir(Ino::ROOT, b"a", now, Patience::Network).unwrap();
    let mut believed = Vec::new();
    vfs.readdirplus(opened.fh, 2, now, |line| {
        believed.push((line.name.to_vec(), !line.entry.unwrap().name_remaining.is_zero()));
        false
    })
    .unwrap();
    let expected = [(b"a".to_vec(), false), (b"b".to_vec(), true), (b"c".to_vec(), true)];
    assert_eq!(believed, expected);
}

#[test]
fn the_root_is_a_directory_whatever_the_server_tells_of_it() {
    let memory = Memory::new();
    memory.fail_next(ErrorKind::Unsupported);
    let (vfs, now) = (mount(&memory), Instant::now());
    let (attr, remaining): (Attr, _) = vfs.getattr(Ino::ROOT, now, Patience::Network).unwrap();
    assert_eq!((attr.kind, attr.mode, remaining), (Kind::Directory, 0o755, TIMEOUT));
    memory.fail_next(ErrorKind::TimedOut);
    let error = vfs.getattr(Ino::ROOT, now + TOO_OLD, Patience::Network).unwrap_err();
    assert_eq!(error.errno(), Errno::ETIMEDOUT);
}

#[test]
fn times_of_belief_of_zero_ask_every_time() {
    let memory = Memory::new();
    memory.file("/f", "1");
    let settings = Settings { attr_timeout: Duration::ZERO, dir_timeout: Duration::ZERO, ..Settings::default() };
    let (vfs, now) = (Vfs::new(Arc::new(memory.clone()), settings), Instant::now());
    assert_eq!(up(&vfs, Ino::ROOT, "f", now).attr_remaining, Duration::ZERO);
    memory.file("/f", "22");
    let entry = up(&vfs, Ino::ROOT, "f", now);
    assert_eq!(entry.attr.size, 2);
    let fh = vfs.open(entry.ino, Access::Read, now, Patience::Network).unwrap().fh;
    assert_eq!(vfs.read(fh, 0, 9, now, Patience::Network).unwrap().len(), 2);
    assert_eq!(list(&vfs, Ino::ROOT, now).len(), 3);
}

#[test]
fn nothing_is_opened_for_writing_where_nothing_may_be_written() {
    let memory = Memory::new();
    memory.file("/f", "1");
    let settings = Settings { read_only: true, ..Settings::default() };
    let (vfs, now) = (Vfs::new(Arc::new(memory.clone()), settings), Instant::now());
    let file = up(&vfs, Ino::ROOT, "f", now).ino;
    let error = vfs.open(file, Access::Write, now, Patience::Network).unwrap_err();
    assert_eq!(error.errno(), Errno::EROFS);
    let error = vfs.open(Ino::ROOT, Access::Read, now, Patience::Network).unwrap_err();
    assert_eq!(error.errno(), Errno::EISDIR);
}
