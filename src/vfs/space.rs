//! Free space, as statfs(2) shows it: what the server told last. Nobody waits for the server.

use crate::remote::{Error, ErrorKind, Remote};
use crate::workers::Workers;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Numbers for statfs(2). No server tells them all: what is not told is a constant with which programs go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// In units of `block_bytes`.
    pub blocks: u64,
    /// In units of `block_bytes`.
    pub blocks_free: u64,
    /// In bytes.
    pub block_bytes: u32,
    /// Inodes.
    pub files: u64,
    /// Unused inodes.
    pub files_free: u64,
    /// Of a name, in bytes.
    pub name_bytes_max: u32,
}

impl Space {
    /// Where the server has room for `free` bytes. How much is used it does not tell: nothing.
    fn with_free(free: u64) -> Self {
        let blocks = free / u64::from(BLOCK_BYTES);
        Self {
            blocks,
            blocks_free: blocks,
            block_bytes: BLOCK_BYTES,
            files: FILES,
            files_free: FILES,
            name_bytes_max: 255,
        }
    }
}

/// The server's free space, asked for in the background while somebody wants to know.
#[derive(Debug)]
pub(crate) struct FreeSpace {
    remote: Arc<dyn Remote>,
    told: Arc<Mutex<Told>>,
    /// Its own: nobody waits for them at the end of the mount.
    workers: Workers,
}

#[derive(Debug)]
struct Told {
    free_bytes: u64,
    asked: Option<Instant>,
    /// A question is on its way, or there is none to ask: the server has said that it cannot tell.
    is_closed: bool,
}

impl FreeSpace {
    /// Nothing is asked before [`FreeSpace::show`] is.
    pub(crate) fn new(remote: Arc<dyn Remote>) -> Self {
        let told = Told { free_bytes: ASSUMED_BYTES, asked: None, is_closed: false };
        Self { remote, told: Arc::new(Mutex::new(told)), workers: Workers::named("space") }
    }

    /// What is known; asks anew, without waiting for the answer, if that is old.
    pub(crate) fn show(&self, now: Instant) -> Space {
        let (free_bytes, is_due) = {
            let mut told = self.told.lock();
            (told.free_bytes, told.must_ask(now))
        };
        if is_due {
            self.ask();
        }
        Space::with_free(free_bytes)
    }

    fn ask(&self) {
        let (remote, told) = (Arc::clone(&self.remote), Arc::clone(&self.told));
        self.workers.spawn(move || {
            let answer = remote.free_space();
            told.lock().hear(answer);
        });
    }
}

impl Told {
    /// Whether it is time for a question, which is then taken as asked.
    fn must_ask(&mut self, now: Instant) -> bool {
        let is_old = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= PAUSE);
        if self.is_closed || !is_old {
            return false;
        }
        (self.asked, self.is_closed) = (Some(now), true);
        true
    }

    fn hear(&mut self, answer: Result<u64, Error>) {
        match answer {
            Ok(free_bytes) => self.free_bytes = free_bytes,
            Err(error) if error.kind == ErrorKind::Unsupported => return,
            Err(error) => log::debug!("free space: {error}"),
        }
        self.is_closed = false;
    }
}

/// Between two questions. Programs that show free space ask every second or so.
const PAUSE: Duration = Duration::from_secs(30);
const BLOCK_BYTES: u32 = 4096;
/// Where the server does not tell: 1 PiB.
const ASSUMED_BYTES: u64 = 1 << 50;
const FILES: u64 = 1 << 32;
