//! What was done here: the caches tell it at once, and no answer that was asked for before is kept.

use crate::deadline::{Deadline, Ending};
use crate::path::{Name, RemotePath};
use crate::remote::{self, Entry, FileKind, Metadata, Remote, Seen};
use crate::vfs::attr::Kind;
use crate::vfs::cache::Epoch;
use crate::vfs::cache::attributes::Known;
use crate::vfs::cache::directories::{Directory, Listed};
use crate::vfs::error::Error;
use crate::vfs::inodes::Ino;
use crate::vfs::names::{self, NAME_BYTES_MAX, Namer};
use crate::vfs::settings::Settings;
use crate::vfs::tree::asking::AGAIN_MAX;
use crate::vfs::tree::{Answer, Found, Local, Recent, Standing, State, Tree};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How many temporaries are swept at most: a directory full of them must not keep the server busy.
const SWEPT_MAX: usize = 1024;

/// How many temporary names are remembered, for whoever wants to know what is being uploaded.
const GIVEN_MAX: usize = 256;

/// How many local changes are remembered for answers that were asked for before.
const RECENT_MAX: usize = 1024;

/// A place on the server, whatever becomes of the directories on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Where this inode is.
    Inode(Ino),
    /// A name in a directory that has no inode.
    Name(Ino, Name),
}

impl Tree {
    pub(crate) fn remote(&self) -> &Arc<dyn Remote> {
        &self.remote
    }

    /// What the server tells of `path` now, with the owners that are shown here.
    pub(crate) fn told(&self, path: &RemotePath) -> Result<Metadata, remote::Error> {
        Ok(self.owned(self.remote.stat(path)?))
    }

