//! The table of inodes: what the kernel holds is never let go of, and keeps its number and its path, whatever the others do
//! with theirs; what nobody holds goes.

use crate::explore::Scenario;
use crate::locks::Mutex;
use crate::path::Name;
use crate::vfs::attr::Kind;
use crate::vfs::inodes::{Ino, Inodes};
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::thread;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const SCENARIOS: &[Scenario] = &[("inodes::what_is_held_stays", what_is_held_stays)];

/// The part of the kernel that works in one directory: the numbers that it was told, how often, and what for.
struct Holder {
    inodes: Arc<Mutex<Inodes>>,
    directory: Ino,
    path: String,
    held: BTreeMap<Ino, Held>,
}

struct Held {
    lookups: u64,
    /// `None` for a file that was removed.
    name: Option<&'static str>,
}

fn what_is_held_stays() {
    let inodes = Arc::new(Mutex::new(Inodes::keeping(FORGOTTEN_MAX)));
    let holders: Vec<_> = (0..HOLDERS)
        .map(|number| {
            let mut holder = Holder::new(&inodes, &format!("d{number}"));
            thread::spawn(move || {
                (0..STEPS).for_each(|_| holder.step());
                holder.forget_all();
            })
        })
        .collect();
    holders.into_iter().for_each(|holder| holder.join().unwrap());
    let left = inodes.lock().len();
    assert!(left <= 1 + HOLDERS + FORGOTTEN_MAX, "{left} are left");
}

impl Holder {
    fn new(inodes: &Arc<Mutex<Inodes>>, name: &str) -> Self {
        let mut table = inodes.lock();
        let directory = table.remember(Ino::ROOT, &self::name(name), Kind::Directory).unwrap();
        table.looked_up(directory);
        drop(table);
        Self { inodes: Arc::clone(inodes), directory, path: format!("/{name}"), held: BTreeMap::new() }
    }

    fn step(&mut self) {
        let name = NAMES[thread_rng().gen_range(0..NAMES.len())];
        match thread_rng().gen_range(0..8) {
            0..4 => self.look_up(name),
            4 => self.rename(name, NAMES[thread_rng().gen_range(0..NAMES.len())]),
            5 => self.remove(name),
            _ => self.forget_one(),
        }
        self.check();
    }

    fn look_up(&mut self, name: &'static str) {
        let ino = {
            let mut inodes = self.inodes.lock();
            let ino = inodes.remember(self.directory, &self::name(name), Kind::File).unwrap();
            inodes.looked_up(ino);
            ino
        };
        let held = self.held.entry(ino).or_insert(Held { lookups: 0, name: Some(name) });
        held.lookups += 1;
        assert_eq!(held.name, Some(name), "{ino:?} is two files'");
    }

    fn rename(&mut self, from: &'static str, to: &'static str) {
        let Some((&ino, _)) = self.held.iter().find(|(_, held)| held.name == Some(from)) else { return };
        self.inodes.lock().rename(ino, self.directory, &name(to));
        if from != to {
            self.held.values_mut().filter(|held| held.name == Some(to)).for_each(|held| held.name = None);
            self.held.get_mut(&ino).unwrap().name = Some(to);
        }
    }

    fn remove(&mut self, name: &'static str) {
        let Some((&ino, held)) = self.held.iter_mut().find(|(_, held)| held.name == Some(name)) else { return };
        held.name = None;
        self.inodes.lock().detach(ino);
    }

    fn forget_one(&mut self) {
        let Some((&ino, held)) = self.held.iter_mut().next() else { return };
        let lookups = thread_rng().gen_range(1..=held.lookups);
        held.lookups -= lookups;
        if held.lookups == 0 {
            self.held.remove(&ino);
        }
        self.inodes.lock().forget(ino, lookups);
    }

    fn forget_all(&mut self) {
        while !self.held.is_empty() {
            self.forget_one();
            self.check();
        }
    }

    fn check(&self) {
        let inodes = self.inodes.lock();
        for (ino, held) in &self.held {
            let path = inodes.path(*ino).map(|path| String::from_utf8(path.as_bytes().to_vec()).unwrap());
            assert_eq!(inodes.kind(*ino), Some(Kind::File), "{ino:?} is held");
            assert_eq!(path, held.name.map(|name| format!("{}/{name}", self.path)));
        }
    }
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

const HOLDERS: usize = 3;
const STEPS: usize = 25;
/// Few, so that many go.
const FORGOTTEN_MAX: usize = 2;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
