//! Where the log goes: standard error in the foreground, syslog once the terminal is gone.

use log::{Level, LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::time::Instant;

/// Where syslogd and journald listen.
const SYSLOG: &str = "/dev/log";
/// `LOG_DAEMON` of syslog(3).
const FACILITY: u8 = 3 << 3;

static LOGGER: Logger = Logger { sink: Mutex::new(Sink::Terminal) };

#[derive(Debug)]
struct Logger {
    sink: Mutex<Sink>,
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

/// Goes on in syslog. Where nobody listens there, the log ends.
pub fn move_to_syslog() {
    let socket = UnixDatagram::unbound().and_then(|socket| {
        // A log that is slow must not hold up a file system that the log itself may lie on.
        socket.set_nonblocking(true)?;
        socket.connect(SYSLOG)?;
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
        let text = record.args().to_string();
        for line in text.lines() {
            self.sink.lock().write(record.level(), line);
        }
    }

    fn flush(&self) {}
}

impl Sink {
    /// A log that cannot be written has nobody left to tell.
    fn write(&mut self, level: Level, line: &str) {
        let priority = priority(level);
        let _ = match self {
            Self::Trace(since) => writeln!(std::io::stderr(), "{:9.4} {line}", since.elapsed().as_secs_f64()),
            Self::Terminal => writeln!(std::io::stderr(), "ftpsfs: {line}"),
            Self::Journal => writeln!(std::io::stderr(), "<{priority}>{line}"),
            Self::Syslog(socket) => {
                let tag = std::process::id();
                socket.send(format!("<{}>ftpsfs[{tag}]: {line}", FACILITY | priority).as_bytes()).map(drop)
            }
            Self::Nowhere => Ok(()),
        };
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
