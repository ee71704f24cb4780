//! Names and attributes: answered from what is known, else asked for once by whoever comes first.

use crate::deadline::Ending;
use crate::path::{Name, RemotePath};
use crate::remote::{Entry, ErrorKind, FileKind, Metadata, Remote};
use crate::vfs::attr::{Attr, Kind};
use crate::vfs::cache::Epoch;
use crate::vfs::cache::attributes::{Attributes, Known, remaining};
use crate::vfs::cache::directories::{Directories, Listed};
use crate::vfs::cache::habits::{Habits, Way};
use crate::vfs::counters::Counters;
use crate::vfs::disk::DiskCache;
use crate::vfs::error::Error;
use crate::vfs::flight::Flights;
use crate::vfs::handles::Snapshot;
use crate::vfs::inodes::{Ino, Inodes};
use crate::vfs::link;
use crate::vfs::names::{self, Namer};
use crate::vfs::owners::Owners;
use crate::vfs::settings::Settings;
use crate::workers::Workers;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

mod aside;
mod asking;
mod known;
mod local;
mod moves;
mod refreshed;
mod root;
mod stale;
mod stored;

pub(crate) use local::Target;
pub(crate) use moves::Moving;

/// The tree of names, as far as it is known.
#[derive(Debug)]
pub(crate) struct Tree {
    remote: Arc<dyn Remote>,
    settings: Settings,
    counters: Arc<Counters>,
    mounted: SystemTime,
    /// Never held while the server is asked, nor while another lock is taken.
    state: Mutex<State>,
    moves: moves::Moves,
    returns: Arc<aside::Returns>,
    listings: Flights<(RemotePath, Epoch), Option<Listed>>,
    stats: Flights<(RemotePath, Epoch), Option<(Known, bool)>>,
    namer: Namer,
    owners: Owners,
    workers: Workers,
    /// Of questions that their asker may stop waiting for.
    askers: Workers,
    ending: Ending,
    /// Is told what is done here.
    disk: Option<Arc<DiskCache>>,
}

#[derive(Debug)]
struct State {
    inodes: Inodes,
    directories: Directories,
    attributes: Attributes,
    habits: Habits,
    epoch: Epoch,
    /// What is true here and not on the server, or not yet.
    local: HashMap<Ino, Local>,
    /// The local changes last made, the oldest first, and up to when there were others.
    recent: VecDeque<Recent>,
    noted_since: Epoch,
    /// Temporaries that were left behind and are being removed.
    swept: HashSet<RemotePath>,
    /// Temporary names that were given of late, and for which file.
    given: VecDeque<(Name, Ino)>,
}

/// What was done in a directory; `None` if only that something was.
#[derive(Debug)]
struct Recent {
    epoch: Epoch,
    parent: Ino,
    what: Option<(Name, Option<Metadata>)>,
}

/// An inode of which we know better than the server.
#[derive(Debug)]
struct Local {
    metadata: Metadata,
    standing: Standing,
}

#[derive(Debug)]
enum Standing {
    /// The server has an older content under the name.
    Changed,
    /// The server has nothing under the name.
    Created,
    /// It has no name any more, and is still open. The server may keep it under a temporary name.
    Nameless(Option<(Ino, Name)>),
}

/// What there is under a name.
#[derive(Debug)]
pub(crate) enum Answer {
    Found(Found),
    /// Nothing, and how long that is believed.
    Absent(Duration),
}

/// A file, and how long what is said of it is believed.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) ino: Ino,
    pub(crate) metadata: Metadata,
    pub(crate) attr: Attr,
    pub(crate) attr_remaining: Duration,
    pub(crate) name_remaining: Duration,
}

/// What asking the cache gave.
enum Cached {
    Known(Known, Duration),
    Absent(Duration),
    /// Nothing that is still believed; `incomplete` when a fresh listing shows the name without its size.
    Nothing {
        incomplete: bool,
    },
}