    /// `metadata`, which the server told, with the owners that are shown here.
    pub(crate) fn owned(&self, mut metadata: Metadata) -> Metadata {
        self.owners.settle(&mut metadata);
        metadata
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Ends whatever is under way, once it begins.
    pub(crate) fn ending(&self) -> &Ending {
        &self.ending
    }

    pub(crate) fn namer(&self) -> &Namer {
        &self.namer
    }

    /// A temporary name in the directory of `ino`.
    pub(crate) fn temporary(&self, ino: Ino, wall: SystemTime) -> Result<Target, Error> {
        let name = self.namer.temporary(wall);
        let mut state = self.state.lock();
        state.given.push_front((name.clone(), ino));
        state.given.truncate(GIVEN_MAX);
        match state.local.get(&ino).map(|local| &local.standing) {
            Some(Standing::Nameless(Some((parent, _)))) => Ok(Target::Name(*parent, name)),
            _ => state.inodes.place(ino).map(|(parent, _)| Target::Name(parent, name)).ok_or(Error::Stale),
        }
    }

    /// The path of `target` now.
    pub(crate) fn target(&self, target: &Target) -> Result<RemotePath, Error> {
        let state = self.state.lock();
        match target {
            Target::Inode(ino) => state.path(*ino),
            Target::Name(parent, name) => state.inodes.path(*parent).map(|path| path.join(name)),
        }
        .ok_or(Error::Stale)
    }

    /// The file for which the temporary name at the end of `path` was given, or which is there, and its path.
    pub(crate) fn behind(&self, path: &RemotePath) -> Option<(Ino, RemotePath)> {
        let (_, name) = path.split()?;
        let state = self.state.lock();
        let given = state.given.iter().find(|(given, _)| *given == name).map(|(_, ino)| *ino);
        let ino =
            given.or_else(|| path.names().try_fold(Ino::ROOT, |parent, name| state.inodes.child(parent, name)))?;
        Some((ino, state.inodes.path(ino)?))
    }

    /// The directory of `ino` and its name there; [`Error::Stale`] if it has none.
    pub(crate) fn name_of(&self, ino: Ino) -> Result<(Ino, Name), Error> {
        self.place(ino)
    }

    /// The inode of `name` in `parent`, where one is known.
    pub(crate) fn child(&self, parent: Ino, name: &Name) -> Option<Ino> {
        self.state.lock().inodes.child(parent, name.as_bytes())
    }

    /// A name that may be given to something new in `parent`, and its path.
    pub(crate) fn new_name(&self, parent: Ino, name: &[u8]) -> Result<(Name, RemotePath), Error> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Error::NameTooLong);
        }
        let name = Name::new(name).map_err(|_| Error::InvalidRequest)?;
        if names::is_temporary(name.as_bytes()) {
            return Err(Error::InvalidRequest);
        }
        let state = self.state.lock();
        if state.inodes.kind(parent).ok_or(Error::Stale)? != Kind::Directory {
            return Err(Error::NotADirectory);
        }
        let path = state.inodes.path(parent).ok_or(Error::Stale)?.join(&name);
        Ok((name, path))
    }

    /// What `name` in `parent` is, without telling the kernel of it.
    pub(crate) fn peek(&self, parent: Ino, name: &Name, now: Instant, wait: bool) -> Result<Answer, Error> {
        match self.find(parent, name, now, wait, false) {
            // A refusal without a reason, of what no listing shows: what comes next finds out more.
            Err(Error::Remote {
                kind: remote::ErrorKind::NotFound | remote::ErrorKind::Unavailable,
                listed: false,
                ..
            }) => Ok(Answer::Absent(Duration::ZERO)),
            answer => answer,
        }
    }

    /// Whether files in the directory `ino` are only here so far.
    pub(crate) fn has_created(&self, ino: Ino) -> bool {
        let state = self.state.lock();
        let mut created = state.local.iter().filter(|(_, local)| matches!(local.standing, Standing::Created));
        created.any(|(child, _)| state.inodes.place(*child).is_some_and(|(parent, _)| parent == ino))
    }

    /// What the server says of `ino` at this moment.
    pub(crate) fn refresh(&self, ino: Ino, now: Instant) -> Result<Found, Error> {
        let mut tries = 0;
        let (parent, name, known) = loop {
            let (parent, name) = self.place(ino)?;
            self.state.lock().epoch.advance();
            match self.stat_undisturbed(parent, &name, now) {
                // What was stored from here in the meantime may be newer or older than the answer.
                Ok((_, false)) if tries < AGAIN_MAX => tries += 1,
                Err(Error::Remote { kind: remote::ErrorKind::NotFound, .. }) => {
                    self.distrust(ino);
                    return Err(Error::NoSuchEntry);
                }
                told => break (parent, name, told?.0),
            }
        };
        let remaining = known.remaining(now, self.settings.dir_timeout);
        let mut state = self.state.lock();
        let same = state.inodes.remember(parent, &name, Kind::of(&known.metadata.kind)) == Some(ino);
        let found = self.found(&state, ino, known, remaining, now);
        if same { Ok(found) } else { Err(Error::Stale) }
    }

    /// A file that is only here so far. The kernel is about to be told of its inode.
    pub(crate) fn create(&self, parent: Ino, name: &Name, metadata: Metadata, now: Instant) -> Result<Found, Error> {
        let mut state = self.state.lock();
        // What had the name is gone, or there would be no creating.
        if let Some(old) = state.inodes.child(parent, name.as_bytes()) {
            state.inodes.detach(old);
        }
        let ino = state.inodes.remember(parent, name, Kind::File).ok_or(Error::Stale)?;
        state.inodes.looked_up(ino);
        state.local.insert(ino, Local { metadata: metadata.clone(), standing: Standing::Created });
        state.epoch.advance();
        Ok(self.found(&state, ino, Known { metadata, as_of: now }, Duration::ZERO, now))
    }

    /// Here `ino` is this by now, whatever the server says.
    pub(crate) fn show(&self, ino: Ino, metadata: Metadata) {
        let mut state = self.state.lock();
        match state.local.get_mut(&ino) {
            Some(local) => local.metadata = metadata,
            None => {
                state.local.insert(ino, Local { metadata, standing: Standing::Changed });
                state.epoch.advance();
            }
        }
    }

    /// The server has what is here: `metadata`.
    pub(crate) fn committed(&self, ino: Ino, metadata: Metadata, now: Instant) {
        let mut state = self.state.lock();
        if !matches!(state.local.get(&ino).map(|local| &local.standing), Some(Standing::Nameless(_))) {
            state.local.remove(&ino);
        }
        state.learn(ino, metadata, now);
        let path = state.path(ino);
        drop(state);
        if let Some(path) = path {
            self.forget_stored(&path);
        }
    }

    /// The server was changed to `metadata`.
    pub(crate) fn changed(&self, ino: Ino, metadata: Metadata, now: Instant) {
        self.state.lock().learn(ino, metadata, now);
    }

    /// What is here did not get to the server and goes.
    pub(crate) fn reverted(&self, ino: Ino) {
        let mut state = self.state.lock();
        let path = state.inodes.path(ino);
        match state.local.remove(&ino).map(|local| local.standing) {
            Some(Standing::Created) => state.remove(ino),
            _ => state.attributes.remove(ino),
        }
        state.epoch.advance();
        drop(state);
        if let Some(path) = path {
            self.forget_stored(&path);
        }
        self.distrust(ino);
    }

    /// What is here of `ino` goes, and so does its name, as whoever calls sees to.
    pub(crate) fn dropped(&self, ino: Ino) {
        let mut state = self.state.lock();
        state.local.remove(&ino);
        state.epoch.advance();
    }

    /// Something new is on the server. The kernel is about to be told of its inode.
    pub(crate) fn added(&self, parent: Ino, name: &Name, metadata: Metadata, now: Instant) -> Result<Found, Error> {
        let mut state = self.state.lock();
        if let Some(old) = state.inodes.child(parent, name.as_bytes()) {
            state.inodes.detach(old);
        }
        let kind = Kind::of(&metadata.kind);
        let ino = state.inodes.remember(parent, name, kind).ok_or(Error::Stale)?;
        state.inodes.looked_up(ino);
        state.learn(ino, metadata.clone(), now);
        if kind == Kind::Directory {
            // It is new, so nothing is in it.
            state.directories.insert(ino, Listed { directory: Arc::new(Directory::new(Vec::new())), as_of: now });
        }
        let known = Known { metadata, as_of: now };
        Ok(self.found(&state, ino, known, self.settings.dir_timeout, now))
    }

    /// `name` is no more in `parent`.
    pub(crate) fn removed(&self, parent: Ino, name: &Name) {
        let mut state = self.state.lock();
        state.epoch.advance();
        state.change(parent, name, None);
        if let Some(ino) = state.inodes.child(parent, name.as_bytes()) {
            state.remove(ino);
        }
        let path = state.inodes.path(parent).map(|parent| parent.join(name));
        drop(state);
        self.forget_removed(path.as_ref());
    }

    /// `ino` lost its name and is still open; the server may keep it as `kept`.
    pub(crate) fn orphaned(&self, ino: Ino, metadata: Metadata, kept: Option<Target>) {
        let kept = match kept {
            Some(Target::Name(parent, name)) => Some((parent, name)),
            _ => None,
        };
        let mut state = self.state.lock();
        let path = state.inodes.path(ino);
        state.remove(ino);
        state.local.insert(ino, Local { metadata, standing: Standing::Nameless(kept) });
        state.epoch.advance();
        drop(state);
        self.forget_removed(path.as_ref());
    }

    /// The last one who had it open left; gives where the server keeps it, if it does.
    pub(crate) fn abandoned(&self, ino: Ino) -> Option<Target> {
        let mut state = self.state.lock();
        match state.local.get(&ino)?.standing {
            Standing::Nameless(_) => {}
            Standing::Changed | Standing::Created => return None,
        }
        match state.local.remove(&ino)?.standing {
            Standing::Nameless(Some((parent, name))) => Some(Target::Name(parent, name)),
            _ => None,
        }
    }

    /// Whether `ino` is only here so far.
    pub(crate) fn is_only_here(&self, ino: Ino) -> bool {
        matches!(self.state.lock().local.get(&ino), Some(Local { standing: Standing::Created, .. }))
    }

    /// Whether `ino` lost its name and is still open.
    pub(crate) fn is_nameless(&self, ino: Ino) -> bool {
        matches!(self.state.lock().local.get(&ino), Some(Local { standing: Standing::Nameless(_), .. }))
    }

    /// Under the name of `ino`, which is only here so far, the server has something else.
    pub(crate) fn shadows(&self, ino: Ino) {
        if let Some(local) = self.state.lock().local.get_mut(&ino) {
            local.standing = Standing::Changed;
        }
    }

    /// `ino` has another name by now.
    pub(crate) fn renamed(&self, ino: Ino, parent: Ino, name: &Name) {
        let mut state = self.state.lock();
        let (metadata, from) = (state.known(ino), state.inodes.path(ino));
        if let Some((before, Some(old))) = state.inodes.place(ino) {
            let old = old.clone();
            state.change(before, &old, None);
        }
        if let Some(replaced) = state.inodes.child(parent, name.as_bytes()).filter(|replaced| *replaced != ino) {
            state.remove(replaced);
        }
        state.inodes.rename(ino, parent, name);
        match metadata {
            Some(metadata) => state.change(parent, name, Some(metadata)),
            None => state.doubt(parent),
        }
        state.epoch.advance();
        let to = state.inodes.path(ino);
        drop(state);
        if let (Some(from), Some(to)) = (from, to) {
            self.forget_renamed(ino, &from, &to);
        }
    }

    /// Believes nothing of what is in `parent`.
    pub(crate) fn doubt(&self, parent: Ino) {
        self.state.lock().doubt(parent);
    }

    pub(super) fn nameless(&self, ino: Ino, now: Instant) -> Option<Found> {
        let state = self.state.lock();
        let local = state.local.get(&ino).filter(|local| matches!(local.standing, Standing::Nameless(_)))?;
        let known = Known { metadata: local.metadata.clone(), as_of: now };
        Some(self.found(&state, ino, known, Duration::ZERO, now))
    }

    /// `directory` with the files that are only here so far.
    pub(super) fn with_created(&self, ino: Ino, directory: Arc<Directory>, now: Instant) -> Arc<Directory> {
        let mut state = self.state.lock();
        // One that got to the server since the listing was given is in the cache's, and no more only here.
        let kept = state.directories.fresh(ino, now, self.settings.dir_timeout);
        let directory = kept.map_or(directory, |listed| Arc::clone(&listed.directory));
        let created = state.local.iter().filter_map(|(child, local)| {
            let (parent, name) = state.inodes.place(*child)?;
            let name = name?.clone();
            (parent == ino && directory.find(name.as_bytes()).is_none())
                .then(|| Entry { name, metadata: local.metadata.clone() })
        });
        let created: Vec<Entry> = created.collect();
        if created.is_empty() {
            return directory;
        }
        Arc::new(Directory::new([directory.entries(), &created].concat()))
    }

    /// Whether `name` in `directory` is a temporary of whoever, or what was replaced here and is still open, or what the server is
    /// about to delete; a temporary of ours that was left behind is removed.
    pub(super) fn is_temporary(&self, directory: &RemotePath, Entry { name, metadata }: &Entry) -> bool {
        if !names::is_temporary(name.as_bytes()) {
            return names::is_being_deleted(name.as_bytes()) || self.is_aside(directory, name);
        }
        let left_behind = self.namer.is_left_behind(name.as_bytes(), metadata.modified, SystemTime::now());
        let path = directory.join(name);
        if left_behind && !self.settings.read_only && self.is_to_be_swept(&path) {
            log::info!("{path} was left behind by an upload that never ended: it is removed");
            self.discard_path(path);
        }
        true
    }

    /// Removes what nobody wants any more, some time, where it is by then.
    pub(crate) fn discard(self: &Arc<Self>, target: &Target) {
        let (tree, deadline, target) = (Arc::clone(self), Deadline::background(&self.ending), target.clone());
        // Its directory may be forgotten by then.
        let Ok(path) = self.target(&target) else { return };
        self.workers.spawn(move || {
            let _entered = deadline.enter();
            tree.remove_ours(&target, &path);
        });
    }

    /// Removes `target`, which was at `known`.
    fn remove_ours(&self, target: &Target, known: &RemotePath) {
        let mut path = self.settled_at_last(target).unwrap_or_else(|_| known.clone());
        for _ in 0..=AGAIN_MAX {
            let Err(error) = self.remote.remove_seen_file(&path, Seen::Ours) else { return };
            log::debug!("remove {path}: {error}");
            let is_missing = matches!(error.kind, remote::ErrorKind::NotFound | remote::ErrorKind::Unavailable);
            match self.settled_at_last(target) {
                // A directory on the way got another name meanwhile.
                Ok(now) if is_missing && now != path => path = now,
                _ => break,
            }
        }
        self.returns.show(&path);
    }

    /// Waits until what was discarded is gone, but no longer than `limit`; whether it is.
    pub(crate) fn wait_for_removals(&self, limit: Duration) -> bool {
        self.workers.wait(limit)
    }

    pub(super) fn discard_path(&self, path: RemotePath) {
        let (remote, deadline) = (Arc::clone(&self.remote), Deadline::background(&self.ending));
        let returns = Arc::clone(&self.returns);
        self.workers.spawn(move || {
            let _entered = deadline.enter();
            if let Err(error) = remote.remove_seen_file(&path, Seen::Ours) {
                log::debug!("remove {path}: {error}");
                returns.show(&path);
            }
        });
    }

    fn is_to_be_swept(&self, path: &RemotePath) -> bool {
        let mut state = self.state.lock();
        state.swept.len() < SWEPT_MAX && state.swept.insert(path.clone())
    }
}

