//! Content that comes in order, on its way to the server: some of it waits to be sent, some is kept in case the
//! connection breaks.

use crate::deadline::{self, Deadline};
use crate::remote::{Named, Naming};
use crate::vfs::error::Error;
use crate::vfs::transfer::Transfer;
use crate::vfs::tree::{Target, Tree};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What may wait to be sent (bytes): more makes the writer wait.
const QUEUE_BYTES_MAX: u64 = 4 << 20;
/// What is kept of one upload, sent or not (bytes): more than the buffers between us and the server's disk hold.
const WINDOW_BYTES_MAX: u64 = 8 << 20;
/// What all uploads together keep of what they sent (bytes), but each keeps `WINDOW_BYTES_MIN`.
const WINDOWS_BYTES_MAX: u64 = 48 << 20;
const WINDOW_BYTES_MIN: u64 = 1 << 20;
/// An upload begins when this much waits (bytes), or at its end: what is smaller is often changed before it is closed.
const START_BYTES: u64 = 1 << 20;
/// Small writes are put together to pieces of this size (bytes).
const CHUNK_BYTES: usize = 256 * 1024;
/// How long an upload without new bytes keeps its connection: servers end stalled transfers, and others wait.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// What all that is on its way may hold (bytes): past this what has not begun to be sent is to go elsewhere, where it is more than
/// a piece, and past twice this whatever it is.
const HELD_BYTES_MAX: u64 = 48 << 20;
/// What of each may wait to be sent then (bytes).
const QUEUE_BYTES_MIN: u64 = 1 << 20;
/// How many uploads may have a thread of their own, which they keep until their files are closed.
const THREADS_MAX: usize = 32;

/// How many uploads run.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// How many of them have a thread of their own.
static THREADS: AtomicUsize = AtomicUsize::new(0);
/// What all windows hold (bytes).
static HELD: AtomicU64 = AtomicU64::new(0);

