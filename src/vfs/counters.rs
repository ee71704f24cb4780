//! What the caches were good for, counted.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counted since the mount.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) listings: Counter,
    pub(crate) stats: Counter,
    pub(crate) names_known: Counter,
    pub(crate) names_asked: Counter,
    pub(crate) blocks_known: Counter,
    pub(crate) blocks_on_disk: Counter,
    pub(crate) blocks_kept: Counter,
    pub(crate) blocks_waited: Counter,
    pub(crate) downloads: Counter,
    pub(crate) downloads_resumed: Counter,
    pub(crate) bytes: Counter,
    pub(crate) listings_ahead: Counter,
    pub(crate) files_ahead: Counter,
    pub(crate) bytes_ahead: Counter,
    pub(crate) bytes_ahead_used: Counter,
}

/// One number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A copy of the numbers at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Directories listed by the server.
    pub listings: u64,
    /// Single files that the server was asked about.
    pub stats: u64,
    /// Questions about names and attributes answered from the cache.
    pub names_known: u64,
    /// Questions about names and attributes for which the server was asked.
    pub names_asked: u64,
    /// Blocks of content answered from the cache.
    pub blocks_known: u64,
    /// Blocks of content answered from the cache on this machine's disk.
    pub blocks_on_disk: u64,
    /// Blocks of content handed to that cache.
    pub blocks_kept: u64,
    /// Blocks of content that a reader had to wait for.
    pub blocks_waited: u64,
    /// Downloads opened.
    pub downloads: u64,
    /// Of these, opened again where an earlier one broke off.
    pub downloads_resumed: u64,
    /// Bytes of content received.
    pub bytes: u64,
    /// Directories listed before anybody asked.
    pub listings_ahead: u64,
    /// Files of which the beginning was fetched before anybody asked.
    pub files_ahead: u64,
    /// Bytes that were so fetched.
    pub bytes_ahead: u64,
    /// Of these, not read by anybody, or not yet.
    pub bytes_ahead_unused: u64,
}

impl Counters {
    pub(crate) fn summary(&self) -> Summary {
        Summary {
            listings: self.listings.value(),
            stats: self.stats.value(),
            names_known: self.names_known.value(),
            names_asked: self.names_asked.value(),
            blocks_known: self.blocks_known.value(),
            blocks_on_disk: self.blocks_on_disk.value(),
            blocks_kept: self.blocks_kept.value(),
            blocks_waited: self.blocks_waited.value(),
            downloads: self.downloads.value(),
            downloads_resumed: self.downloads_resumed.value(),
            bytes: self.bytes.value(),
            listings_ahead: self.listings_ahead.value(),
            files_ahead: self.files_ahead.value(),
            bytes_ahead: self.bytes_ahead.value(),
            bytes_ahead_unused: self.bytes_ahead.value().saturating_sub(self.bytes_ahead_used.value()),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} listings, {} stats; names: {} from the cache, {} asked; {} downloads ({} resumed), {} bytes; \
             blocks: {} from the cache, {} from the disk, {} waited for; ahead: {} listings, {} files, {} bytes ({} unused)",
            self.listings,
            self.stats,
            self.names_known,
            self.names_asked,
            self.downloads,
            self.downloads_resumed,
            self.bytes,
            self.blocks_known,
            self.blocks_on_disk,
            self.blocks_waited,
            self.listings_ahead,
            self.files_ahead,
            self.bytes_ahead,
            self.bytes_ahead_unused
        )
    }
}
