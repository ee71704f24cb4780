//! The servers whose keys were believed when they were first seen (`tofu`), in a file like ssh's known_hosts: lines
//! `HOST:PORT sha256/BASE64 DAY`, `#` begins a remark.

use crate::ftp::certificate::{Day, Pin};
use crate::sys;
use parking_lot::Mutex;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

/// What is known of one server.
#[derive(Debug)]
pub(super) struct Known {
    file: PathBuf,
    /// `HOST:PORT`, as the file names it.
    server: String,
    pins: Mutex<Vec<Pin>>,
}

impl Known {
    /// Reads `file`; where there is none, nothing is known yet.
    pub(super) fn open(file: &Path, host: &str, port: u16) -> Result<Self, String> {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_ascii_lowercase() };
        let server = format!("{host}:{port}");
        let text = read(file).map_err(|error| shown(file, &error))?;
        let pins = pins(&text, &server).map_err(|line| format!("{} line {line} is not understood", file.display()))?;
        Ok(Self { file: file.to_owned(), server, pins: Mutex::new(pins) })
    }

    /// Whether a server with this key may be the one that is known, or the first that is seen.
    pub(super) fn check(&self, pin: Pin) -> Result<(), String> {
        let pins = self.pins.lock();
        match pins.is_empty() || pins.contains(&pin) {
            true => Ok(()),
            false => Err(changed(&self.file, &self.server, pin, &pins)),
        }
    }

    /// Remembers the key, where it is the first.
    pub(super) fn learn(&self, pin: Pin) -> Result<(), String> {
        let mut pins = self.pins.lock();
        if pins.contains(&pin) {
            return Ok(());
        }
        *pins = self.add(pin).map_err(|error| shown(&self.file, &error))?;
        if !pins.contains(&pin) {
            return Err(changed(&self.file, &self.server, pin, &pins));
        }
        log::warn!("{} is seen for the first time: its key {pin} is kept in {}", self.server, self.file.display());
        Ok(())
    }

    /// Adds a line to the file, unless another process was first; what then is known of the server.
    fn add(&self, pin: Pin) -> io::Result<Vec<Pin>> {
        let directory =
            self.file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let _lock = lock(directory)?;
        let mut text = read(&self.file)?;
        let known =
            pins(&text, &self.server).map_err(|line| io::Error::other(format!("line {line} is not understood")))?;
        if !known.is_empty() {
            return Ok(known);
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("{} {pin} {}\n", self.server, Day(SystemTime::now())));
        let mut unfinished = self.file.as_os_str().to_owned();
        unfinished.push(".part");
        let unfinished = PathBuf::from(unfinished);
        let _ = fs::remove_file(&unfinished);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, &self.file)?;
        Ok(vec![pin])
    }
}

/// One who writes at a time.
fn lock(directory: &Path) -> io::Result<File> {
    let lock = File::open(directory)?;
    for _ in 0..LOCK_TRIES {
        if sys::lock(&lock)? {
            return Ok(lock);
        }
        thread::sleep(LOCK_PAUSE);
    }
    Err(io::Error::new(ErrorKind::TimedOut, "somebody else keeps it locked"))
}

/// The content. Whoever may write it decides whom we believe.
fn read(file: &Path) -> io::Result<String> {
    let opened = match File::open(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        opened => opened?,
    };
    let (metadata, (user, _)) = (opened.metadata()?, sys::user_and_group());
    if metadata.mode() & 0o022 != 0 || (metadata.uid() != 0 && metadata.uid() != user) {
        return Err(io::Error::other("others than its owner and root may write it; make it 0600"));
    }
    let mut text = String::new();
    // Half of it must not be taken for all of it, since it is written again.
    match opened.take(FILE_BYTES_MAX).read_to_string(&mut text)? as u64 {
        FILE_BYTES_MAX => Err(io::Error::other("it is too long")),
        _ => Ok(text),
    }
}

/// The keys of `server`; the number of a line that is none.
fn pins(text: &str, server: &str) -> Result<Vec<Pin>, usize> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let mut pins = Vec::new();
    for (index, line) in lines {
        let mut words = line.split_whitespace();
        let (named, pin) = (words.next(), words.next().and_then(|pin| pin.parse::<Pin>().ok()));
        let pin = pin.ok_or(index + 1)?;
        pins.extend((named == Some(server)).then_some(pin));
    }
    Ok(pins)
}

fn changed(file: &Path, server: &str, pin: Pin, known: &[Pin]) -> String {
    let known: Vec<String> = known.iter().map(Pin::to_string).collect();
    format!(
        "the key of {server} has changed: it is {pin}, and {} has {}. Either the server was given a new key, or somebody \
         stands between; if you know that it is new, remove the line from the file",
        file.display(),
        known.join(" and ")
    )
}

fn shown(file: &Path, error: &io::Error) -> String {
    format!("the file of known servers {}: {error}", file.display())
}

/// More than anybody has seen.
const FILE_BYTES_MAX: u64 = 4 << 20;
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_its_name_and_port_and_may_have_several_keys() {
        let (one, two) = (Pin::of_key(b"1"), Pin::of_key(b"2"));
        let text = format!("# remark\nh:21 {one} 2026\n\nother:21 {two}\nh:990 {two}\nh:21\t{two}\n[::1]:21 {one}\n");
        assert_eq!(pins(&text, "h:21"), Ok(vec![one, two]));
        assert_eq!(pins(&text, "[::1]:21"), Ok(vec![one]));
        assert_eq!(pins(&text, "h:2"), Ok(vec![]));
        assert_eq!(pins("h:21 sha256/x\n", "other:21"), Err(1));
    }
}
