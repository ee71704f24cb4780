//! Inode numbers: which name in which directory each stands for, and for how long.

use crate::path::{Name, RemotePath};
use crate::vfs::attr::Kind;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::SystemTime;

/// An inode number.
///
/// It is made of the directory's number and the name, so that a file that was forgotten gets its number again, also in the
/// next mount; not of what the server calls the file (`unique`), which is not known of a file that was created here. No
/// number ever stands for two paths while mounted, so every generation is 0: what is remembered of one, such as its content,
/// must not be taken for another's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

impl Ino {
    /// The mount's root (`FUSE_ROOT_ID`).
    pub const ROOT: Self = Self(1);
}

impl fmt::Debug for Ino {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Numbers that are made of something lie from here on, far from those that are counted...
const MADE_MIN: u64 = 1 << 32;
/// ... and below what JavaScript and others take for whole.
const MADE_MAX: u64 = 1 << 53;

/// How many renamed inodes are remembered. From then on numbers are only counted.
const MOVED_MAX: usize = 64 * 1024;

/// How many inodes that the kernel forgot keep their number, in case they are looked up again.
const FORGOTTEN_MAX: usize = 16 * 1024;

/// The inodes that the kernel holds, the directories on the way to them, and some that it held not long ago.
#[derive(Debug)]
pub(crate) struct Inodes {
    nodes: HashMap<Ino, Node>,
    /// Candidates for removal, the oldest first. One that is in use again when its turn comes stays.
    forgotten: VecDeque<Ino>,
    forgotten_max: usize,
    /// Numbers that stood for a path and now, or since, for another: not to be made of the first again.
    moved: HashSet<Ino>,
    /// The last number that was counted, and not made of anything.
    counted: u64,
}

#[derive(Debug)]
struct Node {
    /// A path is names along the parents, so that a directory that moves takes everything below along.
    parent: Ino,
    name: Option<Name>,
    kind: Kind,
    /// How often the kernel was told this number and has not taken it back.
    lookups: u64,
    children: HashMap<Name, Ino>,
    queued: bool,
    /// Size (bytes) and time as the kernel was told them last.
    told: Option<(u64, SystemTime)>,
}

impl Inodes {
    pub(crate) fn new() -> Self {
        Self::keeping(FORGOTTEN_MAX)
    }

    /// As [`Inodes::new`], where no more than `forgotten_max` that the kernel forgot keep their number.
    pub(crate) fn keeping(forgotten_max: usize) -> Self {
        let root = Node {
            parent: Ino::ROOT,
            name: None,
            kind: Kind::Directory,
            lookups: 1,
            children: HashMap::new(),
            queued: false,
            told: None,
        };
        Self {
            nodes: HashMap::from([(Ino::ROOT, root)]),
            forgotten: VecDeque::new(),
            forgotten_max,
            moved: HashSet::new(),
            counted: Ino::ROOT.0,
        }
    }

    /// The inode of `name` in `parent`, where it has one.
    pub(crate) fn child(&self, parent: Ino, name: &[u8]) -> Option<Ino> {
        self.nodes.get(&parent)?.children.get(name).copied()
    }

    /// The inode of `name` in `parent`, a new one if need be; `None` if `parent` is no more.
    ///
    /// A name that stands for another kind of file than before is another file: it gets another number, and the inode it
    /// had is stale.
    pub(crate) fn remember(&mut self, parent: Ino, name: &Name, kind: Kind) -> Option<Ino> {
        if let Some(ino) = self.child(parent, name.as_bytes()) {
            if self.kind(ino) == Some(kind) {
                return Some(ino);
            }
            self.detach(ino);
        }
        let ino = self.number(parent, name);
        self.nodes.get_mut(&parent)?.children.insert(name.clone(), ino);
        let name = Some(name.clone());
        let (children, told) = (HashMap::new(), None);
        self.nodes.insert(ino, Node { parent, name, kind, lookups: 0, children, queued: false, told });
        self.queue_unused(ino);
        Some(ino)
    }

    fn number(&mut self, parent: Ino, name: &Name) -> Ino {
        let made = made_of(parent, name);
        if !self.nodes.contains_key(&made) && !self.moved.contains(&made) && self.moved.len() < MOVED_MAX {
            return made;
        }
        self.counted += 1;
        Ino(self.counted)
    }

