//! What is forgotten of the server when somebody asks for that.

use crate::vfs::error::Error;
use crate::vfs::figures::Names;
use crate::vfs::inodes::Ino;
use crate::vfs::tree::Tree;

impl Tree {
    /// Believes nothing that the server said of `ino` and all below it; gives those inodes.
    pub(crate) fn disbelieve(&self, ino: Ino) -> Result<Vec<Ino>, Error> {
        let mut state = self.state.lock();
        let (parent, _) = state.inodes.place(ino).ok_or(Error::Stale)?;
        let below = state.inodes.below(ino);
        // Its listing tells of `ino`.
        state.directories.remove(parent);
        for inode in &below {
            state.attributes.remove(*inode);
            state.directories.remove(*inode);
        }
        // No answer counts that was asked for before, wherever.
        state.epoch.advance();
        state.noted_since = state.epoch;
        Ok(below)
    }

    /// The cache on disk forgets what it has of `ino` and all below it.
    pub(crate) fn forget_stored_below(&self, ino: Ino) {
        let Some(disk) = &self.disk else { return };
        let Some(path) = self.state.lock().inodes.path(ino) else { return };
        if self.is_directory(ino) {
            disk.moved(&[&path]);
        } else {
            disk.forget(&path, false);
        }
    }

    /// How much is known.
    pub(crate) fn names(&self) -> Names {
        let state = self.state.lock();
        Names { directories: state.directories.len(), files: state.attributes.len(), inodes: state.inodes.len() }
    }
}
