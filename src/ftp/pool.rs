//! The sessions of a mount: at most so many, taken for one request or one transfer, kept while they are good.

use crate::ftp::error::Error;
use crate::ftp::reply::{Outcome, Reply};
use crate::ftp::server::Server;
use crate::ftp::session::Session;
use crate::ftp::stream::remaining;
use crate::workers::{self, Workers};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

/// A bounded set of sessions. Connecting and every command happen outside its lock.
pub struct Pool {
    server: Arc<Server>,
    state: Mutex<State>,
    changed: Condvar,
    /// How many wait for a session that only a transfer can give: it looks at it before it goes on.
    waiting: AtomicUsize,
    /// Who makes idle sessions ready for their next transfer, and opens more.
    workers: Workers,
    /// Who is told of idle sessions.
    on_spare: OnceLock<Told>,
}

type Told = Box<dyn Fn(Instant) + Send + Sync>;

#[derive(Default)]
struct State {
    /// The last one used is the first one taken; the others may grow old and close.
    idle: VecDeque<Idle>,
    /// Sessions that are lent out, being opened, or made ready.
    lent: usize,
    /// How many of those will be idle in a moment.
    coming: usize,
    /// How many are being opened beforehand.
    opening: usize,
    /// How many requests wait for a session, whichever.
    waiters: usize,
    /// When opening one beforehand failed.
    opening_failed: Option<Instant>,
    /// The limit that the server turned out to have.
    learnt_max: Option<LearntMax>,
    /// Transfers that may be asked to give their session up.
    transfers: Vec<Weak<dyn Reclaim>>,
    closed: bool,
}

struct Idle {
    session: Session,
    since: Instant,
}

#[derive(Clone, Copy)]
struct LearntMax {
    sessions: usize,
    since: Instant,
}

/// Something that holds a session for long and can give it up.
pub trait Reclaim: Send + Sync {
    /// Gives the session up, if nobody uses it or did a moment ago.
    fn reclaim(&self) -> Option<Lease>;

    /// When it was last used.
    fn idle_since(&self) -> Instant;
}

/// A session lent out. Dropped without [`Lease::give_back`], the session is discarded.
pub struct Lease {
    session: Option<Session>,
    pool: Arc<Pool>,
}

impl Pool {
    /// A pool without any session yet, and its janitor.
    pub fn new(server: Arc<Server>) -> Arc<Self> {
        let pool = Arc::new(Self {
            server,
            state: Mutex::default(),
            changed: Condvar::new(),
            waiting: AtomicUsize::new(0),
            workers: Workers::default(),
            on_spare: OnceLock::new(),
        });
        let weak = Arc::downgrade(&pool);
        let janitor = workers::repeat("pool", move || {
            weak.upgrade()?.close_idle(Instant::now());
            Some(JANITOR_INTERVAL)
        });
        if let Err(error) = janitor {
            log::warn!("idle connections will not be closed: {error}");
        }
        pool
    }

    /// Lends a session: an idle one, one that will be idle in a moment, a new one while there are fewer than the limit, or one
    /// that a paused transfer gives up; else waits for one.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] when none came free in time; what opening a session met.
    pub fn take(self: &Arc<Self>) -> Result<Lease, Error> {
        let since = Instant::now();
        let deadline = since + self.server.settings.timeout;
        loop {
            match self.next_move(since, deadline)? {
                Move::Use(session) => return Ok(self.lease(*session)),
                Move::Open(others) => match Session::open(&self.server) {
                    Ok(session) => return Ok(self.lease(session)),
                    Err(error) => {
                        self.lent_no_more();
                        self.learn_limit(error, others)?;
                    }
                },
                Move::Again => {}
            }
        }
    }

    /// Lends a session to `work`; again with another one where the first turned out to be dead or its TLS session too old.
    ///
    /// # Errors
    ///
    /// What `work` met last, or what taking a session met.
    pub fn with_session<T>(
        self: &Arc<Self>,
        mut work: impl FnMut(&mut Session) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.with_lease(|mut lease| match work(&mut lease) {
            Ok(value) => {
                lease.give_back();
                Ok(value)
            }
            Err(error) => {
                lease.give_back_unless_broken(&error);
                Err(error)
            }
        })
    }

