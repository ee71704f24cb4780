//! How a mount is, as one document, and the extended attributes through which it is asked: no socket and no port is open for
//! that. The attributes are in the namespace `system`, of which the kernel leaves all to us: for the others it asks for the
//! root's permission bits first, and a mount whose server is away could not say so.

use crate::errno::Errno;
use crate::meter::histogram::Histogram;
use crate::meter::{Direction, Meter, Operation, Underway};
use crate::path::RemotePath;
use crate::remote::Remote;
use crate::remote::condition::Condition;
use crate::vfs::Vfs;
use crate::vfs::inodes::Ino;
use crate::vfs::overview::{Figures, Uploaded};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The attribute of the root whose value is the document.
pub const STATUS: &str = "system.ftpsfs.status";
/// The attribute of everything: whoever reads it has what is cached of it and below it forgotten. Not one that is written: on a
/// mount that is read-only the kernel would not let that come to us.
pub const REFRESH: &str = "system.ftpsfs.refresh";
/// Of the document. Another number is another meaning of what has the same name.
pub const VERSION: u32 = 1;
/// An attribute has no more (bytes; `XATTR_SIZE_MAX`).
pub const BYTES_MAX: usize = 64 * 1024;
/// So many transfers and so much of each name are told of, so that the document stays below that.
const TRANSFERS_MAX: usize = 48;
const NAME_CHARS_MAX: usize = 160;
const ERROR_CHARS_MAX: usize = 400;
/// After so long without a byte a transfer rests.
const RESTS_AFTER: Duration = Duration::from_secs(3);

/// What a mount is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The URL as typed, without the password.
    pub source: String,
    /// Where it is mounted.
    pub mountpoint: String,
    /// Nothing is changed on the server.
    pub read_only: bool,
    /// Who mounted it, and may ask beside root.
    pub owner: u32,
}

/// Who answers.
#[derive(Debug)]
pub struct Status {
    vfs: Arc<Vfs>,
    remote: Arc<dyn Remote>,
    meter: Arc<Meter>,
    identity: Identity,
    began: Instant,
    mounted: SystemTime,
}

/// What an attribute asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The document.
    Status,
    /// To forget.
    Refresh,
}

/// How a mount is, at one moment. What an older or a newer program does not tell is empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Document {
    /// [`VERSION`].
    pub version: u32,
    /// The version of the program that serves the mount.
    pub ftpsfs: String,
    /// The URL as typed, without the password.
    pub source: String,
    /// Where it was mounted.
    pub mountpoint: String,
    /// The process.
    pub pid: u32,
    /// Nothing is changed on the server.
    pub read_only: bool,
    /// When it was mounted, in seconds since 1970.
    pub mounted_at: u64,
    /// How long ago that was.
    pub mounted_seconds: u64,
    /// The server and the connections to it.
    pub server: Condition,
    /// Since when the server answers nothing, if so.
    pub away: Option<Away>,
    /// What waits for the server now.
    pub waiting: Waiting,
    /// How many requests it did not answer, or could not be trusted with.
    pub failures: u64,
    /// What is transferred now, the oldest first.
    pub transfers: Vec<Transfer>,
    /// How many more there are.
    pub transfers_left_out: usize,
    /// How long the server took.
    pub latency: BTreeMap<Operation, Latency>,
    /// Caches, and what is written.
    pub files: Figures,
    /// What is in the recovery directory; whoever asks looks.
    pub recovery: Option<Recovery>,
}

/// A server that does not answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Away {
    /// For so long.
    pub seconds: f64,
    /// What was met last.
    pub error: String,
}

/// Requests that wait for the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// How many.
    pub requests: usize,
    /// How long the oldest of them does.
    pub longest_seconds: f64,
}

/// A transfer under way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Transfer {
    /// The file, with control characters escaped.
    pub name: String,
    /// `down` or `up`.
    pub direction: String,
    /// Where in the file it began.
    pub start_bytes: u64,
    /// How far it has come in the file.
    pub done_bytes: u64,
    /// The file's size, where it is known.
    pub size_bytes: Option<u64>,
    /// Of late.
    pub bytes_per_second: f64,
    /// For how long it runs.
    pub seconds: f64,
    /// How long it will at this rate.
    pub seconds_left: Option<f64>,
    /// Nothing came of late: its reader or its writer rests, or the server does.
    pub rests: bool,
}

/// How long the server took for one kind of request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// How many there were.
    pub count: u64,
    /// Half of them took no longer.
    pub median_seconds: f64,
    /// 99 in 100 took no longer.
    pub p99_seconds: f64,
    /// All of them.
    pub histogram: Histogram,
}

/// Files in the recovery directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// How many.
    pub files: usize,
    /// How large they are together.
    pub bytes: u64,
}

impl Status {
    /// Tells of `vfs`, which asks `remote`, measured by `meter`; mounted at `now`.
    pub fn new(vfs: Arc<Vfs>, remote: Arc<dyn Remote>, meter: Arc<Meter>, identity: Identity, now: Instant) -> Self {
        Self { vfs, remote, meter, identity, began: now, mounted: SystemTime::now() }
    }

    /// What the user `uid` asks for by reading the attribute `name` of `ino`.
    ///
    /// # Errors
    ///
    /// [`Errno::ENOTSUP`] for all other attributes, [`Errno::EACCES`] for whoever may not ask.
    pub fn question(&self, ino: Ino, name: &[u8], uid: u32) -> Result<Question, Errno> {
        let question = match name {
            name if name == STATUS.as_bytes() && ino == Ino::ROOT => Question::Status,
            name if name == REFRESH.as_bytes() => Question::Refresh,
            _ => return Err(Errno::ENOTSUP),
        };
        if uid == 0 || uid == self.identity.owner { Ok(question) } else { Err(Errno::EACCES) }
    }

