//! What gets to the server, when, and what is left where when it does not.

use crate::memory::{Call, Memory};
use ftpsfs::errno::Errno;
use ftpsfs::remote::ErrorKind;
use ftpsfs::vfs::error::Error;
use ftpsfs::vfs::filesystem::{Access, Fh, Looked, Patience};
use ftpsfs::vfs::inodes::Ino;
use ftpsfs::vfs::settings::{Conflict, IdMap, UploadWay};
use ftpsfs::vfs::writing::{Changes, Creation};
use ftpsfs::vfs::{Settings, Vfs};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

mod aside;
mod meanwhile;
mod renamed;
mod upset;

const NETWORK: Patience = Patience::Network;
const MIB: usize = 1 << 20;
const NEW: Creation = Creation { mode: 0o644, exclusive: false, truncate: false };

/// A file system over memory, with a recovery directory of its own that goes with it.
struct Mount {
    vfs: Vfs,
    memory: Memory,
    now: Instant,
    recovery: PathBuf,
}

impl Mount {
    fn new(memory: &Memory) -> Self {
        Self::with(memory, Settings::default())
    }

    fn with(memory: &Memory, settings: Settings) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let recovery = std::env::temp_dir().join(format!("ftpsfs-test-{}-{number}", std::process::id()));
        let settings = Settings { recovery_dir: recovery.clone(), umask: 0, host: "box".into(), ..settings };
        let vfs = Vfs::new(Arc::new(memory.clone()), settings);
        Self { vfs, memory: memory.clone(), now: Instant::now(), recovery }
    }

    fn lookup(&self, name: &str) -> Option<Ino> {
        match self.vfs.lookup(Ino::ROOT, name.as_bytes(), self.now, NETWORK).unwrap() {
            Looked::Up(entry) => Some(entry.ino),
            Looked::Absent(_) => None,
        }
    }

    fn create(&self, name: &str, creation: Creation) -> Result<(Ino, Fh), Error> {
        let (entry, opened) = self.vfs.create(Ino::ROOT, name.as_bytes(), creation, self.now, NETWORK)?;
        Ok((entry.ino, opened.fh))
    }

    fn new_file(&self, name: &str) -> Fh {
        self.create(name, NEW).unwrap().1
    }

    fn open(&self, name: &str, access: Access) -> Fh {
        self.vfs.open(self.lookup(name).unwrap(), access, self.now, NETWORK).unwrap().fh
    }

    fn write(&self, fh: Fh, offset: usize, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
        self.vfs.write(fh, offset as u64, bytes.as_ref(), self.now, NETWORK)
    }

    fn read(&self, fh: Fh) -> Vec<u8> {
        self.vfs.read(fh, 0, u32::MAX, self.now, NETWORK).unwrap().with(<[u8]>::to_vec)
    }

    fn flush(&self, fh: Fh) -> Result<(), Error> {
        self.vfs.flush(fh, self.now, NETWORK)
    }

    fn release(&self, fh: Fh) {
        self.vfs.release(fh, self.now, NETWORK).unwrap();
    }

    fn close(&self, fh: Fh) -> Result<(), Error> {
        let flushed = self.flush(fh);
        self.release(fh);
        flushed
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
        let fh = match self.lookup(name) {
            Some(_) => self.open(name, Access::Truncate),
            None => self.new_file(name),
        };
        self.write(fh, 0, bytes)?;
        self.close(fh)
    }

    fn size(&self, name: &str) -> u64 {
        self.vfs.getattr(self.lookup(name).unwrap(), self.now, NETWORK).unwrap().0.size
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        self.vfs.rename(Ino::ROOT, from.as_bytes(), Ino::ROOT, to.as_bytes(), false, self.now, NETWORK)
    }

    fn unlink(&self, name: &str) -> Result<(), Error> {
        self.vfs.unlink(Ino::ROOT, name.as_bytes(), self.now, NETWORK)
    }

    /// What was kept here, without the sidecars.
    fn recovered(&self) -> Vec<Vec<u8>> {
        let Ok(entries) = fs::read_dir(&self.recovery) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        let contents = paths.filter(|path| path.extension().is_none_or(|extension| extension != "json"));
        contents.map(|path| fs::read(path).unwrap()).collect()
    }

    /// The server's tree once nothing temporary is left in it, which background threads see to.
    fn settled(&self) -> BTreeMap<String, Option<Vec<u8>>> {
        settled(&self.memory)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.recovery);
    }
}

