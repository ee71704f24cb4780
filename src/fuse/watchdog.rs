//! Answers what nobody else answered in time: whatever the code below does, a request ends.

use crate::deadline::Deadline;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// Those who work for a request see its deadline themselves and end it with the server's own words, if they may. After so
/// much more they are not waited for.
const GRACE: Duration = Duration::from_millis(400);

/// One thread that looks after all requests of a mount.
#[derive(Debug)]
pub(super) struct Watchdog {
    watched: Arc<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: BTreeMap<Ticket, Arc<dyn Request>>,
    last: u64,
    ended: bool,
}

/// A request that is looked after, by when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(Instant, u64);

/// What waits for its answer.
pub(super) trait Request: Send + Sync {
    /// Until when it may be answered.
    fn deadline(&self) -> &Deadline;

    /// Answers it, unless that was done.
    fn give_up(&self);
}

impl Watchdog {
    /// Begins to look after requests.
    ///
    /// # Errors
    ///
    /// The system's, where there is no thread to be had.
    pub(super) fn start() -> io::Result<Self> {
        let watched = Arc::new(Watched::default());
        let watching = Arc::clone(&watched);
        thread::Builder::new().name("watchdog".into()).spawn(move || watching.run())?;
        Ok(Self { watched })
    }

    /// Looks after `request` until [`Watchdog::done`]; `None` where it may take for ever.
    pub(super) fn watch(&self, request: Arc<dyn Request>) -> Option<Ticket> {
        let due = due(request.deadline())?;
        let mut state = self.watched.state.lock();
        state.last += 1;
        let ticket = Ticket(due, state.last);
        let is_next = state.requests.first_key_value().is_none_or(|(first, _)| ticket < *first);
        state.requests.insert(ticket, request);
        drop(state);
        if is_next {
            self.watched.changed.notify_one();
        }
        Some(ticket)
    }

    /// Who looks after a request may end with this.
    pub(super) fn watcher(&self) -> Watcher {
        Watcher(Arc::downgrade(&self.watched))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.watched.state.lock().ended = true;
        self.watched.changed.notify_one();
    }
}

/// Lets go of requests that were answered.
#[derive(Debug, Clone)]
pub(super) struct Watcher(Weak<Watched>);

impl Watcher {
    /// `ticket` was answered. If something moved for it, it is let go of when it would have been due.
    pub(super) fn done(&self, ticket: Option<Ticket>) {
        if let (Some(watched), Some(ticket)) = (self.0.upgrade(), ticket) {
            // Dropped outside of the lock.
            let _request = watched.state.lock().requests.remove(&ticket);
        }
    }
}

impl Watched {
    fn run(&self) {
        let mut state = self.state.lock();
        while !state.ended {
            let Some((&Ticket(at, number), _)) = state.requests.first_key_value() else {
                self.changed.wait(&mut state);
                continue;
            };
            if at > Instant::now() {
                self.changed.wait_until(&mut state, at);
                continue;
            }
            let Some((_, request)) = state.requests.pop_first() else { continue };
            match due(request.deadline()) {
                // Something moved for it, or it has no end any more.
                Some(later) if later > Instant::now() => drop(state.requests.insert(Ticket(later, number), request)),
                Some(_) => {
                    drop(state);
                    request.give_up();
                    state = self.state.lock();
                }
                None => {}
            }
        }
    }
}

fn due(deadline: &Deadline) -> Option<Instant> {
    deadline.end().map(|end| end + GRACE)
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State({} requests)", self.requests.len())
    }
}
