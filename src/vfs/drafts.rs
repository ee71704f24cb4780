//! What is being written: by whom, and what of it gets where.

use crate::remote::Metadata;
use crate::vfs::content::Content;
use crate::vfs::draft::{Base, Draft, Form, Origin, State};
use crate::vfs::error::Error;
use crate::vfs::inodes::Ino;
use crate::vfs::journal::Journal;
use crate::vfs::names;
use crate::vfs::outgoing::Outgoing;
use crate::vfs::settings::UploadWay;
use crate::vfs::spool::Spool;
use crate::vfs::tree::{Target, Tree};
use parking_lot::{Mutex, MutexGuard};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime};

mod closing;
mod commit;
mod publish;
mod queue;
mod reading;
mod resume;
mod waiting;

use queue::Queue;
use resume::Remains;
pub use waiting::Backlog;

/// A file may not be larger than this (bytes): offsets are signed in every program.
const SIZE_MAX: u64 = i64::MAX as u64;

/// All that is being written.
#[derive(Debug)]
pub(crate) struct Drafts {
    tree: Arc<Tree>,
    content: Arc<Content>,
    /// Taken before the state of a draft.
    open: Mutex<HashMap<Ino, Open>>,
    journal: Option<Journal>,
    /// What waits in the journal for its upload.
    queue: Arc<Queue>,
    /// What an earlier mount left there and was not taken up yet.
    remains: Remains,
    /// For the threads that upload.
    this: Weak<Self>,
    /// Temporary names or renaming do not work here: found out.
    direct: AtomicBool,
    /// The permission bits that the server gives to new files, and 0x10000; 0 while unknown.
    mode_given: AtomicU32,
    /// The server cannot set permission bits.
    modes_refused: AtomicBool,
    times_refused: AtomicBool,
}

#[derive(Debug, Default)]
struct Open {
    handles: usize,
    draft: Option<Arc<Draft>>,
}

impl Open {
    /// Whether there is a reason to remember it.
    fn is_needed(&self) -> bool {
        self.handles > 0 || self.draft.as_ref().is_some_and(|draft| draft.waiting().is_some())
    }
}

/// The time of a change, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    pub(crate) wall: SystemTime,
    since: Instant,
}

impl Moment {
    /// `now`, and what a clock on the wall shows.
    pub(crate) fn new(now: Instant) -> Self {
        Self { now, wall: SystemTime::now(), since: Instant::now() }
    }

    /// What `now` has become. What the server tells at the end of a long upload is younger than a listing that was asked for
    /// in the middle of it.
    pub(crate) fn by_now(&self) -> Instant {
        self.now + self.since.elapsed()
    }
}

