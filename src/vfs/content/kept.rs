//! Content from the cache on disk.

use crate::path::RemotePath;
use crate::remote::Metadata;
use crate::vfs::cache::blocks::{BlockIndex, Piece};
use crate::vfs::cache::disk::About;
use crate::vfs::cache::disk::stamp::Stamp;
use crate::vfs::cache::versions::Version;
use crate::vfs::content::{Bytes, Content, Shared, Span};
use crate::vfs::disk::DiskCache;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

impl Content {
    /// Whether there is a cache on disk.
    pub(crate) fn has_disk(&self) -> bool {
        self.shared.disk.is_some()
    }

    /// Before a question is asked about the file at `path`; nothing where there is no cache on disk.
    pub(crate) fn about(&self, path: impl FnOnce() -> Option<RemotePath>) -> Option<About> {
        let disk = self.shared.disk.as_ref()?;
        path().map(|path| disk.about(&path))
    }

    /// `version` is what the server told at most `age` ago when asked `about` it: it may be in the cache on disk.
    pub(crate) fn put_on_disk(&self, version: &Version, about: Option<About>, metadata: &Metadata, age: Duration) {
        if self.shared.disk.is_none() {
            return;
        }
        let wall = SystemTime::now();
        let key = about.and_then(|about| DiskCache::key(about, metadata, wall, age));
        if version.put_on_disk(key).is_some() {
            return;
        }
        // What was fetched ahead of this is of the same version if that had settled even before.
        let settled = Stamp::new(metadata, wall, age + version.age()).is_some();
        let known = self.shared.state.lock().blocks.find(version.id, BlockIndex(0), &(0..1));
        if let (true, Some(piece)) = (settled, known) {
            self.shared.keep(version, BlockIndex(0), &piece);
        }
    }

    /// Whether the cache on disk has, as far as `metadata` tells, the beginning of the file at `path`.
    pub(crate) fn seems_stored(&self, path: &RemotePath, metadata: &Metadata) -> bool {
        self.shared.disk.as_ref().is_some_and(|disk| disk.seems_to_hold(path, metadata, BlockIndex(0)))
    }
}

impl Shared {
    /// The bytes of `span`, if the cache on disk has all that the one in memory lacks; else what it has is there by now.
    pub(super) fn read_kept(&self, version: &Version, span: Span) -> Option<Bytes> {
        let (disk, key) = (self.disk.as_ref()?, version.on_disk()?);
        let mut pieces: Vec<Option<Piece>> = {
            let mut state = self.state.lock();
            span.needs().map(|(index, need)| state.blocks.find(version.id, index, &need)).collect()
        };
        let lacking = span.needs().zip(&pieces).filter(|(_, piece)| piece.is_none());
        let lacking: Vec<BlockIndex> = lacking.map(|((index, _), _)| index).collect();
        let loaded = disk.load(&key, &lacking, &self.pool);
        let mut state = self.state.lock();
        if version.is_gone() {
            return None;
        }
        let places = pieces.iter_mut().filter(|piece| piece.is_none());
        for ((place, index), block) in places.zip(lacking).zip(loaded) {
            let Some(block) = block else { continue };
            self.counters.blocks_on_disk.add(1);
            let piece = Piece { from: 0, bytes: Arc::new(block) };
            state.blocks.insert(version.id, index, piece.clone());
            *place = Some(piece);
        }
        drop(state);
        pieces.into_iter().collect::<Option<Vec<_>>>().map(|pieces| span.bytes(pieces))
    }

    /// Lets the cache on disk store a block that the server gave, if it is whole.
    pub(super) fn keep(&self, version: &Version, index: BlockIndex, piece: &Piece) {
        if let (Some(disk), Some(key)) = (&self.disk, version.on_disk())
            && piece.covers(&(0..index.len(version.size)))
        {
            self.counters.blocks_kept.add(1);
            disk.store(key, index, Arc::clone(&piece.bytes));
        }
    }
}
