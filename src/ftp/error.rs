//! What can go wrong with a server, in the words of whoever must decide: may this connection live, is it worth another
//! try, what does the user read.

use crate::ftp::certificate::Certificate;
use crate::ftp::command::Unsendable;
use crate::ftp::reply::{Malformed, Outcome, Reply};
use std::fmt;
use std::io;

/// A failed step of the protocol. `Display` is one line that names the step and quotes the server.
#[derive(Debug)]
pub enum Error {
    /// The network or the system failed.
    Io {
        /// What was being done, such as `connecting to host port 21`.
        step: String,
        /// The system's error.
        source: io::Error,
    },
    /// The server did not do its part in time.
    Deadline {
        /// What was waited for.
        step: String,
    },
    /// The server cannot be trusted, or offers no encryption that we accept.
    Insecure {
        /// What was being done.
        step: String,
        /// Why, in plain words.
        why: String,
    },
    /// The server's certificate is not believed.
    Untrusted {
        /// What was being done.
        step: String,
        /// Why, in plain words.
        why: String,
        /// Why, for the code that must decide: the words quote the server.
        flaw: Flaw,
        /// What the server showed, its own certificate first; those that could not be read are left out.
        chain: Vec<Certificate>,
    },
    /// TLS failed in a way that another connection may not repeat.
    Tls {
        /// What was being done.
        step: String,
        /// TLS's own error.
        why: String,
    },
    /// The server broke the protocol: the connection is of no more use.
    Misbehaved {
        /// What was being done.
        step: String,
        /// What it did.
        what: String,
    },
    /// The server closed the connection.
    Closed {
        /// What was being done.
        step: String,
    },
    /// The server said no.
    Refused {
        /// The command, without its argument.
        verb: &'static str,
        /// What it said.
        reply: Reply,
    },
    /// The directory to be mounted is missing, no directory, or closed to the account.
    NoSuchMount {
        /// The server's pathname, escaped.
        pathname: String,
        /// What it said.
        reply: Reply,
    },
    /// The server wants the data connection to resume the control connection's TLS session, and thinks it did not.
    ReuseRefused {
        /// What it said.
        reply: Reply,
        /// Whether the data connection offered a session, and so whether the server had it to accept.
        offered: bool,
    },
    /// The server let nobody in: `530` to `USER` or `PASS`.
    LoginRefused {
        /// What it said.
        reply: Reply,
    },
    /// The server has too many connections, or the pool gave none in time.
    Busy {
        /// What was said, by the server or by us.
        why: String,
    },
    /// Whether a change was done is not known, and it must not be tried again.
    Uncertain {
        /// The command.
        verb: &'static str,
        /// What was seen afterwards.
        found: &'static str,
    },
    /// Somebody else made the directory that was to be made.
    Taken {
        /// The command.
        verb: &'static str,
    },
    /// The server is known to be away: nothing was tried.
    Away {
        /// What showed it.
        why: String,
    },
    /// The argument cannot be sent in a command.
    Unsendable {
        /// Which byte or length.
        why: Unsendable,
    },
    /// The transfer ended before its last byte was known to have come.
    CutShort {
        /// How far it came (bytes).
        received: u64,
        /// What ended it.
        why: String,
    },
    /// The control connection has no TLS session left that a data connection could resume.
    SessionWornOut,
    /// The transfer's connection was taken for somebody who waited.
    Preempted,
    /// The server's checksum of an upload is not ours.
    WrongChecksum,
    /// The server has no way to do it.
    Unsupported {
        /// What.
        what: &'static str,
    },
    /// The directory that was to be removed has entries.
    NotEmpty {
        /// How many.
        entries: usize,
    },
    /// The server would give it another name, which may be another file's.
    NotKept {
        /// The name, escaped.
        name: String,
    },
    /// The server takes it for a name that it lists in another spelling.
    OtherSpelling {
        /// The name, escaped.
        name: String,
    },
    /// The directory's listing came, and the name is not in it.
    NotListed {
        /// The name, escaped.
        name: String,
    },
    /// The server pretends that a directory which may not be read is empty.
    Unreadable {
        /// The server's pathname, escaped.
        pathname: String,
    },
    /// The server told only the beginning of a directory, and said so.
    ListingCut {
        /// The command.
        verb: &'static str,
        /// What it said.
        reply: Reply,
    },
    /// The server tells nothing but names of a directory, and it has too many to ask about each.
    TooManyNames {
        /// How many.
        names: usize,
    },
    /// A non-empty listing in which no line was understood.
    ListingNotUnderstood {
        /// The number of lines.
        lines: usize,
        /// One of them, escaped.
        sample: String,
    },
}

