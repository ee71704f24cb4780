//! What waits in the journal for its upload.

use crate::path::{Name, RemotePath};
use crate::remote::{FileKind, Metadata};
use crate::vfs::draft::{Draft, Form, Origin};
use crate::vfs::drafts::queue::{Outcome, Queue};
use crate::vfs::drafts::{Drafts, Moment, usable};
use crate::vfs::error::Error;
use crate::vfs::figures::Writing;
use crate::vfs::inodes::Ino;
use crate::vfs::journal::{Journal, Left, Record};
use crate::vfs::settings::UploadWay;
use crate::vfs::spool::Spool;
use crate::vfs::tree::Target;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What waits for its upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Backlog {
    /// How many files.
    pub files: usize,
    /// How large they are together (bytes).
    pub bytes: u64,
    /// How many of them failed at the last try, and are tried again.
    pub failed: usize,
}

impl fmt::Display for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = if self.files == 1 { "file" } else { "files" };
        // Tenths of a MiB.
        let tenths = (self.bytes * 10).div_ceil(1 << 20);
        write!(f, "{} {files} ({}.{} MiB)", self.files, tenths / 10, tenths % 10)?;
        match self.failed {
            0 => Ok(()),
            failed => write!(f, ", {failed} failed and are tried again"),
        }
    }
}

impl Drafts {
    /// The journal, if what is closed goes there.
    pub(super) fn writeback(&self) -> Option<&Journal> {
        self.journal.as_ref().filter(|_| self.tree.settings().writeback)
    }

    pub(crate) fn has_journal(&self) -> bool {
        self.journal.is_some()
    }

    /// Gets what was written to where it cannot get lost any more: the server or, with a journal, there.
    ///
    /// # Errors
    ///
    /// As [`Drafts::commit`].
    pub(crate) fn settle(&self, draft: &Draft, moment: Moment) -> Result<(), Error> {
        let Some(journal) = self.writeback() else { return self.commit(draft, moment) };
        let _turn = draft.take_turn()?;
        if draft.state.lock().nameless || draft.waiting().is_some() {
            return Ok(());
        }
        if let Form::Spooled(spool) = usable(draft)?.0 {
            match self.record(journal, draft, &spool, moment) {
                Ok(()) => return Ok(()),
                Err(error) => log::warn!("the journal in {}: {error}", journal.directory().display()),
            }
        }
        self.commit_in_turn(draft, moment)
    }

    fn record(&self, journal: &Journal, draft: &Draft, spool: &Arc<Spool>, moment: Moment) -> Result<(), Error> {
        let path = self.tree.target(&Target::Inode(draft.ino))?;
        {
            let mut state = draft.state.lock();
            // It is set on the server, too, where most know whole seconds: what a program sees now it sees later.
            let modified = whole_seconds(state.stamp.unwrap_or(state.modified));
            (state.modified, state.stamp) = (modified, Some(modified));
            self.show(draft.ino, state);
        }
        spool.sync()?;
        journal.record(spool, || Some(Record::of(&path, spool, &draft.state.lock())))?;
        let (before, uploaded) = {
            let mut state = draft.state.lock();
            (state.recorded.replace((Arc::clone(spool), path)), state.uploaded_as.take())
        };
        match before {
            Some((before, _)) => journal.forget(&before),
            // The kernel may forget the inode: we do not, until it is on the server.
            None => self.tree.looked_up(draft.ino),
        }
        if let Some(uploaded) = uploaded {
            self.tree.discard(&uploaded);
        }
        self.queue.add(draft.ino, &self.this, moment.now);
        Ok(())
    }

    /// Nothing of the draft waits in the journal any more.
    pub(crate) fn unrecord(&self, draft: &Draft) {
        let (recorded, uploaded) = {
            let mut state = draft.state.lock();
            (state.recorded.take(), state.uploaded_as.take())
        };
        let Some((spool, _)) = recorded else { return };
        if let Some(journal) = &self.journal {
            journal.forget(&spool);
        }
        if let Some(uploaded) = uploaded {
            self.tree.discard(&uploaded);
        }
        self.queue.remove(draft.ino);
        self.tree.forget(draft.ino, 1);
    }

    /// The content waits no more for its upload, since the file lost its name. To be called with the draft's turn;
    /// [`Drafts::close_unused`] then ends it.
    pub(crate) fn drop_waiting(&self, draft: &Draft) {
        draft.state.lock().nameless = true;
        self.unrecord(draft);
    }

