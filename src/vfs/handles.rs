//! Open files and directories.

use crate::vfs::cache::Epoch;
use crate::vfs::cache::directories::Directory;
use crate::vfs::cache::versions::Version;
use crate::vfs::error::Error;
use crate::vfs::inodes::Ino;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// The number of an open file or directory. A number is never given twice while mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fh(pub u64);

/// What is open. The kernel bounds the number: each handle is somebody's file descriptor.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    handles: HashMap<Fh, Handle>,
    last: u64,
}

/// One open file or directory.
#[derive(Debug, Clone)]
pub(crate) enum Handle {
    /// A file.
    File(OpenFile),
    /// A directory, as it was at the time of opendir.
    Directory(Snapshot),
}

/// A file for one who opened it.
#[derive(Debug, Clone)]
pub(crate) struct OpenFile {
    pub(crate) ino: Ino,
    /// Its content at the time of open. Once somebody writes, the draft knows better.
    pub(crate) version: Arc<Version>,
    pub(crate) writes: bool,
}

/// A directory's entries for one reader: offsets into it stay right whatever happens to the directory.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) ino: Ino,
    pub(crate) parent: Ino,
    pub(crate) directory: Arc<Directory>,
    pub(crate) as_of: Instant,
    /// What was done later is not in it.
    pub(crate) epoch: Epoch,
}

impl Handles {
    pub(crate) fn open(&self, handle: Handle) -> Fh {
        let mut open = self.open.lock();
        open.last += 1;
        let fh = Fh(open.last);
        open.handles.insert(fh, handle);
        fh
    }

    pub(crate) fn file(&self, fh: Fh) -> Result<OpenFile, Error> {
        match self.open.lock().handles.get(&fh) {
            Some(Handle::File(file)) => Ok(file.clone()),
            _ => Err(Error::BadHandle),
        }
    }

    pub(crate) fn directory(&self, fh: Fh) -> Result<Snapshot, Error> {
        match self.open.lock().handles.get(&fh) {
            Some(Handle::Directory(snapshot)) => Ok(snapshot.clone()),
            _ => Err(Error::BadHandle),
        }
    }

    /// All files that are open.
    pub(crate) fn files(&self) -> Vec<Fh> {
        let open = self.open.lock();
        let files = open.handles.iter().filter(|(_, handle)| matches!(handle, Handle::File(_)));
        files.map(|(fh, _)| *fh).collect()
    }

    /// Gives what was open, for the caller to drop: a listing may be large.
    pub(crate) fn close(&self, fh: Fh) -> Result<Handle, Error> {
        self.open.lock().handles.remove(&fh).ok_or(Error::BadHandle)
    }
}
