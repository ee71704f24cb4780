//! What a read touches, and what it gets.

use crate::vfs::cache::blocks::{BLOCK_BYTES, BLOCK_LEN, Block, BlockIndex, Piece};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a file, where they lie in the cache.
#[derive(Debug, Default)]
pub struct Bytes {
    /// All but the first from their block's beginning on.
    blocks: Vec<Arc<Block>>,
    /// Where the bytes begin in the first block.
    skip: usize,
    len: usize,
}

impl Bytes {
    /// Bytes that were put together here.
    pub(crate) fn local(block: Block) -> Self {
        let len = block.len();
        Self { blocks: vec![Arc::new(block)], skip: 0, len }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Shows the bytes in one piece: copied only if they lie in several blocks.
    pub fn with<R>(&self, show: impl FnOnce(&[u8]) -> R) -> R {
        match self.blocks.as_slice() {
            [] => show(&[]),
            [block] => show(block.get(self.skip..self.skip + self.len).unwrap_or_default()),
            blocks => {
                let mut bytes = Vec::with_capacity(self.len);
                let mut skip = self.skip;
                for block in blocks {
                    let part = block.get(skip..).unwrap_or_default();
                    bytes.extend_from_slice(&part[..part.len().min(self.len - bytes.len())]);
                    skip = 0;
                }
                show(&bytes)
            }
        }
    }
}

/// What a read touches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) first: BlockIndex,
    pub(super) last: BlockIndex,
    skip: usize,
    len: usize,
}

impl Span {
    pub(super) fn new(offset: u64, size: u32, file_size: u64) -> Option<Self> {
        let end = offset.saturating_add(u64::from(size)).min(file_size);
        let len = usize::try_from(end.checked_sub(offset).filter(|len| *len > 0)?).ok()?;
        let skip = usize::try_from(offset % BLOCK_BYTES).ok()?;
        Some(Self { first: BlockIndex::of(offset), last: BlockIndex::of(end - 1), skip, len })
    }

    pub(super) fn indices(self) -> impl Iterator<Item = BlockIndex> {
        (self.first.0..=self.last.0).map(BlockIndex)
    }

    /// The bytes that are read of each block.
    pub(super) fn needs(self) -> impl Iterator<Item = (BlockIndex, Range<usize>)> {
        let end = self.skip + self.len;
        self.indices().enumerate().map(move |(number, index)| {
            let before = number * BLOCK_LEN;
            (index, self.skip.saturating_sub(before)..(end - before).min(BLOCK_LEN))
        })
    }

    pub(super) fn bytes(self, pieces: Vec<Piece>) -> Bytes {
        let skip = self.skip - pieces.first().map_or(0, |piece| piece.from);
        Bytes { blocks: pieces.into_iter().map(|piece| piece.bytes).collect(), skip, len: self.len }
    }
}
