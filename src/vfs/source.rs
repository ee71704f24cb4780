//! The bytes of one version of a file from a position on, across downloads that break off.

use crate::deadline;
use crate::path::RemotePath;
use crate::remote::{self, Download, ErrorKind, Metadata, Reach, Remote};
use crate::vfs::counters::Counters;
use crate::vfs::error::Error;
use crate::vfs::place::Place;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

/// How often in a row a lost connection is replaced without a byte arriving in between.
const LOST_MAX: u32 = 2;
/// How often in a row a download may give way without a byte arriving in between. Whoever it gave way to goes on, so
/// this is only a guard against going round forever.
const PREEMPTED_MAX: u32 = 64;
/// Between two looks whether a file that is being renamed has its name.
const MOVING_PAUSE: Duration = Duration::from_millis(10);

/// Where a stream's bytes come from.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) remote: Arc<dyn Remote>,
    pub(crate) counters: Arc<Counters>,
    place: Place,
    /// Where the download that was opened last is of.
    path: RemotePath,
    /// Of the whole file, in bytes, as the server told it.
    pub(crate) size: u64,
    position: u64,
    download: Option<Box<dyn Download>>,
    opened: bool,
    /// The download was opened anew since that was asked for.
    reopened: bool,
    lost: u32,
    preempted: u32,
    reach: Reach,
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

/// Why no bytes came.
enum Break {
    /// The download broke off, or could not be opened.
    Remote(remote::Error),
    /// There is nothing to go on with.
    Final(Error),
}

impl Source {
    pub(crate) fn new(remote: Arc<dyn Remote>, counters: Arc<Counters>, place: Place, size: u64) -> Self {
        let (path, position, download) = (place.path.clone(), 0, None);
        let (opened, reopened, lost, preempted) = (false, false, 0, 0);
        Self {
            remote,
            counters,
            place,
            path,
            size,
            position,
            download,
            opened,
            reopened,
            lost,
            preempted,
            reach: Reach::End,
        }
    }

    /// From now on whoever reads means to go so far.
    pub(crate) fn expect(&mut self, reach: Reach) {
        if mem::replace(&mut self.reach, reach) != reach
            && let Some(download) = &mut self.download
        {
            download.expect(reach);
        }
    }

    /// Whether the download was opened anew since the last time.
    pub(crate) fn take_reopened(&mut self) -> bool {
        mem::take(&mut self.reopened)
    }

    /// What the server tells of the file that the download was opened of, or of what has its name by now.
    pub(crate) fn told(&self) -> Result<Metadata, Error> {
        let told = self.remote.stat(&self.path);
        told.map_err(|error| Error::logged("stat", &self.path, &error, self.place.listed))
    }

    /// Fills `bytes` from `position` (bytes) on. What is asked for in order comes from one download.
    ///
    /// After the download gave way to somebody else it goes on once `wanted` returns `true`, which may wait; `false` ends it.
    pub(crate) fn fetch(
        &mut self,
        position: u64,
        bytes: &mut [u8],
        wanted: &mut dyn FnMut() -> bool,
    ) -> Result<(), Stop> {
        self.seek(position);
        self.fill(bytes, wanted)
    }

    /// Sees, once all bytes have come, that the file ends where it must. What the server says after them tells nothing of them.
    pub(crate) fn confirm_end(&mut self) -> Result<(), Stop> {
        if self.position < self.size || self.download.is_none() {
            return Ok(());
        }
        match self.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(self.changed("goes on after its size")),
            Err(Break::Remote(error)) => log::debug!("read {}: all bytes came, the end did not: {error}", self.path),
            Err(Break::Final(error)) => log::debug!("read {}: all bytes came, the end did not: {error}", self.path),
        }
        self.download = None;
        Ok(())
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
                Err(Break::Remote(error)) => self.set_back(&error, wanted)?,
                Err(Break::Final(error)) => return Err(Stop::Failed(error)),
            }
        }
        Ok(())
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Break> {
        let mut download = match self.download.take() {
            Some(download) => download,
            None => self.open()?,
        };
        let read = download.read(bytes);
        self.download = Some(download);
        let count = read.map_err(Break::Remote)?.min(bytes.len());
        if count > 0 {
            (self.lost, self.preempted) = (0, 0);
            self.position += count as u64;
            self.counters.bytes.add(count as u64);
        }
        Ok(count)
    }

    /// A download that is of this file: its path was the same before and after it was opened, and did not change in between.
    fn open(&mut self) -> Result<Box<dyn Download>, Break> {
        loop {
            if let Some(path) = self.place.settled().map_err(Break::Final)? {
                self.path = path;
                self.counters.downloads.add(1);
                self.counters.downloads_resumed.add(u64::from(self.opened));
                self.reopened = mem::replace(&mut self.opened, true);
                let download = self.remote.read_from(&self.path, self.position, Some(self.size));
                let settled = self.place.settled().map_err(Break::Final)?;
                if settled.as_ref() == Some(&self.path) {
                    let mut download = download.map_err(Break::Remote)?;
                    download.expect(self.reach);
                    return Ok(download);
                }
                log::debug!("read {}: it was renamed meanwhile", self.path);
            }
            if !deadline::sleep(MOVING_PAUSE) {
                return Err(Break::Final(Error::timed_out()));
            }
        }
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
            _ => return Err(Stop::Failed(Error::logged("read", &self.path, error, self.place.listed))),
        }
        log::debug!("read {}: again from byte {}: {error}", self.path, self.position);
        Ok(())
    }

    fn changed(&self, how: &str) -> Stop {
        log::warn!("read {}: the file changed on the server: it {how} ({} bytes)", self.path, self.size);
        Stop::Changed
    }
}
