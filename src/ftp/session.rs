//! One logged-in session: commands on its control connection, and the data connections that they need.

use crate::ftp::command::Command;
use crate::ftp::control::{Control, Witness, busy};
use crate::ftp::data::DataConnection;
use crate::ftp::error::{Error, Expect};
use crate::ftp::features::Features;
use crate::ftp::listing::{Listing, Parser};
use crate::ftp::order::Order;
use crate::ftp::reply::{Outcome, Reply};
use crate::ftp::server::Server;
use crate::ftp::tls::Received;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

mod flight;
mod login;
mod opening;
mod reach;
mod status;

pub use flight::Ended;
use login::{connect, login_directory, prepare, speaks_utf8};
use opening::Spare;

/// A session that is logged in, in image type, with private data connections.
#[derive(Debug)]
pub struct Session {
    control: Control,
    server: Arc<Server>,
    features: Arc<Features>,
    transfer: Option<Running>,
    /// The final reply of a transfer that was broken off has not been read.
    reply_owed: bool,
    /// A data connection opened ahead.
    spare: Option<Spare>,
    /// The port of one that may be opened, and since when.
    port: Option<(u16, Instant)>,
    /// Data connections were needed: another will be.
    has_transferred: bool,
    /// A data connection resumed the control connection's session.
    has_resumed: bool,
}

/// A transfer that has begun.
#[derive(Debug)]
struct Running {
    verb: &'static str,
    offered: bool,
    /// How long the server took to begin it: a round trip, mostly.
    trip: Duration,
}

/// What is assumed of a transfer of which nothing is known any more.
const UNKNOWN: Running = Running { verb: "STOR", offered: false, trip: Duration::ZERO };

/// How sure a request has to be that the server is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// It may be repeated.
    Usual,
    /// It is a change, of which a broken connection leaves open whether it was done.
    Change,
}

impl Care {
    /// For how long the server may have said nothing.
    fn quiet(self) -> Duration {
        match self {
            Self::Usual => Duration::from_secs(30),
            Self::Change => Duration::from_secs(5),
        }
    }
}

/// A transfer that ended as the server says it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With `close_notify`.
    Closed,
    /// Without: the size must tell whether it is whole.
    Cut,
}

/// What the server has of an upload that it says is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The data connection ended as both sides wanted.
    ToTheEnd,
    /// It broke at the end: some servers say `226` of what they cut off, and only the size can tell.
    Perhaps,
}

impl Session {
    /// Connects, logs in and prepares.
    ///
    /// # Errors
    ///
    /// As [`Control::connect`].
    pub fn open(server: &Arc<Server>) -> Result<Self, Error> {
        Self::witnessed(server, &mut Witness::default())
    }

    /// As [`Session::open`]; `witness` keeps what every step of connecting told, in spite of a failure.
    ///
    /// # Errors
    ///
    /// As [`Control::connect`].
    pub fn witnessed(server: &Arc<Server>, witness: &mut Witness) -> Result<Self, Error> {
        let mut control = connect(server, witness)?;
        server.learn_encryption(witness.heard.encryption());
        let features = match server.features() {
            Some(features) => features,
            None => {
                let reply = control.exchange(&Command::Feat)?;
                // From what passes nothing is learnt for as long as the mount lives.
                if reply.code.outcome() == Outcome::TransientNegative {
                    return Err(busy(&reply));
                }
                server.learn_order(Order::of(witness.greeting.as_ref(), &reply));
                server.learn_features(Features::read(&reply))
            }
        };
        prepare(&mut control, speaks_utf8(server.settings.charset, &features), &features)?;
        if !server.knows_root() {
            server.learn_root(&login_directory(&mut control)?);
        }
        let server = Arc::clone(server);
        Ok(Self {
            control,
            server,
            features,
            transfer: None,
            reply_owed: false,
            spare: None,
            port: None,
            has_transferred: false,
            has_resumed: false,
        })
    }