    /// Counts one more time that the kernel was told of `ino`.
    pub(crate) fn looked_up(&mut self, ino: Ino) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups += 1;
        }
    }

    /// The kernel is told `size` and `modified` of `ino`; whether it believed something else until now.
    pub(crate) fn tell(&mut self, ino: Ino, size: u64, modified: SystemTime) -> bool {
        let Some(node) = self.nodes.get_mut(&ino) else { return false };
        let before = node.told.replace((size, modified));
        before.is_some_and(|before| before != (size, modified))
    }

    pub(crate) fn told_size(&self, ino: Ino) -> Option<u64> {
        self.nodes.get(&ino)?.told.map(|(size, _)| size)
    }

    /// The kernel takes back `lookups` of the times it was told of `ino`.
    pub(crate) fn forget(&mut self, ino: Ino, lookups: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups = node.lookups.saturating_sub(lookups);
        }
        self.queue_unused(ino);
    }

    pub(crate) fn kind(&self, ino: Ino) -> Option<Kind> {
        self.nodes.get(&ino).map(|node| node.kind)
    }

    /// The directory of `ino` (its own for the root) and its name there (`None` for the root, and for a stale inode).
    pub(crate) fn place(&self, ino: Ino) -> Option<(Ino, Option<&Name>)> {
        self.nodes.get(&ino).map(|node| (node.parent, node.name.as_ref()))
    }

    /// The path of `ino`; `None` if it is stale or unknown.
    pub(crate) fn path(&self, ino: Ino) -> Option<RemotePath> {
        let names = self.names(ino)?;
        Some(names.iter().rev().fold(RemotePath::root(), |path, name| path.join(name)))
    }

    /// How many directories lie between `ino` and the root: 0 for the root and what is in it.
    pub(crate) fn depth(&self, ino: Ino) -> Option<usize> {
        Some(self.names(ino)?.len().saturating_sub(1))
    }

    /// `ino` and all that is below it.
    pub(crate) fn below(&self, ino: Ino) -> Vec<Ino> {
        let mut below = vec![ino];
        let mut next = 0;
        while let Some(node) = below.get(next).and_then(|inode| self.nodes.get(inode)) {
            below.extend(node.children.values());
            next += 1;
        }
        below
    }

    /// The names from `ino` up to the root.
    fn names(&self, ino: Ino) -> Option<Vec<&Name>> {
        let mut names = Vec::new();
        let mut here = ino;
        while here != Ino::ROOT {
            let node = self.nodes.get(&here)?;
            names.push(node.name.as_ref()?);
            here = node.parent;
        }
        Some(names)
    }

    /// Gives `ino` another name, with everything below it; whatever had that name is stale from now on.
    pub(crate) fn rename(&mut self, ino: Ino, parent: Ino, name: &Name) {
        if let Some(replaced) = self.child(parent, name.as_bytes()) {
            if replaced == ino {
                return;
            }
            self.detach(replaced);
        }
        let before = self.place(ino).map(|(parent, _)| parent);
        if self.moved.len() < MOVED_MAX {
            self.moved.insert(ino);
        }
        self.detach(ino);
        let Some(node) = self.nodes.get_mut(&ino) else { return };
        (node.parent, node.name) = (parent, Some(name.clone()));
        if let Some(node) = self.nodes.get_mut(&parent) {
            node.children.insert(name.clone(), ino);
        }
        // The directory that it left may have been kept for its sake only.
        if let Some(before) = before {
            self.queue_unused(before);
        }
    }

    /// Takes its name from `ino`: it is stale from now on, and so is what lies below it.
    pub(crate) fn detach(&mut self, ino: Ino) {
        let Some(node) = self.nodes.get_mut(&ino) else { return };
        let (parent, name) = (node.parent, node.name.take());
        if let (Some(name), Some(parent)) = (name, self.nodes.get_mut(&parent)) {
            parent.children.remove(&name);
        }
        self.queue_unused(ino);
    }

    fn queue_unused(&mut self, ino: Ino) {
        if ino == Ino::ROOT {
            return;
        }
        match self.nodes.get_mut(&ino) {
            Some(node) if node.is_unused() && !node.queued => node.queued = true,
            _ => return,
        }
        self.forgotten.push_back(ino);
        while self.forgotten.len() > self.forgotten_max {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(ino) = self.forgotten.pop_front() else { return };
        let Some(node) = self.nodes.get_mut(&ino) else { return };
        node.queued = false;
        if !node.is_unused() {
            return;
        }
        let Some(node) = self.nodes.remove(&ino) else { return };
        if let Some(parent) = self.nodes.get_mut(&node.parent) {
            // A stale inode has left its place, and another may stand there.
            if let Some(name) = &node.name {
                parent.children.remove(name);
            }
        }
        self.queue_unused(node.parent);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }
}

fn made_of(parent: Ino, name: &Name) -> Ino {
    // Its keys are fixed, so that the next mount makes the same of the same.
    let mut hasher = DefaultHasher::new();
    (parent.0, name.as_bytes()).hash(&mut hasher);
    Ino(MADE_MIN + hasher.finish() % (MADE_MAX - MADE_MIN))
}

