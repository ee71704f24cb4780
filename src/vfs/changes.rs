//! The operations that change which names there are.

use crate::path::{Name, RemotePath};
use crate::remote::{self, ErrorKind, FileKind, Metadata, Modified, Seen};
use crate::vfs::attr::Kind;
use crate::vfs::draft::{Draft, Form};
use crate::vfs::drafts::Moment;
use crate::vfs::error::Error;
use crate::vfs::filesystem::{Entry, Patience, Vfs};
use crate::vfs::inodes::Ino;
use crate::vfs::names;
use crate::vfs::tree::{Answer, Found, Moving, Target};
use crate::vfs::writing::bits;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A name that something is renamed to, what has it, and what is written to that.
pub(crate) struct Place<'a> {
    pub(crate) parent: Ino,
    pub(crate) name: &'a Name,
    pub(crate) target: Option<Ino>,
    pub(crate) draft: Option<&'a Draft>,
}

impl Vfs {
    /// Creates a directory.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`], [`Error::Exists`], [`Error::NameTooLong`], [`Error::InvalidRequest`] for a name that cannot
    /// be, [`Error::Remote`], and [`Error::WouldBlock`] as `patience` says.
    pub fn mkdir(&self, parent: Ino, name: &[u8], mode: u32, now: Instant, patience: Patience) -> Result<Entry, Error> {
        let (name, _) = self.new_entry(parent, name, now, patience)?;
        let remote = self.tree.remote();
        let (path, _moving) = self.make_new("mkdir", parent, &name, |path| remote.create_directory(path))?;
        let mode = bits(mode);
        let mut metadata = self.told_or(&path, Metadata::of_kind(FileKind::Directory));
        if metadata.mode.is_some_and(|told| told != mode) && remote.set_mode(&path, mode).is_ok() {
            metadata.mode = Some(mode);
        }
        Ok(self.entry(&self.tree.added(parent, &name, metadata, now)?))
    }

    /// Creates a symbolic link.
    ///
    /// # Errors
    ///
    /// [`Error::NotPermitted`] where the server has no links; as [`Vfs::mkdir`] otherwise.
    pub fn symlink(
        &self,
        parent: Ino,
        name: &[u8],
        target: &[u8],
        now: Instant,
        patience: Patience,
    ) -> Result<Entry, Error> {
        let (name, _) = self.new_entry(parent, name, now, patience)?;
        let _moving =
            self.make_new("symlink", parent, &name, |path| self.tree.remote().create_symlink(path, target))?;
        let modified = Some(Modified { time: Moment::new(now).wall, precision: Duration::from_secs(60) });
        let metadata = Metadata { modified, ..Metadata::of_kind(FileKind::Symlink(Some(target.into()))) };
        Ok(self.entry(&self.tree.added(parent, &name, metadata, now)?))
    }

    /// Removes a file or a symbolic link. Who has it open goes on using it: until the last one closes it the server keeps
    /// it under a temporary name.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchEntry`], [`Error::IsADirectory`]; as [`Vfs::mkdir`] otherwise.
    pub fn unlink(&self, parent: Ino, name: &[u8], now: Instant, patience: Patience) -> Result<(), Error> {
        let (name, found) = self.old_entry(parent, name, now, patience)?;
        if found.attr.kind == Kind::Directory {
            return Err(Error::IsADirectory);
        }
        let moment = Moment::new(now);
        let _leaving = self.tree.leaving(found.ino);
        let draft = self.drafts.of(found.ino);
        if !self.drafts.is_open(found.ino) {
            let remove = || {
                let (path, _moving) = self.tree.moving_one(&Target::Name(parent, name.clone()))?;
                self.remove_file(parent, &path, &found.metadata)?;
                self.tree.removed(parent, &name);
                Ok(())
            };
            return if self.drop_waiting(found.ino, draft.as_deref(), moment, remove)? {
                self.tree.removed(parent, &name);
                Ok(())
            } else {
                remove()
            };
        }
        let begun = Instant::now();
        let _turn = draft.as_ref().map(|draft| draft.take_turn()).transpose()?;
        if let Some(draft) = &draft {
            // What is being appended or written in place belongs to the file: it goes along.
            let _ = self.drafts.leave_place(draft, moment);
        }
        let (path, _moving) = self.tree.moving_one(&Target::Name(parent, name))?;
        let kept = self.take_name(parent, &path, &found, draft.as_deref(), moment)?;
        if let Some(draft) = &draft {
            self.drafts.drop_waiting(draft);
        }
        self.orphan(found.ino, found.metadata, kept);
        if self.drafts.of(found.ino).is_some_and(|draft| draft.has_landed_since(begun)) {
            // Whoever wrote to it may have put it there once more.
            self.tree.doubt(parent);
        }
        Ok(())
    }

