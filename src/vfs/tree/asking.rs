//! Asking the server what a directory holds and what a name is, once for all who want to know, and without believing what
//! changed while it was asked.

use crate::path::{Name, RemotePath};
use crate::remote::{self, ErrorKind, Metadata};
use crate::vfs::attr::Kind;
use crate::vfs::cache::attributes::Known;
use crate::vfs::cache::directories::{Directory, Listed};
use crate::vfs::error::Error;
use crate::vfs::inodes::Ino;
use crate::vfs::settings::Settings;
use crate::vfs::tree::{Target, Tree};
use std::sync::Arc;
use std::time::Instant;

/// How often a name that others remove and make is asked for again.
pub(super) const AGAIN_MAX: u32 = 3;

impl Tree {
    /// Lists the directory `ino`, once for all who want it now.
    pub(super) fn list(&self, ino: Ino, now: Instant, ahead: bool) -> Result<Listed, Error> {
        self.at_one_place(&Target::Inode(ino), || self.list_there(ino, now, ahead))
    }

    /// What `ask` gives, which asks about the path of `target`, once that is the same before and afterwards: a directory on the
    /// way may get another name meanwhile, and another directory its own.
    fn at_one_place<T>(&self, target: &Target, ask: impl Fn() -> Result<Option<T>, Error>) -> Result<T, Error> {
        loop {
            if let Some(told) = ask()? {
                return Ok(told);
            }
            self.settled_at_last(target)?;
        }
    }

    /// Whether `told` is of `target`, which was at `path` when it was asked for. That the server cannot be asked is true in any case.
    fn counts<T>(&self, told: &Result<T, Error>, target: &Target, path: &RemotePath) -> bool {
        told.as_ref().is_err_and(Error::is_of_the_network) || self.is_at(target, path)
    }

    /// What the server has at `target`, and its path there, as it was the same before and afterwards.
    pub(crate) fn stat_at(&self, target: &Target) -> Result<(RemotePath, Result<Metadata, remote::Error>), Error> {
        self.at_one_place(target, || {
            let path = self.target(target)?;
            let told = self.remote.stat(&path);
            let is_away = told.as_ref().is_err_and(|error| Error::remote(error, true).is_of_the_network());
            Ok((is_away || self.is_at(target, &path)).then_some((path, told)))
        })
    }

    /// As [`Tree::list`]; `None` if it got another path meanwhile.
    fn list_there(&self, ino: Ino, now: Instant, ahead: bool) -> Result<Option<Listed>, Error> {
        let (path, shown, epoch) = {
            let mut state = self.state.lock();
            let path = state.path(ino).ok_or(Error::Stale)?;
            (path, state.is_listed(ino, now, self.settings.dir_timeout), state.epoch)
        };
        self.listings.run(&(path.clone(), epoch), || {
            // An answer that was on its way when the caller looked may have come since.
            if let Some(listed) = self.state.lock().directories.fresh(ino, now, self.settings.dir_timeout).cloned() {
                return Ok(Some(listed));
            }
            self.counters.listings.add(1);
            self.counters.listings_ahead.add(u64::from(ahead));
            let started = Instant::now();
            let entries = self.remote.list(&path).map_err(|error| Error::logged("list", &path, &error, shown));
            if !self.counts(&entries, &Target::Inode(ino), &path) {
                return Ok(None);
            }
            let mut entries = entries?;
            entries.retain(|entry| !self.is_temporary(&path, entry));
            entries.iter_mut().for_each(|entry| self.owners.settle(&mut entry.metadata));
            // A long listing is as young as its end: else it would be too old when it arrives.
            let as_of = now + started.elapsed();
            let listed = Listed { directory: Arc::new(Directory::new(entries)), as_of };
            let mut state = self.state.lock();
            let Some(done) = state.done_since(epoch, ino) else {
                return Ok(Some(Listed { as_of: self.too_old(as_of), ..listed }));
            };
            state.directories.insert(ino, listed.clone());
            for (name, metadata) in done {
                state.directories.change(ino, &name, metadata);
            }
            let kept = state.directories.fresh(ino, as_of, self.settings.dir_timeout).cloned();
            Ok(Some(kept.unwrap_or(listed)))
        })
    }

