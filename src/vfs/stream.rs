//! A position in a file from which its bytes are fetched in order: which blocks are wanted of it, and how far ahead of
//! its readers it may run. Data only; the thread that fetches is in `content`.

use crate::deadline::{self, Deadline};
use crate::remote::Reach;
use crate::vfs::cache::blocks::{BLOCK_BYTES, BlockIndex, Piece};
use crate::vfs::cache::versions::VersionId;
use crate::vfs::error::Error;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// How many blocks a stream reads on through to reach one that is wanted (1 MiB): shorter than opening another.
const SKIP_MAX: u64 = 8;
/// The window of a stream whose reader was seen to go on, and at the beginning of a file that ends with it (256 KiB).
const WINDOW_FIRST: u64 = 2;
/// The largest window (8 MiB).
const WINDOW_MAX: u64 = 64;
/// How many blocks a reader takes at least who means to go on (512 KiB): fewer are a look.
const LOOK_MAX: u64 = 4;

/// In what a random read is rounded to (bytes): the kernel's pages.
const PAGE_BYTES: usize = 4096;

/// Bytes of one block that are to be fetched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) index: BlockIndex,
    /// The first of them; what was fetched before of the same block begins there too.
    pub(crate) from: usize,
    /// One past the last of them.
    pub(crate) end: usize,
    /// Whether the block ends there.
    pub(crate) is_last: bool,
    /// How far the stream means to go, as far as is known.
    pub(crate) reach: Reach,
}

/// One position in a file.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) version: VersionId,
    /// Where the thread that fetches waits while there is nothing to do.
    pub(crate) wake: Arc<Condvar>,
    /// Of the thread that fetches: so long it may take for a block if nothing comes.
    pub(crate) deadline: Arc<Deadline>,
    /// When it was used last, as a count of uses.
    pub(crate) used: u64,
    /// Whether the thread that fetches waits.
    pub(crate) parked: bool,
    /// The block that is being fetched, or will be next.
    next: BlockIndex,
    /// Where in the block `next` the bytes of this stream begin: not at 0 only in its first block.
    from: usize,
    /// Up to where in its first block bytes are wanted, until some have come: those come first, and the others when somebody
    /// wants them or the reader is seen to go on.
    first_end: Option<usize>,
    /// Of the file, in bytes.
    size: u64,
    /// Its first block.
    begin: BlockIndex,
    /// Whether its reader is known to go on.
    goes_on: bool,
    /// The last block that was asked for.
    demanded: BlockIndex,
    /// How many blocks past `demanded` may be fetched.
    window: u64,
    /// Nobody has asked for a block of it yet: it fetches the first one, in case somebody will.
    ahead: bool,
    /// It fetches all it may: a segment of a file that several streams fetch side by side for one reader.
    segment: bool,
    /// One past the last block that it may fetch, where another stream's segment begins or the file ends.
    limit: BlockIndex,
    /// Blocks that readers wait for: none lies before `next`.
    wanted: BTreeMap<BlockIndex, Arc<Slot>>,
}

impl Stream {
    /// A stream of a file of `size` bytes that begins in the block `start`, where its byte `from` is.
    pub(crate) fn new(version: VersionId, start: BlockIndex, from: usize, size: u64, deadline: Arc<Deadline>) -> Self {
        let from = from / PAGE_BYTES * PAGE_BYTES;
        let limit = BlockIndex(size.div_ceil(BLOCK_BYTES));
        Self {
            version,
            wake: Arc::new(Condvar::new()),
            deadline,
            used: 0,
            parked: false,
            next: start,
            from,
            first_end: Some(from),
            size,
            begin: start,
            goes_on: false,
            demanded: start,
            window: if start == BlockIndex(0) { first_window(limit) } else { 0 },
            ahead: false,
            segment: false,
            limit,
            wanted: BTreeMap::new(),
        }
    }

    /// A stream that fetches the first block of a file of `size` bytes before anybody asks.
    pub(crate) fn ahead(version: VersionId, size: u64, deadline: Arc<Deadline>) -> Self {
        Self { first_end: None, window: 0, ahead: true, ..Self::new(version, BlockIndex(0), 0, size, deadline) }
    }

    /// A stream that fetches `blocks` of a file of `size` bytes, while other streams fetch what is before them.
    pub(crate) fn segment(version: VersionId, blocks: Range<BlockIndex>, size: u64, deadline: Arc<Deadline>) -> Self {
        let demanded = BlockIndex(blocks.start.0.saturating_sub(1));
        let stream = Self::new(version, blocks.start, 0, size, deadline);
        Self { first_end: None, window: 0, demanded, segment: true, limit: blocks.end, ..stream }
    }

