//! The POSIX operations, in the order of FUSE's.

use crate::deadline::{Deadline, Ending};
use crate::path::escaped;
use crate::remote::{FileKind, Remote};
use crate::vfs::attr::{Attr, Kind};
use crate::vfs::cache::disk::stamp::PRECISION_MAX;
use crate::vfs::content::{Content, Fetching};
use crate::vfs::counters::Counters;
use crate::vfs::disk::DiskCache;
use crate::vfs::drafts::{Drafts, Moment};
use crate::vfs::error::Error;
use crate::vfs::foresight::Foresight;
use crate::vfs::handles::{Handle, Handles, OpenFile};
use crate::vfs::inodes::Ino;
use crate::vfs::journal::Journal;
use crate::vfs::link;
use crate::vfs::names::NAME_BYTES_MAX;
use crate::vfs::outgoing;
use crate::vfs::settings::Settings;
use crate::vfs::space::FreeSpace;
use crate::vfs::told::{Absences, Refreshed};
use crate::vfs::tree::{Answer, Found, Target, Tree};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub use crate::vfs::content::Bytes;
pub use crate::vfs::counters::Summary;
pub use crate::vfs::handles::Fh;
pub use crate::vfs::space::Space;

/// A mounted server as a POSIX file system. May be asked from any thread.
pub struct Vfs {
    pub(crate) tree: Arc<Tree>,
    pub(crate) content: Arc<Content>,
    pub(crate) drafts: Arc<Drafts>,
    pub(crate) handles: Handles,
    foresight: Foresight,
    space: FreeSpace,
    ending: Ending,
    counters: Arc<Counters>,
    /// Links that were refused and logged.
    refused_links: Mutex<HashSet<Ino>>,
    changed: OnceLock<Changed>,
    pub(crate) refreshed: OnceLock<Forget>,
    pub(crate) absences: Absences,
    /// Files of which the server does not tell better times than its listings do, since it last did of one.
    coarse: Mutex<HashSet<Ino>>,
}

/// Tells the kernel that what it believes of an inode's attributes is wrong.
type Changed = Box<dyn Fn(Ino) + Send + Sync>;

/// Tells the kernel to forget.
type Forget = Box<dyn Fn(&Refreshed) + Send + Sync>;

/// Whether an operation may wait for the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Answer from what is known, or with [`Error::WouldBlock`].
    CacheOnly,
    /// Ask the server where needed. Bounded in time by the [`Remote`].
    Network,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// A file. The kernel holds its inode until [`Vfs::forget`].
    Up(Entry),
    /// Nothing, which may be believed for this long.
    Absent(Duration),
}

/// An inode with its attributes, and how long both may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The inode.
    pub ino: Ino,
    /// Its attributes.
    pub attr: Attr,
    /// How long the attributes may be believed.
    pub attr_remaining: Duration,
    /// How long the name may be believed to stand for the inode.
    pub name_remaining: Duration,
}

/// An open file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Its handle.
    pub fh: Fh,
    /// Whether what the kernel has of it from an earlier open is still right.
    pub keep_cache: bool,
    /// Whether the kernel was told of another size, and believes that until it looks the file up again: what it appends would be
    /// written over what was added on the server.
    pub size_differs: bool,
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Writing, or reading and writing.
    Write,
    /// As `Write`, with nothing of the content left.
    Truncate,
}

/// One line of a directory.
#[derive(Debug, Clone, Copy)]
pub struct DirectoryEntry<'a> {
    /// The inode number to show.
    pub ino: Ino,
    /// Where the next line is read.
    pub next_offset: u64,
    /// The kind to show.
    pub kind: Kind,
    /// The name.
    pub name: &'a [u8],
    /// What the kernel may believe of it; `None` for `.` and `..`, which it knows, and where only
    /// names are read.
    pub entry: Option<Entry>,
}

/// How many links are remembered as refused: past this, one may be logged again.
const REFUSED_LINKS_MAX: usize = 1024;
/// How long the end of a mount without its server waits for what is to be stored in the cache on disk.
const STORED_MAX: Duration = Duration::from_millis(300);
/// After so many files in a row without an exact time the server is taken to have none for any. One alone may be refused.
const COARSE_MAX: usize = 4;

