//! The client against servers that play what real ones do, and what none should.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "../../support/ftpd/mod.rs"]
pub(crate) mod ftpd;
#[path = "../../support/script.rs"]
pub(crate) mod script;

mod ahead;
mod broken;
mod change;
mod dialects;
mod hostile;
mod ladder;
mod limits;
mod listing;
mod login;
mod naming;
mod passing;
mod passive;
mod pathnames;
mod pool;
mod prot;
mod resumption;
mod space;
mod timeouts;
mod times;
mod transfer;
mod trust;
mod turns;
mod uncertain;
mod upload;

use ftpd::{PASSWORD, Server};
use ftpsfs::ftp::charset::Wish;
use ftpsfs::ftp::client::Client;
use ftpsfs::ftp::settings::{Directory, Settings, TlsMode, Trust, Verify, Versions};
use ftpsfs::path::RemotePath;
use ftpsfs::remote::{self, Remote};
use ftpsfs::secret::Secret;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

/// One second for each step: what stalls must not make the tests slow.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Settings for a server on `port`, trusting the tests' certificate authority.
pub(crate) fn settings(port: u16) -> Settings {
    Settings {
        host: "localhost".to_owned(),
        port,
        tls: TlsMode::Explicit,
        user: "tester".to_owned(),
        password: Secret::new(PASSWORD),
        directory: Directory::FromLogin(Vec::new()),
        charset: Wish::Bytes,
        ignore_case: false,
        trust: Trust::Pem(ftpd::tls::ca().pem().into_bytes()),
        identity: None,
        versions: Versions::Both,
        connections_max: NonZeroUsize::MIN,
        verify: Verify::Size,
        server_tz: None,
        timeout: TIMEOUT,
        hard: false,
        idle_timeout: Duration::from_secs(60),
        next_question: Duration::from_millis(20),
        opens_ahead: false,
    }
}

/// A client with one control connection at most.
pub(crate) fn client(server: &Server) -> Client {
    Client::connect(settings(server.port())).unwrap()
}

/// A client with `connections` control connections at most.
pub(crate) fn client_of(server: &Server, connections: usize) -> Client {
    let connections_max = NonZeroUsize::new(connections).unwrap();
    Client::connect(Settings { connections_max, ..settings(server.port()) }).unwrap()
}

pub(crate) fn path(text: &str) -> RemotePath {
    RemotePath::parse(text.as_bytes()).unwrap()
}

/// A download that broke off.
pub(crate) struct Broken {
    /// What came before.
    pub(crate) bytes: Vec<u8>,
    pub(crate) error: remote::Error,
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} bytes {:?}: {}", self.bytes.len(), self.error.kind, self.error)
    }
}

/// Reads a file to its end; goes on from where it was when the download was given up for somebody else.
pub(crate) fn read(client: &Client, file: &str, size: Option<u64>) -> Result<Vec<u8>, Broken> {
    let mut bytes = Vec::new();
    loop {
        match read_on(client, file, size, &mut bytes) {
            Ok(()) => return Ok(bytes),
            Err(error) if error.kind == remote::ErrorKind::Preempted => {}
            Err(error) => return Err(Broken { bytes, error }),
        }
    }
}

pub(crate) fn read_on(
    client: &Client,
    file: &str,
    size: Option<u64>,
    bytes: &mut Vec<u8>,
) -> Result<(), remote::Error> {
    let mut download = client.read_from(&path(file), bytes.len() as u64, size)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match download.read(&mut buffer)? {
            0 => return Ok(()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// The names of a listing.
pub(crate) fn names(client: &Client, directory: &str) -> Vec<String> {
    client.list(&path(directory)).unwrap().iter().map(|entry| entry.name.to_string()).collect()
}
