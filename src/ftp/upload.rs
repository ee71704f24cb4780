//! A running upload. Between two writes it can be put aside, where the server lets it go on later, when somebody waits for
//! its session.

use crate::deadline::{self, Deadline};
use crate::ftp::command::Command;
use crate::ftp::data::DataConnection;
use crate::ftp::digest;
use crate::ftp::error::Error;
use crate::ftp::pool::{Lease, Pool, Reclaim};
use crate::ftp::reply::{Outcome, Reply};
use crate::ftp::server::Server;
use crate::ftp::session::{Ended, Session, Taken, size_of};
use crate::ftp::settings::Verify;
use crate::path::escaped;
use crate::remote::{Start, Whereabouts};
use parking_lot::Mutex;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

/// An upload from its first byte to the size that the file must have at the end.
#[derive(Debug)]
pub struct Outgoing {
    holding: Arc<Holding>,
    pool: Arc<Pool>,
    /// What the file had before (bytes).
    before: u64,
    /// Of all that was sent, where that is the whole file and the server can tell its own.
    digest: Option<digest::Running>,
}

/// What the server answered to what was asked along with the end of an upload that is whole.
#[derive(Debug)]
pub struct Answers {
    /// The session that was asked.
    pub lease: Lease,
    /// One for each command.
    pub replies: Vec<Reply>,
    /// The session that has to hear the end yet.
    pub end: Option<End>,
}

/// The end of an upload that is whole by what another session was told. Dropped, it is waited for.
#[derive(Debug)]
pub struct End {
    running: Option<(Lease, DataConnection, u64)>,
}

impl Drop for End {
    fn drop(&mut self) {
        let Some((mut lease, data, sent)) = self.running.take() else { return };
        match lease.finish_upload(data, sent) {
            Ok(_) => lease.give_back(),
            Err(error) => {
                log::debug!("an upload that is whole ended so: {error}");
                lease.give_back_unless_broken(&error);
            }
        }
    }
}

/// What the upload holds, reachable for the pool.
struct Holding {
    server: Arc<Server>,
    /// Of the upload, whoever puts it aside.
    deadline: Arc<Deadline>,
    /// Where it was when its last transfer began.
    pathname: Mutex<Vec<u8>>,
    /// Where it is now, once somebody tells.
    whereabouts: OnceLock<Box<dyn Whereabouts>>,
    state: Mutex<State>,
}

struct State {
    running: Option<Running>,
    /// Bytes of transfers that have ended well.
    stored: u64,
    used: Instant,
    /// It was put aside and cannot go on.
    broken: Option<Error>,
}

struct Running {
    lease: Lease,
    data: DataConnection,
    sent: u64,
    since: Instant,
}

impl Outgoing {
    /// Opens the data connection of an upload.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where the server cannot append and `start` asks for it; else why it was refused.
    pub fn start(pool: &Arc<Pool>, server: &Arc<Server>, pathname: Vec<u8>, start: Start) -> Result<Self, Error> {
        let (running, before, way) = match start {
            Start::Beginning => (open(pool, &Command::Stor(&pathname))?, 0, digest_way(server)),
            Start::End(size) => (append(pool, server, &pathname)?, size, None),
        };
        let state = State { running: Some(running), stored: 0, used: Instant::now(), broken: None };
        let holding = Arc::new(Holding {
            server: Arc::clone(server),
            deadline: deadline::current(),
            pathname: Mutex::new(pathname),
            whereabouts: OnceLock::new(),
            state: Mutex::new(state),
        });
        let weak: Weak<Holding> = Arc::downgrade(&holding);
        pool.register(weak);
        Ok(Self { holding, pool: Arc::clone(pool), before, digest: way.map(digest::Running::new) })
    }

    /// The server that it goes to.
    pub fn server(&self) -> &Arc<Server> {
        &self.holding.server
    }

    /// Where its session came from.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Under which name the server had it when its last transfer began.
    pub fn pathname(&self) -> Vec<u8> {
        self.holding.pathname.lock().clone()
    }

