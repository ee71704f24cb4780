//! What a mount is made of, validated: settings of both wings and of the mount itself.

mod account;
mod trust;

use crate::credentials::{Credentials, Sources};
use crate::failure::Failure;
use crate::ftp::settings::{Directory, Settings as FtpSettings, TlsMode, Trust};
use crate::options::{AccessTimes, Options};
use crate::sandbox::Rights;
use crate::sys::{self, MountFlags};
use crate::url::{Scheme, Url};
use crate::vfs::settings::Settings as VfsSettings;
use log::LevelFilter;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// An unused control connection is closed before servers close it themselves (vsftpd after 300 s).
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A moment, also on a machine that is busy.
const NEXT_QUESTION: Duration = Duration::from_millis(20);

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
    /// mount(8)'s `-f`: everything but the mount.
    pub fake: bool,
    /// mount(8)'s `-N`: where to mount.
    pub namespace: Option<PathBuf>,
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
    /// What the kernel is told of the mount.
    pub flags: MountFlags,
    /// The labels of SELinux, by the option's name.
    pub contexts: Vec<(String, String)>,
    /// Nothing is mounted.
    pub fake: bool,
    /// The mount namespace to mount in, where it is not ours.
    pub namespace: Option<PathBuf>,
    /// The server is asked for the first time when somebody looks.
    pub delay_connect: bool,
    /// How long is tried again where the network or the server is not there yet.
    pub mount_timeout: Duration,
    /// The log's file, absolute.
    pub log: Option<PathBuf>,
    /// Where closed files wait for their upload.
    pub journal_dir: PathBuf,
    /// The cache on disk, if there is to be one.
    pub disk_cache: Option<DiskCacheSettings>,
}

/// What the cache on disk is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskCacheSettings {
    /// Where it is, absolute.
    pub directory: PathBuf,
    /// How much of the disk it takes, at most.
    pub bytes_max: u64,
    /// Whose files they are: another account, server or directory has others.
    pub scope: Vec<u8>,
}

impl Config {
    /// Whether the account is one that needs no password, and none was given.
    pub fn is_anonymous(&self) -> bool {
        self.ftp.password.expose() == account::ANONYMOUS_PASSWORD.as_bytes()
    }

    /// Sees the parts of `request` together, reads the files they name and finds the password.
    ///
    /// # Errors
    ///
    /// A usage [`Failure`] that names the part and what is wrong with it.
    pub fn new(request: Request, sources: Sources) -> Result<Self, Failure> {
        let Request { url, mountpoint, options, foreground, fake, namespace } = request;
        let options = with_places(options)?;
        options.left_out.iter().for_each(|left_out| log::warn!("{left_out}: left out"));
        let sources = if fake { sources.without_asking() } else { sources };
        let credentials = options
            .credentials
            .as_deref()
            .map(Credentials::read)
            .transpose()
            .map_err(Failure::usage)?
            .unwrap_or_default();
        let tls = tls(&url, options.port, options.tls)?;
        let port = port(&url, options.port, tls)?;
        let user = account::user(&url, &options, &credentials, &sources)?;
        let trust = trust::trust(&options, || kept_in("known_servers"))?;
        let vfs = vfs(&options);
        // Last, so that nobody types a password only to hear that something else is wrong.
        let mut credentials = credentials;
        let passphrase = credentials.passphrase.take();
        let identity = trust::identity(&options, |file| account::passphrase(passphrase, &sources, file, !fake))?;
        let password = account::password(&url, &options, credentials, &sources, &user)?;
        let ftp = FtpSettings {
            port,
            host: url.host,
            tls,
            user,
            password,
            directory: url.directory,
            charset: options.charset,
            ignore_case: options.ignore_case,
            trust,
            identity,
            versions: options.versions,
            connections_max: options.connections,
            timeout: options.timeout,
            hard: options.hard,
            verify: options.verify,
            server_tz: options.server_tz.clone(),
            idle_timeout: IDLE_TIMEOUT,
            opens_ahead: true,
            next_question: NEXT_QUESTION,
        };
        Ok(Self {
            vfs,
            mount: MountSettings {
                mountpoint,
                source: url.shown,
                foreground: foreground || options.debug,
                allow_other: options.allow_other,
                flags: flags(&options),
                contexts: options.contexts.clone(),
                fake,
                namespace,
                delay_connect: options.delay_connect,
                mount_timeout: options.mount_timeout,
                log: options.log.clone(),
                journal_dir: journal(&options, &ftp),
                disk_cache: disk_cache(&options, &ftp),
            },
            ftp,
        })
    }
}

