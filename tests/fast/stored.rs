//! The cache on disk, as a file system uses it: what it spares, and that it never gives what is not there any more.

use crate::memory::Memory;
use ftpsfs::remote::ErrorKind;
use ftpsfs::vfs::filesystem::{Access, DirectoryEntry, Entry, Fh, Looked, Patience, Summary};
use ftpsfs::vfs::inodes::Ino;
use ftpsfs::vfs::settings::UploadWay;
use ftpsfs::vfs::writing::{Changes, Creation};
use ftpsfs::vfs::{DiskCache, Settings, Vfs};
use proptest::prelude::*;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

const NETWORK: Patience = Patience::Network;
const WAIT_MAX: Duration = Duration::from_secs(20);
const BLOCK: usize = 128 * 1024;

/// A directory for a cache; it goes with its value.
pub(crate) struct CacheDir(PathBuf);

impl CacheDir {
    pub(crate) fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ftpsfs-stored-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// What a crash would leave of a cache.
    fn copy(from: &Path) -> Self {
        fn copy(from: &Path, to: &Path) {
            for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
                let (from, to) = (entry.path(), to.join(entry.file_name()));
                if from.is_dir() {
                    DirBuilder::new().mode(0o700).create(&to).unwrap();
                    copy(&from, &to);
                } else {
                    fs::copy(&from, &to).unwrap();
                }
            }
        }
        let copied = Self::new();
        copy(from, &copied.0);
        copied
    }

    pub(crate) fn open(&self, scope: &str) -> DiskCache {
        DiskCache::open(&self.0, 1 << 30, scope.as_bytes()).unwrap()
    }

    /// All files in it.
    fn files(&self) -> Vec<PathBuf> {
        fn collect(path: &Path, files: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() { collect(&entry, files) } else { files.push(entry) }
            }
        }
        let mut files = Vec::new();
        collect(&self.0, &mut files);
        files
    }
}

impl Drop for CacheDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A mount that keeps next to nothing in memory.
struct Mount {
    vfs: Vfs,
    now: Instant,
}

impl Mount {
    fn new(memory: &Memory, cache: &CacheDir) -> Self {
        Self::of(memory, cache.open("joe"))
    }

    fn of(memory: &Memory, disk: DiskCache) -> Self {
        Self::caching(memory, disk, 1)
    }

    /// One that keeps so many bytes in memory.
    fn caching(memory: &Memory, disk: DiskCache, cache_bytes_max: usize) -> Self {
        let settings = Settings { cache_bytes_max, umask: 0, host: "box".into(), ..Settings::default() };
        let vfs = Vfs::with_disk(Arc::new(memory.clone()), settings, None, Some(disk));
        Self { vfs, now: Instant::now() }
    }

    /// Nothing that was told before is believed any more.
    fn later(&mut self) {
        self.now += Duration::from_secs(1000);
    }

    fn directory(&self, name: &str) -> Ino {
        let Looked::Up(entry) = self.vfs.lookup(Ino::ROOT, name.as_bytes(), self.now, NETWORK).unwrap() else {
            panic!("{name} is absent")
        };
        entry.ino
    }

