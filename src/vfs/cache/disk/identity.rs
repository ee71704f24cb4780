//! Whose content is meant: an account on a server, and a path there.
//!
//! A path stands for something else once a directory on its way was renamed here. What was stored under it before must not
//! be taken for the content of what has it then, which may have the same size and time. So each directory that was renamed,
//! or whose name was taken by one that was, has a number that goes into the identity of all that is below it.

use crate::path::RemotePath;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// How many renamed directories are remembered. One more, and everything of the account is stored anew.
const MOVED_MAX: usize = 4096;
/// How many files are remembered of which nothing can be removed. One more, and everything is stored anew likewise.
const GIVEN_UP_MAX: usize = 4096;

/// A file of one account on one server.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileId([u8; 32]);

impl FileId {
    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The directory and the beginning of the name of its segments.
    pub(super) fn names(self) -> (String, String) {
        let digits = self.to_string();
        let (directory, name) = digits.split_at(2);
        (directory.to_owned(), format!("{name}-"))
    }

    /// What [`FileId::names`] and a number made.
    pub(super) fn parse(directory: &str, name: &str) -> Option<(Self, u64)> {
        let (rest, number) = name.split_once('-')?;
        let digits = format!("{directory}{rest}");
        let mut id = [0; 32];
        if !digits.is_ascii() || digits.len() != 2 * id.len() {
            return None;
        }
        for (at, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
        }
        Some((Self(id), number.parse().ok()?))
    }

    /// A number below `limit` that is mostly another for another file.
    pub(crate) fn slot(self, limit: usize) -> usize {
        usize::from(u16::from_le_bytes([self.0[0], self.0[1]])) % limit
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileId({self})")
    }
}

/// What an account on a server is called here, and which directories of it were renamed.
#[derive(Debug)]
pub(super) struct Scope {
    digest: [u8; 32],
    moved: Moved,
    /// Of which files what is stored cannot be removed, and how often that was so: on no disk, as none takes it.
    given_up: HashMap<FileId, u64>,
}

/// On the disk as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moved {
    /// How often everything was given up.
    round: u64,
    /// By the digest of the path, how often.
    directories: BTreeMap<String, u64>,
}

impl Scope {
    pub(super) fn new(name: &[u8]) -> Self {
        Self { digest: Sha256::digest(name).into(), moved: Moved::default(), given_up: HashMap::new() }
    }

    /// The name of the file that tells of the renamed directories.
    pub(super) fn file_name(&self) -> String {
        format!("{}.json", FileId(self.digest))
    }

    pub(super) fn moved(&self) -> &Moved {
        &self.moved
    }

    /// Takes over what others noted as well.
    pub(super) fn merge(&mut self, other: Moved) {
        if other.round > self.moved.round {
            self.moved = other;
        } else if other.round == self.moved.round {
            for (directory, count) in other.directories {
                let known = self.moved.directories.entry(directory).or_default();
                *known = count.max(*known);
            }
        }
    }

    /// Nothing that is stored is to be believed. `round` is one that never was.
    pub(super) fn begin_anew(&mut self, round: u64) {
        self.moved = Moved { round: round.max(self.moved.round + 1), directories: BTreeMap::new() };
    }

    /// The directory at `path` is another than before.
    pub(super) fn note(&mut self, path: &RemotePath) {
        *self.moved.directories.entry(self.directory(path)).or_default() += 1;
        if self.moved.directories.len() > MOVED_MAX {
            self.begin_anew(0);
        }
    }

    /// What is stored of the file at `path` is old, and cannot be removed.
    pub(super) fn give_up(&mut self, path: &RemotePath) {
        *self.given_up.entry(self.lasting_id(path)).or_default() += 1;
        if self.given_up.len() > GIVEN_UP_MAX {
            self.begin_anew(0);
            self.given_up.clear();
        }
    }

    pub(super) fn id(&self, path: &RemotePath) -> FileId {
        let id = self.lasting_id(path);
        let Some(count) = self.given_up.get(&id) else { return id };
        let mut hasher = Sha256::new();
        hasher.update(id.as_bytes());
        hasher.update(count.to_le_bytes());
        FileId(hasher.finalize().into())
    }

