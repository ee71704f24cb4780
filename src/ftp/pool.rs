//! The sessions of a mount: at most so many, taken for one request or one transfer, kept while they are good.

use crate::deadline;
use crate::ftp::door::{Door, Failed, Knock};
use crate::ftp::error::Error;
use crate::ftp::server::Server;
use crate::ftp::session::{Care, Session};
use crate::ftp::stream::remaining;
use crate::remote::condition::Connections;
use crate::workers::{self, Undone, Workers};
use parking_lot::{Condvar, Mutex, MutexGuard};
use probe::Tries;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

// tests/interleavings builds this file once more from another place, from where it looks for them.
#[path = "pool/errand.rs"]
mod errand;
#[path = "pool/lease.rs"]
mod lease;
#[path = "pool/probe.rs"]
mod probe;
#[path = "pool/reclaim.rs"]
mod reclaim;
#[path = "pool/request.rs"]
mod request;

use errand::{Errand, Knocking};
pub use lease::Lease;
use lease::Lent;
pub use reclaim::Reclaim;
use reclaim::by_idleness;
use request::{Request, Row, Waiting};

/// A bounded set of sessions. Connecting and every command happen outside its lock.
pub struct Pool {
    server: Arc<Server>,
    state: Mutex<State>,
    changed: Condvar,
    /// How many wait for a session that only a transfer can give: it looks at it before it goes on.
    waiting: AtomicUsize,
    /// How many of those are not for transfers.
    asking: AtomicUsize,
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
    /// How many of those places are empty, and given up in a moment: the session is idle already, or was turned away.
    vacated: usize,
    /// How many of those will be idle in a moment.
    coming: usize,
    /// How many are being opened beforehand.
    opening: usize,
    /// How many errands are about to look for an idle session that is to be made ready.
    to_warm: usize,
    /// How many requests are in line for a session, whichever.
    waiters: usize,
    /// How many of those are not for transfers.
    questions: usize,
    /// Of questions, which transfers wait for.
    row: Row,
    /// When opening one beforehand failed.
    opening_failed: Option<Instant>,
    /// Whether the server lets more in.
    door: Door,
    /// Transfers that may be asked to give their session up.
    transfers: Vec<Weak<dyn Reclaim>>,
    /// A server was seen to end a download that was paused, and its session with it.
    ends_paused: bool,
    closed: bool,
}

struct Idle {
    session: Session,
    since: Instant,
}

impl State {
    /// How many sessions there are, those being opened included.
    fn held(&self) -> usize {
        self.lent + self.idle.len() - self.vacated
    }

    /// Nothing is at a place that is still lent.
    fn vacate(&mut self, is_vacated: &mut bool) {
        self.vacated += 1;
        *is_vacated = true;
    }

    /// A place is given up, which may have been `vacated` before.
    fn lent_no_more(&mut self, vacated: bool) {
        self.lent -= 1;
        self.vacated -= usize::from(vacated);
    }
}

