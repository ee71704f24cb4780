//! What waits in the journal, what gets out of it, and what a machine that stops leaves in it.

use crate::memory::{Call, Memory};
use crate::writing::settled;
use ftpsfs::errno::Errno;
use ftpsfs::path::RemotePath;
use ftpsfs::remote::{ErrorKind, Remote as _};
use ftpsfs::vfs::error::Error;
use ftpsfs::vfs::filesystem::{Access, Fh, Looked, Patience};
use ftpsfs::vfs::inodes::Ino;
use ftpsfs::vfs::journal::Journal;
use ftpsfs::vfs::settings::UploadWay;
use ftpsfs::vfs::writeback::Backlog;
use ftpsfs::vfs::writing::{Changes, Creation};
use ftpsfs::vfs::{Settings, Vfs};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

mod resumed;

const NETWORK: Patience = Patience::Network;
const NEW: Creation = Creation { mode: 0o644, exclusive: false, truncate: false };

/// A file system with a journal, over memory.
struct Mount {
    vfs: Vfs,
    now: Instant,
    /// Removed with all that is in it.
    disk: Disk,
}

/// A directory of its own, with a journal and what is kept for recovery.
struct Disk(PathBuf);

impl Disk {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("ftpsfs-writeback-{}-{number}", std::process::id())))
    }

    fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    fn recovery(&self) -> PathBuf {
        self.0.join("recovery")
    }

    /// The disk as it is at this moment.
    fn copy(&self) -> Self {
        let copy = Self::new();
        copy_journal(&self.journal(), &copy.journal()).unwrap();
        copy
    }

    /// What waits in the journal, by its records.
    fn records(&self) -> usize {
        let names = fs::read_dir(self.journal()).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|extension| extension == "json")).count()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The files of a journal as they are, in another directory. Where one is renamed under our hands it is begun anew.
