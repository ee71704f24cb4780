//! Whose turn it is when a session is idle.

use crate::ftp::pool::State;
use crate::ftp::session::Care;
use std::time::{Duration, Instant};

/// What a session is wanted for, and since when.
pub(super) struct Request {
    pub(super) care: Care,
    pub(super) is_transfer: bool,
    pub(super) since: Instant,
    pub(super) deadline: Instant,
    pub(super) has_waited: bool,
}

impl Request {
    /// Whether it may have an idle session. What came free is theirs who wait: a download that gave way would have it back before
    /// they woke up. And questions are short: they go before transfers.
    pub(super) fn has_its_turn(&self, state: &State) -> bool {
        let idle = state.idle.len();
        match self.is_for_long() {
            true if state.questions > 0 => idle > state.waiters,
            true => self.has_waited || idle > state.waiters,
            false => self.has_waited || idle > state.questions,
        }
    }

    /// Whether it is for a transfer that has not waited for long.
    pub(super) fn is_for_long(&self) -> bool {
        self.is_transfer && self.since.elapsed() < TRANSFERS_WAIT
    }
}

/// For how long questions go before a transfer that waits.
const TRANSFERS_WAIT: Duration = Duration::from_secs(2);