    /// Whether it fetches a segment.
    pub(crate) fn is_segment(&self) -> bool {
        self.segment
    }

    /// Whether it fetches the block `index`, or will.
    pub(crate) fn covers(&self, index: BlockIndex) -> bool {
        self.next <= index && index < self.limit
    }

    /// It goes no further than to `limit`, where another stream begins.
    pub(crate) fn end_at(&mut self, limit: BlockIndex) {
        let needed = self.wanted.last_key_value().map_or(self.next.0, |(last, _)| last.0 + 1);
        self.limit = self.limit.min(limit.max(BlockIndex(needed)));
    }

    /// Whether nobody has asked for anything of it.
    pub(crate) fn is_ahead(&self) -> bool {
        self.ahead
    }

    /// Somebody reads the file.
    fn claim(&mut self) {
        if std::mem::take(&mut self.ahead) {
            self.window = first_window(self.limit);
        }
    }

    /// Whether the byte `from` of the block `index` comes soon. What others wait for comes in any case: the kernel reads ahead in
    /// several requests at once, one behind the other.
    pub(crate) fn reaches(&self, index: BlockIndex, from: usize) -> bool {
        let certain = self.wanted.last_key_value().map_or(self.next.0, |(last, _)| last.0);
        let last = (certain + SKIP_MAX).max(self.next.0 + self.window);
        index.0 <= last && self.gives(index, from)
    }

    fn gives(&self, index: BlockIndex, from: usize) -> bool {
        index < self.limit && (index > self.next || (index == self.next && from >= self.from))
    }

    /// The block that comes next.
    pub(crate) fn next(&self) -> BlockIndex {
        self.next
    }

    /// Whether somebody waits for `index`, and its byte `from` will be given.
    pub(crate) fn awaits(&self, index: BlockIndex, from: usize) -> bool {
        self.wanted.contains_key(&index) && self.gives(index, from)
    }

    /// Where to wait for `index`, which the stream reaches, up to its byte `end`. What comes there may be too little, if more of
    /// the block is wanted than when it was asked for.
    pub(crate) fn want(&mut self, index: BlockIndex, end: usize) -> Arc<Slot> {
        self.claim();
        if index == self.next {
            self.first_end = self.first_end.map(|first| first.max(end.next_multiple_of(PAGE_BYTES)));
        }
        let slot =
            || Arc::new(Slot { piece: Mutex::default(), filled: Condvar::new(), deadline: Arc::clone(&self.deadline) });
        Arc::clone(self.wanted.entry(index).or_insert_with(slot))
    }

    /// Somebody who waited at `slot` does not any more.
    pub(crate) fn unwant(&mut self, index: BlockIndex, slot: &Arc<Slot>) {
        // The map's and his own: nobody else waits.
        let is_last = |wanted: &Arc<Slot>| Arc::ptr_eq(wanted, slot) && Arc::strong_count(slot) <= 2;
        if self.wanted.get(&index).is_some_and(is_last) {
            self.wanted.remove(&index);
        }
    }

    /// It is not open any more. Its thread ends, also in the middle of a block that does not come.
    pub(crate) fn close(&self) {
        self.deadline.cancel();
        self.wake.notify_one();
    }

    /// Whether somebody waits for a block.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Whether a read of `first..=last` goes on where this stream's reader was.
    pub(crate) fn follows(&self, first: BlockIndex, last: BlockIndex) -> bool {
        // Who skips a little is still there, and is read on for.
        let reached = self.demanded.0 + 1 + self.window.max(SKIP_MAX);
        first.0 <= reached && last >= self.demanded && self.reaches_back_to(first)
    }

    /// Read-ahead arrives out of order: a little behind is still the same reader.
    fn reaches_back_to(&self, first: BlockIndex) -> bool {
        first.0 + SKIP_MAX >= self.demanded.0
    }

    /// Its reader was at `first..=last`, and had to wait if `stalled`: the window moves, and grows when it was too small.
    pub(crate) fn advance(&mut self, last: BlockIndex, stalled: bool) {
        self.claim();
        if last > self.demanded {
            self.demanded = last;
            if self.window == 0 {
                // Who only has a look leaves what is ahead of him, and the kernel asks for as much again by itself.
                self.window = if self.begins_with_a_look() { 0 } else { WINDOW_FIRST };
            } else if stalled {
                self.window = (self.window * 2).min(WINDOW_MAX);
            }
        }
    }

