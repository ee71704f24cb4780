//! What may be on the server: for each path what was acknowledged last and, since an error was told, what else may be.

use super::digest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The accounts of one program. A path that is not in it may be anything.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<String, BTreeSet<Content>>);

/// A digest, or `None` where there is no file.
pub(super) type Content = Option<u64>;

impl Ledger {
    /// The server has acknowledged that `path` holds `content`.
    pub(super) fn acknowledged(&mut self, path: &str, content: Content) {
        self.0.insert(path.to_owned(), BTreeSet::from([content]));
    }

    /// An error was told: `path` may hold `content`, or what it may have held before.
    pub(super) fn unsure(&mut self, path: &str, content: Content) {
        self.0.entry(path.to_owned()).or_insert_with(|| BTreeSet::from([None])).insert(content);
    }

    /// What `path` may hold.
    pub(super) fn possible(&self, path: &str) -> BTreeSet<Content> {
        self.0.get(path).cloned().unwrap_or_else(|| BTreeSet::from([None]))
    }

    /// Whether anything was told of `path`.
    pub(super) fn knows(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// Nothing below `path` is of interest any more.
    pub(super) fn forget(&mut self, path: &str) {
        let below = format!("{path}/");
        self.0.retain(|other, _| other != path && !other.starts_with(&below));
    }

    /// Compares with what lies below `root`.
    pub(super) fn compare(&self, root: &Path, wrong: &mut Vec<String>, lost: &mut Vec<String>) {
        for (path, possible) in &self.0 {
            let found = digest(&root.join(path)).ok();
            match found {
                found if possible.contains(&found) => {}
                None => lost.push(format!("{path} is not there")),
                Some(found) => wrong.push(format!("{path} holds {found:016x} and not one of {possible:x?}")),
            }
        }
    }
}