    fn place<'a>(&self, path: &'a str) -> (Ino, &'a [u8]) {
        match path.rsplit_once('/').unwrap() {
            ("", name) => (Ino::ROOT, name.as_bytes()),
            (directory, name) => (self.directory(&directory[1..]), name.as_bytes()),
        }
    }

    fn ino(&self, path: &str) -> Option<Ino> {
        let (parent, name) = self.place(path);
        match self.vfs.lookup(parent, name, self.now, NETWORK).unwrap() {
            Looked::Up(entry) => Some(entry.ino),
            Looked::Absent(_) => None,
        }
    }

    fn open(&self, path: &str) -> Fh {
        self.vfs.open(self.ino(path).unwrap(), Access::Read, self.now, NETWORK).unwrap().fh
    }

    fn close(&self, fh: Fh) {
        self.vfs.flush(fh, self.now, NETWORK).unwrap();
        self.vfs.release(fh, self.now, NETWORK).unwrap();
    }

    /// All of a file, in pieces as the kernel asks for them.
    fn read(&self, path: &str) -> Vec<u8> {
        let fh = self.open(path);
        let mut content = Vec::new();
        loop {
            let bytes = self.vfs.read(fh, content.len() as u64, 1 << 20, self.now, NETWORK).unwrap();
            if bytes.is_empty() {
                break;
            }
            bytes.with(|bytes| content.extend_from_slice(bytes));
        }
        self.close(fh);
        content
    }

    fn write(&self, path: &str, content: &[u8], time: Option<SystemTime>) {
        let fh = match self.ino(path) {
            Some(ino) => self.vfs.open(ino, Access::Truncate, self.now, NETWORK).unwrap().fh,
            None => {
                let (parent, name) = self.place(path);
                let creation = Creation { mode: 0o644, exclusive: false, truncate: false };
                self.vfs.create(parent, name, creation, self.now, NETWORK).unwrap().1.fh
            }
        };
        self.vfs.write(fh, 0, content, self.now, NETWORK).unwrap();
        if let Some(modified) = time {
            let changes = Changes { modified: Some(modified), ..Changes::default() };
            self.vfs.setattr(self.ino(path).unwrap(), Some(fh), changes, self.now, NETWORK).unwrap();
        }
        self.close(fh);
    }

    fn set_time(&self, path: &str, time: SystemTime) {
        let changes = Changes { modified: Some(time), ..Changes::default() };
        self.vfs.setattr(self.ino(path).unwrap(), None, changes, self.now, NETWORK).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        let ((parent, name), (new_parent, new_name)) = (self.place(from), self.place(to));
        self.vfs.rename(parent, name, new_parent, new_name, false, self.now, NETWORK).unwrap();
    }

    fn unlink(&self, path: &str) {
        let (parent, name) = self.place(path);
        self.vfs.unlink(parent, name, self.now, NETWORK).unwrap();
    }

    /// Waits until so many blocks were handed to the cache in all and are stored: that follows the read.
    fn await_kept(&self, blocks: u64) {
        let deadline = Instant::now() + WAIT_MAX;
        while self.vfs.summary().blocks_kept < blocks {
            assert!(Instant::now() < deadline, "{:?}", self.vfs.summary());
            std::thread::yield_now();
        }
        assert!(self.vfs.wait_for_stored(WAIT_MAX));
    }

    fn end(self) -> Summary {
        self.vfs.end(self.now, WAIT_MAX);
        self.vfs.summary()
    }
}

fn content(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at / 251 + at) as u8 ^ seed).collect()
}

fn old(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(500_000_000 + seconds)
}

#[test]
fn what_was_read_is_not_fetched_again_after_a_remount() {
    let (memory, cache) = (Memory::new(), CacheDir::new());
    let files = [("/empty", content(0, 1)), ("/small", content(5, 2)), ("/large", content(37 * BLOCK + 5, 3))];
    for (path, content) in &files {
        memory.file(path, content.clone());
    }
    for (reads, blocks) in [(2, 0), (2, 39)] {
        let mount = Mount::new(&memory, &cache);
        for (path, content) in &files {
            assert!(mount.read(path) == *content, "{path}");
        }
        mount.await_kept(39 - blocks);
        assert_eq!((mount.end().blocks_on_disk, memory.counts().reads), (blocks, reads));
    }
    // Another account, or another server, does not see it.
    let other = Mount::of(&memory, cache.open("ann"));
    assert!(other.read("/small") == files[1].1);
    assert_eq!(memory.counts().reads, 3);
}