    /// Goes on at `whereabouts` when it was put aside, whatever directories are called by then.
    pub fn follow(&mut self, whereabouts: Box<dyn Whereabouts>) {
        // Only the first counts, and there is one.
        let _ = self.holding.whereabouts.set(whereabouts);
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    ///
    /// The server's reason where it gave one, else the network's. The upload is over.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let holding = Arc::clone(&self.holding);
        let mut state = holding.state.lock();
        if self.must_yield(&state)
            && let Some(lease) = holding.put_aside(&mut state)
        {
            lease.give_back();
        }
        if let Some(error) = state.broken.take() {
            return Err(error);
        }
        let mut running = match state.running.take() {
            Some(running) => running,
            None => holding.at_its_place(true, |pathname| append(&self.pool, &holding.server, pathname))?,
        };
        if let Err(error) = running.lease.write(&mut running.data, bytes, running.sent) {
            drop(running.data);
            running.lease.give_back_unless_broken(&error);
            drop(state);
            return Err(self.explained(error));
        }
        running.sent += bytes.len() as u64;
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        state.running = Some(running);
        state.used = Instant::now();
        Ok(())
    }

    /// Ends the upload: the server's word, and then the size. Both have to be as they must: a size alone may be that of what
    /// was there before, or of what the server could not write to its disk in the end.
    ///
    /// # Errors
    ///
    /// What the server said, [`Error::CutShort`], or what the connection met: what became of the file is not known then.
    pub fn finish(mut self) -> Result<(), Error> {
        let digest = self.digest.take();
        self.finish_transfer()?;
        let Some(digest) = digest else { return Ok(()) };
        let mut lease = self.pool.take()?;
        let agrees = digest.agrees(&mut lease, &self.pathname())?;
        lease.give_back();
        if agrees { Ok(()) } else { Err(Error::WrongChecksum) }
    }

