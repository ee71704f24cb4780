//! The file system over a server: once a change has been acknowledged, nobody is told what was there before it, whatever
//! listings and questions were on their way.

use crate::explore::Scenario;
use crate::locks::Mutex;
use crate::path::{Name, RemotePath};
use crate::remote::{Download, Entry, Error, ErrorKind, FileKind, Metadata, Remote, Start, Upload};
use crate::vfs::Vfs;
use crate::vfs::filesystem::{Looked, Patience};
use crate::vfs::inodes::Ino;
use crate::vfs::settings::{Prefetch, Settings};
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::thread;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("tree::what_was_acknowledged_is_seen", || watch(true)),
    ("tree::what_was_acknowledged_is_seen_without_believing_anything", || watch(false)),
];

/// A server that has directories in its root and nothing else.
#[derive(Debug, Default)]
struct Far {
    names: Mutex<BTreeSet<Vec<u8>>>,
}

/// What is sure about each name: whether it is there, and how often that changed; nothing while it is being changed.
#[derive(Default)]
struct Truth {
    names: Mutex<BTreeMap<String, Known>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Known {
    is_there: Option<bool>,
    changes: u64,
}

fn watch(believes: bool) {
    let far = Arc::new(Far::default());
    let seconds = if believes { 3600 } else { 0 };
    let timeout = Duration::from_secs(seconds);
    let settings =
        Settings { attr_timeout: timeout, dir_timeout: timeout, prefetch: Prefetch::Off, ..Settings::default() };
    let (vfs, truth) = (Arc::new(Vfs::new(far, settings)), Arc::new(Truth::default()));
    let changing = (0..CHANGERS).map(|number| {
        let (vfs, truth) = (Arc::clone(&vfs), Arc::clone(&truth));
        thread::spawn(move || change(&vfs, &truth, &format!("a{number}"), &format!("b{number}")))
    });
    let watching = (0..WATCHERS).map(|_| {
        let (vfs, truth) = (Arc::clone(&vfs), Arc::clone(&truth));
        thread::spawn(move || (0..LOOKS).for_each(|_| look(&vfs, &truth)))
    });
    let threads: Vec<_> = changing.chain(watching).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Makes a directory, gives it another name, and removes it.
fn change(vfs: &Vfs, truth: &Truth, first: &str, second: &str) {
    let now = Instant::now();
    truth.change(&[(first, true)], || {
        vfs.mkdir(Ino::ROOT, first.as_bytes(), 0o755, now, Patience::Network).unwrap();
    });
    look_up(vfs, truth, first);
    truth.change(&[(first, false), (second, true)], || {
        let (from, to) = (first.as_bytes(), second.as_bytes());
        vfs.rename(Ino::ROOT, from, Ino::ROOT, to, false, now, Patience::Network).unwrap();
    });
    look_up(vfs, truth, first);
    truth.change(&[(second, false)], || {
        vfs.rmdir(Ino::ROOT, second.as_bytes(), now, Patience::Network).unwrap();
    });
    look_up(vfs, truth, second);
}

fn look(vfs: &Vfs, truth: &Truth) {
    if thread_rng().gen_bool(0.5) {
        let number = thread_rng().gen_range(0..CHANGERS);
        let letter = if thread_rng().gen_bool(0.5) { "a" } else { "b" };
        look_up(vfs, truth, &format!("{letter}{number}"));
    } else {
        list(vfs, truth);
    }
}

fn look_up(vfs: &Vfs, truth: &Truth, name: &str) {
    let before = truth.known();
    let looked = vfs.lookup(Ino::ROOT, name.as_bytes(), Instant::now(), Patience::Network).unwrap();
    let seen = match looked {
        Looked::Up(entry) => {
            vfs.forget(entry.ino, 1);
            true
        }
        Looked::Absent(_) => false,
    };
    truth.check(&before, |asked| (asked == name).then_some(seen), "a lookup");
}

fn list(vfs: &Vfs, truth: &Truth) {
    let (before, now) = (truth.known(), Instant::now());
    let fh = vfs.opendir(Ino::ROOT, now, Patience::Network).unwrap().fh;
    let mut seen = BTreeSet::new();
    vfs.readdir(fh, 0, now, |entry| !seen.insert(String::from_utf8(entry.name.to_vec()).unwrap())).unwrap();
    vfs.releasedir(fh).unwrap();
    truth.check(&before, |name| Some(seen.contains(name)), "a listing");
}

impl Truth {
    fn known(&self) -> BTreeMap<String, Known> {
        self.names.lock().clone()
    }

    fn change(&self, changes: &[(&str, bool)], change: impl FnOnce()) {
        self.note(changes.iter().map(|(name, _)| (*name, None)));
        change();
        self.note(changes.iter().map(|(name, is_there)| (*name, Some(*is_there))));
    }

    fn note<'a>(&self, changes: impl Iterator<Item = (&'a str, Option<bool>)>) {
        let mut names = self.names.lock();
        for (name, is_there) in changes {
            let known = names.entry(name.to_owned()).or_default();
            *known = Known { is_there, changes: known.changes + 1 };
        }
    }