impl Vfs {
    /// A file system that shows what `remote` holds.
    pub fn new(remote: Arc<dyn Remote>, settings: Settings) -> Self {
        Self::with_journal(remote, settings, None)
    }

    /// As [`Vfs::new`], with a journal: what it holds is uploaded after [`Vfs::resume`], and what is closed goes there first
    /// if the settings say so.
    pub fn with_journal(remote: Arc<dyn Remote>, settings: Settings, journal: Option<Journal>) -> Self {
        Self::with_disk(remote, settings, journal, None)
    }

    /// As [`Vfs::with_journal`], with a cache on disk.
    pub fn with_disk(
        remote: Arc<dyn Remote>,
        settings: Settings,
        journal: Option<Journal>,
        disk: Option<DiskCache>,
    ) -> Self {
        let (counters, disk) = (Arc::new(Counters::default()), disk.map(Arc::new));
        let cache_bytes_max = settings.cache_bytes_max;
        let (patience, ending) = (settings.patience, Ending::default());
        let fetching = Fetching { remote: Arc::clone(&remote), patience, ending: ending.clone() };
        let ends = ending.clone();
        let content = Content::new(fetching, Arc::clone(&counters), cache_bytes_max, disk.clone());
        let space = FreeSpace::new(Arc::clone(&remote));
        let content = Arc::new(content);
        let tree = Arc::new(Tree::new(Arc::clone(&remote), settings.clone(), ending, Arc::clone(&counters), disk));
        let disbelieving = Arc::downgrade(&tree);
        content.on_disproved(move |ino| {
            if let Some(tree) = disbelieving.upgrade() {
                tree.distrust(ino);
            }
        });
        let drafts = Drafts::new(Arc::clone(&tree), Arc::clone(&content), journal);
        let known = (Arc::clone(&tree), Arc::clone(&content), Arc::clone(&drafts));
        Self {
            foresight: Foresight::new(remote, &settings, known.0, known.1, known.2),
            drafts,
            tree,
            content,
            handles: Handles::default(),
            space,
            ending: ends,
            counters,
            refused_links: Mutex::default(),
            changed: OnceLock::new(),
            refreshed: OnceLock::new(),
            absences: Absences::default(),
            coarse: Mutex::default(),
        }
    }

    /// Sets what is called with an inode that is being opened while the kernel believes in an older size or time of it.
    /// Only the first call counts.
    pub fn on_change(&self, changed: impl Fn(Ino) + Send + Sync + 'static) {
        // A second caller is a mistake without harm.
        let _ = self.changed.set(Box::new(changed));
    }

    /// Closes what is still open, as the kernel does not always say that it is not any more when a mount ends, and waits for
    /// what goes on in the background, but no longer than `limit`.
    ///
    /// Once [`Vfs::ending`] has begun nothing is waited for that does not end by itself at once.
    pub fn end(&self, now: Instant, limit: Duration) {
        let deadline = Deadline::background(&self.ending);
        let _entered = deadline.enter();
        for fh in self.handles.files() {
            // Fails if another thread closed it just now.
            let _ = self.release(fh, now, Patience::Network);
        }
        let end = Instant::now() + limit;
        self.ending.wait_until(end, |slice| self.foresight.end(slice));
        self.ending.wait_until(end, |slice| outgoing::wait_for_all(Instant::now() + slice));
        if !self.ending.wait_until(end, |slice| self.tree.wait_for_removals(slice)) {
            log::warn!("temporary files are left on the server");
        }
        self.wait_for_stored(limit.min(if self.ending.has_begun() { STORED_MAX } else { limit }));
    }

    /// Waits until what is to be stored in the cache on disk is, but no longer than `limit`; whether it is.
    pub fn wait_for_stored(&self, limit: Duration) -> bool {
        self.tree.wait_for_stored(limit)
    }

    /// How long a request waits for a server that does not go on; `None` is for ever.
    pub fn patience(&self) -> Option<Duration> {
        self.tree.settings().patience
    }

    /// Ends whatever is under way, once it begins.
    pub fn ending(&self) -> &Ending {
        &self.ending
    }

