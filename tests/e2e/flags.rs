//! Every combination of open flags, with a file there and none, through sequences of calls: on a mount and in a local
//! directory side by side. Each call must give the same result, and the files must end the same.

use crate::cases::{Case, on_every_empty_server};
use crate::support::run::{PATIENCE, finish, within};
use nix::libc::{O_APPEND, O_CREAT, O_EXCL, O_TRUNC};
use std::fmt::{Debug, Write as _};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

on_every_empty_server! {
    every_open_flag_does_what_it_does_locally,
    every_open_flag_does_so_in_place,
}

/// What may differ from a local file system, and why; `docs/semantics.md` says the same. Of `sequence`, what begins with
/// `call` is not compared.
const DIFFERENCES: &[Difference] = &[];

struct Difference {
    sequence: &'static str,
    call: &'static str,
}

/// What is in a file that is there before.
const BEFORE: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

fn every_open_flag_does_what_it_does_locally(case: &Case) {
    side_by_side(case, &[]);
}

fn every_open_flag_does_so_in_place(case: &Case) {
    side_by_side(case, &["upload=direct"]);
}

fn side_by_side(case: &Case, options: &[&str]) {
    let local = Local::new();
    let mut cases = Vec::new();
    for flags in Flags::all() {
        for (sequence, run) in SEQUENCES {
            let name = format!("{sequence}-{}", flags.name());
            if flags.exists {
                case.put(&name, BEFORE);
                fs::write(local.path.join(&name), BEFORE).unwrap();
            }
            cases.push((name, flags, *sequence, *run));
        }
    }
    let mount = case.mount_rw(options);
    let mut wrong = String::new();
    for (name, flags, sequence, run) in &cases {
        let there = said(&mount.point, name, *flags, *run);
        let here = said(&local.path, name, *flags, *run);
        if told(sequence, &there) != told(sequence, &here) {
            let _ = writeln!(wrong, "{name}\n  mount: {}\n  local: {}", there.join(", "), here.join(", "));
        }
    }
    // What the server kept, once nothing is left in memory.
    mount.end();
    assert!(wrong.is_empty(), "{} of {}:\n{wrong}", wrong.lines().count() / 3, cases.len());
    let differ = finish(within(PATIENCE, "diff").arg("-r").arg(&case.disk).arg(&local.path));
    assert!(differ.status == 0, "on the server's disk: {}", differ.stdout);
}

/// What is compared of `said`.
fn told<'a>(sequence: &str, said: &'a [String]) -> Vec<&'a String> {
    let known = |call: &str| DIFFERENCES.iter().any(|known| known.sequence == sequence && call.starts_with(known.call));
    said.iter().filter(|call| !known(call)).collect()
}

/// A directory on a local file system of the kernel's.
struct Local {
    path: PathBuf,
}