    /// As [`Pool::with_session`], for work that keeps the session when it succeeds.
    ///
    /// # Errors
    ///
    /// As [`Pool::with_session`].
    pub fn with_lease<T>(self: &Arc<Self>, mut work: impl FnMut(Lease) -> Result<T, Error>) -> Result<T, Error> {
        let mut attempts = ATTEMPTS_MAX;
        loop {
            attempts -= 1;
            match work(self.take()?) {
                Err(error) if attempts > 0 && error.another_connection_may_help() => {
                    log::debug!("trying again on another connection: {error}");
                    self.server.counters.retried.up();
                    if !matches!(error, Error::ReuseRefused { .. } | Error::SessionWornOut) {
                        self.forget_idle();
                    }
                }
                other => return other,
            }
        }
    }

    /// Takes in a session that was opened elsewhere.
    pub fn adopt(&self, session: Session) {
        self.state.lock().idle.push_back(Idle { session, since: Instant::now() });
        self.changed.notify_one();
    }

    /// How many sessions are idle and may be used for what nobody waits for: where there is only one, none.
    pub fn spare(&self) -> usize {
        let state = self.state.lock();
        if self.limit(&state) > 1 { state.idle.len() } else { 0 }
    }

    /// Has `told` called whenever a session becomes idle that nobody waits for. Only the first call counts.
    pub fn on_spare(&self, told: Box<dyn Fn(Instant) + Send + Sync>) {
        // A second caller is a mistake without harm.
        let _ = self.on_spare.set(told);
    }

    /// Has another session opened in the background, if there may be one, for what would rather not wait for that.
    pub fn prepare(self: &Arc<Self>) {
        self.open_beforehand(&mut self.state.lock());
    }

    /// Registers a transfer that may be asked to give its session up.
    pub fn register(&self, transfer: Weak<dyn Reclaim>) {
        let mut state = self.state.lock();
        state.transfers.retain(|transfer| transfer.strong_count() > 0);
        state.transfers.push(transfer);
    }

    /// Whether somebody waits for a session.
    pub fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Forgets idle sessions: one of them turned out to be dead, and what killed it likely killed the others.
    pub fn forget_idle(&self) {
        let forgotten = std::mem::take(&mut self.state.lock().idle);
        drop(forgotten);
    }

    /// Says goodbye on all idle sessions; from then on sessions that come back are closed.
    pub fn close(&self) {
        let idle = {
            let mut state = self.state.lock();
            state.closed = true;
            std::mem::take(&mut state.idle)
        };
        idle.into_iter().for_each(|idle| idle.session.quit());
    }

    fn next_move(self: &Arc<Self>, since: Instant, deadline: Instant) -> Result<Move, Error> {
        let mut state = self.state.lock();
        if let Some(idle) = take_idle(&mut state) {
            state.lent += 1;
            drop(state);
            return Ok(self.check(idle.session));
        }
        if state.coming > 0 && since.elapsed() < COMING_MAX {
            // Sooner than a new one; which is for the next who finds none.
            self.open_beforehand(&mut state);
            return self.wait(state, deadline, false);
        }
        if state.lent < self.limit(&state) {
            let others = state.lent;
            state.lent += 1;
            return Ok(Move::Open(others));
        }
        let transfers = by_idleness(&state.transfers);
        drop(state);
        // Outside the lock: giving up takes the transfer's own lock, and dropping it may come back here.
        if let Some(session) = transfers.iter().find_map(|transfer| transfer.reclaim()).and_then(Lease::into_session) {
            return Ok(self.check(session));
        }
        let state = self.state.lock();
        if !state.idle.is_empty() || state.lent < self.limit(&state) {
            return Ok(Move::Again);
        }
        self.wait(state, deadline, true)
    }

    /// An idle session is looked at before it is trusted with a request. It counts as lent already.
    fn check(&self, mut session: Session) -> Move {
        let error = match session.is_stale(Instant::now()) {
            false => match session.settle() {
                Ok(()) => return Move::Use(Box::new(session)),
                Err(error) => error.to_string(),
            },
            true => "it is too old, or the server closed it".to_owned(),
        };
        log::debug!("replacing an idle control connection: {error}");
        drop(session);
        self.lent_no_more();
        Move::Again
    }

