//! Blocks of content on this machine's disk, which outlive the mount. Nothing here waits for the network.
//!
//! All is in one directory that nobody else may see, of which we hold on to the directory itself and not to its path. Below
//! it a file's blocks lie in segments; a segment is of one version of its file, and made anew for another. Several mounts,
//! in several processes, may use it at the same time: what one reads while another writes has a wrong checksum, if any, and
//! what one removes while another reads it is still there for that one.

pub(crate) mod identity;
mod room;
pub(crate) mod segment;
pub(crate) mod stamp;

use crate::path::RemotePath;
use crate::sys;
use crate::vfs::cache::blocks::BlockIndex;
use crate::vfs::cache::disk::identity::{FileId, Moved, Scope};
use crate::vfs::cache::disk::room::{Room, remove, segment_path};
use crate::vfs::cache::disk::segment::{HEADER_BYTES, Segment};
use crate::vfs::cache::disk::stamp::Stamp;
use parking_lot::RwLock;
use std::fs::{self, DirBuilder, File, FileTimes};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Ours in the directory that the user named; another form of the files would have another.
const NAME: &str = "ftpsfs-blocks-1";
/// How exactly it is known when a segment was used last.
const USED_PRECISION: Duration = Duration::from_secs(60);
/// How long it may take until somebody else has made room: for a block, which may as well not be stored, and for what must
/// be noted.
const ROOM_MAX: Duration = Duration::from_secs(2);
const NOTE_MAX: Duration = Duration::from_secs(30);
/// What file systems give room in (bytes).
const PAGE_BYTES: u64 = 4096;

/// The blocks of one account on one server, in a directory that others may share.
#[derive(Debug)]
pub(crate) struct Store {
    /// Leads to `_directory`, wherever that is by now.
    base: PathBuf,
    _directory: File,
    bytes_max: u64,
    scope: RwLock<Scope>,
}

/// Which file is asked about, and since when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About {
    pub(crate) id: FileId,
    /// How often it, and all files, had been changed here.
    pub(crate) epoch: (u64, u64),
}

/// What is needed to find the blocks of one version of a file, and until when they are its.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) id: FileId,
    pub(crate) stamp: Stamp,
    /// How often its file, and all files, had been changed here.
    pub(crate) epoch: (u64, u64),
}