    /// What the next mount calls it too.
    fn lasting_id(&self, path: &RemotePath) -> FileId {
        let mut hasher = Sha256::new();
        hasher.update(self.digest);
        hasher.update(self.moved.round.to_le_bytes());
        if !self.moved.directories.is_empty() {
            self.add_moved(path, &mut hasher);
        }
        hasher.update([0xff]);
        hasher.update(path.as_bytes());
        FileId(hasher.finalize().into())
    }

    fn add_moved(&self, path: &RemotePath, hasher: &mut Sha256) {
        let parents = std::iter::successors(path.parent(), RemotePath::parent);
        for (level, parent) in (0_u32..).zip(parents) {
            if let Some(count) = self.moved.directories.get(&self.directory(&parent)) {
                hasher.update([1]);
                hasher.update(level.to_le_bytes());
                hasher.update(count.to_le_bytes());
            }
        }
    }

    fn directory(&self, path: &RemotePath) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.digest);
        hasher.update(path.as_bytes());
        let digits = FileId(hasher.finalize().into()).to_string();
        digits[..32].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RemotePath {
        RemotePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn files_are_told_apart_by_account_path_and_the_renamings_above_them() {
        let (joe, ann) = (Scope::new(b"joe@host:21/"), Scope::new(b"ann@host:21/"));
        assert_ne!(joe.id(&path("/f")), ann.id(&path("/f")));
        assert_ne!(joe.id(&path("/f")), joe.id(&path("/g")));
        assert_eq!(joe.id(&path("/f")), Scope::new(b"joe@host:21/").id(&path("/f")));
        let mut moved = Scope::new(b"joe@host:21/");
        moved.note(&path("/d"));
        for (name, same) in [("/f", true), ("/d", true), ("/dd/f", true), ("/d/f", false), ("/d/e/f", false)] {
            assert_eq!(moved.id(&path(name)) == joe.id(&path(name)), same, "{name}");
        }
        let once = moved.id(&path("/d/f"));
        moved.note(&path("/d"));
        assert_ne!(moved.id(&path("/d/f")), once);
        for number in 0..=MOVED_MAX {
            moved.note(&path(&format!("/{number}")));
        }
        assert_ne!(moved.id(&path("/f")), joe.id(&path("/f")));
        assert!(moved.moved.directories.len() < 10);
    }

    #[test]
    fn a_file_that_was_given_up_is_another_each_time_until_all_are() {
        let mut scope = Scope::new(b"joe@host:21/");
        let (first, beside) = (scope.id(&path("/f")), scope.id(&path("/g")));
        scope.give_up(&path("/f"));
        let second = scope.id(&path("/f"));
        scope.give_up(&path("/f"));
        let third = scope.id(&path("/f"));
        assert!(first != second && second != third && first != third);
        assert_eq!(scope.id(&path("/g")), beside);
        for number in 0..GIVEN_UP_MAX {
            scope.give_up(&path(&format!("/{number}")));
        }
        assert!(scope.given_up.is_empty() && ![first, second, third].contains(&scope.id(&path("/f"))));
        assert_ne!(scope.id(&path("/g")), beside);
    }

    #[test]
    fn what_two_mounts_noted_is_put_together() {
        let (mut one, mut other) = (Scope::new(b"a"), Scope::new(b"a"));
        one.note(&path("/d"));
        other.note(&path("/e"));
        one.merge(other.moved.clone());
        other.merge(one.moved.clone());
        assert_eq!((one.id(&path("/d/f")), one.id(&path("/e/f"))), (other.id(&path("/d/f")), other.id(&path("/e/f"))));
        assert_eq!(one.moved.directories.len(), 2);
    }

    #[test]
    fn a_name_on_the_disk_leads_back_to_the_file() {
        let id = Scope::new(b"a").id(&path("/f"));
        let (directory, name) = id.names();
        assert_eq!((directory.len(), name.len()), (2, 63));
        assert_eq!(FileId::parse(&directory, &format!("{name}17")), Some((id, 17)));
        for wrong in ["", "-", "17", "x-1"] {
            assert_eq!(FileId::parse(&directory, wrong), None);
        }
        assert_eq!(FileId::parse(&directory, &name), None);
    }
}
