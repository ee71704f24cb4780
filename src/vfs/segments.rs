//! Whether several downloads of one file side by side bring its reader more than one does: where packets are lost, each download
//! gets only so much, however much the link could carry. Data only; the downloads are in `content`.

use crate::vfs::cache::blocks::{BLOCK_BYTES, BlockIndex};
use std::ops::Range;
use std::time::{Duration, Instant};

/// How many downloads side by side there are at most.
const LANES_MAX: usize = 4;
/// The part of the cache that one segment may fill: so what is ahead of the reader is still there when he comes.
const SEGMENT_PART: u64 = 8;
/// The longest segment (4 MiB): who leaves the file behind him leaves what was fetched of them too.
const SEGMENT_BLOCKS_MAX: u64 = 32;
/// The shortest segment (1 MiB): each costs a few round trips, and what was on its way when it was broken off.
const SEGMENT_BLOCKS_MIN: u64 = 8;
/// The shortest time that a segment takes: one that is done sooner is mostly overhead.
const SEGMENT_TIME_MIN: Duration = Duration::from_millis(250);
/// How many times as long as the opening of a download a segment must take at least: that takes two or three round trips, and one
/// round trip's bytes are on their way when the segment is broken off. They are a tenth of it then.
const OPENINGS_MIN: u32 = 4;
/// How many times as much must come with twice as many downloads for them to stay.
const GAIN_MIN: f64 = 1.3;
/// The shortest time in which is measured what comes.
const TRIAL_MIN: Duration = Duration::from_millis(500);
/// A reader who comes back after so long paused: what came meanwhile says nothing.
const PAUSE: Duration = Duration::from_secs(5);
/// How long it is left at that when more downloads did not help for the first time, and at most: twice as long each time.
const REST: Duration = Duration::from_secs(8);
const REST_MAX: Duration = Duration::from_secs(300);
/// How far a reader's own download may be ahead of him (blocks).
const AHEAD_MAX: u64 = 64;
/// How far a read may be from where the reader was to be his (blocks): the kernel's come out of order.
const NEAR: u64 = 16;
/// After how many reads elsewhere it is another reader, or he reads otherwise.
const STRAYS_MAX: u32 = 16;

/// How a file is read in order, and by how many downloads.
#[derive(Debug)]
pub(crate) struct Segments {
    /// How long each is (blocks).
    len: u64,
    /// One past the last block of the file.
    end: BlockIndex,
    /// Up to where it was read.
    at: BlockIndex,
    /// Reads elsewhere since then.
    strays: u32,
    /// How many downloads side by side are wanted.
    lanes: usize,
    /// How many segments begin before what comes with so many is measured: connections may have to be opened for them first.
    awaited: usize,
    /// Up to where segments were given out.
    given: BlockIndex,
    trial: Trial,
    /// What came with half as many (blocks a second).
    before: f64,
    /// A new download's first bytes come faster, until it meets the first loss: they say nothing.
    is_warm: bool,
    rest: Duration,
    rests_until: Option<Instant>,
}

/// What came since a moment.
#[derive(Debug, Clone, Copy)]
struct Trial {
    since: Instant,
    last: Instant,
    blocks: u64,
    reads: u64,
    /// Of the reads, those that waited for the network.
    waited: u64,
}

impl Trial {
    fn begin(now: Instant) -> Self {
        Self { since: now, last: now, blocks: 0, reads: 0, waited: 0 }
    }
}

impl Segments {
    /// For a file of `size` bytes, if it is long enough for several with a cache of `cache_bytes_max` bytes.
    pub(crate) fn new(size: u64, cache_bytes_max: u64, now: Instant) -> Option<Self> {
        let len = (cache_bytes_max / SEGMENT_PART / BLOCK_BYTES).min(SEGMENT_BLOCKS_MAX);
        let end = BlockIndex(size.div_ceil(BLOCK_BYTES));
        let (at, given, trial) = (BlockIndex(0), BlockIndex(0), Trial::begin(now));
        let is_long = len >= SEGMENT_BLOCKS_MIN && end.0 >= len * (LANES_MAX as u64);
        let (before, is_warm, rest, rests_until) = (0.0, false, REST, None);
        is_long.then_some(Self {
            len,
            end,
            at,
            strays: 0,
            lanes: 1,
            awaited: 0,
            given,
            trial,
            before,
            is_warm,
            rest,
            rests_until,
        })
    }

    /// Somebody read `first..=last`, which he `waited` for or not; opening a download takes `opening`. Whether what was begun for a
    /// reader is of no use any more.
    pub(crate) fn read(
        &mut self,
        blocks: (BlockIndex, BlockIndex),
        waited: bool,
        opening: Option<Duration>,
        now: Instant,
    ) -> bool {
        let (first, last) = blocks;
        if first.0 > self.at.0 + NEAR || first.0 + NEAR < self.at.0 {
            return self.strays_to(last, now);
        }
        self.strays = 0;
        if now.duration_since(self.trial.last) > PAUSE {
            self.trial = Trial::begin(now);
        }
        self.trial.last = now;
        self.trial.reads += 1;
        self.trial.waited += u64::from(waited);
        self.trial.blocks += last.0.saturating_sub(self.at.0);
        self.at = self.at.max(last);
        self.judge(opening, now);
        false
    }

