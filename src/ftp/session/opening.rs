//! Data connections: how one comes about, and how it is had before it is needed.
//!
//! The order is that of every server measured: passive port, TCP, commands, `1yz`, handshake. The first two do not depend on
//! the command, so that an idle session has them done ahead; the ClientHello may lie in the server's socket when it says
//! `1yz`, which saves another round trip.

use crate::ftp::command::Command;
use crate::ftp::data::DataConnection;
use crate::ftp::error::{Error, Expect};
use crate::ftp::order::Order;
use crate::ftp::passive;
use crate::ftp::reply::Reply;
use crate::ftp::session::{FINAL_REPLY, Running, Session, refuses_session};
use crate::ftp::stream::Tcp;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A data connection of which only TCP is there yet.
#[derive(Debug)]
pub(super) struct Spare {
    tcp: Tcp,
    since: Instant,
}

impl Session {
    /// Makes the session ready for its next transfer: what a broken-off one left is read, and a data connection is opened.
    ///
    /// # Errors
    ///
    /// As [`Session::settle`]. That no data connection could be opened is none: whoever needs one will see.
    pub fn warm(&mut self) -> Result<(), Error> {
        self.settle()?;
        self.drop_old_spare(Instant::now());
        if self.spare.is_none() && self.has_transferred {
            match self.connect_data() {
                Ok(tcp) => self.spare = Some(Spare { tcp, since: Instant::now() }),
                Err(error) if error.closes_connection() => return Err(error),
                Err(error) => {
                    log::debug!("no data connection ahead: {error}");
                    self.has_transferred = false;
                }
            }
        }
        Ok(())
    }

    /// Whether [`Session::warm`] has something to do.
    pub fn is_cold(&self) -> bool {
        self.reply_owed || (self.has_transferred && self.spare.is_none() && self.server.settings.opens_ahead)
    }

    /// Whether a data connection is there already.
    pub fn is_warm(&self) -> bool {
        self.spare.is_some()
    }

    /// Says that a data connection will be needed, before the first one was.
    pub fn expect_transfer(&mut self) {
        self.has_transferred = true;
    }

    /// Closes a data connection that was opened ahead and not used for long. No more is opened until one is needed.
    pub fn drop_old_spare(&mut self, now: Instant) {
        let is_old = |spare: &Spare| now.saturating_duration_since(spare.since) >= SPARE_AGE_MAX;
        if self.spare.take_if(|spare| is_old(spare)).is_some() {
            self.has_transferred = false;
        }
    }

