//! What the modules under test use of `parking_lot`, over shuttle's locks: each is a point at which another thread may go on.
//!
//! A wait that is bounded in time never times out here, so that whoever would be woken by nobody waits for ever, and shuttle says
//! so; but in scenarios in which [`time_passes`], where it may at any moment, and for a wait that is only for a moment.

use shuttle::rand::{Rng as _, thread_rng};
use shuttle::sync;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

/// The guard is `None` only while [`Condvar`] has it.
pub(crate) struct MutexGuard<'a, T>(Option<sync::MutexGuard<'a, T>>, &'a sync::Mutex<T>);

/// Of the cache on disk, which no scenario has.
#[derive(Debug)]
pub(crate) struct RwLock<T>(Mutex<T>);

#[derive(Debug, Default)]
pub(crate) struct Condvar(sync::Condvar);

pub(crate) struct TimedOut(bool);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap()), &self.0)
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok().map(|guard| MutexGuard(Some(guard), &self.0))
    }

    pub(crate) fn try_lock_for(&self, _limit: Duration) -> Option<MutexGuard<'_, T>> {
        Some(self.lock())
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap()
    }
}

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn read(&self) -> MutexGuard<'_, T> {
        self.0.lock()
    }

    pub(crate) fn write(&self) -> MutexGuard<'_, T> {
        self.0.lock()
    }
}

impl Condvar {
    pub(crate) const fn new() -> Self {
        Self(sync::Condvar::new())
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        guard.0 = guard.0.take().map(|held| self.0.wait(held).unwrap());
    }

    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, limit: Duration) -> TimedOut {
        if limit < MOMENT {
            guard.0 = None;
            thread::sleep(limit);
            shuttle::thread::yield_now();
            guard.0 = Some(guard.1.lock().unwrap());
            return TimedOut(true);
        }
        if is_time_over() {
            guard.0 = None;
            shuttle::thread::yield_now();
            guard.0 = Some(guard.1.lock().unwrap());
            return TimedOut(true);
        }
        self.wait(guard);
        TimedOut(false)
    }

    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> TimedOut {
        self.wait_for(guard, deadline.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

impl TimedOut {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect(HELD)
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect(HELD)
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Whether waits end by themselves in the scenario that runs.
static TIME_PASSES: AtomicBool = AtomicBool::new(false);

/// From here on, or no more, waits end by themselves and deadlines are over, when chance decides it.
pub(crate) fn time_passes(passes: bool) {
    TIME_PASSES.store(passes, Ordering::Relaxed);
}

/// Whether chance says that what is waited for did not come in time.
pub(crate) fn is_time_over() -> bool {
    TIME_PASSES.load(Ordering::Relaxed) && thread_rng().gen_range(0..3) == 0
}

const HELD: &str = "a guard is used by its own thread, which is not waiting";

/// A wait for less is one for time to pass.
const MOMENT: Duration = Duration::from_millis(1);
