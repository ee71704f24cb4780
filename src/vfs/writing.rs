//! The operations that change what is in a file, or what is said of it.

use crate::deadline;
use crate::path::RemotePath;
use crate::remote::{self, Alteration, ErrorKind, FileKind, Metadata, Modified};
use crate::vfs::attr::{Attr, Kind};
use crate::vfs::draft::Draft;
use crate::vfs::drafts::Moment;
use crate::vfs::error::Error;
use crate::vfs::filesystem::{Access, Entry, Fh, Opened, Patience, Vfs};
use crate::vfs::handles::{Handle, OpenFile};
use crate::vfs::inodes::Ino;
use crate::vfs::tree::{Answer, Found, Target};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What is to be changed of an inode's attributes; `None` leaves as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// Permission bits.
    pub mode: Option<u32>,
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// Length in bytes.
    pub size: Option<u64>,
    /// Time of last change.
    pub modified: Option<SystemTime>,
}

/// How a file is to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Creation {
    /// Permission bits, without those that the umask takes away.
    pub mode: u32,
    /// There must be none of the name.
    pub exclusive: bool,
    /// Nothing is left of one that is there.
    pub truncate: bool,
}

/// What would empty a file, or make one, is not begun when the caller has heard already that it was not.
fn in_time() -> Result<(), Error> {
    if deadline::is_over() { Err(Error::timed_out()) } else { Ok(()) }
}

/// Whether the server was not there to say no.
fn is_of_the_network(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Lost | ErrorKind::TimedOut | ErrorKind::Away | ErrorKind::Busy)
}

impl Vfs {
    pub(crate) fn open_to_write(
        &self,
        ino: Ino,
        access: Access,
        now: Instant,
        patience: Patience,
    ) -> Result<Opened, Error> {
        self.may_write()?;
        if !patience.waits() {
            return Err(Error::WouldBlock);
        }
        let moment = Moment::new(now);
        let told_size = self.tree.told_size(ino);
        // From here on the draft stays.
        self.drafts.opened(ino);
        let opened = self.draft_to_write(ino, moment).and_then(|(draft, found, keep_cache)| {
            in_time()?;
            let is_ours = draft.is_ahead();
            if access == Access::Truncate {
                self.drafts.truncate(&draft, 0, moment)?;
                return Ok((found, false, false));
            }
            let size_differs = !is_ours && told_size.is_some_and(|told| told != found.attr.size);
            Ok((found, keep_cache, size_differs))
        });
        match opened {
            Ok((found, keep_cache, size_differs)) => {
                let version = self.content.detached(ino, found.attr.size);
                let file = OpenFile { ino, version, writes: true };
                Ok(Opened { fh: self.handles.open(Handle::File(file)), keep_cache, size_differs })
            }
            Err(error) => {
                self.drafts.closed(ino, false, moment);
                Err(error)
            }
        }
    }

    /// The draft of `ino`, over what the server has now unless something else was written here already.
    fn draft_to_write(&self, ino: Ino, moment: Moment) -> Result<(Arc<Draft>, Found, bool), Error> {
        self.tree.wait_for_name(ino)?;
        if let Some(draft) = self.drafts.of(ino).filter(|draft| draft.is_ahead()) {
            if let Some(error) = draft.failure() {
                return Err(error);
            }
            return Ok((draft, self.tree.getattr(ino, moment.now, true)?, true));
        }
        let asked = Instant::now();
        let found = self.tree.refresh(ino, moment.now)?;
        match found.attr.kind {
            Kind::File => {}
            Kind::Directory => return Err(Error::IsADirectory),
            Kind::Symlink => return Err(Error::InvalidRequest),
        }
        if self.drafts.of(ino).is_some_and(|draft| draft.has_landed_since(asked)) {
            return self.draft_to_write(ino, moment);
        }
        let before = self.content.open(ino, &found.metadata, found.attr.size, moment.now);
        let draft = self.drafts.begin(ino, &found.metadata, moment, asked);
        // It may have lost its name since it was asked about.
        if self.tree.is_nameless(ino) {
            draft.state.lock().nameless = true;
        }
        self.content.release(&before.0);
        Ok((draft, found, before.1))
    }

