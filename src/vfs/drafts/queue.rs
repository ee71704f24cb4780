//! Who is next of what waits in the journal, and the threads that see to it.

use crate::deadline::Deadline;
use crate::vfs::drafts::{Drafts, Moment};
use crate::vfs::inodes::Ino;
use parking_lot::{Condvar, Mutex};
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// How many uploads run at once: more gain little, and others want connections as well.
const UPLOADS_MAX: usize = 4;
/// How long an upload that failed waits for its next try: this long at first, then twice as long each time.
pub(super) const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest wait between two tries.
pub(super) const RETRY_LAST: Duration = Duration::from_secs(300);
/// How long a thread without work stays.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// What is to be uploaded, and when.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    due: HashMap<Ino, Instant>,
    running: HashSet<Ino>,
    /// How often in a row the upload failed.
    failures: HashMap<Ino, u32>,
    threads: usize,
    ended: bool,
    /// Counts what was done, well or not.
    turns: u64,
}

/// How the upload of one file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing of it waits any more, or not until it is closed again.
    Done,
    /// It failed and is to be tried again.
    Failed,
}

impl Queue {
    /// `ino` is to be uploaded as soon as possible.
    pub(super) fn add(self: &Arc<Self>, ino: Ino, drafts: &Weak<Drafts>, now: Instant) {
        let mut lines = self.lines.lock();
        lines.due.insert(ino, now);
        lines.failures.remove(&ino);
        self.start_threads(&mut lines, drafts);
        drop(lines);
        self.changed.notify_all();
    }

    /// `ino` is not to be uploaded any more.
    pub(super) fn remove(&self, ino: Ino) {
        let mut lines = self.lines.lock();
        lines.due.remove(&ino);
        lines.failures.remove(&ino);
        drop(lines);
        self.changed.notify_all();
    }

    /// What failed is tried again now, as if for the first time.
    pub(super) fn hurry(self: &Arc<Self>, drafts: &Weak<Drafts>, now: Instant) {
        let mut lines = self.lines.lock();
        lines.failures.clear();
        lines.due.values_mut().for_each(|at| *at = now);
        self.start_threads(&mut lines, drafts);
        drop(lines);
        self.changed.notify_all();
    }

    /// How many failed at their last try.
    pub(crate) fn failed(&self) -> usize {
        self.lines.lock().failures.len()
    }

    /// Whether no upload runs.
    pub(crate) fn rests(&self) -> bool {
        self.lines.lock().running.is_empty()
    }

    /// Whether something is to be uploaded.
    pub(super) fn waits(&self) -> bool {
        let lines = self.lines.lock();
        !lines.due.is_empty() || !lines.running.is_empty()
    }

    /// Whether something waits, and all of it failed at least so many times in a row.
    pub(super) fn is_hopeless(&self, failures: u32) -> bool {
        let lines = self.lines.lock();
        let failed = |ino| lines.failures.get(ino).is_some_and(|count| *count >= failures);
        lines.running.is_empty() && !lines.due.is_empty() && lines.due.keys().all(failed)
    }

    /// Whether the last upload of `ino` failed.
    pub(crate) fn has_failed(&self, ino: Ino) -> bool {
        self.lines.lock().failures.contains_key(&ino)
    }

    /// Waits until something changed, but no longer than `limit`. `seen` is what the last call gave.
    pub(crate) fn wait(&self, seen: u64, limit: Duration) -> u64 {
        let deadline = Instant::now() + limit;
        let mut lines = self.lines.lock();
        while lines.turns == seen && !self.changed.wait_until(&mut lines, deadline).timed_out() {}
        lines.turns
    }

    /// Nothing more is begun.
    pub(super) fn end(&self) {
        self.lines.lock().ended = true;
        self.changed.notify_all();
    }

    fn start_threads(self: &Arc<Self>, lines: &mut Lines, drafts: &Weak<Drafts>) {
        let wanted = (lines.due.len() + lines.running.len()).min(UPLOADS_MAX);
        while lines.threads < wanted && !lines.ended {
            let (queue, drafts) = (Arc::clone(self), Weak::clone(drafts));
            match thread::Builder::new().name("ftpsfs-upload".into()).spawn(move || queue.work(&drafts)) {
                Ok(_) => lines.threads += 1,
                Err(error) => {
                    // What waits is taken by the threads that are there, or when more comes.
                    log::error!("cannot start a thread for uploads: {error}");
                    return;
                }
            }
        }
    }

    fn work(self: Arc<Self>, drafts: &Weak<Drafts>) {
        while let Some(ino) = self.next() {
            // Nobody needs it any more once the file system is gone; the journal keeps it.
            let Some(drafts) = drafts.upgrade() else { return };
            let _entered = Deadline::background(drafts.tree.ending()).enter();
            let uploaded = catch_unwind(AssertUnwindSafe(|| drafts.upload(ino, Moment::new(Instant::now()))));
            self.ended(ino, uploaded.unwrap_or(Outcome::Failed), Instant::now());
        }
    }

    /// The next that is due; `None` once the thread is not needed.
    fn next(&self) -> Option<Ino> {
        let mut lines = self.lines.lock();
        let mut idle_until = Instant::now() + IDLE_MAX;
        loop {
            let now = Instant::now();
            let free = lines.due.iter().filter(|(ino, _)| !lines.running.contains(ino));
            let next = free.map(|(ino, at)| (*at, *ino)).min();
            match next {
                _ if lines.ended => break,
                Some((at, ino)) if at <= now => {
                    lines.due.remove(&ino);
                    lines.running.insert(ino);
                    return Some(ino);
                }
                Some((at, _)) => {
                    idle_until = now + IDLE_MAX;
                    self.changed.wait_until(&mut lines, at);
                }
                None if now >= idle_until => break,
                None => drop(self.changed.wait_until(&mut lines, idle_until)),
            }
        }
        lines.threads -= 1;
        None
    }

    fn ended(&self, ino: Ino, outcome: Outcome, now: Instant) {
        let mut lines = self.lines.lock();
        lines.running.remove(&ino);
        lines.turns += 1;
        match outcome {
            Outcome::Done => drop(lines.failures.remove(&ino)),
            Outcome::Failed => {
                let failures = lines.failures.entry(ino).or_default();
                *failures += 1;
                let pause = RETRY_FIRST.saturating_mul(1 << (*failures - 1).min(16)).min(RETRY_LAST);
                // It may have been closed again meanwhile: then it is due already.
                lines.due.entry(ino).or_insert(now + pause);
            }
        }
        drop(lines);
        self.changed.notify_all();
    }
}
