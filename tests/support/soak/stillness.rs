//! Times in which nothing moved for anybody, and how long calls waited in them.
//!
//! A request ends at most a second after `timeout=` in which no byte moved for it (docs/semantics.md). Whether a byte moves for
//! this request or for that one cannot be seen from outside; that none moves for any can: while the link is cut, or the server
//! stands still and all that was on its way has arrived, by what the link saw. So some faults last longer than `timeout=` and that
//! second, and no call may wait for so long within one of them, whatever moved before and whichever request of the kernel it was
//! then at: the first one that ends with an error ends the call.

use crate::support::link::Link;
use std::fmt;
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// A call that took long.
#[derive(Debug, Clone)]
pub(super) struct Wait {
    pub(super) begun: Instant,
    pub(super) ended: Instant,
    pub(super) name: String,
}

impl Wait {
    pub(super) fn took(&self) -> Duration {
        self.ended - self.begun
    }
}

/// From then to then nothing moved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stillness {
    what: &'static str,
    from: Instant,
    to: Instant,
}

impl Stillness {
    /// The link is cut, until `pause` has returned at least.
    pub(super) fn of_a_cut(what: &'static str, pause: impl FnOnce()) -> Self {
        let from = Instant::now();
        pause();
        Self { what, from, to: Instant::now() }
    }

    /// The server stands still, until `pause` has returned at least. What was on its way still arrives in the buffers of its kernel
    /// and of ours, lost packets one or more time limits of TCP later.
    pub(super) fn of_a_stop(what: &'static str, link: &Link, pause: impl FnOnce()) -> Self {
        let from = Instant::now() + DRAINED;
        pause();
        Self { what, from: link.last_full_packet().map_or(from, |last| last.max(from)), to: Instant::now() }
    }

    /// How much of `wait` lies in it.
    fn share(&self, wait: &Wait) -> Duration {
        wait.ended.min(self.to).saturating_duration_since(wait.begun.max(self.from))
    }
}

/// The longest that any call waited while nothing moved, and which; `None` without such a time.
pub(super) fn longest(waits: &[Wait], times: &[Stillness]) -> Option<Still> {
    let pairs = waits.iter().flat_map(|wait| times.iter().map(move |time| (time.share(wait), wait, time)));
    let (share, wait, time) = pairs.max_by_key(|(share, ..)| *share)?;
    Some(Still { share, wait: wait.clone(), time: *time })
}

/// A call that waited while nothing moved.
#[derive(Debug)]
pub struct Still {
    /// How long of that time.
    pub share: Duration,
    pub(super) wait: Wait,
    time: Stillness,
}

impl Still {
    /// The lines of `log` from that time, as the program's file of `log=` has them.
    pub(super) fn lines_of<'a>(&self, log: &'a str) -> impl Iterator<Item = &'a str> {
        let first = self.time.from.min(self.wait.begun) - DRAINED * 2;
        let (first, last) = (moment(first), moment(self.wait.ended + DRAINED));
        log.lines().filter(move |line| *first <= **line && **line < *last)
    }
}

impl fmt::Display for Still {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { share, wait, time } = self;
        let seconds = |at: Instant| match at.checked_duration_since(time.from) {
            Some(after) => after.as_secs_f64(),
            None => -(time.from - at).as_secs_f64(),
        };
        write!(f, "{:.1} s ({}, from {:.1} to ", share.as_secs_f64(), wait.name, seconds(wait.begun))?;
        let (ended, is_over) = (seconds(wait.ended), seconds(time.to));
        write!(f, "{ended:.1} s of {is_over:.1} s in which nothing moved: {})", time.what)
    }
}

/// As the log writes it.
fn moment(at: Instant) -> String {
    let at = OffsetDateTime::now_utc() - at.elapsed() + at.saturating_duration_since(Instant::now());
    let (date, time) = (at.date(), at.time());
    let day = format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day());
    format!("{day}T{:02}:{:02}:{:02}.{:03}Z", time.hour(), time.minute(), time.second(), time.millisecond())
}

/// How long what was sent before may go on arriving in packets that are not full, the ends of files.
const DRAINED: Duration = Duration::from_secs(1);
