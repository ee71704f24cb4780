//! Errands of the pool: what counts in it while it goes on, and not any more when it is over, whatever became of it.

use crate::ftp::pool::{Idle, Pool, State};
use std::sync::Arc;
use std::time::Instant;

/// Work on a session that counts as lent meanwhile; whatever becomes of it, also if it is never begun, the counts are right
/// again.
pub(super) struct Errand {
    pub(super) pool: Arc<Pool>,
    count: fn(&mut State) -> &mut usize,
    /// The door counts a connect that is yet to be begun.
    knocks: bool,
    /// There is no session at its place any more.
    is_vacated: bool,
}

impl Errand {
    pub(super) fn begin(pool: &Arc<Pool>, state: &mut State, count: fn(&mut State) -> &mut usize) -> Self {
        state.lent += 1;
        *count(state) += 1;
        Self { pool: Arc::clone(pool), count, knocks: false, is_vacated: false }
    }

    /// As [`Errand::begin`], and counted at the door.
    pub(super) fn knocking(pool: &Arc<Pool>, state: &mut State, count: fn(&mut State) -> &mut usize) -> Self {
        state.door.knocks();
        let mut errand = Self::begin(pool, state, count);
        errand.knocks = true;
        errand
    }

    /// Connects, and makes idle what comes of it.
    pub(super) fn connects(&mut self) {
        self.knocks = false;
        self.pool.open_one(&mut self.is_vacated);
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        if self.knocks {
            state.door.gave_up();
        }
        *(self.count)(&mut state) -= 1;
        state.lent_no_more(self.is_vacated);
        drop(state);
        self.pool.changed.notify_all();
    }
}

/// Counted until it looks for an idle session that is to be made ready.
struct ToWarm {
    pool: Arc<Pool>,
}

impl ToWarm {
    fn begin(pool: &Arc<Pool>, state: &mut State) -> Self {
        state.to_warm += 1;
        Self { pool: Arc::clone(pool) }
    }
}

impl Drop for ToWarm {
    fn drop(&mut self) {
        self.pool.state.lock().to_warm -= 1;
    }
}

impl Pool {
    /// Has an idle session made ready for what comes next; where none needs that, and nobody waits for it, it is to spare.
    pub(super) fn use_idle(self: &Arc<Self>, is_spare: bool) {
        let is_cold = |idle: &&Idle| idle.session.is_cold();
        let (warms, to_warm) = {
            let state = &mut *self.state.lock();
            let cold = if self.server.settings.opens_ahead { state.idle.iter().filter(is_cold).count() } else { 0 };
            // One for each: else they would be as many threads as there are transfers, where threads are slow to begin.
            (cold > 0, (cold > state.to_warm).then(|| ToWarm::begin(self, state)))
        };
        if let Some(to_warm) = to_warm {
            self.workers.spawn(move || {
                let pool = Arc::clone(&to_warm.pool);
                drop(to_warm);
                pool.warm_one();
            });
        }
        if is_spare
            && !warms
            && let Some(told) = self.on_spare.get()
        {
            told(Instant::now());
        }
    }

    /// Has an idle session made ready for its next transfer.
    fn warm_one(self: &Arc<Self>) {
        // In this order: one that is of no use is gone before another may be opened in its place.
        let (mut errand, mut session) = {
            let mut state = self.state.lock();
            // Who waits takes it as it is, and may need no data connection.
            if state.waiters > 0 {
                return;
            }
            let Some(at) = state.idle.iter().position(|idle| idle.session.is_cold()) else { return };
            let Some(idle) = state.idle.remove(at) else { return };
            (Errand::begin(self, &mut state, |state| &mut state.coming), idle.session)
        };
        match session.warm() {
            Ok(()) => self.shelve(session, &mut errand.is_vacated),
            Err(error) => log::debug!("an idle control connection is of no more use: {error}"),
        }
    }
}

/// A connect that the door counts, until it is over.
pub(super) struct Knocking<'a> {
    pub(super) pool: &'a Pool,
    pub(super) is_over: bool,
}

impl Drop for Knocking<'_> {
    fn drop(&mut self) {
        // Only where opening it panicked.
        if !self.is_over {
            self.pool.state.lock().door.gave_up();
        }
    }
}