    /// What the server offers.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Whether the session has to be replaced before it is used again: its TLS session is about to be too old, or the
    /// server has said something, or left, since the last command.
    pub fn is_stale(&self, now: Instant) -> bool {
        self.control.is_out_of_step()
            || self.control.session_is_old(now)
            || (!self.reply_owed && self.control.has_unread())
    }

    /// Whether replies may come that belong to no command: the session must not be used again.
    pub fn is_out_of_step(&self) -> bool {
        self.control.is_out_of_step()
    }

    /// Makes the control connection ready for a command after a transfer that was broken off: takes one reply as the
    /// final one whatever its code (Pure-FTPd says `150`, or nothing), then sees that `NOOP` gets its own.
    ///
    /// # Errors
    ///
    /// Any: the session is of no more use.
    pub fn settle(&mut self) -> Result<(), Error> {
        if !std::mem::take(&mut self.reply_owed) {
            return Ok(());
        }
        let said = match self.control.reply_within(BROKEN_OFF, FINAL_REPLY) {
            Ok(reply) if reply.code.number() == 421 => return Err(Error::Closed { step: BROKEN_OFF.to_owned() }),
            Ok(reply) => Some(reply),
            Err(Error::Deadline { .. }) => None,
            Err(error) => return Err(error),
        };
        let limit = self.server.settings.timeout.min(SETTLED);
        self.control.send(&[Command::Noop])?;
        let mut noop = self.control.reply_within("NOOP", limit)?;
        if said.is_none() && noop.code.number() != 200 {
            // That was the final reply, and late.
            noop = self.control.reply_within("NOOP", limit)?;
        }
        if noop.code.number() == 200 {
            // Some answer NOOP while the transfer still goes on.
            if said.is_none() && self.server.order() != Order::KeptInTransfers {
                self.control.owes_an_end();
            }
            return Ok(());
        }
        Err(Error::Misbehaved { step: BROKEN_OFF.to_owned(), what: format!("NOOP was answered with {noop}") })
    }

    /// Makes the session ready for a request: as [`Session::settle`], and where the server was not heard for long it has to
    /// answer first.
    ///
    /// # Errors
    ///
    /// Any: the session is of no more use.
    pub fn see_alive(&mut self, care: Care) -> Result<(), Error> {
        match self.reply_owed {
            true => self.settle(),
            false => self.control.see_alive(care.quiet()),
        }
    }

    /// Whether `verb` is the last command that left: the server may have done it even if no reply came.
    pub fn has_sent(&self, verb: &str) -> bool {
        self.control.has_sent(verb)
    }

