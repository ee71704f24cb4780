//! The bytes of files: from the block cache, else from streams that run a little ahead of their readers.

use crate::deadline::{self, Deadline};
use crate::remote::{ErrorKind, Metadata};
use crate::vfs::cache::blocks::{BLOCK_BYTES, Block, BlockIndex, BlockPool, Blocks, Piece};
use crate::vfs::cache::versions::{Version, VersionId, Versions};
use crate::vfs::counters::Counters;
use crate::vfs::disk::DiskCache;
use crate::vfs::error::Error;
use crate::vfs::figures::{Disk, Memory};
use crate::vfs::inodes::Ino;
use crate::vfs::place::Place;
use crate::vfs::segments::Segments;
use crate::vfs::source::Source;
use crate::vfs::stream::{Slot, Stream};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

mod ahead;
mod bytes;
mod fetch;
mod kept;
mod side;
mod turn;

use ahead::Unused;
pub use bytes::Bytes;
use bytes::Span;
use fetch::Fetch;
pub(crate) use fetch::Fetching;
use turn::Turn;

/// How many positions in one file stay open: a player reads head, tail, then the middle, and several programs may read one
/// file.
const STREAMS_PER_FILE_MAX: usize = 8;
/// How many of those stay open from which little was read: a random reader, or whoever skips through a film, comes back to none of
/// them, and each keeps a connection from being made ready for its next read.
const LOOKS_MAX: usize = 3;
/// Of how many places that were closed it is known that somebody looked there.
const LOOKS_KNOWN: usize = 32;
/// How many positions stay open in all.
const STREAMS_MAX: usize = 16;
/// How long a stream that nobody reads from stays open: servers kill stalled transfers, and the connection is of use to
/// others.
const STREAM_IDLE_MAX: Duration = Duration::from_secs(20);
/// The part of the cache that read-ahead may fill: what is read ahead must still be there when the reader comes.
const AHEAD_PART: u64 = 4;

/// All content, as far as it is known.
#[derive(Debug)]
pub(crate) struct Content {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    fetching: Fetching,
    counters: Arc<Counters>,
    pool: Arc<BlockPool>,
    /// Its files are read while no lock is held.
    disk: Option<Arc<DiskCache>>,
    /// How many blocks all streams together may be ahead of their readers.
    ahead_max: u64,
    cache_bytes_max: u64,
    /// Never held while bytes are fetched. A slot's lock may be taken under it, and the pool's.
    state: Mutex<State>,
    /// A stream ended or has nobody waiting any more.
    stream_freed: Condvar,
    /// A reader that waited for the network is done.
    reader_done: Condvar,
    disproved: Disproved,
}

/// What is called with an inode whose content is not what the server told of it.
#[derive(Default)]
struct Disproved(OnceLock<Box<dyn Fn(Ino) + Send + Sync>>);

impl fmt::Debug for Disproved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disproved")
    }
}

