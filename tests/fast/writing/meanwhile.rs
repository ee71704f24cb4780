//! What others of the same mount do while the server is asked.

use super::{NETWORK, NEW};
use crate::memory::{Call, Memory, Moment};
use ftpsfs::errno::Errno;
use ftpsfs::remote::ErrorKind;
use ftpsfs::vfs::filesystem::{Access, Fh, Looked};
use ftpsfs::vfs::inodes::Ino;
use ftpsfs::vfs::{Settings, Vfs};
use std::sync::Arc;
use std::time::Instant;

struct Mount {
    vfs: Arc<Vfs>,
    now: Instant,
}

impl Mount {
    fn new(memory: &Memory) -> Self {
        Self { vfs: Arc::new(Vfs::new(Arc::new(memory.clone()), Settings::default())), now: Instant::now() }
    }

    fn lookup(&self, parent: Ino, name: &str) -> Option<Ino> {
        match self.vfs.lookup(parent, name.as_bytes(), self.now, NETWORK).unwrap() {
            Looked::Up(entry) => Some(entry.ino),
            Looked::Absent(_) => None,
        }
    }

    fn write(&self, fh: Fh, offset: u64, bytes: &[u8]) {
        self.vfs.write(fh, offset, bytes, self.now, NETWORK).unwrap();
    }

    fn close(&self, fh: Fh) {
        self.vfs.flush(fh, self.now, NETWORK).unwrap();
        self.vfs.release(fh, self.now, NETWORK).unwrap();
    }

    /// Renames something in the root.
    fn rename(&self, from: &'static str, to: &'static str) -> impl FnOnce() + Send + 'static {
        let (vfs, now) = (Arc::clone(&self.vfs), self.now);
        move || vfs.rename(Ino::ROOT, from.as_bytes(), Ino::ROOT, to.as_bytes(), false, now, NETWORK).unwrap()
    }
}

/// It was taken for what the server has by now, and what was written next for a conflict.
#[test]
fn an_answer_from_before_our_own_upload_is_no_conflict() {
    let memory = Memory::new();
    memory.file("/f", "old");
    let mount = Mount::new(&memory);
    let file = mount.lookup(Ino::ROOT, "f").unwrap();
    let one = mount.vfs.open(file, Access::Write, mount.now, NETWORK).unwrap().fh;
    memory.at(Moment::Told, {
        let (vfs, now) = (Arc::clone(&mount.vfs), mount.now);
        move || {
            vfs.write(one, 3, b" and new", now, NETWORK).unwrap();
            vfs.flush(one, now, NETWORK).unwrap();
        }
    });
    let other = mount.vfs.open(file, Access::Write, mount.now, NETWORK).unwrap().fh;
    assert_eq!(memory.content("/f").unwrap(), b"old and new");
    mount.write(other, 0, b"OLD");
    mount.close(other);
    mount.close(one);
    assert_eq!(memory.content("/f").unwrap(), b"OLD and new");
}

#[test]
fn an_upload_follows_its_directory() {
    for len in [10, 3 << 20] {
        let memory = Memory::new();
        memory.directory("/d");
        let mount = Mount::new(&memory);
        let directory = mount.lookup(Ino::ROOT, "d").unwrap();
        let fh = mount.vfs.create(directory, b"f", NEW, mount.now, NETWORK).unwrap().1.fh;
        memory.at(Moment::Write, mount.rename("d", "e"));
        let content = vec![7; len];
        mount.write(fh, 0, &content);
        mount.close(fh);
        assert!(memory.content("/e/f").unwrap() == content, "{len}");
        assert_eq!(memory.tree().len(), 2, "{:?}", memory.tree().keys());
    }
}

/// Else the entries of the one were shown in the other for as long as listings are believed.
#[test]
fn a_listing_is_of_the_directory_that_was_asked_for() {
    let memory = Memory::new();
    memory.directory("/d").file("/d/ours", "1").directory("/e").file("/e/another", "22");
    let mount = Mount::new(&memory);
    let directory = mount.lookup(Ino::ROOT, "d").unwrap();
    mount.lookup(Ino::ROOT, "e").unwrap();
    let (away, into) = (mount.rename("d", "x"), mount.rename("e", "d"));
    memory.at(Moment::List, || {
        away();
        into();
    });
    let opened = mount.vfs.opendir(directory, mount.now, NETWORK).unwrap();
    let mut names = Vec::new();
    let add = |line: &ftpsfs::vfs::filesystem::DirectoryEntry<'_>| {
        names.push(line.name.to_vec());
        false
    };
    mount.vfs.readdir(opened.fh, 2, mount.now, add).unwrap();
    assert_eq!(names, [b"ours".to_vec()]);
    assert_eq!(mount.lookup(directory, "another"), None);
}

/// vsftpd says of a directory that was away for the moment what it says of one where nothing may be made.
#[test]
fn a_directory_refused_for_the_moment_is_made_all_the_same() {
    for (refusals, kind, told, calls) in [
        (1, ErrorKind::Unavailable, None, 2),
        (2, ErrorKind::Unavailable, Some(Errno::EACCES), 2),
        (1, ErrorKind::PermissionDenied, Some(Errno::EACCES), 1),
        (1, ErrorKind::NoSpace, Some(Errno::ENOSPC), 1),
    ] {
        let memory = Memory::new();
        let mount = Mount::new(&memory);
        for _ in 0..refusals {
            memory.refuse_next(Call::CreateDirectory, kind);
        }
        let made = mount.vfs.mkdir(Ino::ROOT, b"d", 0o755, mount.now, NETWORK);
        assert_eq!(made.err().map(|error| error.errno()), told, "{refusals} {kind:?}");
        assert_eq!(memory.take_calls().iter().filter(|call| **call == Call::CreateDirectory).count(), calls);
        assert_eq!(memory.tree().contains_key("/d"), told.is_none());
    }
}
