//! How a content gets to its name on the server.

use crate::path::RemotePath;
use crate::remote::{self, ErrorKind, FileKind, Metadata, Named, Naming};
use crate::vfs::draft::{Base, Draft, Form, Origin};
use crate::vfs::drafts::{Drafts, Moment, usable};
use crate::vfs::error::Error;
use crate::vfs::outgoing::Outgoing;
use crate::vfs::settings::{Conflict, UploadWay};
use crate::vfs::spool::{self, Spool};
use crate::vfs::transfer::Transfer;
use crate::vfs::tree::Target;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

/// What is fetched or sent at a time (bytes).
const STEP_BYTES: usize = 256 * 1024;
/// What servers mostly give to a new file.
const MODE_ASSUMED: u16 = 0o644;
const MODE_KNOWN: u32 = 0x10000;

/// What is ready to get a name, and what it was made ready for.
pub(super) type Ready = (Naming, Named);

impl Drafts {
    /// Gets what was written to the server, under the file's name. When this returns `Ok` it is there, and its size was
    /// checked.
    ///
    /// # Errors
    ///
    /// What stood in the way; the content stays here, and the next call tries again if that makes sense.
    /// [`Error::Conflict`] and [`Error::Exists`] where the server has something that we did not know of.
    pub(crate) fn commit(&self, draft: &Draft, moment: Moment) -> Result<(), Error> {
        let _turn = draft.take_turn()?;
        self.commit_in_turn(draft, moment)
    }

    /// As [`Drafts::commit`], by whoever has the draft's turn.
    pub(crate) fn commit_in_turn(&self, draft: &Draft, moment: Moment) -> Result<(), Error> {
        if draft.state.lock().nameless {
            return Ok(());
        }
        let committed = match usable(draft)?.0 {
            Form::Clean => return Ok(()),
            Form::Flow(outgoing) => self.commit_flow(draft, &outgoing, moment),
            Form::Append(_) => self.land_append(draft, moment).and_then(|()| match usable(draft)?.0 {
                Form::Spooled(spool) => self.commit_spool(draft, &spool, moment),
                _ => Ok(()),
            }),
            Form::Uploaded => self.commit_uploaded(draft, None, moment),
            Form::Spooled(spool) => self.commit_spool(draft, &spool, moment),
        };
        if let Err(error) = &committed {
            draft.state.lock().refused = Some(error.clone());
        }
        committed
    }

    fn commit_flow(&self, draft: &Draft, outgoing: &Arc<Outgoing>, moment: Moment) -> Result<(), Error> {
        let in_place = outgoing.target == Target::Inode(draft.ino);
        if in_place && !outgoing.is_started() {
            // Else it was checked when it was started.
            if let Err(error) = self.check(draft) {
                self.unpack(draft, outgoing)?;
                let Form::Spooled(spool) = usable(draft)?.0 else { return Err(error) };
                return Err(self.set_spool_aside(draft, &spool, error, moment));
            }
        }
        if in_place {
            self.overwrites(draft)?;
        }
        let naming = if in_place { None } else { self.naming(draft) };
        let named = match outgoing.finish_for(naming.clone()) {
            Ok(named) => named,
            Err(error) => {
                self.rescue(draft, outgoing, error)?;
                let Form::Spooled(spool) = usable(draft)?.0 else { return Err(Error::Stale) };
                return self.commit_spool(draft, &spool, moment);
            }
        };
        if in_place {
            return self.landed_in_place(draft, moment);
        }
        let base = self.uploaded(draft.ino, &outgoing.target, outgoing.end());
        self.reform(draft, Form::Uploaded, Some(base));
        match self.commit_uploaded(draft, naming.zip(named), moment) {
            // A server may take back what it had in full (vsftpd's `delete_failed_uploads`, where the end of the transfer fails).
            Err(error)
                if !(matches!(error, Error::Conflict | Error::Exists) || error.is_of_the_network())
                    && outgoing.is_whole()
                    && self.is_gone(&outgoing.target) =>
            {
                log::debug!("what was uploaded is gone, and is sent again: {error}");
                self.unpack(draft, outgoing)?;
                let Form::Spooled(spool) = usable(draft)?.0 else { return Err(error) };
                self.commit_spool(draft, &spool, moment)
            }
            committed => committed,
        }
    }

