//! Files that get another name, or lose it, while somebody reads them.

use super::{MIB, Mount, NETWORK, NEW, settled};
use crate::memory::{Call, Memory};
use ftpsfs::remote::ErrorKind;
use ftpsfs::vfs::filesystem::{Access, Looked};
use ftpsfs::vfs::inodes::Ino;
use ftpsfs::vfs::{Settings, Vfs};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn content(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 253 + at * seed) as u8).collect()
}

fn lookup(vfs: &Vfs, parent: Ino, name: &str, now: Instant) -> Ino {
    match vfs.lookup(parent, name.as_bytes(), now, NETWORK).unwrap() {
        Looked::Up(entry) => entry.ino,
        Looked::Absent(_) => panic!("{name} is absent"),
    }
}

/// Two of one size, so that nothing but the path tells one from the other: what is read is the one that was opened, whenever the
/// other gets its name.
#[test]
fn a_file_is_read_to_its_end_whatever_gets_its_name() {
    let (ours, others) = (content(1, 3 * MIB), content(7, 3 * MIB));
    // Before the first download is opened; before the second one, after the first gave way or was lost.
    for breaks in [None, Some(ErrorKind::Preempted), Some(ErrorKind::Lost)] {
        for by_directory in [false, true] {
            let memory = Memory::new();
            memory.directory("/d").directory("/e").file("/d/f", ours.clone()).file("/e/f", others.clone());
            memory.file("/g", others.clone());
            let (vfs, now) = (Arc::new(Vfs::new(Arc::new(memory.clone()), Settings::default())), Instant::now());
            let (d, e) = (lookup(&vfs, Ino::ROOT, "d", now), lookup(&vfs, Ino::ROOT, "e", now));
            let file = lookup(&vfs, d, "f", now);
            lookup(&vfs, e, "f", now);
            let fh = vfs.open(file, Access::Read, now, NETWORK).unwrap().fh;
            let rename = {
                let vfs = Arc::clone(&vfs);
                move || {
                    let to_root = |parent, name: &str, new: Ino, to: &str| {
                        vfs.rename(parent, name.as_bytes(), new, to.as_bytes(), false, now, NETWORK).unwrap();
                    };
                    if by_directory {
                        to_root(Ino::ROOT, "d", Ino::ROOT, "x");
                        to_root(Ino::ROOT, "e", Ino::ROOT, "d");
                    } else {
                        to_root(Ino::ROOT, "g", d, "f");
                    }
                }
            };
            if let Some(kind) = breaks {
                memory.break_next(MIB + 1000, kind);
                memory.on_read(|| {});
            }
            memory.on_read(rename);
            let read = vfs.read(fh, 0, u32::MAX, now, NETWORK).unwrap().with(<[u8]>::to_vec);
            assert!(read == ours, "{breaks:?} {by_directory}: another file was read");
            vfs.release(fh, now, NETWORK).unwrap();
            let place = if by_directory { "/x/f" } else { "/d/f" };
            let there = if by_directory { &ours } else { &others };
            assert_eq!(settled(&memory).get(place), Some(&Some(there.clone())));
        }
    }
}

/// Nothing is believed of its attributes, and they are needed: what was known of it goes with its name.
#[test]
fn a_file_that_is_replaced_can_be_read_on_where_nothing_is_believed() {
    let memory = Memory::new();
    let (old, new) = (content(1, 2 * MIB), content(3, 2 * MIB));
    memory.file("/old", old.clone()).file("/new", new.clone());
    let mount = Mount::with(
        &memory,
        Settings { attr_timeout: Duration::ZERO, dir_timeout: Duration::ZERO, ..Settings::default() },
    );
    let fh = mount.open("old", Access::Read);
    mount.rename("new", "old").unwrap();
    assert!(mount.read(fh) == old);
    mount.release(fh);
    assert_eq!(mount.settled().into_iter().collect::<Vec<_>>(), [("/old".to_owned(), Some(new))]);
}

/// Whichever of its questions fails.
#[test]
fn what_could_not_be_created_is_not_open() {
    let mut failed = 0;
    for number in 0..8 {
        let memory = Memory::new();
        memory.file("/f", "old");
        let settings = Settings { attr_timeout: Duration::ZERO, dir_timeout: Duration::ZERO, ..Settings::default() };
        let mount = Mount::with(&memory, settings);
        let mut calls = 0;
        memory.on_call({
            let memory = memory.clone();
            move || {
                calls += 1;
                if calls == number {
                    memory.fail_next(ErrorKind::Lost);
                }
            }
        });
        match mount.create("f", NEW) {
            Ok((_, fh)) => mount.close(fh).unwrap(),
            Err(_) => failed += 1,
        }
        memory.on_call(|| {});
        memory.heal();
        memory.take_calls();
        mount.unlink("f").unwrap();
        // One that is open is renamed away.
        assert_eq!(memory.take_calls(), [Call::RemoveFile], "{number}");
    }
    assert!(failed >= 2, "{failed}");
}
