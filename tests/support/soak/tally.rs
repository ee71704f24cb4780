//! What programs did, and how long it took.

use super::stillness::Wait;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Counts of all programs.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    done: BTreeMap<&'static str, usize>,
    errors: BTreeMap<String, usize>,
    longest: (Duration, String),
    waits: Vec<Wait>,
    wrong: Vec<String>,
    hung: Vec<String>,
}

impl Tally {
    /// Makes a system call, and counts it.
    pub(super) fn call<T>(&self, name: &'static str, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let begun = Instant::now();
        let result = call();
        let ended = Instant::now();
        let took = ended - begun;
        let mut counts = self.0.lock().expect("nobody panics with it");
        if took > counts.longest.0 {
            counts.longest = (took, name.to_owned());
        }
        if took > LONG {
            counts.waits.push(Wait { begun, ended, name: name.to_owned() });
        }
        drop(counts);
        self.count(name, result.as_ref().err().map(|error| format!("{name}: {}", error.raw_os_error().unwrap_or(0))));
        result
    }

    /// Counts something done, or the error instead.
    pub(super) fn count(&self, name: &'static str, error: Option<String>) {
        let mut counts = self.0.lock().expect("nobody panics with it");
        match error {
            Some(error) => *counts.errors.entry(error).or_default() += 1,
            None => *counts.done.entry(name).or_default() += 1,
        }
    }

    /// Notes bytes that are not right.
    pub(super) fn note_wrong(&self, what: String) {
        self.0.lock().expect("nobody panics with it").wrong.push(what);
    }

    /// Notes a program that did not end by itself.
    pub(super) fn note_hung(&self, what: String) {
        self.0.lock().expect("nobody panics with it").hung.push(what);
    }

    pub(super) fn hung(&self) -> Vec<String> {
        self.0.lock().expect("nobody panics with it").hung.clone()
    }

    pub(super) fn wrong(&self) -> Vec<String> {
        self.0.lock().expect("nobody panics with it").wrong.clone()
    }

    pub(super) fn longest(&self) -> (Duration, String) {
        self.0.lock().expect("nobody panics with it").longest.clone()
    }

    /// The calls that took long.
    pub(super) fn waits(&self) -> Vec<Wait> {
        self.0.lock().expect("nobody panics with it").waits.clone()
    }

    /// Those of `names` that were never done.
    pub(super) fn never(&self, names: &[&'static str]) -> Vec<&'static str> {
        let counts = self.0.lock().expect("nobody panics with it");
        names.iter().copied().filter(|name| !counts.done.contains_key(name)).collect()
    }

    /// How much was done in all.
    ///
    /// # Panics
    ///
    /// Not.
    pub fn done(&self) -> usize {
        self.0.lock().expect("nobody panics with it").done.values().sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().expect("nobody panics with it");
        let list = |items: Vec<String>| items.join(", ");
        let done: usize = counts.done.values().sum();
        let errors: usize = counts.errors.values().sum();
        let kinds = list(counts.done.iter().map(|(name, count)| format!("{count} {name}")).collect());
        let seen = list(counts.errors.iter().map(|(what, count)| format!("{count} {what}")).collect());
        write!(f, "{done} ({kinds})\nerrors that programs were told {errors} ({seen})")
    }
}

/// Shorter calls are of no interest one by one.
pub(super) const LONG: Duration = Duration::from_secs(1);
