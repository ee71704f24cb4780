//! What a check finds out, as plain data: no verdicts, no advice.

use crate::ftp::certificate::{Certificate, Day, OutOfTime};
use crate::ftp::control::Witness;
use crate::ftp::error::Error;
use crate::ftp::stream::Attempt;
use crate::ftp::tls::Versions;
use serde::{Serialize, Serializer};
use std::fmt;
use std::time::{Duration, SystemTime};

/// All of it; what was not come to is not there.
#[derive(Debug, Default, Serialize)]
pub struct Facts {
    /// The server's addresses in the order of trying.
    pub addresses: Vec<Address>,
    /// How long the look-up of its name took.
    #[serde(rename = "lookup_ms", serialize_with = "millis")]
    pub looked_up: Option<Duration>,
    /// From a command to its reply, at best.
    #[serde(rename = "round_trip_ms", serialize_with = "millis")]
    pub round_trip: Option<Duration>,
    /// The first words of the server.
    pub greeting: Option<String>,
    /// The program that it seems to be.
    pub software: Option<&'static str>,
    /// The reply to `SYST`.
    pub system: Option<String>,
    /// The reply to `AUTH TLS`.
    pub auth: Option<String>,
    /// The handshake of the control connection.
    pub tls: Option<Handshake>,
    /// What the server showed, its own certificate first.
    pub certificates: Vec<Shown>,
    /// What it is believed by.
    pub believed_by: &'static str,
    /// Whether it is believed; `None` where it was not come to that.
    pub verified: Option<bool>,
    /// The reply that let us in.
    pub login: Option<String>,
    /// The lines of `FEAT`.
    pub features: Vec<String>,
    /// The directory that would be mounted, as the server has it.
    pub directory: Option<String>,
    /// How it is listed.
    pub listing: Option<Listed>,
    /// Session reuse, the version that a mount speaks first.
    pub reuse: Vec<Reuse>,
    /// The ways to a data connection.
    pub passive: Option<Passive>,
    /// What an upload met.
    pub upload: Option<Upload>,
    /// How many connections the server gave.
    pub connections: Option<Connections>,
    /// Where the control connection failed, whether the other mode of TLS was understood on the port.
    pub other_mode: Option<bool>,
    /// What failed, in the order of the steps.
    #[serde(skip)]
    pub failures: Vec<(Stage, Error)>,
}

/// A step of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reaching the server, TLS, the login.
    Connect,
    /// Whether the other mode of TLS works.
    OtherMode,
    /// The directory and what the server says of itself.
    Look,
    /// Listing the directory, which needs a data connection.
    List,
    /// Session reuse.
    Reuse(Version),
    /// `EPSV` and `PASV`.
    Passive,
    /// A scratch file.
    Upload,
    /// Many connections.
    Connections,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Version {
    /// 1.2
    #[serde(rename = "TLS 1.2")]
    Tls12,
    /// 1.3
    #[serde(rename = "TLS 1.3")]
    Tls13,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        })
    }
}

impl Version {
    /// To be offered alone.
    pub(super) fn alone(self) -> Versions {
        match self {
            Self::Tls12 => Versions::Tls12,
            Self::Tls13 => Versions::Tls13,
        }
    }
}

/// What became of one address.
#[derive(Debug, Clone, Serialize)]
pub struct Address {
    /// The address.
    pub address: String,
    /// How long it took to answer.
    #[serde(rename = "connected_ms", serialize_with = "millis")]
    pub connected: Option<Duration>,
    /// Why it did not.
    pub failure: Option<String>,
}

/// A handshake of the control connection.
#[derive(Debug, Clone, Serialize)]
pub struct Handshake {
    /// The version.
    pub version: String,
    /// Whether that is TLS 1.3.
    #[serde(skip)]
    pub is_tls13: bool,
    /// The cipher suite.
    pub cipher: Option<String>,
    /// The group of the key exchange.
    pub group: Option<String>,
    /// The server asked for another key share first.
    pub hello_retry_request: bool,
    /// Of TLS 1.2 (RFC 7627); TLS 1.3 always has the like.
    pub extended_master_secret: bool,
    /// How long the handshake took.
    #[serde(rename = "took_ms", serialize_with = "millis")]
    pub took: Option<Duration>,
    /// How many tickets had come by the end of the login.
    pub tickets: usize,
    /// How long the server keeps them.
    #[serde(rename = "ticket_lifetime_s", serialize_with = "seconds")]
    pub lifetime: Option<Duration>,
    /// TLS 1.2 without tickets: the server keeps the session by a number.
    pub session_id: bool,
}

/// A certificate.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// Whose.
    pub subject: String,
    /// By whom.
    pub issuer: String,
    /// It names itself as its issuer.
    pub self_signed: bool,
    /// The DNS names and addresses that it is for.
    pub names: Vec<String>,
    /// From when on.
    pub not_before: String,
    /// Until when.
    pub not_after: String,
    /// So many days are left; negative where they are over.
    pub days_left: i64,
    /// Its time has not begun.
    pub not_yet: bool,
    /// The kind of its key.
    pub key: String,
    /// The pin of its key.
    pub pin: String,
}

/// How the mounted directory is listed.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// The command.
    pub command: String,
    /// The form of `LIST` that fits.
    pub form: Option<&'static str>,
    /// How many entries there are.
    pub entries: usize,
    /// How many lines nothing was made of.
    pub not_understood: usize,
    /// One of them.
    pub sample: Option<String>,
    /// Names that cannot be names, or that came twice.
    pub left_out: usize,
    /// `MLSD` leaves names out that `LIST` shows.
    pub facts_leave_out: bool,
    /// How far the server's clock, by which it lists, is ahead of UTC; `None` where that was not found out.
    pub ahead_of_utc_s: Option<i32>,
}