    /// What waits in the journal for `ino`, which nobody has open, goes with its name; before that `remove` takes what the
    /// server has under it, if anything, which may be read for the upload until then. `false` if nothing waits.
    fn drop_waiting(
        &self,
        ino: Ino,
        draft: Option<&Draft>,
        moment: Moment,
        remove: impl FnOnce() -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let Some(draft) = draft else { return Ok(false) };
        {
            let _turn = draft.take_turn()?;
            if draft.waiting().is_none() {
                return Ok(false);
            }
            if !self.tree.is_only_here(ino) {
                remove()?;
            }
            self.drafts.drop_waiting(draft);
        }
        self.drafts.close_unused(ino, moment);
        self.tree.dropped(ino);
        Ok(true)
    }

    /// The open file `ino` has no name any more.
    fn orphan(&self, ino: Ino, metadata: Metadata, kept: Option<Target>) {
        self.tree.orphaned(ino, metadata, kept);
        // Somebody may just have begun to write to it.
        if let Some(draft) = self.drafts.of(ino) {
            draft.state.lock().nameless = true;
        }
        // The last one who had it open may have left meanwhile, and found nothing to remove yet.
        if !self.drafts.is_open(ino)
            && let Some(kept) = self.tree.abandoned(ino)
        {
            self.tree.discard(&kept);
        }
    }

    /// Takes its name from a file that is open; gives where the server keeps it.
    fn take_name(
        &self,
        parent: Ino,
        path: &RemotePath,
        found: &Found,
        draft: Option<&Draft>,
        moment: Moment,
    ) -> Result<Option<Target>, Error> {
        if self.tree.is_only_here(found.ino) {
            return Ok(None);
        }
        match self.keep(found.ino, path, draft, moment)? {
            None => self.remove_file(parent, path, &found.metadata).map(|()| None),
            kept => Ok(kept),
        }
    }

    /// Renames the open file at `path` out of the way, if those who have it open need what the server has; gives whereto.
    fn keep(
        &self,
        ino: Ino,
        path: &RemotePath,
        draft: Option<&Draft>,
        moment: Moment,
    ) -> Result<Option<Target>, Error> {
        if !self.is_needed(ino, draft) {
            return Ok(None);
        }
        let kept = self.tree.temporary(ino, moment.wall)?;
        match self.tree.remote().rename(path, &self.tree.target(&kept)?) {
            Ok(()) => {
                self.content.moved(ino);
                return Ok(Some(kept));
            }
            Err(error) if error.kind == ErrorKind::NotFound => {}
            // Who has it open then has what is in the caches.
            Err(error) => log::debug!("{path} is open and cannot be kept: {error}"),
        }
        Ok(None)
    }

    /// As [`Vfs::keep`], of a file that is about to be replaced: until it is, everybody sees where it is.
    fn keep_replaced(&self, ino: Ino, path: &RemotePath, place: &Place<'_>) -> Result<Option<Target>, Error> {
        if !self.is_needed(ino, place.draft) {
            return Ok(None);
        }
        match self.tree.step_aside(path) {
            Ok(name) => {
                self.content.moved(ino);
                return Ok(Some(Target::Name(place.parent, name)));
            }
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => {
                let told = Error::remote(&error, true);
                // It may have been done all the same, and then it is not known here.
                if told.is_of_the_network() {
                    self.tree.doubt(place.parent);
                    return Err(told);
                }
                log::debug!("{path} is open and cannot be kept: {error}");
            }
        }
        Ok(None)
    }

    /// Whether those who have `ino` open need what the server has of it.
    fn is_needed(&self, ino: Ino, draft: Option<&Draft>) -> bool {
        let replaced = draft.is_some_and(|draft| matches!(draft.state.lock().form, Form::Flow(_) | Form::Uploaded));
        !replaced && !self.tree.is_only_here(ino)
    }

