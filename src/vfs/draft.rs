//! What is written to a file and not, or not yet, under its name on the server. Data only.

use crate::deadline;
use crate::path::RemotePath;
use crate::remote::{FileKind, Metadata, Modified};
use crate::vfs::cache::versions::Version;
use crate::vfs::error::Error;
use crate::vfs::inodes::Ino;
use crate::vfs::outgoing::Outgoing;
use crate::vfs::spool::Spool;
use crate::vfs::tree::Target;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The one content that all who have a file open share, from the first open for writing to the last close.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) ino: Ino,
    /// Who changes or uploads the content holds this, also while the server is asked: one at a time. Readers do not wait
    /// for it. The lock of `state` is taken under it, and the locks of tree and content.
    pub(crate) turn: Mutex<()>,
    /// Never held while the server is asked.
    pub(crate) state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) form: Form,
    /// What lies under the form.
    pub(crate) base: Option<Base>,
    /// What the server had under the name when this content began.
    pub(crate) origin: Origin,
    /// What the server had was overwritten in place by an upload of ours that did not end well.
    pub(crate) spoiled: bool,
    /// When it was heard last that the server has the content, or what we told it of the file.
    pub(crate) landed: Option<Instant>,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
    /// The time that was set since the last write.
    pub(crate) stamp: Option<SystemTime>,
    /// The permission bits that the file has to have.
    pub(crate) mode: Option<u16>,
    /// It has no name any more: nothing is uploaded.
    pub(crate) nameless: bool,
    /// The content cannot get to the server any more.
    pub(crate) failed: Option<Error>,
    /// The last try to get it to the server failed.
    pub(crate) refused: Option<Error>,
    /// What the journal has of it, and under which path: the content when it was closed last.
    pub(crate) recorded: Option<(Arc<Spool>, RemotePath)>,
    /// Where the recorded content is on the server while it is renamed, as the journal knows: it must not go from there as
    /// long as it does, since then it would count as renamed.
    pub(crate) uploaded_as: Option<Target>,
    /// Counts changes of form and base.
    pub(crate) generation: u64,
}

/// How the changes are held.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// There are none: the content is the base.
    Clean,
    /// The content began empty and came in order so far.
    Flow(Arc<Outgoing>),
    /// The base, and what comes in order after it.
    Append(Arc<Outgoing>),
    /// The content is the base, which is on the server under a temporary name.
    Uploaded,
    /// Anything else.
    Spooled(Arc<Spool>),
}

/// A content on the server.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    pub(crate) version: Arc<Version>,
    pub(crate) target: Target,
}

/// What the server had under the name.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// Nothing; `exclusive` if there must not be anything.
    Absent { exclusive: bool },
    /// A file.
    Known(Metadata),
}

impl Draft {
    pub(crate) fn new(ino: Ino, origin: Origin, base: Option<Base>, form: Form, wall: SystemTime) -> Self {
        let (size, modified, mode) = match &origin {
            Origin::Known(metadata) => {
                (metadata.size.unwrap_or(0), metadata.modified.map_or(wall, |modified| modified.time), metadata.mode)
            }
            Origin::Absent { .. } => (0, wall, None),
        };
        let state = State {
            form,
            base,
            origin,
            spoiled: false,
            landed: None,
            size,
            modified,
            stamp: None,
            mode,
            nameless: false,
            failed: None,
            refused: None,
            recorded: None,
            uploaded_as: None,
            generation: 0,
        };
        Self { ino, turn: Mutex::new(()), state: Mutex::new(state) }
    }

    /// Waits for the right to change or upload the content.
    ///
    /// # Errors
    ///
    /// The request's time was over before.
    pub(crate) fn take_turn(&self) -> Result<MutexGuard<'_, ()>, Error> {
        deadline::lock(&self.turn).ok_or_else(Error::timed_out)
    }

    /// Whether the content is another than what the server has under the file's name.
    pub(crate) fn is_ahead(&self) -> bool {
        let state = self.state.lock();
        state.is_dirty() || state.failed.is_some() || state.nameless
    }

    /// Whether it was heard at `moment` or later that the server has the content.
    pub(crate) fn has_landed_since(&self, moment: Instant) -> bool {
        self.state.lock().landed.is_some_and(|landed| landed >= moment)
    }

    /// Why the content cannot get to the server any more, if so.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.state.lock().failed.clone()
    }

    /// The whole content, if it lies in the journal as it is and waits for its upload; and its size (bytes).
    pub(crate) fn waiting(&self) -> Option<(Arc<Spool>, u64)> {
        let state = self.state.lock();
        state.waiting().map(|spool| (Arc::clone(spool), state.size))
    }

    /// The permission bits that the file has to have, as far as they are known.
    pub(crate) fn mode(&self) -> Option<u16> {
        self.state.lock().mode
    }

    /// In bytes.
    pub(crate) fn size(&self) -> u64 {
        self.state.lock().size
    }

    /// The same, unless more is still written.
    pub(crate) fn size_if_whole(&self) -> Option<u64> {
        let state = self.state.lock();
        match &state.form {
            Form::Flow(outgoing) | Form::Append(outgoing) if !outgoing.is_finishing() => None,
            _ => Some(state.size),
        }
    }
}

impl State {
    pub(crate) fn is_dirty(&self) -> bool {
        !matches!(self.form, Form::Clean)
    }

    /// As [`Draft::waiting`].
    pub(crate) fn waiting(&self) -> Option<&Arc<Spool>> {
        match (&self.form, &self.recorded) {
            (Form::Spooled(spool), Some((recorded, _)))
                if Arc::ptr_eq(spool, recorded) && self.failed.is_none() && !self.nameless =>
            {
                Some(spool)
            }
            _ => None,
        }
    }

    /// Puts the content into another form over another base.
    pub(crate) fn reform(&mut self, form: Form, base: Option<Base>) {
        (self.form, self.base) = (form, base);
        self.generation += 1;
    }

    /// The content was changed.
    pub(crate) fn touch(&mut self, size: u64, wall: SystemTime) {
        (self.size, self.modified, self.stamp, self.refused) = (size, wall, None, None);
    }

    /// What stat(2) is told of it.
    pub(crate) fn metadata(&self) -> Metadata {
        let modified = Modified { time: self.modified, precision: Duration::from_millis(1) };
        let known = match &self.origin {
            Origin::Known(metadata) => metadata.clone(),
            Origin::Absent { .. } => Metadata::of_kind(FileKind::File),
        };
        Metadata { size: Some(self.size), modified: Some(modified), mode: self.mode, unique: None, ..known }
    }
}