#[derive(Debug)]
struct State {
    versions: Versions,
    blocks: Blocks,
    streams: HashMap<StreamId, Stream>,
    /// Where looks of more than one block were closed last: whoever comes back there goes on.
    looks: VecDeque<(VersionId, BlockIndex)>,
    last_stream: u64,
    uses: u64,
    waiting_bytes: u64,
    unused: Unused,
    /// Of the versions that are read.
    segments: HashMap<VersionId, Segments>,
    /// The shortest time in which a download came to its first bytes.
    opening: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct StreamId(u64);

/// Where a block of a read comes from.
enum Part {
    Here(Piece),
    Awaited(Arc<Slot>),
}

impl Content {
    /// Content that keeps at most `cache_bytes_max` bytes in memory, but always the block read last.
    pub(crate) fn new(
        fetching: Fetching,
        counters: Arc<Counters>,
        cache_bytes_max: usize,
        disk: Option<Arc<DiskCache>>,
    ) -> Self {
        let state = State {
            versions: Versions::new(),
            blocks: Blocks::new(cache_bytes_max),
            streams: HashMap::new(),
            looks: VecDeque::new(),
            last_stream: 0,
            uses: 0,
            waiting_bytes: 0,
            unused: Unused::default(),
            segments: HashMap::new(),
            opening: None,
        };
        let shared = Shared {
            fetching,
            counters,
            pool: Arc::default(),
            disk,
            ahead_max: cache_bytes_max as u64 / AHEAD_PART / BLOCK_BYTES,
            cache_bytes_max: cache_bytes_max as u64,
            state: Mutex::new(state),
            stream_freed: Condvar::new(),
            reader_done: Condvar::new(),
            disproved: Disproved::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Sets what is called with an inode whose content turns out not to be what the server told of it. Only the first call counts.
    pub(crate) fn on_disproved(&self, disproved: impl Fn(Ino) + Send + Sync + 'static) {
        // A second caller is a mistake without harm.
        let _ = self.shared.disproved.0.set(Box::new(disproved));
    }

    /// The version of `ino` that `metadata` tells of, and whether the one opened before is the same.
    pub(crate) fn open(&self, ino: Ino, metadata: &Metadata, size: u64, now: Instant) -> (Arc<Version>, bool) {
        let mut state = self.shared.state.lock();
        state.end_if_changed(ino, metadata);
        let (version, same) = state.versions.open(ino, metadata, size, now);
        let was_opened = version.opened();
        (version, same && was_opened)
    }

    /// Nothing that was learnt of the content of `ino` is believed. Who has it open goes on reading the version that he opened, as
    /// long as the server has it.
    pub(crate) fn forget(&self, ino: Ino) {
        let mut state = self.shared.state.lock();
        let Some(version) = state.versions.current(ino) else { return };
        if state.versions.is_open(ino) {
            state.blocks.remove(version);
            state.close_idle(version);
        } else if let Some(version) = state.versions.end(ino) {
            state.drop_version(version);
        }
    }

    /// What the cache in memory takes.
    pub(crate) fn memory(&self) -> Memory {
        self.shared.state.lock().blocks.memory()
    }

    /// What the cache on disk takes, if there is one.
    pub(crate) fn disk_figures(&self) -> Option<Disk> {
        self.shared.disk.as_ref().map(|disk| disk.figures())
    }

    /// A handle of `version` was closed. With the last one, what nobody waits for is not fetched any more.
    pub(crate) fn release(&self, version: &Version) {
        if version.closed() {
            let mut state = self.shared.state.lock();
            state.segments.remove(&version.id);
            state.close_idle(version.id);
        }
    }

    /// A content of `ino` that is on the server under another name than its own.
    pub(crate) fn detached(&self, ino: Ino, size: u64) -> Arc<Version> {
        let version = self.shared.state.lock().versions.detached(ino, size);
        version.opened();
        version
    }

    /// Nobody will read `version`, which was detached, any more.
    pub(crate) fn drop_detached(&self, version: &Version) {
        self.shared.state.lock().drop_version(version.id);
    }

    /// The content that is known of `ino` is not its content any more.
    pub(crate) fn end(&self, ino: Ino) {
        let mut state = self.shared.state.lock();
        if let Some(version) = state.versions.end(ino) {
            state.drop_version(version);
        }
    }

    /// We changed what the server tells of `ino`, and not its content.
    pub(crate) fn renew(&self, ino: Ino, metadata: &Metadata) {
        self.shared.state.lock().versions.renew(ino, metadata);
    }

    /// `ino` has another path: what is not waited for is not fetched from the old one.
    pub(crate) fn moved(&self, ino: Ino) {
        let mut state = self.shared.state.lock();
        if let Some(version) = state.versions.current(ino) {
            state.close_idle(version);
        }
    }

    /// `ino` is about to be written in place: no download of it is left open. A server may lock a file for as long as it is
    /// downloaded (vsftpd's `lock_upload_files`), and a download that only waits for its reader would hold up the writer.
    pub(crate) fn quiet(&self, ino: Ino) {
        let mut state = self.shared.state.lock();
        let Some(version) = state.versions.current(ino) else { return };
        let deadline = Instant::now() + deadline::at_most(STREAM_IDLE_MAX);
        loop {
            state.close_idle(version);
            // What is waited for comes in bounded time.
            if state.streams_of(version).next().is_none()
                || self.shared.stream_freed.wait_until(&mut state, deadline).timed_out()
            {
                return;
            }
        }
    }

    /// Memory for bytes that are put together here.
    pub(crate) fn take(&self, len: usize) -> Block {
        self.shared.pool.take(len)
    }

    /// The server tells `metadata` of `ino`: if that is another version than was opened, that one ends.
    pub(crate) fn observe(&self, ino: Ino, metadata: &Metadata) {
        self.shared.state.lock().end_if_changed(ino, metadata);
    }

    /// At most `size` bytes from `offset` on; fewer only at the file's end. Without a `place` nothing is fetched.
    pub(crate) fn read(
        &self,
        version: &Arc<Version>,
        offset: u64,
        size: u32,
        place: Option<Place>,
    ) -> Result<Bytes, Error> {
        if version.is_gone() {
            return Err(Error::Stale);
        }
        let Some(span) = Span::new(offset, size, version.size) else { return Ok(Bytes::default()) };
        if let Some(bytes) = self.shared.read_known(version, span, place.as_ref()) {
            return Ok(bytes);
        }
        let Some(place) = place else { return Err(Error::WouldBlock) };
        if let Some(bytes) = self.shared.read_kept(version, span) {
            return Ok(bytes);
        }
        if let Some(error) = version.given_up() {
            return Err(error);
        }
        let begun = Instant::now();
        let read = self.shared.read_awaited(version, span, &place);
        let patience = self.shared.fetching.patience.unwrap_or(Duration::MAX);
        if let Err(error) = &read
            && error.kind() == Some(ErrorKind::TimedOut)
            && begun.elapsed() >= patience / 2
        {
            version.give_up(error);
        }
        read
    }
}

/// Nothing is fetched for a file system that is gone: its connections are free at once.
impl Drop for Content {
    fn drop(&mut self) {
        for (_, stream) in self.shared.state.lock().streams.drain() {
            stream.close();
            stream.fail(&Error::Stale);
        }
    }
}

impl Shared {
    fn read_known(self: &Arc<Self>, version: &Arc<Version>, span: Span, place: Option<&Place>) -> Option<Bytes> {
        let mut state = self.state.lock();
        self.used(&mut state, version.id, span.first);
        let pieces: Option<Vec<_>> =
            span.needs().map(|(index, need)| state.blocks.find(version.id, index, &need)).collect();
        let pieces = pieces?;
        let is_slow = self.advance(&mut state, version, span, false);
        drop(state);
        if let (true, Some(place)) = (is_slow, place) {
            self.begin_segment(version, place);
        }
        self.counters.blocks_known.add(pieces.len() as u64);
        Some(span.bytes(pieces))
    }

    fn read_awaited(self: &Arc<Self>, version: &Arc<Version>, span: Span, place: &Place) -> Result<Bytes, Error> {
        let _turn = Turn::take(self, (span.last.0 - span.first.0 + 1) * BLOCK_BYTES)?;
        let parts = self.want(version, span, place)?;
        let mut pieces = Vec::with_capacity(parts.len());
        for (mut part, (index, need)) in parts.into_iter().zip(span.needs()) {
            pieces.push(loop {
                let piece = self.get(version, index, part)?;
                if piece.covers(&need) {
                    break piece;
                }
                part = self.want_part(&mut self.state.lock(), version, index, &need, place)?;
            });
        }
        Ok(span.bytes(pieces))
    }

    fn get(&self, version: &Version, index: BlockIndex, part: Part) -> Result<Piece, Error> {
        match part {
            Part::Here(piece) => {
                self.counters.blocks_known.add(1);
                Ok(piece)
            }
            Part::Awaited(slot) => {
                self.counters.blocks_waited.add(1);
                slot.wait().unwrap_or_else(|| Err(self.gave_up(version, index, &slot)))
            }
        }
    }

    /// Somebody waits no longer at `slot`: the connection of a stream that nobody else waits for is free at once.
    fn gave_up(&self, version: &Version, index: BlockIndex, slot: &Arc<Slot>) -> Error {
        let mut state = self.state.lock();
        state.streams_of(version.id).for_each(|stream| stream.unwant(index, slot));
        state.close_idle(version.id);
        drop(state);
        self.stream_freed.notify_all();
        Error::timed_out()
    }

    /// Of a stream that begins now.
    fn deadline(&self) -> Arc<Deadline> {
        Deadline::new(self.fetching.patience, None, &self.fetching.ending)
    }

    /// Every block of `span`, or where to wait for it.
    fn want(self: &Arc<Self>, version: &Arc<Version>, span: Span, place: &Place) -> Result<Vec<Part>, Error> {
        let mut state = self.state.lock();
        let parts: Result<_, _> =
            span.needs().map(|(index, need)| self.want_part(&mut state, version, index, &need, place)).collect();
        let is_slow = self.advance(&mut state, version, span, true);
        drop(state);
        if is_slow {
            self.begin_segment(version, place);
        }
        parts
    }

    fn want_part(
        self: &Arc<Self>,
        state: &mut MutexGuard<'_, State>,
        version: &Arc<Version>,
        index: BlockIndex,
        need: &Range<usize>,
        place: &Place,
    ) -> Result<Part, Error> {
        loop {
            if version.is_gone() {
                return Err(Error::Stale);
            }
            if let Some(piece) = state.blocks.find(version.id, index, need) {
                return Ok(Part::Here(piece));
            }
            if let Some(slot) = self.want_block(state, version, index, need, place)? {
                return Ok(Part::Awaited(slot));
            }
            // Every stream that may be open has readers waiting: their blocks come in bounded time.
            if !deadline::wait(&self.stream_freed, state) {
                return Err(Error::timed_out());
            }
        }
    }

    /// Where to wait for a block; `None` if no stream can be opened for it now.
    fn want_block(
        self: &Arc<Self>,
        state: &mut State,
        version: &Arc<Version>,
        index: BlockIndex,
        need: &Range<usize>,
        place: &Place,
    ) -> Result<Option<Arc<Slot>>, Error> {
        if let Some(stream) = state.streams_of(version.id).find(|stream| stream.awaits(index, need.start)) {
            return Ok(Some(stream.want(index, need.end)));
        }
        let uses = state.next_use();
        let reaching = state.streams_of(version.id).filter(|stream| stream.reaches(index, need.start));
        if let Some(stream) = reaching.max_by_key(|stream| stream.next()) {
            stream.used = uses;
            let slot = stream.want(index, need.end);
            stream.wake.notify_one();
            return Ok(Some(slot));
        }
        if !state.make_room(version.id) {
            return Ok(None);
        }
        self.open_stream(state, version, index, need, place).map(Some)
    }

    fn open_stream(
        self: &Arc<Self>,
        state: &mut State,
        version: &Arc<Version>,
        start: BlockIndex,
        need: &Range<usize>,
        place: &Place,
    ) -> Result<Arc<Slot>, Error> {
        let mut stream = Stream::new(version.id, start, need.start, version.size, self.deadline());
        if state.looks.iter().any(|(looked, at)| *looked == version.id && stream.goes_on_from(*at)) {
            stream.goes_on();
        }
        if let Some(limit) = state.segments.get(&version.id).and_then(|segments| segments.limit(start)) {
            stream.end_at(limit);
        }
        // Who reads in the middle of a segment that is not there yet has no need of what comes with it.
        if state.streams_of(version.id).any(|other| other.is_segment() && other.covers(start)) {
            stream.end_at(BlockIndex(start.0 + 1));
        }
        let slot = stream.want(start, need.end);
        let (id, run) = self.add_stream(state, version, stream, place);
        if !spawn(run, place) {
            state.streams.remove(&id);
            return Err(Error::Panicked);
        }
        Ok(slot)
    }

    /// Adds `stream`, and gives what a thread has to run for it.
    fn add_stream(
        self: &Arc<Self>,
        state: &mut State,
        version: &Arc<Version>,
        mut stream: Stream,
        place: &Place,
    ) -> (StreamId, impl FnOnce() + Send + use<>) {
        stream.used = state.next_use();
        state.last_stream += 1;
        let id = StreamId(state.last_stream);
        let (remote, counters) = (Arc::clone(&self.fetching.remote), Arc::clone(&self.counters));
        let source = Source::new(remote, counters, place.clone(), version.size);
        let (shared, version) = (Arc::clone(self), Arc::clone(version));
        let (wake, deadline) = (Arc::clone(&stream.wake), Arc::clone(&stream.deadline));
        let is_part = state.segments.get(&version.id).is_some_and(Segments::are_given);
        state.streams.insert(id, stream);
        // The thread's first step takes the lock that is held here, and so does dropping a Fetch: it is made over there.
        (id, move || Fetch { id, version, wake, deadline, shared, is_part, error: Error::Panicked }.run(source))
    }

    /// Tells the stream whose reader this is how far it has come; whether another beside it would help.
    fn advance(&self, state: &mut State, version: &Version, span: Span, stalled: bool) -> bool {
        let share = self.share(state);
        let uses = state.next_use();
        let followed = state.streams_of(version.id).filter(|stream| stream.follows(span.first, span.last));
        if let Some(stream) = followed.min_by_key(|stream| stream.next()) {
            stream.used = uses;
            stream.advance(span.last, stalled);
            if stream.is_worth_waking(share) {
                stream.wake.notify_one();
            }
        }
        self.goes_slowly(state, version, span, stalled)
    }

    /// How many blocks each stream may be ahead, so that all together stay within the bound.
    fn share(&self, state: &State) -> u64 {
        self.ahead_max / state.streams.values().filter(|stream| stream.runs_ahead()).count().max(1) as u64
    }
}

/// Whether a thread could be started that fetches.
fn spawn(run: impl FnOnce() + Send + 'static, place: &Place) -> bool {
    let spawned = thread::Builder::new().name("ftpsfs-read".into()).spawn(run);
    spawned.inspect_err(|error| log::error!("read {}: cannot start a thread: {error}", place.path)).is_ok()
}

impl State {
    fn end_if_changed(&mut self, ino: Ino, metadata: &Metadata) {
        if self.versions.differs(ino, metadata)
            && let Some(version) = self.versions.end(ino)
        {
            self.drop_version(version);
        }
    }

    /// Lets go of everything of `version`. Who waits for a block of it would get bytes of another version.
    fn drop_version(&mut self, version: VersionId) {
        self.blocks.remove(version);
        self.segments.remove(&version);
        for (_, stream) in self.streams.extract_if(|_, stream| stream.version == version) {
            stream.close();
            stream.fail(&Error::Stale);
        }
    }

    fn streams_of(&mut self, version: VersionId) -> impl Iterator<Item = &mut Stream> {
        self.streams.values_mut().filter(move |stream| stream.version == version)
    }

    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    /// Makes sure that one more stream of `version` may be open, at the cost of the ones used least recently.
    fn make_room(&mut self, version: VersionId) -> bool {
        let is_look = |stream: &Stream| stream.version == version && stream.is_look() && !stream.is_wanted();
        if self.streams.values().filter(|stream| is_look(stream)).count() >= LOOKS_MAX {
            let closed = self.close_one(is_look);
            self.looks.extend(closed.and_then(|look| Some((version, look.went_on_to()?))));
            self.looks.drain(..self.looks.len().saturating_sub(LOOKS_KNOWN));
        }
        let of_file = self.streams_of(version).count();
        (of_file < STREAMS_PER_FILE_MAX || self.close_one(|stream| stream.version == version).is_some())
            && (self.streams.len() < STREAMS_MAX || self.close_one(|_| true).is_some())
    }

    fn close_idle(&mut self, version: VersionId) {
        while self.close_one(|stream| stream.version == version).is_some() {}
    }

    /// Closes, of those that `may` be, the stream that nobody waits for and that was used least recently; gives it.
    fn close_one(&mut self, may: impl Fn(&Stream) -> bool) -> Option<Stream> {
        let idle = self.streams.iter().filter(|(_, stream)| may(stream) && !stream.is_wanted());
        let id = *idle.min_by_key(|(_, stream)| stream.used)?.0;
        self.streams.remove(&id).inspect(Stream::close)
    }
}
