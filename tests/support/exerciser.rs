//! Random operations on a few files of a directory, compared after each with a model in memory (after the idea of fsx).

use crate::support::random::Random;
use nix::libc::{O_APPEND, O_CREAT, O_TRUNC};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

/// A sequence of operations that its seed decides, and what the files must hold after them.
#[derive(Debug)]
pub struct Exerciser {
    seed: u64,
    random: Random,
    done: usize,
    /// The files that have a name.
    names: BTreeMap<String, FileId>,
    /// What each file holds that has a name or a handle.
    contents: BTreeMap<FileId, Vec<u8>>,
    handles: Vec<Handle>,
    next: FileId,
    recent: VecDeque<String>,
}

/// Where the files are.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The directory that is operated on.
    pub directory: &'a Path,
    /// Where its files must be as soon as fsync or close has succeeded: the same directory on the server's disk.
    pub disk: &'a Path,
}

type FileId = u64;

#[derive(Debug)]
struct Handle {
    id: FileId,
    file: File,
    read: bool,
    write: bool,
    append: bool,
    /// Something was written through it that it has not synchronised.
    dirty: bool,
}

impl Exerciser {
    /// The operations of `seed`, none of them done.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            random: Random::new(seed),
            done: 0,
            names: BTreeMap::new(),
            contents: BTreeMap::new(),
            handles: Vec::new(),
            next: 0,
            recent: VecDeque::new(),
        }
    }

    /// Does the next `count` operations, closes what they opened, and compares everything that the directory shows.
    ///
    /// # Panics
    ///
    /// If anything is not as the model says, with the seed and the last operations.
    pub fn run(&mut self, place: Place<'_>, count: usize) {
        for _ in 0..count {
            self.done += 1;
            if let Err(error) = self.step(place) {
                self.fail(&error);
            }
        }
        while !self.handles.is_empty() {
            if let Err(error) = self.close(place, 0) {
                self.fail(&error);
            }
        }
        if let Err(error) = self.compare_all(place.directory) {
            self.fail(&error);
        }
    }

    /// Compares all files below `directory` with the model.
    ///
    /// # Errors
    ///
    /// What differs.
    pub fn compare_all(&self, directory: &Path) -> Result<(), String> {
        self.compare_names(directory)?;
        self.names.keys().try_for_each(|name| self.compare(directory, name))
    }

    fn fail(&self, error: &str) -> ! {
        let recent: Vec<&str> = self.recent.iter().map(String::as_str).collect();
        panic!("seed {}, operation {}: {error}; the last operations:\n{}", self.seed, self.done, recent.join("\n"));
    }

    fn step(&mut self, place: Place<'_>) -> Result<(), String> {
        if self.handles.is_empty() || (self.handles.len() < HANDLES_MAX && self.below(8) == 0) {
            return self.open(place.directory);
        }
        let number = self.below(self.handles.len());
        match self.below(100) {
            0..=29 => self.write(number),
            30..=54 => self.read(number),
            55..=62 => self.set_len(number),
            63..=66 => self.fsync(place, number),
            67..=81 => self.close(place, number),
            82..=85 => self.rename(place.directory),
            86..=87 => self.unlink(place.directory),
            88..=90 => self.truncate_by_name(place.directory),
            91..=94 => self.stat(place.directory, number),
            95..=97 => self.read_by_name(place.directory),
            _ => {
                self.note("list".to_owned());
                self.compare_names(place.directory)
            }
        }
    }

    fn open(&mut self, directory: &Path) -> Result<(), String> {
        let name = self.any_name();
        let (read, write) = [(true, true), (true, true), (true, false), (false, true)][self.below(4)];
        let append = write && self.below(5) == 0;
        let truncate = write && self.below(6) == 0;
        let mut flags = if write { O_CREAT } else { 0 };
        flags |= if append { O_APPEND } else { 0 };
        flags |= if truncate { O_TRUNC } else { 0 };
        self.note(format!("open {name} read={read} write={write} append={append} truncate={truncate}"));
        let opened = OpenOptions::new().read(read).write(write).custom_flags(flags).open(directory.join(&name));
        let file = match (opened, self.names.contains_key(&name)) {
            (Err(error), false) if !write && error.kind() == io::ErrorKind::NotFound => return Ok(()),
            (Ok(_), false) if !write => return Err(format!("{name} can be opened and does not exist")),
            (opened, _) => opened.map_err(|error| format!("open: {error}"))?,
        };
        let id = *self.names.entry(name).or_insert_with(|| {
            self.next += 1;
            self.next
        });
        let content = self.contents.entry(id).or_default();
        if truncate {
            content.clear();
        }
        self.handles.push(Handle { id, file, read, write, append, dirty: truncate });
        Ok(())
    }

    fn write(&mut self, number: usize) -> Result<(), String> {
        let length = self.length();
        let id = self.handles[number].id;
        let size = self.contents[&id].len();
        // Mostly in the file or at its end, sometimes beyond it.
        let mut offset = match self.below(10) {
            0..=5 => self.below(size + 1),
            6..=8 => size,
            _ => size + self.below(10_000),
        };
        if self.handles[number].append {
            offset = size;
        }
        let length = length.min(SIZE_MAX.saturating_sub(offset));
        let bytes: Vec<u8> = (0..length).map(|_| b'a' + u8::try_from(self.below(26)).expect("a letter")).collect();
        self.note(format!("write #{number} of file {id} at {offset}, {length} bytes"));
        let handle = &mut self.handles[number];
        let written =
            if handle.append { handle.file.write_all(&bytes) } else { handle.file.write_all_at(&bytes, offset as u64) };
        if !handle.write {
            return if written.is_err() || bytes.is_empty() {
                Ok(())
            } else {
                Err("a write that must fail".to_owned())
            };
        }
        written.map_err(|error| format!("write: {error}"))?;
        handle.dirty = true;
        let content = self.contents.get_mut(&id).expect("an open file has content");
        if length > 0 {
            content.resize(content.len().max(offset + length), 0);
            content[offset..offset + length].copy_from_slice(&bytes);
        }
        Ok(())
    }

    fn read(&mut self, number: usize) -> Result<(), String> {
        let id = self.handles[number].id;
        let size = self.contents[&id].len();
        let (offset, length) = (self.below(size + 100), self.length());
        self.note(format!("read #{number} of file {id} at {offset}, {length} bytes"));
        let handle = &self.handles[number];
        if !handle.read {
            return Ok(());
        }
        let bytes = read_at(&handle.file, offset as u64, length).map_err(|error| format!("read: {error}"))?;
        let content = &self.contents[&id];
        let expected = &content[offset.min(size)..(offset + length).min(size)];
        same(&bytes, expected).map_err(|why| format!("read: {why}"))
    }

    fn set_len(&mut self, number: usize) -> Result<(), String> {
        let id = self.handles[number].id;
        let size = self.size();
        self.note(format!("ftruncate #{number} of file {id} to {size}"));
        let handle = &mut self.handles[number];
        let done = handle.file.set_len(size as u64);
        if !handle.write {
            return if done.is_err() { Ok(()) } else { Err("an ftruncate that must fail".to_owned()) };
        }
        done.map_err(|error| format!("ftruncate: {error}"))?;
        handle.dirty = true;
        self.contents.get_mut(&id).expect("an open file has content").resize(size, 0);
        Ok(())
    }

    fn fsync(&mut self, place: Place<'_>, number: usize) -> Result<(), String> {
        let handle = &mut self.handles[number];
        let (id, write) = (handle.id, handle.write);
        handle.dirty = false;
        let done = handle.file.sync_all();
        self.note(format!("fsync #{number} of file {id}"));
        done.map_err(|error| format!("fsync: {error}"))?;
        if write { self.compare_disk(place.disk, id, "fsync") } else { Ok(()) }
    }

    fn close(&mut self, place: Place<'_>, number: usize) -> Result<(), String> {
        let Handle { id, file, dirty, .. } = self.handles.swap_remove(number);
        self.note(format!("close #{number} of file {id}"));
        nix::unistd::close(file).map_err(|error| format!("close: {error}"))?;
        if dirty {
            self.compare_disk(place.disk, id, "close")?;
        }
        self.forget(id);
        Ok(())
    }

    fn rename(&mut self, directory: &Path) -> Result<(), String> {
        let (from, to) = (self.any_name(), self.any_name());
        self.note(format!("rename {from} to {to}"));
        let renamed = fs::rename(directory.join(&from), directory.join(&to));
        let Some(id) = self.names.get(&from).copied() else {
            return match renamed {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => Err(format!("rename of nothing: {other:?}")),
            };
        };
        renamed.map_err(|error| format!("rename: {error}"))?;
        if from != to {
            self.names.remove(&from);
            if let Some(replaced) = self.names.insert(to, id) {
                self.forget(replaced);
            }
        }
        Ok(())
    }

    fn unlink(&mut self, directory: &Path) -> Result<(), String> {
        let name = self.any_name();
        self.note(format!("unlink {name}"));
        let removed = fs::remove_file(directory.join(&name));
        match (self.names.remove(&name), removed) {
            (Some(id), Ok(())) => {
                self.forget(id);
                Ok(())
            }
            (None, Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            (_, other) => Err(format!("unlink: {other:?}")),
        }
    }

    fn truncate_by_name(&mut self, directory: &Path) -> Result<(), String> {
        let (name, size) = (self.any_name(), self.size());
        self.note(format!("truncate {name} to {size}"));
        let Some(id) = self.names.get(&name) else { return Ok(()) };
        let path = directory.join(&name);
        nix::unistd::truncate(&path, i64::try_from(size).expect("small"))
            .map_err(|error| format!("truncate: {error}"))?;
        self.contents.get_mut(id).expect("a named file has content").resize(size, 0);
        Ok(())
    }

    fn stat(&mut self, directory: &Path, number: usize) -> Result<(), String> {
        let id = self.handles[number].id;
        self.note(format!("stat #{number} of file {id} and all names"));
        let size = self.handles[number].file.metadata().map_err(|error| format!("fstat: {error}"))?.len();
        if size != self.contents[&id].len() as u64 {
            return Err(format!("fstat: size {size}, not {}", self.contents[&id].len()));
        }
        for (name, id) in &self.names {
            let size = fs::metadata(directory.join(name)).map_err(|error| format!("stat of {name}: {error}"))?.len();
            if size != self.contents[id].len() as u64 {
                return Err(format!("stat of {name}: size {size}, not {}", self.contents[id].len()));
            }
        }
        Ok(())
    }

    fn read_by_name(&mut self, directory: &Path) -> Result<(), String> {
        let name = self.any_name();
        self.note(format!("read {name}"));
        if self.names.contains_key(&name) { self.compare(directory, &name) } else { Ok(()) }
    }

    fn compare(&self, directory: &Path, name: &str) -> Result<(), String> {
        let bytes = fs::read(directory.join(name)).map_err(|error| format!("{name}: {error}"))?;
        same(&bytes, &self.contents[&self.names[name]])
            .map_err(|why| format!("{}: {why}", directory.join(name).display()))
    }

    fn compare_disk(&self, disk: &Path, id: FileId, after: &str) -> Result<(), String> {
        let name = self.names.iter().find(|(_, named)| **named == id).map(|(name, _)| name);
        name.map_or(Ok(()), |name| self.compare(disk, name).map_err(|why| format!("after {after}: {why}")))
    }

    fn compare_names(&self, directory: &Path) -> Result<(), String> {
        let entries = fs::read_dir(directory).map_err(|error| format!("list: {error}"))?;
        let found: BTreeSet<String> = entries
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()
            .map_err(|error| format!("list: {error}"))?;
        let expected: BTreeSet<String> = self.names.keys().cloned().collect();
        if found == expected {
            Ok(())
        } else {
            Err(format!("{} lists {found:?}, not {expected:?}", directory.display()))
        }
    }

    /// Forgets what neither a name nor a handle leads to.
    fn forget(&mut self, id: FileId) {
        let led_to = self.names.values().any(|named| *named == id) || self.handles.iter().any(|handle| handle.id == id);
        if !led_to {
            self.contents.remove(&id);
        }
    }

    fn any_name(&mut self) -> String {
        format!("file-{}", self.below(NAMES))
    }

    /// Mostly small, sometimes longer than what one request carries.
    fn length(&mut self) -> usize {
        if self.below(10) == 0 { self.below(150_000) } else { self.below(9_000) }
    }

    fn size(&mut self) -> usize {
        match self.below(4) {
            0 => 0,
            1 => self.below(SIZE_MAX),
            _ => self.below(30_000),
        }
    }

    fn note(&mut self, operation: String) {
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(format!("{} {operation}", self.done));
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.random.below(limit as u64)).expect("below a usize")
    }
}

