//! Programs that go through a tree, and what each will want next: data only.
//!
//! `find`, `du`, `tar`, `grep -r` and `rsync` list a directory and then its subdirectories one after the other, or open its
//! files in turn; in the order of the listing or in that of the names. Who was seen to do so twice is taken at his word:
//! what comes next in that order is planned ahead, more of it each time it comes true, and nothing once it failed twice.

use crate::path::Name;
use crate::remote::{Entry, FileKind};
use crate::vfs::cache::directories::{Directory, Order};
use crate::vfs::inodes::Ino;
use std::collections::VecDeque;
use std::sync::Arc;

/// The tree as far as it is known, without asking anybody.
pub(crate) trait Map {
    /// The directory of `ino` and its name there; `None` for the root and for what is no more.
    fn place(&self, ino: Ino) -> Option<(Ino, Name)>;
    /// The listing of a directory, where it is still believed.
    fn listing(&mut self, directory: Ino) -> Option<Arc<Directory>>;
    /// The inode of an entry; `None` where the name stands for something else by now.
    fn child(&mut self, directory: Ino, entry: &Entry) -> Option<Ino>;
}

/// What a walker comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    /// A directory, to be listed.
    Directory(Ino),
    /// A file with something in it, to be read.
    File(Ino),
}

/// All walkers that were seen of late.
#[derive(Debug, Default)]
pub(crate) struct Walkers {
    walkers: Vec<Walker>,
    uses: u64,
}

/// One program, or several in one part of the tree.
#[derive(Debug)]
struct Walker {
    /// Everything that it came to lies in here.
    top: Ino,
    /// It was seen to come from one thing in here to another: so it may go on to the others. Where it only went in, it may
    /// leave for good.
    confirmed: Option<Ino>,
    order: Order,
    /// Whether it comes to what is in a directory before it comes to the next.
    descends: bool,
    at: Node,
    last_directory: Option<Ino>,
    last_file: Option<Ino>,
    directories: Window,
    files: Window,
    /// What it came to: a second program on the same way proves nothing.
    passed: VecDeque<Node>,
    used: u64,
}

/// How far ahead the plan goes, and the plan.
#[derive(Debug)]
struct Window {
    size: usize,
    size_max: usize,
    misses: u32,
    planned: VecDeque<Ino>,
}

impl Walkers {
    /// Somebody came to `node`; whether there may be something new to plan.
    pub(crate) fn came(&mut self, node: Node, map: &mut dyn Map) -> bool {
        self.uses += 1;
        let uses = self.uses;
        let Some(walker) = self.find(node, map) else {
            self.begin(node, map);
            return false;
        };
        walker.used = uses;
        if walker.at == node {
            return true;
        }
        if walker.passed.contains(&node) && node.is_known(map) {
            return false;
        }
        walker.step(node, map)
    }

    /// What is wanted soon, the next first: of whoever came somewhere last.
    pub(crate) fn plan(&mut self, map: &mut dyn Map) -> Vec<Node> {
        self.walkers.iter_mut().max_by_key(|walker| walker.used).map(|walker| walker.plan(map)).unwrap_or_default()
    }

    fn find(&mut self, node: Node, map: &dyn Map) -> Option<&mut Walker> {
        let above = ancestors(node.ino(), map);
        let planned = self.walkers.iter().position(|walker| walker.window(node).planned.contains(&node.ino()));
        let position = planned.or_else(|| {
            let beside = |top: Ino| matches!(map.place(top), Some((parent, _)) if above.get(1) == Some(&parent));
            let within = |walker: &&Walker| above.contains(&walker.top);
            let of_all = |may: &dyn Fn(&&Walker) -> bool| {
                let found = self.walkers.iter().enumerate().filter(|(_, walker)| may(walker));
                found.max_by_key(|(_, walker)| walker.used).map(|(position, _)| position)
            };
            of_all(&within).or_else(|| of_all(&|walker| beside(walker.top)))
        })?;
        let walker = self.walkers.get_mut(position)?;
        if !above.contains(&walker.top) {
            walker.top = *above.get(1)?;
        }
        Some(walker)
    }