impl State {
    /// The path of `ino`, also where it is kept after it lost its name.
    pub(super) fn path(&self, ino: Ino) -> Option<RemotePath> {
        match self.local.get(&ino).map(|local| &local.standing) {
            Some(Standing::Nameless(kept)) => {
                let (parent, name) = kept.as_ref()?;
                Some(self.inodes.path(*parent)?.join(name))
            }
            _ => self.inodes.path(ino),
        }
    }

    /// Here `name` in `parent` is this by now, or nothing.
    fn change(&mut self, parent: Ino, name: &Name, metadata: Option<Metadata>) {
        self.directories.change(parent, name, metadata.clone());
        self.note(parent, Some((name.clone(), metadata)));
    }

    fn doubt(&mut self, parent: Ino) {
        self.directories.remove(parent);
        self.note(parent, None);
    }

    fn note(&mut self, parent: Ino, what: Option<(Name, Option<Metadata>)>) {
        self.epoch.advance();
        self.recent.push_back(Recent { epoch: self.epoch, parent, what });
        if self.recent.len() > RECENT_MAX
            && let Some(oldest) = self.recent.pop_front()
        {
            self.noted_since = oldest.epoch;
        }
    }

    /// What was done in `parent` since `asked`; `None` where that is not known, so that no older answer counts.
    pub(super) fn done_since(&self, asked: Epoch, parent: Ino) -> Option<Vec<(Name, Option<Metadata>)>> {
        if asked < self.noted_since {
            return None;
        }
        let recent = self.recent.iter().filter(|recent| recent.epoch > asked && recent.parent == parent);
        recent.map(|recent| recent.what.clone()).collect()
    }

