//! A running download, which gives its session up when somebody waits for it.

use crate::ftp::data::DataConnection;
use crate::ftp::error::Error;
use crate::ftp::pool::{Lease, Pool, Reclaim};
use crate::ftp::server::Server;
use crate::ftp::tls::Received;
use crate::remote::Reach;
use parking_lot::Mutex;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// A download from its first byte to the server's word that it is complete.
#[derive(Debug)]
pub struct Transfer {
    holding: Arc<Holding>,
    pool: Arc<Pool>,
    server: Arc<Server>,
    since: Instant,
    received: u64,
    /// How many bytes must come, where that is known: a missing `close_notify` is forgiven only then.
    expected: Option<u64>,
    /// Bytes that came before anybody asked, and how many of them were given.
    ahead: (Vec<u8>, usize),
    ended: bool,
    /// The longest time that nobody read.
    paused: Duration,
}

/// What the transfer holds, reachable for the pool.
struct Holding {
    state: Mutex<State>,
}

struct State {
    running: Option<(Lease, DataConnection)>,
    used: Instant,
}

impl Transfer {
    /// Takes over a session and its data connection.
    pub fn new(
        lease: Lease,
        data: DataConnection,
        pool: &Arc<Pool>,
        server: &Arc<Server>,
        expected: Option<u64>,
    ) -> Self {
        let since = Instant::now();
        let holding = Arc::new(Holding { state: Mutex::new(State { running: Some((lease, data)), used: since }) });
        let weak: Weak<Holding> = Arc::downgrade(&holding);
        pool.register(weak);
        let (pool, server) = (Arc::clone(pool), Arc::clone(server));
        Self {
            holding,
            pool,
            server,
            since,
            received: 0,
            expected,
            ahead: (Vec::new(), 0),
            ended: false,
            paused: Duration::ZERO,
        }
    }

    /// Where its session came from.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Says how far will be read.
    pub fn expect(&self, reach: Reach) {
        if let Some((_, data)) = &mut self.holding.state.lock().running {
            data.expect(reach);
        }
    }

    /// Waits for the first bytes and keeps them: a server that requires session reuse refuses a data connection only
    /// after its handshake, in place of these bytes.
    ///
    /// # Errors
    ///
    /// As [`Transfer::read`].
    pub fn read_ahead(&mut self) -> Result<(), Error> {
        let mut bytes = vec![0; AHEAD_BYTES];
        let count = self.read(&mut bytes)?;
        bytes.truncate(count);
        self.ahead = (bytes, 0);
        Ok(())
    }

    /// Waits for the next bytes; `0` once the server has said that the transfer is complete.
    ///
    /// # Errors
    ///
    /// [`Error::Preempted`] when the session was given to somebody else; else why the transfer broke off.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.read_on(buffer).inspect_err(|error| {
            if error.another_connection_may_help() {
                self.pool.paused_in_vain(self.paused);
            }
        })
    }

    fn read_on(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if let (bytes, given) = &mut self.ahead
            && let Some(rest) = bytes.get(*given..).filter(|rest| !rest.is_empty())
        {
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            *given += count;
            return Ok(count);
        }
        if self.ended {
            return Ok(0);
        }
        let holding = Arc::clone(&self.holding);
        let mut state = holding.state.lock();
        let Some((mut lease, mut data)) = state.running.take() else { return Err(Error::Preempted) };
        if self.must_yield() {
            lease.abandon(data);
            lease.give_back();
            return Err(Error::Preempted);
        }
        // What the server sent before it gave up comes first.
        self.paused = self.paused.max(state.used.elapsed());
        let received = lease.read(&mut data, buffer, self.received)?;
        match received {
            Received::Bytes(count) => {
                self.received += count as u64;
                state.used = Instant::now();
                state.running = Some((lease, data));
                Ok(count)
            }
            Received::Closed => self.finish(lease, data, true),
            Received::Cut => self.finish(lease, data, false),
        }
    }

    /// Somebody waits, and this transfer has had its share.
    fn must_yield(&self) -> bool {
        let share = if self.pool.is_asked() { SHARE_BESIDE_QUESTIONS } else { SHARE };
        self.pool.is_wanted() && self.received > 0 && self.since.elapsed() >= share
    }

    fn finish(&mut self, mut lease: Lease, data: DataConnection, closed: bool) -> Result<usize, Error> {
        match lease.finish(data, self.received) {
            Ok(_) => lease.give_back(),
            Err(error) => {
                lease.give_back_unless_broken(&error);
                return Err(error);
            }
        }
        if !closed && self.expected != Some(self.received) {
            let why = "the server closed it without TLS's close_notify, so bytes may be missing".to_owned();
            return Err(Error::CutShort { received: self.received, why });
        }
        if !closed && self.server.omits_close_notify.set() {
            log::warn!("the server ends data connections without TLS's close_notify; sizes are compared instead");
        }
        self.ended = true;
        Ok(0)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Some((mut lease, data)) = self.holding.state.lock().running.take() {
            lease.abandon(data);
            lease.give_back();
        }
    }
}

impl Reclaim for Holding {
    fn reclaim(&self) -> Option<Lease> {
        let mut state = self.state.try_lock()?;
        if state.used.elapsed() < PAUSE {
            return None;
        }
        let (mut lease, data) = state.running.take()?;
        lease.abandon(data);
        Some(lease)
    }

    fn is_download(&self) -> bool {
        true
    }

    fn idle_since(&self) -> Instant {
        // One that is locked is in use now.
        self.state.try_lock().map_or_else(Instant::now, |state| state.used)
    }
}

impl fmt::Debug for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Holding")
    }
}

/// A transfer that nobody read from for so long is paused. Less would take a new one away before its first byte.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a transfer may go on while others wait: opening it again costs several round trips.
const SHARE: Duration = Duration::from_millis(250);
/// The same while somebody waits to ask something. A question of a program takes several turns: each name on the way is asked for,
/// and its end is waited for by a person.
const SHARE_BESIDE_QUESTIONS: Duration = Duration::from_millis(100);
/// What [`Transfer::read_ahead`] waits for: up to one TLS record's worth.
const AHEAD_BYTES: usize = 16 * 1024;