/// Waits until no upload runs, but no longer than until `deadline`; whether none does. Those that were given up remove their files.
pub(crate) fn wait_for_all(deadline: Instant) -> bool {
    while RUNNING.load(Ordering::Relaxed) > 0 {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

/// An upload that is fed piece by piece.
#[derive(Debug)]
pub(crate) struct Outgoing {
    tree: Arc<Tree>,
    pub(crate) target: Target,
    /// Where the first byte goes.
    begin: u64,
    /// Never held while the server is asked.
    state: Mutex<Pipe>,
    changed: Condvar,
    /// Of the thread that uploads: what moves for it moves for those who wait.
    deadline: Arc<Deadline>,
}

#[derive(Debug)]
struct Pipe {
    window: Window,
    /// Up to here the bytes were sent.
    sent: u64,
    /// How many bytes there are, once that is known.
    total: Option<u64>,
    /// The name that it is to get at the end, and what is ready for that.
    naming: Option<Naming>,
    named: Option<Named>,
    running: bool,
    abandoned: bool,
    result: Option<Result<(), Error>>,
}

/// The end of the content, as pieces in order.
#[derive(Debug)]
struct Window {
    chunks: VecDeque<Arc<Vec<u8>>>,
    start: u64,
    end: u64,
}

/// What the upload has to do next.
enum Step {
    /// Send the piece from this place in it on.
    Send(Arc<Vec<u8>>, usize),
    Finish(u64, Option<Naming>),
    Park,
    Stop,
}

impl Outgoing {
    /// Content for `target` from byte `begin` on. Nothing happens on the server yet.
    pub(crate) fn new(tree: Arc<Tree>, target: Target, begin: u64) -> Arc<Self> {
        let window = Window { chunks: VecDeque::new(), start: begin, end: begin };
        let (total, naming, named, result) = (None, None, None, None);
        let pipe = Pipe { window, sent: begin, total, naming, named, running: false, abandoned: false, result };
        let deadline = Deadline::background(tree.ending());
        Arc::new(Self { tree, target, begin, state: Mutex::new(pipe), changed: Condvar::new(), deadline })
    }

    /// Where the next byte goes.
    pub(crate) fn end(&self) -> u64 {
        self.state.lock().window.end
    }

    /// Adds `bytes`, and leaves nothing of them. Waits while too much waits to be sent, unless `wait` says not to. The upload
    /// begins if `starts`, which is what [`Outgoing::would_start`] says.
    ///
    /// # Errors
    ///
    /// [`Error::WouldBlock`]; what the upload failed with.
    pub(crate) fn push(self: &Arc<Self>, bytes: &mut Cow<'_, [u8]>, wait: bool, starts: bool) -> Result<(), Error> {
        let mut state = self.state.lock();
        loop {
            if let Some(Err(error)) = &state.result {
                return Err(error.clone());
            }
            if !state.running || state.window.end - state.sent < queue_bytes_max() {
                break;
            }
            if !wait {
                return Err(Error::WouldBlock);
            }
            self.wait(&mut state)?;
        }
        state.window.push(mem::take(bytes));
        if starts && !state.running {
            self.start(&mut state)?;
        }
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Whether `len` more bytes make the upload begin.
    pub(crate) fn would_start(&self, len: usize) -> bool {
        let state = self.state.lock();
        let size = state.window.end + len as u64 - self.begin;
        // What found no room elsewhere must not grow here without end.
        let most = if THREADS.load(Ordering::Relaxed) < THREADS_MAX { START_BYTES } else { 2 * START_BYTES };
        !state.running && size >= most
    }

    /// Whether `len` more bytes are too much here, as so much is being written elsewhere. What has begun to be sent goes on.
    pub(crate) fn is_crowded_out(&self, len: usize) -> bool {
        let state = self.state.lock();
        let size = state.window.end + len as u64 - self.begin;
        let held = HELD.load(Ordering::Relaxed);
        let begins = size >= START_BYTES && THREADS.load(Ordering::Relaxed) >= THREADS_MAX;
        let is_too_much = held > HELD_BYTES_MAX && size > CHUNK_BYTES as u64 || held > 2 * HELD_BYTES_MAX;
        !state.running && (begins || is_too_much)
    }

    /// Whether there is nothing of it yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.end() == self.begin
    }

    /// Whether the server may have something of it.
    pub(crate) fn is_started(&self) -> bool {
        self.state.lock().running
    }

    /// Whether nothing more is written to it.
    pub(crate) fn is_finishing(&self) -> bool {
        self.state.lock().total.is_some()
    }

    /// Sends what is left, and waits until the server has all of it.
    ///
    /// # Errors
    ///
    /// What the upload failed with.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        self.finish_for(None).map(drop)
    }

    /// As [`Outgoing::finish`], and makes ready for the name that the file is to get, if that can be.
    ///
    /// # Errors
    ///
    /// As [`Outgoing::finish`].
    pub(crate) fn finish_for(&self, naming: Option<Naming>) -> Result<Option<Named>, Error> {
        let mut state = self.state.lock();
        (state.total, state.naming) = (Some(state.window.end), naming);
        if !state.running {
            state.running = true;
            drop(state);
            self.run();
            state = self.state.lock();
        }
        self.changed.notify_all();
        loop {
            match state.result.clone() {
                Some(result) => return result.map(|()| state.named.take()),
                None => self.wait(&mut state)?,
            }
        }
    }

    /// Waits for the upload to go on: as long as its bytes move, whoever waits may wait.
    fn wait(&self, state: &mut MutexGuard<'_, Pipe>) -> Result<(), Error> {
        deadline::current().follow(&self.deadline);
        if deadline::wait(&self.changed, state) { Ok(()) } else { Err(Error::timed_out()) }
    }

    /// Nobody wants it any more. A temporary file is removed.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();
        state.abandoned = true;
        let (running, ended) = (state.running, state.result.is_some());
        drop(state);
        self.deadline.cancel();
        self.changed.notify_all();
        // Else the thread does it, when it has let go of the file.
        if running && ended {
            self.remove();
        }
    }

    /// Fills `buffer` from `offset` on, if all of it is still here.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> bool {
        self.state.lock().window.read(offset, buffer)
    }

    /// What is still here, piece by piece, and where it begins.
    pub(crate) fn rest(&self) -> (u64, Vec<Arc<Vec<u8>>>) {
        let state = self.state.lock();
        (state.window.start, state.window.chunks.iter().cloned().collect())
    }

    /// Whether all of it is still here.
    pub(crate) fn is_whole(&self) -> bool {
        self.state.lock().window.start == self.begin
    }

    fn start(self: &Arc<Self>, state: &mut Pipe) -> Result<(), Error> {
        let upload = Arc::clone(self);
        let run = move || {
            let _entered = upload.deadline.enter();
            upload.run();
            THREADS.fetch_sub(1, Ordering::Relaxed);
        };
        THREADS.fetch_add(1, Ordering::Relaxed);
        match thread::Builder::new().name("ftpsfs-write".into()).spawn(run) {
            Ok(_) => {
                state.running = true;
                Ok(())
            }
            Err(error) => {
                THREADS.fetch_sub(1, Ordering::Relaxed);
                log::error!("upload: cannot start a thread: {error}");
                Err(Error::Panicked)
            }
        }
    }

    fn run(&self) {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        let result = catch_unwind(AssertUnwindSafe(|| self.upload())).unwrap_or(Err(Error::Panicked));
        let mut state = self.state.lock();
        state.result = Some(result.map(|named| state.named = named));
        let abandoned = state.abandoned;
        drop(state);
        self.changed.notify_all();
        if abandoned {
            self.remove();
        }
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }

    fn remove(&self) {
        if matches!(self.target, Target::Name(..)) {
            self.tree.discard(&self.target);
        }
    }

    fn upload(&self) -> Result<Option<Named>, Error> {
        let mut transfer = Transfer::new(&self.tree, &self.target, self.begin);
        loop {
            transfer.check_position(|from, ours| self.read(from, ours))?;
            let (step, earliest) = self.next(transfer.position());
            match step {
                Step::Send(chunk, from) => transfer.send(chunk.get(from..).unwrap_or_default(), earliest)?,
                Step::Finish(total, naming) => {
                    if transfer.finish_for(total, earliest, naming.as_ref())? {
                        return Ok(transfer.into_named());
                    }
                }
                Step::Park => transfer.park(earliest)?,
                Step::Stop => return Err(Error::Stale),
            }
        }
    }

    /// What to do now that everything before `position` was sent, and the first byte that is still here.
    fn next(&self, position: u64) -> (Step, u64) {
        let mut state = self.state.lock();
        state.sent = position;
        let running = RUNNING.load(Ordering::Relaxed).max(1) as u64;
        let keep = (WINDOWS_BYTES_MAX / running).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        state.window.trim(position, keep, WINDOW_BYTES_MIN);
        self.changed.notify_all();
        loop {
            let earliest = state.window.start;
            if state.abandoned {
                return (Step::Stop, earliest);
            }
            if let Some((chunk, from)) = state.window.chunk(position) {
                return (Step::Send(chunk, from), earliest);
            }
            if let Some(total) = state.total {
                return (Step::Finish(total, state.naming.take()), earliest);
            }
            if self.changed.wait_for(&mut state, IDLE_MAX).timed_out() {
                return (Step::Park, earliest);
            }
        }
    }
}

