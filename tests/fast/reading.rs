//! What the file system fetches of files, and what it gives when they change or the network fails.

use crate::memory::Memory;
use ftpsfs::errno::Errno;
use ftpsfs::remote::ErrorKind;
use ftpsfs::vfs::error::Error;
use ftpsfs::vfs::filesystem::{Access, Entry, Fh, Looked, Opened, Patience};
use ftpsfs::vfs::inodes::Ino;
use ftpsfs::vfs::{Settings, Vfs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

pub(crate) const MIB: usize = 1 << 20;
const BLOCK: usize = 128 * 1024;

fn mount(memory: &Memory) -> Vfs {
    Vfs::new(Arc::new(memory.clone()), Settings::default())
}

pub(crate) fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 253 + at) as u8).collect()
}

pub(crate) fn open(vfs: &Vfs, name: &str, now: Instant) -> Opened {
    let Looked::Up(entry) = vfs.lookup(Ino::ROOT, name.as_bytes(), now, Patience::Network).unwrap() else {
        panic!("{name} is absent")
    };
    vfs.open(entry.ino, Access::Read, now, Patience::Network).unwrap()
}

pub(crate) fn read(vfs: &Vfs, fh: Fh, offset: usize, size: usize, now: Instant) -> Result<Vec<u8>, Error> {
    let bytes = vfs.read(fh, offset as u64, u32::try_from(size).unwrap(), now, Patience::Network)?;
    Ok(bytes.with(<[u8]>::to_vec))
}

#[test]
fn a_small_file_costs_one_download_and_is_then_served_from_memory() {
    let memory = Memory::new();
    memory.file("/f", content(5000));
    let (vfs, now) = (mount(&memory), Instant::now());
    let fh = open(&vfs, "f", now).fh;
    assert_eq!(read(&vfs, fh, 0, 4096, now).unwrap(), content(5000)[..4096]);
    assert_eq!(memory.counts().reads, 1);
    let rest = vfs.read(fh, 4096, 4096, now, Patience::Network).unwrap();
    rest.with(|rest| assert_eq!(rest, &content(5000)[4096..]));
    vfs.release(fh, now, Patience::Network).unwrap();
    let opened = open(&vfs, "f", now);
    assert!(opened.keep_cache);
    assert_eq!(read(&vfs, opened.fh, 0, 5000, now).unwrap(), content(5000));
    assert_eq!(memory.counts().reads, 1);
}

#[test]
fn an_empty_file_costs_nothing() {
    let memory = Memory::new();
    memory.file("/f", "");
    let (vfs, now) = (mount(&memory), Instant::now());
    let fh = open(&vfs, "f", now).fh;
    assert!(vfs.read(fh, 0, 4096, now, Patience::CacheOnly).unwrap().is_empty());
    assert_eq!(memory.counts().reads, 0);
}

#[test]
fn reading_in_order_costs_one_download() {
    let memory = Memory::new();
    let bytes = content(8 * MIB + 77);
    memory.file("/f", bytes.clone());
    let (vfs, now) = (mount(&memory), Instant::now());
    let fh = open(&vfs, "f", now).fh;
    let mut got = Vec::new();
    while got.len() < bytes.len() {
        got.extend(read(&vfs, fh, got.len(), 100_000, now).unwrap());
    }
    assert!(got == bytes);
    assert_eq!((memory.counts().reads, memory.counts().bytes), (1, bytes.len()));
}

#[test]
fn a_short_skip_reads_on_and_a_far_one_opens_another_position() {
    let memory = Memory::new();
    let bytes = content(32 * MIB);
    memory.file("/f", bytes.clone());
    let (vfs, now) = (mount(&memory), Instant::now());
    let fh = open(&vfs, "f", now).fh;
    let check = |offset: usize| assert!(read(&vfs, fh, offset, 4096, now).unwrap() == bytes[offset..offset + 4096]);
    check(0);
    check(MIB);
    assert_eq!(memory.counts().reads, 1);
    check(20 * MIB);
    assert_eq!(memory.counts().reads, 2);
    // Head, then tail, then on from the head: both positions are still open.
    check(20 * MIB + BLOCK);
    check(MIB + BLOCK);
    assert_eq!(memory.counts().reads, 2);
}

