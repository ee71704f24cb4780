//! A server in memory that counts what it is asked, and fails, stalls and changes when told to.

use ftpsfs::path::{Name, RemotePath};
use ftpsfs::remote::{Download, Entry, Error, ErrorKind, FileKind, Metadata, Modified, Remote};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

/// The server. Clones are the same server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    gate: Condvar,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<Vec<u8>, Node>,
    /// The calls to come fail so.
    failures: VecDeque<ErrorKind>,
    /// The next downloads break with the error after so many bytes each.
    breaks: VecDeque<(usize, ErrorKind)>,
    /// At most so many bytes a `Download::read`; 0 is any number.
    chunk: usize,
    /// The next call panics.
    panic: bool,
    closed: bool,
    blocked: usize,
    counts: Counts,
}

#[derive(Debug, Clone)]
enum Node {
    Directory,
    File { content: Arc<Vec<u8>>, version: u64, size_in_listing: bool },
    Symlink(Option<Vec<u8>>),
}

/// How often the server was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) lists: usize,
    pub(crate) stats: usize,
    pub(crate) reads: usize,
    /// Bytes given by downloads.
    pub(crate) bytes: usize,
    pub(crate) open_downloads: usize,
}

impl Memory {
    pub(crate) fn new() -> Self {
        let memory = Self::default();
        memory.state().nodes.insert(b"/".to_vec(), Node::Directory);
        memory
    }

    pub(crate) fn directory(&self, path: &str) -> &Self {
        self.state().nodes.insert(path.into(), Node::Directory);
        self
    }

    /// Puts a file there, as a new version where there is one.
    pub(crate) fn file(&self, path: &str, content: impl Into<Vec<u8>>) -> &Self {
        self.put(path, content.into(), true)
    }

    /// A file whose size no listing tells.
    pub(crate) fn file_without_listed_size(&self, path: &str, content: impl Into<Vec<u8>>) -> &Self {
        self.put(path, content.into(), false)
    }

    fn put(&self, path: &str, content: Vec<u8>, size_in_listing: bool) -> &Self {
        let mut state = self.state();
        let version = match state.nodes.get(path.as_bytes()) {
            Some(Node::File { version, .. }) => version + 1,
            _ => 1,
        };
        state.nodes.insert(path.into(), Node::File { content: Arc::new(content), version, size_in_listing });
        self
    }

    pub(crate) fn symlink(&self, path: &str, target: Option<&str>) -> &Self {
        self.state().nodes.insert(path.into(), Node::Symlink(target.map(|target| target.as_bytes().to_vec())));
        self
    }

    pub(crate) fn remove(&self, path: &str) -> &Self {
        self.state().nodes.remove(path.as_bytes());
        self
    }

    /// The next call fails; more make a queue.
    pub(crate) fn fail_next(&self, kind: ErrorKind) -> &Self {
        self.state().failures.push_back(kind);
        self
    }

    /// The next call panics.
    pub(crate) fn panic_next(&self) -> &Self {
        self.state().panic = true;
        self
    }

    /// The next download breaks after `bytes`; more make a queue.
    pub(crate) fn break_next(&self, bytes: usize, kind: ErrorKind) -> &Self {
        self.state().breaks.push_back((bytes, kind));
        self
    }

    /// Downloads give at most so many bytes at a time.
    pub(crate) fn chunk(&self, bytes: usize) -> &Self {
        self.state().chunk = bytes;
        self
    }

    /// From now on every call waits.
    pub(crate) fn close_gate(&self) -> &Self {
        self.state().closed = true;
        self
    }

    pub(crate) fn open_gate(&self) -> &Self {
        self.state().closed = false;
        self.shared.gate.notify_all();
        self
    }