    /// After an upload failed: where all of it is still here, it goes into a spool, to be tried again in another way.
    pub(super) fn rescue(&self, draft: &Draft, outgoing: &Arc<Outgoing>, error: Error) -> Result<(), Error> {
        let appends = matches!(draft.state.lock().form, Form::Append(_));
        // Of what was to be appended, some may be there: only where none is, there is another way.
        if !outgoing.is_whole() || appends && !is_refused_way(&error) {
            return Err(self.fail(draft, error));
        }
        if appends {
            self.unpack_append(draft, outgoing)?;
        } else {
            self.unpack(draft, outgoing)?;
        }
        if is_refused_way(&error) { Ok(()) } else { Err(error) }
    }

    /// Puts what was to be appended into a spool, over what is there already.
    fn unpack_append(&self, draft: &Draft, outgoing: &Outgoing) -> Result<(), Error> {
        let (mut offset, chunks) = outgoing.rest();
        let spool = Spool::new(&self.tree.settings().spool_dir, offset)?;
        for chunk in chunks {
            spool.write(offset, &chunk)?;
            offset += chunk.len() as u64;
        }
        let mut state = draft.state.lock();
        let base = state.base.take();
        state.reform(Form::Spooled(Arc::new(spool)), base);
        Ok(())
    }

    /// Publishes what is on the server under a temporary name.
    fn commit_uploaded(&self, draft: &Draft, ready: Option<Ready>, moment: Moment) -> Result<(), Error> {
        let (base, size) = {
            let state = draft.state.lock();
            (state.base.clone(), state.size)
        };
        let Some(Base { target, .. }) = base else { return Err(Error::Stale) };
        match self.publish(draft, &target, size, ready, moment) {
            // What is gone is nothing to object to.
            Err(error) if is_refused_way(&error) && !self.is_gone(&target) => {
                self.spool(draft, moment)?;
                let Form::Spooled(spool) = usable(draft)?.0 else { return Err(error) };
                self.fill(draft, &spool)?;
                self.direct(draft, &spool, &error, moment)
            }
            published => published,
        }
    }

    fn commit_spool(&self, draft: &Draft, spool: &Arc<Spool>, moment: Moment) -> Result<(), Error> {
        self.fill(draft, spool)?;
        if self.way() == UploadWay::Direct {
            return self.send_in_place(draft, spool, moment);
        }
        let (temporary, sent) = self.send_aside(draft, spool, moment)?;
        let was_sent = sent.is_ok();
        match sent.and_then(|ready| self.publish(draft, &temporary, draft.size(), ready, moment)) {
            Err(error) if was_sent && self.was_taken_back(draft, &temporary, &error) => {
                log::debug!("what was uploaded is gone, and is sent again: {error}");
                self.record_place(draft, None)?;
                let (temporary, sent) = self.send_aside(draft, spool, moment)?;
                self.publish_sent(draft, spool, &temporary, sent, moment)
            }
            published => self.see_published(draft, spool, &temporary, published, moment),
        }
    }

    /// Sends what is in `spool` under a temporary name, and gives that.
    fn send_aside(
        &self,
        draft: &Draft,
        spool: &Arc<Spool>,
        moment: Moment,
    ) -> Result<(Target, Result<Option<Ready>, Error>), Error> {
        let temporary = self.tree.temporary(draft.ino, moment.wall)?;
        let sent = self.send_for(spool, &temporary, draft.size(), self.naming(draft));
        Ok((temporary, sent))
    }

    /// Publishes what was sent from `spool` as `temporary`, if that went well; else tries another way, or cleans up.
    pub(super) fn publish_sent(
        &self,
        draft: &Draft,
        spool: &Arc<Spool>,
        temporary: &Target,
        sent: Result<Option<Ready>, Error>,
        moment: Moment,
    ) -> Result<(), Error> {
        let published = sent.and_then(|ready| self.publish(draft, temporary, draft.size(), ready, moment));
        self.see_published(draft, spool, temporary, published, moment)
    }

