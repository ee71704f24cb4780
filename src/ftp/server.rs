//! What is known of the server, shared by all sessions: how to reach it, and what it turned out to do.

use crate::ftp::counters::Counters;
use crate::ftp::error::Error;
use crate::ftp::features::Features;
use crate::ftp::rungs::Rungs;
use crate::ftp::settings::{Directory, Settings};
use crate::ftp::tls::Tls;
use crate::path::RemotePath;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One server, for the time of a mount.
#[derive(Debug)]
pub struct Server {
    /// How to reach it.
    pub settings: Settings,
    /// Its TLS configuration.
    pub tls: Tls,
    /// What happened with it.
    pub counters: Arc<Counters>,
    features: Mutex<Option<Arc<Features>>>,
    /// The directory that is mounted; known after the first login.
    root: Mutex<Option<Arc<[u8]>>>,
    /// `EPSV` was refused, `PASV` is used from then on.
    pub epsv_refused: Once,
    /// What became of the ways to list a directory.
    pub rungs: Rungs,
    /// `LIST -a` has shown a directory itself, as `.`: where it does not, the directory may not be read.
    pub shows_dot: Once,
    /// `MLSD` told of all the names that `LIST -a` told of, or was seen to leave some out.
    pub facts_compared: Once,
    /// `MLSD` leaves names out that `LIST -a` shows.
    pub facts_leave_out: Once,
    /// A data connection resumed its control connection's session: the server can.
    pub has_resumed: Once,
    /// `APPE` was refused as such, whatever the file.
    pub append_refused: Once,
    /// `APPE` has worked: an upload may be put aside and gone on with.
    pub has_appended: Once,
    /// What the server makes of 0xFF in a name; `None` until there was one.
    pub iac: Mutex<Option<Iac>>,
    /// The way to set a file's time that worked last.
    pub time_way: Mutex<Option<TimeWay>>,
    /// The form of `LIST` that the last understood listing had.
    list_form: Mutex<Option<&'static str>>,
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

impl Server {
    /// Knows nothing yet but the settings.
    ///
    /// # Errors
    ///
    /// [`Error::Insecure`] where the settings' trust cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let tls = Tls::new(&settings.host, &settings.trust)?;
        Ok(Self {
            settings,
            tls,
            counters: Arc::new(Counters::default()),
            features: Mutex::new(None),
            root: Mutex::new(None),
            epsv_refused: Once::default(),
            rungs: Rungs::default(),
            shows_dot: Once::default(),
            facts_compared: Once::default(),
            facts_leave_out: Once::default(),
            has_resumed: Once::default(),
            append_refused: Once::default(),
            has_appended: Once::default(),
            iac: Mutex::new(None),
            time_way: Mutex::new(None),
            list_form: Mutex::new(None),
            omits_close_notify: Once::default(),
        })
    }

    /// What `FEAT` told, if a session has asked.
    pub fn features(&self) -> Option<Arc<Features>> {
        self.features.lock().clone()
    }

    /// Keeps what `FEAT` told.
    pub fn learn_features(&self, features: Features) -> Arc<Features> {
        let features = Arc::new(features);
        *self.features.lock() = Some(Arc::clone(&features));
        features
    }

    /// The form of `LIST` that the server was last seen to use.
    pub fn list_form(&self) -> Option<&'static str> {
        *self.list_form.lock()
    }

    /// Keeps the form of a listing that was understood, and logs what is new.
    pub fn learn_list_form(&self, form: &'static str) {
        if self.list_form.lock().replace(form) != Some(form) {
            log::debug!("the server lists in the form {form}");
        }
    }

    /// Whether the mounted directory is known.
    pub fn knows_root(&self) -> bool {
        self.root.lock().is_some()
    }

    /// Keeps the mounted directory, seen from `login`, the directory where the login landed.
    pub fn learn_root(&self, login: &[u8]) {
        let root = match &self.settings.directory {
            Directory::Absolute(directory) => directory.clone(),
            Directory::FromLogin(names) => [login, b"/", names].concat(),
        };
        *self.root.lock() = Some(tidy(&root).into());
    }

    /// The server's pathname for `path` of the mount: absolute.
    pub fn pathname(&self, path: &RemotePath) -> Vec<u8> {
        let root = self.root.lock().clone().unwrap_or_else(|| Arc::from(*b"/"));
        match (&*root, path.is_root()) {
            (b"/", _) => path.as_bytes().to_vec(),
            (root, true) => root.to_vec(),
            (root, false) => [root, path.as_bytes()].concat(),
        }
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
    use crate::ftp::settings::{TlsMode, Trust, Verify};
    use crate::secret::Secret;
    use std::num::NonZeroUsize;
    use std::time::Duration;

    fn server(directory: Directory) -> Server {
        Server::new(Settings {
            host: "localhost".to_owned(),
            port: 21,
            tls: TlsMode::Explicit,
            user: "u".to_owned(),
            password: Secret::new("p"),
            directory,
            trust: Trust::WebPki,
            connections_max: NonZeroUsize::MIN,
            verify: Verify::Size,
            timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
        })
        .unwrap()
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
            assert_eq!(server.pathname(&path), expected);
        }
    }
}
