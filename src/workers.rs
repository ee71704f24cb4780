//! Threads for work that waits: started on demand, ended when idle, never more than a limit.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How many threads may wait at once. More work than that waits in a queue.
const THREADS_MAX: usize = 64;
/// How long a thread without work stays.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// How much work may wait for a thread. The kernel sends no more: each piece is somebody's blocked system call.
const QUEUE_MAX: usize = 64 * 1024;
/// After a panic what is repeated rests for so long.
const PANICKED_PAUSE: Duration = Duration::from_secs(1);

type Work = Box<dyn FnOnce() + Send>;

/// A pool of threads. Work that was queued is done even if the pool is dropped.
#[derive(Clone)]
pub struct Workers {
    /// What the threads are called.
    name: &'static str,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    queued: Condvar,
    /// A thread has nothing to do.
    rested: Condvar,
}

/// Work that cannot be done. Whoever holds a lock lets go of it before this.
#[derive(Default)]
pub struct Undone(VecDeque<Work>);

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    threads: usize,
    idle: usize,
}

impl Workers {
    /// A pool without threads so far; `top -H` shows at most fifteen characters of their `name`.
    pub fn named(name: &'static str) -> Self {
        Self { name, shared: Arc::default() }
    }

    /// Has `work` done by another thread. A panic in it is logged and harms nobody else.
    ///
    /// Work that finds no thread and no room is given back, to be dropped: what it owns must tell whoever waits for it, and may
    /// take locks for that.
    pub fn spawn(&self, work: impl FnOnce() + Send + 'static) -> Undone {
        let mut state = self.shared.state.lock();
        if state.queue.len() >= QUEUE_MAX {
            log::error!("{QUEUE_MAX} operations wait for the server: one is dropped");
            return Undone([Box::new(work) as Work].into());
        }
        state.queue.push_back(Box::new(work));
        if state.idle >= state.queue.len() || state.threads >= THREADS_MAX {
            self.shared.queued.notify_one();
            return Undone::default();
        }
        state.threads += 1;
        drop(state);
        let shared = Arc::clone(&self.shared);
        if let Err(error) = thread::Builder::new().name(self.name.into()).spawn(move || shared.work()) {
            let mut state = self.shared.state.lock();
            state.threads -= 1;
            // Another thread comes to it later, unless there is none.
            let lost = if state.threads == 0 { std::mem::take(&mut state.queue) } else { VecDeque::new() };
            drop(state);
            log::error!("cannot start a thread, {} operations are dropped: {error}", lost.len());
            return Undone(lost);
        }
        Undone::default()
    }

    /// Waits until all work is done, but no longer than `limit`; whether it is.
    pub fn wait(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.state.lock();
        while !state.queue.is_empty() || state.idle < state.threads {
            if self.shared.rested.wait_until(&mut state, deadline).timed_out() {
                return false;
            }
        }
        true
    }
}

/// Does `work` on a thread of its own, and again after each pause that it asks for, until it asks for none.
///
/// # Errors
///
/// If no thread can be started.
pub fn repeat(name: &str, mut work: impl FnMut() -> Option<Duration> + Send + 'static) -> io::Result<()> {
    let run = move || {
        // A panic was logged by the default hook. It ends one round of the work, and not all that would follow.
        while let Some(pause) = catch_unwind(AssertUnwindSafe(&mut work)).unwrap_or(Some(PANICKED_PAUSE)) {
            thread::sleep(pause);
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

impl Shared {
    fn work(&self) {
        while let Some(work) = self.next() {
            // The default hook has logged what happened; the work's own drops have answered who waits.
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                log::error!("an operation panicked");
            }
        }
    }

    fn next(&self) -> Option<Work> {
        let mut state = self.state.lock();
        let mut idle_long = false;
        loop {
            if let Some(work) = state.queue.pop_front() {
                return Some(work);
            }
            if idle_long {
                state.threads -= 1;
                self.rested.notify_all();
                return None;
            }
            state.idle += 1;
            self.rested.notify_all();
            idle_long = self.queued.wait_for(&mut state, IDLE_MAX).timed_out();
            state.idle -= 1;
        }
    }
}

impl fmt::Debug for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Undone({})", self.0.len())
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        write!(
            f,
            "Workers({}: {} threads, {} idle, {} queued)",
            self.name,
            state.threads,
            state.idle,
            state.queue.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn work_that_waits_does_not_hold_up_other_work() {
        let workers = Workers::named("test");
        let (release, released) = mpsc::channel::<()>();
        let (done, results) = mpsc::channel();
        workers.spawn(move || released.recv().unwrap());
        for number in 0..10 {
            let done = done.clone();
            workers.spawn(move || done.send(number).unwrap());
        }
        let mut seen: Vec<i32> = (0..10).map(|_| results.recv_timeout(Duration::from_secs(10)).unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        release.send(()).unwrap();
    }

    #[test]
    fn all_work_can_be_waited_for() {
        let workers = Workers::named("test");
        let (release, released) = mpsc::channel::<()>();
        assert!(workers.wait(Duration::ZERO));
        workers.spawn(move || released.recv().unwrap());
        assert!(!workers.wait(Duration::from_millis(20)));
        release.send(()).unwrap();
        assert!(workers.wait(Duration::from_secs(10)));
    }

    #[test]
    fn a_panic_ends_one_piece_of_work_only() {
        let workers = Workers::named("test");
        let (done, result) = mpsc::channel();
        workers.spawn(|| panic!("on purpose"));
        workers.spawn(move || done.send(1).unwrap());
        assert_eq!(result.recv_timeout(Duration::from_secs(10)), Ok(1));
    }

    #[test]
    fn there_are_never_more_threads_than_the_limit() {
        let workers = Workers::named("test");
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        for _ in 0..2 * THREADS_MAX {
            let released = Arc::clone(&released);
            workers.spawn(move || released.lock().recv().unwrap());
        }
        assert_eq!(workers.shared.state.lock().threads, THREADS_MAX);
        for _ in 0..2 * THREADS_MAX {
            release.send(()).unwrap();
        }
    }
}