    /// Creates and opens a file. It is on the server when it is flushed, at the latest when it is closed.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`], [`Error::InvalidRequest`] or [`Error::NameTooLong`] for a name that cannot be, and
    /// [`Error::Exists`]; as [`Vfs::lookup`] and [`Vfs::open`] otherwise.
    pub fn create(
        &self,
        parent: Ino,
        name: &[u8],
        creation: Creation,
        now: Instant,
        patience: Patience,
    ) -> Result<(Entry, Opened), Error> {
        self.may_write()?;
        let (name, _) = self.tree.new_name(parent, name)?;
        self.drafts.take_up_name(parent, name.as_bytes(), now, patience.waits())?;
        if let Answer::Found(found) = self.tree.peek(parent, &name, now, patience.waits())? {
            if creation.exclusive {
                return Err(Error::Exists);
            }
            let access = if creation.truncate { Access::Truncate } else { Access::Write };
            let opened = self.open(found.ino, access, now, patience)?;
            let found = self.tree.getattr(found.ino, now, patience.waits()).inspect_err(|_| {
                // How that ends is in the log.
                let _ = self.release(opened.fh, now, patience);
            })?;
            self.tree.looked_up(found.ino);
            return Ok((self.entry(&found), opened));
        }
        in_time()?;
        let moment = Moment::new(now);
        let mode = bits(creation.mode);
        let modified = Some(Modified { time: moment.wall, precision: Duration::from_millis(1) });
        let metadata = Metadata { size: Some(0), mode: Some(mode), modified, ..Metadata::of_kind(FileKind::File) };
        let found = self.tree.create(parent, &name, metadata, now)?;
        self.drafts.opened(found.ino);
        self.drafts.create(found.ino, mode, creation.exclusive, moment);
        let version = self.content.detached(found.ino, 0);
        let file = OpenFile { ino: found.ino, version, writes: true };
        let opened = Opened { fh: self.handles.open(Handle::File(file)), keep_cache: false, size_differs: false };
        Ok((self.entry(&found), opened))
    }

    /// Creates an empty file on the server.
    ///
    /// # Errors
    ///
    /// As [`Vfs::create`] and [`Vfs::flush`].
    pub fn mknod(&self, parent: Ino, name: &[u8], mode: u32, now: Instant, patience: Patience) -> Result<Entry, Error> {
        if !patience.waits() {
            self.may_write()?;
            return Err(Error::WouldBlock);
        }
        let creation = Creation { mode, exclusive: true, truncate: false };
        let (entry, opened) = self.create(parent, name, creation, now, patience)?;
        let flushed = self.flush(opened.fh, now, patience);
        self.release(opened.fh, now, patience)?;
        if let Err(error) = flushed {
            self.forget(entry.ino, 1);
            return Err(error);
        }
        let found = self.tree.getattr(entry.ino, now, true)?;
        Ok(self.entry(&found))
    }