pub(crate) fn copy_journal(from: &Path, to: &Path) -> io::Result<PathBuf> {
    let mut attempts = 100;
    loop {
        attempts -= 1;
        match copy_files(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempts > 0 => {}
            copied => return copied.map(|()| to.to_owned()),
        }
    }
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// The journal, once the uploads of who had it before have ended.
pub(crate) fn open_journal(directory: &Path) -> Journal {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match Journal::open(directory) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

impl Mount {
    fn new(memory: &Memory) -> Self {
        Self::on(memory, Disk::new(), Settings::default())
    }

    fn on(memory: &Memory, disk: Disk, settings: Settings) -> Self {
        let mount = Self::resumed(memory, disk, settings, Vfs::resume);
        // From here on it is known which names there are.
        let root = mount.vfs.opendir(Ino::ROOT, mount.now, NETWORK).unwrap();
        mount.vfs.releasedir(root.fh).unwrap();
        mount
    }

    /// The server need not be there.
    fn resumed(memory: &Memory, disk: Disk, settings: Settings, resume: fn(&Vfs, Instant)) -> Self {
        let settings =
            Settings { writeback: true, recovery_dir: disk.recovery(), umask: 0, host: "box".into(), ..settings };
        let vfs = Vfs::with_journal(Arc::new(memory.clone()), settings, Some(open_journal(&disk.journal())));
        let now = Instant::now();
        resume(&vfs, now);
        Self { vfs, now, disk }
    }

    fn lookup(&self, name: &str) -> Option<Ino> {
        match self.vfs.lookup(Ino::ROOT, name.as_bytes(), self.now, NETWORK).unwrap() {
            Looked::Up(entry) => Some(entry.ino),
            Looked::Absent(_) => None,
        }
    }

    fn open(&self, name: &str, access: Access) -> Fh {
        match self.lookup(name) {
            Some(ino) => self.vfs.open(ino, access, self.now, NETWORK).unwrap().fh,
            None => self.vfs.create(Ino::ROOT, name.as_bytes(), NEW, self.now, NETWORK).unwrap().1.fh,
        }
    }

    fn write(&self, fh: Fh, at: u64, bytes: &[u8]) {
        self.vfs.write(fh, at, bytes, self.now, NETWORK).unwrap();
    }

    fn close(&self, fh: Fh) -> Result<(), Error> {
        let flushed = self.vfs.flush(fh, self.now, NETWORK);
        self.vfs.release(fh, self.now, NETWORK).unwrap();
        flushed
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let fh = self.open(name, Access::Truncate);
        self.write(fh, 0, bytes);
        self.close(fh).unwrap();
    }

    fn get(&self, name: &str) -> Vec<u8> {
        let fh = self.open(name, Access::Read);
        let bytes = self.vfs.read(fh, 0, u32::MAX, self.now, NETWORK).unwrap().with(<[u8]>::to_vec);
        self.vfs.release(fh, self.now, NETWORK).unwrap();
        bytes
    }

    fn rename(&self, from: &str, to: &str) {
        self.vfs.rename(Ino::ROOT, from.as_bytes(), Ino::ROOT, to.as_bytes(), false, self.now, NETWORK).unwrap();
    }

    fn unlink(&self, name: &str) {
        self.vfs.unlink(Ino::ROOT, name.as_bytes(), self.now, NETWORK).unwrap();
    }

    fn drained(&self) -> &Self {
        assert_eq!(self.vfs.drain(|_| false), Backlog::default());
        assert_eq!(self.disk.records(), 0);
        self
    }

    /// What was kept because it could not be uploaded, without the texts beside it.
    fn recovered(&self) -> Vec<Vec<u8>> {
        let Ok(entries) = fs::read_dir(self.disk.recovery()) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        let contents = paths.filter(|path| path.extension().is_none_or(|extension| extension != "json"));
        contents.map(|path| fs::read(path).unwrap()).collect()
    }
}

/// A tree without the temporary files of whoever stopped.
fn tree(memory: &Memory) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut tree = memory.tree();
    tree.retain(|path, _| !path.contains(".ftpsfs-"));
    tree
}

fn expected<const N: usize>(files: [(&str, &[u8]); N]) -> BTreeMap<String, Option<Vec<u8>>> {
    files.into_iter().map(|(path, content)| (path.to_owned(), Some(content.to_vec()))).collect()
}

#[test]
fn close_returns_while_the_server_is_away_and_the_upload_follows() {
    let memory = Memory::new();
    memory.file("/old", "before");
    let mount = Mount::new(&memory);
    let (old, new) = (mount.open("old", Access::Truncate), mount.open("new", Access::Write));
    memory.close_gate();
    for fh in [old, new] {
        mount.write(fh, 0, b"after");
        mount.close(fh).unwrap();
    }
    assert_eq!((mount.get("new"), mount.get("old")), (b"after".to_vec(), b"after".to_vec()));
    assert_eq!(mount.vfs.backlog(), Backlog { files: 2, bytes: 10, failed: 0 });
    assert_eq!(memory.content("/old").unwrap(), b"before");
    memory.open_gate();
    mount.drained();
    assert_eq!(settled(&memory), expected([("/old", b"after"), ("/new", b"after")]));
}

#[test]
fn fsync_waits_for_the_server_and_tells_its_refusal_and_the_journal_goes_on() {
    let memory = Memory::new();
    let mount = Mount::new(&memory);
    let fh = mount.open("a", Access::Write);
    mount.write(fh, 0, b"content");
    memory.room(Some(0));
    assert_eq!(mount.vfs.fsync(fh, mount.now, NETWORK).unwrap_err().errno(), Errno::ENOSPC);
    assert_eq!(mount.vfs.backlog().files, 1);
    memory.room(None);
    mount.vfs.fsync(fh, mount.now, NETWORK).unwrap();
    assert_eq!(memory.content("/a").unwrap(), b"content");
    mount.close(fh).unwrap();
    mount.drained();
}

#[test]
fn fsync_of_a_directory_waits_for_all_that_was_closed_in_it() {
    let memory = Memory::new();
    let mount = Mount::new(&memory);
    let fh = mount.open("a", Access::Write);
    mount.write(fh, 0, b"content");
    memory.close_gate();
    mount.close(fh).unwrap();
    memory.await_blocked(1);
    assert_eq!(mount.vfs.fsyncdir(Ino::ROOT, mount.now, Patience::CacheOnly), Err(Error::WouldBlock));
    memory.open_gate();
    mount.vfs.fsyncdir(Ino::ROOT, mount.now, NETWORK).unwrap();
    assert_eq!(memory.content("/a").unwrap(), b"content");
    memory.lacks(Call::Write);
    mount.put("b", b"refused");
    assert_eq!(mount.vfs.fsyncdir(Ino::ROOT, mount.now, NETWORK).unwrap_err().errno(), Errno::ENOTSUP);
    memory.heal();
    mount.vfs.fsyncdir(Ino::ROOT, mount.now, NETWORK).unwrap();
    assert_eq!(memory.content("/b").unwrap(), b"refused");
}

/// A machine that stops at each call that the server hears while something waits, and the server as it then is.
#[derive(Clone, Default)]
struct Stops(Arc<Mutex<Vec<(Disk, Memory)>>>);

impl Stops {
    fn watch(memory: &Memory, journal: PathBuf) -> Self {
        let stops = Self::default();
        memory.on_call({
            let (stops, server) = (stops.clone(), memory.clone());
            move || stops.note(&journal, &server)
        });
        stops
    }

    fn note(&self, journal: &Path, server: &Memory) {
        let copy = Disk::new();
        copy_journal(journal, &copy.journal()).unwrap();
        // Before that nothing was closed.
        if copy.records() > 0 {
            self.0.lock().unwrap().push((copy, server.fork()));
        }
    }

    fn take(&self) -> Vec<(Disk, Memory)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// The machine stops before each of the calls that an upload makes, and at its end; and once more before each of the calls
/// that the next mount makes then. That mount removed what it found uploaded, and a file as long as that was taken for it by
/// the one after it.
#[test]
fn a_machine_that_stops_anywhere_in_an_upload_and_again_neither_loses_nor_doubles_it() {
    for upload in [UploadWay::Temporary, UploadWay::Direct] {
        for (what, make) in [
            ("a new file", (|mount: &Mount| mount.put("a", b"new content")) as fn(&Mount)),
            ("another content", |mount| mount.put("old", b"new content")),
            ("a part", |mount| {
                let fh = mount.open("old", Access::Write);
                mount.write(fh, 2, b"XY");
                mount.close(fh).unwrap();
            }),
            ("the same size", |mount| mount.put("old", b"0123456789")),
        ] {
            let memory = Memory::new();
            memory.file("/old", "old file's");
            let settings = Settings { upload, ..Settings::default() };
            let mount = Mount::on(&memory, Disk::new(), settings.clone());
            let stops = Stops::watch(&memory, mount.disk.journal());
            make(&mount);
            mount.drained();
            memory.on_call(|| {});
            let after = settled(&memory);
            let mut stops = stops.take();
            stops.push((mount.disk.copy(), memory.fork()));
            assert!(stops.len() > 3, "{what}: {} stops", stops.len());
            for (number, (disk, server)) in stops.into_iter().enumerate() {
                let stopped = format!("{what}, {upload:?}, stopped before call {number}");
                let again = Stops::watch(&server, disk.journal());
                let next = Mount::on(&server, disk, settings.clone());
                next.drained();
                server.on_call(|| {});
                assert_eq!(tree(&server), after, "{stopped}");
                assert!(next.recovered().is_empty());
                for (number, (disk, server)) in again.take().into_iter().enumerate() {
                    let last = Mount::on(&server, disk, settings.clone());
                    last.drained();
                    assert_eq!(tree(&server), after, "{stopped} and again before call {number}");
                    assert!(last.recovered().is_empty());
                }
            }
        }
    }
}

/// What had been uploaded and could not be renamed was removed, and the journal went on to tell that it was to be renamed: a
/// file as long as that was taken for it once the machine had stopped while it was uploaded again.
#[test]
fn a_machine_that_stops_after_a_renaming_failed_loses_nothing() {
    for kind in [ErrorKind::NoSpace, ErrorKind::Lost, ErrorKind::PermissionDenied] {
        let memory = Memory::new();
        memory.file("/old", "old file's");
        let mount = Mount::on(&memory, Disk::new(), Settings::default());
        let stops = Stops::watch(&memory, mount.disk.journal());
        memory.refuse_next(Call::Rename, kind);
        mount.put("old", b"0123456789");
        mount.drained();
        memory.on_call(|| {});
        let after = expected([("/old", b"0123456789")]);
        assert_eq!(settled(&memory), after);
        for (number, (disk, server)) in stops.take().into_iter().enumerate() {
            let next = Mount::on(&server, disk, Settings::default());
            next.drained();
            assert_eq!(tree(&server), after, "{kind:?}, stopped before call {number}");
        }
    }
}

#[test]
fn what_is_written_again_is_what_was_closed_until_it_is_closed_again() {
    let memory = Memory::new();
    let mount = Mount::new(&memory);
    memory.close_gate();
    let fh = mount.open("a", Access::Write);
    mount.write(fh, 0, b"first");
    mount.vfs.flush(fh, mount.now, NETWORK).unwrap();
    mount.write(fh, 0, b"SECOND");
    let (stopped, server) = (mount.disk.copy(), Memory::new());
    let next = Mount::on(&server, stopped, Settings::default());
    assert_eq!(next.get("a"), b"first");
    next.drained();
    assert_eq!(settled(&server), expected([("/a", b"first")]));
    mount.close(fh).unwrap();
    assert_eq!((mount.disk.records(), mount.get("a")), (1, b"SECOND".to_vec()));
    memory.open_gate();
    mount.drained();
    assert_eq!(settled(&memory), expected([("/a", b"SECOND")]));
}

#[test]
fn what_waits_is_renamed_and_removed_without_the_server() {
    let memory = Memory::new();
    memory.file("/target", "older").file("/gone", "x");
    let mount = Mount::new(&memory);
    memory.close_gate();
    for name in ["one", "two", "three"] {
        mount.put(name, name.as_bytes());
    }
    mount.rename("one", "target");
    mount.rename("two", "four");
    mount.unlink("three");
    assert_eq!((mount.get("target"), mount.get("four"), mount.lookup("three")), (b"one".into(), b"two".into(), None));
    let stopped = mount.disk.copy();
    let server = memory.fork();
    Mount::on(&server, stopped, Settings::default()).drained();
    memory.open_gate();
    mount.drained();
    for memory in [&memory, &server] {
        assert_eq!(tree(memory), expected([("/target", b"one"), ("/four", b"two"), ("/gone", b"x")]));
    }
}

/// The machine stops when what was renamed is recorded under its new name, and what it replaced is still recorded, too.
#[test]
fn what_was_renamed_over_something_holds_though_its_content_is_older() {
    let memory = Memory::new();
    let mount = Mount::new(&memory);
    memory.close_gate();
    mount.put("older", b"older");
    mount.put("newer", b"newer");
    let before = mount.disk.copy();
    mount.rename("older", "newer");
    let after = mount.disk.copy();
    memory.open_gate();
    for entry in fs::read_dir(after.journal()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), before.journal().join(entry.file_name())).unwrap();
    }
    assert_eq!(before.records(), 2);
    let server = Memory::new();
    Mount::on(&server, before, Settings::default()).drained();
    mount.drained();
    for memory in [&memory, &server] {
        assert_eq!(tree(memory), expected([("/newer", b"older")]));
    }
}

