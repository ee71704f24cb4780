//! Looks many times a second at what the programs are waiting for, and how long.
//!
//! A thread that waits for a file system in user space has that on its kernel stack (proc(5), root only); while it is not
//! woken, its count of context switches stands still.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The watch over all processes that descend from this one.
pub(super) struct Watch {
    has_ended: Arc<AtomicBool>,
    thread: JoinHandle<(Duration, String)>,
}

impl Watch {
    pub(super) fn start() -> Self {
        let has_ended = Arc::<AtomicBool>::default();
        let thread = thread::spawn({
            let has_ended = Arc::clone(&has_ended);
            move || look(&has_ended)
        });
        Self { has_ended, thread }
    }

    /// The longest wait of any.
    pub(super) fn end(self) -> (Duration, String) {
        self.has_ended.store(true, Ordering::SeqCst);
        self.thread.join().expect("it does not panic")
    }
}

fn look(has_ended: &AtomicBool) -> (Duration, String) {
    let mut waits: HashMap<u32, (String, Instant)> = HashMap::new();
    let mut longest = (Duration::ZERO, String::new());
    while !has_ended.load(Ordering::SeqCst) {
        let now = Instant::now();
        let waiting: HashMap<u32, String> =
            descendants().into_iter().filter_map(|process| Some((process, wait_of(process)?))).collect();
        waits.retain(|process, (wait, _)| waiting.get(process) == Some(wait));
        for (process, wait) in waiting {
            let (_, since) = waits.entry(process).or_insert((wait, now));
            let took = now - *since;
            if took > longest.0 {
                let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
                let call = fs::read_to_string(format!("/proc/{process}/syscall")).unwrap_or_default();
                let number = call.split(' ').next().unwrap_or_default();
                longest = (took, format!("{}, system call {number}", name.trim()));
            }
        }
        thread::sleep(PAUSE);
    }
    longest
}

/// What tells this wait from the next one, where the process waits for a file system in user space.
fn wait_of(process: u32) -> Option<String> {
    let stack = fs::read_to_string(format!("/proc/{process}/stack")).ok()?;
    if !stack.contains("fuse_") && !stack.contains("request_wait_answer") {
        return None;
    }
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(status.lines().filter(|line| line.contains("voluntary_ctxt_switches")).collect())
}

fn descendants() -> Vec<u32> {
    let mut found = children(std::process::id());
    let mut next = 0;
    while let Some(process) = found.get(next).copied() {
        found.extend(children(process));
        next += 1;
    }
    found
}

/// Of all threads: each has the children that it started itself.
fn children(process: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let lists: Vec<String> = lists.collect();
    lists.iter().flat_map(|list| list.split_whitespace()).filter_map(|number| number.parse().ok()).collect()
}

const PAUSE: Duration = Duration::from_millis(100);
