//! What the modules under test use of `parking_lot`, over shuttle's locks: each is a point at which another thread may go on.
//!
//! A wait that is bounded in time never times out here. So whoever would be woken by nobody waits for ever, and shuttle says so.

use shuttle::sync;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

/// `None` only while [`Condvar`] has it.
pub(crate) struct MutexGuard<'a, T>(Option<sync::MutexGuard<'a, T>>);

/// Of the cache on disk, which no scenario has.
#[derive(Debug)]
pub(crate) struct RwLock<T>(Mutex<T>);

#[derive(Debug, Default)]
pub(crate) struct Condvar(sync::Condvar);

pub(crate) struct TimedOut;

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap()))
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok().map(|guard| MutexGuard(Some(guard)))
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

    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _limit: Duration) -> TimedOut {
        self.wait(guard);
        TimedOut
    }

    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _deadline: Instant) -> TimedOut {
        self.wait(guard);
        TimedOut
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
        false
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

const HELD: &str = "a guard is used by its own thread, which is not waiting";