pub(crate) fn settled(memory: &Memory) -> BTreeMap<String, Option<Vec<u8>>> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let tree = memory.tree();
        if !tree.keys().any(|path| path.contains(".ftpsfs-") || path.contains(".replaced-")) {
            return tree;
        }
        assert!(Instant::now() < deadline, "temporaries stay: {:?}", tree.keys());
        thread::yield_now();
    }
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 251 + at) as u8).collect()
}

/// What is written in place begins to be uploaded under the file's name after a megabyte: a file that lost its name before
/// that could not be written to any more, and one that lost it after that stayed on the server.
#[test]
fn a_file_written_in_place_goes_on_when_it_loses_its_name() {
    for before in [0, 3 * MIB] {
        let memory = Memory::new();
        let mount = Mount::with(&memory, Settings { upload: UploadWay::Direct, ..Settings::default() });
        let fh = mount.new_file("a");
        mount.write(fh, 0, content(before)).unwrap();
        mount.unlink("a").unwrap();
        assert_eq!(mount.lookup("a"), None);
        mount.write(fh, before, content(3 * MIB)).unwrap();
        assert!(mount.read(fh) == [content(before), content(3 * MIB)].concat());
        mount.close(fh).unwrap();
        assert_eq!(mount.settled(), BTreeMap::new(), "after {before} bytes");
    }
}

#[test]
fn a_new_file_is_on_the_server_when_flush_returns_and_not_before() {
    let memory = Memory::new();
    let mount = Mount::new(&memory);
    let fh = mount.new_file("f");
    mount.write(fh, 0, "hello").unwrap();
    assert!(memory.tree().is_empty());
    assert_eq!(mount.size("f"), 5);
    assert_eq!(mount.read(fh), b"hello");
    mount.flush(fh).unwrap();
    assert_eq!(memory.content("/f").unwrap(), b"hello");
    assert_eq!(memory.take_calls(), [Call::Write, Call::Rename]);
    mount.close(fh).unwrap();
    assert_eq!(memory.take_calls(), []);
    assert_eq!(mount.settled().len(), 1);
}

#[test]
fn an_empty_new_file_is_created_too() {
    let memory = Memory::new();
    let mount = Mount::new(&memory);
    mount.close(mount.new_file("f")).unwrap();
    let fh = mount.new_file("g");
    mount.release(fh);
    assert_eq!(memory.tree().into_keys().collect::<Vec<_>>(), ["/f", "/g"]);
    mount.vfs.mknod(Ino::ROOT, b"h", 0o600, mount.now, NETWORK).unwrap();
    assert_eq!(memory.mode("/h"), Some(0o600));
}

#[test]
fn what_comes_in_order_streams_past_a_reader_who_needs_little_memory() {
    let memory = Memory::new();
    let mount = Mount::new(&memory);
    let bytes = content(20 * MIB);
    let fh = mount.new_file("f");
    for (number, chunk) in bytes.chunks(MIB).enumerate() {
        mount.write(fh, number * MIB, chunk).unwrap();
    }
    assert!(memory.tree().keys().all(|path| path.starts_with("/.ftpsfs-box-")));
    mount.close(fh).unwrap();
    assert!(memory.content("/f").unwrap() == bytes);
    assert_eq!(memory.take_calls(), [Call::Write, Call::Rename]);
}

#[test]
fn the_old_content_is_there_until_the_new_one_is_whole() {
    let memory = Memory::new();
    memory.file("/f", "old");
    let mount = Mount::new(&memory);
    let fh = mount.open("f", Access::Truncate);
    mount.write(fh, 0, content(12 * MIB)).unwrap();
    mount.write(fh, 12 * MIB, "x").unwrap();
    assert_eq!(memory.content("/f").unwrap(), b"old");
    mount.close(fh).unwrap();
    assert_eq!(memory.content("/f").unwrap().len(), 12 * MIB + 1);
    assert_eq!(mount.settled().len(), 1);
}