impl Drafts {
    pub(crate) fn new(tree: Arc<Tree>, content: Arc<Content>, journal: Option<Journal>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            tree,
            content,
            open: Mutex::default(),
            journal,
            queue: Arc::default(),
            remains: Remains::default(),
            this: Weak::clone(this),
            direct: AtomicBool::new(false),
            mode_given: AtomicU32::new(0),
            modes_refused: AtomicBool::new(false),
            times_refused: AtomicBool::new(false),
        })
    }

    /// One more handle of `ino` is open.
    pub(crate) fn opened(&self, ino: Ino) {
        self.open.lock().entry(ino).or_default().handles += 1;
    }

    /// Whether somebody has `ino` open.
    pub(crate) fn is_open(&self, ino: Ino) -> bool {
        self.open.lock().get(&ino).is_some_and(|open| open.handles > 0)
    }

    /// What is written to `ino`, if anybody has it open who writes, or had while others have it open still, or if it waits
    /// in the journal.
    pub(crate) fn of(&self, ino: Ino) -> Option<Arc<Draft>> {
        self.open.lock().get(&ino)?.draft.clone()
    }

    /// The draft of a file that the server had as `metadata` tells when it was `asked`; a new one where there is none.
    pub(crate) fn begin(&self, ino: Ino, metadata: &Metadata, moment: Moment, asked: Instant) -> Arc<Draft> {
        if let Some(draft) = self.of(ino) {
            self.rebase(&draft, metadata, moment, asked);
            return draft;
        }
        let base = self.published(ino, metadata, moment.now);
        let draft = Draft::new(ino, Origin::Known(metadata.clone()), Some(base), Form::Clean, moment.wall);
        self.adopt(draft)
    }

    /// The draft of a file that is only here.
    pub(crate) fn create(&self, ino: Ino, mode: u16, exclusive: bool, moment: Moment) -> Arc<Draft> {
        let form = self.empty(ino, moment).unwrap_or(Form::Clean);
        let draft = Draft::new(ino, Origin::Absent { exclusive }, None, form, moment.wall);
        draft.state.lock().mode = Some(mode);
        self.adopt(draft)
    }

    fn adopt(&self, draft: Draft) -> Arc<Draft> {
        let mut open = self.open.lock();
        let open = open.entry(draft.ino).or_default();
        Arc::clone(open.draft.get_or_insert_with(|| Arc::new(draft)))
    }

    /// Where nothing was written, and nothing got to the server since it was `asked`, the content is what the server has by
    /// now: `metadata`.
    pub(crate) fn rebase(&self, draft: &Draft, metadata: &Metadata, moment: Moment, asked: Instant) {
        // Whoever has the turn is about to write.
        let Some(_turn) = draft.turn.try_lock() else { return };
        {
            let state = draft.state.lock();
            let same = matches!(&state.origin, Origin::Known(known) if known.same_version(metadata));
            let is_older = state.landed.is_some_and(|landed| landed >= asked);
            if same || is_older || state.is_dirty() || state.failed.is_some() || state.nameless {
                return;
            }
        }
        let base = self.published(draft.ino, metadata, moment.now);
        let before = {
            let mut state = draft.state.lock();
            (state.size, state.mode) = (metadata.size.unwrap_or(0), metadata.mode);
            state.modified = metadata.modified.map_or(moment.wall, |modified| modified.time);
            state.origin = Origin::Known(metadata.clone());
            let before = state.base.take();
            state.reform(Form::Clean, Some(base));
            before
        };
        self.let_go(before);
    }

    /// Writes `bytes` at `offset`.
    ///
    /// # Errors
    ///
    /// [`Error::WouldBlock`] unless it may `wait`; [`Error::Spool`]; what an upload failed with.
    pub(crate) fn write(
        &self,
        draft: &Draft,
        offset: u64,
        mut bytes: Cow<'_, [u8]>,
        moment: Moment,
        wait: bool,
    ) -> Result<(), Error> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= SIZE_MAX).ok_or(Error::TooLarge)?;
        let _turn = turn(draft, wait)?;
        let mut crowded = true;
        loop {
            let (form, size) = usable(draft)?;
            match &form {
                Form::Flow(outgoing) if crowded && offset == outgoing.end() && outgoing.is_crowded_out(bytes.len()) => {
                    if !wait {
                        return Err(Error::WouldBlock);
                    }
                    // Where it has no room there either, it goes on as it is.
                    crowded = false;
                    if let Err(error) = self.spool(draft, moment) {
                        log::debug!("{:?} cannot wait on disk: {error}", draft.ino);
                    }
                }
                Form::Append(outgoing) if !outgoing.is_empty() && outgoing.is_crowded_out(bytes.len()) => {
                    if !wait {
                        return Err(Error::WouldBlock);
                    }
                    self.land_append(draft, moment)?;
                }
                Form::Flow(outgoing) | Form::Append(outgoing) if offset == outgoing.end() => {
                    let starts = outgoing.would_start(bytes.len());
                    let in_place = outgoing.target == Target::Inode(draft.ino);
                    if in_place && matches!(form, Form::Flow(_)) && starts {
                        if !wait {
                            return Err(Error::WouldBlock);
                        }
                        self.check(draft)?;
                        self.overwrites(draft)?;
                    }
                    match outgoing.push(&mut bytes, wait, starts) {
                        Ok(()) => break,
                        Err(Error::WouldBlock) => return Err(Error::WouldBlock),
                        Err(error) => self.rescue(draft, outgoing, error)?,
                    }
                }
                Form::Spooled(spool) if !spool.is_recorded() => {
                    spool.write(offset, &bytes)?;
                    break;
                }
                _ if !wait => return Err(Error::WouldBlock),
                Form::Clean if offset == size && self.can_append(draft, size) => self.begin_append(draft, size)?,
                Form::Clean if size == 0 && offset == 0 => {
                    let empty = self.empty(draft.ino, moment)?;
                    self.reform(draft, empty, None);
                }
                Form::Spooled(spool) => self.fork(draft, spool)?,
                Form::Append(_) => self.land_append(draft, moment)?,
                Form::Clean | Form::Uploaded | Form::Flow(_) => self.spool(draft, moment)?,
            }
        }
        let mut state = draft.state.lock();
        let size = state.size.max(end);
        state.touch(size, moment.wall);
        self.show(draft.ino, state);
        Ok(())
    }

    /// Makes the content `size` bytes long.
    ///
    /// # Errors
    ///
    /// As [`Drafts::write`].
    pub(crate) fn truncate(&self, draft: &Draft, size: u64, moment: Moment) -> Result<(), Error> {
        if size > SIZE_MAX {
            return Err(Error::TooLarge);
        }
        let _turn = draft.take_turn()?;
        let (form, before) = usable(draft)?;
        if size == before {
            return Ok(());
        }
        match &form {
            Form::Append(_) => self.land_append(draft, moment)?,
            // Two uploads to one name must not meet.
            Form::Flow(outgoing) if self.is_under_way_in_place(draft, outgoing) => self.spool(draft, moment)?,
            Form::Flow(outgoing) if size == 0 => outgoing.abandon(),
            Form::Flow(_) | Form::Clean | Form::Uploaded | Form::Spooled(_) => {}
        }
        if size == 0 {
            let empty = self.empty(draft.ino, moment)?;
            self.reform(draft, empty, None);
        } else {
            match &form {
                Form::Spooled(spool) if spool.is_recorded() => self.fork(draft, spool)?,
                _ => self.spool(draft, moment)?,
            }
            let Form::Spooled(spool) = usable(draft)?.0 else { return Err(Error::Stale) };
            spool.resize(size)?;
        }
        let mut state = draft.state.lock();
        state.touch(size, moment.wall);
        self.show(draft.ino, state);
        Ok(())
    }

    /// Sets the time of what was not uploaded yet; `false` if there is nothing of the kind.
    pub(crate) fn set_time(&self, draft: &Draft, time: SystemTime) -> Result<bool, Error> {
        // Not in the middle of an upload, which would set the time from before and forget this one.
        let _turn = draft.take_turn()?;
        let mut state = draft.state.lock();
        if !state.is_dirty() {
            return Ok(false);
        }
        (state.modified, state.stamp) = (time, Some(time));
        self.show(draft.ino, state);
        Ok(true)
    }

    /// Sets the permission bits of what was not uploaded yet; `false` if there is nothing of the kind.
    pub(crate) fn set_bits(&self, draft: &Draft, mode: u16) -> Result<bool, Error> {
        let _turn = draft.take_turn()?;
        let mut state = draft.state.lock();
        if !state.is_dirty() {
            return Ok(false);
        }
        state.mode = Some(mode);
        self.show(draft.ino, state);
        Ok(true)
    }

    /// The server was changed to `metadata`, but for the content.
    pub(crate) fn renew(&self, draft: &Draft, metadata: &Metadata) {
        let mut state = draft.state.lock();
        if let Some(modified) = metadata.modified.filter(|_| !state.is_dirty()) {
            state.modified = modified.time;
        }
        state.mode = metadata.mode.or(state.mode);
        state.origin = Origin::Known(metadata.clone());
        state.landed = Some(Instant::now());
    }

    /// What the server has under the name of `ino`.
    fn published(&self, ino: Ino, metadata: &Metadata, now: Instant) -> Base {
        let (version, _) = self.content.open(ino, metadata, metadata.size.unwrap_or(0), now);
        Base { version, target: Target::Inode(ino) }
    }

    /// Content that is empty so far: on its way to the server, or to the journal.
    fn empty(&self, ino: Ino, moment: Moment) -> Result<Form, Error> {
        match self.writeback() {
            Some(journal) => Ok(Form::Spooled(Arc::new(journal.spool(0)?))),
            None => Ok(Form::Flow(self.empty_flow(ino, moment)?)),
        }
    }

    /// A spool over `base` bytes that lie underneath.
    fn new_spool(&self, base: u64) -> Result<Spool, Error> {
        match self.writeback() {
            Some(journal) => journal.spool(base),
            None => Spool::new(&self.tree.settings().spool_dir, base),
        }
    }

    /// Content on its way, empty so far.
    fn empty_flow(&self, ino: Ino, moment: Moment) -> Result<Arc<Outgoing>, Error> {
        let target = match self.way() {
            UploadWay::Temporary => self.tree.temporary(ino, moment.wall)?,
            UploadWay::Direct => Target::Inode(ino),
        };
        Ok(Outgoing::new(Arc::clone(&self.tree), target, 0))
    }

    /// Brings the content into a spool, whatever form it has.
    fn spool(&self, draft: &Draft, moment: Moment) -> Result<(), Error> {
        let (form, base, size) = {
            let state = draft.state.lock();
            (state.form.clone(), state.base.clone(), state.size)
        };
        let outgoing = match form {
            Form::Spooled(_) => return Ok(()),
            Form::Append(_) => return Err(Error::InvalidRequest),
            Form::Clean | Form::Uploaded => {
                let spool = self.new_spool(size)?;
                draft.state.lock().reform(Form::Spooled(Arc::new(spool)), base);
                return Ok(());
            }
            Form::Flow(outgoing) => outgoing,
        };
        if outgoing.is_whole() && !self.is_under_way_in_place(draft, &outgoing) {
            return self.unpack(draft, &outgoing);
        }
        if let Err(error) = outgoing.finish() {
            return Err(self.fail(draft, error));
        }
        if outgoing.target == Target::Inode(draft.ino) {
            self.landed_in_place(draft, moment)?;
            // Where the name went away meanwhile, nothing landed.
            return match usable(draft)?.0 {
                Form::Flow(_) => Err(self.fail(draft, Error::Stale)),
                _ => self.spool(draft, moment),
            };
        }
        self.reform(draft, Form::Uploaded, Some(self.uploaded(draft.ino, &outgoing.target, size)));
        self.spool(draft, moment)
    }

    /// Puts what was on its way and is all still here into a spool.
    fn unpack(&self, draft: &Draft, outgoing: &Outgoing) -> Result<(), Error> {
        let spool = Spool::new(&self.tree.settings().spool_dir, 0)?;
        let (mut offset, chunks) = outgoing.rest();
        for chunk in chunks {
            spool.write(offset, &chunk)?;
            offset += chunk.len() as u64;
        }
        self.reform(draft, Form::Spooled(Arc::new(spool)), None);
        outgoing.abandon();
        Ok(())
    }

    fn is_under_way_in_place(&self, draft: &Draft, outgoing: &Outgoing) -> bool {
        outgoing.target == Target::Inode(draft.ino) && outgoing.is_started()
    }

    /// A content that is on the server as `target`.
    fn uploaded(&self, ino: Ino, target: &Target, size: u64) -> Base {
        Base { version: self.content.detached(ino, size), target: target.clone() }
    }

    fn reform(&self, draft: &Draft, form: Form, base: Option<Base>) {
        let before = {
            let mut state = draft.state.lock();
            let before = state.base.take();
            state.reform(form, base);
            before
        };
        self.let_go(before);
    }

    /// Nobody reads from `base` any more.
    fn let_go(&self, base: Option<Base>) {
        let Some(Base { version, target }) = base else { return };
        self.content.release(&version);
        if let Target::Name(_, name) = &target {
            self.content.drop_detached(&version);
            // A version that was stored beside its file stays.
            if names::is_temporary(name.as_bytes()) {
                self.tree.discard(&target);
            }
        }
    }

    /// The upload failed for good. Its error is told to everybody who asks from now on.
    fn fail(&self, draft: &Draft, error: Error) -> Error {
        // Who tries again whatever is of the network would do so for ever.
        let error = if self.tree.settings().patience.is_none() { error.for_good() } else { error };
        draft.state.lock().failed.get_or_insert(error).clone()
    }

    /// A write was done that was said to have failed: whoever wrote it may have gone on without it, so that the content is
    /// nobody's.
    pub(crate) fn disown(&self, ino: Ino) {
        if let Some(draft) = self.of(ino) {
            self.fail(&draft, Error::timed_out());
        }
    }

    /// Shows the content as it is by now to those who ask for attributes.
    fn show(&self, ino: Ino, state: MutexGuard<'_, State>) {
        let metadata = state.metadata();
        drop(state);
        self.tree.show(ino, metadata);
    }

    fn way(&self) -> UploadWay {
        if self.direct.load(Ordering::Relaxed) { UploadWay::Direct } else { self.tree.settings().upload }
    }
}

/// The right to change the content.
fn turn(draft: &Draft, wait: bool) -> Result<MutexGuard<'_, ()>, Error> {
    if wait { draft.take_turn() } else { draft.turn.try_lock().ok_or(Error::WouldBlock) }
}

fn usable(draft: &Draft) -> Result<(Form, u64), Error> {
    let state = draft.state.lock();
    match &state.failed {
        Some(error) => Err(error.clone()),
        None => Ok((state.form.clone(), state.size)),
    }
}