    /// What was asked and answered since the mount.
    pub fn summary(&self) -> Summary {
        self.counters.summary()
    }

    /// Finds `name` in the directory `parent`.
    ///
    /// # Errors
    ///
    /// [`Error::NameTooLong`] where there is none of the name, [`Error::NotADirectory`], [`Error::Stale`], [`Error::Remote`], and
    /// [`Error::WouldBlock`] as `patience` says.
    pub fn lookup(&self, parent: Ino, name: &[u8], now: Instant, patience: Patience) -> Result<Looked, Error> {
        // FUSE's kernel lets up to 1024 bytes through, and a server may have such a name.
        let is_too_long = name.len() > NAME_BYTES_MAX;
        self.drafts.take_up_name(parent, name, now, patience.waits())?;
        match self.tree.lookup(parent, name, now, patience.waits()) {
            Ok(Answer::Found(found)) => Ok(Looked::Up(self.entry(&found))),
            Ok(Answer::Absent(_)) if is_too_long => Err(Error::NameTooLong),
            Ok(Answer::Absent(remaining)) => {
                self.absences.note(parent, name);
                Ok(Looked::Absent(remaining))
            }
            Err(error) if is_too_long && error.is_refusal() => Err(Error::NameTooLong),
            Err(error) => Err(error),
        }
    }

    /// The kernel takes back `lookups` of the times it was told of `ino`.
    pub fn forget(&self, ino: Ino, lookups: u64) {
        self.tree.forget(ino, lookups);
    }

    /// The attributes of `ino`, and how long they may be believed.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchEntry`] if it went away, [`Error::Stale`] if another kind of file took its name; as
    /// [`Vfs::lookup`] otherwise.
    pub fn getattr(&self, ino: Ino, now: Instant, patience: Patience) -> Result<(Attr, Duration), Error> {
        let entry = self.entry(&self.tree.getattr(ino, now, patience.waits())?);
        Ok((entry.attr, entry.attr_remaining))
    }

    /// Where the symbolic link `ino` leads: a path that stays in the mount.
    ///
    /// # Errors
    ///
    /// [`Error::LinkEscapes`], [`Error::LinkUnknown`], [`Error::InvalidRequest`] if it is no link; as [`Vfs::getattr`]
    /// otherwise.
    pub fn readlink(&self, ino: Ino, now: Instant, patience: Patience) -> Result<Vec<u8>, Error> {
        match self.tree.getattr(ino, now, patience.waits())?.metadata.kind {
            FileKind::Symlink(Some(target)) => {
                let shown = link::contained(&target, self.tree.depth(ino)?);
                shown.ok_or_else(|| self.refuse_link(ino, &target, now))
            }
            FileKind::Symlink(None) => Err(Error::LinkUnknown),
            FileKind::File | FileKind::Directory => Err(Error::InvalidRequest),
        }
    }

    /// Opens the file `ino`. Its attributes are asked for anew if they are too old to be believed.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`] for writing where nothing may be written, [`Error::IsADirectory`]; as [`Vfs::getattr`] otherwise.
    pub fn open(&self, ino: Ino, access: Access, now: Instant, patience: Patience) -> Result<Opened, Error> {
        let asked = Instant::now();
        self.drafts.take_up(&Target::Inode(ino), now, patience.waits())?;
        if access != Access::Read {
            return self.open_to_write(ino, access, now, patience);
        }
        let about = self.content.about(|| self.tree.path(ino, now).ok().map(|(path, _)| path));
        let found = self.tree.getattr(ino, now, patience.waits())?;
        match found.attr.kind {
            Kind::File => {}
            Kind::Directory => return Err(Error::IsADirectory),
            Kind::Symlink => return Err(Error::InvalidRequest),
        }
        let found = self.told_exactly(found, now, patience)?;
        if self.tree.tell(ino, &found.attr)
            && let Some(changed) = self.changed.get()
        {
            // The kernel would cut the file at the size it believes in.
            changed(ino);
        }
        self.drafts.opened(ino);
        self.foresight.opened(ino, found.attr.size, now);
        let (version, keep_cache) = match self.drafts.of(ino) {
            Some(draft) => {
                self.drafts.rebase(&draft, &found.metadata, Moment::new(now), asked);
                (self.content.detached(ino, found.attr.size), false)
            }
            None => {
                let (version, same) = self.content.open(ino, &found.metadata, found.attr.size, now);
                let age = self.tree.settings().attr_timeout;
                self.content.put_on_disk(&version, about, &found.metadata, age);
                (version, same)
            }
        };
        Ok(Opened {
            fh: self.handles.open(Handle::File(OpenFile { ino, version, writes: false })),
            keep_cache,
            size_differs: false,
        })
    }

