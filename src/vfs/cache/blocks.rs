//! Blocks of content, the ones used last, bounded in bytes.

use crate::vfs::cache::versions::VersionId;
use crate::vfs::figures::Memory;
use lru::LruCache;
use parking_lot::Mutex;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// The unit in which content is fetched and kept: what the kernel's default read-ahead asks for at a time.
pub(crate) const BLOCK_BYTES: u64 = 128 * 1024;
pub(crate) const BLOCK_LEN: usize = 128 * 1024;

/// The number of a block in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BlockIndex(pub(crate) u64);

impl BlockIndex {
    /// The block that holds the byte at `offset`.
    pub(crate) fn of(offset: u64) -> Self {
        Self(offset / BLOCK_BYTES)
    }

    /// Where the block begins (bytes).
    pub(crate) fn start(self) -> u64 {
        self.0 * BLOCK_BYTES
    }

    /// How many bytes of a file of `size` bytes lie in the block.
    pub(crate) fn len(self, size: u64) -> usize {
        let rest = size.saturating_sub(self.start());
        usize::try_from(rest).map_or(BLOCK_LEN, |rest| rest.min(BLOCK_LEN))
    }
}

/// A block's bytes. Its memory goes back to the pool it came from.
pub(crate) struct Block {
    bytes: Box<[u8]>,
    pool: Arc<BlockPool>,
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Block {
    /// The bytes, to be filled before the block is shared.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} bytes)", self.bytes.len())
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.bytes));
    }
}

/// How many unused blocks are kept for the next use (4 MiB).
const SPARE_MAX: usize = 32;

/// Memory of blocks that are not in use. A stream through a full cache so takes no new memory: giving blocks back to the
/// allocator from many threads leaves it with more than the cache is allowed.
#[derive(Debug, Default)]
pub(crate) struct BlockPool {
    spare: Mutex<Vec<Box<[u8]>>>,
}

impl BlockPool {
    /// A block of `len` bytes whose content is arbitrary.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Block {
        let spare = if len == BLOCK_LEN { self.spare.lock().pop() } else { None };
        let bytes = spare.unwrap_or_else(|| vec![0; len].into_boxed_slice());
        Block { bytes, pool: Arc::clone(self) }
    }

    fn give_back(&self, bytes: Box<[u8]>) {
        if bytes.len() == BLOCK_LEN {
            let mut spare = self.spare.lock();
            if spare.len() < SPARE_MAX {
                spare.push(bytes);
            }
        }
    }
}

/// A block as far as it is there: a download may have begun in the middle of it, and not have come to its end.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// Where in the block its bytes begin.
    pub(crate) from: usize,
    pub(crate) bytes: Arc<Block>,
}

impl Piece {
    /// Whether these bytes of the block are in it.
    pub(crate) fn covers(&self, need: &Range<usize>) -> bool {
        self.from <= need.start && need.end <= self.end()
    }

    /// Where in the block its bytes end.
    pub(crate) fn end(&self) -> usize {
        self.from + self.bytes.len()
    }
}

/// What a block costs beside its bytes: map node, reference counts, allocator.
const BLOCK_OVERHEAD_BYTES: usize = 256;

/// The blocks used last.
#[derive(Debug)]
pub(crate) struct Blocks {
    blocks: LruCache<(VersionId, BlockIndex), Piece>,
    bytes: usize,
    bytes_max: usize,
}

impl Blocks {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { blocks: LruCache::unbounded(), bytes: 0, bytes_max }
    }

    /// What they take and may take (bytes).
    pub(crate) fn memory(&self) -> Memory {
        Memory { bytes: self.bytes as u64, bytes_max: self.bytes_max as u64 }
    }

    /// A piece of the block that has the bytes `need`.
    pub(crate) fn find(&mut self, version: VersionId, index: BlockIndex, need: &Range<usize>) -> Option<Piece> {
        self.blocks.get(&(version, index)).filter(|piece| piece.covers(need)).cloned()
    }

    /// Whether some of the block is here, which does not count as a use of it.
    pub(crate) fn holds(&self, version: VersionId, index: BlockIndex) -> bool {
        self.blocks.contains(&(version, index))
    }

    /// Keeps `piece`, unless more of its block is here, and lets go of those unused for longest; the newest stays even where it
    /// alone is too much.
    pub(crate) fn insert(&mut self, version: VersionId, index: BlockIndex, piece: Piece) {
        let key = (version, index);
        if self.blocks.get(&key).is_some_and(|known| known.covers(&(piece.from..piece.end()))) {
            return;
        }
        self.bytes += cost(&piece);
        if let Some(old) = self.blocks.put(key, piece) {
            self.bytes -= cost(&old);
        }
        while self.bytes > self.bytes_max && self.blocks.len() > 1 {
            if let Some((_, oldest)) = self.blocks.pop_lru() {
                self.bytes -= cost(&oldest);
            }
        }
    }

    /// Lets go of all blocks of `version`.
    pub(crate) fn remove(&mut self, version: VersionId) {
        let keys: Vec<_> = self.blocks.iter().map(|(key, _)| *key).filter(|(of, _)| *of == version).collect();
        for key in keys {
            if let Some(block) = self.blocks.pop(&key) {
                self.bytes -= cost(&block);
            }
        }
    }
}

fn cost(piece: &Piece) -> usize {
    piece.bytes.len() + BLOCK_OVERHEAD_BYTES
}
