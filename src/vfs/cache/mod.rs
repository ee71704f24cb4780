//! What is known without asking the server: data only. `now` is an argument, everything is bounded, nothing waits.

pub(in crate::vfs) mod attributes;
pub(in crate::vfs) mod habits;

pub(in crate::vfs) mod directories;
pub(in crate::vfs) mod versions;

pub(in crate::vfs) mod blocks;

/// Counts local changes. An answer that was asked for before a change may be older than it, and is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(in crate::vfs) struct Epoch(u64);
