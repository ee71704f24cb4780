//! Which version of a file's content an inode stands for.

use crate::remote::Metadata;
use crate::vfs::cache::attributes::Known;
use crate::vfs::cache::disk::Key;
use crate::vfs::error::Error;
use crate::vfs::inodes::Ino;
use lru::LruCache;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// One state of a file's content. Numbers are never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct VersionId(u64);

/// A version of a file's content, as handles hold on to it.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) id: VersionId,
    pub(crate) ino: Ino,
    /// In bytes.
    pub(crate) size: u64,
    gone: AtomicBool,
    /// How many handles hold on to it.
    handles: AtomicUsize,
    /// Whether it was ever opened: what was only fetched ahead the kernel knows nothing of.
    was_opened: AtomicBool,
    /// What it is called in the cache on disk; `None` where it has no place there.
    on_disk: Mutex<Option<Arc<Key>>>,
    /// Nothing of it was fetched before.
    since: Instant,
    /// A read of it took too long.
    given_up: Mutex<Option<(Instant, Error)>>,
}

impl Version {
    /// What it is called in the cache on disk, if it may be there.
    pub(crate) fn on_disk(&self) -> Option<Arc<Key>> {
        self.on_disk.lock().clone()
    }

    /// It may be in the cache on disk as `key`; what it was called there before.
    pub(crate) fn put_on_disk(&self, key: Option<Key>) -> Option<Arc<Key>> {
        std::mem::replace(&mut *self.on_disk.lock(), key.map(Arc::new))
    }

    /// For how long its bytes may have been fetched.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Why a read of it took too long a moment ago. The kernel asks once more, page by page, before it tells the program.
    pub(crate) fn given_up(&self) -> Option<Error> {
        let given_up = self.given_up.lock();
        given_up.as_ref().filter(|(since, _)| since.elapsed() < GIVEN_UP).map(|(_, error)| error.clone())
    }

    /// A read of it took too long.
    pub(crate) fn give_up(&self, error: &Error) {
        *self.given_up.lock() = Some((Instant::now(), error.clone()));
    }

    /// One more handle holds on to it; whether another did before.
    pub(crate) fn opened(&self) -> bool {
        self.handles.fetch_add(1, Ordering::AcqRel);
        self.was_opened.swap(true, Ordering::AcqRel)
    }

    /// What was written through an open handle may not be this: nobody is told that what he has of it is still right.
    pub(crate) fn was_never_opened(&self) {
        self.was_opened.store(false, Ordering::Release);
    }

    /// One handle less holds on to it; `true` for the last one.
    pub(crate) fn closed(&self) -> bool {
        self.handles.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Whether the server has another version by now, so that nothing more may be given of this one.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

/// How long further reads of a file fail at once after one that took too long.
const GIVEN_UP: Duration = Duration::from_millis(200);
/// How many versions are remembered. A file that falls out counts as changed when it is opened again.
const VERSIONS_MAX: usize = 32 * 1024;

/// The version of each file that was opened.
#[derive(Debug)]
pub(crate) struct Versions {
    current: LruCache<Ino, (Arc<Version>, Known)>,
    next: u64,
}

impl Versions {
    pub(crate) fn new() -> Self {
        Self { current: LruCache::unbounded(), next: 1 }
    }

    /// The version that `metadata` tells of, and whether it was current before.
    pub(crate) fn open(&mut self, ino: Ino, metadata: &Metadata, size: u64, now: Instant) -> (Arc<Version>, bool) {
        if let Some((version, known)) = self.current.get_mut(&ino)
            && version.size == size
            && known.metadata.same_version(metadata)
        {
            let mut newer = Known { metadata: metadata.clone(), as_of: now };
            newer.refine(&known.metadata);
            *known = newer;
            return (Arc::clone(version), true);
        }
        self.end(ino);
        let version = self.detached(ino, size);
        self.current.put(ino, (Arc::clone(&version), Known { metadata: metadata.clone(), as_of: now }));
        if self.current.len() > VERSIONS_MAX {
            self.current.pop_lru();
        }
        (version, false)
    }

    /// A content of `ino` that is not under its name on the server.
    pub(crate) fn detached(&mut self, ino: Ino, size: u64) -> Arc<Version> {
        let id = VersionId(self.next);
        self.next += 1;
        let (gone, handles) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (was_opened, on_disk, since) = (AtomicBool::new(false), Mutex::default(), Instant::now());
        let given_up = Mutex::default();
        Arc::new(Version { id, ino, size, gone, handles, was_opened, on_disk, since, given_up })
    }

    /// The current version of `ino`.
    pub(crate) fn current(&self, ino: Ino) -> Option<VersionId> {
        self.current.peek(&ino).map(|(version, _)| version.id)
    }

    /// Whether somebody has the current version of `ino` open.
    pub(crate) fn is_open(&self, ino: Ino) -> bool {
        self.current.peek(&ino).is_some_and(|(version, _)| version.handles.load(Ordering::Acquire) > 0)
    }

    /// The server tells `metadata` of the current version of `ino` by now: we changed it, and not the content.
    pub(crate) fn renew(&mut self, ino: Ino, metadata: &Metadata) {
        if let Some((version, known)) = self.current.get_mut(&ino)
            && metadata.size == Some(version.size)
        {
            known.metadata = metadata.clone();
        }
    }

    /// Whether `metadata` tells of another version than the current one of `ino`; `false` if none was opened.
    pub(crate) fn differs(&self, ino: Ino, metadata: &Metadata) -> bool {
        self.current.peek(&ino).is_some_and(|(_, known)| !known.metadata.same_version(metadata))
    }

    /// Whether `metadata` tells of another version than `version`, as far as that is still the current one of its file.
    pub(crate) fn is_other(&self, version: &Version, metadata: &Metadata) -> bool {
        self.current(version.ino) == Some(version.id) && self.differs(version.ino, metadata)
    }

    /// Ends the current version of `ino`: the server has another one.
    pub(crate) fn end(&mut self, ino: Ino) -> Option<VersionId> {
        let (version, _) = self.current.pop(&ino)?;
        version.gone.store(true, Ordering::Release);
        Some(version.id)
    }

    /// Ends `version`: its content is not what the server told of it.
    pub(crate) fn disprove(&mut self, version: &Version) {
        version.gone.store(true, Ordering::Release);
        if self.current.peek(&version.ino).is_some_and(|(current, _)| current.id == version.id) {
            self.current.pop(&version.ino);
        }
    }
}