    /// Where what was sent from `spool` was not `published`, tries another way, or cleans up.
    fn see_published(
        &self,
        draft: &Draft,
        spool: &Arc<Spool>,
        temporary: &Target,
        published: Result<(), Error>,
        moment: Moment,
    ) -> Result<(), Error> {
        match published {
            Ok(()) => Ok(()),
            Err(error @ (Error::Conflict | Error::Exists)) => Err(error),
            Err(error) => {
                let is_recorded = draft.state.lock().uploaded_as.as_ref() == Some(temporary);
                match is_recorded {
                    // It may have been renamed all the same: the journal knows its place until it has another, or none.
                    true if error.is_of_the_network() => return Err(error),
                    true => self.record_place(draft, None)?,
                    false => self.tree.discard(temporary),
                }
                if is_refused_way(&error) { self.direct(draft, spool, &error, moment) } else { Err(error) }
            }
        }
    }

    /// Uploads in place, since `why` stands in the way of a temporary name.
    fn direct(&self, draft: &Draft, spool: &Arc<Spool>, why: &Error, moment: Moment) -> Result<(), Error> {
        self.send_in_place(draft, spool, moment)?;
        if !self.direct.swap(true, Ordering::Relaxed) {
            log::warn!("temporary names cannot be used here ({why}): from now on files are written in place");
        }
        Ok(())
    }

    fn send_in_place(&self, draft: &Draft, spool: &Arc<Spool>, moment: Moment) -> Result<(), Error> {
        if let Err(error) = self.check(draft) {
            return Err(self.set_spool_aside(draft, spool, error, moment));
        }
        let size = draft.state.lock().size;
        self.overwrites(draft)?;
        self.record_place(draft, None)?;
        self.send(spool, &Target::Inode(draft.ino), size)?;
        self.landed_in_place(draft, moment)
    }

    /// From here on the old content is gone, which nothing needs any more: what is not in a spool is new.
    pub(super) fn overwrites(&self, draft: &Draft) -> Result<(), Error> {
        draft.state.lock().spoiled = true;
        if let Ok(path) = self.tree.target(&Target::Inode(draft.ino)) {
            self.tree.claim(&path)?;
            self.tree.forget_stored(&path);
        }
        self.content.quiet(draft.ino);
        Ok(())
    }

    /// What can be asked and done along with the end of an upload; `None` while too little is known of the server.
    pub(super) fn naming(&self, draft: &Draft) -> Option<Naming> {
        let path = self.tree.target(&Target::Inode(draft.ino)).ok()?;
        let state = draft.state.lock();
        let is_new = matches!(state.origin, Origin::Absent { .. });
        let known = self.mode_given.load(Ordering::Relaxed);
        let sets_mode = !self.modes_refused.load(Ordering::Relaxed);
        if sets_mode && known == 0 {
            return None;
        }
        let mode = state.mode.filter(|wanted| sets_mode && given(known, is_new) != Some(*wanted));
        Some(Naming { path, is_new, mode, modified: state.stamp })
    }

