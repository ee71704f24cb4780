//! Listings: each answers for every name in its directory, and for every name that is not.

use crate::path::Name;
use crate::remote::{Entry, Metadata};
use crate::vfs::cache::attributes::remaining;
use crate::vfs::inodes::Ino;
use lru::LruCache;
use std::collections::BTreeMap;
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
        self.at(self.rank(name, Order::Named)?, Order::Named)
    }

    /// As how many others come before `name`.
    pub(crate) fn rank(&self, name: &[u8], order: Order) -> Option<usize> {
        let name_at = |position: &u32| self.entries[*position as usize].name.as_bytes();
        let rank = self.by_name.binary_search_by(|position| name_at(position).cmp(name)).ok()?;
        match order {
            Order::Named => Some(rank),
            Order::Listed => self.by_name.get(rank).map(|position| *position as usize),
        }
    }

    /// The entry before which as many others come as `rank` tells.
    pub(crate) fn at(&self, rank: usize, order: Order) -> Option<&Entry> {
        match order {
            Order::Named => self.by_name.get(rank).map(|position| &self.entries[*position as usize]),
            Order::Listed => self.entries.get(rank),
        }
    }
}

/// An order of a directory's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The server's, in which the kernel is told of them.
    Listed,
    /// By the bytes of the names.
    Named,
}

impl Order {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Listed => Self::Named,
            Self::Named => Self::Listed,
        }
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

/// How many local changes a listing collects before it is made anew.
const CHANGES_MAX: usize = 1024;

/// The listings seen last.
#[derive(Debug)]
pub(crate) struct Directories {
    listings: LruCache<Ino, Kept>,
    cost: usize,
}

#[derive(Debug)]
struct Kept {
    listed: Listed,
    /// What was done to the directory since: for each name what there is by now.
    changes: BTreeMap<Name, Option<Metadata>>,
}

impl Directories {
    pub(crate) fn new() -> Self {
        Self { listings: LruCache::unbounded(), cost: 0 }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.listings.len()
    }

    /// The listing of `ino`, if it is still believed, with the local changes since.
    pub(crate) fn fresh(&mut self, ino: Ino, now: Instant, timeout: Duration) -> Option<&Listed> {
        let kept = self.listings.get_mut(&ino).filter(|kept| !kept.listed.remaining(now, timeout).is_zero())?;
        self.cost -= cost(&kept.listed);
        kept.merge();
        self.cost += cost(&kept.listed);
        Some(&kept.listed)
    }

    /// As [`Directories::fresh`], for a look that is no use: without the local changes since.
    pub(crate) fn glance(&self, ino: Ino, now: Instant, timeout: Duration) -> Option<&Arc<Directory>> {
        let kept = self.listings.peek(&ino).filter(|kept| !kept.listed.remaining(now, timeout).is_zero())?;
        Some(&kept.listed.directory)
    }

    /// What the listing of `ino`, if it is still believed, and the local changes since say of `name`; and when it was
    /// given.
    pub(crate) fn find(
        &mut self,
        ino: Ino,
        name: &[u8],
        now: Instant,
        timeout: Duration,
    ) -> Option<(Option<&Metadata>, Instant)> {
        let kept = self.listings.get(&ino).filter(|kept| !kept.listed.remaining(now, timeout).is_zero())?;
        let found = match kept.changes.get(name) {
            Some(changed) => changed.as_ref(),
            None => kept.listed.directory.find(name).map(|entry| &entry.metadata),
        };
        Some((found, kept.listed.as_of))
    }

    /// Something was done here: `name` in `ino` is this by now, or nothing.
    pub(crate) fn change(&mut self, ino: Ino, name: &Name, metadata: Option<Metadata>) {
        let Some(kept) = self.listings.get_mut(&ino) else { return };
        kept.changes.insert(name.clone(), metadata);
        if kept.changes.len() >= CHANGES_MAX {
            self.cost -= cost(&kept.listed);
            kept.merge();
            self.cost += cost(&kept.listed);
        }
    }

    pub(crate) fn insert(&mut self, ino: Ino, listed: Listed) {
        self.remove(ino);
        self.cost += cost(&listed);
        self.listings.put(ino, Kept { listed, changes: BTreeMap::new() });
        while self.cost > ENTRIES_MAX && self.listings.len() > 1 {
            if let Some((_, oldest)) = self.listings.pop_lru() {
                self.cost -= cost(&oldest.listed);
            }
        }
    }

    pub(crate) fn remove(&mut self, ino: Ino) {
        if let Some(kept) = self.listings.pop(&ino) {
            self.cost -= cost(&kept.listed);
        }
    }
}

impl Kept {
    fn merge(&mut self) {
        if self.changes.is_empty() {
            return;
        }
        let changes = std::mem::take(&mut self.changes);
        let unchanged = self.listed.directory.entries().iter().filter(|entry| !changes.contains_key(&entry.name));
        let mut entries: Vec<Entry> = unchanged.cloned().collect();
        let present = changes.into_iter().filter_map(|(name, metadata)| Some(Entry { name, metadata: metadata? }));
        entries.extend(present);
        self.listed.directory = Arc::new(Directory::new(entries));
    }
}

fn cost(listed: &Listed) -> usize {
    LISTING_COST + listed.directory.entries().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::FileKind;

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
    fn local_changes_show_at_once_and_in_the_next_listing() {
        let (now, timeout) = (Instant::now(), Duration::from_secs(30));
        let mut directories = Directories::new();
        directories.insert(Ino(2), listed(["a".to_owned(), "b".to_owned()]));
        let name = |text: &str| Name::new(text.as_bytes()).unwrap();
        directories.change(Ino(2), &name("a"), None);
        directories.change(Ino(2), &name("c"), Some(Metadata::of_kind(FileKind::Directory)));
        let found = |directories: &mut Directories, name: &str| {
            directories.find(Ino(2), name.as_bytes(), now, timeout).unwrap().0.is_some()
        };
        assert_eq!(["a", "b", "c"].map(|name| found(&mut directories, name)), [false, true, true]);
        let names =
            |listed: &Listed| listed.directory.entries().iter().map(|entry| entry.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(directories.fresh(Ino(2), now, timeout).unwrap()), ["b", "c"]);
        assert_eq!(["a", "b", "c"].map(|name| found(&mut directories, name)), [false, true, true]);
    }

    #[test]
    fn an_entry_takes_less_than_200_bytes_beside_its_name() {
        assert!(size_of::<Entry>() + size_of::<u32>() < 200, "{}", size_of::<Entry>());
    }
}