    /// As `found`, with a time that tells a version for the cache on disk, if there is one: listings may tell only minutes
    /// and days.
    fn told_exactly(&self, found: Found, now: Instant, patience: Patience) -> Result<Found, Error> {
        let tells = |found: &Found| found.metadata.modified.is_none_or(|modified| modified.precision <= PRECISION_MAX);
        if !self.content.has_disk() || tells(&found) || self.coarse.lock().len() >= COARSE_MAX {
            return Ok(found);
        }
        if !patience.waits() {
            return Err(Error::WouldBlock);
        }
        let ino = found.ino;
        match self.tree.refresh(ino, now) {
            Ok(exact) if exact.attr.kind == Kind::File => {
                let mut coarse = self.coarse.lock();
                if tells(&exact) {
                    coarse.clear();
                } else {
                    coarse.insert(ino);
                }
                Ok(exact)
            }
            _ => Ok(found),
        }
    }

    /// At most `size` bytes of an open file from `offset` (bytes) on; fewer only at its end.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`] once the file changed on the server: an open file is read in one version or not at all.
    /// [`Error::BadHandle`], [`Error::Remote`], and [`Error::WouldBlock`] as `patience` says.
    pub fn read(&self, fh: Fh, offset: u64, size: u32, now: Instant, patience: Patience) -> Result<Bytes, Error> {
        let OpenFile { ino, version, .. } = self.handles.file(fh)?;
        if let Some(draft) = self.drafts.of(ino) {
            return self.drafts.read(&draft, offset, size, Moment::new(now), patience.waits());
        }
        let place = match patience {
            Patience::CacheOnly => None,
            Patience::Network => Some(self.tree.place_of(version.ino, now)?),
        };
        self.content.read(&version, offset, size, place)
    }

    /// Closes an open file. What was written and never asked to be on the server gets there now, if it can.
    ///
    /// # Errors
    ///
    /// [`Error::BadHandle`] if it is not open, [`Error::WouldBlock`] as `patience` says; how the upload went is in the
    /// log only.
    pub fn release(&self, fh: Fh, now: Instant, patience: Patience) -> Result<(), Error> {
        let file = self.handles.file(fh)?;
        if !patience.waits() && self.drafts.of(file.ino).is_some() {
            return Err(Error::WouldBlock);
        }
        if let Handle::File(OpenFile { ino, version, writes }) = self.handles.close(fh)? {
            self.content.release(&version);
            self.drafts.closed(ino, writes, Moment::new(now));
        }
        Ok(())
    }

    /// Opens the directory `ino`: its entries as they are now.
    ///
    /// # Errors
    ///
    /// [`Error::NotADirectory`], [`Error::Stale`], [`Error::Remote`], and [`Error::WouldBlock`] as `patience` says.
    pub fn opendir(&self, ino: Ino, now: Instant, patience: Patience) -> Result<Opened, Error> {
        self.foresight.listed(ino, now);
        let snapshot = self.tree.snapshot(ino, now, patience.waits())?;
        if patience.waits() {
            // What is in it is known by now.
            self.foresight.listed(ino, now);
        }
        let keep_cache = snapshot.directory.was_shown();
        Ok(Opened { fh: self.handles.open(Handle::Directory(snapshot)), keep_cache, size_differs: false })
    }

