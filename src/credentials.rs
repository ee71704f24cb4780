//! Where a password comes from: a file of the owner's own, a command, the environment, systemd, netrc(5) or the terminal.

mod netrc;

use crate::secret::Secret;
use crate::sys;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// The variable that may hold the password; it is taken out of the environment at once.
pub const VARIABLE: &str = "FTPSFS_PASSWORD";

/// A credentials file is a few lines; a longer one is something else.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// How long `password_command=` may take.
const COMMAND_MAX: Duration = Duration::from_secs(60);
const COMMAND_PAUSE: Duration = Duration::from_millis(5);
/// A password longer than this is none.
const LINE_BYTES_MAX: u64 = 4096;

/// Where to look for a password that was not given for this mount.
#[derive(Debug)]
pub struct Sources {
    /// What [`VARIABLE`] held.
    pub environment: Option<Secret>,
    /// Where systemd puts what a unit loads (`LoadCredential=`, systemd.exec(5)).
    pub systemd: Option<PathBuf>,
    /// The file of netrc(5).
    pub netrc: Option<PathBuf>,
    /// Asks for what is in this text.
    pub ask: fn(&str) -> io::Result<Secret>,
    /// Runs `password_command=`.
    pub run: fn(&str) -> Result<Secret, Error>,
}

impl Sources {
    /// This process's environment and terminal. To be called before there are threads.
    pub fn of_this_process() -> Self {
        let path = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        Self {
            environment: sys::take_variable(VARIABLE).map(Secret::new),
            systemd: path("CREDENTIALS_DIRECTORY"),
            netrc: path("NETRC").or_else(|| Some(path("HOME")?.join(".netrc"))),
            ask,
            run: run_command,
        }
    }

    /// For who only wants to know whether the rest is right.
    #[must_use]
    pub fn without_asking(self) -> Self {
        Self { ask: |_| Ok(Secret::new("")), run: |_| Ok(Secret::new("")), ..self }
    }

    /// What systemd loaded for us as `ftpsfs.NAME`, up to the end of its line.
    ///
    /// # Errors
    ///
    /// Where it is there and cannot be read.
    pub fn of_systemd(&self, name: &str) -> Result<Option<Secret>, Error> {
        let Some(path) = self.systemd.as_ref().map(|directory| directory.join(format!("ftpsfs.{name}"))) else {
            return Ok(None);
        };
        // systemd sees to its mode, which depends on the unit's user.
        let mut text = Zeroizing::new(Vec::new());
        match File::open(&path).and_then(|file| file.take(LINE_BYTES_MAX).read_to_end(&mut text)) {
            Ok(_) => Ok(Some(first_line(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error(format!("{}: {error}", path.display()))),
        }
    }

    /// What the file of netrc(5) has for `host`, and for `user` where one is named.
    ///
    /// # Errors
    ///
    /// Where it would be used and others may read it.
    pub fn netrc(&self, host: &str, user: Option<&str>) -> Result<Credentials, Error> {
        let Some(path) = &self.netrc else { return Ok(Credentials::default()) };
        let Ok(file) = File::open(path) else { return Ok(Credentials::default()) };
        let wrong = |what: &dyn fmt::Display| Error(format!("{}: {what}", path.display()));
        let metadata = file.metadata().map_err(|error| wrong(&error))?;
        let mut text = Zeroizing::new(String::new());
        // What is not text has nothing for us.
        if file.take(FILE_BYTES_MAX).read_to_string(&mut text).is_err() {
            return Ok(Credentials::default());
        }
        let found = netrc::find(&text, host, user);
        if found.password.is_some() {
            check(&metadata).map_err(|what| wrong(&what))?;
        }
        Ok(found)
    }
}

/// Runs `command` in a shell; the first line that it prints is the password.
///
/// # Errors
///
/// Where it fails, takes longer than [`COMMAND_MAX`] or prints nothing.
fn run_command(command: &str) -> Result<Secret, Error> {
    let wrong = |what: &dyn fmt::Display| Error(format!("password_command: {what}"));
    let mut child = Command::new("/bin/sh").args(["-c", command]).stdout(Stdio::piped()).spawn();
    let child = child.as_mut().map_err(|error| wrong(error))?;
    let output = child.stdout.take().ok_or_else(|| wrong(&"it has no output"))?;
    // Through a terminal it may ask for a PIN; but a command that hangs must not keep the machine from starting.
    let mut printed = Zeroizing::new(Vec::new());
    let deadline = Instant::now() + COMMAND_MAX;
    let read = sys::read_until(&output, &mut printed, LINE_BYTES_MAX, deadline);
    drop(output);
    while read.is_ok() && child.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < deadline {
        thread::sleep(COMMAND_PAUSE);
    }
    // One that has ended does not mind.
    let _ = child.kill();
    let status = child.wait().map_err(|error| wrong(&error))?;
    read.map_err(|error| wrong(&error))?;
    match (status.success(), printed.is_empty()) {
        (false, _) => Err(wrong(&format!("it ended with {status}"))),
        (true, true) => Err(wrong(&"it printed nothing")),
        (true, false) => Ok(first_line(&printed)),
    }
}

fn first_line(text: &[u8]) -> Secret {
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    Secret::new(line.strip_suffix(b"\r").unwrap_or(line))
}

/// What a credentials file holds.
#[derive(Debug, Default)]
pub struct Credentials {
    /// From `username=`.
    pub user: Option<String>,
    /// From `password=`.
    pub password: Option<Secret>,
    /// From `passphrase=`: that of the key of `key=`.
    pub passphrase: Option<Secret>,
}

/// Why a credentials file was not taken. Never quotes its content.
#[derive(Debug)]
pub struct Error(String);

impl Credentials {
    /// Reads `path`.
    ///
    /// # Errors
    ///
    /// Refused is a file that anybody but its owner may read or write, or that belongs to anybody but root and us.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |what: &dyn fmt::Display| Error(format!("credentials file {}: {what}", path.display()));
        let file = File::open(path).map_err(|error| wrong(&error))?;
        // Of the open file, so that it cannot be exchanged in between.
        let metadata = file.metadata().map_err(|error| wrong(&error))?;
        check(&metadata).map_err(|what| wrong(&what))?;
        let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0).min(4096) + 1));
        file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(|error| wrong(&error))?;
        Self::parse(&text).map_err(|what| wrong(&what))
    }

    /// Lines `username=` (or `user=`), `password=` and `passphrase=`, as mount.cifs(8) has them (whose `domain=` means nothing
    /// here); spaces before a key are left out,
    /// spaces in a value are its own; `#` begins a comment line; other keys are refused by name.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let mut credentials = Self::default();
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let at = |what: &str| format!("line {}: {what}", index + 1);
            let Some(equals) = line.iter().position(|&byte| byte == b'=') else {
                return Err(at("must be username=NAME or password=WORD"));
            };
            let (key, value) = (&line[..equals], &line[equals + 1..]);
            if value.contains(&0) || value.contains(&b'\r') {
                return Err(at("the value holds a byte that FTP cannot carry"));
            }
            match key.trim_ascii() {
                b"username" | b"user" => {
                    let name = str::from_utf8(value.trim_ascii()).map_err(|_| at("the user must be UTF-8"))?;
                    credentials.user = Some(name.to_owned());
                }
                b"password" => credentials.password = Some(Secret::new(value)),
                b"passphrase" => credentials.passphrase = Some(Secret::new(value)),
                b"domain" => {}
                _ => return Err(at("must be username=NAME or password=WORD")),
            }
        }
        Ok(credentials)
    }
}