/// Session reuse in one version of TLS.
#[derive(Debug, Serialize)]
pub struct Reuse {
    /// The version.
    pub version: Version,
    /// The server does not speak it.
    pub unknown: bool,
    /// The handshake of a control connection.
    pub handshake: Option<Handshake>,
    /// How many tickets of TLS 1.3 came on the control connection while it was used.
    pub tickets: usize,
    /// What kept it from being tried.
    pub not_tried: Option<String>,
    /// Data connections that offered their own control connection's session, one after the other.
    pub own: Vec<Trial>,
    /// One that offered none.
    pub without: Option<Trial>,
    /// One that offered the session of another control connection.
    pub others: Option<Trial>,
}

/// One data connection.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    /// There was a session to offer.
    pub offered: bool,
    /// The server resumed it; `None` where it did not come to a handshake.
    pub resumed: Option<bool>,
    /// How it ended.
    pub end: End,
}

/// How a data connection ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The server sent all and said so.
    Accepted,
    /// The server refused it for its session, in these words.
    Refused(String),
    /// Something else went wrong.
    Failed(String),
}

/// `EPSV` and `PASV`.
#[derive(Debug, Clone, Serialize)]
pub struct Passive {
    /// `EPSV`.
    pub epsv: Port,
    /// `PASV`.
    pub pasv: Port,
    /// The address in the 227, where it is another than the control connection's.
    pub other_address: Option<String>,
    /// The control connection's address.
    pub address: String,
}

/// A way to a data connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Port {
    /// The port can be connected to.
    Open(u16),
    /// It cannot, and why.
    Blocked(u16, String),
    /// The command was refused, or not answered as it must be.
    Refused(String),
}

/// What a scratch file met.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Upload {
    /// Its name.
    pub name: String,
    /// How many bytes were sent.
    pub sent: u64,
    /// What went wrong while storing it.
    pub failure: Option<String>,
    /// How long the server took from the last byte to its final word.
    #[serde(rename = "end_ms", serialize_with = "millis")]
    pub end: Option<Duration>,
    /// The server ended the data connection with a `close_notify` of its own.
    pub close_notify: Option<bool>,
    /// The size that the server tells afterwards.
    pub stored: Option<u64>,
    /// How far the time that the server gave it is ahead of this machine's.
    pub clock_ahead_s: Option<i64>,
    /// What was said to renaming it.
    pub rename_refused: Option<String>,
    /// What was said to adding to it.
    pub append_refused: Option<String>,
    /// What was said to deleting it: it is still there.
    pub delete_refused: Option<String>,
}

/// How many control connections were open at once.
#[derive(Debug, Clone, Serialize)]
pub struct Connections {
    /// So many were.
    pub opened: usize,
    /// What was said to the next one; `None` where no more were tried.
    pub refused: Option<String>,
}

fn millis<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| (time.as_secs_f64() * 1e5).round() / 1e2).serialize(serializer)
}

fn seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs()).serialize(serializer)
}

impl Shown {
    pub(super) fn of(certificate: &Certificate, now: SystemTime) -> Self {
        let seconds_left = match certificate.not_after.duration_since(now) {
            Ok(left) => i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            Err(over) => -i64::try_from(over.duration().as_secs()).unwrap_or(i64::MAX),
        };
        Self {
            subject: certificate.subject.clone(),
            issuer: certificate.issuer.clone(),
            self_signed: certificate.self_signed,
            names: certificate.names.clone(),
            not_before: Day(certificate.not_before).to_string(),
            not_after: Day(certificate.not_after).to_string(),
            days_left: seconds_left.div_euclid(SECONDS_A_DAY),
            not_yet: certificate.out_of_time(now) == Some(OutOfTime::NotYet),
            key: certificate.key.clone(),
            pin: certificate.pin.to_string(),
        }
    }
}

impl Handshake {
    /// What a connection told of its handshake, if it came to a ServerHello.
    pub(super) fn of(witness: &Witness) -> Option<Self> {
        let heard = &witness.heard;
        Some(Self {
            version: if heard.is_tls13() {
                "TLS 1.3".to_owned()
            } else {
                format!("{:?}", heard.version?).replace("TLSv1_", "TLS 1.")
            },
            is_tls13: heard.is_tls13(),
            cipher: heard.suite.map(|suite| format!("{suite:?}")),
            group: heard.group.map(|group| format!("{group:?}")),
            hello_retry_request: heard.retry,
            extended_master_secret: heard.extended_master_secret,
            took: witness.handshake,
            tickets: if heard.is_tls13() { witness.tickets } else { heard.ticket.into() },
            lifetime: witness.ticket_lifetime.or(heard.lifetime),
            session_id: heard.session_id && !heard.is_tls13(),
        })
    }
}

impl Address {
    pub(super) fn of(attempt: &Attempt) -> Self {
        let (connected, failure) = match attempt.outcome.clone() {
            Some(Ok(time)) => (Some(time), None),
            Some(Err(failure)) => (None, Some(failure)),
            None => (None, None),
        };
        Self { address: attempt.address.to_string(), connected, failure }
    }
}

const SECONDS_A_DAY: i64 = 24 * 60 * 60;