impl Tree {
    pub(crate) fn new(
        remote: Arc<dyn Remote>,
        settings: Settings,
        ending: Ending,
        counters: Arc<Counters>,
        disk: Option<Arc<DiskCache>>,
    ) -> Self {
        let state = State {
            inodes: Inodes::new(),
            directories: Directories::new(),
            attributes: Attributes::new(),
            habits: Habits::new(),
            epoch: Epoch::default(),
            local: HashMap::new(),
            recent: VecDeque::new(),
            noted_since: Epoch::default(),
            swept: HashSet::new(),
            given: VecDeque::new(),
        };
        Self {
            namer: Namer::new(&settings.host),
            owners: Owners::new(settings.idmap),
            workers: Workers::named("tree-errand"),
            askers: Workers::named("tree-asker"),
            ending,
            disk,
            remote,
            settings,
            counters,
            mounted: SystemTime::now(),
            moves: moves::Moves::default(),
            returns: Arc::default(),
            state: Mutex::new(state),
            listings: Flights::new(),
            stats: Flights::new(),
        }
    }

    /// What `name` in `parent` is; where it is something, the kernel is about to be told of its inode.
    pub(crate) fn lookup(&self, parent: Ino, name: &[u8], now: Instant, wait: bool) -> Result<Answer, Error> {
        // No name of another form exists on any server.
        let Ok(name) = Name::new(name) else { return Ok(Answer::Absent(self.settings.dir_timeout)) };
        match self.state.lock().inodes.kind(parent) {
            Some(Kind::Directory) => {}
            Some(_) => return Err(Error::NotADirectory),
            None => return Err(Error::Stale),
        }
        if names::is_temporary(name.as_bytes()) {
            return Ok(Answer::Absent(self.settings.dir_timeout));
        }
        self.find(parent, &name, now, wait, true)
    }

    /// What `ino` is now.
    pub(crate) fn getattr(self: &Arc<Self>, ino: Ino, now: Instant, wait: bool) -> Result<Found, Error> {
        if ino == Ino::ROOT {
            return self.root(now, wait);
        }
        if let Some(found) = self.nameless(ino, now) {
            return Ok(found);
        }
        let (parent, name) = self.place(ino)?;
        match self.find(parent, &name, now, wait, false)? {
            Answer::Found(found) if found.ino == ino => Ok(found),
            Answer::Found(_) => Err(Error::Stale),
            Answer::Absent(_) => Err(Error::NoSuchEntry),
        }
    }

    /// The entries of the directory `ino`.
    pub(crate) fn snapshot(&self, ino: Ino, now: Instant, wait: bool) -> Result<Snapshot, Error> {
        let (parent, known, epoch) = {
            let mut state = self.state.lock();
            let kind = state.inodes.kind(ino).ok_or(Error::Stale)?;
            if kind != Kind::Directory {
                return Err(Error::NotADirectory);
            }
            let parent = state.inodes.place(ino).map_or(Ino::ROOT, |(parent, _)| parent);
            (parent, state.directories.fresh(ino, now, self.settings.dir_timeout).cloned(), state.epoch)
        };
        let Listed { directory, as_of } = match known {
            Some(listed) => {
                self.counters.names_known.add(1);
                listed
            }
            None => {
                let listed = if wait { self.list(ino, now, false) } else { Err(Error::WouldBlock) };
                match listed {
                    Err(error) if self.may_be_stale(&error) => self.listed_stale(ino, now).ok_or(error)?,
                    listed => listed?,
                }
            }
        };
        Ok(Snapshot { ino, parent, directory: self.with_created(ino, directory, now), as_of, epoch })
    }