impl Local {
    fn new() -> Self {
        let made = finish(within(PATIENCE, "mktemp").args(["-d", "/dev/shm/ftpsfs-test-XXXXXX"])).succeeded();
        Self { path: PathBuf::from(made.trim()) }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[derive(Clone, Copy)]
struct Flags {
    read: bool,
    write: bool,
    others: i32,
    exists: bool,
}

impl Flags {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (read, write) in [(true, false), (false, true), (true, true)] {
            for bits in 0..16 {
                let chosen = Self::OTHERS.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
                let others = chosen.fold(0, |flags, (_, (flag, _))| flags | flag);
                all.extend([false, true].map(|exists| Self { read, write, others, exists }));
            }
        }
        all
    }

    fn name(self) -> String {
        let mut name = String::from(match (self.read, self.write) {
            (true, false) => "RDONLY",
            (false, _) => "WRONLY",
            _ => "RDWR",
        });
        for (flag, word) in Self::OTHERS {
            if self.others & flag != 0 {
                name += word;
            }
        }
        name + if self.exists { "-there" } else { "-none" }
    }

    fn open(self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(self.read).write(self.write).custom_flags(self.others).mode(0o644).open(path)
    }

    const OTHERS: [(i32, &'static str); 4] =
        [(O_APPEND, "+APPEND"), (O_TRUNC, "+TRUNC"), (O_CREAT, "+CREAT"), (O_EXCL, "+EXCL")];
}

/// Runs a sequence on `name` in `directory`, and tells what every call said.
fn said(directory: &Path, name: &str, flags: Flags, run: fn(&mut Stage)) -> Vec<String> {
    let path = directory.join(name);
    let mut stage = Stage { path, said: Vec::new(), file: None };
    match flags.open(&stage.path) {
        Ok(file) => {
            stage.file = Some(file);
            stage.note("open", Ok(()));
            run(&mut stage);
        }
        Err(error) => stage.note::<()>("open", Err(error)),
    }
    if let Some(file) = stage.file.take() {
        stage.note("close", nix::unistd::close(file).map_err(io::Error::from));
    }
    stage.sizes();
    let content = fs::read(&stage.path);
    stage.note("content", content.map(|bytes| text(&bytes)));
    stage.said
}

/// An open file and what its calls said.
struct Stage {
    path: PathBuf,
    file: Option<File>,
    said: Vec<String>,
}

impl Stage {
    fn note<T: Debug>(&mut self, call: &str, result: io::Result<T>) {
        self.said.push(match result {
            Ok(value) => format!("{call}: {value:?}"),
            Err(error) => {
                let number = error.raw_os_error().map_or_else(|| error.to_string(), errno);
                format!("{call}: {number}")
            }
        });
    }

    fn file(&self) -> &File {
        self.file.as_ref().unwrap()
    }

    fn write(&mut self, bytes: &[u8]) {
        let result = self.file().write(bytes);
        self.note("write", result);
    }

    fn read(&mut self, length: usize) {
        let mut bytes = vec![0; length];
        let result = self.file().read(&mut bytes).map(|count| text(&bytes[..count]));
        self.note("read", result);
    }

    fn read_at(&mut self, offset: u64, length: usize) {
        let mut bytes = vec![0; length];
        let result = self.file().read_at(&mut bytes, offset).map(|count| text(&bytes[..count]));
        self.note("pread", result);
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) {
        let result = self.file().write_at(bytes, offset);
        self.note("pwrite", result);
    }

    fn seek(&mut self, to: SeekFrom) {
        let result = self.file().seek(to);
        self.note("seek", result);
    }

    fn truncate(&mut self, size: u64) {
        let result = self.file().set_len(size);
        self.note("truncate", result);
    }

    fn fsync(&mut self) {
        let result = self.file().sync_all();
        self.note("fsync", result);
    }

    /// By handle and by name.
    fn sizes(&mut self) {
        if let Some(file) = &self.file {
            let size = file.metadata().map(|metadata| metadata.size());
            self.note("fstat", size);
        }
        let size = fs::metadata(&self.path).map(|metadata| metadata.size());
        self.note("stat", size);
    }

    fn other(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push("-other");
        name.into()
    }
}

type Sequence = (&'static str, fn(&mut Stage));

const SEQUENCES: &[Sequence] = &[
    ("nothing", |_| {}),
    ("read", |stage| {
        stage.read(8);
        stage.read(100);
        stage.read(1);
        stage.read_at(5, 5);
        stage.read_at(100, 5);
        stage.sizes();
    }),
    ("write", |stage| {
        stage.write(b"WXYZ");
        stage.sizes();
        stage.write(b"!");
        stage.write(b"");
        stage.sizes();
    }),
    ("seek", |stage| {
        stage.seek(SeekFrom::Start(15));
        stage.write(b"FIFTEEN");
        stage.seek(SeekFrom::End(0));
        stage.seek(SeekFrom::Start(45));
        stage.write(b"after a hole");
        stage.sizes();
        stage.seek(SeekFrom::Current(-3));
        stage.seek(SeekFrom::End(-1));
        stage.seek(SeekFrom::Start(2));
        stage.write(b"TWO");
    }),
    ("positions", |stage| {
        stage.write_at(30, b"thirty");
        stage.write_at(0, b"zero");
        stage.read_at(0, 50);
        stage.write(b"mark");
        stage.sizes();
    }),
    ("read-back", |stage| {
        stage.write(b"abc");
        stage.seek(SeekFrom::Start(0));
        stage.read(100);
        stage.write(b"def");
        stage.seek(SeekFrom::Start(1));
        stage.read(100);
    }),
    ("shorter", |stage| {
        stage.truncate(5);
        stage.sizes();
        stage.read(100);
        stage.write(b"T");
        stage.truncate(0);
        stage.write(b"U");
    }),
    ("longer", |stage| {
        stage.truncate(60);
        stage.sizes();
        stage.read_at(30, 100);
        stage.write(b"beginning");
        stage.truncate(61);
    }),
    ("fsync", |stage| {
        stage.fsync();
        stage.write(b"one");
        stage.fsync();
        stage.sizes();
        stage.write(b"two");
        stage.fsync();
        stage.read_at(0, 100);
    }),
    ("two-handles", |stage| {
        let other = OpenOptions::new().read(true).write(true).open(&stage.path);
        let Ok(other) = other else { return stage.note("open again", other) };
        let first = stage.file.replace(other).unwrap();
        stage.write(b"by the second");
        let second = stage.file.replace(first).unwrap();
        stage.write(b"FIRST");
        stage.read(100);
        let first = stage.file.replace(second).unwrap();
        stage.read_at(0, 100);
        stage.sizes();
        let second = stage.file.replace(first).unwrap();
        stage.note("close the second", nix::unistd::close(second).map_err(io::Error::from));
        stage.write(b"LAST");
    }),
    ("dup", |stage| {
        stage.write(b"one");
        let clone = stage.file().try_clone().unwrap();
        stage.note("close one of two", nix::unistd::close(clone).map_err(io::Error::from));
        stage.sizes();
        stage.write(b"two");
    }),
    ("unlink", |stage| {
        stage.write(b"before");
        let removed = fs::remove_file(&stage.path);
        stage.note("unlink", removed);
        stage.write(b"after");
        stage.fsync();
        stage.read_at(0, 100);
        stage.sizes();
    }),
    ("unlink-and-make", |stage| {
        stage.write(b"old");
        let removed = fs::remove_file(&stage.path);
        stage.note("unlink", removed);
        let made = fs::write(&stage.path, b"another file");
        stage.note("make", made);
        stage.write(b"goes to the old one");
        stage.sizes();
    }),
    ("rename", |stage| {
        stage.write(b"before");
        let other = stage.other();
        let renamed = fs::rename(&stage.path, &other);
        stage.note("rename", renamed);
        stage.write(b"after");
        stage.sizes();
        let size = fs::metadata(&other).map(|metadata| metadata.size());
        stage.note("stat of the new name", size);
    }),
    ("replaced", |stage| {
        stage.write(b"old");
        let other = stage.other();
        let made = fs::write(&other, b"replacement");
        stage.note("make", made);
        let renamed = fs::rename(&other, &stage.path);
        stage.note("rename over it", renamed);
        stage.write(b"to the replaced one");
        stage.read_at(0, 100);
        stage.sizes();
    }),
    ("by-name", |stage| {
        stage.write(b"something");
        let truncated = OpenOptions::new().write(true).open(&stage.path).and_then(|file| file.set_len(3));
        stage.note("truncate by name", truncated);
        stage.sizes();
        let read = fs::read(&stage.path);
        stage.note("read by name", read.map(|bytes| text(&bytes)));
        stage.write(b"more");
    }),
];

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn errno(number: i32) -> String {
    format!("{:?}", nix::errno::Errno::from_raw(number))
}

/// The comparison finds something to compare: locally, each sequence succeeds at least once.
#[test]
fn each_sequence_can_succeed() {
    let local = Local::new();
    for (sequence, run) in SEQUENCES {
        let flags = Flags { read: true, write: true, others: O_CREAT, exists: false };
        let said = said(&local.path, sequence, flags, *run);
        let failed: Vec<_> =
            said.iter().filter(|call| call.split(": ").nth(1).is_some_and(|word| word.starts_with('E'))).collect();
        let expected = if sequence.starts_with("unlink") || *sequence == "rename" { 3 } else { 0 };
        assert!(failed.len() <= expected, "{sequence}: {said:?}");
    }
}