    fn strays_to(&mut self, last: BlockIndex, now: Instant) -> bool {
        self.strays += 1;
        if self.strays <= STRAYS_MAX {
            return false;
        }
        let was_used = self.lanes > 1;
        (self.at, self.given, self.strays, self.lanes, self.is_warm) = (last, BlockIndex(0), 0, 1, false);
        (self.awaited, self.before, self.trial) = (0, 0.0, Trial::begin(now));
        was_used
    }

    /// Decides how many downloads there should be, once enough has come to tell.
    fn judge(&mut self, opening: Option<Duration>, now: Instant) {
        let (elapsed, lanes) = (now.duration_since(self.trial.since), self.lanes as u64);
        // The first segments of several downloads come all at once: twice as many are an average.
        let enough = if lanes == 1 { self.len } else { 2 * lanes * self.len };
        if self.trial.blocks < enough || elapsed < TRIAL_MIN || self.awaited > 0 {
            return;
        }
        let (trial, rate) = (self.trial, self.trial.blocks as f64 / elapsed.as_secs_f64());
        self.trial = Trial::begin(now);
        if !std::mem::replace(&mut self.is_warm, true) {
            return;
        }
        if lanes > 1 && self.before > 0.0 && rate < self.before * GAIN_MIN {
            log::debug!(
                "{lanes} downloads side by side bring {rate:.0} blocks a second, half as many {:.0}",
                self.before
            );
            self.lanes /= 2;
            self.rests_until = Some(now + self.rest);
            self.rest = (self.rest * 2).min(REST_MAX);
        } else if self.lanes < LANES_MAX
            && trial.waited * 2 >= trial.reads
            && self.rests_until.is_none_or(|until| until <= now)
            && self.pays(rate / lanes as f64, opening)
        {
            (self.before, self.awaited, self.lanes) = (rate, self.lanes, self.lanes * 2);
            return;
        }
        // It has paid, or not.
        self.before = 0.0;
    }

    /// Whether segments of downloads that bring `rate` blocks a second each are long enough.
    fn pays(&self, rate: f64, opening: Option<Duration>) -> bool {
        let time = self.len as f64 / rate;
        opening.is_some_and(|opening| time >= SEGMENT_TIME_MIN.max(opening * OPENINGS_MIN).as_secs_f64())
    }

