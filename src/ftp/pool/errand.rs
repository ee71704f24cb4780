//! What counts in the pool while it goes on, and not any more when it is over, whatever became of it.

use crate::ftp::pool::{Pool, State};
use std::sync::Arc;

/// Work on a session that counts as lent meanwhile; whatever becomes of it, also if it is never begun, the counts are right
/// again.
pub(super) struct Errand {
    pub(super) pool: Arc<Pool>,
    count: fn(&mut State) -> &mut usize,
    /// The door counts a connect that is yet to be begun.
    knocks: bool,
}

impl Errand {
    pub(super) fn begin(pool: &Arc<Pool>, state: &mut State, count: fn(&mut State) -> &mut usize) -> Self {
        state.lent += 1;
        *count(state) += 1;
        Self { pool: Arc::clone(pool), count, knocks: false }
    }

    /// As [`Errand::begin`], and counted at the door.
    pub(super) fn knocking(pool: &Arc<Pool>, state: &mut State, count: fn(&mut State) -> &mut usize) -> Self {
        state.door.knocks();
        let mut errand = Self::begin(pool, state, count);
        errand.knocks = true;
        errand
    }

    /// The connect is begun.
    pub(super) fn connects(&mut self) {
        self.knocks = false;
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        if self.knocks {
            state.door.gave_up();
        }
        *(self.count)(&mut state) -= 1;
        state.lent -= 1;
        drop(state);
        self.pool.changed.notify_all();
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
