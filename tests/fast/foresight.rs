//! What is listed and fetched before anybody asks, and how much of it is of no use.

use crate::memory::Memory;
use ftpsfs::vfs::filesystem::{Access, Looked, Patience, Summary};
use ftpsfs::vfs::inodes::Ino;
use ftpsfs::vfs::settings::Prefetch;
use ftpsfs::vfs::{Settings, Vfs};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const KIB: usize = 1024;
const DIRECTORIES: usize = 40;
const FILES: usize = 30;

/// Directories with files of `bytes` each.
fn tree(bytes: usize) -> Memory {
    let memory = Memory::new();
    for directory in 0..DIRECTORIES {
        memory.directory(&format!("/d{directory:02}"));
        for file in 0..FILES {
            memory.file(&format!("/d{directory:02}/f{file:02}"), vec![b'x'; bytes]);
        }
    }
    memory.spare(8);
    memory
}

fn mount(memory: &Memory, prefetch: Prefetch) -> Vfs {
    Vfs::new(Arc::new(memory.clone()), Settings { prefetch, ..Settings::default() })
}

fn mount_with_cache(memory: &Memory, cache_bytes_max: usize) -> Vfs {
    let settings = Settings { prefetch: Prefetch::Files, cache_bytes_max, ..Settings::default() };
    Vfs::new(Arc::new(memory.clone()), settings)
}

struct Program<'a> {
    vfs: &'a Vfs,
    now: Instant,
}

impl<'a> Program<'a> {
    fn new(vfs: &'a Vfs) -> Self {
        Self { vfs, now: Instant::now() }
    }

    fn lookup(&self, parent: Ino, name: &str) -> Ino {
        match self.vfs.lookup(parent, name.as_bytes(), self.now, Patience::Network).unwrap() {
            Looked::Up(entry) => entry.ino,
            Looked::Absent(_) => panic!("{name} is absent"),
        }
    }

    fn list(&self, directory: Ino) -> Vec<(String, Ino)> {
        let fh = self.vfs.opendir(directory, self.now, Patience::Network).unwrap().fh;
        let mut names = Vec::new();
        self.vfs
            .readdirplus(fh, 2, self.now, |entry| {
                names.push((String::from_utf8(entry.name.to_vec()).unwrap(), entry.ino));
                false
            })
            .unwrap();
        self.vfs.releasedir(fh).unwrap();
        names
    }

    /// The first bytes of a file.
    fn read(&self, file: Ino, size: u32) -> usize {
        let fh = self.vfs.open(file, Access::Read, self.now, Patience::Network).unwrap().fh;
        let len = self.vfs.read(fh, 0, size, self.now, Patience::Network).unwrap().len();
        self.vfs.release(fh, self.now, Patience::Network).unwrap();
        len
    }

    fn find(&self) {
        for (_, directory) in self.list(Ino::ROOT) {
            assert_eq!(self.list(directory).len(), FILES);
        }
    }

    fn tar(&self, bytes: usize) {
        for (_, directory) in self.list(Ino::ROOT) {
            for (_, file) in self.list(directory) {
                assert_eq!(self.read(file, u32::MAX), bytes);
            }
        }
    }
}

/// Waits for what is on its way, and tells what was done.
fn ended(vfs: &Vfs) -> Summary {
    vfs.end(Instant::now(), Duration::from_secs(10));
    vfs.summary()
}

#[test]
fn a_walker_finds_its_directories_listed_and_each_is_listed_once() {
    for prefetch in [Prefetch::Off, Prefetch::Metadata, Prefetch::Files] {
        // A program in memory may be ahead of whoever is to be ahead of it, but not each time.
        let mut most = 0;
        for _ in 0..20 {
            let memory = tree(1);
            let vfs = mount(&memory, prefetch);
            Program::new(&vfs).find();
            let ahead = ended(&vfs).listings_ahead;
            assert_eq!((memory.counts().lists, memory.counts().reads), (1 + DIRECTORIES, 0), "{prefetch:?}");
            assert!(ahead <= DIRECTORIES as u64, "{prefetch:?}: {ahead}");
            most = most.max(ahead);
        }
        assert_eq!(most > 0, prefetch != Prefetch::Off, "{prefetch:?}");
    }
}

#[test]
fn a_reader_of_files_in_order_finds_them_there_and_each_is_fetched_once() {
    for prefetch in [Prefetch::Metadata, Prefetch::Files] {
        let memory = tree(5 * KIB);
        let vfs = mount(&memory, prefetch);
        Program::new(&vfs).tar(5 * KIB);
        let summary = ended(&vfs);
        assert_eq!(memory.counts().reads, DIRECTORIES * FILES, "{prefetch:?}");
        assert_eq!(memory.counts().bytes, DIRECTORIES * FILES * 5 * KIB, "{prefetch:?}");
        assert_eq!(summary.files_ahead > 0, prefetch == Prefetch::Files, "{prefetch:?}: {}", summary.files_ahead);
        assert_eq!(summary.bytes_ahead_unused, 0, "{prefetch:?}");
    }
}