#[test]
fn what_comes_at_the_end_is_appended_and_nothing_is_fetched_or_sent_again() {
    let memory = Memory::new();
    memory.file("/f", "hello ");
    let mount = Mount::new(&memory);
    let fh = mount.open("f", Access::Write);
    mount.write(fh, 6, "wor").unwrap();
    mount.write(fh, 9, "ld").unwrap();
    mount.close(fh).unwrap();
    assert_eq!(memory.content("/f").unwrap(), b"hello world");
    assert_eq!(memory.take_calls(), [Call::Append]);
    assert_eq!(memory.counts().reads, 0);
}

#[test]
fn a_server_that_does_not_append_gets_all_of_it() {
    let memory = Memory::new();
    memory.file("/f", "hello ").lacks(Call::Append);
    let mount = Mount::new(&memory);
    let fh = mount.open("f", Access::Write);
    mount.write(fh, 6, "world").unwrap();
    mount.close(fh).unwrap();
    assert_eq!(mount.settled()["/f"].as_ref().unwrap(), b"hello world");
}

#[test]
fn writing_here_and_there_keeps_the_rest() {
    let memory = Memory::new();
    let mut expected = content(3 * MIB);
    memory.file("/f", expected.clone());
    let mount = Mount::new(&memory);
    let fh = mount.open("f", Access::Write);
    for at in [2 * MIB + 7, 5, MIB] {
        mount.write(fh, at, "xyz").unwrap();
        expected[at..at + 3].copy_from_slice(b"xyz");
        assert!(mount.read(fh) == expected);
    }
    mount.close(fh).unwrap();
    assert!(mount.settled()["/f"].as_ref().unwrap() == &expected);
}

#[test]
fn going_back_in_a_large_new_file_keeps_what_was_sent() {
    let memory = Memory::new();
    let mount = Mount::new(&memory);
    let mut expected = content(20 * MIB);
    let fh = mount.new_file("f");
    for (number, chunk) in expected.chunks(MIB).enumerate() {
        mount.write(fh, number * MIB, chunk).unwrap();
    }
    mount.write(fh, 3, "header").unwrap();
    expected[3..9].copy_from_slice(b"header");
    assert!(mount.read(fh) == expected);
    mount.close(fh).unwrap();
    assert!(mount.settled()["/f"].as_ref().unwrap() == &expected);
}

#[test]
fn truncate_works_to_any_size_with_and_without_a_handle() {
    let memory = Memory::new();
    memory.file("/f", "0123456789");
    let mount = Mount::new(&memory);
    let ino = mount.lookup("f").unwrap();
    let resize = |size, fh| {
        let changes = Changes { size: Some(size), ..Changes::default() };
        assert_eq!(mount.vfs.setattr(ino, fh, changes, mount.now, NETWORK).unwrap().0.size, size);
    };
    resize(4, None);
    assert_eq!(mount.settled()["/f"].as_ref().unwrap(), b"0123");
    resize(6, None);
    assert_eq!(mount.settled()["/f"].as_ref().unwrap(), b"0123\0\0");
    let fh = mount.open("f", Access::Write);
    resize(2, Some(fh));
    resize(3, Some(fh));
    assert_eq!(mount.read(fh), b"01\0");
    resize(0, Some(fh));
    mount.write(fh, 0, "new").unwrap();
    mount.close(fh).unwrap();
    assert_eq!(mount.settled()["/f"].as_ref().unwrap(), b"new");
    assert!(!mount.vfs.fallocate(mount.new_file("g"), 0, 9, 1, mount.now, NETWORK).unwrap_err().is_refusal());
}