impl Error {
    /// An I/O error of `step`: a timeout and an end of the connection get their own kinds.
    pub fn io(step: impl Into<String>, source: io::Error) -> Self {
        let step = step.into();
        match source.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::Deadline { step },
            io::ErrorKind::UnexpectedEof => Self::Closed { step },
            _ => Self::Io { step, source },
        }
    }

    /// Whether it was the TCP connection of a data connection that did not come about.
    pub fn is_of_data_port(&self) -> bool {
        matches!(self, Self::Io { step, .. } | Self::Deadline { step } if step.starts_with(DATA_PORT))
    }

    /// Whether the control connection that met this error must not be used again.
    pub fn closes_connection(&self) -> bool {
        match self {
            // Nothing was sent that waits for an answer.
            Self::Io { .. } | Self::Deadline { .. } if self.is_of_data_port() => false,
            Self::Refused { reply, .. } | Self::NoSuchMount { reply, .. } | Self::ReuseRefused { reply, .. } => {
                reply.code.number() == 421
            }
            Self::Unsendable { .. }
            | Self::Unsupported { .. }
            | Self::WrongChecksum
            | Self::Uncertain { .. }
            | Self::Taken { .. }
            | Self::NotEmpty { .. }
            | Self::NotListed { .. }
            | Self::NotKept { .. }
            | Self::OtherSpelling { .. }
            | Self::Unreadable { .. }
            | Self::ListingCut { .. }
            | Self::TooManyNames { .. }
            | Self::ListingNotUnderstood { .. } => false,
            _ => true,
        }
    }

    /// Whether waiting may help: the network, the name or the server is not there, or has no room.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Deadline { .. } | Self::Closed { .. } | Self::Busy { .. })
    }

    /// Whether the same request may succeed on another control connection: this one was stale, lost, or its TLS session
    /// too old.
    pub fn another_connection_may_help(&self) -> bool {
        match self {
            // Behind a firewall all ports are closed, whoever asks.
            Self::Io { .. } if self.is_of_data_port() => false,
            Self::Io { .. }
            | Self::Closed { .. }
            | Self::Tls { .. }
            | Self::ReuseRefused { .. }
            | Self::CutShort { .. }
            | Self::SessionWornOut => true,
            Self::Refused { reply, .. } => reply.code.number() == 421,
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { step, source } => write!(f, "{step}: {source}"),
            Self::Deadline { step } => write!(f, "{step}: the server did not answer in time"),
            Self::Insecure { step, why } | Self::Untrusted { step, why, .. } | Self::Tls { step, why } => {
                write!(f, "{step}: {why}")
            }
            Self::Misbehaved { step, what } => write!(f, "{step}: the server broke the protocol: {what}"),
            Self::Closed { step } => write!(f, "{step}: the server closed the connection"),
            Self::Refused { verb, reply } => write!(f, "{verb}: the server said: {reply}"),
            Self::NoSuchMount { pathname, reply } => write!(f, "entering {pathname} (CWD): the server said: {reply}"),
            Self::ReuseRefused { reply, offered } => {
                let ours = if *offered { "we offered its session" } else { "we had no session to offer" };
                write!(
                    f,
                    "the server requires that the data connection resumes the TLS session of its control connection; \
                     {ours}; the server said: {reply}"
                )
            }
            Self::LoginRefused { reply } => write!(f, "login refused; the server said: {reply}"),
            Self::Busy { why } => write!(f, "no connection to spare: {why}"),
            Self::Uncertain { verb, found } => write!(f, "{verb}: the connection broke before the reply came; {found}"),
            Self::Taken { verb } => write!(f, "{verb}: somebody else made it"),
            Self::Away { why } => write!(f, "the server is away ({why})"),
            Self::Unsendable { why } => write!(f, "the name cannot be sent in an FTP command: {why}"),
            Self::CutShort { received, why } => write!(f, "the transfer broke off after {received} bytes: {why}"),
            Self::SessionWornOut => f.write_str("the control connection has no TLS session left to resume"),
            Self::Preempted => f.write_str("the connection was needed for another request"),
            Self::WrongChecksum => f.write_str("the server stored something else than what was sent: checksums differ"),
            Self::Unsupported { what } => write!(f, "the server cannot {what}"),
            Self::NotEmpty { entries } => write!(f, "the directory has {entries} entries"),
            Self::NotKept { name } => write!(f, "the server would change the name {name}"),
            Self::OtherSpelling { name } => write!(f, "the server has {name} in another spelling"),
            Self::NotListed { name } => write!(f, "{name} is not in the directory's listing"),
            Self::Unreadable { pathname } => write!(f, "{pathname} may not be read"),
            Self::ListingCut { verb, reply } => {
                write!(f, "{verb}: the server told only the beginning of the directory; it said: {reply}")
            }
            Self::TooManyNames { names } => {
                write!(f, "the server tells nothing but names, and {names} are too many to ask about each")
            }
            Self::ListingNotUnderstood { lines, sample } => {
                write!(f, "none of the {lines} lines of the listing is of a known form, such as: {sample}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
    /// It is another server's.
    OtherName,
    /// Another key was expected, by `pin=` or since it was seen first.
    OtherKey,
    /// It leads to no root that is believed.
    UnknownIssuer,
    /// None of these.
    Other,
}

/// What a reply to `verb` had to be.
pub trait Expect: Sized {
    /// Asks for a `1yz`: the data connection may be used (RFC 959 section 4.2.1).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for a `4yz` or `5yz`, [`Error::Misbehaved`] for anything else.
    fn preliminary(self, verb: &'static str) -> Result<Self, Error>;

    /// Asks for a `2yz`.
    ///
    /// # Errors
    ///
    /// As [`Expect::preliminary`].
    fn completion(self, verb: &'static str) -> Result<Self, Error>;

    /// Asks for a `3yz`: another command has to follow.
    ///
    /// # Errors
    ///
    /// As [`Expect::preliminary`].
    fn intermediate(self, verb: &'static str) -> Result<Self, Error>;
}

impl Expect for Reply {
    fn preliminary(self, verb: &'static str) -> Result<Self, Error> {
        expect(self, verb, Outcome::Preliminary)
    }

    fn completion(self, verb: &'static str) -> Result<Self, Error> {
        expect(self, verb, Outcome::Completion)
    }

    fn intermediate(self, verb: &'static str) -> Result<Self, Error> {
        expect(self, verb, Outcome::Intermediate)
    }
}

fn expect(reply: Reply, verb: &'static str, wanted: Outcome) -> Result<Reply, Error> {
    match reply.code.outcome() {
        outcome if outcome == wanted => Ok(reply),
        Outcome::TransientNegative | Outcome::PermanentNegative => Err(Error::Refused { verb, reply }),
        _ => Err(Error::Misbehaved { step: verb.to_owned(), what: format!("it answered {reply}") }),
    }
}

impl Error {
    /// A reply that is none.
    pub fn malformed(step: impl Into<String>, malformed: &Malformed) -> Self {
        Self::Misbehaved { step: step.into(), what: malformed.to_string() }
    }
}

/// How a step begins that connects a data connection.
pub const DATA_PORT: &str = "connecting the data connection";