/// What had been asked for ahead, and nobody came to, was never asked for ahead again.
#[test]
fn what_is_not_believed_any_more_is_asked_ahead_again() {
    let memory = Memory::new();
    for number in 0..6 {
        memory.directory(&format!("/d{number}"));
    }
    memory.spare(8);
    let vfs = mount(&memory, Prefetch::Metadata);
    let mut program = Program::new(&vfs);
    for lists in [7, 14] {
        let directories = program.list(Ino::ROOT);
        let (first, rest) = directories.split_at(2);
        first.iter().for_each(|(_, directory)| drop(program.list(*directory)));
        memory.await_counts("listed what comes next", |counts| counts.lists == lists);
        // So that none of those is on its way any more.
        rest.iter().for_each(|(_, directory)| drop(program.list(*directory)));
        program.now += 2 * Settings::default().dir_timeout;
    }
    assert_eq!(ended(&vfs).listings, 14);
}

#[test]
fn nothing_is_asked_ahead_where_no_connection_is_to_spare() {
    let memory = tree(5 * KIB);
    memory.spare(0);
    let vfs = mount(&memory, Prefetch::Files);
    Program::new(&vfs).tar(5 * KIB);
    let summary = ended(&vfs);
    assert_eq!((summary.listings_ahead, summary.files_ahead), (0, 0));
}

/// Connections came back, and stayed idle until the program came somewhere that it had to wait for.
#[test]
fn what_was_left_is_asked_for_when_a_connection_comes_back() {
    let memory = tree(1);
    memory.spare(0);
    let vfs = mount(&memory, Prefetch::Metadata);
    let program = Program::new(&vfs);
    for (_, directory) in program.list(Ino::ROOT).into_iter().take(2) {
        program.list(directory);
    }
    memory.become_spare(8, program.now);
    memory.await_counts("listed what comes next", |counts| counts.lists > 3);
    assert!(ended(&vfs).listings_ahead > 0);
}

/// An errand that had begun and had no connection yet was not counted: the next one took the connection of somebody else.
#[test]
fn a_connection_that_is_about_to_be_taken_is_not_to_spare() {
    let memory = Memory::new();
    for number in 0..20 {
        memory.directory(&format!("/d{number:02}"));
    }
    memory.spare(1);
    let vfs = mount(&memory, Prefetch::Metadata);
    let program = Program::new(&vfs);
    let directories = program.list(Ino::ROOT);
    for (_, directory) in &directories[..2] {
        program.list(*directory);
    }
    memory.await_counts("listed what comes next", |counts| counts.lists == 11);
    // From here on nobody gets a connection.
    memory.close_gate();
    for (_, directory) in &directories[2..6] {
        program.list(*directory);
    }
    memory.await_blocked(1);
    for (_, directory) in &directories[2..6] {
        program.list(*directory);
    }
    vfs.end(program.now, Duration::ZERO);
    memory.open_gate();
    assert_eq!(ended(&vfs).listings, 12);
}

/// Whoever wants a file that is being fetched ahead waits for that.
#[test]
fn a_file_on_its_way_is_not_fetched_again_by_its_reader() {
    let memory = tree(300 * KIB);
    let vfs = mount(&memory, Prefetch::Files);
    let program = Program::new(&vfs);
    let directory = program.lookup(Ino::ROOT, "d00");
    let files = program.list(directory);
    program.read(files[0].1, 1);
    let fh = vfs.open(files[1].1, Access::Read, program.now, Patience::Network).unwrap().fh;
    memory.await_counts("fetched the files that come next", |counts| counts.reads >= 5);
    memory.close_gate();
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut whole = 0;
            while let Ok(bytes) = vfs.read(fh, whole, 128 * 1024, program.now, Patience::Network) {
                if bytes.is_empty() {
                    return whole;
                }
                whole += bytes.len() as u64;
            }
            0
        });
        memory.await_blocked(1);
        memory.open_gate();
        assert_eq!(reader.join().unwrap(), 300 * 1024);
    });
    // Files that were fetched ahead in part go on where that ended.
    assert_eq!(program.read(files[2].1, 4096), 4096);
    assert!(ended(&vfs).bytes_ahead_unused <= 8 * 128 * 1024);
}

/// What the kernel has of a file from before is wrong when the file was fetched ahead in another version since.
#[test]
fn a_version_that_was_only_fetched_ahead_is_new_to_the_kernel() {
    let memory = tree(KIB);
    let vfs = mount(&memory, Prefetch::Files);
    let mut program = Program::new(&vfs);
    let directory = program.lookup(Ino::ROOT, "d00");
    let files = program.list(directory);
    assert_eq!(program.read(files[3].1, u32::MAX), KIB);
    memory.file("/d00/f03", vec![b'y'; KIB]);
    program.now += 2 * Settings::default().dir_timeout;
    for (_, file) in &program.list(directory)[..2] {
        program.read(*file, u32::MAX);
    }
    memory.await_counts("fetched what comes next", |counts| counts.reads >= 5);
    let opened = vfs.open(files[3].1, Access::Read, program.now, Patience::Network).unwrap();
    assert!(!opened.keep_cache);
    vfs.read(opened.fh, 0, 1, program.now, Patience::Network).unwrap().with(|bytes| assert_eq!(bytes, b"y"));
}