impl Store {
    /// Opens the directory, or makes it, for the account that `scope` names.
    ///
    /// # Errors
    ///
    /// The system's; [`ErrorKind::PermissionDenied`] with a text for a directory that others may write to.
    pub(crate) fn open(directory: &Path, bytes_max: u64, scope: &[u8]) -> io::Result<Self> {
        let outer = open_private(directory, 0o022)?;
        let directory = open_private(&through(&outer).join(NAME), 0o077)?;
        let base = through(&directory);
        let store = Self { base, _directory: directory, bytes_max, scope: RwLock::new(Scope::new(scope)) };
        let moved = store.read_moved(&store.scope.read().file_name());
        match moved {
            Ok(moved) => store.scope.write().merge(moved),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // Which directories were renamed is not known any more.
            Err(_) => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                store.scope.write().begin_anew(since.as_secs());
                store.note_moved(&[])?;
            }
        }
        Ok(store)
    }

    /// Whose content has `path`.
    pub(crate) fn id(&self, path: &RemotePath) -> FileId {
        self.scope.read().id(path)
    }

    /// The segment `number` of the version of `key`, used at `wall`; `None` where there is none of it.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn segment(&self, key: &Key, number: u64, wall: SystemTime) -> io::Result<Option<Segment>> {
        let segment = self.segment_of_some_version(key.id, number)?.filter(|segment| *segment.stamp() == key.stamp);
        if let Some(segment) = &segment {
            let used = segment.file().metadata()?.modified()?;
            if wall.duration_since(used).is_ok_and(|since| since > USED_PRECISION) {
                // For the order in which they go, no more.
                let _ = segment.file().set_times(FileTimes::new().set_modified(wall));
            }
        }
        Ok(segment)
    }

    /// The segment `number` of `id`, of whatever version; `None` where there is none.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn segment_of_some_version(&self, id: FileId, number: u64) -> io::Result<Option<Segment>> {
        match sys::open_itself(File::options().read(true), &segment_path(&self.base, id, number)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            file => Segment::read(file?, id),
        }
    }

    /// What the segment `number` of `key` says is not true.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn remove_segment(&self, key: &Key, number: u64) -> io::Result<()> {
        remove(&segment_path(&self.base, key.id, number))
    }

    /// Stores a block, unless it is there already; `false` where there is no room for it.
    ///
    /// # Errors
    ///
    /// The system's; [`ErrorKind::WouldBlock`] while somebody else makes room.
    pub(crate) fn store(&self, key: &Key, index: BlockIndex, bytes: &[u8]) -> io::Result<bool> {
        match self.segment_to_store(key, index, bytes.len() as u64)? {
            Some(segment) if segment.holds(index) => Ok(true),
            Some(segment) => segment.store(index, bytes).map(|()| true),
            None => Ok(false),
        }
    }

    /// The segment for `index`, with room for a block of `len` bytes unless it is there; `None` where there is no room.
    ///
    /// Nobody else makes one at the same time: who finds one that is not whole would take it away.
    fn segment_to_store(&self, key: &Key, index: BlockIndex, len: u64) -> io::Result<Option<Segment>> {
        let room = Room::lock(&self.base, ROOM_MAX)?;
        let path = segment_path(&self.base, key.id, Segment::of(index));
        let cost = len.next_multiple_of(PAGE_BYTES);
        match self.open_to_store(key, &path)? {
            Some(segment) if segment.holds(index) => Ok(Some(segment)),
            // Making room may remove it: then the block goes with it.
            Some(segment) => Ok(room.take(cost, self.bytes_max)?.then_some(segment)),
            None if room.take(HEADER_BYTES + cost, self.bytes_max)? => {
                Segment::create(create(&path)?, key.id, &key.stamp).map(Some)
            }
            None => Ok(None),
        }
    }

    /// The segment at `path`; `None` where it is to be made. One of another version goes.
    fn open_to_store(&self, key: &Key, path: &Path) -> io::Result<Option<Segment>> {
        let file = match sys::open_itself(File::options().read(true).write(true), path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let segment = Segment::read(file, key.id)?.filter(|segment| *segment.stamp() == key.stamp);
        if segment.is_none() {
            remove(path)?;
        }
        Ok(segment)
    }

    /// What all that is stored may take (bytes).
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// What it takes as far as it is noted (bytes), without waiting for who changes that.
    pub(crate) fn used(&self) -> Option<u64> {
        room::used(&self.base).ok()?
    }

    /// The disk is full: gives some of it back.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn make_room(&self) -> io::Result<()> {
        Room::lock(&self.base, ROOM_MAX)?.make_some()
    }

    /// Removes all that is stored of `id`. With `for_good` it does not come back after a crash of the machine either.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn forget(&self, id: FileId, for_good: bool) -> io::Result<()> {
        let (directory, name) = id.names();
        let directory = self.base.join(directory);
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let mut removed = false;
        for entry in entries {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(name.as_bytes()) {
                remove(&entry.path())?;
                removed = true;
            }
        }
        if removed && for_good { File::open(&directory)?.sync_all() } else { Ok(()) }
    }

    /// What is stored of the file at `path` is old, and cannot be removed: for as long as this store is open it is of no file.
    pub(crate) fn give_up(&self, path: &RemotePath) {
        self.scope.write().give_up(path);
    }

    /// The directories at `paths` are others than before, with all that is below.
    ///
    /// # Errors
    ///
    /// The system's: then the next mount does not know of it.
    pub(crate) fn moved(&self, paths: &[&RemotePath]) -> io::Result<()> {
        self.note_moved(paths).inspect_err(|_| paths.iter().for_each(|path| self.scope.write().note(path)))
    }

    fn note_moved(&self, paths: &[&RemotePath]) -> io::Result<()> {
        let _room = Room::lock(&self.base, NOTE_MAX)?;
        let name = self.scope.read().file_name();
        let others = self.read_moved(&name);
        let (path, new) = (self.base.join(&name), self.base.join(format!("{name}.new")));
        let text = {
            let mut scope = self.scope.write();
            if let Ok(others) = others {
                scope.merge(others);
            }
            paths.iter().for_each(|path| scope.note(path));
            serde_json::to_vec(scope.moved())?
        };
        remove(&new)?;
        let mut file = create(&new)?;
        file.write_all(&text)?;
        file.sync_data()?;
        fs::rename(&new, &path)?;
        File::open(&self.base)?.sync_all()
    }

    fn read_moved(&self, name: &str) -> io::Result<Moved> {
        Ok(serde_json::from_slice(&fs::read(self.base.join(name))?)?)
    }
}

/// A path to what an open directory is, whatever becomes of the path that it was opened by.
fn through(directory: &File) -> PathBuf {
    format!("/proc/self/fd/{}", directory.as_raw_fd()).into()
}

/// Opens a directory, or makes it, that is ours and on which others have none of the rights `forbidden`.
fn open_private(path: &Path, forbidden: u32) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let directory = sys::open_directory(path).map_err(|error| match error.kind() {
        ErrorKind::NotADirectory => io::Error::new(error.kind(), "it is no directory, or a symbolic link to one"),
        _ => error,
    })?;
    let metadata = directory.metadata()?;
    if metadata.uid() != sys::effective_user() {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "it belongs to another user"));
    }
    if metadata.mode() & forbidden != 0 {
        let what = format!("others than its owner may use it (mode {:03o})", metadata.mode() & 0o777);
        return Err(io::Error::new(ErrorKind::PermissionDenied, what));
    }
    Ok(directory)
}

/// Makes a file that is not there, and the directory for it.
fn create(path: &Path) -> io::Result<File> {
    let open = || sys::open_itself(File::options().read(true).write(true).create_new(true).mode(0o600), path);
    match (open(), path.parent()) {
        (Err(error), Some(directory)) if error.kind() == ErrorKind::NotFound => {
            match DirBuilder::new().mode(0o700).create(directory) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                _ => open(),
            }
        }
        (file, _) => file,
    }
}

#[cfg(test)]
mod tests;