    fn remove_file(&self, parent: Ino, path: &RemotePath, seen: &Metadata) -> Result<(), Error> {
        self.tree.remote().remove_seen_file(path, Seen::As(seen)).map_err(|error| {
            self.tree.doubt(parent);
            Error::logged("unlink", path, &error, true)
        })
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchEntry`], [`Error::NotADirectory`], [`Error::Remote`] with [`ErrorKind::NotEmpty`]; as
    /// [`Vfs::mkdir`] otherwise.
    pub fn rmdir(&self, parent: Ino, name: &[u8], now: Instant, patience: Patience) -> Result<(), Error> {
        let (name, found) = self.old_entry(parent, name, now, patience)?;
        if found.attr.kind != Kind::Directory {
            return Err(Error::NotADirectory);
        }
        let (path, _moving) = self.tree.moving_one(&Target::Name(parent, name.clone()))?;
        if self.tree.has_created(found.ino) {
            return Err(not_empty("files in it are being written"));
        }
        if let Err(error) = self.tree.remote().remove_seen_directory(&path, Seen::As(&found.metadata)) {
            self.sweep(&path, error)?;
        }
        self.tree.removed(parent, &name);
        Ok(())
    }

    /// Why `path` could not be removed; where only what we left behind is in it, or what the server was about to delete, that goes,
    /// and then the directory.
    fn sweep(&self, path: &RemotePath, error: remote::Error) -> Result<(), Error> {
        if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Lost | ErrorKind::TimedOut) {
            return Err(Error::logged("rmdir", path, &error, true));
        }
        let remote = self.tree.remote();
        let entries = remote.list(path).map_err(|_| Error::logged("rmdir", path, &error, true))?;
        let wall = Moment::new(Instant::now()).wall;
        let namer = self.tree.namer();
        let ours = |entry: &remote::Entry| {
            let name = entry.name.as_bytes();
            namer.is_left_behind(name, entry.metadata.modified, wall) || names::is_being_deleted(name)
        };
        if entries.is_empty() {
            return Err(Error::logged("rmdir", path, &error, true));
        }
        if !entries.iter().all(ours) {
            let is_open = |name: &Name| names::is_temporary(name.as_bytes()) || self.tree.is_aside(path, name);
            let uploads = entries.iter().all(|entry| is_open(&entry.name));
            return Err(not_empty(if uploads { "files in it are open or being written" } else { "it has entries" }));
        }
        for entry in entries {
            let _ = remote.remove_seen_file(&path.join(&entry.name), Seen::As(&entry.metadata));
        }
        remote.remove_directory(path).map_err(|error| Error::logged("rmdir", path, &error, true))
    }

    /// Renames. A file that has the new name goes, unless it is to be `kept`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchEntry`], [`Error::Exists`]; as [`Vfs::mkdir`] otherwise.
    #[expect(clippy::too_many_arguments, reason = "two names, a flag, and how")]
    pub fn rename(
        &self,
        parent: Ino,
        name: &[u8],
        new_parent: Ino,
        new_name: &[u8],
        kept: bool,
        now: Instant,
        patience: Patience,
    ) -> Result<(), Error> {
        let (new_name, to) = self.new_entry(new_parent, new_name, now, patience)?;
        let (name, found) = self.old_entry(parent, name, now, patience)?;
        let moment = Moment::new(now);
        if kept && self.is_taken(new_parent, &new_name, &to, now)? {
            return Err(Error::Exists);
        }
        if (parent, &name) == (new_parent, &new_name) {
            return Ok(());
        }
        let target = self.tree.child(new_parent, &new_name);
        let _leaving = target.map(|target| self.tree.leaving(target));
        let mut drafts: Vec<(Ino, Arc<Draft>)> = [Some(found.ino), target]
            .into_iter()
            .flatten()
            .filter_map(|ino| Some((ino, self.drafts.of(ino)?)))
            .collect();
        // Always in this order, so that nobody waits for each other.
        drafts.sort_by_key(|(ino, _)| *ino);
        let turns = drafts.iter().map(|(_, draft)| draft.take_turn()).collect::<Result<Vec<_>, _>>()?;
        let draft_of = |ino| drafts.iter().find(|(other, _)| Some(*other) == ino).map(|(_, draft)| &**draft);
        let (draft, replaced) = (draft_of(Some(found.ino)), target.filter(|target| self.drafts.is_open(*target)));
        let place = Place { parent: new_parent, name: &new_name, target, draft: draft_of(target) };
        let renamed_here = match draft {
            Some(draft) if replaced.is_none() => self.rename_waiting(draft, &place, moment)?,
            _ => false,
        };
        if !renamed_here {
            if let Some(draft) = draft {
                self.ready_to_rename(draft, moment)?;
            }
            self.rename_there((parent, &name), &found, &place, replaced, moment)?;
        }
        self.content.moved(found.ino);
        self.drafts.follow_paths();
        drop(turns);
        if let Some(target) = target {
            self.drafts.close_unused(target, moment);
        }
        Ok(())
    }

