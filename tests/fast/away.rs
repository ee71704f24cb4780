//! A server that is away or stands still: what is known is shown, what is not ends in time, and no byte is taken for stored
//! that is not.

use crate::memory::Memory;
use ftpsfs::deadline::Deadline;
use ftpsfs::errno::Errno;
use ftpsfs::vfs::error::Error;
use ftpsfs::vfs::filesystem::{Access, Fh, Looked, Patience, Vfs};
use ftpsfs::vfs::inodes::Ino;
use ftpsfs::vfs::writing::Creation;
use ftpsfs::vfs::{Settings, Vfs as FileSystem};
use std::sync::Arc;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;
const SHORT: Duration = Duration::from_millis(300);
/// When nothing is believed any more.
const LATER: Duration = Duration::from_secs(3600);
const NEW: Creation = Creation { mode: 0o644, exclusive: false, truncate: true };

fn mount(memory: &Memory) -> Vfs {
    FileSystem::new(Arc::new(memory.clone()), Settings { patience: Some(SHORT), ..Settings::default() })
}

fn look(vfs: &Vfs, name: &str, now: Instant, patience: Patience) -> Result<Ino, Error> {
    match vfs.lookup(Ino::ROOT, name.as_bytes(), now, patience)? {
        Looked::Up(entry) => Ok(entry.ino),
        Looked::Absent(_) => Err(Error::NoSuchEntry),
    }
}

/// Ends with its deadline, and not much later.
fn in_time<T>(vfs: &Vfs, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let begun = Instant::now();
    let deadline = Deadline::new(Some(SHORT), None, vfs.ending());
    let _entered = deadline.enter();
    let result = work();
    assert!(begun.elapsed() < SHORT * 4, "{:?}", begun.elapsed());
    result
}

fn names(vfs: &Vfs, now: Instant, patience: Patience) -> Result<usize, Error> {
    let opened = vfs.opendir(Ino::ROOT, now, patience)?;
    let mut count = 0;
    vfs.readdir(opened.fh, 2, now, |_| {
        count += 1;
        false
    })?;
    vfs.releasedir(opened.fh)?;
    Ok(count)
}

#[test]
fn what_is_known_is_shown_past_its_time_while_the_server_is_away_and_no_longer() {
    let memory = Memory::new();
    memory.file("/f", "content").file("/g", "other");
    let (vfs, now) = (mount(&memory), Instant::now());
    assert_eq!(names(&vfs, now, Patience::Network), Ok(2));
    let ino = look(&vfs, "f", now, Patience::Network).unwrap();
    let fh = vfs.open(ino, Access::Read, now, Patience::Network).unwrap().fh;
    let read = |fh: Fh, now| vfs.read(fh, 0, 100, now, Patience::Network).map(|bytes| bytes.with(<[u8]>::to_vec));
    assert_eq!(read(fh, now).unwrap(), b"content");
    vfs.release(fh, now, Patience::Network).unwrap();
    let later = now + LATER;
    memory.away(true);
    // In the dispatch loop, where nothing waits.
    for patience in [Patience::CacheOnly, Patience::Network] {
        assert_eq!(look(&vfs, "f", later, patience), Ok(ino));
        assert_eq!(names(&vfs, later, patience), Ok(2));
        let (attr, remaining) = vfs.getattr(ino, later, patience).unwrap();
        assert_eq!((attr.size, remaining), (7, Duration::ZERO));
        assert!(vfs.getattr(Ino::ROOT, later, patience).unwrap().1.is_zero());
    }
    let fh = vfs.open(ino, Access::Read, later, Patience::CacheOnly).unwrap().fh;
    assert_eq!(read(fh, later).unwrap(), b"content");
    // Nobody is told that there is nothing, and nothing is begun.
    for error in [
        look(&vfs, "new", later, Patience::Network).unwrap_err(),
        vfs.create(Ino::ROOT, b"new", NEW, later, Patience::Network).unwrap_err(),
        vfs.open(ino, Access::Write, later, Patience::Network).unwrap_err(),
        vfs.unlink(Ino::ROOT, b"f", later, Patience::Network).unwrap_err(),
    ] {
        assert_eq!(error.errno(), Errno::EHOSTDOWN, "{error}");
    }
    memory.away(false).file("/f", "changed");
    assert_eq!(vfs.getattr(ino, later, Patience::CacheOnly), Err(Error::WouldBlock));
    let ino = look(&vfs, "f", later, Patience::Network).unwrap();
    let fh = vfs.open(ino, Access::Read, later, Patience::Network).unwrap().fh;
    assert_eq!(read(fh, later).unwrap(), b"changed");
}

#[test]
fn nothing_is_shown_past_its_time_where_that_is_not_wished() {
    let memory = Memory::new();
    memory.file("/f", "content");
    let settings = Settings { stale_ok: false, ..Settings::default() };
    let (vfs, now) = (FileSystem::new(Arc::new(memory.clone()), settings), Instant::now());
    look(&vfs, "f", now, Patience::Network).unwrap();
    memory.away(true);
    assert!(look(&vfs, "f", now, Patience::CacheOnly).is_ok());
    assert_eq!(look(&vfs, "f", now + LATER, Patience::Network).unwrap_err().errno(), Errno::EHOSTDOWN);
}

