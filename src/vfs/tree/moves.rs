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
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is being changed on the server, path by path.
///
/// A name that changes is on the way to all that is below it: while `/d` gets another name nothing is removed in it, and the
/// other way round. Else another file could be there, under the same path, when the server does it.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// Held while the tree is asked for a path, and never the other way round.
    changes: Mutex<Vec<Change>>,
    /// How many there ever were.
    count: AtomicU64,
    /// Files that are about to lose their names.
    leaving: Mutex<Vec<Ino>>,
    left: Condvar,
}

#[derive(Debug)]
struct Change {
    number: u64,
    effect: Effect,
    /// Two of a renaming, where they are as of the last look.
    paths: [RemotePath; 2],
    /// Whether the server may be asked; else it waits for others.
    has_begun: bool,
}

/// What a change does to its paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Something else is there afterwards, or nothing.
    Moves,
    /// What is there stays there.
    Stays,
}

/// From before the server is asked for a change until the tree knows of it.
#[derive(Debug)]
pub(crate) struct Moving<'a> {
    moves: &'a Moves,
    number: u64,
}

/// From before it is looked who has a file open until the tree knows that it has no name any more.
#[derive(Debug)]
pub(crate) struct Leaving<'a> {
    moves: &'a Moves,
    ino: Ino,
}

/// Where two are, while nothing moves there but what the holder asks for.
type Both<'a> = ((RemotePath, RemotePath), Moving<'a>);

impl Tree {
    /// Where the content of `ino` is to be fetched.
    pub(crate) fn place_of(self: &Arc<Self>, ino: Ino, now: Instant) -> Result<Place, Error> {
        let (path, listed) = self.path(ino, now)?;
        let tree = Arc::clone(self);
        Ok(Place::new(path, listed, move || tree.settled(&Target::Inode(ino))))
    }

    /// As [`Tree::moving_both`], of one.
    pub(crate) fn moving_one(&self, target: &Target) -> Result<(RemotePath, Moving<'_>), Error> {
        let ([path, _], moving) = self.changing([target; 2], Effect::Moves)?;
        Ok((path, moving))
    }

    /// What is at these two, and in them, is about to be another; gives where they are by then.
    pub(crate) fn moving_both(&self, from: &Target, to: &Target) -> Result<Both<'_>, Error> {
        let ([from, to], moving) = self.changing([from, to], Effect::Moves)?;
        Ok(((from, to), moving))
    }

    /// As [`Tree::moving_both`], for who must not wait: `None` where that has to be waited for.
    pub(crate) fn moving_at_once(&self, from: &Target, to: &Target) -> Result<Option<Both<'_>>, Error> {
        let moving = self.moves.come();
        let paths = self.begin(&moving, [from, to], Effect::Moves)?;
        Ok(paths.map(|[from, to]| ((from, to), moving)))
    }

    /// What is at `target` is about to be used or changed, but stays there; gives where it is until then.
    pub(crate) fn staying(&self, target: &Target) -> Result<(RemotePath, Moving<'_>), Error> {
        let ([path, _], moving) = self.changing([target; 2], Effect::Stays)?;
        Ok((path, moving))
    }

    /// As [`Tree::staying`], for who must not wait: `None` where that has to be waited for.
    pub(crate) fn staying_at_once(&self, target: &Target) -> Result<Option<(RemotePath, Moving<'_>)>, Error> {
        let moving = self.moves.come();
        let paths = self.begin(&moving, [target; 2], Effect::Stays)?;
        Ok(paths.map(|[path, _]| (path, moving)))
    }

    /// Waits until nobody else changes what is on the way to `targets`, or where they are on the way to. Nobody does who holds
    /// what this gives, or a connection: whoever is waited for may need that.
    fn changing(&self, targets: [&Target; 2], effect: Effect) -> Result<([RemotePath; 2], Moving<'_>), Error> {
        let moving = self.moves.come();
        loop {
            if let Some(paths) = self.begin(&moving, targets, effect)? {
                return Ok((paths, moving));
            }
            self.may_wait()?;
            deadline::sleep(SETTLED_PAUSE);
        }
    }

    /// Begins a change, if nobody is in its way; else it is known who waits.
    fn begin(
        &self,
        moving: &Moving<'_>,
        targets: [&Target; 2],
        effect: Effect,
    ) -> Result<Option<[RemotePath; 2]>, Error> {
        let mut changes = self.moves.changes.lock();
        // A renaming that is over here was noted in the tree before.
        let paths = [self.target(targets[0])?, self.target(targets[1])?];
        let mut own = Change { number: moving.number, effect, paths: paths.clone(), has_begun: false };
        own.has_begun = !changes.iter().any(|other| other.holds_up(&own));
        let has_begun = own.has_begun;
        match changes.iter_mut().find(|change| change.number == own.number) {
            Some(known) => *known = own,
            None => changes.push(own),
        }
        Ok(has_begun.then_some(paths))
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
        let changes = self.moves.changes.lock();
        let path = self.target(target)?;
        Ok((!changes.iter().any(|change| change.has_begun && change.moves(&path))).then_some(path))
    }
}

impl Moves {
    fn come(&self) -> Moving<'_> {
        Moving { moves: self, number: self.count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Change {
    /// Whether what is at `path` may be another afterwards.
    fn moves(&self, path: &RemotePath) -> bool {
        self.effect == Effect::Moves && self.paths.iter().any(|moved| path.rebase(moved, moved).is_some())
    }

    /// Whether `own` has to wait for this one: for what has begun, and for whoever came first, so that everybody's turn comes.
    fn holds_up(&self, own: &Self) -> bool {
        let is_before = self.number < own.number || self.has_begun;
        self.number != own.number
            && is_before
            && (own.paths.iter().any(|path| self.moves(path)) || self.paths.iter().any(|path| own.moves(path)))
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
        self.moves.changes.lock().retain(|change| change.number != self.number);
    }
}

/// Between two looks whether a renaming is over.
const SETTLED_PAUSE: Duration = Duration::from_millis(5);