    /// How many downloads side by side there should be.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes
    }

    /// Whether parts of what the reader comes to were opened one by one.
    pub(crate) fn are_given(&self) -> bool {
        self.given > BlockIndex(0)
    }

    /// Whether another segment could begin, so that not too much is ahead of the reader.
    pub(crate) fn has_next(&self) -> bool {
        self.lanes > 1
            && self.given < self.end
            && self.at.0 + self.len < self.end.0
            && self.given.0 <= self.at.0 + self.len * (self.lanes as u64 - 1)
    }

    /// Gives out the next segment; the first one begins where the reader's download, which comes to `next`, has done a segment
    /// more. None if that is somebody else's.
    pub(crate) fn give(&mut self, next: Option<BlockIndex>, now: Instant) -> Option<Range<BlockIndex>> {
        let next = next.map_or(self.at.0 + 1, |next| next.0);
        if next + NEAR < self.at.0 || next > self.at.0 + AHEAD_MAX + NEAR {
            return None;
        }
        let start = if self.given > self.at { self.given } else { BlockIndex(next.max(self.at.0 + 1) + self.len) };
        let rest = self.end.0.checked_sub(start.0).filter(|rest| *rest > 0)?;
        let len = if rest < self.len * 3 / 2 { rest } else { self.len };
        self.given = BlockIndex(start.0 + len);
        if self.awaited > 0 {
            self.awaited -= 1;
            self.trial = Trial::begin(now);
        }
        Some(start..self.given)
    }

    /// Where a download for the reader that begins at `start` comes to a segment of another.
    pub(crate) fn limit(&self, start: BlockIndex) -> Option<BlockIndex> {
        if start.0 + NEAR < self.at.0 {
            return None;
        }
        let rest = self.given.0.checked_sub(start.0 + 1)?;
        Some(BlockIndex(self.given.0 - rest / self.len * self.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHE: u64 = 32 << 20;
    /// Blocks in a segment of such a cache.
    const LEN: u64 = 32;
    const OPENING: Option<Duration> = Some(Duration::from_millis(60));

    /// A reader for whom so many blocks a second come for each number of downloads.
    struct Reader {
        segments: Segments,
        now: Instant,
        at: u64,
    }

    impl Reader {
        fn new() -> Self {
            let now = Instant::now();
            Self { segments: Segments::new(1 << 30, CACHE, now).unwrap(), now, at: 0 }
        }

        fn reads(&mut self, blocks: u64, waited: bool, rate: impl Fn(usize) -> f64) -> usize {
            for _ in 0..blocks {
                while self.segments.has_next() {
                    self.segments.give(Some(BlockIndex(self.at)), self.now);
                }
                self.now += Duration::from_secs_f64(1.0 / rate(self.segments.lanes()));
                self.at += 1;
                let at = BlockIndex(self.at);
                self.segments.read((at, at), waited, OPENING, self.now);
            }
            self.segments.lanes()
        }
    }

    #[test]
    fn more_downloads_stay_only_where_they_bring_more() {
        let lossy = |lanes| 20.0 * lanes as f64;
        let mut reader = Reader::new();
        assert_eq!(reader.reads(2 * LEN - 2, true, lossy), 1);
        assert_eq!(reader.reads(4, true, lossy), 2);
        assert_eq!(reader.reads(4 * LEN, true, lossy), 4);
        assert_eq!(reader.reads(40 * LEN, true, lossy), 4);

        let full = |_| 60.0;
        let mut reader = Reader::new();
        assert_eq!(reader.reads(2 * LEN + 2, true, full), 2);
        assert_eq!(reader.reads(4 * LEN, true, full), 1);
        // That is tried again, after a while.
        assert_eq!(reader.reads(7 * 60, true, full), 1);
        assert_eq!(reader.reads(2 * 60, true, full), 2);
        assert_eq!(reader.reads(4 * LEN, true, full), 1);
        assert_eq!(reader.reads(14 * 60, true, full), 1);
        assert_eq!(reader.reads(3 * 60, true, full), 2);

        let two_fill_it = |lanes| if lanes == 1 { 50.0 } else { 100.0 };
        let mut reader = Reader::new();
        assert_eq!(reader.reads(8 * LEN, true, two_fill_it), 4);
        assert_eq!(reader.reads(8 * LEN, true, two_fill_it), 2);
        assert_eq!(reader.reads(8 * LEN, true, two_fill_it), 2);
    }

    #[test]
    fn one_download_is_left_at_that_where_it_is_enough_or_fast() {
        // The reader takes his time.
        assert_eq!(Reader::new().reads(20 * LEN, false, |_| 20.0), 1);
        // A segment would be over in 160 ms; in 200 ms, where its opening takes 60.
        assert_eq!(Reader::new().reads(20 * LEN, true, |_| 200.0), 1);
        assert_eq!(Reader::new().reads(20 * LEN, true, |_| 140.0), 1);
        // The file, or the cache, is small.
        let now = Instant::now();
        assert!(Segments::new(15 << 20, CACHE, now).is_none());
        assert!(Segments::new(1 << 30, 7 << 20, now).is_none());
    }

    #[test]
    fn segments_follow_each_other_and_do_not_run_away() {
        let mut reader = Reader::new();
        assert!(!reader.segments.has_next());
        reader.reads(2 * LEN, true, |_| 20.0);
        let at = reader.at;
        let mut given = Vec::new();
        while reader.segments.has_next() {
            given.push(reader.segments.give(Some(BlockIndex(at + 3)), reader.now).unwrap());
        }
        let start = at + 3 + LEN;
        let segment = |number| BlockIndex(start + number * LEN)..BlockIndex(start + (number + 1) * LEN);
        assert_eq!(given, [segment(0)]);
        // A reader who lost his download finds the segments as they are.
        let limits =
            [start - LEN, start - 1, start, start + 1, start + LEN - 1].map(|at| reader.segments.limit(BlockIndex(at)));
        let expected = [start, start, start + LEN, start + LEN, start + LEN].map(|at| Some(BlockIndex(at)));
        assert_eq!(limits, expected);
        assert_eq!(reader.segments.limit(BlockIndex(start + LEN)), None);
        // Somebody reads elsewhere: once, and for good.
        let elsewhere = (BlockIndex(4000), BlockIndex(4000));
        let mut uses = (0..17).map(|_| reader.segments.read(elsewhere, true, OPENING, reader.now));
        assert_eq!(uses.position(|is_over| is_over), Some(16));
        assert_eq!(reader.segments.lanes(), 1);
        assert!(!reader.segments.has_next());
    }

    #[test]
    fn the_last_segment_takes_the_rest() {
        let mut reader = Reader::new();
        reader.reads(8 * LEN, true, |lanes| 20.0 * lanes as f64);
        let mut given = vec![reader.segments.give(Some(BlockIndex(reader.at)), reader.now).unwrap()];
        while let Some(range) = reader.segments.give(Some(BlockIndex(reader.at)), reader.now) {
            given.push(range);
        }
        assert!(given.windows(2).all(|two| two[0].end == two[1].start));
        let last = given.last().unwrap();
        assert_eq!(last.end, BlockIndex(8192));
        assert!((LEN / 2..LEN * 3 / 2).contains(&(last.end.0 - last.start.0)));
    }
}
