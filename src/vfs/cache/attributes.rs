//! What the server told of single files.

use crate::remote::{FileKind, Metadata};
use crate::vfs::inodes::Ino;
use lru::LruCache;
use std::time::{Duration, Instant};

/// Attributes and when the server told them.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) metadata: Metadata,
    pub(crate) as_of: Instant,
}

impl Known {
    /// How long this is still believed when it is believed for `timeout` in all; zero when it is not.
    pub(crate) fn remaining(&self, now: Instant, timeout: Duration) -> Duration {
        remaining(self.as_of, now, timeout)
    }

    /// Whether it says all that stat(2) shows: a listing may leave the size out.
    pub(crate) fn is_complete(&self) -> bool {
        self.metadata.kind != FileKind::File || self.metadata.size.is_some()
    }

    /// Whether the server may tell the time of the file more exactly than this listing did.
    pub(crate) fn is_coarse(&self) -> bool {
        let told = self.metadata.modified.map(|modified| modified.precision);
        self.metadata.kind == FileKind::File && told.is_some_and(|precision| precision > SECOND)
    }

    /// Takes the time over from `other` where both agree and `other` told it more exactly.
    pub(crate) fn refine(&mut self, other: &Metadata) {
        if let (Some(mine), Some(finer)) = (self.metadata.modified, other.modified)
            && finer.precision < mine.precision
            && self.metadata.same_version(other)
        {
            self.metadata.modified = Some(finer);
        }
    }
}

/// How long an answer of the moment `as_of` is still believed; never longer than `timeout`, since an answer may be
/// younger than the question that `now` belongs to.
pub(crate) fn remaining(as_of: Instant, now: Instant, timeout: Duration) -> Duration {
    (as_of + timeout).saturating_duration_since(now).min(timeout)
}

const SECOND: Duration = Duration::from_secs(1);

/// How many files are remembered beside the listings.
const FILES_MAX: usize = 32 * 1024;

/// What the server told when asked about one file.
#[derive(Debug)]
pub(crate) struct Attributes {
    files: LruCache<Ino, Known>,
}

impl Attributes {
    pub(crate) fn new() -> Self {
        Self { files: LruCache::unbounded() }
    }

    /// Of how many files.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// What was told last, however long ago.
    pub(crate) fn last(&mut self, ino: Ino) -> Option<&Known> {
        self.files.get(&ino)
    }

    /// Keeps `known`, with the finer time where the one before agrees.
    pub(crate) fn insert(&mut self, ino: Ino, known: Known) {
        self.files.put(ino, known);
        if self.files.len() > FILES_MAX {
            self.files.pop_lru();
        }
    }

    pub(crate) fn remove(&mut self, ino: Ino) {
        self.files.pop(&ino);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Modified;
    use std::time::SystemTime;

    #[test]
    fn an_answer_is_believed_for_its_time_and_no_longer() {
        let (now, timeout) = (Instant::now(), Duration::from_secs(30));
        assert_eq!(remaining(now, now, timeout), timeout);
        assert_eq!(remaining(now, now + Duration::from_secs(10), timeout), Duration::from_secs(20));
        assert_eq!(remaining(now, now + timeout, timeout), Duration::ZERO);
        assert_eq!(remaining(now + Duration::from_secs(5), now, timeout), timeout);
    }

    #[test]
    fn a_finer_time_that_agrees_is_kept() {
        let at = |seconds, precision| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let modified = Some(Modified { time, precision: Duration::from_secs(precision) });
            Metadata { modified, ..Metadata::of_kind(FileKind::File) }
        };
        let mut known = Known { metadata: at(120, 60), as_of: Instant::now() };
        known.refine(&at(200, 1));
        assert_eq!(known.metadata, at(120, 60));
        known.refine(&at(133, 1));
        assert_eq!(known.metadata, at(133, 1));
        known.refine(&at(120, 60));
        assert_eq!(known.metadata, at(133, 1));
    }
}