#[test]
fn reading_here_and_there_fetches_little_more_than_was_asked() {
    let memory = Memory::new();
    let bytes = content(64 * MIB);
    memory.file("/f", bytes.clone());
    let (vfs, now) = (mount(&memory), Instant::now());
    let fh = open(&vfs, "f", now).fh;
    for number in 0..20 {
        let offset = (number * 37 % 20) * 3 * MIB + 5 * MIB / 3;
        assert!(read(&vfs, fh, offset, 4096, now).unwrap() == bytes[offset..offset + 4096]);
    }
    let counts = memory.counts();
    assert_eq!(counts.reads, 20);
    assert!(counts.bytes <= 20 * BLOCK, "{}", counts.bytes);
    memory.await_counts("closed the positions used longest ago", |counts| counts.open_downloads <= 4);
    vfs.release(fh, now, Patience::Network).unwrap();
    memory.await_counts("closed what nobody reads", |counts| counts.open_downloads == 0);
}

/// Who skips through a film has each place opened on a connection that is ready for it, as the places before are given up in time.
/// Those who go on from where they are keep theirs.
#[test]
fn skipping_leaves_connections_free_and_going_on_keeps_its_own() {
    let memory = Memory::new();
    let bytes = content(64 * MIB);
    memory.file("/f", bytes.clone());
    let (vfs, now) = (mount(&memory), Instant::now());
    let fh = open(&vfs, "f", now).fh;
    let read_at = |place: usize, block: usize| {
        let offset = place * MIB + block * 2 * BLOCK;
        assert!(read(&vfs, fh, offset, 2 * BLOCK, now).unwrap() == bytes[offset..offset + 2 * BLOCK]);
    };
    for skip in 0..12 {
        read_at(1 + 5 * skip, 0);
        memory.await_counts("gave up the places before", |counts| counts.open_downloads <= 4);
    }
    assert_eq!(memory.counts().reads, 12);
    vfs.release(fh, now, Patience::Network).unwrap();
    memory.await_counts("closed what nobody reads", |counts| counts.open_downloads == 0);
    let (fh, before) = (open(&vfs, "f", now).fh, memory.counts().reads);
    let read_at = |place: usize, block: usize| {
        let offset = place * MIB + block * 2 * BLOCK;
        assert!(read(&vfs, fh, offset, 2 * BLOCK, now).unwrap() == bytes[offset..offset + 2 * BLOCK]);
    };
    // As a merge reads, a little from each place in turn: those that were taken for looks are opened once more.
    (0..8).for_each(|block| (0..6).for_each(|reader| read_at(3 + 10 * reader, block)));
    let opened = memory.counts().reads - before;
    assert!(opened <= 2 * 6, "{opened}");
    vfs.release(fh, now, Patience::Network).unwrap();
}

#[test]
fn a_lost_connection_is_replaced_twice_and_then_reported_and_the_next_read_tries_anew() {
    let memory = Memory::new();
    memory.file("/f", content(MIB));
    let (vfs, now) = (mount(&memory), Instant::now());
    let fh = open(&vfs, "f", now).fh;
    for after in [BLOCK / 2, 1000, 0] {
        memory.break_next(after, ErrorKind::Lost);
    }
    assert_eq!(read(&vfs, fh, 0, BLOCK, now).unwrap(), content(MIB)[..BLOCK]);
    assert_eq!(memory.counts().reads, 4);
    vfs.release(fh, now, Patience::Network).unwrap();
    memory.await_counts("closed the download", |counts| counts.open_downloads == 0);
    let fh = open(&vfs, "f", now).fh;
    for _ in 0..3 {
        memory.break_next(0, ErrorKind::Lost);
    }
    assert_eq!(read(&vfs, fh, MIB - 10, 10, now).unwrap_err().errno(), Errno::EIO);
    assert_eq!(read(&vfs, fh, MIB - 10, 10, now).unwrap(), content(MIB)[MIB - 10..]);
}

