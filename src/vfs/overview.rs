//! What a person asks of a mount: what is cached, what waits, what was answered from where. Nothing is decided by it, and
//! nothing here waits for the network.

use crate::path::RemotePath;
use crate::vfs::counters::Summary;
use crate::vfs::drafts::Backlog;
use crate::vfs::filesystem::Vfs;
use serde::{Deserialize, Serialize};

pub use crate::vfs::figures::{Disk, Memory, Names, Writing};

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Counts since the mount.
    pub counts: Summary,
    /// What waits in the journal for its upload.
    pub backlog: Backlog,
    /// What is being written.
    pub writing: Writing,
    /// The cache in memory.
    pub memory: Memory,
    /// The cache on disk.
    pub disk: Option<Disk>,
    /// Names and attributes.
    pub names: Names,
    /// Where content is kept that could not be uploaded.
    pub recovery_dir: String,
}

/// What is being uploaded under a temporary name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// The name that it is to get.
    pub path: RemotePath,
    /// How much there is of it (bytes), unless more is still written.
    pub size: Option<u64>,
}

impl Vfs {
    /// What a person asks for.
    pub fn figures(&self) -> Figures {
        Figures {
            counts: self.summary(),
            backlog: self.backlog(),
            writing: self.drafts.writing(),
            memory: self.content.memory(),
            disk: self.content.disk_figures(),
            names: self.tree.names(),
            recovery_dir: self.tree.settings().recovery_dir.display().to_string(),
        }
    }

    /// What is uploaded to `path`, if something is.
    pub fn uploaded(&self, path: &RemotePath) -> Option<Uploaded> {
        let (ino, target) = self.tree.behind(path)?;
        let draft = self.drafts.of(ino)?;
        Some(Uploaded { path: target, size: draft.size_if_whole() })
    }
}