    /// Asks about one name, once for all who want it now.
    pub(super) fn stat(&self, parent: Ino, name: &Name, now: Instant) -> Result<Known, Error> {
        self.stat_undisturbed(parent, name, now).map(|(known, _)| known)
    }

    /// As [`Tree::stat`], and whether nothing was done under that name meanwhile.
    pub(super) fn stat_undisturbed(&self, parent: Ino, name: &Name, now: Instant) -> Result<(Known, bool), Error> {
        let target = Target::Name(parent, name.clone());
        self.at_one_place(&target, || self.stat_there(&target, parent, name, now))
    }

    fn stat_there(
        &self,
        target: &Target,
        parent: Ino,
        name: &Name,
        now: Instant,
    ) -> Result<Option<(Known, bool)>, Error> {
        let (path, shown, epoch) = {
            let mut state = self.state.lock();
            let path = state.inodes.path(parent).ok_or(Error::Stale)?.join(name);
            (path, state.shows(parent, name, now, self.settings.dir_timeout), state.epoch)
        };
        self.stats.run(&(path.clone(), epoch), || {
            let known = self.ask_stat(&path, shown, now);
            if !self.counts(&known, target, &path) {
                return Ok(None);
            }
            let mut known = known?;
            let mut state = self.state.lock();
            let ino = state.inodes.remember(parent, name, Kind::of(&known.metadata.kind)).ok_or(Error::Stale)?;
            if let Some(before) = state.attributes.last(ino) {
                known.refine(&before.metadata);
            }
            let done = state.done_since(epoch, parent);
            let is_undisturbed = done.is_some_and(|done| done.iter().all(|(changed, _)| changed != name));
            if is_undisturbed {
                state.attributes.insert(ino, known.clone());
            } else {
                known.as_of = self.too_old(known.as_of);
            }
            Ok(Some((known, is_undisturbed)))
        })
    }

    /// A moment before `as_of` of which no answer is believed any more.
    fn too_old(&self, as_of: Instant) -> Instant {
        let Settings { attr_timeout, dir_timeout, .. } = self.settings;
        as_of.checked_sub(attr_timeout.max(dir_timeout)).unwrap_or(as_of)
    }

    /// Of a name that has just gone a server may say as little as of one that is forbidden, and that it was there is known from
    /// before: whether the server lists it by now tells them apart.
    fn ask_again(&self, path: &RemotePath, error: remote::Error) -> Result<Metadata, remote::Error> {
        let Some((parent, name)) = path.split() else { return Err(error) };
        let (mut told, mut before) = (Err(error), None);
        for _ in 0..AGAIN_MAX {
            let Err(error) = told else { return told };
            self.counters.listings.add(1);
            let Ok(entries) = self.remote.list(&parent) else { return Err(error) };
            let listed = entries.into_iter().find(|entry| entry.name == name).map(|entry| entry.metadata);
            if listed.is_none() {
                return Err(remote::Error { kind: ErrorKind::NotFound, ..error });
            }
            if listed == before {
                return Err(error);
            }
            // It may have come back.
            (told, before) = (self.remote.stat(path), listed);
        }
        told
    }

    pub(super) fn ask_stat(&self, path: &RemotePath, shown: bool, now: Instant) -> Result<Known, Error> {
        self.counters.stats.add(1);
        let started = Instant::now();
        let told = match self.remote.stat(path) {
            Err(error) if error.kind == ErrorKind::Unavailable && shown => self.ask_again(path, error),
            told => told,
        };
        let mut metadata = told.map_err(|error| Error::logged("stat", path, &error, shown))?;
        self.owners.settle(&mut metadata);
        Ok(Known { metadata, as_of: now + started.elapsed() })
    }
}
