//! Names that are on their way: for a moment nobody knows which file the server has under them.

use crate::deadline;
use crate::path::RemotePath;
use crate::remote::{self, ErrorKind};
use crate::vfs::error::Error;
use crate::vfs::inodes::Ino;
use crate::vfs::place::Place;
use crate::vfs::tree::{Target, Tree};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Paths where something is being renamed or removed.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// Held while the tree is asked for a path, and never the other way round.
    paths: Mutex<Vec<RemotePath>>,
    /// Files that are about to lose their names.
    leaving: Mutex<Vec<Ino>>,
    left: Condvar,
}

/// From before the server is asked to rename or to remove until the tree knows of it.
#[derive(Debug)]
pub(crate) struct Moving<'a> {
    moves: &'a Moves,
    paths: Vec<RemotePath>,
}

/// From before it is looked who has a file open until the tree knows that it has no name any more.
#[derive(Debug)]
pub(crate) struct Leaving<'a> {
    moves: &'a Moves,
    ino: Ino,
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

    /// As [`Tree::moving`], of `target` and where it is by then.
    pub(crate) fn moving_one(&self, target: &Target) -> Result<(RemotePath, Moving<'_>), Error> {
        let ((path, _), moving) = self.moving_both(target, target)?;
        Ok((path, moving))
    }

    /// As [`Tree::moving`], of two and where they are by then.
    pub(crate) fn moving_both(
        &self,
        from: &Target,
        to: &Target,
    ) -> Result<((RemotePath, RemotePath), Moving<'_>), Error> {
        loop {
            let paths = (self.settled_at_last(from)?, self.settled_at_last(to)?);
            let moving = self.moving(&[&paths.0, &paths.1]);
            if self.target(from)? == paths.0 && self.target(to)? == paths.1 {
                return Ok((paths, moving));
            }
        }
    }

    /// `ino` is about to lose its name, unless that fails: who wants to write to it waits until then.
    pub(crate) fn leaving(&self, ino: Ino) -> Leaving<'_> {
        self.moves.leaving.lock().push(ino);
        Leaving { moves: &self.moves, ino }
    }

    /// Waits until `ino` is not about to lose its name.
    pub(crate) fn wait_for_name(&self, ino: Ino) -> Result<(), Error> {
        let mut leaving = self.moves.leaving.lock();
        while leaving.contains(&ino) {
            self.may_wait()?;
            self.moves.left.wait_for(&mut leaving, deadline::SLICE);
        }
        Ok(())
    }

    /// Whether it makes sense to wait for somebody else, who asks the server.
    fn may_wait(&self) -> Result<(), Error> {
        if self.remote.is_away() {
            let away = remote::Error::new(ErrorKind::Away, "the server is away");
            return Err(Error::remote(&away, true));
        }
        if deadline::is_over() { Err(Error::timed_out()) } else { Ok(()) }
    }

    /// As [`Tree::settled`], after waiting until nothing moves there.
    pub(crate) fn settled_at_last(&self, target: &Target) -> Result<RemotePath, Error> {
        loop {
            if let Some(path) = self.settled(target)? {
                return Ok(path);
            }
            self.may_wait()?;
            deadline::sleep(SETTLED_PAUSE);
        }
    }

    /// Whether the server has `target` at `path`, and for sure.
    pub(crate) fn is_at(&self, target: &Target, path: &RemotePath) -> bool {
        self.settled(target).is_ok_and(|settled| settled.as_ref() == Some(path))
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

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut leaving = self.moves.leaving.lock();
        if let Some(at) = leaving.iter().position(|other| *other == self.ino) {
            leaving.swap_remove(at);
        }
        self.moves.left.notify_all();
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

/// Between two looks whether a renaming is over.
const SETTLED_PAUSE: Duration = Duration::from_millis(5);
