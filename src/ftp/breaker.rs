//! Whether the server is away: once a request had to give it up, the next ones are told so at once instead of waiting as
//! long, until a probe, or anything that comes on a connection, shows that it is back.

use crate::deadline;
use crate::ftp::counters::Heard;
use crate::ftp::error::Error;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is known of the server's absence.
#[derive(Debug)]
pub struct Breaker {
    state: Mutex<Option<Absence>>,
    changed: Condvar,
    heard: Arc<Heard>,
    /// Of whom nothing was heard for so long when a request gave it up, is in doubt.
    silence: Duration,
}

#[derive(Debug)]
struct Absence {
    since: Instant,
    why: String,
    /// A probe failed too, or takes long: who asks is refused from now on.
    is_certain: bool,
    /// Somebody asked since the last probe.
    is_wanted: bool,
}

/// A request's failure alone proves little: so long others wait for what a probe finds out.
const DOUBT_MAX: Duration = Duration::from_secs(1);
/// Between two probes while somebody asks, at most.
const WANTED_PAUSE: Duration = Duration::from_secs(2);

impl Breaker {
    /// The server is there. `timeout` is how long a request waits for it.
    pub fn new(heard: Arc<Heard>, timeout: Duration) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), heard, silence: timeout / 2 }
    }

    /// Whether the server is away, as far as is known. Never waits.
    pub fn is_open(&self) -> bool {
        self.close_if_heard();
        self.state.lock().is_some()
    }

    /// Lets a request through to the server. While that is in doubt it waits for a moment, and with `hard` until the server
    /// is back.
    ///
    /// # Errors
    ///
    /// [`Error::Away`].
    pub fn pass(&self, hard: bool) -> Result<(), Error> {
        loop {
            self.close_if_heard();
            let mut state = self.state.lock();
            let Some(absence) = state.as_mut() else { return Ok(()) };
            absence.settle();
            if !std::mem::replace(&mut absence.is_wanted, true) {
                self.changed.notify_all();
            }
            if absence.is_certain && !hard || !deadline::wait(&self.changed, &mut state) {
                let why = state.as_ref().map_or_else(String::new, |absence| absence.why.clone());
                return Err(Error::Away { why });
            }
        }
    }

    /// A request gave the server up with `error`. `true` if it is in doubt since then: it is to be probed.
    pub fn doubt(&self, error: &Error) -> bool {
        let now = Instant::now();
        if !self.is_silent() || !is_silence(error) {
            return false;
        }
        let mut state = self.state.lock();
        if state.is_some() {
            return false;
        }
        *state = Some(Absence { since: now, why: error.to_string(), is_certain: false, is_wanted: false });
        true
    }

    /// Whether nothing was heard for longer than a server that is there is silent.
    pub fn is_silent(&self) -> bool {
        Instant::now().checked_sub(self.silence).is_some_and(|moment| !self.heard.is_since(moment))
    }

    /// A probe got in, or ended with `error`.
    pub fn probed(&self, error: Option<&Error>) {
        let mut state = self.state.lock();
        match error {
            // Whatever it says, it answers.
            Some(error) if is_silence(error) => {
                if let Some(absence) = state.as_mut() {
                    absence.make_certain();
                }
            }
            _ => close(&mut state),
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for `pause`, or less where somebody asks meanwhile, or until the server is back.
    pub fn rest(&self, pause: Duration) {
        let begun = Instant::now();
        let mut state = self.state.lock();
        while let Some(absence) = state.as_mut() {
            let pause = if absence.is_wanted { pause.min(WANTED_PAUSE) } else { pause };
            let left = pause.saturating_sub(begun.elapsed());
            if left.is_zero() {
                absence.is_wanted = false;
                return;
            }
            self.changed.wait_for(&mut state, left);
        }
    }

    fn close_if_heard(&self) {
        let mut state = self.state.lock();
        if state.as_ref().is_some_and(|absence| self.heard.is_since(absence.since)) {
            close(&mut state);
            drop(state);
            self.changed.notify_all();
        }
    }
}

impl Absence {
    fn settle(&mut self) {
        if self.since.elapsed() >= DOUBT_MAX {
            self.make_certain();
        }
    }

    fn make_certain(&mut self) {
        if !std::mem::replace(&mut self.is_certain, true) {
            log::warn!("the server is away: {}", self.why);
        }
    }
}

fn close(state: &mut Option<Absence>) {
    if let Some(Absence { since, is_certain: true, .. }) = state.take() {
        log::warn!("the server is back after {} s", since.elapsed().as_secs());
    }
}

/// Whether the server was not there, rather than there and of another opinion.
fn is_silence(error: &Error) -> bool {
    matches!(error, Error::Io { .. } | Error::Deadline { .. } | Error::Closed { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::{Deadline, Ending};

    fn silent() -> Error {
        Error::Deadline { step: "the greeting".into() }
    }

    fn breaker(timeout: Duration) -> Breaker {
        Breaker::new(Arc::default(), timeout)
    }

    #[test]
    fn who_was_heard_a_moment_ago_or_says_no_is_not_away() {
        let breaker = breaker(Duration::from_secs(60));
        assert!(!breaker.doubt(&Error::SessionWornOut));
        breaker.heard.now();
        assert!(!breaker.doubt(&silent()) && !breaker.is_open() && breaker.pass(false).is_ok());
    }

    #[test]
    fn who_is_away_is_refused_at_once_until_a_probe_gets_in() {
        let breaker = breaker(Duration::ZERO);
        assert!(breaker.doubt(&silent()) && breaker.is_open());
        assert!(!breaker.doubt(&silent()), "one probe is enough");
        breaker.probed(Some(&silent()));
        let error = breaker.pass(false).unwrap_err();
        assert_eq!(error.to_string(), "the server is away (the greeting: the server did not answer in time)");
        breaker.probed(None);
        assert!(breaker.pass(false).is_ok() && !breaker.is_open());
    }

    #[test]
    fn a_doubt_is_waited_for_and_ends_with_a_word_of_the_server() {
        let breaker = breaker(Duration::ZERO);
        assert!(breaker.doubt(&silent()));
        std::thread::scope(|scope| {
            let passes = scope.spawn(|| breaker.pass(false));
            std::thread::sleep(Duration::from_millis(20));
            breaker.heard.now();
            passes.join().unwrap().unwrap();
        });
        assert!(breaker.doubt(&silent()));
        assert!(matches!(breaker.pass(false), Err(Error::Away { .. })), "after a second");
    }

    #[test]
    fn who_waits_without_end_waits_until_everything_ends() {
        let (breaker, ending) = (breaker(Duration::ZERO), Ending::default());
        assert!(breaker.doubt(&silent()));
        breaker.probed(Some(&silent()));
        std::thread::scope(|scope| {
            let passes = scope.spawn(|| {
                let _entered = Deadline::background(&ending).enter();
                breaker.pass(true)
            });
            std::thread::sleep(Duration::from_millis(300));
            assert!(!passes.is_finished());
            ending.begin();
            assert!(passes.join().unwrap().is_err());
        });
    }
}