    /// Renames on the server what is `found` under a name, to `place`, where the file `replaced` is open.
    fn rename_there(
        &self,
        (parent, name): (Ino, &Name),
        found: &Found,
        place: &Place<'_>,
        replaced: Option<Ino>,
        moment: Moment,
    ) -> Result<(), Error> {
        if let (Some(_), Some(draft)) = (replaced, place.draft) {
            // What was written to it goes along with what the server has of it.
            let _ = self.drafts.leave_place(draft, moment);
        }
        // Before it is gone: who has it open goes on with it.
        let gone = replaced.map(|ino| self.still_there(ino, moment.now)).transpose()?.flatten();
        // What was waited for until here may have taken long.
        let (old, new) = (Target::Name(parent, name.clone()), Target::Name(place.parent, place.name.clone()));
        let ((from, to), _moving) = self.tree.moving_both(&old, &new)?;
        if place.target.is_some_and(|target| self.tree.has_created(target)) {
            return Err(not_empty("files in it are being written"));
        }
        let kept = match replaced {
            Some(ino) => self.keep_replaced(ino, &to, place)?,
            None => None,
        };
        self.tree.forget_renamed(found.ino, &from, &to);
        self.rename_remote(&from, &to, &found.metadata, place.target).inspect_err(|_| {
            if let Some(Ok(aside)) = kept.as_ref().map(|kept| self.tree.target(kept)) {
                self.tree.put_back(&aside, &to);
            }
            self.tree.doubt(parent);
            self.tree.doubt(place.parent);
        })?;
        self.replace_here(place, gone, kept);
        self.tree.renamed(found.ino, place.parent, place.name);
        Ok(())
    }

    /// What was written to a file goes along when it is renamed on the server.
    fn ready_to_rename(&self, draft: &Draft, moment: Moment) -> Result<(), Error> {
        if self.tree.is_only_here(draft.ino) {
            self.drafts.commit_in_turn(draft, moment)
        } else {
            self.drafts.land_append(draft, moment)
        }
    }