    /// Whether it runs ahead of its reader by a share of what all may.
    pub(crate) fn runs_ahead(&self) -> bool {
        self.window > 0 && !self.segment
    }

    /// Whether no more was asked for so far than by somebody who only has a look.
    pub(crate) fn is_look(&self) -> bool {
        self.demanded.0 < self.begin.0 + LOOK_MAX && !self.goes_on && !self.segment
    }

    /// Its reader was there before: it is no look.
    pub(crate) fn goes_on(&mut self) {
        self.goes_on = true;
    }

    /// Whether somebody comes here who had a look up to the block `at`, and at what was fetched ahead of him.
    pub(crate) fn goes_on_from(&self, at: BlockIndex) -> bool {
        (at.0..=at.0 + 1 + WINDOW_FIRST).contains(&self.begin.0)
    }

    /// The last block that was asked for, if it is not the first one.
    pub(crate) fn went_on_to(&self) -> Option<BlockIndex> {
        (self.demanded > self.begin).then_some(self.demanded)
    }

    /// What to fetch now, if anything, with at most `share` blocks of read-ahead.
    pub(crate) fn work(&self, share: u64) -> Option<Work> {
        let len = self.next.len(self.size);
        let end = self.first_end.map_or(len, |end| end.min(len));
        let is_first = self.ahead && self.next == BlockIndex(0);
        (is_first || self.next < self.goal(share)).then_some(Work {
            index: self.next,
            from: self.from,
            end,
            is_last: end == len,
            reach: if self.begins_with_a_look() { Reach::Look } else { Reach::End },
        })
    }

    /// Whether its reader came here and perhaps will go elsewhere: who begins at the beginning of a file mostly goes on.
    fn begins_with_a_look(&self) -> bool {
        self.is_look() && self.begin > BlockIndex(0)
    }

    /// Whether so much may be fetched that waking the thread is worth it.
    pub(crate) fn is_worth_waking(&self, share: u64) -> bool {
        let room = self.goal(share).0.saturating_sub(self.next.0);
        self.parked && (self.is_wanted() || room > self.window.min(share) / 2)
    }

    /// Whether the stream is at the end of its file.
    pub(crate) fn is_done(&self) -> bool {
        self.next >= self.limit
    }

    /// One past the last block to fetch for now.
    fn goal(&self, share: u64) -> BlockIndex {
        if self.segment {
            return self.limit;
        }
        let ahead = self.demanded.0 + 1 + self.window.min(share);
        // A stream that was opened for one block fetches that block, whatever the window says.
        let ahead = if self.window == 0 { 0 } else { ahead };
        let wanted = self.wanted.last_key_value().map_or(0, |(last, _)| last.0 + 1);
        BlockIndex(ahead.max(wanted)).min(self.limit)
    }

    /// `work` was done; gives who waits for it.
    pub(crate) fn fetched(&mut self, work: Work) -> Option<Arc<Slot>> {
        let slot = self.wanted.remove(&self.next);
        self.first_end = None;
        if work.is_last {
            self.next = BlockIndex(self.next.0 + 1);
            self.from = 0;
        }
        slot
    }

    /// Fails everybody who waits.
    pub(crate) fn fail(self, error: &Error) {
        for slot in self.wanted.into_values() {
            slot.fill(Err(error.clone()));
        }
    }
}

/// The window at the beginning of a file of which `end` is one past the last block: a long one may only be looked at, for its kind
/// or a small picture of it, and who goes on asks for more as soon as he has the beginning.
fn first_window(end: BlockIndex) -> u64 {
    if end.0 <= 1 + WINDOW_FIRST { WINDOW_FIRST } else { 0 }
}

/// Where readers wait for one block. It is handed to them here, whatever the cache keeps.
#[derive(Debug)]
pub(crate) struct Slot {
    piece: Mutex<Option<Result<Piece, Error>>>,
    filled: Condvar,
    /// Of the thread that fetches: what moves for it moves for those who wait.
    deadline: Arc<Deadline>,
}

impl Slot {
    pub(crate) fn fill(&self, piece: Result<Piece, Error>) {
        *self.piece.lock() = Some(piece);
        self.filled.notify_all();
    }