    /// The document as JSON. Never waits for the network.
    pub fn text(&self, now: Instant) -> Vec<u8> {
        serde_json::to_vec(&self.document(now)).unwrap_or_default()
    }

    fn document(&self, now: Instant) -> Document {
        let pulse = self.meter.pulse(now);
        let mut underway = self.meter.underway(now);
        let transfers_left_out = underway.len().saturating_sub(TRANSFERS_MAX);
        underway.truncate(TRANSFERS_MAX);
        let away = pulse.away.map(|(since, error)| Away { seconds: since.as_secs_f64(), error: said(&error) });
        let mut server = self.remote.condition();
        server.connections.refusal = server.connections.refusal.map(|words| said(&words));
        Document {
            version: VERSION,
            ftpsfs: env!("CARGO_PKG_VERSION").to_owned(),
            source: self.identity.source.clone(),
            mountpoint: self.identity.mountpoint.clone(),
            pid: std::process::id(),
            read_only: self.identity.read_only,
            mounted_at: self.mounted.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
            mounted_seconds: now.saturating_duration_since(self.began).as_secs(),
            server,
            away,
            waiting: Waiting {
                requests: pulse.waiting,
                longest_seconds: pulse.longest.unwrap_or_default().as_secs_f64(),
            },
            failures: pulse.failures,
            transfers: underway.into_iter().map(|underway| self.transfer(underway)).collect(),
            transfers_left_out,
            latency: self.meter.times().into_iter().map(|(operation, times)| (operation, Latency::of(times))).collect(),
            files: self.vfs.figures(),
            recovery: None,
        }
    }

    fn transfer(&self, underway: Underway) -> Transfer {
        let Underway { path, direction, start, position, size, rate, age, quiet } = underway;
        let (path, size) = match direction {
            Direction::Down => (path, size),
            Direction::Up => match self.vfs.uploaded(&path) {
                Some(Uploaded { path, size }) => (path, size),
                None => (path, None),
            },
        };
        let rests = quiet >= RESTS_AFTER;
        let left = size.map(|size| seconds(size.saturating_sub(position), rate)).filter(|_| !rests && rate >= 1.0);
        Transfer {
            name: name(&path),
            direction: direction.to_string(),
            start_bytes: start,
            done_bytes: position,
            size_bytes: size,
            bytes_per_second: rate,
            seconds: age.as_secs_f64(),
            seconds_left: left,
            rests,
        }
    }
}

impl Latency {
    fn of(histogram: Histogram) -> Self {
        let quantile = |part| histogram.quantile(part).unwrap_or_default().as_secs_f64();
        Self { count: histogram.count(), median_seconds: quantile(0.5), p99_seconds: quantile(0.99), histogram }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Down => "down",
            Self::Up => "up",
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn seconds(bytes: u64, rate: f64) -> f64 {
    bytes as f64 / rate
}

/// The end of a path tells more than its beginning.
fn name(path: &RemotePath) -> String {
    let text = path.to_string();
    let skipped = text.chars().count().saturating_sub(NAME_CHARS_MAX);
    if skipped == 0 { text } else { format!("…{}", text.chars().skip(skipped).collect::<String>()) }
}

/// The beginning of what a server said.
fn said(text: &str) -> String {
    crate::path::escaped(text.as_bytes()).to_string().chars().take(ERROR_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What other programs read must not change its name or its meaning without another number.
    #[test]
    fn a_document_reads_back_and_one_of_another_program_is_read_as_far_as_it_goes() {
        let mut times = Histogram::default();
        times.add(Duration::from_millis(3));
        let document = Document {
            version: VERSION,
            latency: BTreeMap::from([(Operation::List, Latency::of(times))]),
            transfers: vec![Transfer { name: "/a".to_owned(), size_bytes: Some(7), ..Transfer::default() }],
            ..Document::default()
        };
        let text = serde_json::to_string(&document).unwrap();
        assert!(text.contains(r#""latency":{"list":{"count":1,"#), "{text}");
        assert_eq!(serde_json::from_str::<Document>(&text).unwrap(), document);
        let other = r#"{"version":1,"source":"ftps://h/","new":[1],"server":{"host":"h","more":2}}"#;
        let read: Document = serde_json::from_str(other).unwrap();
        assert_eq!((read.source.as_str(), read.server.host.as_str()), ("ftps://h/", "h"));
    }

    #[test]
    fn long_names_are_cut_in_front_and_so_many_fit_into_an_attribute() {
        let long = format!("/{}/end", "\u{1f600}".repeat(1000));
        let cut = name(&RemotePath::parse(long.as_bytes()).unwrap());
        assert!(cut.starts_with('…') && cut.ends_with("/end") && cut.chars().count() == NAME_CHARS_MAX + 1);
        let transfer = Transfer { name: cut, size_bytes: Some(u64::MAX), ..Transfer::default() };
        let away = Some(Away { seconds: 1e9, error: said(&"\u{1f600}\u{1}".repeat(1000)) });
        let document = Document { transfers: vec![transfer; TRANSFERS_MAX], away, ..Document::default() };
        assert!(serde_json::to_vec(&document).unwrap().len() < BYTES_MAX - 8000);
    }
}