    /// Whether the server still has what it had when the content began.
    pub(super) fn check(&self, draft: &Draft) -> Result<(), Error> {
        if draft.state.lock().spoiled {
            return Ok(());
        }
        let (path, told) = self.tree.stat_at(&Target::Inode(draft.ino))?;
        let told = match told {
            Ok(metadata) => metadata,
            // Nothing is there that could get lost.
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Unavailable) => return Ok(()),
            Err(error) => return Err(Error::logged("stat", &path, &error, true)),
        };
        self.agrees(draft, Some(&told))
    }

    /// Whether `told` is what the server had when the content began, or is to be overwritten all the same.
    pub(super) fn agrees(&self, draft: &Draft, told: Option<&Metadata>) -> Result<(), Error> {
        let Some(told) = told.filter(|_| !draft.state.lock().spoiled) else { return Ok(()) };
        let overwrite = self.tree.settings().conflict == Conflict::Overwrite && told.kind == FileKind::File;
        match &draft.state.lock().origin {
            Origin::Absent { exclusive: true } => Err(Error::Exists),
            Origin::Known(known) if known.same_version(told) => Ok(()),
            _ if overwrite => Ok(()),
            Origin::Absent { .. } | Origin::Known(_) => Err(Error::Conflict),
        }
    }

    /// Stores what was uploaded as `temporary` beside the file, whose name is taken by what we did not know of.
    pub(super) fn set_aside(
        &self,
        draft: &Draft,
        temporary: &Target,
        size: u64,
        error: Error,
        moment: Moment,
    ) -> Error {
        let Ok((parent, name)) = self.tree.name_of(draft.ino) else { return error };
        let conflict = self.tree.namer().conflict(&name, moment.wall);
        let aside = Target::Name(parent, conflict);
        let (Ok(from), Ok(to)) = (self.tree.target(temporary), self.tree.target(&aside)) else { return error };
        if let Err(other) = self.tree.remote().rename(&from, &to) {
            log::error!("{from} cannot be renamed to {to}: {other}");
            return self.fail(draft, error);
        }
        log::error!("{name}: {error}; what was written here is stored as {to}");
        self.is_aside(draft, aside, size);
        self.tree.doubt(parent);
        self.fail(draft, error)
    }

    /// As [`Drafts::set_aside`], of what was not uploaded yet.
    fn set_spool_aside(&self, draft: &Draft, spool: &Arc<Spool>, error: Error, moment: Moment) -> Error {
        if !matches!(error, Error::Conflict | Error::Exists) {
            return error;
        }
        let size = draft.state.lock().size;
        let Ok((parent, name)) = self.tree.name_of(draft.ino) else { return error };
        let aside = Target::Name(parent, self.tree.namer().conflict(&name, moment.wall));
        if let Err(other) = self.send(spool, &aside, size) {
            log::error!("{name}: {error}; what was written here cannot be stored beside it: {other}");
            return self.fail(draft, error);
        }
        log::error!("{name}: {error}; what was written here is stored beside it");
        self.is_aside(draft, aside, size);
        self.tree.doubt(parent);
        self.fail(draft, error)
    }

    fn is_aside(&self, draft: &Draft, aside: Target, size: u64) {
        let base = self.uploaded(draft.ino, &aside, size);
        let before = {
            let mut state = draft.state.lock();
            let before = state.base.take();
            state.reform(Form::Clean, Some(base));
            before
        };
        if let Some(before) = before {
            self.content.release(&before.version);
        }
    }

    /// As [`Drafts::landed`], of what went straight to the file's name.
    pub(super) fn landed_in_place(&self, draft: &Draft, moment: Moment) -> Result<(), Error> {
        let file = Target::Inode(draft.ino);
        // Where it has no path any more nothing is done there, and without a server nothing can be.
        let _staying = self.tree.staying(&file).ok();
        if matches!(draft.state.lock().origin, Origin::Absent { .. }) {
            self.set_mode(draft, &file);
        }
        self.landed(draft, None, None, moment)
    }

    /// The server has the content under the file's name, unless it gave it another. What was uploaded as `renamed` is there
    /// no more. Where the server `told` of the file already, nothing is left to be done there.
    pub(super) fn landed(
        &self,
        draft: &Draft,
        renamed: Option<&Target>,
        told: Option<Metadata>,
        moment: Moment,
    ) -> Result<(), Error> {
        let (stamp, size) = {
            let state = draft.state.lock();
            (state.stamp, state.size)
        };
        let Some((path, told)) = self.told_after(draft, stamp, told) else { return Ok(()) };
        let told = match told {
            Err(error)
                if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Unavailable) && may_be_changed(&path) =>
            {
                log::error!("{path}: the server stored it under another name");
                return Err(self.fail(draft, Error::InvalidRequest));
            }
            told => told.ok().filter(|metadata| metadata.kind == FileKind::File),
        };
        // It is there, whether the server answers now or not.
        let metadata = told.unwrap_or_else(|| Metadata { size: Some(size), ..Metadata::of_kind(FileKind::File) });
        // Another content may have the same size and, to the second, the same time.
        self.content.end(draft.ino);
        let now = moment.by_now();
        let base = self.published(draft.ino, &metadata, now);
        if metadata.size != Some(size) {
            log::warn!("{path}: somebody else has put another file there");
            base.version.was_never_opened();
        }
        let before = {
            let mut state = draft.state.lock();
            (state.size, state.stamp, state.refused) = (metadata.size.unwrap_or(size), None, None);
            state.landed = Some(Instant::now());
            state.modified = metadata.modified.map_or(moment.wall, |modified| modified.time);
            (state.mode, state.spoiled) = (metadata.mode.or(state.mode), false);
            if state.uploaded_as.as_ref() == renamed {
                state.uploaded_as = None;
            }
            state.origin = Origin::Known(Metadata { mode: state.mode, ..metadata.clone() });
            let before = state.base.take();
            state.reform(Form::Clean, Some(base));
            before
        };
        match before {
            Some(Base { version, target }) if Some(&target) == renamed => {
                self.content.release(&version);
                self.content.drop_detached(&version);
            }
            before => self.let_go(before),
        }
        self.tree.committed(draft.ino, metadata, now);
        // Until now what is known here may have been from before.
        draft.state.lock().landed = Some(Instant::now());
        self.unrecord(draft);
        Ok(())
    }

    /// What the server tells of what was stored, after it got the time that it is to have, unless both was done along with its
    /// renaming; and where it is. `None` once it has no name. Nothing moves there meanwhile: whoever stored it sees to that.
    fn told_after(
        &self,
        draft: &Draft,
        stamp: Option<SystemTime>,
        told: Option<Metadata>,
    ) -> Option<(RemotePath, Result<Metadata, remote::Error>)> {
        let path = self.tree.target(&Target::Inode(draft.ino)).ok()?;
        if let Some(told) = told {
            return Some((path, Ok(told)));
        }
        let refused = stamp.and_then(|stamp| self.tree.remote().set_modified(&path, stamp).err());
        if let Some(error) = refused.filter(|_| !self.times_refused.swap(true, Ordering::Relaxed)) {
            log::warn!("{path}: its time cannot be set: {error}");
        }
        let told = self.tree.told(&path);
        Some((path, told))
    }

    /// Nothing more goes straight to the file's name, which is about to be another's or nobody's.
    pub(crate) fn leave_place(&self, draft: &Draft, moment: Moment) -> Result<(), Error> {
        match usable(draft)?.0 {
            Form::Flow(outgoing) if outgoing.target == Target::Inode(draft.ino) => self.spool(draft, moment),
            _ => self.land_append(draft, moment),
        }
    }

    /// Waits until what is being appended is there.
    pub(crate) fn land_append(&self, draft: &Draft, moment: Moment) -> Result<(), Error> {
        let Form::Append(outgoing) = usable(draft)?.0 else { return Ok(()) };
        match outgoing.finish() {
            Ok(()) => self.landed_in_place(draft, moment)?,
            Err(error) => self.rescue(draft, &outgoing, error)?,
        }
        Ok(())
    }

    /// Whether what comes at the end may go straight there.
    pub(super) fn can_append(&self, draft: &Draft, size: u64) -> bool {
        let state = draft.state.lock();
        let here = matches!(&state.base, Some(base) if base.target == Target::Inode(draft.ino));
        let here = here && self.writeback().is_none();
        size > 0 && here && !state.nameless && matches!(state.origin, Origin::Known(_))
    }

    /// Begins to append, if the server still has what we know.
    pub(super) fn begin_append(&self, draft: &Draft, size: u64) -> Result<(), Error> {
        let (path, told) = self.tree.stat_at(&Target::Inode(draft.ino))?;
        let told = told.map_err(|error| Error::logged("stat", &path, &error, true))?;
        let mut state = draft.state.lock();
        let same = matches!(&state.origin, Origin::Known(known) if known.same_version(&told));
        if !same || told.size != Some(size) {
            drop(state);
            self.tree.distrust(draft.ino);
            return Err(Error::Stale);
        }
        let outgoing = Outgoing::new(Arc::clone(&self.tree), Target::Inode(draft.ino), size);
        let base = state.base.take();
        state.reform(Form::Append(outgoing), base);
        drop(state);
        self.content.quiet(draft.ino);
        Ok(())
    }

    /// Fetches what the spool shows of what lies under it.
    fn fill(&self, draft: &Draft, spool: &Spool) -> Result<(), Error> {
        let (base, size) = {
            let state = draft.state.lock();
            (state.base.clone(), state.size)
        };
        for (range, from) in spool.pieces(0..size) {
            if from != spool::From::Base {
                continue;
            }
            let mut at = range.start;
            while at < range.end {
                let len = usize::try_from(range.end - at).unwrap_or(STEP_BYTES).min(STEP_BYTES);
                let bytes = self.read_base(base.as_ref(), at, len, true)?;
                if bytes.is_empty() {
                    return Err(Error::Stale);
                }
                bytes.with(|bytes| spool.fetched(at, bytes))?;
                at += bytes.len() as u64;
            }
        }
        Ok(())
    }

    fn send(&self, spool: &Spool, target: &Target, size: u64) -> Result<(), Error> {
        self.send_for(spool, target, size, None).map(drop)
    }

    pub(super) fn send_for(
        &self,
        spool: &Spool,
        target: &Target,
        size: u64,
        naming: Option<Naming>,
    ) -> Result<Option<Ready>, Error> {
        let mut transfer = Transfer::new(&self.tree, target, 0);
        let mut buffer = vec![0; STEP_BYTES.min(usize::try_from(size).unwrap_or(STEP_BYTES))];
        loop {
            transfer.check_position(|from, ours| spool.read(from, ours).is_ok())?;
            let at = transfer.position();
            if at < size {
                let len = usize::try_from(size - at).unwrap_or(STEP_BYTES).min(buffer.len());
                spool.read(at, &mut buffer[..len])?;
                transfer.send(&buffer[..len], 0)?;
            } else if transfer.finish_for(size, 0, naming.as_ref())? {
                return Ok(naming.zip(transfer.into_named()));
            }
        }
    }

    /// Gives the new file the permission bits that it has to have, unless it has them anyway.
    pub(super) fn set_mode(&self, draft: &Draft, target: &Target) {
        let (wanted, is_new) = {
            let state = draft.state.lock();
            (state.mode, matches!(state.origin, Origin::Absent { .. }))
        };
        let Some(wanted) = wanted else { return };
        let Ok(path) = self.tree.target(target) else { return };
        if self.modes_refused.load(Ordering::Relaxed) || self.mode_given(&path, is_new) == Some(wanted) {
            return;
        }
        match self.tree.remote().set_mode(&path, wanted) {
            Ok(()) => {}
            Err(error) if error.kind == ErrorKind::Unsupported => {
                self.modes_refused.store(true, Ordering::Relaxed);
            }
            Err(error) => log::debug!("{path}: its permission bits cannot be set: {error}"),
        }
    }

    /// What permission bits the server gave to `path`, which is new: asked once, since all new files get the same.
    fn mode_given(&self, path: &RemotePath, is_new: bool) -> Option<u16> {
        let known = self.mode_given.load(Ordering::Relaxed);
        if known == 0 {
            let told = self.tree.remote().stat(path).ok().and_then(|metadata| metadata.mode);
            // The second bit: the server does not tell.
            let known = told.map_or(2 * MODE_KNOWN, |mode| MODE_KNOWN | u32::from(mode));
            self.mode_given.store(known, Ordering::Relaxed);
        }
        given(self.mode_given.load(Ordering::Relaxed), is_new)
    }
}

/// The permission bits that `known` tells of.
fn given(known: u32, is_new: bool) -> Option<u16> {
    if known & MODE_KNOWN == 0 {
        return is_new.then_some(MODE_ASSUMED);
    }
    u16::try_from(known & !MODE_KNOWN).ok()
}

pub(super) fn is_lost(error: &remote::Error) -> bool {
    matches!(error.kind, ErrorKind::Lost | ErrorKind::TimedOut | ErrorKind::Away)
}

/// Whether the name is one that a server may store in another form (Pure-FTPd: control characters, a space at the end).
fn may_be_changed(path: &RemotePath) -> bool {
    let name = path.as_bytes();
    name.ends_with(b" ") || name.iter().any(|byte| byte.is_ascii_control())
}

/// Whether the server refuses this way to store the content, so that another may work.
fn is_refused_way(error: &Error) -> bool {
    use ErrorKind as E;
    let kinds = [E::PermissionDenied, E::Unavailable, E::InvalidName, E::Refused, E::Unsupported, E::Exists];
    error.kind().is_some_and(|kind| kinds.contains(&kind))
}
