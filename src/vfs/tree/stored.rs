//! What was done here: the cache on disk forgets what it stored before.

use crate::path::RemotePath;
use crate::vfs::inodes::Ino;
use crate::vfs::tree::Tree;
use std::time::Duration;

impl Tree {
    /// Waits until what is to be stored is, but no longer than `limit`; whether it is.
    pub(crate) fn wait_for_stored(&self, limit: Duration) -> bool {
        self.disk.as_ref().is_none_or(|disk| disk.wait(limit))
    }

    /// Of the file at `path` another content, or another time, is on the server by now, or will be. To be called before and after
    /// another content gets there, as [`Tree::forget_renamed`] is.
    pub(crate) fn forget_stored(&self, path: &RemotePath) {
        if let Some(disk) = &self.disk {
            disk.forget(path, true);
        }
    }

    /// No file is at `path` any more.
    pub(super) fn forget_removed(&self, path: Option<&RemotePath>) {
        if let (Some(disk), Some(path)) = (&self.disk, path) {
            disk.forget(path, false);
        }
    }

    /// `ino` is renamed. To be called before it is done, so that a crash does not leave what was stored for what is there then,
    /// and after it, since others may have stored more meanwhile.
    pub(crate) fn forget_renamed(&self, ino: Ino, from: &RemotePath, to: &RemotePath) {
        match &self.disk {
            Some(disk) if self.is_directory(ino) => disk.moved(&[from, to]),
            Some(disk) => [from, to].iter().for_each(|path| disk.forget(path, true)),
            None => {}
        }
    }
}
