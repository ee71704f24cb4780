//! A server that is away: waited for as long as a request may last, then probed until it is back.

use crate::deadline::{self, Deadline, Ending};
use crate::ftp::breaker::Breaker;
use crate::ftp::error::Error;
use crate::ftp::pool::Pool;
use crate::ftp::pool::lease::Lent;
use crate::ftp::session::Session;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// Between two tries of a request to connect: a server that is started again is away for some of these.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LAST: Duration = Duration::from_secs(1);
/// Between two probes.
const PROBE_PAUSE_FIRST: Duration = Duration::from_secs(1);
const PROBE_PAUSE_LAST: Duration = Duration::from_secs(15);
/// How long a probe may take.
const PROBE_MAX: Duration = Duration::from_secs(15);

/// Pauses between tries, each twice as long as the one before.
#[derive(Debug)]
struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    fn take(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }
}

/// The tries of one request to get a connection.
#[derive(Debug)]
pub(super) struct Tries {
    /// Who never gives up has none.
    until: Option<Instant>,
    in_doubt_from: Instant,
    pauses: Pauses,
}

impl Tries {
    pub(super) fn begin(since: Instant, timeout: Duration, hard: bool) -> Self {
        let until = (!hard).then(|| since + deadline::at_most(timeout));
        let pauses = Pauses { next: PAUSE_FIRST, longest: PAUSE_LAST };
        Self { until, in_doubt_from: since + timeout, pauses }
    }

    /// Until when there may be one; far away for who never gives up.
    pub(super) fn until(&self) -> Instant {
        self.until.unwrap_or_else(|| Instant::now() + PROBE_MAX)
    }

    fn next_pause(&mut self) -> Option<Duration> {
        let pause = self.pauses.take();
        self.until.is_none_or(|until| Instant::now() + pause < until).then_some(pause)
    }
}

impl Pool {
    /// Waits for a moment before connecting is tried again, as `error` may pass.
    ///
    /// # Errors
    ///
    /// `error` where it does not, or where there is no time left.
    pub(super) fn wait_for_return(self: &Arc<Self>, error: Error, tries: &mut Tries) -> Result<(), Error> {
        if !error.may_pass() {
            return Err(error);
        }
        if Instant::now() >= tries.in_doubt_from {
            self.doubt(&error);
        }
        match tries.next_pause() {
            Some(pause) if deadline::sleep(pause) => {
                log::debug!("trying again to connect: {error}");
                Ok(())
            }
            _ => {
                self.doubt(&error);
                Err(error)
            }
        }
    }

    /// Makes idle what a probe opened, unless there are as many sessions as there may be: a request may hold one that is dead,
    /// or have got one by itself.
    fn take_in(self: &Arc<Self>, session: Session) {
        let place = {
            let mut state = self.state.lock();
            let has_room = state.held() < self.server.settings.connections_max.get();
            has_room.then(|| Lent::begin(self, &mut state))
        };
        match place {
            Some(place) => place.of(session).give_back(),
            None => session.quit(),
        }
    }

    /// A request gave the server up with `error`: perhaps it is away.
    pub fn doubt(self: &Arc<Self>, error: &Error) {
        if !self.server.breaker.doubt(error) {
            return;
        }
        let pool = Arc::downgrade(self);
        if let Err(error) = thread::Builder::new().name("probe".to_owned()).spawn(move || probe(&pool)) {
            log::warn!("whether the server is away is not found out: {error}");
            self.server.breaker.probed(None);
        }
    }
}

/// A probe whose end nobody was told.
struct Unheard<'a>(&'a Breaker);

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        self.0.probed(None);
    }
}

fn probe(pool: &Weak<Pool>) {
    let mut pauses = Pauses { next: PROBE_PAUSE_FIRST, longest: PROBE_PAUSE_LAST };
    while let Some(pool) = pool.upgrade().filter(|pool| pool.server.breaker.is_open() && !pool.is_closed()) {
        // What it held beforehand is as dead as what the request had.
        pool.forget_idle();
        let breaker = &pool.server.breaker;
        // Also where a probe panics the server is not away for ever.
        let unheard = Unheard(breaker);
        let opened = {
            let limit = Some(PROBE_MAX.min(pool.server.settings.timeout));
            let _entered = Deadline::new(limit, limit, &Ending::default()).enter();
            Session::open(&pool.server)
        };
        std::mem::forget(unheard);
        match opened {
            Ok(session) => {
                pool.take_in(session);
                breaker.probed(None);
            }
            Err(error) => {
                log::debug!("the server is still away: {error}");
                breaker.probed(Some(&error));
            }
        }
        if !breaker.is_open() {
            return;
        }
        let server = Arc::clone(&pool.server);
        drop(pool);
        server.breaker.rest(pauses.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(tries: &mut Tries, count: usize) -> Vec<Option<u128>> {
        (0..count).map(|_| tries.next_pause().map(|pause| pause.as_millis())).collect()
    }

    #[test]
    fn pauses_grow_until_there_is_no_time_left() {
        let begin = |hard| Tries::begin(Instant::now(), Duration::from_millis(900), hard);
        let (first, last) = ([50, 100, 200, 400, 800], Some(1000));
        assert_eq!(pauses(&mut begin(false), 7), [&first.map(Some)[..], &[None, None]].concat());
        assert_eq!(pauses(&mut begin(true), 8), [&first.map(Some)[..], &[last; 3]].concat());
    }

    #[test]
    fn who_never_gives_up_has_always_time_left() {
        let (now, timeout) = (Instant::now(), Duration::from_secs(2));
        let given_up = Tries::begin(now, timeout, false).until();
        assert_eq!(given_up, now + timeout);
        assert!(Tries::begin(now, timeout, true).until() >= now + PROBE_MAX);
        assert_eq!(Tries::begin(now, timeout, true).in_doubt_from, given_up);
    }
}