    /// Records where the content is uploaded, from where it is about to be renamed; with `None` that it is nowhere. What was
    /// uploaded before goes.
    ///
    /// # Errors
    ///
    /// [`Error::Spool`].
    pub(super) fn record_place(&self, draft: &Draft, uploaded_as: Option<&Target>) -> Result<(), Error> {
        if draft.waiting().is_none() {
            return Ok(());
        }
        let before = std::mem::replace(&mut draft.state.lock().uploaded_as, uploaded_as.cloned());
        if let Err(error) = self.renew_record(draft) {
            // The journal still knows of that.
            draft.state.lock().uploaded_as = before;
            return Err(error);
        }
        if let Some(before) = before {
            self.tree.discard(&before);
        }
        Ok(())
    }

    /// Records anew what the journal has of the draft, after its attributes, its path or its place on the server changed.
    ///
    /// # Errors
    ///
    /// [`Error::Spool`].
    pub(crate) fn renew_record(&self, draft: &Draft) -> Result<(), Error> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let path = self.tree.target(&Target::Inode(draft.ino))?;
        let place = draft.state.lock().uploaded_as.clone();
        let uploaded_as = place.as_ref().map(|temporary| self.tree.target(temporary)).transpose()?;
        let Some((spool, _)) = draft.waiting() else { return Ok(()) };
        journal.record(&spool, || {
            let mut state = draft.state.lock();
            // It may have got to the server meanwhile, or have been written again.
            state.waiting().filter(|waiting| Arc::ptr_eq(waiting, &spool))?;
            // Who changed that records it, and all else with it.
            if state.uploaded_as != place {
                return None;
            }
            state.recorded = Some((Arc::clone(&spool), path.clone()));
            let uploaded_as = uploaded_as.map(|path| path.as_bytes().to_vec());
            let mut record = Record::of(&path, &spool, &state);
            record.uploaded_as = uploaded_as;
            Some(record)
        })
    }

    /// Records anew what has another path by now, since a directory on the way was renamed.
    pub(crate) fn follow_paths(&self) {
        if self.journal.is_none() {
            return;
        }
        for draft in self.recorded() {
            let path = self.tree.target(&Target::Inode(draft.ino)).ok();
            let moved = matches!(&draft.state.lock().recorded, Some((_, before)) if Some(before) != path.as_ref());
            if moved && let Err(error) = self.renew_record(&draft) {
                log::error!("the journal still has an old path of {:?}: {error}", draft.ino);
            }
        }
    }

    /// Another file for what is written next: the journal's own must stay as it was closed.
    pub(super) fn fork(&self, draft: &Draft, spool: &Spool) -> Result<(), Error> {
        let copy = self.new_spool(spool.shape().1)?;
        spool.copy_to(&copy)?;
        let mut state = draft.state.lock();
        let base = state.base.take();
        state.reform(Form::Spooled(Arc::new(copy)), base);
        Ok(())
    }

    /// What waits now.
    pub(crate) fn backlog(&self) -> Backlog {
        let mut backlog = self.remains.backlog();
        backlog.failed += self.queue.failed();
        for draft in self.recorded() {
            backlog.files += 1;
            backlog.bytes += draft.size();
        }
        backlog
    }

    /// What is being written, and is not in the journal.
    pub(crate) fn writing(&self) -> Writing {
        let drafts: Vec<Arc<Draft>> = self.open.lock().values().filter_map(|open| open.draft.clone()).collect();
        let mut writing = Writing::default();
        for draft in drafts {
            let state = draft.state.lock();
            if state.is_dirty() && !state.nameless && state.waiting().is_none() {
                writing.files += 1;
                writing.bytes += state.size;
                writing.failed += usize::from(state.failed.is_some());
            }
        }
        writing
    }

    /// Those that wait, below the directory at `path`.
    pub(crate) fn waiting_below(&self, path: &RemotePath) -> Vec<Ino> {
        let below = |draft: &Arc<Draft>| {
            let waits = draft.waiting().is_some();
            waits && matches!(&draft.state.lock().recorded, Some((_, at)) if at.rebase(path, path).is_some())
        };
        self.recorded().iter().filter(|draft| below(draft)).map(|draft| draft.ino).collect()
    }

    /// Why the last upload of `ino` failed, if it did.
    pub(crate) fn refusal(&self, ino: Ino) -> Option<Error> {
        let draft = self.of(ino).filter(|_| self.queue.has_failed(ino))?;
        let state = draft.state.lock();
        state.failed.clone().or_else(|| state.refused.clone())
    }

    /// Tries again now what failed.
    pub(crate) fn hurry(&self, moment: Moment) {
        self.remains.hurry();
        self.queue.hurry(&self.this, moment.now);
    }

    /// Whether something waits, and all of it failed at least so many times in a row.
    pub(crate) fn is_hopeless(&self, failures: u32) -> bool {
        let (remains, waits) = (!self.remains.is_empty(), self.queue.waits());
        let hopeless = !remains || self.remains.has_failed(failures);
        (remains || waits) && hopeless && (!waits || self.queue.is_hopeless(failures))
    }

    /// What waits below the directory at `path` and was not taken up yet: `None` if there is nothing, else why that failed.
    pub(crate) fn remains_below(&self, path: &RemotePath) -> Option<Result<(), Error>> {
        self.remains.below(path)
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Those of which the journal has something.
    fn recorded(&self) -> Vec<Arc<Draft>> {
        let open = self.open.lock();
        let drafts = open.values().filter_map(|open| open.draft.clone());
        drafts.filter(|draft| draft.state.lock().recorded.is_some()).collect()
    }

    /// Uploads what waits of `ino`.
    pub(super) fn upload(&self, ino: Ino, moment: Moment) -> Outcome {
        let Some(draft) = self.of(ino) else { return Outcome::Done };
        // What is being written again is recorded anew when it is closed.
        let Some((spool, size)) = draft.waiting() else { return Outcome::Done };
        let uploaded = if self.way() == UploadWay::Temporary && spool.is_whole(size) {
            self.upload_aside(&draft, &spool, size, moment)
        } else {
            let _turn = draft.turn.lock();
            if !is_waiting(&draft, &spool) {
                return Outcome::Done;
            }
            self.commit_in_turn(&draft, moment)
        };
        spool.rest();
        let given_up = draft.failure().is_some();
        drop(draft);
        // Where it was given up, what is left of it goes to where such things are kept.
        self.close_unused(ino, moment);
        if uploaded.is_ok() || given_up { Outcome::Done } else { Outcome::Failed }
    }

    /// Uploads under a temporary name while others may go on with the file, and renames if nobody did.
    fn upload_aside(&self, draft: &Draft, spool: &Arc<Spool>, size: u64, moment: Moment) -> Result<(), Error> {
        let temporary = self.tree.temporary(draft.ino, moment.wall)?;
        let mut sent = self.send_for(spool, &temporary, size, self.naming(draft));
        let _turn = draft.turn.try_lock().unwrap_or_else(|| {
            // What is ready holds a connection, and whoever has the turn may need one.
            sent = std::mem::replace(&mut sent, Ok(None)).map(|_| None);
            draft.turn.lock()
        });
        if !is_waiting(draft, spool) {
            self.tree.discard(&temporary);
            return Ok(());
        }
        self.publish_sent(draft, spool, &temporary, sent, moment)
            .inspect_err(|error| draft.state.lock().refused = Some(error.clone()))
    }

    /// What an earlier mount left of the file `name` in `parent` waits again; `present` is its inode if the server has it.
    ///
    /// # Errors
    ///
    /// Those of the server.
    pub(super) fn wait_again(
        &self,
        parent: Ino,
        name: &Name,
        present: Option<Ino>,
        left: Left,
        moment: Moment,
    ) -> Result<(), Error> {
        let Left { spool, record } = left;
        let origin = record.origin();
        let ino = match present {
            Some(ino) => ino,
            None => {
                let new = Metadata { size: Some(record.size), ..Metadata::of_kind(FileKind::File) };
                let found = self.tree.create(parent, name, new, moment.now)?;
                // It was not the kernel that asked.
                self.tree.forget(found.ino, 1);
                found.ino
            }
        };
        let base = match &origin {
            Origin::Known(metadata) if !spool.is_whole(record.size) => Some(self.published(ino, metadata, moment.now)),
            _ => None,
        };
        let spool = Arc::new(spool);
        let draft = Draft::new(ino, origin, base, Form::Spooled(Arc::clone(&spool)), moment.wall);
        {
            let mut state = draft.state.lock();
            (state.size, state.mode, state.spoiled) = (record.size, record.mode, record.spoiled);
            (state.modified, state.stamp) = (record.modified, Some(record.modified));
            state.recorded = record.path().map(|path| (spool, path));
            self.show(ino, state);
        }
        self.tree.looked_up(ino);
        self.adopt(draft);
        self.queue.add(ino, &self.this, moment.now);
        Ok(())
    }

    /// What an earlier mount left is not needed any more.
    pub(super) fn forget_left(&self, left: &Left) {
        if let Some(journal) = &self.journal {
            journal.forget(&left.spool);
        }
    }

    /// What an earlier mount left, in the order in which it was recorded.
    pub(super) fn left_behind(&self) -> io::Result<Vec<Left>> {
        self.journal.as_ref().map_or_else(|| Ok(Vec::new()), Journal::left)
    }
}

impl Drop for Drafts {
    fn drop(&mut self) {
        self.queue.end();
    }
}

/// Whether `spool` is still the content, and to be uploaded.
fn is_waiting(draft: &Draft, spool: &Arc<Spool>) -> bool {
    draft.waiting().is_some_and(|(waiting, _)| Arc::ptr_eq(&waiting, spool))
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let part = |since: Duration| Duration::from_nanos(since.subsec_nanos().into());
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(time, |since| time - part(since))
}