impl Window {
    fn push(&mut self, bytes: Cow<'_, [u8]>) {
        self.end += bytes.len() as u64;
        HELD.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if let Some(last) = self.chunks.back_mut().and_then(Arc::get_mut)
            && last.len() + bytes.len() <= CHUNK_BYTES
        {
            last.extend_from_slice(&bytes);
            return;
        }
        self.chunks.push_back(Arc::new(bytes.into_owned()));
    }

    /// Lets go of pieces before `sent`, as long as more than `keep` bytes are here, and more than `keep_sent` of them sent.
    fn trim(&mut self, sent: u64, keep: u64, keep_sent: u64) {
        while let Some(first) = self.chunks.front() {
            let start = self.start + first.len() as u64;
            if start > sent || self.end - self.start <= keep || sent - start < keep_sent {
                break;
            }
            HELD.fetch_sub(start - self.start, Ordering::Relaxed);
            self.start = start;
            self.chunks.pop_front();
        }
    }

    /// The piece that holds the byte at `position`, and where in it that is.
    fn chunk(&self, position: u64) -> Option<(Arc<Vec<u8>>, usize)> {
        let mut start = self.start;
        for chunk in &self.chunks {
            let end = start + chunk.len() as u64;
            if (start..end).contains(&position) {
                return Some((Arc::clone(chunk), usize::try_from(position - start).ok()?));
            }
            start = end;
        }
        None
    }

    fn read(&self, offset: u64, mut buffer: &mut [u8]) -> bool {
        if offset < self.start || offset + buffer.len() as u64 > self.end {
            return false;
        }
        let mut offset = offset;
        while !buffer.is_empty() {
            let Some((chunk, from)) = self.chunk(offset) else { return false };
            let part = chunk.get(from..).unwrap_or_default();
            let count = part.len().min(buffer.len());
            buffer[..count].copy_from_slice(&part[..count]);
            offset += count as u64;
            buffer = &mut buffer[count..];
        }
        true
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        HELD.fetch_sub(self.end - self.start, Ordering::Relaxed);
    }
}

fn queue_bytes_max() -> u64 {
    if HELD.load(Ordering::Relaxed) > HELD_BYTES_MAX { QUEUE_BYTES_MIN } else { QUEUE_BYTES_MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With many uploads at once only what was not sent yet was kept of each, and none survived a broken connection.
    #[test]
    fn something_of_what_was_sent_is_kept_however_much_waits() {
        let mut window = Window { chunks: VecDeque::new(), start: 0, end: 0 };
        for _ in 0..32 {
            window.push(vec![0; CHUNK_BYTES].into());
        }
        let sent = 4 << 20;
        window.trim(sent, 3 << 20, WINDOW_BYTES_MIN);
        assert_eq!((window.start, window.end), (sent - WINDOW_BYTES_MIN, 8 << 20));
        window.trim(8 << 20, 3 << 20, WINDOW_BYTES_MIN);
        assert_eq!(window.start, 5 << 20);
    }
}
