//! What others of the same mount do while the server is asked.

use super::{NETWORK, NEW};
use crate::memory::{Call, Memory, Moment};
use ftpsfs::remote::ErrorKind;
use ftpsfs::vfs::filesystem::{Access, Fh, Looked};
use ftpsfs::vfs::inodes::Ino;
use ftpsfs::vfs::writing::Changes;
use ftpsfs::vfs::{Settings, Vfs};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

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

    /// Changes the attributes of a file.
    fn set(&self, parent: Ino, changes: Changes) {
        let file = self.lookup(parent, "f").unwrap();
        self.vfs.setattr(file, None, changes, self.now, NETWORK).unwrap();
    }

    /// Somebody renames something in the root when the server hears `call`, which waits for that, but not for ever.
    fn meanwhile(&self, memory: &Memory, call: Call, renames: &[(&'static str, &'static str)]) -> Others {
        let work: Vec<_> = renames.iter().map(|(from, to)| self.rename(from, to)).collect();
        let others = Others::default();
        let thread = Arc::clone(&others.0);
        memory.at(Moment::Before(call), move || {
            let renaming = thread::spawn(|| work.into_iter().for_each(|rename| rename()));
            let begun = Instant::now();
            while !renaming.is_finished() && begun.elapsed() < MEANWHILE {
                thread::sleep(Duration::from_millis(1));
            }
            *thread.lock().unwrap() = Some(renaming);
        });
        others
    }

    /// Renames something in the root.
    fn rename(&self, from: &'static str, to: &'static str) -> impl FnOnce() + Send + 'static {
        let (vfs, now) = (Arc::clone(&self.vfs), self.now);
        move || vfs.rename(Ino::ROOT, from.as_bytes(), Ino::ROOT, to.as_bytes(), false, now, NETWORK).unwrap()
    }
}

/// Somebody else, once he has begun.
#[derive(Default)]
struct Others(Arc<Mutex<Option<JoinHandle<()>>>>);

impl Others {
    fn join(self) {
        self.0.lock().unwrap().take().expect("the call was made").join().unwrap();
    }
}

/// Long enough for what need not wait.
const MEANWHILE: Duration = Duration::from_millis(100);

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

/// What is ready for its renaming is ready for one path: there it is begun anew.
#[test]
fn an_upload_follows_its_directory() {
    for (len, names_uploads) in [(10, false), (3 << 20, false), (10, true), (3 << 20, true)] {
        let memory = Memory::new();
        memory.names_uploads(names_uploads).directory("/d");
        let mount = Mount::new(&memory);
        let directory = mount.lookup(Ino::ROOT, "d").unwrap();
        let create = |name: &[u8]| mount.vfs.create(directory, name, NEW, mount.now, NETWORK).unwrap().1.fh;
        // What permission bits the server gives is known from then on.
        let first = create(b"first");
        mount.write(first, 0, b"first");
        mount.close(first);
        let fh = create(b"f");
        let others = mount.meanwhile(&memory, Call::Write, &[("d", "e")]);
        memory.take_calls();
        let content = vec![7; len];
        mount.write(fh, 0, &content);
        mount.close(fh);
        others.join();
        assert!(memory.content("/e/f").unwrap() == content, "{len}");
        assert_eq!(memory.tree().len(), 3, "{:?}", memory.tree().keys());
        let sent = memory.take_calls().into_iter().filter(|call| *call == Call::Write).count();
        assert_eq!(sent, 1, "{len} {names_uploads}");
    }
}