    /// The file that a snapshot's entry stands for. What is not believed, or not known in full, remains for no time: the
    /// kernel asks for it itself.
    pub(crate) fn entry(&self, snapshot: &Snapshot, entry: &Entry, now: Instant) -> Option<Found> {
        let listed = Listed { directory: Arc::clone(&snapshot.directory), as_of: snapshot.as_of };
        let mut name_remaining = listed.remaining(now, self.settings.dir_timeout);
        let mut known = Known { metadata: entry.metadata.clone(), as_of: snapshot.as_of };
        let mut state = self.state.lock();
        let child = state.inodes.child(snapshot.ino, entry.name.as_bytes());
        if let Some(told) = child.and_then(|ino| state.attributes.last(ino)) {
            known = newer(known, told);
        }
        if let Some(local) = child.and_then(|ino| state.local.get(&ino)) {
            known = Known { metadata: local.metadata.clone(), as_of: now };
        } else {
            let listed = state.directories.find(snapshot.ino, entry.name.as_bytes(), now, self.settings.dir_timeout);
            let is_gone = match listed {
                Some((found, _)) => found.is_none(),
                None => state.is_done_since(snapshot.epoch, snapshot.ino, &entry.name),
            };
            // Believing in it, the kernel would look into what is not there any more.
            name_remaining = if is_gone { Duration::ZERO } else { name_remaining };
        }
        if name_remaining.is_zero()
            && let Some(ino) = child
        {
            // An old snapshot must not change which inode stands for the name now, nor its kind.
            let kind = state.inodes.kind(ino)?;
            let mut found = self.found(&state, ino, known, name_remaining, now);
            (found.attr.kind, found.attr_remaining) = (kind, Duration::ZERO);
            return Some(found);
        }
        let complete = known.is_complete();
        let ino = state.inodes.remember(snapshot.ino, &entry.name, Kind::of(&known.metadata.kind))?;
        let mut found = self.found(&state, ino, known, name_remaining, now);
        if !complete {
            found.attr_remaining = Duration::ZERO;
        }
        Some(found)
    }

    /// The kernel was told of `ino` in a directory listing.
    pub(crate) fn looked_up(&self, ino: Ino) {
        self.state.lock().inodes.looked_up(ino);
    }

    /// The kernel is told `attr` of `ino`; whether it believed something else until now.
    pub(crate) fn tell(&self, ino: Ino, attr: &Attr) -> bool {
        self.state.lock().inodes.tell(ino, attr.size, attr.modified)
    }

    pub(crate) fn forget(&self, ino: Ino, lookups: u64) {
        self.state.lock().inodes.forget(ino, lookups);
    }

    /// The path of `ino`, and whether a fresh listing shows it.
    pub(crate) fn path(&self, ino: Ino, now: Instant) -> Result<(RemotePath, bool), Error> {
        let mut state = self.state.lock();
        let path = state.path(ino).ok_or(Error::Stale)?;
        let listed = state.is_listed(ino, now, self.settings.dir_timeout);
        Ok((path, listed))
    }

    /// The size that the kernel was told of `ino` last.
    pub(crate) fn told_size(&self, ino: Ino) -> Option<u64> {
        self.state.lock().inodes.told_size(ino)
    }

    /// Whether `ino` is a directory, as far as it is known at all.
    pub(crate) fn is_directory(&self, ino: Ino) -> bool {
        self.state.lock().inodes.kind(ino) == Some(Kind::Directory)
    }

    /// Whether `ino` is known to be a regular file.
    pub(crate) fn is_file(&self, ino: Ino) -> bool {
        self.state.lock().inodes.kind(ino) == Some(Kind::File)
    }

    /// How many directories lie between `ino` and the root.
    pub(crate) fn depth(&self, ino: Ino) -> Result<usize, Error> {
        self.state.lock().inodes.depth(ino).ok_or(Error::Stale)
    }

    /// Believes nothing more of `ino`: the server was caught saying something else.
    pub(crate) fn distrust(&self, ino: Ino) {
        let mut state = self.state.lock();
        state.attributes.remove(ino);
        if let Some((parent, _)) = state.inodes.place(ino) {
            state.directories.remove(parent);
        }
    }

    fn place(&self, ino: Ino) -> Result<(Ino, Name), Error> {
        let state = self.state.lock();
        let (parent, name) = state.inodes.place(ino).ok_or(Error::Stale)?;
        Ok((parent, name.ok_or(Error::Stale)?.clone()))
    }

    fn find(&self, parent: Ino, name: &Name, now: Instant, wait: bool, lookup: bool) -> Result<Answer, Error> {
        match self.find_now(parent, name, now, wait, lookup) {
            Err(error) if self.may_be_stale(&error) => self.find_stale(parent, name, now, lookup).ok_or(error),
            found => found,
        }
    }