impl Pool {
    /// A pool without any session yet, and its janitor.
    pub fn new(server: Arc<Server>) -> Arc<Self> {
        let pool = Arc::new(Self {
            server,
            state: Mutex::default(),
            changed: Condvar::new(),
            waiting: AtomicUsize::new(0),
            asking: AtomicUsize::new(0),
            workers: Workers::named("pool-errand"),
            on_spare: OnceLock::new(),
        });
        let weak = Arc::downgrade(&pool);
        let janitor = workers::repeat("pool", move || {
            let pool = weak.upgrade()?;
            pool.put_paused_aside();
            pool.close_idle(Instant::now());
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
        self.take_for(Care::Usual)
    }

    /// As [`Pool::take`], for a request that needs some `care`.
    ///
    /// # Errors
    ///
    /// As [`Pool::take`].
    pub fn take_for(self: &Arc<Self>, care: Care) -> Result<Lease, Error> {
        self.take_as(care, false)
    }

    fn take_as(self: &Arc<Self>, care: Care, is_transfer: bool) -> Result<Lease, Error> {
        let settings = &self.server.settings;
        let mut request = Waiting { request: Request::new(care, is_transfer), pool: self };
        let request = &mut request.request;
        let mut tries = Tries::begin(request.since, settings.timeout, settings.hard);
        loop {
            self.server.breaker.pass(settings.hard)?;
            let next = self.next_move(request, tries.until())?;
            request.has_waited = true;
            match next {
                Move::Use(mut lease) => {
                    lease.in_row = request.in_row();
                    return Ok(*lease);
                }
                Move::Open(mut lent) => match self.open(&mut lent.is_vacated) {
                    Ok(session) => return Ok(lent.of(session)),
                    Err(failed) => {
                        drop(lent);
                        if let Failed::Fails(error) = failed {
                            self.wait_for_return(error, &mut tries)?;
                        }
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
        let work = |mut lease: Lease| match work(&mut lease) {
            Ok(value) => {
                lease.give_back();
                Ok(value)
            }
            Err(error) => {
                lease.give_back_unless_broken(&error);
                Err(error)
            }
        };
        self.again_and_again(false, work)
    }

    /// As [`Pool::with_session`], for a transfer: `work` keeps the session when it succeeds.
    ///
    /// # Errors
    ///
    /// As [`Pool::with_session`].
    pub fn with_lease<T>(self: &Arc<Self>, work: impl FnMut(Lease) -> Result<T, Error>) -> Result<T, Error> {
        self.again_and_again(true, work)
    }

    fn again_and_again<T>(
        self: &Arc<Self>,
        is_transfer: bool,
        mut work: impl FnMut(Lease) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut attempts = ATTEMPTS_MAX;
        loop {
            attempts -= 1;
            match work(self.take_as(Care::Usual, is_transfer)?) {
                Err(error) if attempts > 0 && error.another_connection_may_help() => {
                    log::debug!("trying again on another connection: {error}");
                    self.server.counters.retried.up();
                    // The second one in a row is no chance: the server has forgotten them all.
                    let is_worn_out = matches!(error, Error::ReuseRefused { .. } | Error::SessionWornOut);
                    if !is_worn_out || attempts + 1 < ATTEMPTS_MAX {
                        self.forget_idle();
                    }
                }
                other => return other,
            }
        }
    }

    /// Takes in a session that was opened elsewhere.
    pub fn adopt(&self, session: Session) {
        let (mut state, since) = (self.state.lock(), Instant::now());
        state.door.opened(since);
        state.idle.push_back(Idle { session, since });
        drop(state);
        self.changed.notify_all();
    }

    fn is_closed(&self) -> bool {
        self.state.lock().closed
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

    /// How many sessions there are, for whoever wants to know.
    pub fn connections(&self) -> Connections {
        let state = self.state.lock();
        Connections {
            idle: state.idle.len(),
            lent: state.lent,
            waiting: state.waiters,
            limit: self.limit(&state),
            configured: self.server.settings.connections_max.get(),
            refusal: state.door.why().map(str::to_owned),
        }
    }

    /// Has another session opened in the background, if there may be one, for what would rather not wait for that.
    pub fn prepare(self: &Arc<Self>) {
        let undone = self.open_beforehand(&mut self.state.lock());
        drop(undone);
    }

    /// Lends an idle session that can be used at once, for what could be done without it, if nobody waits for one; else has
    /// another one opened, for the next time.
    pub fn take_idle(self: &Arc<Self>) -> Option<Lease> {
        let mut state = self.state.lock();
        let is_of_use = |idle: &Idle| idle.session.is_settled() && idle.since.elapsed() < IDLE_TRUSTED;
        if state.waiters == 0
            && let Some(at) = state.idle.iter().position(is_of_use)
            && let Some(idle) = state.idle.remove(at)
        {
            let lease = Lent::begin(self, &mut state).of(idle.session);
            drop(state);
            return (!lease.is_stale(Instant::now())).then_some(lease);
        }
        let undone = self.open_beforehand(&mut state);
        drop(state);
        drop(undone);
        None
    }

    /// Whether somebody waits for a session.
    pub fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether somebody waits for a session to ask something: soon done, and asked by somebody who waits.
    pub fn is_asked(&self) -> bool {
        self.asking.load(Ordering::Relaxed) > 0
    }

    /// Forgets idle sessions: one of them turned out to be dead, and what killed it likely killed the others.
    pub fn forget_idle(&self) {
        let mut state = self.state.lock();
        let forgotten = std::mem::take(&mut state.idle);
        self.server.counters.replaced.add(forgotten.len() as u64);
        state.door.distrust();
        drop(state);
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

    fn next_move(self: &Arc<Self>, request: &mut Request, deadline: Instant) -> Result<Move, Error> {
        let care = request.care;
        let mut state = self.state.lock();
        if let Some(left) = request.leaves_idle(&state) {
            return self.wait(state, request, deadline, false, left);
        }
        let is_its_turn = request.has_its_turn(&state);
        if let Some(idle) = is_its_turn.then(|| take_idle(&mut state)).flatten() {
            request.leave_line(&mut state);
            request.is_served(&mut state);
            let lent = Lent::begin(self, &mut state);
            drop(state);
            return Ok(self.check(lent.of(idle.session), care));
        }
        if state.coming > 0 && request.since.elapsed() < COMING_MAX {
            // Sooner than a new one; which is for the next who finds none.
            let _undone = self.open_beforehand(&mut state);
            return self.wait(state, request, deadline, false, WAIT_SLICE);
        }
        // Dropped after the lock is let go of.
        let mut undone = Undone::default();
        match self.knock(&state) {
            Knock::Now => {
                request.leave_line(&mut state);
                request.is_served(&mut state);
                let lent = Lent::begin(self, &mut state);
                state.door.knocks();
                return Ok(Move::Open(lent));
            }
            Knock::Refused(reply) => return Err(Error::LoginRefused { reply }),
            Knock::Aside => undone = self.open_beforehand(&mut state),
            Knock::Wait => {}
        }
        let transfers = by_idleness(&state.transfers);
        drop(state);
        drop(undone);
        // Outside the lock: giving up takes the transfer's own lock, and dropping it may come back here.
        let gives_up = |transfer: &Arc<dyn Reclaim>| {
            // The end of an upload takes time, in which others may have what comes free.
            if !transfer.is_download() {
                self.leave_line(request);
            }
            transfer.reclaim()
        };
        if let Some(lease) = transfers.iter().find_map(gives_up) {
            request.is_served(&mut self.state.lock());
            self.leave_line(request);
            return Ok(self.check(lease, care));
        }
        let state = self.state.lock();
        if (request.has_its_turn(&state) && !state.idle.is_empty()) || self.knock(&state) == Knock::Now {
            return Ok(Move::Again);
        }
        self.wait(state, request, deadline, true, WAIT_SLICE)
    }

    /// Is in line no more; and what others left to it is theirs.
    fn leave_line(self: &Arc<Self>, request: &mut Request) {
        let (left_something, is_spare) = {
            let mut state = self.state.lock();
            (request.leave_line(&mut state), state.waiters == 0)
        };
        if left_something {
            self.changed.notify_all();
            self.use_idle(is_spare);
        }
    }

    /// An idle session is looked at before it is trusted with a request.
    fn check(&self, mut lease: Lease, care: Care) -> Move {
        let error = match lease.is_stale(Instant::now()) {
            false => match lease.see_alive(care) {
                Ok(()) => return Move::Use(Box::new(lease)),
                Err(error) => {
                    // What happened to it happened to the others; each would have to be waited for.
                    if matches!(error, Error::Deadline { .. }) {
                        self.forget_idle();
                    }
                    error.to_string()
                }
            },
            true => "it is too old, or the server closed it".to_owned(),
        };
        log::debug!("replacing an idle control connection: {error}");
        self.state.lock().door.distrust();
        drop(lease);
        Move::Again
    }

    /// Waits for a change, for one that a transfer has to make where `wants_transfers`, and then looks again in any case: a transfer
    /// may become idle without a word.
    fn wait(
        &self,
        mut state: MutexGuard<'_, State>,
        request: &mut Request,
        deadline: Instant,
        wants_transfers: bool,
        slice: Duration,
    ) -> Result<Move, Error> {
        request.stand_in_line(&mut state);
        request.waits(wants_transfers);
        let asks = wants_transfers && request.is_question();
        self.waiting.fetch_add(usize::from(wants_transfers), Ordering::Relaxed);
        self.asking.fetch_add(usize::from(asks), Ordering::Relaxed);
        let timed_out = self.changed.wait_for(&mut state, remaining(deadline).min(slice)).timed_out();
        self.waiting.fetch_sub(usize::from(wants_transfers), Ordering::Relaxed);
        self.asking.fetch_sub(usize::from(asks), Ordering::Relaxed);
        if timed_out && (remaining(deadline).is_zero() || deadline::is_over()) {
            return Err(match self.nothing_came(&state) {
                Error::Busy { why } if self.server.breaker.is_silent() => {
                    Error::Deadline { step: format!("waiting for a connection ({why})") }
                }
                error => error,
            });
        }
        Ok(Move::Again)
    }

    /// How many sessions there may be, as far as is known.
    fn limit(&self, state: &State) -> usize {
        let wanted = self.server.settings.connections_max.get();
        state.door.room().map_or(wanted, |room| room.min(wanted))
    }

    /// Why a request that waited got no session.
    fn nothing_came(&self, state: &State) -> Error {
        let busy = |why: &str| Error::Busy { why: why.to_owned() };
        match (state.held(), state.door.why()) {
            (_, Some(why)) => busy(why),
            (held, None) if held <= state.door.knocking() => {
                Error::Deadline { step: format!("connecting to {}", self.server.settings.host) }
            }
            (held, None) => busy(&format!("all {held} connections are in use")),
        }
    }

    fn knock(&self, state: &State) -> Knock {
        let max = self.server.settings.connections_max.get();
        state.door.knock(state.held(), max, Instant::now())
    }

    /// Opens another session, which counts as lent already, and tells the door what came of it; and its place, where it was turned
    /// away, that it `is_vacated`.
    fn open(&self, is_vacated: &mut bool) -> Result<Session, Failed> {
        let mut knocking = Knocking { pool: self, is_over: false };
        let began = Instant::now();
        let opened = Session::open(&self.server);
        knocking.is_over = true;
        let mut state = self.state.lock();
        let held = state.held();
        let told = match opened {
            Ok(session) => {
                let open = held + 1 - state.door.knocking().min(held);
                state.door.let_in(open, Instant::now());
                Ok(session)
            }
            Err(error) => {
                let open = held - state.door.knocking().min(held);
                state.vacate(is_vacated);
                Err(state.door.turned_away(error, open, began, Instant::now()))
            }
        };
        drop(state);
        // Others may have waited for what it tells.
        self.changed.notify_all();
        told
    }

    /// Has another session opened, if there may be one.
    fn open_beforehand(self: &Arc<Self>, state: &mut State) -> Undone {
        let failed = state.opening_failed.is_some_and(|failed| failed.elapsed() < OPENING_PAUSE);
        if state.closed || failed || state.opening > 0 || !matches!(self.knock(state), Knock::Now | Knock::Aside) {
            return Undone::default();
        }
        let mut errand = Errand::knocking(self, state, |state| &mut state.opening);
        self.workers.spawn(move || errand.connects())
    }

    fn open_one(self: &Arc<Self>, is_vacated: &mut bool) {
        match self.open(is_vacated) {
            Ok(mut session) => {
                session.expect_transfer();
                self.shelve(session, is_vacated);
            }
            Err(Failed::Waits) => {}
            Err(Failed::Fails(error)) => {
                self.state.lock().opening_failed = Some(Instant::now());
                log::debug!("opening another connection: {error}");
            }
        }
    }

    /// Makes a session idle, and tells its place that it `is_vacated`; or says goodbye on it if it is of no more use.
    fn shelve(self: &Arc<Self>, session: Session, is_vacated: &mut bool) {
        let mut state = self.state.lock();
        if state.closed || session.is_out_of_step() {
            drop(state);
            session.quit();
            return;
        }
        state.idle.push_back(Idle { session, since: Instant::now() });
        state.vacate(is_vacated);
        let is_spare = state.waiters == 0;
        drop(state);
        self.changed.notify_all();
        self.use_idle(is_spare);
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
            (old, unsettled.map(|idle| Lent::begin(self, &mut state).of(idle.session)))
        };
        old.into_iter().for_each(|idle| idle.session.quit());
        // Reading the end of a broken-off transfer now saves the next request from it.
        if let Some(mut lease) = unsettled
            && lease.settle().is_ok()
        {
            lease.give_back();
        }
    }
}

enum Move {
    Use(Box<Lease>),
    Open(Lent),
    Again,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Pool")
            .field("idle", &state.idle.len())
            .field("lent", &state.lent)
            .field("vacated", &state.vacated)
            .finish_non_exhaustive()
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

/// How long a request waits for sessions that are made ready, before it opens one of its own: that takes twice as many round
/// trips, but some server's data ports do not answer at all.
const COMING_MAX: Duration = Duration::from_secs(1);
/// How long ago a session may have been used that is believed to be alive.
const IDLE_TRUSTED: Duration = Duration::from_secs(5);
/// How long no connection is opened beforehand after that failed.
const OPENING_PAUSE: Duration = Duration::from_secs(10);
/// How often idle sessions are looked at.
const JANITOR_INTERVAL: Duration = Duration::from_secs(1);
/// How long a waiting request sleeps before it looks again by itself.
const WAIT_SLICE: Duration = Duration::from_millis(100);
/// A dead connection, its successor taken away meanwhile, and one more.
const ATTEMPTS_MAX: usize = 3;
