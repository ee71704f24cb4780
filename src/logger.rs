//! Where the log goes: standard error in the foreground, syslog once the terminal is gone.

use crate::path::escaped;
use log::{Level, LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// Where syslogd and journald listen.
const SYSLOG: &str = "/dev/log";
/// `LOG_DAEMON` of syslog(3).
const FACILITY: u8 = 3 << 3;
/// What the target of a record begins with that tells of a trouble which many calls may meet; the trouble follows.
const TROUBLE: &str = "ftpsfs::trouble::";
/// How often one trouble is told at most.
const TROUBLE_PAUSE: Duration = Duration::from_secs(60);
/// So many are kept in mind.
const TROUBLES_MAX: usize = 64;

static LOGGER: Logger =
    Logger { sink: Mutex::new(Sink::Terminal), file: Mutex::new(None), troubles: Mutex::new(Troubles::new()) };

#[derive(Debug)]
struct Logger {
    sink: Mutex<Sink>,
    /// Besides.
    file: Mutex<Option<LogFile>>,
    troubles: Mutex<Troubles>,
}

#[derive(Debug)]
enum Sink {
    /// Standard error that a person reads.
    Terminal,
    /// The same with the time since then, of what is said to and by the server alone.
    Trace(Instant),
    /// Standard error that journald reads: a line begins with its priority (sd-daemon(3)).
    Journal,
    /// A datagram each (RFC 3164 section 4.1.1).
    Syslog(UnixDatagram),
    /// Nobody listens.
    Nowhere,
}

/// Begins to log on standard error, up to `level`.
pub fn start(level: LevelFilter) {
    *LOGGER.sink.lock() = if is_journal() { Sink::Journal } else { Sink::Terminal };
    // A second call finds the same logger there.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(level);
}

/// Goes on with everything that is said to and by the server, each line with the seconds since now.
pub fn trace() {
    *LOGGER.sink.lock() = Sink::Trace(Instant::now());
    log::set_max_level(LevelFilter::Trace);
}

/// Logs into the file `path` as well, from now on.
///
/// # Errors
///
/// The system's, where it cannot be opened.
pub fn open(path: &Path) -> io::Result<()> {
    *LOGGER.file.lock() = Some(LogFile::open(path)?);
    Ok(())
}

/// Opens a log's file, and makes it where it is missing.
///
/// # Errors
///
/// The system's.
pub fn open_file(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).mode(0o600).open(path)
}

/// Goes on in the log's file as `open` finds it, since it has been renamed; `false` where there is none.
pub fn reopen(open: impl FnOnce() -> io::Result<File>) -> bool {
    let Some(path) = LOGGER.file.lock().as_ref().map(|file| file.path.clone()) else { return false };
    let reopened = open();
    let failed = reopened.as_ref().err().map(ToString::to_string);
    // Where it fails, the old one is better than none.
    if let Ok(reopened) = reopened {
        *LOGGER.file.lock() = Some(LogFile { path: path.clone(), file: reopened });
    }
    match failed {
        Some(error) => log::warn!("log {}: {error}", path.display()),
        None => log::info!("the log goes on in {}", path.display()),
    }
    true
}

/// Goes on in syslog, or in the file alone where there is one.
pub fn move_to_syslog() {
    if LOGGER.file.lock().is_some() {
        *LOGGER.sink.lock() = Sink::Nowhere;
        return;
    }
    let socket = UnixDatagram::unbound().and_then(|socket| {
        // A log that is slow must not hold up a file system that the log itself may lie on.
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    *LOGGER.sink.lock() = socket.map_or(Sink::Nowhere, Sink::Syslog);
}

/// systemd tells which stream is its journal's (systemd.exec(5), `JOURNAL_STREAM`); a pipe or a file is somebody else's.
fn is_journal() -> bool {
    let Ok(told) = std::env::var("JOURNAL_STREAM") else { return false };
    fs::metadata("/proc/self/fd/2").is_ok_and(|stream| told == format!("{}:{}", stream.dev(), stream.ino()))
}

impl Log for Logger {
    /// What the libraries below us say is of use to their own developers: one has to ask for it with `trace`.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        if let Sink::Trace(_) = *self.sink.lock() {
            return metadata.target().starts_with("ftpsfs::ftp");
        }
        let ours = metadata.target().split("::").next() == Some("ftpsfs");
        ours || metadata.level() <= Level::Error || log::max_level() == LevelFilter::Trace
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut text = record.args().to_string();
        if let Some(trouble) = record.target().strip_prefix(TROUBLE) {
            match self.troubles.lock().told(trouble, Instant::now()) {
                Told::JustNow if log::max_level() < LevelFilter::Debug => return,
                Told::Before(times) if times > 0 => text.push_str(&format!(" (and {times} times meanwhile)")),
                _ => {}
            }
        }
        for line in text.lines() {
            // Whoever wrote the text had to escape what the server said; a log that drives a terminal is too bad to rely on it.
            let line = escaped(line.as_bytes()).to_string();
            self.sink.lock().write(record.level(), &line);
            if let Some(file) = self.file.lock().as_mut() {
                file.write(record.level(), &line);
            }
        }
    }

    fn flush(&self) {}
}

