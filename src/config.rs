//! What a mount is made of, validated: settings of both wings and of the mount itself.

use crate::credentials::{Credentials, Sources};
use crate::failure::Failure;
use crate::ftp::settings::{Directory, Settings as FtpSettings, TlsMode, Trust};
use crate::options::Options;
use crate::secret::Secret;
use crate::sys;
use crate::url::{Scheme, Url};
use crate::vfs::settings::Settings as VfsSettings;
use log::LevelFilter;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An unused control connection is closed before servers close it themselves (vsftpd after 300 s).
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The roots of all systems together take less than 1 MiB.
const CAFILE_BYTES_MAX: u64 = 16 << 20;
/// What servers that know anonymous accounts want to see (RFC 1635).
const ANONYMOUS_PASSWORD: &str = "anonymous@";

/// Not /tmp: that is often memory, and what is written may be large.
const SPOOL_DIR: &str = "/var/tmp";
/// Of a directory of the journal; file systems take 255.
const NAME_BYTES_MAX: usize = 200;
/// Enough to tell hosts apart in a name that has other parts as well.
const HOST_CHARS_MAX: usize = 16;

/// What was asked for, each part read by itself.
#[derive(Debug, Clone)]
pub struct Request {
    /// The server and the directory.
    pub url: Url,
    /// Where to mount, as typed.
    pub mountpoint: PathBuf,
    /// `-o`.
    pub options: Options,
    /// `-f` or `-d`.
    pub foreground: bool,
}

/// All that a mount needs to know. `Debug` does not show the password.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server's side.
    pub ftp: FtpSettings,
    /// The file system's side.
    pub vfs: VfsSettings,
    /// The kernel's side.
    pub mount: MountSettings,
}

/// Where and how to mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSettings {
    /// The directory to mount on, as typed.
    pub mountpoint: PathBuf,
    /// What mount(8) shows as the source: the URL as typed, without the password.
    pub source: String,
    /// Stay in front and log to standard error.
    pub foreground: bool,
    /// Users besides the mounting one are let in.
    pub allow_other: bool,
    /// No program on the mount may be run.
    pub noexec: bool,
    /// The kernel lets nobody write.
    pub read_only: bool,
    /// Where closed files wait for their upload.
    pub journal_dir: PathBuf,
}

impl Config {
    /// Sees the parts of `request` together, reads the files they name and finds the password.
    ///
    /// # Errors
    ///
    /// A usage [`Failure`] that names the part and what is wrong with it.
    pub fn new(request: Request, sources: Sources) -> Result<Self, Failure> {
        let Request { url, mountpoint, options, foreground } = request;
        let credentials = options
            .credentials
            .as_deref()
            .map(Credentials::read)
            .transpose()
            .map_err(Failure::usage)?
            .unwrap_or_default();
        let tls = tls(&url, options.tls)?;
        let user = user(&url, options.user.as_deref(), credentials.user.as_deref())?;
        let trust = options.cafile.as_deref().map_or(Ok(Trust::WebPki), trust)?;
        let vfs = vfs(&options);
        // Last, so that nobody types a password only to hear that something else is wrong.
        let password = password(&url, credentials.password, sources, &user)?;
        let ftp = FtpSettings {
            port: url.port.unwrap_or(match tls {
                TlsMode::Explicit => FtpSettings::PORT_EXPLICIT,
                TlsMode::Implicit => FtpSettings::PORT_IMPLICIT,
            }),
            host: url.host,
            tls,
            user,
            password,
            directory: url.directory,
            charset: options.charset,
            ignore_case: options.ignore_case,
            trust,
            connections_max: options.connections,
            timeout: options.timeout,
            verify: options.verify,
            server_tz: options.server_tz.clone(),
            idle_timeout: IDLE_TIMEOUT,
        };
        Ok(Self {
            vfs,
            mount: MountSettings {
                mountpoint,
                source: url.shown,
                foreground: foreground || options.debug,
                allow_other: options.allow_other,
                noexec: options.noexec,
                read_only: options.read_only,
                journal_dir: journal(&options, &ftp),
            },
            ftp,
        })
    }
}

impl Request {
    /// How much to log: `debug` and `-v` raise what `log_level=` says.
    pub fn level(&self, verbose: u8) -> LevelFilter {
        let asked = match verbose {
            0 if self.options.debug => LevelFilter::Debug,
            0 => LevelFilter::Off,
            1 => LevelFilter::Debug,
            _ => LevelFilter::Trace,
        };
        asked.max(self.options.level)
    }
}