#[test]
fn an_error_reaches_the_reader_and_not_the_next_one() {
    for (kind, errno) in [
        (ErrorKind::TimedOut, Errno::ETIMEDOUT),
        (ErrorKind::PermissionDenied, Errno::EACCES),
        (ErrorKind::Busy, Errno::EBUSY),
    ] {
        let memory = Memory::new();
        memory.file("/f", content(1000));
        let (vfs, now) = (mount(&memory), Instant::now());
        let fh = open(&vfs, "f", now).fh;
        memory.fail_next(kind);
        assert_eq!(read(&vfs, fh, 0, 10, now).unwrap_err().errno(), errno);
        assert_eq!(read(&vfs, fh, 0, 10, now).unwrap(), content(10));
    }
}

#[test]
fn a_panic_while_fetching_is_an_error_and_the_mount_lives() {
    for len in [1000, MIB] {
        let memory = Memory::new();
        memory.file("/f", content(len));
        let (vfs, now) = (mount(&memory), Instant::now());
        let fh = open(&vfs, "f", now).fh;
        memory.panic_next();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(&vfs, fh, 0, 10, now)));
        assert!(!matches!(result, Ok(Ok(_))));
        assert_eq!(read(&vfs, fh, 0, 10, now).unwrap(), content(10));
    }
}

/// Each change with the size before and after.
#[test]
fn a_file_that_changed_is_never_short_or_padded_and_the_next_open_sees_it_whole() {
    for (before, after) in [(MIB, MIB / 2), (MIB, 2 * MIB), (1000, 10), (1000, 1001), (BLOCK, 0)] {
        let memory = Memory::new();
        memory.file("/f", content(before));
        let (vfs, now) = (mount(&memory), Instant::now());
        let opened = open(&vfs, "f", now);
        memory.file("/f", content(after));
        let mut offset = 0;
        let error = loop {
            match read(&vfs, opened.fh, offset, BLOCK, now) {
                // That it goes on is seen behind the reader's back: until then it is as long as it was told to be.
                Ok(bytes) if bytes.is_empty() => {
                    assert!(offset == before && after > before, "{before} to {after}: {offset} bytes");
                    thread::yield_now();
                    offset = 0;
                }
                Ok(bytes) => offset += bytes.len(),
                Err(error) => break error,
            }
        };
        assert_eq!(error.errno(), Errno::ESTALE);
        assert_eq!(read(&vfs, opened.fh, 0, 1, now).unwrap_err(), Error::Stale);
        let opened = open(&vfs, "f", now);
        assert!(!opened.keep_cache);
        let mut got = Vec::new();
        loop {
            match read(&vfs, opened.fh, got.len(), 100_000, now).unwrap() {
                bytes if bytes.is_empty() => break,
                bytes => got.extend(bytes),
            }
        }
        assert!(got == content(after), "{before} to {after}");
    }
}

#[test]
fn a_new_version_is_seen_at_open_and_ends_the_handles_of_the_old_one() {
    let memory = Memory::new();
    memory.file("/f", "old content");
    let (vfs, now) = (mount(&memory), Instant::now());
    let old = open(&vfs, "f", now);
    let Looked::Up(Entry { ino, .. }) = vfs.lookup(Ino::ROOT, b"f", now, Patience::CacheOnly).unwrap() else {
        panic!()
    };
    assert_eq!(read(&vfs, old.fh, 0, 100, now).unwrap(), b"old content");
    memory.file("/f", "new content");
    let told = Arc::new(AtomicU64::new(0));
    vfs.on_change({
        let told = Arc::clone(&told);
        move |ino| told.store(ino.0, Ordering::SeqCst)
    });
    // Somebody lists the directory meanwhile: we know of the change, and the kernel does not.
    let later = now + 2 * Settings::default().attr_timeout;
    let directory = vfs.opendir(Ino::ROOT, later, Patience::Network).unwrap();
    vfs.releasedir(directory.fh).unwrap();
    let new = vfs.open(ino, Access::Read, later, Patience::CacheOnly).unwrap();
    assert_eq!(told.load(Ordering::SeqCst), ino.0);
    assert!(!new.keep_cache);
    assert_eq!(read(&vfs, new.fh, 0, 100, later).unwrap(), b"new content");
    assert_eq!(read(&vfs, old.fh, 0, 100, later), Err(Error::Stale));
}