    fn begin(&mut self, node: Node, map: &dyn Map) {
        let top = match node {
            Node::Directory(ino) => Some(ino),
            Node::File(ino) => map.place(ino).map(|(parent, _)| parent),
        };
        let Some(top) = top else { return };
        if self.walkers.len() >= WALKERS_MAX
            && let Some(oldest) = (0..self.walkers.len()).min_by_key(|&position| self.walkers[position].used)
        {
            self.walkers.swap_remove(oldest);
        }
        let mut walker = Walker {
            top,
            confirmed: None,
            order: Order::Listed,
            descends: true,
            at: node,
            last_directory: None,
            last_file: None,
            directories: Window::new(DIRECTORIES_MAX),
            files: Window::new(FILES_MAX),
            passed: VecDeque::new(),
            used: self.uses,
        };
        walker.go_to(node);
        self.walkers.push(walker);
    }
}

impl Walker {
    fn step(&mut self, node: Node, map: &mut dyn Map) -> bool {
        let planned = self.window(node).planned.iter().position(|&ino| ino == node.ino());
        let came_true = match planned {
            Some(position) => {
                self.window_mut(node).planned.drain(..=position);
                Some(position == 0)
            }
            None => self.is_next(node, map).then_some(true),
        };
        let window = self.window_mut(node);
        match came_true {
            Some(at_once) => window.hit(at_once),
            None => window.miss(),
        }
        let short = window.planned.len() * 2 < window.size;
        match came_true {
            Some(_) => self.confirm(node, map),
            None => self.confirmed = None,
        }
        self.go_to(node);
        short || matches!(node, Node::Directory(_))
    }

    /// Whether `node` is what comes next after the last of its kind; learns in which order.
    fn is_next(&mut self, node: Node, map: &mut dyn Map) -> bool {
        let from = match node {
            Node::Directory(_) => self.last_directory.map(Node::Directory),
            Node::File(_) => self.last_file.map(Node::File),
        };
        let Some(from) = from else { return false };
        for (order, descends) in [
            (self.order, self.descends),
            (self.order.other(), self.descends),
            (self.order, !self.descends),
            (self.order.other(), !self.descends),
        ] {
            let next = Cursor::after(from, self.top, order, descends, map).and_then(|mut cursor| {
                let of_kind = |next: &Node| {
                    matches!((next, node), (Node::Directory(_), Node::Directory(_)) | (Node::File(_), Node::File(_)))
                };
                std::iter::from_fn(|| cursor.next(map, matches!(node, Node::File(_)))).find(of_kind)
            });
            if next == Some(node) {
                (self.order, self.descends) = (order, descends);
                return true;
            }
        }
        false
    }

    fn confirm(&mut self, node: Node, map: &dyn Map) {
        let (from, to) = (ancestors(self.at.ino(), map), ancestors(node.ino(), map));
        let Some(&shared) = to.iter().find(|ino| from.contains(ino)) else { return };
        let went_in = shared == self.at.ino();
        let is_within = self.confirmed.is_some_and(|confirmed| ancestors(shared, map).contains(&confirmed));
        if !went_in && !is_within {
            self.confirmed = Some(shared);
        }
    }

    /// Where the plan ends.
    fn bound(&self, map: &dyn Map) -> Option<Ino> {
        let above = ancestors(self.at.ino(), map);
        match (self.confirmed, self.at) {
            (Some(confirmed), _) if above.contains(&confirmed) => Some(confirmed),
            (_, Node::Directory(ino)) => Some(ino),
            (_, Node::File(_)) => above.get(1).copied(),
        }
    }

    fn go_to(&mut self, node: Node) {
        self.at = node;
        match node {
            Node::Directory(ino) => self.last_directory = Some(ino),
            Node::File(ino) => self.last_file = Some(ino),
        }
        self.passed.push_back(node);
        if self.passed.len() > PASSED_MAX {
            self.passed.pop_front();
        }
    }

    fn plan(&mut self, map: &mut dyn Map) -> Vec<Node> {
        let mut plan = Vec::new();
        self.directories.planned.clear();
        self.files.planned.clear();
        let Some(bound) = self.bound(map) else { return plan };
        let Some(mut cursor) = Cursor::after(self.at, bound, self.order, self.descends, map) else { return plan };
        while self.directories.has_room() || self.files.has_room() {
            let Some(node) = cursor.next(map, self.files.has_room()) else { break };
            let window = self.window_mut(node);
            if window.has_room() {
                window.planned.push_back(node.ino());
                plan.push(node);
            }
        }
        plan
    }

