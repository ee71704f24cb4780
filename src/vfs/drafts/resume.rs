//! What an earlier mount left in the journal: it is taken up while nothing is mounted yet, and what cannot be, since the server
//! is not there, in the background and by whoever asks for it.

use crate::deadline::{self, Deadline};
use crate::path::{Name, RemotePath};
use crate::remote::{ErrorKind, Seen};
use crate::vfs::attr::Kind;
use crate::vfs::draft::Origin;
use crate::vfs::drafts::queue::{RETRY_FIRST, RETRY_LAST};
use crate::vfs::drafts::{Backlog, Drafts, Moment};
use crate::vfs::error::Error;
use crate::vfs::inodes::Ino;
use crate::vfs::journal::{Left, Record};
use crate::vfs::tree::{Answer, Target};
use crate::workers;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a mount is not there yet for what it takes up first.
const FIRST_MAX: Duration = Duration::from_secs(20);
/// Who tries again looks this often whether the server is back.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What was not taken up yet.
#[derive(Debug, Default)]
pub(super) struct Remains {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// By the path that each is for.
    files: HashMap<RemotePath, Remaining>,
    /// How often in a row it failed, and why at last.
    failures: u32,
    failed: Option<Error>,
    /// When it is tried next.
    due: Option<Instant>,
    was_away: bool,
}

#[derive(Debug)]
struct Remaining {
    /// `None` while it is being taken up.
    left: Option<Left>,
    /// In bytes.
    size: u64,
}

impl Drafts {
    /// Takes up what an earlier mount left in the journal: it is shown as it was closed, and uploaded in its turn. What has no
    /// place any more is logged and stays in the journal. What the server is not there for is tried again in the background,
    /// where all of it is done if that is to be `later`.
    pub(crate) fn resume(&self, later: bool, now: Instant) {
        let left = match self.left_behind() {
            Ok(left) => left,
            Err(error) => {
                log::error!("the journal cannot be read: {error}");
                return;
            }
        };
        let mut latest: HashMap<RemotePath, Left> = HashMap::new();
        for left in left {
            let Some(path) = left.record.path() else {
                log::error!("a record of the journal has no path, it stays as it is: {:?}", left.spool.path());
                continue;
            };
            // The process ended after the record of the later content, before the end of the earlier one's.
            if let Some(older) = latest.insert(path, left) {
                self.forget_left(&older);
            }
        }
        let remaining = |(path, left): (_, Left)| (path, Remaining { size: left.record.size, left: Some(left) });
        self.remains.state.lock().files = latest.into_iter().map(remaining).collect();
        if !later {
            let _entered = Deadline::new(None, Some(FIRST_MAX), self.tree.ending()).enter();
            self.take_up_all(Moment::new(now));
        }
        if self.remains.is_empty() {
            return;
        }
        let drafts = self.this.clone();
        let again = move || drafts.upgrade().and_then(|drafts| drafts.take_up_again());
        if let Err(error) = workers::repeat("ftpsfs-resume", again) {
            log::error!("what is in the journal waits for the next mount: {error}");
        }
    }

    /// Tries again what remains, if it is time for that; gives when to call this again.
    fn take_up_again(&self) -> Option<Duration> {
        if self.remains.is_empty() || self.tree.ending().has_begun() {
            return None;
        }
        if self.remains.is_due(self.tree.remote().is_away(), Instant::now()) {
            let _entered = Deadline::background(self.tree.ending()).enter();
            self.take_up_all(Moment::new(Instant::now()));
        }
        (!self.remains.is_empty()).then_some(LOOK_AGAIN)
    }

    /// Takes up what remains, until the server turns out to be away.
    fn take_up_all(&self, moment: Moment) {
        for path in self.remains.paths() {
            match self.take_up_path(&path, moment) {
                // Somebody has that one open.
                Ok(()) | Err(Error::WouldBlock) => {}
                Err(error) => {
                    log::warn!("{path} waits in the journal: {error}");
                    return self.remains.failed(Some(error), Instant::now());
                }
            }
        }
        self.remains.failed(None, Instant::now());
    }

