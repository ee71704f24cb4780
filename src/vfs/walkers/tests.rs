use super::*;
use crate::remote::Metadata;
use std::collections::HashMap;

/// A tree of which every listing is known that is not taken out.
#[derive(Default)]
struct World {
    places: HashMap<Ino, (Ino, Name)>,
    listings: HashMap<Ino, Arc<Directory>>,
}

const ROOT: Ino = Ino(1);

impl World {
    /// Directories end in `/`; each comes after the one that holds it.
    fn new(paths: &[&str]) -> Self {
        let mut world = Self::default();
        let mut entries: HashMap<Ino, Vec<Entry>> = HashMap::from([(ROOT, Vec::new())]);
        for path in paths {
            let is_directory = path.ends_with('/');
            let path = path.trim_end_matches('/');
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let (parent, ino) = (world.ino(parent), Ino(world.places.len() as u64 + 2));
            let name = Name::new(name.as_bytes()).unwrap();
            let metadata = match is_directory {
                true => Metadata::of_kind(FileKind::Directory),
                false => {
                    Metadata { size: Some(u64::from(!path.ends_with("empty"))), ..Metadata::of_kind(FileKind::File) }
                }
            };
            entries.get_mut(&parent).unwrap().push(Entry { name: name.clone(), metadata });
            world.places.insert(ino, (parent, name));
            if is_directory {
                entries.insert(ino, Vec::new());
            }
        }
        world.listings = entries.into_iter().map(|(ino, of)| (ino, Arc::new(Directory::new(of)))).collect();
        world
    }

    fn ino(&self, path: &str) -> Ino {
        path.split('/').filter(|name| !name.is_empty()).fold(ROOT, |here, name| {
            let named = |(_, (parent, of)): &(&Ino, &(Ino, Name))| *parent == here && of.as_bytes() == name.as_bytes();
            *self.places.iter().find(named).unwrap().0
        })
    }

    fn path(&self, ino: Ino) -> String {
        match self.places.get(&ino) {
            Some((parent, name)) => format!("{}/{name}", self.path(*parent)),
            None => String::new(),
        }
    }

    fn node(&self, path: &str) -> Node {
        let ino = self.ino(path);
        if self.listings.contains_key(&ino) { Node::Directory(ino) } else { Node::File(ino) }
    }

    fn came(&mut self, walkers: &mut Walkers, paths: &[&str]) {
        for path in paths {
            let node = self.node(path);
            walkers.came(node, self);
        }
    }

    fn plan(&mut self, walkers: &mut Walkers) -> Vec<String> {
        walkers.plan(self).into_iter().map(|node| self.path(node.ino())).collect()
    }
}

impl Map for World {
    fn place(&self, ino: Ino) -> Option<(Ino, Name)> {
        self.places.get(&ino).cloned()
    }

    fn listing(&mut self, directory: Ino) -> Option<Arc<Directory>> {
        self.listings.get(&directory).cloned()
    }

    fn child(&mut self, directory: Ino, entry: &Entry) -> Option<Ino> {
        let of = |(_, place): &(&Ino, &(Ino, Name))| **place == (directory, entry.name.clone());
        self.places.iter().find(of).map(|(ino, _)| *ino)
    }
}

fn tree() -> World {
    World::new(&[
        "c/", "a/", "b/", "c/2", "c/1", "c/deep/", "c/deep/x", "c/3", "a/2", "a/1", "a/empty", "a/3", "b/1", "other/",
    ])
}