    /// What is known of the open file `ino`, unless somebody else removed it.
    fn still_there(&self, ino: Ino, now: Instant) -> Result<Option<Found>, Error> {
        match self.tree.getattr(ino, now, true) {
            Ok(found) => Ok(Some(found)),
            Err(Error::Stale | Error::NoSuchEntry) => Ok(None),
            Err(error) if error.kind() == Some(ErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Something else has the name of `place` on the server by now: who has the file open that is `gone` goes on with what was
    /// `kept` of it, and what waited for its upload does not any more.
    fn replace_here(&self, place: &Place<'_>, gone: Option<Found>, kept: Option<Target>) {
        if let Some(gone) = gone {
            if let Some(draft) = place.draft {
                self.drafts.drop_waiting(draft);
            }
            self.orphan(gone.ino, gone.metadata, kept);
        } else if let (Some(draft), Some(target)) = (place.draft, place.target) {
            self.drafts.drop_waiting(draft);
            self.tree.dropped(target);
        }
    }

    fn rename_remote(
        &self,
        from: &RemotePath,
        to: &RemotePath,
        seen: &Metadata,
        target: Option<Ino>,
    ) -> Result<(), Error> {
        let remote = self.tree.remote();
        self.tree.claim(to)?;
        match remote.rename_seen(from, to, Seen::As(seen)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind == ErrorKind::Exists => {
                let is_file = |path| remote.stat(path).is_ok_and(|metadata| metadata.kind == FileKind::File);
                if is_file(from) && is_file(to) {
                    self.tree.replace(from, to)
                } else {
                    Err(Error::logged("rename", from, &error, true))
                }
            }
            Err(error) if matches!(error.kind, ErrorKind::Lost | ErrorKind::TimedOut) => {
                // It may have been done all the same.
                let gone = remote.stat(from).is_err_and(|error| error.kind == ErrorKind::NotFound);
                if gone && remote.stat(to).is_ok() { Ok(()) } else { Err(Error::logged("rename", from, &error, true)) }
            }
            Err(error) if is_unclear(&error) && self.has_entries(to, target) => {
                Err(not_empty("what has the name has entries"))
            }
            Err(error) => Err(Error::logged("rename", from, &error, true)),
        }
    }

    /// Whether `ino` is a directory, which is at `path`, and something is in it.
    fn has_entries(&self, path: &RemotePath, ino: Option<Ino>) -> bool {
        let is_directory = ino.is_some_and(|ino| self.tree.is_directory(ino));
        is_directory && self.tree.remote().list(path).is_ok_and(|entries| !entries.is_empty())
    }

    /// Whether something has the name, as the server says now.
    fn is_taken(&self, parent: Ino, name: &Name, path: &RemotePath, now: Instant) -> Result<bool, Error> {
        if let Answer::Found(_) = self.tree.peek(parent, name, now, true)? {
            return Ok(true);
        }
        match self.tree.remote().stat(path) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Unavailable) => Ok(false),
            Err(error) => Err(Error::logged("stat", path, &error, false)),
        }
    }

    /// A name for something new.
    fn new_entry(
        &self,
        parent: Ino,
        name: &[u8],
        now: Instant,
        patience: Patience,
    ) -> Result<(Name, RemotePath), Error> {
        self.may_write()?;
        let named = self.tree.new_name(parent, name)?;
        if !patience.waits() {
            return Err(Error::WouldBlock);
        }
        // What waits for its upload under the name is what is removed, renamed or replaced.
        self.drafts.take_up_name(parent, name, now, true)?;
        Ok(named)
    }

    /// Something that is there.
    fn old_entry(&self, parent: Ino, name: &[u8], now: Instant, patience: Patience) -> Result<(Name, Found), Error> {
        let (name, _) = self.new_entry(parent, name, now, patience)?;
        match self.tree.peek(parent, &name, now, true)? {
            Answer::Found(found) => Ok((name, found)),
            Answer::Absent(_) => Err(Error::NoSuchEntry),
        }
    }

    /// Has `make` create `name` in `parent`, where that is by then; and what is to be held until the tree knows of it.
    fn make_new(
        &self,
        what: &str,
        parent: Ino,
        name: &Name,
        make: impl Fn(&RemotePath) -> Result<(), remote::Error>,
    ) -> Result<(RemotePath, Moving<'_>), Error> {
        let (path, moving) = self.tree.moving_one(&Target::Name(parent, name.clone()))?;
        self.tree.claim(&path)?;
        let Err(error) = make(&path) else { return Ok((path, moving)) };
        if error.kind == ErrorKind::Unsupported {
            return Err(Error::NotPermitted);
        }
        self.tree.doubt(parent);
        if error.kind == ErrorKind::Exists || is_unclear(&error) && self.tree.remote().stat(&path).is_ok() {
            return Err(Error::Exists);
        }
        Err(Error::logged(what, &path, &error, true))
    }

    fn told_or(&self, path: &RemotePath, otherwise: Metadata) -> Metadata {
        let told = self.tree.told(path).ok();
        told.filter(|told| told.kind == otherwise.kind).unwrap_or(otherwise)
    }
}

/// Whether the server said no without saying why, or gives that as the reason of everything.
fn is_unclear(error: &remote::Error) -> bool {
    matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Refused | ErrorKind::PermissionDenied)
}

fn not_empty(text: &str) -> Error {
    Error::Remote { kind: ErrorKind::NotEmpty, listed: true, text: text.into() }
}
