//! Whether this server's directories are listed by `STAT -a`, which takes no data connection and so a fifth of the time.

use crate::ftp::listing::Listing;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// What is known of `STAT` as a way to list. Shared by all sessions.
///
/// It comes first only once it told exactly what `LIST -a` told of a directory with something in it: the mounted one, or
/// the next that is listed where that one is empty or large.
#[derive(Debug, Default)]
pub struct Standing {
    /// The mounted directory turned out to be of no use.
    looks_elsewhere: AtomicBool,
    /// How many comparisons have failed.
    failed: AtomicU32,
    verdict: AtomicU32,
}

const OPEN: u32 = 0;
const FIRST: u32 = 1;
const NEVER: u32 = 2;

impl Standing {
    /// Whether `STAT` comes first.
    pub fn is_first(&self) -> bool {
        self.verdict.load(Ordering::Relaxed) == FIRST
    }

    /// Whether `listing`, which `LIST -a` gave, is to be compared with what `STAT` tells.
    pub fn is_to_compare(&self, listing: &Listing, is_root: bool) -> bool {
        if self.verdict.load(Ordering::Relaxed) != OPEN || !(is_root || self.looks_elsewhere.load(Ordering::Relaxed)) {
            return false;
        }
        let may = listing.saw_dot && (1..=COMPARED_MAX).contains(&listing.entries.len());
        if !may {
            self.looks_elsewhere.store(true, Ordering::Relaxed);
        }
        may
    }

    /// `STAT` told `status` of a directory of which `LIST -a` told `listing`; whether it comes first from now on. They may
    /// differ by what happened in between: that it never comes is only believed the third time.
    pub fn compared(&self, listing: &Listing, status: Option<&Listing>) -> bool {
        if status.is_some_and(|status| is_same(listing, status)) {
            return self.verdict.compare_exchange(OPEN, FIRST, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        }
        if status.is_none() || self.failed.fetch_add(1, Ordering::Relaxed) + 1 >= COMPARISONS_MAX {
            self.refute();
        }
        false
    }

    /// `STAT` never comes first again; whether it did.
    pub fn refute(&self) -> bool {
        self.verdict.swap(NEVER, Ordering::Relaxed) == FIRST
    }
}

fn is_same(one: &Listing, other: &Listing) -> bool {
    fn sorted(listing: &Listing) -> Vec<&crate::remote::Entry> {
        let mut entries: Vec<_> = listing.entries.iter().collect();
        entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        entries
    }
    let counts = |listing: &Listing| (listing.saw_dot, listing.not_understood, listing.refused_names, listing.special);
    counts(one) == counts(other) && sorted(one) == sorted(other)
}

/// A directory with more entries is not listed twice to compare.
const COMPARED_MAX: usize = 2_000;
/// How many directories may be compared in vain.
const COMPARISONS_MAX: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Name;
    use crate::remote::{Entry, FileKind, Metadata};

    fn listing(sizes: &[u64]) -> Listing {
        let entry = |&size: &u64| Entry {
            name: Name::new(format!("f{size}").into_bytes()).unwrap(),
            metadata: Metadata { size: Some(size), ..Metadata::of_kind(FileKind::File) },
        };
        Listing { entries: sizes.iter().map(entry).collect(), saw_dot: true, ..Listing::default() }
    }

    #[test]
    fn status_comes_first_once_it_told_the_same_and_never_after_three_differences() {
        let standing = Standing::default();
        assert!(!standing.is_to_compare(&listing(&[1]), false) && standing.is_to_compare(&listing(&[1]), true));
        assert!(!standing.compared(&listing(&[1, 2]), Some(&listing(&[1]))) && !standing.is_first());
        assert!(standing.compared(&listing(&[1, 2]), Some(&listing(&[2, 1]))) && standing.is_first());
        assert!(standing.refute() && !standing.is_first() && !standing.refute());
        let standing = Standing::default();
        for _ in 0..3 {
            assert!(standing.is_to_compare(&listing(&[1]), true));
            standing.compared(&listing(&[1]), Some(&listing(&[2])));
        }
        assert!(!standing.is_to_compare(&listing(&[1]), true));
        let standing = Standing::default();
        standing.compared(&listing(&[1]), None);
        assert!(!standing.is_to_compare(&listing(&[1]), true));
    }

    #[test]
    fn where_the_mounted_directory_says_nothing_another_is_compared() {
        for root in [listing(&[]), listing(&(0..3_000).collect::<Vec<_>>())] {
            let standing = Standing::default();
            assert!(!standing.is_to_compare(&listing(&[1]), false));
            assert!(!standing.is_to_compare(&root, true));
            for _ in 0..3 {
                assert!(standing.is_to_compare(&listing(&[1]), false));
                standing.compared(&listing(&[1]), Some(&listing(&[2])));
            }
            assert!(!standing.is_to_compare(&listing(&[1]), false));
        }
    }
}
