//! Looks many times a second at what the programs are waiting for, and how long.
//!
//! A thread that waits for a file system in user space has that on its kernel stack (proc(5), root only); while it is not
//! woken, its count of context switches stands still.

use super::stillness::Wait;
use super::tally::LONG;
use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The watch over all processes that descend from this one.
pub(super) struct Watch {
    has_ended: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Wait>>,
}

impl Watch {
    /// # Panics
    ///
    /// If the kernel shows no stacks: then it would see nothing and find everything well.
    pub(super) fn start() -> Self {
        let own = fs::read_to_string("/proc/thread-self/stack").expect("root may read the stacks of the kernel");
        assert!(own.contains("proc_pid_stack"), "the kernel shows no stacks: {own:?}");
        let has_ended = Arc::<AtomicBool>::default();
        let thread = thread::spawn({
            let has_ended = Arc::clone(&has_ended);
            move || look(&has_ended)
        });
        Self { has_ended, thread }
    }

    /// Every long wait of any.
    pub(super) fn end(self) -> Vec<Wait> {
        self.has_ended.store(true, Ordering::SeqCst);
        self.thread.join().expect("it does not panic")
    }
}

fn look(has_ended: &AtomicBool) -> Vec<Wait> {
    let mut waits: HashMap<u32, (String, Wait)> = HashMap::new();
    let mut long = Vec::new();
    while !has_ended.load(Ordering::SeqCst) {
        let now = Instant::now();
        let waiting: HashMap<u32, String> =
            descendants().into_iter().filter_map(|process| Some((process, wait_of(process)?))).collect();
        let over = waits.extract_if(|process, (wait, _)| waiting.get(process) != Some(wait));
        long.extend(over.map(|(_, (_, wait))| wait).filter(|wait| wait.ended - wait.begun > LONG));
        for (process, wait) in waiting {
            let named = || Wait { begun: now, ended: now, name: call_of(process) };
            waits.entry(process).or_insert_with(|| (wait, named())).1.ended = now;
        }
        thread::sleep(PAUSE);
    }
    long.extend(waits.into_values().map(|(_, wait)| wait));
    long
}

/// The program and the number of the system call that it is in.
fn call_of(process: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    let call = fs::read_to_string(format!("/proc/{process}/syscall")).unwrap_or_default();
    format!("{}, system call {}", name.trim(), call.split(' ').next().unwrap_or_default())
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