#[test]
fn where_temporary_names_are_refused_files_are_written_in_place() {
    for (lacks, len) in
        [(Call::Temporary, 10), (Call::Temporary, 12 * MIB), (Call::Rename, 10), (Call::Rename, 12 * MIB)]
    {
        let memory = Memory::new();
        memory.file("/f", "old").lacks(lacks);
        let mount = Mount::new(&memory);
        let bytes = content(len);
        mount.put("f", &bytes).unwrap();
        assert!(mount.settled()["/f"].as_ref().unwrap() == &bytes);
        memory.take_calls();
        mount.put("g", "second").unwrap();
        // What was tried under a temporary name before may only now be found to be gone.
        let calls: Vec<Call> = memory.take_calls().into_iter().filter(|call| *call != Call::RemoveFile).collect();
        assert_eq!(calls, [Call::Write]);
        assert_eq!(memory.content("/g").unwrap(), b"second");
    }
}

#[test]
fn a_server_that_does_not_rename_over_files_is_worked_around() {
    let memory = Memory::new();
    memory.file("/f", "old").file("/g", "gold").lacks(Call::Replace);
    let mount = Mount::new(&memory);
    mount.put("f", "new").unwrap();
    mount.rename("f", "g").unwrap();
    let tree = mount.settled();
    assert_eq!((tree.len(), tree["/g"].as_ref().unwrap().as_slice()), (1, &b"new"[..]));
}

#[test]
fn in_place_means_in_place() {
    let memory = Memory::new();
    memory.file("/f", "old content");
    let mount = Mount::with(&memory, Settings { upload: UploadWay::Direct, ..Settings::default() });
    mount.put("f", "new").unwrap();
    mount.put("g", content(5 * MIB)).unwrap();
    assert_eq!(memory.take_calls(), [Call::Write, Call::Write]);
    let fh = mount.open("f", Access::Write);
    mount.write(fh, 1, "E").unwrap();
    mount.close(fh).unwrap();
    assert_eq!(memory.content("/f").unwrap(), b"nEw");
    let fh = mount.open("f", Access::Truncate);
    memory.file("/f", "theirs");
    assert_eq!(mount.write(fh, 0, content(2 * MIB)).unwrap_err().errno(), Errno::ESTALE);
    mount.write(fh, 0, "ours").unwrap();
    assert_eq!(mount.close(fh).unwrap_err().errno(), Errno::ESTALE);
    assert_eq!(memory.content("/f").unwrap(), b"theirs");
    assert!(memory.tree().keys().any(|path| path.starts_with("/f.conflict-box-")));
}

/// vsftpd locks a file for as long as it is downloaded: an append waited for 20 seconds, until a position that a reader had
/// left in the same file was closed for being idle.
#[test]
fn what_is_written_in_place_does_not_wait_for_downloads_that_nobody_reads() {
    for upload in [UploadWay::Temporary, UploadWay::Direct] {
        let memory = Memory::new();
        let old = content(12 * MIB);
        memory.file("/f", old.clone());
        let mount = Mount::with(&memory, Settings { upload, ..Settings::default() });
        let reader = mount.open("f", Access::Read);
        let writer = mount.open("f", Access::Write);
        let read = || mount.vfs.read(reader, 0, 4096, mount.now, NETWORK).unwrap().with(<[u8]>::to_vec);
        assert!(read() == old[..4096]);
        assert_eq!(memory.counts().open_downloads, 1);
        mount.write(writer, 12 * MIB, "appended").unwrap();
        memory.await_counts("closed before the append", |counts| counts.open_downloads == 0);
        mount.close(writer).unwrap();
        assert!(memory.content("/f").unwrap() == [&old[..], b"appended"].concat());
        // Over again from the beginning.
        if upload == UploadWay::Direct {
            assert!(read() == old[..4096]);
            assert_eq!(memory.counts().open_downloads, 1);
            let writer = mount.open("f", Access::Truncate);
            mount.write(writer, 0, content(2 * MIB)).unwrap();
            memory.await_counts("closed before it is overwritten", |counts| counts.open_downloads == 0);
            mount.close(writer).unwrap();
            assert!(memory.content("/f").unwrap() == content(2 * MIB));
        }
    }
}

