//! A server in memory that can be written to, counts what it is asked, and fails, stalls and changes when told to.

use ftpsfs::path::RemotePath;
use ftpsfs::remote::{Error, ErrorKind, FileKind, Metadata, Modified};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

#[path = "memory/remote.rs"]
mod remote;
#[path = "memory/transfers.rs"]
mod transfers;

/// The server. Clones are the same server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    gate: Condvar,
    /// Called when a call comes, before it does anything, and once a time is set.
    visitor: Mutex<Option<Visitor>>,
    visits: Mutex<Vec<(Moment, Visit)>>,
}

/// When somebody else does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before a download is opened.
    Read,
    /// Before a directory is listed.
    List,
    /// Before something is changed.
    Before(Call),
    /// Once it is known what a path is, and before that is told.
    Told,
}

type Visitor = Box<dyn FnMut() + Send>;
type Visit = Box<dyn FnOnce() + Send>;

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<Vec<u8>, Node>,
    /// The calls to come fail so.
    failures: VecDeque<ErrorKind>,
    /// The calls to come fail so after they were done.
    late_failures: VecDeque<ErrorKind>,
    /// The next uploads break with the error after so many bytes each.
    upload_breaks: VecDeque<(usize, ErrorKind)>,
    /// What the server has room for (bytes).
    room: Option<usize>,
    /// What the server tells of its free space (bytes), if it does.
    free: Option<u64>,
    /// Listings tell times to the minute.
    coarse_listings: bool,
    /// Files whose times nothing tells better than to the minute.
    coarse_files: BTreeSet<Vec<u8>>,
    /// What the server does not offer.
    lacks: Vec<Call>,
    /// The next call of a kind fails so.
    refusals: Vec<(Call, ErrorKind)>,
    /// Kinds of the calls that changed something or tried to, in order.
    calls: Vec<Call>,
    /// The next downloads break with the error after so many bytes each.
    breaks: VecDeque<(usize, ErrorKind)>,
    /// At most so many bytes a `Download::read`; 0 is any number.
    chunk: usize,
    /// How long a `Download::read` takes, whatever others do.
    pace: Duration,
    /// The next call panics.
    panic: bool,
    /// Every call fails at once.
    away: bool,
    closed: bool,
    /// Uploads end ready for their renaming.
    names_uploads: bool,
    blocked: usize,
    counts: Counts,
    /// How many connections are idle, if anybody asks.
    spare: usize,
    /// Who is told of idle connections.
    on_spare: Option<Told>,
    /// The last version given: each content has another time.
    versions: u64,
}

#[derive(Clone)]
struct Told(Arc<dyn Fn(Instant) + Send + Sync>);

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

#[derive(Debug, Clone)]
enum Node {
    Directory,
    File { content: Arc<Vec<u8>>, version: u64, size_in_listing: bool, mode: u16 },
    Symlink(Option<Vec<u8>>),
}

