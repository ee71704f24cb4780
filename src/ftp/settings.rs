//! What the wing is told: which server, as whom, trusted how.

use crate::ftp::certificate::Pin;
use crate::ftp::charset::Wish;
use crate::ftp::time::Zone;
use crate::secret::Secret;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// One server and how to reach it. Validated by whoever builds it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A DNS name or an IP address without brackets. Also the name that the server's certificate must bear.
    pub host: String,
    /// The control connection's TCP port.
    pub port: u16,
    /// When the TLS handshake of the control connection happens.
    pub tls: TlsMode,
    /// The account (`USER`, RFC 959 section 4.1.1).
    pub user: String,
    /// Its password (`PASS`).
    pub password: Secret,
    /// The directory that becomes `/`.
    pub directory: Directory,
    /// What names are in on the server.
    pub charset: Wish,
    /// The server finds `a` by `A`, whatever its listings look like.
    pub ignore_case: bool,
    /// How the server proves who it is.
    pub trust: Trust,
    /// How we prove who we are, where the server asks for more than a password.
    pub identity: Option<Identity>,
    /// The versions of TLS that are offered.
    pub versions: Versions,
    /// How many control connections may be open at once.
    pub connections_max: NonZeroUsize,
    /// How long the server may take for one step: a connect, a reply, the next bytes of a transfer.
    pub timeout: Duration,
    /// A server that is away is waited for without end.
    pub hard: bool,
    /// How an upload is checked at its end.
    pub verify: Verify,
    /// The zone in which the server lists times; found out where there is none.
    pub server_tz: Option<Zone>,
    /// How long an unused control connection stays open.
    pub idle_timeout: Duration,
    /// Whether an idle session opens the data connection of its next transfer ahead.
    pub opens_ahead: bool,
    /// How long after the answer to a question that transfers were in the way of they leave what is idle to the next question.
    pub next_question: Duration,
}

/// When TLS begins on a control connection: RFC 4217 section 4, or as servers on port 990 do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// `AUTH TLS` on a connection that begins in clear.
    Explicit,
    /// TLS from the first byte.
    Implicit,
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Explicit => "explicit",
            Self::Implicit => "implicit",
        })
    }
}

/// How an upload is checked at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// By the size that the server tells.
    #[default]
    Size,
    /// By the server's own checksum as well, where it tells one.
    Hash,
}

/// Where on the server the mount begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directory {
    /// From the directory where the login lands (RFC 1738 section 3.2.2): names joined by `/`, possibly empty.
    FromLogin(Vec<u8>),
    /// From the server's root; begins with `/`.
    Absolute(Vec<u8>),
}

/// What makes a server believed: each of its control connections, and each data connection that does not resume one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// A certificate for its name that leads to one of Mozilla's roots, as built in.
    WebPki,
    /// As [`Trust::WebPki`], to one of the system's roots.
    System,
    /// As [`Trust::WebPki`], to one of the certificates in this PEM text (the content of `cafile=`) and no others.
    Pem(Vec<u8>),
    /// Its key is one of these. Who vouches for it, for which name and until when, only counts where `roots` are given.
    Pinned {
        /// The keys.
        pins: Vec<Pin>,
        /// What must hold besides.
        roots: Option<Box<Self>>,
    },
    /// Its key is the one that it showed first, as this file remembers.
    FirstUse(PathBuf),
    /// Nothing: anybody between us and the server may be the server.
    Anything,
}

/// A client's certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those that lead to an authority, in PEM.
    pub certificates: Vec<u8>,
    /// The key in PEM, in clear.
    pub key: Secret,
}

/// The versions of TLS that are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Versions {
    /// TLS 1.2 and 1.3.
    #[default]
    Both,
    /// TLS 1.2 alone.
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

impl Settings {
    /// The port of explicit TLS (RFC 4217 section 4).
    pub const PORT_EXPLICIT: u16 = 21;
    /// The port that means implicit TLS (registered as `ftps`).
    pub const PORT_IMPLICIT: u16 = 990;
}