#[test]
fn a_part_that_was_read_is_served_and_the_rest_fetched() {
    let (memory, cache) = (Memory::new(), CacheDir::new());
    let bytes = content(40 * BLOCK, 1);
    memory.file("/f", bytes.clone());
    let mount = Mount::new(&memory, &cache);
    let fh = mount.open("/f");
    mount.vfs.read(fh, 20 * BLOCK as u64, BLOCK as u32, mount.now, NETWORK).unwrap();
    mount.await_kept(1);
    mount.close(fh);
    mount.end();
    let mount = Mount::new(&memory, &cache);
    let fh = mount.open("/f");
    memory.close_gate();
    let read = mount.vfs.read(fh, 20 * BLOCK as u64, BLOCK as u32, mount.now, NETWORK).unwrap();
    read.with(|read| assert!(read == &bytes[20 * BLOCK..21 * BLOCK]));
    memory.open_gate();
    let read = mount.vfs.read(fh, 19 * BLOCK as u64, 3 * BLOCK as u32, mount.now, NETWORK).unwrap();
    read.with(|read| assert!(read == &bytes[19 * BLOCK..22 * BLOCK]));
    mount.close(fh);
}

#[test]
fn a_file_that_changed_on_the_server_is_read_as_it_is() {
    let (memory, cache) = (Memory::new(), CacheDir::new());
    memory.file("/f", content(300, 1));
    let mut mount = Mount::new(&memory, &cache);
    assert!(mount.read("/f") == content(300, 1));
    memory.file("/f", content(300, 2));
    mount.later();
    assert!(mount.read("/f") == content(300, 2));
    mount.await_kept(2);
    mount.end();
    memory.file("/f", content(300, 3));
    let mount = Mount::new(&memory, &cache);
    assert!(mount.read("/f") == content(300, 3));
    mount.await_kept(1);
    assert_eq!(cache.files().len(), 2);
    mount.unlink("/f");
    assert_eq!(cache.files().len(), 1);
}

#[test]
fn a_time_that_is_set_back_does_not_bring_an_old_content_back() {
    let (memory, cache) = (Memory::new(), CacheDir::new());
    memory.file("/f", content(300, 1));
    let mut mount = Mount::new(&memory, &cache);
    mount.set_time("/f", old(0));
    assert!(mount.read("/f") == content(300, 1));
    mount.await_kept(1);
    memory.file("/f", content(300, 2));
    mount.later();
    mount.set_time("/f", old(0));
    mount.later();
    assert!(mount.read("/f") == content(300, 2));
}

/// Within its second, and for as long as clocks may be apart, it may change again without another time.
#[test]
fn a_file_that_may_still_change_unnoticed_is_neither_stored_nor_believed() {
    let (memory, cache) = (Memory::new(), CacheDir::new());
    memory.file("/f", content(300, 1));
    let mount = Mount::new(&memory, &cache);
    mount.set_time("/f", SystemTime::now() - Duration::from_secs(80));
    assert!(mount.read("/f") == content(300, 1));
    mount.end();
    assert!(cache.files().iter().all(|file| file.ends_with("room")), "{:?}", cache.files());
    let mount = Mount::new(&memory, &cache);
    mount.set_time("/f", SystemTime::now() - Duration::from_secs(100));
    assert!(mount.read("/f") == content(300, 1));
    mount.await_kept(1);
    mount.end();
    assert_eq!(cache.files().len(), 2);
}

#[test]
fn two_mounts_share_a_directory() {
    let (memory, cache) = (Memory::new(), CacheDir::new());
    let bytes = content(20 * BLOCK, 1);
    memory.file("/f", bytes.clone());
    let (one, other) = (Mount::new(&memory, &cache), Mount::new(&memory, &cache));
    std::thread::scope(|scope| {
        for mount in [&one, &other] {
            scope.spawn(|| assert!(mount.read("/f") == bytes));
        }
    });
    one.await_kept(20 - one.vfs.summary().blocks_on_disk);
    other.await_kept(20 - other.vfs.summary().blocks_on_disk);
    one.end();
    let reads = memory.counts().reads;
    assert!(other.read("/f") == bytes && Mount::new(&memory, &cache).read("/f") == bytes);
    assert_eq!(memory.counts().reads, reads);
}

