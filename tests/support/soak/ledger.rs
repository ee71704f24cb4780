//! What may be on the server: for each path what was acknowledged last and, since an error was told, what else may be.

use super::digest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The accounts of one program. A path that is not in it may be anything.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    files: BTreeMap<String, BTreeSet<Content>>,
    /// The last commit of each repository.
    commits: BTreeMap<String, String>,
}

/// A digest, or `None` where there is no file.
pub(super) type Content = Option<u64>;

impl Ledger {
    /// The server has acknowledged that `path` holds `content`.
    pub(super) fn acknowledged(&mut self, path: &str, content: Content) {
        self.files.insert(path.to_owned(), BTreeSet::from([content]));
    }

    /// An error was told: `path` may hold `content`, or what it may have held before.
    pub(super) fn unsure(&mut self, path: &str, content: Content) {
        self.files.entry(path.to_owned()).or_insert_with(|| BTreeSet::from([None])).insert(content);
    }

    /// What `path` may hold.
    pub(super) fn possible(&self, path: &str) -> BTreeSet<Content> {
        self.files.get(path).cloned().unwrap_or_else(|| BTreeSet::from([None]))
    }

    /// git has acknowledged `commit`.
    pub(super) fn committed(&mut self, repository: &str, commit: &str) {
        self.commits.insert(repository.to_owned(), commit.to_owned());
    }

    /// Each repository and its last commit.
    pub(super) fn commits(&self) -> impl Iterator<Item = (&String, &String)> {
        self.commits.iter()
    }

    /// Nothing below `path` is of interest any more.
    pub(super) fn forget(&mut self, path: &str) {
        let below = format!("{path}/");
        self.files.retain(|other, _| other != path && !other.starts_with(&below));
    }

    /// Compares with what lies below `root`.
    pub(super) fn compare(&self, root: &Path, wrong: &mut Vec<String>, lost: &mut Vec<String>) {
        for (path, possible) in &self.files {
            let found = digest(&root.join(path)).ok();
            match found {
                found if possible.contains(&found) => {}
                None => lost.push(format!("{path} is not there")),
                Some(found) => wrong.push(format!("{path} holds {found:016x} and not one of {possible:x?}")),
            }
        }
    }
}
