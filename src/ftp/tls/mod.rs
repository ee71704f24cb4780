//! TLS for both connections: one configuration a server, one session store a control connection.

mod heard;
mod sessions;

mod records;
mod trust;

mod handshake;

pub use heard::Heard;
pub use records::{Received, Records};
pub use sessions::{Role, Sessions};

use crate::ftp::certificate::Certificate;
use crate::ftp::counters::Counters;
use crate::ftp::error::Error;
use crate::ftp::settings::Trust;
use crate::ftp::stream::Tcp;
use crate::path::escaped;
use handshake::{Failure, Finished};
use parking_lot::Mutex;
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, NamedGroup, PeerIncompatible, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName};
use sessions::View;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// How one server is spoken to in TLS.
pub struct Tls {
    /// Cloned for every connection: rustls resumes only between configurations that share their verifier.
    base: ClientConfig,
    name: ServerName<'static>,
    /// The key exchange group that the server asked for by a HelloRetryRequest, offered first from then on.
    group: Mutex<Option<NamedGroup>>,
}

/// A TLS connection and whether it is a resumed one.
#[derive(Debug)]
pub struct Connected {
    /// The record layer.
    pub records: Records,
    /// Whether the handshake resumed a session.
    pub resumed: bool,
}

/// The versions of TLS that are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// What a mount offers.
    Both,
    /// TLS 1.2 alone.
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

impl Versions {
    fn offered(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        let (tls13, tls12) = BOTH.split_at(1);
        match self {
            Self::Both => &BOTH,
            Self::Tls12 => tls12,
            Self::Tls13 => tls13,
        }
    }
}

impl Tls {
    /// Prepares TLS 1.2 and 1.3 with the certificate of `host` verified against `trust`.
    ///
    /// # Errors
    ///
    /// [`Error::Insecure`] where `trust` holds no certificate or `host` is no name.
    pub fn new(host: &str, trust: &Trust) -> Result<Self, Error> {
        Self::of_versions(host, trust, Versions::Both)
    }

    /// As [`Tls::new`], with no more than these `versions`.
    ///
    /// # Errors
    ///
    /// As [`Tls::new`].
    pub fn of_versions(host: &str, trust: &Trust, versions: Versions) -> Result<Self, Error> {
        let insecure = |why: String| Error::Insecure { step: "preparing TLS".to_owned(), why };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| insecure(format!("{host} is neither a DNS name nor an IP address")))?;
        let base = trust::client_config(trust, versions).map_err(insecure)?;
        Ok(Self { base, name, group: Mutex::new(None) })
    }

    /// A store for a new control connection and its data connections.
    pub fn sessions(&self) -> Arc<Sessions> {
        Arc::new(Sessions::with_group(*self.group.lock()))
    }

    /// Shakes hands on a control connection, and keeps what is `heard`.
    ///
    /// # Errors
    ///
    /// [`Error::Untrusted`] with what the server showed where its certificate is not believed, [`Error::Insecure`] where it
    /// has no TLS for us, else as [`Error::io`] and [`Error::Tls`].
    pub fn connect_control(
        &self,
        tcp: &mut Tcp,
        sessions: &Arc<Sessions>,
        deadline: Instant,
        counters: &Counters,
        heard: &mut Heard,
    ) -> Result<Connected, Error> {
        let shown = self.connect(tcp, sessions, Role::Control, deadline, "the TLS handshake", heard);
        let (connected, kind, certificates) = shown.inspect_err(|error| {
            if let Error::Untrusted { chain, .. } = error {
                heard.chain.clone_from(chain);
            }
        })?;
        heard.chain = certificates.iter().filter_map(|der| Certificate::read(der)).collect();
        sessions.set_server(certificates.first());
        *self.group.lock() = sessions.group();
        if kind == HandshakeKind::FullWithHelloRetryRequest {
            counters.control_with_retry.up();
        }
        log::debug!("control connection: {heard}");
        Ok(connected)
    }

    /// Shakes hands on a data connection, resuming a session of its control connection where there is one.
    ///
    /// # Errors
    ///
    /// As [`Tls::connect_control`], and [`Error::Tls`] where the server is another than on the control connection.
    pub fn connect_data(
        &self,
        tcp: &mut Tcp,
        sessions: &Arc<Sessions>,
        deadline: Instant,
        counters: &Counters,
    ) -> Result<Connected, Error> {
        let step = "the TLS handshake of the data connection";
        let mut heard = Heard::default();
        let (connected, kind, certificates) = self.connect(tcp, sessions, Role::Data, deadline, step, &mut heard)?;
        // It was verified like the first, but another one would be another server, or one that began to lie meanwhile.
        // A server that was given a new certificate shows it to the next control connection as well.
        if !sessions.is_server(certificates.first()) {
            let why = "the server shows another certificate than on the control connection".to_owned();
            return Err(Error::Tls { step: step.to_owned(), why });
        }
        match kind {
            HandshakeKind::Resumed => counters.data_resumed.up(),
            HandshakeKind::Full => counters.data_full.up(),
            HandshakeKind::FullWithHelloRetryRequest => counters.data_full_with_retry.up(),
        }
        log::debug!("data connection: {heard}, {sessions:?}");
        Ok(connected)
    }

    fn connect(
        &self,
        tcp: &mut Tcp,
        sessions: &Arc<Sessions>,
        role: Role,
        deadline: Instant,
        step: &str,
        heard: &mut Heard,
    ) -> Result<(Connected, HandshakeKind, Vec<CertificateDer<'static>>), Error> {
        let mut config = self.base.clone();
        config.resumption = Resumption::store(Arc::new(View { sessions: Arc::clone(sessions), role }));
        let Finished { records, kind, certificates } =
            handshake::shake_hands(tcp, Arc::new(config), self.name.clone(), deadline, heard)
                .map_err(|failure| explain(failure, step))?;
        Ok((Connected { records, resumed: kind == HandshakeKind::Resumed }, kind, certificates))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

fn explain(failure: Failure, step: &str) -> Error {
    let step = step.to_owned();
    match failure {
        Failure::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => Error::Tls {
            step,
            why: "the server closed the connection in the middle of it; perhaps the port does not speak TLS, or only \
                  versions before TLS 1.2"
                .to_owned(),
        },
        Failure::Io(source) => Error::io(step, source),
        Failure::NotTls(sample) if sample.starts_with(b"220") || sample.starts_with(b"120") => Error::Insecure {
            step,
            why: format!(
                "the server greets in clear text, \"{}\": it wants explicit TLS (tls=explicit), not implicit",
                escaped(sample.trim_ascii_end())
            ),
        },
        Failure::NotTls(sample) => {
            Error::Tls { step, why: format!("the server sent clear text: \"{}\"", escaped(sample.trim_ascii_end())) }
        }
        Failure::Tls(rustls::Error::InvalidCertificate(error)) => {
            let (why, chain) = trust::explain_certificate(&error);
            Error::Untrusted { step, why, chain }
        }
        Failure::Tls(rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion)) => {
            Error::Insecure { step, why: "the server has no version of TLS from 1.2 on".to_owned() }
        }
        Failure::Tls(rustls::Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13)) => {
            Error::Insecure { step, why: "the server has no version of TLS from 1.2 on".to_owned() }
        }
        Failure::Tls(error) => Error::Tls { step, why: error.to_string() },
    }
}