impl Sink {
    /// A log that cannot be written has nobody left to tell.
    fn write(&mut self, level: Level, line: &str) {
        let priority = priority(level);
        let _ = match self {
            Self::Trace(since) => writeln!(io::stderr(), "{:9.4} {line}", since.elapsed().as_secs_f64()),
            Self::Terminal => writeln!(io::stderr(), "ftpsfs: {line}"),
            Self::Journal => writeln!(io::stderr(), "<{priority}>{line}"),
            Self::Syslog(socket) => {
                let tag = std::process::id();
                tell(socket, Path::new(SYSLOG), &format!("<{}>ftpsfs[{tag}]: {line}", FACILITY | priority))
            }
            Self::Nowhere => Ok(()),
        };
    }
}

/// Sends `line` to whoever listens at `place`: another one, once who listened there before was started again.
fn tell(socket: &UnixDatagram, place: &Path, line: &str) -> io::Result<()> {
    match socket.send(line.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => {
            socket.connect(place)?;
            socket.send(line.as_bytes()).map(drop)
        }
        sent => sent.map(drop),
    }
}

/// The file of `log=`.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: open_file(path)? })
    }

    /// One write a line, so that several mounts may share the file.
    fn write(&mut self, level: Level, line: &str) {
        let now = OffsetDateTime::now_utc();
        let (date, time) = (now.date(), now.time());
        let day = format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day());
        let moment = format!("{:02}:{:02}:{:02}.{:03}", time.hour(), time.minute(), time.second(), time.millisecond());
        let level = level.as_str().to_ascii_lowercase();
        let line = format!("{day}T{moment}Z ftpsfs[{}] {level}: {line}\n", std::process::id());
        let _ = self.file.write_all(line.as_bytes());
    }
}

/// The troubles told of lately: a dead network is one, however many programs run into it.
#[derive(Debug)]
struct Troubles(VecDeque<Trouble>);

#[derive(Debug)]
struct Trouble {
    text: String,
    told: Instant,
    since_then: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    JustNow,
    /// A while ago, and that many times since then in silence; or never.
    Before(usize),
}

impl Troubles {
    const fn new() -> Self {
        Self(VecDeque::new())
    }

    fn told(&mut self, text: &str, now: Instant) -> Told {
        match self.0.iter_mut().find(|trouble| trouble.text == text) {
            Some(trouble) if now.saturating_duration_since(trouble.told) < TROUBLE_PAUSE => {
                trouble.since_then += 1;
                Told::JustNow
            }
            Some(trouble) => {
                trouble.told = now;
                Told::Before(std::mem::take(&mut trouble.since_then))
            }
            None => {
                self.0.truncate(TROUBLES_MAX - 1);
                self.0.push_front(Trouble { text: text.to_owned(), told: now, since_then: 0 });
                Told::Before(0)
            }
        }
    }
}

/// As syslog(3) numbers them.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After a restart of rsyslogd every line was lost.
    #[test]
    fn syslog_is_found_again_when_it_was_started_again() {
        let place = std::env::temp_dir().join(format!("ftpsfs-syslog-{}", std::process::id()));
        let socket = UnixDatagram::unbound().unwrap();
        let hears = |listener: &UnixDatagram| {
            let mut heard = [0; 16];
            let count = listener.recv(&mut heard).unwrap();
            String::from_utf8_lossy(&heard[..count]).into_owned()
        };
        tell(&socket, &place, "before").unwrap_err();
        for line in ["one", "two", "three"] {
            let listener = UnixDatagram::bind(&place).unwrap();
            tell(&socket, &place, line).unwrap();
            assert_eq!(hears(&listener), line);
            drop(listener);
            fs::remove_file(&place).unwrap();
            tell(&socket, &place, "meanwhile").unwrap_err();
        }
    }

    #[test]
    fn a_trouble_is_told_once_a_minute_and_then_how_often_it_came() {
        let (mut troubles, start) = (Troubles::new(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for (text, second, expected) in [
            ("down", 0, Told::Before(0)),
            ("down", 1, Told::JustNow),
            ("other", 2, Told::Before(0)),
            ("down", 59, Told::JustNow),
            ("down", 60, Told::Before(2)),
            ("down", 119, Told::JustNow),
            ("other", 120, Told::Before(0)),
        ] {
            assert_eq!(troubles.told(text, at(second)), expected, "{text} at {second}");
        }
        for number in 0..100 {
            troubles.told(&number.to_string(), start);
        }
        assert_eq!(troubles.0.len(), TROUBLES_MAX);
    }
}