fn tls(url: &Url, wish: Option<TlsMode>) -> Result<TlsMode, Failure> {
    match (url.scheme, wish) {
        (Scheme::Ftpes, Some(TlsMode::Implicit)) => {
            Err(Failure::usage("ftpes:// means explicit TLS, but the option says tls=implicit: write ftps:// for that"))
        }
        (_, Some(mode)) => Ok(mode),
        (Scheme::Ftps, None) if url.port == Some(FtpSettings::PORT_IMPLICIT) => Ok(TlsMode::Implicit),
        (_, None) => Ok(TlsMode::Explicit),
    }
}

/// One account, however often it is named.
fn user(url: &Url, option: Option<&str>, file: Option<&str>) -> Result<String, Failure> {
    let named = [("the URL", url.user.as_deref()), ("the option user=", option), ("the credentials file", file)];
    let mut named = named.iter().filter_map(|(place, user)| user.map(|user| (place, user)));
    let Some((place, user)) = named.next() else {
        return Err(Failure::usage(
            "no user is given: write ftps://USER@HOST/, user=USER or username=USER in a credentials file (anonymous is \
             one, too)",
        ));
    };
    match named.find(|(_, other)| *other != user) {
        Some((other_place, other)) => {
            Err(Failure::usage(format!("{place} says user {user:?}, but {other_place} says {other:?}")))
        }
        None => Ok(user.to_owned()),
    }
}

/// The nearest to the command line wins: URL, credentials file, environment, terminal.
fn password(url: &Url, file: Option<Secret>, sources: Sources, user: &str) -> Result<Secret, Failure> {
    if url.password.is_some() {
        log::warn!(
            "a password in the URL is open to everybody until ftpsfs has hidden it: better put it into a file of mode 0600 \
             and mount with credentials=FILE"
        );
    }
    if let Some(password) = url.password.clone().or(file).or(sources.environment) {
        return no_line_break(password);
    }
    if matches!(user, "anonymous" | "ftp") {
        return Ok(Secret::new(ANONYMOUS_PASSWORD));
    }
    (sources.ask)(&format!("{user} on {}", url.host)).map_err(|error| {
        Failure::usage(format!(
            "no password for {user} on {}: give credentials=FILE or set FTPSFS_PASSWORD; asking on the terminal failed: \
             {error}",
            url.host
        ))
    })
}

fn no_line_break(password: Secret) -> Result<Secret, Failure> {
    match password.expose().iter().any(|byte| b"\0\r\n".contains(byte)) {
        true => Err(Failure::usage("the password holds a line break, which FTP cannot carry")),
        false => Ok(password),
    }
}

fn trust(path: &Path) -> Result<Trust, Failure> {
    let wrong = |what: &dyn std::fmt::Display| Failure::usage(format!("cafile {}: {what}", path.display()));
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(CAFILE_BYTES_MAX).read_to_end(&mut pem))
        .map_err(|error| wrong(&error))?;
    let begin = b"-----BEGIN CERTIFICATE-----";
    match pem.windows(begin.len()).any(|window| window == begin) {
        true => Ok(Trust::Pem(pem)),
        false => Err(wrong(&"there is no PEM certificate in it")),
    }
}

fn vfs(options: &Options) -> VfsSettings {
    let (uid, gid) = sys::user_and_group();
    VfsSettings {
        cache_bytes_max: options.cache_bytes_max,
        attr_timeout: options.attr_timeout,
        dir_timeout: options.dir_timeout,
        uid: options.uid.unwrap_or(uid),
        gid: options.gid.unwrap_or(gid),
        idmap: options.idmap,
        file_mode: options.file_mode,
        dir_mode: options.dir_mode,
        umask: options.umask.unwrap_or_else(sys::umask),
        read_only: options.read_only,
        upload: options.upload,
        writeback: options.writeback,
        conflict: options.conflict,
        spool_dir: options.spool_dir.clone().unwrap_or_else(|| SPOOL_DIR.into()),
        recovery_dir: options.recovery_dir.clone().unwrap_or_else(|| kept_in("recovery")),
        ignore_perms: options.ignore_perms,
        host: host(),
    }
}

/// Where a system, or a user, keeps what must outlive the program (XDG base directories), under `name`; works with an
/// empty environment, too.
fn kept_in(name: &str) -> PathBuf {
    let state = || directory("XDG_STATE_HOME").or_else(|| Some(directory("HOME")?.join(".local/state")));
    match (sys::is_root(), state()) {
        (true, _) => format!("/var/lib/ftpsfs/{name}").into(),
        (false, Some(state)) => state.join("ftpsfs").join(name),
        (false, None) => format!("{SPOOL_DIR}/ftpsfs-{name}-{}", sys::user_and_group().0).into(),
    }
}

