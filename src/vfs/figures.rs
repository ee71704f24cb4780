//! Parts of what a person asks of a mount: see `overview`.

use serde::{Deserialize, Serialize};

/// What is written to files and not on the server under their names yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Writing {
    /// How many files.
    pub files: usize,
    /// How large they are together (bytes).
    pub bytes: u64,
    /// How many of them cannot get there.
    pub failed: usize,
}

/// Blocks of files in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// What they take.
    pub bytes: u64,
    /// What they may take.
    pub bytes_max: u64,
}

/// Blocks of files on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// Where.
    pub directory: String,
    /// What all that share the directory took when something was stored last.
    pub bytes: u64,
    /// What they may take.
    pub bytes_max: u64,
}

/// Names and attributes that are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Names {
    /// Listings that are kept, fresh or not.
    pub directories: usize,
    /// Files of which the server told something by themselves.
    pub files: usize,
    /// Inodes that the kernel holds or held not long ago.
    pub inodes: usize,
}
