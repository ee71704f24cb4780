//! The tree as a map for those who look ahead: what is known, and nothing asked.

use crate::path::Name;
use crate::remote::Entry;
use crate::vfs::attr::Kind;
use crate::vfs::cache::directories::Directory;
use crate::vfs::error::Error;
use crate::vfs::inodes::Ino;
use crate::vfs::tree::{State, Tree};
use crate::vfs::walkers::Map;
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Known<'a> {
    state: &'a mut State,
    now: Instant,
    timeout: Duration,
}

impl Map for Known<'_> {
    fn place(&self, ino: Ino) -> Option<(Ino, Name)> {
        let (parent, name) = self.state.inodes.place(ino)?;
        name.map(|name| (parent, name.clone()))
    }

    fn listing(&mut self, directory: Ino) -> Option<Arc<Directory>> {
        self.state.directories.glance(directory, self.now, self.timeout).cloned()
    }

    fn child(&mut self, directory: Ino, entry: &Entry) -> Option<Ino> {
        let kind = Kind::of(&entry.metadata.kind);
        match self.state.inodes.child(directory, entry.name.as_bytes()) {
            // What was done here since the listing holds.
            Some(ino) => (self.state.inodes.kind(ino) == Some(kind)).then_some(ino),
            None => self.state.inodes.remember(directory, &entry.name, kind),
        }
    }
}

impl Tree {
    /// Shows what is known of the tree.
    pub(crate) fn with_known<R>(&self, now: Instant, show: impl FnOnce(&mut dyn Map) -> R) -> R {
        let timeout = self.settings.dir_timeout;
        show(&mut Known { state: &mut self.state.lock(), now, timeout })
    }

    /// Lists the directory `ino` before anybody wants to know, unless it is known. Who wants to know meanwhile waits for this
    /// answer.
    pub(crate) fn list_ahead(&self, ino: Ino, now: Instant) -> Result<(), Error> {
        if self.state.lock().directories.glance(ino, now, self.settings.dir_timeout).is_none() {
            self.list(ino, now, true)?;
        }
        Ok(())
    }
}