    /// As [`Outgoing::finish`], and asks `more` about it, which must be harmless whatever became of the upload. `None` where
    /// the file is whole and that was not asked, or to no purpose.
    ///
    /// # Errors
    ///
    /// As [`Outgoing::finish`].
    pub fn finish_and_ask(self, more: &[Command<'_>]) -> Result<Option<Answers>, Error> {
        let pathname = self.pathname();
        let commands = [&[Command::Size(&pathname)], more].concat();
        if self.digest.is_some() || !Session::are_plain(&commands) {
            return self.finish().map(|()| None);
        }
        let (taken, stored) = {
            let mut state = self.holding.state.lock();
            (state.running.take(), state.stored)
        };
        let Some(Running { mut lease, mut data, sent, .. }) = taken else { return self.finish().map(|()| None) };
        let expected = self.before + stored + sent;
        if let Some(trip) = lease.is_told_late(sent).filter(|_| expected == sent)
            && let Some((beside, replies)) = self.ask_beside(&mut data, trip, expected, &commands)
        {
            let end = Some(End { running: Some((lease, data, sent)) });
            return Ok(Some(Answers { lease: beside, replies, end }));
        }
        match lease.finish_upload_and_ask(data, sent, &commands) {
            Ok(Ended { verdict, mut replies }) => {
                let size = (!replies.is_empty()).then(|| replies.remove(0));
                let judged = match (&verdict, &size) {
                    (Ok(taken), Some(said)) => self.judge(*taken, said, expected),
                    _ => Ok(false),
                };
                if matches!(judged, Ok(true)) {
                    return Ok(Some(Answers { lease, replies, end: None }));
                }
                lease.give_back_unless_asked_for_more(&replies);
                let taken = verdict.map_err(|error| self.explained(error))?;
                judged?;
                // The connection was lost in between: another one can tell.
                if size.is_none() { self.check_size(taken, expected).map(|()| None) } else { Ok(None) }
            }
            Err(error) => {
                lease.give_back_unless_broken(&error);
                Err(self.explained(error))
            }
        }
    }

    /// Says that the upload is whole, and asks `commands`, of which the first is `SIZE`, on another session until the server has
    /// all of it. It has written that then; only if it deletes what a failed transfer left (`delete_failed_uploads`) can the
    /// transfer's end still take it away, and then there is nothing to rename.
    fn ask_beside(
        &self,
        data: &mut DataConnection,
        trip: Duration,
        expected: u64,
        commands: &[Command<'_>],
    ) -> Option<(Lease, Vec<Reply>)> {
        let mut beside = self.pool.take_idle()?;
        if data.end_upload().is_err() {
            beside.give_back();
            return None;
        }
        for _ in 0..BESIDE_MAX {
            // What was sent first has to be there first.
            deadline::sleep(trip / HEAD_START);
            let mut replies = beside.flight(commands).ok()?;
            if size_of(&replies.remove(0)) == Some(expected) {
                return Some((beside, replies));
            }
            if replies.last().is_none_or(|reply| reply.code.outcome() != Outcome::Intermediate) {
                beside.give_back_unless_asked_for_more(&replies);
                return None;
            }
        }
        None
    }

    /// What `said`, the answer to `SIZE` after the last reply, makes of an upload that the server says is stored; `false` where
    /// its word is all there is.
    fn judge(&self, taken: Taken, said: &Reply, expected: u64) -> Result<bool, Error> {
        match (size_of(said), taken) {
            (Some(size), _) if size == expected => Ok(true),
            (Some(size), _) => Err(cut_short(size, expected, "")),
            // Where files may be written and not looked at.
            (None, Taken::ToTheEnd) => {
                log::debug!("{}: its size cannot be checked: {said}", escaped(&self.pathname()));
                Ok(false)
            }
            (None, Taken::Perhaps) => {
                Err(cut_short(0, expected, &format!("; its data connection broke at the end, and its size is: {said}")))
            }
        }
    }

    fn finish_transfer(&self) -> Result<(), Error> {
        let mut state = self.holding.state.lock();
        if let Some(error) = state.broken.take() {
            return Err(error);
        }
        let running = state.running.take();
        let sent = running.as_ref().map_or(0, |running| running.sent);
        let expected = self.before + state.stored + sent;
        let Some(Running { mut lease, data, .. }) = running else { return self.check_size(Taken::ToTheEnd, expected) };
        match lease.finish_upload(data, sent) {
            Ok(taken) => {
                lease.give_back();
                self.check_size(taken, expected)
            }
            Err(error) => {
                lease.give_back_unless_broken(&error);
                Err(self.explained(error))
            }
        }
    }

    /// ProFTPD says "Input/output error" of a disk that had room for a part of its write; what is written next is told that the
    /// disk is full. The file is of no use any more, unless something was there before.
    fn explained(&self, error: Error) -> Error {
        let is_vague = |reply: &Reply| reply.text().to_lowercase().contains("input/output error");
        if self.before > 0 || !matches!(&error, Error::Refused { reply, .. } if is_vague(reply)) {
            return error;
        }
        let holding = &self.holding;
        let again = holding.at_its_place(true, |pathname| append(&self.pool, &holding.server, pathname));
        let said = again.and_then(|running| {
            let Running { mut lease, mut data, .. } = running;
            let written = lease.write(&mut data, &[0; EXPLAINED_BYTES], 0);
            let ended = written.and_then(|()| lease.finish_upload(data, EXPLAINED_BYTES as u64));
            match &ended {
                Ok(_) => lease.give_back(),
                Err(error) => lease.give_back_unless_broken(error),
            }
            ended
        });
        match said {
            Err(said @ Error::Refused { .. }) => said,
            _ => error,
        }
    }

    /// Never trusts a `226` alone: some servers say it of a file that they cut off.
    fn check_size(&self, taken: Taken, expected: u64) -> Result<(), Error> {
        let said = self.pool.with_session(|session| session.exchange(&Command::Size(&self.pathname())))?;
        self.judge(taken, &said, expected).map(drop)
    }

    /// Somebody waits, this upload has had its share, and it can go on later.
    fn must_yield(&self, state: &State) -> bool {
        let long = state.running.as_ref().is_some_and(|running| running.since.elapsed() >= SHARE);
        long && self.pool.is_wanted() && self.holding.server.has_appended.is_set()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(Running { mut lease, data, .. }) = self.holding.state.lock().running.take() {
            lease.abandon(data);
            lease.give_back();
        }
    }
}

impl Holding {
    /// What `with` does where the file is now, and stays meanwhile; [`Error::Preempted`] where that is not known, or not yet and
    /// nothing `waits` for it. Nobody waits who has a connection.
    fn at_its_place<T>(&self, waits: bool, mut with: impl FnMut(&[u8]) -> Result<T, Error>) -> Result<T, Error> {
        let Some(whereabouts) = self.whereabouts.get() else {
            let pathname = self.pathname.lock().clone();
            return with(&pathname);
        };
        let mut done = Err(Error::Preempted);
        whereabouts.hold(waits, &mut |path| {
            done = self.server.pathname(path).and_then(|pathname| {
                self.pathname.lock().clone_from(&pathname);
                with(&pathname)
            });
        });
        done
    }

    /// Ends the transfer so that another can go on where it ended; gives its session. `None` where that failed: the upload
    /// is broken then.
    fn put_aside(&self, state: &mut State) -> Option<Lease> {
        let Running { mut lease, data, sent, .. } = state.running.take()?;
        let _entered = self.deadline.enter();
        match lease.finish_upload(data, sent).and_then(|taken| self.see_that_it_can_go_on(&mut lease, taken)) {
            Ok(()) => {
                state.stored += sent;
                Some(lease)
            }
            Err(error) => {
                state.broken = Some(error);
                None
            }
        }
    }

    /// Appends nothing, once a mount.
    fn see_that_it_can_go_on(&self, lease: &mut Lease, taken: Taken) -> Result<(), Error> {
        if taken == Taken::Perhaps {
            return Err(cut_short(0, 0, "; its data connection broke when it was put aside"));
        }
        if self.server.has_appended.is_set() {
            return Ok(());
        }
        self.at_its_place(false, |pathname| {
            let data = lease.store(&Command::Appe(pathname)).map_err(|error| refused_append(&self.server, error))?;
            lease.finish_upload(data, 0)
        })?;
        self.server.has_appended.set();
        Ok(())
    }
}

impl Reclaim for Holding {
    fn reclaim(&self) -> Option<Lease> {
        let mut state = self.state.try_lock()?;
        let pause = if self.server.has_appended.is_set() { PAUSE } else { LONG_PAUSE };
        if state.used.elapsed() < pause || self.server.append_refused.is_set() {
            return None;
        }
        self.put_aside(&mut state)
    }

    fn is_download(&self) -> bool {
        false
    }

    fn idle_since(&self) -> Instant {
        // One that is locked is in use now.
        self.state.try_lock().map_or_else(Instant::now, |state| state.used)
    }
}

impl fmt::Debug for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Holding({})", escaped(&self.pathname.lock()))
    }
}