    /// Opens a data connection for the last of `commands`; those before it must be answered with `3yz`.
    pub(super) fn transfer(&mut self, commands: &[Command<'_>]) -> Result<DataConnection, Error> {
        self.settle()?;
        let reached = self.reach(commands)?;
        let commands: Vec<_> = commands.iter().map(|command| command.seen_from(reached.as_deref())).collect();
        self.has_transferred = true;
        if let Some(tcp) = self.take_spare() {
            match self.transfer_over(tcp, &commands) {
                // It died unnoticed; nothing has begun.
                Err(Error::Refused { reply, .. }) if reply.code.number() == 425 => {
                    log::debug!("a data connection opened ahead is of no use: {reply}");
                }
                other => return other,
            }
        }
        let tcp = self.connect_data()?;
        self.transfer_over(tcp, &commands)
    }

    /// As [`Session::transfer`], for what only the server sends. vsftpd looks for our `close_notify` behind its last byte:
    /// it finds it there, instead of waiting a round trip until we have seen that byte.
    pub(super) fn download(&mut self, commands: &[Command<'_>]) -> Result<DataConnection, Error> {
        let mut data = self.transfer(commands)?;
        if self.server.order() == Order::KeptInTransfers {
            data.close_sending();
        }
        Ok(data)
    }

    /// Asks for the port of the next data connection at the end of a download, where the server reads that after its last
    /// reply: the answer costs no round trip of its own. Whether it was asked, and [`Session::hear_port`] has to follow.
    pub(super) fn ask_port_ahead(&mut self) -> Result<bool, Error> {
        let asks = self.server.settings.opens_ahead
            && self.server.order() == Order::KeptInTransfers
            && !self.server.epsv_refused.is_set();
        if asks {
            self.control.send(&[Command::Epsv])?;
        }
        Ok(asks)
    }

    /// Reads the answer to [`Session::ask_port_ahead`].
    pub(super) fn hear_port(&mut self) {
        match self.control.reply("EPSV") {
            Ok(reply) if reply.code.number() == 229 => {
                self.port = passive::extended(&reply).map(|port| (port, Instant::now()));
            }
            Ok(reply) => log::debug!("no port ahead: {reply}"),
            // The transfer's own reply says more.
            Err(_) => self.control.give_up(),
        }
    }

    /// Whether a data connection that resumes no session is worse than another control connection. Where new ones cannot
    /// resume either, the server does not let them any more, and may want it no more.
    pub(super) fn is_to_resume(&self) -> bool {
        self.has_resumed || self.server.resumption.missed()
    }

    /// A transfer went well whose data connection `resumed` the session.
    pub(super) fn note_resumed(&mut self, resumed: bool) {
        if resumed {
            self.has_resumed = true;
            self.server.resumption.seen();
        }
    }

    /// Connects to the port that is known, or to the one that the server tells now.
    fn connect_data(&mut self) -> Result<Tcp, Error> {
        let known = self.port.take().filter(|(_, since)| since.elapsed() < SPARE_AGE_MAX);
        if let Some((port, _)) = known
            && let Ok(tcp) = self.control.connect_data(port)
        {
            return Ok(tcp);
        }
        let is_first = known.is_none();
        match self.connect_to_passive_port() {
            // Another port may be open.
            Err(Error::Io { source, .. }) if is_first && source.kind() == io::ErrorKind::ConnectionRefused => {
                self.connect_to_passive_port()
            }
            other => other,
        }
        .inspect_err(|error| {
            if error.is_of_data_port() {
                self.control.doubt();
            }
        })
    }

    fn connect_to_passive_port(&mut self) -> Result<Tcp, Error> {
        let port = self.passive_port()?;
        self.control.connect_data(port)
    }

    fn take_spare(&mut self) -> Option<Tcp> {
        let Spare { tcp, since } = self.spare.take()?;
        // Nothing comes on it before our hello, so that anything is its end.
        (since.elapsed() < SPARE_AGE_MAX && !tcp.has_unread()).then_some(tcp)
    }

    fn transfer_over(&mut self, mut tcp: Tcp, commands: &[Command<'_>]) -> Result<DataConnection, Error> {
        let offered = self.control.ready_to_resume();
        if !offered && self.is_to_resume() {
            return Err(Error::SessionWornOut);
        }
        let verb = commands.last().map_or("", Command::verb);
        let sessions = Arc::clone(self.control.sessions());
        let server = Arc::clone(&self.server);
        let sent = Instant::now();
        self.control.send(commands)?;
        // A refused command costs the ticket that the hello offers; one that offers none costs nothing.
        let is_early = sessions.has_to_spare() || !offered;
        let early = is_early.then(|| server.tls.begin_data(&mut tcp, &sessions));
        if let Err(error) = self.begun(commands) {
            return Err(match error {
                // Before any handshake a 425 or 450 without a reason has another one.
                Error::Refused { reply, .. } if refuses_session(&reply, true) => self.reuse_refused(reply, offered),
                other => other,
            });
        }
        self.transfer = Some(Running { verb, offered, trip: sent.elapsed() });
        let deadline = Instant::now() + server.settings.timeout;
        let begun = early.unwrap_or_else(|| server.tls.begin_data(&mut tcp, &sessions));
        let connected = begun.and_then(|begun| server.tls.finish_data(begun, &mut tcp, deadline, &server.counters));
        match connected {
            Ok(connected) => {
                tcp.set_limit(server.settings.timeout).map_err(|source| Error::io(verb, source))?;
                Ok(DataConnection::new(tcp, connected))
            }
            Err(error) => {
                drop(tcp);
                Err(self.explain_failed_handshake(error, verb, offered))
            }
        }
    }

    /// Reads what the server says to `commands` that were sent.
    fn begun(&mut self, commands: &[Command<'_>]) -> Result<(), Error> {
        let Some((last, before)) = commands.split_last() else { return Ok(()) };
        let mut first_refusal = None;
        for command in before {
            let answer = self.control.reply(command.verb())?.intermediate(command.verb());
            first_refusal = first_refusal.or_else(|| answer.err());
        }
        let begun = self.control.reply(last.verb())?.preliminary(last.verb());
        match (first_refusal, begun) {
            (None, begun) => begun.map(drop),
            (Some(refusal), Err(Error::Refused { .. })) => Err(refusal),
            // The transfer began from the wrong place.
            (Some(refusal), _) => Err(Error::Misbehaved { step: last.verb().to_owned(), what: refusal.to_string() }),
        }
    }

    /// A handshake that the server breaks off is explained by what it says on the control connection.
    fn explain_failed_handshake(&mut self, error: Error, verb: &'static str, offered: bool) -> Error {
        self.transfer = None;
        match self.control.reply_within(verb, FINAL_REPLY) {
            Ok(reply) if refuses_session(&reply, false) => self.reuse_refused(reply, offered),
            Ok(reply) if reply.code.number() >= 400 => {
                Error::Tls { step: verb.to_owned(), why: format!("{error}; the server said: {reply}") }
            }
            _ => error,
        }
    }

    pub(super) fn reuse_refused(&self, reply: Reply, offered: bool) -> Error {
        self.server.counters.reuse_refused.up();
        Error::ReuseRefused { reply, offered }
    }

    /// Asks where to connect: `EPSV`, or `PASV` where the server refuses that. The data connection goes to the control
    /// connection's host; another one in a `227` is a wrong NAT configuration or an attack (RFC 2577 section 3).
    fn passive_port(&mut self) -> Result<u16, Error> {
        if !self.server.epsv_refused.is_set() {
            let reply = self.control.exchange(&Command::Epsv)?;
            match (reply.code.number(), passive::extended(&reply)) {
                (229, Some(port)) => return Ok(port),
                (500..=504 | 522, _) => {
                    if self.server.epsv_refused.set() {
                        log::info!("the server refuses EPSV ({reply}): using PASV from now on");
                    }
                }
                _ => return Err(unexpected_passive("EPSV", reply)),
            }
        }
        let reply = self.control.exchange(&Command::Pasv)?;
        match (reply.code.number(), passive::passive(&reply)) {
            (227, Some((octets, port))) => {
                if self.control.peer_octets() != Some(octets) {
                    log::debug!("PASV named the host {octets:?}; connecting to the control connection's host instead");
                }
                Ok(port)
            }
            _ => Err(unexpected_passive("PASV", reply)),
        }
    }
}

fn unexpected_passive(verb: &'static str, reply: Reply) -> Error {
    match reply.completion(verb) {
        Ok(reply) => Error::Misbehaved { step: verb.to_owned(), what: format!("it answered {reply}") },
        Err(error) => error,
    }
}

/// How long a data connection that was opened ahead waits to be used. pyftpdlib ends the session 300 s after it was opened, and
/// routers forget connections on which nothing is said.
const SPARE_AGE_MAX: Duration = Duration::from_secs(20);