    /// As [`Drafts::take_up`], of the file `name` in `parent`.
    ///
    /// # Errors
    ///
    /// As [`Drafts::take_up`].
    pub(crate) fn take_up_name(&self, parent: Ino, name: &[u8], now: Instant, wait: bool) -> Result<(), Error> {
        if self.remains.is_empty() {
            return Ok(());
        }
        // There is none of another form.
        let Ok(name) = Name::new(name) else { return Ok(()) };
        self.take_up(&Target::Name(parent, name), now, wait)
    }

    /// What remains of the file at `target` is taken up now: before anybody sees or writes what the server has there.
    ///
    /// # Errors
    ///
    /// Those of the server, and [`Error::WouldBlock`] unless it may `wait`.
    pub(crate) fn take_up(&self, target: &Target, now: Instant, wait: bool) -> Result<(), Error> {
        if self.remains.is_empty() {
            return Ok(());
        }
        let Ok(path) = self.tree.target(target) else { return Ok(()) };
        if !self.remains.state.lock().files.contains_key(&path) {
            return Ok(());
        }
        if !wait {
            return Err(Error::WouldBlock);
        }
        match self.take_up_path(&path, Moment::new(now)) {
            // Somebody has the file open: it is tried again later.
            Err(Error::WouldBlock) => Ok(()),
            taken_up => taken_up,
        }
    }

    /// Takes up what remains of the file at `path`, if anything does. What failed for good stays in the journal, and is none.
    fn take_up_path(&self, path: &RemotePath, moment: Moment) -> Result<(), Error> {
        let Some(mut taken) = Taken::take(&self.remains, path)? else { return Ok(()) };
        let place = taken.left.as_ref().and_then(|left| left.spool.path());
        let place = place.map(|path| path.display().to_string()).unwrap_or_default();
        match self.take_up_left(path, &mut taken.left, moment) {
            Ok(()) => log::info!("{path} was closed before the last mount ended: it is uploaded now"),
            Err(error) if taken.left.is_some() && may_pass(&error) => return Err(error),
            Err(error) => log::error!("{path} was closed before the last mount ended and waits as {place}: {error}"),
        }
        taken.left = None;
        Ok(())
    }

    fn take_up_left(&self, path: &RemotePath, left: &mut Option<Left>, moment: Moment) -> Result<(), Error> {
        let Some(known) = left else { return Ok(()) };
        if self.was_published(path, known)? {
            self.forget_left(known);
            return Ok(());
        }
        let (directory, name) = path.split().ok_or(Error::InvalidRequest)?;
        let parent = self.walk_to(&directory, moment.now)?;
        let present = match self.tree.peek(parent, &name, moment.now, true)? {
            Answer::Found(found) if found.attr.kind == Kind::File => Some(found.ino),
            Answer::Found(_) => return Err(Error::Exists),
            Answer::Absent(_) => None,
        };
        if present.is_some_and(|ino| self.of(ino).is_some()) {
            return Err(Error::WouldBlock);
        }
        let Some(left) = left.take() else { return Ok(()) };
        self.wait_again(parent, &name, present, left, moment)
    }

    /// The inode of a directory.
    fn walk_to(&self, directory: &RemotePath, now: Instant) -> Result<Ino, Error> {
        directory.names().try_fold(Ino::ROOT, |parent, name| match self.tree.lookup(parent, name, now, true)? {
            Answer::Found(found) => {
                // The kernel did not ask.
                self.tree.forget(found.ino, 1);
                if found.attr.kind == Kind::Directory { Ok(found.ino) } else { Err(Error::NotADirectory) }
            }
            Answer::Absent(_) => Err(Error::NoSuchEntry),
        })
    }

