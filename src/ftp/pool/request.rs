//! Whose turn it is when a session is idle.

use crate::ftp::pool::{Pool, State};
use crate::ftp::session::Care;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a session is wanted for, and since when.
pub(super) struct Request {
    pub(super) care: Care,
    is_transfer: bool,
    pub(super) since: Instant,
    pub(super) has_waited: bool,
    place: Option<Place>,
}

/// As what a request that waits is counted. It keeps its place while it looks whether it is its turn: a transfer that gave way
/// is there as soon, and would find nobody in line.
struct Place {
    is_question: bool,
}

impl Request {
    pub(super) fn new(care: Care, is_transfer: bool) -> Self {
        Self { care, is_transfer, since: Instant::now(), has_waited: false, place: None }
    }

    /// Whether it may have an idle session. What came free is theirs who wait: a download that gave way would have it back before
    /// they woke up. And questions are short: they go before transfers.
    pub(super) fn has_its_turn(&self, state: &State) -> bool {
        let (waiters, questions) = self.others(state);
        let idle = state.idle.len();
        match self.is_for_long() {
            true if questions > 0 => idle > waiters,
            true => self.has_waited || idle > waiters,
            false => self.has_waited || idle > questions,
        }
    }

    /// How many others wait, and how many of those are not for transfers.
    fn others(&self, state: &State) -> (usize, usize) {
        match &self.place {
            Some(place) => (state.waiters - 1, state.questions - usize::from(place.is_question)),
            None => (state.waiters, state.questions),
        }
    }

    /// Is counted among those who wait from now on: as one with a question once it waited for long.
    pub(super) fn stand_in_line(&mut self, state: &mut State) {
        self.leave_line(state);
        let is_question = !self.is_for_long();
        state.waiters += 1;
        state.questions += usize::from(is_question);
        self.place = Some(Place { is_question });
    }

    /// Is counted no more. True where others may have left to it what is idle: they have to be told.
    pub(super) fn leave_line(&mut self, state: &mut State) -> bool {
        let Some(place) = self.place.take() else { return false };
        state.waiters -= 1;
        state.questions -= usize::from(place.is_question);
        !state.idle.is_empty()
    }

    /// Whether it is not for a transfer.
    pub(super) fn is_question(&self) -> bool {
        !self.is_transfer
    }

    /// Whether it is for a transfer that has not waited for long.
    fn is_for_long(&self) -> bool {
        self.is_transfer && self.since.elapsed() < TRANSFERS_WAIT
    }
}

/// A request for as long as it may be in line.
pub(super) struct Waiting<'a> {
    pub(super) request: Request,
    pub(super) pool: &'a Arc<Pool>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pool.leave_line(&mut self.request);
    }
}

/// For how long questions go before a transfer that waits.
const TRANSFERS_WAIT: Duration = Duration::from_secs(2);
