//! What is known of the server, shared by all sessions: how to reach it, and what it turned out to do.

use crate::ftp::breaker::Breaker;
use crate::ftp::charset::{Charset, Wish};
use crate::ftp::clock::Clock;
use crate::ftp::command::Unsendable;
use crate::ftp::counters::Counters;
use crate::ftp::error::Error;
use crate::ftp::features::Features;
use crate::ftp::listing::Listing;
use crate::ftp::order::Order;
use crate::ftp::rungs::Rungs;
use crate::ftp::settings::{Directory, Settings};
use crate::ftp::status::Standing;
use crate::ftp::tls::Tls;
use crate::path::RemotePath;
use crate::remote::condition::{Condition, Counts, Encryption};
use parking_lot::Mutex;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// One server, for the time of a mount.
#[derive(Debug)]
pub struct Server {
    /// How to reach it.
    pub settings: Settings,
    /// Its TLS configuration.
    pub tls: Tls,
    /// What happened with it.
    pub counters: Arc<Counters>,
    /// Whether it is away.
    pub breaker: Breaker,
    features: Mutex<Option<Arc<Features>>>,
    order: Mutex<Order>,
    /// What names are in on the server; `None` until they show it. It never changes, nor do names then.
    charset: Mutex<Option<Charset>>,
    /// The directory that is mounted; known after the first login.
    root: Mutex<Option<Arc<[u8]>>>,
    /// `EPSV` was refused, `PASV` is used from then on.
    pub epsv_refused: Once,
    /// What its clock shows.
    pub clock: Clock,
    /// What became of the ways to list a directory.
    pub rungs: Rungs,
    /// `LIST -a` has shown a directory itself, as `.`: where it does not, the directory may not be read.
    pub shows_dot: Once,
    /// `MLSD` told of all the names that `LIST -a` told of, or was seen to leave some out.
    pub facts_compared: Once,
    /// `MLSD` leaves names out that `LIST -a` shows.
    pub facts_leave_out: Once,
    /// Whether directories are listed by `STAT` before all else.
    pub status: Standing,
    /// Whether data connections resume their control connection's session.
    pub resumption: Resumption,
    /// `APPE` was refused as such, whatever the file.
    pub append_refused: Once,
    /// `APPE` has worked: an upload may be put aside and gone on with.
    pub has_appended: Once,
    /// What the server makes of 0xFF in a name; `None` until there was one.
    pub iac: Mutex<Option<Iac>>,
    /// Whether names of a kind that some servers change are kept here; what was not tried is not in it.
    pub keeps: Mutex<HashMap<Oddity, bool>>,
    /// The way to set a file's time that worked last.
    pub time_way: Mutex<Option<TimeWay>>,
    /// The form of `LIST` that the last understood listing had.
    list_form: Mutex<Option<&'static str>>,
    /// What the last control connection agreed on.
    encryption: Mutex<Option<Encryption>>,
    /// A transfer ended without `close_notify` and was whole all the same.
    pub omits_close_notify: Once,
}

/// How a server lets a file's time be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeWay {
    /// `MFMT` (draft-somers-ftp-mfxx).
    Mfmt,
    /// `MDTM` with two arguments (vsftpd).
    Mdtm,
    /// `SITE UTIME` (ProFTPD with mod_site_misc).
    SiteUtime,
}

/// What a server makes of the byte 0xFF in a command, which is telnet's IAC (RFC 854).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Iac {
    /// A byte like others.
    Plain,
    /// The beginning of a telnet command; twice, it stands for itself.
    Doubled,
}

/// What makes a name one that some servers change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Oddity {
    /// A control character.
    Control,
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// A space at its end.
    Space,
}

impl Oddity {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Control, Self::NotUtf8, Self::Space];

    /// Whether `name` is of this kind.
    pub fn is_of(self, name: &[u8]) -> bool {
        match self {
            Self::Control => name.iter().any(u8::is_ascii_control),
            Self::NotUtf8 => std::str::from_utf8(name).is_err(),
            Self::Space => name.ends_with(b" "),
        }
    }

    /// A name of this kind and of no other.
    pub fn sample(self) -> &'static [u8] {
        match self {
            Self::Control => b"a\x01\t\x1b\x7fb",
            Self::NotUtf8 => b"a\xe9b\xff",
            Self::Space => b"a ",
        }
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "control characters",
            Self::NotUtf8 => "bytes that are not UTF-8",
            Self::Space => "a space at the end",
        })
    }
}

/// Something that is learnt once and then stays so.
#[derive(Debug, Default)]
pub struct Once(AtomicBool);

