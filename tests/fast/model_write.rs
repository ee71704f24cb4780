//! Random operations of a writer and of a second client, with failures in between, against the trees that may come out.

use crate::memory::Memory;
use crate::stored::CacheDir;
use crate::writeback::{copy_journal, open_journal};
use crate::writing::settled;
use ftpsfs::remote::ErrorKind;
use ftpsfs::vfs::error::Error;
use ftpsfs::vfs::filesystem::{Access, Fh, Looked, Patience};
use ftpsfs::vfs::inodes::Ino;
use ftpsfs::vfs::journal::Journal;
use ftpsfs::vfs::settings::UploadWay;
use ftpsfs::vfs::writeback::Backlog;
use ftpsfs::vfs::writing::{Changes, Creation};
use ftpsfs::vfs::{Settings, Vfs};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

const NETWORK: Patience = Patience::Network;

/// Two directories with two files each may be: `/a`, `/b`, `/d/a`, `/d/b`.
const FILES: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Open {
        file: usize,
        how: How,
    },
    Write {
        slot: usize,
        at: u64,
        len: usize,
        seed: u8,
    },
    /// At the end.
    Append {
        slot: usize,
        len: usize,
        seed: u8,
    },
    Read {
        slot: usize,
    },
    Resize {
        slot: usize,
        size: u64,
    },
    ResizePath {
        file: usize,
        size: u64,
    },
    Flush {
        slot: usize,
    },
    Close {
        slot: usize,
    },
    Rename {
        from: usize,
        to: usize,
    },
    Unlink {
        file: usize,
    },
    Look {
        file: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Read,
    Write,
    Truncate,
    Exclusive,
}

fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    let how = prop_oneof![Just(How::Read), Just(How::Write), Just(How::Truncate), Just(How::Exclusive)];
    let len = prop_oneof![4 => 1..200usize, 1 => 100_000..400_000usize, 1 => Just(5 << 20)];
    let at = prop_oneof![3 => 0..300u64, 1 => 0..1_000_000u64];
    let size = prop_oneof![Just(0), 0..300u64, 0..1_000_000u64];
    let slot = 0..3usize;
    let step = prop_oneof![
        6 => (0..FILES, how).prop_map(|(file, how)| Step::Open { file, how }),
        6 => (slot.clone(), at, len.clone(), any::<u8>())
            .prop_map(|(slot, at, len, seed)| Step::Write { slot, at, len, seed }),
        6 => (slot.clone(), len, any::<u8>()).prop_map(|(slot, len, seed)| Step::Append { slot, len, seed }),
        3 => slot.clone().prop_map(|slot| Step::Read { slot }),
        2 => (slot.clone(), size.clone()).prop_map(|(slot, size)| Step::Resize { slot, size }),
        1 => (0..FILES, size).prop_map(|(file, size)| Step::ResizePath { file, size }),
        2 => slot.clone().prop_map(|slot| Step::Flush { slot }),
        3 => slot.prop_map(|slot| Step::Close { slot }),
        2 => (0..FILES, 0..FILES).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => (0..FILES).prop_map(|file| Step::Unlink { file }),
        2 => (0..FILES).prop_map(|file| Step::Look { file }),
    ];
    prop::collection::vec(step, 1..count)
}

fn content(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at / 251 + at) as u8 ^ seed).collect()
}

/// A file that is open, and which content it means.
struct Slot {
    fh: Fh,
    inode: usize,
    writes: bool,
}

/// What a local file system would do.
#[derive(Default)]
struct Model {
    inodes: Vec<Vec<u8>>,
    names: BTreeMap<usize, usize>,
}

impl Model {
    fn create(&mut self, file: usize) -> usize {
        self.inodes.push(Vec::new());
        self.names.insert(file, self.inodes.len() - 1);
        self.inodes.len() - 1
    }