    /// Waits, no longer than the own deadline; `None` then. The thread that fetches fails its slots if it panics.
    pub(crate) fn wait(&self) -> Option<Result<Piece, Error>> {
        let mut piece = self.piece.lock();
        loop {
            if let Some(piece) = &*piece {
                return Some(piece.clone());
            }
            deadline::current().follow(&self.deadline);
            if !deadline::wait(&self.filled, &mut piece) {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::Ending;
    use crate::vfs::cache::blocks::BLOCK_LEN;
    use crate::vfs::cache::versions::Versions;
    use crate::vfs::inodes::Ino;

    const SIZE: u64 = 64 * BLOCK_BYTES;

    /// Comes to one block after the other, and gives what is expected of its reader and how many blocks were fetched.
    fn walk(stream: &mut Stream, blocks: Range<u64>) -> Vec<(Reach, u64)> {
        let mut come = |index| {
            stream.want(BlockIndex(index), BLOCK_LEN);
            stream.advance(BlockIndex(index), true);
            let (mut reach, mut fetched) = (None, 0);
            while let Some(work) = stream.work(SIZE) {
                reach = Some(work.reach);
                stream.fetched(work);
                fetched += u64::from(work.is_last);
            }
            (reach.unwrap(), fetched)
        };
        blocks.map(&mut come).collect()
    }

    #[test]
    fn nothing_is_fetched_ahead_of_who_may_only_have_a_look() {
        let deadline = || Deadline::new(None, None, &Ending::default());
        let version = Versions::new().detached(Ino::ROOT, SIZE).id;
        let begin = |index, size| Stream::new(version, BlockIndex(index), 0, size, deadline());
        let (look, on) = (|fetched| (Reach::Look, fetched), |fetched| (Reach::End, fetched));
        assert_eq!(walk(&mut begin(10, SIZE), 10..15), [look(1), look(1), look(1), look(1), on(1 + WINDOW_FIRST)]);
        // In the beginning he goes on with his second block, and what is short is fetched whole.
        assert_eq!(walk(&mut begin(0, SIZE), 0..2), [on(1), on(1 + WINDOW_FIRST)]);
        assert_eq!(walk(&mut begin(0, 3 * BLOCK_BYTES), 0..1), [on(3)]);
        let mut ahead = Stream::ahead(version, SIZE, deadline());
        assert_eq!(ahead.work(SIZE).map(|work| work.reach), Some(Reach::End));
        assert_eq!(walk(&mut ahead, 0..2), [on(1), on(1 + WINDOW_FIRST)]);
        // Nor is a look what is there for a reader who goes on, or goes on where he was before.
        let segment = Stream::segment(version, BlockIndex(10)..BlockIndex(20), SIZE, deadline());
        assert_eq!(segment.work(0).map(|work| work.reach), Some(Reach::End));
        // Who skips a little and then goes on has no look any more.
        let mut skipping = begin(10, SIZE);
        walk(&mut skipping, 10..11);
        assert!(skipping.follows(BlockIndex(10 + SKIP_MAX), BlockIndex(10 + SKIP_MAX)));
        assert!(!skipping.follows(BlockIndex(12 + SKIP_MAX), BlockIndex(12 + SKIP_MAX)));
        assert_eq!(walk(&mut skipping, 10 + SKIP_MAX..11 + SKIP_MAX), [on(SKIP_MAX + WINDOW_FIRST)]);
        let mut known = begin(10, SIZE);
        known.goes_on();
        assert_eq!(walk(&mut known, 10..12), [on(1), on(1 + WINDOW_FIRST)]);
    }

    /// Who skips into a segment must not wait for all that is before.
    #[test]
    fn a_segment_is_fetched_whole_and_waited_for_where_it_will_soon_be() {
        let deadline = Deadline::new(None, None, &Ending::default());
        let (start, end) = (BlockIndex(10), BlockIndex(40));
        let version = Versions::new().detached(Ino::ROOT, SIZE).id;
        let mut segment = Stream::segment(version, start..end, SIZE, deadline);
        let reached: Vec<u64> = (0..64).filter(|index| segment.reaches(BlockIndex(*index), 0)).collect();
        assert_eq!(reached, (10..=10 + SKIP_MAX).collect::<Vec<_>>());
        // Nobody has to ask for it, and nobody's share bounds it.
        let mut fetched = 0;
        while let Some(work) = segment.work(0) {
            assert_eq!((work.index, work.from, work.end), (BlockIndex(10 + fetched), 0, BLOCK_LEN));
            segment.fetched(work);
            fetched += 1;
        }
        assert_eq!(fetched, 30);
        assert!(segment.is_done() && !segment.runs_ahead() && !segment.is_look());
    }
}
