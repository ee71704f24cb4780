//! The form of the files: up to 16 blocks that follow each other in one version of one file.
//!
//! | bytes | what |
//! |---|---|
//! | 0 to 8 | the form |
//! | 8 to 56 | the stamp of the version |
//! | 128 to 384 | the checksum of each block, 0 where there is none |
//! | from 4096 | the blocks, each in its own place, with holes for those that are not there |
//!
//! A block's checksum covers its content, the file, its place in it and the version. So nothing has to be written in an
//! order, nor to be on the disk at any time: what a crash tore, what lies in a wrong place and what rotted is not what the
//! checksum says, and is not given.
//!
//! The checksum is XXH3 with 128 bits: as good as any against bad luck, and several times faster than what would also
//! hold against somebody who forges it, who would have to be able to write here anyway. Whose a block is, is told apart by
//! SHA-256, since servers choose names.

use crate::vfs::cache::blocks::{BLOCK_BYTES, BlockIndex};
use crate::vfs::cache::disk::identity::FileId;
use crate::vfs::cache::disk::stamp::{STAMP_BYTES, Stamp};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use xxhash_rust::xxh3::Xxh3Default;

/// How many blocks a segment has (2 MiB): few files for large content, little that goes at once.
pub(crate) const SEGMENT_BLOCKS: u64 = 16;
/// What comes before the blocks (bytes).
pub(super) const HEADER_BYTES: u64 = 4096;
const FORM: &[u8; 8] = b"ftpsfs\0\x01";
const STAMP_AT: usize = 8;
const STAMP_END: usize = STAMP_AT + STAMP_BYTES;
const SUMS_AT: usize = 128;
const SUM_BYTES: usize = 16;
const HEADER_LEN: usize = SUMS_AT + 16 * SUM_BYTES;

/// One segment, open.
#[derive(Debug)]
pub(crate) struct Segment {
    file: File,
    id: FileId,
    stamp: Stamp,
    header: [u8; HEADER_LEN],
}

impl Segment {
    /// The segment of `id` in `file`; `None` where it is none, or not whole.
    pub(super) fn read(file: File, id: FileId) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER_LEN];
        match file.read_exact_at(&mut header, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        // One that rotted is another version's: the checksums of the blocks cover it.
        let stamp = header[STAMP_AT..STAMP_END].try_into().ok().as_ref().and_then(Stamp::from_bytes);
        Ok(stamp.filter(|_| header.starts_with(FORM)).map(|stamp| Self { file, id, stamp, header }))
    }

    /// Makes an empty segment of `file`, which is empty.
    pub(super) fn create(file: File, id: FileId, stamp: &Stamp) -> io::Result<Self> {
        let mut header = [0; HEADER_LEN];
        header[..STAMP_AT].copy_from_slice(FORM);
        let bytes = stamp.to_bytes().ok_or(io::ErrorKind::InvalidInput)?;
        header[STAMP_AT..STAMP_END].copy_from_slice(&bytes);
        file.write_all_at(&header, 0)?;
        Ok(Self { file, id, stamp: stamp.clone(), header })
    }

    /// The number of the segment that holds `index`.
    pub(crate) fn of(index: BlockIndex) -> u64 {
        index.0 / SEGMENT_BLOCKS
    }

    pub(crate) fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Whether it says that it has the block `index`, which lies in it.
    pub(crate) fn holds(&self, index: BlockIndex) -> bool {
        self.sum(index) != [0; SUM_BYTES]
    }

    /// Reads the block `index`; `false` where what is there is not what was stored.
    pub(crate) fn load(&self, index: BlockIndex, bytes: &mut [u8]) -> io::Result<bool> {
        match self.file.read_exact_at(bytes, place(index)) {
            Ok(()) => Ok(self.sum(index) == self.checksum(index, bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes the block `index`, and then that it is there.
    pub(super) fn store(&self, index: BlockIndex, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, place(index))?;
        self.file.write_all_at(&self.checksum(index, bytes), sum_at(index) as u64)
    }

    fn sum(&self, index: BlockIndex) -> [u8; SUM_BYTES] {
        let at = sum_at(index);
        let mut sum = [0; SUM_BYTES];
        sum.copy_from_slice(&self.header[at..at + SUM_BYTES]);
        sum
    }

    fn checksum(&self, index: BlockIndex, bytes: &[u8]) -> [u8; SUM_BYTES] {
        let mut hasher = Xxh3Default::new();
        hasher.update(self.id.as_bytes());
        hasher.update(&index.0.to_le_bytes());
        hasher.update(&self.header[STAMP_AT..STAMP_END]);
        hasher.update(bytes);
        // 0 means that there is none.
        hasher.digest128().max(1).to_le_bytes()
    }
}

/// Where the block's checksum is in its segment.
fn sum_at(index: BlockIndex) -> usize {
    // Below 16.
    let number = usize::try_from(index.0 % SEGMENT_BLOCKS).unwrap_or(0);
    SUMS_AT + number * SUM_BYTES
}

/// Where the block is in its segment.
fn place(index: BlockIndex) -> u64 {
    HEADER_BYTES + index.0 % SEGMENT_BLOCKS * BLOCK_BYTES
}