/// A kind of call that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Write,
    Append,
    CreateDirectory,
    RemoveDirectory,
    RemoveFile,
    Rename,
    /// A rename over a file.
    Replace,
    SetModified,
    SetMode,
    Symlink,
    /// An upload to a temporary name.
    Temporary,
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
    /// The most that there were.
    pub(crate) open_downloads_max: usize,
    pub(crate) changes: usize,
    /// Questions about free space.
    pub(crate) spaces: usize,
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
        let version = state.next_version();
        let node = Node::File { content: Arc::new(content), version, size_in_listing, mode: 0o644 };
        state.nodes.insert(path.into(), node);
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

    /// The call after those that fail anyway is done and fails all the same; more make a queue.
    pub(crate) fn fail_next_late(&self, kind: ErrorKind) -> &Self {
        self.state().late_failures.push_back(kind);
        self
    }

    /// The next upload breaks after `bytes`, which arrive; more make a queue.
    pub(crate) fn break_next_upload(&self, bytes: usize, kind: ErrorKind) -> &Self {
        self.state().upload_breaks.push_back((bytes, kind));
        self
    }

    /// All files together may have so many bytes.
    pub(crate) fn room(&self, bytes: Option<usize>) -> &Self {
        self.state().room = bytes;
        self
    }

    /// The server tells so much free space (bytes), or none.
    pub(crate) fn free(&self, bytes: Option<u64>) -> &Self {
        self.state().free = bytes;
        self
    }

    /// Listings tell times to the minute; asked for by itself a file tells the second, but for `coarse_files`.
    pub(crate) fn coarse_listings(&self, coarse_files: &[&str]) -> &Self {
        let mut state = self.state();
        state.coarse_listings = true;
        state.coarse_files = coarse_files.iter().map(|path| path.as_bytes().to_vec()).collect();
        drop(state);
        self
    }

    /// The server refuses calls of this kind.
    pub(crate) fn lacks(&self, call: Call) -> &Self {
        self.state().lacks.push(call);
        self
    }

    /// The next call of this kind fails.
    pub(crate) fn refuse_next(&self, call: Call, kind: ErrorKind) -> &Self {
        self.state().refusals.push((call, kind));
        self
    }

    /// So many connections are idle.
    pub(crate) fn spare(&self, connections: usize) -> &Self {
        self.state().spare = connections;
        self
    }

    /// That many connections have just become idle.
    pub(crate) fn become_spare(&self, connections: usize, now: Instant) {
        let told = self.spare(connections).state().on_spare.clone();
        if let Some(Told(told)) = told {
            told(now);
        }
    }

    /// No more failures.
    pub(crate) fn heal(&self) -> &Self {
        let mut state = self.state();
        state.lacks.clear();
        state.failures.clear();
        state.late_failures.clear();
        state.upload_breaks.clear();
        state.breaks.clear();
        state.room = None;
        drop(state);
        self
    }

    /// What changed something or tried to since the last time.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }

    /// Every path but the root's, and the content where it is a file.
    pub(crate) fn tree(&self) -> BTreeMap<String, Option<Vec<u8>>> {
        let state = self.state();
        let shown = |(path, node): (&Vec<u8>, &Node)| {
            let content = match node {
                Node::File { content, .. } => Some(content.to_vec()),
                Node::Directory | Node::Symlink(_) => None,
            };
            (String::from_utf8_lossy(path).into_owned(), content)
        };
        state.nodes.iter().filter(|(path, _)| *path != b"/").map(shown).collect()
    }

    /// The content of a file.
    pub(crate) fn content(&self, path: &str) -> Option<Vec<u8>> {
        self.tree().remove(path).flatten()
    }

    /// The permission bits of a file.
    pub(crate) fn mode(&self, path: &str) -> Option<u16> {
        match self.state().nodes.get(path.as_bytes()) {
            Some(Node::File { mode, .. }) => Some(*mode),
            _ => None,
        }
    }

    /// Which content a file has: its time says so.
    pub(crate) fn version(&self, path: &str) -> Option<u64> {
        match self.state().nodes.get(path.as_bytes()) {
            Some(Node::File { version, .. }) => Some(*version),
            _ => None,
        }
    }

    /// The next call panics.
    pub(crate) fn panic_next(&self) -> &Self {
        self.state().panic = true;
        self
    }

    /// Whether [`Memory::panic_next`] came true.
    pub(crate) fn has_panicked(&self) -> bool {
        !self.state().panic
    }

    /// The server is known to be away, or is back.
    pub(crate) fn away(&self, away: bool) -> &Self {
        self.state().away = away;
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

    /// Downloads give at most so many bytes each time that `pace` has passed, however many there are.
    pub(crate) fn pace(&self, bytes: usize, pace: Duration) -> &Self {
        self.chunk(bytes).state().pace = pace;
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

    /// `visit` is called when a call comes, before it does anything, and once a time is set.
    pub(crate) fn on_call(&self, visit: impl FnMut() + Send + 'static) -> &Self {
        *self.shared.visitor.lock().unwrap() = Some(Box::new(visit));
        self
    }

    /// The next download that is opened finds what `visit` leaves; the one after it what the next visit does.
    pub(crate) fn on_read(&self, visit: impl FnOnce() + Send + 'static) -> &Self {
        self.at(Moment::Read, visit)
    }

    /// `visit` is called once at the next such moment; the next one at the one after it.
    pub(crate) fn at(&self, moment: Moment, visit: impl FnOnce() + Send + 'static) -> &Self {
        self.shared.visits.lock().unwrap().push((moment, Box::new(visit)));
        self
    }

    fn has_come(&self, moment: Moment) {
        let visit = {
            let mut visits = self.shared.visits.lock().unwrap();
            let next = visits.iter().position(|(at, _)| *at == moment);
            next.map(|next| visits.remove(next).1)
        };
        if let Some(visit) = visit {
            visit();
        }
    }

    /// What comes before and after the renaming of an upload is asked along with its end, where `names` says so.
    pub(crate) fn names_uploads(&self, names: bool) -> &Self {
        self.state().names_uploads = names;
        self
    }

    /// Another server with the same tree.
    pub(crate) fn fork(&self) -> Self {
        let (nodes, versions, lacks) = {
            let state = self.state();
            (state.nodes.clone(), state.versions, state.lacks.clone())
        };
        let fork = Self::default();
        {
            let mut state = fork.state();
            (state.nodes, state.versions, state.lacks) = (nodes, versions, lacks);
        }
        fork
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

    fn visit(&self) {
        if let Some(visit) = &mut *self.shared.visitor.lock().unwrap() {
            visit();
        }
    }

    /// Counts a call, waits at the gate, and fails if that is what is next.
    fn arrive(&self, count: impl Fn(&mut Counts)) -> Result<MutexGuard<'_, State>, Error> {
        self.visit();
        let mut state = self.state();
        if state.away {
            return Err(Error::new(ErrorKind::Away, "it is away"));
        }
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

impl State {
    fn next_version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    fn used(&self) -> usize {
        let len = |node: &Node| if let Node::File { content, .. } = node { content.len() } else { 0 };
        self.nodes.values().map(len).sum()
    }

    fn parent_exists(&self, path: &RemotePath) -> Result<(), Error> {
        match path.parent().and_then(|parent| self.nodes.get(parent.as_bytes())) {
            Some(Node::Directory) => Ok(()),
            _ => Err(Error::new(ErrorKind::NotFound, "550 No such directory.")),
        }
    }

    fn has_children(&self, path: &RemotePath) -> bool {
        let prefix = [path.as_bytes(), b"/"].concat();
        self.nodes.range(prefix.clone()..).next().is_some_and(|(path, _)| path.starts_with(&prefix))
    }
}

/// What a call that was told to fail late gives.
fn done(state: &mut State) -> Result<(), Error> {
    match state.late_failures.pop_front() {
        Some(kind) => Err(Error::new(kind, format!("told to fail when done: {kind:?}"))),
        None => Ok(()),
    }
}

impl Memory {
    /// As [`Memory::arrive`], of a call that changes something.
    fn arrive_to_change(&self, call: Call) -> Result<MutexGuard<'_, State>, Error> {
        self.has_come(Moment::Before(call));
        let mut state = self.arrive(|counts| counts.changes += 1)?;
        state.calls.push(call);
        if state.lacks.contains(&call) {
            return Err(Error::new(ErrorKind::Unsupported, format!("502 {call:?} not implemented.")));
        }
        if let Some(next) = state.refusals.iter().position(|(refused, _)| *refused == call) {
            let (_, kind) = state.refusals.remove(next);
            return Err(Error::new(kind, format!("told to fail: {kind:?}")));
        }
        Ok(state)
    }
}

/// The time of version 0, in seconds.
const VERSION_EPOCH: u64 = 1_000_000_000;

fn find<'a>(state: &'a State, path: &RemotePath) -> Result<&'a Node, Error> {
    state.nodes.get(path.as_bytes()).ok_or_else(|| Error::new(ErrorKind::NotFound, "550 No such file."))
}

fn metadata(node: &Node, listing: bool) -> Metadata {
    Metadata { uid: Some(1001), gid: Some(1002), ..content_metadata(node, listing) }
}

/// Makes the time one that is told to the minute.
fn coarsen(metadata: &mut Metadata) {
    if let Some(Modified { time, precision }) = &mut metadata.modified {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        *time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds / 60 * 60);
        *precision = Duration::from_secs(60);
    }
}

fn content_metadata(node: &Node, listing: bool) -> Metadata {
    match node {
        Node::Directory => Metadata { mode: Some(0o755), ..Metadata::of_kind(FileKind::Directory) },
        Node::Symlink(target) => Metadata::of_kind(FileKind::Symlink(target.clone().map(Vec::into_boxed_slice))),
        Node::File { content, version, size_in_listing, mode } => Metadata {
            size: (*size_in_listing || !listing).then_some(content.len() as u64),
            modified: Some(Modified {
                time: SystemTime::UNIX_EPOCH + Duration::from_secs(VERSION_EPOCH.wrapping_add(*version)),
                precision: Duration::from_secs(1),
            }),
            mode: Some(*mode),
            ..Metadata::of_kind(FileKind::File)
        },
    }
}