fn cut_short(size: u64, expected: u64, why: &str) -> Error {
    Error::CutShort { received: size, why: format!("the server should have {expected} bytes{why}") }
}

fn digest_way(server: &Server) -> Option<digest::Way> {
    match server.settings.verify {
        Verify::Size => None,
        Verify::Hash => server.features().and_then(|features| digest::Way::offered(&features)),
    }
}

fn open(pool: &Arc<Pool>, command: &Command<'_>) -> Result<Running, Error> {
    pool.with_lease(|mut lease| match lease.store(command) {
        Ok(data) => Ok(Running { lease, data, sent: 0, since: Instant::now() }),
        Err(error) => {
            lease.give_back_unless_broken(&error);
            Err(error)
        }
    })
}

/// `APPE`, which at the end of a file does the same on every server that has it (`REST` and `STOR` cut the file off on
/// some). ProFTPD wants `AllowStoreRestart` for it.
fn append(pool: &Arc<Pool>, server: &Server, pathname: &[u8]) -> Result<Running, Error> {
    if server.append_refused.is_set() {
        return Err(no_append());
    }
    let running = open(pool, &Command::Appe(pathname)).map_err(|error| refused_append(server, error))?;
    server.has_appended.set();
    Ok(running)
}

fn no_append() -> Error {
    Error::Unsupported { what: "append to a file" }
}

/// `error`, met by `APPE`; where it means that the server never appends, that is known from then on.
fn refused_append(server: &Server, error: Error) -> Error {
    match error {
        Error::Refused { reply, .. }
            if matches!(reply.code.number(), 500..=504)
                || (reply.code.outcome() == Outcome::TransientNegative
                    && reply.text().to_lowercase().contains("not permitted")) =>
        {
            if server.append_refused.set() {
                log::info!("the server does not append ({reply}): files are uploaded whole");
            }
            no_append()
        }
        error => error,
    }
}

/// How often another session is asked whether an upload is whole, before the server's own word is waited for.
const BESIDE_MAX: usize = 2;
/// The part of a round trip that the end of an upload is ahead of the question about it.
const HEAD_START: u32 = 8;
/// More than a disk that is full has left (bytes).
const EXPLAINED_BYTES: usize = 64 * 1024;
/// An upload that nobody wrote to for so long may be put aside.
const PAUSE: Duration = Duration::from_millis(500);
/// The same where it is not known whether the server lets it go on.
const LONG_PAUSE: Duration = Duration::from_secs(10);
/// How long an upload may go on while others wait.
const SHARE: Duration = Duration::from_secs(1);
