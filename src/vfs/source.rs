//! The bytes of one version of a file from a position on, across downloads that break off.

use crate::path::RemotePath;
use crate::remote::{self, Download, ErrorKind, Remote};
use crate::vfs::cache::blocks::{Block, BlockIndex, BlockPool};
use crate::vfs::counters::Counters;
use crate::vfs::error::Error;
use std::sync::Arc;

/// How often in a row a lost connection is replaced without a byte arriving in between.
const LOST_MAX: u32 = 2;
/// How often in a row a download may give way without a byte arriving in between. Whoever it gave way to goes on, so
/// this is only a guard against going round forever.
const PREEMPTED_MAX: u32 = 64;
/// How often the last block is fetched again because the confirmation of the end was lost.
const END_MAX: u32 = 3;

/// Where a stream's bytes come from.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) remote: Arc<dyn Remote>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) path: RemotePath,
    /// Whether a listing shows the path, for the error's meaning.
    pub(crate) listed: bool,
    /// Of the whole file, in bytes, as the server told it.
    pub(crate) size: u64,
    position: u64,
    download: Option<Box<dyn Download>>,
    opened: bool,
    lost: u32,
    preempted: u32,
}

/// Why there are no more bytes.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The server failed.
    Failed(Error),
    /// The content is not what the server told of the file.
    Changed,
    /// Nobody wants them any more.
    Unwanted,
}

impl Source {
    pub(crate) fn new(
        remote: Arc<dyn Remote>,
        counters: Arc<Counters>,
        path: RemotePath,
        listed: bool,
        size: u64,
    ) -> Self {
        let (position, download, opened) = (0, None, false);
        Self { remote, counters, path, listed, size, position, download, opened, lost: 0, preempted: 0 }
    }

    /// Fetches the block `index`. Blocks asked for in order come from one download.
    ///
    /// The file's last block is given only when the server has confirmed that the file ends there. After the download
    /// gave way to somebody else it goes on once `wanted` returns `true`, which may wait; `false` ends it.
    pub(crate) fn block(
        &mut self,
        index: BlockIndex,
        pool: &Arc<BlockPool>,
        wanted: &mut dyn FnMut() -> bool,
    ) -> Result<Block, Stop> {
        let mut block = pool.take(index.len(self.size));
        let is_last = index.start() + block.len() as u64 >= self.size;
        for _ in 0..END_MAX {
            self.seek(index.start());
            self.fill(block.bytes_mut(), wanted)?;
            if !is_last || self.ends_here()? {
                return Ok(block);
            }
        }
        let error = remote::Error::new(ErrorKind::Lost, "the end of the file was never confirmed");
        Err(Stop::Failed(Error::logged("read", &self.path, &error, self.listed)))
    }

    fn seek(&mut self, position: u64) {
        if self.position != position {
            self.download = None;
            self.position = position;
        }
    }

    fn fill(&mut self, mut bytes: &mut [u8], wanted: &mut dyn FnMut() -> bool) -> Result<(), Stop> {
        while !bytes.is_empty() {
            match self.read(bytes) {
                Ok(0) => return Err(self.changed("ends before its size")),
                Ok(count) => bytes = bytes.get_mut(count..).unwrap_or_default(),
                Err(error) => self.set_back(&error, wanted)?,
            }
        }
        Ok(())
    }

    /// Whether the server confirms that the file ends at the position; `false` if the connection broke over it.
    fn ends_here(&mut self) -> Result<bool, Stop> {
        match self.read(&mut [0]) {
            Ok(0) => Ok(true),
            Ok(_) => Err(self.changed("goes on after its size")),
            Err(error) => {
                // Nothing is left to ask for at the end of a file: the block before it is fetched once more.
                self.set_back(&error, &mut || true)?;
                self.seek(u64::MAX);
                Ok(false)
            }
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, remote::Error> {
        let download = match &mut self.download {
            Some(download) => download,
            none => {
                self.counters.downloads.add(1);
                self.counters.downloads_resumed.add(u64::from(self.opened));
                self.opened = true;
                none.insert(self.remote.read_from(&self.path, self.position, Some(self.size))?)
            }
        };
        let count = download.read(bytes)?.min(bytes.len());
        if count > 0 {
            (self.lost, self.preempted) = (0, 0);
            self.position += count as u64;
            self.counters.bytes.add(count as u64);
        }
        Ok(count)
    }

    /// Decides whether to go on after `error`.
    fn set_back(&mut self, error: &remote::Error, wanted: &mut dyn FnMut() -> bool) -> Result<(), Stop> {
        self.download = None;
        match error.kind {
            ErrorKind::Lost if self.lost < LOST_MAX => self.lost += 1,
            ErrorKind::Preempted if self.preempted < PREEMPTED_MAX => {
                self.preempted += 1;
                if !wanted() {
                    return Err(Stop::Unwanted);
                }
            }
            _ => return Err(Stop::Failed(Error::logged("read", &self.path, error, self.listed))),
        }
        log::debug!("read {}: again from byte {}: {error}", self.path, self.position);
        Ok(())
    }

    fn changed(&self, how: &str) -> Stop {
        log::warn!("read {}: the file changed on the server: it {how} ({} bytes)", self.path, self.size);
        Stop::Changed
    }
}