/// What verifying a server takes of this machine's files. A directory that is to be written gets made here: there is no right
/// to what is not there.
pub fn rights_of(trust: &Trust) -> Rights {
    let mut rights = Rights::default();
    match trust {
        Trust::FirstUse(known) => {
            let directory = known.parent().unwrap_or(known);
            // Where it fails, whoever needs it says so.
            let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
            rights.writable.push(directory.to_owned());
        }
        // Where OpenSSL, and who does as it does, looks for roots besides `/etc` and `/usr`.
        Trust::System => {
            let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().filter_map(std::env::var_os);
            rights.readable.extend(named.map(PathBuf::from));
        }
        _ => {}
    }
    rights
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

fn tls(url: &Url, port: Option<u16>, wish: Option<TlsMode>) -> Result<TlsMode, Failure> {
    match (url.scheme, wish) {
        (Scheme::Ftpes, Some(TlsMode::Implicit)) => {
            Err(Failure::usage("ftpes:// means explicit TLS, but the option says tls=implicit: write ftps:// for that"))
        }
        (_, Some(mode)) => Ok(mode),
        (Scheme::Ftps, None) if url.port.or(port) == Some(FtpSettings::PORT_IMPLICIT) => Ok(TlsMode::Implicit),
        (_, None) => Ok(TlsMode::Explicit),
    }
}

fn flags(options: &Options) -> MountFlags {
    if options.nosymfollow && !sys::is_root() {
        log::warn!("fusermount3 does not pass nosymfollow on: only root can");
    }
    MountFlags {
        noexec: options.noexec,
        read_only: options.read_only,
        noatime: options.access_times == AccessTimes::None,
        relatime: options.access_times == AccessTimes::Relative,
        strictatime: options.access_times == AccessTimes::Strict,
        nodiratime: options.no_directory_times,
        nosymfollow: options.nosymfollow,
    }
}

/// The process leaves its working directory, and opens the file again later.
fn port(url: &Url, option: Option<u16>, tls: TlsMode) -> Result<u16, Failure> {
    match (url.port, option) {
        (Some(url), Some(option)) if url != option => {
            Err(Failure::usage(format!("the URL says port {url}, but the option port= says {option}")))
        }
        (Some(port), _) | (None, Some(port)) => Ok(port),
        (None, None) => Ok(match tls {
            TlsMode::Explicit => FtpSettings::PORT_EXPLICIT,
            TlsMode::Implicit => FtpSettings::PORT_IMPLICIT,
        }),
    }
}

fn vfs(options: &Options) -> VfsSettings {
    let (uid, gid) = sys::user_and_group();
    VfsSettings {
        cache_bytes_max: options.cache_bytes_max,
        attr_timeout: options.attr_timeout,
        dir_timeout: options.dir_timeout,
        prefetch: options.prefetch,
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
        patience: (!options.hard).then_some(options.timeout),
        stale_ok: options.stale_ok,
        host: host(),
    }
}

/// The options with absolute places: in the background the working directory is another.
fn with_places(mut options: Options) -> Result<Options, Failure> {
    let places = [
        ("known_servers", &mut options.known_servers),
        ("spool_dir", &mut options.spool_dir),
        ("recovery_dir", &mut options.recovery_dir),
        ("journal_dir", &mut options.journal_dir),
        ("cache_dir", &mut options.cache_dir),
        ("log", &mut options.log),
    ];
    for (option, place) in places {
        if let Some(path) = place {
            *path = std::path::absolute(&path)
                .map_err(|error| Failure::usage(format!("{option} {}: {error}", path.display())))?;
        }
    }
    Ok(options)
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

fn disk_cache(options: &Options, ftp: &FtpSettings) -> Option<DiskCacheSettings> {
    let directory = options.cache_dir.clone()?;
    // A name may be another file's in another character set, and a time another's in another zone.
    let read_as = format!("{:?} {:?} {}", ftp.charset, ftp.server_tz, ftp.ignore_case);
    let from = match &ftp.directory {
        Directory::FromLogin(_) => "login",
        Directory::Absolute(_) => "root",
    };
    let scope = [&place(ftp), [read_as, from.into()].join("\0").as_bytes()].join(&0);
    Some(DiskCacheSettings { directory, bytes_max: options.cache_dir_bytes_max, scope })
}

/// One account in one directory of one server.
fn place(ftp: &FtpSettings) -> Vec<u8> {
    let directory = match &ftp.directory {
        Directory::FromLogin(path) => [b"/", &path[..]].concat(),
        Directory::Absolute(path) => [b"/", &path[..]].concat(),
    };
    [format!("{}@{}:{}", ftp.user, ftp.host, ftp.port).as_bytes(), &directory].concat()
}

/// The journal of one account in one directory of one server has a directory of its own.
fn journal(options: &Options, ftp: &FtpSettings) -> PathBuf {
    let journal = options.journal_dir.clone().unwrap_or_else(|| kept_in("journal"));
    // A longer name than a file system takes becomes several.
    escaped_name(&place(ftp)).as_bytes().chunks(NAME_BYTES_MAX).fold(journal, |journal, part| {
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
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let short = name.trim().split('.').next().unwrap_or_default();
    let name: String = short.chars().filter(char::is_ascii_alphanumeric).take(HOST_CHARS_MAX).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn config(url: &str, options: &str) -> Result<Config, Failure> {
        let mut read = Options::default();
        read.add(options).unwrap();
        let url = Url::parse(url).unwrap();
        let request =
            Request { url, mountpoint: "/mnt".into(), options: read, foreground: false, fake: false, namespace: None };
        let ask = |what: &str| Ok(Secret::new(format!("asked: {what}")));
        Config::new(
            request,
            Sources { environment: None, systemd: None, netrc: None, ask, run: |_| Ok(Secret::new("")) },
        )
    }

    #[test]
    fn places_are_the_same_from_everywhere() {
        let config =
            config("ftps://u@h/", "spool_dir=a,recovery_dir=b,journal_dir=c,cache_dir=d,log=e,tofu,known_servers=f");
        let config = config.unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!((config.vfs.spool_dir, config.vfs.recovery_dir), (here.join("a"), here.join("b")));
        assert!(config.mount.journal_dir.starts_with(here.join("c")));
        assert_eq!(config.mount.disk_cache.unwrap().directory, here.join("d"));
        assert_eq!((config.mount.log, config.ftp.trust), (Some(here.join("e")), Trust::FirstUse(here.join("f"))));
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
        assert_eq!(config("ftps://joe@h/", "").unwrap().ftp.password.expose(), b"asked: Password of joe on h");
        assert_eq!(config("ftps://anonymous@h/", "").unwrap().ftp.password.expose(), b"anonymous@");
    }

    #[test]
    fn no_password_shows_in_debug_or_source() {
        let config = config("ftps://joe:hunter2@h:2121/dir", "").unwrap();
        assert_eq!(config.mount.source, "ftps://joe@h:2121/dir");
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn what_makes_a_server_believed_is_said_once() {
        let pin = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let trust = |options: &str| config("ftps://joe:pw@h/", options).map(|config| config.ftp.trust);
        assert_eq!(trust("").unwrap(), Trust::WebPki);
        assert_eq!(trust("roots=system").unwrap(), Trust::System);
        let pins = vec![pin.parse().unwrap()];
        let pinned = |roots| Trust::Pinned { pins: pins.clone(), roots };
        assert_eq!(trust(&format!("pin={pin}")).unwrap(), pinned(None));
        assert_eq!(trust(&format!("pin={pin},roots=webpki")).unwrap(), pinned(Some(Box::new(Trust::WebPki))));
        assert_eq!(trust("tofu,known_servers=/k").unwrap(), Trust::FirstUse("/k".into()));
        assert_eq!(trust("insecure_no_verify").unwrap(), Trust::Anything);
        for options in
            ["tofu,insecure-no-verify", "tofu,roots=system", "insecure-no-verify,roots=webpki", "tofu,pin=PIN"]
        {
            let error = trust(&options.replace("PIN", pin)).unwrap_err();
            assert!(error.message.starts_with("give either"), "{options}: {error}");
        }
        for (options, expected) in [
            ("key=/k", "key= needs the certificate"),
            ("cert=/dev/null", "there is no PEM certificate in it"),
            ("capath=/dev", "there is no PEM certificate in it"),
            ("capath=/does/not/exist", "No such file"),
        ] {
            assert!(trust(options).unwrap_err().message.contains(expected), "{options}");
        }
    }

    #[test]
    fn a_port_is_named_once_or_alike() {
        for (url, options, port, mode) in [
            ("ftps://u@h/", "port=2121", 2121, TlsMode::Explicit),
            ("ftps://u@h:2121/", "port=2121", 2121, TlsMode::Explicit),
            ("ftps://u@h/", "port=990", 990, TlsMode::Implicit),
        ] {
            let ftp = config(url, options).unwrap().ftp;
            assert_eq!((ftp.port, ftp.tls), (port, mode), "{url} {options}");
        }
        assert!(config("ftps://u@h:21/", "port=22").unwrap_err().message.contains("the URL says port 21"));
    }

    #[test]
    fn a_cafile_must_hold_a_certificate() {
        assert!(config("ftps://joe:pw@h/", "cafile=/dev/null").unwrap_err().message.contains("no PEM certificate"));
        assert!(config("ftps://joe:pw@h/", "cafile=/does/not/exist").unwrap_err().message.contains("No such file"));
    }
}
