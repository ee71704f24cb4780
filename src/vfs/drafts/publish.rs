//! How an upload gets its name on the server.

use crate::path::RemotePath;
use crate::remote::{self, ErrorKind, Metadata, Named, Seen};
use crate::vfs::draft::Draft;
use crate::vfs::drafts::commit::{Ready, is_lost};
use crate::vfs::drafts::{Drafts, Moment};
use crate::vfs::error::Error;
use crate::vfs::tree::{Moving, Target};
use std::cell::Cell;
use std::sync::atomic::Ordering;

impl Drafts {
    /// Renames what was uploaded as `temporary` to the file's name.
    pub(super) fn publish(
        &self,
        draft: &Draft,
        temporary: &Target,
        size: u64,
        ready: Option<Ready>,
        moment: Moment,
    ) -> Result<(), Error> {
        // What was made ready a moment ago is of use if it is still what is wanted.
        let ready = ready.filter(|(naming, _)| self.naming(draft).as_ref() == Some(naming));
        let checked = match &ready {
            Some((_, named)) => self.agrees(draft, named.found.as_ref()),
            None => self.check(draft),
        };
        match checked {
            Err(error @ (Error::Conflict | Error::Exists)) => {
                drop(ready);
                return Err(self.set_aside(draft, temporary, size, error, moment));
            }
            checked => checked?,
        }
        match ready.as_ref().map(|(_, named)| named.mode_refused) {
            Some(Some(ErrorKind::Unsupported)) => self.modes_refused.store(true, Ordering::Relaxed),
            Some(_) => {}
            None => self.set_mode(draft, temporary),
        }
        self.record_place(draft, Some(temporary))?;
        let (told, _moving) = self.put(draft, temporary, size, ready)?;
        self.landed(draft, Some(temporary), told, moment)
    }

    /// Gives what the server then told of the file, and only if that is all that was to be done; and what is to be held until
    /// that is known here.
    fn put(
        &self,
        draft: &Draft,
        temporary: &Target,
        size: u64,
        ready: Option<Ready>,
    ) -> Result<(Option<Metadata>, Moving<'_>), Error> {
        let file = Target::Inode(draft.ino);
        if let Some((naming, named)) = ready
            && let Some(((from, to), moving)) = self.tree.moving_at_once(temporary, &file)?
            // Else its directory has got another name by now, and the server has been told the old one.
            && to == naming.path
        {
            return self.put_at(draft, &from, &to, size, Some(named)).map(|told| (told, moving));
        }
        let ((from, to), moving) = self.tree.moving_both(temporary, &file)?;
        self.put_at(draft, &from, &to, size, None).map(|told| (told, moving))
    }

    fn put_at(
        &self,
        draft: &Draft,
        from: &RemotePath,
        to: &RemotePath,
        size: u64,
        named: Option<Named>,
    ) -> Result<Option<Metadata>, Error> {
        self.tree.forget_stored(to);
        self.tree.claim(to)?;
        let remote = self.tree.remote();
        let is_stamped = draft.state.lock().stamp.is_none() || named.as_ref().is_some_and(|named| named.has_time);
        // It may have been done all the same, if the connection broke.
        let is_in_question = Cell::new(false);
        let is_done = |error: &remote::Error| {
            is_in_question.set(is_in_question.get() || is_lost(error));
            is_in_question.get()
                && remote.stat(from).is_err_and(|error| error.kind == ErrorKind::NotFound)
                && remote.stat(to).is_ok_and(|metadata| metadata.size == Some(size))
        };
        if let Some(Named { renaming, .. }) = named {
            match renaming.rename() {
                Ok(told) => return Ok(told.filter(|_| is_stamped).map(|told| self.tree.owned(told))),
                Err(error) if error.kind == ErrorKind::Exists => return self.tree.replace(from, to).map(|()| None),
                Err(error) if is_done(&error) => return Ok(None),
                Err(error) if is_lost(&error) => log::debug!("renaming {from} on another connection: {error}"),
                Err(error) => return Err(Error::logged("rename", from, &error, true)),
            }
        }
        match remote.rename_seen(from, to, Seen::Ours) {
            Ok(()) => Ok(None),
            Err(error) if error.kind == ErrorKind::Exists => self.tree.replace(from, to).map(|()| None),
            Err(error) if is_done(&error) => Ok(None),
            Err(error) => Err(Error::logged("rename", from, &error, true)),
        }
    }

    /// Whether the server had all of it as `temporary` and has it no more, nor under the file's name: ProFTPD deletes a file when a
    /// session notices at last that it was cut off in the middle of its upload.
    pub(super) fn was_taken_back(&self, draft: &Draft, temporary: &Target, error: &Error) -> bool {
        let is_refusal = error.kind().is_some() && !error.is_of_the_network();
        is_refusal && self.is_gone(temporary) && !self.may_be_stored(draft)
    }

    /// Whether what the server has under the file's name may be what was written.
    fn may_be_stored(&self, draft: &Draft) -> bool {
        match self.tree.stat_at(&Target::Inode(draft.ino)) {
            Ok((_, Ok(told))) => told.size.is_none_or(|size| size == draft.size()),
            Ok((_, Err(error))) => error.kind != ErrorKind::NotFound,
            Err(_) => true,
        }
    }

    /// Whether the server has nothing there, for sure.
    pub(super) fn is_gone(&self, target: &Target) -> bool {
        let told = self.tree.stat_at(target);
        told.is_ok_and(|(_, told)| told.is_err_and(|error| error.kind == ErrorKind::NotFound))
    }
}