#[test]
fn all_who_have_a_file_open_see_what_one_writes() {
    let memory = Memory::new();
    memory.file("/f", "hello world");
    let mount = Mount::new(&memory);
    let reader = mount.open("f", Access::Read);
    assert_eq!(mount.read(reader), b"hello world");
    let writer = mount.open("f", Access::Write);
    mount.write(writer, 0, "HE").unwrap();
    assert_eq!(mount.read(reader), b"HEllo world");
    let late = mount.open("f", Access::Read);
    assert_eq!(mount.read(late), b"HEllo world");
    mount.close(writer).unwrap();
    assert_eq!(mount.read(reader), b"HEllo world");
    mount.release(reader);
    mount.release(late);
    assert_eq!(memory.content("/f").unwrap(), b"HEllo world");
}

#[test]
fn an_unlinked_file_goes_on_for_those_who_have_it_open_and_then_goes() {
    let memory = Memory::new();
    memory.file("/f", content(MIB)).file("/g", "g");
    let mount = Mount::new(&memory);
    let (reader, writer) = (mount.open("f", Access::Read), mount.open("g", Access::Write));
    mount.write(writer, 1, "!").unwrap();
    let fresh = mount.new_file("h");
    mount.write(fresh, 0, "h").unwrap();
    ["f", "g", "h"].iter().for_each(|name| mount.unlink(name).unwrap());
    assert_eq!(["f", "g", "h"].map(|name| mount.lookup(name)), [None; 3]);
    assert!(mount.read(reader) == content(MIB));
    assert_eq!((mount.read(writer), mount.read(fresh)), (b"g!".to_vec(), b"h".to_vec()));
    mount.write(writer, 5, "x").unwrap();
    mount.write(fresh, 9, "x").unwrap();
    assert_eq!(mount.read(writer), b"g!\0\0\0x");
    [reader, writer, fresh].iter().for_each(|fh| mount.close(*fh).unwrap());
    assert!(mount.settled().is_empty());
}

#[test]
fn what_is_written_follows_the_file_to_its_new_name() {
    let memory = Memory::new();
    memory.file("/f", "old").directory("/d");
    let mount = Mount::new(&memory);
    let fh = mount.open("f", Access::Write);
    mount.write(fh, 1, "x").unwrap();
    let d = mount.lookup("d").unwrap();
    mount.vfs.rename(Ino::ROOT, b"f", d, b"g", false, mount.now, NETWORK).unwrap();
    mount.rename("d", "e").unwrap();
    mount.close(fh).unwrap();
    let tree = mount.settled();
    assert_eq!(tree.keys().collect::<Vec<_>>(), ["/e", "/e/g"]);
    assert_eq!(tree["/e/g"].as_ref().unwrap(), b"oxd");
    let fresh = mount.new_file("n");
    mount.write(fresh, 0, "n").unwrap();
    mount.rename("n", "m").unwrap();
    mount.write(fresh, 1, "m").unwrap();
    mount.close(fresh).unwrap();
    assert_eq!(mount.settled()["/m"].as_ref().unwrap(), b"nm");
    let kept = mount.vfs.rename(Ino::ROOT, b"m", mount.lookup("e").unwrap(), b"g", true, mount.now, NETWORK);
    assert_eq!(kept.unwrap_err().errno(), Errno::EEXIST);
}

#[test]
fn time_and_mode_that_are_set_while_writing_reach_the_server() {
    let memory = Memory::new();
    memory.file("/f", "old");
    let mount = Mount::new(&memory);
    let fh = mount.open("f", Access::Truncate);
    let ino = mount.lookup("f").unwrap();
    mount.write(fh, 0, "new").unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_234_567_890);
    let changes = Changes { modified: Some(time), mode: Some(0o100_600), ..Changes::default() };
    let (attr, _) = mount.vfs.setattr(ino, Some(fh), changes, mount.now, NETWORK).unwrap();
    assert_eq!((attr.modified, attr.mode), (time, 0o600));
    mount.close(fh).unwrap();
    let (attr, _) = mount.vfs.getattr(ino, mount.now, NETWORK).unwrap();
    assert_eq!((attr.modified, attr.mode, memory.mode("/f")), (time, 0o600, Some(0o600)));
    let changes = Changes { mode: Some(0o640), modified: Some(time + Duration::from_secs(1)), ..Changes::default() };
    let (attr, _) = mount.vfs.setattr(ino, None, changes, mount.now, NETWORK).unwrap();
    assert_eq!((attr.modified, attr.mode), (time + Duration::from_secs(1), 0o640));
}

