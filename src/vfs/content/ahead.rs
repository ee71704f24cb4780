//! First blocks of files that are fetched before anybody asks, and how many of them were of no use.

use crate::remote::Metadata;
use crate::vfs::cache::blocks::{BLOCK_BYTES, BlockIndex};
use crate::vfs::cache::versions::VersionId;
use crate::vfs::content::{Content, STREAMS_MAX, Shared, State};
use crate::vfs::inodes::Ino;
use crate::vfs::place::Place;
use crate::vfs::stream::Stream;
use std::collections::VecDeque;
use std::time::Instant;

/// What was fetched ahead (or is being) and nobody has read.
#[derive(Debug, Default)]
pub(super) struct Unused {
    /// Of what may still be read, the oldest first: the version and its bytes.
    pending: VecDeque<(VersionId, u64)>,
    /// Of all that nobody read, also of what is not here any more.
    bytes: u64,
}

impl Content {
    /// Whether the first block of `ino` is known or on its way.
    pub(crate) fn knows_beginning(&self, ino: Ino) -> bool {
        let mut state = self.shared.state.lock();
        state.versions.current(ino).is_some_and(|version| state.has_beginning(version))
    }

    /// Fetches the first block of `ino` in case that somebody reads it soon, unless it is known, or under way, or too much of
    /// what was fetched so was of no use; whether that could be begun. Who reads it meanwhile waits for this block.
    ///
    /// `is_there` tells whether the file still lies at `place` and is not written: asked when whoever moves or writes it
    /// would find this download, and end it.
    pub(crate) fn fetch_ahead(
        &self,
        ino: Ino,
        metadata: &Metadata,
        place: &Place,
        now: Instant,
        is_there: impl FnOnce() -> bool,
    ) -> bool {
        let Some(size) = metadata.size else { return false };
        let bytes = size.min(BLOCK_BYTES);
        let (version, run) = {
            let mut state = self.shared.state.lock();
            if state.versions.differs(ino, metadata) || !self.shared.may_fetch_ahead(&mut state, bytes) {
                return false;
            }
            let (version, _) = state.versions.open(ino, metadata, size, now);
            if state.has_beginning(version.id) {
                return true;
            }
            state.unused.add(version.id, bytes);
            self.shared.counters.files_ahead.add(1);
            self.shared.counters.bytes_ahead.add(bytes);
            let stream = Stream::ahead(version.id, size, self.shared.deadline());
            let (_, run) = self.shared.add_stream(&mut state, &version, stream, place);
            (version.id, run)
        };
        if !is_there() {
            self.shared.state.lock().close_idle(version);
        }
        run();
        true
    }
}

impl Shared {
    /// Whether `bytes` more may be fetched ahead: even if none of it is ever read, no more than a fifth of what was read is
    /// wasted, and 8 MiB, with something to spare for what streams read too far.
    fn may_fetch_ahead(&self, state: &mut State, bytes: u64) -> bool {
        state.let_go_of_unused();
        let used = self.counters.bytes.value().saturating_sub(state.unused.bytes);
        state.streams.len() < STREAMS_MAX - STREAMS_SPARED
            && state.unused.bytes + bytes <= used / USED_PART + UNUSED_MAX
            && state.unused.pending() + bytes <= self.ahead_max * BLOCK_BYTES
    }

    /// Somebody reads `first` of `version`, of which nothing was looked for so far.
    pub(super) fn used(&self, state: &mut State, version: VersionId, first: BlockIndex) {
        if first == BlockIndex(0)
            && state.has_unused(version)
            && let Some(bytes) = state.unused.take(version)
        {
            self.counters.bytes_ahead_used.add(bytes);
        }
    }
}

impl State {
    fn has_beginning(&mut self, version: VersionId) -> bool {
        self.blocks.find(version, BlockIndex(0), &(0..1)).is_some() || self.streams_of(version).next().is_some()
    }

    /// Whether the first block of `version`, if it was fetched ahead, is here or on its way.
    fn has_unused(&self, version: VersionId) -> bool {
        let is_coming = |stream: &Stream| stream.version == version && stream.reaches(BlockIndex(0), 0);
        self.blocks.holds(version, BlockIndex(0)) || self.streams.values().any(is_coming)
    }

    /// What fell out of the cache, ended with its version, or did not come, was fetched in vain: whoever wants it now causes
    /// another fetch.
    fn let_go_of_unused(&mut self) {
        let mut pending = std::mem::take(&mut self.unused.pending);
        pending.retain(|(version, _)| self.has_unused(*version));
        self.unused.pending = pending;
    }
}

impl Unused {
    fn add(&mut self, version: VersionId, bytes: u64) {
        if self.pending.len() >= PENDING_MAX {
            // It counts as fetched in vain, even if somebody reads it later.
            self.pending.pop_front();
        }
        self.pending.push_back((version, bytes));
        self.bytes += bytes;
    }

    fn take(&mut self, version: VersionId) -> Option<u64> {
        let position = self.pending.iter().position(|(pending, _)| *pending == version)?;
        let (_, bytes) = self.pending.remove(position)?;
        self.bytes -= bytes;
        Some(bytes)
    }

    fn pending(&self) -> u64 {
        self.pending.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// The part of what was read that may be fetched in vain.
const USED_PART: u64 = 8;
/// How much may be fetched in vain besides (bytes).
const UNUSED_MAX: u64 = 6 << 20;
/// How many blocks that nobody has read are remembered one by one.
const PENDING_MAX: usize = 256;
/// How many positions are left to those who read.
const STREAMS_SPARED: usize = 4;