    fn window(&self, node: Node) -> &Window {
        match node {
            Node::Directory(_) => &self.directories,
            Node::File(_) => &self.files,
        }
    }

    fn window_mut(&mut self, node: Node) -> &mut Window {
        match node {
            Node::Directory(_) => &mut self.directories,
            Node::File(_) => &mut self.files,
        }
    }
}

impl Window {
    fn new(size_max: usize) -> Self {
        Self { size: 0, size_max, misses: 0, planned: VecDeque::new() }
    }

    fn has_room(&self) -> bool {
        self.planned.len() < self.size
    }

    /// What came was expected; `at_once`: as the very next.
    fn hit(&mut self, at_once: bool) {
        self.misses = 0;
        if at_once {
            self.size = (self.size * 2).clamp(WINDOW_FIRST, self.size_max);
        }
    }

    fn miss(&mut self) {
        self.misses += 1;
        if self.misses >= MISSES_MAX {
            self.size = 0;
            self.planned.clear();
        }
    }
}

impl Node {
    /// Whether coming here again needs nothing, as far as can be told.
    fn is_known(self, map: &mut dyn Map) -> bool {
        match self {
            Self::Directory(ino) => map.listing(ino).is_some(),
            Self::File(_) => true,
        }
    }

    pub(crate) fn ino(self) -> Ino {
        match self {
            Self::Directory(ino) | Self::File(ino) => ino,
        }
    }
}

/// A place on the way through what is known of a tree.
struct Cursor {
    order: Order,
    descends: bool,
    /// From the top down: a directory and the rank of what comes next in it.
    levels: Vec<(Ino, Arc<Directory>, usize)>,
    steps: usize,
}

impl Cursor {
    /// What comes after `node` below `top`.
    fn after(node: Node, top: Ino, order: Order, descends: bool, map: &mut dyn Map) -> Option<Self> {
        let mut levels = Vec::new();
        let mut here = node.ino();
        while here != top {
            let (parent, name) = map.place(here)?;
            if let Some(directory) = map.listing(parent)
                && let Some(rank) = directory.rank(name.as_bytes(), order)
            {
                levels.push((parent, directory, rank + 1));
            }
            here = parent;
        }
        levels.reverse();
        if let Node::Directory(ino) = node
            && descends
            && let Some(directory) = map.listing(ino)
        {
            levels.push((ino, directory, 0));
        }
        Some(Self { order, descends, levels, steps: 0 })
    }

    /// The next directory, or file with something in it if `files`.
    fn next(&mut self, map: &mut dyn Map, files: bool) -> Option<Node> {
        loop {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return None;
            }
            let (ino, directory, rank) = self.levels.last_mut()?;
            let Some(entry) = directory.at(*rank, self.order) else {
                self.levels.pop();
                continue;
            };
            *rank += 1;
            match entry.metadata.kind {
                FileKind::Directory => {
                    let Some(child) = map.child(*ino, entry) else { continue };
                    if self.descends
                        && let Some(listing) = map.listing(child)
                    {
                        self.levels.push((child, listing, 0));
                    }
                    return Some(Node::Directory(child));
                }
                FileKind::File if files && entry.metadata.size.is_some_and(|size| size > 0) => {
                    let Some(child) = map.child(*ino, entry) else { continue };
                    return Some(Node::File(child));
                }
                FileKind::File | FileKind::Symlink(_) => {}
            }
        }
    }
}

/// `ino` and the directories above it, the nearest first.
fn ancestors(ino: Ino, map: &dyn Map) -> Vec<Ino> {
    std::iter::successors(Some(ino), |&here| map.place(here).map(|(parent, _)| parent)).collect()
}

/// How many walkers are told apart.
const WALKERS_MAX: usize = 8;
/// How far a plan goes that has just begun to come true.
const WINDOW_FIRST: usize = 4;
/// How many directories are listed ahead at most.
const DIRECTORIES_MAX: usize = 32;
/// How many files are fetched ahead at most.
const FILES_MAX: usize = 64;
/// How often in a row a guess may be wrong.
const MISSES_MAX: u32 = 2;
/// So many of the things that it came to are remembered of a walker.
const PASSED_MAX: usize = 32;
/// How many entries one plan looks at.
const STEPS_MAX: usize = 512;

#[cfg(test)]
mod tests;
