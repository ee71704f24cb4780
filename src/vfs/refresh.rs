//! Forgetting, because somebody asks for it, what was learnt of the server: it is asked for anew when it is needed.

use crate::vfs::error::Error;
use crate::vfs::filesystem::Vfs;
use crate::vfs::inodes::Ino;
use std::collections::HashSet;

pub use crate::vfs::told::Refreshed;

impl Vfs {
    /// Sets what tells the kernel to forget. Only the first call counts.
    pub fn on_refresh(&self, refreshed: impl Fn(&Refreshed) + Send + Sync + 'static) {
        // A second caller is a mistake without harm.
        let _ = self.refreshed.set(Box::new(refreshed));
    }

    /// Believes nothing more of `ino` and all that is below it, and has the kernel do likewise, which may wait for those who
    /// use it now. What was written here and is not on the server yet stays; so does the content of open files where it is
    /// needed to read them in one version.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`] where the inode is no more.
    pub fn refresh(&self, ino: Ino) -> Result<Refreshed, Error> {
        let inodes = self.tree.disbelieve(ino)?;
        for inode in &inodes {
            self.content.forget(*inode);
        }
        self.tree.forget_stored_below(ino);
        let among: HashSet<Ino> = inodes.iter().copied().collect();
        let refreshed = Refreshed { absent: self.absences.take(&among), inodes };
        if let Some(tell) = self.refreshed.get() {
            tell(&refreshed);
        }
        Ok(refreshed)
    }
}
