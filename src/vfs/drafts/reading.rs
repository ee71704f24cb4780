//! What those read who have a file open that is written to.

use crate::vfs::content::Bytes;
use crate::vfs::draft::{Base, Draft, Form, Origin};
use crate::vfs::drafts::{Drafts, Moment, usable};
use crate::vfs::error::Error;
use crate::vfs::place::Place;
use crate::vfs::spool;
use std::sync::Arc;

impl Drafts {
    /// At most `size` bytes from `offset` on; fewer only at the end.
    ///
    /// # Errors
    ///
    /// As [`Content::read`], and [`Error::Spool`].
    pub(crate) fn read(
        &self,
        draft: &Draft,
        offset: u64,
        size: u32,
        moment: Moment,
        wait: bool,
    ) -> Result<Bytes, Error> {
        let mut revived = false;
        loop {
            let (form, base, end, generation) = {
                let state = draft.state.lock();
                let end = offset.saturating_add(u64::from(size)).min(state.size);
                (state.form.clone(), state.base.clone(), end, state.generation)
            };
            if end <= offset {
                return Ok(Bytes::default());
            }
            let read = self.read_form(&form, base.as_ref(), offset, end, wait);
            let moved = draft.state.lock().generation != generation;
            match read {
                Ok(Some(bytes)) => return Ok(bytes),
                // The place that was read from went away meanwhile.
                Err(error) if moved && error != Error::WouldBlock => {}
                // An answer from before our last change may have ended the version that is there now.
                Err(Error::Stale) if wait && !revived && matches!(form, Form::Clean) => {
                    revived = true;
                    self.revive(draft, moment)?;
                }
                Err(error) => return Err(error),
                Ok(None) if !wait => return Err(Error::WouldBlock),
                // What was sent is not here any more.
                Ok(None) => {
                    let _turn = draft.take_turn()?;
                    match usable(draft)?.0 {
                        Form::Append(_) => self.land_append(draft, moment)?,
                        Form::Flow(_) => self.spool(draft, moment)?,
                        Form::Clean | Form::Uploaded | Form::Spooled(_) => {}
                    }
                }
            }
        }
    }

    /// Believes in the content of a draft again, if the server still has it.
    fn revive(&self, draft: &Draft, moment: Moment) -> Result<(), Error> {
        let _turn = draft.take_turn()?;
        if draft.is_ahead() {
            return Ok(());
        }
        self.check(draft).map_err(|_| Error::Stale)?;
        let Origin::Known(metadata) = draft.state.lock().origin.clone() else { return Err(Error::Stale) };
        self.content.end(draft.ino);
        let base = self.published(draft.ino, &metadata, moment.now);
        self.reform(draft, Form::Clean, Some(base));
        Ok(())
    }

    /// `None` where the bytes have to be brought into another form first.
    fn read_form(
        &self,
        form: &Form,
        base: Option<&Base>,
        offset: u64,
        end: u64,
        wait: bool,
    ) -> Result<Option<Bytes>, Error> {
        let len = usize::try_from(end - offset).map_err(|_| Error::InvalidRequest)?;
        match form {
            Form::Clean | Form::Uploaded => self.read_base(base, offset, len, wait).map(Some),
            Form::Flow(outgoing) | Form::Append(outgoing) => {
                let mut block = self.content.take(len);
                Ok(outgoing.read(offset, block.bytes_mut()).then(|| Bytes::local(block)))
            }
            Form::Spooled(spool) => {
                let pieces = spool.pieces(offset..end);
                if let [(_, spool::From::Base)] = pieces.as_slice() {
                    return self.read_base(base, offset, len, wait).map(Some);
                }
                let mut block = self.content.take(len);
                let mut rest = block.bytes_mut();
                for (range, from) in pieces {
                    let len = usize::try_from(range.end - range.start).map_err(|_| Error::InvalidRequest)?;
                    let (part, others) = rest.split_at_mut(len);
                    rest = others;
                    match from {
                        spool::From::Spool => spool.read(range.start, part)?,
                        spool::From::Zeros => part.fill(0),
                        spool::From::Base => self.read_base(base, range.start, len, wait)?.with(|bytes| {
                            // A base that is shorter than its size would be an error of the read.
                            let count = bytes.len().min(part.len());
                            part[..count].copy_from_slice(&bytes[..count]);
                        }),
                    }
                }
                Ok(Some(Bytes::local(block)))
            }
        }
    }

    pub(super) fn read_base(&self, base: Option<&Base>, offset: u64, len: usize, wait: bool) -> Result<Bytes, Error> {
        let Some(Base { version, target }) = base else { return Ok(Bytes::default()) };
        let place = match wait {
            true => {
                let (tree, wanted) = (Arc::clone(&self.tree), target.clone());
                Some(Place::new(self.tree.target(target)?, true, move || tree.settled(&wanted)))
            }
            false => None,
        };
        self.content.read(version, offset, u32::try_from(len).unwrap_or(u32::MAX), place)
    }
}