    /// Waits for a change, for one that a transfer has to make where `wants_transfers`.
    fn wait(&self, mut state: MutexGuard<'_, State>, deadline: Instant, wants_transfers: bool) -> Result<Move, Error> {
        self.waiting.fetch_add(usize::from(wants_transfers), Ordering::Relaxed);
        state.waiters += 1;
        // Bounded, as a transfer may become idle without a word.
        let timed_out = self.changed.wait_for(&mut state, remaining(deadline).min(WAIT_SLICE)).timed_out();
        state.waiters -= 1;
        self.waiting.fetch_sub(usize::from(wants_transfers), Ordering::Relaxed);
        if timed_out && remaining(deadline).is_zero() {
            return Err(Error::Busy { why: format!("all {} connections are in use", state.lent) });
        }
        Ok(Move::Again)
    }

    fn limit(&self, state: &State) -> usize {
        let wanted = self.server.settings.connections_max.get();
        match state.learnt_max {
            Some(learnt) if learnt.since.elapsed() < LEARNT_MAX_BELIEVED => wanted.min(learnt.sessions),
            _ => wanted,
        }
    }

    /// "Too many connections" while others are open teaches the limit, and the request waits. Any other error is for the
    /// caller.
    fn learn_limit(&self, error: Error, others: usize) -> Result<(), Error> {
        let mut state = self.state.lock();
        let sessions = others.max(state.lent + state.idle.len());
        match error {
            Error::Busy { why } if sessions > 0 => {
                log::info!("the server allows {sessions} connections for now ({why})");
                state.learnt_max = Some(LearntMax { sessions, since: Instant::now() });
                Ok(())
            }
            other => Err(other),
        }
    }

    fn lease(self: &Arc<Self>, session: Session) -> Lease {
        Lease { session: Some(session), pool: Arc::clone(self) }
    }

    fn lent_no_more(&self) {
        self.state.lock().lent -= 1;
        self.changed.notify_one();
    }

    /// Has another session opened, if there may be one.
    fn open_beforehand(self: &Arc<Self>, state: &mut State) {
        let failed = state.opening_failed.is_some_and(|failed| failed.elapsed() < OPENING_PAUSE);
        if state.closed || failed || state.opening > 0 || state.lent + state.idle.len() >= self.limit(state) {
            return;
        }
        let others = state.lent;
        let errand = Errand::begin(self, state, |state| &mut state.opening);
        self.workers.spawn(move || errand.pool.open_one(others));
    }

    fn open_one(self: &Arc<Self>, others: usize) {
        match Session::open(&self.server) {
            Ok(mut session) => {
                session.expect_transfer();
                self.shelve(session);
            }
            Err(error) => {
                self.state.lock().opening_failed = Some(Instant::now());
                if let Err(error) = self.learn_limit(error, others) {
                    log::debug!("opening another connection: {error}");
                }
            }
        }
    }

    /// Has an idle session made ready for its next transfer.
    fn warm_one(self: &Arc<Self>) {
        let (mut session, _errand) = {
            let mut state = self.state.lock();
            // Who waits takes it as it is, and may need no data connection.
            if state.waiters > 0 {
                return;
            }
            let Some(at) = state.idle.iter().position(|idle| idle.session.is_cold()) else { return };
            let Some(idle) = state.idle.remove(at) else { return };
            (idle.session, Errand::begin(self, &mut state, |state| &mut state.coming))
        };
        match session.warm() {
            Ok(()) => self.shelve(session),
            Err(error) => log::debug!("an idle control connection is of no more use: {error}"),
        }
    }

    fn put_back(self: &Arc<Self>, session: Session) {
        self.shelve(session);
        self.lent_no_more();
    }

    /// Makes a session idle, or says goodbye on it if it is of no more use.
    fn shelve(self: &Arc<Self>, session: Session) {
        let mut state = self.state.lock();
        if state.closed || session.is_out_of_step() {
            drop(state);
            session.quit();
            return;
        }
        let is_cold = session.is_cold() && self.server.settings.opens_ahead;
        let now = Instant::now();
        state.idle.push_back(Idle { session, since: now });
        let is_spare = state.waiters == 0 && !is_cold;
        drop(state);
        self.changed.notify_one();
        if is_cold {
            let pool = Arc::clone(self);
            self.workers.spawn(move || pool.warm_one());
        }
        if is_spare && let Some(told) = self.on_spare.get() {
            told(now);
        }
    }