/// umount(8), df(1) and file managers ask for it first of all, also while nobody knows yet that the server is away.
#[test]
fn the_mounted_directory_is_shown_as_it_was_where_no_answer_comes_in_a_moment() {
    let memory = Memory::new();
    memory.file("/f", "content");
    let (vfs, now) = (FileSystem::new(Arc::new(memory.clone()), Settings::default()), Instant::now());
    let known = vfs.getattr(Ino::ROOT, now, Patience::Network).unwrap().0;
    memory.close_gate();
    let begun = Instant::now();
    assert_eq!(vfs.getattr(Ino::ROOT, now + LATER, Patience::Network).unwrap(), (known, Duration::ZERO));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    memory.open_gate();
    assert!(!vfs.getattr(Ino::ROOT, now + LATER, Patience::Network).unwrap().1.is_zero());
}

#[test]
fn a_read_ends_with_its_deadline_and_the_next_one_works() {
    let memory = Memory::new();
    memory.file("/f", vec![7; MIB]);
    let (vfs, now) = (mount(&memory), Instant::now());
    let ino = look(&vfs, "f", now, Patience::Network).unwrap();
    let fh = vfs.open(ino, Access::Read, now, Patience::Network).unwrap().fh;
    memory.close_gate();
    let read = || vfs.read(fh, 0, 4096, now, Patience::Network);
    assert_eq!(in_time(&vfs, read).unwrap_err().errno(), Errno::ETIMEDOUT);
    // The kernel asks once more for the same page.
    let begun = Instant::now();
    assert_eq!(read().unwrap_err().errno(), Errno::ETIMEDOUT);
    assert!(begun.elapsed() < SHORT, "{:?}", begun.elapsed());
    memory.open_gate();
    // After a moment, in which it is not tried again.
    let deadline = Instant::now() + SHORT * 40;
    while read().is_err() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(read().unwrap().with(|bytes| bytes == [7; 4096]));
    vfs.release(fh, now, Patience::Network).unwrap();
    memory.await_counts("closed", |counts| counts.open_downloads == 0);
}

/// What a write was not told to have taken is not in the file, and what it was told is.
#[test]
fn a_writer_who_waits_too_long_is_told_so_and_what_was_taken_is_stored() {
    let memory = Memory::new();
    let (vfs, now) = (mount(&memory), Instant::now());
    let (entry, opened) = vfs.create(Ino::ROOT, b"f", NEW, now, Patience::Network).unwrap();
    memory.close_gate();
    let mut taken = 0;
    let error = loop {
        let write = || vfs.write(opened.fh, taken as u64, vec![1; MIB], now, Patience::Network);
        match in_time(&vfs, write) {
            Ok(()) => taken += MIB,
            Err(error) => break error,
        }
        assert!(taken < 64 * MIB, "nothing makes the writer wait");
    };
    assert_eq!(error.errno(), Errno::ETIMEDOUT);
    memory.open_gate();
    vfs.flush(opened.fh, now, Patience::Network).unwrap();
    assert!(memory.content("/f").unwrap() == vec![1; taken]);
    vfs.release(opened.fh, now, Patience::Network).unwrap();
    vfs.forget(entry.ino, 1);
}

#[test]
fn a_close_that_takes_too_long_fails_and_the_next_one_stores_all() {
    let memory = Memory::new();
    memory.file("/f", "old");
    let (vfs, now) = (mount(&memory), Instant::now());
    let ino = look(&vfs, "f", now, Patience::Network).unwrap();
    let fh = vfs.open(ino, Access::Truncate, now, Patience::Network).unwrap().fh;
    vfs.write(fh, 0, vec![3; 2 * MIB], now, Patience::Network).unwrap();
    memory.close_gate();
    assert_eq!(in_time(&vfs, || vfs.flush(fh, now, Patience::Network)).unwrap_err().errno(), Errno::ETIMEDOUT);
    memory.open_gate();
    vfs.flush(fh, now, Patience::Network).unwrap();
    assert!(memory.content("/f").unwrap() == vec![3; 2 * MIB]);
    vfs.release(fh, now, Patience::Network).unwrap();
}

/// A write that was said to have failed and was done all the same.
#[test]
fn no_close_is_well_after_a_write_that_came_too_late() {
    let memory = Memory::new();
    let (vfs, now) = (mount(&memory), Instant::now());
    let (_, opened) = vfs.create(Ino::ROOT, b"f", NEW, now, Patience::Network).unwrap();
    vfs.write(opened.fh, 0, &b"late"[..], now, Patience::Network).unwrap();
    vfs.disown(opened.fh);
    assert_eq!(vfs.flush(opened.fh, now, Patience::Network).unwrap_err().errno(), Errno::ETIMEDOUT);
    vfs.release(opened.fh, now, Patience::Network).unwrap();
    assert_eq!(memory.content("/f"), None);
}

/// A file is neither emptied nor made once the caller has heard that it was not.
#[test]
fn what_was_opened_too_late_changes_nothing() {
    let memory = Memory::new();
    memory.file("/f", "old");
    let (vfs, now) = (mount(&memory), Instant::now());
    let ino = look(&vfs, "f", now, Patience::Network).unwrap();
    let deadline = Deadline::background(vfs.ending());
    deadline.cancel();
    let _entered = deadline.enter();
    assert_eq!(vfs.open(ino, Access::Truncate, now, Patience::Network).unwrap_err().errno(), Errno::ETIMEDOUT);
    assert_eq!(vfs.create(Ino::ROOT, b"g", NEW, now, Patience::Network).unwrap_err().errno(), Errno::ETIMEDOUT);
    vfs.end(now, Duration::from_secs(5));
    assert_eq!(memory.tree().len(), 1);
    assert_eq!(memory.content("/f").unwrap(), b"old");
}
