//! The control connection: greeting, encryption, login, and one reply for each command (RFC 959, 4217, 7151).

use crate::ftp::command::{Command, Unsendable};
use crate::ftp::counters::Counters;
use crate::ftp::door::GREETING;
use crate::ftp::error::{Error, Expect};
use crate::ftp::reply::{Outcome, Reader, Reply};
use crate::ftp::settings::{Settings, TlsMode};
use crate::ftp::stream::{Dialled, Tcp, remaining};
use crate::ftp::tls::{Connected, Heard, Received, Records, Sessions, Tls};
use crate::sys;
use core::net::IpAddr;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// A control connection on which TLS is up and data connections will be private.
#[derive(Debug)]
pub struct Control {
    tcp: Tcp,
    records: Records,
    reader: Reader,
    sessions: Arc<Sessions>,
    counters: Arc<Counters>,
    timeout: Duration,
    opened: Instant,
    lifetime: Option<Duration>,
    private: Privacy,
    /// 0xFF is sent twice.
    doubles_iac: bool,
    /// The line sent last was one that some servers cannot take.
    long_line: bool,
    /// A long line was refused: what replies follow, and to what, is not known.
    out_of_step: bool,
    /// See [`Control::owes_an_end`].
    owes_an_end: bool,
    /// The verb of the last command that left, if all of the last write did.
    sent: Option<&'static str>,
    /// When the server was last heard, by the clock that goes on while the machine sleeps.
    heard: Duration,
}

/// What a control connection told while it was made, as far as that came.
#[derive(Debug, Clone, Default)]
pub struct Witness {
    /// How it was reached.
    pub dialled: Dialled,
    /// What the server said first.
    pub greeting: Option<Reply>,
    /// The reply to `AUTH TLS`.
    pub auth: Option<Reply>,
    /// What the handshake told.
    pub heard: Heard,
    /// How long the handshake took.
    pub handshake: Option<Duration>,
    /// How many tickets of TLS 1.3 had come by the end of the login.
    pub tickets: usize,
    /// How long the server keeps them.
    pub ticket_lifetime: Option<Duration>,
    /// The reply that let us in.
    pub login: Option<Reply>,
}

/// Whether `PBSZ 0` and `PROT P` have been accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Privacy {
    Accepted,
    /// The server wants a login before it answers (RFC 4217 leaves the order open): asked again afterwards.
    AfterLogin,
}

impl Control {
    /// Connects and logs in. No byte of the account leaves before the connection is encrypted and `PROT P` is accepted
    /// or put off until after the login.
    ///
    /// # Errors
    ///
    /// [`Error::Insecure`] where the server has no TLS for us, [`Error::Untrusted`], [`Error::LoginRefused`],
    /// [`Error::Busy`] where it says that there are too many connections; else what the step met.
    pub fn connect(settings: &Settings, tls: &Tls, counters: &Arc<Counters>) -> Result<Self, Error> {
        Self::witnessed(settings, tls, counters, &mut Witness::default())
    }

    /// As [`Control::connect`]; `witness` keeps what every step told, in spite of a failure.
    ///
    /// # Errors
    ///
    /// As [`Control::connect`].
    pub fn witnessed(
        settings: &Settings,
        tls: &Tls,
        counters: &Arc<Counters>,
        witness: &mut Witness,
    ) -> Result<Self, Error> {
        *witness = Witness::default();
        let mut tcp = Tcp::connect(&settings.host, settings.port, settings.timeout, &mut witness.dialled)?;
        let opened = Instant::now();
        let sessions = tls.sessions();
        let deadline = opened + settings.timeout;
        if settings.tls == TlsMode::Explicit {
            negotiate(&mut tcp, deadline, witness)?;
        }
        let began = Instant::now();
        let Connected { records, .. } =
            tls.connect_control(&mut tcp, &sessions, deadline, counters, &mut witness.heard)?;
        witness.handshake = Some(began.elapsed());
        let mut control = Self {
            tcp,
            records,
            reader: Reader::new(),
            sessions,
            counters: Arc::clone(counters),
            timeout: settings.timeout,
            opened,
            lifetime: witness.heard.lifetime,
            private: Privacy::AfterLogin,
            doubles_iac: false,
            long_line: false,
            out_of_step: false,
            owes_an_end: false,
            sent: None,
            heard: sys::since_boot(),
        };
        if settings.tls == TlsMode::Implicit {
            let reply = control.reply(GREETING)?;
            witness.greeting = Some(reply.clone());
            greeting(reply)?;
        }
        control.private = control.protect()?;
        let login = control.login(settings);
        witness.tickets = control.records.tickets_received();
        witness.ticket_lifetime = control.records.ticket_lifetime();
        witness.login = Some(login?);
        if control.private == Privacy::AfterLogin && control.protect()? == Privacy::AfterLogin {
            return Err(insecure("PROT P", "the server does not encrypt data connections"));
        }
        counters.logins.up();
        control.tcp.note(&counters.heard);
        Ok(control)
    }