impl Once {
    /// Whether it was learnt.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Learns it; `true` the first time, when it is worth a line in the log.
    pub fn set(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

/// Whether data connections resume their control connection's session, as far as was seen. A server may be started again with
/// other settings while it is mounted.
#[derive(Debug, Default)]
pub struct Resumption(AtomicU8);

impl Resumption {
    /// One did.
    pub fn seen(&self) {
        self.0.store(RESUMPTION_MISSED_MAX, Ordering::Relaxed);
    }

    /// The first one of a control connection did not; whether that is to be tried anew, as it was seen to work not long ago.
    pub fn missed(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

impl Server {
    /// Knows nothing yet but the settings.
    ///
    /// # Errors
    ///
    /// [`Error::Insecure`] where the settings' trust cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let tls = Tls::new(&settings)?;
        let charset = Mutex::new(wished(settings.charset));
        let clock = Clock::new(settings.server_tz.clone());
        let counters = Arc::new(Counters::default());
        let breaker = Breaker::new(Arc::clone(&counters.heard), settings.timeout);
        Ok(Self {
            settings,
            clock,
            tls,
            counters,
            breaker,
            charset,
            features: Mutex::new(None),
            order: Mutex::default(),
            root: Mutex::new(None),
            epsv_refused: Once::default(),
            rungs: Rungs::default(),
            shows_dot: Once::default(),
            facts_compared: Once::default(),
            facts_leave_out: Once::default(),
            status: Standing::default(),
            resumption: Resumption::default(),
            append_refused: Once::default(),
            has_appended: Once::default(),
            iac: Mutex::new(None),
            keeps: Mutex::default(),
            time_way: Mutex::new(None),
            list_form: Mutex::new(None),
            encryption: Mutex::new(None),
            omits_close_notify: Once::default(),
        })
    }

    /// What `FEAT` told, if a session has asked.
    pub fn features(&self) -> Option<Arc<Features>> {
        self.features.lock().clone()
    }

    /// Keeps what `FEAT` told.
    pub fn learn_features(&self, features: Features) -> Arc<Features> {
        if features.utf8 {
            self.charset.lock().get_or_insert(Charset::BYTES);
        }
        let features = Arc::new(features);
        *self.features.lock() = Some(Arc::clone(&features));
        features
    }

    /// What is known of the order in which it answers.
    pub fn order(&self) -> Order {
        *self.order.lock()
    }

    /// Keeps the order in which it answers.
    pub fn learn_order(&self, order: Order) {
        *self.order.lock() = order;
    }

    /// The form of `LIST` that the server was last seen to use.
    pub fn list_form(&self) -> Option<&'static str> {
        *self.list_form.lock()
    }

    /// Whether names may differ in more than their case: what lists in the form of DOS is Windows, and finds `a` by `A`.
    pub fn ignores_case(&self) -> bool {
        self.settings.ignore_case || self.list_form().is_some_and(|form| form.starts_with("DOS"))
    }

    /// Keeps the form of a listing that was understood, and logs what is new.
    pub fn learn_list_form(&self, form: &'static str) {
        if self.list_form.lock().replace(form) != Some(form) {
            log::debug!("the server lists in the form {form}");
        }
    }

    /// Keeps what a control connection agreed on.
    pub fn learn_encryption(&self, encryption: Option<Encryption>) {
        *self.encryption.lock() = encryption;
    }

    /// All but the connections.
    pub fn condition(&self) -> Condition {
        let (settings, counters) = (&self.settings, &self.counters);
        Condition {
            host: settings.host.clone(),
            port: settings.port,
            user: settings.user.clone(),
            tls_mode: settings.tls.to_string(),
            encryption: self.encryption.lock().clone(),
            counts: Counts {
                logins: counters.logins.value(),
                replaced: counters.replaced.value(),
                retried: counters.retried.value(),
                commands: counters.commands.value(),
                data_resumed: counters.data_resumed.value(),
                data_full: counters.data_full.value() + counters.data_full_with_retry.value(),
                reuse_refused: counters.reuse_refused.value(),
                lines_not_understood: counters.lines_not_understood.value(),
            },
            ..Condition::default()
        }
    }

    /// Whether the mounted directory is known.
    pub fn knows_root(&self) -> bool {
        self.root.lock().is_some()
    }

    /// Keeps the mounted directory, seen from `login`, the directory where the login landed.
    pub fn learn_root(&self, login: &[u8]) {
        // What the server's character set cannot write it will say that it has not.
        let in_charset = |names| self.to_server(names).unwrap_or(Cow::Borrowed(names));
        let root = match &self.settings.directory {
            Directory::Absolute(directory) => in_charset(directory).into_owned(),
            Directory::FromLogin(names) => [login, b"/", &in_charset(names)].concat(),
        };
        *self.root.lock() = Some(tidy(&root).into());
    }

    /// The server's pathname for `path` of the mount: absolute, and in the server's character set.
    ///
    /// # Errors
    ///
    /// [`Error::Unsendable`] where no file of the server has such a name.
    pub fn pathname(&self, path: &RemotePath) -> Result<Vec<u8>, Error> {
        let below = self.to_server(path.as_bytes())?;
        let root = self.root.lock().clone().unwrap_or_else(|| Arc::from(*b"/"));
        Ok(match (&*root, path.is_root()) {
            (b"/", _) => below.into_owned(),
            (root, true) => root.to_vec(),
            (root, false) => [root, &below].concat(),
        })
    }

    /// A name or a path of ours, as the server has it.
    ///
    /// # Errors
    ///
    /// As [`Server::pathname`].
    pub fn to_server<'a>(&self, name: &'a [u8]) -> Result<Cow<'a, [u8]>, Error> {
        self.charset_of(name).to_server(name).ok_or(Error::Unsendable { why: Unsendable::NotInCharset })
    }