#[test]
fn a_renamed_directory_takes_what_waits_in_it_along() {
    let memory = Memory::new();
    memory.directory("/d").file("/d/a", "older");
    let mount = Mount::new(&memory);
    let d = mount.lookup("d").unwrap();
    memory.lacks(Call::Write);
    let (_, opened) = mount.vfs.create(d, b"b", NEW, mount.now, NETWORK).unwrap();
    mount.write(opened.fh, 0, b"new");
    mount.close(opened.fh).unwrap();
    mount.rename("d", "e");
    let stopped = mount.disk.copy();
    memory.heal();
    let server = memory.fork();
    Mount::on(&server, stopped, Settings::default()).drained();
    mount.drained();
    for memory in [&memory, &server] {
        assert_eq!(memory.content("/e/b").unwrap(), b"new");
        assert_eq!(memory.content("/e/a").unwrap(), b"older");
    }
}

#[test]
fn attributes_set_while_it_waits_arrive_and_do_not_change_afterwards() {
    let memory = Memory::new();
    let mount = Mount::new(&memory);
    memory.lacks(Call::Write);
    mount.put("a", b"content");
    let ino = mount.lookup("a").unwrap();
    let modified = |vfs: &Vfs, ino| vfs.getattr(ino, Instant::now(), NETWORK).unwrap().0.modified;
    let as_closed = modified(&mount.vfs, ino);
    assert!(as_closed <= SystemTime::now());
    let set = SystemTime::UNIX_EPOCH + Duration::from_secs(1_234_567_890);
    let changes = Changes { mode: Some(0o600), modified: Some(set), ..Changes::default() };
    mount.vfs.setattr(ino, None, changes, mount.now, NETWORK).unwrap();
    let stopped = mount.disk.copy();
    memory.heal();
    let server = memory.fork();
    Mount::on(&server, stopped, Settings::default()).drained();
    mount.drained();
    assert_eq!(modified(&mount.vfs, ino), set);
    for memory in [&memory, &server] {
        let told = memory.stat(&RemotePath::parse(b"/a").unwrap()).unwrap();
        assert_eq!((told.modified.unwrap().time, told.mode), (set, Some(0o600)));
    }
    mount.put("b", b"content");
    let ino = mount.lookup("b").unwrap();
    let before = modified(&mount.vfs, ino);
    mount.drained();
    assert_eq!(modified(&mount.vfs, ino), before);
}