impl Node {
    fn is_unused(&self) -> bool {
        self.lookups == 0 && self.children.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_number_stays_while_the_kernel_holds_it_and_a_while_longer() {
        let mut inodes = Inodes::new();
        let directory = inodes.remember(Ino::ROOT, &name("d"), Kind::Directory).unwrap();
        let file = inodes.remember(directory, &name("f"), Kind::File).unwrap();
        inodes.looked_up(file);
        assert_eq!(inodes.path(file).unwrap().as_bytes(), b"/d/f");
        assert_eq!(inodes.depth(file), Some(1));
        inodes.forget(file, 1);
        assert_eq!(inodes.remember(directory, &name("f"), Kind::File), Some(file));
    }

    #[test]
    fn forgotten_inodes_go_and_their_directories_after_them() {
        let mut inodes = Inodes::new();
        for number in 0..2 * FORGOTTEN_MAX {
            let directory = inodes.remember(Ino::ROOT, &name(&format!("d{number}")), Kind::Directory).unwrap();
            let file = inodes.remember(directory, &name("f"), Kind::File).unwrap();
            inodes.looked_up(file);
            inodes.forget(file, 1);
        }
        assert!(inodes.len() <= 2 * FORGOTTEN_MAX + 1, "{}", inodes.len());
    }

    #[test]
    fn a_directory_that_moves_takes_everything_below_along() {
        let mut inodes = Inodes::new();
        let from = inodes.remember(Ino::ROOT, &name("from"), Kind::Directory).unwrap();
        let file = inodes.remember(from, &name("f"), Kind::File).unwrap();
        let to = inodes.remember(Ino::ROOT, &name("to"), Kind::Directory).unwrap();
        let replaced = inodes.remember(to, &name("x"), Kind::Directory).unwrap();
        inodes.rename(from, to, &name("x"));
        assert_eq!(inodes.path(file).unwrap().as_bytes(), b"/to/x/f");
        assert_eq!(inodes.path(replaced), None);
        assert_eq!(inodes.child(Ino::ROOT, b"from"), None);
        inodes.rename(from, to, &name("x"));
        assert_eq!(inodes.child(to, b"x"), Some(from));
    }

    #[test]
    fn a_path_has_the_same_number_in_the_next_mount() {
        let numbers = |names: &[&str]| {
            let mut inodes = Inodes::new();
            let directory = inodes.remember(Ino::ROOT, &name("d"), Kind::Directory).unwrap();
            let given = names.iter().map(|text| inodes.remember(directory, &name(text), Kind::File).unwrap());
            given.collect::<Vec<_>>()
        };
        let first = numbers(&["a", "b"]);
        assert_eq!(numbers(&["b", "a"]), [first[1], first[0]]);
        assert_ne!(first[0], first[1]);
        assert!(first.iter().all(|ino| (MADE_MIN..MADE_MAX).contains(&ino.0)));
    }

    #[test]
    fn a_number_stands_for_one_path_only() {
        let mut inodes = Inodes::new();
        let (a, b) = (name("a"), name("b"));
        let moved = inodes.remember(Ino::ROOT, &a, Kind::File).unwrap();
        inodes.rename(moved, Ino::ROOT, &b);
        let second = inodes.remember(Ino::ROOT, &a, Kind::File).unwrap();
        assert_ne!(second, moved);
        // Gone and forgotten, it is still not another's.
        inodes.detach(moved);
        for number in 0..2 * FORGOTTEN_MAX {
            inodes.remember(Ino::ROOT, &name(&number.to_string()), Kind::File).unwrap();
        }
        assert_eq!(inodes.kind(moved), None);
        let third = inodes.remember(Ino::ROOT, &a, Kind::File).unwrap();
        assert!(third != moved && third != second);

        // Held while it has no name any more.
        let held = inodes.remember(Ino::ROOT, &name("c"), Kind::File).unwrap();
        inodes.looked_up(held);
        inodes.detach(held);
        assert_ne!(inodes.remember(Ino::ROOT, &name("c"), Kind::File), Some(held));
    }

    #[test]
    fn a_name_of_another_kind_is_another_inode() {
        let mut inodes = Inodes::new();
        let file = inodes.remember(Ino::ROOT, &name("x"), Kind::File).unwrap();
        inodes.looked_up(file);
        let directory = inodes.remember(Ino::ROOT, &name("x"), Kind::Directory).unwrap();
        assert_ne!(file, directory);
        assert_eq!(inodes.path(file), None);
        assert_eq!(inodes.path(directory).unwrap().as_bytes(), b"/x");
    }
}
