//! The cache on this machine's disk, as readers and writers of files use it: what it has is read at once, what is to be
//! stored waits in a queue for a thread of its own, and a disk that fails is left alone.

use crate::path::RemotePath;
use crate::remote::Metadata;
use crate::vfs::cache::blocks::{Block, BlockIndex, BlockPool};
use crate::vfs::cache::disk::segment::Segment;
use crate::vfs::cache::disk::stamp::Stamp;
use crate::vfs::cache::disk::{About, Key, Store};
use crate::vfs::figures::Disk;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How many blocks wait to be stored (8 MiB). What comes while so many do is not stored.
const QUEUE_MAX: usize = 64;
/// How long a disk that failed is left alone.
const PAUSE: Duration = Duration::from_secs(60);
/// How long anybody waits for what is in the queue.
const END_MAX: Duration = Duration::from_secs(5);
/// How many counts of local changes there are. Two files that share one only lose their place for a while.
const EPOCHS: usize = 1024;

/// A cache on disk. Its methods may be called from any thread.
#[derive(Debug)]
pub struct DiskCache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    store: Store,
    /// Counts the local changes of files, by slots, and those of all.
    epochs: Vec<AtomicU64>,
    epoch: AtomicU64,
    reading: Switch,
    storing: Switch,
    queue: Mutex<Queue>,
    /// Something is in the queue, or nothing comes any more.
    filled: Condvar,
    /// Nothing is in the queue, nor under way.
    idle: Condvar,
    /// What all that share the directory took when something was stored last (bytes).
    used: AtomicU64,
    /// Held while one block is stored, and while what was stored is forgotten.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(Arc<Key>, BlockIndex, Arc<Block>)>,
    busy: bool,
    closed: bool,
}