#[test]
fn a_file_that_changed_on_the_server_is_not_overwritten_and_ours_is_beside_it() {
    let memory = Memory::new();
    memory.file("/a", "theirs, old");
    let mount = Mount::new(&memory);
    let fh = mount.open("a", Access::Truncate);
    mount.write(fh, 0, b"ours");
    memory.file("/a", "theirs, new");
    mount.close(fh).unwrap();
    mount.drained();
    let tree = settled(&memory);
    assert_eq!(tree["/a"].as_deref(), Some(&b"theirs, new"[..]));
    let aside = tree.iter().find(|(path, _)| path.starts_with("/a.conflict-box-")).expect("ours is beside it");
    assert_eq!(aside.1.as_deref(), Some(&b"ours"[..]));
    assert_eq!(mount.get("a"), b"theirs, new");
}

#[test]
fn a_refusal_is_tried_again_and_at_the_end_it_stays_for_the_next_mount() {
    let memory = Memory::new();
    let mount = Mount::new(&memory);
    memory.room(Some(0));
    mount.put("a", b"content");
    let mut seen = 0;
    let left = mount.vfs.drain(|backlog| {
        seen = seen.max(backlog.failed);
        false
    });
    assert_eq!((left.files, seen), (1, 1));
    let Mount { vfs, disk, .. } = mount;
    drop(vfs);
    memory.room(None);
    Mount::on(&memory, disk, Settings::default()).drained();
    assert_eq!(settled(&memory), expected([("/a", b"content")]));
}