    /// Waits until so many calls wait at the gate.
    pub(crate) fn await_blocked(&self, count: usize) {
        let state = self.state();
        let blocked = |state: &mut State| state.blocked < count;
        let (_state, waited) = self.shared.gate.wait_timeout_while(state, Duration::from_secs(10), blocked).unwrap();
        assert!(!waited.timed_out(), "fewer than {count} calls came");
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Waits until a condition on the counts holds.
    pub(crate) fn await_counts(&self, what: &str, holds: impl Fn(&Counts) -> bool) {
        let waiting = |state: &mut State| !holds(&state.counts);
        let (_state, waited) =
            self.shared.gate.wait_timeout_while(self.state(), Duration::from_secs(10), waiting).unwrap();
        assert!(!waited.timed_out(), "never {what}");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Counts a call, waits at the gate, and fails if that is what is next.
    fn arrive(&self, count: impl Fn(&mut Counts)) -> Result<MutexGuard<'_, State>, Error> {
        let mut state = self.state();
        count(&mut state.counts);
        state.blocked += 1;
        self.shared.gate.notify_all();
        let mut state = self.shared.gate.wait_while(state, |state| state.closed).unwrap();
        state.blocked -= 1;
        if std::mem::take(&mut state.panic) {
            drop(state);
            panic!("told to panic");
        }
        match state.failures.pop_front() {
            Some(kind) => Err(Error::new(kind, format!("told to fail: {kind:?}"))),
            None => Ok(state),
        }
    }
}

impl Remote for Memory {
    fn list(&self, directory: &RemotePath) -> Result<Vec<Entry>, Error> {
        let state = self.arrive(|counts| counts.lists += 1)?;
        if !matches!(find(&state, directory)?, Node::Directory) {
            return Err(Error::new(ErrorKind::NotADirectory, "550 Not a directory."));
        }
        let mut prefix = directory.as_bytes().to_vec();
        if !directory.is_root() {
            prefix.push(b'/');
        }
        let below = state.nodes.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        let direct = below.filter_map(|(path, node)| {
            let name = &path[prefix.len()..];
            (!name.is_empty() && !name.contains(&b'/'))
                .then(|| Entry { name: Name::new(name).unwrap(), metadata: metadata(node, true) })
        });
        Ok(direct.collect())
    }

    fn stat(&self, path: &RemotePath) -> Result<Metadata, Error> {
        let state = self.arrive(|counts| counts.stats += 1)?;
        Ok(metadata(find(&state, path)?, false))
    }

    fn read_from(&self, path: &RemotePath, offset: u64, _size: Option<u64>) -> Result<Box<dyn Download>, Error> {
        let mut state = self.arrive(|counts| counts.reads += 1)?;
        let Node::File { content, .. } = find(&state, path)? else {
            return Err(Error::new(ErrorKind::IsADirectory, "550 Not a plain file."));
        };
        let content = Arc::clone(content);
        let position = usize::try_from(offset).unwrap().min(content.len());
        let breaks = state.breaks.pop_front();
        state.counts.open_downloads += 1;
        Ok(Box::new(MemoryDownload { memory: self.clone(), content, position, breaks }))
    }
}

#[derive(Debug)]
struct MemoryDownload {
    memory: Memory,
    content: Arc<Vec<u8>>,
    position: usize,
    breaks: Option<(usize, ErrorKind)>,
}

impl Download for MemoryDownload {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        assert!(!buffer.is_empty());
        let shared = &self.memory.shared;
        let mut state = shared.gate.wait_while(self.memory.state(), |state| state.closed).unwrap();
        let mut count = buffer.len().min(self.content.len() - self.position);
        if state.chunk > 0 {
            count = count.min(state.chunk);
        }
        if let Some((left, kind)) = &mut self.breaks {
            if *left == 0 {
                return Err(Error::new(*kind, format!("told to break: {kind:?}")));
            }
            count = count.min(*left);
            *left -= count;
        }
        state.counts.bytes += count;
        drop(state);
        shared.gate.notify_all();
        buffer[..count].copy_from_slice(&self.content[self.position..self.position + count]);
        self.position += count;
        Ok(count)
    }
}

impl Drop for MemoryDownload {
    fn drop(&mut self) {
        self.memory.state().counts.open_downloads -= 1;
        self.memory.shared.gate.notify_all();
    }
}

fn find<'a>(state: &'a State, path: &RemotePath) -> Result<&'a Node, Error> {
    state.nodes.get(path.as_bytes()).ok_or_else(|| Error::new(ErrorKind::NotFound, "550 No such file."))
}

fn metadata(node: &Node, listing: bool) -> Metadata {
    match node {
        Node::Directory => Metadata { mode: Some(0o755), ..Metadata::of_kind(FileKind::Directory) },
        Node::Symlink(target) => Metadata::of_kind(FileKind::Symlink(target.clone().map(Vec::into_boxed_slice))),
        Node::File { content, version, size_in_listing } => Metadata {
            size: (*size_in_listing || !listing).then_some(content.len() as u64),
            modified: Some(Modified {
                time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + version),
                precision: Duration::from_secs(1),
            }),
            mode: Some(0o644),
            ..Metadata::of_kind(FileKind::File)
        },
    }
}