#[test]
fn what_the_server_cannot_do_is_not_permitted_unless_it_is_to_be_ignored() {
    for ignore_perms in [false, true] {
        let memory = Memory::new();
        memory.file("/f", "x").lacks(Call::SetMode).lacks(Call::Symlink);
        let mount = Mount::with(&memory, Settings { ignore_perms, ..Settings::default() });
        let ino = mount.lookup("f").unwrap();
        for changes in [
            Changes { mode: Some(0o600), ..Changes::default() },
            Changes { uid: Some(7), ..Changes::default() },
            Changes { gid: Some(7), ..Changes::default() },
        ] {
            let set = mount.vfs.setattr(ino, None, changes, mount.now, NETWORK);
            assert_eq!(set.is_ok(), ignore_perms, "{changes:?}");
            assert!(set.is_ok() || set.unwrap_err().errno() == Errno::EPERM);
        }
        let none = Changes { mode: Some(0o644), uid: Some(0), ..Changes::default() };
        mount.vfs.setattr(ino, None, none, mount.now, NETWORK).unwrap();
        let link = mount.vfs.symlink(Ino::ROOT, b"l", b"f", mount.now, NETWORK);
        assert_eq!(link.unwrap_err().errno(), Errno::EPERM);
    }
}

/// The server's own numbers showed for what had just been changed, and `cp -a` and rsync failed to keep the owner.
#[test]
fn what_was_changed_belongs_to_whom_all_else_belongs() {
    for (idmap, owner) in [(IdMap::None, (7, 8)), (IdMap::Numeric, (1001, 1002))] {
        let memory = Memory::new();
        memory.file("/f", "old");
        let mount = Mount::with(&memory, Settings { uid: 7, gid: 8, idmap, ..Settings::default() });
        mount.put("f", "new").unwrap();
        mount.put("g", "new").unwrap();
        mount.vfs.mkdir(Ino::ROOT, b"d", 0o755, mount.now, NETWORK).unwrap();
        let fh = mount.open("g", Access::Write);
        mount.write(fh, 0, "written").unwrap();
        for name in ["f", "g", "d"] {
            let ino = mount.lookup(name).unwrap();
            let modified = Some(SystemTime::UNIX_EPOCH);
            for changes in [Changes::default(), Changes { mode: Some(0o600), modified, ..Changes::default() }] {
                let (attr, _) = mount.vfs.setattr(ino, None, changes, mount.now, NETWORK).unwrap();
                assert_eq!((attr.uid, attr.gid), owner, "{name} {idmap:?} {changes:?}");
            }
        }
        mount.close(fh).unwrap();
    }
}