impl DiskCache {
    /// Opens the cache in `directory`, or makes one there, of at most `bytes_max` bytes together with all who share it. `scope`
    /// says whose files they are: what is stored for one is never seen by another.
    ///
    /// # Errors
    ///
    /// The system's; [`ErrorKind::PermissionDenied`] for a directory that is not ours alone.
    pub fn open(directory: &Path, bytes_max: u64, scope: &[u8]) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            directory: directory.to_owned(),
            store: Store::open(directory, bytes_max, scope)?,
            epochs: (0..EPOCHS).map(|_| AtomicU64::new(0)).collect(),
            epoch: AtomicU64::new(0),
            reading: Switch::default(),
            storing: Switch::default(),
            queue: Mutex::default(),
            filled: Condvar::new(),
            idle: Condvar::new(),
            used: AtomicU64::new(0),
            turn: Mutex::new(()),
        });
        shared.look_at_room();
        let storing = Arc::clone(&shared);
        thread::Builder::new().name("ftpsfs-cache".into()).spawn(move || storing.run())?;
        Ok(Self { shared })
    }

    /// Before what is known of `path` is looked at: whom a change overtakes from here on has a key that is not current.
    pub(crate) fn about(&self, path: &RemotePath) -> About {
        let shared = &self.shared;
        let all = shared.epoch.load(Ordering::Acquire);
        let id = shared.store.id(path);
        About { id, epoch: (all, shared.epochs[id.slot(EPOCHS)].load(Ordering::Acquire)) }
    }

    /// What the content is called that the question was `about`, and of which the server told `metadata` at most `age` before
    /// `wall`; `None` where that does not tell the version for sure.
    pub(crate) fn key(about: About, metadata: &Metadata, wall: SystemTime, age: Duration) -> Option<Key> {
        let About { id, epoch } = about;
        Some(Key { id, stamp: Stamp::new(metadata, wall, age)?, epoch })
    }

    /// Where it is, and what it takes.
    pub(crate) fn figures(&self) -> Disk {
        let shared = &self.shared;
        Disk {
            directory: shared.directory.display().to_string(),
            bytes: shared.used.load(Ordering::Relaxed),
            bytes_max: shared.store.bytes_max(),
        }
    }

    /// Those of the blocks `indices`, which ascend, that are there, each in its place.
    pub(crate) fn load(&self, key: &Key, indices: &[BlockIndex], pool: &Arc<BlockPool>) -> Vec<Option<Block>> {
        let shared = &self.shared;
        let mut blocks = Vec::with_capacity(indices.len());
        if shared.is_current(key) && shared.reading.is_on() {
            match shared.load(key, indices, pool, &mut blocks) {
                Ok(()) => shared.reading.works(&shared.directory),
                Err(error) => shared.reading.fails(&shared.directory, "read", &error),
            }
        }
        blocks.resize_with(indices.len(), || None);
        blocks
    }

    /// Whether the block `index` of the file at `path` is there in a version that may be the one of `metadata`: who opens the
    /// file asks for what tells it for sure.
    pub(crate) fn seems_to_hold(&self, path: &RemotePath, metadata: &Metadata, index: BlockIndex) -> bool {
        let store = &self.shared.store;
        let segment = || store.segment_of_some_version(store.id(path), Segment::of(index)).ok()?;
        self.shared.reading.is_on()
            && segment().is_some_and(|segment| segment.stamp().may_be(metadata) && segment.holds(index))
    }

    /// Stores a block some time, unless there is too much to be stored already. Never waits.
    pub(crate) fn store(&self, key: Arc<Key>, index: BlockIndex, block: Arc<Block>) {
        if !self.shared.storing.is_on() {
            return;
        }
        let mut queue = self.shared.queue.lock();
        if queue.waiting.len() < QUEUE_MAX {
            queue.waiting.push_back((key, index, block));
            self.shared.filled.notify_one();
        }
    }

    /// What is stored of the file at `path` is not its content any more. With `for_good` it does not come back after a crash
    /// of the machine either.
    pub(crate) fn forget(&self, path: &RemotePath, for_good: bool) {
        let shared = &self.shared;
        let id = shared.store.id(path);
        let epoch = &shared.epochs[id.slot(EPOCHS)];
        // What was made before it began is over, and what is made until it is done.
        epoch.fetch_add(1, Ordering::AcqRel);
        let _turn = shared.turn.lock();
        if let Err(error) = shared.store.forget(id, for_good) {
            shared.store.give_up(path);
            shared.doubt(path, &error);
        }
        epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// The directories at `paths`, and all that is below them, are others than before.
    pub(crate) fn moved(&self, paths: &[&RemotePath]) {
        let shared = &self.shared;
        shared.epoch.fetch_add(1, Ordering::AcqRel);
        let _turn = shared.turn.lock();
        if let (Err(error), Some(path)) = (shared.store.moved(paths), paths.first()) {
            shared.doubt(path, &error);
        }
        shared.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits until what is to be stored is, but no longer than `limit`; whether it is.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit.min(END_MAX);
        let mut queue = self.shared.queue.lock();
        while queue.busy || !queue.waiting.is_empty() {
            if self.shared.idle.wait_until(&mut queue, deadline).timed_out() {
                return false;
            }
        }
        true
    }
}

impl Drop for DiskCache {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.filled.notify_one();
        self.wait(END_MAX);
    }
}

impl Shared {
    fn is_current(&self, key: &Key) -> bool {
        let all = self.epoch.load(Ordering::Acquire);
        (all, self.epochs[key.id.slot(EPOCHS)].load(Ordering::Acquire)) == key.epoch
    }

    fn load(
        &self,
        key: &Key,
        indices: &[BlockIndex],
        pool: &Arc<BlockPool>,
        blocks: &mut Vec<Option<Block>>,
    ) -> io::Result<()> {
        let wall = SystemTime::now();
        let mut open: Option<(u64, Option<Segment>)> = None;
        for &index in indices {
            let number = Segment::of(index);
            if open.as_ref().is_none_or(|(other, _)| *other != number) {
                open = Some((number, self.store.segment(key, number, wall)?));
            }
            let held = open.as_ref().and_then(|(_, segment)| segment.as_ref()).filter(|segment| segment.holds(index));
            let Some(segment) = held else {
                blocks.push(None);
                continue;
            };
            let mut block = pool.take(index.len(key.stamp.size));
            if segment.load(index, block.bytes_mut())? {
                blocks.push(Some(block));
            } else {
                log::debug!("{}: a block is not what was stored: it goes", self.directory.display());
                self.store.remove_segment(key, number)?;
                open = Some((number, None));
                blocks.push(None);
            }
        }
        Ok(())
    }