#[test]
fn a_cache_that_fails_fails_no_read() {
    let (memory, cache) = (Memory::new(), CacheDir::new());
    let bytes = content(20 * BLOCK, 1);
    for path in ["/f", "/g"] {
        memory.file(path, bytes.clone());
    }
    let mount = Mount::new(&memory, &cache);
    assert!(mount.read("/f") == bytes);
    mount.await_kept(20);
    mount.end();
    let mount = Mount::new(&memory, &cache);
    // Directories where files are expected, and files where directories are.
    for file in cache.files() {
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
    }
    assert!(mount.read("/f") == bytes && mount.read("/g") == bytes);
    let mount = Mount::new(&memory, &CacheDir::new());
    assert!(mount.read("/g") == bytes);
}

/// What was stored was forgotten after the new content had its name: a crash in between left it to the next mount.
#[test]
fn a_crash_at_any_moment_of_a_change_leaves_nothing_old_in_the_cache() {
    type Change = fn(&mut Mount, &Memory);
    let in_order: Change = |mount, _| mount.write("/f", &content(300, 2), Some(old(0)));
    let in_disorder: Change = |mount, _| {
        let ino = mount.ino("/f").unwrap();
        let fh = mount.vfs.open(ino, Access::Write, mount.now, NETWORK).unwrap().fh;
        for at in [100, 200, 0] {
            mount.vfs.write(fh, at as u64, &content(300, 2)[at..at + 100], mount.now, NETWORK).unwrap();
        }
        let changes = Changes { modified: Some(old(0)), ..Changes::default() };
        mount.vfs.setattr(ino, Some(fh), changes, mount.now, NETWORK).unwrap();
        mount.close(fh);
    };
    let dated: Change = |mount, memory| {
        memory.file("/f", content(300, 2));
        mount.later();
        mount.set_time("/f", old(0));
    };
    for (what, change, upload, names_uploads) in [
        ("renamed", in_order, UploadWay::Temporary, false),
        ("renamed with its time", in_order, UploadWay::Temporary, true),
        ("streamed in place", in_order, UploadWay::Direct, false),
        ("sent in place", in_disorder, UploadWay::Direct, false),
        ("dated", dated, UploadWay::Temporary, false),
    ] {
        let (memory, cache) = (Memory::new(), CacheDir::new());
        memory.file("/f", content(300, 1)).names_uploads(names_uploads);
        let settings = Settings { upload, cache_bytes_max: 1, ..Settings::default() };
        let vfs = Vfs::with_disk(Arc::new(memory.clone()), settings, None, Some(cache.open("joe")));
        let mut mount = Mount { vfs, now: Instant::now() };
        mount.set_time("/f", old(0));
        assert!(mount.read("/f") == content(300, 1));
        mount.await_kept(1);
        let moments = Arc::new(Mutex::new(Vec::new()));
        memory.on_call({
            let (memory, moments, cache) = (memory.clone(), Arc::clone(&moments), cache.0.clone());
            move || moments.lock().unwrap().push((memory.fork(), CacheDir::copy(&cache)))
        });
        change(&mut mount, &memory);
        let moments = std::mem::take(&mut *moments.lock().unwrap());
        assert!(memory.content("/f") == Some(content(300, 2)) && moments.len() > 1);
        for (number, (server, cache)) in moments.into_iter().enumerate() {
            let read = Mount::new(&server, &cache).read("/f");
            assert!(Some(read) == server.content("/f"), "{what}: at moment {number}");
        }
    }
}