    /// Gives the entries of an open directory from `offset` on to `add`, until it returns `true`: its buffer was full
    /// before this entry. Offset 0 is the beginning; others come from [`DirectoryEntry::next_offset`].
    ///
    /// # Errors
    ///
    /// [`Error::BadHandle`] if it is not open.
    pub fn readdir(
        &self,
        fh: Fh,
        offset: u64,
        now: Instant,
        mut add: impl FnMut(&DirectoryEntry<'_>) -> bool,
    ) -> Result<(), Error> {
        self.walk(fh, offset, now, false, |_, entry| add(entry))
    }

    /// As [`Vfs::readdir`]; the kernel holds the inode of each added entry that has an [`Entry`], until [`Vfs::forget`].
    ///
    /// # Errors
    ///
    /// [`Error::BadHandle`] if it is not open.
    pub fn readdirplus(
        &self,
        fh: Fh,
        offset: u64,
        now: Instant,
        mut add: impl FnMut(&DirectoryEntry<'_>) -> bool,
    ) -> Result<(), Error> {
        self.walk(fh, offset, now, true, |vfs, entry| {
            let full = add(entry);
            if let (false, Some(entry)) = (full, entry.entry) {
                vfs.tree.looked_up(entry.ino);
                vfs.tree.tell(entry.ino, &entry.attr);
            }
            full
        })
    }

    /// Closes an open directory.
    ///
    /// # Errors
    ///
    /// [`Error::BadHandle`] if it is not open.
    pub fn releasedir(&self, fh: Fh) -> Result<(), Error> {
        self.handles.close(fh).map(drop)
    }

    /// What statfs(2) shows; never waits.
    pub fn statfs(&self, now: Instant) -> Space {
        self.space.show(now)
    }

    fn walk(
        &self,
        fh: Fh,
        offset: u64,
        now: Instant,
        plus: bool,
        mut add: impl FnMut(&Self, &DirectoryEntry<'_>) -> bool,
    ) -> Result<(), Error> {
        let snapshot = self.handles.directory(fh)?;
        let dots = [(&b"."[..], snapshot.ino), (&b".."[..], snapshot.parent)];
        for (next_offset, (name, ino)) in (1..).zip(dots).skip_while(|(next, _)| *next <= offset) {
            if add(self, &DirectoryEntry { ino, next_offset, kind: Kind::Directory, name, entry: None }) {
                return Ok(());
            }
        }
        let first = usize::try_from(offset.saturating_sub(dots.len() as u64)).unwrap_or(usize::MAX);
        let entries = snapshot.directory.entries().get(first..).unwrap_or_default();
        for (next_offset, entry) in (first as u64 + dots.len() as u64 + 1..).zip(entries) {
            let Some(found) = self.tree.entry(&snapshot, entry, now) else { return Ok(()) };
            let (ino, kind, name) = (found.ino, found.attr.kind, entry.name.as_bytes());
            let entry = plus.then(|| self.shown(&found));
            if add(self, &DirectoryEntry { ino, next_offset, kind, name, entry }) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What the kernel is told of `found`: from now on it may expect the content to go with it.
    pub(crate) fn entry(&self, found: &Found) -> Entry {
        let entry = self.shown(found);
        self.tree.tell(found.ino, &entry.attr);
        entry
    }

    /// As [`Vfs::entry`], where it is not certain yet that the kernel gets it.
    fn shown(&self, found: &Found) -> Entry {
        if found.attr.kind == Kind::File && !found.attr_remaining.is_zero() {
            self.content.observe(found.ino, &found.metadata);
        }
        let Found { ino, attr, attr_remaining, name_remaining, .. } = *found;
        Entry { ino, attr, attr_remaining, name_remaining }
    }

    fn refuse_link(&self, ino: Ino, target: &[u8], now: Instant) -> Error {
        let mut refused = self.refused_links.lock();
        if refused.len() >= REFUSED_LINKS_MAX {
            refused.clear();
        }
        if refused.insert(ino)
            && let Ok((path, _)) = self.tree.path(ino, now)
        {
            log::warn!("readlink {path}: {} leads out of the mount", escaped(target));
        }
        Error::LinkEscapes
    }
}

impl fmt::Debug for Vfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vfs").field("summary", &self.summary()).finish_non_exhaustive()
    }
}

impl Patience {
    pub(crate) fn waits(self) -> bool {
        self == Self::Network
    }
}
