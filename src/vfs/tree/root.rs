//! The mounted directory: it is surely there, whatever the server tells of it.

use crate::path::RemotePath;
use crate::remote::{FileKind, Metadata};
use crate::vfs::cache::attributes::Known;
use crate::vfs::error::Error;
use crate::vfs::inodes::Ino;
use crate::vfs::tree::{Found, Tree, is_not_found};
use std::time::{Duration, Instant};

impl Tree {
    pub(super) fn root(&self, now: Instant, wait: bool) -> Result<Found, Error> {
        {
            let mut state = self.state.lock();
            let known = state.attributes.last(Ino::ROOT).cloned();
            if let Some(known) = known.filter(|known| !known.remaining(now, self.settings.attr_timeout).is_zero()) {
                return Ok(self.found(&state, Ino::ROOT, known, self.settings.dir_timeout, now));
            }
        }
        let told = if wait { self.stat_root(now) } else { Err(Error::WouldBlock) };
        let known = match told {
            Err(error) if self.may_be_stale(&error) => return Ok(self.root_stale(now)),
            told => told?,
        };
        let mut state = self.state.lock();
        state.attributes.insert(Ino::ROOT, known.clone());
        Ok(self.found(&state, Ino::ROOT, known, self.settings.dir_timeout, now))
    }

    /// Servers differ in whether they tell anything of the directory where one is; that it is one is sure.
    fn stat_root(&self, now: Instant) -> Result<Known, Error> {
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