/// A directory that needs no server.
pub fn here(directory: &Path) -> Place<'_> {
    Place { directory, disk: directory }
}

/// The seed of this run: another each time, unless `FTPSFS_TEST_SEED` names one.
///
/// # Panics
///
/// If that is no number.
pub fn seed() -> u64 {
    match std::env::var("FTPSFS_TEST_SEED") {
        Ok(seed) => seed.parse().expect("FTPSFS_TEST_SEED is a number"),
        Err(_) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(1, |since| u64::from(since.subsec_nanos()))
        }
    }
}

fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn same(found: &[u8], expected: &[u8]) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    let first = found.iter().zip(expected).position(|(one, other)| one != other);
    let first = first.unwrap_or_else(|| found.len().min(expected.len()));
    let part = |bytes: &[u8]| bytes[first..bytes.len().min(first + 16)].escape_ascii().to_string();
    Err(format!(
        "{} bytes, not {}; from {first} on '{}', not '{}'",
        found.len(),
        expected.len(),
        part(found),
        part(expected)
    ))
}

/// How many names the files have.
const NAMES: usize = 5;

/// How many files are open at a time.
const HANDLES_MAX: usize = 6;

/// How long a file becomes, in bytes.
const SIZE_MAX: usize = 400_000;

/// How many operations a failure tells of.
const RECENT_MAX: usize = 40;