fn check(metadata: &std::fs::Metadata) -> Result<(), String> {
    let mode = metadata.mode() & 0o7777;
    let (user, _) = sys::user_and_group();
    if !metadata.is_file() {
        return Err("it is not a file".into());
    }
    if mode & 0o077 != 0 {
        return Err(format!("its mode is {mode:04o}, so that others may reach the password; make it 0600"));
    }
    if metadata.uid() != 0 && metadata.uid() != user {
        return Err(format!("it belongs to user {}, neither to root nor to you", metadata.uid()));
    }
    Ok(())
}

/// Asks on the terminal, without showing what is typed.
fn ask(what: &str) -> io::Result<Secret> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let mut line = Zeroizing::new(Vec::with_capacity(256));
    {
        let quiet = sys::Quiet::new(&terminal)?;
        (&terminal).write_all(format!("{what}: ").as_bytes())?;
        let typed = quiet.wait()?;
        if typed {
            BufReader::with_capacity(256, (&terminal).take(LINE_BYTES_MAX)).read_until(b'\n', &mut line)?;
        }
        // Typing Enter did not show.
        (&terminal).write_all(b"\n")?;
    }
    terminal.flush()?;
    match line.pop() {
        Some(b'\n') => Ok(Secret::new(line.as_slice())),
        _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_give_user_and_password() {
        let text = b"# the backup account\nusername=joe\r\n password=a = b \n\n";
        let credentials = Credentials::parse(text).unwrap();
        assert_eq!(credentials.user.as_deref(), Some("joe"));
        assert_eq!(credentials.password.unwrap().expose(), b"a = b ");
    }

    #[test]
    fn a_line_that_is_neither_is_named_by_its_number_only() {
        for text in [&b"username=joe\nhunter2\n"[..], b"username=joe\npasswort=hunter2\n"] {
            let error = Credentials::parse(text).unwrap_err();
            assert!(error.starts_with("line 2: must be") && !error.contains("hunter2"), "{error}");
        }
        assert!(Credentials::parse(b"password=a\0b").unwrap_err().contains("cannot carry"));
    }
}
