//! A session that is lent out.

use crate::ftp::error::Error;
use crate::ftp::pool::request::InRow;
use crate::ftp::pool::{Pool, State};
use crate::ftp::reply::{Outcome, Reply};
use crate::ftp::session::Session;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

/// A session lent out. Dropped without [`Lease::give_back`], the session is discarded.
pub struct Lease {
    session: Option<Session>,
    /// Where it answers a question.
    pub(super) in_row: Option<InRow>,
    /// Free after the session is gone, or is idle.
    place: Lent,
}

/// The place of a session that is lent out, or being opened to be.
pub(super) struct Lent {
    pool: Arc<Pool>,
    /// There is no session at it any more, and it is about to be given up.
    pub(super) is_vacated: bool,
}

impl Lent {
    pub(super) fn begin(pool: &Arc<Pool>, state: &mut State) -> Self {
        state.lent += 1;
        Self { pool: Arc::clone(pool), is_vacated: false }
    }

    pub(super) fn of(self, session: Session) -> Lease {
        Lease { session: Some(session), in_row: None, place: self }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.state.lock().lent_no_more(self.is_vacated);
        self.pool.changed.notify_all();
    }
}

impl Lease {
    /// Returns the session for others to use.
    pub fn give_back(mut self) {
        if let Some(session) = self.session.take() {
            if let Some(which) = self.in_row {
                let pool = &self.place.pool;
                pool.state.lock().row.answered(which, pool.server.settings.next_question, Instant::now());
            }
            self.place.pool.shelve(session, &mut self.place.is_vacated);
        }
    }

    /// Returns the session after `error`, if that leaves it of use.
    pub fn give_back_unless_broken(self, error: &Error) {
        if !error.closes_connection() && !error.another_connection_may_help() {
            self.give_back();
        }
    }

    /// Returns the session, unless one of `replies` waits for another command: there the session is of no other use.
    pub fn give_back_unless_asked_for_more(self, replies: &[Reply]) {
        if replies.iter().all(|reply| reply.code.outcome() != Outcome::Intermediate) {
            self.give_back();
        }
    }
}

impl Deref for Lease {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect(LENT)
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect(LENT)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            drop(session);
            self.place.pool.server.counters.replaced.up();
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("session", &self.session).finish_non_exhaustive()
    }
}

const LENT: &str = "only give_back and drop take the session, and they consume the lease";