#[test]
fn directories_come_and_go_and_what_is_new_is_known() {
    let memory = Memory::new();
    let mount = Mount::new(&memory);
    let d = mount.vfs.mkdir(Ino::ROOT, b"d", 0o755, mount.now, NETWORK).unwrap().ino;
    assert_eq!(mount.vfs.mkdir(Ino::ROOT, b"d", 0o755, mount.now, NETWORK).unwrap_err().errno(), Errno::EEXIST);
    let before = memory.counts();
    assert!(matches!(mount.vfs.lookup(d, b"x", mount.now, Patience::CacheOnly), Ok(Looked::Absent(_))));
    let (entry, opened) = mount.vfs.create(d, b"x", NEW, mount.now, Patience::CacheOnly).unwrap();
    assert_eq!(memory.counts(), before);
    let error = mount.vfs.rmdir(Ino::ROOT, b"d", mount.now, NETWORK).unwrap_err();
    assert_eq!(error.errno(), Errno::ENOTEMPTY);
    let listed = mount.vfs.opendir(d, mount.now, NETWORK).unwrap().fh;
    let mut names = Vec::new();
    let add = |line: &ftpsfs::vfs::filesystem::DirectoryEntry<'_>| {
        names.push(line.name.to_vec());
        false
    };
    mount.vfs.readdir(listed, 0, mount.now, add).unwrap();
    assert_eq!(names, [&b"."[..], b"..", b"x"]);
    mount.close(opened.fh).unwrap();
    assert_eq!(mount.vfs.getattr(entry.ino, mount.now, Patience::CacheOnly).unwrap().0.size, 0);
    mount.vfs.unlink(d, b"x", mount.now, NETWORK).unwrap();
    mount.vfs.rmdir(Ino::ROOT, b"d", mount.now, NETWORK).unwrap();
    assert_eq!(mount.lookup("d"), None);
    assert!(memory.tree().is_empty());
}

/// Pure-FTPd has a file under such a name in the middle of `DELE`, and keeps it if it is killed then.
#[test]
fn what_a_server_is_about_to_delete_is_not_shown_and_holds_no_directory() {
    let memory = Memory::new();
    memory.directory("/d").file("/d/.pureftpd-rename.78.25609253", "gone").file("/d/f", "content");
    let mount = Mount::new(&memory);
    let directory = mount.lookup("d").unwrap();
    let listed = mount.vfs.opendir(directory, mount.now, NETWORK).unwrap().fh;
    let mut names = Vec::new();
    let add = |line: &ftpsfs::vfs::filesystem::DirectoryEntry<'_>| {
        names.push(line.name.to_vec());
        false
    };
    mount.vfs.readdir(listed, 2, mount.now, add).unwrap();
    assert_eq!(names, [b"f"]);
    assert_eq!(mount.vfs.rmdir(Ino::ROOT, b"d", mount.now, NETWORK).unwrap_err().errno(), Errno::ENOTEMPTY);
    mount.vfs.unlink(directory, b"f", mount.now, NETWORK).unwrap();
    mount.vfs.rmdir(Ino::ROOT, b"d", mount.now, NETWORK).unwrap();
    assert!(memory.tree().is_empty());
}

#[test]
fn temporaries_are_never_shown_and_ours_are_swept_when_they_are_old() {
    let memory = Memory::new();
    memory.file("/.ftpsfs-box-50000000-1.part", "ours, old").file("/.ftpsfs-other-50000000-1.part", "theirs");
    memory.directory("/d").file("/d/.ftpsfs-box-50000000-2.part", "ours, old").file("/f", "");
    let mount = Mount::new(&memory);
    let listed = mount.vfs.opendir(Ino::ROOT, mount.now, NETWORK).unwrap().fh;
    let mut names = Vec::new();
    let add = |line: &ftpsfs::vfs::filesystem::DirectoryEntry<'_>| {
        names.push(String::from_utf8(line.name.to_vec()).unwrap());
        false
    };
    mount.vfs.readdir(listed, 0, mount.now, add).unwrap();
    assert_eq!(names, [".", "..", "d", "f"]);
    mount.vfs.rmdir(Ino::ROOT, b"d", mount.now, NETWORK).unwrap();
    memory.await_counts("swept", |counts| counts.changes >= 3);
    let deadline = Instant::now() + Duration::from_secs(10);
    while memory.tree().len() > 2 && Instant::now() < deadline {
        thread::yield_now();
    }
    assert_eq!(memory.tree().into_keys().collect::<Vec<_>>(), ["/.ftpsfs-other-50000000-1.part", "/f"]);
    assert_eq!(mount.create(".ftpsfs-box-50000000-1.part", NEW).unwrap_err().errno(), Errno::EINVAL);
    assert_eq!(mount.create(&"x".repeat(256), NEW).unwrap_err().errno(), Errno::ENAMETOOLONG);
    assert_eq!(mount.create("a\nb", NEW).unwrap_err().errno(), Errno::EINVAL);
}