    /// Whether anything was done under `name` in `parent` since `asked`, as far as is known.
    pub(super) fn is_done_since(&self, asked: Epoch, parent: Ino, name: &Name) -> bool {
        let is_it = |recent: &Recent| {
            let what = recent.what.as_ref();
            recent.epoch > asked && recent.parent == parent && what.is_none_or(|(changed, _)| changed == name)
        };
        asked < self.noted_since || self.recent.iter().any(is_it)
    }

    /// The server has this under the name of `ino`.
    fn learn(&mut self, ino: Ino, metadata: Metadata, now: Instant) {
        if let Some((parent, Some(name))) = self.inodes.place(ino) {
            let name = name.clone();
            self.change(parent, &name, Some(metadata.clone()));
        }
        self.attributes.insert(ino, Known { metadata, as_of: now });
        self.epoch.advance();
    }

    /// The last that is known of `ino`.
    fn known(&mut self, ino: Ino) -> Option<Metadata> {
        if let Some(local) = self.local.get(&ino) {
            return Some(local.metadata.clone());
        }
        let told = self.attributes.last(ino).map(|known| known.metadata.clone());
        told.or_else(|| match self.inodes.kind(ino)? {
            Kind::Directory => Some(Metadata::of_kind(FileKind::Directory)),
            // A file without a size would only be asked for.
            Kind::File | Kind::Symlink => None,
        })
    }

    /// `ino` has no name any more.
    fn remove(&mut self, ino: Ino) {
        if let Some((parent, Some(name))) = self.inodes.place(ino) {
            let name = name.clone();
            self.change(parent, &name, None);
        }
        self.inodes.detach(ino);
        self.attributes.remove(ino);
        self.directories.remove(ino);
    }
}
