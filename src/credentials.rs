//! Where a password comes from: a file of the owner's own, the environment, or the terminal.

use crate::secret::Secret;
use crate::sys;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use zeroize::Zeroizing;

/// The variable that may hold the password; it is taken out of the environment at once.
pub const VARIABLE: &str = "FTPSFS_PASSWORD";

/// A credentials file is a few lines; a longer one is something else.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// A password longer than this is none.
const LINE_BYTES_MAX: u64 = 4096;

/// Where to look for a password that neither the URL nor a file holds.
#[derive(Debug)]
pub struct Sources {
    /// What [`VARIABLE`] held.
    pub environment: Option<Secret>,
    /// Asks for the password of the account in this text.
    pub ask: fn(&str) -> io::Result<Secret>,
}

impl Sources {
    /// This process's environment and terminal. To be called before there are threads.
    pub fn of_this_process() -> Self {
        Self { environment: sys::take_variable(VARIABLE).map(Secret::new), ask }
    }
}

/// What a credentials file holds.
#[derive(Debug, Default)]
pub struct Credentials {
    /// From `username=`.
    pub user: Option<String>,
    /// From `password=`.
    pub password: Option<Secret>,
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

    /// Lines `username=` (or `user=`) and `password=`, as mount.cifs(8) has them; spaces before a key are left out,
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
fn ask(account: &str) -> io::Result<Secret> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let mut line = Zeroizing::new(Vec::with_capacity(256));
    {
        let quiet = sys::Quiet::new(&terminal)?;
        (&terminal).write_all(format!("Password of {account}: ").as_bytes())?;
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
