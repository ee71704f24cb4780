//! First blocks of files that are fetched before anybody asks, and how many of them were of no use.

use crate::remote::Metadata;
use crate::vfs::cache::blocks::{BLOCK_BYTES, BlockIndex};
use crate::vfs::cache::versions::VersionId;
use crate::vfs::content::{Content, Place, STREAMS_MAX, Shared, State};
use crate::vfs::inodes::Ino;
use crate::vfs::stream::Stream;
use std::collections::HashMap;
use std::time::Instant;

/// What was fetched ahead (or is being) and nobody has read.
#[derive(Debug, Default)]
pub(super) struct Unused {
    blocks: HashMap<VersionId, u64>,
    /// Of all that nobody read, forgotten or not.
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
            if state.versions.differs(ino, metadata) || !self.shared.may_fetch_ahead(&state, bytes) {
                return false;
            }
            let (version, _) = state.versions.open(ino, metadata, size, now);
            if state.has_beginning(version.id) {
                return true;
            }
            state.unused.add(version.id, bytes);
            self.shared.counters.files_ahead.add(1);
            self.shared.counters.bytes_ahead.add(bytes);
            let stream = Stream::ahead(version.id, size);
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
    fn may_fetch_ahead(&self, state: &State, bytes: u64) -> bool {
        let used = self.counters.bytes.value().saturating_sub(state.unused.bytes);
        state.streams.len() < STREAMS_MAX - STREAMS_SPARED
            && state.unused.bytes + bytes <= used / USED_PART + UNUSED_MAX
            && state.unused.pending() + bytes <= self.ahead_max * BLOCK_BYTES
    }

    /// Somebody reads `first` of `version`.
    pub(super) fn used(&self, state: &mut State, version: VersionId, first: BlockIndex) {
        if first == BlockIndex(0)
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
}

impl Unused {
    fn add(&mut self, version: VersionId, bytes: u64) {
        if self.blocks.len() >= BLOCKS_MAX {
            self.blocks.clear();
        }
        self.blocks.insert(version, bytes);
        self.bytes += bytes;
    }

    fn take(&mut self, version: VersionId) -> Option<u64> {
        let bytes = self.blocks.remove(&version)?;
        self.bytes -= bytes;
        Some(bytes)
    }

    fn pending(&self) -> u64 {
        self.blocks.values().sum()
    }
}

/// The part of what was read that may be fetched in vain.
const USED_PART: u64 = 8;
/// How much may be fetched in vain besides (bytes).
const UNUSED_MAX: u64 = 6 << 20;
/// How many blocks that nobody has read are remembered one by one.
const BLOCKS_MAX: usize = 256;
/// How many positions are left to those who read.
const STREAMS_SPARED: usize = 4;