    /// Writes `bytes` at `offset` (bytes) of an open file. They are on the server after [`Vfs::flush`]. Owned bytes may be
    /// kept without being copied.
    ///
    /// # Errors
    ///
    /// [`Error::BadHandle`] if it is not open for writing, [`Error::Spool`] where this machine has no room,
    /// [`Error::TooLarge`], what the upload failed with, and [`Error::WouldBlock`] as `patience` says.
    pub fn write<'a>(
        &self,
        fh: Fh,
        offset: u64,
        bytes: impl Into<Cow<'a, [u8]>>,
        now: Instant,
        patience: Patience,
    ) -> Result<(), Error> {
        let (_, draft) = self.written(fh)?;
        self.drafts.write(&draft, offset, bytes.into(), Moment::new(now), patience.waits())
    }

    /// Takes from `ino` the bits that let who executes it be somebody else, since somebody without that right changes it: the kernel
    /// leaves this to us, which spares us a question of its before each write.
    ///
    /// # Errors
    ///
    /// As [`Vfs::setattr`].
    pub fn drop_privileges(&self, ino: Ino, now: Instant, patience: Patience) -> Result<(), Error> {
        let mode = match self.drafts.of(ino) {
            Some(draft) => draft.mode(),
            None => self.tree.getattr(ino, now, patience.waits())?.metadata.mode,
        };
        match mode.map(|mode| (mode, unprivileged(mode))) {
            Some((mode, plain)) if plain != mode && !patience.waits() => Err(Error::WouldBlock),
            Some((mode, plain)) if plain != mode => self.set_mode(ino, plain, Moment::new(now)),
            _ => Ok(()),
        }
    }

    /// A write to an open file was done too late: it was said to have failed. No close says that all is well any more.
    pub fn disown(&self, fh: Fh) {
        if let Ok(file) = self.handles.file(fh) {
            self.drafts.disown(file.ino);
        }
    }

    /// Gets what was written to an open file to the server, whoever wrote it. When this returns `Ok` it is there or, with
    /// `writeback`, in the journal.
    ///
    /// # Errors
    ///
    /// [`Error::BadHandle`], what stands in the way, and [`Error::WouldBlock`] as `patience` says.
    pub fn flush(&self, fh: Fh, now: Instant, patience: Patience) -> Result<(), Error> {
        self.unsaved(fh, patience)?.map_or(Ok(()), |draft| self.drafts.settle(&draft, Moment::new(now)))
    }

    /// Gets what was written to an open file to the server, whoever wrote it. When this returns `Ok` it is there.
    ///
    /// # Errors
    ///
    /// As [`Vfs::flush`].
    pub fn fsync(&self, fh: Fh, now: Instant, patience: Patience) -> Result<(), Error> {
        let Some(draft) = self.unsaved(fh, patience)? else { return Ok(()) };
        let moment = Moment::new(now);
        // What the server does not take now waits in the journal, where there is one.
        self.drafts.settle(&draft, moment)?;
        self.drafts.commit(&draft, moment)
    }

    /// What was written to an open file that is not on the server yet.
    fn unsaved(&self, fh: Fh, patience: Patience) -> Result<Option<Arc<Draft>>, Error> {
        let file = self.handles.file(fh)?;
        let Some(draft) = self.drafts.of(file.ino).filter(|draft| file.writes && draft.is_ahead()) else {
            return Ok(None);
        };
        match draft.failure() {
            Some(error) => Err(error),
            None if patience.waits() => Ok(Some(draft)),
            None => Err(Error::WouldBlock),
        }
    }

    /// Changes attributes.
    ///
    /// # Errors
    ///
    /// [`Error::NotPermitted`] for what the server cannot do, unless it is to be ignored; [`Error::ReadOnly`];
    /// [`Error::Remote`], [`Error::Spool`], and [`Error::WouldBlock`] as `patience` says.
    pub fn setattr(
        &self,
        ino: Ino,
        fh: Option<Fh>,
        changes: Changes,
        now: Instant,
        patience: Patience,
    ) -> Result<(Attr, Duration), Error> {
        self.may_write()?;
        if !patience.waits() {
            return Err(Error::WouldBlock);
        }
        self.drafts.take_up(&Target::Inode(ino), now, true)?;
        let moment = Moment::new(now);
        let attr = self.tree.getattr(ino, now, true)?.attr;
        let moves = |wanted: Option<u32>, is: u32| wanted.is_some_and(|wanted| wanted != is && wanted != u32::MAX);
        if (moves(changes.uid, attr.uid) || moves(changes.gid, attr.gid)) && !self.tree.settings().ignore_perms {
            return Err(Error::NotPermitted);
        }
        if let Some(size) = changes.size {
            self.set_size(ino, fh, size, moment)?;
        }
        if let Some(mode) = changes.mode.map(bits).filter(|mode| *mode != attr.mode) {
            self.set_mode(ino, mode, moment)?;
        }
        if let Some(modified) = changes.modified {
            self.set_time(ino, modified, moment)?;
        }
        self.getattr(ino, now, patience)
    }

    fn set_size(&self, ino: Ino, fh: Option<Fh>, size: u64, moment: Moment) -> Result<(), Error> {
        if let Some(fh) = fh {
            let (_, draft) = self.written(fh)?;
            return self.drafts.truncate(&draft, size, moment);
        }
        // As if it were open: else what lands in the background meanwhile takes the draft away.
        self.drafts.opened(ino);
        let done = self.draft_to_write(ino, moment).and_then(|(draft, ..)| {
            self.drafts.truncate(&draft, size, moment)?;
            self.drafts.settle(&draft, moment)
        });
        self.drafts.closed(ino, false, moment);
        done
    }

    fn set_mode(&self, ino: Ino, mode: u16, moment: Moment) -> Result<(), Error> {
        if let Some(draft) = self.drafts.of(ino)
            && self.drafts.set_bits(&draft, mode)?
        {
            return self.drafts.renew_record(&draft);
        }
        let (path, staying) = self.tree.staying(&Target::Inode(ino))?;
        let done = self.alter(ino, &path, Alteration::Mode(mode));
        drop(staying);
        match done {
            Ok(told) => self.learn_anew(ino, told, moment),
            Err(error) if self.tree.settings().ignore_perms => log::debug!("chmod {path}: {error}"),
            Err(error) if error.kind == ErrorKind::Unsupported => return Err(Error::NotPermitted),
            Err(error) => return Err(Error::logged("chmod", &path, &error, true)),
        }
        Ok(())
    }

    fn set_time(&self, ino: Ino, modified: SystemTime, moment: Moment) -> Result<(), Error> {
        if let Some(draft) = self.drafts.of(ino)
            && self.drafts.set_time(&draft, modified)?
        {
            return self.drafts.renew_record(&draft);
        }
        let (path, staying) = self.tree.staying(&Target::Inode(ino))?;
        self.tree.forget_stored(&path);
        let done = self.alter(ino, &path, Alteration::Modified(modified));
        drop(staying);
        // It may have been done all the same, and what has the time now need not be what had it before.
        self.tree.forget_stored(&path);
        match done {
            Ok(told) => self.learn_anew(ino, told, moment),
            // Few servers set a directory's time, each sets it anew with the next entry, and `cp -a`, tar and rsync fail for
            // nothing else.
            Err(error)
                if !is_of_the_network(error.kind)
                    && (self.tree.is_directory(ino) || self.tree.settings().ignore_perms) =>
            {
                log::debug!("utimens {path}: left as it is: {error}");
            }
            Err(error) if error.kind == ErrorKind::Unsupported => return Err(Error::NotPermitted),
            Err(error) => return Err(Error::logged("utimens", &path, &error, true)),
        }
        Ok(())
    }

    fn alter(&self, ino: Ino, path: &RemotePath, alteration: Alteration) -> Result<Option<Metadata>, remote::Error> {
        let remote = self.tree.remote();
        match alteration {
            _ if self.tree.is_file(ino) => remote.alter(path, alteration),
            Alteration::Mode(mode) => remote.set_mode(path, mode).map(|()| None),
            Alteration::Modified(time) => remote.set_modified(path, time).map(|()| None),
        }
    }

    /// Takes in what we have just changed: as it was told, or asks for it.
    fn learn_anew(&self, ino: Ino, told: Option<Metadata>, moment: Moment) {
        let ask = || self.tree.target(&Target::Inode(ino)).ok().and_then(|path| self.tree.told(&path).ok());
        let told = told.filter(|told| told.kind == FileKind::File).map(|told| self.tree.owned(told)).or_else(ask);
        match told {
            Some(metadata) => {
                self.content.renew(ino, &metadata);
                if let Some(draft) = self.drafts.of(ino) {
                    self.drafts.renew(&draft, &metadata);
                }
                self.tree.changed(ino, metadata, moment.by_now());
            }
            None => self.tree.distrust(ino),
        }
    }

    /// Makes sure that an open file is at least so long that `offset + length` bytes fit. `mode` is that of fallocate(2).
    ///
    /// # Errors
    ///
    /// [`Error::NotSupported`] for all modes but 0; as [`Vfs::write`] otherwise.
    pub fn fallocate(
        &self,
        fh: Fh,
        offset: u64,
        length: u64,
        mode: i32,
        now: Instant,
        patience: Patience,
    ) -> Result<(), Error> {
        if mode != 0 {
            return Err(Error::NotSupported);
        }
        let (_, draft) = self.written(fh)?;
        let end = offset.checked_add(length).ok_or(Error::TooLarge)?;
        if draft.size() >= end {
            return Ok(());
        }
        if !patience.waits() {
            return Err(Error::WouldBlock);
        }
        self.drafts.truncate(&draft, end, Moment::new(now))
    }

    pub(crate) fn may_write(&self) -> Result<(), Error> {
        if self.tree.settings().read_only { Err(Error::ReadOnly) } else { Ok(()) }
    }

    fn written(&self, fh: Fh) -> Result<(OpenFile, Arc<Draft>), Error> {
        let file = self.handles.file(fh)?;
        if !file.writes {
            return Err(Error::BadHandle);
        }
        let draft = self.drafts.of(file.ino).ok_or(Error::BadHandle)?;
        Ok((file, draft))
    }
}

/// `mode` without set-user-ID, and without set-group-ID where that is no mark for locking (`should_remove_suid` of the kernel).
fn unprivileged(mode: u16) -> u16 {
    const SET_USER: u16 = 0o4000;
    const SET_GROUP: u16 = 0o2000;
    const GROUP_EXECUTES: u16 = 0o010;
    let set_group = if mode & GROUP_EXECUTES != 0 { SET_GROUP } else { 0 };
    mode & !(SET_USER | set_group)
}

/// The permission bits of what the kernel calls a mode.
pub(crate) fn bits(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or_default()
}