    /// Whether what is `left` was on the server under its name, `path`, when the process ended; if so it is finished.
    ///
    /// # Errors
    ///
    /// Those of the server.
    fn was_published(&self, path: &RemotePath, left: &mut Left) -> Result<bool, Error> {
        let temporary = left.record.uploaded_as.as_deref().and_then(|path| RemotePath::parse(path).ok());
        let Some(temporary) = temporary else { return Ok(false) };
        let remote = self.tree.remote();
        let told = |path| match remote.stat(path) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Unavailable) => Ok(None),
            Err(error) => Err(Error::logged("stat", path, &error, true)),
        };
        if told(&temporary)?.is_some() {
            // First the record: once it is gone, whoever reads that it was there takes it for renamed.
            match self.record_nowhere(left) {
                Ok(()) => drop(remote.remove_seen_file(&temporary, Seen::Ours)),
                Err(error) => log::warn!("{temporary} stays: {error}"),
            }
            return Ok(false);
        }
        let record = &left.record;
        let Some(told) = told(path)?.filter(|told| told.size == Some(record.size)) else { return Ok(false) };
        // What was there before may have the same size; to upload once more what was renamed does no harm.
        if matches!(record.origin(), Origin::Known(before) if before.same_version(&told)) {
            return Ok(false);
        }
        if let Err(error) = remote.set_modified(path, record.modified) {
            log::debug!("{path}: its time cannot be set: {error}");
        }
        Ok(true)
    }

    /// Records that nothing of what is `left` is on the server.
    fn record_nowhere(&self, left: &mut Left) -> Result<(), Error> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let mut record: Record = left.record.clone();
        record.uploaded_as = None;
        journal.record(&left.spool, || Some(record.clone()))?;
        left.record = record;
        Ok(())
    }
}

impl Remains {
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().files.is_empty()
    }

    fn paths(&self) -> Vec<RemotePath> {
        self.state.lock().files.keys().cloned().collect()
    }

    /// The last try ended; `why` not all was taken up, if so.
    fn failed(&self, why: Option<Error>, now: Instant) {
        let mut state = self.state.lock();
        let pause = RETRY_FIRST.saturating_mul(1 << state.failures.min(16)).min(RETRY_LAST);
        state.failures += 1;
        (state.failed, state.due) = (why, Some(now + pause));
    }

    /// Whether it is to be tried now: at its time, and once a server that is away, or not, is there again.
    fn is_due(&self, is_away: bool, now: Instant) -> bool {
        let mut state = self.state.lock();
        let is_back = std::mem::replace(&mut state.was_away, is_away) && !is_away;
        is_back || state.due.is_none_or(|due| due <= now)
    }

    /// It is tried now, as if for the first time.
    pub(super) fn hurry(&self) {
        let mut state = self.state.lock();
        (state.failures, state.failed, state.due) = (0, None, None);
    }

    /// Whether it failed at least so often in a row.
    pub(super) fn has_failed(&self, failures: u32) -> bool {
        self.state.lock().failures >= failures
    }

    pub(super) fn backlog(&self) -> Backlog {
        let state = self.state.lock();
        let files = state.files.len();
        let failed = if state.failures > 0 { files } else { 0 };
        Backlog { files, bytes: state.files.values().map(|file| file.size).sum(), failed }
    }

    pub(super) fn below(&self, path: &RemotePath) -> Option<Result<(), Error>> {
        let state = self.state.lock();
        state
            .files
            .keys()
            .any(|file| file.rebase(path, path).is_some())
            .then(|| state.failed.clone().map_or(Ok(()), Err))
    }
}

/// Something that is being taken up. It remains if its place is not empty afterwards.
struct Taken<'a> {
    remains: &'a Remains,
    path: &'a RemotePath,
    left: Option<Left>,
}

impl<'a> Taken<'a> {
    /// Waits for whoever takes up the same.
    fn take(remains: &'a Remains, path: &'a RemotePath) -> Result<Option<Self>, Error> {
        let mut state = remains.state.lock();
        loop {
            let Some(file) = state.files.get_mut(path) else { return Ok(None) };
            if let Some(left) = file.left.take() {
                return Ok(Some(Self { remains, path, left: Some(left) }));
            }
            if !deadline::wait(&remains.changed, &mut state) {
                return Err(Error::timed_out());
            }
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.remains.state.lock();
        match (self.left.take(), state.files.get_mut(self.path)) {
            (Some(left), Some(file)) => file.left = Some(left),
            _ => drop(state.files.remove(self.path)),
        }
        drop(state);
        self.remains.changed.notify_all();
    }
}

/// Whether the same may go well later.
fn may_pass(error: &Error) -> bool {
    use ErrorKind as E;
    let kinds = [E::LoginRefused, E::Insecure, E::Misbehaved];
    error.is_of_the_network() || *error == Error::WouldBlock || error.kind().is_some_and(|kind| kinds.contains(&kind))
}
