//! What is known without asking the server: data only. `now` is an argument, everything is bounded, nothing waits but
//! for this machine's disk.

pub(crate) mod attributes;
pub(crate) mod habits;

pub(crate) mod directories;
pub(crate) mod versions;

pub(crate) mod blocks;

pub(crate) mod disk;

/// Counts local changes. An answer that was asked for before a change may be older than it, and is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Epoch(u64);

impl Epoch {
    /// After a local change.
    pub(crate) fn advance(&mut self) {
        self.0 += 1;
    }
}