    fn write(&mut self, inode: usize, at: usize, bytes: &[u8]) {
        let content = &mut self.inodes[inode];
        if content.len() < at + bytes.len() {
            content.resize(at + bytes.len(), 0);
        }
        content[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

struct World {
    vfs: Vfs,
    now: Instant,
    d: Ino,
    writeback: bool,
}

impl World {
    fn new(test: &str, memory: &Memory, settings: Settings) -> Self {
        Self::with_cache(test, memory, settings, None)
    }

    fn with_cache(test: &str, memory: &Memory, settings: Settings, cache: Option<&CacheDir>) -> Self {
        memory.directory("/d");
        let settings = Settings { recovery_dir: recovery(test), umask: 0, host: "box".into(), ..settings };
        let writeback = settings.writeback;
        let journal = writeback.then(|| open_journal(&journal(test)));
        let disk = cache.map(|cache| cache.open("model"));
        let (vfs, now) = (Vfs::with_disk(Arc::new(memory.clone()), settings, journal, disk), Instant::now());
        vfs.resume(now);
        let Looked::Up(d) = vfs.lookup(Ino::ROOT, b"d", now, NETWORK).unwrap() else { panic!("d is absent") };
        Self { vfs, now, d: d.ino, writeback }
    }

    fn place(&self, file: usize) -> (Ino, &'static [u8]) {
        (if file < 2 { Ino::ROOT } else { self.d }, if file.is_multiple_of(2) { b"a" } else { b"b" })
    }

    fn lookup(&self, file: usize) -> Result<Option<(Ino, u64)>, Error> {
        let (parent, name) = self.place(file);
        Ok(match self.vfs.lookup(parent, name, self.now, NETWORK)? {
            Looked::Up(entry) => Some((entry.ino, entry.attr.size)),
            Looked::Absent(_) => None,
        })
    }

    /// As the kernel does it: by name where that is known, else by creating.
    fn open(&self, file: usize, how: How) -> Result<Fh, Error> {
        let (parent, name) = self.place(file);
        let access = match how {
            How::Read => Access::Read,
            How::Write | How::Exclusive => Access::Write,
            How::Truncate => Access::Truncate,
        };
        match self.lookup(file)? {
            Some(_) if how == How::Exclusive => Err(Error::Exists),
            Some((ino, _)) => Ok(self.vfs.open(ino, access, self.now, NETWORK)?.fh),
            None if how == How::Read => Err(Error::NoSuchEntry),
            None => {
                let (exclusive, truncate) = (how == How::Exclusive, how == How::Truncate);
                let creation = Creation { mode: 0o644, exclusive, truncate };
                Ok(self.vfs.create(parent, name, creation, self.now, NETWORK)?.1.fh)
            }
        }
    }

    fn read(&self, fh: Fh) -> Result<Vec<u8>, Error> {
        Ok(self.vfs.read(fh, 0, 64 << 20, self.now, NETWORK)?.with(<[u8]>::to_vec))
    }

    fn resize(&self, ino: Ino, fh: Option<Fh>, size: u64) -> Result<(), Error> {
        let changes = Changes { size: Some(size), ..Changes::default() };
        self.vfs.setattr(ino, fh, changes, self.now, NETWORK).map(drop)
    }

    fn rename(&self, from: usize, to: usize) -> Result<(), Error> {
        let ((parent, name), (new_parent, new_name)) = (self.place(from), self.place(to));
        self.vfs.rename(parent, name, new_parent, new_name, false, self.now, NETWORK)
    }

    fn unlink(&self, file: usize) -> Result<(), Error> {
        let (parent, name) = self.place(file);
        self.vfs.unlink(parent, name, self.now, NETWORK)
    }

    fn close(&self, fh: Fh) -> Result<(), Error> {
        let flushed = self.vfs.flush(fh, self.now, NETWORK);
        self.vfs.release(fh, self.now, NETWORK).unwrap();
        flushed
    }
}

fn journal(test: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("ftpsfs-model-journal-{test}-{}", std::process::id()))
}

fn recovery(test: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("ftpsfs-model-{test}-{}", std::process::id()))
}

fn path(file: usize) -> &'static str {
    ["/a", "/b", "/d/a", "/d/b"][file]
}

fn ways() -> impl Strategy<Value = UploadWay> {
    prop_oneof![3 => Just(UploadWay::Temporary), 1 => Just(UploadWay::Direct)]
}

