//! What becomes of a draft when nobody has its file open any more.

use crate::deadline;
use crate::path::RemotePath;
use crate::vfs::draft::{Base, Draft, Form, State};
use crate::vfs::drafts::{Drafts, Moment, Open};
use crate::vfs::error::Error;
use crate::vfs::inodes::Ino;
use crate::vfs::recovery;
use crate::vfs::tree::Target;
use parking_lot::MutexGuard;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl Drafts {
    /// One handle of `ino` was closed; `wrote` if it could write. What was never asked to be on the server gets there
    /// now; what cannot is kept here when the last one leaves.
    pub(crate) fn closed(&self, ino: Ino, wrote: bool, moment: Moment) {
        if wrote && let Some(draft) = self.of(ino) {
            let refused = draft.state.lock().refused.is_some();
            // After a panic, which was logged, the file is closed like any other.
            let settled = || {
                catch_unwind(AssertUnwindSafe(|| self.settle(&draft, moment))).unwrap_or_else(|_| {
                    draft.state.lock().refused = Some(Error::Panicked);
                    Err(Error::Panicked)
                })
            };
            if !refused && let Err(error) = settled() {
                log::debug!("{ino:?}: {error}");
            }
        }
        let gone = {
            let mut open = self.open.lock();
            let Some(entry) = open.get_mut(&ino) else { return };
            entry.handles = entry.handles.saturating_sub(1);
            if let (0, Some((spool, _))) = (entry.handles, entry.draft.as_ref().and_then(|draft| draft.waiting())) {
                spool.rest();
            }
            self.remove_unneeded(&mut open, ino)
        };
        if let Some(Open { draft, .. }) = gone {
            self.left(ino, draft.as_deref(), moment);
        }
    }

    /// Takes `ino` out of what is open unless it is needed there.
    ///
    /// Whoever opens it afterwards must not be told that its content is what the kernel has of it: that may be what was
    /// written and never got to the server.
    fn remove_unneeded(&self, open: &mut HashMap<Ino, Open>, ino: Ino) -> Option<Open> {
        let entry = open.get(&ino).filter(|entry| !entry.is_needed())?;
        if entry.draft.as_ref().is_some_and(|draft| draft.is_ahead()) {
            self.content.end(ino);
        }
        open.remove(&ino)
    }

    /// Lets go of the draft of `ino` unless somebody has it open or it waits in the journal.
    pub(crate) fn close_unused(&self, ino: Ino, moment: Moment) {
        let gone = {
            let mut open = self.open.lock();
            self.remove_unneeded(&mut open, ino)
        };
        if let Some(Open { draft, .. }) = gone {
            self.left(ino, draft.as_deref(), moment);
        }
    }

    /// Nobody has `ino` open any more.
    fn left(&self, ino: Ino, draft: Option<&Draft>, moment: Moment) {
        let kept = self.tree.abandoned(ino);
        if let Some(kept) = &kept {
            self.tree.discard(kept);
        }
        let Some(draft) = draft else { return };
        let turn = self.last_turn(draft);
        let mut state = draft.state.lock();
        if turn.is_none() && state.is_dirty() {
            state.refused.get_or_insert_with(Error::timed_out);
        }
        let mut base = state.base.take();
        let lost = state.is_dirty() || state.failed.is_some();
        let mut safe = true;
        if lost && !state.nameless {
            safe = self.keep(ino, &state, base.as_ref(), moment);
            if matches!(state.form, Form::Uploaded) {
                // It is all that there is of the content.
                base = None;
            }
        }
        let nameless = state.nameless;
        if let Form::Flow(outgoing) | Form::Append(outgoing) = &state.form
            // What the server has of a failed upload is named in the log: it is somebody's.
            && (nameless || state.failed.is_none() || outgoing.is_whole())
        {
            outgoing.abandon();
        }
        state.form = Form::Clean;
        drop(state);
        if safe {
            self.unrecord(draft);
        }
        self.let_go(base);
        if lost && !nameless {
            self.content.end(ino);
            self.tree.reverted(ino);
        }
    }

    /// The right to let go of the content; `None` at the end of a mount without its server, where whoever has it may wait for
    /// longer than the mount lasts.
    fn last_turn<'a>(&self, draft: &'a Draft) -> Option<MutexGuard<'a, ()>> {
        loop {
            let ends = self.tree.ending().has_begun();
            match draft.turn.try_lock_for(deadline::SLICE) {
                None if !ends => {}
                turn => return turn,
            }
        }
    }

    /// Keeps what could not be uploaded; `false` if that failed.
    fn keep(&self, ino: Ino, state: &State, base: Option<&Base>, moment: Moment) -> bool {
        if !state.is_dirty() {
            return true;
        }
        // Who could not wait any longer for the right to upload it left no reason.
        let error = state.failed.clone().or_else(|| state.refused.clone()).unwrap_or_else(Error::timed_out);
        let path = self.tree.target(&Target::Inode(ino)).unwrap_or_else(|_| RemotePath::root());
        let directory = &self.tree.settings().recovery_dir;
        let kept = recovery::keep(directory, &path, state, &error, moment.wall);
        match &kept {
            Ok(kept) => log::error!("{path} could not be written ({error}); it is kept as {}", kept.display()),
            Err(other) => {
                log::error!("{path} could not be written ({error}), nor kept in {}: {other}", directory.display());
            }
        }
        let left = match &state.form {
            Form::Flow(outgoing) if !outgoing.is_whole() => Some(&outgoing.target),
            Form::Uploaded => base.map(|base| &base.target),
            _ => None,
        };
        if let Some(Ok(temporary)) = left.map(|left| self.tree.target(left)) {
            log::error!("{path}: what the server has of it is {temporary}");
        }
        kept.is_ok()
    }
}