/// The server is asked about a path. If that were another file's by then, that would be removed, or written to.
#[test]
fn nothing_is_done_to_what_has_the_path_by_then() {
    type Work = fn(&Mount, Ino);
    let works: [(Call, Work); 9] = [
        (Call::RemoveFile, |mount, d| mount.vfs.unlink(d, b"f", mount.now, NETWORK).unwrap()),
        (Call::RemoveDirectory, |mount, d| mount.vfs.rmdir(d, b"sub", mount.now, NETWORK).unwrap()),
        (Call::CreateDirectory, |mount, d| {
            mount.vfs.mkdir(d, b"new", 0o755, mount.now, NETWORK).unwrap();
        }),
        (Call::Symlink, |mount, d| {
            mount.vfs.symlink(d, b"new", b"f", mount.now, NETWORK).unwrap();
        }),
        (Call::Rename, |mount, d| mount.vfs.rename(d, b"f", d, b"g", false, mount.now, NETWORK).unwrap()),
        (Call::SetMode, |mount, d| mount.set(d, Changes { mode: Some(0o600), ..Changes::default() })),
        (Call::SetModified, |mount, d| {
            mount.set(d, Changes { modified: Some(SystemTime::UNIX_EPOCH), ..Changes::default() });
        }),
        (Call::Append, |mount, d| {
            let file = mount.lookup(d, "f").unwrap();
            let fh = mount.vfs.open(file, Access::Write, mount.now, NETWORK).unwrap().fh;
            mount.write(fh, 4, b" and what is appended");
            mount.close(fh);
        }),
        (Call::SetModified, |mount, d| {
            let file = mount.lookup(d, "f").unwrap();
            let fh = mount.vfs.open(file, Access::Write, mount.now, NETWORK).unwrap().fh;
            mount.write(fh, 4, b" and what is appended");
            let changes = Changes { modified: Some(SystemTime::UNIX_EPOCH), ..Changes::default() };
            mount.vfs.setattr(file, Some(fh), changes, mount.now, NETWORK).unwrap();
            mount.close(fh);
        }),
    ];
    for (call, work) in works {
        let [told, expected] = [true, false].map(|meanwhile| {
            let memory = Memory::new();
            memory.directory("/d").directory("/e").directory("/d/sub").directory("/e/sub");
            memory.file("/d/f", "ours").file("/e/f", "them");
            let mount = Mount::new(&memory);
            let directory = mount.lookup(Ino::ROOT, "d").unwrap();
            mount.lookup(Ino::ROOT, "e").unwrap();
            if meanwhile {
                let others = mount.meanwhile(&memory, call, &[("d", "x"), ("e", "d")]);
                work(&mount, directory);
                others.join();
            } else {
                work(&mount, directory);
                mount.rename("d", "x")();
                mount.rename("e", "d")();
            }
            let attributes = ["/d/f", "/x/f"].map(|path| (memory.mode(path), memory.version(path)));
            (memory.tree(), attributes)
        });
        assert_eq!(told, expected, "{call:?}");
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

/// vsftpd with `delete_failed_uploads` takes back what it had in full, where the end of the transfer fails; ProFTPD does it when a
/// session that was cut off before notices that. The one says `550 RNFR command failed.`, the other what is missing.
#[test]
fn an_upload_that_is_gone_before_it_has_its_name_is_sent_again() {
    let in_order: &[(u64, &[u8])] = &[(0, b"con"), (3, b"tent")];
    let out_of_order: &[(u64, &[u8])] = &[(3, b"tent"), (0, b"con")];
    for (parts, content) in [(in_order, &b"content"[..]), (out_of_order, b"content"), (&[], b"")] {
        for says in [ErrorKind::NotFound, ErrorKind::Unavailable] {
            let memory = Memory::new();
            memory.names_uploads(true);
            let mount = Mount::new(&memory);
            let create = |name: &[u8]| mount.vfs.create(Ino::ROOT, name, NEW, mount.now, NETWORK).unwrap().1.fh;
            // What permission bits the server gives is known from then on.
            let first = create(b"first");
            mount.write(first, 0, b"first");
            mount.close(first);
            let file = create(b"f");
            parts.iter().for_each(|(offset, part)| mount.write(file, *offset, part));
            take_back_the_next(&memory, says);
            mount.close(file);
            assert_eq!(memory.content("/f").unwrap(), content, "{parts:?}, {says:?}");
            assert!(memory.tree().keys().all(|path| !path.ends_with(".part")));
            // Nothing is wrong with temporary names.
            memory.take_calls();
            let last = create(b"last");
            mount.write(last, 0, b"last");
            mount.close(last);
            assert!(memory.take_calls().contains(&Call::Rename), "{parts:?}, {says:?}");
        }
    }
}

/// Where whatever has a temporary name is taken away by somebody, that way does not work.
#[test]
fn a_server_that_takes_everything_back_is_given_files_in_place() {
    for order in [[0, 1], [1, 0]] {
        let memory = Memory::new();
        let mount = Mount::new(&memory);
        let file = mount.vfs.create(Ino::ROOT, b"f", NEW, mount.now, NETWORK).unwrap().1.fh;
        order.into_iter().for_each(|part| mount.write(file, part, &b"ab"[part as usize..=part as usize]));
        // What was written in order is tried from memory before.
        (0..3).for_each(|_| take_back_the_next(&memory, ErrorKind::Unavailable));
        mount.close(file);
        assert_eq!(memory.content("/f").unwrap(), b"ab", "{order:?}");
    }
}

/// Before it is renamed, what was uploaded is gone, and the server `says` so.
fn take_back_the_next(memory: &Memory, says: ErrorKind) {
    let server = memory.clone();
    memory.at(Moment::Before(Call::Rename), move || {
        let temporary = server.tree().into_keys().find(|path| path.ends_with(".part")).unwrap();
        server.remove(&temporary).refuse_next(Call::Rename, says);
    });
}