/// Fetched in vain: at most a fifth of what was used and 8 MiB.
#[test]
fn little_is_fetched_that_nobody_reads() {
    type Pattern = fn(&Program<'_>) -> usize;
    let one_in_each: Pattern = |program| {
        let directories = program.list(Ino::ROOT);
        directories.iter().map(|(_, directory)| program.read(program.lookup(*directory, "f07"), 1 << 20)).sum()
    };
    let first_of_each: Pattern = |program| {
        let directories = program.list(Ino::ROOT);
        directories.iter().map(|(_, directory)| program.read(program.list(*directory)[0].1, 1 << 20)).sum()
    };
    let at_random: Pattern = |program| {
        let directories = program.list(Ino::ROOT);
        let places = (0..200).map(|number| (number * 7919 % DIRECTORIES, number * 104_729 % FILES));
        places.map(|(directory, file)| program.read(program.list(directories[directory].1)[file].1, 4096)).sum()
    };
    let ls: Pattern = |program| {
        program.list(program.lookup(Ino::ROOT, "d20"));
        0
    };
    let thumbnails: Pattern = |program| {
        let files = program.list(program.lookup(Ino::ROOT, "d20"));
        files.iter().map(|(_, file)| program.read(*file, 64 * 1024)).sum()
    };
    let two_of_each: Pattern = |program| {
        let files = |directory| program.list(directory).into_iter().take(2);
        let directories = program.list(Ino::ROOT);
        directories.iter().flat_map(|(_, at)| files(*at)).map(|(_, file)| program.read(file, 1 << 20)).sum()
    };
    for (what, pattern, least) in [
        ("one file in each directory", one_in_each, 0),
        ("the first file in each directory", first_of_each, 0),
        ("files at random", at_random, 0),
        ("ls of one directory", ls, 0),
        ("thumbnails", thumbnails, 1),
        ("two files in each directory", two_of_each, 1),
    ] {
        let memory = tree(200 * KIB);
        // Of a smaller one no more than a quarter may wait for its readers: that would be the bound.
        let vfs = mount_with_cache(&memory, 1 << 30);
        let used = pattern(&Program::new(&vfs));
        let summary = ended(&vfs);
        assert!(summary.files_ahead >= least, "{what}: {summary}");
        assert!(summary.bytes_ahead_unused <= used as u64 / 5 + (8 << 20), "{what}: {used} used, {summary}");
        assert!(what == "two files in each directory" || summary.bytes_ahead_unused <= 1 << 20, "{what}: {summary}");
        if what == "ls of one directory" {
            assert_eq!((summary.listings, summary.downloads), (1, 0), "{what}");
        }
    }
}

/// What nobody had read was counted as waiting for its reader even when it had fallen out of the cache: after as much as may wait
/// nothing was fetched ahead for the rest of the mount.
#[test]
fn what_fell_out_of_the_cache_unread_makes_room_for_more() {
    let memory = tree(200 * KIB);
    memory.file("/large", vec![b'x'; 64 << 20]);
    let vfs = mount_with_cache(&memory, 4 << 20);
    let program = Program::new(&vfs);
    let directories: Vec<Ino> = (0..DIRECTORIES).map(|at| program.lookup(Ino::ROOT, &format!("d{at:02}"))).collect();
    let (left, walked) = directories.split_at(DIRECTORIES / 2);
    let (wait_max, mut left) = ((4 << 20) / 4, left.iter());
    while vfs.summary().bytes_ahead_unused < wait_max {
        assert!(program.now.elapsed() < Duration::from_secs(10), "{}", vfs.summary());
        // After the last one, what is on its way may still go on.
        let files = left.next().map(|directory| program.list(*directory)).unwrap_or_default();
        files.iter().take(3).for_each(|(_, file)| assert_eq!(program.read(*file, 1), 1));
        thread::yield_now();
    }
    let large = vfs.open(program.lookup(Ino::ROOT, "large"), Access::Read, program.now, Patience::Network).unwrap().fh;
    for mib in 0..64 {
        assert_eq!(vfs.read(large, mib << 20, 1 << 20, program.now, Patience::Network).unwrap().len(), 1 << 20);
    }
    let before = vfs.summary();
    for directory in walked {
        program.list(*directory).iter().for_each(|(_, file)| assert_eq!(program.read(*file, 1 << 20), 200 * KIB));
    }
    let after = ended(&vfs);
    assert!(after.files_ahead > before.files_ahead, "{before}");
    // And is no less in vain for that.
    assert!(after.bytes_ahead_unused >= wait_max, "{after}");
}
