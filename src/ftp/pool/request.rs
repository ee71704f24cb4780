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
    /// Whether transfers were in its way.
    has_waited_for_transfers: bool,
    place: Option<Place>,
}

/// As what a request that waits is counted. It keeps its place while it looks whether it is its turn: a transfer that gave way
/// is there as soon, and would find nobody in line.
struct Place {
    is_question: bool,
}

impl Request {
    pub(super) fn new(care: Care, is_transfer: bool) -> Self {
        let since = Instant::now();
        Self { care, is_transfer, since, has_waited: false, has_waited_for_transfers: false, place: None }
    }

    /// Whether it may have an idle session. What came free is theirs who wait: a download that gave way would have it back before
    /// they woke up. And questions are short: they go before transfers.
    pub(super) fn has_its_turn(&self, state: &State) -> bool {
        let (waiters, questions) = self.others(state);
        self.may_have_one_of(state.idle.len(), waiters, questions)
    }

    fn may_have_one_of(&self, idle: usize, waiters: usize, questions: usize) -> bool {
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

    /// For how long it leaves the only idle session to the next question of a row.
    pub(super) fn leaves_idle(&self, state: &State) -> Option<Duration> {
        let left = state.row.left(Instant::now());
        (self.is_for_long() && state.idle.len() == 1 && !left.is_zero()).then_some(left)
    }

    /// It has what it wants.
    pub(super) fn is_served(&self, state: &mut State) {
        if self.is_transfer {
            state.row = Row::default();
        }
    }

    /// What the answer means for the next question, if it is one.
    pub(super) fn in_row(&self) -> Option<InRow> {
        match (self.is_transfer, self.has_waited_for_transfers) {
            (true, _) => None,
            (false, true) => Some(InRow::First),
            (false, false) => Some(InRow::Next),
        }
    }

    /// Has to wait; for a transfer, if `wants_transfers`.
    pub(super) fn waits(&mut self, wants_transfers: bool) {
        self.has_waited_for_transfers |= wants_transfers;
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

/// Questions one after the other. Who asks one often asks the next as soon as he has the answer, as `ls -l` does, and would wait for
/// a share of a transfer each time, if that took what came free at once.
#[derive(Default)]
pub(super) struct Row {
    since: Option<Instant>,
    /// Until when the next one is waited for.
    until: Option<Instant>,
}

/// Which question of a row was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InRow {
    /// One that transfers were in the way of, so that they would be in the way of the next one.
    First,
    /// One that was asked meanwhile, if there is a row.
    Next,
}

impl Row {
    /// The next one may come within `pause`.
    pub(super) fn answered(&mut self, which: InRow, pause: Duration, now: Instant) {
        // Of transfers that were in the way of an old row, none wait any more.
        if self.until.is_some_and(|until| now > until + ROW_MAX) {
            self.since = None;
        }
        if which == InRow::First {
            self.since.get_or_insert(now);
        }
        self.until = Some(now + pause);
    }

    /// For how long transfers leave what is idle to the next question.
    pub(super) fn left(&self, now: Instant) -> Duration {
        let (Some(since), Some(until)) = (self.since, self.until) else { return Duration::ZERO };
        until.min(since + ROW_MAX).saturating_duration_since(now)
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

/// How long a row may go on while transfers wait: as long as their own share.
const ROW_MAX: Duration = Duration::from_millis(250);
/// For how long questions go before a transfer that waits.
const TRANSFERS_WAIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(20);

    fn request(is_transfer: bool, has_waited: bool) -> Request {
        Request { has_waited, ..Request::new(Care::Usual, is_transfer) }
    }

    #[test]
    fn what_is_idle_is_theirs_who_wait_and_questions_go_first() {
        // Of so many idle ones, while so many others wait, of whom so many ask something.
        let may = |request: Request, cases: [(usize, usize, usize); 6]| {
            cases.map(|(idle, waiters, questions)| request.may_have_one_of(idle, waiters, questions))
        };
        let cases = [(1, 0, 0), (1, 1, 0), (2, 1, 0), (1, 1, 1), (2, 1, 1), (2, 2, 1)];
        assert_eq!(may(request(true, false), cases), [true, false, true, false, true, false]);
        assert_eq!(may(request(true, true), cases), [true, true, true, false, true, false]);
        assert_eq!(may(request(false, false), cases), [true, true, true, false, true, true]);
        assert_eq!(may(request(false, true), cases), [true; 6]);
        // It has waited for long enough, and is as a question.
        let since = Instant::now().checked_sub(TRANSFERS_WAIT).unwrap();
        assert_eq!(may(Request { since, ..request(true, true) }, cases), [true; 6]);
    }

    #[test]
    fn who_is_in_line_is_none_of_the_others_there() {
        let mut state = State { waiters: 2, questions: 1, ..State::default() };
        for (is_transfer, in_line) in [(true, (3, 1)), (false, (3, 2))] {
            let mut request = request(is_transfer, false);
            assert_eq!(request.others(&state), (2, 1));
            // Twice is as once.
            for _ in 0..2 {
                request.stand_in_line(&mut state);
                assert_eq!(((state.waiters, state.questions), request.others(&state)), (in_line, (2, 1)));
            }
            assert!(!request.leave_line(&mut state));
            assert_eq!((state.waiters, state.questions), (2, 1));
        }
    }

    #[test]
    fn transfers_wait_for_the_next_question_and_not_for_ever() {
        let (mut row, began) = (Row::default(), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        // Nobody is in the way of who asks now and then.
        row.answered(InRow::Next, PAUSE, at(0));
        assert_eq!(row.left(at(1)), Duration::ZERO);
        row.answered(InRow::First, PAUSE, at(10));
        assert_eq!(row.left(at(11)), Duration::from_millis(19));
        assert_eq!(row.left(at(31)), Duration::ZERO);
        row.answered(InRow::Next, PAUSE, at(28));
        assert_eq!(row.left(at(31)), Duration::from_millis(17));
        for millis in (48..300).step_by(15) {
            row.answered(InRow::First, PAUSE, at(millis));
        }
        assert_eq!(row.left(at(255)), Duration::from_millis(5));
        assert_eq!(row.left(at(261)), Duration::ZERO);
        // The next row.
        row.answered(InRow::Next, PAUSE, at(5000));
        assert_eq!(row.left(at(5001)), Duration::ZERO);
        row.answered(InRow::First, PAUSE, at(5001));
        assert_eq!(row.left(at(5002)), Duration::from_millis(19));
    }
}
