//! Names that are on their way: for a moment nobody knows which file the server has under them.

use crate::path::RemotePath;
use crate::vfs::error::Error;
use crate::vfs::inodes::Ino;
use crate::vfs::place::Place;
use crate::vfs::tree::{Target, Tree};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Instant;

/// Paths between which something is being renamed.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// Held while the tree is asked for a path, and never the other way round.
    paths: Mutex<Vec<RemotePath>>,
}

/// From before the server is asked to rename until the tree knows of it.
#[derive(Debug)]
pub(crate) struct Moving<'a> {
    moves: &'a Moves,
    paths: Vec<RemotePath>,
}

impl Tree {
    /// Where the content of `ino` is to be fetched.
    pub(crate) fn place_of(self: &Arc<Self>, ino: Ino, now: Instant) -> Result<Place, Error> {
        let (path, listed) = self.path(ino, now)?;
        let tree = Arc::clone(self);
        Ok(Place::new(path, listed, move || tree.settled(&Target::Inode(ino))))
    }

    /// What is at `paths`, and in them, is about to be another.
    pub(crate) fn moving<'a>(&'a self, paths: &[&RemotePath]) -> Moving<'a> {
        let paths: Vec<RemotePath> = paths.iter().map(|path| (*path).clone()).collect();
        self.moves.paths.lock().extend(paths.iter().cloned());
        Moving { moves: &self.moves, paths }
    }

    /// Where the server has `target` now; `None` while that changes.
    ///
    /// A download that was opened at this path is of this file if the answer is the same afterwards.
    pub(crate) fn settled(&self, target: &Target) -> Result<Option<RemotePath>, Error> {
        // In this order: a renaming that is over here was noted in the tree before.
        let moving = self.moves.paths.lock();
        let path = self.target(target)?;
        Ok((!moving.iter().any(|moving| path.rebase(moving, moving).is_some())).then_some(path))
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        let mut moving = self.moves.paths.lock();
        for path in &self.paths {
            if let Some(at) = moving.iter().position(|other| other == path) {
                moving.swap_remove(at);
            }
        }
    }
}