/// The machine stops at once: what is on its disk, and what is on the server.
fn stop(memory: &Memory, test: &str) -> (std::path::PathBuf, Memory) {
    memory.close_gate();
    // Who is under way comes to the gate; what is copied before that is the disk a little earlier.
    let stopped = loop {
        let copy = copy_journal(&journal(test), &journal(&format!("{test}-copy")));
        let server = memory.fork();
        std::thread::sleep(std::time::Duration::from_millis(2));
        if let Ok(copy) = copy {
            break (copy, server);
        }
    };
    memory.open_gate();
    stopped
}

/// What is on the server, without the temporary files of who stopped.
fn without_leftovers(memory: &Memory) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut tree = memory.tree();
    tree.retain(|path, _| !path.contains(".ftpsfs-"));
    tree
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Without failures and second clients the mount is a local file system, and after the last close the server has it.
    ///
    /// With a journal the same holds, and when the machine stops after the last close the next mount sees to it.
    #[test]
    fn the_mount_behaves_as_a_local_file_system(
        upload in ways(),
        writeback in any::<bool>(),
        names in any::<bool>(),
        stored in any::<bool>(),
        breaks in prop::collection::vec(0..6_000_000usize, 0..4),
        steps in steps(40),
    ) {
        let memory = Memory::new();
        memory.names_uploads(names);
        let cache = stored.then(CacheDir::new);
        // What is on the disk is read from there only if it is not in memory.
        let cache_bytes_max = if stored { 1 } else { Settings::default().cache_bytes_max };
        let settings = Settings { upload, writeback, cache_bytes_max, ..Settings::default() };
        let world = World::with_cache("local", &memory, settings, cache.as_ref());
        let mut model = Model::default();
        let mut open: Vec<Slot> = Vec::new();
        for bytes in breaks {
            // Uploads are taken up again: nobody notices.
            memory.break_next_upload(bytes, ErrorKind::Lost);
        }
        for step in steps {
            let slot = |slot: usize, open: &[Slot]| (!open.is_empty()).then(|| slot % open.len());
            match step {
                Step::Open { file, how } if open.len() < 3 => {
                    let opened = world.open(file, how);
                    let known = model.names.get(&file).copied();
                    let inode = match (known, how) {
                        (Some(_), How::Exclusive) | (None, How::Read) => {
                            prop_assert!(opened.is_err());
                            continue;
                        }
                        (Some(inode), How::Truncate) => {
                            model.inodes[inode].clear();
                            inode
                        }
                        (Some(inode), _) => inode,
                        (None, _) => model.create(file),
                    };
                    open.push(Slot { fh: opened.unwrap(), inode, writes: how != How::Read });
                }
                Step::Write { slot: at_slot, at, len, seed } => {
                    let Some(slot) = slot(at_slot, &open).map(|slot| &open[slot]).filter(|slot| slot.writes) else { continue };
                    let bytes = content(len, seed);
                    world.vfs.write(slot.fh, at, &bytes, world.now, NETWORK).unwrap();
                    model.write(slot.inode, at as usize, &bytes);
                }
                Step::Append { slot: at_slot, len, seed } => {
                    let Some(slot) = slot(at_slot, &open).map(|slot| &open[slot]).filter(|slot| slot.writes) else { continue };
                    let (bytes, at) = (content(len, seed), model.inodes[slot.inode].len());
                    world.vfs.write(slot.fh, at as u64, &bytes, world.now, NETWORK).unwrap();
                    model.write(slot.inode, at, &bytes);
                }
                Step::Read { slot: at_slot } => {
                    let Some(slot) = slot(at_slot, &open).map(|slot| &open[slot]) else { continue };
                    prop_assert!(world.read(slot.fh).unwrap() == model.inodes[slot.inode]);
                }
                Step::Resize { slot: at_slot, size } => {
                    let Some(slot) = slot(at_slot, &open).map(|slot| &open[slot]).filter(|slot| slot.writes) else { continue };
                    // The kernel names the inode too; any will do where there is a handle, as long as it is known.
                    let Some((&file, _)) = model.names.iter().find(|(_, inode)| **inode == slot.inode) else { continue };
                    let (ino, _) = world.lookup(file).unwrap().unwrap();
                    world.resize(ino, Some(slot.fh), size).unwrap();
                    model.inodes[slot.inode].resize(size as usize, 0);
                }
                Step::ResizePath { file, size } => {
                    let Some((ino, _)) = world.lookup(file).unwrap() else { continue };
                    world.resize(ino, None, size).unwrap();
                    let inode = model.names[&file];
                    model.inodes[inode].resize(size as usize, 0);
                    prop_assert!(writeback || memory.content(path(file)).unwrap() == model.inodes[inode]);
                }
                Step::Flush { slot: at_slot } => {
                    let Some(slot) = slot(at_slot, &open).map(|slot| &open[slot]) else { continue };
                    world.vfs.fsync(slot.fh, world.now, NETWORK).unwrap();
                    let named = model.names.iter().find(|(_, inode)| **inode == slot.inode);
                    if let Some((&file, _)) = named.filter(|_| slot.writes) {
                        prop_assert!(memory.content(path(file)).unwrap() == model.inodes[slot.inode]);
                    }
                }
                Step::Close { slot: at_slot } => {
                    let Some(slot) = slot(at_slot, &open).map(|slot| open.remove(slot)) else { continue };
                    world.close(slot.fh).unwrap();
                    let named = model.names.iter().find(|(_, inode)| **inode == slot.inode);
                    if let Some((&file, _)) = named.filter(|_| slot.writes && !writeback) {
                        prop_assert!(memory.content(path(file)).unwrap() == model.inodes[slot.inode]);
                    }
                }
                Step::Rename { from, to } => {
                    let Some(inode) = model.names.get(&from).copied() else {
                        prop_assert!(world.rename(from, to).is_err());
                        continue;
                    };
                    // Who reads a file that another one replaces may lose it; that is written down.
                    let replaced = model.names.get(&to);
                    if from != to && replaced.is_some_and(|replaced| open.iter().any(|slot| slot.inode == *replaced)) {
                        continue;
                    }
                    world.rename(from, to).unwrap();
                    model.names.remove(&from);
                    model.names.insert(to, inode);
                }
                Step::Unlink { file } => {
                    prop_assert_eq!(world.unlink(file).is_ok(), model.names.remove(&file).is_some());
                }
                Step::Look { file } => {
                    let size = model.names.get(&file).map(|inode| model.inodes[*inode].len() as u64);
                    prop_assert_eq!(world.lookup(file).unwrap().map(|(_, size)| size), size);
                }
                Step::Open { .. } => {}
            }
        }
        for slot in open {
            world.close(slot.fh).unwrap();
        }
        let mut expected: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::from([("/d".into(), None)]);
        expected.extend(model.names.iter().map(|(file, inode)| (path(*file).into(), Some(model.inodes[*inode].clone()))));
        if world.writeback {
            let (disk, server) = stop(&memory, "local");
            let copy = Some(open_journal(&disk));
            let settings = Settings { upload, recovery_dir: recovery("local"), ..Settings::default() };
            let next = Vfs::with_journal(Arc::new(server.clone()), settings, copy);
            next.resume(Instant::now());
            let left = next.drain(|_| false);
            prop_assert!(left == Backlog::default() && without_leftovers(&server) == expected, "{left}");
            std::fs::remove_dir_all(disk).unwrap();
            prop_assert_eq!(world.vfs.drain(|_| false), Backlog::default());
            prop_assert!(!Journal::is_waiting(&journal("local")));
        }
        prop_assert!(settled(&memory) == expected);
        prop_assert!(!recovery("local").exists());
    }

    /// Whatever fails: a file on the server has a content that was whole there, or that close or fsync was asked for; and
    /// once they say that all is well, it is the one that was written.
    #[test]
    fn nothing_is_lost_in_silence(
        failures in prop::collection::vec((0..40usize, 0..5usize, prop_oneof![
            Just(ErrorKind::Lost), Just(ErrorKind::TimedOut), Just(ErrorKind::NoSpace), Just(ErrorKind::PermissionDenied),
            Just(ErrorKind::Busy), Just(ErrorKind::Unavailable),
        ]), 0..6),
        rounds in prop::collection::vec((0..2usize, any::<bool>(), any::<bool>(), prop::collection::vec(
            (prop_oneof![Just(None), (0..400u64).prop_map(Some)], prop_oneof![4 => 1..300usize, 1 => Just(3 << 20)]), 0..6,
        )), 1..6),
        names in any::<bool>(),
    ) {
        let memory = Memory::new();
        memory.names_uploads(names);
        let mut allowed: [Vec<Option<Vec<u8>>>; 2] = [vec![None], vec![None]];
        for (number, (file, truncate, foreign, writes)) in rounds.iter().enumerate() {
            let how = if *truncate { How::Truncate } else { How::Write };
            // The second client works between two opens, or right into one.
            let theirs = content(50 + number, 99);
            if *foreign && number % 2 == 0 {
                memory.file(path(*file), theirs.clone());
                allowed[*file] = vec![Some(theirs.clone())];
            }
            let world = World::new("failures", &memory, Settings::default());
            // Of the first file that it writes a mount learns what permission bits the server gives.
            world.close(world.open(FILES - 1, How::Truncate).unwrap()).unwrap();
            let Ok(fh) = world.open(*file, how) else { continue };
            let mut mine = if *truncate { Vec::new() } else { allowed[*file][0].clone().unwrap_or_default() };
            for (at, kind, error) in &failures {
                if at % rounds.len() == number {
                    match kind {
                        0 | 1 => memory.fail_next(*error),
                        2 => memory.fail_next_late(if *error == ErrorKind::Busy { ErrorKind::Lost } else { *error }),
                        3 => memory.break_next_upload(at * 10_000, *error),
                        _ => memory.room(Some(at * 100_000)),
                    };
                }
            }
            let mut stages = vec![mine.clone()];
            for (at, len) in writes {
                let bytes = content(*len, number as u8);
                let at = at.map_or(mine.len(), |at| at as usize);
                if world.vfs.write(fh, at as u64, &bytes, world.now, NETWORK).is_err() {
                    break;
                }
                if mine.len() < at + len {
                    mine.resize(at + len, 0);
                }
                mine[at..at + len].copy_from_slice(&bytes);
                stages.push(mine.clone());
            }
            let mut changed = false;
            if *foreign && number % 2 == 1 {
                memory.file(path(*file), theirs.clone());
                allowed[*file] = vec![Some(theirs.clone())];
                changed = true;
            }
            let closed = world.close(fh);
            memory.heal();
            let there = memory.content(path(*file));
            if closed.is_ok() && !changed {
                prop_assert!(there.as_ref() == Some(&mine), "{:?} for {}", there.as_ref().map(Vec::len), mine.len());
                allowed[*file] = vec![Some(mine)];
            } else if closed.is_ok() {
                // A change that comes after the last look at the file is overwritten; one that came before is not.
                prop_assert!(writes.is_empty() && !truncate || there.as_ref() == Some(&mine) || there.as_ref() == Some(&theirs));
                allowed[*file] = vec![there];
            } else {
                // Where the server refuses temporary names files are written in place: then a break shows.
                let refused = failures.iter().any(|(_, _, error)| {
                    matches!(error, ErrorKind::PermissionDenied | ErrorKind::Unavailable)
                });
                let in_place = refused && there.as_ref().is_some_and(|there| mine.starts_with(there));
                let whole = in_place || allowed[*file].contains(&there) || there.as_ref() == Some(&mine);
                // What is appended goes straight to its file.
                let appended = allowed[*file].iter().flatten().any(|old| {
                    there.as_ref().is_some_and(|there| {
                        there.starts_with(old) && stages.iter().any(|stage| stage.starts_with(there))
                    })
                });
                prop_assert!(whole || appended, "{:?}: {:?}", closed, there.as_ref().map(Vec::len));
                allowed[*file] = vec![there];
            }
            let seen = World::new("failures", &memory, Settings::default()).lookup(*file).unwrap().map(|(_, size)| size);
            prop_assert_eq!(seen, allowed[*file][0].as_ref().map(|content| content.len() as u64));
        }
        std::fs::remove_dir_all(recovery("failures")).ok();
    }
}