    /// The thread that stores.
    fn run(&self) {
        while let Some((key, index, block)) = self.next() {
            if !self.storing.is_on() {
                continue;
            }
            let _turn = self.turn.lock();
            if !self.is_current(&key) {
                continue;
            }
            match self.store.store(&key, index, &block) {
                Ok(_) => {
                    self.look_at_room();
                    self.storing.works(&self.directory);
                }
                // Somebody else makes room.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => {
                    if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
                        // If that fails as well there is nothing more to be done.
                        let _ = self.store.make_room();
                    }
                    self.storing.fails(&self.directory, "write to", &error);
                }
            }
        }
    }

    fn next(&self) -> Option<(Arc<Key>, BlockIndex, Arc<Block>)> {
        let mut queue = self.queue.lock();
        queue.busy = false;
        loop {
            if let Some(next) = queue.waiting.pop_front() {
                queue.busy = true;
                return Some(next);
            }
            self.idle.notify_all();
            if queue.closed {
                return None;
            }
            self.filled.wait(&mut queue);
        }
    }

    /// For whoever wants to know: nothing depends on it.
    fn look_at_room(&self) {
        if let Some(used) = self.store.used() {
            self.used.store(used, Ordering::Relaxed);
        }
    }

    /// What is stored may be wrong, and cannot be removed: in this mount it is not used any more, but the next will use it.
    fn doubt(&self, path: &RemotePath, error: &io::Error) {
        log::error!(
            "what the disk cache {} has of {path} is old and cannot be removed: {error}",
            self.directory.display()
        );
    }
}

/// Whether a disk is used.
#[derive(Debug, Default)]
struct Switch {
    is_off: AtomicBool,
    since: Mutex<Option<Instant>>,
}

impl Switch {
    /// After a pause a disk that failed is tried again.
    fn is_on(&self) -> bool {
        !self.is_off.load(Ordering::Acquire) || self.since.lock().is_none_or(|since| since.elapsed() >= PAUSE)
    }

    fn fails(&self, directory: &Path, what: &str, error: &io::Error) {
        *self.since.lock() = Some(Instant::now());
        if !self.is_off.swap(true, Ordering::AcqRel) {
            let (directory, pause) = (directory.display(), PAUSE.as_secs());
            log::warn!("cannot {what} the disk cache {directory}: not used for this, tried every {pause} s: {error}");
        }
    }

