//! Listings: each answers for every name in its directory, and for every name that is not.

use crate::remote::Entry;
use crate::vfs::cache::attributes::remaining;
use crate::vfs::inodes::Ino;
use lru::LruCache;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// All entries of a directory at one moment, in the server's order.
#[derive(Debug)]
pub(crate) struct Directory {
    entries: Box<[Entry]>,
    /// Positions in `entries`, ordered by name: four bytes an entry.
    by_name: Box<[u32]>,
    shown: AtomicBool,
}

impl Directory {
    /// Takes a listing over. Entries past the 4,294,967,295th are left out: no memory holds them anyway.
    pub(crate) fn new(entries: Vec<Entry>) -> Self {
        let entries = entries.into_boxed_slice();
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let mut by_name: Box<[u32]> = (0..count).collect();
        by_name.sort_unstable_by(|one, other| entries[*one as usize].name.cmp(&entries[*other as usize].name));
        Self { entries, by_name, shown: AtomicBool::new(false) }
    }

    /// Whether this very listing was shown to the kernel before.
    pub(crate) fn was_shown(&self) -> bool {
        self.shown.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<&Entry> {
        let name_at = |position: &u32| self.entries[*position as usize].name.as_bytes();
        let found = self.by_name.binary_search_by(|position| name_at(position).cmp(name)).ok()?;
        self.by_name.get(found).map(|position| &self.entries[*position as usize])
    }
}

/// A listing and when the server gave it.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) directory: Arc<Directory>,
    pub(crate) as_of: Instant,
}

impl Listed {
    /// How long the listing is still believed when it is believed for `timeout` in all; zero when it is not.
    pub(crate) fn remaining(&self, now: Instant, timeout: Duration) -> Duration {
        remaining(self.as_of, now, timeout)
    }
}

/// How many entries are kept in all listings together. One listing is kept even if it alone is longer.
const ENTRIES_MAX: usize = 64 * 1024;
/// What a listing without entries counts for.
const LISTING_COST: usize = 4;

/// The listings seen last.
#[derive(Debug)]
pub(crate) struct Directories {
    listings: LruCache<Ino, Listed>,
    cost: usize,
}

impl Directories {
    pub(crate) fn new() -> Self {
        Self { listings: LruCache::unbounded(), cost: 0 }
    }

    /// The listing of `ino`, if it is still believed.
    pub(crate) fn fresh(&mut self, ino: Ino, now: Instant, timeout: Duration) -> Option<&Listed> {
        self.listings.get(&ino).filter(|listed| !listed.remaining(now, timeout).is_zero())
    }

    pub(crate) fn insert(&mut self, ino: Ino, listed: Listed) {
        self.remove(ino);
        self.cost += cost(&listed);
        self.listings.put(ino, listed);
        while self.cost > ENTRIES_MAX && self.listings.len() > 1 {
            if let Some((_, oldest)) = self.listings.pop_lru() {
                self.cost -= cost(&oldest);
            }
        }
    }

    pub(crate) fn remove(&mut self, ino: Ino) {
        if let Some(listed) = self.listings.pop(&ino) {
            self.cost -= cost(&listed);
        }
    }
}

fn cost(listed: &Listed) -> usize {
    LISTING_COST + listed.directory.entries().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Name;
    use crate::remote::{FileKind, Metadata};

    fn listed(names: impl IntoIterator<Item = String>) -> Listed {
        let entry = |name: String| Entry {
            name: Name::new(name.into_bytes()).unwrap(),
            metadata: Metadata::of_kind(FileKind::File),
        };
        let directory = Directory::new(names.into_iter().map(entry).collect());
        Listed { directory: Arc::new(directory), as_of: Instant::now() }
    }

    #[test]
    fn every_name_is_found_and_no_other() {
        let listed = listed((0..1000).rev().map(|number| format!("f{number}")));
        for number in 0..1000 {
            let name = format!("f{number}");
            assert_eq!(listed.directory.find(name.as_bytes()).unwrap().name.as_bytes(), name.as_bytes());
        }
        assert!(listed.directory.find(b"f1000").is_none());
        assert_eq!(listed.directory.entries()[0].name.as_bytes(), b"f999");
    }

    #[test]
    fn the_listings_together_are_bounded_but_the_newest_stays() {
        let timeout = Duration::from_secs(30);
        let mut directories = Directories::new();
        let now = Instant::now();
        for ino in 0..4 {
            directories.insert(Ino(ino), listed((0..ENTRIES_MAX / 2).map(|number| format!("{number}"))));
        }
        let kept: Vec<bool> = (0..4).map(|ino| directories.fresh(Ino(ino), now, timeout).is_some()).collect();
        assert_eq!(kept, [false, false, false, true]);
        directories.insert(Ino(9), listed((0..2 * ENTRIES_MAX).map(|number| format!("{number}"))));
        assert!(directories.fresh(Ino(9), now, timeout).is_some());
        assert!(directories.fresh(Ino(3), now, timeout).is_none());
    }

    #[test]
    fn an_entry_takes_less_than_200_bytes_beside_its_name() {
        assert!(size_of::<Entry>() + size_of::<u32>() < 200, "{}", size_of::<Entry>());
    }
}
