//! What the kernel was told and goes on believing for a while.

use crate::path::Name;
use crate::vfs::inodes::Ino;
use parking_lot::Mutex;
use std::collections::{HashSet, VecDeque};

/// What the kernel believes and should not any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Inodes: their attributes, their content or the listing that it keeps.
    pub inodes: Vec<Ino>,
    /// Names in directories that it was told do not exist.
    pub absent: Vec<(Ino, Name)>,
}

/// How many names are remembered of which the kernel was told that they do not exist. Older ones it believes to the end of their
/// time.
const ABSENCES_MAX: usize = 16 * 1024;

/// Names of which the kernel was told that they do not exist.
#[derive(Debug, Default)]
pub(crate) struct Absences {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    names: HashSet<(Ino, Name)>,
    /// The oldest first.
    order: VecDeque<(Ino, Name)>,
}

impl Absences {
    pub(crate) fn note(&self, parent: Ino, name: &[u8]) {
        let Ok(name) = Name::new(name) else { return };
        let mut told = self.told.lock();
        if told.names.insert((parent, name.clone())) {
            told.order.push_back((parent, name));
        }
        if told.order.len() > ABSENCES_MAX
            && let Some(oldest) = told.order.pop_front()
        {
            told.names.remove(&oldest);
        }
    }

    /// Those in one of the directories `parents`; they are not remembered any more.
    pub(crate) fn take(&self, parents: &HashSet<Ino>) -> Vec<(Ino, Name)> {
        let mut told = self.told.lock();
        let (taken, left) = told.order.drain(..).partition(|(parent, _)| parents.contains(parent));
        told.order = left;
        for absent in &taken {
            told.names.remove(absent);
        }
        Vec::from(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absences_are_remembered_once_and_up_to_a_limit() {
        let absences = Absences::default();
        (0..3).for_each(|_| absences.note(Ino(5), b"a"));
        absences.note(Ino(6), b"b");
        let name = |text: &str| Name::new(text.as_bytes()).unwrap();
        assert_eq!(absences.take(&HashSet::from([Ino(5)])), [(Ino(5), name("a"))]);
        (0..ABSENCES_MAX).for_each(|number| absences.note(Ino(7), number.to_string().as_bytes()));
        assert_eq!(absences.take(&HashSet::from([Ino(5), Ino(6)])), []);
        assert_eq!(absences.take(&HashSet::from([Ino(7)])).len(), ABSENCES_MAX);
        assert!(absences.told.lock().names.is_empty());
    }
}