    fn works(&self, directory: &Path) {
        if self.is_off.load(Ordering::Acquire) && self.is_off.swap(false, Ordering::AcqRel) {
            log::info!("the disk cache {} is used again", directory.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{FileKind, Modified};
    use std::fs;

    const SIZE: u64 = 300 * 128 * 1024;

    fn cache(test: &str) -> (PathBuf, DiskCache) {
        let directory = std::env::temp_dir().join(format!("ftpsfs-disk-{test}-{}", std::process::id()));
        let cache = DiskCache::open(&directory, 1 << 30, b"").unwrap();
        (directory, cache)
    }

    fn key(cache: &DiskCache) -> Arc<Key> {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let modified = Some(Modified { time, precision: Duration::from_secs(1) });
        let metadata = Metadata { size: Some(SIZE), modified, ..Metadata::of_kind(FileKind::File) };
        let path = RemotePath::parse(b"/f").unwrap();
        let about = cache.about(&path);
        Arc::new(DiskCache::key(about, &metadata, SystemTime::now(), Duration::ZERO).unwrap())
    }

    fn store(cache: &DiskCache, key: &Arc<Key>, index: u64) {
        let mut block = Arc::<BlockPool>::default().take(128 * 1024);
        block.bytes_mut().fill(7);
        cache.store(Arc::clone(key), BlockIndex(index), Arc::new(block));
    }

    fn held(cache: &DiskCache, key: &Key, indices: std::ops::Range<u64>) -> usize {
        let indices: Vec<BlockIndex> = indices.map(BlockIndex).collect();
        cache.load(key, &indices, &Arc::default()).iter().flatten().count()
    }

    #[test]
    fn nobody_waits_for_what_is_to_be_stored_and_what_is_too_much_is_not() {
        let (directory, cache) = cache("queue");
        let key = key(&cache);
        let turn = cache.shared.turn.lock();
        (0..200).for_each(|index| store(&cache, &key, index));
        assert!(!cache.wait(Duration::ZERO));
        drop(turn);
        assert!(cache.wait(END_MAX));
        // And one that the thread had taken before it had its turn.
        let stored = held(&cache, &key, 0..200);
        assert!((QUEUE_MAX..=QUEUE_MAX + 1).contains(&stored), "{stored}");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_waits_when_its_file_is_changed_here_is_not_stored_and_nothing_old_is_given() {
        let (directory, cache) = cache("forget");
        let old = key(&cache);
        store(&cache, &old, 0);
        assert!(cache.wait(END_MAX));
        assert_eq!(held(&cache, &old, 0..1), 1);
        thread::scope(|scope| {
            let turn = cache.shared.turn.lock();
            store(&cache, &old, 1);
            let forgetting = scope.spawn(|| cache.forget(&RemotePath::parse(b"/f").unwrap(), true));
            while cache.shared.is_current(&old) {
                thread::yield_now();
            }
            assert_eq!(held(&cache, &old, 0..2), 0);
            drop(turn);
            forgetting.join().unwrap();
        });
        store(&cache, &old, 2);
        assert!(cache.wait(END_MAX));
        let new = key(&cache);
        assert_eq!(held(&cache, &new, 0..3), 0);
        store(&cache, &new, 0);
        assert!(cache.wait(END_MAX));
        assert_eq!((held(&cache, &new, 0..3), held(&cache, &old, 0..3)), (1, 0));
        cache.moved(&[&RemotePath::parse(b"/d").unwrap()]);
        assert_eq!((held(&cache, &new, 0..3), held(&cache, &key(&cache), 0..3)), (0, 1));
        fs::remove_dir_all(directory).unwrap();
    }

    /// Nothing old was given while it was being forgotten, and all that was left of it again when that had failed.
    #[test]
    fn what_is_old_and_cannot_be_removed_is_not_given() {
        let (directory, cache) = cache("give-up");
        let old = key(&cache);
        let digits = old.id.to_string();
        let blocks = fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path().join(&digits[..2]);
        let segment = |number| blocks.join(format!("{}-{number}", &digits[2..]));
        // A directory cannot be removed as a file, and ends it: in the order of the file system one is before some segment.
        let stands_in_the_way = |number| fs::create_dir_all(segment(number)).unwrap();
        (100..150).for_each(stands_in_the_way);
        (0..4).for_each(|number| store(&cache, &old, 16 * number));
        assert!(cache.wait(END_MAX));
        assert_eq!(held(&cache, &old, 0..64), 4);
        (150..200).for_each(stands_in_the_way);
        cache.forget(&RemotePath::parse(b"/f").unwrap(), true);
        assert!((0..4).any(|number| segment(number).exists()));
        let new = key(&cache);
        assert_eq!(held(&cache, &new, 0..64), 0);
        store(&cache, &new, 1);
        assert!(cache.wait(END_MAX));
        assert_eq!((held(&cache, &new, 0..64), held(&cache, &key(&cache), 0..64)), (1, 1));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_disk_that_failed_is_left_alone_for_a_while_and_tried_again() {
        let (directory, cache) = cache("switch");
        let key = key(&cache);
        let blocks = fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
        fs::remove_dir_all(&blocks).unwrap();
        for _ in 0..2 {
            store(&cache, &key, 0);
            assert!(cache.wait(END_MAX));
            assert!(!cache.shared.storing.is_on() && cache.shared.reading.is_on());
            *cache.shared.storing.since.lock() = Instant::now().checked_sub(PAUSE);
            assert!(cache.shared.storing.is_on());
        }
        cache.shared.storing.works(&directory);
        assert!(!cache.shared.storing.is_off.load(Ordering::Relaxed));
        fs::remove_dir_all(directory).unwrap();
    }
}