/// The exact time was asked for after the kernel had been told of the size that the listing shows: a file that had grown since
/// was cut there.
#[test]
fn a_file_that_grew_since_it_was_listed_is_read_to_its_end() {
    let (memory, cache) = (Memory::new(), CacheDir::new());
    memory.file("/f", content(300, 1)).coarse_listings(&[]);
    let mut mount = Mount::new(&memory, &cache);
    let told = Arc::new(AtomicU64::new(0));
    mount.vfs.on_change({
        let told = Arc::clone(&told);
        move |ino| told.store(ino.0, Ordering::SeqCst)
    });
    let mut listed = None;
    let fh = mount.vfs.opendir(Ino::ROOT, mount.now, NETWORK).unwrap().fh;
    let list = |entry: &DirectoryEntry<'_>| {
        listed = entry.entry.or(listed);
        false
    };
    mount.vfs.readdirplus(fh, 0, mount.now, list).unwrap();
    let Entry { ino, attr, .. } = listed.unwrap();
    assert_eq!(attr.size, 300);
    memory.file("/f", content(500, 2));
    mount.now += Duration::from_secs(1);
    let opened = mount.vfs.open(ino, Access::Read, mount.now, NETWORK).unwrap();
    assert_eq!(told.load(Ordering::SeqCst), ino.0);
    assert_eq!(mount.vfs.getattr(ino, mount.now, Patience::CacheOnly).unwrap().0.size, 500);
    let read = mount.vfs.read(opened.fh, 0, 1 << 20, mount.now, NETWORK).unwrap();
    read.with(|read| assert!(read == content(500, 2)));
}

/// A listing that tells minutes or days does not tell which version is on the disk: what is foreseen was fetched once more.
#[test]
fn what_is_on_the_disk_is_not_fetched_ahead_where_listings_are_not_exact() {
    for coarse in [false, true] {
        let (memory, cache) = (Memory::new(), CacheDir::new());
        let paths = (0..20).map(|file| format!("/f{file:02}")).collect::<Vec<_>>();
        for path in &paths {
            memory.file(path, content(300, 1));
        }
        memory.spare(8);
        if coarse {
            memory.coarse_listings(&[]);
        }
        let mut ahead = Vec::new();
        for _ in 0..2 {
            let mount = Mount::caching(&memory, cache.open("joe"), 64 << 20);
            let listed = mount.vfs.opendir(Ino::ROOT, mount.now, NETWORK).unwrap();
            mount.vfs.releasedir(listed.fh).unwrap();
            for path in &paths {
                assert!(mount.read(path) == content(300, 1));
                std::thread::sleep(Duration::from_millis(5));
            }
            ahead.push(mount.end().files_ahead);
        }
        assert!(ahead[0] > 10, "{ahead:?}");
        assert_eq!((ahead[1], memory.counts().reads), (0, paths.len()), "{coarse}");
    }
}

/// One file of which the server did not tell the exact time switched the cache off for all.
#[test]
fn the_exact_time_is_asked_for_until_several_files_in_a_row_have_none() {
    let (memory, cache) = (Memory::new(), CacheDir::new());
    let coarse = ["/a", "/b", "/c", "/e", "/f", "/g", "/h"];
    memory.coarse_listings(&coarse);
    for path in ["/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h", "/i"] {
        memory.file(path, content(300, 1));
    }
    let mount = Mount::new(&memory, &cache);
    let listed = mount.vfs.opendir(Ino::ROOT, mount.now, NETWORK).unwrap();
    mount.vfs.releasedir(listed.fh).unwrap();
    // "/a" again and again is one file.
    for (path, kept) in [("/a", 0), ("/a", 0), ("/a", 0), ("/b", 0), ("/c", 0), ("/d", 1), ("/e", 1)] {
        assert!(mount.read(path) == content(300, 1));
        mount.await_kept(kept);
    }
    for path in ["/f", "/g", "/h", "/i"] {
        mount.read(path);
    }
    // Of "/i" it could have been told.
    assert_eq!(mount.end().blocks_kept, 1);
}

