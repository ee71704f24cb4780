//! TLS for both connections: one configuration a server, one session store a control connection.

mod heard;
mod sessions;

mod known;
mod records;

mod verifier;

mod trust;

mod handshake;

pub use crate::ftp::settings::Versions;
pub use heard::Heard;
pub use records::{Received, Records};
pub use sessions::{Role, Sessions};

use crate::ftp::certificate::Certificate;
use crate::ftp::counters::Counters;
use crate::ftp::error::Error;
use crate::ftp::settings::{Settings, Trust};
use crate::ftp::stream::Tcp;
use crate::path::escaped;
use handshake::{Failure, Finished, Hands};
use known::Known;
use parking_lot::Mutex;
use records::alert_words;
use rustls::client::Resumption;
use rustls::{AlertDescription, ClientConfig, HandshakeKind, NamedGroup, PeerIncompatible};
use rustls_pki_types::ServerName;
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
    /// Where the key is kept that the server showed first.
    known: Option<Arc<Known>>,
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

impl Tls {
    /// Prepares TLS as `settings` want it: its versions, how the server is verified, and who we are.
    ///
    /// # Errors
    ///
    /// [`Error::Insecure`] where the settings' trust or identity cannot be used, or the host is no name.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let insecure = |why: String| Error::Insecure { step: "preparing TLS".to_owned(), why };
        let host = &settings.host;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| insecure(format!("{host} is neither a DNS name nor an IP address")))?;
        let known = match &settings.trust {
            Trust::FirstUse(file) => Some(Arc::new(Known::open(file, host, settings.port).map_err(insecure)?)),
            _ => None,
        };
        let base = trust::client_config(settings, known.clone()).map_err(insecure)?;
        Ok(Self { base, name, known, group: Mutex::new(None) })
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
        let step = "the TLS handshake";
        let hands = self.begin(tcp, sessions, Role::Control, step)?;
        let shown = hands.finish(tcp, deadline, heard).map_err(|failure| explain(failure, step));
        let Finished { records, kind, certificates } = shown.inspect_err(|error| {
            if let Error::Untrusted { chain, .. } = error {
                heard.chain.clone_from(chain);
            }
        })?;
        heard.chain = certificates.iter().filter_map(|der| Certificate::read(der)).collect();
        if let (Some(known), Some(own)) = (&self.known, heard.chain.first()) {
            // Only now it is sure that the server has the key.
            known.learn(own.pin).map_err(|why| Error::Insecure { step: "keeping the server's key".to_owned(), why })?;
        }
        sessions.set_server(certificates.first());
        *self.group.lock() = sessions.group();
        if kind == HandshakeKind::FullWithHelloRetryRequest {
            counters.control_with_retry.up();
        }
        log::debug!("control connection: {heard}");
        Ok(Connected { records, resumed: kind == HandshakeKind::Resumed })
    }

    /// Says hello on a data connection, resuming a session of its control connection where there is one.
    ///
    /// # Errors
    ///
    /// As [`Tls::connect_control`].
    pub fn begin_data(&self, tcp: &mut Tcp, sessions: &Arc<Sessions>) -> Result<Begun, Error> {
        let hands = self.begin(tcp, sessions, Role::Data, DATA_HANDSHAKE)?;
        Ok(Begun { hands, sessions: Arc::clone(sessions) })
    }

    /// Shakes hands on a data connection, after [`Tls::begin_data`].
    ///
    /// # Errors
    ///
    /// As [`Tls::connect_control`], and [`Error::Tls`] where the server is another than on the control connection.
    pub fn finish_data(
        &self,
        begun: Begun,
        tcp: &mut Tcp,
        deadline: Instant,
        counters: &Counters,
    ) -> Result<Connected, Error> {
        let Begun { hands, sessions } = begun;
        let step = DATA_HANDSHAKE;
        let mut heard = Heard::default();
        let Finished { records, kind, certificates } =
            hands.finish(tcp, deadline, &mut heard).map_err(|failure| explain(failure, step))?;
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
        Ok(Connected { records, resumed: kind == HandshakeKind::Resumed })
    }

    fn begin(&self, tcp: &mut Tcp, sessions: &Arc<Sessions>, role: Role, step: &str) -> Result<Hands, Error> {
        let mut config = self.base.clone();
        config.resumption = Resumption::store(Arc::new(View { sessions: Arc::clone(sessions), role }));
        Hands::begin(tcp, Arc::new(config), self.name.clone()).map_err(|failure| explain(failure, step))
    }
}

/// A data connection on which hello was said, and nothing heard yet.
pub struct Begun {
    hands: Hands,
    sessions: Arc<Sessions>,
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun").field("sessions", &self.sessions).finish_non_exhaustive()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The step of [`Tls::begin_data`] and [`Tls::finish_data`].
const DATA_HANDSHAKE: &str = "the TLS handshake of the data connection";

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
            let (why, flaw, chain) = verifier::explain(&error);
            Error::Untrusted { step, why, flaw, chain }
        }
        Failure::Tls(rustls::Error::AlertReceived(AlertDescription::ProtocolVersion))
        | Failure::Tls(rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )) => Error::Insecure { step, why: "the server has no version of TLS that is wanted here".to_owned() },
        Failure::Tls(rustls::Error::AlertReceived(alert)) => Error::Tls { step, why: alert_words(alert) },
        Failure::Tls(error) => Error::Tls { step, why: error.to_string() },
    }
}
