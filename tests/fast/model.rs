//! Random operations on [`Vfs`] over a server in memory, against what the server holds.

use crate::memory::Memory;
use ftpsfs::remote::ErrorKind;
use ftpsfs::vfs::error::Error;
use ftpsfs::vfs::filesystem::{Access, Looked, Patience};
use ftpsfs::vfs::inodes::Ino;
use ftpsfs::vfs::{Settings, Vfs};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Instant;

const FILES: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    /// Reads at an offset, given in thousandths of the file.
    Read {
        file: usize,
        at: u64,
        size: u32,
    },
    /// Reads the whole file in steps of a size.
    Sweep {
        file: usize,
        step: u32,
    },
    Lookup {
        file: usize,
    },
    Absent,
    List,
    /// The next downloads break.
    Break {
        after: usize,
        kind: ErrorKind,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![Just(1), Just(4096), 1..200_000u32, Just(1 << 20)];
    prop_oneof![
        8 => (0..FILES, 0..1010u64, size).prop_map(|(file, at, size)| Step::Read { file, at, size }),
        1 => (0..FILES, 10_000..300_000u32).prop_map(|(file, step)| Step::Sweep { file, step }),
        2 => (0..FILES).prop_map(|file| Step::Lookup { file }),
        1 => Just(Step::Absent),
        1 => Just(Step::List),
        2 => (0..400_000usize, prop_oneof![Just(ErrorKind::Lost), Just(ErrorKind::Preempted)])
            .prop_map(|(after, kind)| Step::Break { after, kind }),
    ]
}

fn content(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at / 251 + at) as u8 ^ seed).collect()
}

fn up(vfs: &Vfs, name: &str, now: Instant) -> Ino {
    match vfs.lookup(Ino::ROOT, name.as_bytes(), now, Patience::Network).unwrap() {
        Looked::Up(entry) => entry.ino,
        Looked::Absent(_) => panic!("{name} is absent"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_read_gives_the_bytes_of_the_file(
        lens in prop::array::uniform3(prop_oneof![Just(0), 1..2000usize, 100_000..1_500_000usize, Just(262_144)]),
        cache_bytes_max in prop_oneof![Just(1), Just(131_072), Just(1 << 20), Just(32 << 20)],
        chunk in prop_oneof![Just(0), 1_000..50_000usize],
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let memory = Memory::new();
        memory.chunk(chunk);
        let contents: Vec<Vec<u8>> = (0..).zip(lens).map(|(seed, len)| content(len, seed)).collect();
        for (number, content) in contents.iter().enumerate() {
            memory.file(&format!("/f{number}"), content.clone());
        }
        let vfs = Vfs::new(Arc::new(memory.clone()), Settings { cache_bytes_max, ..Settings::default() });
        let now = Instant::now();
        let handles: Vec<_> = (0..FILES)
            .map(|file| {
                let ino = up(&vfs, &format!("f{file}"), now);
                vfs.open(ino, Access::Read, now, Patience::Network).unwrap().fh
            })
            .collect();
        // A download that breaks at once gets two more chances, so no more than two breaks may follow each other.
        let mut breaks = 0;
        let read = |file: usize, offset: u64, size: u32| {
            let bytes = vfs.read(handles[file], offset, size, now, Patience::Network).unwrap();
            let start = usize::try_from(offset).unwrap().min(contents[file].len());
            let end = contents[file].len().min(start + size as usize);
            bytes.with(|bytes| assert!(bytes == &contents[file][start..end], "{file} {offset} {size}"));
        };
        for step in steps {
            match step {
                Step::Read { file, at, size } => read(file, at * lens[file] as u64 / 1000, size),
                Step::Sweep { file, step } => {
                    (0..=lens[file] as u64).step_by(step as usize).for_each(|offset| read(file, offset, step));
                }
                Step::Lookup { file } => {
                    let Looked::Up(entry) = vfs
                        .lookup(Ino::ROOT, format!("f{file}").as_bytes(), now, Patience::Network).unwrap()
                    else { panic!("f{file} is absent") };
                    assert_eq!(entry.attr.size, lens[file] as u64);
                }
                Step::Absent => {
                    let looked = vfs.lookup(Ino::ROOT, b"absent", now, Patience::Network).unwrap();
                    assert!(matches!(looked, Looked::Absent(_)));
                }
                Step::List => {
                    let opened = vfs.opendir(Ino::ROOT, now, Patience::Network).unwrap();
                    let mut names = Vec::new();
                    vfs.readdir(opened.fh, 0, now, |entry| {
                        names.push(String::from_utf8(entry.name.to_vec()).unwrap());
                        false
                    }).unwrap();
                    assert_eq!(names, [".", "..", "f0", "f1", "f2"]);
                    vfs.releasedir(opened.fh).unwrap();
                }
                Step::Break { after, kind } => {
                    if kind == ErrorKind::Preempted || breaks < 2 {
                        breaks += usize::from(kind == ErrorKind::Lost);
                        memory.break_next(after, kind);
                    }
                }
            }
        }
        for fh in handles {
            vfs.release(fh, now, Patience::Network).unwrap();
            assert_eq!(vfs.release(fh, now, Patience::Network), Err(Error::BadHandle));
        }
    }
}