#[derive(Debug, Clone)]
enum Step {
    /// All files.
    Read,
    Write {
        path: usize,
        len: usize,
        seed: u8,
    },
    /// As `cp -p` does it.
    Copy {
        path: usize,
        len: usize,
        seed: u8,
        time: u64,
    },
    SetTime {
        path: usize,
        time: u64,
    },
    Rename {
        from: usize,
        to: usize,
    },
    RenameDirectories,
    Unlink {
        path: usize,
    },
    Foreign {
        path: usize,
        len: usize,
        seed: u8,
    },
    /// The next change is done although it fails.
    FailLate,
    Remount,
}

const PATHS: [&str; 4] = ["/a", "/d/a", "/d/b", "/e/a"];

/// Few sizes and few times: what differs in its content only is common.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let path = || 0..PATHS.len();
    let len = || prop_oneof![9 => Just(300usize), 1 => Just(BLOCK + 9)];
    let time = || 0..2u64;
    let step = prop_oneof![
        8 => Just(Step::Read),
        2 => (path(), len(), any::<u8>()).prop_map(|(path, len, seed)| Step::Write { path, len, seed }),
        6 => (path(), len(), any::<u8>(), time())
            .prop_map(|(path, len, seed, time)| Step::Copy { path, len, seed, time }),
        3 => (path(), time()).prop_map(|(path, time)| Step::SetTime { path, time }),
        3 => (path(), path()).prop_map(|(from, to)| Step::Rename { from, to }),
        3 => Just(Step::RenameDirectories),
        1 => path().prop_map(|path| Step::Unlink { path }),
        3 => (path(), len(), any::<u8>()).prop_map(|(path, len, seed)| Step::Foreign { path, len, seed }),
        1 => Just(Step::FailLate),
        3 => Just(Step::Remount),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    /// What was written, renamed and dated here is read as it is, by this mount and the next, though sizes and times lie.
    #[test]
    fn every_read_gives_what_the_server_has(steps in steps()) {
        let (memory, cache) = (Memory::new(), CacheDir::new());
        memory.directory("/d").directory("/e");
        let mut mount = Mount::new(&memory, &cache);
        for step in steps {
            mount.later();
            let there = |path: usize| memory.content(PATHS[path]).is_some();
            match step {
                Step::Read => {
                    for path in PATHS.iter().filter(|path| memory.content(path).is_some()) {
                        prop_assert!(Some(mount.read(path)) == memory.content(path), "{}", path);
                    }
                    // What comes next finds it stored: all is read from its beginning to its end.
                    mount.await_kept(mount.vfs.summary().blocks_waited);
                }
                Step::Write { path, len, seed } => mount.write(PATHS[path], &content(len, seed), None),
                Step::Copy { path, len, seed, time } => mount.write(PATHS[path], &content(len, seed), Some(old(time))),
                Step::SetTime { path, time } if there(path) => mount.set_time(PATHS[path], old(time)),
                Step::Rename { from, to } if there(from) => mount.rename(PATHS[from], PATHS[to]),
                Step::RenameDirectories => {
                    for (from, to) in [("/d", "/x"), ("/e", "/d"), ("/x", "/e")] {
                        mount.rename(from, to);
                    }
                }
                Step::Unlink { path } if there(path) => mount.unlink(PATHS[path]),
                Step::Foreign { path, len, seed } => { memory.file(PATHS[path], content(len, seed)); }
                Step::FailLate if there(0) => {
                    let ino = mount.ino(PATHS[0]).unwrap();
                    memory.fail_next_late(ErrorKind::Lost);
                    let changes = Changes { modified: Some(old(0)), ..Changes::default() };
                    let _ = mount.vfs.setattr(ino, None, changes, mount.now, NETWORK);
                    memory.heal();
                }
                Step::Remount => {
                    mount.end();
                    mount = Mount::new(&memory, &cache);
                }
                Step::SetTime { .. } | Step::Rename { .. } | Step::Unlink { .. } | Step::FailLate => {}
            }
        }
    }
}