#[test]
fn what_is_known_is_answered_while_the_server_stalls() {
    let memory = Memory::new();
    memory.file("/f", content(4 * MIB)).file("/g", "known");
    let (vfs, now) = (mount(&memory), Instant::now());
    let (f, g) = (open(&vfs, "f", now).fh, open(&vfs, "g", now).fh);
    read(&vfs, g, 0, 5, now).unwrap();
    memory.close_gate();
    thread::scope(|scope| {
        let stalled = scope.spawn(|| read(&vfs, f, 0, 10, now));
        memory.await_blocked(1);
        assert_eq!(vfs.read(g, 0, 5, now, Patience::CacheOnly).unwrap().len(), 5);
        memory.open_gate();
        assert_eq!(stalled.join().unwrap().unwrap(), content(10));
    });
}

#[test]
fn a_download_that_gave_way_is_opened_again_only_for_a_reader() {
    let memory = Memory::new();
    let bytes = content(4 * MIB);
    memory.file("/f", bytes.clone());
    let read_so_far = 2 * BLOCK;
    memory.break_next(read_so_far + 1000, ErrorKind::Preempted);
    let (vfs, now) = (mount(&memory), Instant::now());
    let fh = open(&vfs, "f", now).fh;
    for offset in [0, BLOCK] {
        read(&vfs, fh, offset, BLOCK, now).unwrap();
    }
    // The read-ahead runs into the end of the download.
    memory.await_counts("gave way", |counts| counts.open_downloads == 0 && counts.bytes == read_so_far + 1000);
    assert_eq!(memory.counts().reads, 1);
    let offset = read_so_far;
    assert!(read(&vfs, fh, offset, BLOCK, now).unwrap() == bytes[offset..offset + BLOCK]);
    assert_eq!(memory.counts().reads, 2);
    assert!(memory.counts().bytes >= read_so_far + BLOCK);
}

#[test]
fn many_readers_of_one_file_get_right_bytes_and_few_connections() {
    let memory = Memory::new();
    let bytes = content(16 * MIB);
    memory.file("/f", bytes.clone()).chunk(50_000);
    let settings = Settings { cache_bytes_max: 2 * MIB, ..Settings::default() };
    let (vfs, now) = (Vfs::new(Arc::new(memory.clone()), settings), Instant::now());
    thread::scope(|scope| {
        for reader in 0..12_usize {
            let (vfs, bytes, memory) = (&vfs, &bytes, &memory);
            scope.spawn(move || {
                let fh = open(vfs, "f", now).fh;
                for number in 0..60_usize {
                    let offset = (reader * 7919 + number * 104_729) * 4099 % (bytes.len() - 300_000);
                    let size = [1, 4096, 300_000][number % 3];
                    assert!(read(vfs, fh, offset, size, now).unwrap() == bytes[offset..offset + size]);
                    assert!(memory.counts().open_downloads <= 16);
                }
                vfs.release(fh, now, Patience::Network).unwrap();
            });
        }
    });
    memory.await_counts("closed everything", |counts| counts.open_downloads == 0);
}

#[test]
fn a_file_read_to_its_end_leaves_nothing_open() {
    let memory = Memory::new();
    memory.file("/f", content(3 * BLOCK));
    let (vfs, now) = (mount(&memory), Instant::now());
    let fh = open(&vfs, "f", now).fh;
    read(&vfs, fh, 0, 3 * BLOCK, now).unwrap();
    memory.await_counts("ended the download", |counts| counts.open_downloads == 0);
    assert_eq!(vfs.summary().downloads, 1);
}

#[test]
fn a_file_system_that_is_gone_leaves_nothing_open() {
    let memory = Memory::new();
    memory.file("/f", content(4 * MIB));
    let (vfs, now) = (mount(&memory), Instant::now());
    let fh = open(&vfs, "f", now).fh;
    read(&vfs, fh, 0, 1, now).unwrap();
    assert_eq!(memory.counts().open_downloads, 1);
    drop(vfs);
    memory.await_counts("closed everything", |counts| counts.open_downloads == 0);
}