    /// Whether [`Session::settle`] has something to do.
    pub fn is_settled(&self) -> bool {
        !self.reply_owed
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    ///
    /// The connection's failures, of which `421` is one; another negative reply is not.
    pub fn exchange(&mut self, command: &Command<'_>) -> Result<Reply, Error> {
        self.settle()?;
        let reached = self.reach(&[*command])?;
        self.once(&command.seen_from(reached.as_deref()))
    }

    /// A server that says goodbye (`421`, RFC 959 section 5.4) answers no command by it: nothing is to be concluded from that.
    pub(super) fn unless_leaving(&mut self, verb: &'static str, reply: Reply) -> Result<Reply, Error> {
        if reply.code.number() == LEAVING {
            self.control.give_up();
            return Err(Error::Refused { verb, reply });
        }
        Ok(reply)
    }

    /// Sends two commands that need no data connection and speak of one pathname, in one write unless they are long,
    /// and waits for both replies.
    ///
    /// # Errors
    ///
    /// The connection's failures; negative replies are none.
    pub fn exchange_both(&mut self, first: &Command<'_>, second: &Command<'_>) -> Result<(Reply, Reply), Error> {
        self.settle()?;
        let reached = self.reach(&[*first, *second])?;
        let [first, second] = [first, second].map(|command| command.seen_from(reached.as_deref()));
        if first.line_bytes() + second.line_bytes() > TOGETHER_BYTES_MAX {
            return Ok((self.once(&first)?, self.once(&second)?));
        }
        self.control.send(&[first, second])?;
        Ok((self.reply_to(&first)?, self.reply_to(&second)?))
    }

    /// As [`Session::exchange`], of a session that is settled and of a command as it is to be sent.
    pub(super) fn once(&mut self, command: &Command<'_>) -> Result<Reply, Error> {
        let reply = self.control.exchange(command)?;
        self.unless_leaving(command.verb(), reply)
    }

    /// Goes to a directory (`CWD`). Each time anew: the name may stand for another directory by now, or for none, and the
    /// server would go on listing the one where the session was.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]: it is missing, no directory, or not permitted.
    pub fn change_directory(&mut self, pathname: &[u8]) -> Result<(), Error> {
        self.exchange(&Command::Cwd(pathname))?.completion("CWD").map(drop)
    }

    /// Lists a directory by one `command` on a data connection. Names are the server's still.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], the connection's failures, a listing that is too long to keep, or [`Error::ListingCut`].
    pub fn list(&mut self, command: &Command<'_>, now: SystemTime) -> Result<Listing, Error> {
        self.server.counters.listings.up();
        let mut parser = match command {
            Command::Mlsd(_) => Parser::facts(),
            Command::Nlst(_) => Parser::names(),
            _ => Parser::list(now, self.server.clock.zone(now)).preferring(self.server.list_form()),
        };
        let reply = self.feed(command, &mut parser)?;
        // Pure-FTPd stops at a number of names that its administrator chose, and tells it here alone.
        if reply.text().to_lowercase().contains("truncated") {
            return Err(Error::ListingCut { verb: command.verb(), reply });
        }
        let listing = parser.finish();
        if let Some(form) = listing.form {
            self.server.learn_list_form(form);
        }
        Ok(listing)
    }

    /// Lists a directory by `STAT`, in lines of the reply itself.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], or the connection's failures.
    pub fn list_by_status(&mut self, argument: &[u8], now: SystemTime) -> Result<Listing, Error> {
        self.server.counters.listings.up();
        let reply = self.exchange(&Command::Stat(argument))?.completion("STAT")?;
        let mut parser = Parser::list(now, self.server.clock.zone(now)).preferring(self.server.list_form());
        // The first line and the last are the reply's own.
        for line in reply.lines.iter().skip(1).rev().skip(1).rev() {
            let line = status::without_code(line);
            let _ = parser.feed(&[line, b"\r\n"].concat());
        }
        Ok(parser.finish())
    }

    fn feed(&mut self, command: &Command<'_>, parser: &mut Parser) -> Result<Reply, Error> {
        let mut data = self.download(&[*command])?;
        let mut buffer = vec![0; LISTING_BUFFER_BYTES];
        let mut received = 0;
        let end = loop {
            match self.read(&mut data, &mut buffer, received)? {
                Received::Bytes(count) => {
                    received += count as u64;
                    if let Err(error) = parser.feed(&buffer[..count]) {
                        self.abandon(data);
                        return Err(Error::Misbehaved { step: command.verb().to_owned(), what: error.to_string() });
                    }
                }
                Received::Closed => break End::Closed,
                Received::Cut => break End::Cut,
            }
        };
        let reply = self.finish(data, received).map_err(|error| broken_off(error, received))?;
        if end == End::Cut && self.server.omits_close_notify.set() {
            log::warn!("the server ends data connections without TLS's close_notify; its 226 has to be believed");
        }
        Ok(reply)
    }

    /// `listing`, in which names are the server's, with the names that are shown here.
    pub fn localised(&self, listing: Listing) -> Listing {
        self.server.localised(listing)
    }

    /// Starts a download at `offset` (`REST` and `RETR` in one write; RFC 3659 section 5).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the reply of the command that was refused; else the connection's.
    pub fn retrieve(&mut self, pathname: &[u8], offset: u64) -> Result<DataConnection, Error> {
        match offset {
            0 => self.download(&[Command::Retr(pathname)]),
            _ => self.download(&[Command::Rest(offset), Command::Retr(pathname)]),
        }
    }

    /// Reads from a download that [`Session::retrieve`] began; `received` bytes have come before.
    ///
    /// # Errors
    ///
    /// The server's own words where it explains itself on the control connection, else [`Error::CutShort`].
    pub fn read(&mut self, data: &mut DataConnection, buffer: &mut [u8], received: u64) -> Result<Received, Error> {
        let source = match data.read(buffer) {
            Ok(received) => return Ok(received),
            Err(source) => source,
        };
        if matches!(source.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) {
            return Err(Error::Deadline { step: format!("waiting for data after {received} bytes") });
        }
        let running = self.transfer.take();
        let reply = self.control.reply_within("the reason of a lost data connection", FINAL_REPLY);
        Err(match (reply, running) {
            (Ok(reply), Some(running)) if received == 0 && refuses_session(&reply, data.resumed()) => {
                self.reuse_refused(reply, running.offered)
            }
            (Ok(reply), _) => Error::CutShort { received, why: format!("{source}; the server said: {reply}") },
            (Err(_), _) => Error::CutShort { received, why: source.to_string() },
        })
    }

    /// Ends a transfer whose last byte has come: closes the data connection, then gives the final reply.
    ///
    /// # Errors
    ///
    /// [`Error::ReuseRefused`] where the server refused the data connection's TLS session, else [`Error::Refused`]: what
    /// came is not whole.
    pub fn finish(&mut self, data: DataConnection, received: u64) -> Result<Reply, Error> {
        let resumed = data.resumed();
        let asked = self.ask_port_ahead()?;
        data.close();
        let Running { verb, offered, .. } = self.transfer.take().unwrap_or(Running { verb: "", ..UNKNOWN });
        let reply = self.control.reply(verb)?;
        if asked && reply.code.number() == 229 {
            return Err(self.out_of_order(verb, &reply));
        }
        if asked {
            self.hear_port();
        }
        match reply.code.outcome() {
            Outcome::Completion => {
                self.note_resumed(resumed);
                Ok(reply)
            }
            _ if received == 0 && refuses_session(&reply, resumed) => Err(self.reuse_refused(reply, offered)),
            _ => reply.completion(verb),
        }
    }

    /// Starts an upload: `STOR`, or `APPE` at the end of what is there.
    ///
    /// # Errors
    ///
    /// As [`Session::retrieve`]. [`Error::SessionWornOut`] where the data connection resumed no session although the server
    /// can: it is likely to refuse what would be sent, and that is better learnt before.
    pub fn store(&mut self, command: &Command<'_>) -> Result<DataConnection, Error> {
        let data = self.transfer(&[*command])?;
        if !data.resumed() && self.is_to_resume() {
            self.abandon(data);
            return Err(Error::SessionWornOut);
        }
        Ok(data)
    }

    /// Sends bytes of an upload that [`Session::store`] began.
    ///
    /// # Errors
    ///
    /// The server's own words where it explains itself on the control connection: a full disk, a quota.
    pub fn write(&mut self, data: &mut DataConnection, bytes: &[u8], sent: u64) -> Result<(), Error> {
        let Err(source) = data.write(bytes) else { return Ok(()) };
        let verb = self.transfer.take().map_or("STOR", |running| running.verb);
        if matches!(source.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) {
            return Err(Error::Deadline { step: format!("{verb}: sending after {sent} bytes") });
        }
        match self.control.reply_within("the reason of a lost data connection", FINAL_REPLY) {
            Ok(reply) if reply.code.number() >= 400 && reply.code.number() != 426 => {
                Err(Error::Refused { verb, reply })
            }
            Ok(reply) => Err(Error::CutShort { received: sent, why: format!("{source}; the server said: {reply}") }),
            Err(_) => Err(Error::CutShort { received: sent, why: source.to_string() }),
        }
    }

    /// Ends an upload whose last byte was given to [`Session::write`], and takes the server's word for it. What the file's
    /// size is then is for the caller to look at.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]: not stored, or not whole. Anything else: unknown, and only the size can tell.
    pub fn finish_upload(&mut self, data: DataConnection, sent: u64) -> Result<Taken, Error> {
        let resumed = data.resumed();
        let ended = data.finish_upload(self.server.settings.timeout * UPLOAD_END_TIMEOUTS);
        let Running { verb, offered, .. } = self.transfer.take().unwrap_or(UNKNOWN);
        let taken = match ended {
            Ok(_) => Taken::ToTheEnd,
            Err(error) => {
                log::debug!("{verb}: the end of the data connection: {error}");
                Taken::Perhaps
            }
        };
        let reply = self.control.reply(verb)?;
        match reply.code.outcome() {
            // Pure-FTPd: `226-Rename/move failure: …`.
            Outcome::Completion if reply.text().to_lowercase().contains("failure") => {
                Err(Error::Refused { verb, reply })
            }
            // That is an answer to another command.
            Outcome::Completion if reply.code.number() == 213 => Err(self.out_of_order(verb, &reply)),
            Outcome::Completion => {
                self.note_resumed(resumed);
                Ok(taken)
            }
            _ if sent == 0 && refuses_session(&reply, resumed) => Err(self.reuse_refused(reply, offered)),
            _ => reply.completion(verb).map(|_| taken),
        }
    }

    /// The server does not keep the order after all: its replies cannot be told apart any more.
    fn out_of_order(&mut self, verb: &'static str, reply: &Reply) -> Error {
        self.control.give_up();
        self.server.learn_order(Order::Unknown);
        Error::Misbehaved { step: verb.to_owned(), what: format!("it answered {reply}") }
    }

    /// The size of a file (`SIZE`, RFC 3659 section 4), or what the server says instead.
    ///
    /// # Errors
    ///
    /// The connection's failures; a negative reply is not one.
    pub fn size(&mut self, pathname: &[u8]) -> Result<Result<u64, Reply>, Error> {
        let reply = self.exchange(&Command::Size(pathname))?;
        Ok(size_of(&reply).ok_or(reply))
    }

    /// Breaks a transfer off by closing its data connection. What the server says to that is read when the session is
    /// used again.
    pub fn abandon(&mut self, data: DataConnection) {
        drop(data);
        self.transfer = None;
        self.reply_owed = true;
    }

    /// Says goodbye without waiting for an answer.
    pub fn quit(self) {
        self.control.quit();
    }
}

/// That the data connection broke is told as a refusal, and is none: the listing may be asked for again.
fn broken_off(error: Error, received: u64) -> Error {
    match error {
        Error::Refused { reply, .. } if reply.code.number() == 426 => {
            Error::CutShort { received, why: format!("the server said: {reply}") }
        }
        other => other,
    }
}

/// The number in a `213` to `SIZE` or `AVBL`.
pub fn size_of(reply: &Reply) -> Option<u64> {
    let text = reply.lines.first().filter(|_| reply.code.number() == 213)?;
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

/// Whether the reply means that the data connection's TLS session was not the control connection's.
pub fn refuses_session(reply: &Reply, resumed: bool) -> bool {
    let text = reply.text().to_lowercase();
    let speaks_of_it = text.contains("session") && (text.contains("reuse") || text.contains("resum"));
    let number = reply.code.number();
    // ProFTPD does not say why: `425 Unable to build data connection: Operation not permitted`.
    speaks_of_it && number >= 400
        || number == 522
        || matches!(number, 425 | 450) && !resumed
        || number == 425 && text.contains("operation not permitted")
}

/// What goes in one write: of more, ProFTPD and Pure-FTPd leave the end unread until yet more comes.
const TOGETHER_BYTES_MAX: usize = 2 * 1024;
/// `421 Service not available, closing control connection`.
const LEAVING: u16 = 421;
/// The step of [`Session::settle`].
const BROKEN_OFF: &str = "the end of a transfer that was broken off";
/// How long the answer to the `NOOP` of [`Session::settle`] may take.
const SETTLED: Duration = Duration::from_secs(5);
/// How long to wait for a server's word on a data connection that is closed already. Most need milliseconds; Pure-FTPd may
/// never say any.
const FINAL_REPLY: Duration = Duration::from_millis(400);
/// How many times the time limit of one step an upload's end may take: what the kernel still holds has to be sent.
const UPLOAD_END_TIMEOUTS: u32 = 4;
const LISTING_BUFFER_BYTES: usize = 64 * 1024;
