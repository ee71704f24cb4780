//! How long a request may go on: so long from its beginning, and anew whenever bytes of a file or a listing moved for it.
//!
//! No layer hands it to the next. Who works for a request enters its deadline, and whatever waits in that thread, for a
//! socket, a lock or another thread, looks at it here.

use parking_lot::{Condvar, Mutex, MutexGuard};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// Who waits looks this often whether it may go on.
pub const SLICE: Duration = Duration::from_millis(200);

/// The deadline of a request, or of what is done in the background.
#[derive(Debug)]
pub struct Deadline {
    began: Stamp,
    /// From when on the patience counts if nothing has moved since.
    counts_from: AtomicU64,
    /// How long nothing may move.
    patience: Option<Duration>,
    /// How long all of it may take, however much moves.
    most: Option<Duration>,
    /// When something moved last; 0 until then.
    moved: AtomicU64,
    cancelled: AtomicBool,
    ending: Ending,
}

/// Whether all that is under way has to end, shared by all of a mount.
#[derive(Debug, Clone, Default)]
pub struct Ending(Arc<AtomicBool>);

/// A moment, in milliseconds since the process first asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp(u64);

/// A thread works under a deadline for as long as this lives.
#[derive(Debug)]
pub struct Entered {
    before: Option<Arc<Deadline>>,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Deadline>>> = const { RefCell::new(None) };
}

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Ending {
    /// Everything ends now.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Waits by `wait`, which is told for how long, until that is successful; but not after `end`, and once everything has to
    /// end only for as long as those need who see that.
    pub fn wait_until(&self, end: Instant, mut wait: impl FnMut(Duration) -> bool) -> bool {
        let mut last = None;
        loop {
            if wait(SLICE / 4) {
                return true;
            }
            let now = Instant::now();
            if self.has_begun() {
                last.get_or_insert(now + SLICE * 2);
            }
            if now >= end || last.is_some_and(|last| now >= last) {
                return false;
            }
        }
    }

    /// Whether everything has to end.
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Deadline {
    /// A deadline that begins now: it is over when nothing moved for `patience`, when all took longer than `most`, or with
    /// `ending`.
    pub fn new(patience: Option<Duration>, most: Option<Duration>, ending: &Ending) -> Arc<Self> {
        let began = Stamp::now();
        let (counts_from, moved, cancelled) = (AtomicU64::new(began.0), AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(Self { began, counts_from, patience, most, moved, cancelled, ending: ending.clone() })
    }

    /// For what nobody waits for: over only with `ending`, or when it is cancelled.
    pub fn background(ending: &Ending) -> Arc<Self> {
        Self::new(None, None, ending)
    }

    /// Makes this the current thread's deadline.
    pub fn enter(self: &Arc<Self>) -> Entered {
        Entered { before: CURRENT.replace(Some(Arc::clone(self))) }
    }

    /// Bytes have moved: the patience counts from now on.
    pub fn moved(&self) {
        self.moved.fetch_max(Stamp::now().0, Ordering::Relaxed);
    }

    /// Something new begins under it: the patience counts from now on, but nothing has moved for those who [`Deadline::follow`].
    pub fn begin_again(&self) {
        self.counts_from.fetch_max(Stamp::now().0, Ordering::Relaxed);
    }

    /// What moved for `other` moved for this as well. That it began is no movement: a second try that begins while somebody waits
    /// would give him all his time once more.
    pub fn follow(&self, other: &Self) {
        self.moved.fetch_max(other.moved.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// It is over now.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// When it is over if nothing moves any more; `None` is never.
    pub fn end(&self) -> Option<Instant> {
        let still = self.patience.map(|patience| self.counts_from().after(patience));
        let most = self.most.map(|most| self.began.after(most));
        still.into_iter().chain(most).min()
    }

    /// How long ago it began, and how long nothing has moved.
    pub fn ages(&self) -> (Duration, Duration) {
        let since = |stamp: Stamp| Instant::now().saturating_duration_since(stamp.after(Duration::ZERO));
        (since(self.began), since(self.counts_from()))
    }

    fn counts_from(&self) -> Stamp {
        let [begun, moved] = [&self.counts_from, &self.moved].map(|at| Stamp(at.load(Ordering::Relaxed)));
        begun.max(moved)
    }

    /// How long it still goes on if nothing moves; `None` is for ever.
    pub fn left(&self) -> Option<Duration> {
        if self.cancelled.load(Ordering::Relaxed) || self.ending.has_begun() {
            return Some(Duration::ZERO);
        }
        self.end().map(|end| end.saturating_duration_since(Instant::now()))
    }

    /// Whether nobody waits for the result any more.
    pub fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }
}

impl Stamp {
    fn now() -> Self {
        Self(u64::try_from(EPOCH.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn after(self, limit: Duration) -> Instant {
        *EPOCH + Duration::from_millis(self.0) + limit
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}

/// The current thread's deadline; one that is never over where it has entered none.
pub fn current() -> Arc<Deadline> {
    let current = CURRENT.with_borrow(Clone::clone);
    current.unwrap_or_else(|| Deadline::background(&Ending::default()))
}

/// Bytes have moved for whom the current thread works.
pub fn moved() {
    CURRENT.with_borrow(|current| {
        if let Some(current) = current {
            current.moved();
        }
    });
}

/// Whether the current thread's deadline is over.
pub fn is_over() -> bool {
    left().is_some_and(|left| left.is_zero())
}

/// How long the current thread may still go on; `None` is for ever.
pub fn left() -> Option<Duration> {
    CURRENT.with_borrow(|current| current.as_ref().and_then(|current| current.left()))
}

/// `limit`, or what is left for the current thread, if that is less.
pub fn at_most(limit: Duration) -> Duration {
    left().map_or(limit, |left| left.min(limit))
}

/// Waits for a change, for a moment only; `false` once the current thread's deadline is over. To be called in a loop.
pub fn wait<T>(changed: &Condvar, guard: &mut MutexGuard<'_, T>) -> bool {
    if is_over() {
        return false;
    }
    changed.wait_for(guard, at_most(SLICE));
    true
}

/// Takes a lock; `None` once the current thread's deadline is over.
pub fn lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    loop {
        if let Some(guard) = mutex.try_lock_for(at_most(SLICE)) {
            return Some(guard);
        }
        if is_over() {
            return None;
        }
    }
}

/// Sleeps for `pause`, or until the current thread's deadline is over; `false` in the latter case.
pub fn sleep(pause: Duration) -> bool {
    let end = Instant::now() + pause;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if is_over() {
            return false;
        }
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(at_most(left.min(SLICE)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const SHORT: Duration = Duration::from_millis(40);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_deadline_is_over_when_nothing_moved_or_all_took_too_long() {
        let ending = Ending::default();
        let deadline = |patience, most| Deadline::new(patience, most, &ending);
        let (still, capped) = (deadline(Some(SHORT), None), deadline(Some(LONG), Some(SHORT)));
        let (moving, endless) = (deadline(Some(SHORT), None), Deadline::background(&ending));
        assert!(!still.is_over() && !capped.is_over());
        thread::sleep(SHORT * 2);
        capped.moved();
        moving.moved();
        assert!(still.is_over() && capped.is_over() && !moving.is_over() && !endless.is_over());
        // Begun a moment ago, and again; nothing has moved since.
        let begun = deadline(Some(SHORT), None);
        thread::sleep(SHORT * 2);
        assert!(begun.is_over());
        begun.begin_again();
        still.follow(&begun);
        assert!(still.is_over() && !begun.is_over());
        moving.moved();
        still.follow(&moving);
        assert!(!still.is_over());
        endless.cancel();
        assert!(endless.is_over());
        ending.begin();
        assert!(moving.is_over());
    }

    #[test]
    fn whoever_waits_sees_the_deadline_that_was_entered() {
        assert!(!is_over() && left().is_none());
        let deadline = Deadline::new(Some(SHORT), None, &Ending::default());
        {
            let _entered = deadline.enter();
            let (mutex, changed) = (Mutex::new(()), Condvar::new());
            let mut guard = mutex.lock();
            while wait(&changed, &mut guard) {}
            assert!(is_over() && !sleep(LONG));
            assert!(thread::scope(|scope| {
                let locked = scope.spawn(|| {
                    let _entered = deadline.enter();
                    lock(&mutex).is_none()
                });
                locked.join().unwrap()
            }));
            let inner = Deadline::background(&Ending::default()).enter();
            assert!(!is_over());
            drop(inner);
            assert!(is_over());
        }
        assert!(!is_over());
    }
}