    fn find_now(&self, parent: Ino, name: &Name, now: Instant, wait: bool, lookup: bool) -> Result<Answer, Error> {
        let way = {
            let mut state = self.state.lock();
            match state.cached(parent, name, now, &self.settings) {
                Cached::Known(known, name_remaining) => {
                    self.counters.names_known.add(1);
                    return self.settle(&mut state, parent, name, known, name_remaining, now, lookup);
                }
                Cached::Absent(remaining) => {
                    self.counters.names_known.add(1);
                    return Ok(Answer::Absent(remaining));
                }
                Cached::Nothing { .. } if !wait => return Err(Error::WouldBlock),
                Cached::Nothing { incomplete } => {
                    state.way(parent, name, incomplete, &*self.remote, now, &self.settings)
                }
            }
        };
        self.counters.names_asked.add(1);
        if way == Way::List
            && let Some(answer) = self.find_by_listing(parent, name, now, lookup)?
        {
            return Ok(answer);
        }
        self.find_by_stat(parent, name, now, lookup)
    }

    /// Lists `parent` for `name`; `None` where the listing cannot tell.
    fn find_by_listing(&self, parent: Ino, name: &Name, now: Instant, lookup: bool) -> Result<Option<Answer>, Error> {
        let listed = match self.list(parent, now, false) {
            Ok(listed) => listed,
            Err(error) if error.is_refusal() => {
                self.state.lock().habits.refused(parent, now);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let remaining = listed.remaining(now, self.settings.dir_timeout);
        let Some(entry) = listed.directory.find(name.as_bytes()) else { return Ok(Some(Answer::Absent(remaining))) };
        let known = Known { metadata: entry.metadata.clone(), as_of: listed.as_of };
        // One file is worth a question; what else the listing tells of is answered by it.
        if !known.is_complete() || known.is_coarse() {
            return Ok(None);
        }
        self.settle(&mut self.state.lock(), parent, name, known, remaining, now, lookup).map(Some)
    }

    fn find_by_stat(&self, parent: Ino, name: &Name, now: Instant, lookup: bool) -> Result<Answer, Error> {
        match self.stat(parent, name, now) {
            Ok(known) if !known.is_complete() => {
                let text = "the server does not tell the file's size";
                log::warn!("stat {name}: {text}");
                Err(Error::Remote { kind: ErrorKind::Misbehaved, listed: false, text: text.into() })
            }
            Ok(known) => {
                let remaining = known.remaining(now, self.settings.dir_timeout);
                self.settle(&mut self.state.lock(), parent, name, known, remaining, now, lookup)
            }
            Err(Error::Remote { kind: ErrorKind::NotFound, .. }) => {
                // A listing that still shows the name is wrong by now.
                self.state.lock().directories.remove(parent);
                Ok(Answer::Absent(self.settings.dir_timeout))
            }
            Err(error) => Err(error),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one place where an answer becomes an inode")]
    fn settle(
        &self,
        state: &mut State,
        parent: Ino,
        name: &Name,
        known: Known,
        name_remaining: Duration,
        now: Instant,
        lookup: bool,
    ) -> Result<Answer, Error> {
        let ino = state.inodes.remember(parent, name, Kind::of(&known.metadata.kind)).ok_or(Error::Stale)?;
        if lookup {
            state.inodes.looked_up(ino);
        }
        Ok(Answer::Found(self.found(state, ino, known, name_remaining, now)))
    }

    fn found(&self, state: &State, ino: Ino, known: Known, name_remaining: Duration, now: Instant) -> Found {
        let mut attr = Attr::new(&known.metadata, &self.settings, self.mounted);
        // The length that readlink(2) will give.
        if let FileKind::Symlink(Some(target)) = &known.metadata.kind
            && let Some(depth) = state.inodes.depth(ino)
            && let Some(shown) = link::contained(target, depth)
        {
            attr.size = shown.len() as u64;
        }
        let mut attr_remaining = known.remaining(now, self.settings.attr_timeout);
        let mut name_remaining = name_remaining;
        if state.local.contains_key(&ino) {
            // Its next state comes from the server, and may come any time.
            (attr_remaining, name_remaining) = (Duration::ZERO, Duration::ZERO);
        }
        Found { ino, metadata: known.metadata, attr, attr_remaining, name_remaining }
    }
}

impl State {
    /// What is known and still believed of `name` in `parent`, and for how long the name is.
    fn cached(&mut self, parent: Ino, name: &Name, now: Instant, settings: &Settings) -> Cached {
        let child = self.inodes.child(parent, name.as_bytes());
        if let Some(local) = child.and_then(|ino| self.local.get(&ino)) {
            return Cached::Known(Known { metadata: local.metadata.clone(), as_of: now }, Duration::ZERO);
        }
        let told = child.and_then(|ino| self.attributes.last(ino));
        let Some((listed, as_of)) = self.directories.find(parent, name.as_bytes(), now, settings.dir_timeout) else {
            return match told {
                Some(told) => believed(told.clone(), told.remaining(now, settings.dir_timeout), now, settings),
                None => Cached::Nothing { incomplete: false },
            };
        };
        let name_remaining = remaining(as_of, now, settings.dir_timeout);
        match (listed, told) {
            (Some(metadata), told) => {
                let known = Known { metadata: metadata.clone(), as_of };
                let known = told.map_or_else(|| known.clone(), |told| newer(known.clone(), told));
                believed(known, name_remaining, now, settings)
            }
            (None, Some(told)) if told.as_of > as_of => {
                believed(told.clone(), told.remaining(now, settings.dir_timeout), now, settings)
            }
            (None, _) => Cached::Absent(name_remaining),
        }
    }

    fn way(
        &mut self,
        parent: Ino,
        name: &Name,
        incomplete: bool,
        remote: &dyn Remote,
        now: Instant,
        settings: &Settings,
    ) -> Way {
        let child = self.inodes.child(parent, name.as_bytes());
        let kind = child.and_then(|ino| self.inodes.kind(ino));
        let lists = remote.stat_lists() && kind != Some(Kind::File);
        let way = self.habits.way(parent, lists, now, settings.dir_timeout);
        match kind {
            // The listing has just shown that it does not tell.
            _ if incomplete => Way::Stat,
            // Asked about a name, a server may answer for another spelling of it.
            None if remote.ignores_case() => Way::List,
            // Asked about a link, a server may answer for the file it leads to.
            Some(Kind::Symlink) => Way::List,
            _ => way,
        }
    }

    fn is_listed(&mut self, ino: Ino, now: Instant, timeout: Duration) -> bool {
        let Some((parent, Some(name))) = self.inodes.place(ino) else { return ino == Ino::ROOT };
        let name = name.clone();
        // What the server told of it by itself shows it as well as a listing does.
        let told = self.attributes.last(ino).is_some_and(|told| !told.remaining(now, timeout).is_zero());
        told || self.shows(parent, &name, now, timeout)
    }

    /// Whether a fresh listing of `parent` shows `name`.
    fn shows(&mut self, parent: Ino, name: &Name, now: Instant, timeout: Duration) -> bool {
        let listed = self.directories.find(parent, name.as_bytes(), now, timeout);
        listed.is_some_and(|(found, _)| found.is_some())
    }
}

fn believed(known: Known, name_remaining: Duration, now: Instant, settings: &Settings) -> Cached {
    if !known.is_complete() {
        return Cached::Nothing { incomplete: true };
    }
    if name_remaining.is_zero() || known.remaining(now, settings.attr_timeout).is_zero() {
        return Cached::Nothing { incomplete: false };
    }
    Cached::Known(known, name_remaining)
}

/// Which of a listing's word and a single answer holds. A listing that shows a link is right about that: asked about a
/// link, a server may answer for the file it leads to.
pub(super) fn newer(mut listed: Known, told: &Known) -> Known {
    let is_link = Kind::of(&listed.metadata.kind) == Kind::Symlink;
    if told.as_of >= listed.as_of && !is_link {
        return told.clone();
    }
    listed.refine(&told.metadata);
    listed
}

fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::Remote { kind: ErrorKind::NotFound, .. })
}