    /// What was `seen` must be true of each name of which the same was sure before and after.
    fn check(&self, before: &BTreeMap<String, Known>, seen: impl Fn(&str) -> Option<bool>, who: &str) {
        let after = self.known();
        for (name, known) in before.iter().filter(|(name, known)| after.get(*name) == Some(*known)) {
            if let (Some(is_there), Some(seen)) = (known.is_there, seen(name)) {
                assert_eq!(seen, is_there, "{who} of {name}");
            }
        }
    }
}

impl Far {
    /// Anything may happen before the server does what it is asked, and before its answer is here.
    fn ask<T>(&self, ask: impl FnOnce(&mut BTreeSet<Vec<u8>>) -> Result<T, Error>) -> Result<T, Error> {
        thread::yield_now();
        let answer = ask(&mut self.names.lock());
        thread::yield_now();
        answer
    }
}

impl Remote for Far {
    fn list(&self, _directory: &RemotePath) -> Result<Vec<Entry>, Error> {
        let entry = |name: &Vec<u8>| Entry { name: Name::new(&name[1..]).unwrap(), metadata: directory() };
        self.ask(|names| Ok(names.iter().map(entry).collect()))
    }

    fn stat(&self, path: &RemotePath) -> Result<Metadata, Error> {
        let is_there = |names: &mut BTreeSet<Vec<u8>>| path.is_root() || names.contains(path.as_bytes());
        self.ask(|names| if is_there(names) { Ok(directory()) } else { Err(missing()) })
    }

    fn create_directory(&self, path: &RemotePath) -> Result<(), Error> {
        self.ask(|names| {
            names.insert(path.as_bytes().to_vec());
            Ok(())
        })
    }

    fn remove_directory(&self, path: &RemotePath) -> Result<(), Error> {
        self.ask(|names| if names.remove(path.as_bytes()) { Ok(()) } else { Err(missing()) })
    }

    fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<(), Error> {
        self.ask(|names| {
            if !names.remove(from.as_bytes()) {
                return Err(missing());
            }
            names.insert(to.as_bytes().to_vec());
            Ok(())
        })
    }

    fn remove_file(&self, _path: &RemotePath) -> Result<(), Error> {
        Err(missing())
    }

    fn read_from(&self, _: &RemotePath, _offset: u64, _size: Option<u64>) -> Result<Box<dyn Download>, Error> {
        Err(missing())
    }

    fn write_to(&self, _path: &RemotePath, _start: Start) -> Result<Box<dyn Upload>, Error> {
        Err(missing())
    }

    fn set_modified(&self, _path: &RemotePath, _time: SystemTime) -> Result<(), Error> {
        Err(missing())
    }

    fn set_mode(&self, _path: &RemotePath, _mode: u16) -> Result<(), Error> {
        Err(missing())
    }

    fn create_symlink(&self, _path: &RemotePath, _target: &[u8]) -> Result<(), Error> {
        Err(missing())
    }
}

fn directory() -> Metadata {
    Metadata::of_kind(FileKind::Directory)
}

fn missing() -> Error {
    Error::new(ErrorKind::NotFound, "550 No such file or directory.")
}

const CHANGERS: usize = 2;
const WATCHERS: usize = 2;
const LOOKS: usize = 3;
