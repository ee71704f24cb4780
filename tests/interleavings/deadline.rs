//! Stands for `src/deadline.rs`: nothing is ever over here, as no wait times out, but where time passes in a scenario.

use crate::locks::{Condvar, Mutex, MutexGuard, is_time_over};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const SLICE: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Default)]
pub struct Ending(());

#[derive(Debug)]
pub struct Deadline;

pub(crate) struct Entered;

impl Ending {
    pub(crate) fn wait_until(&self, _end: Instant, mut wait: impl FnMut(Duration) -> bool) -> bool {
        wait(SLICE)
    }

    pub(crate) fn has_begun(&self) -> bool {
        false
    }
}

impl Deadline {
    pub(crate) fn new(_patience: Option<Duration>, _most: Option<Duration>, _ending: &Ending) -> Arc<Self> {
        Arc::new(Self)
    }

    pub(crate) fn background(_ending: &Ending) -> Arc<Self> {
        Arc::new(Self)
    }

    pub(crate) fn enter(self: &Arc<Self>) -> Entered {
        Entered
    }

    pub(crate) fn moved(&self) {}

    pub(crate) fn begin_again(&self) {}

    pub(crate) fn follow(&self, _other: &Self) {}

    pub(crate) fn cancel(&self) {}

    pub(crate) fn is_over(&self) -> bool {
        is_time_over()
    }
}

pub(crate) fn current() -> Arc<Deadline> {
    Arc::new(Deadline)
}

pub(crate) fn is_over() -> bool {
    is_time_over()
}

pub(crate) fn at_most(limit: Duration) -> Duration {
    limit
}

pub(crate) fn wait<T>(changed: &Condvar, guard: &mut MutexGuard<'_, T>) -> bool {
    !changed.wait_for(guard, SLICE).timed_out()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    Some(mutex.lock())
}

pub(crate) fn sleep(_pause: Duration) -> bool {
    shuttle::thread::yield_now();
    true
}