    /// `listing` with the names that are shown here.
    pub fn localised(&self, mut listing: Listing) -> Listing {
        let charset = {
            let mut charset = self.charset.lock();
            if charset.is_none() {
                *charset = Charset::detect(listing.entries.iter().map(|entry| entry.name.as_bytes()));
                if let Some(charset) = *charset {
                    log::info!("the server's names are taken for {charset}; charset= says otherwise");
                }
            }
            charset.unwrap_or(Charset::BYTES)
        };
        listing.translate(|name| charset.to_local(name));
        listing
    }

    /// What `name` of ours is in on the server. Where nothing has shown it yet and it matters, it is UTF-8 from now on.
    fn charset_of(&self, name: &[u8]) -> Charset {
        let mut charset = self.charset.lock();
        if !name.is_ascii() {
            charset.get_or_insert(Charset::BYTES);
        }
        charset.unwrap_or(Charset::BYTES)
    }
}

/// After so many new control connections in a row that could not resume their session, others are taken as they are: a request tries
/// an old one, this many, and one more.
const RESUMPTION_MISSED_MAX: u8 = 1;

fn wished(wish: Wish) -> Option<Charset> {
    match wish {
        Wish::Bytes => Some(Charset::BYTES),
        Wish::Named(charset) => Some(charset),
        Wish::Detected => None,
    }
}

/// Without double and trailing slashes, with one in front.
fn tidy(path: &[u8]) -> Vec<u8> {
    let mut tidy = Vec::with_capacity(path.len() + 1);
    for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".") {
        tidy.push(b'/');
        tidy.extend_from_slice(name);
    }
    if tidy.is_empty() { b"/".to_vec() } else { tidy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::settings::{TlsMode, Trust, Verify, Versions};
    use crate::secret::Secret;
    use std::num::NonZeroUsize;
    use std::time::Duration;

    fn server(directory: Directory) -> Server {
        Server::new(settings(directory)).unwrap()
    }

    fn settings(directory: Directory) -> Settings {
        Settings {
            host: "localhost".to_owned(),
            port: 21,
            tls: TlsMode::Explicit,
            user: "u".to_owned(),
            password: Secret::new("p"),
            directory,
            charset: Wish::Bytes,
            ignore_case: false,
            trust: Trust::WebPki,
            identity: None,
            versions: Versions::Both,
            connections_max: NonZeroUsize::MIN,
            verify: Verify::Size,
            server_tz: None,
            timeout: Duration::from_secs(1),
            hard: false,
            idle_timeout: Duration::from_secs(1),
            opens_ahead: false,
            next_question: Duration::ZERO,
        }
    }

    #[test]
    fn case_is_ignored_by_what_lists_as_dos_and_by_what_is_said_to() {
        let server = server(Directory::FromLogin(Vec::new()));
        server.learn_list_form("Unix");
        assert!(!server.ignores_case());
        server.learn_list_form("DOS");
        assert!(server.ignores_case());
        let told = Settings { ignore_case: true, ..settings(Directory::FromLogin(Vec::new())) };
        assert!(Server::new(told).unwrap().ignores_case());
    }

    #[test]
    fn a_directory_is_relative_to_the_login_unless_it_is_absolute() {
        let path = RemotePath::parse(b"/x").unwrap();
        for (directory, login, expected) in [
            (Directory::FromLogin(b"".to_vec()), &b"/home/u"[..], &b"/home/u/x"[..]),
            (Directory::FromLogin(b"pub/a".to_vec()), b"/home/u", b"/home/u/pub/a/x"),
            (Directory::FromLogin(b"pub".to_vec()), b"/", b"/pub/x"),
            (Directory::FromLogin(b"".to_vec()), b"/", b"/x"),
            (Directory::Absolute(b"//srv/".to_vec()), b"/home/u", b"/srv/x"),
        ] {
            let server = server(directory);
            server.learn_root(login);
            assert_eq!(server.pathname(&path).unwrap(), expected);
        }
    }
}