    fn close_idle(self: &Arc<Self>, now: Instant) {
        let (old, unsettled) = {
            let mut state = self.state.lock();
            let timeout = self.server.settings.idle_timeout;
            let is_old = |idle: &Idle| now.duration_since(idle.since) >= timeout || idle.session.is_stale(now);
            let (old, mut kept): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(&mut state.idle).into_iter().partition(is_old);
            kept.iter_mut().for_each(|idle| idle.session.drop_old_spare(now));
            let unsettled = kept.iter().position(|idle| !idle.session.is_settled()).and_then(|at| kept.remove(at));
            state.idle = kept;
            state.lent += usize::from(unsettled.is_some());
            (old, unsettled)
        };
        old.into_iter().for_each(|idle| idle.session.quit());
        // Reading the end of a broken-off transfer now saves the next request from it.
        if let Some(Idle { mut session, .. }) = unsettled {
            match session.settle() {
                Ok(()) => self.put_back(session),
                Err(_) => self.lent_no_more(),
            }
        }
    }
}

/// Work on a session that counts as lent meanwhile; whatever becomes of it, the counts are right again.
struct Errand {
    pool: Arc<Pool>,
    count: fn(&mut State) -> &mut usize,
}

impl Errand {
    fn begin(pool: &Arc<Pool>, state: &mut State, count: fn(&mut State) -> &mut usize) -> Self {
        state.lent += 1;
        *count(state) += 1;
        Self { pool: Arc::clone(pool), count }
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        *(self.count)(&mut state) -= 1;
        state.lent -= 1;
        drop(state);
        self.pool.changed.notify_one();
    }
}

enum Move {
    Use(Box<Session>),
    /// Open a new one, beside so many others.
    Open(usize),
    Again,
}

impl Lease {
    /// Returns the session for others to use.
    pub fn give_back(mut self) {
        if let Some(session) = self.session.take() {
            self.pool.put_back(session);
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

    /// Takes the session out; it goes on counting as lent.
    fn into_session(mut self) -> Option<Session> {
        self.session.take()
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
            self.pool.lent_no_more();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Pool").field("idle", &state.idle.len()).field("lent", &state.lent).finish_non_exhaustive()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("session", &self.session).finish_non_exhaustive()
    }
}

/// One that is ready for a transfer, if there is one, or else has settled a broken-off one: the others cost round trips first.
fn take_idle(state: &mut State) -> Option<Idle> {
    let last = |fits: fn(&Session) -> bool| state.idle.iter().rposition(|idle| fits(&idle.session));
    match last(Session::is_warm).or_else(|| last(Session::is_settled)) {
        Some(best) => state.idle.remove(best),
        None => state.idle.pop_back(),
    }
}

/// The transfers that are still there, the longest idle first.
fn by_idleness(transfers: &[Weak<dyn Reclaim>]) -> Vec<Arc<dyn Reclaim>> {
    let mut transfers: Vec<_> = transfers.iter().filter_map(Weak::upgrade).collect();
    transfers.sort_by_key(|transfer| transfer.idle_since());
    transfers
}

/// How long a request waits for sessions that are made ready, before it opens one of its own: that takes twice as many round
/// trips, but some server's data ports do not answer at all.
const COMING_MAX: Duration = Duration::from_secs(1);
/// How long no connection is opened beforehand after that failed.
const OPENING_PAUSE: Duration = Duration::from_secs(10);
const LENT: &str = "only give_back, into_session and drop take the session, and they consume the lease";
/// How often idle sessions are looked at.
const JANITOR_INTERVAL: Duration = Duration::from_secs(2);
/// How long a waiting request sleeps before it looks again by itself.
const WAIT_SLICE: Duration = Duration::from_millis(100);
/// After this time a limit that the server once had is tried again.
const LEARNT_MAX_BELIEVED: Duration = Duration::from_secs(60);
/// A dead connection, its successor taken away meanwhile, and one more.
const ATTEMPTS_MAX: usize = 3;
