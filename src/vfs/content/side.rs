//! Several streams of one file, side by side, for one reader.

use crate::vfs::cache::blocks::BlockIndex;
use crate::vfs::cache::versions::{Version, VersionId};
use crate::vfs::content::{STREAMS_MAX, STREAMS_PER_FILE_MAX, Shared, Span, State, spawn};
use crate::vfs::error::Error;
use crate::vfs::place::Place;
use crate::vfs::segments::Segments;
use crate::vfs::stream::Stream;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many connections are left to others: who asks something must not wait for a segment to give way.
const CONNECTIONS_SPARED: usize = 1;

impl Shared {
    /// Notes how fast `version` is read, and whether another stream would make it faster.
    pub(super) fn goes_slowly(&self, state: &mut State, version: &Version, span: Span, waited: bool) -> bool {
        if version.is_gone() {
            return false;
        }
        let (now, opening) = (Instant::now(), state.opening);
        let segments = match state.segments.entry(version.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => match Segments::new(version.size, self.cache_bytes_max, now) {
                Some(segments) => new.insert(segments),
                None => return false,
            },
        };
        if segments.read((span.first, span.last), waited, opening, now) {
            state.close_segments(version.id);
            return false;
        }
        segments.has_next() && state.has_lane(version.id)
    }

    /// Begins the next segment of `version`, if there is a connection that nobody needs.
    pub(super) fn begin_segment(self: &Arc<Self>, version: &Arc<Version>, place: &Place) {
        let remote = &self.fetching.remote;
        if remote.spare() <= CONNECTIONS_SPARED {
            remote.prepare();
            return;
        }
        let begun = {
            let mut state = self.state.lock();
            // Somebody else may have been faster.
            let stream = state.next_segment(version).map(|blocks| {
                log::debug!("read {}: another download beside from block {}", place.path, blocks.start.0);
                Stream::segment(version.id, blocks, version.size, self.deadline())
            });
            stream.map(|stream| self.add_stream(&mut state, version, stream, place))
        };
        if let Some((id, run)) = begun
            && !spawn(run, place)
            && let Some(stream) = self.state.lock().streams.remove(&id)
        {
            stream.fail(&Error::Panicked);
        }
    }

    /// A download had its first bytes after `time`.
    pub(super) fn opened_in(&self, time: Duration) {
        let mut state = self.state.lock();
        state.opening = Some(state.opening.map_or(time, |least| least.min(time)));
    }
}

impl State {
    /// Whether there is one reader, and room for another stream beside his.
    fn has_lane(&mut self, version: VersionId) -> bool {
        let Some(lanes) = self.segments.get(&version).map(Segments::lanes) else { return false };
        // What is ahead of two readers by several segments each is more than the cache holds until they come there.
        if self.streams.values().any(|stream| stream.is_segment() && stream.version != version) {
            return false;
        }
        let (all, open) = (self.streams.len(), self.streams_of(version).count());
        let readers = self.streams_of(version).filter(|stream| stream.runs_ahead()).count();
        let segments = self.streams_of(version).filter(|stream| stream.is_segment()).count();
        readers <= 1 && readers + segments < lanes && open < STREAMS_PER_FILE_MAX && all < STREAMS_MAX
    }

    /// The blocks of the next segment; who fetches what is before them goes no further than to them.
    fn next_segment(&mut self, version: &Version) -> Option<Range<BlockIndex>> {
        if !self.has_lane(version.id) {
            return None;
        }
        let reader = self.streams_of(version.id).filter(|stream| stream.runs_ahead()).map(|stream| stream.next()).max();
        let segments = self.segments.get_mut(&version.id).filter(|segments| segments.has_next())?;
        let blocks = segments.give(reader, Instant::now())?;
        let others = |stream: &&mut Stream| !stream.is_segment() && stream.next() < blocks.end;
        for stream in self.streams_of(version.id).filter(others) {
            stream.end_at(blocks.start);
            stream.wake.notify_one();
        }
        Some(blocks)
    }

    /// Nobody goes on reading where segments were begun.
    fn close_segments(&mut self, version: VersionId) {
        while self.close_one(|stream| stream.version == version && stream.is_segment()).is_some() {}
    }
}
