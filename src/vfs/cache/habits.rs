//! How names in a directory are asked for: one by one, or all at once.

use crate::vfs::inodes::Ino;
use lru::LruCache;
use std::time::{Duration, Instant};

/// A way to learn of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// List its directory.
    List,
    /// Ask about it alone.
    Stat,
}

/// How many directories are remembered.
const DIRECTORIES_MAX: usize = 4 * 1024;

/// What was asked in each directory.
#[derive(Debug)]
pub(crate) struct Habits {
    directories: LruCache<Ino, Habit>,
}

#[derive(Debug, Default)]
struct Habit {
    single: Option<Instant>,
    refused: Option<Instant>,
}

impl Habits {
    pub(crate) fn new() -> Self {
        Self { directories: LruCache::unbounded() }
    }

    /// The way to ask for a name in `directory` now. The first question is about the name alone: a program may want only
    /// one file. The second within `timeout` is for the listing, which answers all that follow; so is the first if it costs
    /// no more (`lists`).
    pub(crate) fn way(&mut self, directory: Ino, lists: bool, now: Instant, timeout: Duration) -> Way {
        let habit = self.directories.get_or_insert_mut(directory, Habit::default);
        let recent = |at: Option<Instant>| at.is_some_and(|at| now < at + timeout);
        let way = if (lists || recent(habit.single)) && !recent(habit.refused) { Way::List } else { Way::Stat };
        if way == Way::Stat {
            habit.single = Some(now);
        }
        if self.directories.len() > DIRECTORIES_MAX {
            self.directories.pop_lru();
        }
        way
    }

    /// The server does not list `directory`.
    pub(crate) fn refused(&mut self, directory: Ino, now: Instant) {
        self.directories.get_or_insert_mut(directory, Habit::default).refused = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_question_in_a_directory_lists_it_unless_the_server_refuses() {
        let (mut habits, now, timeout) = (Habits::new(), Instant::now(), Duration::from_secs(30));
        assert_eq!(habits.way(Ino(5), false, now, timeout), Way::Stat);
        assert_eq!(habits.way(Ino(6), false, now, timeout), Way::Stat);
        assert_eq!(habits.way(Ino(5), false, now, timeout), Way::List);
        habits.refused(Ino(5), now);
        assert_eq!(habits.way(Ino(5), false, now, timeout), Way::Stat);
        assert_eq!(habits.way(Ino(6), false, now + timeout, timeout), Way::Stat);
        assert_eq!(habits.way(Ino(7), true, now, timeout), Way::List);
    }
}