    /// Whether the port answers TLS's first words at once; nothing else is said. A certificate that is not believed answers,
    /// too.
    pub fn shakes_hands(settings: &Settings, tls: &Tls) -> bool {
        let mut heard = Heard::default();
        let dialled = Tcp::connect(&settings.host, settings.port, settings.timeout, &mut Dialled::default());
        if let Ok(mut tcp) = dialled {
            let deadline = Instant::now() + settings.timeout;
            let shaken = tls.connect_control(&mut tcp, &tls.sessions(), deadline, &Counters::default(), &mut heard);
            log::trace!("a TLS handshake at once: {heard}, {:?}", shaken.err().map(|error| error.to_string()));
        }
        heard.version.is_some()
    }

    /// Whether anything comes from the port within `limit`, be it that there is no room.
    pub fn answers(settings: &Settings, tls: &Tls, limit: Duration) -> bool {
        if settings.tls == TlsMode::Implicit {
            return Self::shakes_hands(&Settings { timeout: limit, ..settings.clone() }, tls);
        }
        let dialled = Tcp::connect(&settings.host, settings.port, limit, &mut Dialled::default());
        dialled.is_ok_and(|mut tcp| tcp.set_limit(limit).is_ok() && tcp.read(&mut [0]).is_ok_and(|count| count > 0))
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    ///
    /// The connection's failures; a negative reply is not one.
    pub fn exchange(&mut self, command: &Command<'_>) -> Result<Reply, Error> {
        self.send(&[*command])?;
        self.reply(command.verb())
    }

    /// Sends commands in one write; each will have its reply, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Unsendable`] before anything was sent, or the network's.
    pub fn send(&mut self, commands: &[Command<'_>]) -> Result<(), Error> {
        let mut lines = Zeroizing::new(Vec::with_capacity(COMMANDS_BYTES));
        (self.long_line, self.sent) = (false, None);
        for command in commands {
            let start = lines.len();
            command.encode_into(&mut lines).map_err(unsendable)?;
            if self.doubles_iac {
                double_iac(&mut lines, start);
            }
            self.long_line |= lines.len() - start > LINE_BYTES_SAFE;
            log::trace!("> {command}");
        }
        self.counters.commands.add(commands.len() as u64);
        self.tcp.quick_ack();
        let step = commands.last().map_or("", Command::verb);
        self.tcp.set_limit(self.timeout).and_then(|()| self.records.write(&mut self.tcp, &lines)).map_err(
            |source| {
                // A connection that the server closed long ago shows here first.
                if source.kind() == io::ErrorKind::BrokenPipe || source.kind() == io::ErrorKind::ConnectionReset {
                    return Error::Closed { step: step.to_owned() };
                }
                Error::io(step, source)
            },
        )?;
        self.sent = commands.last().map(Command::verb);
        Ok(())
    }

    /// Whether `verb` is the last command that left: the server may have done it even if no reply came.
    pub fn has_sent(&self, verb: &str) -> bool {
        self.sent == Some(verb)
    }

    /// Sees that the server still answers, where it was not heard for `quiet`: a connection that a router forgot, or that
    /// slept as long as this machine, is found out in a moment instead of a whole time limit.
    ///
    /// # Errors
    ///
    /// Any: the connection is of no more use.
    pub fn see_alive(&mut self, quiet: Duration) -> Result<(), Error> {
        let silence = sys::since_boot().saturating_sub(self.heard);
        if silence >= QUIET_MOMENT && self.tcp.has_lost_address() {
            return Err(Error::Closed { step: "the address that it was made from".to_owned() });
        }
        if silence < quiet {
            return Ok(());
        }
        self.send(&[Command::Noop])?;
        match self.reply_within("NOOP", self.timeout.min(ALIVE))? {
            reply if reply.code.number() == 421 => Err(Error::Closed { step: "NOOP".to_owned() }),
            _ => Ok(()),
        }
    }

    /// What was seen makes it doubtful that the server is still there: it has to answer before the next request.
    pub fn doubt(&mut self) {
        self.heard = Duration::ZERO;
    }

    /// A transfer that was broken off may get its last reply later: that is none to what is sent next.
    pub fn owes_an_end(&mut self) {
        self.owes_an_end = true;
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    ///
    /// The connection's failures; a negative reply is not one.
    pub fn reply(&mut self, step: &str) -> Result<Reply, Error> {
        self.reply_within(step, self.timeout)
    }

    /// Waits for the next reply, no longer than `limit`.
    ///
    /// # Errors
    ///
    /// As [`Control::reply`].
    pub fn reply_within(&mut self, step: &str, limit: Duration) -> Result<Reply, Error> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(reply) = self.reader.next().map_err(|malformed| Error::malformed(step, &malformed))? {
                log::trace!("< {reply}");
                // pyftpdlib answers a line over 2048 bytes twice, or once more for each piece of it.
                if self.long_line && reply.code.number() == 500 {
                    self.out_of_step = true;
                    return Err(unsendable(Unsendable::TooLong));
                }
                if std::mem::take(&mut self.owes_an_end) && matches!(reply.code.number(), 225 | 226 | 426) {
                    log::debug!("the end of a transfer that was broken off, late: {reply}");
                    continue;
                }
                return Ok(reply);
            }
            self.receive(deadline).map_err(|source| Error::io(step, source))?;
        }
    }

    /// Waits for a reply of any length: the lines between its first and its last go to `inner` as they come. Whenever some
    /// came, the time limit begins anew.
    ///
    /// # Errors
    ///
    /// The connection's failures, and those of `inner`: nothing can be sent or heard after one.
    pub fn reply_into(
        &mut self,
        step: &str,
        mut inner: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Reply, Error> {
        self.out_of_step = true;
        loop {
            let mut told = Ok(());
            let next = self.reader.next_into(&mut |line| {
                if told.is_ok() {
                    told = inner(line);
                }
            });
            told?;
            if let Some(reply) = next.map_err(|malformed| Error::malformed(step, &malformed))? {
                log::trace!("< {reply}");
                self.out_of_step = false;
                return Ok(reply);
            }
            self.receive(Instant::now() + self.timeout).map_err(|source| Error::io(step, source))?;
        }
    }

    /// The sessions that data connections of this control connection resume.
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// How many tickets of TLS 1.3 have come on it.
    pub fn tickets_received(&self) -> usize {
        self.records.tickets_received()
    }

    /// How long the server keeps the session of the last ticket of TLS 1.3.
    pub fn ticket_lifetime(&self) -> Option<Duration> {
        self.records.ticket_lifetime()
    }

    /// Sees to it that a data connection has a session to offer, if that can be had here; `false` if not.
    pub fn ready_to_resume(&mut self) -> bool {
        if self.sessions.can_resume() {
            return true;
        }
        let reminted = self.records.remint_ticket();
        if reminted {
            self.counters.tickets_reminted.up();
        }
        reminted
    }

    /// Connects a data connection's TCP to `port` of the server.
    ///
    /// # Errors
    ///
    /// As [`Tcp::connect_data`].
    pub fn connect_data(&self, port: u16) -> Result<Tcp, Error> {
        self.tcp.connect_data(port, self.timeout)
    }

    /// The server's address.
    pub fn peer(&self) -> IpAddr {
        self.tcp.peer()
    }

    /// The server's address as a `227` would write it, where it is one of IPv4.
    pub fn peer_octets(&self) -> Option<[u8; 4]> {
        self.tcp.peer_octets()
    }

    /// Whether the server may soon refuse this connection's session: four fifths of its lifetime have passed, counted
    /// from the handshake (as ProFTPD counts, whatever newer tickets say).
    pub fn session_is_old(&self, now: Instant) -> bool {
        // A hint of zero means that the ticket is not to be kept (RFC 8446 section 4.6.1): a new login brings no better one.
        let lifetimes = self.records.ticket_lifetime().into_iter().chain(self.lifetime);
        let lifetime = lifetimes.filter(|lifetime| !lifetime.is_zero()).min();
        lifetime.is_some_and(|lifetime| now.saturating_duration_since(self.opened) >= lifetime * 4 / 5)
    }

    /// Whether the byte 0xFF in a command is sent twice from now on: a server that reads telnet takes that for one.
    pub fn double_iac(&mut self, doubles: bool) {
        self.doubles_iac = doubles;
    }

    /// The server is about to close the connection: it must not be used again.
    pub fn give_up(&mut self) {
        self.out_of_step = true;
    }

    /// Whether replies may come that belong to no command: the connection must not be used again.
    pub fn is_out_of_step(&self) -> bool {
        self.out_of_step
    }

    /// Whether something has come on an idle connection: a `421` or its end. Either way it is of no more use.
    pub fn has_unread(&self) -> bool {
        self.reader.pending() > 0 || self.tcp.has_unread()
    }

    /// Says goodbye without waiting for an answer.
    pub fn quit(mut self) {
        let said = self.send(&[Command::Quit]).is_ok();
        if said && self.tcp.set_limit(GOODBYE).is_ok() {
            // The server's view of the connection is of no more interest.
            let _ = self.records.send_close_notify(&mut self.tcp);
        }
    }

    fn receive(&mut self, deadline: Instant) -> io::Result<()> {
        let mut buffer = [0; RECEIVED_BYTES];
        self.tcp.set_limit(remaining(deadline))?;
        let received = self.records.read(&mut self.tcp, &mut buffer)?;
        self.tcp.quick_ack();
        match received {
            Received::Bytes(count) => {
                self.heard = sys::since_boot();
                self.reader.feed(&buffer[..count]);
                Ok(())
            }
            Received::Closed | Received::Cut => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// `PBSZ 0` and `PROT P` (RFC 4217 sections 8 and 9).
    fn protect(&mut self) -> Result<Privacy, Error> {
        self.send(&[Command::Pbsz, Command::ProtP])?;
        let replies = [self.reply("PBSZ")?, self.reply("PROT")?];
        let not_yet = |reply: &Reply| matches!(reply.code.number(), 530 | 503);
        match &replies {
            [_, prot] if prot.code.number() == 200 => Ok(Privacy::Accepted),
            _ if replies.iter().any(not_yet) => Ok(Privacy::AfterLogin),
            [_, prot] => Err(insecure("PROT P", &format!("the server does not encrypt data connections: {prot}"))),
        }
    }

    fn login(&mut self, settings: &Settings) -> Result<Reply, Error> {
        let user = self.exchange(&Command::User(settings.user.as_bytes()))?;
        let answer = match user.code.outcome() {
            Outcome::Intermediate if user.code.number() == 331 => self.exchange(&Command::Pass(&settings.password))?,
            _ => user,
        };
        match answer.code.number() {
            // 202: the password is superfluous (RFC 959 section 4.2.2).
            230 | 232 | 202 => Ok(answer),
            332 => Err(Error::LoginRefused { reply: answer }),
            421 => Err(busy(&answer)),
            530 if says_too_many(&answer) => Err(busy(&answer)),
            // A 4yz says that the same may be taken later (RFC 959 section 4.2.1): where the accounts are is away. 430 is said of
            // a wrong name or password by some.
            430 | 500.. => Err(Error::LoginRefused { reply: answer }),
            400.. => Err(busy(&answer)),
            _ => Err(Error::Misbehaved { step: "the login".to_owned(), what: format!("it answered {answer}") }),
        }
    }
}

/// The clear part of an explicit connection: greeting and `AUTH TLS`, and not a byte more.
fn negotiate(tcp: &mut Tcp, deadline: Instant, witness: &mut Witness) -> Result<(), Error> {
    let mut reader = Reader::new();
    let reply = clear_reply(tcp, &mut reader, deadline, GREETING).map_err(no_greeting)?;
    witness.greeting = Some(reply.clone());
    greeting(reply)?;
    log::trace!("> {}", Command::AuthTls);
    let mut line = Vec::new();
    Command::AuthTls.encode_into(&mut line).map_err(unsendable)?;
    tcp.write_all(&line).map_err(|source| Error::io("AUTH TLS", source))?;
    let reply = clear_reply(tcp, &mut reader, deadline, "AUTH TLS")?;
    witness.auth = Some(reply.clone());
    if reply.code.number() != 234 {
        return Err(match reply.code.outcome() {
            Outcome::TransientNegative | Outcome::PermanentNegative => {
                insecure("AUTH TLS", &format!("the server offers no TLS on this port: {reply}"))
            }
            _ => insecure("AUTH TLS", &format!("the server answered {reply} instead of 234")),
        });
    }
    // Whatever came in clear behind the 234 could be taken for an answer of the encrypted server.
    if reader.pending() > 0 || (tcp.has_unread() && !tcp.has_ended()) {
        return Err(insecure("AUTH TLS", "bytes came in clear text between the 234 and the TLS handshake"));
    }
    Ok(())
}

fn clear_reply(tcp: &mut Tcp, reader: &mut Reader, deadline: Instant, step: &str) -> Result<Reply, Error> {
    loop {
        if let Some(reply) = reader.next().map_err(|malformed| Error::malformed(step, &malformed))? {
            log::trace!("< {reply}");
            return Ok(reply);
        }
        let mut buffer = [0; 1024];
        tcp.set_limit(remaining(deadline)).map_err(|source| Error::io(step, source))?;
        match tcp.read(&mut buffer).map_err(|source| Error::io(step, source))? {
            0 => return Err(Error::Closed { step: step.to_owned() }),
            count => reader.feed(&buffer[..count]),
        }
    }
}

/// A server of implicit TLS waits for us to speak first.
fn no_greeting(error: Error) -> Error {
    match error {
        Error::Deadline { .. } => Error::Deadline {
            step:
                "waiting for the greeting (no byte came: perhaps this port wants implicit TLS, tls=implicit, or is no \
                   FTP server)"
                    .to_owned(),
        },
        Error::Misbehaved { step, what } => Error::Misbehaved { step, what: format!("{what}; is this an FTP server?") },
        other => other,
    }
}

fn greeting(reply: Reply) -> Result<(), Error> {
    match reply.code.number() {
        421 => Err(busy(&reply)),
        // ProFTPD (MaxConnectionsPerHost) answers 530 to nobody's login.
        400.. if says_too_many(&reply) => Err(busy(&reply)),
        _ => reply.completion(GREETING).map(drop),
    }
}

/// The server cannot do it now; what it says.
pub fn busy(reply: &Reply) -> Error {
    Error::Busy { why: format!("the server said: {reply}") }
}

/// ProFTPD and others answer `530` to a right password when there are too many connections. Not what speaks of attempts to
/// log in: that is a wrong password, which must not be tried on and on.
fn says_too_many(reply: &Reply) -> bool {
    let text = reply.text().to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    says(&[
        "too many",
        "maximum",
        "max number",
        "max. number",
        "limit",
        "more than",
        "already connected",
        "no more users",
    ]) && !says(&["attempt", "tries", "incorrect", "failed", "failure", "password"])
}

/// Doubles each 0xFF in `lines` from `start` on.
fn double_iac(lines: &mut Vec<u8>, start: usize) {
    let end = lines.split_off(start);
    for byte in end {
        lines.push(byte);
        if byte == 0xff {
            lines.push(byte);
        }
    }
}

fn insecure(step: &str, why: &str) -> Error {
    Error::Insecure { step: step.to_owned(), why: why.to_owned() }
}

fn unsendable(why: Unsendable) -> Error {
    Error::Unsendable { why }
}

/// Lines up to this length every server takes.
const LINE_BYTES_SAFE: usize = 1024;
/// Room for most commands.
const COMMANDS_BYTES: usize = 256;
/// So much is taken at once of what comes: a TLS record.
const RECEIVED_BYTES: usize = 16 * 1024;
/// How long a server may take to answer that it is there. One that takes longer costs a new login.
const ALIVE: Duration = Duration::from_secs(3);
/// Before this our own address is not looked at.
const QUIET_MOMENT: Duration = Duration::from_millis(200);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);