/// What somebody came to, and what is planned then.
#[test]
fn a_plan_goes_on_in_the_order_that_was_seen() {
    for (came, expected) in [
        // ls of one directory, and of another.
        (&["c"][..], &[][..]),
        (&["c", "b"], &[]),
        // Who went in may leave for good.
        (&["", "c"], &["/c/deep"]),
        (&["", "c", "c/deep"], &[]),
        // find, in the order of the listing.
        (&["", "c", "c/deep", "a"], &["/b", "/other"]),
        // ls -R, in the order of the names: what is deeper comes first.
        (&["", "a", "b"], &["/c", "/c/deep", "/other"]),
        // For each directory here.
        (&["", "c", "a"], &["/b", "/other"]),
        (&["c", "a"], &["/b", "/other"]),
        // tar in c.
        (&["c", "c/2", "c/1"], &["/c/deep/x", "/c/3"]),
        (&["", "c", "c/2", "c/1"], &["/c/deep", "/c/deep/x", "/c/3"]),
        // rsync in a, in the order of the names; an empty file is nothing to read.
        (&["a", "a/1", "a/2"], &["/a/3"]),
        // One file in each directory.
        (&["c/1", "a/1", "b/1"], &[]),
    ] {
        let (mut world, mut walkers) = (tree(), Walkers::default());
        world.came(&mut walkers, came);
        assert_eq!(world.plan(&mut walkers), expected, "{came:?}");
    }
}

/// Nothing above or beside what somebody walks in is any of his business.
#[test]
fn a_plan_stays_below_where_the_walk_began() {
    let (mut world, mut walkers) = (tree(), Walkers::default());
    world.came(&mut walkers, &["c", "c/deep"]);
    assert!(world.plan(&mut walkers).is_empty());
    world.came(&mut walkers, &["c/deep/x"]);
    assert!(world.plan(&mut walkers).is_empty());
}

fn wide() -> World {
    let names: Vec<String> = (0..200).map(|number| format!("d{number:03}/")).collect();
    World::new(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn the_plan_grows_while_it_comes_true_ends_after_two_failures_and_begins_again() {
    let (mut world, mut walkers) = (wide(), Walkers::default());
    world.came(&mut walkers, &[""]);
    let mut lengths = Vec::new();
    for number in 0..6 {
        world.came(&mut walkers, &[&format!("d{number:03}")]);
        lengths.push(world.plan(&mut walkers).len());
    }
    assert_eq!(lengths, [0, 8, 16, 32, 32, 32]);
    world.came(&mut walkers, &["d100", "d101"]);
    assert_eq!(world.plan(&mut walkers).len(), 32, "once is nothing");
    world.came(&mut walkers, &["d150", "d180"]);
    assert!(world.plan(&mut walkers).is_empty());
    world.came(&mut walkers, &["d181"]);
    assert_eq!(world.plan(&mut walkers).len(), 4);
}

/// Two programs on the same way, one behind the other.
#[test]
fn who_comes_where_another_was_before_changes_nothing() {
    let (mut world, mut walkers) = (wide(), Walkers::default());
    world.came(&mut walkers, &["", "d000", "d001", "d002", "d000", "d001"]);
    let plan = world.plan(&mut walkers);
    assert_eq!((plan.len(), &plan[0][..]), (16, "/d003"));
}

/// What is not listed yet has nothing in it for now, and is planned itself.
#[test]
fn what_is_not_known_is_planned_and_gone_past() {
    let (mut world, mut walkers) = (tree(), Walkers::default());
    let (c, deep) = (world.ino("c"), world.ino("c/deep"));
    let hidden = [c, deep].map(|ino| (ino, world.listings.remove(&ino).unwrap()));
    walkers.came(Node::Directory(ROOT), &mut world);
    walkers.came(Node::Directory(c), &mut world);
    assert!(world.plan(&mut walkers).is_empty());
    world.listings.extend(hidden);
    assert_eq!(world.plan(&mut walkers), ["/c/deep"]);
}

#[test]
fn as_many_walkers_are_told_apart_as_there_is_room_for() {
    let (mut world, mut walkers) = (tree(), Walkers::default());
    for _ in 0..3 {
        for path in ["c", "c/deep", "a", "b", "other"] {
            walkers.begin(world.node(path), &world);
        }
    }
    assert_eq!(walkers.walkers.len(), WALKERS_MAX);
    world.came(&mut walkers, &["c/1"]);
}
