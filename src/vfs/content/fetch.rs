//! The thread of one stream.

use crate::deadline::{Deadline, Ending};
use crate::remote::Remote;
use crate::vfs::cache::blocks::Piece;
use crate::vfs::cache::versions::Version;
use crate::vfs::content::{STREAM_IDLE_MAX, Shared, StreamId};
use crate::vfs::error::Error;
use crate::vfs::source::{Source, Stop};
use crate::vfs::stream::{Stream, Work};
use parking_lot::Condvar;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// From where content is fetched, and how patiently.
#[derive(Debug)]
pub(crate) struct Fetching {
    pub(crate) remote: Arc<dyn Remote>,
    /// How long a block may take if nothing comes.
    pub(crate) patience: Option<Duration>,
    pub(crate) ending: Ending,
}

/// What fetches the bytes of a stream. Dropping it, by a panic too, takes the stream away and fails who waits.
pub(super) struct Fetch {
    pub(super) id: StreamId,
    pub(super) version: Arc<Version>,
    pub(super) wake: Arc<Condvar>,
    pub(super) deadline: Arc<Deadline>,
    pub(super) shared: Arc<Shared>,
    /// It fetches a part of what others fetch or fetched as well.
    pub(super) is_part: bool,
    /// What who waits is told when it ends.
    pub(super) error: Error,
}

impl Fetch {
    pub(super) fn run(mut self, mut source: Source) {
        let _entered = Arc::clone(&self.deadline).enter();
        match self.fetch(&mut source) {
            // The stream is not open any more: nobody waits.
            Stop::Unwanted => {}
            Stop::Failed(error) => self.error = error,
            Stop::Changed => {
                self.error = Error::Stale;
                // Before anybody hears of it and opens the file again.
                if let Some(disproved) = self.shared.disproved.0.get() {
                    disproved(self.version.ino);
                }
                let mut state = self.shared.state.lock();
                state.versions.disprove(&self.version);
                state.drop_version(self.version.id);
            }
        }
    }

    fn fetch(&self, source: &mut Source) -> Stop {
        let (since, mut is_first, mut begun) = (Instant::now(), true, None);
        while let Some(work) = self.await_work(Stream::work) {
            // Each block has its time.
            self.deadline.begin_again();
            source.expect(work.reach);
            let piece = match self.piece(source, work, begun.take()) {
                Ok(piece) => piece,
                Err(stop) => return stop,
            };
            begun = (!work.is_last).then(|| piece.clone());
            let is_reopened = source.take_reopened();
            if std::mem::take(&mut is_first) {
                self.shared.opened_in(since.elapsed());
                if self.is_part
                    && let Err(stop) = self.see_same(source)
                {
                    return stop;
                }
            } else if is_reopened
                && self.shared.fetching.remote.spare() > 0
                && let Err(stop) = self.see_same(source)
            {
                return stop;
            }
            self.deliver(work, piece.clone());
            // Nobody has to wait for that.
            if let Err(stop) = source.confirm_end() {
                return stop;
            }
            self.shared.keep(&self.version, work.index, &piece);
        }
        Stop::Unwanted
    }

    /// Fetches what is `work`; the bytes that were fetched of the same block before are `begun`.
    fn piece(&self, source: &mut Source, work: Work, begun: Option<Piece>) -> Result<Piece, Stop> {
        let Work { index, from, end, .. } = work;
        // After giving way a download waits for somebody who needs it: read-ahead alone must not drive others away.
        let mut wanted = || {
            let wanted = self.await_work(|stream, _| stream.is_wanted().then_some(()));
            // It may have waited for long, and that counts for nobody who came in between.
            self.deadline.begin_again();
            wanted.is_some()
        };
        let mut block = self.shared.pool.take(end - from);
        let known = begun.as_ref().map_or(0, |begun| begun.bytes.len());
        if let Some(begun) = &begun {
            block.bytes_mut()[..known].copy_from_slice(&begun.bytes);
        }
        source.fetch(index.start() + (from + known) as u64, &mut block.bytes_mut()[known..], &mut wanted)?;
        Ok(Piece { from, bytes: Arc::new(block) })
    }

    /// Sees that what was just opened is of the version of which others fetch other parts: the file may have been replaced.
    fn see_same(&self, source: &Source) -> Result<(), Stop> {
        let told = source.told().map_err(Stop::Failed)?;
        match self.shared.state.lock().versions.is_other(&self.version, &told) {
            true => Err(Stop::Changed),
            false => Ok(()),
        }
    }

    /// Waits until the stream has something to do; `None` when it is closed, at its end, or unused for long.
    fn await_work<T>(&self, work: impl Fn(&Stream, u64) -> Option<T>) -> Option<T> {
        let mut state = self.shared.state.lock();
        let mut unused = false;
        loop {
            let share = self.shared.share(&state);
            let stream = state.streams.get_mut(&self.id)?;
            stream.parked = false;
            if let Some(work) = work(stream, share) {
                return Some(work);
            }
            if unused || stream.is_done() || stream.is_ahead() {
                // Under the same lock: nobody can begin to wait in between.
                state.streams.remove(&self.id);
                self.shared.stream_freed.notify_all();
                return None;
            }
            stream.parked = true;
            unused = self.wake.wait_for(&mut state, STREAM_IDLE_MAX).timed_out();
        }
    }

    fn deliver(&self, work: Work, piece: Piece) {
        let slot = {
            let mut state = self.shared.state.lock();
            let Some(stream) = state.streams.get_mut(&self.id) else { return };
            let slot = stream.fetched(work);
            if !stream.is_wanted() {
                // Readers want a stream, and writers the end of those of their own file: one of either may not be the right one.
                self.shared.stream_freed.notify_all();
            }
            state.blocks.insert(self.version.id, work.index, piece.clone());
            slot
        };
        if let Some(slot) = slot {
            slot.fill(Ok(piece));
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        let stream = self.shared.state.lock().streams.remove(&self.id);
        if let Some(stream) = stream {
            stream.fail(&self.error);
        }
        self.shared.stream_freed.notify_all();
    }
}
