//! The mounted directory: it is surely there, whatever the server tells of it.

use crate::deadline;
use crate::path::RemotePath;
use crate::remote::{FileKind, Metadata};
use crate::vfs::cache::attributes::Known;
use crate::vfs::error::Error;
use crate::vfs::inodes::Ino;
use crate::vfs::tree::{Found, Tree, is_not_found};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

impl Tree {
    pub(super) fn root(self: &Arc<Self>, now: Instant, wait: bool) -> Result<Found, Error> {
        let is_known = {
            let mut state = self.state.lock();
            let known = state.attributes.last(Ino::ROOT).cloned();
            let is_known = known.is_some();
            if let Some(known) = known.filter(|known| !known.remaining(now, self.settings.attr_timeout).is_zero()) {
                return Ok(self.found(&state, Ino::ROOT, known, self.settings.dir_timeout, now));
            }
            is_known
        };
        let told = match wait {
            true if is_known && self.settings.stale_ok => match self.stat_root_soon(now) {
                Some(told) => told,
                None => return Ok(self.root_stale(now)),
            },
            true => self.stat_root(now),
            false => Err(Error::WouldBlock),
        };
        let known = match told {
            Err(error) if self.may_be_stale(&error) => return Ok(self.root_stale(now)),
            told => told?,
        };
        Ok(self.found(&self.state.lock(), Ino::ROOT, known, self.settings.dir_timeout, now))
    }

    /// `None` if there is no answer in a moment: umount(8), df(1) and file managers ask for the mounted directory first of all, and
    /// must not hang with a server of which nobody knows yet that it is away.
    fn stat_root_soon(self: &Arc<Self>, now: Instant) -> Option<Result<Known, Error>> {
        let (tree, deadline) = (Arc::clone(self), deadline::current());
        let (sender, answer) = mpsc::channel();
        let undone = self.askers.spawn(move || {
            let _entered = deadline.enter();
            // Whoever asked may be gone.
            let _ = sender.send(tree.stat_root(now));
        });
        drop(undone);
        answer.recv_timeout(SOON).ok()
    }

    /// Servers differ in whether they tell anything of the directory where one is; that it is one is sure.
    fn stat_root(&self, now: Instant) -> Result<Known, Error> {
        let known = self.ask_for_root(now)?;
        self.state.lock().attributes.insert(Ino::ROOT, known.clone());
        Ok(known)
    }

    fn ask_for_root(&self, now: Instant) -> Result<Known, Error> {
        let path = RemotePath::root();
        let epoch = self.state.lock().epoch;
        let told = self.stats.run(&(path.clone(), epoch), || Ok(Some((self.ask_stat(&path, false, now)?, true))));
        match told {
            Ok(Some((known, _))) if known.metadata.kind == FileKind::Directory => Ok(known),
            Err(error) if !error.is_refusal() && error != Error::NoSuchEntry && !is_not_found(&error) => Err(error),
            _ => Ok(Known { metadata: Metadata::of_kind(FileKind::Directory), as_of: now }),
        }
    }

    /// What was known of the mounted directory, which is surely there.
    fn root_stale(&self, now: Instant) -> Found {
        let mut state = self.state.lock();
        let known = state.attributes.last(Ino::ROOT).cloned();
        let known = known.unwrap_or_else(|| Known { metadata: Metadata::of_kind(FileKind::Directory), as_of: now });
        let found = self.found(&state, Ino::ROOT, known, Duration::ZERO, now);
        Found { attr_remaining: Duration::ZERO, ..found }
    }
}

/// How long who asks for the mounted directory waits for a server that may be away, where something is known of it.
const SOON: Duration = Duration::from_secs(1);