/// The journal of one account in one directory of one server has a directory of its own.
fn journal(options: &Options, ftp: &FtpSettings) -> PathBuf {
    let directory = match &ftp.directory {
        Directory::FromLogin(path) => [b"/", &path[..]].concat(),
        Directory::Absolute(path) => [b"/", &path[..]].concat(),
    };
    let place = [format!("{}@{}:{}", ftp.user, ftp.host, ftp.port).as_bytes(), &directory].concat();
    let journal = options.journal_dir.clone().unwrap_or_else(|| kept_in("journal"));
    // A longer name than a file system takes becomes several.
    escaped_name(&place).as_bytes().chunks(NAME_BYTES_MAX).fold(journal, |journal, part| {
        // ASCII can be cut anywhere.
        journal.join(String::from_utf8_lossy(part).as_ref())
    })
}

/// A name for a file, out of which the bytes can be told: other characters than the plain ones are `%` and two digits.
fn escaped_name(bytes: &[u8]) -> String {
    let mut name = String::new();
    for &byte in bytes {
        match byte {
            plain if plain.is_ascii_alphanumeric() || b"-_@".contains(&plain) => name.push(char::from(plain)),
            b'.' if !name.is_empty() => name.push('.'),
            other => name.push_str(&format!("%{other:02x}")),
        }
    }
    name
}

/// The directory that an environment variable names, if that is an absolute path.
fn directory(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// This host's name up to its first dot, as far as it can stand in a file name.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let short = name.trim().split('.').next().unwrap_or_default();
    let name: String = short.chars().filter(char::is_ascii_alphanumeric).take(HOST_CHARS_MAX).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str, options: &str) -> Result<Config, Failure> {
        let mut read = Options::default();
        read.add(options).unwrap();
        let url = Url::parse(url).unwrap();
        let request = Request { url, mountpoint: "/mnt".into(), options: read, foreground: false };
        let ask = |account: &str| Ok(Secret::new(format!("asked for {account}")));
        Config::new(request, Sources { environment: None, ask })
    }

    #[test]
    fn port_scheme_and_option_agree_on_one_mode() {
        for (url, options, mode, port) in [
            ("ftps://u@h/", "", TlsMode::Explicit, 21),
            ("ftps://u@h:2121/", "", TlsMode::Explicit, 2121),
            ("ftps://u@h:990/", "", TlsMode::Implicit, 990),
            ("ftps://u@h:990/", "tls=explicit", TlsMode::Explicit, 990),
            ("ftps://u@h/", "tls=implicit", TlsMode::Implicit, 990),
            ("ftps://u@h:2121/", "tls=implicit", TlsMode::Implicit, 2121),
            ("ftpes://u@h/", "", TlsMode::Explicit, 21),
            ("ftpes://u@h:990/", "", TlsMode::Explicit, 990),
        ] {
            let ftp = config(url, options).unwrap().ftp;
            assert_eq!((ftp.tls, ftp.port), (mode, port), "{url} {options}");
        }
        let error = config("ftpes://u@h/", "tls=implicit").unwrap_err();
        assert!(error.message.contains("ftpes:// means explicit"), "{error}");
    }

    #[test]
    fn one_user_is_named_once_or_alike() {
        assert_eq!(config("ftps://h/", "user=joe").unwrap().ftp.user, "joe");
        assert_eq!(config("ftps://joe@h/", "user=joe").unwrap().ftp.user, "joe");
        let error = config("ftps://joe@h/", "user=ann").unwrap_err();
        assert_eq!(error.message, r#"the URL says user "joe", but the option user= says "ann""#);
        assert!(config("ftps://h/", "").unwrap_err().message.contains("no user is given"));
    }

    #[test]
    fn the_password_of_the_url_wins_and_anonymous_needs_none() {
        assert_eq!(config("ftps://joe:pw@h/", "").unwrap().ftp.password.expose(), b"pw");
        assert_eq!(config("ftps://joe@h/", "").unwrap().ftp.password.expose(), b"asked for joe on h");
        assert_eq!(config("ftps://anonymous@h/", "").unwrap().ftp.password.expose(), b"anonymous@");
    }

    #[test]
    fn no_password_shows_in_debug_or_source() {
        let config = config("ftps://joe:hunter2@h:2121/dir", "").unwrap();
        assert_eq!(config.mount.source, "ftps://joe@h:2121/dir");
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn a_cafile_must_hold_a_certificate() {
        assert!(config("ftps://joe:pw@h/", "cafile=/dev/null").unwrap_err().message.contains("no PEM certificate"));
        assert!(config("ftps://joe:pw@h/", "cafile=/does/not/exist").unwrap_err().message.contains("No such file"));
    }
}