#[test]
fn what_has_no_place_any_more_stays_in_the_journal() {
    let memory = Memory::new();
    memory.directory("/d");
    let mount = Mount::new(&memory);
    let d = mount.lookup("d").unwrap();
    memory.lacks(Call::Write);
    let (_, opened) = mount.vfs.create(d, b"a", NEW, mount.now, NETWORK).unwrap();
    mount.write(opened.fh, 0, b"content");
    mount.close(opened.fh).unwrap();
    let server = Memory::new();
    let next = Mount::on(&server, mount.disk.copy(), Settings::default());
    assert_eq!((next.vfs.drain(|_| false).files, next.disk.records()), (0, 1));
    server.directory("/d");
    let Mount { vfs, disk, .. } = next;
    drop(vfs);
    Mount::on(&server, disk, Settings::default()).drained();
    assert_eq!(server.content("/d/a").unwrap(), b"content");
    memory.heal();
    mount.drained();
}

#[test]
fn a_journal_belongs_to_one_and_what_it_cannot_read_stays() {
    let disk = Disk::new();
    let journal = Journal::open(&disk.journal()).unwrap();
    assert_eq!(Journal::open(&disk.journal()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(journal);
    let path = |name: &str| disk.journal().join(name);
    fs::write(path("0000000000000007.content"), "never promised").unwrap();
    fs::write(path("0000000000000008.content"), "promised").unwrap();
    fs::write(path("0000000000000008.json"), "{ cut of").unwrap();
    let memory = Memory::new();
    let mount = Mount::on(&memory, disk, Settings::default());
    mount.put("a", b"content");
    mount.vfs.drain(|_| false);
    assert_eq!(memory.content("/a").unwrap(), b"content");
    let mut names: Vec<_> =
        fs::read_dir(mount.disk.journal()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["0000000000000008.content", "0000000000000008.json", "lock"]);
}

#[test]
fn without_the_option_what_waits_is_uploaded_and_closing_waits_again() {
    let memory = Memory::new();
    let mount = Mount::new(&memory);
    memory.fail_next(ErrorKind::Lost).lacks(Call::Write);
    mount.put("a", b"first");
    let disk = mount.disk.copy();
    let journal = Journal::open(&disk.journal()).unwrap();
    let server = Memory::new();
    let vfs = Vfs::with_journal(Arc::new(server.clone()), Settings::default(), Some(journal));
    vfs.resume(Instant::now());
    let now = Instant::now();
    let Looked::Up(entry) = vfs.lookup(Ino::ROOT, b"a", now, NETWORK).unwrap() else { panic!("a is absent") };
    let fh = vfs.open(entry.ino, Access::Write, now, NETWORK).unwrap().fh;
    vfs.write(fh, 5, b" and second", now, NETWORK).unwrap();
    vfs.flush(fh, now, NETWORK).unwrap();
    assert_eq!(server.content("/a").unwrap(), b"first and second");
    vfs.release(fh, now, NETWORK).unwrap();
    assert_eq!(vfs.drain(|_| false), Backlog::default());
}
